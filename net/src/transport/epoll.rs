//! The epoll transport: for where io_uring is forbidden. Same face, one system call more for each receive and
//! each send.
//!
//! Level triggered: what a turn leaves in a socket is reported again by the next, so a bound on the events, an
//! empty pool of buffers or a pause lose nothing. Sends are tried once, at the start of the next turn, and
//! waited for only if the socket is full.

use super::pieces::Message;
use super::sockets::{
    ACCEPT_RETRY, EVENTS_MAX, EventFd, SocketsConfig, addresses, is_shortage, say, shutdown, taken,
};
use super::window::Window;
use super::{BufferId, ConnId, Event, GENERATIONS, Notice, Pieces, Transport, Waker};
use socket2::SockRef;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_engine::bytes::Bytes;
use torc_engine::segments::Room;

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    /// The worker wants bytes (not paused).
    reading: bool,
    ended: bool,
    closing: bool,
    sending: Pieces,
    sent: usize,
    /// Where its next bytes go, if not to a buffer.
    room: Option<Room>,
    /// What epoll watches for.
    interest: u32,
}

impl Socket {
    fn is_read(&self) -> bool {
        self.reading && !self.ended && !self.closing
    }

    fn wanted_interest(&self) -> u32 {
        let read = if self.reading && !self.ended { libc::EPOLLIN as u32 } else { 0 };
        let write = if !self.sending.is_empty() { libc::EPOLLOUT as u32 } else { 0 };
        read | write
    }

