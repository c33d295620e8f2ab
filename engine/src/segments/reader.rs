//! Items, as others than the owner of the segments read them.

use super::generations::Generations;
use crate::bytes::Bytes;
use crate::item::{HEADER_BYTES, ItemRef, STATE_WORD_OFFSET};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use torc_pmem::media::memory::MemoryRange;

/// Why an item was not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCopied {
    /// It went, and its memory may hold something else.
    Gone,
    /// It is longer than the room for it.
    Long,
}

/// Reads the items of a shard while its owner changes them.
#[derive(Debug, Clone)]
pub(crate) struct SegmentsReader {
    range: Arc<MemoryRange>,
    generations: Arc<Generations>,
    segment_shift: u32,
}

impl SegmentsReader {
    pub(super) fn new(range: Arc<MemoryRange>, generations: Arc<Generations>, segment_shift: u32) -> Self {
        SegmentsReader { range, generations, segment_shift }
    }

    #[inline]
    pub(crate) fn prefetch(&self, at: u64, lines: usize) {
        for line in 0..lines {
            crate::prefetch::line(self.range.as_ptr().wrapping_add(at as usize + line * 64));
        }
    }

    /// Copies the item at `at` to `room`, and returns it. `is_named` says whether the index names it still.
    ///
    /// # Errors
    /// [`NotCopied`]; what `room` holds then means nothing.
    #[inline]
    pub(crate) fn copy<'r>(
        &self,
        at: u64,
        room: &'r mut [u64],
        is_named: impl FnOnce() -> bool,
    ) -> Result<ItemRef<'r>, NotCopied> {
        // R4 to R7 of `reader.rs`, in this order: an item that is named is whole, and stays as long as the generation does.
        let segment = (at >> self.segment_shift) as usize;
        let generation = self.generations.load(segment).ok_or(NotCopied::Gone)?;
        if !is_named() {
            return Err(NotCopied::Gone);
        }
        let state = self.word(at + STATE_WORD_OFFSET as u64).ok_or(NotCopied::Gone)?;
        let len = crate::item::len_by(state);
        let end = (segment as u64 + 1) << self.segment_shift;
        if at + len as u64 > end {
            return Err(NotCopied::Gone);
        }
        let copy = room.get_mut(..len / size_of::<u64>()).ok_or(NotCopied::Long)?;
        for (number, word) in (0..).zip(&mut *copy) {
            *word = self.word(at + number * 8).ok_or(NotCopied::Gone)?;
        }
        // The lengths by which the item was copied, not those that a second look would find.
        copy[STATE_WORD_OFFSET / 8] = state;
        if !self.generations.is_still(segment, generation) {
            return Err(NotCopied::Gone);
        }
        Ok(ItemRef::new(Bytes::of_words(copy)))
    }

    #[inline]
    fn word(&self, at: u64) -> Option<u64> {
        #[cfg(test)]
        if at % 256 < 16 {
            crate::steps::step();
        }
        let at = usize::try_from(at).ok().filter(|at| at.is_multiple_of(8) && at + 8 <= self.range.len())?;
        // SAFETY: an aligned word inside the range (checked), which was zeroed by the kernel and stays mapped as long as `self`;
        // the owner writes whole words, so this one is of before or of after.
        Some(unsafe { AtomicU64::from_ptr(self.range.as_ptr().add(at).cast()) }.load(Ordering::Relaxed))
    }
}

const _: () = assert!(STATE_WORD_OFFSET < HEADER_BYTES);
