//! Asks the kernel for each part of io_uring that the server uses, by using it.
//!
//! A version number would not do: distributions move features back, and a seccomp filter or a sysctl takes
//! them away. Every trial opens a ring of its own, so that one refusal spoils no other trial.

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use memmap2::MmapMut;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU16, Ordering};

/// One trial.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) name: &'static str,
    /// What the server does with it.
    pub(crate) used_for: &'static str,
    /// The first kernel that has it.
    pub(crate) since: &'static str,
    /// Without it, the epoll transport serves.
    pub(crate) needed: bool,
    pub(crate) result: io::Result<()>,
}

/// Tries everything; the first entry is io_uring itself.
pub(crate) fn try_all() -> Vec<Trial> {
    let trial = |name, used_for, since, needed, result| Trial { name, used_for, since, needed, result };
    vec![
        trial("io_uring", "the fast transport", "5.1", true, ring(|_| {}).map(drop)),
        trial(
            "single issuer",
            "the kernel takes no lock for a ring that one thread owns",
            "6.0",
            true,
            ring(|builder| {
                builder.setup_single_issuer();
            })
            .map(drop),
        ),
        trial(
            "deferred task run",
            "completions are worked off when the loop asks, not by interrupts",
            "6.1",
            true,
            deferred().map(drop),
        ),
        trial(
            "registered ring descriptor",
            "no descriptor look-up at each enter",
            "5.18",
            false,
            deferred().and_then(|ring| ring.submitter().register_ring_fd()),
        ),
        trial("buffer ring", "receive buffers are shared by all connections", "5.19", true, buffer_ring()),
        trial("multishot receive", "one request receives until the client leaves", "6.0", true, receive()),
        trial("multishot accept", "one request accepts all clients", "5.19", true, accept()),
        trial("minimum wait", "--min-wait: a shard waits for a small batch", "6.12", false, min_wait()),
        trial("ring messages", "a shard wakes another without a system call more", "5.18", false, messages()),
        trial("zero-copy send", "large values leave without a copy", "6.0", false, zero_copy()),
    ]
}

const ENTRIES: u32 = 8;

fn ring(set: impl Fn(&mut io_uring::Builder)) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    set(&mut builder);
    builder.build(ENTRIES)
}

fn deferred() -> io::Result<IoUring> {
    ring(|builder| {
        builder.setup_single_issuer().setup_defer_taskrun();
    })
}

fn min_wait() -> io::Result<()> {
    let has = ring(|_| {})?.params().is_feature_min_timeout();
    if has { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn supports(code: u8) -> io::Result<()> {
    let ring = ring(|_| {})?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if probe.is_supported(code) { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn messages() -> io::Result<()> {
    supports(opcode::MsgRingData::CODE)
}

fn zero_copy() -> io::Result<()> {
    supports(opcode::SendZc::CODE)
}

const GROUP: u16 = 7;
const BUFFER_BYTES: usize = 256;
const BUFFERS: u16 = 2;
const PAGE_BYTES: usize = 4096;

/// A page of ring entries followed by a page of buffers; it outlives the ring that it is registered with.
struct Buffers {
    memory: MmapMut,
}

impl Buffers {
    fn register(ring: &IoUring) -> io::Result<Buffers> {
        let mut buffers = Buffers { memory: MmapMut::map_anon(2 * PAGE_BYTES)? };
        let base = buffers.memory.as_mut_ptr();
        // SAFETY: `base` is a page-aligned mapping, so in bounds and aligned for `BUFFERS` entries, and it is
        // unmapped only after `ring` is gone: every caller drops the ring first.
        unsafe { ring.submitter().register_buf_ring_with_flags(base as u64, BUFFERS, GROUP, 0) }?;
        for id in 0..BUFFERS {
            // SAFETY: the entry lies in the first page, is aligned as the page is, and all zeroes are a value
            // of it; the kernel looks at entries only below the tail, which is moved after this loop.
            let entry = unsafe { &mut *base.cast::<BufRingEntry>().add(usize::from(id)) };
            entry.set_addr(base as u64 + (PAGE_BYTES + usize::from(id) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
        }
        // SAFETY: `base` is the start of the ring that was registered above.
        let tail = unsafe { BufRingEntry::tail(base.cast()) };
        // SAFETY: the tail is an aligned u16 inside the mapping, which the kernel only reads.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Pairs with the kernel's acquiring load: the entries are written before they are offered.
        tail.store(BUFFERS, Ordering::Release);
        Ok(buffers)
    }
}

fn buffer_ring() -> io::Result<()> {
    let ring = deferred()?;
    let buffers = Buffers::register(&ring)?;
    drop(ring);
    drop(buffers);
    Ok(())
}

/// Submits one entry and waits for its first completion.
fn first_completion(ring: &mut IoUring, entry: squeue::Entry) -> io::Result<cqueue::Entry> {
    // SAFETY: the entry names descriptors and a buffer group that the caller keeps until the ring is dropped.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let completion = ring.completion().next().ok_or(io::ErrorKind::UnexpectedEof)?;
    if completion.result() < 0 {
        return Err(io::Error::from_raw_os_error(-completion.result()));
    }
    Ok(completion)
}

fn multishot_goes_on(completion: &cqueue::Entry) -> io::Result<()> {
    if cqueue::more(completion.flags()) { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn receive() -> io::Result<()> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.write_all(b"ping")?;
    let mut ring = deferred()?;
    let buffers = Buffers::register(&ring)?;
    let entry = opcode::RecvMulti::new(Fd(theirs.as_raw_fd()), GROUP).build();
    let result = first_completion(&mut ring, entry).and_then(|completion| multishot_goes_on(&completion));
    drop(ring);
    drop(buffers);
    result
}

fn accept() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let mut ring = deferred()?;
    let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build();
    first_completion(&mut ring, entry).and_then(|completion| {
        close(completion.result());
        multishot_goes_on(&completion)
    })
}

fn close(descriptor: i32) {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: the kernel has just given us this descriptor as accepted; nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_io_uring_every_trial_fails_and_none_panics() {
        let trials = try_all();
        if trials[0].result.is_err() {
            assert!(trials.iter().all(|trial| trial.result.is_err()));
        }
    }

    #[test]
    fn what_needs_a_feature_works_only_with_it() {
        let trials = try_all();
        let works = |name: &str| trials.iter().any(|trial| trial.name == name && trial.result.is_ok());
        assert!(!works("multishot receive") || works("buffer ring"));
        assert!(!works("deferred task run") || works("single issuer"));
    }
}
