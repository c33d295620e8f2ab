//! A descriptor of somebody else that ends the wait when it is readable: the notices of a completion queue.

use super::user_data::{self, Operation};
use super::{ConnId, Event, Uring};
use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use std::os::fd::RawFd;

impl Uring {
    pub(super) fn begin_watch(&mut self, descriptor: RawFd) {
        self.end_watch();
        self.watches = self.watches.wrapping_add(1);
        self.watched = Some(descriptor);
        self.arm_notices(descriptor);
    }

    /// The poll holds the descriptor's file, so it has to end before that can be closed for good.
    pub(super) fn end_watch(&mut self) {
        if self.watched.take().is_some() {
            self.cancel(Operation::Notice, self.watch_place());
            // At once: nobody may turn again before the file is closed.
            let _ = self.ring.submit();
        }
    }

    /// Each watch has a place of its own, so that a completion of one that has ended is known.
    fn watch_place(&self) -> ConnId {
        ConnId { index: self.watches, generation: 0 }
    }

    fn arm_notices(&mut self, descriptor: RawFd) {
        let poll = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32).multi(true).build();
        self.push(poll.user_data(user_data::encode(Operation::Notice, self.watch_place())));
    }

    pub(super) fn noticed(&mut self, place: ConnId, result: i32, flags: u32, events: &mut Vec<Event>) {
        let Some(descriptor) = self.watched.filter(|_| place == self.watch_place()) else { return };
        if result > 0 {
            events.push(Event::Woken);
        }
        if !cqueue::more(flags) && result != -libc::ECANCELED {
            self.arm_notices(descriptor);
        }
    }
}
