//! A shard and its clients on a [`Stage`]: the transport and [`Connected`] as they serve, interrupted at every step of either side.
//!
//! What goes through the rings is checked byte by byte; a wake-up that is lost ends a play in which everybody sleeps.

use super::super::fault::{self, Fault};
use super::stage::Stage;
use super::stepped::{SteppedSockets, is_readable};
use super::*;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of a run without a fault, and seeds within which each fault must show.
const SEEDS: u64 = 400;
const FAULT_SEEDS: u64 = 400;
/// A client that asks for little at a time asks so often at most.
const ASKS_MAX: usize = 60;
/// Bytes that wait at the server for a client from which on it is not read.
const BEHIND_MAX: usize = 3 * RING;

/// Byte of a client's stream at a position; the server answers each with its complement.
fn byte(client: usize, at: usize) -> u8 {
    (at * 7 + at / 256 + client * 31) as u8
}

struct Client {
    me: usize,
    rings: Connected,
    stage: Arc<Stage>,
    random: Random,
    turns: Arc<AtomicU64>,
    total: usize,
    sent: usize,
    received: usize,
    /// Bytes that may be without an answer.
    window: usize,
    /// It asks as long as it can, and rarely takes answers before.
    lazy: bool,
}

impl Client {
    /// Asks and takes, sleeps when there is nothing to do, and leaves when all is answered.
    fn play(mut self) {
        while self.received < self.total {
            let takes = !self.lazy || self.random.chance(10);
            let moved = (takes && self.take()) | self.ask() || self.take();
            if self.random.chance(5) {
                self.think();
            }
            if !moved {
                let blocked = self.sent - self.received < self.window && self.sent < self.total;
                if self.rings.may_sleep(blocked).unwrap() {
                    let socket = self.rings.socket.as_raw_fd();
                    self.stage.sleep(self.me, move || is_readable(socket));
                }
            }
            if !moved || self.random.chance(30) {
                self.rings.hear_bells().unwrap();
            }
        }
    }

    fn take(&mut self) -> bool {
        if self.random.chance(50) {
            self.rings.end.wake();
        }
        let mut bytes = Vec::new();
        let max = 1 + self.random.below(2 * RING);
        let count = self.rings.read_some(max, &mut bytes).unwrap();
        if count > 0 {
            self.rings.end.wake();
        }
        self.rings.wake_server();
        for byte_received in bytes {
            assert_eq!(byte_received, !byte(self.me, self.received), "at {}", self.received);
            self.received += 1;
        }
        count > 0
    }

    fn ask(&mut self) -> bool {
        let may = (self.window - (self.sent - self.received)).min(self.total - self.sent);
        let count = may.min(1 + self.random.below(RING / 2));
        let bytes: Vec<u8> = (self.sent..self.sent + count).map(|at| byte(self.me, at)).collect();
        let written = self.rings.write_some(&bytes).unwrap();
        self.rings.wake_server();
        self.sent += written;
        written > 0
    }

    /// Lets the shard turn: a few times, or about as often as it takes for its ring to get cold.
    fn think(&mut self) {
        let count = if self.random.chance(50) { 4 } else { u64::from(COLD_TURNS) - 2 };
        let turns = self.turns.clone();
        let until = turns.load(Ordering::Relaxed) + count + self.random.below(6) as u64;
        self.stage.think(self.me, move || turns.load(Ordering::Relaxed) >= until);
    }
}

/// What the server has of a client.
#[derive(Default)]
struct Served {
    received: usize,
    behind: Vec<u8>,
    /// It asks for so much, and is answered only behind so many bytes, as one who sends a long value is.
    total: usize,
    hoard: usize,
    sending: bool,
    paused: bool,
    closed: bool,
}

struct Echo {
    rings: Rings<SteppedSockets>,
    random: Random,
    conns: Vec<ConnId>,
    clients: Vec<Served>,
    /// Turns without waiting after one that brought something.
    spins: u32,
}

impl Echo {
    fn play(&mut self) {
        let (mut events, mut idle) = (Vec::new(), 0);
        while !self.clients.iter().all(|client| client.closed) {
            let wait = if idle < self.spins { Some(Duration::ZERO) } else { None };
            self.rings.turn(wait, &mut events).unwrap();
            idle = if events.is_empty() { idle + 1 } else { 0 };
            events.drain(..).for_each(|event| self.take(event));
            (0..self.clients.len()).for_each(|number| self.answer(number));
        }
    }

