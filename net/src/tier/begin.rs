//! A tier is taken into use: where its streams end, and who writes them from there on.

use super::recover::find_all;
use super::{TierError, TierFigures};
use std::sync::atomic::Ordering::Relaxed;
use torc_pmem::recover::Found;
use torc_pmem::stream::{Journal, StreamWriter, WriteError};
use torc_pmem::tier::{Run, Tier};

/// A tier that was taken into use.
pub(super) struct Begun {
    pub(super) run: Run,
    /// By stream: where it ends.
    pub(super) found: Vec<Found>,
    pub(super) writers: Vec<(StreamWriter, Option<Journal>)>,
}

/// Takes a tier into use. What journals have alone is packed into their streams first.
///
/// # Errors
/// The medium's.
pub(super) fn begin(tier: Tier, is_volatile: bool, figures: &TierFigures) -> Result<Begun, TierError> {
    let mut all = find_all(&tier)?;
    all.sort_by_key(|(found, _)| found.end.stream());
    let (mut found, journaled): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let run = if is_volatile { tier.begin_volatile()? } else { tier.begin()? };
    let both = found.iter().zip(&journaled);
    let writers = both.map(|(found, journaled)| run.writers(&found.end, journaled.as_ref()));
    let writers = writers.collect::<Result<Vec<_>, _>>().map_err(media)?;
    let (mut packed, mut damaged) = (0, 0);
    for (found, journaled) in found.iter_mut().zip(journaled.iter().flatten()) {
        if !journaled.records.is_empty() {
            *found = run.tier().find(found.end.stream())?;
        }
        packed += journaled.records.len();
        damaged += journaled.counts.damaged;
    }
    figures.damaged.fetch_add(damaged, Relaxed);
    if packed > 0 {
        tracing::info!("--tier: {packed} changes that were in journals alone are packed");
    }
    Ok(Begun { run, found, writers })
}

fn media(error: WriteError) -> TierError {
    match error {
        WriteError::Media(error) => TierError::Media(error),
        error => unreachable!("a stream that begins has room and is not latched: {error}"),
    }
}
