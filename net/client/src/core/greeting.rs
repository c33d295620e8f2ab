//! What is said on a connection before calls are: hello, slot map, and whether it goes on over shared memory.

use super::Core;
use super::peer::{Entry, Peer, State};
use crate::Transport;
use std::time::Instant;
use torc_proto::native::attach::FEATURE_SHARED_MEMORY;
use torc_proto::native::{Hello, HelloAnswer, Op, Options, Topology, VERSION};

impl Core {
    pub(super) fn greet(&mut self, index: usize) {
        let hello = Hello {
            version_min: VERSION,
            version_max: VERSION,
            features: if self.config.transport == Transport::Socket { 0 } else { FEATURE_SHARED_MEMORY },
            session: self.identity,
            boot_id: self.peers[index].boot_id,
        };
        let mut value = Vec::with_capacity(Hello::BYTES);
        hello.compose(&mut value);
        let name = self.config.name.as_bytes();
        let name = &name[..name.len().min(64)];
        self.peers[index].send(Op::Hello, 0, &Options::NONE, name, &value, Entry::Hello);
    }

    pub(super) fn ask_map(&mut self) {
        self.peers[0].send(Op::Topology, 0, &Options::NONE, b"", b"", Entry::Map);
    }

    pub(super) fn greeted(&mut self, index: usize, hello: &HelloAnswer, now: Instant) {
        self.numbers.set_credit(hello.credit);
        self.key_bytes_max = hello.key_bytes_max;
        let peer = &mut self.peers[index];
        let told = std::mem::replace(&mut peer.boot_id, hello.boot_id);
        if told != 0 && told != hello.boot_id && self.identity != 0 {
            // The server has begun anew: so does our session with it ([N-HELLO-4]).
            self.greet(index);
        }
        // The seed waits for its map, too.
        if index != 0 {
            self.ready(index, now);
        }
    }

    /// Whether the connection shall go on over memory that the server shares. Nothing but hello and slot map was asked yet.
    pub(super) fn consider(
        &mut self,
        index: usize,
        hello: &HelloAnswer,
        path: Option<&str>,
    ) -> Result<(), String> {
        let peer = &mut self.peers[index];
        let may = index == 0 && !peer.over_rings && matches!(peer.state, State::Greeting { .. });
        if !may || self.config.transport == Transport::Socket {
            return Ok(());
        }
        peer.offer = path.map(|path| (path.to_owned(), hello.boot_id));
        match (self.config.transport, path) {
            (Transport::SharedMemory, None) => Err("the server shares no memory".into()),
            _ => Ok(()),
        }
    }

    /// Where a connection shall go on; it waits until the driver has told what came of it.
    pub(crate) fn offer(&self, index: usize) -> Option<(String, u64)> {
        self.peers[index].offer.clone()
    }

    /// The connection goes on over rings: greet anew.
    pub(crate) fn moved(&mut self, index: usize, now: Instant) {
        self.peers[index].reset();
        self.peers[index].over_rings = true;
        self.connected(index, now);
    }

    /// It stays where it is. An error means that it must be closed: nothing but shared memory will do.
    pub(crate) fn not_moved(&mut self, index: usize, cause: &str, now: Instant) -> Result<(), String> {
        self.peers[index].offer = None;
        if self.config.transport == Transport::SharedMemory {
            return Err(cause.to_owned());
        }
        if !self.peers[index].in_flight().any(|entry| matches!(entry, Entry::Map)) {
            self.ready(index, now);
        }
        Ok(())
    }

    /// Sends what has waited for this peer. It may have to go elsewhere by now.
    pub(super) fn ready(&mut self, index: usize, now: Instant) {
        if !matches!(self.peers[index].state, State::Greeting { .. }) {
            return;
        }
        self.peers[index].state = State::Ready;
        self.peers[index].failures = 0;
        self.dispatch_waiting(index, now);
    }

    /// A new slot map. Shards without a port of their own are served by the seed ([N-TOPO-4]).
    pub(super) fn learn(&mut self, map: Topology, now: Instant) {
        let seed_host = host_of(&self.peers[0].address).to_owned();
        let shards = map.shards.iter().map(|shard| usize::from(shard.shard) + 1).max().unwrap_or(0);
        self.shard_peers = vec![0; shards];
        for shard in &map.shards {
            let nowhere =
                self.peers[0].over_rings || (shard.host.is_empty() && seed_host.starts_with("unix"));
            if shard.port == 0 || map.shards.len() < 2 || nowhere {
                continue;
            }
            let host = if shard.host.is_empty() { &seed_host } else { &shard.host };
            let address = if host.contains(':') {
                format!("[{host}]:{}", shard.port)
            } else {
                format!("{host}:{}", shard.port)
            };
            let known = self.peers.iter().position(|peer| peer.address == address);
            let index = known.unwrap_or_else(|| {
                self.peers.push(Peer::new(address, now));
                self.peers.len() - 1
            });
            // A new map is a new chance for a port that could not be reached.
            self.peers[index].failures = 0;
            self.shard_peers[usize::from(shard.shard)] = index;
        }
        self.map = map;
        if self.peers[0].offer.is_none() {
            self.ready(0, now);
        }
        self.reroute_waiting(now);
    }
}

/// The host of `host:port`, without the brackets of IPv6.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
