//! How far a shard has come with what it offers a tier: see `demotion.rs`.

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
}

impl Demotion {
    pub(super) fn bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, Vec::capacity);
        self.offered.capacity() * size_of::<u64>() + rest * size_of::<(u64, u32)>()
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
