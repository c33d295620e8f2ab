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
//! A ring is *hot* while something comes: each turn looks at it, which costs a load. After [`COLD_TURNS`] turns without anything it
//! is told to sleep, and looked at when its client rings. A bell that was heard is a byte received on the socket.
//!
//! While rings bring work and the sockets' transport knows that it has none, its turn, and with it the only system call of the loop,
//! is left out, [`SKIPS_MAX`] times in a row at most.

mod buffers;
mod peer;
mod ring;
#[cfg(test)]
mod tests;

pub(crate) use buffers::{BUFFER_BYTES, BUFFERS};

use super::sockets::EVENTS_MAX;
use super::{BufferId, ConnId, Event, NotAttached, Notice, Pieces, Transport, Waker};
use crate::metrics::WorkerStats;
use crate::readable::Readable;
use buffers::Buffers;
use ring::{COLD_TURNS, Ring};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use torc_engine::segments::Room;
use torc_shm::{Broken, Pair, full_fence, send_with_descriptors};

/// Turns of the sockets' transport that are left out in a row: what it has to do by the clock must not wait for ever.
const SKIPS_MAX: u32 = 32;
/// A client that rings so often at once is read in small pieces: one bell would do.
const BELLS_MANY: u32 = 256;

/// What rings are made of.
#[derive(Debug, Clone)]
pub(crate) struct RingsConfig {
    /// Length of the ring of each direction, bytes, a power of two.
    pub(crate) ring_bytes: usize,
    /// Who may attach.
    pub(crate) users: Vec<u32>,
    pub(crate) stats: Arc<WorkerStats>,
    /// What they may read.
    pub(crate) readable: Arc<Readable>,
}

