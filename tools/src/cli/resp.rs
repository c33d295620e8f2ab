//! Any command, sent as RESP and answered in words.

use super::print;
use super::stream::Stream;
use super::{Answered, Speaker};
use crate::exit::Failure;
use std::io::ErrorKind;
use torc_proto::resp::reply::{self, Parsed, Reply};

/// A connection that speaks RESP.
pub(super) struct Resp {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
}

impl Resp {
    pub(super) fn new(stream: Box<dyn Stream>) -> Resp {
        Resp { stream, input: Vec::new() }
    }

    /// Gives a password.
    pub(super) fn log_in(&mut self, (user, password): (String, Vec<u8>)) -> Result<(), Failure> {
        let answered = self.ask(&[b"AUTH".to_vec(), user.into_bytes(), password])?;
        match answered.is_error {
            false => Ok(()),
            true => Err(Failure::Failed(format!(
                "the server lets nobody in with that: {}",
                answered.text.trim_end()
            ))),
        }
    }

    fn receive(&mut self) -> Result<Reply, Failure> {
        loop {
            match reply::parse(&self.input) {
                Parsed::Complete { reply, consumed } => {
                    self.input.drain(..consumed);
                    return Ok(reply);
                }
                Parsed::Invalid(invalid) => {
                    return Err(Failure::Failed(format!("the server does not speak RESP: {invalid}")));
                }
                Parsed::Incomplete => self.fill()?,
            }
        }
    }

    fn fill(&mut self) -> Result<(), Failure> {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Failure::Failed("the server closed the connection".into())),
            Ok(count) => {
                self.input.extend(&bytes[..count]);
                Ok(())
            }
            // The caller reads until it has enough.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Failure::Failed(format!("no answer: {error}"))),
        }
    }
}

impl Speaker for Resp {
    fn ask(&mut self, words: &[Vec<u8>]) -> Result<Answered, Failure> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).as_bytes());
            request.extend(word);
            request.extend(b"\r\n");
        }
        self.stream
            .write_all(&request)
            .map_err(|error| Failure::Failed(format!("the request cannot be sent: {error}")))?;
        let reply = self.receive()?;
        Ok(Answered { text: print::reply(&reply), is_error: matches!(reply, Reply::Error(_)) })
    }

    fn transport(&mut self) -> Result<String, Failure> {
        Ok("a socket".into())
    }

    fn verbs(&self) -> &'static [&'static str] {
        VERBS
    }
}

/// For completion; whatever else is typed is sent as well.
const VERBS: &[&str] = &[
    "APPEND",
    "CLIENT",
    "CLUSTER INFO",
    "CLUSTER KEYSLOT",
    "CLUSTER MYID",
    "CLUSTER NODES",
    "CLUSTER SHARDS",
    "CLUSTER SLOTS",
    "COMMAND",
    "DBSIZE",
    "DECR",
    "DECRBY",
    "DEL",
    "ECHO",
    "EXISTS",
    "EXPIRE",
    "EXPIREAT",
    "EXPIRETIME",
    "FLUSHALL",
    "FLUSHDB",
    "GET",
    "GETDEL",
    "GETEX",
    "GETRANGE",
    "GETSET",
    "HELLO",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "INFO",
    "MGET",
    "MSET",
    "PERSIST",
    "PEXPIRE",
    "PEXPIREAT",
    "PEXPIRETIME",
    "PING",
    "PSETEX",
    "PTTL",
    "QUIT",
    "RESET",
    "SCAN",
    "SELECT",
    "SET",
    "SETEX",
    "SETNX",
    "SETRANGE",
    "STRLEN",
    "TOUCH",
    "TTL",
    "TYPE",
    "UNLINK",
];
