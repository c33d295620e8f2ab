//! Threads of shards: how they begin, and serve.

use super::config::{ServerConfig, SharedMemory, StartError};
use super::sizes::RECEIVE_BYTES;
use super::tier::{Recovers, RunningTier};
use crate::clock::{Clock, MachineClock};
use crate::metrics::WorkerStats;
use crate::pin::pin_to;
use crate::rdma::{Rdma, Readers, ReadersBy, ReadersLimits};
use crate::shared::Shared;
use crate::tier::{Durability, Port, TierConfig};
use crate::transport::choice::Chosen;
use crate::transport::epoll::Epoll;
use crate::transport::rdma::{Rdma as RdmaTransport, RdmaConfig};
use crate::transport::rings::{Rings, RingsConfig};
use crate::transport::sockets::SocketsConfig;
use crate::transport::uring::Uring;
use crate::transport::{Transport, Waker};
use crate::worker::mail::Mail;
use crate::worker::{Settings, Siblings, Tier as WorkerTier, Worker, WorkerParts, WorkerState};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use torc_engine::reader::ShardReader;
use torc_engine::remote::RemoteMemory;
use torc_engine::segments::LeaseLimits;
use torc_engine::stats::ShardStats;
use torc_engine::{Shard, ShardConfig};
use torc_pmem::tier::Tier;
use torc_rdma::verbs::device::Device;

/// What a shard's thread is told of RDMA.
#[derive(Debug, Clone, Copy)]
pub(super) struct RdmaOfShard {
    clients_max: usize,
    reads: bool,
    keepalive: Option<Duration>,
    answer_timeout: Duration,
}

impl RdmaOfShard {
    /// A queue pair has no keepalive of its own: that of TCP goes for it, too.
    pub(super) fn of(config: &ServerConfig) -> RdmaOfShard {
        let answer_timeout = config.tcp_user_timeout.unwrap_or(Duration::from_secs(30));
        let Rdma { clients_max, reads, .. } = config.rdma;
        RdmaOfShard { clients_max, reads, keepalive: config.tcp_keepalive, answer_timeout }
    }
}

/// What a shard's thread is told.
pub(super) struct ShardStart {
    pub(super) number: u16,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) mail: Mail,
    pub(super) chosen: Chosen,
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) store: ShardConfig,
    pub(super) cpu: Option<usize>,
    pub(super) receive_buffers: u16,
    pub(super) shared_memory: Option<SharedMemory>,
    pub(super) rdma: RdmaOfShard,
    pub(super) min_wait: Duration,
    pub(super) clock: MachineClock,
    pub(super) recovers: Option<Recovers>,
}

/// What a shard's thread reports once it is ready to turn.
struct Ready {
    stats: Arc<ShardStats>,
    waker: Arc<dyn Waker>,
    reader: ShardReader,
    /// For other processes to read it, if they may.
    file: Option<OwnedFd>,
    /// For a device to read and fill it.
    memory: Option<RemoteMemory>,
}

pub(super) type AllWakers = Vec<Arc<dyn Waker>>;

/// What each thread is told of all shards.
struct Go {
    wakers: AllWakers,
    readers: Vec<ShardReader>,
    tier: Option<(Port, (Durability, bool))>,
}

pub(super) type ShardThread = JoinHandle<std::io::Result<()>>;

/// Threads that serve.
pub(super) struct Running {
    pub(super) threads: Vec<ShardThread>,
    pub(super) wakers: AllWakers,
    /// Of each shard, if others may be shown it.
    pub(super) memory: Vec<RemoteMemory>,
    pub(super) tier: Option<RunningTier>,
}

/// Threads under way; dropped early, they end without serving.
#[derive(Default)]
pub(super) struct Starting {
    threads: Vec<ShardThread>,
    ready: Vec<Receiver<Result<Ready, StartError>>>,
    go: Vec<SyncSender<Go>>,
}

