//! Parsing: where the bytes of a round come from, and where those go that it leaves.
//!
//! ```text
//!   received bytes --nothing waits before them--> parsed where they are
//!        |                                            | what a round leaves
//!        v                                            v
//!   [input of the connection]  <----------------------+
//!        |
//!        +--> ready --a round's share--> parsed --more is left--> behind all others: ready
//!                                             |
//!                                             +--the turn's share is used up--> later: next turn
//! ```
//!
//! A connection stands in the queues of [`Rounds`] once at most, however much it sends. What it sends beyond
//! [`BACKLOG_BYTES`] stays in the kernel.

use super::budget::Pressure;
use super::connection::{Connection, Phase};
use super::input::Input;
use super::mail::{LEFT_PLACES, RESUME_PLACES};
use super::rounds::{CONNECTION_PARTS, Rounds};
use super::state::WorkerState;
use crate::metrics::CloseReason;
use crate::session::locked;
use crate::session::{Parsed, Part, Scratch};
use crate::transport::ConnId;

/// A connection with so many unparsed bytes is not read any more, unless they are one request that is longer.
pub(super) const BACKLOG_BYTES: usize = 64 << 10;
/// Input up to this is parsed even while other shards have few places: it comes from a client that does not pipeline.
const SHORT_INPUT_BYTES: usize = 512;

/// What a round does with received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    /// It parses them where they lie.
    InPlace,
    /// They are put behind the connection's other input.
    Behind,
    /// They wait: the round parses other bytes of the same connection.
    NextRound,
}

/// What parsing a source came to.
#[derive(Debug)]
pub(crate) struct Span {
    pub(super) conn: ConnId,
    pub(super) parsed: Parsed,
    /// Its parts end before this place of the round's parts.
    pub(super) parts_end: usize,
    /// No part came of it, so nothing is executed for it.
    pub(super) is_empty: bool,
    /// It has as many parts as a round allows, or waits for its parts to be executed: there may be more in its bytes.
    pub(super) cut: bool,
}

impl WorkerState {
    pub(super) fn begin_round(&mut self) {
        self.rounds.begin_round();
        self.stats.rounds.add(1);
    }

    /// Looks at `len` received bytes, for a round that has `sources` sources already.
    #[inline]
    pub(super) fn take_arrival(&mut self, id: ConnId, len: u32, sources: usize) -> Arrived {
        let places = len as usize <= SHORT_INPUT_BYTES || self.shard_short_of_places(sources).is_none();
        let Some(conn) = self.connections.find(id) else { return Arrived::Behind };
        if self.rounds.has(&conn.marks) {
            return Arrived::NextRound;
        }
        conn.arrivals -= 1;
        if places && conn.is_parsed() && !conn.marks.stalled && conn.input.is_empty() {
            self.rounds.take_in(&mut conn.marks);
            return Arrived::InPlace;
        }
        Arrived::Behind
    }

    /// Puts received bytes behind the connection's input; they are dropped if it is not read any more.
    pub(super) fn append_input(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.connections.find(id).filter(|conn| conn.phase == Phase::Open) else { return };
        conn.input.append(bytes, &mut self.pool);
        if conn.input.len() > locked::INPUT_BYTES_MAX
            && self.settings.limits.has_password
            && conn.session.is_locked()
        {
            conn.phase = Phase::Finishing(CloseReason::Unauthenticated);
        }
        make_ready(&mut self.rounds, conn);
        self.budget.charge(conn);
        // It may have to be paused.
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// A shard that has too few places for one more source of this round, beside the `sources` that it has. What the
    /// source asks of that shard would have to be copied and wait.
    fn shard_short_of_places(&self, sources: usize) -> Option<u16> {
        self.mail.shard_without_places(RESUME_PLACES * (sources + 1) + LEFT_PLACES)
    }

    /// Takes the input of the next connection that is ready, for a round that has so many sources already.
    pub(super) fn next_ready(&mut self, sources: usize) -> Option<(ConnId, Input)> {
        loop {
            let id = self.rounds.next()?;
            let Some(conn) = self.connections.find(id) else { continue };
            conn.marks.ready = false;
            if !conn.is_parsed() || conn.marks.stalled || !conn.has_input() {
                continue;
            }
            if conn.input.len() > SHORT_INPUT_BYTES
                && let Some(full) = self.shard_short_of_places(sources)
            {
                self.stall(id, full);
                continue;
            }
            let conn = self.connections.find(id)?;
            self.rounds.take_in(&mut conn.marks);
            // Parsing will say anew how long the rest must be. Until then any length is worth parsing.
            conn.input_needed = 0;
            return Some((id, std::mem::take(&mut conn.input)));
        }
    }

    fn stall(&mut self, id: ConnId, shard: u16) {
        let Some(conn) = self.connections.find(id) else { return };
        conn.marks.stalled = true;
        if let Some(lane) = self.mail.lane(shard) {
            lane.wait(id);
        }
    }

    /// Lets connections go on for which there are places at other shards again.
    pub(super) fn resume_stalled(&mut self) {
        let mut resumed = std::mem::take(&mut self.rounds.resumed);
        self.mail.take_resumable(&mut resumed);
        for id in resumed.drain(..) {
            let Some(mut conn) = self.connections.take(id) else { continue };
            conn.marks.stalled = false;
            self.advance(&mut conn);
            make_ready(&mut self.rounds, &mut conn);
            self.budget.charge(&mut conn);
            self.connections.put(conn);
            self.mark_dirty(id);
        }
        self.rounds.resumed = resumed;
    }

    #[inline]
    pub(super) fn parse<'a>(
        &mut self,
        id: ConnId,
        bytes: &'a [u8],
        scratch: &'a Scratch,
        parts: &mut Vec<Part<'a>>,
    ) -> (Parsed, bool) {
        let parts_of_connection = self.parts_max();
        let Some(conn) = self.connections.find(id) else {
            return (Parsed { consumed: bytes.len(), missing: 0 }, false);
        };
        let before = parts.len();
        let parts_max = before + parts_of_connection;
        scratch.set_noting(self.monitoring.is_on);
        let parsed = conn.session.parse(bytes, scratch, self.now, &self.settings.limits, parts, parts_max);
        self.rounds.parsed(&mut conn.marks, parts.len() - before);

        let cut = parts.len() >= parts_max || parsed.missing == Parsed::HALTED;
        if self.monitoring.is_on
            && let Some(mut conn) = self.connections.take(id)
        {
            self.note_asked(&mut conn, scratch, &parts[before..]);
            self.connections.put(conn);
        }
        (parsed, cut)
    }

