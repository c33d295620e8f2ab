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

/// Whether it pins segments while they are short, whether it lags, and the bytes that it holds and has not moved: the greatest
/// are closed first.
type Rank = (bool, bool, usize);

/// What makes a client a hoarder now.
#[derive(Debug, Clone, Copy)]
struct Measure {
    overdrawn: bool,
    short_of_pins: bool,
    /// Who holds no more than so many bytes is none.
    least: usize,
    ticks: Millis,
}

impl Measure {
    /// Ranks a client that holds much and has moved little of it since the last walk, though it could.
    fn rank(&self, conn: &mut Connection) -> Option<Rank> {
        conn.lends = conn.has_lent() && self.ticks.saturating_sub(conn.sent_at) >= LENT_MS;
        let content = conn.content_bytes();
        let holds = conn.lends || content > self.least;
        let stands_still = conn.moved < content / MOVED_SHARE && !waits_for_server(conn);
        // Nobody else is closed for messages that a subscriber does not take.
        let lags = conn.subscription_bytes > 0 && conn.sending;
        let rank = (self.short_of_pins && conn.lends, lags, content.saturating_sub(conn.moved));
        (holds && (self.overdrawn || stands_still)).then_some(rank)
    }
}

/// A walk once round all connections for those that hold much, some of them each turn.
#[derive(Debug)]
pub(in crate::worker) struct Hunt {
    /// Places that are not looked at yet.
    left: usize,
    /// What they move is counted anew from this walk on.
    counts: bool,
    found: Vec<(Rank, ConnId)>,
    /// What those are charged with that are being closed.
    closing: Vec<(usize, ConnId)>,
}

/// Keeps those that rank highest.
fn keep_most<R: Ord + Copy>(ranked: &mut Vec<(R, ConnId)>) {
    if ranked.len() > HUNTED_MAX {
        ranked.select_nth_unstable_by_key(HUNTED_MAX, |&(rank, _)| Reverse(rank));
        ranked.truncate(HUNTED_MAX);
    }
}

impl Budget {
    /// The walk that is under way while there is need of it, or one over so many places that begins.
    fn hunt(&mut self, short_of_pins: bool, places: usize, now: Millis) -> Option<Hunt> {
        let under_way = self.hunt.take().filter(|_| short_of_pins || self.pressure() != Pressure::None);
        under_way
            .or_else(|| self.looks_for_hoarders(short_of_pins, now).then(|| self.begin_hunt(places, now)))
    }

    fn begin_hunt(&mut self, places: usize, now: Millis) -> Hunt {
        let counts = now.saturating_sub(self.moving_since) >= LOOK_MS;
        if counts {
            self.moving_since = now;
        }
        Hunt { left: places, counts, found: Vec::new(), closing: Vec::new() }
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
        let measure = self.measure();
        let places = self.connections.places();
        let Some(mut hunt) = self.budget.hunt(measure.short_of_pins, places, self.now) else { return };
        if self.look_for_hoarders(&mut hunt, measure) {
            self.close_found(hunt, measure, transport);
        } else {
            self.budget.hunt = Some(hunt);
        }
    }

    fn measure(&self) -> Measure {
        let exhausted = self.budget.pressure() == Pressure::Exhausted;
        Measure {
            overdrawn: self.budget.is_overdrawn(),
            short_of_pins: self.shard.is_short_of_pins(),
            least: if exhausted { SMALL_BYTES } else { HOARD_BYTES },
            ticks: self.ticks,
        }
    }

    /// Looks at a turn's share of the connections. True: these were the last.
    fn look_for_hoarders(&mut self, hunt: &mut Hunt, measure: Measure) -> bool {
        let places = self.connections.places();
        let looked_at = hunt.left.min(HUNT_PLACES);
        for _ in 0..looked_at {
            let place = self.budget.hunt_place;
            self.budget.hunt_place = (place + 1) % places;
            let Some(conn) = self.connections.at(place) else { continue };
            if conn.phase == Phase::Closing {
                hunt.closing.push((conn.charged, conn.id));
                continue;
            }
            hunt.found.extend(measure.rank(conn).map(|rank| (rank, conn.id)));
            if hunt.counts {
                conn.moved = 0;
            }
        }
        hunt.left -= looked_at;
        keep_most(&mut hunt.found);
        keep_most(&mut hunt.closing);
        hunt.left == 0
    }

    /// Closes those that were found, as far as they are hoarders still: some were looked at many turns ago.
    fn close_found(&mut self, hunt: Hunt, measure: Measure, transport: &mut impl Transport) {
        let closing = self.charged_to_closing(&hunt);
        let is_still = |(_, id): (Rank, ConnId)| {
            let conn = self.connections.find(id).filter(|conn| conn.phase != Phase::Closing)?;
            Some((measure.rank(conn)?, id))
        };
        let mut hoarders: Vec<_> = hunt.found.into_iter().filter_map(is_still).collect();
        hoarders.sort_unstable_by_key(|&(rank, _)| Reverse(rank));
        self.budget.closes = closing > 0 || !hoarders.is_empty();
        // When memory is short for long, enough is freed for the waiting connections to go on.
        let mut wanted = match self.budget.pressure() {
            Pressure::None => 0,
            Pressure::Short => self.budget.used().saturating_sub(self.budget.grant() / 2 + closing),
            Pressure::Exhausted => self.budget.used().saturating_sub(self.budget.grant() / 4 * 3 + closing),
        };
        for ((pins, _, bytes), id) in hoarders {
            if wanted == 0 && !pins {
                break;
            }
            let Some(conn) = self.connections.find(id) else { continue };
            wanted = wanted.saturating_sub(conn.charged);
            self.close_hoarder(id, bytes, transport);
        }
    }

    /// What those are charged with that were seen by a walk and are being closed now.
    fn charged_to_closing(&mut self, hunt: &Hunt) -> usize {
        let found = hunt.found.iter().map(|&(_, id)| id);
        let seen = hunt.closing.iter().map(|&(_, id)| id).chain(found);
        let charged = |id| {
            let conn = self.connections.find(id)?;
            (conn.phase == Phase::Closing).then_some(conn.charged)
        };
        seen.filter_map(charged).sum()
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

/// Whether it can do nothing about what it holds: its requests wait for their turn, another shard or a slow medium, and it takes
/// what it is answered.
fn waits_for_server(conn: &Connection) -> bool {
    let is_asked = conn.has_input() || !conn.deferred.is_empty() || !conn.queue.is_empty();
    let is_held = !conn.output.is_empty();
    waits_for_shard(conn) || (!conn.sending && (is_asked || is_held))
}

/// Whether what it sends of a long value goes on when another shard has taken what came before, for which that shard may want
/// longer than there is between two looks.
fn waits_for_shard(conn: &Connection) -> bool {
    conn.upload.is_some() && (conn.slices_under_way > 0 || conn.marks.stalled)
}

#[cfg(test)]
mod tests;
