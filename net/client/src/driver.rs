//! The I/O thread of a client: sockets, other carriers and a clock for [`Core`].
//!
//! ```text
//!  futures, threads --calls--> queue --wake if it sleeps--> [ poll | read | core | write ] --answers--> completions
//! ```
//!
//! One thread a client; it depends on no async runtime, and whoever awaits an answer may run on any. It ends when
//! the last handle is dropped.

use crate::call::Call;
use crate::core::Core;
use crate::core::peer::{Over, State};
use crate::core::rdma::Offer;
use crate::far::FarPeer;
use crate::one_sided::{OneSided, TELL_EVERY};
use crate::rdma::{NoDevice, Rdma, Told};
use crate::stream::{Attaching, Stream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};
use torc_rdma::Cause;
use torc_rdma::client::Unjoined;
use torc_rdma::verbs::device::Device;
use torc_rdma::verbs::seam::Verbs;
use torc_shm::reads::Reads;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads of one connection a turn, so that one that sends much does not keep the others waiting.
const READS_MAX: usize = 16;
/// Token of the queue's waker; peers have their index.
pub(crate) const QUEUE: Token = Token(usize::MAX);
/// Token of the events of the RDMA device.
const DEVICE: Token = Token(usize::MAX - 1);

/// What carries the requests: see [`Common::carried`].
pub(crate) const NOTHING: u8 = 0;
pub(crate) const SOCKET: u8 = 1;
pub(crate) const RINGS: u8 = 2;
pub(crate) const RDMA: u8 = 3;

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
    pub(crate) rdma: Arc<Told>,
}

impl Common {
    pub(crate) fn new(waker: Arc<Waker>, one_sided: Option<Arc<OneSided>>) -> Common {
        let (asleep, carried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU8::new(NOTHING)));
        Common { waker, asleep, carried, one_sided, rdma: Arc::default() }
    }
}

pub(crate) struct Driver {
    poll: Poll,
    core: Core,
    rdma: Rdma,
    queue: Receiver<Vec<Box<Call>>>,
    common: Common,
    /// When the server is told what was read.
    tell_at: Option<Instant>,
    /// By peer.
    sockets: Vec<Option<Socket>>,
}

impl Socket {
    fn new(stream: Stream) -> Socket {
        Socket { stream, sending: Vec::new(), sent: 0, blocked: false, unjoined: None, far: None }
    }
}

struct Socket {
    stream: Stream,
    /// Bytes taken from the peer's `out`, and how many of them are with the kernel.
    sending: Vec<u8>,
    sent: usize,
    /// The kernel takes no more until it says so.
    blocked: bool,
    /// Our end of a queue pair, until the server has told of its own.
    unjoined: Option<Box<Unjoined<Device>>>,
    /// Reads of its shard by this machine, if they are tried.
    far: Option<FarPeer>,
}

