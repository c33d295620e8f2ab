//! Any command, sent as RESP and answered in words.

use super::print;
use super::stream::{self, Stream};
use super::{Answered, Speaker};
use crate::exit::Failure;
use std::io::ErrorKind;
use std::time::Duration;
use torc_proto::resp::compose;
use torc_proto::resp::reply::{self, Parsed, Reply};

/// A user and a password.
pub(super) type Login = (String, Vec<u8>);

/// A connection that speaks RESP.
pub(super) struct Resp {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
}

impl Resp {
    /// Connects, and gives a password if there is one.
    pub(super) fn open(server: &str, timeout: Duration, login: Option<Login>) -> Result<Resp, Failure> {
        let mut resp = Resp { stream: stream::connect(server, timeout)?, input: Vec::new() };
        login.map_or(Ok(()), |login| resp.log_in(login))?;
        Ok(resp)
    }

    fn log_in(&mut self, (user, password): Login) -> Result<(), Failure> {
        let answered = self.ask(&[b"AUTH".to_vec(), user.into_bytes(), password])?;
        match answered.is_error {
            false => Ok(()),
            true => Err(Failure::Failed(format!(
                "the server lets nobody in with that: {}",
                answered.text.trim_end()
            ))),
        }
    }

    /// Asks all of it at once, and waits for all answers.
    pub(super) fn ask_all<W: AsRef<[u8]>, R: AsRef<[W]>>(
        &mut self,
        requests: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Reply>, Failure> {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for words in requests {
            compose::request(&mut bytes, words.as_ref());
            count += 1;
        }
        self.stream
            .write_all(&bytes)
            .map_err(|error| Failure::Failed(format!("the request cannot be sent: {error}")))?;
        (0..count).map(|_| self.receive()).collect()
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
        let reply = self.ask_all([words])?.remove(0);
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
