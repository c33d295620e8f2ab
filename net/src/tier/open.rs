//! From a path to a tier.

use super::members::{self, MembersError};
use super::resize::{self, Fit, ResizeError};
use super::{TierConfig, TierMember, TierPath};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use torc_pmem::composite::Verdict;
use torc_pmem::format::geometry::Geometry;
use torc_pmem::format::superblock::{BATCH_BYTES, BadConfig, Config, JournalConfig, Refused};
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

/// A journal takes this share of a stream, and so many bytes at most: a change that has to be safe alone takes a block of it, until
/// there is a batch's worth of them.
const JOURNAL_SHARE: u64 = 32;
const JOURNAL_BYTES_MOST: u64 = 16 << 20;
/// It has room for about so many batches of the largest size, which have so many bytes at most.
const JOURNAL_BATCHES: u64 = 32;
const JOURNAL_BATCH_BYTES_MOST: u64 = 256 << 10;

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
    #[error("--tier: {path} cannot be brought to --tier-size: {source}")]
    Resize { path: PathBuf, source: ResizeError },
    #[error("--tier: {0}")]
    Members(#[from] MembersError),
    #[error("--tier: {0}; to make it anew, say --tier-on-mismatch reset: what it holds is lost")]
    Unfit(MembersError),
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
        let made = |bytes| divided(bytes, shards, config.extras(), random(), random());
        let (medium, emptied) = match &config.path {
            TierPath::Members(members) => open_members(members, made, config.resets)?,
            _ => open_one(config, made)?,
        };
        let (source, words) = match Tier::open(Arc::clone(&medium)) {
            Ok(tier) => return Ok(Opened { tier, made: None }),
            Err(OpenError::Media(error)) => return Err(error.into()),
            Err(OpenError::Refused { source: Refused::Empty, medium }) => {
                (None, emptied.unwrap_or_else(|| format!("{medium} was empty")))
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

/// A medium, and why it was emptied, if it was.
type Fitted = (Arc<dyn Medium>, Option<String>);

/// Opens the one file of a tier, or memory, at the size that is wanted.
fn open_one(config: &TierConfig, made: impl Fn(u64) -> Config) -> Result<Fitted, TierError> {
    let (mut bytes_wanted, mut emptied) = (config.bytes, None);
    if let Some(bytes) = config.bytes.map(whole_blocks)
        && size_of(&config.path)? != Some(bytes)
    {
        // Before a file is made, which would have the wrong size at the next start.
        Geometry::new(made(bytes)).map_err(TierError::Size)?;
        if let TierPath::File(path) = &config.path {
            match resize::fit(path, made(bytes), config.resets)? {
                Fit::Fits => {}
                Fit::Emptied(why) => emptied = Some(why),
                Fit::Stays => bytes_wanted = None,
            }
        }
    }
    Ok((open_medium(&config.path, bytes_wanted)?, emptied))
}

/// Opens the members of a tier at the sizes that are wanted, or makes them if none of them holds anything.
fn open_members(
    members: &[TierMember],
    made: impl Fn(u64) -> Config,
    resets: bool,
) -> Result<Fitted, TierError> {
    let why = match members::find(members) {
        Ok(Verdict::Whole { .. }) => {
            let found = members.iter().map(|member| size_of_file(&member.path));
            let found = found.collect::<Result<Vec<_>, _>>();
            let found = found.map_err(|cause| TierError::Stat { path: members[0].path.clone(), cause })?;
            let is_as_found = |(member, found): (&TierMember, &Option<u64>)| {
                member.bytes.is_none_or(|bytes| Some(whole_blocks(bytes)) == *found)
            };
            if !members.iter().zip(&found).all(is_as_found) {
                let wanted = with_sizes(members, &found)?;
                Geometry::new(made(members::layout(&wanted)?.bytes())).map_err(TierError::Size)?;
                resize::fit_members(&wanted, &made, resets)?;
            }
            return Ok((members::open(members)?, None));
        }
        Ok(Verdict::Blank) => None,
        Err(error) if resets => Some(error.to_string()),
        Err(error) => return Err(TierError::Unfit(error)),
    };
    let found = members.iter().map(|member| size_of_file(&member.path).ok().flatten()).collect::<Vec<_>>();
    let files = with_sizes(members, &found)?;
    // Before files are made.
    Geometry::new(made(members::layout(&files)?.bytes())).map_err(TierError::Size)?;
    Ok((members::make(&files)?, why))
}

/// The size that each file shall have: what is wanted, or else what it has.
pub(super) fn with_sizes(
    members: &[TierMember],
    found: &[Option<u64>],
) -> Result<Vec<(PathBuf, u64)>, TierError> {
    let sized = |(TierMember { path, bytes }, found): (&TierMember, &Option<u64>)| {
        let bytes = bytes.or(*found).map(whole_blocks).ok_or_else(|| TierError::NoSize(path.clone()))?;
        Ok((path.clone(), bytes))
    };
    members.iter().zip(found).map(sized).collect()
}

/// How a new tier is divided.
pub(super) fn divided(bytes: u64, streams: u16, extras: Extras, volume: u64, hash_seed: u64) -> Config {
    let Extras { has_journals, has_snapshots } = extras;
    let batch_bytes = batch_bytes(bytes, streams.max(1));
    let journal = if has_journals { journal(bytes, streams.max(1)) } else { JournalConfig::NONE };
    Config { bytes, page_bytes: PAGE_BYTES, batch_bytes, streams, journal, has_snapshots, volume, hash_seed }
}

/// What streams may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extras {
    pub(super) has_journals: bool,
    pub(super) has_snapshots: bool,
}

impl Extras {
    /// What the newest format has.
    pub(super) const ALL: Extras = Extras { has_journals: true, has_snapshots: true };
}

impl TierConfig {
    /// What a tier has that is made with these settings.
    pub(super) fn extras(&self) -> Extras {
        Extras { has_journals: self.journal_bytes > 0, has_snapshots: self.snapshots.a_lap > 0 }
    }
}

/// A journal for each stream; none where their shares are too small for one.
fn journal(bytes: u64, streams: u16) -> JournalConfig {
    let whole = |bytes: u64| bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    let all = whole(bytes / u64::from(streams) / JOURNAL_SHARE).min(JOURNAL_BYTES_MOST);
    let batch_bytes =
        whole(all / JOURNAL_BATCHES).clamp(u64::from(*BATCH_BYTES.start()), JOURNAL_BATCH_BYTES_MOST);
    let journal = JournalConfig { bytes: all as u32, batch_bytes: batch_bytes as u32 };
    if journal.is_possible() { journal } else { JournalConfig::NONE }
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
pub(super) fn open_medium(path: &TierPath, bytes: Option<u64>) -> Result<Arc<dyn Medium>, TierError> {
    let path = match path {
        TierPath::Memory => {
            let bytes = bytes.ok_or_else(|| TierError::NoSize("memory".into()))?;
            return Ok(Arc::new(Volatile::new(whole_blocks(bytes))?));
        }
        TierPath::Members(members) => return Ok(members::open(members)?),
        TierPath::File(path) => path,
    };
    let bytes = match (bytes, found(path)?) {
        (Some(bytes), _) => whole_blocks(bytes),
        (None, Some(found)) => found,
        (None, None) => return Err(TierError::NoSize(path.clone())),
    };
    Ok(open_file(path, bytes)?)
}

/// Opens a file of this size as persistent memory if it lies there, else as a file. One that is not there is made.
pub(super) fn open_file(path: &Path, bytes: u64) -> Result<Arc<dyn Medium>, MediaError> {
    match Dax::open(path, bytes) {
        Ok(medium) => Ok(Arc::new(medium)),
        Err(MediaError::NotDax { .. }) => Ok(Arc::new(FileMedium::open(path, bytes, Access::Best)?)),
        Err(error) => Err(error),
    }
}

pub(super) fn whole_blocks(bytes: u64) -> u64 {
    bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64
}

/// The size of a tier that is there.
fn size_of(path: &TierPath) -> Result<Option<u64>, TierError> {
    match path {
        TierPath::File(path) => found(path),
        TierPath::Memory | TierPath::Members(_) => Ok(None),
    }
}

fn found(path: &Path) -> Result<Option<u64>, TierError> {
    size_of_file(path).map_err(|cause| TierError::Stat { path: path.into(), cause })
}

/// The size of a file that holds something.
pub(super) fn size_of_file(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found.len()).filter(|bytes| *bytes > 0)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}
