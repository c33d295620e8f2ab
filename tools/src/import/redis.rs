//! Reads Redis, Valkey, or what else speaks their protocol: SCAN, and GET and PTTL of each key.
//!
//! SCAN tells every key that is there all the time at least once, so none is left out; one that is told twice is written twice.

use super::address::Address;
use super::{Batch, Item, Source};
use crate::cli::stream::{self, Stream};
use crate::exit::Failure;
use std::time::Duration;
use torc_proto::resp::compose;
use torc_proto::resp::reply::{self, Parsed, Reply};

/// Keys that a SCAN is asked for.
const KEYS: &str = "128";

pub(super) struct Redis {
    stream: Box<dyn Stream>,
    name: String,
    input: Vec<u8>,
    /// Where the next SCAN begins.
    cursor: u64,
}

impl Redis {
    pub(super) fn connect(
        address: &Address,
        password: Option<(String, Vec<u8>)>,
        cursor: u64,
        timeout: Duration,
    ) -> Result<Redis, Failure> {
        let stream = stream::connect_to(&address.host, timeout)
            .map_err(|error| Failure::Failed(format!("the source {}: {error}", address.host)))?;
        let mut redis = Redis { stream, name: address.host.clone(), input: Vec::new(), cursor };
        if let Some((user, password)) = password {
            let words: Vec<&[u8]> = match address.user {
                Some(_) => vec![b"AUTH", user.as_bytes(), &password],
                // Before Redis 6 there were no users.
                None => vec![b"AUTH", &password],
            };
            redis.ask(&words)?;
        }
        if address.database > 0 {
            redis.ask(&[b"SELECT", address.database.to_string().as_bytes()])?;
        }
        Ok(redis)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let name = &self.name;
        self.stream.write_all(bytes).map_err(|error| Failure::Failed(format!("the source {name}: {error}")))
    }

    fn receive(&mut self) -> Result<Reply, Failure> {
        loop {
            match reply::parse(&self.input) {
                Parsed::Complete { reply, consumed } => {
                    self.input.drain(..consumed);
                    return Ok(reply);
                }
                Parsed::Invalid(invalid) => {
                    return Err(Failure::Failed(format!(
                        "the source {} does not speak RESP: {invalid}",
                        self.name
                    )));
                }
                Parsed::Incomplete => stream::fill(self.stream.as_mut(), &mut self.input)
                    .map_err(|error| Failure::Failed(format!("the source {}: {error}", self.name)))?,
            }
        }
    }

    /// Asks one thing. An error is a failure.
    fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, Failure> {
        let mut request = Vec::new();
        compose::request(&mut request, words);
        self.send(&request)?;
        match self.receive()? {
            Reply::Error(error) => {
                let cure = if error.starts_with(b"NOAUTH") { "; give --source-password-file" } else { "" };
                let error = String::from_utf8_lossy(&error);
                Err(Failure::Failed(format!("the source {}: {error}{cure}", self.name)))
            }
            reply => Ok(reply),
        }
    }

    /// The keys of the next step, and where the one behind it begins.
    fn scan(&mut self) -> Result<(u64, Vec<Vec<u8>>), Failure> {
        let reply = self.ask(&[b"SCAN", self.cursor.to_string().as_bytes(), b"COUNT", KEYS.as_bytes()])?;
        let odd = || Failure::Failed(format!("the source {} does not answer SCAN as Redis does", self.name));
        let Reply::Array(fields) = reply else { return Err(odd()) };
        let [Reply::Bulk(cursor), Reply::Array(keys)] = &fields[..] else { return Err(odd()) };
        let cursor = std::str::from_utf8(cursor).ok().and_then(|text| text.parse().ok()).ok_or_else(odd)?;
        let key = |reply: &Reply| if let Reply::Bulk(key) = reply { Some(key.clone()) } else { None };
        Ok((cursor, keys.iter().filter_map(key).collect()))
    }
}

impl Source for Redis {
    fn count(&mut self) -> Result<u64, Failure> {
        match self.ask(&[b"DBSIZE"])? {
            Reply::Integer(count) => Ok(u64::try_from(count).unwrap_or_default()),
            _ => Ok(0),
        }
    }

    fn next(&mut self) -> Result<Batch, Failure> {
        let (cursor, keys) = self.scan()?;
        let mut requests = Vec::new();
        for key in &keys {
            compose::request(&mut requests, &[b"PTTL", key.as_slice()]);
            compose::request(&mut requests, &[b"GET", key.as_slice()]);
        }
        self.send(&requests)?;
        let mut batch = Batch { is_last: cursor == 0, ..Batch::default() };
        for key in keys {
            match (self.receive()?, self.receive()?) {
                (Reply::Integer(ttl), Reply::Bulk(value)) => {
                    let ttl_ms = u64::try_from(ttl).ok();
                    batch.items.push(Item { key, value, flags: 0, ttl_ms });
                }
                // It has gone meanwhile.
                (_, Reply::Null) => {}
                (_, Reply::Error(error)) if error.starts_with(b"WRONGTYPE") => batch.others += 1,
                (Reply::Error(error), _) | (_, Reply::Error(error)) => {
                    let error = String::from_utf8_lossy(&error);
                    return Err(Failure::Failed(format!("the source {}: {error}", self.name)));
                }
                _ => batch.others += 1,
            }
        }
        self.cursor = cursor;
        Ok(batch)
    }

    fn place(&self) -> Option<u64> {
        Some(self.cursor)
    }
}
