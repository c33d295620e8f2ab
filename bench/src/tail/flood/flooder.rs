//! A client that pipelines without end and reads its answers as they come.
//!
//! It sends one block of requests again and again, so it knows every byte of the answers: they are compared, not
//! parsed, which is cheap enough to keep a server busy from a thread that also measures.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
};

use super::Flood;
use crate::{
    codec::{Codec, memcache::Memcache, resp::Resp},
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
            match protocol {
                Protocol::Memcache => block.push_memcache(flood, key, value),
                _ => block.push_resp(flood, key, value),
            }
            block.count += 1;
        }
        block
    }

    fn push_resp(&mut self, flood: Flood, key: &[u8], value: &[u8]) {
        match flood {
            Flood::Get => {
                Resp.get(&mut self.requests, key);
                push_bulk(&mut self.replies, value);
            }
            Flood::Set => {
                Resp.set(&mut self.requests, key, value);
                self.replies.extend(b"+OK\r\n");
            }
            _ => {
                self.requests.extend(b"*1\r\n$4\r\nPING\r\n");
                self.replies.extend(b"+PONG\r\n");
            }
        }
    }

    fn push_memcache(&mut self, flood: Flood, key: &[u8], value: &[u8]) {
        match flood {
            Flood::Get => {
                Memcache.get(&mut self.requests, key);
                self.replies.extend(b"VALUE ");
                self.replies.extend_from_slice(key);
                self.replies.extend(format!(" 0 {}\r\n", value.len()).bytes());
                self.replies.extend_from_slice(value);
                self.replies.extend(b"\r\nEND\r\n");
            }
            Flood::Set => {
                Memcache.set(&mut self.requests, key, value);
                self.replies.extend(b"STORED\r\n");
            }
            _ => {
                self.requests.extend(b"mn\n");
                self.replies.extend(b"MN\r\n");
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
    socket: TcpStream,
    block: &'a Block,
    /// Place in the block of the next byte to send.
    send_at: usize,
    /// Place in the block's replies of the next byte to come.
    reply_at: usize,
    blocks_answered: u64,
}

impl<'a> Flooder<'a> {
    pub(super) fn open(server: &Address, block: &'a Block) -> Result<Self, BenchError> {
        let socket: OwnedFd = server.connect().map_err(BenchError::io(format!("connecting to {server}")))?;
        Ok(Self { socket: socket.into(), block, send_at: 0, reply_at: 0, blocks_answered: 0 })
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
        let sent = transient(self.socket.write(requests)).map_err(BenchError::io("sending a flood"))?;
        self.send_at = (self.send_at + sent.unwrap_or(0)) % self.block.requests.len();

        let mut piece = [0; TURN_BYTES];
        let received = transient(self.socket.read(&mut piece)).map_err(BenchError::io("reading a flood"))?;
        match received {
            None => Ok(()),
            Some(0) => Err(BenchError::Invalid("the server closed a flooding connection".into())),
            Some(bytes) => self.check(&piece[..bytes]),
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

/// `None`: nothing could be moved just now.
fn transient(moved: io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn push_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(format!("${}\r\n", bytes.len()).bytes());
    out.extend_from_slice(bytes);
    out.extend(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

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
