//! What a trace is replayed through: a shard in this process, or a server.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use torc_engine::{
    Shard, ShardConfig,
    command::{Command, Op, Outcome, Read as ReadOp, Write as WriteOp},
};

use crate::{
    codec::{Codec, Tally},
    error::BenchError,
    generator::address::Address,
};

/// A cache that one client uses.
pub(crate) trait Cache {
    /// Whether the key was found.
    fn get(&mut self, key: &[u8]) -> Result<bool, BenchError>;
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError>;
    /// Live items now.
    fn items(&mut self) -> Result<u64, BenchError>;
}

/// A shard without a server around it. Its clock moves one millisecond a request, so that what a
/// shard does once a second is done.
pub(crate) struct InProcess {
    shard: Shard,
    now: u64,
}

/// Background work between two requests, items: what a turn of a server's loop allows.
const MAINTAIN_BUDGET: u32 = 32;

/// Any time after the epoch.
const START_MS: u64 = 1_700_000_000_000;

impl InProcess {
    pub(crate) fn new(memory_bytes: u64, segment_bytes: usize) -> Result<Self, BenchError> {
        let config = ShardConfig { segment_bytes, now: START_MS, ..ShardConfig::new(memory_bytes) };
        let shard = Shard::new(config);
        Ok(Self { shard: shard.map_err(|error| BenchError::Invalid(error.to_string()))?, now: START_MS })
    }
}

impl Cache for InProcess {
    fn get(&mut self, key: &[u8]) -> Result<bool, BenchError> {
        self.now += 1;
        self.shard.maintain(self.now, MAINTAIN_BUDGET);
        let hash = self.shard.hash(0, key);
        let op = Op::Read(ReadOp::default());
        let outcome = self.shard.execute(&Command { database: 0, key, op }, hash, self.now);
        match outcome {
            Outcome::Item(_) => Ok(true),
            Outcome::Miss => Ok(false),
            other => Err(BenchError::Invalid(format!("the shard answered {other:?}"))),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        let hash = self.shard.hash(0, key);
        let op = Op::Write(WriteOp::set(value));
        let outcome = self.shard.execute(&Command { database: 0, key, op }, hash, self.now);
        match outcome {
            Outcome::Stored { .. } => Ok(()),
            other => Err(BenchError::Invalid(format!("the shard answered {other:?}"))),
        }
    }

    fn items(&mut self) -> Result<u64, BenchError> {
        Ok(self.shard.stats().items.read())
    }
}

/// A server, asked one thing at a time over one connection. A write is sent together with the read
/// behind it: its answer is waited for there. Several of them can be asked before the first is heard.
pub(crate) struct Remote<'a, C: Codec> {
    codec: &'a C,
    stream: TcpStream,
    scanner: C::Scanner,
    out: Vec<u8>,
    inbox: Box<[u8]>,
    tally: Tally,
    expected: u64,
    /// Asks for the number of items, in RESP: Torc speaks every protocol on its port.
    counter: TcpStream,
}

const INBOX_BYTES: usize = 256 * 1024;

impl<'a, C: Codec> Remote<'a, C> {
    pub(crate) fn connect(codec: &'a C, server: &Address) -> Result<Self, BenchError> {
        Ok(Self {
            codec,
            stream: server.connect_blocking()?,
            scanner: C::Scanner::default(),
            out: Vec::new(),
            inbox: vec![0; INBOX_BYTES].into(),
            tally: Tally::default(),
            expected: 0,
            counter: server.connect_blocking()?,
        })
    }

    /// Asks for a key.
    pub(crate) fn ask(&mut self, key: &[u8]) -> Result<(), BenchError> {
        self.codec.get(&mut self.out, key);
        self.expected += 1;
        self.send()
    }

    /// Whether the key that was asked for is found.
    pub(crate) fn hear(&mut self) -> Result<bool, BenchError> {
        let hits = self.tally.hits;
        self.receive()?;
        Ok(self.tally.hits > hits)
    }

    fn send(&mut self) -> Result<(), BenchError> {
        let sent = self.stream.write_all(&self.out);
        self.out.clear();
        sent.map_err(BenchError::io("sending requests"))
    }

    /// Takes replies until all have come.
    fn receive(&mut self) -> Result<(), BenchError> {
        while self.tally.replies() < self.expected {
            let received = self.stream.read(&mut self.inbox);
            let bytes = received.map_err(BenchError::io("receiving replies"))?;
            if bytes == 0 {
                return Err(BenchError::Closed { connection: 0, connections: 1 });
            }
            let received = &self.inbox[..bytes];
            let scanned = self.codec.scan(&mut self.scanner, received, &mut self.tally);
            scanned.map_err(|detail| BenchError::Protocol {
                connection: 0,
                protocol: self.codec.name(),
                detail,
            })?;
        }
        self.tally.without_refusals()
    }
}

impl<C: Codec> Cache for Remote<'_, C> {
    fn get(&mut self, key: &[u8]) -> Result<bool, BenchError> {
        self.ask(key)?;
        self.hear()
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.codec.set(&mut self.out, key, value);
        self.expected += 1;
        Ok(())
    }

    fn items(&mut self) -> Result<u64, BenchError> {
        self.send()?;
        self.receive()?;
        let sent = self.counter.write_all(b"*1\r\n$6\r\nDBSIZE\r\n");
        sent.map_err(BenchError::io("asking for the number of items"))?;
        let mut reply = Vec::new();
        while reply.last() != Some(&b'\n') && reply.len() < 64 {
            let mut byte = [0];
            let received = self.counter.read(&mut byte);
            match received.map_err(BenchError::io("asking for the number of items"))? {
                0 => break,
                _ => reply.push(byte[0]),
            }
        }
        let text = String::from_utf8_lossy(&reply);
        let count = text.trim_end().strip_prefix(':').map(str::parse::<u64>);
        match count {
            Some(Ok(count)) => Ok(count),
            _ => Err(BenchError::Invalid(format!("DBSIZE answered '{}'", text.trim_end()))),
        }
    }
}
