//! One connection of the generator: its socket, its output and the batches it waits for.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use super::{address::Address, epoll::Epoll, measure::Latency};
use crate::error::BenchError;

/// Open loop: batches that a connection may have in flight before further ones wait in the
/// generator (their latency runs on all the same).
const BATCHES_IN_FLIGHT_MAX: usize = 64;

/// Requests written together: when they were (to be) sent and how many are unanswered.
#[derive(Clone, Copy, Debug)]
struct Batch {
    at_ns: u64,
    remaining: u32,
}

/// What a receive brought.
pub(super) enum Received {
    Bytes(usize),
    Nothing,
    Closed,
}

pub(super) struct Connection<S> {
    socket: OwnedFd,
    pub(super) scanner: S,
    pub(super) out: Vec<u8>,
    /// How much of `out` the kernel has.
    sent: usize,
    /// Whether epoll watches for room to send.
    blocked: bool,
    batches: VecDeque<Batch>,
    outstanding: u32,
    /// Intended times of batches that are due and not yet written, nanoseconds.
    waiting: VecDeque<u64>,
}

impl<S: Default> Connection<S> {
    pub(super) fn open(server: &Address) -> Result<Self, BenchError> {
        let socket = server.connect().map_err(BenchError::io(format!("connecting to {server}")))?;
        Ok(Self {
            socket,
            scanner: S::default(),
            out: Vec::new(),
            sent: 0,
            blocked: false,
            batches: VecDeque::new(),
            outstanding: 0,
            waiting: VecDeque::new(),
        })
    }
}

impl<S> Connection<S> {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Requests without an answer.
    #[inline]
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Notes that `count` requests were written.
    #[inline]
    pub(super) fn expect(&mut self, at_ns: u64, count: u32) {
        if count > 0 {
            self.outstanding += count;
            self.batches.push_back(Batch { at_ns, remaining: count });
        }
    }

    /// Settles the oldest `replies` requests; returns how many replies had no request.
    #[inline]
    pub(super) fn settle(&mut self, mut replies: u64, now_ns: u64, latency: &mut Latency) -> u64 {
        while replies > 0 {
            let Some(batch) = self.batches.front_mut() else {
                return replies;
            };
            let settled = replies.min(u64::from(batch.remaining));
            latency.record(now_ns.saturating_sub(batch.at_ns), settled);
            replies -= settled;
            batch.remaining -= settled as u32;
            self.outstanding -= settled as u32;
            if batch.remaining == 0 {
                self.batches.pop_front();
            }
        }
        0
    }

    /// Open loop: a batch is due. True if it is the first that waits.
    pub(super) fn wait(&mut self, intended_ns: u64) -> bool {
        self.waiting.push_back(intended_ns);
        self.waiting.len() == 1
    }

    /// The next batch that may be written now.
    pub(super) fn next_waiting(&mut self) -> Option<u64> {
        match self.blocked || self.batches.len() >= BATCHES_IN_FLIGHT_MAX {
            true => None,
            false => self.waiting.pop_front(),
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Records what will not be answered any more with its age; returns how many requests.
    pub(super) fn abandon(&mut self, now_ns: u64, depth: u32, latency: &mut Latency) -> u64 {
        let waiting = self.waiting.drain(..).map(|at_ns| Batch { at_ns, remaining: depth });
        let mut count = 0;
        for batch in self.batches.drain(..).chain(waiting) {
            latency.record(now_ns.saturating_sub(batch.at_ns), u64::from(batch.remaining));
            count += u64::from(batch.remaining);
        }
        count
    }

    /// One nonblocking receive.
    #[inline]
    pub(super) fn receive(&mut self, inbox: &mut [u8]) -> Result<Received, BenchError> {
        match recv(&self.socket, inbox, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Received::Closed),
            Ok((bytes, _)) => Ok(Received::Bytes(bytes)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(error) => Err(BenchError::io("receiving replies")(error)),
        }
    }

    /// Sends what is written, at most `turn_bytes` of it; the rest goes when epoll says so.
    #[inline]
    pub(super) fn flush(&mut self, epoll: &Epoll, number: u64, turn_bytes: usize) -> Result<(), BenchError> {
        let end = self.out.len().min(self.sent + turn_bytes);
        while self.sent < end {
            match send(&self.socket, &self.out[self.sent..end], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(bytes) => self.sent += bytes,
                Err(Errno::AGAIN | Errno::INTR) => return self.watch_room(true, epoll, number),
                Err(error) => return Err(BenchError::io("sending requests")(error)),
            }
        }
        if end < self.out.len() {
            return self.watch_room(true, epoll, number);
        }
        self.out.clear();
        self.sent = 0;
        self.watch_room(false, epoll, number)
    }

    fn watch_room(&mut self, blocked: bool, epoll: &Epoll, number: u64) -> Result<(), BenchError> {
        if self.blocked == blocked {
            return Ok(());
        }
        self.blocked = blocked;
        epoll.change(&self.socket, number, blocked)
    }
}
