//! One connection of the generator: its socket, rings or queue pair, its output and the batches it waits for.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use torc_rdma::{client::Sizes, connect as rdma};
use torc_shm::{Connected, connect};

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

/// What carries the bytes.
enum Link {
    Socket(OwnedFd),
    /// In memory that the server shares.
    Rings(Box<Connected>),
    Rdma(Box<rdma::Connected>),
}

/// How long a server may take to share its memory, or to tell of its queue pair.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Connection<S> {
    link: Link,
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
        let connecting = || format!("connecting to {server}");
        let link = match server {
            Address::Rings(path) => {
                let attached = connect(path, ATTACH_TIMEOUT);
                let attached =
                    attached.map_err(|error| BenchError::io(connecting())(io::Error::other(error)))?;
                Link::Rings(Box::new(attached))
            }
            Address::Rdma(address, device) => {
                let connected = rdma::connect(*address, &device.0, Sizes::default(), ATTACH_TIMEOUT);
                let connected =
                    connected.map_err(|error| BenchError::io(connecting())(io::Error::other(error)))?;
                Link::Rdma(Box::new(connected))
            }
            _ => Link::Socket(server.connect().map_err(BenchError::io(connecting()))?),
        };
        Ok(Self {
            link,
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
        match &self.link {
            Link::Socket(socket) => socket.as_fd(),
            Link::Rings(rings) => rings.socket.as_fd(),
            Link::Rdma(connected) => connected.socket.as_fd(),
        }
    }

    /// Readable when there is a notice of a queue pair, which has one beside its socket.
    pub(super) fn notices(&self) -> Option<BorrowedFd<'_>> {
        match &self.link {
            Link::Socket(_) | Link::Rings(_) => None,
            Link::Rdma(connected) => connected.end.notices(),
        }
    }

    /// Whether it is to be looked at, as it tells by its descriptors only when asked to.
    pub(super) fn is_polled(&self) -> bool {
        !matches!(self.link, Link::Socket(_))
    }

    /// Whether rings or a queue pair have something to read, or again room for what waits; no system call.
    #[inline]
    pub(super) fn has_news(&mut self) -> bool {
        match &mut self.link {
            Link::Socket(_) => false,
            Link::Rings(rings) => rings.end.waiting() != Ok(0) || (self.blocked && rings.end.room() != Ok(0)),
            Link::Rdma(connected) => connected.end.has_news(self.blocked),
        }
    }

    /// Says that nobody looks until a descriptor is readable; false: something has come.
    pub(super) fn may_sleep(&mut self) -> bool {
        match &mut self.link {
            Link::Socket(_) => true,
            Link::Rings(rings) => rings.may_sleep(self.blocked).unwrap_or_default(),
            Link::Rdma(connected) => connected.end.may_sleep(self.blocked),
        }
    }

    /// A descriptor is readable: hears the bells of rings, the notices of a queue pair. False: the server is gone.
    pub(super) fn hear_bells(&mut self) -> bool {
        match &mut self.link {
            Link::Socket(_) => true,
            Link::Rings(rings) => rings.hear_bells().is_ok(),
            Link::Rdma(connected) => connected.hear().is_ok(),
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
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
        let socket = match &mut self.link {
            Link::Socket(socket) => socket,
            Link::Rings(rings) => {
                return match rings.end.waiting().map_err(broken("receiving replies"))? {
                    0 => Ok(Received::Nothing),
                    _ => {
                        rings.end.wake();
                        let taken = rings.end.take_into(inbox);
                        rings.wake_server();
                        Ok(Received::Bytes(taken))
                    }
                };
            }
            Link::Rdma(connected) => {
                return match connected.end.read(inbox).map_err(broken("receiving replies"))? {
                    0 => Ok(Received::Nothing),
                    taken => Ok(Received::Bytes(taken)),
                };
            }
        };
        match recv(socket, inbox, RecvFlags::DONTWAIT) {
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
        let socket = match &mut self.link {
            Link::Socket(socket) => &*socket,
            Link::Rings(rings) => {
                let written = rings.write_some(&self.out[self.sent..]).map_err(broken("sending requests"))?;
                rings.wake_server();
                self.note_written(written);
                return Ok(());
            }
            Link::Rdma(connected) => {
                let written = connected.end.write(&self.out[self.sent..end]);
                let written = written.map_err(broken("sending requests"))?;
                self.note_written(written);
                return Ok(());
            }
        };
        while self.sent < end {
            match send(socket, &self.out[self.sent..end], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
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

    /// What was not written goes when there is room again, which is looked for.
    fn note_written(&mut self, written: usize) {
        self.sent += written;
        self.blocked = self.sent < self.out.len();
        if !self.blocked {
            self.out.clear();
            self.sent = 0;
        }
    }

    fn watch_room(&mut self, blocked: bool, epoll: &Epoll, number: u64) -> Result<(), BenchError> {
        if self.blocked == blocked {
            return Ok(());
        }
        self.blocked = blocked;
        epoll.change(self.fd(), number, blocked)
    }
}

fn broken<E>(action: &'static str) -> impl FnOnce(E) -> BenchError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |broken| BenchError::io(action)(io::Error::other(broken))
}
