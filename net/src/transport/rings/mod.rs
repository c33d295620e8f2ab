//! Rings in shared memory, beside the sockets of another transport: one more way for a connection's bytes.
//!
//! ```text
//!   attach   a connection over a Unix socket gets a pair of rings; its socket carries bells alone from here on
//!   turn     bells for those who sleep and were told something --> look at the rings that are hot: Received, Sent
//!            --> nothing? tell all of them that this shard sleeps, full fence, look again --> the sockets' turn
//! ```
//!
//! What a client does with its memory or its socket, nothing here waits for it: bytes are copied out before they are parsed,
//! positions are checked (`torc_shm::End`), bells go by the sockets' transport, one of a connection at a time, and answers for which
//! there is no room wait as those for a full socket do.
//!
//! A ring is *hot* while something comes: each turn looks at it, which costs a load. After [`ring::COLD_TURNS`] turns without anything it
//! is told to sleep, and looked at when its client rings. A bell that was heard is a byte received on the socket.
//!
//! While rings bring work and the sockets' transport knows that it has none, its turn, and with it the only system call of the loop,
//! is left out, [`turn::SKIPS_MAX`] times in a row at most.
//! Before it sleeps on clients that are awake, a shard looks on for a moment ([`linger`]).

mod attach;
mod bells;
mod buffers;
#[cfg(test)]
mod fault;
mod linger;
mod peer;
mod ring;
mod table;
#[cfg(test)]
pub(super) mod tests;
mod turn;

pub(crate) use attach::RingsConfig;
pub(crate) use buffers::{BUFFER_BYTES, BUFFERS};
pub(crate) use turn::SKIPS_MAX;

use super::{BufferId, ConnId, Event, NotAttached, Notice, Pieces, Transport, Waker};
use bells::Bells;
use buffers::Buffers;
use linger::Linger;
use ring::Ring;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use torc_engine::segments::Room;
use torc_shm::Broken;

/// A transport of sockets, some of whose connections have rings.
pub(crate) struct Rings<T> {
    sockets: T,
    config: RingsConfig,
    table: Table,
    bells: Bells,
    linger: Linger,
    buffers: Buffers,
    /// Reported at the next turn, which does not wait.
    pending: Vec<Event>,
    /// Reported with whatever comes next.
    with_next: Vec<Event>,
    /// What the sockets' transport reports; empty between turns.
    reported: Vec<Event>,
    skips: u32,
}

impl<T: Transport> Rings<T> {
    pub(crate) fn new(sockets: T, config: RingsConfig) -> Rings<T> {
        Rings {
            sockets,
            table: Table::default(),
            bells: Bells::new(config.stats.clone()),
            config,
            linger: Linger::default(),
            buffers: Buffers::new(),
            pending: Vec::new(),
            with_next: Vec::new(),
            reported: Vec::new(),
            skips: 0,
        }
    }

    /// Ends a connection whose memory says what cannot be.
    fn fail(&mut self, conn: ConnId, broken: Broken) {
        self.config.stats.ring_broken(broken);
        self.close(conn);
    }

    /// Forgets a connection whose socket is gone; what was being sent to it comes back.
    fn remove(&mut self, conn: ConnId) -> Pieces {
        let Some(ring) = self.table.remove(conn) else { return Pieces::default() };
        self.config.stats.rings.subtract(1);
        self.config.stats.ring_bytes.subtract(ring.end.bytes_mapped() as u64);
        self.config.stats.rings_hot.set(self.table.hot_count() as u64);
        self.config.stats.rings_reading.subtract(u64::from(ring.reads_shards));
        ring.sending
    }
}

impl<T: Transport> Transport for Rings<T> {
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.turn_with_rings(wait, events)
    }

    fn may_have_news(&mut self) -> bool {
        self.bells.ring(&mut self.table, &mut self.sockets);
        !self.pending.is_empty() || self.table.has_news() || self.sockets.may_have_news()
    }

    fn received(&self, buffer: BufferId, len: u32) -> &[u8] {
        match Buffers::is_own(buffer) {
            true => self.buffers.bytes(buffer, len),
            false => self.sockets.received(buffer, len),
        }
    }

    fn recycle(&mut self, buffer: BufferId) {
        match Buffers::is_own(buffer) {
            true => self.buffers.recycle(buffer),
            false => self.sockets.recycle(buffer),
        }
    }

    fn receive_into(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room> {
        match self.table.look(conn) {
            Some(_) => Err(room),
            None => self.sockets.receive_into(conn, room, last),
        }
    }

    fn recall(&mut self, conn: ConnId) {
        if !self.table.has(conn) {
            self.sockets.recall(conn);
        }
    }

    fn send(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        let Some(ring) = self.table.find(conn) else { return self.sockets.send(conn, pieces, notice) };
        if ring.closing {
            return self.pending.push(Event::Sent { conn, pieces });
        }
        assert!(ring.sending.is_empty(), "one send of a connection at a time");
        ring.sending = pieces;
        ring.sent = 0;
        if let Err(broken) = ring.write_on() {
            return self.fail(conn, broken);
        }
        self.bells.note(ring);
        if ring.has_sent_all() {
            let sent = Event::Sent { conn, pieces: std::mem::take(&mut ring.sending) };
            match notice {
                Notice::Soon => self.pending.push(sent),
                Notice::WithNext => self.with_next.push(sent),
            }
        } else {
            self.table.heat(conn);
        }
    }

    fn taken(&self, conn: ConnId) -> u64 {
        match self.table.look(conn) {
            Some(ring) => ring.end.taken_there(),
            None => self.sockets.taken(conn),
        }
    }

    fn pause(&mut self, conn: ConnId) {
        match self.table.find(conn) {
            // Its socket is read all the same: that tells of its end.
            Some(ring) => ring.reading = false,
            None => self.sockets.pause(conn),
        }
    }

    fn resume(&mut self, conn: ConnId) {
        match self.table.find(conn) {
            Some(ring) => {
                ring.reading = true;
                self.table.heat(conn);
            }
            None => self.sockets.resume(conn),
        }
    }

    fn ration(&mut self, conn: ConnId) {
        // A ring is read in small pieces anyway.
        if !self.table.has(conn) {
            self.sockets.ration(conn);
        }
    }

    fn set_receive_window(&mut self, bytes: usize) {
        self.buffers.set_window(bytes);
        self.sockets.set_receive_window(bytes);
    }

    fn close(&mut self, conn: ConnId) {
        self.table.find(conn).into_iter().for_each(|ring| ring.closing = true);
        self.sockets.close(conn);
    }

    fn refuse(&mut self, conn: ConnId, words: &[u8]) {
        self.sockets.refuse(conn, words);
    }

    fn attach(&mut self, conn: ConnId, answer: &[u8], reads: bool) -> Result<usize, NotAttached> {
        if self.table.has(conn) {
            return Err(NotAttached::Already);
        }
        let socket = self.sockets.socket(conn).ok_or(NotAttached::NotLocal)?;
        let (end, reads_shards) = self.config.pass(socket, answer, reads)?;
        let bytes = end.bytes_mapped();
        self.table.insert(Ring::new(conn, end, reads_shards));
        self.config.stats.rings.add(1);
        self.config.stats.rings_reading.add(u64::from(reads_shards));
        self.config.stats.ring_bytes.add(bytes as u64);
        Ok(bytes)
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
