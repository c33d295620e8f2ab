//! How much of the memory values under way may take, and which of them are given up for others.
//!
//! A client's value is charged what its chunks have taken, not what it has announced: who announces much and sends little keeps
//! nobody out. So more may begin than can all be received. If their share is used up, the oldest goes on and the youngest is given up,
//! so that always one of them comes to its end.

use super::{Key, Shard};
use crate::chain::Upload;
use crate::command::{Millis, UploadId};

/// Share of the segments that uploads under way may fill: they cannot be evicted.
const UPLOADS_SHARE: u64 = 4;
/// Share of the segments that may be pinned for a new upload to begin: a slow one pins whole segments for a
/// chunk each, and so does a client that takes its long answers slowly.
const PINNED_SHARE: u64 = 2;
/// A value comes back as long as all but this share of the segments are pinned at most.
const RETURNS_PINNED_SHARE: u64 = 4;
/// The part of their share that uploads may fill before first chunks go into segments that values share.
const OWN_SHARE: u64 = 2;
/// An upload that began no chunk for so long may be ended for another one.
const STILL_MS: u64 = 1000;
/// Most uploads that are ended for a chunk of another one.
const ENDED_MAX: usize = 16;

impl Shard {
    /// Whether there is no room for a value of `bytes` bytes before some are stored that wait for a tier.
    pub fn waits_for_room(&self, database: u16, key: &[u8], bytes: u64) -> bool {
        if self.uploads.waiting_bytes() == 0 {
            return false;
        }
        // All of it: else it would be given up half-way, and nobody knows how long the others will wait.
        let (_, cost) = self.upload_cost(Key { bytes: key, space: self.spaces.of(database), hash: 0 }, bytes);
        cost > self.room_left(self.uploads.coming_bytes()) && cost <= self.uploads_room_max()
    }

    /// Memory that a value under way may take if it is alone and nothing is pinned.
    pub(super) fn uploads_room_max(&self) -> u64 {
        self.segments_bytes() / PINNED_SHARE
    }

    /// Memory that another value may take that comes back from a medium. Such values do not share the room of those that clients
    /// send, and may begin when these may not: what is still to come of these may stand behind the command that waits.
    pub(super) fn returns_room(&self) -> u64 {
        let capacity = self.segments_bytes();
        let returning = self.uploads.returning_bytes();
        let share = if returning == 0 { PINNED_SHARE } else { UPLOADS_SHARE };
        let left = (capacity / share).saturating_sub(returning);
        left.min((capacity - capacity / RETURNS_PINNED_SHARE).saturating_sub(self.pinned_bytes()))
    }

    /// Memory that another value under way may take.
    pub(super) fn uploads_room(&self) -> u64 {
        self.room_left(self.uploads.taken_bytes())
    }

    /// The same, beside values that take so much.
    fn room_left(&self, taken: u64) -> u64 {
        // What comes back from a medium has a share of its own.
        let pinned = self.pinned_bytes().saturating_sub(self.uploads.returning_bytes());
        // One alone may be longer: no other waits for its end, and a longest value must not depend on how much of the
        // memory clients hold.
        let share = if self.uploads.clients() == 0 { PINNED_SHARE } else { UPLOADS_SHARE };
        let left = (self.segments_bytes() / share).saturating_sub(taken);
        left.min(self.uploads_room_max().saturating_sub(pinned))
    }

    fn segments_bytes(&self) -> u64 {
        self.segments.count_max() as u64 * self.segments.segment_bytes() as u64
    }

    fn pinned_bytes(&self) -> u64 {
        self.segments.pinned() as u64 * self.segments.segment_bytes() as u64
    }

    /// Whether a value may begin that takes `cost` in the end, and `chunk` for its first chunk. Values that stand still are ended for it.
    pub(super) fn may_begin(&mut self, cost: u64, chunk: u64, now: Millis) -> bool {
        if cost > self.uploads_room_max() {
            return false;
        }
        let mut ended = 0;
        while chunk > self.uploads_room() {
            let Some(id) = self.stands_still(now).filter(|_| ended < ENDED_MAX) else { return false };
            self.upload_abort(id);
            ended += 1;
        }
        true
    }

    /// Whether a value that was taken out of the table may take memory for its next chunk. Values that stand still, and younger ones,
    /// are ended for it: a client that drips keeps nobody out for long. Their next bytes are refused.
    pub(super) fn may_take(&mut self, upload: &Upload, chunk: u64, now: Millis) -> bool {
        for _ in 0..ENDED_MAX {
            let share = self.segments_bytes() / UPLOADS_SHARE;
            if self.uploads.clients() <= 1 || self.uploads.taken_bytes() + chunk <= share {
                return true;
            }
            let Some(id) = self.stands_still(now).or_else(|| self.youngest_after(upload.id)) else {
                return false;
            };
            self.upload_abort(id);
        }
        false
    }

    /// The value that has stood still for longest.
    #[cold]
    fn stands_still(&self, now: Millis) -> Option<UploadId> {
        let uploads =
            self.uploads.of_clients().filter(|upload| now.saturating_sub(upload.moved_at) >= STILL_MS);
        uploads.min_by_key(|upload| upload.moved_at).map(|upload| upload.id)
    }

    /// The youngest value, if it has taken memory and is younger than this one.
    #[cold]
    fn youngest_after(&self, id: UploadId) -> Option<UploadId> {
        let others = self.uploads.of_clients().filter(|upload| upload.taken > 0);
        others.map(|upload| upload.id).max_by_key(|other| other.0).filter(|other| other.0 > id.0)
    }

    /// Whether a value's first chunk goes into a segment that values share: there are so many that each would pin a whole one for it.
    pub(super) fn first_chunks_share(&self, upload: &Upload) -> bool {
        let share = self.segments_bytes() / UPLOADS_SHARE;
        upload.extents.is_empty() && self.uploads.taken_bytes() >= share / OWN_SHARE
    }

    /// Memory that a value's chunk takes, which had the segment of its own `before` and has `own`.
    pub(super) fn memory_taken(&self, before: Option<u32>, own: Option<u32>, chunk: u64) -> u64 {
        match own {
            None => chunk,
            Some(_) if own == before => 0,
            Some(_) => self.segments.segment_bytes() as u64,
        }
    }
}
