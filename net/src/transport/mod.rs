//! The seam between the worker loop and whatever carries bytes. Transports know no commands.
//!
//! Three transports have the same interface: `uring`, `epoll` and, for tests, `sim`; `rings` adds shared memory to one of them, `rdma` queue pairs. One transport
//! belongs to one shard thread. A turn of the loop is one [`Transport::turn`]: it hands everything queued to the kernel, waits if
//! told to, and reports what happened.
//!
//! Ownership: received bytes stay the transport's and are looked at by [`Transport::received`] until
//! [`Transport::recycle`]; the [`Pieces`] given to [`Transport::send`] are the transport's until they come back in
//! [`Event::Sent`] or [`Event::Closed`]. At most one send of a connection is on its way.
//!
//! A long value need not go through the transport's buffers: [`Transport::receive_into`] has the next bytes of a connection
//! received where they will stay. The room is the transport's until it comes back in [`Event::Filled`].
//!
//! The end of a send that nothing else waits for is reported together with the next event ([`Notice::WithNext`]).
//! Otherwise each lone request would cost a second system call, made only to hear that its answer was sent.

pub mod choice;
pub mod epoll;
mod pieces;
pub(crate) mod places;
pub(crate) mod rdma;
pub(crate) mod rings;
#[cfg(test)]
pub(crate) mod sim;
pub(crate) mod sockets;
#[cfg(test)]
mod tests;
pub mod uring;
pub(crate) mod window;

pub use pieces::{PIECES_BYTES_MAX, PIECES_MAX, Pieces};

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;
use torc_engine::segments::Room;
use torc_proto::native::PairEnd;
use torc_rdma::Refused;

/// A connection of this transport; never reused while events about it may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Place in the worker's table, dense.
    pub index: u32,
    /// Rises each time the place is used again; below [`GENERATIONS`].
    pub generation: u32,
}

/// Number of generations of a place; then they start again at 0. Only an event that comes this many connections too
/// late could be taken for one of a newer connection.
pub const GENERATIONS: u32 = 1 << 24;

/// A receive buffer of the transport that holds bytes for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferId(pub u16);

/// When the loop wants to hear that a send is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// As soon as the send is over: something waits for its end, such as more bytes to send.
    Soon,
    /// Together with the next event, or when the wait is over. The end of the send does not end the wait.
    WithNext,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A client came through the listener with this number.
    Accepted { conn: ConnId, listener: u16 },
    /// `len` bytes from the client lie in `buffer`.
    Received { conn: ConnId, buffer: BufferId, len: u32 },
    /// The client's next `len` bytes lie at the start of the room, and the kernel is done with it. `len` may be 0: the room
    /// was asked back, or the client is paused or gone.
    Filled { conn: ConnId, room: Room, len: u32 },
    /// The transport is done with the pieces: their bytes are with the kernel, or the connection is dead and
    /// `Closed` follows.
    Sent { conn: ConnId, pieces: Pieces },
    /// No more bytes will come: the client closed its side. Answers can still be sent.
    Ended { conn: ConnId },
    /// The connection is gone; the pieces that it was sending come back.
    Closed { conn: ConnId, pieces: Pieces },
    /// Another thread called this transport's [`Waker`], or what is watched is readable.
    Woken,
    /// Accepting failed for want of file descriptors or memory; the transport tries again by itself.
    AcceptFailed { error: i32 },
}

/// Why a connection gets no rings.
#[derive(Debug)]
pub enum NotAttached {
    /// Memory is not shared.
    Off,
    /// It has some.
    Already,
    /// It did not come over a Unix socket.
    NotLocal,
    /// Memory is not shared with its user.
    Forbidden,
    /// The kernel refused what is needed.
    Failed(std::io::Error),
    /// Its socket did not take the answer: it cannot go on.
    Broken(std::io::Error),
}

/// Why a connection gets no queue pair.
#[derive(Debug)]
pub enum NotPaired {
    /// RDMA is switched off, or there was no device at the start.
    Off,
    /// The device is gone, or being given up.
    Gone,
    /// It has one, or rings.
    Already,
    /// The shard has as many as it may.
    Full,
    Refused(Refused),
    Failed(std::io::Error),
}

impl From<Refused> for NotPaired {
    fn from(refused: Refused) -> NotPaired {
        NotPaired::Refused(refused)
    }
}

