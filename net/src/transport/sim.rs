//! The simulated transport: bytes between simulated clients and a worker, under a seed, in one thread.
//!
//! ```text
//!   client --write--> [to_server] --fragments, delays--> Received --> worker
//!   client <--read--- [to_client: a window] <--partial sends--- Pieces
//! ```
//!
//! Each turn decides by the seed what happens to each link: nothing (delay), a fragment of any length, a part of
//! a send, a reset. Nothing is lost or reordered within a link, as over TCP. A client that does not read
//! fills its window, and sends to it stand still.

use super::{BufferId, ConnId, Event, GENERATIONS, Notice, Pieces, Transport, Waker};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A small generator: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }
}

/// How unkind the network is, in percent of the turns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub delay: u32,
    /// A delivery or a send is cut short.
    pub fragment: u32,
    pub reset: u32,
}

/// How often a wait ends though nothing happened.
const WAIT_ENDS_PERCENT: u32 = 10;
const HEALED_WINDOW_BYTES: usize = 64 << 10;

/// Names a link between a client and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkId(usize);

#[derive(Debug, Default)]
struct Link {
    shard: u16,
    listener: u16,
    conn: Option<ConnId>,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// The client will write no more.
    ended: bool,
    end_reported: bool,
    /// Gone on both sides.
    dead: bool,
    paused: bool,
    sending: Option<(Pieces, Notice)>,
    sent: usize,
}

/// All links of a simulated server.
#[derive(Debug)]
pub struct Network {
    random: Random,
    faults: Faults,
    /// Bytes that a client's side takes before the client reads them.
    window_bytes: usize,
    links: Vec<Link>,
}

impl Network {
    pub fn new(seed: u64, faults: Faults, window_bytes: usize) -> Rc<RefCell<Network>> {
        let network = Network { random: Random::new(seed), faults, window_bytes, links: Vec::new() };
        Rc::new(RefCell::new(network))
    }

    /// No faults any more, and wide windows.
    pub fn heal(&mut self) {
        self.faults = Faults::default();
        self.window_bytes = self.window_bytes.max(HEALED_WINDOW_BYTES);
    }

    /// A client comes to a shard's listener.
    pub fn connect(&mut self, shard: u16, listener: u16) -> LinkId {
        self.links.push(Link { shard, listener, ..Link::default() });
        LinkId(self.links.len() - 1)
    }

    pub fn write(&mut self, link: LinkId, bytes: &[u8]) {
        self.links[link.0].to_server.extend(bytes);
    }

    /// Takes at most `max` of the bytes that have come for the client.
    pub fn read(&mut self, link: LinkId, max: usize) -> Vec<u8> {
        let to_client = &mut self.links[link.0].to_client;
        let count = to_client.len().min(max);
        to_client.drain(..count).collect()
    }

    /// The client closes its sending side.
    pub fn end(&mut self, link: LinkId) {
        self.links[link.0].ended = true;
    }

    /// Nothing more will come for the client.
    pub fn is_dead(&self, link: LinkId) -> bool {
        self.links[link.0].dead
    }
}

/// The simulated transport of one shard.
#[derive(Debug)]
pub struct Sim {
    network: Rc<RefCell<Network>>,
    shard: u16,
    /// By place: the link of the connection there, and its generation.
    places: Vec<(Option<usize>, u32)>,
    buffers: Vec<Vec<u8>>,
    free: Vec<u16>,
    buffer_bytes: usize,
    accepting: bool,
    pending: Vec<Event>,
    /// Sends that are reported with the next event.
    with_next: Vec<Event>,
}

impl Sim {
    pub fn new(network: Rc<RefCell<Network>>, shard: u16, buffers: u16, buffer_bytes: usize) -> Sim {
        Sim {
            network,
            shard,
            places: Vec::new(),
            buffers: vec![Vec::new(); buffers as usize],
            free: (0..buffers).collect(),
            buffer_bytes,
            accepting: true,
            pending: Vec::new(),
            with_next: Vec::new(),
        }
    }

    fn link_of(&self, conn: ConnId) -> Option<usize> {
        let (link, generation) = *self.places.get(conn.index as usize)?;
        link.filter(|_| generation == conn.generation)
    }

    fn accept(&mut self, number: usize, link: &mut Link, events: &mut Vec<Event>) {
        let index = self.places.iter().position(|(link, _)| link.is_none()).unwrap_or_else(|| {
            self.places.push((None, 0));
            self.places.len() - 1
        });
        self.places[index].0 = Some(number);
        let conn = ConnId { index: index as u32, generation: self.places[index].1 };
        link.conn = Some(conn);
        events.push(Event::Accepted { conn, listener: link.listener });
    }

    fn deliver(
        &mut self,
        conn: ConnId,
        link: &mut Link,
        cut: bool,
        random: &mut Random,
        events: &mut Vec<Event>,
    ) {
        if link.paused {
            return;
        }
        if link.to_server.is_empty() {
            if link.ended && !link.end_reported {
                link.end_reported = true;
                events.push(Event::Ended { conn });
            }
            return;
        }
        let Some(buffer) = self.free.pop() else { return };
        let mut count = link.to_server.len().min(self.buffer_bytes);
        if cut {
            count = 1 + random.below(count);
        }
        self.buffers[buffer as usize] = link.to_server.drain(..count).collect();
        events.push(Event::Received { conn, buffer: BufferId(buffer), len: count as u32 });
    }

