//! The tier of a running server.

use super::config::StartError;
use crate::clock::MachineClock;
use crate::shared::Shared;
use crate::tier::{Port, Storage, StorageParts, TierConfig, TierFigures};
use crate::transport::Waker;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use torc_pmem::media::Medium;
use torc_pmem::tier::Tier;

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
    on: Arc<dyn Medium>,
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
        let parts = StorageParts {
            tier,
            wakers: wakers.to_vec(),
            slots: shared.slots.clone(),
            figures: figures.clone(),
            clock: clock.clone(),
            cache_bytes: settings.cache_bytes_of(wakers.len() as u16) as usize,
            durability: settings.durability,
            journal_bytes: settings.journal_bytes,
            cpus: settings.cpus.clone(),
            reads: settings.reads,
        };
        let (storage, ports) = Storage::start(parts)?;
        let running = RunningTier {
            medium: on.describe(),
            reads: storage.reads(),
            on,
            bytes: config.bytes,
            streams: config.streams,
            made: None,
            was_clean,
            figures,
            clock: clock.clone(),
            storage: Mutex::new(storage),
        };
        Ok((running, ports))
    }

    /// Memory of the process that it takes beside `--memory`, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.on.resident_bytes()
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
