//! Requests and turns that took long, as a shard notes them: see [`slow`](super::slow).

use super::connection::Connection;
use super::script::name_of;
use super::state::WorkerState;
use crate::observed::{Event, SlowEntry};
use crate::session::{Part, ReplyKind, Work};
use crate::transport::ConnId;

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
        self.slow.end_turn(self.turn.began_ns + ns, ns);
    }

    /// A part of this turn took `ns`.
    pub(super) fn note_part(&mut self, id: ConnId, part: &Part<'_>, ns: u64) {
        if ns < self.slow.from_ns {
            return;
        }
        let Some(conn) = self.connections.take(id) else { return };
        let key = match &part.work {
            Work::Keyed(command) => command.key,
            Work::Script { words, .. } => name_of(words),
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
        let waited_ns = self.turn.began_ns.saturating_sub(read_ns);
        let ns = waited_ns + self.turn.known_ns;
        // One that has not waited is timed as a part of its turn where each is.
        let is_timed = || waited_ns == 0 && self.slow.is_exact;
        if ns >= self.slow.from_ns.min(NOTED_NS_MIN) && !is_timed() {
            self.note(conn, reply, words, ns);
        }
    }

    #[cold]
    fn note(&self, conn: &Connection, reply: &ReplyKind, (key, echo): (&[u8], &[u8]), ns: u64) {
        let observed = &self.shared.observed;
        observed.happened(Event::Request, self.now / 1000, ns / 1_000_000);
        if ns < self.slow.from_ns {
            return;
        }
        let Some(words) = reply.words(key, echo).filter(|_| self.slow.may_keep(self.ticks)) else { return };
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
