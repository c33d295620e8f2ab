//! The sockets of the ring and what the kernel is doing with each.

use super::room::RoomAndTail;
use crate::transport::pieces::Message;
use crate::transport::{ConnId, GENERATIONS, Pieces};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use std::os::fd::{AsRawFd, OwnedFd};
use torc_engine::bytes::Bytes;
use torc_engine::segments::Room;

/// The receive of a socket: a multishot one, unless it is [rationed](Socket::rationed), [long](Socket::long)
/// or [ending](Socket::ending).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    /// Not with the kernel.
    Idle,
    Armed,
    /// With the kernel, and asked back.
    Cancelling,
    /// Not with the kernel: there was no buffer for it, and it waits in line.
    Starved,
}

pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) receive: Receive,
    /// The worker wants bytes (not paused).
    pub(super) reading: bool,
    /// The client sent faster than it was served. One buffer a turn is read from it, until a buffer is not filled: a
    /// multishot receive would take dozens in one turn, and other clients would wait.
    pub(super) rationed: bool,
    /// Buffers that the multishot receive has filled in a row, with more behind them.
    pub(super) row: u8,
    /// Single receives that are left before the socket gets a multishot receive again; 0 for a client that sends no long
    /// values. Between two single receives the kernel has none, so that room can be given for the next bytes.
    pub(super) long: u8,
    /// Where its next bytes go, if not to a buffer. The kernel may write to it while it has a receive.
    pub(super) room: Option<Room>,
    /// The room is the last of its value: what is behind it may come with it.
    pub(super) last: bool,
    /// The buffer that the bytes behind the room go to, while there is a receive.
    pub(super) tail: Option<u16>,
    /// What the kernel reads and writes of a receive into room and tail. Boxed, as it must not move; kept for the next.
    pub(super) room_and_tail: Option<Box<RoomAndTail>>,
    /// The kernel tells when the client sends no more; see [`super::watch`].
    pub(super) end_watched: bool,
    /// It has told: there is the rest to receive, by single receives.
    pub(super) ending: bool,
    /// All is received, and the client will send no more.
    pub(super) ended: bool,
    pub(super) closing: bool,
    /// The pieces at the kernel, of which `sent` bytes are known to be sent.
    pub(super) sending: Pieces,
    pub(super) sent: usize,
    /// What the kernel reads of a send of several pieces. Boxed, as it must not move; kept for the next.
    message: Option<Box<Message>>,
    /// The piece went by a quick send that is not known to have failed.
    pub(super) quick: bool,
    /// The send is over, and `sending` was not sent whole.
    pub(super) send_failed: bool,
    /// The kernel tells when the connection is gone.
    pub(super) watched: bool,
    /// The kernel has told that the client closed its side, and would tell it again at once.
    pub(super) watched_half: bool,
}

impl Socket {
    pub(super) fn wants_receive(&self) -> bool {
        self.reading && !self.ended && !self.closing && self.receive == Receive::Idle
    }

    /// The send of what is still to be sent. The entry names the pieces' memory and, for several, the message's.
    pub(super) fn send_rest(&mut self, flags: i32) -> squeue::Entry {
        let (fd, flags) = (Fd(self.fd.as_raw_fd()), flags | libc::MSG_NOSIGNAL);
        let mut rest = self.sending.rest(self.sent);
        let first = rest.next().unwrap_or(Bytes::from(&[][..]));
        if rest.next().is_none() {
            let len = first.len().min(i32::MAX as usize) as u32;
            return opcode::Send::new(fd, first.as_ptr(), len).flags(flags).build();
        }
        let message = self.message.get_or_insert_with(|| Box::new(Message::new()));
        let header = message.name(self.sending.rest(self.sent));
        opcode::SendMsg::new(fd, header).flags(flags as u32).build()
    }

    fn is_idle(&self) -> bool {
        matches!(self.receive, Receive::Idle | Receive::Starved)
            && self.room.is_none()
            && !self.watched
            && !self.end_watched
            && (self.sending.is_empty() || self.send_failed)
    }
}

/// A place of the table; its generation rises when it becomes free.
struct Place {
    generation: u32,
    socket: Option<Socket>,
}

/// Sockets by place, dense.
#[derive(Default)]
pub(super) struct Sockets {
    places: Vec<Place>,
    free: Vec<u32>,
}

impl Sockets {
    pub(super) fn insert(&mut self, fd: OwnedFd) -> ConnId {
        let socket = Some(Socket {
            fd,
            receive: Receive::Idle,
            reading: true,
            rationed: false,
            row: 0,
            long: 0,
            room: None,
            last: false,
            tail: None,
            room_and_tail: None,
            end_watched: false,
            ending: false,
            ended: false,
            closing: false,
            sending: Pieces::default(),
            sent: 0,
            message: None,
            quick: false,
            send_failed: false,
            watched: false,
            watched_half: false,
        });
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, socket: None });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.socket = socket;
        ConnId { index, generation: place.generation }
    }

    pub(super) fn find(&mut self, conn: ConnId) -> Option<&mut Socket> {
        let place = self.places.get_mut(conn.index as usize)?;
        place.socket.as_mut().filter(|_| place.generation == conn.generation)
    }

    pub(super) fn look(&self, conn: ConnId) -> Option<&Socket> {
        let place = self.places.get(conn.index as usize)?;
        place.socket.as_ref().filter(|_| place.generation == conn.generation)
    }

    /// Closes a socket that is closing and that the kernel is done with; gives back what was not sent.
    pub(super) fn remove_if_idle(&mut self, conn: ConnId) -> Option<Pieces> {
        let socket = self.look(conn)?;
        if !socket.closing || !socket.is_idle() {
            return None;
        }
        let place = &mut self.places[conn.index as usize];
        place.generation = (place.generation + 1) % GENERATIONS;
        self.free.push(conn.index);
        place.socket.take().map(|socket| socket.sending)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.places.iter().filter_map(|place| place.socket.as_ref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.places.iter_mut().filter_map(|place| place.socket.as_mut())
    }
}
