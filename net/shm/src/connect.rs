//! How a client gets a pair of rings: it attaches over a Unix socket ([N-SHM-1] to [N-SHM-3]).

use crate::end::{Broken, End, RING_BYTES_MAX, RING_BYTES_MIN};
use crate::map::check;
use crate::pass::receive;
use crate::sleep::full_fence;
use crate::words::WORDS_BYTES;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use torc_proto::native::attach::LAYOUT;
use torc_proto::native::frame::compose_request;
use torc_proto::native::{
    Answer, Attach, Attached, Descriptor, DescriptorKind, FrameLimits, Hello, Invalid, Op, Options,
    ParseError, Status, VERSION,
};

/// Longest answer that is read: its descriptors are bounded.
const ANSWER_BYTES_MAX: u32 = 128 << 10;

/// Why there is no pair of rings.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The server does not share memory with this client: its words.
    #[error("the server shares no memory: {0}")]
    Refused(String),
    #[error("the server answered what was not asked: {0}")]
    Protocol(String),
}

/// A client's end of a connection.
#[derive(Debug)]
pub struct Connected {
    pub end: End,
    /// The bell, both ways, and the end. It blocks, as it was made.
    pub socket: UnixStream,
    /// The start of the server that has the other end.
    pub boot_id: u64,
    /// Files beyond the rings.
    pub others: Vec<(Descriptor, OwnedFd)>,
}

impl Connected {
    /// Writes as many of the bytes as there is room for, and says how many. [`Connected::wake_server`] must follow.
    ///
    /// # Errors
    /// The server tells a position that cannot be.
    pub fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        if self.end.room_known() < bytes.len() {
            self.end.room()?;
        }
        let count = self.end.write(bytes);
        if count > 0 {
            self.end.publish();
        }
        Ok(count)
    }

    /// Takes at most `max` bytes of answers behind what `out` holds, and says how many. [`Connected::wake_server`] must follow: the
    /// server may wait for the room.
    ///
    /// # Errors
    /// The server tells a position that cannot be.
    pub fn read_some(&mut self, max: usize, out: &mut Vec<u8>) -> Result<usize, Broken> {
        match self.end.waiting()? {
            0 => Ok(0),
            _ => Ok(self.end.take(max, out)),
        }
    }

    /// Rings for a server that sleeps over what it was told; without a system call if it does not. Never waits.
    pub fn wake_server(&mut self) {
        full_fence();
        if self.end.must_ring() {
            self.ring();
        }
    }

    fn ring(&self) {
        #[cfg(feature = "steps")]
        crate::steps::step(crate::steps::Step::Bell);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: one readable byte. A failure means that the socket is full of bells, or that the server is gone, which its end
        // will tell.
        unsafe { libc::send(self.socket.as_raw_fd(), [0u8].as_ptr().cast(), 1, flags) };
    }

    /// Says that this side is about to wait until the socket is readable. False: something came, it must not. `for_room`: it has
    /// more to write than there is room for.
    ///
    /// # Errors
    /// The server tells a position that cannot be.
    pub fn may_sleep(&mut self, for_room: bool) -> Result<bool, Broken> {
        self.end.announce_sleep(for_room);
        full_fence();
        Ok(self.end.waiting()? == 0 && !(for_room && self.end.room()? > 0))
    }

    /// Hears the bells that have rung; never waits. To be called when the socket is readable, before anything else is looked at.
    ///
    /// # Errors
    /// The server is gone.
    pub fn hear_bells(&mut self) -> io::Result<()> {
        let mut bells = [0u8; 256];
        loop {
            // SAFETY: `bells` is writable for its length.
            let heard = unsafe {
                let room = bells.as_mut_ptr().cast();
                libc::recv(self.socket.as_raw_fd(), room, bells.len(), libc::MSG_DONTWAIT)
            };
            match heard {
                0 => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    ));
                }
                // To the end: behind a bell may stand that the server is gone, and an edge tells of both.
                1.. => self.end.wake(),
                _ => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
    }
}

/// Connects to the server that listens at `path`, and attaches. `timeout` bounds each wait for the server.
///
/// # Errors
/// [`ConnectError`].
pub fn connect(path: &Path, timeout: Duration) -> Result<Connected, ConnectError> {
    attach(path, &Attach::OURS, None, timeout)
}

/// As [`connect`]; the server's shards, too, are among [`Connected::others`], if it shares them.
///
/// # Errors
/// [`ConnectError`].
pub fn connect_to_read(path: &Path, timeout: Duration) -> Result<Connected, ConnectError> {
    attach(path, &Attach::READS, None, timeout)
}

/// As [`connect`], or [`connect_to_read`], of a client that gives a user and its password first.
///
/// # Errors
/// [`ConnectError`].
pub fn connect_as(
    path: &Path,
    to_read: bool,
    credentials: Option<(&[u8], &[u8])>,
    timeout: Duration,
) -> Result<Connected, ConnectError> {
    attach(path, if to_read { &Attach::READS } else { &Attach::OURS }, credentials, timeout)
}

