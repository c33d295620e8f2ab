//! The client without sockets and without a clock: calls and received bytes in, bytes to send and answers out.
//!
//! What the driver does, in this order: [`Core::submit`] new calls; tell what happened on sockets
//! ([`Core::connected`], [`Core::received`], [`Core::lost`]); [`Core::tick`]; then look at each peer: open the
//! wanted ones, send what is in `out`; sleep no longer than [`Core::next_timeout`].
//!
//! ```text
//! submit -> route (slot map) -> peer ready? -- yes --> number it, compose, in flight --answer--> complete
//!                                   |no                     |lost: numbered or harmless     | wrong owner:
//!                                   v                       v                               v new map, again
//!                              peer.waiting  <------- again, with the repeat bit      (at most MOVES_MAX times)
//! parked: the window of numbered changes is full; everything behind waits too, to keep the order
//! ```
//!
//! How connections come to RDMA is told in `rdma.rs`.
//!
//! Peer 0 is the seed: the common port. It is ready when hello *and* slot map are there. It serves every key, so it also
//! stands in for a shard's port that cannot be reached.

mod greeting;
mod numbers;
pub(crate) mod peer;
pub(crate) mod rdma;
mod sending;

use crate::Credentials;
use crate::call::{Call, Reply};
use crate::one_sided::Told;
use crate::{Config, Error};
use numbers::Numbers;
use peer::{Entry, Over, Peer, State, backoff};
use rdma::{Pairing, Rdma};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use torc_proto::native::pair::PairEnd;
use torc_proto::native::topology::WrongOwner;
use torc_proto::native::{
    Answer, HelloAnswer, ItemFacts, Op, Options, ReadsAsked, ReadsGiven, Status, Topology,
};
use torc_proto::slot::slot_of;
use torc_rdma::Cause;

/// Times that a call follows `wrong-owner` before it gives up.
const MOVES_MAX: u8 = 8;
/// Failed tries after which the seed stands in for a shard's own port.
const FAILURES_BEFORE_DETOUR: u32 = 2;

/// What a peer lets us read, by its answer to what was asked then.
pub(crate) type Given = (usize, Instant, Result<ReadsGiven, Status>);

#[derive(Debug)]
pub(crate) struct Core {
    config: Config,
    /// Session identity, 0: none.
    identity: u64,
    peers: Vec<Peer>,
    map: Topology,
    /// Peer of each shard, by its number; the seed for unknown ones.
    shard_peers: Vec<usize>,
    /// Longest key that the server takes, bytes.
    key_bytes_max: u32,
    /// A newer map than ours exists.
    map_stale: bool,
    numbers: Numbers,
    rdma: Rdma,
    given: Vec<Given>,
    parked: VecDeque<Box<Call>>,
    /// Calls that are not completed.
    open: usize,
    /// No call is due before.
    earliest_due: Option<Instant>,
    random: u64,
    /// Which seed address is next.
    seed: usize,
}

impl Core {
    /// `identity` and `random` are random bits.
    pub(crate) fn new(config: Config, identity: u64, now: Instant) -> Core {
        let address = config.addresses.first().cloned().unwrap_or_default();
        Core {
            identity: if config.session { identity | 1 } else { 0 },
            peers: vec![Peer::new(address, now)],
            map: Topology::default(),
            shard_peers: Vec::new(),
            key_bytes_max: 0,
            map_stale: false,
            numbers: Numbers::new(),
            rdma: Rdma::new(&config),
            given: Vec::new(),
            parked: VecDeque::new(),
            open: 0,
            earliest_due: None,
            random: identity | 1,
            seed: 0,
            config,
        }
    }

    pub(crate) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn peer_mut(&mut self, index: usize) -> &mut Peer {
        &mut self.peers[index]
    }

    /// The slot map, and the longest key, once the connection to the common port is ready and goes over rings.
    pub(crate) fn readable(&self) -> Option<(&Topology, u32)> {
        let peer = &self.peers[0];
        (peer.over == Over::Rings && peer.state == State::Ready).then_some((&self.map, self.key_bytes_max))
    }

    /// Whether a connection is ready over RDMA, and the slot map is there.
    pub(crate) fn is_readable_far(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        let is_asked = self.config.one_sided && self.config.rdma.reads;
        is_asked && peer.over == Over::Rdma && peer.state == State::Ready && !self.map.shards.is_empty()
    }

    /// Asks what may be read over a connection that is ready.
    pub(crate) fn ask_reads(&mut self, index: usize, asked: &ReadsAsked, now: Instant) {
        let mut value = Vec::new();
        asked.compose(&mut value);
        self.peers[index].send(Op::Reads, 0, &Options::NONE, b"", &value, Entry::Reads(now));
    }

    /// What peers have answered since.
    pub(crate) fn take_given(&mut self) -> Vec<Given> {
        std::mem::take(&mut self.given)
    }

