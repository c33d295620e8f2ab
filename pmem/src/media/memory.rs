//! Volatile memory: one reserved address range.
//!
//! ```text
//!  reserved:  |........................................................|   address space only
//!  touched:   |=====|==|......|====|...................................|   pages of the kernel
//! ```
//!
//! Two ways to back the range. A memfd can be resized live and handed to another process, but its huge pages
//! are governed by `/sys/kernel/mm/transparent_hugepage/shmem_enabled`, which most kernels set to `never`;
//! anonymous memory gets huge pages wherever `enabled` is `madvise` or `always`. A lookup in a large shard
//! costs two page walks less with huge pages, so [`MemoryRange::reserve`] takes the memfd where it can have
//! huge pages, else anonymous memory where that can, else the memfd.
//!
//! Memory that other processes read is a [`SharedFile`], whose frames are a range, too.

use super::shared::{SharedFile, memfd};
use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
use std::io;
use std::sync::Arc;

/// Size and alignment of a huge page, bytes.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// What backs a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    Memfd,
    Anonymous,
    /// A memfd that other processes read.
    Shared,
}

impl Backing {
    /// The word for logs and the start banner.
    pub fn name(self) -> &'static str {
        match self {
            Backing::Memfd => "memfd",
            Backing::Anonymous => "anonymous",
            Backing::Shared => "shared memfd",
        }
    }
}

/// A reserved range of zeroed memory at a fixed address, aligned to a huge page.
#[derive(Debug)]
pub struct MemoryRange {
    /// Inside the mapping, as all of the range is.
    start: *mut u8,
    len: usize,
    backing: Backing,
    huge_pages: bool,
    map: Map,
}

/// What is unmapped with the range.
#[derive(Debug)]
enum Map {
    Own(MmapRaw),
    /// Its frames.
    File(#[expect(dead_code, reason = "it keeps them mapped")] Arc<SharedFile>),
}

// SAFETY: a pointer to memory that is mapped as long as the range is there, and two numbers; whoever uses the pointer answers
// for what threads do with that memory.
unsafe impl Send for MemoryRange {}
// SAFETY: as above.
unsafe impl Sync for MemoryRange {}

impl MemoryRange {
    /// Reserves `len` bytes of address space. Nothing is taken from the machine before it is touched.
    ///
    /// # Errors
    /// Those of `memfd_create`, `ftruncate` and `mmap`: no address space, no file descriptor.
    pub fn reserve(len: usize) -> io::Result<MemoryRange> {
        let shmem_huge = policy_allows("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
        let anonymous_huge = policy_allows("/sys/kernel/mm/transparent_hugepage/enabled");
        let huge_pages = shmem_huge || anonymous_huge;
        let mapped = len
            .checked_add(HUGE_PAGE_BYTES)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "range too large"))?;
        let (backing, map): (_, MmapRaw) = if !shmem_huge && anonymous_huge {
            (Backing::Anonymous, MmapOptions::new().len(mapped).no_reserve_swap().map_anon()?.into())
        } else {
            let file = memfd(0)?;
            file.set_len(mapped as u64)?;
            (Backing::Memfd, MmapOptions::new().len(mapped).no_reserve_swap().map_raw(&file)?)
        };
        let address = map.as_ptr() as usize;
        let skip = address.next_multiple_of(HUGE_PAGE_BYTES) - address;
        if huge_pages {
            // A refusal costs speed, not correctness: the range works with small pages.
            let _ = map.advise_range(Advice::HugePage, skip, len);
        }
        // `skip < HUGE_PAGE_BYTES`, and the mapping is that much longer than the range.
        let start = map.as_mut_ptr().wrapping_add(skip);
        Ok(MemoryRange { start, len, backing, huge_pages, map: Map::Own(map) })
    }

    /// As [`MemoryRange::reserve`], for what is small or touched here and there: pages are never huge, so no more
    /// memory is taken than is touched.
    ///
    /// # Errors
    /// Those of `mmap`: no address space.
    pub fn reserve_small_pages(len: usize) -> io::Result<MemoryRange> {
        let map: MmapRaw = MmapOptions::new().len(len.max(1)).no_reserve_swap().map_anon()?.into();
        // A refusal (a kernel without huge pages) changes nothing.
        let _ = map.advise(Advice::NoHugePage);
        let start = map.as_mut_ptr();
        Ok(MemoryRange { start, len, backing: Backing::Anonymous, huge_pages: false, map: Map::Own(map) })
    }