    /// Parts of a connection in a round.
    fn parts_max(&self) -> usize {
        #[cfg(test)]
        if self.has(super::bug::Bug::EndlessBudget) {
            return 2 * CONNECTION_PARTS;
        }
        self.budget.parts(CONNECTION_PARTS)
    }

    /// Keeps what was not parsed of bytes in the transport's buffer.
    pub(super) fn keep_rest(&mut self, span: &Span, rest: &[u8]) {
        if rest.is_empty() {
            return self.charge_idle(span);
        }
        let mut input = Input::default();
        input.append(rest, &mut self.pool);
        self.keep(span, input);
    }

    /// Gives the input back to its connection, without what was parsed of it.
    pub(super) fn keep_input(&mut self, span: &Span, mut input: Input) {
        input.pass(span.parsed.consumed);
        if input.is_empty() {
            self.pool.give(input.into_buffer());
            return self.charge_idle(span);
        }
        match self.budget.pressure() {
            Pressure::Exhausted if input.waste() > SHORT_INPUT_BYTES => input.shrink(),
            Pressure::None if span.cut => {}
            _ => input.fit(&mut self.pool),
        }
        self.keep(span, input);
    }

    /// Charges a connection all of whose input was parsed, unless its parts have seen to that: its input is gone, and its
    /// session may hold more or less than before.
    fn charge_idle(&mut self, span: &Span) {
        if span.is_empty
            && let Some(conn) = self.connections.find(span.conn)
        {
            self.budget.charge(conn);
        }
    }

    fn keep(&mut self, span: &Span, input: Input) {
        let limit = self.settings.input_bytes_max;
        #[cfg(test)]
        let (is_lost, is_free) =
            (span.cut && self.strikes(super::bug::Bug::LostInput), self.strikes(super::bug::Bug::FreeInput));
        let Some(conn) = self.connections.find(span.conn).filter(|conn| conn.phase == Phase::Open) else {
            return self.pool.give(input.into_buffer());
        };
        conn.input_needed = if span.cut { 0 } else { input.len() + span.parsed.missing.max(1) };
        let endless = !span.cut && input.len() > limit;
        conn.input = input;
        #[cfg(test)]
        if is_lost {
            return;
        }
        make_ready(&mut self.rounds, conn);
        #[cfg(test)]
        if is_free {
            return;
        }
        self.budget.charge(conn);
        if endless {
            conn.phase = Phase::Finishing(CloseReason::Garbage);
        }
        // It was not read for all that waited to be parsed; the rest may be a part of a request.
        if endless || conn.paused {
            self.mark_dirty(span.conn);
        }
    }
}

/// Puts a connection into the queue, if it has something to parse and is not in it.
pub(super) fn make_ready(rounds: &mut Rounds, conn: &mut Connection) {
    if !conn.marks.ready && !conn.marks.stalled && conn.is_parsed() && conn.has_input() {
        rounds.push(conn.id, &mut conn.marks);
    }
}

#[cfg(test)]
mod tests;
