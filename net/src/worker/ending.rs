//! The end of a server: no more clients, what came is answered, then every shard waits for the others.

use super::connection::Phase;
use super::state::WorkerState;
use crate::metrics::CloseReason;
use crate::transport::Transport;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Turns after all shards are drained: one that sees it, one that reads the last mail.
const LAST_TURNS: u32 = 2;
/// Turns that a drain waits for what has been sent to the server before.
const DRAIN_TURNS: u32 = 2;

impl WorkerState {
    /// Does what a drain asks.
    pub(super) fn go_on_draining(&mut self, transport: &mut impl Transport) {
        // Relaxed: the flag orders nothing, and a turn later is soon enough.
        if !self.shared.draining.load(Relaxed) {
            return;
        }
        if !self.drain.has_begun() {
            self.drain.since = Some(self.ticks);
            transport.stop_accepting();
        }
        self.drain.turns += 1;
        if self.drain.turns >= DRAIN_TURNS {
            self.finish_all();
        }
        if self.is_past_drain() {
            self.close_all(transport);
        }
    }

    fn finish_all(&mut self) {
        for place in 0..self.connections.places() {
            let Some(conn) = self.connections.at(place) else { continue };
            if conn.phase == Phase::Open
                && conn.queue.is_empty()
                && conn.deferred.is_empty()
                && conn.slices_under_way == 0
                && !conn.session.is_within_request()
            {
                conn.phase = Phase::Finishing(CloseReason::Drained);
                let id = conn.id;
                self.mark_dirty(id);
            }
        }
    }

    fn close_all(&mut self, transport: &mut impl Transport) {
        let (mut connections, mut requests, mut bytes) = (0, 0, 0);
        for place in 0..self.connections.places() {
            let Some(id) = self.connections.at(place).map(|conn| conn.id) else { continue };
            let Some(mut conn) = self.connections.take(id) else { continue };
            if conn.phase != Phase::Closing {
                connections += 1;
                requests += conn.queue.len();
                bytes += conn.output.bytes();
                self.close(&mut conn, CloseReason::Drained, transport);
            }
            self.connections.put(conn);
        }
        if connections > 0 {
            tracing::warn!(
                shard = self.number,
                "--drain-timeout is over: {connections} clients that did not take their answers are cut off; \
                 {requests} requests were waiting, and {bytes} bytes of answers besides what was being sent"
            );
        }
    }

    fn is_past_drain(&self) -> bool {
        self.drain.is_late(self.ticks, self.settings.drain_ms_max)
    }

    /// Whether this share of the drain's time is over.
    pub(super) fn drain_is_past(&self, (share, of): (u64, u64)) -> bool {
        self.drain.is_late(self.ticks, self.settings.drain_ms_max * share / of)
    }

    /// Whether no shard has clients any more.
    pub(super) fn all_are_drained(&self) -> bool {
        self.drain.turns_since_all > 0
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Whether this worker may end: all shards are done, as they still ask each other, and what they sent last
    /// has been read; or time is up.
    pub(super) fn may_end(&self) -> bool {
        let is_last = self.drain.turns_since_all >= LAST_TURNS && self.is_saved();
        self.drain.is_done && (is_last || self.is_past_drain())
    }

    /// Counts this shard as drained when its clients are gone and all that it lent on is on its way home.
    pub(super) fn report_drained(&mut self) {
        if !self.drain.has_begun() {
            return;
        }
        if !self.drain.is_done && self.connections.len() == 0 && self.mail.has_sent_all() {
            self.drain.is_done = true;
            // Release: pairs with the acquire below; the mail was published before.
            self.shared.drained.fetch_add(1, Release);
        }
        // Acquire: a shard that sees all shards drained sees their last mail in its next turn.
        if self.drain.is_done && self.shared.drained.load(Acquire) >= self.mail.shards() as usize {
            self.drain.turns_since_all += 1;
        }
    }
}
