//! The I/O thread of a client: sockets and a clock for [`Core`].
//!
//! ```text
//!  futures, threads --calls--> queue --wake if it sleeps--> [ poll | read | core | write ] --answers--> completions
//! ```
//!
//! One thread a client; it depends on no async runtime, and whoever awaits an answer may run on any. It ends when
//! the last handle is dropped.

use crate::call::Call;
use crate::core::Core;
use crate::core::peer::State;
use crate::one_sided::{OneSided, TELL_EVERY};
use crate::stream::{Attaching, Stream};
use mio::{Events, Poll, Token, Waker};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};
use torc_shm::reads::Reads;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads of one connection a turn, so that one that sends much does not keep the others waiting.
const READS_MAX: usize = 16;
/// Token of the queue's waker; peers have their index.
pub(crate) const QUEUE: Token = Token(usize::MAX);

/// What carries the requests: see [`Common::carried`].
pub(crate) const NOTHING: u8 = 0;
pub(crate) const SOCKET: u8 = 1;
pub(crate) const RINGS: u8 = 2;

/// What the thread and its callers share.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    /// The thread has its own: the last wake-up is that all callers are gone, and would be lost if the waker went with them.
    pub(crate) waker: Arc<Waker>,
    /// The thread sleeps, or is about to.
    pub(crate) asleep: Arc<AtomicBool>,
    /// What carries requests to the common port.
    pub(crate) carried: Arc<AtomicU8>,
    /// `None`: it is switched off.
    pub(crate) one_sided: Option<Arc<OneSided>>,
}

impl Common {
    pub(crate) fn new(waker: Arc<Waker>, one_sided: Option<Arc<OneSided>>) -> Common {
        let (asleep, carried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU8::new(NOTHING)));
        Common { waker, asleep, carried, one_sided }
    }
}

pub(crate) struct Driver {
    poll: Poll,
    core: Core,
    queue: Receiver<Vec<Box<Call>>>,
    common: Common,
    /// When the server is told what was read.
    tell_at: Option<Instant>,
    /// By peer.
    sockets: Vec<Option<Socket>>,
}

struct Socket {
    stream: Stream,
    /// Bytes taken from the peer's `out`, and how many of them are with the kernel.
    sending: Vec<u8>,
    sent: usize,
    /// The kernel takes no more until it says so.
    blocked: bool,
}

impl Driver {
    pub(crate) fn new(poll: Poll, core: Core, queue: Receiver<Vec<Box<Call>>>, common: Common) -> Driver {
        Driver { poll, core, queue, common, tell_at: None, sockets: Vec::new() }
    }

