//! Where the walk over all clients is: see `overdue.rs`.

use torc_engine::command::Millis;

/// Where the sweep is.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The place that was looked at last.
    pub(super) place: usize,
    /// When it last went on.
    pub(super) at: Millis,
}
