//! Whole servers in one thread under a seed: the same worker, sessions and shards as in production, over a
//! simulated transport and clock, with simulated clients whose every answer is checked.
//!
//! The seed draws the server (shards, limits, buffers), the network's unkindness and the clients. First comes
//! safety: with delays, fragments, resets and slow readers nothing wrong may be answered. Then liveness: the
//! network heals, and every client must get every answer within a bounded number of steps. Then the drain.
//!
//! A failing seed is printed; `TORC_SIM_SEED=n cargo test -p torc-net simulation` replays it, and
//! `TORC_SIM_RUNS=n` runs so many more.

mod client;
mod model;

use crate::clock::{Clock, Wall};
use crate::metrics::WorkerStats;
use crate::server::Shared;
use crate::session::Limits;
use crate::transport::Transport;
use crate::transport::sim::{Faults, Network, Random, Sim};
use crate::worker::mail::Mail;
use crate::worker::{Bug, Core, CoreParts, ListenerKind, Settings, Worker};
use client::Client;
use model::Model;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use torc_engine::command::Millis;
use torc_engine::slots::SlotMap;
use torc_engine::{Shard, ShardConfig};

#[derive(Debug, Clone)]
struct SimClock(Rc<Cell<Millis>>);

impl Clock for SimClock {
    fn nanos(&self) -> u64 {
        self.0.get() * 1_000_000
    }

    fn millis_at(&self, nanos: u64) -> Millis {
        nanos / 1_000_000
    }
}

const START: Millis = 1_700_000_000_000;
/// Steps with faults, at most.
const FAULT_STEPS: u32 = 20_000;
/// Steps in which a healed network must bring every answer.
const HEAL_STEPS: u32 = 20_000;
const DRAIN_STEPS: u32 = 2_000;

struct Simulation {
    random: Random,
    network: Rc<RefCell<Network>>,
    clock: Rc<Cell<Millis>>,
    shared: Arc<Shared>,
    workers: Vec<Worker<Sim, SimClock>>,
    clients: Vec<Client>,
    model: Model,
}

impl Simulation {
    fn new(seed: u64, bug: Bug) -> Simulation {
        let mut random = Random::new(seed);
        let shards = 1 + random.below(4) as u16;
        let reset = if random.chance(50) { 1 } else { 0 };
        let faults = Faults { delay: random.below(60) as u32, fragment: random.below(80) as u32, reset };
        let network = Network::new(random.number(), faults, 200 + random.below(20_000));
        let clock = Rc::new(Cell::new(START));
        let shared = Arc::new(shared(shards));
        let settings = settings(&mut random);
        let (buffers, buffer_bytes) = (1 + random.below(16) as u16, 64 + random.below(8000));
        let mut stats = Vec::new();
        let mut workers = Vec::new();
        for (number, mut mail) in Mail::among(shards).into_iter().enumerate() {
            let number = number as u16;
            let transport = Sim::new(network.clone(), number, buffers, buffer_bytes);
            mail.connect(&vec![transport.waker(); shards as usize]);
            let shard = Shard::new(ShardConfig {
                shard: number,
                segment_bytes: 64 << 10,
                seed: random.number(),
                now: START,
                ..ShardConfig::new(16 << 20)
            });
            let shard = shard.expect("16 MiB are enough for a shard");
            stats.push(shard.stats().clone());
            let (shared, settings) = (shared.clone(), settings.clone());
            let mut core = Core::new(CoreParts { shard, mail, shared, number, settings, now: START });
            core.put_in(bug);
            workers.push(Worker::new(transport, SimClock(clock.clone()), core));
        }
        let _ = shared.shard_stats.set(stats);
        let commands = 20 + random.below(300);
        let clients = (0..1 + random.below(8)).map(|number| Client::new(number, commands, &mut random));
        let clients = clients.collect();
        Simulation { random, network, clock, shared, workers, clients, model: Model::default() }
    }

    /// # Errors
    /// What went wrong, in words.
    fn run(mut self) -> Result<u64, String> {
        for _ in 0..FAULT_STEPS {
            if self.clients.iter().all(|client| client.left == 0) {
                break;
            }
            self.step()?;
        }
        self.network.borrow_mut().heal();
        self.clients.iter_mut().for_each(Client::read_fast);
        let mut steps = 0;
        while self.clients.iter().any(|client| !client.is_done()) {
            steps += 1;
            if steps > HEAL_STEPS {
                let waiting: Vec<&Client> = self.clients.iter().filter(|client| !client.is_done()).collect();
                return Err(format!("answers never came: {waiting:?}"));
            }
            self.step()?;
        }
        self.drain()?;
        Ok(self.shared.worker_stats.iter().map(|stats| stats.requests_total()).sum())
    }

