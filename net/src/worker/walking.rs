//! What a connection keeps of a walk over all shards; the steps are in `walk.rs`.

use crate::session::Over;

/// A walk that is under way.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(super) over: Over,
    /// The shard, and the place in it, where the next step begins.
    pub(super) cursor: u64,
    /// It began somewhere in between, and has come to the end once.
    pub(super) from_start: bool,
    /// Which of some keys is taken, where one will do.
    pub(super) random: u64,
    pub(super) count: u64,
    /// Keys as words, or text.
    pub(super) found: Vec<u8>,
}
