//! A crowd of clients that ask for nothing, beside a few that do: what they cost, and what stays of them.
//!
//! The worker is a real one; the links of the crowd [rest](Network::rest_from), so the simulated network takes no time for them.

use super::budget::{Budget, BudgetConfig, Pressure};
use super::connection::{CONNECTION_BYTES, Connection};
use super::overdue::{SWEEP_MS, SWEEP_PLACES};
use super::testing::{NOW, resp, state_of};
use super::{TICK, Worker};
use crate::simulation::SimClock;
use crate::transport::sim::{Faults, LinkId, Network, Sim};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use torc_engine::command::Millis;

const IDLE: usize = 100_000;
const ACTIVE: usize = 10;
/// Clients that come or go in one turn.
const CAME_AT_ONCE: usize = 1000;
/// Enough for the requests of all active clients.
const CLIENT_BYTES_MIN: u64 = 1 << 20;
/// What an idle client may be charged with at most, bytes, and what of that is not its [`Connection`].
const IDLE_BYTES_MAX: usize = 2 << 10;
const BESIDE_BYTES_MAX: usize = 512;
/// Rounds that are timed: in turn so many with a crowd and so many without.
const TIMED: usize = 20;
const TIMED_ROUNDS: usize = 100;
/// A round beside the crowd may take so many times as long. Its work is the same to a look; this is for what counts no looks.
const TIMES_MAX: u32 = 3;
/// Looks at a connection for which a sweep comes by: one at its place, one to take it.
const SWEEP_LOOKS: u64 = 2;

struct Crowd {
    worker: Worker<Sim, SimClock>,
    network: Rc<RefCell<Network>>,
    clock: Rc<Cell<Millis>>,
    active: Vec<LinkId>,
    idle: Vec<LinkId>,
}

impl Crowd {
    /// A shard with its active clients, whose memory for clients is enough for so many idle ones, and for no more if they are many.
    fn new(idle: usize) -> Crowd {
        let mut state = state_of(1);
        let clients = (2 * ((idle + ACTIVE) * CONNECTION_BYTES) as u64).max(CLIENT_BYTES_MIN);
        state.settings.budget =
            BudgetConfig { memory: 4 * clients, clients, floor: clients / 2, ..state.settings.budget };
        state.budget = Budget::new(state.settings.budget);
        state.shared.tunables.set_connections_max(2 * (idle + ACTIVE));
        let network = Network::new(1, Faults::default(), 1000);
        let clock = Rc::new(Cell::new(NOW));
        let transport = Sim::new(network.clone(), 0, 2 * ACTIVE as u16, 1000);
        let worker = Worker::new(transport, SimClock(clock.clone()), state);
        let active = (0..ACTIVE).map(|_| network.borrow_mut().connect(0, 0)).collect();
        let mut crowd = Crowd { worker, network, clock, active, idle: Vec::new() };
        crowd.turn();
        let set = resp(&["SET", "key", "value"]);
        assert_eq!(crowd.ask(crowd.active[0], &set), b"+OK\r\n");
        crowd.asked(TIMED_ROUNDS);
        crowd
    }

    fn turn(&mut self) {
        self.worker.turn(Duration::ZERO).expect("the network is there");
    }

    fn ask(&mut self, link: LinkId, request: &[u8]) -> Vec<u8> {
        self.network.borrow_mut().write(link, request);
        (0..3).for_each(|_| self.turn());
        self.network.borrow_mut().read(link, 1000)
    }

    /// All active clients ask and are answered, so many times. Returns the looks at connections that this took.
    fn asked(&mut self, rounds: usize) -> u64 {
        let get = resp(&["GET", "key"]);
        let before = self.worker.state().connections.looks();
        for _ in 0..rounds {
            self.active.iter().for_each(|&link| self.network.borrow_mut().write(link, &get));
            (0..2).for_each(|_| self.turn());
            for &link in &self.active {
                assert_eq!(self.network.borrow_mut().read(link, 1000), b"$5\r\nvalue\r\n");
            }
        }
        self.worker.state().connections.looks() - before
    }

    fn come(&mut self, count: usize) {
        for _ in 0..count.div_ceil(CAME_AT_ONCE) {
            let first = self.idle.len();
            let come = CAME_AT_ONCE.min(count - first);
            self.idle.extend((0..come).map(|_| self.network.borrow_mut().connect(0, 0)));
            (0..2).for_each(|_| self.turn());
            self.network.borrow_mut().rest_from(self.idle[first]);
        }
    }

    /// The crowd closes its side, and then what was active.
    fn go(&mut self) {
        let idle = std::mem::take(&mut self.idle);
        for links in idle.chunks(CAME_AT_ONCE).chain([&*std::mem::take(&mut self.active)]) {
            for &link in links {
                let mut network = self.network.borrow_mut();
                network.end(link);
                if link >= idle.first().copied().unwrap_or(link) {
                    network.stir(link);
                }
            }
            (0..3).for_each(|_| self.turn());
            assert!(links.iter().all(|&link| self.network.borrow().is_dead(link)));
        }
    }

    /// Connections by every account that there is.
    fn counts(&mut self) -> [usize; 3] {
        let state = self.worker.state();
        // Relaxed: one thread.
        let shared = state.shared.connections.load(Relaxed);
        [state.connections.len(), state.stats.connections.read() as usize, shared]
    }

    fn charged(&mut self) -> usize {
        self.worker.state().charged()
    }
}

