//! What clients get at the end of a turn: one send for each connection with answers; then parking and closing.

use super::connection::{Connection, Phase};
use super::parse::{BACKLOG_BYTES, make_ready};
use super::state::WorkerState;
use crate::metrics::CloseReason;
use crate::session::{Output, Piece};
use crate::transport::{Notice, PIECES_BYTES_MAX, Pieces, Transport};

/// Bytes after which a send takes no other piece if not all fits into one. Longer sends come to the limit of TCP's pacing
/// (BBR), whose timers then send the rest: an answer of 10 MB would cost a fifth more CPU.
const LONG_SEND_BYTES: usize = 768 << 10;

/// Slices of a value that may be under way to another shard.
const SLICES_MAX: usize = 64;

impl WorkerState {
    /// Looks after every connection that something happened to: one send each, then parking and closing.
    pub(super) fn settle(&mut self, transport: &mut impl Transport) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(mut conn) = self.connections.take(id) else { continue };
            conn.dirty = false;
            if conn.is_ghost {
                self.settle_ghost(conn);
                continue;
            }
            self.settle_one(&mut conn, transport);
            self.budget.charge(&mut conn);
            self.connections.put(conn);
        }
        // Connections that settling itself has marked are looked after in the next turn.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    fn settle_one(&mut self, conn: &mut Connection, transport: &mut impl Transport) {
        if conn.phase == Phase::Closing {
            return;
        }
        if conn.is_untrue {
            return self.close(conn, CloseReason::Storage, transport);
        }
        if conn.lags {
            tracing::info!(
                shard = self.number,
                peer = %conn.peer,
                "closed a subscriber that did not take its messages (--subscriber-limit, --client-memory)"
            );
            return self.close(conn, CloseReason::Subscriber, transport);
        }
        if !conn.deferred.is_empty() && !conn.marks.stalled {
            self.advance(conn);
        }
        // What has changed meanwhile is told before these answers leave.
        self.tell_news(Some(conn));
        if conn.attaching.is_some() {
            self.move_if_idle(conn, transport);
        }
        self.send_next(conn, transport);
        self.park_or_resume(conn, transport);
        self.lend_room(conn, transport);
        if let Phase::Finishing(reason) = conn.phase {
            if conn.output.is_empty() && !conn.sending {
                self.close(conn, reason, transport);
            }
        } else if conn.ended && conn.is_idle() && !self.has_more_to_parse(conn) {
            self.close(conn, CloseReason::Client, transport);
        }
    }

    /// Sends as much as goes at a time, if nothing is on its way.
    fn send_next(&mut self, conn: &mut Connection, transport: &mut impl Transport) {
        conn.output.copied().for_each(|lent| self.release(lent));
        if conn.sending || self.waits_to_answer(conn) || conn.holds_answers() {
            return;
        }
        conn.sends_lent = conn.output.has_lent();
        let held = conn.output.bytes_held();
        let mut pieces = std::mem::take(&mut conn.pieces);
        let bytes_max = send_bytes_max(&conn.output);
        while pieces.has_room(bytes_max)
            && let Some(piece) = conn.output.take(Vec::new)
        {
            pieces.push(piece);
        }
        if pieces.is_empty() {
            conn.pieces = pieces;
        } else {
            conn.sending = true;
            conn.sending_content = pieces.bytes();
            conn.sending_bytes = held - conn.output.bytes_held();
            conn.sent_at = self.ticks;
            let notice = notice(conn, &pieces);
            transport.send(conn.id, pieces, notice);
        }
        conn.output.unused_tail().into_iter().for_each(|tail| self.pool.give(tail));
    }

    /// A client is not parsed while too much waits for it.
    pub(super) fn park_if_full(&mut self, conn: &mut Connection) {
        if (!conn.deferred.is_empty() || self.is_full(conn)) && !conn.parked && conn.phase == Phase::Open {
            conn.parked = true;
            self.stats.parked.add(1);
            self.stats.parks.add(1);
        }
    }

    /// Whether too much of what was begun for a client waits.
    fn is_full(&self, conn: &Connection) -> bool {
        conn.output.bytes() > self.output_bytes_max()
            || conn.queue.len() >= self.settings.queue_parts_max
            || conn.slices_under_way > SLICES_MAX
    }

    /// It is parsed again when half of that is gone. It is not read while it is not parsed, or while too much of it waits
    /// to be parsed.
    fn park_or_resume(&mut self, conn: &mut Connection, transport: &mut impl Transport) {
        let free = conn.deferred.is_empty()
            && conn.output.bytes() <= self.output_bytes_max() / 2
            && conn.queue.len() <= self.settings.queue_parts_max / 2
            && conn.slices_under_way <= SLICES_MAX / 2;
        if conn.parked && free {
            conn.parked = false;
            self.stats.parked.subtract(1);
            make_ready(&mut self.rounds, conn);
        } else {
            self.park_if_full(conn);
        }
        self.pause_or_resume(conn, transport);
    }

    fn pause_or_resume(&mut self, conn: &mut Connection, transport: &mut impl Transport) {
        // A request that is longer than the bound is not parsed before it is there.
        let backlog = if conn.has_input() { conn.input.len() } else { 0 };
        let (short, floods) = (self.is_short_of_memory(conn), backlog > BACKLOG_BYTES);
        // What waits for steps of its own goes on soon: to stop receiving, and to begin again, would cost more than most of them do.
        let stops = conn.parked && (self.is_full(conn) || !conn.waits_for_steps());
        if !conn.paused && (stops || short || floods) && conn.phase == Phase::Open {
            conn.paused = true;
            transport.pause(conn.id);
            // Not for want of memory: the requests of thousands of clients would all grow piece by piece then, and leave
            // the allocator with holes between the pieces.
            if floods {
                transport.ration(conn.id);
            }
        } else if conn.paused && !conn.parked && !short && backlog <= BACKLOG_BYTES / 2 {
            conn.paused = false;
            transport.resume(conn.id);
        }
    }

    /// Whether a client that sends no more has sent more than was parsed.
    fn has_more_to_parse(&self, conn: &Connection) -> bool {
        conn.has_input() || (conn.parked && !conn.input.is_empty())
    }

    pub(super) fn close(
        &mut self,
        conn: &mut Connection,
        reason: CloseReason,
        transport: &mut impl Transport,
    ) {
        self.stats.close(reason);
        self.note_goes(conn.id, &conn.peer, reason);
        conn.phase = Phase::Closing;
        transport.close(conn.id);
    }
}

