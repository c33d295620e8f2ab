//! The io_uring transport: one ring, one `io_uring_enter` a turn.
//!
//! ```text
//!   listener --multishot accept--> socket --multishot receive--> buffer ring --> Received, recycle
//!   Pieces --send (all of them)--> Sent        eventfd --read--> Woken
//! ```
//!
//! [`Notice::WithNext`] is served by [`quick`] sends, which complete only if they fail.
//!
//! The ring has a single issuer and runs its task work only inside `enter`, so nothing interrupts the loop.
//! Every turn enters, even with nothing to submit: task work may be pending and only an enter that asks for
//! events runs it.
//!
//! Life of a socket: operations under way keep it. [`Uring::close`] shuts it down, which makes the kernel end
//! its receive, send and poll; when their last completions have come it is closed, its place is free and `Closed` is
//! reported. So no completion can be about a reused place; generations are a second fence.
//!
//! What the kernel may do at any time, and what is done then:
//!
//! | completion | meaning | answer |
//! |---|---|---|
//! | receive without `MORE` | the multishot receive ended, for whatever reason | armed again if the client is still read |
//! | multishot receive, a long row of buffers | an end or a reset behind it may have been missed | asked back and armed again |
//! | receive `ENOBUFS` | the buffer ring was empty | armed again in its turn, when a buffer is back |
//! | receive `ECANCELED` | a pause, or room is asked back | armed again if the client is read, else at the resume |
//! | receive into room, any | the kernel is done with the room | `Filled`, whatever else it means |
//! | accept `EMFILE`, `ENFILE`, `ENOMEM`, `ENOBUFS` | shortage | armed again after [`ACCEPT_RETRY`] |
//! | poll of a paused socket | both sides are shut, or it was reset | closed |
//! | poll of a Unix socket | the client sends no more | its receive is asked back, and what is left is received by single ones |
//! | send short | the socket ended, or a signal; a quick send: the socket was full | the rest is sent |
//! | cancel fails | the receive is over, or was being worked on | cancelled again if it is armed and not wanted |
//! | enter `EBUSY` | completions overflowed | reap, enter again next turn |

mod batch;
mod buffers;
mod end;
mod enter;
mod notices;
mod probe;
mod quick;
mod receive;
mod room;
mod socket;
mod user_data;
mod watch;

pub use probe::{has_min_wait, probe};

use super::sockets::{
    ACCEPT_RETRY, EVENTS_MAX, EventFd, SocketsConfig, addresses, is_shortage, is_unix, say, shutdown, taken,
};
use super::{BufferId, ConnId, Event, Notice, Pieces, Transport, Waker};
use batch::MinWait;
use buffers::BufferRing;
use enter::RegisteredRing;
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket::Sockets;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_engine::segments::Room;
use user_data::Operation;

/// Entries of the submission queue; when it is full the turn submits early.
const SUBMISSIONS: u32 = 1024;
/// Entries of the completion queue; what does not fit waits in the kernel.
const COMPLETIONS: u32 = 8192;
/// Longest wait for news while clients wait for buffers and the window lets none in: that it opens is no event.
const STARVING_WAIT: Duration = Duration::from_millis(1);
/// Longer pieces are not sent quickly: they may not fit into the socket.
const QUICK_SEND_BYTES_MAX: usize = 16 << 10;

struct Listening {
    /// `None`: closed.
    fd: Option<OwnedFd>,
    armed: bool,
    /// Its connections are those of a Unix socket.
    is_unix: bool,
}

