//! The provided-buffer ring: receive buffers that the kernel picks from.
//!
//! ```text
//!  ring:    | entry: address, length, buffer | entry | ... |   entries = count, tail in entry 0
//!  memory:  | buffer 0 | gap | buffer 1 | gap | ...
//!  held:    which buffers are the worker's: the kernel gave them in a completion, and they are not recycled
//!  spare:   recycled buffers that are not in the ring
//! ```
//!
//! A buffer is held, in the ring, spare, or [named by a receive](BufferRing::take_spare). The kernel takes the buffer that has been in the ring longest, which is
//! the coldest; so the ring is kept short, and is filled with the buffers that were used last. When many short receives
//! empty it, it is kept longer from then on. Long receives do not count: a longer ring would only let more of them come
//! before they are parsed, and by then their bytes would have left the CPU's caches.
//!
//! The gap keeps the starts of the buffers, which are their only hot lines when requests are short, from falling
//! into the same sets of the CPU's caches.

use crate::transport::window::Window;
use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use memmap2::MmapMut;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one group of buffers of a ring.
pub(super) const GROUP: u16 = 0;

/// Bytes between two buffers: an odd number of cache lines.
const GAP_BYTES: usize = 3 * 64;

/// Buffers in the ring until short receives empty it for the first time.
const LEVEL_MIN: usize = 64;

/// One buffer in so many, at most, is named by receives.
const NAMED_SHARE: usize = 4;

/// The kernel's own bound is 32,768.
const COUNT_MAX: u16 = 1 << 15;

pub(super) struct BufferRing {
    ring: MmapMut,
    memory: MmapMut,
    held: Box<[bool]>,
    /// The buffer that was used last is on top.
    spare: Vec<u16>,
    /// Buffers that receives name.
    named: usize,
    /// Buffers in the ring.
    ready: usize,
    /// Buffers that [`Self::publish`] fills the ring up to.
    level: usize,
    bytes: usize,
    /// What may come at once: no more buffers are put into the ring, and of each no more is the kernel's.
    window: Window,
    /// Buffers that the kernel has taken since the last [`Self::publish`], and those of them that it filled.
    taken: usize,
    filled: usize,
    /// Where the next buffer goes; the kernel sees it at the next [`Self::publish`].
    tail: u16,
}

impl BufferRing {
    /// `count` is rounded up to a power of two.
    pub(super) fn new(count: u16, bytes: u32) -> io::Result<BufferRing> {
        let count = usize::from(count.clamp(1, COUNT_MAX).next_power_of_two());
        let bytes = bytes as usize;
        let mut buffers = BufferRing {
            ring: MmapMut::map_anon(count * size_of::<BufRingEntry>())?,
            memory: MmapMut::map_anon(count * (bytes + GAP_BYTES))?,
            held: vec![false; count].into(),
            spare: (0..count).rev().map(|id| id as u16).collect(),
            named: 0,
            ready: 0,
            level: count.min(LEVEL_MIN),
            bytes,
            window: Window::open(bytes),
            taken: 0,
            filled: 0,
            tail: 0,
        };
        buffers.publish();
        Ok(buffers)
    }

    /// Bytes of a buffer.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of a receive that fills what it gets.
    pub(super) fn piece_bytes(&self) -> usize {
        self.window.piece
    }

    /// Makes the ring known to the kernel.
    ///
    /// # Safety
    /// `self` must live, unmoved memory included, until the kernel has ended all receives of `submitter`'s ring.
    pub(super) unsafe fn register(&mut self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.ring.as_mut_ptr() as u64;
        // SAFETY: the mapping holds `count` entries and, by this function's contract, outlives their use.
        unsafe { submitter.register_buf_ring_with_flags(address, self.held.len() as u16, GROUP, 0) }
    }

    /// Buffers that the kernel can take.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// Takes over a buffer that a completion named, with so many bytes.
    pub(super) fn hold(&mut self, id: u16, len: usize) {
        assert!(!self.held[id as usize], "the kernel gave buffer {id} twice");
        self.held[id as usize] = true;
        self.ready -= 1;
        self.taken += 1;
        self.filled += usize::from(len >= self.window.piece);
    }

    /// So many bytes may come from here on, beside what is in the ring already.
    #[inline]
    pub(super) fn set_window(&mut self, bytes: usize) {
        self.window = Window::of(bytes, self.bytes, self.level);
    }

    /// Receives of a turn found the ring empty.
    pub(super) fn ran_empty(&mut self) {
        if self.filled <= self.taken / 2 && self.window.count >= self.level {
            self.level = (2 * self.level).min(self.held.len());
        }
    }

    /// Takes a buffer that is not in the ring, for a receive that names it; it comes back by [`Self::give_named`]. None if a
    /// share of all are named already: clients that stop within a value must not leave the others without buffers.
    pub(super) fn take_spare(&mut self) -> Option<(u16, *mut u8)> {
        if self.named >= self.held.len() / NAMED_SHARE {
            return None;
        }
        let id = self.spare.pop()?;
        self.named += 1;
        Some((id, self.memory.as_mut_ptr().wrapping_add(self.start(id))))
    }

    /// The receive that named a buffer is over: the buffer is held if bytes came to it.
    pub(super) fn give_named(&mut self, id: u16, len: usize) {
        self.named -= 1;
        if len > 0 {
            self.held[id as usize] = true;
        } else {
            self.spare.push(id);
        }
    }

    fn start(&self, id: u16) -> usize {
        id as usize * (self.bytes + GAP_BYTES)
    }