/// A transport of sockets, some of whose connections have rings.
pub(crate) struct Rings<T> {
    sockets: T,
    config: RingsConfig,
    /// By place of the connection.
    rings: Vec<Option<Box<Ring>>>,
    count: usize,
    /// Those that each turn looks at, and with which of them the next turn begins.
    hot: Vec<ConnId>,
    first: usize,
    /// Those to whose clients something was told since bells were rung last.
    told: Vec<ConnId>,
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
            config,
            rings: Vec::new(),
            count: 0,
            hot: Vec::new(),
            first: 0,
            told: Vec::new(),
            buffers: Buffers::new(),
            pending: Vec::new(),
            with_next: Vec::new(),
            reported: Vec::new(),
            skips: 0,
        }
    }

    fn find(&mut self, conn: ConnId) -> Option<&mut Ring> {
        find(&mut self.rings, conn)
    }

    fn look(&self, conn: ConnId) -> Option<&Ring> {
        self.rings.get(conn.index as usize)?.as_deref().filter(|ring| ring.conn == conn)
    }

    /// Lets each turn look at a ring.
    fn heat(&mut self, conn: ConnId) {
        if let Some(ring) = find(&mut self.rings, conn) {
            ring.idle_turns = 0;
            if !ring.hot {
                ring.hot = true;
                self.hot.push(conn);
                self.config.stats.rings_hot.set(self.hot.len() as u64);
            }
        }
    }

    /// Rings for the clients that sleep over what they were told.
    fn ring_bells(&mut self) {
        if self.told.is_empty() {
            return;
        }
        full_fence();
        let mut told = std::mem::take(&mut self.told);
        for conn in told.drain(..) {
            let Some(ring) = self.find(conn) else { continue };
            ring.told = false;
            if !ring.closing && ring.end.must_ring() {
                self.ring_bell(conn);
            }
        }
        self.told = told;
    }

    /// One bell of a connection is on its way at a time: if the socket does not take it, it is full of bells that the client has
    /// not heard.
    fn ring_bell(&mut self, conn: ConnId) {
        let Some(ring) = find(&mut self.rings, conn) else { return };
        match ring.bell.take() {
            Some(bell) => {
                self.config.stats.bells_rung.add(1);
                self.sockets.send(conn, bell, Notice::WithNext);
            }
            None => ring.bell_owed = true,
        }
    }

    /// Looks at the rings that are hot.
    fn poll(&mut self, events: &mut Vec<Event>) {
        let (count, end) = (self.hot.len(), events.len() + EVENTS_MAX);
        let mut cooled = false;
        for step in 0..count {
            let conn = self.hot[(self.first + step) % count];
            cooled |= !self.poll_one(conn, events);
            if events.len() >= end {
                self.first = self.first.wrapping_add(step);
                break;
            }
        }
        self.first = self.first.wrapping_add(1);
        if cooled {
            let rings = &mut self.rings;
            self.hot.retain(|&conn| find(rings, conn).is_some_and(|ring| ring.hot));
            self.config.stats.rings_hot.set(self.hot.len() as u64);
        }
    }

    /// Looks at one ring; false: it is not hot any more.
    fn poll_one(&mut self, conn: ConnId, events: &mut Vec<Event>) -> bool {
        let Some(ring) = find(&mut self.rings, conn) else { return false };
        if ring.closing {
            ring.hot = false;
            return false;
        }
        match move_bytes(ring, &mut self.buffers, events) {
            Err(broken) => {
                self.fail(conn, broken);
                return true;
            }
            Ok(true) => {
                ring.idle_turns = 0;
                ring.end.wake();
                if !ring.told {
                    ring.told = true;
                    self.told.push(conn);
                }
            }
            Ok(false) => {
                ring.idle_turns += 1;
                if ring.idle_turns > COLD_TURNS {
                    ring.idle_turns = 0;
                    ring.announce_sleep();
                    full_fence();
                    ring.hot = ring.has_news();
                }
            }
        }
        ring.hot
    }

    /// Ends a connection whose memory says what cannot be.
    fn fail(&mut self, conn: ConnId, broken: Broken) {
        self.config.stats.ring_broken(broken);
        self.close(conn);
    }

    /// Tells the clients of all hot rings that this shard sleeps. False: something came from one of them, it must not.
    fn announce_sleep(&mut self) -> bool {
        if self.hot.is_empty() {
            return true;
        }
        let rings = &mut self.rings;
        self.hot.iter().filter_map(|&conn| find(rings, conn).map(Ring::announce_sleep)).for_each(drop);
        full_fence();
        !self.has_news()
    }

    fn has_news(&mut self) -> bool {
        let rings = &mut self.rings;
        self.hot.iter().any(|&conn| find(rings, conn).is_some_and(Ring::has_news))
    }

    /// Passes on what the sockets' transport has reported; what it says of a socket with rings means something else.
    fn pass_on(&mut self, events: &mut Vec<Event>) {
        let mut reported = std::mem::take(&mut self.reported);
        for event in reported.drain(..) {
            match event {
                Event::Received { conn, buffer, len } if self.look(conn).is_some() => {
                    self.sockets.recycle(buffer);
                    self.hear_bell(conn, len, events);
                }
                Event::Sent { conn, pieces } if self.look(conn).is_some() => self.bell_is_back(conn, pieces),
                // Its process is gone, or wants no answers any more.
                Event::Ended { conn } if self.look(conn).is_some() => self.close(conn),
                Event::Closed { conn, .. } if self.look(conn).is_some() => {
                    let pieces = self.remove(conn);
                    events.push(Event::Closed { conn, pieces });
                }
                event => events.push(event),
            }
        }
        self.reported = reported;
    }

    fn hear_bell(&mut self, conn: ConnId, bells: u32, events: &mut Vec<Event>) {
        self.config.stats.bells_heard.add(u64::from(bells));
        if bells >= BELLS_MANY {
            self.sockets.ration(conn);
        }
        // S5: its next sleep has another number.
        self.find(conn).into_iter().for_each(|ring| ring.end.wake());
        self.heat(conn);
        self.poll_one(conn, events);
    }

    fn bell_is_back(&mut self, conn: ConnId, bell: Pieces) {
        let Some(ring) = self.find(conn) else { return };
        ring.bell = Some(bell);
        if std::mem::take(&mut ring.bell_owed) && !ring.closing {
            self.ring_bell(conn);
        }
    }

    fn remove(&mut self, conn: ConnId) -> Pieces {
        let Some(place) = self.rings.get_mut(conn.index as usize) else { return Pieces::default() };
        let Some(ring) = place.take() else { return Pieces::default() };
        self.count -= 1;
        self.config.stats.rings.subtract(1);
        self.config.stats.ring_bytes.subtract(ring.end.bytes_mapped() as u64);
        self.hot.retain(|&hot| hot != conn);
        self.config.stats.rings_hot.set(self.hot.len() as u64);
        self.config.stats.rings_reading.subtract(u64::from(ring.reads_shards));
        ring.sending
    }
}

fn find(rings: &mut [Option<Box<Ring>>], conn: ConnId) -> Option<&mut Ring> {
    rings.get_mut(conn.index as usize)?.as_deref_mut().filter(|ring| ring.conn == conn)
}

/// Writes what waits for room, then takes what has come, a buffer at most. Says whether there was anything.
fn move_bytes(ring: &mut Ring, buffers: &mut Buffers, events: &mut Vec<Event>) -> Result<bool, Broken> {
    let conn = ring.conn;
    let mut moved = false;
    if !ring.sending.is_empty() {
        moved = ring.write_on()?;
        if ring.has_sent_all() {
            events.push(Event::Sent { conn, pieces: std::mem::take(&mut ring.sending) });
        }
    }
    if !ring.reading || ring.end.waiting()? == 0 {
        return Ok(moved);
    }
    // Without a buffer the bytes wait for the next turn.
    if let Some((buffer, bytes)) = buffers.take() {
        let len = ring.end.take(BUFFER_BYTES, bytes) as u32;
        events.push(Event::Received { conn, buffer, len });
    }
    Ok(true)
}

