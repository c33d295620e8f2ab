//! The memory of the entries: as many cache lines as are in use, at the start of a reserved range.

use super::entry::Words;
use super::{BUCKET_BYTES, ENTRIES_PER_BUCKET};
use crate::index::homes::SMALL_PAGES_BYTES;
use torc_pmem::media::memory::MemoryRange;

const _: () = assert!(BUCKET_BYTES == ENTRIES_PER_BUCKET * size_of::<Words>());

#[derive(Debug)]
pub(super) struct Lines {
    range: MemoryRange,
    /// Buckets in use.
    len: usize,
}

impl Lines {
    /// Room for so many buckets, of which none is in use.
    pub(super) fn reserve(buckets_max: usize) -> std::io::Result<Lines> {
        let bytes = buckets_max * BUCKET_BYTES;
        let small = bytes < SMALL_PAGES_BYTES;
        let range = if small { MemoryRange::reserve_small_pages(bytes) } else { MemoryRange::reserve(bytes) };
        Ok(Lines { range: range?, len: 0 })
    }

    pub(super) fn buckets_max(&self) -> usize {
        self.range.len() / BUCKET_BYTES
    }

    /// Number of buckets.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// # Panics
    /// If the range is not that long.
    pub(super) fn extend_to(&mut self, buckets: usize) {
        assert!(self.len <= buckets && buckets <= self.buckets_max(), "a table grows inside its range");
        self.len = buckets;
    }

    #[inline]
    pub(super) fn entries(&self) -> &[Words] {
        let entries = self.range.as_ptr().cast::<Words>();
        // SAFETY: inside the range (`extend_to`), which is mapped as long as `self` and aligned to a page; it was zeroed, and any
        // bits are two words. Nobody else has the address, and it is written through `entries_mut` alone, so not while this is
        // borrowed.
        unsafe { std::slice::from_raw_parts(entries, self.len * ENTRIES_PER_BUCKET) }
    }

    #[inline]
    pub(super) fn entries_mut(&mut self) -> &mut [Words] {
        let entries = self.range.as_ptr().cast::<Words>();
        // SAFETY: as in `entries`; `self` is borrowed for good, so there is no other reference.
        unsafe { std::slice::from_raw_parts_mut(entries, self.len * ENTRIES_PER_BUCKET) }
    }

    /// Starts to fetch a bucket, be it there or not.
    #[inline]
    pub(super) fn prefetch(&self, bucket: usize) {
        crate::prefetch::line(self.range.as_ptr().wrapping_add(bucket * BUCKET_BYTES));
    }
}
