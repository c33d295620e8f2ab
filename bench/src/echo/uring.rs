//! The echo over io_uring: single issuer, deferred task run, multishot accept and receive into a
//! provided-buffer ring, one enter a turn. Short replies go by sends that never wait and complete only if they
//! fail, so they cost neither a completion nor a turn; long ones by one send a connection at a time.

use std::{
    alloc::{Layout, alloc_zeroed, handle_alloc_error},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd, RawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{
    IoUring, SubmissionQueue, cqueue, opcode, squeue,
    types::{BufRingEntry, Fd},
};

use super::Counter;
use crate::error::BenchError;

const RING_ENTRIES: u32 = 4096;
const BUFFER_GROUP: u16 = 0;
/// A power of two.
const BUFFERS: u16 = 1024;
const BUFFER_BYTES: usize = 16 * 1024;

/// What a completion belongs to, in the upper half of its user data; the connection is below.
const ACCEPT: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
/// A send that completes only if it did not send all; its length is above.
const QUICK_SEND: u64 = 4 << 32;
const OPERATION_MASK: u64 = 7 << 32;
const LEN_SHIFT: u32 = 40;
/// Most bytes of a quick send: they fit into the socket of a client that reads.
const QUICK_SEND_BYTES_MAX: usize = 16 * 1024;

#[derive(Default)]
struct Connection {
    stream: Option<TcpStream>,
    counter: Counter,
    /// A send that completes is with the kernel.
    sending: bool,
    /// A quick send failed: this client does not always take its replies.
    slow: bool,
    /// The receive has ended: the connection goes when its send has, too.
    ended: bool,
}

pub(super) fn serve(listener: &TcpListener) -> Result<(), BenchError> {
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(2 * RING_ENTRIES)
        .build(RING_ENTRIES)
        .map_err(BenchError::io("opening a ring"))?;
    let mut buffers = Buffers::new();
    // SAFETY: the entries live until the process ends (`Buffers` is leaked), are page-aligned and
    // BUFFERS long.
    unsafe {
        ring.submitter()
            .register_buf_ring_with_flags(buffers.entries.as_ptr() as u64, BUFFERS, BUFFER_GROUP, 0)
            .map_err(BenchError::io("registering the buffer ring"))?;
    }
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd().map_err(BenchError::io("registering the ring's descriptor"))?;
    let mut echo = Echo {
        queue,
        connections: Vec::new(),
        free: Vec::new(),
        done: Vec::new(),
        listener: listener.as_raw_fd(),
    };
    echo.accept();
    loop {
        echo.queue.sync();
        submitter.submit_and_wait(1).map_err(BenchError::io("waiting for completions"))?;
        echo.close_done();
        completions.sync();
        for completion in &mut completions {
            echo.complete(&completion, &mut buffers);
        }
        buffers.publish();
    }
}

struct Echo<'a> {
    queue: SubmissionQueue<'a>,
    connections: Vec<Connection>,
    free: Vec<u32>,
    /// Closed after the next enter: what is queued may still name their sockets.
    done: Vec<u32>,
    listener: RawFd,
}