/// Lets the crowd come. Returns what each of it is charged with, bytes.
fn costs_of_crowd(crowd: &mut Crowd) -> usize {
    let before = crowd.charged();
    crowd.come(IDLE);
    assert_eq!(crowd.counts(), [IDLE + ACTIVE; 3]);
    crowd.worker.state().budget_is_kept(0).expect("everybody is charged for what he holds");
    assert_eq!(crowd.worker.state().budget.pressure(), Pressure::None);
    let charged = crowd.charged() - before;
    let each = charged / IDLE;
    assert_eq!(each * IDLE, charged, "all of them hold the same");
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes an idle client");
    let own = size_of::<Connection>();
    assert!(
        (own..=own + BESIDE_BYTES_MAX).contains(&each),
        "{each} bytes, of which {own} are its connection"
    );
    each
}

/// One more client is refused, and one of the crowd is still served.
fn last_place_is_taken(crowd: &mut Crowd) {
    let one_more = crowd.network.borrow_mut().connect(0, 0);
    (0..3).for_each(|_| crowd.turn());
    assert!(crowd.network.borrow().is_dead(one_more), "memory for clients allows no more");
    assert_eq!(crowd.counts(), [IDLE + ACTIVE; 3]);
    let one = crowd.idle.pop().expect("there is a crowd");
    crowd.network.borrow_mut().stir(one);
    assert_eq!(crowd.ask(one, &resp(&["GET", "key"])), b"$5\r\nvalue\r\n");
    crowd.network.borrow_mut().end(one);
    (0..3).for_each(|_| crowd.turn());
    assert_eq!(crowd.counts(), [IDLE + ACTIVE - 1; 3]);
}

/// A tick with nobody's request: the worker sleeps until then, and looks at its share of the crowd. Returns how long that takes.
fn idle_tick(crowd: &mut Crowd) -> Duration {
    (0..10).for_each(|_| crowd.turn());
    let mut least = Duration::MAX;
    for _ in 0..10 {
        assert_eq!(crowd.worker.patience(), TICK, "idle clients keep no worker awake");
        crowd.clock.set(crowd.clock.get() + SWEEP_MS);
        let looks = crowd.worker.state().connections.looks();
        let began = Instant::now();
        crowd.turn();
        least = least.min(began.elapsed());
        let looks = crowd.worker.state().connections.looks() - looks;
        assert_eq!(looks, SWEEP_LOOKS * SWEEP_PLACES.min(crowd.worker.state().connections.places()) as u64);
    }
    least
}

/// While clients hold three quarters of what they may, all of them are looked over once a second for those that hold most, some of them each
/// turn. Returns how long a round takes meanwhile, at most.
fn look_over_all(crowd: &mut Crowd) -> Duration {
    let (charged, state) = (crowd.charged(), crowd.worker.state());
    let grant = std::mem::replace(&mut state.budget.grant, charged / 4 * 5);
    assert_eq!(state.budget.pressure(), Pressure::Short);
    let places = state.connections.places() as u64;
    // Two turns, and a sweep may come by.
    let looks_max = 5 * SWEEP_PLACES as u64;
    let (mut looked, mut took) = (0, Duration::ZERO);
    while looked < places {
        let began = Instant::now();
        let looks = crowd.asked(1);
        took = took.max(began.elapsed());
        assert!((SWEEP_PLACES as u64..looks_max).contains(&looks) || looked + looks >= places, "{looks}");
        looked += looks;
    }
    let looks = crowd.asked(TIMED_ROUNDS);
    let state = crowd.worker.state();
    state.budget.grant = grant;
    assert!(looks < state.connections.places() as u64, "not again in the same second");
    took
}

/// Times rounds with a crowd and without, in turn; sorted.
fn timed(crowds: &mut [Crowd; 2]) -> [Vec<Duration>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..TIMED {
        for (crowd, times) in crowds.iter_mut().zip(&mut times) {
            for _ in 0..TIMED_ROUNDS {
                let began = Instant::now();
                crowd.asked(1);
                times.push(began.elapsed());
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    times
}

#[test]
fn clients_that_ask_for_nothing_cost_their_memory_and_no_time() {
    let mut crowds = [Crowd::new(IDLE), Crowd::new(0)];
    let each = costs_of_crowd(&mut crowds[0]);
    last_place_is_taken(&mut crowds[0]);
    let [beside, alone] = crowds.each_mut().map(|crowd| crowd.asked(TIMED_ROUNDS));
    assert_eq!(beside, alone, "looks at connections in {TIMED_ROUNDS} rounds, beside a crowd and alone");
    let ticks = crowds.each_mut().map(idle_tick);
    let over_all = look_over_all(&mut crowds[0]);
    let times = timed(&mut crowds);
    let [median, p99] =
        [50, 99].map(|percent| times.each_ref().map(|times| times[times.len() * percent / 100]));
    eprintln!(
        "{IDLE} idle clients: {each} bytes each, {} of them its connection; {} looks a round of {ACTIVE} requests; \
         a round takes {:?} at the median and {:?} in the 99th percentile, without them {:?} and {:?}; an idle tick {:?} and {:?}; \
         while memory is short, {over_all:?} a second",
        size_of::<Connection>(),
        beside / TIMED_ROUNDS as u64,
        median[0],
        p99[0],
        median[1],
        p99[1],
        ticks[0],
        ticks[1],
    );
    assert!(median[0] <= median[1] * TIMES_MAX, "idle clients are worked for in every turn");
    for crowd in &mut crowds {
        crowd.go();
        assert_eq!((crowd.counts(), crowd.charged()), ([0; 3], 0));
        crowd.worker.state().left_over().expect("nothing stays of who is gone");
    }
}
