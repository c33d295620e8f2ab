//! Clients that read a shard's memory by RDMA, each by a queue pair of its own, which is made for nothing else.
//!
//! A client asks for a lease, for what it may read (pieces of the memory, and their keys), and the first time for the queue pair. The
//! shard gives the lease. When it needs memory back before all leases are over, it takes the right to read from everybody: the queue
//! pairs are destroyed ([`Revoke`]); the clients' others, by which they ask, stay.

use super::{Admitted, Arenas, DeviceState, Opened, PairsByClient};
use crate::session::PairRefusal;
use std::cell::RefCell;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use torc_engine::Shard;
use torc_engine::segments::Revoke;
use torc_engine::stats::Counter;
use torc_proto::native::{PairEnd, ReadsAsked, ReadsGiven};
use torc_rdma::Refused;
use torc_rdma::server::read_pair;
use torc_rdma::verbs::seam::{QueuePair, Verbs};

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    /// The connection's number.
    pub(crate) conn: u64,
    /// By session identity; 0: nobody's.
    pub(crate) client: u64,
}

/// How many may read.
#[derive(Debug)]
pub(crate) struct ReadersLimits {
    /// Queue pairs of the shard to read by.
    pub(crate) pairs_max: usize,
    /// Queue pairs of one client, of all kinds and shards.
    pub(crate) of_client_max: usize,
    pub(crate) clients: Arc<PairsByClient>,
}

/// What the worker's loop wants of them; it does not know the device.
pub(crate) trait Readers: Debug {
    /// What a connection may read. `now`: of the machine, milliseconds; `passed_ns`: how long the server's clock has run.
    fn give(
        &mut self,
        asker: Asker,
        asked: &ReadsAsked,
        shard: &mut Shard,
        now: u64,
        passed_ns: u64,
    ) -> Result<ReadsGiven, PairRefusal>;

    /// A connection is gone.
    fn close(&mut self, conn: u64);

    /// Once a turn: drops what was made of a device that is given up, and shows the shard's readers new keys.
    fn follow(&mut self, shard: &mut Shard);

    /// Takes the right to read from everybody when the shard has to have memory back.
    fn revoker(&self) -> Box<dyn Revoke>;
}

/// A queue pair that reads, of a connection.
#[derive(Debug)]
struct Reading<P> {
    conn: u64,
    pair: P,
    _counts: Admitted,
}

/// Queue pairs that read, and the device that they are of.
#[derive(Debug)]
struct Open<V: Verbs> {
    // Queue pairs go first.
    pairs: Vec<Reading<V::Pair>>,
    queue: V::Queue,
    arenas: Arc<Arenas<V>>,
    opened: Arc<Opened<V>>,
    generation: u64,
}

#[derive(Debug)]
pub(crate) struct ReadersBy<V: Verbs> {
    device: Arc<DeviceState<V>>,
    open: Rc<RefCell<Option<Open<V>>>>,
    shard: u16,
    limits: ReadersLimits,
    count: Arc<Counter>,
}

#[derive(Debug)]
struct Revoker<V: Verbs> {
    open: Rc<RefCell<Option<Open<V>>>>,
    count: Arc<Counter>,
}

impl<V: Verbs + 'static> Revoke for Revoker<V> {
    fn revoke(&mut self) {
        if let Some(open) = &mut *self.open.borrow_mut() {
            for Reading { pair, .. } in open.pairs.drain(..) {
                // What cannot be destroyed answers no READ any more all the same; and if this fails, the device is gone.
                let _ = pair.fail();
            }
            self.count.set(0);
        }
    }
}