impl Driver {
    pub(crate) fn new(
        poll: Poll,
        core: Core,
        rdma: Rdma,
        queue: Receiver<Vec<Box<Call>>>,
        common: Common,
    ) -> Driver {
        Driver { poll, core, rdma, queue, common, tell_at: None, sockets: Vec::new() }
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
                match event.token() {
                    QUEUE => {}
                    DEVICE => self.device_event(),
                    Token(index) => {
                        if let Some(Some(socket)) = self.sockets.get_mut(index) {
                            socket.stream.hear_bells();
                        }
                        self.socket_event(index, event.is_writable(), &mut buffer);
                    }
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
        self.try_rdma(now);
        self.sockets.resize_with(self.core.peer_count(), || None);
        while let Some((main, scout)) = self.core.next_move(now) {
            self.take_over(main, scout);
        }
        for index in 0..self.core.peer_count() {
            let state = self.core.peer_mut(index).state;
            match state {
                State::Wanted => self.open(index, now),
                _ if self.core.gives_up_at(index).is_some_and(|at| at < now) => {
                    self.close(index, "it does not answer");
                }
                State::Ready if self.core.is_silent(index, now) => self.close(index, "it has gone silent"),
                State::Ready if self.core.is_in_vain(index, now) => self.close(index, "it cannot take over"),
                _ => {}
            }
            self.serve_reads(index, now);
            self.send(index);
        }
    }

    /// Asks what may be read over a connection over RDMA, when that is to be asked.
    fn serve_reads(&mut self, index: usize, now: Instant) {
        let (Some(one_sided), Some(Some(socket))) = (&self.common.one_sided, self.sockets.get_mut(index))
        else {
            return;
        };
        let Some(local) = self.rdma.local().filter(|_| self.core.is_readable_far(index)) else { return };
        let far = socket.far.get_or_insert_with(|| FarPeer::new(now));
        if let Some(asked) = far.asks(local, &one_sided.far, now) {
            self.core.ask_reads(index, &asked, now);
        }
    }

    /// Hands over what the server lets us read.
    fn take_given(&mut self) {
        let Some(one_sided) = &self.common.one_sided else { return };
        for (index, asked_at, given) in self.core.take_given() {
            if let Some(Some(Socket { far: Some(far), .. })) = self.sockets.get_mut(index) {
                far.answered(given, asked_at, &one_sided.far, self.core.server());
            }
        }
        one_sided.note_far();
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

    fn note_carried(&mut self) {
        // The common port, and if nothing goes there, some shard's.
        let carried = match self.sockets.iter().flatten().next() {
            Some(Socket { stream: Stream::Rings(_), .. }) => RINGS,
            Some(Socket { stream: Stream::Rdma(_), .. }) => RDMA,
            Some(_) => SOCKET,
            None => NOTHING,
        };
        self.common.carried.store(carried, Ordering::Relaxed);
        if let Some(told) = self.core.rdma_news() {
            self.common.rdma.tell(told);
        }
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

    fn attaching(&self) -> Attaching<'_> {
        Attaching {
            timeout: self.core.connect_timeout(),
            to_read: self.common.one_sided.is_some(),
            credentials: self.core.credentials(),
        }
    }

    /// Goes on elsewhere, if the server has just told that it could; else as before.
    fn follow_offers(&mut self, index: usize) {
        while let Some(offer) = self.core.offer(index) {
            let stays = match offer {
                Offer::SharedMemory(path, boot_id) => self.attach(index, Path::new(&path), boot_id),
                Offer::Rdma => self.pair(index),
            };
            if let Err(why) = stays {
                return self.close(index, &why);
            }
        }
        if let Err((cause, why)) = self.join(index) {
            self.close_for(index, &why, Some(cause));
        }
    }

    fn attach(&mut self, index: usize, path: &Path, boot_id: u64) -> Result<(), String> {
        let attached = Stream::attach(path, Some(boot_id), self.attaching()).and_then(|mut stream| {
            stream.register(self.poll.registry(), Token(index))?;
            Ok(stream)
        });
        match attached {
            Ok(stream) => {
                self.sockets[index] = Some(Socket::new(stream));
                self.core.moved(index, Over::Rings, Instant::now());
                self.send(index);
                Ok(())
            }
            Err(error) => self.core.not_attached(index, &error.to_string(), Instant::now()),
        }
    }

    /// Makes an end of a queue pair, which the server is told of.
    fn pair(&mut self, index: usize) -> Result<(), String> {
        let end = self.open_device().and_then(|()| self.rdma.end());
        match (end, self.sockets[index].as_mut()) {
            (Ok(end), Some(socket)) => {
                self.core.pair(index, &end.offer, Instant::now());
                socket.unjoined = Some(Box::new(end));
                self.send(index);
                Ok(())
            }
            (Err(no), _) => self.core.not_paired(index, (no.cause, &no.why), Instant::now()),
            (Ok(_), None) => Err("the connection is gone".into()),
        }
    }

    /// The server has told of its end, perhaps: goes on over RDMA.
    fn join(&mut self, index: usize) -> Result<(), (Cause, String)> {
        let Some(answer) = self.core.take_pair(index) else { return Ok(()) };
        let Some(Socket { stream: Stream::Tcp(socket), unjoined: Some(end), .. }) =
            self.sockets[index].take()
        else {
            return Err((Cause::Protocol, "the server told of a queue pair without being asked".into()));
        };
        let end = end.join(&answer).map_err(|why| (Cause::from(&why), why.to_string()))?;
        let mut stream = Stream::over_rdma(socket, end);
        let registered = stream.register(self.poll.registry(), Token(index));
        registered.map_err(|error| (Cause::Verbs, error.to_string()))?;
        self.sockets[index] = Some(Socket::new(stream));
        self.core.moved(index, Over::Rdma, Instant::now());
        self.send(index);
        Ok(())
    }

    /// Looks for a device, if there is none, and listens to it.
    fn open_device(&mut self) -> Result<(), NoDevice> {
        if self.rdma.local().is_some() {
            return Ok(());
        }
        let local = self.rdma.open()?;
        let Some(events) = local.device.events().map(|events| events.as_raw_fd()) else { return Ok(()) };
        let listened = self.poll.registry().register(&mut SourceFd(&events), DEVICE, Interest::READABLE);
        listened.map_err(|error| {
            self.rdma.close();
            NoDevice { cause: Cause::Verbs, why: error.to_string(), is_final: false }
        })
    }

    /// Tries RDMA again where TCP serves in its place, if it is time.
    fn try_rdma(&mut self, now: Instant) {
        if !self.core.is_rdma_due(now) {
            return;
        }
        match self.open_device() {
            Ok(()) => self.core.scout(now),
            Err(no) => self.core.rdma_unavailable(no.cause, &no.why, no.is_final, now),
        }
    }

    /// A scout takes the place of its connection.
    fn take_over(&mut self, main: usize, scout: usize) {
        self.sockets.swap(main, scout);
        self.sockets[scout] = None;
        let Some(socket) = &mut self.sockets[main] else { return };
        if let Err(error) = socket.stream.rename(self.poll.registry(), Token(main)) {
            self.close(main, &error.to_string());
        }
    }

    /// The device tells something. When its connections cannot go on, all of them go on over TCP, and the device is closed.
    fn device_event(&mut self) {
        let Some((cause, why)) = self.rdma.hear_events() else { return };
        for index in 0..self.sockets.len() {
            let is_over_it =
                |socket: &Socket| matches!(socket.stream, Stream::Rdma(_)) || socket.unjoined.is_some();
            if self.sockets[index].as_ref().is_some_and(is_over_it) {
                self.close_for(index, why, Some(cause));
            }
        }
        self.rdma.close();
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
                peer.over = if matches!(stream, Stream::Rings(_)) { Over::Rings } else { Over::Socket };
                self.sockets[index] = Some(Socket::new(stream));
            }
            Err(error) => self.close(index, &error.to_string()),
        }
    }

    fn close(&mut self, index: usize, why: &str) {
        let stream = self.sockets[index].as_ref().map(|socket| &socket.stream);
        self.close_for(index, why, stream.and_then(Stream::rdma_cause));
    }

    /// `cause`: why it does not go on over RDMA.
    fn close_for(&mut self, index: usize, why: &str, cause: Option<Cause>) {
        let socket = self.sockets[index].take();
        if let Some(one_sided) = &self.common.one_sided {
            if index == 0 {
                one_sided.unmap();
            }
            socket.and_then(|socket| socket.far).iter_mut().for_each(|far| far.end(&one_sided.far));
            one_sided.note_far();
        }
        self.core.lost(index, why, cause, Instant::now());
    }

    fn socket_event(&mut self, index: usize, writable: bool, buffer: &mut [u8]) {
        let Some(Some(socket)) = self.sockets.get(index) else { return };
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
                    self.follow_offers(index);
                    self.map_shards();
                    self.take_given();
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