impl Starting {
    pub(super) fn spawn(&mut self, start: ShardStart) -> Result<(), StartError> {
        let (ready_sender, ready) = sync_channel(1);
        let (go, go_receiver) = sync_channel(1);
        let shard = start.number;
        let thread = std::thread::Builder::new()
            .name(format!("torc-shard-{shard}"))
            .spawn(move || start.run(&ready_sender, &go_receiver))
            .map_err(|cause| StartError::Thread { shard, cause })?;
        self.threads.push(thread);
        self.ready.push(ready);
        self.go.push(go);
        Ok(())
    }

    pub(super) fn finish(
        self,
        shared: &Shared,
        config: &ServerConfig,
        tier: Option<Tier>,
        clock: &MachineClock,
    ) -> Result<Running, StartError> {
        let mut stats = Vec::new();
        let (mut wakers, mut readers): (AllWakers, Vec<ShardReader>) = (Vec::new(), Vec::new());
        let (mut files, mut memory) = (Vec::new(), Vec::new());
        for (shard, ready) in self.ready.iter().enumerate() {
            let gone = || std::io::Error::other("it ended while starting");
            let ready = ready
                .recv()
                .unwrap_or_else(|_| Err(StartError::Thread { shard: shard as u16, cause: gone() }))?;
            stats.push(ready.stats);
            wakers.push(ready.waker);
            readers.push(ready.reader);
            files.extend(ready.file);
            memory.extend(ready.memory);
        }
        let start =
            |(tier, config): (Tier, &TierConfig)| RunningTier::start(tier, &wakers, shared, clock, config);
        let started = tier.zip(config.tier.as_ref()).map(start).transpose()?;
        let (tier, ports) = started.map_or((None, Vec::new()), |(tier, ports)| (Some(tier), ports));
        let mut ports = ports.into_iter();
        if let Some(clock) = clock.to_read().map_err(StartError::SharedMemory)? {
            shared.readable.set(files, clock).map_err(StartError::SharedMemory)?;
        }
        // Set once: this is the only place, and a start happens once.
        let _ = shared.shard_stats.set(stats);
        let _ = tier.as_ref().map(|tier| shared.tier.set(tier.figures.clone()));
        for sender in &self.go {
            let tier = ports.next().zip(config.tier.as_ref().map(|tier| (tier.durability, tier.reads_wait)));
            // A thread that is gone meanwhile is found by join.
            let _ = sender.send(Go { wakers: wakers.clone(), readers: readers.clone(), tier });
        }
        Ok(Running { threads: self.threads, wakers, memory, tier })
    }
}

