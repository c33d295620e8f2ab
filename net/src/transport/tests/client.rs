//! A client at the other end of a connection.

use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;
use torc_shm::Connected;

/// How long it waits for the other side, milliseconds.
const PATIENCE_MS: i32 = 20_000;

pub(super) enum Client {
    Socket(TcpStream),
    Rings(Connected),
    Pair(Box<super::super::rdma::tests::Client>),
}

impl Client {
    /// Leaves without a word.
    pub(super) fn break_off(self) {
        match &self {
            Client::Socket(socket) => SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap(),
            Client::Pair(pair) => SockRef::from(&pair.socket).set_linger(Some(Duration::ZERO)).unwrap(),
            Client::Rings(_) => {}
        }
    }
}

impl Read for Client {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let rings = match self {
            Client::Socket(socket) => return socket.read(room),
            Client::Pair(pair) => return pair.read(room),
            Client::Rings(rings) => rings,
        };
        let mut bytes = Vec::new();
        loop {
            if rings.read_some(room.len(), &mut bytes).map_err(io::Error::other)? > 0 {
                rings.end.wake();
                rings.wake_server();
                room[..bytes.len()].copy_from_slice(&bytes);
                return Ok(bytes.len());
            }
            if !sleep(rings, false)? {
                return Ok(0);
            }
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let rings = match self {
            Client::Socket(socket) => return socket.write(bytes),
            Client::Pair(pair) => return pair.write(bytes),
            Client::Rings(rings) => rings,
        };
        loop {
            let written = rings.write_some(bytes).map_err(io::Error::other)?;
            if written > 0 {
                rings.wake_server();
                return Ok(written);
            }
            if !sleep(rings, true)? {
                return Err(ErrorKind::BrokenPipe.into());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sleeps until the server rings; false: it is gone.
fn sleep(rings: &mut Connected, for_room: bool) -> io::Result<bool> {
    if !rings.may_sleep(for_room).map_err(io::Error::other)? {
        return Ok(true);
    }
    let mut poll = libc::pollfd { fd: rings.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd.
    let ready = unsafe { libc::poll(&raw mut poll, 1, PATIENCE_MS) };
    assert!(ready != 0, "the server does not ring");
    Ok(rings.hear_bells().is_ok())
}

/// Takes what has come, up to the end of it if `wait`.
pub(super) fn drain(client: &mut Client, wait: bool, bytes: &mut Vec<u8>) {
    let socket = match client {
        Client::Socket(socket) => socket,
        Client::Pair(pair) => return pair.drain(bytes),
        Client::Rings(rings) => {
            while rings.read_some(usize::MAX, bytes).unwrap() > 0 {}
            rings.wake_server();
            return;
        }
    };
    socket.set_nonblocking(!wait).unwrap();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match socket.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}
