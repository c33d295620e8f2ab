//! What one side has posted and has not heard of, and the memory that it is sent from.

use std::collections::VecDeque;

/// Work requests after which one is signaled: its completion says of all before it that they are over.
pub(crate) const SIGNAL_EVERY: usize = 8;

/// What was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// A message, out of a slot or inline.
    Message { slot: bool },
    /// A ping: its completion also tells of all before it, should the device have lost theirs.
    Ping,
    /// Bytes of others were written, which they lend until it is over.
    Write,
    /// Bytes are read.
    Read,
}

/// Counts and places; what is posted is over in its order.
#[derive(Debug)]
pub(crate) struct Sends {
    /// Slots of `slot_bytes` each from `at` on, used around.
    at: usize,
    slot_bytes: usize,
    slots: usize,
    next: usize,
    free: usize,
    posted: VecDeque<Posted>,
    /// The number of the first of `posted`.
    first: u64,
    /// WRITEs and READs among them.
    writes: usize,
    reads: usize,
    /// Since the last one that is signaled.
    unsignaled: usize,
    /// Work requests that may be posted.
    depth: usize,
}

impl Sends {
    pub(crate) fn new(at: usize, slots: usize, slot_bytes: usize, depth: usize) -> Sends {
        let posted = VecDeque::with_capacity(depth);
        let (next, free, first) = (0, slots, 0);
        let (writes, reads, unsignaled) = (0, 0, 0);
        Sends { at, slot_bytes, slots, next, free, posted, first, writes, reads, unsignaled, depth }
    }

    pub(crate) fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    pub(crate) fn has_slot(&self) -> bool {
        self.free > 0
    }

    /// Whether so many more can be posted.
    pub(crate) fn has_room(&self, count: usize) -> bool {
        self.posted.len() + count <= self.depth
    }

    /// Where the next slot lies, without taking it.
    pub(crate) fn slot(&self) -> usize {
        self.at + self.next * self.slot_bytes
    }

    /// Notes what is posted next; its number, and whether it has to be signaled.
    pub(crate) fn post(&mut self, what: Posted) -> (u64, bool) {
        let id = self.ever();
        match what {
            Posted::Message { slot: true } => {
                self.next = (self.next + 1) % self.slots;
                self.free -= 1;
            }
            Posted::Message { slot: false } | Posted::Ping => {}
            Posted::Write => self.writes += 1,
            Posted::Read => self.reads += 1,
        }
        self.posted.push_back(what);
        self.unsignaled += 1;
        let is_message = matches!(what, Posted::Message { .. });
        // Room comes back by completions alone: the last slot must bring one, and of the last requests each, should one be lost.
        let is_last = self.free == 0 || self.posted.len() + SIGNAL_EVERY >= self.depth;
        let signaled = !is_message || is_last || self.unsignaled >= SIGNAL_EVERY;
        if signaled {
            self.unsignaled = 0;
        }
        (id, signaled)
    }

    /// A completion came: all up to this number is over. False: it was not posted.
    #[must_use]
    pub(crate) fn complete(&mut self, id: u64) -> bool {
        let Some(count) = id.checked_sub(self.first).filter(|count| *count < self.posted.len() as u64) else {
            return false;
        };
        for what in self.posted.drain(..=count as usize) {
            match what {
                Posted::Message { slot } => self.free += usize::from(slot),
                Posted::Ping => {}
                Posted::Write => self.writes -= 1,
                Posted::Read => self.reads -= 1,
            }
        }
        self.first = id + 1;
        true
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads
    }

    /// Whether nothing is under way that says when it is over.
    pub(crate) fn is_quiet(&self) -> bool {
        self.writes + self.reads == 0
    }

    #[cfg(test)]
    pub(crate) fn free_slots(&self) -> usize {
        self.free
    }

    pub(crate) fn count(&self) -> usize {
        self.posted.len()
    }

    /// How many were posted, ever.
    pub(crate) fn ever(&self) -> u64 {
        self.first + self.posted.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Posted = Posted::Message { slot: true };

    #[test]
    fn room_never_ends_without_a_completion_that_brings_it_back() {
        for (slots, depth) in [(2, 16), (16, 16), (16, 64), (100, 24)] {
            let mut sends = Sends::new(64, slots, 10, depth);
            let mut last_signaled = None;
            for step in 0..1000 {
                while sends.has_slot() && sends.has_room(1) {
                    assert!((64..64 + slots * 10).contains(&sends.slot()));
                    let what = if step % 7 == 0 { Posted::Message { slot: false } } else { SLOT };
                    let (id, signaled) = sends.post(what);
                    last_signaled = if signaled { Some(id) } else { last_signaled };
                }
                let signaled = last_signaled.expect("one of them");
                assert!(sends.complete(signaled), "{slots} {depth}");
                assert!(sends.has_slot() && sends.has_room(1));
            }
        }
    }

    #[test]
    fn what_was_not_posted_is_not_over() {
        let mut sends = Sends::new(0, 4, 10, 8);
        assert!(!sends.complete(0));
        let (id, _) = sends.post(SLOT);
        assert_eq!((sends.post(Posted::Write), sends.is_quiet()), ((id + 1, true), false));
        assert!(!sends.complete(id + 2));
        assert_eq!((sends.writes(), sends.reads(), sends.count()), (1, 0, 2));
        assert!(sends.complete(id + 1) && !sends.complete(id + 1));
        assert_eq!((sends.writes(), sends.count(), sends.is_quiet()), (0, 0, true));
    }
}
