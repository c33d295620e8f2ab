//! Copying a tier to another medium, which may have another size and be divided otherwise.
//!
//! ```text
//!   stream 0 | oldest batch | ... ┐                       ┌─> stream 0
//!   stream 1 | oldest batch | ... ┼─ by highest version ──┤
//!   ...                           ┘                       └─> stream 1, ...
//! ```
//!
//! All records go over, superseded ones and marks included, with their versions: oldest first, so that those of one key stay in
//! their order, and a target that is too small loses its oldest batches, as any full tier does. What a damaged table makes
//! doubtful stays behind. An item that cannot be read goes over as the mark that it is gone, so that no older copy takes its
//! place.

mod source;
mod target;

use std::ops::RangeInclusive;
use std::sync::Arc;
use thiserror::Error;

use crate::format::superblock::Config;
use crate::media::{MediaError, Medium};
use crate::stream::WriteError;
use crate::tier::{OpenError, Tier};
use source::Sources;
use target::Target;

/// Why a tier was not copied. The target is not to be used then.
#[derive(Debug, Error)]
pub enum CopyError {
    #[error("{medium} cannot be read: {source}")]
    Read { medium: String, source: MediaError },
    #[error("{medium} cannot be read: a table was damaged meanwhile")]
    Changed { medium: String },
    #[error(transparent)]
    Made(#[from] OpenError),
    #[error("{medium} cannot be written: {source}")]
    Write { medium: String, source: WriteError },
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Records that were written to the target.
    pub records: u64,
    /// Those of them whose item the target has lost again, as it was full.
    pub dropped: u64,
    /// Items that could not be read, or are longer than a batch of the target takes: they went over as marks.
    pub lost: u64,
}

/// How far a copy is, by the bytes of the source's batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done_bytes: u64,
    pub all_bytes: u64,
}

impl Progress {
    pub fn percent(&self) -> u64 {
        (100.0 * self.done_bytes as f64 / self.all_bytes.max(1) as f64) as u64
    }
}

/// Copies a tier that is not in use to a medium, whose content is gone. `config` says how that is divided; the hashes' seed is the
/// source's. `slots` says which slots are in which stream of the target, ascending.
///
/// # Errors
/// [`CopyError`].
pub fn copy(
    from: &Tier,
    to: &Arc<dyn Medium>,
    config: Config,
    slots: &[(RangeInclusive<u16>, u16)],
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, CopyError> {
    let config = Config { hash_seed: from.config().hash_seed, ..config };
    let mut sources = Sources::new(from)?;
    let mut target = Target::new(to, config, slots)?;
    let all_bytes = sources.bytes();
    while sources.next(&mut |record, item| target.put(record, item))? {
        progress(Progress { done_bytes: all_bytes - sources.bytes(), all_bytes });
    }
    target.end(from)
}
