//! What carries the bytes of one connection: a socket, rings in memory that a server on this host shares, or a queue pair.

use crate::Credentials;
use mio::net::{TcpStream, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use torc_proto::native::Descriptor;
use torc_rdma::Cause;
use torc_rdma::client::ClientEnd;
use torc_rdma::connect::still_there;
use torc_rdma::verbs::device::Device;
use torc_shm::{ConnectError, Connected};

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Rings(Rings),
    Rdma(Rdma),
}

/// Rings, and their socket once more: what is registered with the poll. It is readable when the server rings, or is gone.
pub(crate) struct Rings {
    rings: Box<Connected>,
    bell: UnixStream,
    /// The server is gone.
    ended: bool,
    /// The files of its shards, until somebody maps them.
    pub(crate) files: Option<Vec<(Descriptor, OwnedFd)>>,
}

/// A queue pair, and the socket over which it was made, whose end is the connection's.
pub(crate) struct Rdma {
    end: Box<ClientEnd<Device>>,
    socket: TcpStream,
    /// The server is gone: why.
    ended: Option<io::Error>,
}

/// How memory is attached to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attaching<'c> {
    /// Bounds each wait for the server.
    pub(crate) timeout: Duration,
    /// The shards are wanted, too.
    pub(crate) to_read: bool,
    pub(crate) credentials: Option<&'c Credentials>,
}

impl Stream {
    /// Begins to connect. Names are looked up here, and memory is attached to, both of which may block the thread. A refusal shows
    /// only later, so the try after `failures` failures begins with another one of the name's addresses.
    pub(crate) fn open(address: &str, failures: usize, attaching: Attaching<'_>) -> io::Result<Stream> {
        if let Some(path) = address.strip_prefix("unix:") {
            return UnixStream::connect(path).map(Stream::Unix);
        }
        if let Some(path) = address.strip_prefix("shm:") {
            return Stream::attach(Path::new(path), None, attaching);
        }
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in in_turn(address.to_socket_addrs()?.collect(), failures) {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    // Requests are small and gathered already; waiting for more would only delay them.
                    stream.set_nodelay(true)?;
                    return Ok(Stream::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Rings at the server that listens at `path`. `boot_id`: it must be this start of it.
    pub(crate) fn attach(path: &Path, boot_id: Option<u64>, attaching: Attaching<'_>) -> io::Result<Stream> {
        let Attaching { timeout, to_read, credentials } = attaching;
        let rings = torc_shm::connect_as(path, to_read, credentials.map(Credentials::words), timeout);
        let mut rings = rings.map_err(|error| match error {
            ConnectError::Socket(error) => error,
            other => io::Error::other(other),
        })?;
        if boot_id.is_some_and(|boot_id| boot_id != rings.boot_id) {
            return Err(io::Error::other("another server listens there"));
        }
        rings.socket.set_nonblocking(true)?;
        let bell = UnixStream::from_std(rings.socket.try_clone()?);
        let files = attaching.to_read.then(|| std::mem::take(&mut rings.others));
        Ok(Stream::Rings(Rings { rings: Box::new(rings), bell, ended: false, files }))
    }

    /// A queue pair that was made over this socket, which is registered with the poll already.
    pub(crate) fn over_rdma(socket: TcpStream, end: ClientEnd<Device>) -> Stream {
        Stream::Rdma(Rdma { end: Box::new(end), socket, ended: None })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => registry.register(stream, token, interest),
            Stream::Unix(stream) => registry.register(stream, token, interest),
            Stream::Rings(rings) => registry.register(&mut rings.bell, token, interest),
            // Its socket is.
            Stream::Rdma(Rdma { end, .. }) => match end.notices() {
                Some(notices) => {
                    registry.register(&mut SourceFd(&notices.as_raw_fd()), token, Interest::READABLE)
                }
                None => Err(io::Error::other("the device gives no notices")),
            },
        }
    }

    /// Events are told by this token from here on.
    pub(crate) fn rename(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if let Stream::Rdma(Rdma { end, socket, .. }) = self {
            registry.reregister(socket, token, Interest::READABLE | Interest::WRITABLE)?;
            let notices = end.notices().map(|notices| notices.as_raw_fd());
            return notices.map_or(Ok(()), |notices| {
                registry.reregister(&mut SourceFd(&notices), token, Interest::READABLE)
            });
        }
        self.reregister(registry, token)
    }

    pub(crate) fn reregister(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => registry.reregister(stream, token, interest),
            Stream::Unix(stream) => registry.reregister(stream, token, interest),
            // They are looked at before every sleep.
            Stream::Rings(_) | Stream::Rdma(_) => Ok(()),
        }
    }

    /// Whether the connection is up; an error if it could not be made.
    pub(crate) fn connected(&self) -> io::Result<bool> {
        match self {
            Stream::Tcp(stream) => {
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                match stream.peer_addr() {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
                    Err(error) => Err(error),
                }
            }
            Stream::Unix(stream) => stream.take_error()?.map_or(Ok(true), Err),
            Stream::Rings(_) | Stream::Rdma(_) => Ok(true),
        }
    }

    /// A descriptor is readable: hears the bells of rings, and the notices of a queue pair, before either is looked at.
    pub(crate) fn hear_bells(&mut self) {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => {}
            Stream::Rings(rings) => rings.ended |= rings.rings.hear_bells().is_err(),
            Stream::Rdma(Rdma { end, socket, ended }) => {
                end.hear_notices();
                *ended = ended.take().or(still_there(socket).err());
            }
        }
    }

