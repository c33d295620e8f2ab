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
//! The simulation turns a worker that sleeps when [`Sim::wakes`] says so, or when its wait is over.

use super::window::Window;
use super::{BufferId, ConnId, Event, GENERATIONS, Notice, Pieces, Transport, Waker};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;
use torc_engine::segments::Room;

/// A small generator: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// True in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }
}

/// How unkind the network is, in percent of the turns.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) delay: u32,
    /// A delivery or a send is cut short.
    pub(crate) fragment: u32,
    /// Resets, in a thousand turns.
    pub(crate) reset_permille: u32,
}

const HEALED_WINDOW_BYTES: usize = 64 << 10;

/// Names a link between a client and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(usize);

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
    /// The network broke it, not the server.
    reset: bool,
    paused: bool,
    /// Where the next bytes go, if not to a buffer.
    room: Option<Room>,
    /// What is behind the room may come together with it.
    last: bool,
    /// The room is asked back.
    recalled: bool,
    sending: Option<(Pieces, Notice)>,
    sent: usize,
    /// Bytes that came to the server, or on their way to the client.
    moved: u64,
}

impl Link {
    /// A send that is not done at once is reported as soon as it is done, as the kernel does.
    fn expect_notice(&mut self) {
        self.sending.iter_mut().for_each(|(_, notice)| *notice = Notice::Soon);
    }
}

/// All links of a simulated server.
#[derive(Debug)]
pub(crate) struct Network {
    random: Random,
    faults: Faults,
    /// Bytes that a client's side takes before the client reads them.
    window_bytes: usize,
    links: Vec<Link>,
    /// Those that are not dead, and do not rest.
    alive: Vec<usize>,
    healed: bool,
}

impl Network {
    pub(crate) fn new(seed: u64, faults: Faults, window_bytes: usize) -> Rc<RefCell<Network>> {
        let random = Random::new(seed);
        let (links, alive) = (Vec::new(), Vec::new());
        Rc::new(RefCell::new(Network { random, faults, window_bytes, links, alive, healed: false }))
    }

    /// No faults any more, and wide windows.
    pub(crate) fn heal(&mut self) {
        self.healed = true;
        self.faults = Faults::default();
        self.window_bytes = self.window_bytes.max(HEALED_WINDOW_BYTES);
    }

    /// A client comes to a shard's listener.
    pub(crate) fn connect(&mut self, shard: u16, listener: u16) -> LinkId {
        self.alive.push(self.links.len());
        self.links.push(Link { shard, listener, ..Link::default() });
        LinkId(self.links.len() - 1)
    }

    /// Lets a link and all that came after it rest: nothing happens to them, so a crowd of silent clients takes no time.
    pub(crate) fn rest_from(&mut self, first: LinkId) {
        self.alive.retain(|&number| number < first.0);
    }

    /// A link that rests goes on.
    pub(crate) fn stir(&mut self, link: LinkId) {
        self.alive.push(link.0);
    }

    pub(crate) fn write(&mut self, link: LinkId, bytes: &[u8]) {
        self.links[link.0].to_server.extend(bytes);
    }

    /// Takes at most `max` of the bytes that have come for the client.
    pub(crate) fn read(&mut self, link: LinkId, max: usize) -> Vec<u8> {
        let link = &mut self.links[link.0];
        let count = link.to_client.len().min(max);
        link.moved += count as u64;
        link.to_client.drain(..count).collect()
    }

    /// The client closes its sending side.
    pub(crate) fn end(&mut self, link: LinkId) {
        self.links[link.0].ended = true;
    }

    /// Whether the network broke the link, not the server.
    pub(crate) fn was_reset(&self, link: LinkId) -> bool {
        self.links[link.0].reset
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.healed
    }

    /// Grows with every byte that goes on, in either direction.
    pub(crate) fn moved(&self, link: LinkId) -> u64 {
        self.links[link.0].moved
    }

    /// Where a link stands, in words.
    pub(crate) fn describe(&self, link: LinkId) -> String {
        let Link { shard, conn, to_server, to_client, paused, sending, sent, .. } = &self.links[link.0];
        let (to_server, to_client) = (to_server.len(), to_client.len());
        let sending = sending.as_ref().map(|(pieces, notice)| (pieces.bytes(), *notice));
        format!(
            "{conn:?} of shard {shard}, {to_server} bytes on the way to it and {to_client} from it, paused: {paused}, \
             sending {sending:?}, {sent} sent"
        )
    }

    /// Nothing more will come for the client.
    pub(crate) fn is_dead(&self, link: LinkId) -> bool {
        let link = &self.links[link.0];
        link.dead && (link.reset || link.to_client.is_empty())
    }
}

