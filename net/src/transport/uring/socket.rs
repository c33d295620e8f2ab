//! The sockets of the ring and what the kernel is doing with each.

use crate::session::Piece;
use crate::transport::{ConnId, GENERATIONS};
use std::os::fd::OwnedFd;

/// The multishot receive of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    /// Not with the kernel.
    Idle,
    Armed,
    /// With the kernel, and asked back.
    Cancelling,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) receive: Receive,
    /// The worker wants bytes (not paused).
    pub(super) reading: bool,
    /// The client will send no more.
    pub(super) ended: bool,
    pub(super) closing: bool,
    /// The piece at the kernel, of which `sent` bytes are known to be sent.
    pub(super) sending: Option<Piece>,
    pub(super) sent: usize,
    /// The piece went by a quick send that is not known to have failed.
    pub(super) quick: bool,
    /// The send is over, and `sending` was not sent whole.
    pub(super) send_failed: bool,
}

impl Socket {
    pub(super) fn wants_receive(&self) -> bool {
        self.reading && !self.ended && !self.closing && self.receive == Receive::Idle
    }

    fn is_idle(&self) -> bool {
        self.receive == Receive::Idle && (self.sending.is_none() || self.send_failed)
    }
}

/// A place of the table; its generation rises when it becomes free.
#[derive(Debug)]
struct Place {
    generation: u32,
    socket: Option<Socket>,
}

/// Sockets by place, dense.
#[derive(Debug, Default)]
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
            ended: false,
            closing: false,
            sending: None,
            sent: 0,
            quick: false,
            send_failed: false,
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

    /// Closes a socket that is closing and that the kernel is done with; gives the piece that was not sent.
    pub(super) fn remove_if_idle(&mut self, conn: ConnId) -> Option<Option<Piece>> {
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
