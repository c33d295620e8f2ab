//! The memory of the buckets: words that others may read while their owner changes them.
//!
//! ```text
//!   63                     24 23   16 15             0
//!  +-------------------------+-------+----------------+
//!  | zeros                   | reach | away           |    the bucket's own word
//!  +-------------------------+-------+----------------+
//! ```
//!
//! - *away*: how many items of this home lie in other buckets.
//! - *reach*: the farthest of them is at most this many buckets on.
//!
//! Each word changes at once, and is published with release order: a reader that loads a slot with acquire order finds
//! the whole item. As long as an item is there it lies within its home's reach, in the same slot, but for growth.

use super::homes::SMALL_PAGES_BYTES;
use super::{PROBE_BUCKETS, SLOTS_PER_BUCKET, Slot};
use crate::shared::Published;
use crate::shared::file::ShardFile;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use torc_pmem::media::memory::MemoryRange;
use torc_pmem::media::shared::SharedFile;

/// A bucket is one cache line.
pub(crate) const BUCKET_BYTES: usize = 64;
pub(crate) const BUCKET_WORDS: usize = BUCKET_BYTES / WORD;

const WORD: usize = size_of::<u64>();

const _: () = assert!(BUCKET_WORDS == 1 + SLOTS_PER_BUCKET);
const _: () = assert!(PROBE_BUCKETS <= u8::MAX as usize);
const _: () = assert!(PROBE_BUCKETS * SLOTS_PER_BUCKET <= u16::MAX as usize);

/// Buckets in use at the start of a reserved range.
#[derive(Debug)]
pub(super) struct Table {
    range: Arc<MemoryRange>,
    len: usize,
    /// Of a table that lies in a file.
    chunks: Option<Box<Chunks>>,
}

/// The frames of a file that a table lies in.
#[derive(Debug)]
struct Chunks {
    file: Arc<SharedFile>,
    /// For each chunk of the table the number of its frame plus one, or zero.
    frames: Published<[AtomicU64]>,
    count: usize,
    /// The kernel maps no more of them.
    is_full: bool,
}

/// The memory of buckets, as others than their owner have it.
pub(crate) trait TableMemory {
    /// The words of a bucket; `None` if there cannot be such a bucket.
    fn bucket(&self, number: usize) -> Option<&[AtomicU64; BUCKET_WORDS]>;

    /// Starts to fetch a bucket.
    fn prefetch_bucket(&self, number: usize);
}

impl TableMemory for Arc<MemoryRange> {
    #[inline]
    fn bucket(&self, number: usize) -> Option<&[AtomicU64; BUCKET_WORDS]> {
        if number >= self.len() / BUCKET_BYTES {
            return None;
        }
        let bucket = self.as_ptr().wrapping_add(number * BUCKET_BYTES);
        // SAFETY: aligned words inside the range (checked), which were zeroed by the kernel and stay mapped as long as `self`.
        // Their owner writes them as atomic words, too (`Table::store`), and no reference but to such words is ever made to them.
        Some(unsafe { &*bucket.cast::<[AtomicU64; BUCKET_WORDS]>() })
    }

    #[inline]
    fn prefetch_bucket(&self, number: usize) {
        crate::prefetch::line(self.as_ptr().wrapping_add(number.wrapping_mul(BUCKET_BYTES)));
    }
}

impl Table {
    pub(super) fn reserve(buckets_max: usize) -> io::Result<Table> {
        let bytes = buckets_max * BUCKET_BYTES;
        let small = bytes < SMALL_PAGES_BYTES;
        let range = if small { MemoryRange::reserve_small_pages(bytes) } else { MemoryRange::reserve(bytes) };
        Ok(Table { range: Arc::new(range?), len: 0, chunks: None })
    }

    /// A table in frames of a file, which come as they are [added](Table::add_frame).
    pub(super) fn in_file(buckets_max: usize, file: &ShardFile) -> io::Result<Table> {
        let bytes = (buckets_max * BUCKET_BYTES).next_multiple_of(file.frame_bytes());
        let range = Arc::new(MemoryRange::reserve_small_pages(bytes)?);
        let chunks = Chunks { file: file.file().clone(), frames: file.chunks(), count: 0, is_full: false };
        Ok(Table { range, len: 0, chunks: Some(Box::new(chunks)) })
    }

    /// Memory that it has taken, bytes.
    pub(super) fn bytes(&self) -> usize {
        let len = self.len * BUCKET_BYTES;
        self.chunks.as_ref().map_or(len, |chunks| chunks.count * chunks.file.frame_bytes())
    }

    /// Memory for so many bytes.
    pub(super) fn whole(&self, bytes: usize) -> usize {
        self.chunks.as_ref().map_or(bytes, |chunks| bytes.next_multiple_of(chunks.file.frame_bytes()))
    }

    pub(super) fn lacks_memory(&self, bytes: usize) -> bool {
        self.chunks.is_some() && self.bytes() < bytes
    }

    /// # Panics
    /// If the table lies in no file.
    pub(super) fn add_frame(&mut self, frame: usize) -> io::Result<()> {
        let Some(chunks) = &mut self.chunks else { unreachable!("a frame is for a table in a file") };
        let at = chunks.count * chunks.file.frame_bytes();
        // SAFETY: behind the buckets in use, so no reference is held into it.
        let mapped = unsafe { self.range.map_frame(at, &chunks.file, frame) };
        chunks.is_full = mapped.is_err();
        mapped?;
        // O8 of `reader.rs`. It is looked for by whoever has seen a geometry with homes there, which is published later.
        chunks.frames[chunks.count].store(frame as u64 + 1, Ordering::Release);
        chunks.count += 1;
        Ok(())
    }

