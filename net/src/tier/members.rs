//! Several files as one medium: opened, made, and named where they are not what they should be.

use super::TierMember;
use super::open::{open_file, size_of_file, whole_blocks};
use super::place::settle;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use torc_pmem::composite::{self, Composite, Look, MEMBER_BYTES_MIN, Named, SetError, Verdict, judge};
use torc_pmem::format::label::MEMBERS_MAX;
use torc_pmem::media::file::FileMedium;
use torc_pmem::media::layout::Layout;
use torc_pmem::media::{MediaError, Medium};

/// Why files are not one medium.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    #[error(transparent)]
    Set(SetError),
    #[error("{} is a tier of its own; to have it over several files, stop the server and say `torc tier copy {} --to ...`", .path.display(), .path.display())]
    Alone { path: PathBuf },
    #[error("{} and {} are the same file", .path.display(), .other.display())]
    Same { path: PathBuf, other: PathBuf },
    #[error("a tier lies in at most {MEMBERS_MAX} files, and {given} are given")]
    Many { given: usize },
    #[error("each of several files has {MEMBER_BYTES_MIN} bytes at least")]
    Small,
    #[error("{} cannot be {what}: {source}", .path.display())]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
}

impl From<SetError> for MembersError {
    fn from(error: SetError) -> MembersError {
        match error {
            SetError::Alone { name } => MembersError::Alone { path: name.into() },
            other => MembersError::Set(other),
        }
    }
}

impl From<MediaError> for MembersError {
    fn from(error: MediaError) -> MembersError {
        MembersError::Set(error.into())
    }
}

/// The sizes of so many files by what was given for them: one for each, or one for all together.
pub fn sizes(files: usize, given: &[u64]) -> Option<Vec<u64>> {
    match given {
        [all] => Some(vec![whole_blocks(all / files.max(1) as u64); files]),
        each if each.len() == files => Some(each.iter().copied().map(whole_blocks).collect()),
        _ => None,
    }
}

/// Opens the files of a tier that nobody uses, at the sizes that they have, for system calls: one, or all members in any order.
///
/// # Errors
/// [`MembersError`].
pub fn open_files(paths: &[PathBuf]) -> Result<Arc<dyn Medium>, MembersError> {
    if let [path] = paths {
        return Ok(Arc::new(FileMedium::open_existing(path)?));
    }
    check(paths)?;
    settle(paths)?;
    let open =
        |path: &PathBuf| Ok((name(path), Arc::new(FileMedium::open_existing(path)?) as Arc<dyn Medium>));
    let members = paths.iter().map(open).collect::<Result<Vec<Named>, MembersError>>()?;
    Ok(Arc::new(Composite::open(members)?))
}

/// What lies in the files of a server's tier, before they are opened for it.
///
/// # Errors
/// [`MembersError`].
pub(super) fn find(members: &[TierMember]) -> Result<Verdict, MembersError> {
    let paths = paths(members);
    check(&paths)?;
    settle(&paths)?;
    let looks = paths.iter().map(|path| Ok((name(path), look(path)?)));
    Ok(judge(&looks.collect::<Result<Vec<_>, MembersError>>()?)?)
}

/// Opens the members that are there, as a server does.
///
/// # Errors
/// [`MembersError`].
pub(super) fn open(members: &[TierMember]) -> Result<Arc<dyn Medium>, MembersError> {
    let open = |member: &TierMember| {
        let bytes = size_of_file(&member.path).map_err(|source| looked_at(&member.path, source))?;
        named(&member.path, bytes.unwrap_or(0))
    };
    let members = members.iter().map(open).collect::<Result<Vec<Named>, MembersError>>()?;
    Ok(Arc::new(Composite::open(members)?))
}

/// Makes a medium of files of these sizes. What they hold is gone, and those of another size are made anew.
///
/// # Errors
/// [`MembersError`].
pub(super) fn make(files: &[(PathBuf, u64)]) -> Result<Arc<dyn Medium>, MembersError> {
    let layout = layout(files)?;
    for (path, bytes) in files {
        let found = size_of_file(path).map_err(|source| looked_at(path, source))?;
        if found.is_some_and(|found| found != *bytes) {
            FileMedium::open_existing(path)?.empty()?;
        }
    }
    let members = files.iter().map(|(path, bytes)| named(path, *bytes));
    let members = members.collect::<Result<Vec<Named>, MembersError>>()?;
    // Nobody outside can guess it.
    let set = RandomState::new().build_hasher().finish();
    Ok(Arc::new(Composite::make(members, set, layout)?))
}

/// How files of these sizes are divided.
///
/// # Errors
/// [`MembersError::Small`].
pub(super) fn layout(files: &[(PathBuf, u64)]) -> Result<Layout, MembersError> {
    let sizes: Vec<u64> = files.iter().map(|(_, bytes)| *bytes).collect();
    composite::layout(&sizes).ok_or(MembersError::Small)
}

pub(super) fn paths(members: &[TierMember]) -> Vec<PathBuf> {
    members.iter().map(|member| member.path.clone()).collect()
}

/// What lies in a file; in one that is not there: nothing.
pub(super) fn look(path: &Path) -> Result<Look, MembersError> {
    match size_of_file(path).map_err(|source| looked_at(path, source))? {
        None => Ok(Look::Blank),
        Some(_) => Ok(composite::look(&name(path), &FileMedium::open_existing(path)?)?),
    }
}

fn named(path: &Path, bytes: u64) -> Result<Named, MembersError> {
    Ok((name(path), open_file(path, bytes)?))
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn looked_at(path: &Path, source: std::io::Error) -> MembersError {
    MembersError::File { what: "looked at", path: path.into(), source }
}

/// Refuses too many, and one file by two names.
fn check(paths: &[PathBuf]) -> Result<(), MembersError> {
    if paths.len() > usize::from(MEMBERS_MAX) {
        return Err(MembersError::Many { given: paths.len() });
    }
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    for (number, path) in paths.iter().enumerate() {
        if let Some(other) = paths[..number].iter().find(|other| real(other) == real(path)) {
            return Err(MembersError::Same { path: path.clone(), other: other.clone() });
        }
    }
    Ok(())
}
