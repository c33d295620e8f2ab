//! What the socket transports share: settings, the event descriptor that wakes a turn, addresses in words.

use super::Waker;
use socket2::{SockAddr, SockRef};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// What a socket transport is made of.
#[derive(Debug)]
pub struct SocketsConfig {
    /// Bound and listening, in the order of their numbers.
    pub listeners: Vec<OwnedFd>,
    /// Receive buffers; rounded up to a power of two.
    pub buffers: u16,
    /// Size of a receive buffer.
    pub buffer_bytes: u32,
    /// Whether [`super::Transport::may_have_news`] will be asked.
    pub spins: bool,
    /// How long to wait for a small batch, where the transport can; zero: not at all.
    pub min_wait: Duration,
}

/// Pause before accepting again after file descriptors or memory ran out.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Most events that one turn reports, so that no connection waits long for its answers.
pub(crate) const EVENTS_MAX: usize = 1024;

/// Errors of accept that pass when descriptors or memory are free again.
pub(crate) fn is_shortage(error: i32) -> bool {
    matches!(error, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
}

/// An `eventfd` that counts wake-ups.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// `flags`: of `eventfd(2)`, beside close-on-exec.
    pub(crate) fn new(flags: i32) -> io::Result<EventFd> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above has just opened `fd` and nobody else knows it.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Waker for EventFd {
    fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes. A failure (the counter is full) means that a wake-up is due already.
        unsafe { libc::write(self.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// Sends a few words if the socket takes them at once: a new one does.
pub(crate) fn say(socket: &impl AsFd, words: &[u8]) {
    let (fd, flags) = (socket.as_fd().as_raw_fd(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
    // SAFETY: `words` is readable for its length during the call.
    unsafe { libc::send(fd, words.as_ptr().cast(), words.len(), flags) };
}

/// Ends both directions; operations that the kernel has under way on the socket then complete.
pub(crate) fn shutdown(socket: &impl AsFd) {
    // Fails only if the peer was faster.
    let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Both);
}

/// A figure that changes when the peer takes bytes: what a TCP peer has acknowledged, what waits to be read at the
/// other end of a Unix socket.
pub(crate) fn taken(socket: &impl AsFd) -> u64 {
    let fd = socket.as_fd().as_raw_fd();
    let mut info = [0u64; TCP_INFO_BYTES_ACKED + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` is writable for `len` bytes, and the kernel writes at most that many.
    let told = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    if told == 0 {
        return info[TCP_INFO_BYTES_ACKED];
    }
    let mut waiting: libc::c_int = 0;
    // SAFETY: the request writes one `int`. If it fails the figure stays as it is, and the client counts as slow.
    unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut waiting) };
    waiting as u64
}

/// Place of `tcpi_bytes_acked` in `struct tcp_info` of `linux/tcp.h`, in words of 8 bytes.
const TCP_INFO_BYTES_ACKED: usize = 15;

pub(crate) fn is_unix(socket: &impl AsFd) -> bool {
    SockRef::from(socket).local_addr().is_ok_and(|address| address.is_unix())
}

/// Peer and local address in words; a Unix socket is its path.
pub(crate) fn addresses(socket: &impl AsFd) -> (String, String) {
    let socket = SockRef::from(socket);
    (in_words(socket.peer_addr()), in_words(socket.local_addr()))
}

fn in_words(address: io::Result<SockAddr>) -> String {
    let Ok(address) = address else { return "?:0".into() };
    match (address.as_socket(), address.as_pathname()) {
        (Some(socket), _) => socket.to_string(),
        (None, Some(path)) => path.display().to_string(),
        (None, None) => "unix:0".into(),
    }
}
