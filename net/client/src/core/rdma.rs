//! Whether connections go on over RDMA, when that is tried again, and how they move.
//!
//! ```text
//!  first connection:   hello over TCP --the server can--> pair --> hello over RDMA --> ready
//!                                          | anything fails: counted, on over TCP, RDMA is tried again after a wait
//!  later:              a scout, a second connection, does the same while the first one serves;
//!                      when it is ready no more is sent on the first, and when that owes nothing the scout takes its place
//! ```
//!
//! So a move loses and repeats nothing, and requests wait for RDMA only on the first connection of a client, at most for
//! [`RdmaConfig::connect_timeout`](crate::RdmaConfig::connect_timeout). What a connection over RDMA owes when it fails is sent again over TCP.

use super::Core;
use super::peer::{Entry, Over, Peer, State, backoff};
use crate::{RdmaUse, Transport};
use std::time::{Duration, Instant};
use torc_proto::native::pair::{FEATURE_RDMA, PairEnd};
use torc_proto::native::{Op, Options};
use torc_rdma::Cause;

/// When RDMA may be tried, and what came of it.
#[derive(Debug)]
pub(super) struct Rdma {
    /// It may be used at all.
    allowed: bool,
    /// Nothing else may.
    required: bool,
    retry_min: Duration,
    retry_max: Duration,
    /// Failures, those that come together as one, with no long quiet between them.
    failures: u32,
    /// It is not tried before; `None`: it has not failed.
    not_before: Option<Instant>,
    /// Boot id of the server that has told of RDMA, on whatever connection.
    pub(super) server: u64,
    /// It cannot come about while this process runs.
    hopeless: bool,
    moves: u64,
    fallbacks: [u64; Cause::ALL.len()],
    last: Option<String>,
    /// Callers are to be told.
    has_news: bool,
}

impl Rdma {
    pub(super) fn new(config: &crate::Config) -> Rdma {
        Rdma {
            allowed: matches!(config.transport, Transport::Auto | Transport::Rdma),
            required: config.transport == Transport::Rdma,
            retry_min: config.rdma.retry_min,
            retry_max: config.rdma.retry_max,
            failures: 0,
            not_before: None,
            server: 0,
            hopeless: false,
            moves: 0,
            fallbacks: [0; Cause::ALL.len()],
            last: None,
            has_news: false,
        }
    }

    /// Whether a connection shall wait for RDMA before it serves: if nothing else will do, or if it has always worked.
    fn may_wait(&self, now: Instant) -> bool {
        let quiet = |at: Instant| now.saturating_duration_since(at) > self.retry_max;
        self.allowed && !self.hopeless && (self.required || self.not_before.is_none_or(quiet))
    }

    fn failed(&mut self, cause: Cause, why: &str, now: Instant, random: u64) {
        self.fallbacks[cause as usize] += 1;
        self.last = Some(why.to_owned());
        self.has_news = true;
        if self.not_before.is_some_and(|at| now < at) {
            return;
        }
        if self.not_before.is_some_and(|at| now.saturating_duration_since(at) > self.retry_max) {
            self.failures = 0;
        }
        let wait = backoff(self.failures, self.retry_min, self.retry_max, random);
        self.failures += 1;
        self.not_before = Some(now + wait);
    }
}

/// Where a connection shall go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offer {
    /// The path of the socket, and the server's boot id.
    SharedMemory(String, u64),
    Rdma,
}

/// How far a connection has come on its way to RDMA.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Pairing {
    #[default]
    No,
    /// The server was told of our end.
    Asked,
    /// And has told of its own, which the driver is to join.
    Answered(PairEnd),
    /// It came to nothing, which is counted; the connection is to be closed.
    Failed,
}

impl Core {
    /// What a hello says that this client can.
    pub(super) fn rdma_feature(&self, index: usize) -> u32 {
        let is_possible = self.rdma.allowed && !self.rdma.hopeless && self.peers[index].is_tcp();
        if is_possible { FEATURE_RDMA } else { 0 }
    }

