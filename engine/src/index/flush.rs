//! What a flush leaves behind of places on a medium.
//!
//! A flush voids every entry, and there may be millions. So each says behind which flush it came, those of before are not found
//! any more, and a sweep takes them out a few buckets at a time.

use super::Index;
use super::ordered::{ENTRIES_PER_BUCKET, Elsewhere, FLUSHES, Role};

/// Entries of before the last flush.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    /// Flushes, modulo [`FLUSHES`].
    flushes: u8,
    /// Flushes since there was nothing to be swept out.
    unswept: u64,
    entries: u64,
    /// Where the sweep goes on.
    bucket: usize,
}

impl Flushed {
    pub(super) fn flushes(&self) -> u8 {
        self.flushes
    }
}

impl Index {
    /// Keys of which the only item is elsewhere, as far as that is known.
    pub fn only_elsewhere(&self) -> u64 {
        self.only_elsewhere
    }

    /// Entries of what was flushed that are still to be swept out.
    pub fn flushed(&self) -> u64 {
        self.flushed.entries
    }

    /// Nothing that is elsewhere is found any more, but for what is added from now on.
    pub fn flush_elsewhere(&mut self) {
        let unswept = if self.flushed.entries > 0 { self.flushed.unswept + 1 } else { 0 };
        if unswept == FLUSHES - 1 {
            // An entry of so many flushes ago would count as new. Who flushes this often waits for the sweep: what is left of one
            // round, and one more, as it may have begun anywhere.
            (0..2).for_each(|_| _ = self.sweep_flushed(usize::MAX));
        }
        let flushes = (u64::from(self.flushed.flushes) + 1) % FLUSHES;
        let unswept = if self.flushed.entries > 0 { unswept } else { 0 };
        self.only_elsewhere = 0;
        self.flushed = Flushed { flushes: flushes as u8, unswept, entries: self.elsewhere(), bucket: 0 };
    }

    /// Takes out what was flushed, in so many buckets at most. Returns whether there is more.
    pub fn sweep_flushed(&mut self, buckets: usize) -> bool {
        let first = self.flushed.bucket;
        let last = first.saturating_add(buckets).min(self.ordered.buckets());
        for number in first * ENTRIES_PER_BUCKET..last * ENTRIES_PER_BUCKET {
            // Another one comes in the place of one that goes.
            while let Some((at, entry)) = self.ordered.at(number).filter(|(_, entry)| self.is_flushed(entry))
            {
                self.remove_elsewhere(at, &entry);
            }
        }
        // Entries move about meanwhile: what was passed over is met the next time round.
        self.flushed.bucket = if last == self.ordered.buckets() { 0 } else { last };
        self.flushed.entries > 0
    }

    /// Whether an entry came before the last flush, and counts no more.
    #[inline]
    pub fn is_flushed(&self, entry: &Elsewhere) -> bool {
        entry.flushes != self.flushed.flushes
    }

    pub(super) fn count(&mut self, entry: &Elsewhere) {
        if self.is_flushed(entry) {
            self.flushed.entries += 1;
        } else {
            self.only_elsewhere += u64::from(entry.role == Role::Only);
        }
    }

    pub(super) fn uncount(&mut self, entry: &Elsewhere) {
        if self.is_flushed(entry) {
            self.flushed.entries -= 1;
        } else {
            self.only_elsewhere -= u64::from(entry.role == Role::Only);
        }
    }
}
