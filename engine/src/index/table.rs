//! The memory of the buckets.

use super::{PROBE_BUCKETS, SLOTS_PER_BUCKET, Slot};
use crate::reserved::{ReservedArray, Zeroed};
use torc_pmem::media::memory::MemoryRange;

/// One cache line; all zeros is an empty bucket.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// Items whose home this is and that are elsewhere.
    away: u32,
    /// The farthest of them is at most this many buckets on.
    reach: u8,
    _reserved: [u8; 3],
    pub(super) slots: [Slot; SLOTS_PER_BUCKET],
}

const _: () = assert!(size_of::<Bucket>() == 64);
const _: () = assert!(PROBE_BUCKETS <= u8::MAX as usize);

impl Bucket {
    #[inline]
    pub(super) fn reach(&self) -> usize {
        self.reach as usize
    }

    /// Puts a slot into a free place, if there is one.
    pub(super) fn put(&mut self, slot: Slot) -> bool {
        match self.slots.iter_mut().find(|place| place.is_empty()) {
            Some(place) => {
                *place = slot;
                true
            }
            None => false,
        }
    }

    pub(super) fn went_away(&mut self, distance: usize) {
        self.away += 1;
        self.reach = self.reach.max(distance as u8);
    }

    pub(super) fn came_back(&mut self) {
        self.away -= 1;
        if self.away == 0 {
            self.reach = 0;
        }
    }
}

// SAFETY: integers; zeros are an empty bucket. Aligned to a cache line.
unsafe impl Zeroed for Bucket {}

/// Buckets in use at the start of a reserved range.
#[derive(Debug)]
pub(super) struct Table(ReservedArray<Bucket>);

impl Table {
    pub(super) fn reserve(buckets_max: usize) -> std::io::Result<Table> {
        let range = MemoryRange::reserve(buckets_max * size_of::<Bucket>())?;
        Ok(Table(ReservedArray::new(range)))
    }

    pub(super) fn buckets_max(&self) -> usize {
        self.0.len_max()
    }

    /// # Panics
    /// If the range is not that long.
    pub(super) fn extend_to(&mut self, buckets: usize) {
        self.0.extend_to(buckets);
    }

    #[inline]
    pub(super) fn buckets(&self) -> &[Bucket] {
        self.0.as_slice()
    }

    #[inline]
    pub(super) fn bucket(&self, number: usize) -> &Bucket {
        &self.buckets()[number]
    }

    #[inline]
    pub(super) fn bucket_mut(&mut self, number: usize) -> &mut Bucket {
        &mut self.0.as_mut_slice()[number]
    }

    #[inline]
    pub(super) fn prefetch(&self, number: usize) {
        self.0.prefetch(number);
    }
}
