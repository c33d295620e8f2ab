//! The life of connections: accepted, looked after at the end of a turn, closed; idle work; the drain.

use super::connection::{Connection, Phase};
use super::core::{Core, ListenerKind};
use super::queue::Waiting;
use super::ready::{BACKLOG_BYTES, make_ready};
use crate::metrics::CloseReason;
use crate::session::{Piece, Port, Session};
use crate::transport::{ConnId, Notice, Pieces, Transport};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use torc_engine::segments::{Lent, LentChain};

/// Slices of a value that may be under way to another shard.
const SLICES_MAX: usize = 64;
/// Said to a client that comes when the server is full, in words that no protocol takes for an answer.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const TOO_MANY_FOR_MEMORY: &[u8] = b"-ERR max number of clients reached: --client-memory allows no more\r\n";
/// Turns after all shards are drained: one that sees it, one that reads the last mail.
const LAST_TURNS: u32 = 2;
/// Turns that a drain waits for what has been sent to the server before.
const DRAIN_TURNS: u32 = 2;

impl Core {
    pub(super) fn accepted(
        &mut self,
        id: ConnId,
        listener: u16,
        addresses: impl FnOnce() -> (String, String),
    ) {
        self.stats.accepted.add(1);
        self.connections_total += 1;
        let kind = self.settings.listeners.get(listener as usize).copied();
        let ListenerKind { protocol, shard_port } =
            kind.unwrap_or(ListenerKind { protocol: None, shard_port: false });
        // Connections of all shards get different numbers.
        let number = self.connections_total * u64::from(self.mail.shards()) + u64::from(self.number);
        let port = if shard_port { Port::Shard } else { Port::Common };
        let mut conn = Connection::new(id, number, Session::new(protocol, port), self.ticks);
        conn.on_shard_port = shard_port;
        let (peer, local) = addresses();
        (conn.peer, conn.local) = (peer.into(), local.into());
        // Relaxed: a count that orders nothing.
        if self.shared.connections.fetch_add(1, Relaxed) >= self.settings.connections_max {
            conn.output.tail().extend_from_slice(TOO_MANY);
            conn.phase = Phase::Finishing(CloseReason::TooMany);
        } else if !self.budget.admits(self.connections.len() + 1) {
            conn.output.tail().extend_from_slice(TOO_MANY_FOR_MEMORY);
            conn.phase = Phase::Finishing(CloseReason::TooMany);
        } else if self.draining_since.is_some() {
            conn.phase = Phase::Finishing(CloseReason::Drained);
        }
        self.budget.charge(&mut conn);
        self.connections.insert(conn);
        self.stats.connections.set(self.connections.len() as u64);
        self.mark_dirty(id);
    }

    pub(super) fn accept_failed(&mut self, error: i32) {
        self.stats.accept_failures.add(1);
        if !self.accept_failure_logged {
            self.accept_failure_logged = true;
            let cause = std::io::Error::from_raw_os_error(error);
            tracing::warn!(
                shard = self.number,
                "accepting clients failed: {cause}; trying again every 100 ms (raise the limit of open files, ulimit -n)"
            );
        }
    }

    pub(super) fn sent(&mut self, id: ConnId, mut pieces: Pieces) {
        self.stats.sent_bytes.add(pieces.bytes() as u64);
        pieces.drain().for_each(|piece| self.take_back(piece));
        let now = self.ticks;
        if let Some(conn) = self.connections.find(id) {
            conn.pieces = pieces;
            conn.sending = false;
            conn.sends_lent = false;
            conn.moved += conn.sending_bytes;
            conn.sending_bytes = 0;
            conn.sent_at = now;
            self.mark_dirty(id);
        }
    }

    /// A piece is not needed any more: its buffer is used again, its segment released.
    fn take_back(&mut self, piece: Piece) {
        match piece {
            Piece::Bytes(bytes) => self.pool.give(bytes),
            Piece::Lent(lent) => self.release(lent),
        }
    }

    fn release(&mut self, lent: Lent) {
        #[cfg(test)]
        if lent.shard != self.number && self.strikes(super::bug::Bug::LostRelease) {
            return;
        }
        if lent.shard == self.number {
            self.shard.release(lent);
        } else if let Some(lane) = self.mail.lane(lent.shard) {
            lane.release(lent);
        }
    }

