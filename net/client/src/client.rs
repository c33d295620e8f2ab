//! The operations of a client.

use crate::handle::Handle;
use crate::request::{
    AskTopology, Count, CountFloat, CountSigned, Delete, Flush, Get, GetMany, Join, Operation, Ping, Request,
    Set, Statistics, Touch,
};
use crate::{Config, Error, Expiry, OneSidedReads, RdmaUse, Transport};
use std::sync::Arc;
use std::time::Duration;
use torc_proto::native::Op;

/// A server, as seen by its user. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
    timeout: Duration,
}

impl Client {
    /// What carries requests now; `None`: nothing is connected yet.
    pub fn transport(&self) -> Option<Transport> {
        self.handle.carried()
    }

    /// What came of gets that were tried in the shards' own memory.
    pub fn one_sided(&self) -> OneSidedReads {
        self.handle.one_sided()
    }

    /// What came of going on over RDMA.
    pub fn rdma(&self) -> RdmaUse {
        self.handle.rdma()
    }

    /// A client of the server at `address` (`host:port` or `unix:/path`). It connects with the first request.
    pub fn new(address: impl Into<String>) -> Result<Client, Error> {
        Client::with(Config::new(address))
    }

    /// A client with settings of its own. Fails only if no thread can be started.
    pub fn with(config: Config) -> Result<Client, Error> {
        let timeout = config.timeout;
        Ok(Client { handle: Arc::new(Handle::start(config)?), timeout })
    }

    /// Looks an item up.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Request<Get> {
        self.request(Op::Get, key, Vec::new())
    }

    /// Looks many items up; the answer has them in the order of the keys.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> GetMany {
        GetMany::new(&self.handle, self.timeout, keys)
    }

    /// Looks an item up and gives it this long to live.
    pub fn get_and_touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Request<Get> {
        self.get(key).touch(ttl)
    }

    /// Stores a value.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) -> Request<Set> {
        self.request(Op::Set, key, value.into())
    }

    /// Joins bytes behind a value.
    pub fn append(&self, key: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>) -> Request<Join> {
        self.request(Op::Append, key, bytes.into())
    }

    /// Joins bytes before a value.
    pub fn prepend(&self, key: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>) -> Request<Join> {
        self.request(Op::Prepend, key, bytes.into())
    }

    /// Removes an item.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Request<Delete> {
        self.request(Op::Delete, key, Vec::new())
    }

    /// Gives an item this long to live.
    pub fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Request<Touch> {
        self.expire(key, Expiry::In(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Gives an item this expiry.
    pub fn expire(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Request<Touch> {
        self.request(Op::Expire, key, Vec::new()).to(expiry)
    }

    /// Counts up by `step`; wraps at 2^64.
    pub fn increment(&self, key: impl AsRef<[u8]>, step: u64) -> Request<Count> {
        self.request(Op::Increment, key, step.to_le_bytes().to_vec())
    }

    /// Counts down by `step`; stops at 0.
    pub fn decrement(&self, key: impl AsRef<[u8]>, step: u64) -> Request<Count> {
        self.request(Op::Decrement, key, step.to_le_bytes().to_vec())
    }

    /// Adds to a signed number; an overflow is refused.
    pub fn add_signed(&self, key: impl AsRef<[u8]>, step: i64) -> Request<CountSigned> {
        self.request(Op::AddSigned, key, step.to_le_bytes().to_vec())
    }

    /// Adds to a floating-point number.
    pub fn add_float(&self, key: impl AsRef<[u8]>, step: f64) -> Request<CountFloat> {
        self.request(Op::AddFloat, key, step.to_le_bytes().to_vec())
    }

    /// Removes every item of every shard.
    pub fn flush(&self) -> Request<Flush> {
        self.request(Op::Flush, b"", Vec::new())
    }

    /// Asks for the server's figures; of one section, or of all if it is empty.
    pub fn statistics(&self, section: &str) -> Request<Statistics> {
        self.request(Op::Statistics, section, Vec::new())
    }

    /// Asks whether the server is there.
    pub fn ping(&self) -> Request<Ping> {
        self.request(Op::Ping, b"", Vec::new())
    }

    /// Asks who owns which slot.
    pub fn topology(&self) -> Request<AskTopology> {
        self.request(Op::Topology, b"", Vec::new())
    }

    fn request<A: Operation>(&self, op: Op, key: impl AsRef<[u8]>, value: Vec<u8>) -> Request<A> {
        Request::new(&self.handle, self.timeout, op, key.as_ref(), value)
    }
}
