//! Sockets of clients that are threads on a [`Stage`]: what a turn finds, and when it reports the end of a send, a seed decides.

use super::stage::Stage;
use crate::transport::sim::Random;
use crate::transport::{BufferId, ConnId, Event, Notice, Pieces, Transport, Waker};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use torc_engine::segments::Room;

const BYTES: usize = 1024;

struct Socket {
    stream: UnixStream,
    sending: Option<Pieces>,
    /// The kernel has it; the report waits.
    sent: Option<Pieces>,
    closing: bool,
}

/// A transport for the server's side of a play.
pub(super) struct SteppedSockets {
    listener: UnixListener,
    sockets: Vec<Option<Socket>>,
    stage: Option<(Arc<Stage>, usize)>,
    random: Random,
    /// The end of a send is reported late.
    overdue: bool,
    /// Bytes of the last receive of each socket.
    received: Vec<[u8; BYTES]>,
    pub(super) turns: Arc<AtomicU64>,
}

impl SteppedSockets {
    pub(super) fn new(listener: UnixListener, seed: u64) -> SteppedSockets {
        let random = Random::new(!seed);
        let (sockets, received, turns) = (Vec::new(), Vec::new(), Arc::default());
        SteppedSockets { listener, sockets, stage: None, random, overdue: false, received, turns }
    }

    /// From here on a turn that waits is a sleep on the stage.
    pub(super) fn enter(&mut self, stage: Arc<Stage>, me: usize) {
        self.stage = Some((stage, me));
    }

    fn accept(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let stream = self.listener.accept()?.0;
        let conn = ConnId { index: self.sockets.len() as u32, generation: 0 };
        events.push(Event::Accepted { conn, listener: 0 });
        // The request to attach comes at once.
        stream.set_nonblocking(false)?;
        let mut bytes = [0; BYTES];
        let len = (&stream).read(&mut bytes)? as u32;
        stream.set_nonblocking(true)?;
        self.received.push(bytes);
        self.sockets.push(Some(Socket { stream, sending: None, sent: None, closing: false }));
        events.push(Event::Received { conn, buffer: BufferId(conn.index as u16), len });
        Ok(())
    }

    fn find(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.sockets.get_mut(conn.index as usize)?.as_mut()
    }

    /// Gives what is being sent to the kernel.
    fn submit(&mut self) {
        for socket in self.sockets.iter_mut().flatten() {
            if let Some(pieces) = socket.sending.take() {
                let bytes: Vec<u8> = pieces.rest(0).flat_map(|bytes| bytes.to_vec()).collect();
                // What it does not take is lost with the connection.
                let _ = socket.stream.write(&bytes);
                socket.sent = Some(pieces);
            }
        }
    }

    fn collect(&mut self, events: &mut Vec<Event>) {
        for index in 0..self.sockets.len() {
            let conn = ConnId { index: index as u32, generation: 0 };
            let Some(socket) = &mut self.sockets[index] else { continue };
            if socket.closing {
                let pieces = socket.sending.take().or(socket.sent.take()).unwrap_or_default();
                self.sockets[index] = None;
                events.push(Event::Closed { conn, pieces });
                continue;
            }
            match socket.stream.read(&mut self.received[index]) {
                Ok(0) => events.push(Event::Ended { conn }),
                Ok(len) => {
                    events.push(Event::Received { conn, buffer: BufferId(index as u16), len: len as u32 });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => socket.closing = true,
            }
        }
    }

    /// Reports ends of sends when the wait is over, or some of them a turn later, which does not wait then.
    fn report_sent(&mut self, events: &mut Vec<Event>) {
        self.overdue = false;
        for (index, socket) in self.sockets.iter_mut().enumerate() {
            let Some(socket) = socket.as_mut().filter(|socket| socket.sent.is_some()) else { continue };
            if self.random.chance(60) {
                let conn = ConnId { index: index as u32, generation: 0 };
                let pieces = socket.sent.take().unwrap_or_default();
                events.push(Event::Sent { conn, pieces });
            } else {
                self.overdue = true;
            }
        }
    }

    /// Whether a turn would find something.
    fn woken(&self) -> impl Fn() -> bool + Send + use<> {
        let closing = self.sockets.iter().flatten().any(|socket| socket.closing);
        let streams = self.sockets.iter().flatten().map(|socket| socket.stream.as_raw_fd());
        let streams: Vec<i32> = streams.collect();
        move || closing || streams.iter().any(|&stream| is_readable(stream))
    }
}

/// Whether a socket can be read, or has ended.
pub(super) fn is_readable(socket: i32) -> bool {
    let mut poll = libc::pollfd { fd: socket, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd; a descriptor that is none is reported.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
}

impl Transport for SteppedSockets {
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let Some((stage, me)) = self.stage.clone() else { return self.accept(events) };
        // Relaxed: one thread acts at a time.
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.submit();
        self.collect(events);
        if events.is_empty() && !self.overdue && wait != Some(Duration::ZERO) {
            stage.sleep(me, self.woken());
            self.collect(events);
        }
        self.report_sent(events);
        Ok(())
    }

    fn may_have_news(&mut self) -> bool {
        let queued = self.sockets.iter().flatten().any(|socket| socket.sending.is_some());
        queued || self.overdue || self.random.chance(20) || self.woken()()
    }

    fn received(&self, buffer: BufferId, len: u32) -> &[u8] {
        &self.received[usize::from(buffer.0)][..len as usize]
    }

    fn recycle(&mut self, _: BufferId) {}

    fn receive_into(&mut self, _: ConnId, room: Room, _: bool) -> Result<(), Room> {
        Err(room)
    }

    fn recall(&mut self, _: ConnId) {}

    fn send(&mut self, conn: ConnId, pieces: Pieces, _: Notice) {
        let Some(socket) = self.find(conn) else { return };
        assert!(socket.sending.is_none() && socket.sent.is_none(), "one send of a connection at a time");
        socket.sending = Some(pieces);
    }

    fn taken(&self, _: ConnId) -> u64 {
        0
    }

    fn pause(&mut self, _: ConnId) {}

    fn resume(&mut self, _: ConnId) {}

    fn close(&mut self, conn: ConnId) {
        self.find(conn).into_iter().for_each(|socket| socket.closing = true);
    }

    fn socket(&self, conn: ConnId) -> Option<BorrowedFd<'_>> {
        self.sockets.get(conn.index as usize)?.as_ref().map(|socket| socket.stream.as_fd())
    }

    fn stop_accepting(&mut self) {}

    fn addresses(&self, _: ConnId) -> (String, String) {
        Default::default()
    }

    fn waker(&self) -> Arc<dyn Waker> {
        unreachable!("nobody wakes it")
    }

    fn name(&self) -> &'static str {
        "stepped"
    }
}
