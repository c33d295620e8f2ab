//! The server: binds, starts a thread for each shard, drains, ends.
//!
//! ```text
//!   Server::start   bind all --> one thread a shard: pin, make the store, open the transport
//!                   <-- each says that it is ready, or why not
//!                   --> all get the others' wakers and turn
//!   drain           no more clients; what came is answered, then closed
//!   join            waits for the threads
//! ```

mod config;
mod limits;
mod listen;
mod sizes;
mod starting;
mod tier;

pub use crate::shutdown::OnShutdown;
pub use crate::tier::RearmError;
pub use config::{Endpoint, Listen, ServerConfig, SharedMemory, StartError};
pub use listen::overlap;
pub use sizes::{client_memory, value_bytes_possible};
pub(crate) use tier::Recovers;
pub use tier::RunningTier;

use crate::clock::{BEHIND_MAX_MS, MachineClock};
use crate::databases::Databases;
use crate::metrics::WorkerStats;
use crate::observed::Observed;
use crate::rdma::{CLIENT_BYTES, RdmaChoice, RdmaStatus};
use crate::scripts::Scripts;
use crate::session::{Limits, Protocol};
use crate::shared::{Shared, Subscribers};
use crate::slots::SlotMap;
use crate::tier::{Durability, Opened, time_before};
use crate::transport::Waker;
use crate::transport::choice::{Chosen, choose, without_min_wait};
use crate::tunables::Tunables;
use crate::worker::mail::Mail;
use crate::worker::{ROOM_BYTES_MIN, Settings};
use listen::{Bound, SocketFile};
use sizes::{
    MAIL_SHARE, beyond_at_start, budget, input_bytes_max, memory_of_shard, outcomes_bytes, receive_buffers,
    store_config,
};
use starting::{RdmaOfShard, Running, ShardStart, ShardThread, Starting};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use torc_engine::stats::ShardStats;
use torc_pmem::tier::Tier;
use torc_shm::{Pair, RING_BYTES_MAX, RING_BYTES_MIN};

/// A running server.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    chosen: Chosen,
    rdma: RdmaStatus,
    min_wait_refusal: Option<&'static str>,
    addresses: Vec<Endpoint>,
    shard_addresses: Vec<SocketAddr>,
    wakers: Wakers,
    threads: Mutex<Vec<ShardThread>>,
    tier: Option<RunningTier>,
    /// Removed when the server is gone.
    _files: Vec<SocketFile>,
}

struct Wakers(Vec<Arc<dyn Waker>>);

impl std::fmt::Debug for Wakers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} wakers", self.0.len())
    }
}

/// Figures of one shard.
#[derive(Debug, Clone)]
pub struct Stats {
    pub shard: Arc<ShardStats>,
    pub worker: Arc<WorkerStats>,
}