    /// The slot map, and the longest key.
    pub(crate) fn server(&self) -> (&Topology, u32) {
        (&self.map, self.key_bytes_max)
    }

    /// Requests that tell the server of reads; whatever comes of them.
    pub(crate) fn tell(&mut self, told: Vec<Told>, now: Instant) {
        let allowed = self.config.timeout;
        let call = |(op, value)| Box::new(Call::unheard(op, value, now, allowed));
        self.submit(told.into_iter().map(call).collect(), now);
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.config.credentials.as_ref()
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.config.connect_timeout
    }

    /// When a connection that is being made is given up.
    pub(crate) fn gives_up_at(&self, index: usize) -> Option<Instant> {
        let peer = &self.peers[index];
        let (State::Connecting { since } | State::Greeting { since }) = peer.state else { return None };
        let timeout =
            if peer.tries_rdma() { self.config.rdma.connect_timeout } else { self.config.connect_timeout };
        Some(since + timeout)
    }

    /// Takes new calls; neighbouring gets for one peer share a frame.
    pub(crate) fn submit(&mut self, calls: Vec<Box<Call>>, now: Instant) {
        let mut group: Vec<Box<Call>> = Vec::new();
        let mut group_peer = 0;
        let single = calls.len() == 1;
        for call in calls {
            if self.open >= self.config.requests_max {
                call.complete(Err(Error::TooManyRequests { limit: self.config.requests_max }));
                continue;
            }
            self.open += 1;
            self.earliest_due = Some(self.earliest_due.map_or(call.due, |due| due.min(call.due)));
            if single || call.op != Op::Get || !self.parked.is_empty() {
                self.flush_group(group_peer, &mut group, now);
                self.dispatch(call, now);
                continue;
            }
            let peer = self.route(&call);
            let joins =
                group.first().is_some_and(|first| peer == group_peer && first.shares_frame_with(&call));
            if !joins {
                self.flush_group(group_peer, &mut group, now);
                group_peer = peer;
            }
            group.push(call);
        }
        self.flush_group(group_peer, &mut group, now);
    }

    /// The connection to a peer is up: greet.
    pub(crate) fn connected(&mut self, index: usize, now: Instant) {
        let peer = &mut self.peers[index];
        peer.state = State::Greeting { since: now };
        peer.last_received = now;
        self.greet(index);
        if index == 0 {
            self.ask_map();
        }
    }

    /// Bytes came from a peer. An error means that the connection must be closed: tell with [`Core::lost`].
    pub(crate) fn received(&mut self, index: usize, bytes: &[u8], now: Instant) -> Result<(), String> {
        self.peers[index].last_received = now;
        let mut input = self.peers[index].take_input();
        let value_bytes_max = self.config.value_bytes_max;
        let result =
            Peer::frames(&mut input, bytes, value_bytes_max, |answer| self.answer(index, &answer, now));
        self.peers[index].put_input(input);
        self.unpark(now);
        result
    }

    /// A connection is gone, or could not be made. What it owes is sent again or ended. `rdma`: why, if that was over RDMA, as far as
    /// it is known.
    pub(crate) fn lost(&mut self, index: usize, cause: &str, rdma: Option<Cause>, now: Instant) {
        let over_rdma = self.lost_rdma(index, cause, rdma, now);
        let peer = &mut self.peers[index];
        peer.last_error = cause.to_owned();
        let was_ready = peer.state == State::Ready;
        // TCP may go on at once where RDMA does not.
        peer.failures = if was_ready || over_rdma { 0 } else { peer.failures.saturating_add(1) };
        let owed = peer.reset();
        let mut again: VecDeque<Box<Call>> = VecDeque::new();
        for entry in owed {
            match entry {
                Entry::Call(call) => again.extend(self.outlives_connection(call)),
                Entry::Abandoned { number, .. } => self.numbers.settle(number),
                Entry::Hello | Entry::Map | Entry::Pair | Entry::Reads(_) | Entry::Over => {}
            }
        }
        again.extend(std::mem::take(&mut self.peers[index].waiting));
        let wait = match self.peers[index].failures {
            0 => Duration::ZERO,
            failures => {
                let random = self.next_random();
                backoff(failures - 1, self.config.backoff_min, self.config.backoff_max, random)
            }
        };
        if index == 0 && !was_ready && !over_rdma && !self.config.addresses.is_empty() {
            self.seed = (self.seed + 1) % self.config.addresses.len();
            self.peers[0].address = self.config.addresses[self.seed].clone();
        }
        self.peers[index].state =
            if again.is_empty() { State::Idle } else { State::Backoff { until: now + wait } };
        // What is parked is newer.
        again.append(&mut self.parked);
        for call in again {
            self.dispatch(call, now);
        }
        self.unpark(now);
    }

