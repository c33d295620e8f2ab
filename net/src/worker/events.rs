//! What the transport reports of connections: accepted, received, sent, ended, closed.

use super::connection::{Connection, Phase};
use super::queue::Waiting;
use super::state::{ListenerKind, WorkerState};
use crate::metrics::CloseReason;
use crate::session::{Piece, Port, Session};
use crate::transport::{ConnId, Pieces};
use std::sync::atomic::Ordering::Relaxed;
use torc_engine::segments::{Lent, LentChain};

/// Said to a client that comes when the server is full, in words that no protocol takes for an answer.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const TOO_MANY_FOR_MEMORY: &[u8] = b"-ERR max number of clients reached: --client-memory allows no more\r\n";

impl WorkerState {
    /// A client has come, or is refused with these words: it gets no session, as crowds of them would take memory.
    pub(super) fn accepted(
        &mut self,
        id: ConnId,
        listener: u16,
        addresses: impl FnOnce() -> (String, String),
    ) -> Result<(), &'static [u8]> {
        self.stats.accepted.add(1);
        self.admit().inspect_err(|_| self.stats.close(CloseReason::TooMany))?;
        let total = self.connections.count_accepted();
        let kind = self.settings.listeners.get(listener as usize).copied();
        let ListenerKind { protocol, shard_port } =
            kind.unwrap_or(ListenerKind { protocol: None, shard_port: false });
        // Connections of all shards get different numbers.
        let number = total * u64::from(self.mail.shards()) + u64::from(self.number);
        let session = if self.settings.limits.has_password { Session::locked } else { Session::new };
        let port = if shard_port { Port::Shard } else { Port::Common };
        let mut conn = Connection::new(id, number, session(protocol, port), self.ticks);
        conn.on_shard_port = shard_port;
        let (peer, local) = addresses();
        (conn.peer, conn.local) = (peer.into(), local.into());
        if self.drain.has_begun() {
            conn.phase = Phase::Finishing(CloseReason::Drained);
        }
        self.note_came(id, &conn.peer);
        self.budget.charge(&mut conn);
        self.connections.insert(conn);
        self.stats.connections.set(self.connections.len() as u64);
        self.mark_dirty(id);
        Ok(())
    }

    /// Counts a new client if there may be one more.
    fn admit(&self) -> Result<(), &'static [u8]> {
        if !self.budget.admits(self.connections.len() + 1) {
            return Err(TOO_MANY_FOR_MEMORY);
        }
        // Relaxed: a count that orders nothing.
        if self.shared.connections.fetch_add(1, Relaxed) >= self.shared.tunables.connections_max() {
            self.shared.connections.fetch_sub(1, Relaxed);
            return Err(TOO_MANY);
        }
        Ok(())
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
            if !conn.dirty {
                conn.dirty = true;
                self.dirty.push(id);
            }
        }
    }

    /// A piece is not needed any more: its buffer is used again, its segment released.
    fn take_back(&mut self, piece: Piece) {
        match piece {
            Piece::Bytes(bytes) => self.pool.give(bytes),
            Piece::Lent(lent) => self.release(lent),
        }
    }

    pub(super) fn release(&mut self, lent: Lent) {
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

    /// Bytes wait in a buffer to be [looked at](WorkerState::take_arrival).
    #[inline]
    pub(super) fn received(&mut self, id: ConnId, len: u32) {
        self.stats.received_bytes.add(u64::from(len));
        if let Some(conn) = self.connections.find(id) {
            conn.count_received(len, self.ticks);
            conn.arrivals += 1;
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
        self.end_monitor(&mut conn);
        let stays = self.leave_transaction(&mut conn);
        #[cfg(test)]
        if self.strikes(super::bug::Bug::KeptCharge) {
            conn.charged = 0;
        }
        self.budget.discharge(&conn);
        self.budget.rings -= std::mem::take(&mut conn.ring_bytes);
        drop(conn.paired.take());
        self.readers.iter_mut().for_each(|readers| readers.close(conn.number));
        // Relaxed: as in `admit`.
        self.shared.connections.fetch_sub(1, Relaxed);
        self.stats.connections.set(self.connections.len() as u64);
        if conn.phase != Phase::Closing {
            self.stats.close(CloseReason::Client);
            self.note_goes(id, &conn.peer, CloseReason::Client);
        }
        self.unblock(&mut conn);
        if std::mem::take(&mut conn.parked) {
            self.stats.parked.subtract(1);
        }
        if stays {
            (conn.is_ghost, conn.charged, conn.phase) = (true, 0, Phase::Closing);
            self.budget.charge(&mut conn);
            self.connections.put(conn);
            return self.mark_dirty(id);
        }
        self.clear_away(*conn);
    }

    /// Gives back what a connection holds that nobody needs any more.
    fn clear_away(&mut self, mut conn: Connection) {
        self.end_subscriptions(&conn);
        self.leave_tracking(&mut conn);
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

    /// Looks after a ghost. Its transaction may be over: then nothing stays of it.
    pub(super) fn settle_ghost(&mut self, mut conn: Box<Connection>) {
        self.go_on_as_ghost(&mut conn);
        if conn.transaction.is_some() {
            self.budget.charge(&mut conn);
            return self.connections.put(conn);
        }
        self.budget.discharge(&conn);
        self.clear_away(*conn);
    }
}
