//! How far a shard has come with what it offers a tier: see `demotion.rs`.

use std::ops::RangeInclusive;

/// With each long value that is offered the longest of those before counts for less by this share.
const LONGEST_SHARE: u64 = 16;

/// How far a shard has come with its offers.
#[derive(Debug, Default)]
pub(super) struct Demotion {
    /// By segment: the sequence with which it was offered last.
    offered: Vec<u64>,
    pub(super) walk: Option<Walk>,
    /// All of [`Demotion::offered`] that is due was offered when this was so: segments opened and reclaimed.
    pub(super) idle_at: Option<(u64, u64)>,
    /// Before the end: the segments that are still to be offered whole, the oldest first.
    pub(super) rest: Option<Vec<(u64, u32)>>,
    /// About the longest of the long values that were offered lately, bytes.
    pub(super) longest: u64,
    /// Nothing more is offered, or told anew.
    pub(super) is_over: bool,
    /// Slots of which the tier takes no more items.
    pub(super) full: Vec<RangeInclusive<u16>>,
}

impl Demotion {
    pub(super) fn bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, Vec::capacity);
        self.offered.capacity() * size_of::<u64>() + rest * size_of::<(u64, u32)>()
    }

    /// One of so many bytes was offered. Shorter ones make those forgotten that came before.
    pub(super) fn has_offered_long(&mut self, bytes: u64) {
        self.longest = bytes.max(self.longest - self.longest / LONGEST_SHARE);
    }

    /// Whether the tier takes no more items of a slot, which is asked for only if there are such.
    pub(super) fn is_full_of(&self, slot: impl FnOnce() -> u16) -> bool {
        if self.full.is_empty() {
            return false;
        }
        let slot = slot();
        self.full.iter().any(|full| full.contains(&slot))
    }

    pub(super) fn is_offered(&self, segment: u32, sequence: u64) -> bool {
        self.offered.get(segment as usize) == Some(&sequence)
    }

    pub(super) fn set_offered(&mut self, segment: u32, sequence: u64) {
        let at = segment as usize;
        if self.offered.len() <= at {
            self.offered.resize(at + 1, 0);
        }
        self.offered[at] = sequence;
    }
}

/// A segment that is being offered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) segment: u32,
    pub(super) sequence: u64,
    /// Bytes of it that are done.
    pub(super) done: u32,
}

/// How much may be marked.
#[derive(Debug, Clone, Copy)]
pub struct OfferLimits {
    /// Items that are looked at in this call.
    pub items: usize,
    /// Marks, and bytes of items among them that are to be taken, at which no more is offered.
    pub marks: usize,
    pub bytes: u64,
}