impl Echo<'_> {
    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: entries refer only to descriptors (checked by the kernel), to the registered
        // buffers and to the static replies, all of which outlive the ring.
        let pushed = unsafe { self.queue.push(&entry) };
        // A turn queues at most two entries a connection.
        assert!(pushed.is_ok(), "more connections than the echo's ring holds");
    }

    fn accept(&mut self) {
        self.push(opcode::AcceptMulti::new(Fd(self.listener)).build().user_data(ACCEPT));
    }

    fn receive(&mut self, number: u32) {
        let Some(stream) = &self.connections[number as usize].stream else {
            return;
        };
        let receive = opcode::RecvMulti::new(Fd(stream.as_raw_fd()), BUFFER_GROUP).build();
        self.push(receive.user_data(RECEIVE | u64::from(number)));
    }

    fn complete(&mut self, completion: &cqueue::Entry, buffers: &mut Buffers) {
        let data = completion.user_data();
        let number = data as u32;
        match data & OPERATION_MASK {
            ACCEPT => self.accepted(completion),
            RECEIVE => self.received(number, completion, buffers),
            QUICK_SEND => self.sent_short(number, completion.result(), data >> LEN_SHIFT),
            _ => self.sent(number, completion.result()),
        }
    }

    fn accepted(&mut self, completion: &cqueue::Entry) {
        if completion.result() >= 0 {
            // SAFETY: a successful accept hands over a descriptor that nobody else owns.
            let stream = unsafe { TcpStream::from_raw_fd(completion.result()) };
            // Without it replies would be late, which shows in the figures; nothing breaks.
            let _ = stream.set_nodelay(true);
            let number = self.free.pop().unwrap_or_else(|| {
                self.connections.push(Connection::default());
                self.connections.len() as u32 - 1
            });
            self.connections[number as usize].stream = Some(stream);
            self.receive(number);
        }
        if !cqueue::more(completion.flags()) {
            self.accept();
        }
    }

    fn received(&mut self, number: u32, completion: &cqueue::Entry, buffers: &mut Buffers) {
        let connection = &mut self.connections[number as usize];
        let mut alive = completion.result() > 0;
        if let Some(id) = cqueue::buffer_select(completion.flags()) {
            let bytes = completion.result().max(0) as usize;
            alive = alive && connection.counter.take(buffers.bytes(id, bytes));
            buffers.give_back(id);
        } else if completion.result() == -libc::ENOBUFS {
            alive = true;
        }
        let over = !cqueue::more(completion.flags());
        match (alive, over) {
            (true, false) => self.send(number),
            (true, true) => {
                self.send(number);
                self.receive(number);
            }
            (false, true) => {
                connection.ended = true;
                self.close_if_done(number);
            }
            // A wrong preamble: shutting down ends the receive.
            (false, false) => {
                if let Some(stream) = &connection.stream {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                }
            }
        }
    }

    fn send(&mut self, number: u32) {
        let connection = &mut self.connections[number as usize];
        let due = connection.counter.due();
        let Some(stream) = &connection.stream else {
            return;
        };
        if connection.sending || due.is_empty() {
            return;
        }
        let send = opcode::Send::new(Fd(stream.as_raw_fd()), due.as_ptr(), due.len() as u32);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        if due.len() > QUICK_SEND_BYTES_MAX || connection.slow {
            connection.sending = true;
            return self.push(send.flags(flags).build().user_data(SEND | u64::from(number)));
        }
        let len = due.len() as u64;
        connection.counter.owed -= len;
        let send = send.flags(flags | libc::MSG_DONTWAIT).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(send.user_data(QUICK_SEND | len << LEN_SHIFT | u64::from(number)));
    }

    /// What a quick send left goes by a send that waits, in whatever order: every byte of a reply is the same.
    fn sent_short(&mut self, number: u32, result: i32, len: u64) {
        let connection = &mut self.connections[number as usize];
        if connection.ended || (result < 0 && -result != libc::EAGAIN) {
            return;
        }
        connection.slow = true;
        connection.counter.owed += len - result.max(0) as u64;
        self.send(number);
    }

    fn sent(&mut self, number: u32, result: i32) {
        let connection = &mut self.connections[number as usize];
        connection.sending = false;
        match u64::try_from(result) {
            Ok(bytes) => connection.counter.owed -= bytes,
            Err(_) => connection.counter.owed = 0,
        }
        self.send(number);
        self.close_if_done(number);
    }

    fn close_if_done(&mut self, number: u32) {
        let connection = &mut self.connections[number as usize];
        if connection.ended && !connection.sending && connection.stream.is_some() {
            self.done.push(number);
        }
    }

    fn close_done(&mut self) {
        for number in self.done.drain(..) {
            self.connections[number as usize] = Connection::default();
            self.free.push(number);
        }
    }
}

/// The provided-buffer ring: entries shared with the kernel, and the buffers they lend to it.
struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
}

impl Buffers {
    /// Allocates and lends all buffers. Never freed: the kernel may write to them as long as the
    /// process lives.
    fn new() -> Self {
        let entries = zeroed(size_of::<BufRingEntry>() * usize::from(BUFFERS)).cast();
        let memory = zeroed(BUFFER_BYTES * usize::from(BUFFERS));
        let mut buffers = Self { entries, memory, tail: 0 };
        (0..BUFFERS).for_each(|id| buffers.give_back(id));
        buffers.publish();
        buffers
    }

    /// The received bytes in buffer `id`.
    fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < BUFFERS && len <= BUFFER_BYTES);
        // SAFETY: the assertion keeps the slice inside `memory`, and the kernel does not write to a
        // buffer between its completion and `give_back`.
        unsafe {
            let start = self.memory.add(usize::from(id) * BUFFER_BYTES);
            std::slice::from_raw_parts(start.as_ptr(), len)
        }
    }

    /// Lends buffer `id` to the kernel, seen at the next `publish`.
    fn give_back(&mut self, id: u16) {
        assert!(id < BUFFERS);
        let at = usize::from(self.tail % BUFFERS);
        // SAFETY: `at` and `id` are below BUFFERS, so both places are inside their allocations; the
        // kernel does not read entries at or past the published tail.
        unsafe {
            let address = self.memory.add(usize::from(id) * BUFFER_BYTES);
            let entry = self.entries.add(at).as_mut();
            entry.set_addr(address.as_ptr() as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Moves the tail that the kernel reads.
    fn publish(&self) {
        // SAFETY: `entries` is the base of a live buffer ring, so its tail is a valid, aligned u16
        // that this side only accesses atomically.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        // Pairs with the kernel's acquire load: the entries written before are seen.
        tail.store(self.tail, Ordering::Release);
    }
}

/// Zeroed, page-aligned memory that is never freed.
fn zeroed(bytes: usize) -> NonNull<u8> {
    const PAGE_BYTES: usize = 4096;
    let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("a constant, small layout");
    // SAFETY: the layout's size is not 0.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