/// Gives user and password ([N-AUTH-1]).
fn greet(socket: &mut UnixStream, (user, password): (&[u8], &[u8])) -> Result<(), ConnectError> {
    let (mut request, mut value) = (Vec::new(), Vec::new());
    Hello { version_min: VERSION, version_max: VERSION, ..Hello::default() }.compose(&mut value);
    Hello::compose_credentials(user, password, &mut value);
    compose_request(&mut request, Op::Hello, 0, 1, &Options::NONE, b"", &value)
        .map_err(|invalid| ConnectError::Protocol(invalid.to_string()))?;
    socket.write_all(&request)?;
    answer(socket, &mut VecDeque::new(), |_| Ok(()))
}

fn attach(
    path: &Path,
    attach: &Attach,
    credentials: Option<(&[u8], &[u8])>,
    timeout: Duration,
) -> Result<Connected, ConnectError> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.set_write_timeout(Some(timeout))?;
    credentials.map_or(Ok(()), |credentials| greet(&mut socket, credentials))?;
    let (mut request, mut value) = (Vec::new(), Vec::new());
    attach.compose(&mut value);
    compose_request(&mut request, Op::Attach, 0, 1, &Options::NONE, b"", &value)
        .map_err(|invalid| ConnectError::Protocol(invalid.to_string()))?;
    socket.write_all(&request)?;
    let mut files = VecDeque::new();
    let attached = answer(&socket, &mut files, Attached::parse)?;
    // What follows the answer is a byte for each message of descriptors; bells come only when there are rings.
    while files.len() < attached.descriptors.len() {
        if receive_or_end(&socket, 1, &mut Vec::new(), &mut files)? == 0 {
            return Err(ConnectError::Protocol("it ended before all descriptors had come".into()));
        }
    }
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    assemble(socket, &attached, files)
}

fn receive_or_end(
    socket: &UnixStream,
    max: usize,
    bytes: &mut Vec<u8>,
    files: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    loop {
        match receive(socket.as_fd(), max, bytes, files) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

/// Reads the one answer, and no byte more.
fn answer<T>(
    socket: &UnixStream,
    files: &mut VecDeque<OwnedFd>,
    read: impl Fn(&[u8]) -> Result<T, Invalid>,
) -> Result<T, ConnectError> {
    let limits = FrameLimits { value_bytes_max: ANSWER_BYTES_MAX };
    let mut bytes = Vec::new();
    loop {
        let missing = match Answer::parse(&bytes, &limits) {
            Ok((answer, _)) if answer.header.status() == Status::Ok => {
                return read(answer.value).map_err(|invalid| ConnectError::Protocol(invalid.to_string()));
            }
            Ok((answer, _)) => {
                return Err(ConnectError::Refused(String::from_utf8_lossy(answer.value).into_owned()));
            }
            Err(ParseError::Incomplete { missing }) => missing,
            Err(ParseError::Invalid(invalid)) => {
                return Err(ConnectError::Protocol(invalid.to_string()));
            }
        };
        if receive_or_end(socket, missing, &mut bytes, files)? == 0 {
            return Err(ConnectError::Protocol("it ended before it had answered".into()));
        }
    }
}

fn assemble(
    socket: UnixStream,
    attached: &Attached,
    files: VecDeque<OwnedFd>,
) -> Result<Connected, ConnectError> {
    let wrong = |what: &str| ConnectError::Protocol(what.to_owned());
    if attached.layout != LAYOUT || attached.words_bytes as usize != WORDS_BYTES {
        return Err(wrong("a layout that this client does not know"));
    }
    let ring_bytes = |bytes: u64| {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two());
        bytes
            .filter(|bytes| (RING_BYTES_MIN..=RING_BYTES_MAX).contains(bytes))
            .ok_or_else(|| wrong("a ring of an impossible length"))
    };
    let request_bytes = ring_bytes(attached.request_ring_bytes)?;
    let answer_bytes = ring_bytes(attached.answer_ring_bytes)?;
    let (mut server_file, mut client_file, mut others) = (None, None, Vec::new());
    for (descriptor, file) in attached.descriptors.iter().copied().zip(files) {
        match descriptor.kind {
            kind if kind == DescriptorKind::ServerRing as u16 => server_file = Some(file),
            kind if kind == DescriptorKind::ClientRing as u16 => client_file = Some(file),
            _ => others.push((descriptor, file)),
        }
    }
    let (Some(server_file), Some(client_file)) = (server_file, client_file) else {
        return Err(wrong("no pair of rings among the descriptors"));
    };
    check(server_file.as_fd(), WORDS_BYTES + answer_bytes)?;
    check(client_file.as_fd(), WORDS_BYTES + request_bytes)?;
    let end = End::map((client_file.as_fd(), request_bytes), (server_file.as_fd(), answer_bytes))?;
    Ok(Connected { end, socket, boot_id: attached.boot_id, others })
}
