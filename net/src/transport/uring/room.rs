//! Room that a client's next bytes are received into.
//!
//! A multishot receive takes bytes whenever they come, so there is no moment to say where the next ones should go. A
//! connection that sends long values therefore gets single receives, which are armed when a turn begins: between two of
//! them the worker may give room, and the next receive fills it. When no room was given for a while, the connection gets
//! a multishot receive again.
//!
//! Room is the kernel's as long as a receive is armed, also when its connection is closing: only the completion gives it
//! back.

use super::Uring;
use super::socket::Receive;
use crate::transport::{ConnId, Event};
use torc_engine::segments::Room;

/// Single receives after room was last given, before the socket gets a multishot receive again: enough for the end of a
/// value, some requests, and the head of the next value.
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

    /// Gives the room back if the kernel does not have it; else cancels the receive that has it.
    pub(super) fn recall_room(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn).filter(|socket| socket.room.is_some()) else { return };
        if socket.receive == Receive::Idle {
            let room = socket.room.take();
            self.pending.extend(room.map(|room| Event::Filled { conn, room, len: 0 }));
        } else {
            self.cancel_receive(conn);
        }
    }

    /// Follows up a receive that is over: arms the next one at once or, for a client that sends long values, when the next
    /// turn begins.
    pub(super) fn receive_on(&mut self, conn: ConnId) {
        if self.sockets.find(conn).is_some_and(|socket| socket.long > 0) {
            self.unarmed.push(conn);
        } else {
            self.arm_receive(conn);
        }
    }

    /// Arms the receives of clients that send long values.
    pub(super) fn arm_long(&mut self) {
        let mut unarmed = std::mem::take(&mut self.unarmed);
        unarmed.drain(..).for_each(|conn| self.arm_receive(conn));
        self.unarmed = unarmed;
    }
}