    /// Until all callers are gone.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match self.take_calls() {
                Ok(()) => {}
                // All handles are gone, and with them all who could wait for an answer.
                Err(Closed) => return,
            }
            self.core.tick(Instant::now());
            self.tell_of_reads(Instant::now());
            // Answers may let go on what waited, which is to be sent before the sleep.
            self.look_at_rings(&mut buffer);
            self.serve_peers();
            self.note_carried();
            if self.sleep(&mut events).is_err() {
                return;
            }
            for event in &events {
                if event.token() != QUEUE {
                    self.socket_event(event.token().0, event.is_writable(), &mut buffer);
                }
            }
        }
    }

    fn take_calls(&mut self) -> Result<(), Closed> {
        loop {
            match self.queue.try_recv() {
                Ok(calls) => self.core.submit(calls, Instant::now()),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Closed),
            }
        }
    }

    /// Waits for a socket, a call or a time.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        self.common.asleep.store(true, Ordering::SeqCst);
        // Calls that came before the flag was set did not wake us.
        let waiting = match self.queue.try_recv() {
            Ok(calls) => {
                self.core.submit(calls, Instant::now());
                self.serve_peers();
                true
            }
            Err(_) => false,
        };
        // Neither did reads that are to be told some time.
        let waiting = waiting || (self.tell_at.is_none() && self.has_untold_reads());
        let mut sockets = self.sockets.iter_mut().flatten();
        let quiet = sockets.all(|socket| socket.stream.may_sleep(socket.blocked));
        let timeout = match [self.core.next_timeout(), self.tell_at].into_iter().flatten().min() {
            _ if waiting || !quiet => Some(Duration::ZERO),
            // A little late rather than early, or the loop would spin until the time has come.
            Some(at) => Some(at.saturating_duration_since(Instant::now()) + Duration::from_micros(100)),
            None => None,
        };
        let polled = self.poll.poll(events, timeout);
        self.common.asleep.store(false, Ordering::SeqCst);
        match polled {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            polled => polled,
        }
    }

    /// Opens what is wanted, ends what takes too long, sends what is there.
    fn serve_peers(&mut self) {
        let now = Instant::now();
        let timeout = self.core.connect_timeout();
        self.sockets.resize_with(self.core.peer_count(), || None);
        for index in 0..self.core.peer_count() {
            let state = self.core.peer_mut(index).state;
            match state {
                State::Wanted => self.open(index, now),
                State::Connecting { since } | State::Greeting { since }
                    if now.saturating_duration_since(since) > timeout =>
                {
                    self.close(index, "it does not answer");
                }
                State::Ready if self.core.is_silent(index, now) => self.close(index, "it has gone silent"),
                _ => {}
            }
            self.send(index);
        }
    }

    /// Serves the rings that have something to read, or room again.
    fn look_at_rings(&mut self, buffer: &mut [u8]) {
        for index in 0..self.sockets.len() {
            if let Some(socket) = &mut self.sockets[index]
                && socket.stream.has_news(socket.blocked)
            {
                self.socket_event(index, true, buffer);
            }
        }
    }

    fn note_carried(&self) {
        let carried = match self.sockets.first() {
            Some(Some(Socket { stream: Stream::Rings(_), .. })) => RINGS,
            Some(Some(_)) => SOCKET,
            _ => NOTHING,
        };
        self.common.carried.store(carried, Ordering::Relaxed);
    }

    fn has_untold_reads(&self) -> bool {
        self.common.one_sided.as_ref().is_some_and(|one_sided| one_sided.is_untold())
    }

    /// Tells the server what was read a while ago; a client that does not read is not woken for that.
    fn tell_of_reads(&mut self, now: Instant) {
        match (self.tell_at, &self.common.one_sided) {
            (None, Some(one_sided)) if one_sided.is_untold() => self.tell_at = Some(now + TELL_EVERY),
            (Some(at), Some(one_sided)) if at <= now => {
                self.core.tell(one_sided.tell(), now);
                self.tell_at = None;
            }
            _ => {}
        }
    }

    /// Lets gets be tried in the shards' memory, once the files and the slot map are there: before anything is asked over rings.
    fn map_shards(&mut self) {
        let (Some(one_sided), Some(Some(socket))) = (&self.common.one_sided, self.sockets.first_mut()) else {
            return;
        };
        let Stream::Rings(rings) = &mut socket.stream else { return };
        let Some((topology, key_bytes_max)) = self.core.readable() else { return };
        let Some(files) = rings.files.take() else { return };
        let reads = Reads::open(files, topology.clone()).map_err(|why| why.to_string());
        one_sided.map(reads, key_bytes_max);
    }

    fn attaching(&self) -> Attaching {
        Attaching { timeout: self.core.connect_timeout(), to_read: self.common.one_sided.is_some() }
    }

    /// Goes on over shared memory, if the server has just told where there is some; else as before.
    fn follow_offer(&mut self, index: usize) {
        let Some((path, boot_id)) = self.core.offer(index) else { return };
        let token = Token(index);
        let attached =
            Stream::attach(Path::new(&path), Some(boot_id), self.attaching()).and_then(|mut stream| {
                stream.register(self.poll.registry(), token)?;
                Ok(stream)
            });
        match attached {
            Ok(stream) => {
                self.sockets[index] = Some(Socket { stream, sending: Vec::new(), sent: 0, blocked: false });
                self.core.moved(index, Instant::now());
                self.send(index);
            }
            Err(error) => {
                if let Err(why) = self.core.not_moved(index, &error.to_string(), Instant::now()) {
                    self.close(index, &why);
                }
            }
        }
    }

    fn open(&mut self, index: usize, now: Instant) {
        let peer = self.core.peer_mut(index);
        let (address, failures) = (peer.address.clone(), peer.failures as usize);
        let opened = Stream::open(&address, failures, self.attaching()).and_then(|mut stream| {
            stream.register(self.poll.registry(), Token(index))?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                let peer = self.core.peer_mut(index);
                peer.state = State::Connecting { since: now };
                peer.over_rings = matches!(stream, Stream::Rings(_));
                self.sockets[index] = Some(Socket { stream, sending: Vec::new(), sent: 0, blocked: false });
            }
            Err(error) => self.close(index, &error.to_string()),
        }
    }

    fn close(&mut self, index: usize, cause: &str) {
        self.sockets[index] = None;
        if let (0, Some(one_sided)) = (index, &self.common.one_sided) {
            one_sided.unmap();
        }
        self.core.lost(index, cause, Instant::now());
    }

    fn socket_event(&mut self, index: usize, writable: bool, buffer: &mut [u8]) {
        let Some(Some(socket)) = self.sockets.get_mut(index) else { return };
        socket.stream.hear_bells();
        if let State::Connecting { .. } = self.core.peer_mut(index).state {
            match socket.stream.connected() {
                Ok(true) => self.core.connected(index, Instant::now()),
                Ok(false) => return,
                Err(error) => return self.close(index, &error.to_string()),
            }
        }
        if writable && let Some(Some(socket)) = self.sockets.get_mut(index) {
            socket.blocked = false;
        }
        self.send(index);
        self.receive(index, buffer);
    }

    fn receive(&mut self, index: usize, buffer: &mut [u8]) {
        for read in 0.. {
            let Some(Some(socket)) = self.sockets.get_mut(index) else { return };
            match socket.stream.read(buffer) {
                Ok(0) => return self.close(index, "the server closed the connection"),
                Ok(count) => {
                    if let Err(why) = self.core.received(index, &buffer[..count], Instant::now()) {
                        return self.close(index, &why);
                    }
                    self.follow_offer(index);
                    self.map_shards();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.close(index, &error.to_string()),
            }
            if read >= READS_MAX {
                // Registering anew makes the poll report what is still there.
                let Some(Some(socket)) = self.sockets.get_mut(index) else { return };
                if let Err(error) = socket.stream.reregister(self.poll.registry(), Token(index)) {
                    self.close(index, &error.to_string());
                }
                return;
            }
        }
    }

    fn send(&mut self, index: usize) {
        let Some(Some(socket)) = self.sockets.get_mut(index) else { return };
        let peer = self.core.peer_mut(index);
        if matches!(peer.state, State::Connecting { .. }) {
            return;
        }
        while !socket.blocked {
            if socket.sent == socket.sending.len() {
                socket.sending.clear();
                socket.sent = 0;
                std::mem::swap(&mut socket.sending, &mut peer.out);
                if socket.sending.is_empty() {
                    return;
                }
            }
            match socket.stream.write(&socket.sending[socket.sent..]) {
                Ok(count) => socket.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => socket.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.close(index, &error.to_string()),
            }
        }
    }
}

/// Every handle is dropped.
struct Closed;