    /// Ends what is due, and tries again where a wait is over.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.earliest_due.is_some_and(|due| due <= now) {
            self.expire(now);
            self.unpark(now);
        }
        for peer in &mut self.peers {
            if let State::Backoff { until } = peer.state
                && until <= now
            {
                peer.state = if peer.is_needed() { State::Wanted } else { State::Idle };
            }
        }
        if self.map_stale && self.peers[0].is_open() {
            self.map_stale = false;
            self.ask_map();
        }
    }

    /// When [`Core::tick`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let peers = (0..self.peers.len()).filter_map(|index| match self.peers[index].state {
            State::Backoff { until } => Some(until),
            _ => self.gives_up_at(index),
        });
        peers.chain(self.earliest_due).chain(self.rdma_due_at()).chain(self.held_until()).min()
    }

    fn next_random(&mut self) -> u64 {
        // Marsaglia's xorshift, 64 bits.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// The peer that a call goes to.
    fn route(&self, call: &Call) -> usize {
        if !call.op.is_keyed() || self.shard_peers.len() < 2 {
            return 0;
        }
        let shard = self.map.owner(slot_of(&call.key));
        self.peer_of_shard(shard)
    }

    fn peer_of_shard(&self, shard: Option<u16>) -> usize {
        let index = shard.and_then(|shard| self.shard_peers.get(usize::from(shard))).copied().unwrap_or(0);
        if self.peers[index].failures >= FAILURES_BEFORE_DETOUR { 0 } else { index }
    }

    /// Sends a call on its way. A new call waits behind the parked ones.
    fn dispatch(&mut self, call: Box<Call>, now: Instant) {
        if !self.parked.is_empty() && !call.progress.sent {
            return self.parked.push_back(call);
        }
        let index = self.route(&call);
        self.send_to(index, call, now);
    }

    fn send_to(&mut self, index: usize, call: Box<Call>, now: Instant) {
        match self.peers[index].state {
            State::Ready if self.peers[index].is_open() => self.send(index, call, now),
            // Only the server that was read is to know.
            _ if call.op.tells_reads() => self.complete(call, Err(Error::Closed)),
            State::Idle => {
                self.peers[index].state = State::Wanted;
                self.peers[index].waiting.push_back(call);
            }
            _ => self.peers[index].waiting.push_back(call),
        }
    }

    /// One answer. An error ends the connection.
    fn answer(&mut self, index: usize, answer: &Answer<'_>, now: Instant) -> Result<(), String> {
        let header = answer.header;
        let words = |what: &str| format!("{what}: {}", String::from_utf8_lossy(answer.value));
        match self.peers[index].answered(header.id) {
            Some(Entry::Call(call)) if header.status() == Status::WrongOwner => {
                self.follow(call, answer.value, now);
            }
            Some(Entry::Call(call)) => {
                let result = match ItemFacts::parse(answer.extensions) {
                    Ok(facts) => Ok(Reply { header, facts, value: answer.value.to_vec() }),
                    Err(invalid) => Err(Error::Protocol(invalid.to_string())),
                };
                self.complete(call, result);
            }
            Some(Entry::Hello | Entry::Map) if header.status() != Status::Ok => {
                return Err(words("the server refused the connection"));
            }
            Some(Entry::Hello) => {
                let hello = HelloAnswer::parse(answer.value).map_err(|invalid| invalid.to_string())?;
                self.consider(index, &hello, HelloAnswer::shared_memory_path(answer.value), now)?;
                self.greeted(index, &hello, now);
            }
            Some(Entry::Map) => {
                let map = Topology::parse(answer.value).map_err(|invalid| invalid.to_string())?;
                self.learn(map, now);
            }
            Some(Entry::Pair) if header.status() == Status::Ok => {
                let end = PairEnd::parse(answer.value).map_err(|invalid| invalid.to_string())?;
                self.peers[index].pairing = Pairing::Answered(end);
            }
            Some(Entry::Pair) => {
                let why = words("the server does not go on over RDMA");
                self.not_paired(index, (Cause::Refused, &why), now)?;
            }
            Some(Entry::Reads(asked_at)) if header.status() == Status::Ok => {
                let given = ReadsGiven::parse(answer.value).map_err(|invalid| invalid.to_string())?;
                self.given.push((index, asked_at, Ok(given)));
            }
            Some(Entry::Reads(asked_at)) => self.given.push((index, asked_at, Err(header.status()))),
            Some(Entry::Abandoned { number, .. }) => self.numbers.settle(number),
            Some(Entry::Over) | None => return Err(words("the server answered what was not asked")),
        }
        Ok(())
    }

    /// What waits for a peer is older than what is parked, and goes first.
    fn dispatch_waiting(&mut self, index: usize, now: Instant) {
        let mut calls = std::mem::take(&mut self.peers[index].waiting);
        calls.append(&mut self.parked);
        for call in calls {
            self.dispatch(call, now);
        }
    }

    /// Calls that wait for a connection may belong to another owner by the new map; those that wait for the seed go before what is
    /// asked for from here on.
    fn reroute_waiting(&mut self, now: Instant) {
        for index in 0..self.peers.len() {
            self.dispatch_waiting(index, now);
        }
    }

    /// [N-TOPO-3]: to the owner that the answer names, and a newer map if there is one.
    fn follow(&mut self, mut call: Box<Call>, value: &[u8], now: Instant) {
        call.progress.moves += 1;
        let owner = WrongOwner::parse(value);
        let (Ok(owner), true) = (owner, call.progress.moves <= MOVES_MAX) else {
            let message = "the owner of the key's slot keeps changing".to_owned();
            return self.complete(call, Err(Error::Refused { status: Status::WrongOwner, message }));
        };
        self.map_stale |= owner.epoch > self.map.epoch;
        // After half of the tries the common port decides, which serves every key.
        let index =
            if call.progress.moves > MOVES_MAX / 2 { 0 } else { self.peer_of_shard(Some(owner.shard)) };
        self.send_to(index, call, now);
    }

    /// What becomes of a call whose connection is lost before its answer.
    fn outlives_connection(&mut self, mut call: Box<Call>) -> Option<Box<Call>> {
        if call.op.tells_reads() {
            self.complete(call, Err(Error::Closed));
            return None;
        }
        if call.is_change() && self.identity != 0 {
            call.progress.repeat = true;
            return Some(call);
        }
        // [N-FLUSH-2]
        if call.is_change() || call.op == Op::Flush {
            self.complete(call, Err(Error::OutcomeUnknown));
            return None;
        }
        Some(call)
    }

    /// Sends what waited for the window of numbered changes, as far as it is open.
    fn unpark(&mut self, now: Instant) {
        while self.numbers.has_credit()
            && let Some(call) = self.parked.pop_front()
        {
            let mut behind = std::mem::take(&mut self.parked);
            self.dispatch(call, now);
            self.parked.append(&mut behind);
        }
    }

    fn complete(&mut self, call: Box<Call>, result: Result<Reply, Error>) {
        self.open -= 1;
        if call.progress.number != 0 {
            self.numbers.settle(call.progress.number);
        }
        call.complete(result);
    }

    /// Ends every call that is due, and closes nothing: a connection that is silent is found by the driver.
    fn expire(&mut self, now: Instant) {
        let mut earliest: Option<Instant> = None;
        let mut note = |due: Instant| earliest = Some(earliest.map_or(due, |known: Instant| known.min(due)));
        let mut over: Vec<(Box<Call>, Error)> = Vec::new();
        let mut settled = Vec::new();
        for peer in &mut self.peers {
            let cause = Error::Unreachable { address: peer.address.clone(), cause: peer.last_error.clone() };
            let (due, waiting): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut peer.waiting).into_iter().partition(|call| call.due <= now);
            peer.waiting = waiting;
            peer.waiting.iter().for_each(|call| note(call.due));
            over.extend(due.into_iter().map(|call| {
                settled.push(call.progress.number);
                let error = if call.progress.sent { timeout(&call) } else { cause.clone() };
                (call, error)
            }));
            for entry in peer.in_flight() {
                let Entry::Call(call) = entry else { continue };
                if call.due > now {
                    note(call.due);
                    continue;
                }
                let number = call.progress.number;
                let ticket = call.ticket.take();
                if let Entry::Call(call) =
                    std::mem::replace(entry, Entry::Abandoned { number, _ticket: ticket })
                {
                    let error = timeout(&call);
                    over.push((call, error));
                }
            }
        }
        for call in std::mem::take(&mut self.parked) {
            if call.due <= now {
                let error = timeout(&call);
                over.push((call, error));
            } else {
                note(call.due);
                self.parked.push_back(call);
            }
        }
        self.earliest_due = earliest;
        // The number of a call in flight stays taken until its answer comes or its connection is lost.
        settled.into_iter().for_each(|number| self.numbers.settle(number));
        for (call, error) in over {
            self.open -= 1;
            call.complete(Err(error));
        }
    }

    /// Whether calls of a peer ended without a byte from it for so long that it must be dead.
    pub(crate) fn is_silent(&mut self, index: usize, now: Instant) -> bool {
        let timeout = self.config.timeout;
        let peer = &mut self.peers[index];
        peer.state == State::Ready
            && now.saturating_duration_since(peer.last_received) > timeout
            && peer.in_flight().any(|entry| matches!(entry, Entry::Abandoned { .. }))
    }
}

fn timeout(call: &Call) -> Error {
    Error::Timeout {
        after: call.allowed,
        maybe_done: call.progress.sent && (call.is_change() || call.op == Op::Flush),
    }
}
