//! Bells, which wake clients that sleep over what they were told: bytes that go by the sockets' transport, as answers do.

use super::ring::Ring;
use super::table::Table;
use crate::metrics::WorkerStats;
use crate::transport::{ConnId, Notice, Pieces, Transport};
use std::sync::Arc;
use torc_shm::full_fence;

/// A client that rings so often at once is read in small pieces: one bell would do.
const BELLS_MANY: u32 = 256;

pub(super) struct Bells {
    /// Those to whose clients something was told since bells were rung last.
    told: Vec<ConnId>,
    stats: Arc<WorkerStats>,
}

impl Bells {
    pub(super) fn new(stats: Arc<WorkerStats>) -> Bells {
        Bells { told: Vec::new(), stats }
    }

    /// Notes that a client was told something.
    pub(super) fn note(&mut self, ring: &mut Ring) {
        if !ring.told {
            ring.told = true;
            self.told.push(ring.conn);
        }
    }

    /// Rings for those that sleep over what they were told. One fence serves them all. Says whether all of them, and there are some,
    /// are awake.
    pub(super) fn ring(&mut self, table: &mut Table, sockets: &mut impl Transport) -> bool {
        if self.told.is_empty() {
            return false;
        }
        let mut all_awake = true;
        full_fence();
        let mut told = std::mem::take(&mut self.told);
        for conn in told.drain(..) {
            let Some(ring) = table.find(conn) else { continue };
            ring.told = false;
            if !ring.closing && ring.end.must_ring() {
                self.ring_one(ring, sockets);
            }
            all_awake &= ring.end.is_other_awake();
        }
        self.told = told;
        all_awake
    }

    /// One bell of a connection is on its way at a time: if the socket does not take it, it is full of bells that the client has
    /// not heard.
    fn ring_one(&self, ring: &mut Ring, sockets: &mut impl Transport) {
        match ring.bell.take() {
            Some(bell) => {
                self.stats.bells_rung.add(1);
                sockets.send(ring.conn, bell, Notice::WithNext);
            }
            None => ring.bell_owed = true,
        }
    }

    /// The socket has taken a bell.
    pub(super) fn is_back(&self, ring: &mut Ring, bell: Pieces, sockets: &mut impl Transport) {
        ring.bell = Some(bell);
        #[cfg(test)]
        if super::fault::has(super::fault::Fault::OwedForgotten) {
            ring.bell_owed = false;
        }
        if std::mem::take(&mut ring.bell_owed) && !ring.closing {
            self.ring_one(ring, sockets);
        }
    }

    /// So many bells of a client have rung, which ends this side's sleep (S5): its next one has another number.
    pub(super) fn hear(&self, ring: &mut Ring, bells: u32, sockets: &mut impl Transport) {
        self.stats.bells_heard.add(u64::from(bells));
        if bells >= BELLS_MANY {
            sockets.ration(ring.conn);
        }
        #[cfg(test)]
        if super::fault::has(super::fault::Fault::NumberKept) {
            return;
        }
        ring.end.wake();
    }
}
