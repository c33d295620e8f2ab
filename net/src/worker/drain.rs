//! How far the end of a shard is: see `ending.rs`.

use torc_engine::command::Millis;

/// How far a shard's drain is.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// When it began.
    pub(super) since: Option<Millis>,
    /// Turns since then.
    pub(super) turns: u32,
    /// The shard's clients are gone.
    pub(super) is_done: bool,
    /// Turns since all shards were seen to be done.
    pub(super) turns_since_all: u32,
}

impl Drain {
    pub(super) fn has_begun(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it takes longer than `ms_max`.
    pub(super) fn is_late(&self, ticks: Millis, ms_max: u64) -> bool {
        self.since.is_some_and(|since| ticks - since > ms_max)
    }
}
