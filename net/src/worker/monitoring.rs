//! What clients that monitor the server are shown: the lines of a turn, and who of them is this shard's client.

use crate::transport::ConnId;

/// What a shard keeps of it.
#[derive(Debug, Default)]
pub(super) struct Monitoring {
    /// Somebody monitors the server in this turn.
    pub(super) is_on: bool,
    /// What was asked in this turn.
    pub(super) lines: Vec<u8>,
    /// Clients of this shard that do.
    pub(super) here: Vec<ConnId>,
}
