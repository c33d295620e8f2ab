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
mod header;
mod lent;
mod list;
mod rest;

pub use header::{Phase, Queue, SegmentHeader};
pub use lent::{Chain, Lent, LentChain};
pub use rest::Rest;

use crate::bytes::Bytes;
use crate::bytes_mut::BytesMut;
use crate::chain::ORDINAL_BYTES;
use crate::command::Millis;
use crate::item::{ItemRef, present};
use arena::Arena;
use list::{Line, List};
use std::cell::Cell;
use torc_pmem::media::memory::Backing;

/// Write class of items that never expire.
pub const CLASS_NEVER: u8 = 0;
/// Write class of chunks.
pub const CLASS_CHUNK: u8 = 9;
/// Number of write classes.
pub const CLASSES: usize = 10;
/// Free segments that only relocation may take.
pub const RELOCATION_RESERVE: usize = 1;
/// Pinned segments that a search for one to take passes over, at most.
pub(crate) const PARKED_MAX: usize = 64;

/// The write class of an item: by its time to live, in steps of four from 15 s.
pub fn class_of(expiry: Option<Millis>, now: Millis) -> u8 {
    let Some(expiry) = expiry else { return CLASS_NEVER };
    let units = expiry.saturating_sub(now) / 15_000;
    let steps = (u64::BITS - units.leading_zeros()).div_ceil(2) as u8;
    (1 + steps).min(CLASS_CHUNK - 1)
}

/// Segments, their bookkeeping and their bytes.
#[derive(Debug)]
pub struct Segments {
    arena: Arena,
    headers: Vec<SegmentHeader>,
    segment_bytes: usize,
    /// The power of two that it is: there is a division in every look-up else.
    segment_shift: u32,
    shard: u16,
    free: List,
    /// Segments whose memory was given back to the machine; they can be taken again.
    retired: List,
    /// Segments that are kept free beyond those that writers need next.
    ahead: usize,
    /// Segments that may be in use or free.
    count_max: usize,
    /// Segments in use or free.
    count: usize,
    open: [[Option<u32>; CLASSES]; 2],
    queues: [List; 2],
    /// Segments that wait for a job that compacts them.
    line: Line,
    sequence: u64,
    /// Segments up to this sequence were written before the last flush.
    flushed_sequence: u64,
    /// Headers with pins.
    pinned: Cell<usize>,
    rest: Option<Box<dyn Rest>>,
    /// Freed segments that may not be used yet, in the order in which they were freed.
    resting: List,
    /// Segments that have rested.
    rested: u64,
}

impl Segments {
    /// Segments of `segment_bytes` bytes, a power of two.
    ///
    /// # Errors
    /// If the address range cannot be reserved.
    pub(crate) fn new(segment_bytes: usize, count_max: usize, shard: u16) -> std::io::Result<Segments> {
        Ok(Segments {
            arena: Arena::reserve(segment_bytes, count_max)?,
            headers: Vec::with_capacity(count_max),
            segment_bytes,
            segment_shift: segment_bytes.trailing_zeros(),
            shard,
            free: List::EMPTY,
            retired: List::EMPTY,
            ahead: 0,
            count_max,
            count: 0,
            open: [[None; CLASSES]; 2],
            queues: [List::EMPTY, List::EMPTY],
            line: Line::EMPTY,
            sequence: 0,
            flushed_sequence: 0,
            pinned: Cell::new(0),
            rest: None,
            resting: List::EMPTY,
            rested: 0,
        })
    }

    pub(crate) fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// Memory of the headers of so many segments, which is taken at the start.
    pub(crate) fn headers_bytes(count_max: usize) -> usize {
        count_max * size_of::<SegmentHeader>()
    }

    /// Memory beside the arena.
    pub(crate) fn table_bytes(&self) -> usize {
        Segments::headers_bytes(self.headers.capacity())
    }

    /// What backs the arena, and whether it may have huge pages.
    pub(crate) fn backing(&self) -> (Backing, bool) {
        self.arena.backing()
    }

    pub(crate) fn count_max(&self) -> usize {
        self.count_max
    }

    /// Keeps so many segments free beyond those that writers need next.
    pub(crate) fn keep_ahead(&mut self, segments: usize) {
        self.ahead = segments;
    }