impl ShardStart {
    /// Runs on the shard's thread.
    fn run(self, ready: &SyncSender<Result<Ready, StartError>>, go: &Receiver<Go>) -> std::io::Result<()> {
        let shard = self.number;
        let transport = self.chosen.name();
        if let Some(cpu) = self.cpu
            && let Err(cause) = pin_to(cpu)
        {
            let _ = ready.send(Err(StartError::Pin { shard, cpu, cause }));
            return Ok(());
        }
        let store = Shard::new(self.store.clone()).map_err(StartError::from);
        let store = match store {
            Ok(mut store) => {
                self.recovers.iter().for_each(|recovers| recovers.begin(&mut store, &self.shared, shard));
                store
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        let chosen = self.chosen.clone();
        let mut start = self;
        let sockets = SocketsConfig {
            listeners: std::mem::take(&mut start.listeners),
            buffers: start.receive_buffers,
            buffer_bytes: RECEIVE_BYTES,
            // With rings or queue pairs it may have to know, too, whether there are news: see `Rings`.
            spins: start.settings.spin_ns > 0 || start.shared_memory.is_some() || start.shared.rdma.is_some(),
            min_wait: start.min_wait,
        };
        let open = |cause| StartError::Open { shard, transport, cause };
        match chosen {
            Chosen::Uring => start.serve_over(store, Uring::new(sockets).map_err(open), ready, go),
            Chosen::Epoll(_) => start.serve_over(store, Epoll::new(sockets).map_err(open), ready, go),
        }
    }

    fn rdma_config(&self, stats: &Arc<WorkerStats>) -> Option<RdmaConfig<Device>> {
        let watcher = self.shared.rdma.as_ref()?;
        let RdmaOfShard { clients_max, keepalive, answer_timeout, .. } = self.rdma;
        Some(RdmaConfig {
            device: watcher.state.clone(),
            connections_max: clients_max,
            shard: self.number,
            keepalive,
            answer_timeout,
            stats: stats.clone(),
        })
    }

    /// Serves over sockets alone, or with rings and queue pairs beside them: who shares no memory does not pay for asking.
    fn serve_over<T: Transport>(
        self,
        shard: Shard,
        sockets: Result<T, StartError>,
        ready: &SyncSender<Result<Ready, StartError>>,
        go: &Receiver<Go>,
    ) -> std::io::Result<()> {
        let stats = self.shared.worker_stats[usize::from(self.number)].clone();
        let rdma = self.rdma_config(&stats);
        if rdma.is_none() && self.shared_memory.is_none() {
            return self.serve(shard, sockets, ready, go);
        }
        // Beside queue pairs there are always rings, if only for nobody: so there are fewer loops to compile.
        let (users, ring_bytes) =
            self.shared_memory.clone().map(|shared| (shared.users, shared.ring_bytes)).unwrap_or_default();
        let rings = RingsConfig { ring_bytes, users, stats, readable: self.shared.readable.clone() };
        let rings = sockets.map(|sockets| Rings::new(sockets, rings));
        match rdma {
            None => self.serve(shard, rings, ready, go),
            Some(config) => {
                self.serve(shard, rings.map(|rings| RdmaTransport::new(rings, config)), ready, go)
            }
        }
    }

    fn serve<T: Transport>(
        self,
        mut shard: Shard,
        transport: Result<T, StartError>,
        ready: &SyncSender<Result<Ready, StartError>>,
        go: &Receiver<Go>,
    ) -> std::io::Result<()> {
        let transport = match transport {
            Ok(transport) => transport,
            Err(error) => {
                // The starter waits for it; if it is gone there is nobody to tell.
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        let readied = shard.to_read().map_err(StartError::SharedMemory).map(|file| Ready {
            stats: shard.stats().clone(),
            waker: transport.waker(),
            reader: shard.reader(),
            file,
            memory: shard.remote_memory(),
        });
        let _ = ready.send(readied);
        let Ok(Go { wakers, readers: siblings, tier }) = go.recv() else { return Ok(()) };
        let ShardStart { number, mut mail, shared, settings, clock, rdma, .. } = self;
        mail.connect(&wakers);
        let now = clock.millis();
        let (memory_bytes, shards) = (settings.budget.memory, mail.shards());
        if matches!(tier, Some((_, (Durability::None, _)))) {
            shard.only_demote();
        }
        let tier = tier.map(|(port, how)| Box::new(WorkerTier::new(port, how, memory_bytes, shards)));
        let readers = rdma.reads.then(|| shared.rdma.as_ref()).flatten().map(|watcher| {
            let count = shared.worker_stats[usize::from(number)].read_pairs.clone();
            let limits = ReadersLimits {
                pairs_max: rdma.clients_max,
                of_client_max: settings.pairs_max,
                clients: shared.pairs.clone(),
            };
            let readers = ReadersBy::new(watcher.state.clone(), number, limits, count);
            clock.show_in(&shard);
            shard.let_read_leases(LeaseLimits::default(), readers.revoker());
            Box::new(readers) as Box<dyn Readers>
        });
        let state = WorkerState::new(WorkerParts {
            shard,
            mail,
            siblings: Siblings::new(siblings),
            shared,
            number,
            settings,
            now,
            tier,
            readers,
        });
        Worker::new(transport, clock, state).run()
    }
}
