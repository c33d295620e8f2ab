//! Whole servers in one thread under a seed: the same worker, sessions and shards as in production, over a
//! simulated transport and clock, with simulated clients whose every answer is checked.
//!
//! The seed draws the server (shards, memory, limits, buffers), the network's unkindness and the clients. First comes
//! safety: with delays, fragments, resets and slow readers nothing wrong may be answered. Then liveness: the
//! network heals, and every client must get every answer within a bounded number of steps. Then nothing may be left
//! of what clients asked: no pin, no upload, no waiting part; and every account must agree with a recount. Then the drain.
//!
//! Workers sleep: one that would wait in its transport is turned only when something came, when it is woken, or when
//! its wait is over by the simulated clock. An idle tick is far away there, so a wake-up that is lost shows.
//!
//! Some servers have a tier, on a simulated medium: see `tier.rs`. Its storage side takes its steps when the seed says so, and
//! servers stop or crash and begin anew over what the medium kept: see `restart.rs`.
//!
//! Some servers ask for a password: see `strangers.rs`.
//!
//! A failing seed is printed; `TORC_SIM_SEED=n cargo test -p torc-net simulation` replays it, and
//! `TORC_SIM_STEPS=n` goes on for so many steps, and `TORC_SIM_BUG=name` puts in that bug alone.

mod action;
mod client;
mod copies;
mod entry;
mod model;
mod own;
mod restart;
mod scripts;
mod sleeper;
mod speech;
mod strangers;
mod talk;
mod tests;
mod tier;
mod world;

use crate::clock::Wall;
use crate::databases::Databases;
use crate::metrics::WorkerStats;
use crate::scripts::Scripts;
use crate::shared::{Shared, Subscribers};
use crate::slots::SlotMap;
use crate::tier::{Durability, TierFigures};
use crate::transport::sim::{Faults, Network, Random, Sim};
use crate::transport::{Transport, Waker};
use crate::tunables::Tunables;
use crate::worker::mail::Mail;
use crate::worker::{Bug, Settings, Siblings, Tier as WorkerTier, Worker, WorkerParts, WorkerState};
use client::Client;
use copies::Copies;
use entry::Entries;
use model::Model;
pub(crate) use sleeper::SimClock;
use sleeper::Sleeper;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use strangers::Strangers;
use talk::Talk;
use tier::{Backing, Resting};
use torc_engine::Shard;
use torc_engine::command::Millis;
use torc_engine::reader::ShardReader;
use world::World;

const START: Millis = 1_700_000_000_000;
/// Steps with faults, at most.
const FAULT_STEPS: u64 = 20_000;
/// Steps in which a healed network must bring every answer: many, as all may have to go through few short buffers.
/// Clients check that something moves meanwhile.
const HEAL_STEPS: u64 = 1_000_000;
/// Steps after the last answer in which all that was done for clients must be gone.
const REST_STEPS: u64 = 2_000;
/// Steps after it in which a little tier has the room that it wants. It frees its oldest batches one by one, and what stays of
/// each takes a block or two, however little it is. That comes to an end, as at most half of the items stay.
const ROOM_STEPS: u64 = 100_000;
/// Steps after which all shards sleep: an index that grows moves one home a turn.
const SLEEP_STEPS: u64 = 5_000;
/// Steps of a drain, a millisecond each: fewer than it takes until a drain is cut short.
const DRAIN_STEPS: u64 = 900;
/// What no account knows of is another amount once in so many steps.
const BEYOND_STEPS: usize = 400;
/// Idle ticks in which memory is lent to the store again, and milliseconds before each. It is lent in one turn, and the
/// figures tell it in the next; a worker that spins as mail came in the first takes no turn in the second.
const LENT_AGAIN_TICKS: u32 = 3;
const LENT_AGAIN_MS: Millis = 2000;

/// What a run has come to.
#[derive(Debug, PartialEq, Eq)]
struct Took {
    steps: u64,
    /// Those that were answered.
    requests: u64,
    /// Snapshots of a tier's index that were written, and those that a start has read.
    snapshots: [u64; 2],
}

struct Simulation {
    random: Random,
    world: World,
    network: Rc<RefCell<Network>>,
    clock: Rc<Cell<Millis>>,
    bug: Bug,
    plan: Plan,
    shared: Arc<Shared>,
    workers: Vec<Sleeper>,
    wakers: Vec<Arc<dyn Waker>>,
    backing: Option<Backing>,
    clients: Vec<Client>,
    model: Model,
    talk: Talk,
    copies: Copies,
    strangers: Strangers,
    steps: u64,
    /// Requests that earlier servers answered.
    requests: u64,
    snapshots: [u64; 2],
}

