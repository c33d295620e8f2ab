//! The end of a ring: no memory of ours is given back while the kernel may still use it.

use super::Uring;
use super::buffers::BufferRing;
use super::user_data::{self, Operation};
use crate::transport::Event;
use crate::transport::sockets::shutdown;
use io_uring::cqueue;
use io_uring::types::CancelBuilder;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

/// Turns of 10 ms that dropping waits for the kernel to let go of memory.
const DROP_TURNS_MAX: u32 = 100;

impl Drop for Uring {
    fn drop(&mut self) {
        self.accepting = false;
        self.sockets.iter().for_each(|socket| shutdown(&socket.fd));
        let mut events = Vec::new();
        for _ in 0..DROP_TURNS_MAX {
            if self.in_flight == 0 {
                break;
            }
            let _ = self.ring.submit();
            let _ = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any());
            self.sockets.iter_mut().for_each(|socket| socket.closing = true);
            if self.enter(Some(Duration::from_millis(10))).is_err() {
                break;
            }
            self.reap_for_drop(&mut events);
        }
        self.registered.unregister(&self.ring);
        if self.in_flight > 0 {
            // The kernel may still read or write them.
            let buffers = BufferRing::new(1, 1).map(|empty| std::mem::replace(&mut self.buffers, empty));
            std::mem::forget(buffers);
            std::mem::forget(std::mem::take(&mut self.sockets));
            std::mem::forget(std::mem::take(&mut self.wakes));
        }
    }
}

impl Uring {
    /// Counts what ended; nothing is armed again.
    fn reap_for_drop(&mut self, events: &mut Vec<Event>) {
        let completions: Vec<cqueue::Entry> = self.ring.completion().collect();
        for completion in completions {
            match user_data::decode(completion.user_data()) {
                Some((Operation::Wake, _)) => self.in_flight -= 1,
                Some((Operation::Accept, _)) if completion.result() >= 0 => {
                    // SAFETY: the completion hands over a descriptor that has just been opened for us.
                    drop(unsafe { OwnedFd::from_raw_fd(completion.result()) });
                }
                Some((Operation::Receive | Operation::Send | Operation::QuickSend, _)) => {
                    self.complete(&completion, events)
                }
                _ => {}
            }
        }
        events.clear();
    }
}
