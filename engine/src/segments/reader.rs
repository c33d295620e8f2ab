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

/// The memory of segments, as others than their owner have it.
pub(crate) trait ArenaMemory {
    /// So many words from an offset on; `None` if they cannot be there, or are not aligned.
    fn words(&self, at: u64, count: usize) -> Option<&[AtomicU64]>;

    /// Starts to fetch some cache lines.
    fn prefetch_lines(&self, at: u64, lines: usize);
}

impl ArenaMemory for Arc<MemoryRange> {
    #[inline]
    fn words(&self, at: u64, count: usize) -> Option<&[AtomicU64]> {
        let at = usize::try_from(at).ok().filter(|at| at.is_multiple_of(size_of::<u64>()))?;
        let left = self.len().checked_sub(at)?;
        if count > left / size_of::<u64>() {
            return None;
        }
        // SAFETY: aligned words inside the range (checked), which were zeroed by the kernel and stay mapped as long as `self`;
        // the owner writes whole words, so each is of before or of after.
        Some(unsafe { std::slice::from_raw_parts(self.as_ptr().add(at).cast(), count) })
    }

    #[inline]
    fn prefetch_lines(&self, at: u64, lines: usize) {
        for line in 0..lines {
            crate::prefetch::line(self.as_ptr().wrapping_add(at as usize + line * 64));
        }
    }
}

/// Reads the items of a shard while its owner changes them.
#[derive(Debug, Clone)]
pub(crate) struct SegmentsReader<A> {
    arena: A,
    generations: Generations,
    segment_shift: u32,
}

impl<A: ArenaMemory> SegmentsReader<A> {
    pub(crate) fn new(arena: A, generations: Generations, segment_shift: u32) -> Self {
        SegmentsReader { arena, generations, segment_shift }
    }

    #[inline]
    pub(crate) fn prefetch(&self, at: u64, lines: usize) {
        self.arena.prefetch_lines(at, lines);
    }

    /// Copies the item at `at` to `room`, and returns it, with the generation of its segment. `is_named` says whether the index
    /// names it still.
    ///
    /// # Errors
    /// [`NotCopied`]; what `room` holds then means nothing.
    #[inline]
    pub(crate) fn copy<'r>(
        &self,
        at: u64,
        room: &'r mut [u64],
        is_named: impl FnOnce() -> bool,
    ) -> Result<(ItemRef<'r>, u64), NotCopied> {
        // R4 to R7 of `reader.rs`, in this order: an item that is named is whole, and stays as long as the generation does.
        let generation = self.generations.load(self.segment_of(at)).ok_or(NotCopied::Gone)?;
        if !is_named() {
            return Err(NotCopied::Gone);
        }
        Ok((self.copy_under(at, generation, room)?, generation))
    }

    /// As [`SegmentsReader::copy`], for an item that was there under this generation.
    #[inline]
    pub(crate) fn copy_again<'r>(
        &self,
        at: u64,
        generation: u64,
        room: &'r mut [u64],
    ) -> Result<ItemRef<'r>, NotCopied> {
        if self.generations.load(self.segment_of(at)) != Some(generation) {
            return Err(NotCopied::Gone);
        }
        self.copy_under(at, generation, room)
    }

    #[inline]
    fn segment_of(&self, at: u64) -> usize {
        (at >> self.segment_shift) as usize
    }

    /// R6 and R7.
    #[inline]
    fn copy_under<'r>(
        &self,
        at: u64,
        generation: u64,
        room: &'r mut [u64],
    ) -> Result<ItemRef<'r>, NotCopied> {
        let segment = self.segment_of(at);
        let item = copy_item(&self.arena, at, self.segment_shift, room)?;
        if !self.generations.is_still(segment, generation) {
            return Err(NotCopied::Gone);
        }
        Ok(item)
    }
}

/// R6: copies the item at `at`, by lengths that are looked at once, of a segment of `1 << segment_shift` bytes.
///
/// # Errors
/// [`NotCopied`]; what `room` holds then means nothing.
#[inline]
pub(crate) fn copy_item<'r>(
    arena: &impl ArenaMemory,
    at: u64,
    segment_shift: u32,
    room: &'r mut [u64],
) -> Result<ItemRef<'r>, NotCopied> {
    let header = arena.words(at, HEADER_BYTES / WORD).ok_or(NotCopied::Gone)?;
    let state = load(&header[STATE_WORD_OFFSET / WORD], at);
    let len = crate::item::len_by(state);
    let end = ((at >> segment_shift) + 1) << segment_shift;
    if len as u64 > end.saturating_sub(at) {
        return Err(NotCopied::Gone);
    }
    let copy = room.get_mut(..len / WORD).ok_or(NotCopied::Long)?;
    let words = arena.words(at, copy.len()).ok_or(NotCopied::Gone)?;
    for (copied, (number, word)) in copy.iter_mut().zip((0..).zip(words)) {
        *copied = load(word, at + number * WORD as u64);
    }
    // The lengths by which the item was copied, not those that a second look would find.
    copy[STATE_WORD_OFFSET / WORD] = state;
    Ok(ItemRef::new(Bytes::of_words(copy)))
}

#[inline]
#[cfg_attr(not(test), expect(unused_variables, reason = "where it lies is a test's affair"))]
fn load(word: &AtomicU64, at: u64) -> u64 {
    #[cfg(test)]
    if at % 256 < 16 {
        crate::steps::step();
    }
    word.load(Ordering::Relaxed)
}

const WORD: usize = size_of::<u64>();
const _: () = assert!(STATE_WORD_OFFSET < HEADER_BYTES);