/// What a transport offers the loop.
pub trait Transport {
    /// Submits what is queued, waits at most `wait` for an event (zero: not at all; `None`: without end) and
    /// appends what happened. At most a bounded number of events a turn.
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> std::io::Result<()>;

    /// Whether a turn could find something to do without waiting. False only if the transport knows so without a system
    /// call.
    fn may_have_news(&mut self) -> bool {
        true
    }

    /// The bytes of a [`Event::Received`].
    fn received(&self, buffer: BufferId, len: u32) -> &[u8];

    /// Gives a receive buffer back.
    fn recycle(&mut self, buffer: BufferId);

    /// Receives the next bytes of a connection into `room`, once: as many as there are then. The caller has parsed
    /// all that came before. `last`: more of the value does not follow, so a little of what is behind it may come to a
    /// buffer by the same receive; it is reported as [`Event::Received`] after [`Event::Filled`].
    ///
    /// # Errors
    /// The room again: bytes may be on their way to a buffer already, or the client is not read. After the next
    /// [`Event::Received`] it may be tried again.
    fn receive_into(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room>;

    /// Asks for the room back that a connection receives into; [`Event::Filled`] follows.
    fn recall(&mut self, conn: ConnId);

    /// Queues pieces. The connection must have none on its way.
    fn send(&mut self, conn: ConnId, pieces: Pieces, notice: Notice);

    /// A figure that changes when the client takes bytes of what is on its way. It may cost a system call.
    fn taken(&self, conn: ConnId) -> u64;

    /// Stops reading a client that asks for more than it takes, until `resume`. Bytes that were under way may still come.
    /// If the client goes away meanwhile, it is reported as `Closed`.
    fn pause(&mut self, conn: ConnId);
    fn resume(&mut self, conn: ConnId);

    /// Reads a client in small pieces, because it sends faster than it is served and other clients would wait. The
    /// transport ends this by itself when the client sends less.
    fn ration(&mut self, _conn: ConnId) {}

    /// What all clients together may bring to buffers from here on until the next call, bytes, as there is no room for more;
    /// 0: nothing. What is under way may come beside it.
    fn set_receive_window(&mut self, _bytes: usize) {}

    /// Ends a connection; `Closed` follows.
    fn close(&mut self, conn: ConnId);

    /// Ends a connection that has just been accepted with a few words, which are lost if its socket does not take them at
    /// once; `Closed` follows.
    fn refuse(&mut self, conn: ConnId, _words: &[u8]) {
        self.close(conn);
    }

    /// Lets the bytes of a connection go through rings of shared memory from here on. `answer` is the last that goes over its
    /// socket, and the rings' descriptors follow it. Nothing of it may be on its way. Returns the memory that the rings take, bytes.
    ///
    /// # Errors
    /// Why not; `answer` was sent only if [`NotAttached::Broken`], and then perhaps in part.
    fn attach(&mut self, _conn: ConnId, _answer: &[u8], _reads: bool) -> Result<usize, NotAttached> {
        Err(NotAttached::Off)
    }

    /// Gives a connection a queue pair. The next that is sent goes over its socket as ever, and is the last: it says what is returned
    /// here, which the client needs to know. Nothing may be on its way. Returns the memory that the connection takes, too, bytes.
    ///
    /// # Errors
    /// Why it gets none; it goes on as before.
    fn pair(&mut self, _conn: ConnId, _client: &PairEnd) -> Result<(PairEnd, usize), NotPaired> {
        Err(NotPaired::Off)
    }

    /// Has [`Event::Woken`] reported whenever this descriptor is readable, until [`Transport::unwatch`]. There is one at a time; it must
    /// stay open until then.
    ///
    /// # Errors
    /// The kernel refused, or the transport cannot.
    fn watch(&mut self, _descriptor: BorrowedFd<'_>) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn unwatch(&mut self) {}

    /// The socket of a connection, if it has one.
    fn socket(&self, _conn: ConnId) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Stops accepting (drain).
    fn stop_accepting(&mut self);

    /// `peer` and `local` address in words, for CLIENT INFO.
    fn addresses(&self, conn: ConnId) -> (String, String);

    /// What wakes this transport's [`Transport::turn`] from another thread.
    fn waker(&self) -> Arc<dyn Waker>;

    /// `uring`, `epoll`, `sim`.
    fn name(&self) -> &'static str;
}

/// Wakes a worker that sleeps in [`Transport::turn`]; any thread may call it.
pub trait Waker: Send + Sync {
    fn wake(&self);
}