/// The simulated transport of one shard.
#[derive(Debug)]
pub(crate) struct Sim {
    network: Rc<RefCell<Network>>,
    shard: u16,
    /// By place: the link of the connection there, and its generation.
    places: Vec<(Option<usize>, u32)>,
    /// No place before this one is free.
    free_from: usize,
    buffers: Vec<Vec<u8>>,
    free: Vec<u16>,
    buffer_bytes: usize,
    window: Window,
    accepting: bool,
    pending: Vec<Event>,
    /// Sends that are reported with the next event.
    with_next: Vec<Event>,
    waker: Arc<SimWaker>,
    /// Room that was given back and is written all the same, start and length; `None`: there is none.
    late: Option<Vec<(*mut u8, usize)>>,
}

impl Sim {
    pub(crate) fn new(network: Rc<RefCell<Network>>, shard: u16, buffers: u16, buffer_bytes: usize) -> Sim {
        Sim {
            network,
            shard,
            places: Vec::new(),
            free_from: 0,
            buffers: vec![Vec::new(); buffers as usize],
            free: (0..buffers).collect(),
            buffer_bytes,
            window: Window::open(buffer_bytes),
            accepting: true,
            pending: Vec::new(),
            with_next: Vec::new(),
            waker: Arc::default(),
            late: None,
        }
    }

    /// Whether a worker that sleeps in [`Transport::turn`] would be awake now.
    pub(crate) fn wakes(&mut self) -> bool {
        self.progress();
        !self.pending.is_empty() || self.waker.woken.load(Relaxed) || self.has_starved()
    }

    /// Whether a link waits for the next window: a worker does not sleep then.
    fn has_starved(&self) -> bool {
        let network = self.network.borrow();
        let waits = |&number: &usize| {
            let link = &network.links[number];
            link.shard == self.shard && link.conn.is_some() && !link.paused && !link.to_server.is_empty()
        };
        self.window.count == 0 && network.alive.iter().any(waits)
    }

    /// Receive buffers that the worker has.
    pub(crate) fn buffers_held(&self) -> usize {
        self.buffers.len() - self.free.len()
    }

    /// Loses one in `every` wake-ups of this transport from here on.
    pub(crate) fn lose_wakeups(&mut self, every: u32) {
        self.waker = Arc::new(SimWaker { lost_every: every, ..SimWaker::default() });
    }

    /// From now on, room that is asked back, or whose link is gone, is written after it was given back.
    pub(crate) fn give_room_back_early(&mut self) {
        self.late = Some(Vec::new());
    }

    /// Gives room back that nothing came to.
    fn give_back(&mut self, conn: ConnId, room: Room, events: &mut Vec<Event>) {
        // What the kernel was about to write it may write until then.
        scribble(&room);
        self.late.iter_mut().for_each(|late| late.push((room.as_mut_ptr(), room.len())));
        events.push(Event::Filled { conn, room, len: 0 });
    }

    fn write_late(&self) {
        for &(start, len) in self.late.iter().flatten() {
            // SAFETY: it lies in the arena of a shard that is still served, and all of the simulation is one thread. That
            // somebody else's bytes are there is the bug that is to be caught.
            unsafe { std::ptr::write_bytes(start, SCRIBBLE, len) };
        }
    }

    /// Lets every link of this shard go on, or not, as the seed says.
    fn progress(&mut self) {
        let mut events = std::mem::take(&mut self.pending);
        let network = self.network.clone();
        let Network { random, faults, window_bytes, links, alive, .. } = &mut *network.borrow_mut();
        alive.retain(|&number| !links[number].dead);
        // Starts with another link each time: there may be one buffer for all links.
        let start = random.below(alive.len());
        for step in 0..alive.len() {
            let number = alive[(start + step) % alive.len()];
            let link = &mut links[number];
            if link.shard != self.shard {
                continue;
            }
            // The kernel may write it at any time.
            link.room.iter().for_each(scribble);
            if random.chance(faults.delay) {
                link.expect_notice();
                continue;
            }
            let Some(conn) = link.conn else {
                if self.accepting {
                    self.accept(number, link, &mut events);
                }
                continue;
            };
            if random.below(1000) < faults.reset_permille as usize {
                link.reset = true;
                self.kill(conn, link, &mut events);
                continue;
            }
            let cut = random.chance(faults.fragment);
            self.progress_send(conn, link, *window_bytes, cut, random, &mut events);
            self.deliver(conn, link, cut, random, &mut events);
        }
        self.pending = events;
    }

    fn link_of(&self, conn: ConnId) -> Option<usize> {
        let (link, generation) = *self.places.get(conn.index as usize)?;
        link.filter(|_| generation == conn.generation)
    }

