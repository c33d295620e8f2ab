//! A thin, safe face of epoll, level-triggered.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::error::BenchError;

/// Events taken by one wait, at most.
pub(crate) const EVENTS_A_WAIT: usize = 256;

/// What one wait brought, kept until the next.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Box<[libc::epoll_event; EVENTS_A_WAIT]>,
}

/// A connection that can go on.
pub(crate) struct Ready {
    pub(crate) number: usize,
    pub(crate) writable: bool,
}

const READ: u32 = libc::EPOLLIN as u32;
const WRITE: u32 = libc::EPOLLOUT as u32;

impl Epoll {
    pub(crate) fn new() -> Result<Self, BenchError> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(BenchError::os("opening an epoll"));
        }
        Ok(Self {
            // SAFETY: the call above has just opened `fd`, and nobody else knows it.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS_A_WAIT]),
        })
    }

    /// Watches a socket for bytes to read.
    pub(crate) fn add(&self, fd: RawFd, number: u64) -> Result<(), BenchError> {
        self.control(libc::EPOLL_CTL_ADD, fd, number, READ)
    }

    /// Watches for bytes to read and, if `writable`, for room to send.
    pub(crate) fn change(&self, fd: RawFd, number: u64, writable: bool) -> Result<(), BenchError> {
        let events = if writable { READ | WRITE } else { READ };
        self.control(libc::EPOLL_CTL_MOD, fd, number, events)
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn control(&self, how: i32, fd: RawFd, number: u64, events: u32) -> Result<(), BenchError> {
        let mut event = libc::epoll_event { events, u64: number };
        // SAFETY: `event` lives through the call, which copies it; a wrong `fd` is an error.
        match unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), how, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(BenchError::os("watching a socket")),
        }
    }

    /// Waits up to `timeout_ms` (0: not at all; -1: for ever); returns how many are ready, `max` at most.
    pub(crate) fn wait(&mut self, timeout_ms: i32, max: usize) -> Result<usize, BenchError> {
        let max = max.clamp(1, EVENTS_A_WAIT);
        // SAFETY: the kernel writes at most `max` events, and the array has room for EVENTS_A_WAIT.
        let ready = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), max as i32, timeout_ms)
        };
        match usize::try_from(ready) {
            Ok(ready) => Ok(ready),
            Err(_) => match std::io::Error::last_os_error() {
                error if error.kind() == std::io::ErrorKind::Interrupted => Ok(0),
                error => Err(BenchError::io("waiting for replies")(error)),
            },
        }
    }

    /// Event `at` of the last wait, which must be below what that returned. Errors and hang-ups
    /// show as readable: the receive that follows names them.
    pub(crate) fn ready(&self, at: usize) -> Ready {
        let event = self.events[at];
        Ready { number: event.u64 as usize, writable: event.events & WRITE != 0 }
    }
}