    pub(super) fn bytes(&self, id: u16, len: u32) -> &[u8] {
        assert!(self.held[id as usize] && len as usize <= self.bytes, "buffer {id} is not the worker's");
        let start = self.start(id);
        // SAFETY: `start + len` is inside the mapping by the assert above, and a held buffer is neither in the
        // ring nor named by a receive, so the kernel writes nothing there until `recycle`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(start), len as usize) }
    }

    pub(super) fn recycle(&mut self, id: u16) {
        assert!(self.held[id as usize], "buffer {id} is not the worker's");
        self.held[id as usize] = false;
        self.spare.push(id);
    }

    /// Fills the ring up to its level, as far as the window allows, and shows it to the kernel with one store.
    pub(super) fn publish(&mut self) {
        (self.taken, self.filled) = (0, 0);
        let level = self.level.min(self.window.count);
        while self.ready < level
            && let Some(id) = self.spare.pop()
        {
            self.push(id);
            self.ready += 1;
        }
        let first = self.ring.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `first` is the page-aligned start of the ring's entries.
        let tail = unsafe { BufRingEntry::tail(first) }.cast_mut();
        // SAFETY: the tail is two aligned bytes of the mapping that only this thread writes and the kernel reads.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        // Release: pairs with the kernel's acquire of the tail; the entries before it are written.
        tail.store(self.tail, Ordering::Release);
    }

    fn push(&mut self, id: u16) {
        let place = self.tail as usize & (self.held.len() - 1);
        let address = self.memory.as_ptr() as u64 + self.start(id) as u64;
        // SAFETY: `place` is below the number of entries (a power of two), so inside the mapping.
        let entry = unsafe { self.ring.as_mut_ptr().cast::<BufRingEntry>().add(place) };
        // SAFETY: the entry is initialised (zeroed by the mapping) and the kernel reads entries only up to
        // the published tail; there are as many entries as buffers, so this one has been consumed.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.window.piece as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_the_workers_or_the_kernels() {
        let mut buffers = BufferRing::new(3, 100).unwrap();
        assert_eq!(buffers.held.len(), 4);
        buffers.hold(2, 100);
        assert_eq!(buffers.bytes(2, 100).len(), 100);
        buffers.recycle(2);
        buffers.publish();
        assert_eq!((buffers.tail, buffers.ready), (5, 4));
    }

    #[test]
    fn the_ring_is_short_until_it_runs_empty_and_takes_the_buffer_used_last() {
        let mut buffers = BufferRing::new(256, 100).unwrap();
        assert_eq!((buffers.ready, buffers.spare.len()), (64, 192));
        buffers.hold(3, 99);
        buffers.recycle(3);
        assert_eq!(buffers.spare.last(), Some(&3));
        buffers.publish();
        assert_eq!((buffers.ready, buffers.spare.len()), (64, 192));
        (4..8).for_each(|id| buffers.hold(id, 100));
        buffers.ran_empty();
        assert_eq!(buffers.level, 64, "long receives do not make it longer");
        (4..8).for_each(|id| buffers.recycle(id));
        buffers.publish();
        (0..3).for_each(|_| buffers.ran_empty());
        buffers.publish();
        assert_eq!((buffers.ready, buffers.spare.len()), (256, 0));
    }

    #[test]
    fn a_narrow_window_fills_buffers_in_part_or_fewer_of_them() {
        let mut buffers = BufferRing::new(256, 16 << 10).unwrap();
        (0..64).for_each(|id| buffers.hold(id, 16 << 10));
        (0..64).for_each(|id| buffers.recycle(id));
        buffers.set_window(64 << 12);
        buffers.publish();
        assert_eq!((buffers.ready, buffers.piece_bytes()), (64, 1 << 12));
        (0..64).for_each(|id| buffers.hold(id, 1 << 12));
        buffers.ran_empty();
        assert_eq!(buffers.level, 64, "they were as full as they may be");
        (0..64).for_each(|id| buffers.recycle(id));
        buffers.set_window(1);
        buffers.publish();
        buffers.hold(63, 10);
        buffers.ran_empty();
        assert_eq!((buffers.ready, buffers.level), (0, 64), "more would not be let in");
        buffers.recycle(63);
        buffers.set_window(0);
        buffers.publish();
        assert_eq!(buffers.ready, 0);
        buffers.set_window(usize::MAX);
        buffers.publish();
        assert_eq!((buffers.ready, buffers.piece_bytes()), (64, 16 << 10));
    }

    #[test]
    fn a_buffer_that_a_receive_named_is_held_or_spare_afterwards() {
        let mut buffers = BufferRing::new(128, 100).unwrap();
        let spare = buffers.spare.len();
        let (id, start) = buffers.take_spare().unwrap();
        assert_eq!(start.cast_const(), buffers.memory.as_ptr().wrapping_add(buffers.start(id)));
        buffers.give_named(id, 7);
        assert_eq!((buffers.bytes(id, 7).len(), buffers.spare.len()), (7, spare - 1));
        buffers.recycle(id);
        let (id, _) = buffers.take_spare().unwrap();
        buffers.give_named(id, 0);
        assert_eq!(buffers.spare.len(), spare);
        assert!(!buffers.held[id as usize]);
        assert_eq!(std::iter::from_fn(|| buffers.take_spare()).count(), 32, "the rest is for the ring");
        assert!(BufferRing::new(4, 100).unwrap().take_spare().is_none(), "all are in the ring");
    }

    #[test]
    #[should_panic(expected = "not the worker's")]
    fn a_buffer_in_the_ring_cannot_be_read() {
        BufferRing::new(4, 100).unwrap().bytes(1, 1);
    }
}