/// Bytes after which a send of this output takes no other piece.
fn send_bytes_max(output: &Output) -> usize {
    if output.is_longer_than(PIECES_BYTES_MAX) { LONG_SEND_BYTES } else { PIECES_BYTES_MAX }
}

/// When the loop must hear that a send is over. With the next event is enough if it is the last send of an open connection
/// whose requests are all answered, and has no lent piece: that pins its segment until it comes back.
fn notice(conn: &Connection, pieces: &Pieces) -> Notice {
    let waits = !(conn.output.is_empty() && conn.queue.is_empty() && conn.deferred.is_empty());
    let last = !waits && !conn.parked;
    let open = conn.phase == Phase::Open && !conn.ended;
    match pieces.single() {
        Some(Piece::Bytes(_)) if last && open => Notice::WithNext,
        _ => Notice::Soon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Protocol;
    use crate::transport::sim::{Faults, Network, Sim};
    use crate::worker::testing::{CONN, execute, key_of, pair, resp};

    /// Whether a client is parked, and whether it is not read, when a turn has ended.
    fn settled(state: &mut WorkerState) -> (bool, bool) {
        let mut transport = Sim::new(Network::new(0, Faults::default(), 1 << 10), 0, 1, 1 << 10);
        state.settle(&mut transport);
        let conn = state.connections.find(CONN).expect("it is there");
        (conn.parked, conn.paused)
    }

    #[test]
    fn who_waits_for_steps_of_its_own_is_read_on_until_it_floods() {
        let script =
            |first: &WorkerState| resp(&["EVAL", "return 1", "2", &key_of(first, 0), &key_of(first, 1)]);
        let rename = |first: &WorkerState| resp(&["RENAME", &key_of(first, 0), &key_of(first, 1)]);
        for request in [script, rename] {
            let (mut first, _second) = pair(Protocol::Resp);
            let request = request(&first);
            execute(&mut first, &request, 10);
            assert_eq!(settled(&mut first), (true, false));
            first.append_input(CONN, &vec![b'*'; BACKLOG_BYTES]);
            assert_eq!(settled(&mut first), (true, false));
            first.append_input(CONN, b"*");
            assert_eq!(settled(&mut first), (true, true));
        }
    }

    #[test]
    fn who_waits_for_the_memory_of_its_answers_is_not_read() {
        let (mut first, _second) = pair(Protocol::Resp);
        let get = resp(&["GET", &key_of(&first, 1)]);
        execute(&mut first, &get.repeat(11), 11);
        assert_eq!(settled(&mut first), (true, true));
    }

    #[test]
    fn what_fits_into_one_send_goes_at_once_and_what_does_not_in_shorter_ones() {
        let mut output = Output::default();
        output.tail().resize(PIECES_BYTES_MAX, 0);
        assert_eq!(send_bytes_max(&output), PIECES_BYTES_MAX);
        output.tail().push(0);
        assert_eq!(send_bytes_max(&output), LONG_SEND_BYTES);
    }
}
