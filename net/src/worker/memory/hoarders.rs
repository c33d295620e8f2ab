//! Which clients are closed when all together hold all that they may.

use crate::metrics::CloseReason;
use crate::transport::{ConnId, Transport};
use crate::worker::budget::{Budget, LOOK_MS, Pressure};
use crate::worker::connection::{Connection, Phase};
use crate::worker::overdue::SWEEP_PLACES;
use crate::worker::state::WorkerState;
use std::cmp::Reverse;
use torc_engine::command::Millis;

/// Connections that a turn looks at: a fraction of a millisecond.
const HUNT_PLACES: usize = SWEEP_PLACES;
/// Hoarders that are remembered at most, those that hold most.
const HUNTED_MAX: usize = 4096;
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

/// A walk over all connections for those that hold much, some of them each turn.
#[derive(Debug)]
pub(in crate::worker) struct Hunt {
    /// Up to here they are looked at.
    place: usize,
    /// What they move is counted anew from this walk on.
    counts: bool,
    /// Whether it lags, the bytes that it holds and has not moved, and which it is.
    found: Vec<(bool, usize, ConnId)>,
    /// What those are charged with that are being closed.
    closing: usize,
}

impl Hunt {
    /// Keeps those that hold most.
    fn keep_most(&mut self) {
        if self.found.len() > HUNTED_MAX {
            self.found.select_nth_unstable_by_key(HUNTED_MAX, |&(lags, bytes, _)| Reverse((lags, bytes)));
            self.found.truncate(HUNTED_MAX);
        }
    }
}

impl Budget {
    /// The walk that is under way while there is need of it, or one that begins.
    fn hunt(&mut self, short_of_pins: bool, now: Millis) -> Option<Hunt> {
        let under_way = self.hunt.take().filter(|_| short_of_pins || self.pressure() != Pressure::None);
        under_way.or_else(|| self.looks_for_hoarders(short_of_pins, now).then(|| self.begin_hunt(now)))
    }

    fn begin_hunt(&mut self, now: Millis) -> Hunt {
        let counts = now.saturating_sub(self.moving_since) >= LOOK_MS;
        if counts {
            self.moving_since = now;
        }
        Hunt { place: 0, counts, found: Vec::new(), closing: 0 }
    }

    /// Whether a walk over all connections begins now, which costs time for each of them.
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
        let Some(mut hunt) = self.budget.hunt(short_of_pins, self.now) else { return };
        let exhausted = self.budget.pressure() == Pressure::Exhausted;
        let least = if exhausted { SMALL_BYTES } else { HOARD_BYTES };
        if !self.look_for_hoarders(&mut hunt, overdrawn, least) {
            self.budget.hunt = Some(hunt);
            return;
        }
        hunt.keep_most();
        let Hunt { found: mut hoarders, closing, .. } = hunt;
        // When memory is short for long, enough is freed for the waiting connections to go on.
        let left = if exhausted { self.budget.grant() / 4 * 3 } else { self.budget.grant() / 2 };
        let mut wanted = match self.budget.pressure() {
            Pressure::None => 0,
            _ => self.budget.used().saturating_sub(left + closing),
        };
        self.budget.closes = closing > 0 || !hoarders.is_empty();
        hoarders.sort_unstable_by_key(|&(lags, bytes, _)| Reverse((lags, bytes)));
        for (_, bytes, id) in hoarders {
            // It may have let go since it was looked at.
            let is_hoarder = |conn: &&mut Connection| {
                conn.phase != Phase::Closing && (conn.lends || conn.content_bytes() > least)
            };
            let Some(conn) = self.connections.find(id).filter(is_hoarder) else { continue };
            if wanted == 0 && !(short_of_pins && conn.lends) {
                continue;
            }
            wanted = wanted.saturating_sub(conn.charged);
            self.close_hoarder(id, bytes, transport);
        }
    }

    /// Looks at a turn's share of the connections for those that hold more than `least` bytes and have moved little of them since the last
    /// walk, though they could. True: these were the last.
    fn look_for_hoarders(&mut self, hunt: &mut Hunt, overdrawn: bool, least: usize) -> bool {
        let places = self.connections.places();
        let end = places.min(hunt.place + HUNT_PLACES);
        for place in hunt.place..end {
            let Some(conn) = self.connections.at(place) else { continue };
            if conn.phase == Phase::Closing {
                hunt.closing += conn.charged;
                continue;
            }
            let moved = if hunt.counts { std::mem::take(&mut conn.moved) } else { conn.moved };
            conn.lends = conn.has_lent() && self.ticks.saturating_sub(conn.sent_at) >= LENT_MS;
            let content = conn.content_bytes();
            let holds = conn.lends || content > least;
            let stands_still = moved < content / MOVED_SHARE && !waits_for_shard(conn);
            if holds && (overdrawn || stands_still) {
                // Nobody else is closed for messages that a subscriber does not take.
                let lags = conn.subscription_bytes > 0 && conn.sending;
                hunt.found.push((lags, content.saturating_sub(moved), conn.id));
            }
        }
        hunt.place = end;
        if hunt.found.len() >= 2 * HUNTED_MAX {
            hunt.keep_most();
        }
        end == places
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
