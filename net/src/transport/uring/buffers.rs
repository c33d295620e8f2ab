//! The provided-buffer ring: receive buffers that the kernel picks from.
//!
//! ```text
//!  ring:    | entry: address, length, buffer | entry | ... |   entries = count, tail in entry 0
//!  memory:  | buffer 0 | gap | buffer 1 | gap | ...
//!  held:    which buffers are the worker's: the kernel gave them in a completion, and they are not recycled
//! ```
//!
//! A buffer is either held or in the ring, never both. The gap keeps the starts of the buffers, which are
//! their only hot lines when requests are short, from falling into the same sets of the CPU's caches.

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use memmap2::MmapMut;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one group of buffers of a ring.
pub(super) const GROUP: u16 = 0;

/// Bytes between two buffers: an odd number of cache lines.
const GAP_BYTES: usize = 3 * 64;

/// The kernel's own bound is 32,768.
const COUNT_MAX: u16 = 1 << 15;

pub(super) struct BufferRing {
    ring: MmapMut,
    memory: MmapMut,
    held: Box<[bool]>,
    bytes: usize,
    /// Where the next recycled buffer goes; the kernel sees it at the next [`Self::publish`].
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
            bytes,
            tail: 0,
        };
        (0..count).for_each(|id| buffers.push(id as u16));
        buffers.publish();
        Ok(buffers)
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

    /// Takes over a buffer that a completion named.
    pub(super) fn hold(&mut self, id: u16) {
        assert!(!self.held[id as usize], "the kernel gave buffer {id} twice");
        self.held[id as usize] = true;
    }

    pub(super) fn bytes(&self, id: u16, len: u32) -> &[u8] {
        assert!(self.held[id as usize] && len as usize <= self.bytes, "buffer {id} is not the worker's");
        let start = id as usize * (self.bytes + GAP_BYTES);
        // SAFETY: `start + len` is inside the mapping by the assert above, and a held buffer is not in the
        // ring, so the kernel writes nothing there until `recycle`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(start), len as usize) }
    }

    pub(super) fn recycle(&mut self, id: u16) {
        assert!(self.held[id as usize], "buffer {id} is not the worker's");
        self.held[id as usize] = false;
        self.push(id);
    }

    /// Shows the kernel all recycled buffers with one store.
    pub(super) fn publish(&mut self) {
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
        let address = self.memory.as_ptr() as u64 + (id as usize * (self.bytes + GAP_BYTES)) as u64;
        // SAFETY: `place` is below the number of entries (a power of two), so inside the mapping.
        let entry = unsafe { self.ring.as_mut_ptr().cast::<BufRingEntry>().add(place) };
        // SAFETY: the entry is initialised (zeroed by the mapping) and the kernel reads entries only up to
        // the published tail; there are as many entries as buffers, so this one has been consumed.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.bytes as u32);
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
        buffers.hold(2);
        assert_eq!(buffers.bytes(2, 100).len(), 100);
        buffers.recycle(2);
        assert_eq!(buffers.tail, 5);
    }

    #[test]
    #[should_panic(expected = "not the worker's")]
    fn a_buffer_in_the_ring_cannot_be_read() {
        BufferRing::new(4, 100).unwrap().bytes(1, 1);
    }
}
