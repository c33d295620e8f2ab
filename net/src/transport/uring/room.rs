//! Room that a client's next bytes are received into.
//!
//! A multishot receive takes what comes as it comes, so there is no moment to say where the next bytes should go. A connection
//! that sends long values is therefore received from by single receives, which are armed when a turn begins: between two of
//! them the worker may give room, and the next one fills it. When no room was given for a while it has a multishot again.
//!
//! Room is the kernel's as long as a receive is armed, also when its connection is closing: only the completion gives it
//! back.

use super::Uring;
use super::socket::Receive;
use crate::transport::{ConnId, Event};
use torc_engine::segments::Room;

/// Single receives after room was given last, before there is a multishot again: the head and the end of a value, and the
/// requests between two of them.
const LONG_RECEIVES: u8 = 16;

impl Uring {
    pub(super) fn give_room(&mut self, conn: ConnId, room: Room) -> Result<(), Room> {
        let Some(socket) = self.sockets.find(conn) else { return Err(room) };
        let single = socket.long > 0 || socket.rationed;
        socket.long = LONG_RECEIVES;
        if socket.wants_receive() && socket.room.is_none() {
            socket.room = Some(room);
            self.unarmed.push(conn);
            return Ok(());
        }
        if !single {
            self.cancel_receive(conn);
        }
        Err(room)
    }

    /// Gives room back that the kernel does not have, and asks the kernel for what it has.
    pub(super) fn recall_room(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn).filter(|socket| socket.room.is_some()) else { return };
        if socket.receive == Receive::Idle {
            let room = socket.room.take();
            self.pending.extend(room.map(|room| Event::Filled { conn, room, len: 0 }));
        } else {
            self.cancel_receive(conn);
        }
    }

    /// A receive is over: the next one, now or when the turn begins.
    pub(super) fn receive_on(&mut self, conn: ConnId) {
        if self.sockets.find(conn).is_some_and(|socket| socket.long > 0) {
            self.unarmed.push(conn);
        } else {
            self.arm_receive(conn);
        }
    }

    /// Arms the receives of those that send long values.
    pub(super) fn arm_long(&mut self) {
        let mut unarmed = std::mem::take(&mut self.unarmed);
        unarmed.drain(..).for_each(|conn| self.arm_receive(conn));
        self.unarmed = unarmed;
    }
}
