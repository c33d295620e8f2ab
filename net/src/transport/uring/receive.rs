//! What comes from a client: the multishot receive, armed as long as the client is read.

use super::Uring;
use super::buffers;
use super::room::{HEAD_BYTES, LONG_RECEIVES};
use super::socket::Receive;
use super::user_data::{self, Operation};
use crate::transport::{BufferId, ConnId, Event, Transport};
use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};
use std::os::fd::AsRawFd;

/// `IORING_RECVSEND_POLL_FIRST` of `linux/io_uring.h`.
const RECEIVE_POLL_FIRST: u16 = 1;
/// A multishot receive that has filled so many buffers in a row may have missed what is behind them: after 32 the kernel goes on
/// later (`MULTISHOT_MAX_RETRY` in `io_uring/net.c`), and then no longer looks whether the socket has ended or failed.
const ROW_LONG: u8 = 16;

impl Uring {
    pub(super) fn arm_receive(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        if !socket.wants_receive() {
            return;
        }
        socket.receive = Receive::Armed;
        let fd = Fd(socket.fd.as_raw_fd());
        let single = socket.rationed || socket.long > 0 || socket.ending;
        // Who has sent nothing more is not to hear that there are no buffers.
        let flags = if socket.rationed { RECEIVE_POLL_FIRST } else { 0 };
        let is_head = !socket.rationed && socket.long == LONG_RECEIVES;
        let receive = if let Some(receive) = self.receive_to_room(conn) {
            receive
        } else if single {
            // 0: the kernel fills as much of the buffer as there is room for.
            let len = if is_head { HEAD_BYTES as u32 } else { 0 };
            opcode::Recv::new(fd, std::ptr::null_mut(), len)
                .ioprio(flags)
                .buf_group(buffers::GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(fd, buffers::GROUP).build()
        };
        self.in_flight += 1;
        self.push(receive.user_data(user_data::encode(Operation::Receive, conn)));
    }

    /// Lets those who found no buffer receive again, as many as there are buffers: more would find none.
    pub(super) fn feed_starved(&mut self) {
        if std::mem::take(&mut self.ran_empty) {
            self.buffers.ran_empty();
        }
        self.buffers.publish();
        for _ in 0..self.buffers.ready().min(self.starved.len()) {
            let Some(conn) = self.starved.pop_front() else { return };
            let Some(socket) = self.sockets.find(conn) else { continue };
            socket.receive = Receive::Idle;
            self.arm_receive(conn);
        }
    }

    /// Puts a connection at the end of the line for buffers, where each gets one at a time: a multishot receive would take those
    /// of many others.
    fn starve(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        socket.receive = Receive::Starved;
        socket.rationed |= socket.long == 0;
        self.starved.push_back(conn);
    }

    pub(super) fn pause_receive(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        socket.reading = false;
        self.cancel_receive(conn);
        self.recall_room(conn);
        self.arm_watch(conn);
    }

    pub(super) fn cancel_receive(&mut self, conn: ConnId) {
        let armed = self.sockets.find(conn).filter(|socket| socket.receive == Receive::Armed);
        if let Some(socket) = armed {
            socket.receive = Receive::Cancelling;
            self.cancel(Operation::Receive, conn);
        }
    }

    pub(super) fn resume_receive(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        socket.reading = true;
        self.arm_receive(conn);
    }

    pub(super) fn received(&mut self, conn: ConnId, result: i32, flags: u32, events: &mut Vec<Event>) {
        let buffer =
            cqueue::buffer_select(flags).inspect(|&id| self.buffers.hold(id, result.max(0) as usize));
        let more = cqueue::more(flags);
        self.in_flight -= usize::from(!more);
        let Some(socket) = self.sockets.find(conn) else {
            buffer.into_iter().for_each(|id| self.buffers.recycle(id));
            return;
        };
        if !more {
            (socket.receive, socket.row) = (Receive::Idle, 0);
            socket.long -= u8::from(socket.long > 0 && socket.room.is_none());
            self.received_to_room(conn, result.max(0) as usize, events);
        }
        let Some(socket) = self.sockets.find(conn) else { return };
        let closing = socket.closing;
        let mut is_filled = false;
        match (result, buffer) {
            (1.., Some(id)) if !closing => {
                is_filled = result as usize >= self.buffers.piece_bytes();
                // While buffers are short it gets no more than one at a time.
                socket.rationed &= is_filled || !self.starved.is_empty() || self.buffers.ready() == 0;
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
            libc::ENOBUFS => {
                self.ran_empty = true;
                self.starve(conn);
            }
            // Behind those who wait for a buffer: it has just had one.
            ..=0 if is_filled
                && socket.rationed
                && socket.long == 0
                && socket.wants_receive()
                && !self.starved.is_empty() =>
            {
                self.starve(conn);
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.receive_on(conn),
            1.. => self.close(conn),
            _ => self.receive_on(conn),
        }
        if more {
            self.look_behind_row(conn, cqueue::sock_nonempty(flags));
        }
        self.close_if_idle(conn);
    }

    /// Arms the receive anew behind a long row of buffers, for what the kernel may have missed.
    fn look_behind_row(&mut self, conn: ConnId, has_more: bool) {
        let Some(socket) = self.sockets.find(conn) else { return };
        if has_more {
            socket.row = socket.row.saturating_add(1);
        } else if std::mem::take(&mut socket.row) >= ROW_LONG {
            self.cancel_receive(conn);
        }
    }

    /// The kernel does not find a receive that it is just working on, which may go on then.
    pub(super) fn cancelled(&mut self, conn: ConnId, result: i32) {
        let Some(socket) = self.sockets.find(conn).filter(|_| result < 0) else { return };
        if socket.receive == Receive::Cancelling {
            socket.receive = Receive::Armed;
            if !socket.reading {
                self.pause_receive(conn);
            } else if socket.ending {
                self.cancel_receive(conn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::sockets::SocketsConfig;
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    const BUFFERS: usize = 8;
    const BUFFER_BYTES: usize = 1024;
    const CLIENTS: usize = 32;

    /// Turns until nothing more happens; the buffers that were received into.
    fn turn_until_quiet(uring: &mut Uring) -> Vec<BufferId> {
        let (mut received, mut events) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            uring.turn(Some(Duration::from_millis(2)), &mut events).unwrap();
            received.extend(events.drain(..).filter_map(|event| match event {
                Event::Received { buffer, .. } => Some(buffer),
                _ => None,
            }));
        }
        received
    }

    /// A transport that listens; none where io_uring is refused.
    fn listening() -> Option<(Uring, SocketAddr)> {
        crate::transport::uring::probe().ok()?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (listeners, buffers) = (vec![listener.into()], BUFFERS as u16);
        let config = SocketsConfig {
            listeners,
            buffers,
            buffer_bytes: BUFFER_BYTES as u32,
            spins: false,
            min_wait: Duration::ZERO,
        };
        Some((Uring::new(config).unwrap(), address))
    }

    #[test]
    fn who_is_rationed_is_read_a_buffer_a_turn_until_it_has_sent_less() {
        let Some((mut uring, address)) = listening() else { return };
        let mut client = TcpStream::connect(address).unwrap();
        let conn = std::iter::repeat_with(|| {
            let mut events = Vec::new();
            uring.turn(Some(Duration::from_millis(2)), &mut events).unwrap();
            events
        })
        .take(1000)
        .flatten()
        .find_map(|event| match event {
            Event::Accepted { conn, .. } => Some(conn),
            _ => None,
        })
        .expect("it was accepted");
        uring.pause(conn);
        turn_until_quiet(&mut uring);
        client.write_all(&[1; 4 * BUFFER_BYTES + 1]).unwrap();
        assert_eq!(turn_until_quiet(&mut uring).len(), 0);
        uring.ration(conn);
        uring.resume(conn);
        let mut of_turns = Vec::new();
        for _ in 0..20 {
            let mut events = Vec::new();
            uring.turn(Some(Duration::from_millis(2)), &mut events).unwrap();
            of_turns.extend(Some(events.len()).filter(|&count| count > 0));
        }
        assert_eq!(of_turns, [1; 5]);
        assert!(!uring.sockets.find(conn).unwrap().rationed, "the last buffer was not filled");
    }

    #[test]
    fn who_asks_for_little_waits_one_round_of_those_who_send_much() {
        let Some((mut uring, address)) = listening() else { return };
        let mut small: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
        turn_until_quiet(&mut uring);
        let heavy: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut client = TcpStream::connect(address).unwrap();
                client.write_all(&[1; 50 * BUFFER_BYTES]).unwrap();
                client
            })
            .collect();
        let turn = |uring: &mut Uring| {
            let mut events = Vec::new();
            uring.turn(Some(Duration::from_millis(2)), &mut events).unwrap();
            let mut is_small = false;
            for event in events {
                let Event::Received { conn, buffer, len } = event else { continue };
                uring.recycle(buffer);
                is_small |= len == 1;
                if len as usize == BUFFER_BYTES {
                    uring.ration(conn);
                }
            }
            is_small
        };
        (0..10).for_each(|_| assert!(!turn(&mut uring)));
        for client in &mut small {
            client.write_all(&[1]).unwrap();
            let turns = (0..1000).take_while(|_| !turn(&mut uring)).count();
            assert!(turns <= CLIENTS / BUFFERS + 3, "{turns}");
        }
        drop(heavy);
    }

    #[test]
    fn as_many_receive_again_as_there_are_buffers() {
        let Some((mut uring, address)) = listening() else { return };
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
        clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
        let mut held = turn_until_quiet(&mut uring);
        assert_eq!((held.len(), uring.starved.len()), (BUFFERS, CLIENTS - BUFFERS));
        let mut received = BUFFERS;
        while received < CLIENTS {
            held.drain(..3.min(held.len())).for_each(|buffer| uring.recycle(buffer));
            let more = turn_until_quiet(&mut uring);
            assert_eq!(more.len(), 3, "of {received}");
            received += more.len();
            held.extend(more);
            // Those who were read last ask for more, and may find the ring empty.
            let asking = if received == CLIENTS { 3 } else { 0 };
            let waiting = CLIENTS - received..=CLIENTS - received + asking;
            assert!(waiting.contains(&uring.starved.len()), "{}", uring.starved.len());
        }
    }
}
