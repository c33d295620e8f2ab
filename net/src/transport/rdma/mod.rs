//! Connections over RDMA, beside the sockets of another transport: one more way for a connection's bytes.
//!
//! ```text
//!   pair   a connection over TCP gets a queue pair; its socket carries the answer, and nothing more: its end is the connection's
//!   turn   completions of all queue pairs --> Received, Filled, Sent
//!          --> nothing? ask for a notice, look again --> the sockets' turn, which a notice ends
//! ```
//!
//! All connections of a shard share one completion queue, one queue of receives where the device has such, and memory that is
//! registered when the device is opened ([`receives`]). A client holds at most as many receives as it has credits, however it
//! behaves, and there are as many as all clients together may hold.
//!
//! A queue pair is brought to its error state before its connection is reported as closed ([`ending`]).
//!
//! The device is opened, and watched, elsewhere ([`crate::rdma`]). When it goes, its connections are closed, and all that was made
//! of it is dropped; clients go on over TCP.

mod conn;
mod deliver;
mod ending;
mod hub;
mod numbers;
mod receives;
#[cfg(test)]
pub(super) mod tests;
mod turn;
mod write;

pub use receives::CONNECTION_BYTES;

use super::places::Places;
use super::{BufferId, ConnId, Event, NotAttached, NotPaired, Notice, Pieces, Transport, Waker};
use crate::metrics::WorkerStats;
use crate::rdma::DeviceState;
use conn::{Conn, Phase};
use hub::Hub;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_engine::segments::Room;
use torc_proto::native::PairEnd;
use torc_rdma::Broken;
use torc_rdma::verbs::seam::Verbs;

/// Of a work request's number: it is a receive's.
const RECEIVE: u64 = 1 << 63;

/// What a shard's connections over RDMA are made of.
#[derive(Debug)]
pub(crate) struct RdmaConfig<V: Verbs> {
    pub(crate) device: Arc<DeviceState<V>>,
    /// Of this shard, at most.
    pub(crate) connections_max: usize,
    pub(crate) shard: u16,
    /// A client of which nothing was heard for so long is asked whether it is there.
    pub(crate) keepalive: Option<Duration>,
    /// And is gone when it does not answer for so long.
    pub(crate) answer_timeout: Duration,
    pub(crate) stats: Arc<WorkerStats>,
}

/// A transport of sockets, some of whose connections have queue pairs.
pub(crate) struct Rdma<T, V: Verbs> {
    sockets: T,
    config: RdmaConfig<V>,
    /// Connections first: they hold what is the hub's.
    conns: Places<Conn<V>>,
    hub: Option<Hub<V>>,
    /// Which state of the device the hub is of.
    generation: u64,
    /// Those that the next turn goes on with.
    touched: Vec<ConnId>,
    /// Those that are closed when the client has what it was sent.
    finishing: Vec<ConnId>,
    /// Looks at the queue.
    looks: u64,
    /// Reported at the next turn, which does not wait.
    pending: Vec<Event>,
    /// Reported with whatever comes next.
    with_next: Vec<Event>,
    /// What the sockets' transport reports; empty between turns.
    reported: Vec<Event>,
    skips: u32,
    looked_at: Instant,
}

impl<T: Transport, V: Verbs> Rdma<T, V> {
    pub(crate) fn new(sockets: T, config: RdmaConfig<V>) -> Rdma<T, V> {
        Rdma {
            sockets,
            config,
            conns: Places::default(),
            hub: None,
            generation: 0,
            touched: Vec::new(),
            finishing: Vec::new(),
            looks: 0,
            pending: Vec::new(),
            with_next: Vec::new(),
            reported: Vec::new(),
            skips: 0,
            looked_at: Instant::now(),
        }
    }

    /// Ends a connection that cannot go on. That a client is gone that was to be closed is no failure.
    fn fail(&mut self, conn: ConnId, broken: Broken) {
        if self.conns.find(conn).is_some_and(|it| it.phase.goes_on()) {
            self.config.stats.pair_broken(broken);
        }
        self.shut(conn);
    }

