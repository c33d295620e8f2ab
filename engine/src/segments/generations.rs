//! How often the memory of each segment was given up, in words that others may read.

use crate::shared::{Published, acquire};
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A counter for each segment. It rises when nothing leads to the segment's items any more, and before the first of its bytes
/// changes. Whoever loads it, finds an item there that the index still names, copies it, and loads the same again, has copied
/// that item and nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Generations(Published<[AtomicU64]>);

impl Generations {
    /// In words that are zeros, or that the owner of the segments has published: one for each segment.
    pub(crate) fn new(words: Published<[AtomicU64]>) -> Generations {
        Generations(words)
    }

    /// O5 of `reader.rs`: called by the owner alone, when a segment is free.
    pub(crate) fn raise(&self, segment: u32) {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::Raise) {
            return;
        }
        let generation = &self.0[segment as usize];
        // Release: whoever sees this generation also sees that the index names none of the segment's items.
        generation.store(generation.load(Ordering::Relaxed) + 1, Ordering::Release);
        // Whoever sees a byte that is written from here on also sees this generation.
        fence(Ordering::Release);
    }

    /// The generation, before the index is asked whether it still names an item there; none if there is no such segment.
    #[inline]
    pub(crate) fn load(&self, segment: usize) -> Option<u64> {
        #[cfg(test)]
        crate::steps::step();
        self.0.get(segment).map(acquire)
    }

    /// Whether a segment still is of this generation, after its bytes were read.
    #[inline]
    pub(crate) fn is_still(&self, segment: usize, generation: u64) -> bool {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::GenerationAgain) {
            return true;
        }
        #[cfg(test)]
        crate::steps::step();
        // The bytes are read before the generation is.
        fence(Ordering::Acquire);
        self.0[segment].load(Ordering::Relaxed) == generation
    }
}