/// The io_uring transport of one shard thread.
pub struct Uring {
    ring: IoUring,
    registered: RegisteredRing,
    buffers: BufferRing,
    sockets: Sockets,
    listeners: Vec<Listening>,
    accepting: bool,
    /// When to arm the listeners that met a shortage.
    accept_retry: Option<Instant>,
    /// Sockets whose receive is armed at the next turn.
    unarmed: Vec<ConnId>,
    /// Sockets whose receive met an empty buffer ring, in the order in which they did.
    starved: VecDeque<ConnId>,
    /// Whether a receive of the last turn met an empty buffer ring.
    ran_empty: bool,
    /// Whether quick sends can be relied on.
    quick_sends: bool,
    /// Sockets with a quick send that is not known to be over.
    quick: Vec<ConnId>,
    /// Some of these were submitted and are not yet reported: the next turn does not wait.
    quick_overdue: bool,
    min_wait: MinWait,
    waker: Arc<EventFd>,
    /// Where the kernel writes the count of wake-ups; boxed, as it must not move.
    wakes: Box<[u8; 8]>,
    /// Reported at the next turn.
    pending: Vec<Event>,
    completions: Vec<cqueue::Entry>,
    /// Receives, sends and the waker's read that the kernel has: their memory is not ours.
    in_flight: usize,
    /// What is watched, see [`notices`].
    watched: Option<RawFd>,
    /// How often something was watched.
    watches: u32,
}

impl Uring {
    /// Opens the ring. Must be called, and the transport used, on one thread: the ring has a single issuer.
    pub fn new(config: SocketsConfig) -> io::Result<Uring> {
        let mut ring = build_ring(SUBMISSIONS, COMPLETIONS, config.spins)?;
        let quick_sends = quick::is_told_when_short(&mut ring)?;
        let mut uring = Uring {
            registered: RegisteredRing::new(&ring)?,
            buffers: BufferRing::new(config.buffers, config.buffer_bytes)?,
            ring,
            sockets: Sockets::default(),
            listeners: config
                .listeners
                .into_iter()
                .map(|fd| Listening { is_unix: is_unix(&fd), fd: Some(fd), armed: false })
                .collect(),
            accepting: true,
            accept_retry: None,
            unarmed: Vec::new(),
            starved: VecDeque::new(),
            ran_empty: false,
            quick_sends,
            quick: Vec::new(),
            quick_overdue: false,
            min_wait: MinWait::new(config.min_wait),
            waker: Arc::new(EventFd::new(0)?),
            wakes: Box::new([0; 8]),
            pending: Vec::new(),
            completions: Vec::with_capacity(EVENTS_MAX),
            in_flight: 0,
            watched: None,
            watches: 0,
        };
        // SAFETY: the mappings of `buffers` do not move with the struct, and `drop` ends all receives, or leaks
        // the mappings, before they are unmapped.
        unsafe { uring.buffers.register(&uring.ring.submitter())? };
        uring.arm_waker();
        uring.arm_listeners();
        Ok(uring)
    }

