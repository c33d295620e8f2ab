//! Recovery: what a stream holds after it was closed, or cut off.
//!
//! The numbers of the steps are those of `docs/format.md`, "How a stream is recovered". Tables are read, not payloads: those
//! are verified when they are read first. Nothing that is read is believed before its checksum holds, and whatever the
//! bytes are, nothing panics.

mod backward;
mod forward;
mod journal;
mod snapshot;
mod survey;
mod walk;

use std::ops::RangeInclusive;

use crate::format::UNIT_BYTES;
use crate::format::batch::{Bounds, Part};
use crate::format::checkpoint::Checkpoint;
use crate::format::geometry::{Place, Ring};
use crate::format::record::Record;
use crate::media::{BLOCK_BYTES, MediaError, bytes, zeroed};

pub(crate) use backward::Doubts;
pub use journal::Journaled;
pub(crate) use journal::journaled;
pub(crate) use survey::survey;
pub use survey::{Hashes, Survey, SurveyEnd};
pub(crate) use walk::Walk;

/// Part of a stream that cannot be read, though it had been drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub stream: u16,
    /// Slots that it may have had records of.
    pub slots: RangeInclusive<u16>,
    /// No record in it had a higher version.
    pub version: u64,
}

/// What recovery finds, from the newest batch of a stream to its oldest, and in a batch from the last record to the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Of two records of one key the one with the higher version is right, and of equal ones that which is told first.
    Record { record: Record, place: Option<Place> },
    /// A key of these slots may have had a newer record here. Older items of this stream are not told any more where that
    /// may be so; those of other streams, if they hold keys of the same slots, are the listener's to forget.
    Lost(Lost),
    /// A part of a snapshot, where all tables are read.
    Part { part: Part, records: u32 },
}

/// What is read of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The newest snapshot that is whole, in place of the tables that it is of.
    Newest,
    /// All tables, and all parts of snapshots.
    All,
}

/// Where a stream ends: the writer goes on there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEnd {
    pub(crate) stream: u16,
    pub(crate) end: u64,
    pub(crate) oldest: u64,
    /// The last batch, if it could be read.
    pub(crate) last: Bounds,
    /// Of the newest checkpoint.
    pub(crate) turn: u64,
}

impl StreamEnd {
    pub fn stream(&self) -> u16 {
        self.stream
    }

    /// Position behind the last batch.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Position of the oldest batch.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Bytes from the oldest batch to the end.
    pub fn used_bytes(&self) -> u64 {
        (self.end - self.oldest) * UNIT_BYTES as u64
    }

    /// Bytes that were ever appended, with what was left free at the ends of the ring.
    pub fn appended_bytes(&self) -> u64 {
        self.end.saturating_mul(UNIT_BYTES as u64)
    }
}

/// What recovery met in a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub batches: u64,
    /// Records that were told.
    pub records: u64,
    /// Items that were not told, as what superseded them may be lost.
    pub doubtful: u64,
    /// Batches, and parts of unknown content, that are damaged.
    pub damaged: u64,
    /// Parts of snapshots that were come past.
    pub parts: u64,
    /// Whether a snapshot was read in place of older tables.
    pub has_snapshot: bool,
    /// Bytes of the batches that hold nothing, as each takes whole blocks.
    pub padding_bytes: u64,
    /// Bytes behind the end that a crash has left of batches that were never drained.
    pub cut_off_bytes: u64,
    /// Neither checkpoint of the stream could be read, so nothing of it could.
    pub is_unreadable: bool,
}

/// A stream of which the end is known, and nothing else was read.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub end: StreamEnd,
    checkpoint: Option<Checkpoint>,
    counts: Counts,
}

impl Found {
    /// Neither checkpoint of the stream could be read, so nothing of it can.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.counts.is_unreadable
    }
}

/// From the place of an item that was told to the position in its stream.
#[derive(Debug, Clone, Copy)]
pub struct Positions {
    ring: Ring,
    end: StreamEnd,
}

impl Positions {
    pub(crate) fn new(ring: Ring, end: StreamEnd) -> Positions {
        Positions { ring, end }
    }

    /// To compare with [`crate::stream::Oldest::end`].
    pub fn of(&self, place: Place) -> u64 {
        let in_ring = place.unit().saturating_sub(self.ring.unit(0)) % self.ring.units();
        // The last one before the end that lies there.
        let lap = self.end.end.saturating_sub(in_ring + 1) / self.ring.units();
        lap * self.ring.units() + in_ring
    }

    /// Bytes of the stream that are older than the item.
    pub fn bytes_behind(&self, place: Place) -> u64 {
        self.of(place).saturating_sub(self.end.oldest) * UNIT_BYTES as u64
    }
}

/// Steps 2 to 5.
pub(crate) fn find(walk: &Walk<'_>, stream: u16) -> Result<Found, MediaError> {
    let mut counts = Counts::default();
    let Some(checkpoint) = checkpoint(walk)? else {
        (counts.is_unreadable, counts.damaged) = (true, 1);
        let nothing = StreamEnd { stream, end: 0, oldest: 0, last: Bounds::default(), turn: 0 };
        return Ok(Found { end: nothing, checkpoint: None, counts });
    };
    let end = forward::find_end(walk, &checkpoint, &mut counts)?;
    Ok(Found { end, checkpoint: Some(checkpoint), counts })
}

/// Steps 6 to 9.
pub(crate) fn tell(
    walk: &Walk<'_>,
    found: &Found,
    reads: Reads,
    tell: &mut dyn FnMut(Event),
) -> Result<Counts, MediaError> {
    let (end, mut counts) = (&found.end, found.counts);
    match &found.checkpoint {
        Some(checkpoint) => backward::tell(walk, checkpoint, end, reads, &mut counts, tell)?,
        None => tell(Event::Lost(Lost { stream: end.stream, slots: 0..=u16::MAX, version: u64::MAX })),
    }
    Ok(counts)
}

/// The batches that a stream holds which was found, newest first, and what is doubtful among them. Nothing, if nothing of it can
/// be read.
pub(crate) fn batches(walk: &Walk<'_>, found: &Found) -> Result<Option<(Vec<Bounds>, Doubts)>, MediaError> {
    let Some(checkpoint) = &found.checkpoint else { return Ok(None) };
    backward::batches(walk, checkpoint, &found.end).map(Some)
}

/// The checkpoint that counts.
fn checkpoint(walk: &Walk<'_>) -> Result<Option<Checkpoint>, MediaError> {
    let mut newest: Option<Checkpoint> = None;
    for turn in 0..2 {
        let mut block = zeroed(1);
        walk.medium.read(walk.ring.checkpoint(turn), &mut block)?;
        let found =
            Checkpoint::decode(&bytes(&block)[..BLOCK_BYTES]).filter(|found| walk.takes_checkpoint(found));
        newest = newest.into_iter().chain(found).max_by_key(|found| found.turn);
    }
    Ok(newest)
}
