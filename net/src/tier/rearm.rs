//! A tier that has failed, taken into use again while the server serves.
//!
//! ```text
//!   latched --> every shard forgets what lay there and lets go --> the threads end, the medium is closed
//!                                                                        |  the operator asks
//!       shards take it, and tell it what memory holds <-- threads <-- opened and made anew
//! ```
//!
//! The medium is opened by its path, as another disk may be there by now, and divided anew with the same seed of hashes: what
//! the shards' indexes name is found by it. Nothing of what was there is believed, so nothing old comes back.

use super::members;
use super::open::{TierError, divided, open_file, open_medium, whole_blocks, with_sizes};
use super::port::Link;
use super::{Durability, Storage, StorageParts, TierConfig, TierFigures, TierMember, TierPath};
use crate::clock::Clock;
use crate::slots::SlotMap;
use crate::tier::port::Socket;
use crate::transport::Waker;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use torc_pmem::format::superblock::{Config, Refused};
use torc_pmem::media::file::FileMedium;
use torc_pmem::media::{BLOCK_BYTES, MediaError, Medium, zeroed};
use torc_pmem::tier::{OpenError, Tier};

/// How long calls to the old medium that are under way are waited for, and how long shards that take the new one.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Why a tier was not taken into use again.
#[derive(Debug, thiserror::Error)]
pub enum RearmError {
    #[error("this server has no tier (--tier)")]
    NoTier,
    #[error("the tier is in use: there is nothing to rearm")]
    InUse,
    #[error("the tier is being rearmed already")]
    UnderWay,
    #[error(
        "calls to the tier's medium are still under way, so it is not closed yet; try again when it answers them, or start again"
    )]
    Hangs,
    #[error("{0}; the tier stays out of use")]
    Tier(#[from] TierError),
    #[error(
        "{path} holds something that is not a tier of Torc, and is left as it is; the tier stays out of use"
    )]
    Foreign { path: String },
    #[error("the tier is in use again, but not by every shard yet: see the log")]
    Slow,
    #[error("{0}")]
    Ended(String),
}

/// What a tier is taken into use again with.
#[derive(Debug)]
pub(crate) struct Rearm<C> {
    pub(crate) settings: TierConfig,
    /// What the tier has had: size, streams, the seed of hashes.
    pub(crate) config: Config,
    pub(crate) slots: SlotMap,
    pub(crate) clock: C,
    pub(crate) figures: Arc<TierFigures>,
    /// By shard.
    pub(crate) sockets: Vec<Socket>,
    pub(crate) wakers: Wakers,
}

/// By shard.
pub(crate) struct Wakers(pub(crate) Vec<Arc<dyn Waker>>);

impl std::fmt::Debug for Wakers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} wakers", self.0.len())
    }
}

/// What was taken into use.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(crate) storage: Storage,
    pub(crate) medium: Arc<dyn Medium>,
}

impl<C: Clock + Clone> Rearm<C> {
    /// Waits until the threads of the old tier have ended, which they do when all shards have let go of it.
    ///
    /// # Errors
    /// [`RearmError::InUse`], [`RearmError::Hangs`]; a thread has panicked.
    pub(crate) fn end(&self, storage: &mut Storage) -> Result<(), RearmError> {
        if !self.figures.is_latched() {
            return Err(RearmError::InUse);
        }
        if !until(|| storage.has_ended()) {
            return Err(RearmError::Hangs);
        }
        storage.join().map_err(RearmError::Ended)
    }

    /// Makes the tier anew, and has it taken into use. `volume` is a number that nobody can guess. Its threads have ended, and
    /// nobody has its medium open.
    ///
    /// # Errors
    /// The medium's; it is none of ours. The tier stays out of use.
    pub(crate) fn begin(&self, volume: u64) -> Result<Armed, RearmError>
    where
        C: Send + 'static,
    {
        let tier = self.make(volume)?;
        let medium = tier.medium().clone();
        let storage = self.offer(tier, Storage::start)?;
        Ok(Armed { storage, medium })
    }

    /// Has `start` take an empty tier into use, and the shards take it.
    ///
    /// # Errors
    /// What `start` says. The tier stays out of use.
    pub(crate) fn offer<S>(
        &self,
        tier: Tier,
        start: impl FnOnce(StorageParts<C>) -> Result<(S, Vec<Link>), TierError>,
    ) -> Result<S, TierError> {
        let shards = self.wakers.0.len();
        let is_fast = tier.medium().is_byte_addressable();
        let parts = StorageParts {
            tier,
            wakers: self.wakers.0.clone(),
            slots: self.slots.clone(),
            figures: self.figures.clone(),
            clock: self.clock.clone(),
            cache_bytes: if is_fast { 0 } else { self.settings.cache_bytes_of(shards as u16) as usize },
            durability: self.settings.durability,
            journal_bytes: self.settings.journal_bytes,
            snapshots: self.settings.snapshots,
            cpus: self.settings.cpus.clone(),
            reads: self.settings.reads,
            recovers: false,
        };
        // Before its thread begins, which may have to latch it again. A shard that is not linked goes on without it.
        self.figures.begin_again(shards as u64, self.settings.durability != Durability::None);
        let (storage, links) = start(parts).inspect_err(|_| self.figures.has_failed_again())?;
        self.figures.rearms.fetch_add(1, Relaxed);
        for ((socket, link), waker) in self.sockets.iter().zip(links).zip(&self.wakers.0) {
            // A shard that has ended takes nothing more.
            let _ = socket.send(link);
            waker.wake();
        }
        Ok(storage)
    }