    /// Queues an entry, submitting early if the queue is full.
    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: every caller's entry names memory and descriptors that stay where they are until its completion:
            // buffers of the ring, room that its socket keeps (and the boxed message that names it and a spare buffer), pieces
            // kept in their socket (and the boxed message that names them, which is not written while a send is under
            // way), the boxed wake count. A quick send may have no
            // completion; its piece stays until the kernel has taken the entry, and by then the send is over.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // On an error the queue stays full and the loop tries again: the kernel refuses only for a while (EBUSY,
            // EAGAIN, EINTR). Completions for which the ring has no room wait in the kernel's overflow list.
            let _ = self.ring.submit();
        }
    }

    fn arm_waker(&mut self) {
        let fd = Fd(self.waker.as_raw_fd());
        let read = opcode::Read::new(fd, self.wakes.as_mut_ptr(), self.wakes.len() as u32).build();
        self.in_flight += 1;
        self.push(read.user_data(user_data::encode(Operation::Wake, PLACE_NONE)));
    }

    fn arm_listeners(&mut self) {
        self.accept_retry = None;
        for number in 0..self.listeners.len() {
            let listening = &mut self.listeners[number];
            let Some(fd) = listening.fd.as_ref().filter(|_| self.accepting && !listening.armed) else {
                continue;
            };
            let accept = opcode::AcceptMulti::new(Fd(fd.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
            listening.armed = true;
            self.push(accept.user_data(user_data::encode(Operation::Accept, listener_place(number))));
        }
    }

    /// Sends what the socket still has to send.
    fn arm_send(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        let send = socket.send_rest(libc::MSG_WAITALL);
        self.in_flight += 1;
        self.push(send.user_data(user_data::encode(Operation::Send, conn)));
    }

    fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let submissions = self.ring.submission().len() as u32;
        self.registered.enter(submissions, wait)
    }

    fn reap(&mut self, events: &mut Vec<Event>) {
        // Read first: handling completions queues more entries.
        let all_taken = self.ring.submission().is_empty();
        let mut completions = std::mem::take(&mut self.completions);
        completions.extend(self.ring.completion().take(EVENTS_MAX));
        for completion in completions.drain(..) {
            self.complete(&completion, events);
            // At once: the next completion may be about a new connection on a place that has just become free.
            events.append(&mut self.pending);
        }
        self.completions = completions;
        self.end_quick_sends(all_taken, events);
    }

    fn complete(&mut self, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let Some((operation, conn)) = user_data::decode(completion.user_data()) else { return };
        let (result, flags) = (completion.result(), completion.flags());
        match operation {
            Operation::Accept => self.accepted(conn.index as usize, result, flags, events),
            Operation::Receive => self.received(conn, result, flags, events),
            Operation::Send => {
                self.in_flight -= 1;
                self.sent(conn, result, events);
            }
            Operation::QuickSend => self.sent(conn, result, events),
            Operation::Cancel => self.cancelled(conn, result),
            Operation::Watch => self.watched(conn, result),
            Operation::End => self.end_told(conn),
            Operation::Notice => self.noticed(conn, result, flags, events),
            Operation::Wake => {
                self.in_flight -= 1;
                events.push(Event::Woken);
                self.arm_waker();
            }
        }
    }

    fn accepted(&mut self, number: usize, result: i32, flags: u32, events: &mut Vec<Event>) {
        if !cqueue::more(flags) {
            self.listeners[number].armed = false;
            if !self.accepting {
                self.listeners[number].fd = None;
            } else if result < 0 {
                self.accept_retry = Some(Instant::now() + ACCEPT_RETRY);
            } else {
                self.accept_retry = Some(Instant::now());
            }
        }
        if result < 0 {
            if is_shortage(-result) {
                events.push(Event::AcceptFailed { error: -result });
            }
            return;
        }
        // SAFETY: the completion hands over a descriptor that has just been opened for us.
        let fd = unsafe { OwnedFd::from_raw_fd(result) };
        if self.accepting {
            let conn = self.sockets.insert(fd);
            self.arm_receive(conn);
            if self.listeners[number].is_unix {
                self.watch_end(conn);
            }
            events.push(Event::Accepted { conn, listener: number as u16 });
        }
    }

    fn sent(&mut self, conn: ConnId, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.find(conn) else { return };
        socket.quick = false;
        if result > 0 {
            socket.sent += result as usize;
        }
        let whole = socket.sending.bytes() <= socket.sent;
        let again = matches!(-result, libc::EINTR | libc::EAGAIN) || result > 0;
        if whole {
            events.push(Event::Sent { conn, pieces: std::mem::take(&mut socket.sending) });
        } else if again && !socket.closing {
            self.arm_send(conn);
            return;
        } else {
            socket.send_failed = true;
            self.close(conn);
        }
        self.close_if_idle(conn);
    }

    /// Frees the place of a closing socket that the kernel is done with.
    fn close_if_idle(&mut self, conn: ConnId) {
        if let Some(pieces) = self.sockets.remove_if_idle(conn) {
            self.pending.push(Event::Closed { conn, pieces });
        }
    }

    fn cancel(&mut self, operation: Operation, conn: ConnId) {
        let cancel = opcode::AsyncCancel::new(user_data::encode(operation, conn)).build();
        // Only the result for a receive matters. A listener's place is no connection's, so it is not looked up.
        let user_data = match operation {
            Operation::Receive => user_data::encode(Operation::Cancel, conn),
            _ => user_data::NONE,
        };
        self.push(cancel.user_data(user_data));
    }

    fn prepare_turn(&mut self) -> Option<Duration> {
        self.feed_starved();
        self.arm_long();
        let left = self.accept_retry?.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.arm_listeners();
            return None;
        }
        Some(left)
    }
}

/// Stands for a place in entries that belong to no connection.
const PLACE_NONE: ConnId = ConnId { index: 0, generation: 0 };

fn listener_place(number: usize) -> ConnId {
    ConnId { index: number as u32, generation: 0 }
}

