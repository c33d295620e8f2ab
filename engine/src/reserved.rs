//! Arrays that grow where they are: address space is reserved once, memory comes as it is touched.

use std::marker::PhantomData;
use torc_pmem::media::memory::MemoryRange;

/// Types whose values may be all zeros.
///
/// # Safety
/// Memory of zeros is a valid value, and the alignment is that of a page at most.
pub(crate) unsafe trait Zeroed: Copy {}

// SAFETY: an array of integers; zeros are integers.
unsafe impl<const N: usize> Zeroed for [u32; N] {}

/// An array of zeros to begin with, whose elements never move.
#[derive(Debug)]
pub(crate) struct ReservedArray<T> {
    range: MemoryRange,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Zeroed> ReservedArray<T> {
    /// An empty array in a range.
    pub(crate) fn new(range: MemoryRange) -> ReservedArray<T> {
        ReservedArray { range, len: 0, elements: PhantomData }
    }

    pub(crate) fn len_max(&self) -> usize {
        self.range.len() / size_of::<T>()
    }

    /// # Panics
    /// If the array is longer already, or its range is shorter.
    pub(crate) fn extend_to(&mut self, len: usize) {
        assert!(self.len <= len && len <= self.len_max(), "an array grows inside its range");
        self.len = len;
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: the range begins at a page and is at least `len` elements long (`extend_to`); its memory was zeroed,
        // which is a valid `T` (`Zeroed`), and only written as `T`; `&self` keeps writers, who need `&mut self`, away.
        unsafe { std::slice::from_raw_parts(self.range.as_ptr().cast::<T>(), self.len) }
    }

    #[inline]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.range.as_ptr().cast::<T>(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_grows_in_place_and_keeps_what_it_holds() {
        let mut array = ReservedArray::<[u32; 8]>::new(MemoryRange::reserve_small_pages(1 << 20).unwrap());
        assert_eq!(array.len_max(), 1 << 15);
        array.extend_to(3);
        array.as_mut_slice()[2] = [7; 8];
        let address = array.as_slice().as_ptr();
        array.extend_to(1 << 15);
        assert_eq!(array.as_slice().as_ptr(), address);
        assert_eq!((array.as_slice()[2], array.as_slice()[(1 << 15) - 1]), ([7; 8], [0; 8]));
    }
}