    fn accept(&mut self, number: usize, link: &mut Link, events: &mut Vec<Event>) {
        let free = self.places[self.free_from..].iter().position(|(link, _)| link.is_none());
        let index = free.map_or(self.places.len(), |ahead| self.free_from + ahead);
        if index == self.places.len() {
            self.places.push((None, 0));
        }
        self.free_from = index + 1;
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
        if let Some(room) = link.room.take_if(|_| link.recalled) {
            self.give_back(conn, room, events);
        }
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
        if let Some(room) = link.room.take() {
            let count = fragment(link.to_server.len().min(room.len()), cut, random);
            link.moved += count as u64;
            let bytes: Vec<u8> = link.to_server.drain(..count).collect();
            fill(&room, &bytes);
            let whole = count == room.len();
            events.push(Event::Filled { conn, room, len: count as u32 });
            if !whole || !link.last || link.to_server.is_empty() {
                return;
            }
        }
        if self.free.is_empty() || !self.window.take() {
            return;
        }
        let Some(buffer) = self.free.pop() else { return };
        let count = fragment(link.to_server.len().min(self.window.piece), cut, random);
        link.moved += count as u64;
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
        link.moved += count as u64;
        link.sent += count;
        if link.sent == pieces.bytes() {
            let events = if *notice == Notice::Soon { events } else { &mut self.with_next };
            events.extend(link.sending.take().map(|(pieces, _)| Event::Sent { conn, pieces }));
        } else {
            link.expect_notice();
        }
    }

    fn kill(&mut self, conn: ConnId, link: &mut Link, events: &mut Vec<Event>) {
        if let Some(room) = link.room.take() {
            self.give_back(conn, room, events);
        }
        link.dead = true;
        link.to_server.clear();
        let place = &mut self.places[conn.index as usize];
        *place = (None, (place.1 + 1) % GENERATIONS);
        self.free_from = self.free_from.min(conn.index as usize);
        let pieces = link.sending.take().map(|(pieces, _)| pieces).unwrap_or_default();
        events.push(Event::Closed { conn, pieces });
    }
}

/// How much of `count` bytes comes at once.
fn fragment(count: usize, cut: bool, random: &mut Random) -> usize {
    if cut { 1 + random.below(count) } else { count }
}

/// Writes to all of the room, as the kernel may as long as it has it.
fn scribble(room: &Room) {
    fill(room, &vec![SCRIBBLE; room.len()]);
}

/// A byte that no client sends in a value, so a read of it shows.
const SCRIBBLE: u8 = 0xDB;

fn fill(room: &Room, bytes: &[u8]) {
    assert!(bytes.len() <= room.len(), "the network keeps to the room");
    // SAFETY: the room is writable for its length until it is given back, and nobody else writes it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr(), bytes.len()) };
}

impl Transport for Sim {
    fn turn(&mut self, _: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.write_late();
        self.progress();
        if self.waker.woken.swap(false, Relaxed) {
            self.pending.push(Event::Woken);
        }
        // Before a `Closed` of the same connection.
        events.append(&mut self.with_next);
        events.append(&mut self.pending);
        Ok(())
    }

    fn received(&self, buffer: BufferId, len: u32) -> &[u8] {
        &self.buffers[buffer.0 as usize][..len as usize]
    }

    fn set_receive_window(&mut self, bytes: usize) {
        self.window = Window::of(bytes, self.buffer_bytes, self.buffers.len());
    }

    fn recycle(&mut self, buffer: BufferId) {
        self.free.push(buffer.0);
    }

    fn receive_into(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room> {
        let Some(link) = self.link_of(conn) else { return Err(room) };
        let link = &mut self.network.borrow_mut().links[link];
        if link.paused || link.end_reported || link.room.is_some() {
            return Err(room);
        }
        link.room = Some(room);
        link.last = last;
        link.recalled = false;
        Ok(())
    }

    fn recall(&mut self, conn: ConnId) {
        if let Some(link) = self.link_of(conn) {
            self.network.borrow_mut().links[link].recalled = true;
        }
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
            let link = &mut self.network.borrow_mut().links[link];
            (link.paused, link.recalled) = (true, true);
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
        self.waker.clone()
    }

    fn name(&self) -> &'static str {
        "sim"
    }
}

/// Remembers that somebody woke the worker.
#[derive(Debug, Default)]
struct SimWaker {
    woken: AtomicBool,
    calls: AtomicU32,
    /// One in so many calls is lost; 0: none.
    lost_every: u32,
}

impl Waker for SimWaker {
    // Relaxed: everything simulated is one thread.
    fn wake(&self) {
        let call = self.calls.fetch_add(1, Relaxed) + 1;
        if self.lost_every == 0 || !call.is_multiple_of(self.lost_every) {
            self.woken.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Piece;

    #[test]
    fn one_seed_is_one_course_of_events() {
        let run = |seed| {
            let network = Network::new(seed, Faults { delay: 30, fragment: 50, reset_permille: 10 }, 100);
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
