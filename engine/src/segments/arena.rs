//! The memory of a shard's segments.

use crate::bytes::Bytes;
use crate::bytes_mut::BytesMut;
use crate::item::{HEADER_BYTES, ItemRef, STATE_WORD_OFFSET};
use crate::shared::file::ShardFile;
use std::sync::Arc;
use torc_pmem::media::memory::{Backing, HUGE_PAGE_BYTES, MemoryRange};

/// One address range, cut into segments by its owner.
#[derive(Debug)]
pub(crate) struct Arena {
    range: Arc<MemoryRange>,
}

impl Arena {
    /// Reserves the addresses of `count` segments. Small segments have small pages: memory is taken and given back by
    /// segments, and a huge page would take that of many.
    pub(crate) fn reserve(segment_bytes: usize, count: usize) -> std::io::Result<Arena> {
        let bytes = segment_bytes * count;
        let small = segment_bytes < HUGE_PAGE_BYTES / 2;
        let range = if small { MemoryRange::reserve_small_pages(bytes) } else { MemoryRange::reserve(bytes) };
        Ok(Arena { range: Arc::new(range?) })
    }

    /// The frames of a file.
    pub(crate) fn of_file(file: &ShardFile) -> Arena {
        Arena { range: Arc::new(MemoryRange::of_frames(file.file().clone())) }
    }

    pub(crate) fn range(&self) -> &Arc<MemoryRange> {
        &self.range
    }

    pub(crate) fn backing(&self) -> (Backing, bool) {
        (self.range.backing(), self.range.huge_pages())
    }

    /// # Panics
    /// If the bytes are not inside the arena.
    #[inline]
    fn bytes(&self, at: u64, len: usize) -> Bytes<'_> {
        let at = at as usize;
        assert!(at <= self.range.len() && len <= self.range.len() - at, "bytes inside the arena");
        // SAFETY: inside the range (checked), which lives as long as `self`; the memory was zeroed by the kernel, so it is
        // initialised; whoever writes needs `&mut self`.
        unsafe { Bytes::new(self.range.as_ptr().add(at), len) }
    }

    /// # Panics
    /// If the bytes are not inside the arena.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, at: u64, len: usize) -> BytesMut<'_> {
        let at = at as usize;
        assert!(at <= self.range.len() && len <= self.range.len() - at, "bytes inside the arena");
        // SAFETY: inside the range (checked), whose start and length are whole words, so the words that the bytes lie in are,
        // too; only the arena's owner writes it, and no reference is ever made to its memory.
        unsafe { BytesMut::new(self.range.as_ptr().add(at), len) }
    }

    /// Copies `len` bytes; the two places do not overlap.
    pub(crate) fn copy(&mut self, from: u64, to: u64, len: usize) {
        assert!(from.abs_diff(to) >= len as u64, "a relocation goes to another segment");
        let source = self.bytes(from, len).as_ptr();
        // SAFETY: inside the range (checked by the call above), and not written meanwhile but by the copy, which writes
        // elsewhere. Where the first or last word of the target holds bytes of the source, they keep their value.
        let source = unsafe { Bytes::new(source, len) };
        self.bytes_mut(to, len).copy_from(source);
    }

    /// The item at `at`.
    #[inline]
    pub(crate) fn item(&self, at: u64) -> ItemRef<'_> {
        let len = self.range.len().checked_sub(at as usize).expect("an item inside the arena");
        ItemRef::new(self.bytes(at, len))
    }

    pub(crate) fn set_state(&mut self, at: u64, state: u8) {
        #[cfg(test)]
        crate::steps::step();
        let change = |word| word & !0xFF | u64::from(state);
        self.bytes_mut(at, HEADER_BYTES).change_word(STATE_WORD_OFFSET, change);
    }

    /// Where the memory begins.
    #[cfg(test)]
    pub(crate) fn address(&self) -> *const u8 {
        self.range.as_ptr()
    }

    #[inline]
    pub(crate) fn prefetch(&self, at: u64, lines: usize) {
        for line in 0..lines {
            crate::prefetch::line(self.range.as_ptr().wrapping_add(at as usize + line * 64));
        }
    }

    /// Keeps the memory mapped beyond the life of the arena: somebody still reads it.
    pub(crate) fn leak(&self) {
        std::mem::forget(self.range.clone());
    }

    /// Whether an address lies in the arena.
    pub(crate) fn contains(&self, address: *const u8) -> bool {
        let start = self.range.as_ptr() as usize;
        (start..start + self.range.len()).contains(&(address as usize))
    }

    /// Gives the memory of a part back to the machine.
    pub(crate) fn discard(&mut self, at: u64, len: usize) {
        // SAFETY: `&mut self`: no reference into the arena is alive, the caller only discards segments that nobody pins, and
        // readers of other threads have only pointers, and expect that bytes change.
        let discarded = unsafe { self.range.discard(at as usize, len) };
        // A refusal only means that the memory stays with us.
        debug_assert!(discarded.is_ok(), "{discarded:?}");
    }
}