impl Server {
    /// Starts a server. When this returns it serves.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left behind.
    pub fn start(mut config: ServerConfig) -> Result<Server, StartError> {
        if config.shards == 0 {
            return Err(StartError::NoShards);
        }
        let shared_memory_path = shared_memory_path(&config)?;
        if let Some(error) = config.shared_memory.as_ref().and_then(|_| shared_memory_refusal()) {
            return Err(StartError::SharedMemory(error));
        }
        let clients_max = usize::from(config.shards) * config.rdma.clients_max;
        config.rdma.wish.memory_bytes = (clients_max * CLIENT_BYTES) as u64;
        let (watcher, rdma) =
            crate::rdma::begin(&config.rdma).map_err(|why| StartError::Rdma { cure: why.cure(), why })?;
        config.rdma.choice = if watcher.is_some() { RdmaChoice::Require } else { RdmaChoice::Off };
        let chosen = choose(config.transport).map_err(StartError::Transport)?;
        let min_wait_refusal = if config.min_wait.is_zero() { None } else { without_min_wait(&chosen) };
        limits::raise_files(config.connections_max);
        let bound = listen::bind(&config)?;
        let clock =
            if config.is_read_by_clients() { MachineClock::shared() } else { Ok(MachineClock::new()) };
        let clock = clock.map_err(StartError::SharedMemory)?;
        let shared =
            Shared { rdma: watcher, ..shared(&config, &bound, (&chosen, shared_memory_path), &clock) };
        let shared = Arc::new(shared);
        let Bound { shards, kinds, addresses, shard_addresses, files } = bound;
        let opened =
            config.tier.as_ref().map(|tier| Opened::open(tier, config.shards, random)).transpose()?;
        if let Some((opened, tier)) = opened.as_ref().zip(config.tier.as_mut()) {
            // Of what is read at the speed of memory nothing is kept.
            tier.cache_bytes *= u64::from(!opened.tier.medium().is_byte_addressable());
        }
        let makes_durable = opened.as_ref().zip(config.tier.as_ref()).is_some_and(|(opened, tier)| {
            tier.durability != Durability::None && opened.tier.medium().is_persistent()
        });
        let settings = settings(&config, kinds, makes_durable);
        let made = opened.as_ref().and_then(|opened| opened.made.clone());
        let tier = opened.map(|opened| opened.tier);
        tier.iter().for_each(|tier| go_on_from(&clock, tier));
        tier.iter().for_each(|tier| shared.databases.begin(tier.spaces()));
        // What lies on a tier is found by the hashes that it was written with.
        let seed = tier.as_ref().map_or_else(random, |tier| tier.config().hash_seed);
        let mails = Mail::among(config.shards, memory_of_shard(&config) / MAIL_SHARE);
        let mut starting = Starting::default();
        for (number, (listeners, mail)) in shards.into_iter().zip(mails).enumerate() {
            let start = ShardStart {
                number: number as u16,
                listeners,
                mail,
                chosen: chosen.clone(),
                shared: shared.clone(),
                settings: settings.clone(),
                store: store_config(&config, number as u16, seed, &clock),
                cpu: config.cpus.get(number % config.cpus.len().max(1)).copied(),
                receive_buffers: receive_buffers(&config),
                shared_memory: config.shared_memory.clone(),
                rdma: RdmaOfShard::of(&config),
                min_wait: min_wait_refusal.map_or(config.min_wait, |_| Duration::ZERO),
                clock: clock.clone(),
                recovers: tier
                    .as_ref()
                    .zip(config.tier.as_ref())
                    .map(|(tier, config)| Recovers { above: tier.ceiling(), reads_wait: config.reads_wait }),
            };
            starting.spawn(start)?;
        }
        let Running { threads, wakers, memory, tier } = starting.finish(&shared, &config, tier, &clock)?;
        let tier = tier.map(|tier| tier.made_for(made));
        let watched = shared.rdma.as_ref().map(|watcher| watcher.start(config.rdma, memory, wakers.clone()));
        watched.transpose().map_err(|cause| StartError::Thread { shard: 0, cause })?;
        Ok(Server {
            shared,
            chosen,
            rdma,
            min_wait_refusal,
            addresses,
            shard_addresses,
            wakers: Wakers(wakers),
            threads: Mutex::new(threads),
            tier,
            _files: files,
        })
    }

    /// The common addresses, with the ports that were chosen, in the order of `listen`.
    pub fn addresses(&self) -> &[Endpoint] {
        &self.addresses
    }

    /// The shards' own addresses; empty if they have none.
    pub fn shard_addresses(&self) -> &[SocketAddr] {
        &self.shard_addresses
    }

    /// The transport that serves, and why it is not io_uring if it is not.
    pub fn transport(&self) -> &Chosen {
        &self.chosen
    }

    /// What there is of RDMA, as it was at the start.
    pub fn rdma(&self) -> &RdmaStatus {
        &self.rdma
    }

    /// What the RDMA device that is in use counts itself of trouble on its wire, by the [names](crate::rdma::DEVICE_EVENTS) of its
    /// driver; without one, nothing.
    pub fn rdma_device_events(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.shared.rdma.iter().flat_map(|watcher| watcher.figures.events.iter())
    }

