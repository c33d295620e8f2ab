//! What goes to clients.

use super::conn::Conn;
use super::hub::Hub;
use super::{ConnId, Event, Notice, Pieces, Rdma, Transport};
use torc_rdma::Broken;
use torc_rdma::verbs::seam::Verbs;

impl<T: Transport, V: Verbs> Rdma<T, V> {
    pub(super) fn send_by_pair(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        let Some((it, hub)) = self.conns.find(conn).zip(self.hub.as_mut()) else { return };
        if !it.phase.goes_on() {
            return self.pending.push(Event::Sent { conn, pieces });
        }
        assert!(it.sending.is_empty(), "one send of a connection at a time");
        (it.sending, it.sent, it.notice) = (pieces, 0, notice);
        if let Err(broken) = it.write_on(hub) {
            return self.fail(conn, broken);
        }
        self.config.stats.pair_posted.add(it.posted_since());
        if it.has_sent_all() {
            let sent = Event::Sent { conn, pieces: std::mem::take(&mut it.sending) };
            match notice {
                Notice::Soon => self.pending.push(sent),
                Notice::WithNext => self.with_next.push(sent),
            }
        }
    }
}

impl<V: Verbs> Conn<V> {
    /// Sends what is being sent, as far as it goes now.
    pub(super) fn write_on(&mut self, hub: &Hub<V>) -> Result<(), Broken> {
        let rest = self.sending.rest(self.sent).map(|bytes| (bytes.as_ptr(), bytes.len()));
        // SAFETY: `Bytes` are readable, and not written as long as they are lent. The pieces are ours until they are handed back:
        // when all WRITEs are over, or the queue pair is gone.
        let sent =
            unsafe { self.end.write(hub.memory.memory(), rest, |start, len| hub.arenas.find(start, len)) }?;
        self.sent += sent;
        self.progress += sent as u64;
        Ok(())
    }
}