/// What every server of a simulation is made from.
struct Plan {
    faults: Faults,
    buffers: u16,
    buffer_bytes: usize,
    window_bytes: usize,
    settings: Settings,
    hash_seed: u64,
}

impl Plan {
    /// Bytes of a shard's receive buffers.
    fn fixed(&self) -> u64 {
        u64::from(self.buffers) * self.buffer_bytes as u64
    }
}

impl Simulation {
    fn new(seed: u64, bug: Bug) -> Simulation {
        let mut random = Random::new(seed);
        let world = World::new(&mut random, seed);
        let reset_permille = [0, 0, 1, 10][random.below(4)];
        let faults =
            Faults { delay: random.below(60) as u32, fragment: random.below(80) as u32, reset_permille };
        let (buffers, buffer_bytes, window_bytes) = world.buffers(&mut random);
        let network = Network::new(random.number(), faults, window_bytes);
        let clock = Rc::new(Cell::new(START));
        let settings = world.settings(u64::from(buffers) * buffer_bytes as u64, &mut random);
        let drawn = random.number();
        let hash_seed = world.tier.as_ref().map_or(drawn, |tier| tier.config.hash_seed);
        let plan = Plan { faults, buffers, buffer_bytes, window_bytes, settings, hash_seed };
        let shared = Arc::new(of_world(&world));
        let model = Model::new(world.excuses(), world.tier.is_some());
        let talk = Talk::new(&world, seed);
        let copies = Copies::new(&world, seed);
        let strangers = Strangers::new(&world, seed);
        let clients = (0..world.clients).map(|number| Client::new(number, &world, &mut random)).collect();
        let (workers, wakers, backing) = (Vec::new(), Vec::new(), None);
        let (steps, requests, snapshots) = (0, 0, [0; 2]);
        let mut simulation = Simulation {
            random,
            world,
            network,
            clock,
            bug,
            plan,
            shared,
            workers,
            wakers,
            backing,
            clients,
            model,
            talk,
            copies,
            strangers,
            steps,
            requests,
            snapshots,
        };
        simulation.serve(None).expect("a server begins");
        simulation
    }

    /// Begins a server, over what a tier's medium has, if there is one.
    ///
    /// # Errors
    /// What is on the medium cannot be used.
    fn serve(&mut self, image: Option<Vec<u8>>) -> Result<(), String> {
        let Simulation { world, network, bug, random, .. } = self;
        let Plan { buffers, buffer_bytes, hash_seed, .. } = self.plan;
        let fixed = self.plan.fixed();
        let (now, clock) = (self.clock.get(), SimClock(self.clock.clone()));
        let shared = Arc::new(of_world(world));
        let mut transports: Vec<Sim> = (0..world.shards)
            .map(|number| Sim::new(network.clone(), number, buffers, buffer_bytes))
            .collect();
        match bug {
            Bug::NeverWoken => transports.iter_mut().for_each(|transport| transport.lose_wakeups(1)),
            Bug::EarlyRoom => transports.iter_mut().for_each(Sim::give_room_back_early),
            Bug::LostWakeup => transports.iter_mut().for_each(|transport| transport.lose_wakeups(100)),
            _ => {}
        }
        let wakers: Vec<Arc<dyn Waker>> = transports.iter().map(Transport::waker).collect();
        let store = |number| {
            Shard::new(world.store(number, fixed, hash_seed, now)).expect("a shard has memory enough")
        };
        let mut shards: Vec<Shard> = (0..world.shards).map(store).collect();
        let tier = world.tier.as_ref();
        let resting = tier.map(|tier| Resting::open(tier, image, random)).transpose()?;
        if let Some((resting, tier)) = resting.as_ref().zip(tier) {
            let recovers = resting.recovers(tier);
            shared.databases.begin(resting.spaces());
            (0..).zip(&mut shards).for_each(|(number, shard)| recovers.begin(shard, &shared, number));
            self.model.is_learning();
        }
        let stats = shards.iter().map(|shard| shard.stats().clone()).collect();
        let readers: Vec<ShardReader> = match world.reads_siblings {
            true => shards.iter().map(Shard::reader).collect(),
            false => Vec::new(),
        };
        let begun = resting
            .zip(tier)
            .map(|(resting, tier)| resting.begin(tier, &wakers, &clock, *bug))
            .transpose()?;
        let (backing, ports) = begun.map_or((None, Vec::new()), |(backing, ports)| (Some(backing), ports));
        backing.iter().for_each(|backing| _ = shared.tier.set(backing.figures.clone()));
        let mut ports = ports.into_iter();
        let mails = Mail::among(world.shards, world.mail_bytes());
        let mut workers = Vec::new();
        for (((number, mut mail), transport), mut shard) in (0..).zip(mails).zip(transports).zip(shards) {
            mail.connect(&wakers);
            let (shared, settings) = (shared.clone(), self.plan.settings.clone());
            let siblings = Siblings::new(readers.clone());
            if tier.is_some_and(|tier| tier.durability == Durability::None) {
                shard.only_demote();
            }
            let tier = ports.next().zip(tier).map(|(port, tier)| {
                Box::new(WorkerTier::new(port, tier.how(), world.memory_bytes, world.shards))
            });
            let parts =
                WorkerParts { shard, mail, siblings, shared, number, settings, now, tier, readers: None };
            let mut state = WorkerState::new(parts);
            state.put_in(*bug);
            let mut worker = Worker::new(transport, clock.clone(), state);
            worker.limit_turns(world.turn_parts);
            workers.push(Sleeper::new(worker));
        }
        let _ = shared.shard_stats.set(stats);
        (self.shared, self.workers, self.wakers, self.backing) = (shared, workers, wakers, backing);
        self.look_at_tier();
        Ok(())
    }

