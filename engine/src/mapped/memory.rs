//! Buckets and items of a shard in a mapping of its file.

use crate::index::{BUCKET_BYTES, BUCKET_WORDS, TableMemory};
use crate::segments::ArenaMemory;
use crate::shared::layout::Layout;
use crate::shared::{Published, acquire};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use torc_pmem::media::shared::SharedView;

/// The segments.
#[derive(Debug, Clone)]
pub(super) struct MappedArena {
    view: Arc<SharedView>,
    frames_at: usize,
}

impl MappedArena {
    pub(super) fn new(view: Arc<SharedView>, layout: &Layout) -> MappedArena {
        MappedArena { view, frames_at: layout.head_bytes }
    }

    /// Where a location lies in the file.
    #[inline]
    fn place(&self, at: u64) -> Option<usize> {
        self.frames_at.checked_add(usize::try_from(at).ok()?)
    }
}

impl ArenaMemory for MappedArena {
    #[inline]
    fn words(&self, at: u64, count: usize) -> Option<&[AtomicU64]> {
        self.view.words(self.place(at)?, count)
    }

    #[inline]
    fn prefetch_lines(&self, at: u64, lines: usize) {
        let Some(place) = self.place(at) else { return };
        for line in 0..lines {
            crate::prefetch::line(self.view.address(place.wrapping_add(line * 64)));
        }
    }
}

/// The buckets of the index.
#[derive(Debug, Clone)]
pub(super) struct MappedTable {
    view: Arc<SharedView>,
    /// For each chunk the number of its frame plus one, or zero.
    chunks: Published<[AtomicU64]>,
    frames_at: usize,
    frames_max: u64,
    frame_shift: u32,
}

impl MappedTable {
    pub(super) fn new(view: Arc<SharedView>, chunks: Published<[AtomicU64]>, layout: &Layout) -> MappedTable {
        let (frames_at, frames_max, frame_shift) =
            (layout.head_bytes, layout.frames_max as u64, layout.frame_shift);
        MappedTable { view, chunks, frames_at, frames_max, frame_shift }
    }

    /// Where a bucket lies in the file.
    #[inline]
    fn place(&self, number: usize) -> Option<usize> {
        let at = number.checked_mul(BUCKET_BYTES)?;
        // R1a of `reader.rs`.
        let chunk = acquire(self.chunks.get(at >> self.frame_shift)?);
        let frame = chunk.checked_sub(1).filter(|frame| *frame < self.frames_max)?;
        let within = at & ((1 << self.frame_shift) - 1);
        Some(self.frames_at + ((frame as usize) << self.frame_shift) + within)
    }
}

impl TableMemory for MappedTable {
    #[inline]
    fn bucket(&self, number: usize) -> Option<&[AtomicU64; BUCKET_WORDS]> {
        self.view.words(self.place(number)?, BUCKET_WORDS)?.try_into().ok()
    }

    #[inline]
    fn prefetch_bucket(&self, number: usize) {
        if let Some(place) = self.place(number) {
            crate::prefetch::line(self.view.address(place));
        }
    }
}