    /// Why `--min-wait` is not kept, if it was asked for and is not.
    pub fn min_wait_refusal(&self) -> Option<&'static str> {
        self.min_wait_refusal
    }

    /// The tier, if there is one.
    pub fn tier(&self) -> Option<&RunningTier> {
        self.tier.as_ref()
    }

    /// Takes a tier that has failed into use again, made anew: nothing of what it held comes back, and it is told what memory
    /// holds while the server goes on. Blocks until every shard uses it; returns what it lies on, in words.
    ///
    /// # Errors
    /// [`RearmError`].
    pub fn rearm_tier(&self) -> Result<String, RearmError> {
        let Some(tier) = &self.tier else { return Err(RearmError::NoTier) };
        tier.rearm(random()).inspect_err(|error| tracing::warn!("--tier: {error}"))
    }

    /// Figures of each shard.
    pub fn stats(&self) -> Vec<Stats> {
        let shards = self.shared.shard_stats.get().into_iter().flatten();
        shards
            .zip(&self.shared.worker_stats)
            .map(|(shard, worker)| Stats { shard: shard.clone(), worker: worker.clone() })
            .collect()
    }

    /// Turns of all shards since the start.
    pub fn turns(&self) -> u64 {
        self.shared.worker_stats.iter().map(|worker| worker.turns.read()).sum()
    }

    /// Tells the server what the process has resident, so that all of it together keeps to `--memory`: the store gives up
    /// what code, stacks and the allocator take beyond its accounts. To be called some forty times a second while it serves,
    /// by a process that is this server and nothing else.
    pub fn balance_memory(&self, resident_bytes: u64) {
        let tier = self.tier.as_ref().map_or(0, RunningTier::resident_bytes);
        self.shared.balance(resident_bytes.saturating_sub(tier));
    }

    /// Resident memory of the process that no account knows of, by the last [`Server::balance_memory`]; bytes. Below 0
    /// while accounts hold memory that was never touched.
    pub fn unaccounted_bytes(&self) -> i64 {
        self.shared.beyond.load(Ordering::Relaxed)
    }

    /// Stops accepting; what has come is answered, then connections are closed and the shards end, at the
    /// latest after the drain time-out. Returns at once; see [`Server::join`].
    pub fn drain(&self) {
        // Relaxed: the flag orders nothing; the wake-up makes the shards look.
        self.shared.draining.store(true, Ordering::Relaxed);
        self.wakers.0.iter().for_each(|waker| waker.wake());
    }

    /// Waits for the shards to end.
    ///
    /// # Errors
    /// A shard's transport failed, or its thread panicked: what is known of it.
    pub fn join(&self) -> Result<(), String> {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let mut result = Ok(());
        for thread in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = Err(format!("a shard's transport failed: {error}")),
                Err(_) => result = Err("a shard's thread panicked".into()),
            }
        }
        match &self.tier {
            Some(tier) => result.and(tier.join()),
            None => result,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain();
        // A caller that wants to know of errors calls `join` before.
        let _ = self.join();
    }
}

/// Why the kernel lets no memory be shared with clients, if it does not.
pub fn shared_memory_refusal() -> Option<std::io::Error> {
    Pair::new(RING_BYTES_MIN, RING_BYTES_MIN).err()
}

/// Where clients come that memory is shared with, in words that hold for processes elsewhere in the file system; `None`: it is not
/// shared.
fn shared_memory_path(config: &ServerConfig) -> Result<Option<String>, StartError> {
    let Some(shared) = &config.shared_memory else { return Ok(None) };
    let ring_bytes = shared.ring_bytes;
    if !ring_bytes.is_power_of_two() || !(RING_BYTES_MIN..=RING_BYTES_MAX).contains(&ring_bytes) {
        return Err(StartError::RingBytes(ring_bytes));
    }
    let path = config.listen.iter().find_map(|listen| match (&listen.endpoint, listen.protocol) {
        (Endpoint::Unix(path), None | Some(Protocol::Native)) => Some(path),
        _ => None,
    });
    let path = path.ok_or(StartError::SharedMemoryListen)?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Ok(Some(path.display().to_string()))
}