    /// All frames that a file may have. Only those that it has may be touched.
    pub fn of_frames(file: Arc<SharedFile>) -> MemoryRange {
        let (start, len) = file.frames_range();
        MemoryRange { start, len, backing: Backing::Shared, huge_pages: false, map: Map::File(file) }
    }

    /// Start of the range, aligned to [`HUGE_PAGE_BYTES`] (to a page if those are small). Valid for reads and writes of [`Self::len`] bytes
    /// as long as `self` lives.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.start
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// Whether the kernel was asked for, and may give, huge pages.
    pub fn huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// Gives the memory of `at..at + len` back to the machine; it reads as zeros afterwards. Both multiples of
    /// the page size, else more or less than asked for may go.
    ///
    /// # Panics
    /// If the part is not inside the range.
    ///
    /// # Errors
    /// Those of `madvise`. Memory of a [`SharedFile`] is never given back.
    ///
    /// # Safety
    /// Nobody holds a reference into the part, as its bytes change under it.
    pub unsafe fn discard(&self, at: usize, len: usize) -> io::Result<()> {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len), "discard inside the range");
        let advice = match self.backing {
            Backing::Memfd => UncheckedAdvice::Remove,
            Backing::Anonymous | Backing::Shared => UncheckedAdvice::DontNeed,
        };
        let Map::Own(map) = &self.map else { return Err(io::ErrorKind::Unsupported.into()) };
        let skip = self.start as usize - map.as_ptr() as usize;
        // SAFETY: the part lies inside the mapping (checked above); the caller holds no reference into it.
        unsafe { map.unchecked_advise_range(advice, skip + at, len) }
    }

    /// Maps a frame of a file in place of `at..at + frame_bytes`, as it is in its [own range](MemoryRange::of_frames), too.
    ///
    /// # Panics
    /// If the part is not inside the range, or the file has no such frame.
    ///
    /// # Errors
    /// Those of `mremap`: too many mappings. Then the part is as it was, or reads as zeros.
    ///
    /// # Safety
    /// Nobody holds a reference into the part, as its bytes change under it.
    pub unsafe fn map_frame(&self, at: usize, file: &SharedFile, frame: usize) -> io::Result<()> {
        let len = file.frame_bytes();
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len), "a frame inside the range");
        // SAFETY: the part lies inside the mapping (checked above), which is unmapped as a whole with the range; the caller holds
        // no reference into it.
        unsafe { file.map_again(frame, self.start.wrapping_add(at)) }
    }
}

/// Whether the chosen word of a transparent-huge-page policy file lets `madvise` have huge pages.
fn policy_allows(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| chosen_word(&text).is_some_and(word_allows))
}

fn word_allows(word: &str) -> bool {
    matches!(word, "always" | "madvise" | "advise" | "within_size" | "force")
}

/// The word in brackets.
fn chosen_word(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_aligned_zeroed_and_keeps_what_is_written() {
        let range = MemoryRange::reserve(64 << 20).unwrap();
        assert_eq!(range.as_ptr() as usize % HUGE_PAGE_BYTES, 0);
        assert_eq!(range.len(), 64 << 20);
        let last = range.as_ptr().wrapping_add(range.len() - 1);
        // SAFETY: `last` is the last byte of a live range that nobody else uses.
        unsafe {
            assert_eq!(*last, 0);
            *last = 7;
            assert_eq!(*last, 7);
        }
    }

    #[test]
    fn a_range_of_small_pages_is_zeroed_and_takes_what_is_touched() {
        let range = MemoryRange::reserve_small_pages(64 << 20).unwrap();
        assert_eq!((range.len(), range.huge_pages()), (64 << 20, false));
        let last = range.as_ptr().wrapping_add(range.len() - 1);
        // SAFETY: `last` is the last byte of a live range that nobody else uses.
        unsafe {
            assert_eq!(*last, 0);
            *last = 7;
            assert_eq!(*last, 7);
        }
    }

    #[test]
    fn discarded_memory_reads_as_zeros() {
        let range = MemoryRange::reserve(8 << 20).unwrap();
        let byte = range.as_ptr().wrapping_add(4 << 20);
        // SAFETY: `byte` is inside a live range that nobody else uses, and no reference is held.
        unsafe {
            *byte = 9;
            range.discard(4 << 20, 4 << 20).unwrap();
            assert_eq!(*byte, 0);
        }
    }

    #[test]
    fn policies_name_the_chosen_word() {
        assert_eq!(chosen_word("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen_word("always"), None);
        assert!(word_allows("advise"));
        assert!(!word_allows("never"));
    }
}
