//! What is said on a connection before calls are: hello, slot map, and whether it goes on over shared memory or RDMA.

use super::Core;
use super::peer::{Entry, Over, Peer, State};
use super::rdma::Offer;
use crate::{Credentials, Transport};
use std::time::Instant;
use torc_proto::native::attach::FEATURE_SHARED_MEMORY;
use torc_proto::native::pair::FEATURE_RDMA;
use torc_proto::native::{Hello, HelloAnswer, Op, Options, Topology, VERSION};

impl Core {
    pub(super) fn greet(&mut self, index: usize) {
        let hello = Hello {
            version_min: VERSION,
            version_max: VERSION,
            features: self.shared_memory_feature() | self.rdma_feature(index),
            session: self.identity,
            boot_id: self.peers[index].boot_id,
        };
        let mut value = Vec::with_capacity(Hello::BYTES);
        hello.compose(&mut value);
        if let Some((user, password)) = self.config.credentials.as_ref().map(Credentials::words) {
            Hello::compose_credentials(user, password, &mut value);
        }
        let name = self.config.name.as_bytes();
        let name = &name[..name.len().min(64)];
        self.peers[index].send(Op::Hello, 0, &Options::NONE, name, &value, Entry::Hello);
    }

    fn shared_memory_feature(&self) -> u32 {
        match self.config.transport {
            Transport::Auto | Transport::SharedMemory => FEATURE_SHARED_MEMORY,
            Transport::Socket | Transport::Rdma => 0,
        }
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
        if index != 0 && !self.peers[index].is_moving() {
            self.ready(index, now);
        }
    }

    /// Whether the connection shall go on elsewhere: over memory that the server shares, else over RDMA. Nothing but hello and slot
    /// map was asked yet. An error means that it must be closed, as it is of no use.
    pub(super) fn consider(
        &mut self,
        index: usize,
        hello: &HelloAnswer,
        path: Option<&str>,
        now: Instant,
    ) -> Result<(), String> {
        let peer = &mut self.peers[index];
        peer.server_has_rdma = peer.is_tcp() && hello.features & FEATURE_RDMA != 0;
        if peer.server_has_rdma {
            self.rdma.server = hello.boot_id;
        }
        if peer.over != Over::Socket || peer.is_moving() || !matches!(peer.state, State::Greeting { .. }) {
            return Ok(());
        }
        let may_attach = index == 0 && self.shared_memory_feature() != 0;
        match path.filter(|_| may_attach) {
            Some(path) => {
                self.peers[index].offer = Some(Offer::SharedMemory(path.to_owned(), hello.boot_id));
                Ok(())
            }
            None if index == 0 && self.config.transport == Transport::SharedMemory => {
                Err("the server shares no memory".into())
            }
            None => self.consider_rdma(index, now),
        }
    }

    /// Where a connection shall go on; it waits until the driver has told what came of it.
    pub(crate) fn offer(&self, index: usize) -> Option<Offer> {
        let peer = &self.peers[index];
        // [N-RDMA-2]
        peer.offer.clone().filter(|offer| *offer != Offer::Rdma || peer.is_quiet())
    }

    /// The connection goes on there: greet anew.
    pub(crate) fn moved(&mut self, index: usize, over: Over, now: Instant) {
        self.peers[index].reset();
        self.peers[index].over = over;
        self.connected(index, now);
    }

    /// The server's memory cannot be attached to. An error means that the connection must be closed: nothing else will do.
    pub(crate) fn not_attached(&mut self, index: usize, why: &str, now: Instant) -> Result<(), String> {
        self.peers[index].offer = None;
        if self.config.transport == Transport::SharedMemory {
            return Err(why.to_owned());
        }
        self.consider_rdma(index, now)?;
        self.stay(index, now);
        Ok(())
    }

    /// The connection serves where it is, unless something is still to be tried, or to come.
    pub(super) fn stay(&mut self, index: usize, now: Instant) {
        let peer = &mut self.peers[index];
        if !peer.is_moving() && !peer.in_flight().any(|entry| matches!(entry, Entry::Map)) {
            self.ready(index, now);
        }
    }

    /// Sends what has waited for this peer. It may have to go elsewhere by now.
    pub(super) fn ready(&mut self, index: usize, now: Instant) {
        if !matches!(self.peers[index].state, State::Greeting { .. }) {
            return;
        }
        self.peers[index].state = State::Ready;
        self.peers[index].failures = 0;
        self.note_ready(index, now);
        self.dispatch_waiting(index, now);
    }

    /// A new slot map. Shards without a port of their own are served by the seed ([N-TOPO-4]).
    pub(super) fn learn(&mut self, map: Topology, now: Instant) {
        let seed_host = host_of(&self.peers[0].address).to_owned();
        let shards = map.shards.iter().map(|shard| usize::from(shard.shard) + 1).max().unwrap_or(0);
        self.shard_peers = vec![0; shards];
        for shard in &map.shards {
            let nowhere =
                self.peers[0].over == Over::Rings || (shard.host.is_empty() && seed_host.starts_with("unix"));
            if shard.port == 0 || map.shards.len() < 2 || nowhere {
                continue;
            }
            let host = if shard.host.is_empty() { &seed_host } else { &shard.host };
            let address = if host.contains(':') {
                format!("[{host}]:{}", shard.port)
            } else {
                format!("{host}:{}", shard.port)
            };
            let known =
                self.peers.iter().position(|peer| peer.address == address && peer.scouts_for.is_none());
            let index = known.unwrap_or_else(|| {
                self.peers.push(Peer::new(address, now));
                self.peers.len() - 1
            });
            // A new map is a new chance for a port that could not be reached.
            self.peers[index].failures = 0;
            self.shard_peers[usize::from(shard.shard)] = index;
        }
        self.map = map;
        if !self.peers[0].is_moving() {
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