    fn progress_send(
        &mut self,
        conn: ConnId,
        link: &mut Link,
        window_bytes: usize,
        cut: bool,
        random: &mut Random,
        events: &mut Vec<Event>,
    ) {
        let Some((pieces, notice)) = &link.sending else { return };
        let rest = pieces.bytes() - link.sent;
        let mut count = rest.min(window_bytes.saturating_sub(link.to_client.len()));
        if cut && count > 0 {
            count = 1 + random.below(count);
        }
        let mut left = count;
        for rest in pieces.rest(link.sent) {
            let taken = rest.len().min(left);
            link.to_client.extend(rest.slice(0..taken).to_vec());
            left -= taken;
        }
        link.sent += count;
        if link.sent == pieces.bytes() {
            let events = if *notice == Notice::Soon { events } else { &mut self.with_next };
            events.extend(link.sending.take().map(|(pieces, _)| Event::Sent { conn, pieces }));
        }
    }

    fn kill(&mut self, conn: ConnId, link: &mut Link, events: &mut Vec<Event>) {
        link.dead = true;
        link.to_server.clear();
        let place = &mut self.places[conn.index as usize];
        *place = (None, (place.1 + 1) % GENERATIONS);
        let pieces = link.sending.take().map(|(pieces, _)| pieces).unwrap_or_default();
        events.push(Event::Closed { conn, pieces });
    }
}

impl Transport for Sim {
    fn turn(&mut self, _: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        events.append(&mut self.pending);
        let network = self.network.clone();
        let Network { random, faults, window_bytes, links } = &mut *network.borrow_mut();
        let start = random.below(links.len());
        for step in 0..links.len() {
            let number = (start + step) % links.len();
            let link = &mut links[number];
            if link.shard != self.shard || link.dead || random.chance(faults.delay) {
                continue;
            }
            let Some(conn) = link.conn else {
                if self.accepting {
                    self.accept(number, link, events);
                }
                continue;
            };
            if random.chance(faults.reset) {
                self.kill(conn, link, events);
                continue;
            }
            let cut = random.chance(faults.fragment);
            self.progress_send(conn, link, *window_bytes, cut, random, events);
            self.deliver(conn, link, cut, random, events);
        }
        if !events.is_empty() || random.chance(WAIT_ENDS_PERCENT) {
            // Ahead of a `Closed` of the same connection.
            events.splice(0..0, self.with_next.drain(..));
        }
        Ok(())
    }

    fn received(&self, buffer: BufferId, len: u32) -> &[u8] {
        &self.buffers[buffer.0 as usize][..len as usize]
    }

    fn recycle(&mut self, buffer: BufferId) {
        self.free.push(buffer.0);
    }

    fn send(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        let Some(link) = self.link_of(conn) else { return self.pending.push(Event::Sent { conn, pieces }) };
        let link = &mut self.network.borrow_mut().links[link];
        assert!(link.sending.is_none(), "one send of a connection at a time");
        link.sending = Some((pieces, notice));
        link.sent = 0;
    }

    fn taken(&self, conn: ConnId) -> u64 {
        self.link_of(conn).map(|link| self.network.borrow().links[link].sent as u64).unwrap_or_default()
    }

    fn pause(&mut self, conn: ConnId) {
        if let Some(link) = self.link_of(conn) {
            self.network.borrow_mut().links[link].paused = true;
        }
    }

    fn resume(&mut self, conn: ConnId) {
        if let Some(link) = self.link_of(conn) {
            self.network.borrow_mut().links[link].paused = false;
        }
    }

    fn close(&mut self, conn: ConnId) {
        let Some(link) = self.link_of(conn) else { return };
        let network = self.network.clone();
        let mut events = std::mem::take(&mut self.pending);
        self.kill(conn, &mut network.borrow_mut().links[link], &mut events);
        self.pending = events;
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
    }

    fn addresses(&self, conn: ConnId) -> (String, String) {
        (format!("client:{}", conn.index), format!("shard:{}", self.shard))
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::new(NoSleep)
    }

    fn name(&self) -> &'static str {
        "sim"
    }
}

/// Simulated workers never sleep.
struct NoSleep;

impl Waker for NoSleep {
    fn wake(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Piece;

    #[test]
    fn one_seed_is_one_course_of_events() {
        let run = |seed| {
            let network = Network::new(seed, Faults { delay: 30, fragment: 50, reset: 1 }, 100);
            let mut sim = Sim::new(network.clone(), 0, 4, 64);
            let link = network.borrow_mut().connect(0, 0);
            network.borrow_mut().write(link, &[7; 500]);
            let mut course = Vec::new();
            for _ in 0..100 {
                let mut events = Vec::new();
                sim.turn(None, &mut events).unwrap();
                for event in events {
                    course.push(format!("{event:?}"));
                    if let Event::Received { buffer, .. } = event {
                        sim.recycle(buffer);
                    }
                }
            }
            course
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_window_that_is_full_stops_a_send() {
        let network = Network::new(3, Faults::default(), 100);
        let mut sim = Sim::new(network.clone(), 0, 4, 64);
        let link = network.borrow_mut().connect(0, 0);
        let mut events = Vec::new();
        sim.turn(None, &mut events).unwrap();
        let Event::Accepted { conn, .. } = events[0] else { panic!("{:?}", events[0]) };
        sim.send(conn, Piece::Bytes(vec![1; 150]).into(), Notice::Soon);
        events.clear();
        (0..5).for_each(|_| sim.turn(None, &mut events).unwrap());
        assert!(events.is_empty());
        assert_eq!(network.borrow_mut().read(link, 1000).len(), 100);
        sim.turn(None, &mut events).unwrap();
        assert!(matches!(events[0], Event::Sent { .. }));
        assert_eq!(network.borrow_mut().read(link, 1000).len(), 50);
    }
}