    /// Gives the kernel as much of what is to be sent as it takes at once.
    fn send_rest(&self) -> isize {
        let (fd, flags) = (self.fd.as_raw_fd(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
        let mut rest = self.sending.rest(self.sent);
        let first = rest.next().unwrap_or(Bytes::from(&[][..]));
        if rest.next().is_none() {
            // SAFETY: `first` is readable for its length during the call.
            return unsafe { libc::send(fd, first.as_ptr().cast(), first.len(), flags) };
        }
        let mut message = Message::new();
        let header = message.name(self.sending.rest(self.sent));
        // SAFETY: `message` and the slices that it names stay where they are during the call, and are only read.
        unsafe { libc::sendmsg(fd, header, flags) }
    }
}

#[derive(Debug)]
struct Place {
    generation: u32,
    socket: Option<Socket>,
}

/// Receive buffers: a buffer is free or the worker's.
struct Buffers {
    memory: Box<[u8]>,
    bytes: usize,
    free: Vec<u16>,
}

impl Buffers {
    fn slot(&self, buffer: u16) -> std::ops::Range<usize> {
        let start = buffer as usize * self.bytes;
        start..start + self.bytes
    }
}

/// The epoll transport of one shard thread.
pub struct Epoll {
    epoll: OwnedFd,
    waker: Arc<EventFd>,
    listeners: Vec<OwnedFd>,
    places: Vec<Place>,
    free: Vec<u32>,
    buffers: Buffers,
    /// Sends to try at the next turn.
    sends: Vec<(ConnId, Notice)>,
    /// Of somebody else, which ends the wait.
    watched: Option<RawFd>,
    /// When to watch the listeners again after a shortage.
    accept_retry: Option<Instant>,
    pending: Vec<Event>,
    ready: Vec<libc::epoll_event>,
    /// What may come until the next is told, bytes, and for the events of a turn.
    window_bytes: usize,
    window: Window,
    /// The place of the event that is looked at first.
    first: usize,
}

/// The two upper bits of an epoll event's data say what the event is about. 0: a connection, whose generation and place
/// are the other bits.
const KIND_SHIFT: u32 = 62;
const KIND_LISTENER: u64 = 1;
const KIND_WAKER: u64 = 2;
const KIND_WATCHED: u64 = 3;

fn socket_data(conn: ConnId) -> u64 {
    u64::from(conn.generation) << 32 | u64::from(conn.index)
}

/// Connections accepted in one turn from one listener, so that a storm of them leaves time for the others.
const ACCEPTS_MAX: usize = 64;

impl Epoll {
    /// # Errors
    /// The kernel refused a descriptor.
    pub fn new(config: SocketsConfig) -> io::Result<Epoll> {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let count = config.buffers.max(1);
        let bytes = config.buffer_bytes as usize;
        let epoll = Epoll {
            // SAFETY: the call above has just opened `fd` and nobody else knows it.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
            waker: Arc::new(EventFd::new(libc::EFD_NONBLOCK)?),
            listeners: config.listeners,
            places: Vec::new(),
            free: Vec::new(),
            buffers: Buffers {
                memory: vec![0; bytes * usize::from(count)].into(),
                bytes,
                free: (0..count).rev().collect(),
            },
            window_bytes: usize::MAX,
            window: Window::open(bytes),
            first: 0,
            sends: Vec::new(),
            watched: None,
            accept_retry: None,
            pending: Vec::new(),
            ready: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
        };
        epoll.control(
            libc::EPOLL_CTL_ADD,
            epoll.waker.as_raw_fd(),
            libc::EPOLLIN as u32,
            KIND_WAKER << KIND_SHIFT,
        )?;
        for listener in &epoll.listeners {
            // A turn accepts until no client waits: the last, vain try must not block.
            SockRef::from(listener).set_nonblocking(true)?;
        }
        epoll.watch_listeners(libc::EPOLL_CTL_ADD)?;
        Ok(epoll)
    }

    fn control(&self, change: i32, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: `event` is a live epoll_event for the duration of the call.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), change, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn watch_listeners(&self, change: i32) -> io::Result<()> {
        for (number, listener) in self.listeners.iter().enumerate() {
            let data = KIND_LISTENER << KIND_SHIFT | number as u64;
            let flags = (libc::EPOLLIN | libc::EPOLLEXCLUSIVE) as u32;
            self.control(change, listener.as_raw_fd(), flags, data)?;
        }
        Ok(())
    }

    fn find(&mut self, conn: ConnId) -> Option<&mut Socket> {
        let place = self.places.get_mut(conn.index as usize)?;
        place.socket.as_mut().filter(|_| place.generation == conn.generation)
    }

    fn look(&self, conn: ConnId) -> Option<&Socket> {
        let place = self.places.get(conn.index as usize)?;
        place.socket.as_ref().filter(|_| place.generation == conn.generation)
    }

    /// Tells epoll what the socket waits for, if that has changed.
    fn update_interest(&mut self, conn: ConnId) {
        let Some(socket) = self.find(conn) else { return };
        let wanted = socket.wanted_interest();
        if wanted == socket.interest {
            return;
        }
        socket.interest = wanted;
        let fd = socket.fd.as_raw_fd();
        if self.control(libc::EPOLL_CTL_MOD, fd, wanted, socket_data(conn)).is_err() {
            self.close(conn);
        }
    }

    /// Tries all queued sends. True: one with [`Notice::Soon`] is over.
    fn send_queued(&mut self, events: &mut Vec<Event>) -> bool {
        let mut sends = std::mem::take(&mut self.sends);
        let mut soon = false;
        for (conn, notice) in sends.drain(..) {
            let before = events.len();
            self.send_some(conn, events);
            soon |= notice == Notice::Soon && events.len() > before;
        }
        self.sends = sends;
        soon
    }

    fn send_some(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        let Some(socket) = self.find(conn).filter(|socket| !socket.closing) else { return };
        if socket.sending.is_empty() {
            return;
        }
        let sent = socket.send_rest();
        if sent < 0 {
            if !is_transient(&io::Error::last_os_error()) {
                return self.close(conn);
            }
        } else {
            socket.sent += sent as usize;
            if socket.sent >= socket.sending.bytes() {
                events.push(Event::Sent { conn, pieces: std::mem::take(&mut socket.sending) });
            }
        }
        self.update_interest(conn);
    }

    fn wait(&mut self, wait: Option<Duration>) -> io::Result<usize> {
        // Rounded up, so that a wait of less than a millisecond does not become a busy loop.
        let timeout =
            wait.map_or(-1, |wait| wait.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32);
        // SAFETY: `ready` has room for EVENTS_MAX events.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), self.ready.as_mut_ptr(), EVENTS_MAX as i32, timeout)
        };
        if count >= 0 {
            return Ok(count as usize);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        }
    }

    fn accept(&mut self, number: usize, events: &mut Vec<Event>) {
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = self.listeners.get(number) else { return };
            // SAFETY: null addresses are allowed: none is asked for.
            let fd = unsafe {
                libc::accept4(
                    listener.as_raw_fd(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                )
            };
            if fd < 0 {
                let error = io::Error::last_os_error().raw_os_error().unwrap_or_default();
                if is_shortage(error) {
                    events.push(Event::AcceptFailed { error });
                    self.suspend_accepting();
                }
                return;
            }
            // SAFETY: accept has just opened `fd` for us.
            self.admit(unsafe { OwnedFd::from_raw_fd(fd) }, number, events);
        }
    }

    fn admit(&mut self, fd: OwnedFd, number: usize, events: &mut Vec<Event>) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, socket: None });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        let conn = ConnId { index, generation: place.generation };
        let interest = libc::EPOLLIN as u32;
        let raw = fd.as_raw_fd();
        place.socket = Some(Socket {
            fd,
            reading: true,
            ended: false,
            closing: false,
            sending: Pieces::default(),
            sent: 0,
            room: None,
            interest,
        });
        events.push(Event::Accepted { conn, listener: number as u16 });
        if self.control(libc::EPOLL_CTL_ADD, raw, interest, socket_data(conn)).is_err() {
            self.close(conn);
        }
    }

    /// Watches no listener for a while: level triggered, they would wake every turn.
    fn suspend_accepting(&mut self) {
        for listener in &self.listeners {
            // Only a listener that is not watched can fail here.
            let _ = self.control(libc::EPOLL_CTL_DEL, listener.as_raw_fd(), 0, 0);
        }
        self.accept_retry = Some(Instant::now() + ACCEPT_RETRY);
    }

    fn receive(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        let Some(socket) = self.find(conn).filter(|socket| socket.is_read()) else { return };
        match socket.room.take() {
            Some(room) => self.receive_to_room(conn, room, events),
            None => self.receive_to_buffer(conn, events),
        }
    }

    fn receive_to_room(&mut self, conn: ConnId, room: Room, events: &mut Vec<Event>) {
        let Some(socket) = self.find(conn) else { return };
        let (fd, flags) = (socket.fd.as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: the room is writable for its length until it is given back, which is below.
        let received = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), flags) };
        let failed = received < 0;
        if failed && is_transient(&io::Error::last_os_error()) {
            socket.room = Some(room);
            return;
        }
        events.push(Event::Filled { conn, room, len: received.max(0) as u32 });
        if failed {
            self.close(conn);
        } else if received == 0 {
            self.ended(conn, events);
        }
    }

    fn ended(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        self.find(conn).into_iter().for_each(|socket| socket.ended = true);
        events.push(Event::Ended { conn });
        self.update_interest(conn);
    }

    fn receive_to_buffer(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        if self.buffers.free.is_empty() || !self.window.take() {
            return;
        }
        let Some(buffer) = self.buffers.free.pop() else { return };
        let slot = self.buffers.slot(buffer);
        let Some(fd) = self.look(conn).map(|socket| socket.fd.as_raw_fd()) else {
            self.buffers.free.push(buffer);
            return;
        };
        let room = &mut self.buffers.memory[slot][..self.window.piece];
        // SAFETY: `room` is writable for its length during the call.
        let received = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
        if received > 0 {
            events.push(Event::Received { conn, buffer: BufferId(buffer), len: received as u32 });
            return;
        }
        self.buffers.free.push(buffer);
        if received == 0 {
            self.ended(conn, events);
        } else if !is_transient(&io::Error::last_os_error()) {
            self.close(conn);
        }
    }

    fn dispatch(&mut self, ready: libc::epoll_event, events: &mut Vec<Event>) {
        let (flags, data) = (ready.events, ready.u64);
        match data >> KIND_SHIFT {
            KIND_WAKER => {
                let mut count = [0u8; 8];
                // SAFETY: `count` is eight writable bytes; the descriptor does not block.
                unsafe { libc::read(self.waker.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
                events.push(Event::Woken);
            }
            KIND_LISTENER => self.accept(data as u32 as usize, events),
            KIND_WATCHED => events.push(Event::Woken),
            _ => {
                let conn = ConnId { index: data as u32, generation: (data >> 32) as u32 & (GENERATIONS - 1) };
                if flags & libc::EPOLLOUT as u32 != 0 {
                    self.send_some(conn, events);
                }
                let dead = flags & (libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0;
                let paused = self.find(conn).is_some_and(|socket| !socket.reading || socket.ended);
                if dead && paused {
                    self.close(conn);
                } else if flags & (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0 {
                    self.receive(conn, events);
                }
            }
        }
    }

    fn watch_listeners_if_due(&mut self) -> Option<Duration> {
        let left = self.accept_retry?.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        self.accept_retry = None;
        if self.watch_listeners(libc::EPOLL_CTL_ADD).is_err() {
            self.suspend_accepting();
        }
        None
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Transport for Epoll {
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let retry = self.watch_listeners_if_due();
        let soon = self.send_queued(events) || !self.pending.is_empty();
        events.append(&mut self.pending);
        let wait = match (soon, wait, retry) {
            (true, ..) => Some(Duration::ZERO),
            (false, Some(wait), Some(retry)) => Some(wait.min(retry)),
            (false, wait, retry) => wait.or(retry),
        };
        let count = self.wait(wait)?;
        self.window = Window::of(self.window_bytes, self.buffers.bytes, count.max(1));
        // What the window has no room for stays ready, and is told of in the same order each time.
        self.first = self.first.wrapping_add(1);
        for number in 0..count {
            let ready = self.ready[(self.first + number) % count];
            self.dispatch(ready, events);
            // At once: a place that is free now may be taken again by the next event.
            events.append(&mut self.pending);
        }
        Ok(())
    }

    fn received(&self, buffer: BufferId, len: u32) -> &[u8] {
        &self.buffers.memory[self.buffers.slot(buffer.0)][..len as usize]
    }

    fn set_receive_window(&mut self, bytes: usize) {
        self.window_bytes = bytes;
    }

    fn recycle(&mut self, buffer: BufferId) {
        self.buffers.free.push(buffer.0);
    }

    fn receive_into(&mut self, conn: ConnId, room: Room, _last: bool) -> Result<(), Room> {
        match self.find(conn).filter(|socket| socket.is_read() && socket.room.is_none()) {
            Some(socket) => {
                socket.room = Some(room);
                Ok(())
            }
            None => Err(room),
        }
    }

    fn recall(&mut self, conn: ConnId) {
        let room = self.find(conn).and_then(|socket| socket.room.take());
        self.pending.extend(room.map(|room| Event::Filled { conn, room, len: 0 }));
    }

    fn send(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        match self.find(conn) {
            Some(socket) if !socket.closing => {
                assert!(socket.sending.is_empty(), "one send of a connection at a time");
                socket.sending = pieces;
                socket.sent = 0;
                self.sends.push((conn, notice));
            }
            _ => self.pending.push(Event::Sent { conn, pieces }),
        }
    }

    fn taken(&self, conn: ConnId) -> u64 {
        self.look(conn).map(|socket| taken(&socket.fd)).unwrap_or_default()
    }

    fn pause(&mut self, conn: ConnId) {
        self.find(conn).into_iter().for_each(|socket| socket.reading = false);
        self.recall(conn);
        self.update_interest(conn);
    }

    fn resume(&mut self, conn: ConnId) {
        self.find(conn).into_iter().for_each(|socket| socket.reading = true);
        self.update_interest(conn);
    }

    fn close(&mut self, conn: ConnId) {
        self.recall(conn);
        let Some(socket) = self.find(conn) else { return };
        socket.closing = true;
        shutdown(&socket.fd);
        let pieces = std::mem::take(&mut socket.sending);
        let place = &mut self.places[conn.index as usize];
        // Closing the descriptor takes it out of the epoll set.
        place.socket = None;
        place.generation = (place.generation + 1) % GENERATIONS;
        self.free.push(conn.index);
        self.pending.push(Event::Closed { conn, pieces });
    }

    fn refuse(&mut self, conn: ConnId, words: &[u8]) {
        if let Some(socket) = self.look(conn) {
            say(&socket.fd, words);
        }
        self.close(conn);
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.unwatch();
        let descriptor = descriptor.as_raw_fd();
        // By its edges: who is told takes all that is there.
        let interest = (libc::EPOLLIN | libc::EPOLLET) as u32;
        self.control(libc::EPOLL_CTL_ADD, descriptor, interest, KIND_WATCHED << KIND_SHIFT)?;
        self.watched = Some(descriptor);
        Ok(())
    }

    fn unwatch(&mut self) {
        if let Some(descriptor) = self.watched.take() {
            // Fails only if it is closed, and then nothing is left to take out.
            let _ = self.control(libc::EPOLL_CTL_DEL, descriptor, 0, 0);
        }
    }

    fn socket(&self, conn: ConnId) -> Option<BorrowedFd<'_>> {
        self.look(conn).filter(|socket| !socket.closing).map(|socket| socket.fd.as_fd())
    }

    fn stop_accepting(&mut self) {
        self.accept_retry = None;
        self.listeners.clear();
    }

    fn addresses(&self, conn: ConnId) -> (String, String) {
        self.look(conn).map(|socket| addresses(&socket.fd)).unwrap_or_default()
    }

    fn waker(&self) -> Arc<dyn Waker> {
        self.waker.clone()
    }

    fn name(&self) -> &'static str {
        "epoll"
    }
}
