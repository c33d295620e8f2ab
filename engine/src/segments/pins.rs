//! Pinned segments: somebody needs their bytes where they are.

use super::{Lent, Phase, Segments, header};
use crate::bytes::Bytes;

impl Segments {
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

    /// Pins the segment of `at` for a chunk that is being written there, and that nobody can find yet.
    pub(crate) fn pin_to_fill(&mut self, at: u64) {
        let segment = self.segment_of(at);
        self.pin(segment);
        self.headers[segment as usize].fills += 1;
    }

    pub(crate) fn unpin_filled(&mut self, at: u64) {
        let segment = self.segment_of(at);
        self.headers[segment as usize].fills -= 1;
        self.unpin(segment);
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
        self.unpinned += 1;
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

    /// How often the last pin of a segment has gone: whoever waits for that sees it here.
    pub(crate) fn unpinned(&self) -> u64 {
        self.unpinned
    }

    /// Segments that somebody pins.
    pub(crate) fn pinned(&self) -> usize {
        self.pinned.get()
    }
}
