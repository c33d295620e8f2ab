//! Polls that tell of a client's end where no receive does: while it is not read, and at Unix sockets.
//!
//! A multishot receive of a Unix socket can miss an end that comes right behind bytes, and sleeps for ever then: it takes bytes
//! until the socket has none, which is all that a Unix socket tells it, and is not woken again. Of a TCP socket the kernel
//! counts the end as a byte (but not a reset: see [`super::receive`]). One such race was mended in Linux 7.0 (`io_uring/poll: fix multishot recv missing EOF on wakeup
//! race`); 6.18 has another when there is more than the 32 buffers that a receive fills at once (`MULTISHOT_MAX_RETRY` in
//! `io_uring/net.c`). A single receive misses nothing.

use super::Uring;
use super::user_data::{self, Operation};
use crate::transport::{ConnId, Transport};
use io_uring::opcode;
use io_uring::types::Fd;
use std::os::fd::AsRawFd;

/// Poll events of a connection that is gone, not only its client's side.
const GONE: i16 = libc::POLLHUP | libc::POLLERR;

impl Uring {
    /// Asks to be told when a socket that is not read is gone: no receive would tell.
    pub(super) fn arm_watch(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        if socket.watched || socket.watched_half || socket.closing {
            return;
        }
        socket.watched = true;
        let poll = opcode::PollAdd::new(Fd(socket.fd.as_raw_fd()), GONE as u32).build();
        self.push(poll.user_data(user_data::encode(Operation::Watch, conn)));
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

    /// Asks to be told when the client of a Unix socket sends no more.
    pub(super) fn watch_end(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        socket.end_watched = true;
        let poll = opcode::PollAdd::new(Fd(socket.fd.as_raw_fd()), libc::POLLRDHUP as u32).build();
        self.push(poll.user_data(user_data::encode(Operation::End, conn)));
    }

    pub(super) fn end_told(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        (socket.end_watched, socket.ending) = (false, true);
        self.cancel_receive(conn);
        self.close_if_idle(conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Event;
    use crate::transport::rings::tests::listen;
    use crate::transport::sockets::SocketsConfig;
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    const BUFFERS: usize = 64;
    const BUFFER_BYTES: usize = 2 << 10;
    const TURNS: usize = 50;

    /// Turns until an event is reported, or for a while; says how many bytes came before it.
    fn turn_until(uring: &mut Uring, is_awaited: impl Fn(&Event) -> bool) -> (usize, Option<Event>) {
        let mut came = 0;
        for _ in 0..TURNS {
            let mut events = Vec::new();
            uring.turn(Some(Duration::from_millis(2)), &mut events).unwrap();
            for event in events {
                if let Event::Received { buffer, len, .. } = event {
                    came += len as usize;
                    uring.recycle(buffer);
                } else if is_awaited(&event) {
                    return (came, Some(event));
                }
            }
        }
        (came, None)
    }

    #[test]
    fn an_end_right_behind_bytes_is_heard_of() {
        if crate::transport::uring::probe().is_err() {
            return;
        }
        let (path, listener) = listen();
        let config = SocketsConfig {
            listeners: vec![listener.into()],
            buffers: BUFFERS as u16,
            buffer_bytes: BUFFER_BYTES as u32,
            spins: false,
            min_wait: Duration::ZERO,
        };
        let mut uring = Uring::new(config).unwrap();
        for bytes in [1, BUFFER_BYTES, 10 * BUFFER_BYTES, 40 * BUFFER_BYTES, 50 * BUFFER_BYTES + 1] {
            for (is_accepted, leaves) in [(false, false), (true, false), (false, true), (true, true)] {
                let what = format!("{bytes} bytes, accepted before: {is_accepted}, leaves: {leaves}");
                let accept = |uring: &mut Uring| {
                    assert!(turn_until(uring, |event| matches!(event, Event::Accepted { .. })).1.is_some());
                };
                let mut client = UnixStream::connect(&path).unwrap();
                if is_accepted {
                    accept(&mut uring);
                }
                client.write_all(&vec![1; bytes]).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                let client = (!leaves).then_some(client);
                if !is_accepted {
                    accept(&mut uring);
                }
                let (came, end) = turn_until(&mut uring, |event| matches!(event, Event::Ended { .. }));
                let Some(Event::Ended { conn }) = end else { panic!("{what}: no end behind {came}") };
                assert_eq!(came, bytes, "{what}");
                uring.close(conn);
                let closed = turn_until(&mut uring, |event| matches!(event, Event::Closed { .. })).1;
                assert!(closed.is_some(), "{what}");
                drop(client);
            }
        }
        std::fs::remove_file(path).unwrap();
    }
}
