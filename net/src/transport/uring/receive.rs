//! What comes from a client: the multishot receive, armed as long as the client is read, and a poll that tells of its
//! end while it is not.

use super::Uring;
use super::buffers;
use super::socket::Receive;
use super::user_data::{self, Operation};
use crate::transport::{BufferId, ConnId, Event, Transport};
use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use std::os::fd::AsRawFd;

/// Poll events of a connection that is gone, not only its client's side.
const GONE: i16 = libc::POLLHUP | libc::POLLERR;

impl Uring {
    pub(super) fn arm_receive(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        if !socket.wants_receive() {
            return;
        }
        socket.receive = Receive::Armed;
        let receive = opcode::RecvMulti::new(Fd(socket.fd.as_raw_fd()), buffers::GROUP).build();
        self.in_flight += 1;
        self.push(receive.user_data(user_data::encode(Operation::Receive, conn)));
    }

    pub(super) fn pause_receive(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        socket.reading = false;
        if socket.receive == Receive::Armed {
            socket.receive = Receive::Cancelling;
            self.cancel(Operation::Receive, conn);
        }
        self.arm_watch(conn);
    }

    pub(super) fn resume_receive(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        socket.reading = true;
        self.arm_receive(conn);
    }

    /// Asks to be told when a socket that is not read is gone: no receive would tell.
    fn arm_watch(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        if socket.watched || socket.watched_half || socket.closing {
            return;
        }
        socket.watched = true;
        let poll = opcode::PollAdd::new(Fd(socket.fd.as_raw_fd()), GONE as u32).build();
        self.push(poll.user_data(user_data::encode(Operation::Watch, conn)));
    }

    pub(super) fn received(&mut self, conn: ConnId, result: i32, flags: u32, events: &mut Vec<Event>) {
        let buffer = cqueue::buffer_select(flags).inspect(|&id| self.buffers.hold(id));
        let more = cqueue::more(flags);
        self.in_flight -= usize::from(!more);
        let Some(socket) = self.sockets.find(conn) else {
            buffer.into_iter().for_each(|id| self.buffers.recycle(id));
            return;
        };
        if !more {
            socket.receive = Receive::Idle;
        }
        let closing = socket.closing;
        match (result, buffer) {
            (1.., Some(id)) if !closing => {
                events.push(Event::Received { conn, buffer: BufferId(id), len: result as u32 });
            }
            (_, Some(id)) => self.buffers.recycle(id),
            (0, None) if !closing && !socket.ended => {
                socket.ended = true;
                events.push(Event::Ended { conn });
            }
            _ => {}
        }
        match -result {
            libc::ENOBUFS => self.starved.push(conn),
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.arm_receive(conn),
            1.. => self.close(conn),
            _ => self.arm_receive(conn),
        }
        self.close_if_idle(conn);
    }

    /// The kernel does not find a receive that it is just working on, which may go on then.
    pub(super) fn cancelled(&mut self, conn: ConnId, result: i32) {
        let Some(socket) = self.sockets.find(conn).filter(|_| result < 0) else { return };
        if socket.receive == Receive::Cancelling {
            socket.receive = Receive::Armed;
            if !socket.reading {
                self.pause_receive(conn);
            }
        }
    }

    pub(super) fn watched(&mut self, conn: ConnId, result: i32) {
        let Some(socket) = self.sockets.find(conn) else { return };
        socket.watched = false;
        if result > 0 && result & i32::from(GONE) != 0 {
            self.close(conn);
        } else {
            // The kernel reports the end of the client's side unasked. Answers can still be sent, and their sends
            // will tell of the rest.
            socket.watched_half = true;
        }
        self.close_if_idle(conn);
    }
}