impl<T: Transport> Transport for Rings<T> {
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        if self.count == 0 && self.pending.is_empty() && self.with_next.is_empty() {
            return self.sockets.turn(wait, events);
        }
        events.append(&mut self.with_next);
        let before = events.len();
        events.append(&mut self.pending);
        self.poll(events);
        let mut found = events.len() > before;
        if !found && wait != Some(Duration::ZERO) && !self.announce_sleep() {
            self.poll(events);
            found = true;
        }
        // Behind the looks: they write what waited for room, of which nothing else tells.
        self.ring_bells();
        if found && self.skips < SKIPS_MAX && !self.sockets.may_have_news() {
            self.skips += 1;
            return Ok(());
        }
        self.skips = 0;
        let wait = if found { Some(Duration::ZERO) } else { wait };
        self.sockets.turn(wait, &mut self.reported)?;
        self.pass_on(events);
        Ok(())
    }

    fn may_have_news(&mut self) -> bool {
        self.ring_bells();
        !self.pending.is_empty() || self.has_news() || self.sockets.may_have_news()
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
        match self.look(conn) {
            Some(_) => Err(room),
            None => self.sockets.receive_into(conn, room, last),
        }
    }

    fn recall(&mut self, conn: ConnId) {
        if self.look(conn).is_none() {
            self.sockets.recall(conn);
        }
    }

    fn send(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        let Some(ring) = find(&mut self.rings, conn) else { return self.sockets.send(conn, pieces, notice) };
        if ring.closing {
            return self.pending.push(Event::Sent { conn, pieces });
        }
        assert!(ring.sending.is_empty(), "one send of a connection at a time");
        ring.sending = pieces;
        ring.sent = 0;
        if let Err(broken) = ring.write_on() {
            return self.fail(conn, broken);
        }
        if !ring.told {
            ring.told = true;
            self.told.push(conn);
        }
        if ring.has_sent_all() {
            let sent = Event::Sent { conn, pieces: std::mem::take(&mut ring.sending) };
            match notice {
                Notice::Soon => self.pending.push(sent),
                Notice::WithNext => self.with_next.push(sent),
            }
        } else {
            self.heat(conn);
        }
    }

    fn taken(&self, conn: ConnId) -> u64 {
        match self.look(conn) {
            Some(ring) => ring.end.taken_there(),
            None => self.sockets.taken(conn),
        }
    }

    fn pause(&mut self, conn: ConnId) {
        match find(&mut self.rings, conn) {
            // Its socket is read all the same: that tells of its end.
            Some(ring) => ring.reading = false,
            None => self.sockets.pause(conn),
        }
    }

    fn resume(&mut self, conn: ConnId) {
        match find(&mut self.rings, conn) {
            Some(ring) => {
                ring.reading = true;
                self.heat(conn);
            }
            None => self.sockets.resume(conn),
        }
    }

    fn ration(&mut self, conn: ConnId) {
        // A ring is read in small pieces anyway.
        if self.look(conn).is_none() {
            self.sockets.ration(conn);
        }
    }

    fn close(&mut self, conn: ConnId) {
        self.find(conn).into_iter().for_each(|ring| ring.closing = true);
        self.sockets.close(conn);
    }

    fn refuse(&mut self, conn: ConnId, words: &[u8]) {
        self.sockets.refuse(conn, words);
    }

    fn attach(&mut self, conn: ConnId, answer: &[u8], reads: bool) -> Result<usize, NotAttached> {
        if self.look(conn).is_some() {
            return Err(NotAttached::Already);
        }
        let socket = self.sockets.socket(conn).ok_or(NotAttached::NotLocal)?;
        match peer::user(socket) {
            Ok(Some(user)) if self.config.users.contains(&user) => {}
            Ok(Some(_)) => return Err(NotAttached::Forbidden),
            Ok(None) => return Err(NotAttached::NotLocal),
            Err(error) => return Err(NotAttached::Failed(error)),
        }
        let ring_bytes = self.config.ring_bytes;
        let pair = Pair::new(ring_bytes, ring_bytes).map_err(NotAttached::Failed)?;
        let readable = reads.then(|| self.config.readable.files()).into_iter().flatten();
        let files: Vec<BorrowedFd<'_>> = pair.files.iter().map(AsFd::as_fd).chain(readable).collect();
        let reads_shards = files.len() > pair.files.len();
        send_with_descriptors(socket, answer, &files).map_err(NotAttached::Broken)?;
        let bytes = pair.end.bytes_mapped();
        let index = conn.index as usize;
        if self.rings.len() <= index {
            self.rings.resize_with(index + 1, || None);
        }
        self.rings[index] = Some(Box::new(Ring::new(conn, pair.end, reads_shards)));
        self.count += 1;
        self.config.stats.rings.add(1);
        self.config.stats.rings_reading.add(u64::from(reads_shards));
        self.config.stats.ring_bytes.add(bytes as u64);
        self.heat(conn);
        Ok(bytes)
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