    /// The memory of the buckets, which stays where it is.
    pub(super) fn range(&self) -> &Arc<MemoryRange> {
        &self.range
    }

    pub(super) fn buckets_max(&self) -> usize {
        let is_full = self.chunks.as_ref().is_some_and(|chunks| chunks.is_full);
        if is_full { self.bytes() / BUCKET_BYTES } else { self.range.len() / BUCKET_BYTES }
    }

    /// Number of buckets.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// # Panics
    /// If the range is not that long, or lacks memory.
    pub(super) fn extend_to(&mut self, buckets: usize) {
        let is_there = buckets <= self.buckets_max() && !self.lacks_memory(buckets * BUCKET_BYTES);
        assert!(self.len <= buckets && is_there, "a table grows inside its range");
        self.len = buckets;
    }

    /// # Panics
    /// If there is no such bucket.
    #[inline]
    pub(super) fn bucket(&self, number: usize) -> Bucket<'_> {
        assert!(number < self.len, "a bucket of the table");
        let words = self.range.as_ptr().wrapping_add(number * BUCKET_BYTES).cast();
        Bucket { words, life: PhantomData }
    }

    /// Publishes a slot.
    #[inline]
    pub(super) fn set_slot(&mut self, bucket: usize, number: usize, slot: Slot) {
        assert!(number < SLOTS_PER_BUCKET, "a slot of the bucket");
        self.store(bucket, 1 + number, slot.bits(), Ordering::Release);
    }

    /// Publishes a slot in a bucket that is `distance` behind its home.
    pub(super) fn set_away(&mut self, home: usize, distance: usize, number: usize, slot: Slot) {
        // O2 of `reader.rs`.
        let head = self.bucket(home).head().went_away(distance);
        self.store(home, 0, head.0, Ordering::Release);
        self.set_slot(home + distance, number, slot);
    }

    /// Empties a slot in a bucket that is not its home.
    pub(super) fn clear_away(&mut self, home: usize, bucket: usize, number: usize) {
        self.set_slot(bucket, number, Slot::EMPTY);
        let head = self.bucket(home).head().came_back();
        self.store(home, 0, head.0, Ordering::Release);
    }

    #[inline]
    fn store(&mut self, bucket: usize, word: usize, bits: u64, order: Ordering) {
        #[cfg(test)]
        crate::steps::step();
        let words = self.bucket(bucket).words;
        debug_assert!(word <= SLOTS_PER_BUCKET);
        // SAFETY: one of the eight aligned words of a bucket of the table (`bucket`), which is mapped, and only ever reached
        // through raw pointers: written here, by whoever has the table for itself.
        unsafe { AtomicU64::from_ptr(words.add(word)) }.store(bits, order);
    }

    /// Where the buckets begin.
    #[cfg(test)]
    pub(super) fn address(&self) -> *const u8 {
        self.range.as_ptr()
    }

    #[inline]
    pub(super) fn prefetch(&self, number: usize) {
        crate::prefetch::line(self.range.as_ptr().wrapping_add(number * BUCKET_BYTES));
    }
}

/// A bucket, as its owner reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket<'t> {
    words: *mut u64,
    life: PhantomData<&'t Table>,
}

impl<'t> Bucket<'t> {
    #[inline]
    pub(super) fn slot(self, number: usize) -> Slot {
        assert!(number < SLOTS_PER_BUCKET, "a slot of the bucket");
        Slot::from_bits(self.word(1 + number))
    }

    #[inline]
    pub(super) fn slots(self) -> impl Iterator<Item = Slot> + 't {
        (0..SLOTS_PER_BUCKET).map(move |number| self.slot(number))
    }

    /// The number of the first empty slot.
    pub(super) fn vacancy(self) -> Option<usize> {
        self.slots().position(Slot::is_empty)
    }

    #[inline]
    pub(super) fn head(self) -> Head {
        Head(self.word(0))
    }

    #[inline]
    fn word(self, word: usize) -> u64 {
        // SAFETY: one of the eight words of a bucket of the table (`Table::bucket`), of which all callers stay inside; it
        // is initialised, as the range was zeroed, and nobody writes it while the table is borrowed.
        unsafe { self.words.add(word).read() }
    }
}

/// A bucket's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(pub(super) u64);

const REACH_SHIFT: u32 = 16;
const AWAY_MASK: u64 = (1 << REACH_SHIFT) - 1;

impl Head {
    #[inline]
    pub(super) fn reach(self) -> usize {
        (self.0 >> REACH_SHIFT) as u8 as usize
    }

    fn went_away(self, distance: usize) -> Head {
        Head::new((self.0 & AWAY_MASK) + 1, self.reach().max(distance))
    }

    fn came_back(self) -> Head {
        let away = (self.0 & AWAY_MASK) - 1;
        Head::new(away, if away == 0 { 0 } else { self.reach() })
    }

    fn new(away: u64, reach: usize) -> Head {
        Head((reach as u64) << REACH_SHIFT | away)
    }
}
