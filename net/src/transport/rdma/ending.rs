//! How connections end: what the device might still read or write is given back when it does not any more.

use super::conn::{Ending, Inbound, Phase, Reading};
use super::receives::CONNECTION_BYTES;
use super::{ConnId, Event, Pieces, Rdma, Transport};
use std::time::{Duration, Instant};
use torc_rdma::Broken;
use torc_rdma::verbs::seam::Verbs;

/// How often those are looked at that end without a notice.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What is posted to a failed queue pair is flushed at once; one that does not tell so is destroyed.
const FLUSH_MAX: Duration = Duration::from_millis(500);

impl<T: Transport, V: Verbs> Rdma<T, V> {
    /// The socket of a connection is gone.
    pub(super) fn begin_end(&mut self, conn: ConnId, pieces: Pieces, events: &mut Vec<Event>) {
        let Some(it) = self.conns.find(conn) else { return };
        if it.phase != Phase::Closing {
            it.phase = Phase::Closing;
            it.end.fail();
        }
        it.ending = Some(Ending { since: Instant::now(), pieces });
        if it.end.is_quiet() { self.end(conn, events) } else { self.ending.push(conn) }
    }

    /// Ends those whose queue pair has nothing under way any more.
    pub(super) fn go_on_ending(&mut self, events: &mut Vec<Event>) {
        if self.ending.is_empty() {
            return;
        }
        let mut ending = std::mem::take(&mut self.ending);
        ending.retain(|&conn| {
            let Some(it) = self.conns.find(conn) else { return false };
            let since = it.ending.as_ref().map(|ending| ending.since.elapsed());
            let goes_on = !it.end.is_quiet() && since.is_some_and(|since| since < FLUSH_MAX);
            if !goes_on {
                self.end(conn, events);
            }
            goes_on
        });
        ending.append(&mut self.ending);
        self.ending = ending;
    }

    fn end(&mut self, conn: ConnId, events: &mut Vec<Event>) {
        let Some(it) = self.conns.remove(conn) else { return };
        let Some(hub) = &mut self.hub else { return };
        let mut it = *it;
        hub.numbers.remove(it.end.number());
        // With the queue pair goes all access of the device to what it was given.
        drop(it.end);
        hub.memory.give_lane(it.lane);
        for inbound in it.inbox {
            if let Inbound::Bytes { number, .. } = inbound {
                hub.memory.release(number);
            }
        }
        match it.read.take() {
            Some(Reading::Room(room, _)) => events.push(Event::Filled { conn, room, len: 0 }),
            Some(Reading::Pull(number, _)) => hub.memory.release_pull(number),
            None => {}
        }
        events.extend(it.room.take().map(|room| Event::Filled { conn, room, len: 0 }));
        let of_socket = it.ending.map(|ending| ending.pieces).unwrap_or_default();
        let pieces = if it.sending.is_empty() { of_socket } else { it.sending };
        events.push(Event::Closed { conn, pieces });
        self.config.stats.pairs.subtract(1);
        self.config.stats.pair_bytes.subtract(CONNECTION_BYTES as u64);
    }

    /// Ends all connections when their device goes, and then drops what was made of it.
    pub(super) fn follow_device(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        let failed = hub.failed;
        if self.generation == self.config.device.generation() && failed.is_none() {
            if let Some(newer) = hub.opened.newer_arenas(&hub.arenas) {
                hub.arenas = newer;
            }
            return;
        }
        if self.conns.count() > 0 {
            let all: Vec<ConnId> = self.conns.iter_mut().map(|(conn, _)| conn).collect();
            let why = failed.map_or(Broken::Gone, Broken::from);
            return all.into_iter().for_each(|conn| self.fail(conn, why));
        }
        if hub.memory.is_all_back() {
            self.sockets.unwatch();
            self.hub = None;
        }
    }
}