    /// Whether the connection shall go on over RDMA, now that the server has said what it can. An error: it is of no use.
    pub(super) fn consider_rdma(&mut self, index: usize, now: Instant) -> Result<(), String> {
        let may_wait = self.rdma.may_wait(now);
        let peer = &mut self.peers[index];
        if peer.over != Over::Socket || !self.rdma.allowed {
            return Ok(());
        }
        let is_for_it = self.rdma.required || peer.scouts_for.is_some();
        match peer.server_has_rdma {
            true if is_for_it || may_wait => peer.offer = Some(Offer::Rdma),
            false if is_for_it => {
                let why = "the server does not serve over RDMA";
                return self.not_paired(index, (Cause::Refused, why), now);
            }
            _ => {}
        }
        Ok(())
    }

    /// The connection does not go on over RDMA. An error means that it must be closed: nothing else will do.
    pub(crate) fn not_paired(
        &mut self,
        index: usize,
        (cause, why): (Cause, &str),
        now: Instant,
    ) -> Result<(), String> {
        self.rdma_failed(cause, why, now);
        let peer = &mut self.peers[index];
        peer.offer = None;
        if self.rdma.required || peer.scouts_for.is_some() {
            peer.pairing = Pairing::Failed;
            return Err(why.to_owned());
        }
        peer.pairing = Pairing::No;
        self.stay(index, now);
        Ok(())
    }

    /// Tells the server of our end of a queue pair.
    pub(crate) fn pair(&mut self, index: usize, end: &PairEnd, now: Instant) {
        let mut value = Vec::with_capacity(PairEnd::BYTES);
        end.compose(&mut value);
        let peer = &mut self.peers[index];
        peer.offer = None;
        peer.pairing = Pairing::Asked;
        peer.state = State::Greeting { since: now };
        peer.send(Op::Pair, 0, &Options::NONE, b"", &value, Entry::Pair);
    }

    /// The server's end, once it has come.
    pub(crate) fn take_pair(&mut self, index: usize) -> Option<PairEnd> {
        match self.peers[index].pairing {
            Pairing::Answered(end) => Some(end),
            _ => None,
        }
    }

    pub(super) fn rdma_failed(&mut self, cause: Cause, why: &str, now: Instant) {
        let random = self.next_random();
        self.rdma.failed(cause, why, now, random);
    }

    /// A connection is lost; whether RDMA is to blame, and something else may go.
    pub(super) fn lost_rdma(&mut self, index: usize, why: &str, cause: Option<Cause>, now: Instant) -> bool {
        let peer = &self.peers[index];
        if !peer.tries_rdma() && peer.scouts_for.is_none() {
            return false;
        }
        if let Some(main) = peer.scouts_for
            && self.peers[main].held.take().is_some()
        {
            self.dispatch_waiting(main, now);
        }
        if self.peers[index].pairing != Pairing::Failed {
            self.rdma_failed(cause.unwrap_or(Cause::NoAnswer), why, now);
        }
        !self.rdma.required
    }

    /// The device of this machine cannot be used. `is_final`: it need not be looked for again.
    pub(crate) fn rdma_unavailable(&mut self, cause: Cause, why: &str, is_final: bool, now: Instant) {
        self.rdma_failed(cause, why, now);
        self.rdma.hopeless |= is_final;
    }

    /// A connection has begun to serve.
    pub(super) fn note_ready(&mut self, index: usize, now: Instant) {
        let peer = &mut self.peers[index];
        if peer.over == Over::Rdma {
            self.rdma.moves += 1;
            self.rdma.has_news = true;
        }
        if let Some(main) = peer.scouts_for {
            self.peers[main].held = Some(now);
        }
    }

    /// Connections that serve over TCP and could go over RDMA.
    fn could_move(&self) -> impl Iterator<Item = usize> {
        let is_possible = self.rdma.allowed && !self.rdma.hopeless;
        let could = move |peer: &Peer| {
            is_possible
                && peer.scouts_for.is_none()
                && peer.state == State::Ready
                && peer.over == Over::Socket
                // Its device may come back.
                && peer.boot_id == self.rdma.server
                && peer.is_tcp()
        };
        let is_idle = |peer: &Peer| peer.scout.is_none_or(|scout| self.peers[scout].state == State::Idle);
        let all = self.peers.iter().enumerate();
        all.filter(move |(_, peer)| could(peer) && is_idle(peer)).map(|(index, _)| index)
    }

