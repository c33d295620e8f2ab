//! Where homes are, and whether something is elsewhere, in words that others may read while the owner changes them.

use super::homes::{Growing, Homes, scale};
use crate::shared::{Published, acquire};
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// The record of a table's geometry. Its sequence is odd while the other words change, so whoever finds it even, and the same
/// afterwards, has read words that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Geometry {
    /// The sequence; homes; homes before the growth that is under way, and the first of them that has moved, zeros without one; 1 if
    /// something is elsewhere.
    words: Published<[AtomicU64; 5]>,
}

/// A geometry as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    sequence: u64,
    homes: u64,
    growing: Growing,
    /// Something is elsewhere.
    pub(super) elsewhere: bool,
}

impl Geometry {
    /// In words that are zeros, or that its owner has published.
    pub(crate) fn new(words: Published<[AtomicU64; 5]>) -> Geometry {
        Geometry { words }
    }

    /// From now on nothing that is not found is believed to be missing. Called by the owner alone, as [`Geometry::publish`] is.
    pub(super) fn open(&self) {
        let [sequence, ..] = &*self.words;
        sequence.store(sequence.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Whoever sees a change that follows also sees the odd sequence.
        fence(Ordering::Release);
    }

    /// Publishes where homes are, after [`Geometry::open`].
    pub(super) fn publish(&self, homes: Homes) {
        let [_, count, homes_before, boundary, _] = &*self.words;
        let growing = homes.growing.unwrap_or_default();
        count.store(homes.count, Ordering::Relaxed);
        #[cfg(test)]
        crate::steps::step();
        homes_before.store(growing.homes, Ordering::Relaxed);
        boundary.store(growing.boundary, Ordering::Relaxed);
        self.close();
    }

    /// Publishes whether something is elsewhere: before the first slot goes as its item is there, and behind the last slot that
    /// comes in place of what was.
    pub(super) fn set_elsewhere(&self, is_something: bool) {
        self.open();
        self.words[4].store(u64::from(is_something), Ordering::Relaxed);
        #[cfg(test)]
        crate::steps::step();
        self.close();
    }

    fn close(&self) {
        let [sequence, ..] = &*self.words;
        sequence.store(sequence.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The geometry, unless it is changing.
    #[inline]
    pub(super) fn look(&self) -> Option<Seen> {
        #[cfg(test)]
        crate::steps::step();
        let [sequence, homes, homes_before, boundary, elsewhere] = &*self.words;
        let sequence = acquire(sequence);
        let seen = Seen {
            sequence,
            homes: homes.load(Ordering::Relaxed),
            growing: Growing {
                homes: homes_before.load(Ordering::Relaxed),
                boundary: boundary.load(Ordering::Relaxed),
            },
            elsewhere: elsewhere.load(Ordering::Relaxed) != 0,
        };
        fence(Ordering::Acquire);
        (sequence.is_multiple_of(2) && self.is_still(&seen)).then_some(seen)
    }

    /// The home of a hash, unless the geometry is changing.
    pub(crate) fn home(&self, hash: u64) -> Option<usize> {
        Some(self.look()?.home(hash))
    }

    /// The sequence: what has it, even, was read before the next step of growth began.
    #[inline]
    pub(crate) fn sequence(&self) -> u64 {
        acquire(&self.words[0])
    }

    /// Whether nothing has changed since; what was read before counts as read before.
    #[inline]
    pub(super) fn is_still(&self, seen: &Seen) -> bool {
        #[cfg(test)]
        crate::steps::step();
        self.words[0].load(Ordering::Relaxed) == seen.sequence
    }
}

impl Seen {
    /// The home of a hash.
    #[inline]
    pub(super) fn home(&self, hash: u64) -> usize {
        let before = scale(hash, self.growing.homes);
        if before < self.growing.boundary { before as usize } else { scale(hash, self.homes) as usize }
    }
}
