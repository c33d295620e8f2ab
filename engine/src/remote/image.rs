//! Buckets and items that have landed, as the readers' code wants them.

use super::list::Landing;
use crate::index::{BUCKET_WORDS, TableMemory};
use crate::segments::ArenaMemory;
use std::sync::atomic::AtomicU64;

const WORD: u64 = size_of::<u64>() as u64;

/// The first buckets of a home that have landed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageTable<'l> {
    pub(super) landing: Landing<'l>,
    pub(super) home: usize,
    pub(super) count: usize,
}

impl TableMemory for ImageTable<'_> {
    fn bucket(&self, number: usize) -> Option<&[AtomicU64; BUCKET_WORDS]> {
        let first = number.checked_sub(self.home).filter(|number| *number < self.count)? * BUCKET_WORDS;
        self.landing.buckets().get(first..first + BUCKET_WORDS)?.try_into().ok()
    }

    fn prefetch_bucket(&self, _number: usize) {}
}

/// So many words of the arena that have landed, from an item on.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageArena<'l> {
    pub(super) landing: Landing<'l>,
    pub(super) at: u64,
    pub(super) words: usize,
}

impl ArenaMemory for ImageArena<'_> {
    fn words(&self, at: u64, count: usize) -> Option<&[AtomicU64]> {
        let first = at.checked_sub(self.at).filter(|bytes| bytes.is_multiple_of(WORD))? / WORD;
        let first = usize::try_from(first).ok()?;
        self.landing.item().get(..self.words)?.get(first..)?.get(..count)
    }

    fn prefetch_lines(&self, _at: u64, _lines: usize) {}
}
