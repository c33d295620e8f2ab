//! The tier of a running server.

use super::config::StartError;
use crate::clock::MachineClock;
use crate::shared::Shared;
use crate::tier::{Port, Storage, StorageParts, TierFigures};
use crate::transport::Waker;
use std::sync::{Arc, Mutex, PoisonError};
use torc_pmem::media::Medium;
use torc_pmem::tier::Tier;

/// The tier of a running server.
#[derive(Debug)]
pub struct RunningTier {
    /// What it lies on and how that is reached, in words.
    pub medium: String,
    pub bytes: u64,
    pub streams: u16,
    /// It was made at this start: why.
    pub made: Option<String>,
    /// The run before ended in order.
    pub was_clean: bool,
    pub figures: Arc<TierFigures>,
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
    ) -> Result<(RunningTier, Vec<Port>), StartError> {
        let figures = Arc::new(TierFigures::default());
        let (on, config, was_clean) = (tier.medium().clone(), *tier.config(), tier.is_clean());
        let parts = StorageParts {
            tier,
            wakers: wakers.to_vec(),
            slots: shared.slots.clone(),
            figures: figures.clone(),
            clock: clock.clone(),
        };
        let (storage, ports) = Storage::start(parts)?;
        let running = RunningTier {
            medium: on.describe(),
            on,
            bytes: config.bytes,
            streams: config.streams,
            made: None,
            was_clean,
            figures,
            storage: Mutex::new(storage),
        };
        Ok((running, ports))
    }

    /// Memory of the process that it takes beside `--memory`, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.on.resident_bytes()
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
