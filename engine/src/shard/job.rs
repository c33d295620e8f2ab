//! The walk that makes a segment free, and how hard eviction is on what it meets: see `reclaim.rs`.

use crate::index::FREQUENCY_MAX;
use crate::segments::{Phase, Segments};

/// Bytes of a job to walk for each byte written while segments are few. In the long run eviction is made to
/// yield that much.
pub(super) const PACE: usize = 4;
/// Share of the shard's bytes that the shortfall must reach before an access counts for one less: 1/4. With less of
/// it, and so with a fixed number of segments in a large shard, traces whose hot items come in waves lose hits (0.4
/// points with 1/51).
const HARDENING_SHARE: usize = 4;
/// The least shortfall for that, in segments.
const HARDENING_SEGMENTS_MIN: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Evict,
    Compact,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) segment: u32,
    /// Bytes of it that are done.
    pub(super) done: u32,
    pub(super) why: Why,
}

/// Jobs, and what leads to them.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    pub(super) job: Option<Job>,
    /// Bytes that the job has moved elsewhere.
    pub(super) moved: usize,
    /// Bytes that eviction has walked beyond [`PACE`] times what it has yielded.
    pub(super) shortfall: usize,
    /// Accesses that are not counted of each item because of the shortfall.
    pub(super) hardness: u8,
    /// Whatever eviction meets is dropped, but for what a tier is about to get.
    pub(super) force: bool,
    /// That is, too.
    pub(super) drops_unsaved: bool,
    /// Steps of jobs so far: as long as it stays, no item has moved.
    pub(super) steps: u64,
    /// Bytes that writers owe.
    pub(super) debt: usize,
    pub(super) second: u64,
    /// Next header of the sweep; none is under way if it is beyond them.
    pub(super) sweep: usize,
}

impl Reclaim {
    /// Changes with every step that may have moved items.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// An item of this segment died.
    #[inline]
    pub(super) fn lost(&self, segments: &mut Segments, at: u64) {
        let segment = segments.segment_of(at);
        let header = segments.header(segment);
        let news = header.live_items == 0 || (!header.queued && header.is_half_dead());
        if header.phase == Phase::Sealed && news {
            segments.enqueue(segment);
        }
    }

    /// An eviction job has walked `used` bytes of a shard of `segments` segments.
    pub(super) fn evicted(&mut self, used: usize, segments: usize, segment_bytes: usize) {
        let yielded = used - self.moved.min(used);
        self.shortfall = (self.shortfall + used).saturating_sub(PACE * yielded);
        let patience = (segments / HARDENING_SHARE).max(HARDENING_SEGMENTS_MIN);
        let hardness = self.shortfall / (patience * segment_bytes);
        self.hardness = hardness.min(usize::from(FREQUENCY_MAX)) as u8;
    }

    /// What an item's accesses count for while eviction yields too little.
    pub(super) fn hardened(&self, frequency: u8) -> u8 {
        if self.force { 0 } else { frequency.saturating_sub(self.hardness) }
    }
}
