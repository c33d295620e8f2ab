//! The tier of a running server.

use super::config::StartError;
use crate::clock::{Clock, MachineClock};
use crate::shared::Shared;
use crate::tier::{Armed, Port, Rearm, RearmError, Storage, StorageParts, TierConfig, TierFigures, Wakers};
use crate::transport::Waker;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use torc_engine::Shard;
use torc_pmem::media::{Medium, MemberFigures};
use torc_pmem::tier::Tier;
use torc_proto::slot::{SLOTS, slot_of};

/// What a shard knows of a tier before it is told what that holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovers {
    /// The runs before gave out versions up to this one.
    pub(crate) above: u64,
    pub(crate) reads_wait: bool,
}

impl Recovers {
    /// Prepares the store of a shard to be told what a tier has for it.
    pub(crate) fn begin(self, store: &mut Shard, shared: &Shared, number: u16) {
        store.begin_spaces(&shared.databases.table());
        store.remember_changes(slot_of);
        store.start_above(self.above);
        let own = (0..SLOTS).filter(|slot| shared.slots.owner(*slot) == number);
        store.begin_recovery(own, slot_of, self.reads_wait);
        shared.begin_recovery(number);
    }
}

/// The tier of a running server.
#[derive(Debug)]
pub struct RunningTier {
    /// What it lies on and how that is reached, in words.
    pub medium: String,
    /// Who reads it for the shards, in words; `None`: they do.
    pub reads: Option<String>,
    pub bytes: u64,
    pub streams: u16,
    /// It was made at this start: why.
    pub made: Option<String>,
    /// The run before ended in order.
    pub was_clean: bool,
    pub figures: Arc<TierFigures>,
    clock: MachineClock,
    storage: Mutex<Storage>,
    /// Nobody has it open while it is made anew.
    on: Mutex<Option<Arc<dyn Medium>>>,
    again: Rearm<MachineClock>,
}

impl RunningTier {
    /// Takes it into use. The shards have to be ready to be told what it holds.
    pub(super) fn start(
        tier: Tier,
        wakers: &[Arc<dyn Waker>],
        shared: &Shared,
        clock: &MachineClock,
        settings: &TierConfig,
    ) -> Result<(RunningTier, Vec<Port>), StartError> {
        let figures = Arc::new(TierFigures::default());
        let (on, config, was_clean) = (tier.medium().clone(), *tier.config(), tier.is_clean());
        let (mut ports, sockets): (Vec<_>, Vec<_>) =
            (0..wakers.len() as u16).map(|shard| Port::new(shard, figures.clone())).unzip();
        let again = Rearm {
            settings: settings.clone().of_sizes(&on.members()),
            config,
            slots: shared.slots.clone(),
            clock: clock.clone(),
            figures: figures.clone(),
            sockets,
            wakers: Wakers(wakers.to_vec()),
        };
        let parts = StorageParts {
            tier,
            wakers: wakers.to_vec(),
            slots: shared.slots.clone(),
            figures: figures.clone(),
            clock: clock.clone(),
            cache_bytes: settings.cache_bytes_of(wakers.len() as u16) as usize,
            durability: settings.durability,
            journal_bytes: settings.journal_bytes,
            snapshots: settings.snapshots,
            cpus: settings.cpus.clone(),
            recovers: true,
            reads: settings.reads,
        };
        let (storage, links) = Storage::start(parts)?;
        for (socket, link) in again.sockets.iter().zip(links) {
            // The port is here, and takes it.
            let _ = socket.send(link);
        }
        ports.iter_mut().for_each(|port| _ = port.take_link(0));
        let running = RunningTier {
            medium: on.describe(),
            on: Mutex::new(Some(on)),
            reads: storage.reads(),
            bytes: config.bytes,
            streams: config.streams,
            made: None,
            was_clean,
            figures,
            clock: clock.clone(),
            storage: Mutex::new(storage),
            again,
        };
        Ok((running, ports))
    }

    /// Memory of the process that it takes beside `--memory`, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.on().as_ref().map_or(0, |on| on.resident_bytes())
    }

    /// The media that it lies on, if these are several.
    pub fn members(&self) -> Vec<MemberFigures> {
        self.on().as_ref().map_or_else(Vec::new, |on| on.members())
    }

    fn on(&self) -> MutexGuard<'_, Option<Arc<dyn Medium>>> {
        // Nobody panics while holding the lock.
        self.on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a tier that has failed into use again, empty. `volume` is a number that nobody can guess. Returns what it lies on.
    /// When this returns, what changes from here on is saved as `--durability` says.
    ///
    /// # Errors
    /// [`RearmError`]; but for [`RearmError::Slow`] the tier is as it was.
    pub(super) fn rearm(&self, volume: u64) -> Result<String, RearmError> {
        let Ok(mut storage) = self.storage.try_lock() else { return Err(RearmError::UnderWay) };
        self.again.end(&mut storage)?;
        *self.on() = None;
        let Armed { storage: begun, medium } = self.again.begin(volume)?;
        let described = medium.describe();
        *storage = begun;
        *self.on() = Some(medium);
        tracing::info!("--tier: in use again, on {described}, and empty; it is told what memory holds");
        self.again.wait()?;
        Ok(described)
    }

    /// How long the oldest change waits that was handed over and is not safe.
    pub fn lag(&self) -> Duration {
        match self.figures.waiting_since.load(Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(self.clock.millis().saturating_sub(since)),
        }
    }

    /// Notes why it was made at this start, if it was.
    pub(super) fn made_for(self, made: Option<String>) -> RunningTier {
        RunningTier { made, ..self }
    }

    /// Waits until everything is on the medium that the shards have handed over.
    pub(super) fn join(&self) -> Result<(), String> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner).join()
    }
}
