//! From a path to a tier.

use super::{TierConfig, TierPath};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use torc_pmem::format::geometry::Geometry;
use torc_pmem::format::superblock::{BATCH_BYTES, BadConfig, Config, Refused};
use torc_pmem::media::dax::Dax;
use torc_pmem::media::file::{Access, FileMedium};
use torc_pmem::media::volatile::Volatile;
use torc_pmem::media::{BLOCK_BYTES, MediaError, Medium};
use torc_pmem::tier::{OpenError, Tier};

/// Page size, bytes: a point read decodes one.
pub(super) const PAGE_BYTES: u32 = 16 << 10;
/// Most bytes of a batch.
const BATCH_BYTES_MOST: u64 = 1 << 20;
/// Batches of the largest size that a stream has room for at least: the fewer there are, the more is lost with each.
const BATCHES_MIN: u64 = 64;

/// Why there is no tier.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    #[error("--tier-size: {0} does not exist yet, so its size has to be given")]
    NoSize(PathBuf),
    #[error("--tier-size: {0}")]
    Size(BadConfig),
    #[error("--tier: {0}")]
    Media(#[from] MediaError),
    #[error("--tier: {source}; to make it anew, say --tier-on-mismatch reset: what it holds is lost")]
    Refused { source: OpenError },
    #[error("--tier: {path} cannot be looked at: {cause}")]
    Stat { path: PathBuf, cause: std::io::Error },
    #[error("--tier: its threads cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A tier whose content nobody has asked for yet.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) tier: Tier,
    /// It was made just now: why, in words for the log.
    pub(crate) made: Option<String>,
}

impl Opened {
    /// Opens the tier that is there, or makes one for so many shards. `random` draws numbers that nobody can guess.
    ///
    /// # Errors
    /// [`TierError`].
    pub(crate) fn open(
        config: &TierConfig,
        shards: u16,
        random: impl Fn() -> u64,
    ) -> Result<Opened, TierError> {
        let made = |bytes| Config {
            bytes,
            page_bytes: PAGE_BYTES,
            batch_bytes: batch_bytes(bytes, shards),
            streams: shards,
            volume: random(),
            hash_seed: random(),
        };
        if let Some(bytes) = config.bytes.filter(|_| !is_there(&config.path)) {
            // Before a file is made, which would have the wrong size at the next start.
            Geometry::new(made(whole_blocks(bytes))).map_err(TierError::Size)?;
        }
        let medium = open_medium(&config.path, config.bytes)?;
        let (source, words) = match Tier::open(Arc::clone(&medium)) {
            Ok(tier) => return Ok(Opened { tier, made: None }),
            Err(OpenError::Media(error)) => return Err(error.into()),
            Err(OpenError::Refused { source: Refused::Empty, medium }) => {
                (None, format!("{medium} was empty"))
            }
            Err(OpenError::Refused { source: source @ Refused::Unfinished, medium }) => {
                (None, format!("{medium}: {source}"))
            }
            Err(source) => {
                let words = source.to_string();
                (Some(source), words)
            }
        };
        if let Some(source) = source.filter(|_| !config.resets) {
            return Err(TierError::Refused { source });
        }
        let refused = |source| match source {
            OpenError::Media(error) => TierError::Media(error),
            OpenError::Refused { source: Refused::Config(error), .. } => TierError::Size(error),
            source => TierError::Refused { source },
        };
        // Nobody is given a version, or a CAS token, that the runs before have given out.
        let ceiling = Tier::superblock(&*medium).map_or(0, |before| before.ceiling);
        Tier::create_above(&medium, made(medium.bytes()), ceiling).map_err(refused)?;
        let tier = Tier::open(medium).map_err(refused)?;
        Ok(Opened { tier, made: Some(words) })
    }
}

/// The size of a batch, so that a stream has room for many.
fn batch_bytes(bytes: u64, streams: u16) -> u32 {
    let fitting = bytes / u64::from(streams) / BATCHES_MIN / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    fitting.clamp(u64::from(2 * PAGE_BYTES), BATCH_BYTES_MOST.min(u64::from(*BATCH_BYTES.end()))) as u32
}

/// Opens a medium: persistent memory if the path lies there, else a file. One that is not there is made.
///
/// # Errors
/// [`TierError`].
pub fn open_medium(path: &TierPath, bytes: Option<u64>) -> Result<Arc<dyn Medium>, TierError> {
    let path = match path {
        TierPath::Memory => {
            let bytes = bytes.ok_or_else(|| TierError::NoSize("memory".into()))?;
            return Ok(Arc::new(Volatile::new(whole_blocks(bytes))?));
        }
        TierPath::File(path) => path,
    };
    let bytes = match (bytes, size_of_file(path)?) {
        (Some(bytes), _) => whole_blocks(bytes),
        (None, Some(found)) => found,
        (None, None) => return Err(TierError::NoSize(path.clone())),
    };
    match Dax::open(path, bytes) {
        Ok(medium) => Ok(Arc::new(medium)),
        Err(MediaError::NotDax { .. }) => Ok(Arc::new(FileMedium::open(path, bytes, Access::Best)?)),
        Err(error) => Err(error.into()),
    }
}

fn whole_blocks(bytes: u64) -> u64 {
    bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64
}

/// Whether there is a file that holds something, or something that cannot be looked at.
fn is_there(path: &TierPath) -> bool {
    match path {
        TierPath::Memory => false,
        TierPath::File(path) => !matches!(size_of_file(path), Ok(None)),
    }
}

/// The size of a file that holds something.
fn size_of_file(path: &Path) -> Result<Option<u64>, TierError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found.len()).filter(|bytes| *bytes > 0)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(TierError::Stat { path: path.into(), cause }),
    }
}
