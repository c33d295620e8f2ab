//! The log of a shard: fixed-size segments in one address range, items appended.
//!
//! ```text
//!  arena   | seg 0          | seg 1          | seg 2          | ...      offsets only, no pointers
//!          | item|item|it.. | item|item|..   |                |
//!  open    one segment per queue and write class takes new items
//!  queues  sealed segments in the order in which they were sealed, the oldest first; pinned ones leave them when
//!          their turn comes, and come back with the last pin
//!  rest    freed segments whose memory somebody may still read: they are taken again later
//!  free    segments to take; the last few are kept for relocation, so that making room never needs room
//! ```
//!
//! A *write class* groups items that will end at about the same time, as a segment whose items have all expired is
//! reused without moving any. There is one more class for the chunks of long values.

mod arena;
mod class;
mod frames;
mod generations;
mod header;
mod jobs;
mod leases;
mod lent;
mod list;
mod pins;
mod reader;
mod rest;
mod reuse;
mod room;
mod stock;

pub use class::{CLASS_CHUNK, CLASS_NEVER, CLASSES, class_of};
pub(crate) use generations::Generations;
pub use header::{Phase, Queue, SegmentHeader};
#[cfg(test)]
pub(crate) use jobs::PARKED_MAX;
pub use leases::{LEASE_MS_MAX, LeaseLimits, Revoke};
pub use lent::{Chain, Lent, LentChain};
pub(crate) use reader::{ArenaMemory, NotCopied, SegmentsReader, copy_item};
pub(crate) use rest::RestCounts;
pub use room::Room;

use crate::bytes::Bytes;
use crate::bytes_mut::BytesMut;
use crate::chain::ORDINAL_BYTES;
use crate::item::{ItemRef, present};
use crate::meta::Millis;
use crate::shared::Published;
use arena::Arena;
use frames::Frames;
use leases::Leases;
use list::{Line, List};
use reuse::Places;
use std::cell::Cell;
use std::sync::Arc;
use torc_pmem::media::memory::{Backing, MemoryRange};
/// Free segments that only relocation may take.
pub const RELOCATION_RESERVE: usize = 1;
/// Segments, their bookkeeping and their bytes.
#[derive(Debug)]
pub struct Segments {
    arena: Arena,
    headers: Vec<SegmentHeader>,
    generations: Generations,
    segment_bytes: usize,
    /// Its binary logarithm: without it, every look-up would need a division.
    segment_shift: u32,
    shard: u16,
    free: List,
    /// Segments whose memory was given back to the machine; they can be taken again.
    retired: List,
    /// Segments that are kept free beyond those that writers need next: those for others, and those so that freed ones can rest.
    ahead: usize,
    /// Those for others.
    kept_ahead: usize,
    /// Segments that may be in use or free.
    count_max: usize,
    /// Segments in use or free.
    count: usize,
    open: [[Option<u32>; CLASSES]; 2],
    queues: [List; 2],
    /// Segments that wait for a job that compacts them.
    line: Line,
    /// Segments without live items, which a job makes free at once; some may be in use again.
    emptied: Vec<u32>,
    sequence: u64,
    /// Segments up to this sequence were written before the last flush.
    flushed_sequence: u64,
    /// Headers with pins.
    pinned: Cell<usize>,
    /// How often the last pin of a segment has gone.
    unpinned: u64,
    /// Freed segments rest as long as those run that were given before.
    leases: Option<Box<Leases>>,
    /// Freed segments that may not be used yet, in the order in which they were freed.
    resting: List,
    rest_counts: RestCounts,
    /// Where chunks lay that died lately.
    places: Places,
    /// Of segments that are frames of a file.
    frames: Option<Box<Frames>>,
}

impl Segments {
    /// Segments of `segment_bytes` bytes, a power of two.
    ///
    /// # Errors
    /// If the address range cannot be reserved.
    pub(crate) fn new(segment_bytes: usize, count_max: usize, shard: u16) -> std::io::Result<Segments> {
        let arena = Arena::reserve(segment_bytes, count_max)?;
        let generations = Generations::new(Published::zeros_of(count_max));
        Ok(Segments::of(arena, Vec::with_capacity(count_max), generations, segment_bytes, count_max, shard))
    }

    fn of(
        arena: Arena,
        headers: Vec<SegmentHeader>,
        generations: Generations,
        segment_bytes: usize,
        count_max: usize,
        shard: u16,
    ) -> Segments {
        Segments {
            arena,
            headers,
            generations,
            segment_bytes,
            segment_shift: segment_bytes.trailing_zeros(),
            shard,
            free: List::EMPTY,
            retired: List::EMPTY,
            ahead: 0,
            kept_ahead: 0,
            count_max,
            count: 0,
            open: [[None; CLASSES]; 2],
            queues: [List::EMPTY, List::EMPTY],
            line: Line::EMPTY,
            emptied: Vec::new(),
            sequence: 0,
            flushed_sequence: 0,
            pinned: Cell::new(0),
            unpinned: 0,
            leases: None,
            resting: List::EMPTY,
            rest_counts: RestCounts::default(),
            places: Places::default(),
            frames: None,
        }
    }

