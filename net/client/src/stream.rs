//! What carries the bytes of one connection: a socket, or rings in memory that a server on this host shares.

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use torc_proto::native::Descriptor;
use torc_shm::{ConnectError, Connected};

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Rings(Rings),
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

/// How memory is attached to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attaching {
    /// Bounds each wait for the server.
    pub(crate) timeout: Duration,
    /// The shards are wanted, too.
    pub(crate) to_read: bool,
}

impl Stream {
    /// Begins to connect. Names are looked up here, and memory is attached to, both of which may block the thread. A refusal shows
    /// only later, so the try after `failures` failures begins with another one of the name's addresses.
    pub(crate) fn open(address: &str, failures: usize, attaching: Attaching) -> io::Result<Stream> {
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
    pub(crate) fn attach(path: &Path, boot_id: Option<u64>, attaching: Attaching) -> io::Result<Stream> {
        let connect = if attaching.to_read { torc_shm::connect_to_read } else { torc_shm::connect };
        let mut rings = connect(path, attaching.timeout).map_err(|error| match error {
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

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => registry.register(stream, token, interest),
            Stream::Unix(stream) => registry.register(stream, token, interest),
            Stream::Rings(rings) => registry.register(&mut rings.bell, token, interest),
        }
    }

    pub(crate) fn reregister(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => registry.reregister(stream, token, interest),
            Stream::Unix(stream) => registry.reregister(stream, token, interest),
            // They are looked at before every sleep.
            Stream::Rings(_) => Ok(()),
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
            Stream::Rings(_) => Ok(true),
        }
    }

    /// The socket is readable: of rings, hears the bells, before the rings are looked at.
    pub(crate) fn hear_bells(&mut self) {
        if let Stream::Rings(rings) = self {
            rings.ended |= rings.rings.hear_bells().is_err();
        }
    }

    /// Whether rings have something to read, or room for what is `blocked`; no system call.
    pub(crate) fn has_news(&mut self, blocked: bool) -> bool {
        let Stream::Rings(Rings { rings, ended, .. }) = self else { return false };
        *ended || rings.end.waiting() != Ok(0) || (blocked && rings.end.room() != Ok(0))
    }

    /// Says that this thread is about to wait for the poll. False: something has come meanwhile.
    pub(crate) fn may_sleep(&mut self, blocked: bool) -> bool {
        match self {
            Stream::Rings(Rings { rings, ended, .. }) => {
                !*ended && rings.may_sleep(blocked).unwrap_or_default()
            }
            _ => true,
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