    fn take(&mut self, event: Event) {
        let number = |conn: ConnId| self.conns.iter().position(|&known| known == conn).unwrap();
        match event {
            Event::Received { conn, buffer, len } => {
                let number = number(conn);
                let client = &mut self.clients[number];
                assert!(!client.paused, "it is not to be read");
                for &got in self.rings.received(buffer, len) {
                    assert_eq!(got, byte(number + 1, client.received), "at {}", client.received);
                    client.behind.push(!got);
                    client.received += 1;
                }
                self.rings.recycle(buffer);
            }
            Event::Sent { conn, .. } => {
                let number = number(conn);
                assert!(std::mem::take(&mut self.clients[number].sending));
            }
            Event::Closed { conn, .. } => {
                let number = number(conn);
                self.clients[number].closed = true;
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, number: usize) {
        let (conn, client) = (self.conns[number], &mut self.clients[number]);
        if client.closed {
            return;
        }
        let is_whole = client.received == client.total || client.behind.len() >= client.hoard;
        if !client.sending && !client.behind.is_empty() && is_whole {
            let mut pieces = Pieces::default();
            let count = client.behind.len().min(1 + self.random.below(2 * RING));
            let rest = client.behind.split_off(count);
            let sent = std::mem::replace(&mut client.behind, rest);
            sent.chunks(1 + self.random.below(RING)).take(PIECES_MAX).for_each(|bytes| {
                pieces.push(Piece::Bytes(bytes.to_vec()));
            });
            let behind = sent[pieces.bytes()..].iter().copied();
            client.behind.splice(0..0, behind);
            // What follows waits for the end of this.
            let is_last = client.behind.is_empty();
            let notice = if is_last && self.random.chance(70) { Notice::WithNext } else { Notice::Soon };
            client.sending = true;
            self.rings.send(conn, pieces, notice);
        }
        let pause = client.behind.len() > if client.paused { BEHIND_MAX / 2 } else { BEHIND_MAX };
        if pause != std::mem::replace(&mut client.paused, pause) {
            if pause { self.rings.pause(conn) } else { self.rings.resume(conn) }
        }
    }
}

/// A play; the number of its steps, or what went wrong.
fn run(seed: u64, fault: Option<Fault>) -> Result<u64, String> {
    let mut random = Random::new(seed);
    let (path, listener) = listen();
    let sockets = SteppedSockets::new(listener, seed);
    let turns = sockets.turns.clone();
    let mut rings = Rings::new(sockets, config());
    let count = 1 + random.below(3);
    let stage = Stage::new(seed, 1 + count);
    let (mut conns, mut clients) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let (conn, connected) = attached(&mut rings, &path);
        conns.push(conn);
        let seed = random.number();
        // Bytes that may be without an answer: one, as many as a ring holds, more.
        let window = [1, 40, RING, 6 * RING, 6 * RING][random.below(5)];
        clients.push(Client {
            me: number,
            rings: connected,
            stage: stage.clone(),
            random: Random::new(seed),
            turns: turns.clone(),
            total: 1 + random.below((ASKS_MAX * window).min(8 * RING)),
            sent: 0,
            received: 0,
            window,
            lazy: random.chance(50),
        });
    }
    std::fs::remove_file(path).unwrap();
    rings.sockets.enter(stage.clone(), 0);
    let stats = rings.config.stats.clone();
    let spins = [0, 0, 3, COLD_TURNS + 10][random.below(4)];
    let served = |client: &Client| {
        let hoard = if client.window > BEHIND_MAX && random.chance(50) { RING } else { 0 };
        Served { total: client.total, hoard, ..Served::default() }
    };
    let clients_served = clients.iter().map(served).collect();
    let mut echo = Echo { rings, random, conns, clients: clients_served, spins };
    std::thread::scope(|scope| {
        for client in clients {
            let stage = stage.clone();
            scope.spawn(move || stage.play(client.me, || client.play()));
        }
        fault::put_in(fault);
        stage.play(0, || echo.play());
        fault::put_in(None);
    });
    let steps = stage.outcome()?;
    assert_eq!((stats.rings.read(), stats.ring_bytes.read(), stats.rings_broken()), (0, 0, 0));
    Ok(steps)
}

#[test]
fn no_seed_loses_a_wake_up_or_a_byte() {
    let steps: u64 =
        (0..SEEDS).map(|seed| run(seed, None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"))).sum();
    eprintln!("{SEEDS} seeds, {steps} steps");
}

#[test]
fn one_seed_is_one_play() {
    for seed in 0..20 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
}

/// The checker is checked.
#[test]
fn each_step_that_is_left_out_is_missed() {
    for fault in Fault::ALL {
        let missed = (0..FAULT_SEEDS).filter(|&seed| run(seed, Some(fault)).is_err()).count();
        eprintln!("{fault:?}: {missed} of {FAULT_SEEDS} seeds");
        assert!(missed > 0, "{fault:?}");
    }
}
