//! How many segments there are, and those that hold nothing.

use super::{Phase, SegmentHeader, Segments};
#[cfg(test)]
use crate::steps::{Fault, has};

impl Segments {
    pub(crate) fn count_max(&self) -> usize {
        self.count_max
    }

    /// Keeps so many segments free beyond those that writers need next.
    pub(crate) fn keep_ahead(&mut self, segments: usize) {
        self.ahead = self.ahead - self.kept_ahead + segments;
        self.kept_ahead = segments;
    }

    pub(crate) fn ahead(&self) -> usize {
        self.ahead
    }

    /// Segments for which there are addresses, beside an index of so many bytes.
    pub(crate) fn reserved_beside(&self, index_bytes: usize) -> usize {
        self.frames.as_ref().map_or(self.headers.capacity(), |frames| frames.reserved_beside(index_bytes))
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
        if self.frames.is_none() {
            self.arena.discard(self.start(segment), self.segment_bytes);
        }
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

    /// A segment whose memory is not taken from the machine yet, or was given back; `None` if the machine has no more.
    pub(super) fn take_fresh(&mut self) -> Option<u32> {
        let segment = match self.retired.pop_front(&mut self.headers) {
            Some(segment) => segment,
            None if self.frames.is_some() => self.take_new_frame()?,
            None => self.push_header(),
        };
        self.count += 1;
        Some(segment)
    }

    /// The number of the next segment that never was.
    pub(super) fn push_header(&mut self) -> u32 {
        self.headers.push(SegmentHeader::new(0));
        self.headers.len() as u32 - 1
    }

    /// Makes a drained segment free again, once it has rested.
    ///
    /// # Panics
    /// If it still holds live items or is pinned.
    pub(super) fn make_free(&mut self, segment: u32) {
        let header = &self.headers[segment as usize];
        assert!(header.live_items == 0 && header.pins.get() == 0, "only an empty segment is free");
        if self.leases.is_some() {
            self.begin_rest(segment);
        } else {
            self.reuse(segment);
        }
    }

    /// Lets a free segment be taken, or gives it back if there are too many.
    pub(super) fn reuse(&mut self, segment: u32) {
        #[cfg(test)]
        let is_raised = ![Fault::RaiseLate, Fault::ChunkEarly].into_iter().any(has);
        #[cfg(not(test))]
        let is_raised = true;
        if is_raised {
            self.generations.raise(segment);
        }
        #[cfg(test)]
        if let Some(segment) = crate::steps::late(segment) {
            self.generations.raise(segment);
        }
        self.headers[segment as usize].phase = Phase::Free;
        if self.count > self.count_max {
            self.retire(segment);
        } else {
            self.free.push_front(&mut self.headers, segment);
        }
    }
}
