//! Room that a client's next bytes are received into.
//!
//! A multishot receive takes bytes whenever they come, so there is no moment to say where the next ones should go. A
//! connection that sends long values therefore gets single receives, which are armed when a turn begins: between two of
//! them the worker may give room, and the next receive fills it. When no room was given for a while, the connection gets
//! a multishot receive again.
//!
//! What is behind a value, its line end at the least, comes with its last room: a buffer is named as the second piece of that
//! receive. The next receive takes just the head of what follows: if that is a long value, less of it is copied.
//!
//! Room is the kernel's as long as a receive is armed, also when its connection is closing: only the completion gives it
//! back.

use super::Uring;
use super::socket::Receive;
use crate::transport::{BufferId, ConnId, Event};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use std::os::fd::AsRawFd;
use torc_engine::segments::Room;

/// Single receives after room was last given, before the socket gets a multishot receive again: enough for the end of a
/// value, some requests, and the head of the next value.
pub(super) const LONG_RECEIVES: u8 = 16;

/// Bytes that are received behind a value, and before the next room: enough for nearly every request up to its value. Of
/// what comes here of the value itself each byte is copied twice.
pub(super) const HEAD_BYTES: usize = 512;

/// The header and the slices that `recvmsg` is told of.
pub(super) struct RoomAndTail {
    header: libc::msghdr,
    slices: [libc::iovec; 2],
}

impl Default for RoomAndTail {
    fn default() -> RoomAndTail {
        // SAFETY: a header of zeros is a valid one: no address, no slices, no control data.
        let header = unsafe { std::mem::zeroed() };
        RoomAndTail { header, slices: [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 2] }
    }
}

impl RoomAndTail {
    /// The header points into `self` and to the memory named: it means something as long as they stay where they are.
    fn name(&mut self, slices: [(*mut u8, usize); 2]) -> *mut libc::msghdr {
        self.slices = slices.map(|(start, len)| libc::iovec { iov_base: start.cast(), iov_len: len });
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = self.slices.len();
        &raw mut self.header
    }
}

impl Uring {
    pub(super) fn give_room(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room> {
        let Some(socket) = self.sockets.find(conn) else { return Err(room) };
        let single = socket.long > 0 || socket.rationed;
        socket.long = LONG_RECEIVES;
        if socket.wants_receive() && socket.room.is_none() {
            (socket.room, socket.last) = (Some(room), last);
            self.unarmed.push(conn);
            return Ok(());
        }
        if !single {
            self.cancel_receive(conn);
        }
        Err(room)
    }

    /// The receive into the room of a socket, and into a buffer behind the last room of a value.
    pub(super) fn receive_to_room(&mut self, conn: ConnId) -> Option<squeue::Entry> {
        let socket = self.sockets.find(conn)?;
        let (fd, room) = (Fd(socket.fd.as_raw_fd()), socket.room.as_ref()?);
        let tail = if socket.last { self.buffers.take_spare() } else { None };
        let Some((id, tail)) = tail else {
            return Some(opcode::Recv::new(fd, room.as_mut_ptr(), room.len() as u32).build());
        };
        socket.tail = Some(id);
        let len = HEAD_BYTES.min(self.buffers.buffer_bytes());
        let both = socket.room_and_tail.get_or_insert_default();
        let header = both.name([(room.as_mut_ptr(), room.len()), (tail, len)]);
        Some(opcode::RecvMsg::new(fd, header).build())
    }

    /// A receive into room is over, with so many bytes in all.
    pub(super) fn received_to_room(&mut self, conn: ConnId, len: usize, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.find(conn) else { return };
        let Some(room) = socket.room.take() else { return };
        let filled = len.min(room.len());
        events.push(Event::Filled { conn, room, len: filled as u32 });
        let Some(tail) = socket.tail.take() else { return };
        let behind = if socket.closing { 0 } else { len - filled };
        self.buffers.give_named(tail, behind);
        if behind > 0 {
            events.push(Event::Received { conn, buffer: BufferId(tail), len: behind as u32 });
        }
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
