//! A level-triggered epoll over numbered sockets.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};

use crate::error::BenchError;

/// What one wait brought, kept until the next.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Box<[Event]>,
}

/// A connection that can go on.
pub(crate) struct Ready {
    pub(crate) number: usize,
    pub(crate) writable: bool,
}

impl Epoll {
    /// One wait takes `events_max` events at most; at least 1.
    pub(crate) fn new(events_max: usize) -> Result<Self, BenchError> {
        let fd = epoll::create(CreateFlags::CLOEXEC).map_err(BenchError::io("opening an epoll"))?;
        let none = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        Ok(Self { fd, events: vec![none; events_max.max(1)].into() })
    }

    /// Watches a socket for bytes to read.
    pub(crate) fn add(&self, socket: impl AsFd, number: u64) -> Result<(), BenchError> {
        let added = epoll::add(&self.fd, socket, EventData::new_u64(number), EventFlags::IN);
        added.map_err(BenchError::io("watching a socket"))
    }

    /// Watches for bytes to read and, if `writable`, for room to send.
    pub(crate) fn change(&self, socket: impl AsFd, number: u64, writable: bool) -> Result<(), BenchError> {
        let flags = if writable { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        let changed = epoll::modify(&self.fd, socket, EventData::new_u64(number), flags);
        changed.map_err(BenchError::io("watching a socket"))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Waits up to `timeout` (`None`: for ever); returns how many are ready.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<usize, BenchError> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match epoll::wait(&self.fd, &mut self.events[..], timeout.as_ref()) {
            Err(Errno::INTR) => Ok(0),
            ready => ready.map_err(BenchError::io("waiting for replies")),
        }
    }

    /// Event `at` of the last wait, which must be below what that returned. Errors and hang-ups
    /// show as readable: the receive that follows names them.
    pub(crate) fn ready(&self, at: usize) -> Ready {
        let Event { flags, data } = self.events[at];
        Ready { number: data.u64() as usize, writable: flags.contains(EventFlags::OUT) }
    }
}
