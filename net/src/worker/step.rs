//! A step of a scan that waits for keys.

use crate::transport::ConnId;
use torc_engine::shard::Tells;

/// A step whose keys are partly on the tier.
#[derive(Debug)]
pub(crate) struct Step {
    pub(super) database: u16,
    pub(super) tells: Tells,
    pub(super) cursor: u64,
    /// As [`Tells`] says.
    pub(super) keys: Vec<u8>,
    /// Items that are being fetched for their keys.
    pub(super) missing: usize,
}

/// Who scans: a client of this shard, or another shard's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanner {
    Client(ConnId),
    Shard(u16),
}
