//! How the files of a copy take their names.
//!
//! A copy is written to `NAME.part` beside each name. When it is whole and safe, they take their names one after the other. A
//! process that ends between two of them leaves members of two tiers: the first that has its name says that the copy is whole, so
//! that the next one who opens them gives the others theirs.

use super::members::{MembersError, look};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use torc_pmem::composite::{Look, Verdict, judge};

pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    name.into()
}

/// The file itself, where the path leads to it by a link; what is not there has the name that it will have.
pub(super) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}

/// Gives a part its name, and makes that safe.
///
/// # Errors
/// The file system's.
pub(super) fn take_name(part: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(part, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Ends what a process has begun that gave the members of a copy their names, if there is such a thing.
///
/// # Errors
/// [`MembersError`].
pub(super) fn settle(paths: &[PathBuf]) -> Result<(), MembersError> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| real(path)).collect();
    let parts: Vec<PathBuf> = paths.iter().map(|path| part_of(path)).collect();
    if !parts.iter().any(|part| part.exists()) {
        return Ok(());
    }
    // What cannot be looked at is no member of the copy; whoever opens it says why.
    let look = |path: &PathBuf| look(path).ok();
    let (named, beside): (Vec<_>, Vec<_>) =
        (paths.iter().map(look).collect(), parts.iter().map(look).collect());
    for set in named.iter().filter_map(set_of) {
        let is_named = |place: usize| set_of(&named[place]) == Some(set);
        let chosen =
            (0..paths.len()).map(|place| if is_named(place) { &named[place] } else { &beside[place] });
        let looks: Option<Vec<_>> = chosen.map(|look| Some((String::new(), look.clone()?))).collect();
        let looks =
            looks.filter(|looks| looks.iter().all(|(_, look)| set_of(&Some(look.clone())) == Some(set)));
        if !looks.is_some_and(|looks| matches!(judge(&looks), Ok(Verdict::Whole { .. }))) {
            continue;
        }
        for place in (0..paths.len()).filter(|place| !is_named(*place)) {
            let (part, path) = (&parts[place], &paths[place]);
            tracing::info!("--tier: {} takes its name, as a copy was cut off that was whole", part.display());
            take_name(part, path).map_err(|source| MembersError::File {
                what: "replaced",
                path: path.clone(),
                source,
            })?;
        }
        return Ok(());
    }
    Ok(())
}

/// Which set a file is a member of.
fn set_of(look: &Option<Look>) -> Option<u64> {
    match look {
        Some(Look::Member { label, .. }) => Some(label.set),
        _ => None,
    }
}