    fn step(&mut self) -> Result<(), String> {
        if self.random.chance(30) {
            self.clock.set(self.clock.get() + self.random.number() % 20);
        }
        let now = self.clock.get();
        let shards = self.workers.len() as u16;
        for client in &mut self.clients {
            let network = &mut self.network.borrow_mut();
            client.step(network, &mut self.model, &mut self.random, shards, now)?;
        }
        for worker in &mut self.workers {
            // A shard may be late by some turns.
            if self.random.chance(80) {
                turn(worker)?;
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        self.shared.draining.store(true, Relaxed);
        for _ in 0..DRAIN_STEPS {
            for worker in &mut self.workers {
                turn(worker)?;
            }
            if self.workers.iter().all(|worker| worker.is_over()) {
                let left: usize = self.shared.connections.load(Relaxed);
                return if left == 0 { Ok(()) } else { Err(format!("{left} connections are left")) };
            }
        }
        Err("the drain never ends".into())
    }
}

fn turn(worker: &mut Worker<Sim, SimClock>) -> Result<(), String> {
    worker.patience();
    worker.turn(Duration::ZERO).map_err(|error| error.to_string())
}

fn settings(random: &mut Random) -> Settings {
    Settings {
        limits: Limits {
            key_bytes_max: 250,
            value_bytes_max: 1 << 20,
            value_bytes_inline: 64 + random.below(4000),
            frame_bytes_max: 64 << 10,
            arguments_max: 1000,
        },
        listeners: vec![ListenerKind { protocol: None, shard_port: false }],
        connections_max: 100,
        output_bytes_max: 100 + random.below(50_000),
        queue_parts_max: 1 + random.below(100),
        input_bytes_max: 256 << 10,
        idle_ms_max: 0,
        slow_ms_max: 0,
        request_ms_max: 0,
        drain_ms_max: 1000,
        outcomes_bytes_max: 1 << 20,
    }
}

pub(crate) fn shared(shards: u16) -> Shared {
    let worker_stats = (0..shards).map(|_| Arc::<WorkerStats>::default()).collect();
    Shared {
        slots: SlotMap::even(shards),
        wall: Arc::new(Wall::new(START * 1_000_000)),
        boot_id: 1,
        transport: "sim",
        announce_host: "sim".into(),
        ports: vec![1; shards as usize],
        worker_stats,
        shard_stats: OnceLock::new(),
        memory_bytes: 0,
        connections_max: 100,
        value_bytes_max: 1 << 20,
        baseline: Mutex::default(),
        connections: 0.into(),
        draining: false.into(),
        drained: 0.into(),
    }
}

/// Seeds that every test run tries.
const SEEDS: std::ops::Range<u64> = 0..60;

fn run(seed: u64, bug: Bug) -> Result<u64, String> {
    Simulation::new(seed, bug).run()
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_seed_shows_a_wrong_or_missing_answer() {
    let seeds: Vec<u64> = match (number_from("TORC_SIM_SEED"), number_from("TORC_SIM_RUNS")) {
        (Some(seed), runs) => (seed..seed + runs.unwrap_or(1)).collect(),
        (None, runs) => (SEEDS.start..runs.unwrap_or(SEEDS.end)).collect(),
    };
    let mut requests = 0;
    for seed in seeds {
        match run(seed, Bug::None) {
            Ok(count) => requests += count,
            Err(wrong) => {
                panic!("seed {seed}: {wrong}\nreplay: TORC_SIM_SEED={seed} cargo test -p torc-net simulation")
            }
        }
    }
    assert!(requests > 0, "nothing was asked");
}

#[test]
fn one_seed_is_one_run() {
    assert_eq!(run(7, Bug::None), run(7, Bug::None));
}

/// The checker is checked: each bug must show within the usual seeds.
#[test]
fn bugs_put_in_on_purpose_are_caught() {
    for bug in [Bug::LostAnswer, Bug::SwappedAnswers, Bug::MissedExpiry, Bug::LostSlice] {
        let caught = SEEDS.map(|seed| run(seed, bug)).find_map(Result::err);
        let wrong = caught.unwrap_or_else(|| panic!("{bug:?} was not caught by any seed"));
        eprintln!("{bug:?}: {}", wrong.chars().take(200).collect::<String>());
    }
}