    /// Waits until every shard uses the tier: what changes from then on is saved as ever.
    ///
    /// # Errors
    /// [`RearmError::Slow`].
    pub(crate) fn wait(&self) -> Result<(), RearmError> {
        let shards = self.wakers.0.len() as u64;
        if until(|| self.figures.linked() >= shards) { Ok(()) } else { Err(RearmError::Slow) }
    }

    /// The tier, empty.
    fn make(&self, volume: u64) -> Result<Tier, RearmError> {
        match &self.settings.path {
            TierPath::Members(members) => {
                let (medium, ceiling) = self.clear_members(members)?;
                self.create(medium, ceiling, volume)
            }
            path => {
                let bytes = whole_blocks(self.settings.bytes.unwrap_or(self.config.bytes));
                if let TierPath::File(path) = path {
                    self.clear(path, bytes)?;
                }
                self.divide(open_medium(path, Some(bytes))?, volume)
            }
        }
    }

    /// A tier on a medium of its size, empty.
    pub(crate) fn divide(&self, medium: Arc<dyn Medium>, volume: u64) -> Result<Tier, RearmError> {
        let ceiling = self.erase(&*medium)?;
        try_end(&*medium)?;
        self.create(medium, ceiling, volume)
    }

    /// Makes a tier on a medium that holds nothing; versions up to the ceiling were given out before.
    fn create(&self, medium: Arc<dyn Medium>, ceiling: u64, volume: u64) -> Result<Tier, RearmError> {
        let shards = self.wakers.0.len() as u16;
        let extras = self.settings.extras();
        let config = divided(medium.bytes(), shards, extras, volume, self.config.hash_seed);
        let made = Tier::create_above(&medium, config, ceiling.max(self.figures.drawn()));
        made.and_then(|()| Tier::open(medium)).map_err(|error| match error {
            OpenError::Media(error) => TierError::Media(error).into(),
            OpenError::Refused { source: Refused::Config(error), .. } => TierError::Size(error).into(),
            source => TierError::Refused { source }.into(),
        })
    }

    /// A medium of several files, with nothing on it, and the versions that were given out before.
    fn clear_members(&self, members: &[TierMember]) -> Result<(Arc<dyn Medium>, u64), RearmError> {
        let files = with_sizes(members, &vec![None; members.len()])?;
        files.iter().try_for_each(|(path, bytes)| self.clear(path, *bytes))?;
        // Of members that are no more those of one tier, the versions that shards told of count.
        let before = members::open(members).ok();
        let ceiling = before.map(|medium| self.erase(&*medium)).transpose()?.unwrap_or_default();
        for (path, bytes) in &files {
            try_end(&*open_file(path, *bytes).map_err(TierError::Media)?)?;
        }
        let medium = members::make(&files).map_err(TierError::Members)?;
        self.figures.void.store(true, Relaxed);
        Ok((medium, ceiling))
    }

    /// Makes it durable that a medium holds nothing, and returns its ceiling.
    fn erase(&self, medium: &dyn Medium) -> Result<u64, RearmError> {
        let ceiling = Tier::superblock(medium).map_or(0, |before| before.ceiling);
        Tier::erase(medium).map_err(TierError::Media)?;
        // From here on nothing of what was there can come back, whatever becomes of this.
        self.figures.void.store(true, Relaxed);
        Ok(ceiling)
    }

    /// Empties a file that has another size, so that it is made at its full size. One that holds something else is left alone,
    /// unless `--tier-on-mismatch reset` was said.
    fn clear(&self, path: &Path, bytes: u64) -> Result<(), RearmError> {
        let medium = match FileMedium::open_existing(path) {
            Ok(medium) => medium,
            Err(MediaError::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(());
            }
            Err(error) => return Err(TierError::Media(error).into()),
        };
        match Tier::superblock(&medium) {
            Err(OpenError::Media(error)) => return Err(TierError::Media(error).into()),
            Err(OpenError::Refused { source: Refused::Foreign, medium: name }) if medium.bytes() > 0 => {
                if !self.settings.resets {
                    return Err(RearmError::Foreign { path: name });
                }
            }
            Ok(_) | Err(OpenError::Refused { .. }) => {}
        }
        let found =
            std::fs::metadata(path).map_err(|cause| TierError::Stat { path: path.into(), cause })?.len();
        if found != bytes {
            medium.empty().map_err(TierError::Media)?;
            self.figures.void.store(true, Relaxed);
        }
        Ok(())
    }
}

/// Writes to the end of a medium: what is written to divide it may all lie near its start.
fn try_end(medium: &dyn Medium) -> Result<(), TierError> {
    let end = medium.bytes() - BLOCK_BYTES as u64;
    Ok(medium.write(end, &zeroed(1)).and_then(|()| medium.drain())?)
}

/// Looks until something is so, for a while. Returns whether it is.
fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}