    /// Whether rings or a queue pair have something to read, or room for what is `blocked`; no system call.
    pub(crate) fn has_news(&mut self, blocked: bool) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => false,
            Stream::Rings(Rings { rings, ended, .. }) => {
                *ended || rings.end.waiting() != Ok(0) || (blocked && rings.end.room() != Ok(0))
            }
            Stream::Rdma(Rdma { end, ended, .. }) => ended.is_some() || end.has_news(blocked),
        }
    }

    /// Why it does not go on over RDMA, as far as that is known.
    pub(crate) fn rdma_cause(&self) -> Option<Cause> {
        let Stream::Rdma(Rdma { end, ended, .. }) = self else { return None };
        end.broken().as_ref().map(Cause::from).or(ended.as_ref().map(|_| Cause::Ended))
    }

    /// Says that this thread is about to wait for the poll. False: something has come meanwhile.
    pub(crate) fn may_sleep(&mut self, blocked: bool) -> bool {
        match self {
            Stream::Rings(Rings { rings, ended, .. }) => {
                !*ended && rings.may_sleep(blocked).unwrap_or_default()
            }
            Stream::Rdma(Rdma { end, ended, .. }) => ended.is_none() && end.may_sleep(blocked),
            Stream::Tcp(_) | Stream::Unix(_) => true,
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Rings(Rings { rings, ended, .. }) => {
                rings.end.wake();
                match rings.end.waiting().map_err(io::Error::other)? {
                    // What the server has said before it went is heard.
                    0 if *ended => Ok(0),
                    0 => Err(ErrorKind::WouldBlock.into()),
                    _ => {
                        let count = rings.end.take_into(buffer);
                        rings.wake_server();
                        Ok(count)
                    }
                }
            }
            Stream::Rdma(Rdma { end, ended, .. }) => {
                match (end.read(buffer).map_err(io::Error::other)?, ended) {
                    // As with rings.
                    (0, Some(why)) => Err(io::Error::other(why.to_string())),
                    (0, None) => Err(ErrorKind::WouldBlock.into()),
                    (count, _) => Ok(count),
                }
            }
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Rings(Rings { rings, .. }) => match rings.write_some(bytes).map_err(io::Error::other)? {
                0 => Err(ErrorKind::WouldBlock.into()),
                count => {
                    rings.wake_server();
                    Ok(count)
                }
            },
            Stream::Rdma(Rdma { end, .. }) => match end.write(bytes).map_err(io::Error::other)? {
                0 => Err(ErrorKind::WouldBlock.into()),
                count => Ok(count),
            },
        }
    }
}

fn in_turn(mut addresses: Vec<SocketAddr>, failures: usize) -> Vec<SocketAddr> {
    let first = failures % addresses.len().max(1);
    addresses.rotate_left(first);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Once a name whose first address refuses (often `::1` of localhost) was never reached.
    #[test]
    fn each_try_begins_with_another_address_of_a_name() {
        let two: Vec<SocketAddr> = ["[::1]:1", "127.0.0.1:1"].map(|address| address.parse().unwrap()).into();
        let first = |failures| in_turn(two.clone(), failures)[0];
        assert_eq!([0, 1, 2].map(first), [two[0], two[1], two[0]]);
        assert!(in_turn(Vec::new(), 3).is_empty());
    }
}
