//! Requests that take long, and turns that do.
//!
//! The clock is read twice a turn, so what a request took is known to a turn: from the one that read it to the one that answers it. That is
//! enough for requests that wait, and these are looked at where they are answered late anyway. Those of one turn are timed one by one
//! only where that is asked for by a low threshold ([`EXACT_US_MAX`]), or for a while after a turn that was slow as a whole: who was
//! slow once is often slow again, and is found then.

use super::connection::Connection;
use super::state::WorkerState;
use crate::observed::{Event, Observed, SlowEntry};
use crate::session::{Part, ReplyKind, Work};
use crate::transport::ConnId;

/// Up to this threshold each request is timed.
const EXACT_US_MAX: i64 = 1_000;
/// So long each is timed after a slow turn.
const EXACT_AFTER_NS: u64 = 1_000_000_000;

/// What a shard keeps of it.
#[derive(Debug, Default)]
pub(super) struct Slow {
    /// Nanoseconds from which on a request is slow; none is, if it is the greatest number.
    from_ns: u64,
    /// Each request of this turn is timed.
    is_exact: bool,
    exact_until_ns: u64,
}

impl Slow {
    #[inline]
    pub(super) fn begin_turn(&mut self, observed: &Observed, now_ns: u64) {
        let us = observed.slower_than_us();
        self.from_ns = u64::try_from(us).map_or(u64::MAX, |us| us.saturating_mul(1000));
        self.is_exact = us >= 0 && (us <= EXACT_US_MAX || now_ns < self.exact_until_ns);
    }
}

impl WorkerState {
    #[inline]
    pub(super) fn times_each(&self) -> bool {
        self.slow.is_exact
    }

    pub(super) fn answered_of(&mut self, id: ConnId) -> u64 {
        self.connections.find(id).map_or(0, |conn| conn.answered)
    }

    /// A turn is over, which took `ns`.
    #[inline]
    pub(super) fn note_turn(&mut self, ns: u64) {
        self.shared.observed.happened(Event::Turn, self.now / 1000, ns / 1_000_000);
        if ns >= self.slow.from_ns && !self.slow.is_exact {
            self.slow.exact_until_ns = self.turn.began_ns + ns + EXACT_AFTER_NS;
        }
    }

    /// A part of this turn took `ns`.
    pub(super) fn note_part(&mut self, id: ConnId, part: &Part<'_>, ns: u64) {
        if ns < self.slow.from_ns {
            return;
        }
        let Some(conn) = self.connections.take(id) else { return };
        let key = match &part.work {
            Work::Keyed(command) => command.key,
            _ => &[],
        };
        self.note(&conn, &part.reply, (key, part.echo), ns);
        self.connections.put(conn);
    }

    /// A request is answered that the turn of `read_ns` has read.
    #[inline]
    pub(super) fn note_waited(
        &self,
        conn: &Connection,
        reply: &ReplyKind,
        words: (&[u8], &[u8]),
        read_ns: u64,
    ) {
        let ns = self.turn.began_ns.saturating_sub(read_ns);
        if ns >= self.slow.from_ns.min(NOTED_NS_MIN) {
            self.note(conn, reply, words, ns);
        }
    }

    #[cold]
    fn note(&self, conn: &Connection, reply: &ReplyKind, (key, echo): (&[u8], &[u8]), ns: u64) {
        let observed = &self.shared.observed;
        observed.happened(Event::Request, self.now / 1000, ns / 1_000_000);
        let Some(words) = reply.words(key, echo).filter(|_| ns >= self.slow.from_ns) else { return };
        observed.add_slow(SlowEntry {
            id: 0,
            second: self.now / 1000,
            us: ns / 1000,
            words: SlowEntry::clipped(&words),
            peer: conn.peer.to_string(),
            name: conn.session.client_name().to_vec(),
        });
    }
}

/// A request that has waited less is no event either, whatever its threshold: it is in milliseconds.
const NOTED_NS_MIN: u64 = 1_000_000;