    pub(crate) fn ahead(&self) -> usize {
        self.ahead
    }

    /// Segments for which there are addresses.
    pub(crate) fn reserved(&self) -> usize {
        self.headers.capacity()
    }

    /// Changes the number of segments that may be used; surplus ones go as they become free.
    pub(crate) fn limit(&mut self, count_max: usize) {
        self.count_max = count_max;
        while self.count > self.count_max {
            let Some(segment) = self.free.pop_front(&mut self.headers) else { break };
            self.retire(segment);
        }
    }

    fn retire(&mut self, segment: u32) {
        self.arena.discard(self.start(segment), self.segment_bytes);
        self.headers[segment as usize].phase = Phase::Retired;
        self.retired.push_back(&mut self.headers, segment);
        self.count -= 1;
    }

    /// Segments whose memory is taken from the machine.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Segments that can be taken now.
    pub(crate) fn available(&self) -> usize {
        self.free.len() + self.count_max.saturating_sub(self.count)
    }

    /// Segments that are free and have been used before.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// Segments that hold something.
    pub(crate) fn in_use(&self) -> usize {
        self.count - self.free()
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

    /// Pins the segment of `at` and lends `bytes` out of it.
    pub(crate) fn lend(&self, at: u64, bytes: Bytes<'_>) -> Lent {
        let segment = self.segment_of(at);
        self.pin(segment);
        Lent::new(bytes, segment, self.shard)
    }

    /// # Panics
    /// If another arena lent the bytes: its segment would stay pinned, and one of this arena would lose a pin
    /// that somebody still counts on.
    pub(crate) fn take_back(&mut self, lent: Lent) {
        if lent.segment == header::NO_SEGMENT {
            return;
        }
        assert!(self.arena.contains(lent.bytes().as_ptr()), "lent bytes go back to the shard that lent them");
        self.unpin(lent.segment);
    }

    pub(crate) fn pin(&self, segment: u32) {
        let pins = &self.headers[segment as usize].pins;
        self.pinned.set(self.pinned.get() + usize::from(pins.get() == 0));
        pins.set(pins.get().checked_add(1).expect("fewer lent slices than 2^32"));
    }

    /// The last pin that goes brings a segment back to where it belongs.
    pub(crate) fn unpin(&mut self, segment: u32) {
        let header = &mut self.headers[segment as usize];
        let left = header.pins.get().checked_sub(1).expect("a pin for every unpin");
        header.pins.set(left);
        if left > 0 {
            return;
        }
        self.pinned.set(self.pinned.get() - 1);
        match header.phase {
            Phase::Drained => self.make_free(segment),
            Phase::Parked => {
                header.phase = Phase::Sealed;
                let (queue, half_dead) = (header.queue as usize, header.is_half_dead());
                // Its turn had come already.
                self.queues[queue].push_front(&mut self.headers, segment);
                if half_dead {
                    self.enqueue(segment);
                }
            }
            Phase::Sealed if header.is_half_dead() => self.enqueue(segment),
            _ => {}
        }
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
        let at = self.start(segment) + u64::from(self.headers[segment as usize].used);
        self.headers[segment as usize].used += len as u32;
        self.account(segment, len, expiry);
        Some(at)
    }

    fn has_room(&self, segment: u32, len: usize) -> bool {
        self.headers[segment as usize].used as usize + len <= self.segment_bytes
    }

    fn open_new(&mut self, queue: Queue, class: u8, now: Millis, reserve: usize) -> Option<u32> {
        if self.available() <= reserve {
            return None;
        }
        // What is kept free ahead is kept in memory that is taken already, so that it can go to others at once.
        let fresh = self.free.len() <= self.ahead && self.count < self.count_max;
        let used_before = if fresh { None } else { self.free.pop_front(&mut self.headers) };
        let segment = used_before.unwrap_or_else(|| self.take_fresh());
        if let Some(full) = self.open[queue as usize][class as usize].replace(segment) {
            self.seal(full);
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
            opened_at: now,
            queued,
            behind,
            ..SegmentHeader::new()
        };
        Some(segment)
    }

    /// A segment whose memory is not taken from the machine yet, or was given back.
    fn take_fresh(&mut self) -> u32 {
        self.count += 1;
        self.retired.pop_front(&mut self.headers).unwrap_or_else(|| {
            self.headers.push(SegmentHeader::new());
            self.headers.len() as u32 - 1
        })
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

    /// Number of sealed segments in a queue.
    pub(crate) fn sealed(&self, queue: Queue) -> usize {
        self.queues[queue as usize].len()
    }

    /// Takes the oldest sealed segment of a queue that nobody pins. Pinned ones on the way leave the queue until
    /// they are not; after [`PARKED_MAX`] of them the search ends for this time.
    pub(crate) fn take_oldest(&mut self, queue: Queue) -> Option<u32> {
        for _ in 0..=PARKED_MAX {
            let segment = self.queues[queue as usize].pop_front(&mut self.headers)?;
            let header = &mut self.headers[segment as usize];
            if header.pins.get() == 0 {
                header.phase = Phase::Draining;
                return Some(segment);
            }
            header.phase = Phase::Parked;
        }
        None
    }

    /// Takes a certain sealed segment for a job, unless it is pinned or no longer sealed.
    pub(crate) fn take(&mut self, segment: u32) -> bool {
        let header = &mut self.headers[segment as usize];
        if header.phase != Phase::Sealed || header.pins.get() > 0 {
            return false;
        }
        header.phase = Phase::Draining;
        let queue = header.queue as usize;
        self.queues[queue].remove(&mut self.headers, segment);
        true
    }

    /// Lets a sealed segment wait for a job that compacts it.
    pub(crate) fn enqueue(&mut self, segment: u32) {
        self.line.push(&mut self.headers, segment);
    }

    /// Takes the next segment that waits for such a job and can have it.
    pub(crate) fn take_queued(&mut self) -> Option<u32> {
        for _ in 0..=PARKED_MAX {
            let segment = self.line.pop(&mut self.headers)?;
            if self.take(segment) {
                return Some(segment);
            }
        }
        None
    }

    /// Whether segments wait for such a job.
    pub(crate) fn has_queued(&self) -> bool {
        !self.line.is_empty()
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

    /// Makes a segment that a job has walked free, as soon as nobody pins it.
    pub(crate) fn end_draining(&mut self, segment: u32) {
        if self.headers[segment as usize].pins.get() > 0 {
            self.headers[segment as usize].phase = Phase::Drained;
        } else {
            self.make_free(segment);
        }
    }

    /// Makes a drained segment free again, once it has rested.
    ///
    /// # Panics
    /// If it still holds live items or is pinned.
    fn make_free(&mut self, segment: u32) {
        let header = &self.headers[segment as usize];
        assert!(header.live_items == 0 && header.pins.get() == 0, "only an empty segment is free");
        if self.rest.is_some() {
            self.begin_rest(segment);
        } else {
            self.reuse(segment);
        }
    }

    /// Lets a free segment be taken, or gives it back if there are too many.
    fn reuse(&mut self, segment: u32) {
        self.headers[segment as usize].phase = Phase::Free;
        if self.count > self.count_max {
            self.retire(segment);
        } else {
            self.free.push_front(&mut self.headers, segment);
        }
    }

    /// Segments that somebody pins.
    pub(crate) fn pinned(&self) -> usize {
        self.pinned.get()
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
    fn classes_rise_with_the_time_to_live() {
        assert_eq!(class_of(None, 0), CLASS_NEVER);
        let classes: Vec<u8> = [1, 15_000, 59_999, 60_000, 240_000, 960_000, 3_840_000, 86_400_000, u64::MAX]
            .map(|ttl| class_of(Some(ttl), 0))
            .into();
        assert!(classes.is_sorted(), "{classes:?}");
        assert_eq!(classes[0], 1);
        assert_eq!(*classes.last().unwrap(), CLASS_CHUNK - 1);
    }

    #[test]
    fn relocation_keeps_a_reserve() {
        let mut segments = Segments::new(64 << 10, 2, 0).unwrap();
        assert!(segments.append(Queue::Main, 0, 60 << 10, None, 0, 1).is_some());
        assert!(segments.append(Queue::Main, 0, 60 << 10, None, 0, 1).is_none());
        assert!(segments.append(Queue::Main, 0, 60 << 10, None, 0, 0).is_some());
        assert_eq!(segments.sealed(Queue::Main), 1);
    }
}