    /// Has the next turn go on with a connection.
    fn touch(&mut self, conn: ConnId) {
        if let Some(it) = self.conns.find(conn)
            && !it.touched
        {
            it.touched = true;
            self.touched.push(conn);
        }
    }
}

impl<T: Transport, V: Verbs> Transport for Rdma<T, V> {
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.turn_with_pairs(wait, events)
    }

    fn may_have_news(&mut self) -> bool {
        !self.pending.is_empty()
            || !self.touched.is_empty()
            || self.hub.as_mut().is_some_and(Hub::has_completions)
            || self.sockets.may_have_news()
    }

    fn received(&self, buffer: BufferId, len: u32) -> &[u8] {
        match &self.hub {
            Some(hub) if receives::is_own(buffer) => hub.memory.bytes(buffer, len),
            _ => self.sockets.received(buffer, len),
        }
    }

    fn recycle(&mut self, buffer: BufferId) {
        match receives::is_own(buffer) {
            true => self.recycle_own(receives::number(buffer)),
            false => self.sockets.recycle(buffer),
        }
    }

    fn receive_into(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room> {
        match self.conns.has(conn) {
            true => self.give_room(conn, room),
            false => self.sockets.receive_into(conn, room, last),
        }
    }

    fn recall(&mut self, conn: ConnId) {
        match self.conns.find(conn) {
            Some(it) => {
                let room = it.room.take();
                self.pending.extend(room.map(|room| Event::Filled { conn, room, len: 0 }));
            }
            None => self.sockets.recall(conn),
        }
    }

    fn send(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        match self.conns.find(conn) {
            Some(it) if it.phase != Phase::Answering => self.send_by_pair(conn, pieces, notice),
            Some(it) => {
                it.phase = Phase::Open;
                self.sockets.send(conn, pieces, notice);
            }
            None => self.sockets.send(conn, pieces, notice),
        }
    }

    fn taken(&self, conn: ConnId) -> u64 {
        match self.conns.look(conn) {
            Some(it) => it.progress,
            None => self.sockets.taken(conn),
        }
    }

    fn pause(&mut self, conn: ConnId) {
        match self.conns.find(conn) {
            // Its socket is read all the same: that tells of its end.
            Some(it) => {
                it.reading = false;
                let room = it.room.take();
                self.pending.extend(room.map(|room| Event::Filled { conn, room, len: 0 }));
            }
            None => self.sockets.pause(conn),
        }
    }

    fn resume(&mut self, conn: ConnId) {
        match self.conns.find(conn) {
            Some(it) => {
                it.reading = true;
                self.touch(conn);
            }
            None => self.sockets.resume(conn),
        }
    }

    fn ration(&mut self, conn: ConnId) {
        // Its credits ration it.
        if !self.conns.has(conn) {
            self.sockets.ration(conn);
        }
    }

    fn set_receive_window(&mut self, bytes: usize) {
        self.sockets.set_receive_window(bytes);
    }

    fn close(&mut self, conn: ConnId) {
        match self.conns.has(conn) {
            true => self.finish(conn),
            false => self.sockets.close(conn),
        }
    }

    fn refuse(&mut self, conn: ConnId, words: &[u8]) {
        self.sockets.refuse(conn, words);
    }

    fn attach(&mut self, conn: ConnId, answer: &[u8], reads: bool) -> Result<usize, NotAttached> {
        match self.conns.has(conn) {
            true => Err(NotAttached::Already),
            false => self.sockets.attach(conn, answer, reads),
        }
    }

    fn pair(&mut self, conn: ConnId, client: &PairEnd) -> Result<(PairEnd, usize), NotPaired> {
        self.make_pair(conn, client)
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.sockets.watch(descriptor)
    }

    fn unwatch(&mut self) {
        self.sockets.unwatch();
    }

    fn socket(&self, conn: ConnId) -> Option<BorrowedFd<'_>> {
        self.sockets.socket(conn)
    }

    fn stop_accepting(&mut self) {
        self.sockets.stop_accepting();
    }

    fn addresses(&self, conn: ConnId) -> (String, String) {
        self.sockets.addresses(conn)
    }

    fn waker(&self) -> Arc<dyn Waker> {
        self.sockets.waker()
    }

    fn name(&self) -> &'static str {
        self.sockets.name()
    }
}
