//! How connections end: what the device might still read or write is given back when it cannot any more.
//!
//! ```text
//!   close      --> Finishing: a ping behind what was sent last; its completion says that all has come to the client
//!   failure, or that is over, or late
//!              --> Closing: queue pair to the error state, the socket is closed
//!   the socket is gone, whyever
//!              --> Closed, and all that was lent; a queue pair with WRITEs or READs under way is destroyed before
//! ```
//!
//! The place of a connection may be used again as soon as its socket is gone, so nothing of it is kept longer. But a queue pair
//! outlives it for a moment, in the error state: what it took of the shared receives is told by completions, which some devices
//! forget with the queue pair.

use super::conn::{Conn, Inbound, Phase, Reading};
use super::receives::CONNECTION_BYTES;
use super::{ConnId, Event, Pieces, Rdma, Transport};
use std::time::{Duration, Instant};
use torc_rdma::Broken;
use torc_rdma::server::ServerEnd;
use torc_rdma::verbs::seam::Verbs;

/// How often those are looked at that end without a notice.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a client may take to acknowledge what it was sent last.
const FINISH_MAX: Duration = Duration::from_millis(500);
/// How long a queue pair outlives its connection.
const DEPART: Duration = Duration::from_millis(10);

/// A queue pair whose connection has ended.
#[derive(Debug)]
pub(super) struct Departing<V: Verbs> {
    end: ServerEnd<V>,
    lane: u32,
    since: Instant,
}

impl<T: Transport, V: Verbs> Rdma<T, V> {
    /// The worker has no more for a client, and wants nothing more of it.
    pub(super) fn finish(&mut self, conn: ConnId) {
        let Some((it, hub)) = self.conns.find(conn).zip(self.hub.as_mut()) else { return };
        if it.phase == Phase::Open && it.sending.is_empty() && it.end.posted() > 0 {
            it.phase = Phase::Finishing;
            it.finishes_since = Some(Instant::now());
            self.finishing.push(conn);
            if it.end.ping(hub.memory.region()).is_err() {
                self.shut(conn);
            }
        } else if it.phase != Phase::Finishing {
            self.shut(conn);
        }
    }

    /// Closes a connection now: nothing that its client sends takes effect any more.
    pub(super) fn shut(&mut self, conn: ConnId) {
        if let Some(it) = self.conns.find(conn)
            && it.phase != Phase::Closing
        {
            it.phase = Phase::Closing;
            it.end.fail();
            self.sockets.close(conn);
        }
    }

    /// The socket of a connection is gone.
    pub(super) fn end(&mut self, conn: ConnId, of_socket: Pieces, events: &mut Vec<Event>) {
        let Some(mut it) = self.conns.remove(conn) else { return };
        self.config.stats.pair_posted.add(it.posted_since());
        let Some(hub) = &mut self.hub else { return };
        let Conn { end, lane, phase, inbox, mut read, mut room, sending, .. } = *it;
        if phase != Phase::Closing {
            end.fail();
        }
        hub.numbers.remove(end.number());
        if end.is_quiet() {
            hub.departing.push_back(Departing { end, lane, since: Instant::now() });
        } else {
            hub.take_all();
            // With the queue pair goes all access of the device to what it was lent.
            drop(end);
            hub.memory.give_lane(lane);
        }
        for inbound in inbox {
            if let Inbound::Bytes { number, .. } = inbound {
                hub.memory.release(number);
            }
        }
        hub.fill_shared();
        match read.take() {
            Some(Reading::Room(room, _)) => events.push(Event::Filled { conn, room, len: 0 }),
            Some(Reading::Pull(number, _)) => hub.memory.release_pull(number),
            None => {}
        }
        events.extend(room.take().map(|room| Event::Filled { conn, room, len: 0 }));
        let pieces = if sending.is_empty() { of_socket } else { sending };
        events.push(Event::Closed { conn, pieces });
        self.config.stats.pairs.subtract(1);
        self.config.stats.pair_bytes.subtract(CONNECTION_BYTES as u64);
    }

    /// Goes on with those that end, after completions were taken.
    pub(super) fn go_on_ending(&mut self) {
        let mut finishing = std::mem::take(&mut self.finishing);
        finishing.retain(|&conn| {
            let Some(it) = self.conns.find(conn).filter(|it| it.phase == Phase::Finishing) else {
                return false;
            };
            let is_late = it.finishes_since.is_none_or(|since| since.elapsed() >= FINISH_MAX);
            let goes_on = it.end.posted() > 0 && !is_late;
            if !goes_on {
                self.shut(conn);
            }
            goes_on
        });
        finishing.append(&mut self.finishing);
        self.finishing = finishing;
        let is_over = self.is_over();
        let Some(hub) = &mut self.hub else { return };
        while hub.departing.front().is_some_and(|departing| is_over || departing.since.elapsed() >= DEPART) {
            hub.end_departing();
        }
    }

    /// Whether something ends that no notice tells of.
    pub(super) fn has_ending(&self) -> bool {
        !self.finishing.is_empty() || self.hub.as_ref().is_some_and(|hub| !hub.departing.is_empty())
    }

    /// Whether the device is going, or what was made of it is of no use.
    fn is_over(&self) -> bool {
        let failed = self.hub.as_ref().is_some_and(|hub| hub.failed.is_some());
        failed || self.generation != self.config.device.generation()
    }

    /// Ends all connections when their device goes, and then drops what was made of it.
    pub(super) fn follow_device(&mut self) {
        let is_over = self.is_over();
        let Some(hub) = &mut self.hub else { return };
        if is_over && self.conns.count() > 0 {
            let why = hub.failed.map_or(Broken::Gone, Broken::from);
            let all: Vec<ConnId> = self.conns.iter_mut().map(|(conn, _)| conn).collect();
            return all.into_iter().for_each(|conn| self.fail(conn, why));
        }
        if !is_over && let Some(newer) = hub.opened.newer_arenas(&hub.arenas) {
            hub.arenas = newer;
        }
        let is_used = self.conns.count() > 0 || !hub.departing.is_empty();
        if (is_over || hub.memory.may_have_lost()) && !is_used && hub.memory.is_all_back() {
            self.sockets.unwatch();
            self.hub = None;
        }
    }
}

impl<V: Verbs> super::Hub<V> {
    /// Destroys the queue pair that departs since longest.
    pub(super) fn end_departing(&mut self) {
        let Some(Departing { end, lane, .. }) = self.departing.pop_front() else { return };
        self.take_all();
        drop(end);
        self.memory.give_lane(lane);
    }
}
