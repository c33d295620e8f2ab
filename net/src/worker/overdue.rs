//! Clients that are slow, silent, or do not finish what they began: looked for now and then.

use super::connection::{Connection, Phase, Unfinished};
use super::state::WorkerState;
use crate::metrics::CloseReason;
use crate::transport::Transport;

/// Connections looked at in one go.
pub(super) const SWEEP_PLACES: usize = 4096;
/// Milliseconds between two of them.
pub(super) const SWEEP_MS: u64 = 1000;
/// A client that sends this many bytes of a request in a second gets its request time-out anew.
const REQUEST_BYTES_A_SECOND: u64 = 1024;

impl WorkerState {
    /// Closes clients whose time is up, once a second.
    pub(super) fn sweep_on(&mut self, transport: &mut impl Transport) {
        if self.ticks - self.sweep.at < SWEEP_MS {
            return;
        }
        self.sweep.at = self.ticks;
        self.tell_hot_keys();
        let places = self.connections.places();
        for _ in 0..places.min(SWEEP_PLACES) {
            self.sweep.place = (self.sweep.place + 1) % places;
            let Some(id) = self.connections.at(self.sweep.place).map(|conn| conn.id) else { continue };
            let Some(mut conn) = self.connections.take(id) else { continue };
            self.recall_room(&conn, transport);
            if conn.phase != Phase::Closing
                && let Some(reason) = self.time_is_up(&mut conn, transport)
            {
                self.close(&mut conn, reason, transport);
            }
            self.connections.put(conn);
        }
    }

    /// Tells all threads which keys are asked for most.
    fn tell_hot_keys(&mut self) {
        if let Some((keys, total)) = self.hot.take() {
            let most = keys.iter().map(|hot| hot.count - hot.over).max().unwrap_or_default();
            self.stats.hottest_key_permille.set((most * 1000).checked_div(total).unwrap_or_default());
            self.shared.observed.tell_hot_keys(self.number, keys, total);
        }
    }

    fn time_is_up(&self, conn: &mut Connection, transport: &impl Transport) -> Option<CloseReason> {
        let idle_ms_max = self.shared.tunables.idle_ms_max();
        let silent_ms = self.ticks - conn.received_at.max(conn.sent_at);
        if self.is_slow(conn, transport) {
            let slow_ms_max = self.settings.slow_ms_max;
            tracing::info!(
                shard = self.number,
                peer = %conn.peer,
                "closed a client that took no bytes for {slow_ms_max} ms (--slow-client-timeout)"
            );
            Some(CloseReason::Slow)
        } else if self.is_unfinished_for_long(conn) {
            let request_ms_max = self.settings.request_ms_max;
            tracing::info!(
                shard = self.number,
                peer = %conn.peer,
                "closed a client that did not finish its request in {request_ms_max} ms (--request-timeout)"
            );
            Some(CloseReason::Unfinished)
        } else if self.is_out_of_patience(conn) {
            Some(CloseReason::Unauthenticated)
        } else if idle_ms_max > 0 && self.is_idle(conn) && silent_ms > idle_ms_max {
            Some(CloseReason::Idle)
        } else {
            None
        }
    }

    /// Whether the client could be missed. One that waits for messages is silent by its nature.
    fn is_idle(&self, conn: &Connection) -> bool {
        conn.phase == Phase::Open && conn.is_idle() && conn.subscription_bytes == 0
    }

    /// Whether the client has taken nothing for too long. A long send is over only as a whole, so the transport is
    /// asked whether it goes on.
    fn is_slow(&self, conn: &mut Connection, transport: &impl Transport) -> bool {
        let slow_ms_max = self.settings.slow_ms_max;
        let since = self.ticks - conn.sent_at;
        if slow_ms_max == 0 || !conn.sending || since < SWEEP_MS.min(slow_ms_max) {
            return false;
        }
        let taken = transport.taken(conn.id);
        if taken != conn.taken {
            conn.taken = taken;
            conn.sent_at = self.ticks;
            return false;
        }
        since > slow_ms_max
    }

    /// Whether the client has had enough time for the request that it began. A client that is not read is not to
    /// blame, and one that keeps sending gets its time again.
    fn is_unfinished_for_long(&self, conn: &mut Connection) -> bool {
        let begun = !conn.input.is_empty() || conn.upload.is_some();
        if self.settings.request_ms_max == 0 || !begun || conn.parked || conn.phase != Phase::Open {
            conn.unfinished = None;
            return false;
        }
        let now =
            Unfinished { since: self.ticks, received_bytes: conn.received_bytes, answered: conn.answered };
        let before = *conn.unfinished.get_or_insert(now);
        let ms = self.ticks - before.since;
        let bytes = conn.received_bytes - before.received_bytes;
        let goes_on = bytes.saturating_mul(1000) >= ms.saturating_mul(REQUEST_BYTES_A_SECOND);
        if before.answered != conn.answered || (ms > self.settings.request_ms_max && goes_on) {
            conn.unfinished = Some(now);
            return false;
        }
        ms > self.settings.request_ms_max
    }
}

#[cfg(test)]
mod tests;
