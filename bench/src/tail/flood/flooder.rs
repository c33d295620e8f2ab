//! A client that pipelines without end and reads its answers as they come.
//!
//! It sends one block of requests again and again, so it knows every byte of the answers: they are compared, not
//! parsed, which is cheap enough to keep a server busy from a thread that also measures.

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use super::figures::Flood;
use crate::{
    codec::{
        Codec,
        memcache::Memcache,
        resp::{Resp, push_bulk},
    },
    error::BenchError,
    generator::address::Address,
    load::Protocol,
    workload::objects::{KEY_BYTES_MAX, Objects},
};

/// Most bytes that a flooder sends, and receives, in a turn of the generator's loop: the measured clients' clock is
/// held up for some microseconds only.
const TURN_BYTES: usize = 16 * 1024;

/// Requests of a block that asks for one key each, and keys of an MGET.
pub(super) const BLOCK_KEYS: u64 = 1_000;

/// What a flooder sends over and over, and what must come back.
pub(super) struct Block {
    requests: Vec<u8>,
    replies: Vec<u8>,
    /// Requests in it.
    count: u64,
}

impl Block {
    /// The block of a flood in a protocol that has it; keys are the first [`BLOCK_KEYS`] objects.
    pub(super) fn new(flood: Flood, protocol: Protocol, objects: &Objects) -> Self {
        let mut block = Self { requests: Vec::new(), replies: Vec::new(), count: 0 };
        if flood == Flood::Mget {
            block.push_mget(objects);
            return block;
        }
        let mut buffer = [0; KEY_BYTES_MAX];
        for number in 0..BLOCK_KEYS {
            let (key, value) = (objects.key(number, &mut buffer), objects.value(number));
            block.push(flood, protocol, key, value);
            block.count += 1;
        }
        block
    }

    fn push(&mut self, flood: Flood, protocol: Protocol, key: &[u8], value: &[u8]) {
        let (requests, replies) = (&mut self.requests, &mut self.replies);
        match (flood, protocol) {
            (Flood::Get, Protocol::Memcache) => {
                Memcache.get(requests, key);
                replies.extend_from_slice(&[b"VALUE ", key].concat());
                replies.extend(format!(" 0 {}\r\n", value.len()).bytes());
                replies.extend_from_slice(&[value, b"\r\nEND\r\n"].concat());
            }
            (Flood::Get, _) => {
                Resp.get(requests, key);
                push_bulk(replies, value);
            }
            (Flood::Set, Protocol::Memcache) => {
                Memcache.set(requests, key, value);
                replies.extend(b"STORED\r\n");
            }
            (Flood::Set, _) => {
                Resp.set(requests, key, value);
                replies.extend(b"+OK\r\n");
            }
            (Flood::Mn, _) => {
                requests.extend(b"mn\n");
                replies.extend(b"MN\r\n");
            }
            (Flood::Ping | Flood::Mget, _) => {
                requests.extend(b"*1\r\n$4\r\nPING\r\n");
                replies.extend(b"+PONG\r\n");
            }
        }
    }

    fn push_mget(&mut self, objects: &Objects) {
        let mut buffer = [0; KEY_BYTES_MAX];
        self.requests.extend(format!("*{}\r\n$4\r\nMGET\r\n", BLOCK_KEYS + 1).bytes());
        self.replies.extend(format!("*{BLOCK_KEYS}\r\n").bytes());
        for number in 0..BLOCK_KEYS {
            push_bulk(&mut self.requests, objects.key(number, &mut buffer));
            push_bulk(&mut self.replies, objects.value(number));
        }
        self.count += 1;
    }
}

/// One flooding connection.
pub(super) struct Flooder<'a> {
    socket: OwnedFd,
    block: &'a Block,
    /// Place in the block of the next byte to send.
    send_at: usize,
    /// Place in the block's replies of the next byte to come.
    reply_at: usize,
    blocks_answered: u64,
}

impl<'a> Flooder<'a> {
    pub(super) fn open(server: &Address, block: &'a Block) -> Result<Self, BenchError> {
        let socket = server.connect().map_err(BenchError::io(format!("connecting to {server}")))?;
        Ok(Self { socket, block, send_at: 0, reply_at: 0, blocks_answered: 0 })
    }

    /// Requests answered so far.
    pub(super) fn answered(&self) -> u64 {
        let share = self.reply_at as u64 * self.block.count / self.block.replies.len() as u64;
        self.blocks_answered * self.block.count + share
    }

    /// Sends and receives a piece, if the kernel takes and has one.
    pub(super) fn step(&mut self) -> Result<(), BenchError> {
        let requests = &self.block.requests[self.send_at..];
        let requests = &requests[..requests.len().min(TURN_BYTES)];
        match send(&self.socket, requests, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(bytes) => self.send_at = (self.send_at + bytes) % self.block.requests.len(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(BenchError::io("sending a flood")(error)),
        }
        let mut piece = [0; TURN_BYTES];
        match recv(&self.socket, &mut piece, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(BenchError::Invalid("the server closed a flooding connection".into())),
            Ok((bytes, _)) => self.check(&piece[..bytes]),
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(BenchError::io("reading a flood")(error)),
        }
    }

    fn check(&mut self, mut received: &[u8]) -> Result<(), BenchError> {
        while !received.is_empty() {
            let expected = &self.block.replies[self.reply_at..];
            let bytes = expected.len().min(received.len());
            if received[..bytes] != expected[..bytes] {
                let text = String::from_utf8_lossy(&received[..bytes.min(80)]).into_owned();
                return Err(BenchError::Invalid(format!("a flood was answered with {text:?}")));
            }
            received = &received[bytes..];
            self.reply_at += bytes;
            if self.reply_at == self.block.replies.len() {
                self.reply_at = 0;
                self.blocks_answered += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, net::TcpListener};

    fn objects() -> Objects {
        Objects::new(BLOCK_KEYS, 16, 64).unwrap()
    }

    #[test]
    fn blocks_hold_as_many_requests_as_they_say() {
        let objects = objects();
        let block = |flood, protocol| Block::new(flood, protocol, &objects);
        let pings = block(Flood::Ping, Protocol::Resp);
        assert_eq!((pings.count, pings.requests.len(), pings.replies.len()), (1_000, 14_000, 7_000));
        let mget = block(Flood::Mget, Protocol::Resp);
        assert_eq!(mget.count, 1);
        assert!(mget.requests.starts_with(b"*1001\r\n$4\r\nMGET\r\n$16\r\n"));
        assert_eq!(mget.replies.len(), "*1000\r\n".len() + 1_000 * ("$64\r\n\r\n".len() + 64));
        let gets = block(Flood::Get, Protocol::Memcache);
        assert_eq!((gets.count, gets.requests.len()), (1_000, 1_000 * "get 0123456789abcdef\r\n".len()));
        let sets = block(Flood::Set, Protocol::Memcache);
        assert_eq!((sets.count, sets.replies.len()), (1_000, 8_000));
    }

    #[test]
    fn answers_are_counted_and_wrong_ones_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Address::Tcp(listener.local_addr().unwrap());
        let block = Block::new(Flood::Mn, Protocol::Memcache, &objects());
        let mut flooder = Flooder::open(&server, &block).unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(b"MN\r\nMN\r\nM").unwrap();
        while flooder.answered() < 2 {
            flooder.step().unwrap();
        }
        peer.write_all(b"X\r\n").unwrap();
        let error = loop {
            if let Err(error) = flooder.step() {
                break error.to_string();
            }
        };
        assert!(error.contains("answered with"), "{error}");
    }
}
