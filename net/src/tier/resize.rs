//! A tier's files in another size, or elsewhere.
//!
//! Streams are fixed parts of a medium, and an item's place says where it lies in them, so a tier changes its size by being
//! copied: to a file beside it, `NAME.part`, which takes its name in one step when it is whole. A process that ends before leaves
//! the old file as it was, and a part that the next one removes. Of several files each has its part: see `place.rs`.

use super::members::{self, MembersError, open_files, sizes};
use super::open::{Extras, TierError, divided, open_file, whole_blocks};
use super::place::{part_of, real, take_name};
use crate::slots::SlotMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_pmem::composite::{SetError, member_bytes};
use torc_pmem::copy::{Copied, CopyError, Progress};
use torc_pmem::format::geometry::Geometry;
use torc_pmem::format::superblock::{BadConfig, Config, Refused};
use torc_pmem::media::file::FileMedium;
use torc_pmem::media::{MediaError, Medium};
use torc_pmem::tier::{OpenError, Tier};

/// How often the log tells how far a resize is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A file, and the size that it shall have.
type File = (PathBuf, u64);

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
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error("give one size for all {files} files, or one for each")]
    Sizes { files: usize },
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
    pub copied: Copied,
}

/// Brings the files of a tier that nobody uses to sizes: see [`sizes`]. Without `streams` it has as many as before.
///
/// # Errors
/// [`ResizeError`].
pub fn resize(
    paths: &[PathBuf],
    bytes: &[u64],
    streams: Option<u16>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Carried, ResizeError> {
    let tier = Tier::open(open_files(paths)?)?;
    let bytes = sizes(paths.len(), bytes).ok_or(ResizeError::Sizes { files: paths.len() })?;
    let files: Vec<File> = paths.iter().map(|path| real(path)).zip(bytes).collect();
    carry(&tier, &files, (streams, Extras::ALL), progress)
}

/// Copies a tier that nobody uses to other files, which are not there yet. If no `bytes` are given they have as much room as it
/// has; without `streams` they have as many as the tier.
///
/// # Errors
/// [`ResizeError`].
pub fn copy(
    from: &[PathBuf],
    to: &[PathBuf],
    bytes: &[u64],
    streams: Option<u16>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Carried, ResizeError> {
    if let Some(path) = to.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(ResizeError::InTheWay { path: path.clone() });
    }
    let tier = Tier::open(open_files(from)?)?;
    let room = tier.config().bytes;
    let bytes = match (bytes, to.len()) {
        ([], 1) => vec![room],
        ([], files) => vec![member_bytes(room, files as u64); files],
        (given, files) => sizes(files, given).ok_or(ResizeError::Sizes { files })?,
    };
    let files: Vec<File> = to.iter().cloned().zip(bytes).collect();
    carry(&tier, &files, (streams, Extras::ALL), progress)
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
        Ok(tier) => match resize_at_start(&tier, &[(path.clone(), wanted.bytes)], wanted) {
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

/// As [`fit`], of all members of a tier. One that cannot be used is left as it is.
pub(super) fn fit_members(
    files: &[File],
    made: impl Fn(u64) -> Config,
    resets: bool,
) -> Result<(), TierError> {
    let files: Vec<File> = files.iter().map(|(path, bytes)| (real(path), *bytes)).collect();
    let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
    let tier = match Tier::open(open_files(&paths)?) {
        Ok(tier) => tier,
        Err(OpenError::Media(error)) => return Err(error.into()),
        // Whoever opens it next says so, or makes it anew.
        Err(OpenError::Refused { .. }) => return Ok(()),
    };
    match resize_at_start(&tier, &files, made(tier.config().bytes)) {
        Ok(()) => Ok(()),
        Err(error) if resets => {
            tracing::warn!("--tier-size: {error}; the tier keeps its size");
            Ok(())
        }
        Err(source) => Err(TierError::Resize { path: names(&files).into(), source }),
    }
}

fn resize_at_start(tier: &Tier, files: &[File], wanted: Config) -> Result<(), ResizeError> {
    let (from, to, names) = (tier.config().bytes, room(files)?, names(files));
    tracing::info!("--tier: {names} is resized from {from} bytes to {to}, by being copied");
    let mut told_at = Instant::now();
    let extras = Extras { has_journals: wanted.has_journals(), has_snapshots: wanted.has_snapshots };
    let divided = (Some(wanted.streams), extras);
    let carried = carry(tier, files, divided, &mut |progress| {
        if told_at.elapsed() >= TELL_EVERY {
            told_at = Instant::now();
            tracing::info!("--tier: {} % are copied", progress.percent());
        }
    })?;
    let (records, dropped) = (carried.copied.records, carried.copied.dropped);
    tracing::info!("--tier: resized; {records} records were copied, of which {dropped} had no room");
    Ok(())
}

/// Bytes that a tier has in such files.
fn room(files: &[File]) -> Result<u64, MembersError> {
    match files {
        [(_, bytes)] => Ok(whole_blocks(*bytes)),
        several => Ok(members::layout(several)?.bytes()),
    }
}

fn names(files: &[File]) -> String {
    let names: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    names.join(" and ")
}

/// Copies to a part beside each path, which then takes that name: with so many streams, or as many as before, and with journals and
/// snapshots or without.
fn carry(
    tier: &Tier,
    files: &[File],
    (streams, extras): (Option<u16>, Extras),
    progress: &mut dyn FnMut(Progress),
) -> Result<Carried, ResizeError> {
    let streams = streams.unwrap_or(tier.config().streams);
    // Nobody outside can guess what the volume is.
    let volume = RandomState::new().build_hasher().finish();
    let config = divided(room(files)?, streams, extras, volume, tier.config().hash_seed);
    Geometry::new(config)?;
    let parts: Vec<File> = files.iter().map(|(path, bytes)| (part_of(path), whole_blocks(*bytes))).collect();
    parts.iter().try_for_each(|(part, _)| remove_left_over(part))?;
    let copied = fill(tier, &parts, config, progress);
    if copied.is_err() {
        // What cannot be removed now is removed by the next one.
        parts.iter().for_each(|(part, _)| _ = std::fs::remove_file(part));
    }
    let copied = copied?;
    // From the first of several on the copy is the tier, whatever comes between.
    for ((part, _), (path, _)) in parts.iter().zip(files) {
        let failed = |what, source| ResizeError::File { what, path: path.clone(), source };
        if let Ok(old) = std::fs::metadata(path) {
            std::fs::set_permissions(part, old.permissions()).map_err(|source| failed("replaced", source))?;
        }
        take_name(part, path).map_err(|source| failed("replaced", source))?;
    }
    Ok(Carried { from_bytes: tier.config().bytes, to_bytes: config.bytes, streams: config.streams, copied })
}

fn fill(
    tier: &Tier,
    parts: &[File],
    config: Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, ResizeError> {
    let medium = match parts {
        [(part, bytes)] => open_file(part, *bytes).map_err(MembersError::from),
        several => members::make(several),
    };
    let medium = medium.map_err(|error| match error {
        MembersError::Set(SetError::Media(full @ MediaError::Full { .. })) => ResizeError::Room(full),
        MembersError::Set(SetError::Media(other)) => other.into(),
        other => other.into(),
    })?;
    let slots = SlotMap::even(config.streams).ranges();
    Ok(torc_pmem::copy::copy(tier, &medium, config, &slots, progress)?)
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
