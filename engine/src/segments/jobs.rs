//! Which segments a job may have: the oldest of a queue, and those that wait to be compacted.

use super::{Phase, Queue, SegmentHeader, Segments};

/// Pinned segments that a search for one to take passes over, at most.
pub(crate) const PARKED_MAX: usize = 64;

impl Segments {
    /// Number of sealed segments in a queue.
    pub(crate) fn sealed(&self, queue: Queue) -> usize {
        self.queues[queue as usize].len()
    }

    /// The sealed segments of a queue, the oldest first.
    pub(crate) fn oldest(&self, queue: Queue) -> impl Iterator<Item = u32> + '_ {
        self.queues[queue as usize].iter(&self.headers)
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

    /// Lets a sealed segment wait for a job that compacts it. One without live items does not wait.
    pub(crate) fn enqueue(&mut self, segment: u32) {
        if self.header(segment).live_items == 0 {
            self.emptied.push(segment);
        } else {
            self.line.push(&mut self.headers, segment);
        }
    }

    /// Says that all segments which wait for a job have waited long enough.
    pub(crate) fn ripen(&mut self) {
        self.line.ripen();
    }

    /// Takes the next segment to compact: one that is empty, or the first that waits, if it has waited long enough or
    /// `anyway`. Segments that are pinned, or no longer `worth` it, are passed over.
    pub(crate) fn take_queued(
        &mut self,
        anyway: bool,
        worth: impl Fn(&Segments, &SegmentHeader) -> bool,
    ) -> Option<u32> {
        while let Some(segment) = self.emptied.pop() {
            if self.header(segment).live_items == 0 && self.take(segment) {
                return Some(segment);
            }
        }
        for _ in 0..=PARKED_MAX {
            if !anyway && !self.line.is_ripe() {
                return None;
            }
            let segment = self.line.pop(&mut self.headers)?;
            if worth(self, self.header(segment)) && self.take(segment) {
                return Some(segment);
            }
        }
        None
    }

    /// Whether a segment can be compacted at once: one is empty, or has waited long enough.
    pub(crate) fn has_queued(&self) -> bool {
        !self.emptied.is_empty() || self.line.is_ripe()
    }

    /// Makes a segment that a job has walked free, as soon as nobody pins it.
    pub(crate) fn end_draining(&mut self, segment: u32) {
        if self.headers[segment as usize].pins.get() > 0 {
            self.headers[segment as usize].phase = Phase::Drained;
        } else {
            self.make_free(segment);
        }
    }
}
