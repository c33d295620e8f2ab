//! A tier's file in another size, or elsewhere.
//!
//! Streams are fixed parts of a medium, and an item's place says where it lies in them, so a tier changes its size by being
//! copied: to a file beside it, `NAME.part`, which takes its name in one step when it is whole. A process that ends before leaves
//! the old file as it was, and a part that the next one removes.

use super::open::{TierError, divided, open_file, whole_blocks};
use crate::slots::SlotMap;
use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_pmem::copy::{CopyError, Progress};
use torc_pmem::format::geometry::Geometry;
use torc_pmem::format::superblock::{BadConfig, Config, Refused};
use torc_pmem::media::file::FileMedium;
use torc_pmem::media::{MediaError, Medium};
use torc_pmem::tier::{OpenError, Tier};

/// How often the log tells how far a resize is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Why a tier was not resized or copied. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    #[error(transparent)]
    Size(#[from] BadConfig),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("{0}; it is copied to there, so there has to be room for both")]
    Room(MediaError),
    #[error(transparent)]
    Refused(#[from] OpenError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("{path} is in the way")]
    InTheWay { path: PathBuf },
    #[error("{path} cannot be {what}: {source}")]
    File { what: &'static str, path: PathBuf, source: io::Error },
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    pub from_bytes: u64,
    pub to_bytes: u64,
    pub streams: u16,
    pub copied: torc_pmem::copy::Copied,
}

/// Brings a tier's file that nobody uses to a size. Without `streams` it has as many as before.
///
/// # Errors
/// [`ResizeError`].
pub fn resize(
    path: &Path,
    bytes: u64,
    streams: Option<u16>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Carried, ResizeError> {
    let path = &real(path)?;
    let tier = Tier::open(Arc::new(FileMedium::open_existing(path)?))?;
    carry(&tier, path, bytes, (streams, true), progress)
}

/// Copies a tier's file that nobody uses to another one, which is not there yet. Without `bytes` that has the same size, without
/// `streams` as many as the tier.
///
/// # Errors
/// [`ResizeError`].
pub fn copy(
    from: &Path,
    to: &Path,
    bytes: Option<u64>,
    streams: Option<u16>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Carried, ResizeError> {
    if to.symlink_metadata().is_ok() {
        return Err(ResizeError::InTheWay { path: to.into() });
    }
    let tier = Tier::open(Arc::new(FileMedium::open_existing(from)?))?;
    carry(&tier, to, bytes.unwrap_or(tier.config().bytes), (streams, true), progress)
}

/// What [`fit`] has come to.
#[derive(Debug)]
pub(super) enum Fit {
    /// It has the size, or there is none yet.
    Fits,
    /// It was emptied: why.
    Emptied(String),
    /// It keeps the size that it has.
    Stays,
}

/// Brings the file of a server's tier that has another size to the wanted one, before it is opened. `resets`: one that cannot be
/// used is emptied, and one that cannot be resized is used as it is; else both are errors.
pub(super) fn fit(path: &Path, wanted: Config, resets: bool) -> Result<Fit, TierError> {
    let path = &match path.canonicalize() {
        Ok(path) if path.metadata().is_ok_and(|found| found.len() > 0) => path,
        // There is none yet, or none that can be opened.
        _ => return Ok(Fit::Fits),
    };
    let why = match Tier::open(Arc::new(FileMedium::open_existing(path)?)) {
        Ok(tier) => match resize_at_start(&tier, path, wanted) {
            Ok(()) => return Ok(Fit::Fits),
            Err(error) if resets => {
                tracing::warn!("--tier-size: {error}; the tier keeps its size");
                return Ok(Fit::Stays);
            }
            Err(source) => return Err(TierError::Resize { path: path.clone(), source }),
        },
        Err(OpenError::Media(error)) => return Err(error.into()),
        Err(OpenError::Refused { source: Refused::Empty, medium }) => format!("{medium} was empty"),
        Err(source) if resets => source.to_string(),
        Err(source) => return Err(TierError::Refused { source }),
    };
    FileMedium::open_existing(path)?.empty()?;
    Ok(Fit::Emptied(why))
}

fn resize_at_start(tier: &Tier, path: &Path, wanted: Config) -> Result<(), ResizeError> {
    let (from, to) = (tier.config().bytes, wanted.bytes);
    tracing::info!("--tier: {} is resized from {from} bytes to {to}, by being copied", path.display());
    let mut told_at = Instant::now();
    let divided = (Some(wanted.streams), wanted.has_journals());
    let carried = carry(tier, path, to, divided, &mut |progress| {
        if told_at.elapsed() >= TELL_EVERY {
            told_at = Instant::now();
            tracing::info!("--tier: {} % are copied", progress.percent());
        }
    })?;
    let (records, dropped) = (carried.copied.records, carried.copied.dropped);
    tracing::info!("--tier: resized; {records} records were copied, of which {dropped} had no room");
    Ok(())
}

/// Copies to a part beside `path`, which then takes that name: with so many streams, or as many as before, and with journals or
/// without.
fn carry(
    tier: &Tier,
    path: &Path,
    bytes: u64,
    (streams, has_journals): (Option<u16>, bool),
    progress: &mut dyn FnMut(Progress),
) -> Result<Carried, ResizeError> {
    let streams = streams.unwrap_or(tier.config().streams);
    // Nobody outside can guess what the volume is.
    let volume = RandomState::new().build_hasher().finish();
    let config = divided(whole_blocks(bytes), streams, has_journals, volume, tier.config().hash_seed);
    Geometry::new(config)?;
    let part = &part_of(path);
    remove_left_over(part)?;
    let carried = fill(tier, part, path, config, progress);
    if carried.is_err() {
        // What cannot be removed now is removed by the next one.
        let _ = std::fs::remove_file(part);
    }
    carried
}

fn fill(
    tier: &Tier,
    part: &Path,
    path: &Path,
    config: Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<Carried, ResizeError> {
    let medium = open_file(part, config.bytes).map_err(|error| match error {
        full @ MediaError::Full { .. } => ResizeError::Room(full),
        other => other.into(),
    })?;
    let slots = SlotMap::even(config.streams).ranges();
    let copied = torc_pmem::copy::copy(tier, &medium, config, &slots, progress)?;
    let failed = |what, source| ResizeError::File { what, path: path.into(), source };
    if let Ok(old) = std::fs::metadata(path) {
        std::fs::set_permissions(part, old.permissions()).map_err(|source| failed("replaced", source))?;
    }
    std::fs::rename(part, path).map_err(|source| failed("replaced", source))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| failed("made durable", source))?;
    Ok(Carried { from_bytes: tier.config().bytes, to_bytes: config.bytes, streams: config.streams, copied })
}

/// The file itself, where the path leads to it by a link.
fn real(path: &Path) -> Result<PathBuf, ResizeError> {
    path.canonicalize().map_err(|source| ResizeError::File { what: "found", path: path.into(), source })
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    name.into()
}

/// Removes the part of a copy that has not come to its end. One that is being written, and a file that holds something else, is
/// left alone.
fn remove_left_over(part: &Path) -> Result<(), ResizeError> {
    match part.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ResizeError::File { what: "looked at", path: part.into(), source }),
    }
    let medium = FileMedium::open_existing(part)?;
    match Tier::superblock(&medium) {
        Err(OpenError::Media(error)) => return Err(error.into()),
        Err(OpenError::Refused { source: Refused::Foreign, .. }) if medium.bytes() > 0 => {
            return Err(ResizeError::InTheWay { path: part.into() });
        }
        Ok(_) | Err(OpenError::Refused { .. }) => {}
    }
    std::fs::remove_file(part).map_err(|source| ResizeError::File {
        what: "removed",
        path: part.into(),
        source,
    })
}