    /// Returns what came of it.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn run(mut self) -> Result<Took, String> {
        while self.steps < FAULT_STEPS && !self.clients.iter().all(Client::has_sent_all) {
            self.step()?;
            if let Some(incident) = self.world.next_incident(self.steps) {
                self.meet(incident)?;
            }
        }
        while let Some(incident) = self.world.next_incident(u64::MAX) {
            self.meet(incident)?;
        }
        self.network.borrow_mut().heal();
        self.clients.iter_mut().for_each(Client::read_fast);
        self.talk.read_fast();
        self.copies.read_fast();
        self.strangers.read_fast();
        self.until_all_are_done()?;
        self.clients.iter_mut().for_each(Client::stop_flooding);
        self.until_all_are_done()?;
        if self.world.lossy || self.world.tier.is_some() {
            self.look_last()?;
        }
        self.rest()?;
        self.passwords_are_counted()?;
        self.drain()?;
        self.count();
        Ok(Took { steps: self.steps, requests: self.requests, snapshots: self.snapshots })
    }

    /// Adds what this server has come to.
    fn count(&mut self) {
        self.requests += self.requests_here();
        let of = |figures: &Arc<TierFigures>| {
            [figures.snapshots.written.load(Relaxed), figures.snapshots_read.load(Relaxed)]
        };
        let here = self.shared.tier.get().map_or([0; 2], of);
        self.snapshots.iter_mut().zip(here).for_each(|(all, here)| *all += here);
    }

    fn requests_here(&self) -> u64 {
        self.shared.worker_stats.iter().map(|stats| stats.requests_total()).sum()
    }

    fn until_all_are_done(&mut self) -> Result<(), String> {
        let limit = self.steps + HEAL_STEPS;
        while let Some(waiting) = self.clients.iter().find(|client| !client.is_done()) {
            if self.steps > limit {
                return Err(format!("answers never came: {waiting:?}"));
            }
            self.step()?;
        }
        while !self.talk.is_done() {
            if self.steps > limit {
                return Err(format!("not all is said: {:?}", self.talk));
            }
            self.step()?;
        }
        while !self.copies.is_done(self.clock.get()) {
            if self.steps > limit {
                return Err(format!("old copies are left: {:?}", self.copies));
            }
            self.step()?;
        }
        while !self.strangers.is_done() {
            if self.steps > limit {
                return Err(format!("strangers are not answered: {:?}", self.strangers));
            }
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        self.try_step().map_err(|wrong| {
            let left = self.workers.iter_mut().map(|sleeper| {
                let sleeps = sleeper.until.is_some();
                let buffers = sleeper.worker.transport().buffers_held();
                let state = sleeper.worker.state();
                let budget = state.budget_in_words();
                format!("sleeps: {sleeps}, holds {buffers} buffers, {budget}, {:?}", state.left_over())
            });
            format!("{wrong}\nafter {} steps the shards are: {:#?}", self.steps, left.collect::<Vec<_>>())
        })
    }

    fn try_step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.random.chance(30) {
            self.clock.set(self.clock.get() + self.random.number() % 20);
        }
        if self.random.below(BEYOND_STEPS) == 0 {
            let beyond = self.random.below(self.world.beyond_max());
            self.shared.beyond.store(beyond as i64, Relaxed);
        }
        let now = self.clock.get();
        self.turn_clients(now)?;
        self.talk.step(&mut self.network.borrow_mut(), &self.world)?;
        self.copies.step(&mut self.network.borrow_mut(), &self.world, now)?;
        self.strangers.step(&mut self.network.borrow_mut(), &self.world, now)?;
        self.turn_tier(now)?;
        for worker in &mut self.workers {
            // A shard may be late by some turns.
            if self.random.chance(80) {
                worker.look(now)?;
            }
        }
        Ok(())
    }

    fn turn_clients(&mut self, now: Millis) -> Result<(), String> {
        for client in &mut self.clients {
            let network = &mut self.network.borrow_mut();
            client.step(network, &mut self.model, &mut self.random, &self.world, now)?;
        }
        Ok(())
    }

    /// Of a server that was the only one.
    fn passwords_are_counted(&self) -> Result<(), String> {
        if !self.world.password || self.world.tier.is_some() {
            return Ok(());
        }
        let sum =
            |count: fn(&WorkerStats) -> u64| self.shared.worker_stats.iter().map(|stats| count(stats)).sum();
        let right = sum(|stats| stats.auth_successes.read());
        let wrong = sum(|stats| stats.auth_failures.read());
        let all = [self.model.entries, self.talk.entries, self.copies.entries, self.strangers.entries];
        Entries::are_counted(&all, right, wrong)
    }

    /// Nobody asks any more: what was done for clients must go without their help, and without an idle tick, but for what a tier
    /// does as long as it goes on to make room. Then all sleep.
    fn rest(&mut self) -> Result<(), String> {
        let mut left = Ok(());
        let (mut until, end) = (self.steps + REST_STEPS, self.steps + ROOM_STEPS);
        let mut freed = self.batches_freed();
        while self.steps < until.min(end) {
            self.step()?;
            left = self.workers.iter_mut().try_for_each(|sleeper| sleeper.worker.state().left_over());
            left = left.and(self.backing.as_ref().map_or(Ok(()), Backing::left_over));
            if left.is_ok() {
                return self.fall_asleep();
            }
            if self.batches_freed() != freed {
                (until, freed) = (self.steps + REST_STEPS, self.batches_freed());
            }
        }
        left
    }

    /// Batches of a tier that were freed.
    fn batches_freed(&self) -> u64 {
        self.shared.tier.get().map_or(0, |figures| figures.freed.load(Relaxed))
    }

    fn fall_asleep(&mut self) -> Result<(), String> {
        for _ in 0..SLEEP_STEPS {
            if self.workers.iter().all(|sleeper| sleeper.until.is_some()) {
                return Ok(());
            }
            self.step()?;
        }
        let awake =
            |sleeper: &mut Sleeper| format!("{:?}", (sleeper.until, sleeper.worker.state().keeps_awake()));
        let words: Vec<String> = self.workers.iter_mut().map(awake).collect();
        Err(format!("a worker turns without anything to do: {words:?}"))
    }

    /// Eviction may take keys where memory is short, but not more than it has to.
    fn look_last(&mut self) -> Result<(), String> {
        self.model.begin_last_look();
        for client in &mut self.clients {
            client.begin_last_look(&mut self.network.borrow_mut(), &self.world);
        }
        self.until_all_are_done()?;
        if self.world.tier.is_some() {
            return Ok(());
        }
        let (due, kept) = self.model.due_and_kept();
        let memory = self.store_bytes_min();
        if due >= memory / DUE_SHARE && kept * 100 < due.min(memory) * KEPT_PERCENT_MIN {
            return Err(format!(
                "of {due} bytes that should be there {kept} are, in {memory} bytes of a shard at least"
            ));
        }
        Ok(())
    }

    /// What the store of one shard could fill when clients needed most, bytes.
    fn store_bytes_min(&self) -> u64 {
        let least = self.workers.iter().map(Sleeper::store_bytes).fold(self.world.memory_bytes, u64::min);
        least.saturating_sub(world::FREE_BYTES)
    }

    fn drain(&mut self) -> Result<(), String> {
        self.shared.draining.store(true, Relaxed);
        self.wakers.iter().for_each(|waker| waker.wake());
        for _ in 0..DRAIN_STEPS {
            self.steps += 1;
            self.clock.set(self.clock.get() + 1);
            let now = self.clock.get();
            self.turn_tier(now)?;
            self.workers.iter_mut().try_for_each(|sleeper| sleeper.look(now))?;
            if self.workers.iter().all(|sleeper| sleeper.worker.may_end()) {
                self.nothing_is_left()?;
                return self.memory_is_lent_again();
            }
        }
        Err("the drain never ends".into())
    }

    /// Without connections no shard holds anything for one.
    fn nothing_is_left(&mut self) -> Result<(), String> {
        let left = self.shared.connections.load(Relaxed);
        if left > 0 {
            return Err(format!("{left} connections are left"));
        }
        for sleeper in &mut self.workers {
            sleeper.worker.state().left_over()?;
            let charged = sleeper.worker.state().charged();
            let buffers = sleeper.worker.transport().buffers_held();
            if (charged, buffers) != (0, 0) {
                return Err(format!("nobody is charged for {charged} bytes and has {buffers} buffers"));
            }
        }
        Ok(())
    }

    /// What clients no longer need is the store's after a while.
    fn memory_is_lent_again(&mut self) -> Result<(), String> {
        for _ in 0..LENT_AGAIN_TICKS {
            self.clock.set(self.clock.get() + LENT_AGAIN_MS);
            self.workers.iter_mut().try_for_each(Sleeper::tick)?;
        }
        self.workers.iter_mut().try_for_each(|sleeper| match sleeper.worker.state().bytes_idle() {
            idle if idle > world::SEGMENT_BYTES as u64 => Err(format!("{idle} bytes are of use to nobody")),
            _ => Ok(()),
        })
    }
}