fn shared(
    config: &ServerConfig,
    bound: &Bound,
    (chosen, shared_memory_path): (&Chosen, Option<String>),
    clock: &MachineClock,
) -> Shared {
    let common = bound.addresses.iter().find_map(|address| match address {
        Endpoint::Tcp(address) => Some(*address),
        Endpoint::Unix(_) => None,
    });
    let host = config.announce_host.clone().or(common.map(|address| address.ip().to_string()));
    let ports = (0..config.shards as usize).map(|shard| {
        let own = bound.shard_addresses.get(shard).or(common.as_ref());
        own.map(SocketAddr::port).unwrap_or_default()
    });
    Shared {
        slots: SlotMap::even(config.shards),
        databases_count: config.databases,
        databases: Databases::new(config.shards),
        users: config.users.clone(),
        debug_commands: config.debug_commands,
        is_cluster: config.is_cluster,
        on_shutdown: config.on_shutdown.clone(),
        wall: clock.wall(),
        boot_id: random(),
        transport: chosen.name(),
        shared_memory_path,
        readable: Arc::default(),
        rdma: None,
        pairs: Arc::default(),
        announce_host: host.unwrap_or_else(|| "127.0.0.1".into()),
        ports: ports.collect(),
        worker_stats: (0..config.shards).map(|_| Arc::default()).collect(),
        shard_stats: OnceLock::new(),
        memory: sizes::memory_least(config)..=config.memory_bytes,
        connections_max: config.connections_max,
        tunables: Tunables::new(ms(config.idle_timeout), config.connections_max, config.memory_bytes),
        scripts: Scripts::new(config.script_cache_bytes_max),
        script_ms_max: config.script_time_max.as_millis() as u64,
        observed: Observed::default(),
        resident_bytes: 0.into(),
        value_bytes_max: config.value_bytes_max,
        baseline: Mutex::default(),
        times_before: Mutex::default(),
        errors_before: Mutex::default(),
        accounts: (0..config.shards).map(|_| 0.into()).collect(),
        beyond: beyond_at_start(config).into(),
        connections: 0.into(),
        recovering: (0..config.shards).map(|_| false.into()).collect(),
        tier: OnceLock::new(),
        subscribers: Subscribers::new(config.shards),
        event_classes: config.event_classes.bits().into(),
        trackers: Subscribers::new(config.shards),
        broadcasts: Subscribers::new(config.shards),
        tracking_keys_max: config.tracking_keys_max,
        draining: false.into(),
        drained: 0.into(),
    }
}

/// Milliseconds, at least one; 0 for none.
fn ms(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| (time.as_millis() as u64).max(1))
}

fn settings(
    config: &ServerConfig,
    listeners: Vec<crate::worker::ListenerKind>,
    makes_durable: bool,
) -> Settings {
    Settings {
        limits: Limits {
            key_bytes_max: config.key_bytes_max,
            value_bytes_max: config.value_bytes_max,
            value_bytes_inline: config.value_bytes_inline,
            frame_bytes_max: config.frame_bytes_max,
            arguments_max: config.arguments_max,
            databases: config.databases,
            makes_durable,
            has_password: !config.users.is_empty(),
            debug_commands: config.debug_commands,
        },
        listeners,
        output_bytes_max: config.output_bytes_max,
        subscriber_bytes_max: config.subscriber_bytes_max,
        subscriptions_max: config.subscriptions_max,
        tracking_keys_max: config.tracking_keys_max,
        queue_parts_max: config.queue_parts_max.max(1),
        room_bytes_min: ROOM_BYTES_MIN,
        input_bytes_max: input_bytes_max(config),
        slow_ms_max: ms(config.slow_client_timeout),
        request_ms_max: ms(config.request_timeout),
        auth_ms_max: ms(config.auth_timeout),
        drain_ms_max: config.drain_timeout.as_millis() as u64,
        spin_ns: config.spin.as_nanos() as u64,
        pairs_max: config.rdma.pairs_max,
        ring_bytes: config.shared_memory.as_ref().map_or(0, |shared| shared.ring_bytes),
        outcomes_bytes_max: outcomes_bytes(config) as usize,
        scripts: script_limits(config),
        budget: budget(config),
    }
}

/// What a script may take.
fn script_limits(config: &ServerConfig) -> torc_lua::Limits {
    let of_memory = config.memory_bytes / u64::from(config.shards.max(1)) / SCRIPT_SHARE;
    let memory_bytes = config.script_memory_bytes_max.unwrap_or(of_memory.clamp(1 << 20, 32 << 20)) as usize;
    torc_lua::Limits { memory_bytes, time: config.script_time_max }
}

/// Share of a shard's memory that a script may take if nothing is said of it.
const SCRIPT_SHARE: u64 = 16;

/// Lets the time go on from that of the runs before, as their items' expiries do.
fn go_on_from(clock: &MachineClock, tier: &Tier) {
    let seconds = |ms: u64| ms / 1000;
    match clock.go_on_from(time_before(tier)) {
        0 => {}
        behind if behind < BEHIND_MAX_MS => {
            tracing::warn!(
                "--tier: the wall clock is {} s behind the time of the last run: going on from that",
                seconds(behind)
            );
        }
        behind => tracing::warn!(
            "--tier: the wall clock is {} s behind the time of the last run, and is believed: what had expired may be shown",
            seconds(behind)
        ),
    }
}

/// 64 bits that nobody outside can guess.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
