//! What a flush leaves behind of places on a medium.
//!
//! A flush voids every entry, and there may be millions. So each says behind which flush it came, those of before are not found
//! any more, and a sweep takes them out a few buckets at a time.

use super::slot::{Elsewhere, FLUSHES, Role};
use super::{Entry, Index, Place, SLOTS_PER_BUCKET};

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
        let last = first.saturating_add(buckets).min(self.table.len());
        for bucket in first..last {
            for number in 0..SLOTS_PER_BUCKET {
                let place = Place { bucket: bucket as u32, slot: number as u8 };
                if let Some(entry) = self.elsewhere_at(place).filter(|entry| self.is_flushed(entry)) {
                    self.remove_elsewhere(place, entry.hash);
                }
            }
        }
        // Growth moves entries about: what was passed over is met the next time round.
        self.flushed.bucket = if last == self.table.len() { 0 } else { last };
        self.flushed.entries > 0
    }

    /// An entry that was met goes, be it flushed or not, if it is still there.
    pub fn drop_elsewhere(&mut self, entry: &Elsewhere) {
        let is_it = |place| self.elsewhere_at(place).is_some_and(|found| found == *entry);
        let home = self.home(entry.hash);
        let buckets = home..=home + self.table.bucket(home).head().reach();
        let mut places = buckets.flat_map(|bucket| {
            (0..SLOTS_PER_BUCKET).map(move |slot| Place { bucket: bucket as u32, slot: slot as u8 })
        });
        if let Some(place) = places.find(|place| is_it(*place)) {
            self.remove_elsewhere(place, entry.hash);
        }
    }

    /// Whether an entry came before the last flush, and counts no more.
    #[inline]
    pub fn is_flushed(&self, entry: &Elsewhere) -> bool {
        entry.flushes != self.flushed.flushes
    }

    pub(super) fn elsewhere_at(&self, place: Place) -> Option<Elsewhere> {
        match self.table.bucket(place.bucket as usize).entry(place.slot as usize)? {
            Entry::Elsewhere(entry) => Some(entry),
            Entry::Item(_) => None,
        }
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
