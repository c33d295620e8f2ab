//! Which clients are closed when all together hold all that they may.

use crate::metrics::CloseReason;
use crate::transport::{ConnId, Transport};
use crate::worker::budget::{Budget, LOOK_MS, Pressure};
use crate::worker::connection::{Connection, Phase};
use crate::worker::state::WorkerState;
use torc_engine::command::Millis;

/// A client that holds less than this is no hoarder.
const HOARD_BYTES: usize = 8 << 10;
/// The same while memory is exhausted, as many together may hold all of it. A short request that waits for a place at another
/// shard takes more than half of it.
const SMALL_BYTES: usize = 2 << 10;
/// Milliseconds between two looks while memory is short.
const SHORT_LOOK_MS: u64 = 1000;
/// Milliseconds between two looks while clients hold more than they may, if the last look found nobody to close and no
/// more is held since.
const VAIN_LOOK_MS: u64 = 10;
/// A connection that moved this share of what it holds since the last look is not closed, unless memory is overdrawn.
const MOVED_SHARE: usize = 4;
/// While many segments are pinned, a client that takes nothing of the bytes lent to it for so long is closed.
const LENT_MS: u64 = 5000;

impl Budget {
    /// Whether all connections are looked over now, which costs time for each of them.
    pub(in crate::worker) fn looks_for_hoarders(&mut self, short_of_pins: bool, now: Millis) -> bool {
        let in_vain = !self.closes && self.used() <= self.used_at_look;
        let every_ms = match self.pressure() {
            Pressure::None if short_of_pins => SHORT_LOOK_MS,
            Pressure::None => return false,
            Pressure::Short => SHORT_LOOK_MS,
            Pressure::Exhausted if self.is_overdrawn() && in_vain => VAIN_LOOK_MS,
            Pressure::Exhausted if self.is_overdrawn() => 0,
            Pressure::Exhausted => LOOK_MS,
        };
        let due = now.saturating_sub(self.looked_at) >= every_ms;
        if due {
            self.looked_at = now;
            self.used_at_look = self.used();
        }
        due
    }
}

impl WorkerState {
    /// While memory is short or exhausted, closes the clients that hold most and move least, until a part of it is
    /// free.
    pub(in crate::worker) fn close_hoarders(&mut self, transport: &mut impl Transport) {
        #[cfg(test)]
        if self.has(crate::worker::bug::Bug::EndlessBudget) {
            return;
        }
        let overdrawn = self.budget.is_overdrawn();
        let short_of_pins = self.shard.is_short_of_pins();
        if !self.budget.looks_for_hoarders(short_of_pins, self.now) {
            return;
        }
        let exhausted = self.budget.pressure() == Pressure::Exhausted;
        let (mut hoarders, closing) =
            self.hoarders(overdrawn, if exhausted { SMALL_BYTES } else { HOARD_BYTES });
        // When memory is short for long, enough is freed for the waiting connections to go on.
        let left = if exhausted { self.budget.grant() / 4 * 3 } else { self.budget.grant() / 2 };
        let mut wanted = match self.budget.pressure() {
            Pressure::None => 0,
            _ => self.budget.used().saturating_sub(left + closing),
        };
        self.budget.closes = closing > 0 || !hoarders.is_empty();
        hoarders.sort_unstable_by_key(|&(lags, bytes, _)| std::cmp::Reverse((lags, bytes)));
        for (_, bytes, id) in hoarders {
            let Some(conn) = self.connections.find(id) else { continue };
            if wanted == 0 && !(short_of_pins && conn.lends) {
                continue;
            }
            wanted = wanted.saturating_sub(conn.charged);
            self.close_hoarder(id, bytes, transport);
        }
    }

    /// Connections that hold more than `least` bytes and have moved little of them since the last look, though they could; and
    /// what those are charged with that are being closed.
    fn hoarders(&mut self, overdrawn: bool, least: usize) -> (Vec<(bool, usize, ConnId)>, usize) {
        let (mut found, mut closing) = (Vec::new(), 0);
        let counted = self.now.saturating_sub(self.budget.moving_since) >= LOOK_MS;
        if counted {
            self.budget.moving_since = self.now;
        }
        for place in 0..self.connections.places() {
            let Some(conn) = self.connections.at(place) else { continue };
            if conn.phase == Phase::Closing {
                closing += conn.charged;
                continue;
            }
            let moved = if counted { std::mem::take(&mut conn.moved) } else { conn.moved };
            conn.lends = conn.has_lent() && self.ticks.saturating_sub(conn.sent_at) >= LENT_MS;
            let content = conn.content_bytes();
            let holds = conn.lends || content > least;
            let stands_still = moved < content / MOVED_SHARE && !waits_for_shard(conn);
            if holds && (overdrawn || stands_still) {
                // Nobody else is closed for messages that a subscriber does not take.
                let lags = conn.subscription_bytes > 0 && conn.sending;
                found.push((lags, content.saturating_sub(moved), conn.id));
            }
        }
        (found, closing)
    }

    fn close_hoarder(&mut self, id: ConnId, bytes: usize, transport: &mut impl Transport) {
        let Some(mut conn) = self.connections.take(id) else { return };
        tracing::info!(
            shard = self.number,
            peer = %conn.peer,
            "closed a client that held {bytes} bytes and moved few of them while clients held all that they may (--client-memory)"
        );
        self.close(&mut conn, CloseReason::Memory, transport);
        self.connections.put(conn);
    }
}

/// Whether what it sends of a long value goes on when another shard has taken what came before, for which that shard may want
/// longer than there is between two looks.
fn waits_for_shard(conn: &Connection) -> bool {
    conn.upload.is_some() && (conn.slices_under_way > 0 || conn.marks.stalled)
}

#[cfg(test)]
mod tests;