    /// Whether RDMA is to be tried again: the driver looks for a device, and then calls [`Core::scout`].
    pub(crate) fn is_rdma_due(&self, now: Instant) -> bool {
        self.rdma_due_at().is_some_and(|at| at <= now)
    }

    pub(super) fn rdma_due_at(&self) -> Option<Instant> {
        let at = self.rdma.not_before?;
        self.could_move().next().map(|_| at)
    }

    /// When a held connection is let go, at the latest.
    pub(super) fn held_until(&self) -> impl Iterator<Item = Instant> {
        self.peers.iter().filter_map(|peer| peer.held).map(|since| since + self.config.rdma.connect_timeout)
    }

    /// Sends scouts ahead for all connections that could go over RDMA.
    pub(crate) fn scout(&mut self, now: Instant) {
        let all: Vec<usize> = self.could_move().collect();
        for main in all {
            let address = self.peers[main].address.clone();
            let scout = self.peers[main].scout.unwrap_or(self.peers.len());
            if scout == self.peers.len() {
                self.peers.push(Peer::scout(main, now));
                self.peers[main].scout = Some(scout);
            }
            // That of the seed changes.
            self.peers[scout].address = address;
            self.peers[scout].state = State::Wanted;
        }
    }

    /// Whether a scout that is ready has waited in vain for its place.
    pub(crate) fn is_in_vain(&self, index: usize, now: Instant) -> bool {
        let Some(main) = self.peers[index].scouts_for.map(|main| &self.peers[main]) else { return false };
        let is_late = main
            .held
            .is_some_and(|since| now.saturating_duration_since(since) > self.config.rdma.connect_timeout);
        self.peers[index].state == State::Ready && (is_late || main.over != Over::Socket)
    }

    /// A connection, and the scout that takes its place now: their peers have changed places, and so must their sockets; that of the
    /// scout is to be closed.
    pub(crate) fn next_move(&mut self, now: Instant) -> Option<(usize, usize)> {
        let is_ready = |main: &Peer| {
            let has_place = !matches!(main.state, State::Connecting { .. } | State::Greeting { .. });
            has_place && main.is_quiet() && main.over == Over::Socket
        };
        let main = (0..self.peers.len()).find(|&main| {
            let scout = self.peers[main].scout.map(|scout| &self.peers[scout]);
            is_ready(&self.peers[main]) && scout.is_some_and(|scout| scout.state == State::Ready)
        })?;
        let scout = self.peers[main].scout?;
        self.peers.swap(main, scout);
        let (new, old) = self.two_peers(main, scout);
        std::mem::swap(&mut new.waiting, &mut old.waiting);
        (new.scout, new.scouts_for, old.scout, old.scouts_for) = (Some(scout), None, None, Some(main));
        old.reset();
        old.state = State::Idle;
        self.dispatch_waiting(main, now);
        Some((main, scout))
    }

    fn two_peers(&mut self, one: usize, other: usize) -> (&mut Peer, &mut Peer) {
        let (low, high) = (one.min(other), one.max(other));
        let (front, back) = self.peers.split_at_mut(high);
        if one < other { (&mut front[low], &mut back[0]) } else { (&mut back[0], &mut front[low]) }
    }

    /// What has come of RDMA, if that is another thing than when it was last asked for.
    pub(crate) fn rdma_news(&mut self) -> Option<RdmaUse> {
        if !std::mem::take(&mut self.rdma.has_news) {
            return None;
        }
        let is_there = |peer: &&Peer| peer.over == Over::Rdma && peer.state == State::Ready;
        let connections = self.peers.iter().filter(is_there).count();
        let rdma = &self.rdma;
        let fallbacks = Cause::ALL.into_iter().map(|cause| (cause.name(), rdma.fallbacks[cause as usize]));
        Some(RdmaUse {
            connections,
            moves: rdma.moves,
            fallbacks: fallbacks.filter(|(_, count)| *count > 0).collect(),
            last: rdma.last.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