impl<V: Verbs + 'static> ReadersBy<V> {
    pub(crate) fn new(
        device: Arc<DeviceState<V>>,
        shard: u16,
        limits: ReadersLimits,
        count: Arc<Counter>,
    ) -> Self {
        ReadersBy { device, open: Rc::default(), shard, limits, count }
    }

    /// What is open, opening it if that was not done. Readers are shown of which epoch it is.
    fn opened(&self, shard: &Shard) -> Result<(), PairRefusal> {
        let mut open = self.open.borrow_mut();
        if open.is_none() {
            let (generation, opened) = self.device.opened();
            let opened = opened.ok_or(PairRefusal::Gone)?;
            // Nothing is ever posted here.
            let queue = opened.device.completion_queue(1).map_err(|_| PairRefusal::Device)?;
            let arenas = opened.arenas();
            shard.set_epoch(arenas.epoch());
            *open = Some(Open { pairs: Vec::new(), queue, arenas, opened, generation });
        }
        Ok(())
    }

    fn is_paired(&self, conn: u64) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| open.pairs.iter().any(|other| other.conn == conn))
    }

    fn pair(&self, open: &mut Open<V>, asker: Asker, client: &PairEnd) -> Result<PairEnd, PairRefusal> {
        open.pairs.retain(|other| other.conn != asker.conn);
        if open.pairs.len() >= self.limits.pairs_max {
            return Err(PairRefusal::Full);
        }
        let admitted = self.limits.clients.admit(asker.client, self.limits.of_client_max);
        let admitted = admitted.ok_or(PairRefusal::TooMany)?;
        let first = RandomState::new().build_hasher().finish() as u32;
        let place = (&open.opened.device, &open.opened.domain, &open.opened.place);
        let made = read_pair(place, &open.queue, first, client);
        let (pair, answer) = made.map_err(|refused| match refused {
            Refused::Version => PairRefusal::Version,
            Refused::Impossible => PairRefusal::Peer,
            Refused::Verbs(error) => {
                tracing::info!(shard = self.shard, "a client got no queue pair to read by: {error}");
                PairRefusal::Device
            }
        })?;
        open.pairs.push(Reading { conn: asker.conn, pair, _counts: admitted });
        Ok(PairEnd { shard: self.shard, ..answer })
    }
}

impl<V: Verbs + 'static> Readers for ReadersBy<V> {
    fn give(
        &mut self,
        asker: Asker,
        asked: &ReadsAsked,
        shard: &mut Shard,
        now: u64,
        passed_ns: u64,
    ) -> Result<ReadsGiven, PairRefusal> {
        self.follow(shard);
        self.opened(shard)?;
        // The lease first: it may have everybody leave, and then this one with them. It is for nothing without a queue pair.
        let is_of_use = asked.pair.is_some() || self.is_paired(asker.conn);
        let lease_ms = if is_of_use { shard.read_lease(now).unwrap_or(0) as u32 } else { 0 };
        let mut open = self.open.borrow_mut();
        let open = open.as_mut().ok_or(PairRefusal::Gone)?;
        let pair = asked.pair.map(|client| self.pair(open, asker, &client)).transpose();
        self.count.set(open.pairs.len() as u64);
        let pair = pair?;
        let is_unpaired = !open.pairs.iter().any(|other| other.conn == asker.conn);
        let epoch = open.arenas.epoch();
        let known = if asked.epoch == epoch { asked.known } else { 0 };
        Ok(ReadsGiven {
            epoch,
            bytes: open.arenas.bytes_of(self.shard),
            passed_ns,
            lease_ms: if is_unpaired { 0 } else { lease_ms },
            shard: self.shard,
            is_unpaired,
            pair,
            pieces: open.arenas.pieces_of(self.shard, known),
        })
    }

    fn close(&mut self, conn: u64) {
        if let Some(open) = &mut *self.open.borrow_mut() {
            open.pairs.retain(|other| other.conn != conn);
            self.count.set(open.pairs.len() as u64);
        }
    }

    fn follow(&mut self, shard: &mut Shard) {
        let mut all = self.open.borrow_mut();
        let Some(open) = &mut *all else { return };
        if open.generation != self.device.generation() {
            *all = None;
            self.count.set(0);
        } else if let Some(newer) = open.opened.newer_arenas(&open.arenas) {
            open.arenas = newer;
            shard.set_epoch(open.arenas.epoch());
        }
    }

    fn revoker(&self) -> Box<dyn Revoke> {
        Box::new(Revoker { open: self.open.clone(), count: self.count.clone() })
    }
}