/// A ring as this transport needs it. `flags_work`: the kernel shows by a flag in memory that it has task work, so a
/// worker that spins sees without a system call whether it has to enter.
fn build_ring(submissions: u32, completions: u32, flags_work: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    if flags_work {
        builder.setup_taskrun_flag();
    }
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(completions)
        .dontfork()
        .build(submissions)
}

impl Transport for Uring {
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let retry = self.prepare_turn();
        events.append(&mut self.pending);
        let feeds = !self.starved.is_empty() && self.buffers.ready() > 0;
        let idle = events.is_empty() && !self.quick_overdue && !feeds;
        let starving = (!self.starved.is_empty()).then_some(STARVING_WAIT);
        let wait = match idle {
            false => Some(Duration::ZERO),
            true => [wait, retry, starving].into_iter().flatten().min(),
        };
        if self.min_wait.is_on() {
            return self.turn_for_batch(wait, events);
        }
        self.enter(wait)?;
        self.reap(events);
        Ok(())
    }

    fn may_have_news(&mut self) -> bool {
        let queue = self.ring.submission();
        let kernel_has = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        kernel_has
            || !self.ring.completion().is_empty()
            || !self.pending.is_empty()
            || self.quick_overdue
            || !self.starved.is_empty()
    }

    fn received(&self, buffer: BufferId, len: u32) -> &[u8] {
        self.buffers.bytes(buffer.0, len)
    }

    fn recycle(&mut self, buffer: BufferId) {
        self.buffers.recycle(buffer.0);
    }

    fn receive_into(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room> {
        self.give_room(conn, room, last)
    }

    fn recall(&mut self, conn: ConnId) {
        self.recall_room(conn);
    }

    fn send(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        match self.sockets.find(conn) {
            Some(socket) if !socket.closing => {
                assert!(socket.sending.is_empty(), "one send of a connection at a time");
                let quick = self.quick_sends
                    && notice == Notice::WithNext
                    && pieces.single().is_some()
                    && pieces.bytes() <= QUICK_SEND_BYTES_MAX;
                socket.sending = pieces;
                socket.sent = 0;
                if quick { self.arm_quick_send(conn) } else { self.arm_send(conn) }
            }
            _ => self.pending.push(Event::Sent { conn, pieces }),
        }
    }

    fn taken(&self, conn: ConnId) -> u64 {
        self.sockets.look(conn).map(|socket| taken(&socket.fd)).unwrap_or_default()
    }

    fn pause(&mut self, conn: ConnId) {
        self.pause_receive(conn);
    }

    fn resume(&mut self, conn: ConnId) {
        self.resume_receive(conn);
    }

    fn ration(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.find(conn) {
            socket.rationed = true;
        }
    }

    fn set_receive_window(&mut self, bytes: usize) {
        self.buffers.set_window(bytes);
    }

    fn close(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        if socket.closing {
            return;
        }
        socket.closing = true;
        shutdown(&socket.fd);
        self.recall_room(conn);
        self.close_if_idle(conn);
    }

    fn refuse(&mut self, conn: ConnId, words: &[u8]) {
        if let Some(socket) = self.sockets.look(conn) {
            say(&socket.fd, words);
        }
        self.close(conn);
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.begin_watch(descriptor.as_raw_fd());
        Ok(())
    }

    fn unwatch(&mut self) {
        self.end_watch();
    }

    fn socket(&self, conn: ConnId) -> Option<BorrowedFd<'_>> {
        self.sockets.look(conn).filter(|socket| !socket.closing).map(|socket| socket.fd.as_fd())
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        self.accept_retry = None;
        for number in 0..self.listeners.len() {
            if self.listeners[number].armed {
                self.cancel(Operation::Accept, listener_place(number));
            } else {
                self.listeners[number].fd = None;
            }
        }
    }

    fn addresses(&self, conn: ConnId) -> (String, String) {
        self.sockets.look(conn).map(|socket| addresses(&socket.fd)).unwrap_or_default()
    }

    fn waker(&self) -> Arc<dyn Waker> {
        self.waker.clone()
    }

    fn name(&self) -> &'static str {
        "uring"
    }
}