    /// For others to read items while this one changes.
    pub(crate) fn reader(&self) -> SegmentsReader<Arc<MemoryRange>> {
        SegmentsReader::new(self.arena.range().clone(), self.generations.clone(), self.segment_shift)
    }

    pub(crate) fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// Memory of the headers and generations of so many segments, which is taken at the start.
    pub(crate) fn headers_bytes(count_max: usize) -> usize {
        count_max * (size_of::<SegmentHeader>() + size_of::<u64>())
    }

    /// Memory beside the arena.
    pub(crate) fn table_bytes(&self) -> usize {
        let headers = Segments::headers_bytes(self.headers.capacity());
        headers + self.frames.as_ref().map_or(0, |frames| frames.head_bytes())
    }

    /// What backs the arena, and whether it may have huge pages.
    pub(crate) fn backing(&self) -> (Backing, bool) {
        self.arena.backing()
    }

    /// The sequence of the latest segment that was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn header(&self, segment: u32) -> &SegmentHeader {
        &self.headers[segment as usize]
    }

    pub(crate) fn headers(&self) -> &[SegmentHeader] {
        &self.headers
    }

    #[inline]
    pub(crate) fn segment_of(&self, at: u64) -> u32 {
        (at >> self.segment_shift) as u32
    }

    pub(crate) fn start(&self, segment: u32) -> u64 {
        u64::from(segment) << self.segment_shift
    }

    /// The item at an offset that the index or a list of chunks names.
    #[inline]
    pub(crate) fn item(&self, at: u64) -> ItemRef<'_> {
        self.arena.item(at)
    }

    pub(crate) fn bytes_mut(&mut self, at: u64, len: usize) -> BytesMut<'_> {
        self.arena.bytes_mut(at, len)
    }

    pub(crate) fn set_state(&mut self, at: u64, state: u8) {
        self.arena.set_state(at, state);
    }

    pub(crate) fn copy(&mut self, from: u64, to: u64, len: usize) {
        self.arena.copy(from, to, len);
    }

    /// Where the segments begin.
    #[cfg(test)]
    pub(crate) fn address(&self) -> *const u8 {
        self.arena.address()
    }

    #[inline]
    pub(crate) fn prefetch(&self, at: u64, lines: usize) {
        self.arena.prefetch(at, lines);
    }

    /// The data of a chunk.
    pub(crate) fn chunk(&self, at: u64) -> Bytes<'_> {
        let item = self.item(at);
        debug_assert!(item.present() & present::CHUNK != 0, "a chain leads to chunks");
        item.value().behind(ORDINAL_BYTES)
    }

    /// Appends room for an item; `None` if the open segment is full and no segment may be taken (`reserve`
    /// free ones must stay). The item counts as live from here on.
    #[inline]
    pub(crate) fn append(
        &mut self,
        queue: Queue,
        class: u8,
        len: usize,
        expiry: Option<Millis>,
        now: Millis,
        reserve: usize,
    ) -> Option<u64> {
        let segment = match self.open[queue as usize][class as usize] {
            Some(segment) if self.has_room(segment, len) => segment,
            _ => self.open_new(queue, class, now, reserve)?,
        };
        Some(self.append_to(segment, len, expiry))
    }

    /// As [`Segments::append`], in an open segment of another write class that has room, of the same queue if there is one.
    #[cold]
    pub(crate) fn append_to_any(&mut self, queue: Queue, len: usize, expiry: Option<Millis>) -> Option<u64> {
        let other = if queue == Queue::Main { Queue::Small } else { Queue::Main };
        let mut open = [queue, other].into_iter().flat_map(|queue| self.open[queue as usize]).flatten();
        let segment = open.find(|&segment| self.has_room(segment, len))?;
        Some(self.append_to(segment, len, expiry))
    }

    /// Appends room for an item to a segment that has it.
    #[inline]
    pub(crate) fn append_to(&mut self, segment: u32, len: usize, expiry: Option<Millis>) -> u64 {
        let at = self.start(segment) + u64::from(self.headers[segment as usize].used);
        self.headers[segment as usize].used += len as u32;
        self.account(segment, len, expiry);
        at
    }

    pub(crate) fn has_room(&self, segment: u32, len: usize) -> bool {
        self.headers[segment as usize].used as usize + len <= self.segment_bytes
    }

    fn open_new(&mut self, queue: Queue, class: u8, now: Millis, reserve: usize) -> Option<u32> {
        let segment = self.take_empty(queue, class, now, reserve)?;
        if let Some(full) = self.open[queue as usize][class as usize].replace(segment) {
            self.seal(full);
        }
        Some(segment)
    }

    /// Takes a segment for one value alone, which [appends](Segments::append_to) to it. It counts as sealed from the
    /// start; the value's pins keep jobs away from it.
    pub(crate) fn take_own(&mut self, queue: Queue, class: u8, now: Millis, reserve: usize) -> Option<u32> {
        let segment = self.take_empty(queue, class, now, reserve)?;
        self.seal(segment);
        Some(segment)
    }

    fn take_empty(&mut self, queue: Queue, class: u8, now: Millis, reserve: usize) -> Option<u32> {
        if self.available() <= reserve {
            return None;
        }
        // What is kept free ahead is kept in memory that is taken already, so that it can go to others at once.
        let fresh = self.free.len() <= self.kept_ahead && self.count < self.count_max;
        let segment = match if fresh { self.take_fresh() } else { None } {
            Some(segment) => segment,
            // If the machine has no more memory, there may be fewer to take than before.
            None if self.available() <= reserve => return None,
            None => self.free.pop_front(&mut self.headers).or_else(|| self.take_fresh())?,
        };
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::ChunkEarly) {
            self.generations.raise(segment);
        }
        self.sequence += 1;
        let sequence = self.sequence;
        // It may still wait for a job from its life before.
        let SegmentHeader { queued, behind, .. } = self.headers[segment as usize];
        self.headers[segment as usize] = SegmentHeader {
            phase: Phase::Open,
            queue,
            class,
            sequence,
            queued,
            behind,
            ..SegmentHeader::new(now)
        };
        Some(segment)
    }

    fn seal(&mut self, segment: u32) {
        let header = &mut self.headers[segment as usize];
        header.phase = Phase::Sealed;
        self.queues[header.queue as usize].push_back(&mut self.headers, segment);
    }

    /// Seals a certain open segment.
    pub(crate) fn seal_one(&mut self, segment: u32) {
        let header = &self.headers[segment as usize];
        let open = &mut self.open[header.queue as usize][header.class as usize];
        if *open == Some(segment) {
            *open = None;
            self.seal(segment);
        }
    }

    /// Seals every open segment, so that a job can take it.
    fn seal_all(&mut self) {
        for queue in 0..2 {
            for class in 0..CLASSES {
                if let Some(segment) = self.open[queue][class].take() {
                    self.seal(segment);
                }
            }
        }
    }

    /// Seals the fullest open segment: the last resort when nothing sealed is left to reclaim.
    pub(crate) fn seal_fullest(&mut self) -> bool {
        let fullest = (0..2)
            .flat_map(|queue| (0..CLASSES).map(move |class| (queue, class)))
            .filter_map(|(queue, class)| self.open[queue][class].map(|segment| (queue, class, segment)))
            .filter(|&(.., segment)| self.header(segment).pins.get() == 0)
            .max_by_key(|&(.., segment)| self.header(segment).used);
        let Some((queue, class, segment)) = fullest else { return false };
        self.open[queue][class] = None;
        self.seal(segment);
        true
    }

    /// Counts an item as live in its segment.
    #[inline]
    pub(crate) fn account(&mut self, segment: u32, len: usize, expiry: Option<Millis>) {
        let header = &mut self.headers[segment as usize];
        header.live_bytes += len as u32;
        header.live_items += 1;
        match expiry {
            None => header.expiry_max = Millis::MAX,
            Some(expiry) => {
                header.expiry_max = header.expiry_max.max(expiry);
                header.expiry_weight += header.expiry_seconds(expiry) * len as u64;
            }
        }
    }

    /// The reverse of [`Self::account`], for an item that died or moved.
    #[inline]
    pub(crate) fn discount(&mut self, at: u64, len: usize, expiry: Option<Millis>) {
        let segment = self.segment_of(at);
        let header = &mut self.headers[segment as usize];
        header.live_bytes -= len as u32;
        header.live_items -= 1;
        if let Some(expiry) = expiry {
            let weight = header.expiry_seconds(expiry) * len as u64;
            header.expiry_weight = header.expiry_weight.saturating_sub(weight);
        }
    }

    /// Everything written so far is flushed.
    pub(crate) fn flush(&mut self) {
        self.seal_all();
        self.flushed_sequence = self.sequence;
    }

    /// Whether a segment was written before the last flush.
    pub(crate) fn is_flushed(&self, header: &SegmentHeader) -> bool {
        header.sequence <= self.flushed_sequence
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        // Whoever holds lent bytes reads on; at worst an upload's pin keeps a mapping for nothing.
        if self.pinned() > 0 {
            self.arena.leak();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relocation_keeps_a_reserve() {
        let mut segments = Segments::new(64 << 10, 2, 0).unwrap();
        assert!(segments.append(Queue::Main, 0, 60 << 10, None, 0, 1).is_some());
        assert!(segments.append(Queue::Main, 0, 60 << 10, None, 0, 1).is_none());
        assert!(segments.append(Queue::Main, 0, 60 << 10, None, 0, 0).is_some());
        assert_eq!(segments.sealed(Queue::Main), 1);
    }
}