    /// What was lent for an answer and not handed on is released.
    pub(super) fn discard(&mut self, chain: Option<Box<LentChain>>) {
        chain.into_iter().flat_map(|chain| chain.into_rest()).for_each(|lent| self.release(lent));
    }

    #[inline]
    pub(super) fn received(&mut self, id: ConnId, len: u32) {
        self.stats.received_bytes.add(u64::from(len));
        let now = self.ticks;
        if let Some(conn) = self.connections.find(id) {
            conn.received_at = now;
            conn.received_bytes += u64::from(len);
            conn.moved += len as usize;
        }
    }

    pub(super) fn ended(&mut self, id: ConnId) {
        #[cfg(test)]
        if self.strikes(super::bug::Bug::LostHalfClose)
            && let Some(conn) = self.connections.find(id)
        {
            conn.phase = Phase::Finishing(CloseReason::Client);
        }
        self.connections.find(id).into_iter().for_each(|conn| conn.ended = true);
        self.mark_dirty(id);
    }

    pub(super) fn closed(&mut self, id: ConnId, mut pieces: Pieces) {
        pieces.drain().for_each(|piece| self.take_back(piece));
        let Some(mut conn) = self.connections.remove(id) else { return };
        #[cfg(test)]
        if self.strikes(super::bug::Bug::KeptCharge) {
            conn.charged = 0;
        }
        self.budget.discharge(&conn);
        // Relaxed: as in `accepted`.
        self.shared.connections.fetch_sub(1, Relaxed);
        self.stats.connections.set(self.connections.len() as u64);
        if conn.phase != Phase::Closing {
            self.stats.close(CloseReason::Client);
        }
        if conn.parked {
            self.stats.parked.subtract(1);
        }
        self.abandon_upload(&mut conn);
        while let Some(piece) = conn.output.take(Vec::new) {
            self.take_back(piece);
        }
        conn.output.copied().for_each(|lent| self.release(lent));
        while let Some(waiting) = conn.queue.pop() {
            if let Waiting::Kept(kept) = waiting {
                self.drop_kept(kept);
            }
        }
        conn.deferred.drain(..).for_each(|part| self.pool.give(part.into_bytes()));
        self.pool.give(conn.input.into_buffer());
    }