/// Percent of the values that must be found at the last look, of all that enough memory would hold or of what a store could
/// fill if that is less. If all values are less than this share of that, they may be the oldest, and none need be there.
const DUE_SHARE: u64 = 4;
const KEPT_PERCENT_MIN: u64 = 20;

/// What all shards of a server share.
fn of_world(world: &World) -> Shared {
    let mut shared = shared(world.shards);
    if world.password {
        let [right, _] = entry::PASSWORDS;
        shared.users.add(entry::USER.as_bytes(), right.as_bytes()).expect("a user as there are");
    }
    shared
}

pub(crate) fn shared(shards: u16) -> Shared {
    let worker_stats = (0..shards).map(|_| Arc::<WorkerStats>::default()).collect();
    Shared {
        slots: SlotMap::even(shards),
        databases_count: 16,
        databases: Databases::new(shards),
        users: Default::default(),
        debug_commands: false,
        is_cluster: true,
        on_shutdown: None,
        observed: Default::default(),
        wall: Arc::new(Wall::new(START * 1_000_000)),
        boot_id: 1,
        transport: "sim",
        shared_memory_path: None,
        readable: Arc::default(),
        rdma: None,
        pairs: Default::default(),
        announce_host: "sim".into(),
        ports: vec![1; shards as usize],
        worker_stats,
        shard_stats: OnceLock::new(),
        memory: 0..=0,
        accounts: (0..shards).map(|_| 0.into()).collect(),
        beyond: 0.into(),
        connections_max: 100,
        tunables: Tunables::new(0, 100, 0),
        scripts: Scripts::new(64 << 10),
        script_ms_max: 100,
        resident_bytes: 0.into(),
        value_bytes_max: 1 << 20,
        baseline: Mutex::default(),
        times_before: Mutex::default(),
        errors_before: Mutex::default(),
        connections: 0.into(),
        recovering: (0..shards).map(|_| false.into()).collect(),
        tier: OnceLock::new(),
        subscribers: Subscribers::new(shards),
        event_classes: 0.into(),
        trackers: Subscribers::new(shards),
        broadcasts: Subscribers::new(shards),
        tracking_keys_max: 1_000_000,
        draining: false.into(),
        drained: 0.into(),
    }
}