    /// Looks after every connection that something happened to: one send each, then parking and closing.
    pub(super) fn settle(&mut self, transport: &mut impl Transport) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(mut conn) = self.connections.take(id) else { continue };
            conn.dirty = false;
            self.settle_one(&mut conn, transport);
            self.budget.charge(&mut conn);
            self.connections.put(conn);
        }
        // What settling marked in turn (nothing today) is looked after next turn.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    fn settle_one(&mut self, conn: &mut Connection, transport: &mut impl Transport) {
        if conn.phase == Phase::Closing {
            return;
        }
        if !conn.deferred.is_empty() && !conn.stalled {
            self.advance(conn);
        }
        self.send_next(conn, transport);
        self.park_or_resume(conn, transport);
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
        if conn.sending || conn.holds_answers() {
            return;
        }
        conn.sends_lent = conn.output.has_lent();
        let held = conn.output.bytes_held();
        let mut pieces = std::mem::take(&mut conn.pieces);
        while pieces.has_room()
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
        let full = !conn.deferred.is_empty()
            || conn.output.bytes() > self.output_bytes_max()
            || conn.queue.len() >= self.settings.queue_parts_max
            || conn.slices_under_way > SLICES_MAX;
        if full && !conn.parked && conn.phase == Phase::Open {
            conn.parked = true;
            self.stats.parked.add(1);
            self.stats.parks.add(1);
        }
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
            make_ready(&mut self.ready, conn);
        } else {
            self.park_if_full(conn);
        }
        self.pause_or_resume(conn, transport);
    }

    fn pause_or_resume(&mut self, conn: &mut Connection, transport: &mut impl Transport) {
        // A request that is longer than the bound is not parsed before it is there.
        let backlog = if conn.has_input() { conn.input.len() } else { 0 };
        let (short, floods) = (self.is_short_of_memory(conn), backlog > BACKLOG_BYTES);
        if !conn.paused && (conn.parked || short || floods) && conn.phase == Phase::Open {
            conn.paused = true;
            transport.pause(conn.id);
            // Not for want of memory: requests of thousands would all grow piece by piece then, and the allocator be left
            // with holes between the pieces.
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
        conn.phase = Phase::Closing;
        transport.close(conn.id);
    }

    /// Background work of the shard. True if it has more to do.
    pub(super) fn maintain(&mut self, budget: u32) -> bool {
        #[cfg(test)]
        if self.has(super::bug::Bug::EvictsAll)
            && self.shard.stats().segments_evicted.read() > self.evicted_seen
        {
            self.evicted_seen = self.shard.stats().segments_evicted.read();
            self.shard.flush(None, self.now);
        }
        let more = self.shard.maintain(self.now, budget);
        #[cfg(test)]
        let more = more || self.has(super::bug::Bug::Sleepless);
        more
    }

    /// Does what a drain asks.
    pub(super) fn drain(&mut self, transport: &mut impl Transport) {
        // Relaxed: the flag orders nothing, and a turn later is soon enough.
        if !self.shared.draining.load(Relaxed) {
            return;
        }
        if self.draining_since.is_none() {
            self.draining_since = Some(self.ticks);
            transport.stop_accepting();
        }
        self.drain_turns += 1;
        if self.drain_turns >= DRAIN_TURNS {
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
        self.draining_since.is_some_and(|since| self.ticks - since > self.settings.drain_ms_max)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining_since.is_some()
    }

    /// Whether this worker may end: all shards are done, as they still ask each other, and what they sent last
    /// has been read; or time is up.
    pub(super) fn is_over(&self) -> bool {
        self.drained && (self.turns_since_all >= LAST_TURNS || self.is_past_drain())
    }

    /// Counts this shard as drained when its clients are gone and all that it lent on is on its way home.
    fn report_drained(&mut self) {
        if self.draining_since.is_none() {
            return;
        }
        if !self.drained && self.connections.len() == 0 && self.mail.has_sent_all() {
            self.drained = true;
            // Release: pairs with the acquire below; the mail was published before.
            self.shared.drained.fetch_add(1, Release);
        }
        // Acquire: who sees all shards drained sees their last mail in its next turn.
        if self.drained && self.shared.drained.load(Acquire) >= self.mail.shards() as usize {
            self.turns_since_all += 1;
        }
    }

    /// Whether nothing is left to be done without an event.
    pub(super) fn announce_sleep(&mut self) -> bool {
        let idle = self.ready.is_empty() && self.dirty.is_empty() && !self.mail.has_resumable();
        idle && (self.mail.is_alone() || self.mail.announce_sleep())
    }

    pub(super) fn publish_mail(&mut self) {
        if !self.mail.is_alone() {
            self.mail.publish();
            self.stats.mailbox_waiting.set(self.mail.under_way() as u64);
        }
    }

    pub(super) fn end_turn(&mut self, ns: u64) {
        self.report_drained();
        self.stats.turns.add(1);
        self.stats.turn_time.record(ns);
        // What was answered goes out with the next system call, which comes at once.
        self.stats.request_time.record_many(ns, std::mem::take(&mut self.answered));
        self.waited.record(self.turn_began_ns + ns, &self.stats.request_time);
        self.forwarded.record(self.turn_began_ns, &self.stats.forwarded_time);
    }
}

/// Nothing depends on the end of a send that is the last of an open connection whose requests are all answered.
/// A lent piece pins its segment until it comes back.
fn notice(conn: &Connection, pieces: &Pieces) -> Notice {
    let waits = !(conn.output.is_empty() && conn.queue.is_empty() && conn.deferred.is_empty());
    let last = !waits && !conn.parked;
    let open = conn.phase == Phase::Open && !conn.ended;
    match pieces.single() {
        Some(Piece::Bytes(_)) if last && open => Notice::WithNext,
        _ => Notice::Soon,
    }
}
