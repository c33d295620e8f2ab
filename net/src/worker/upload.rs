//! Long values under way: from a client of this shard, and from one of another shard.

use crate::session::Once;
use torc_engine::command::{Op, Refusal, UploadId};

/// A long value that is being received.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) place: UploadPlace,
    pub(crate) op: Op<'static>,
    pub(crate) database: u16,
    pub(crate) key: Vec<u8>,
    pub(crate) echo: Vec<u8>,
    pub(crate) once: Option<Once>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum UploadPlace {
    Here(UploadId),
    /// At another shard.
    There(u16),
    /// Its slices are dropped; the answer is this.
    Refused(Refusal),
    Moved {
        slot: u16,
        shard: u16,
        epoch: u64,
    },
}

/// A value that a client of another shard sends to this one.
#[derive(Debug)]
pub(crate) struct ForeignUpload {
    pub(super) place: Result<UploadId, Refusal>,
    pub(super) op: Op<'static>,
    pub(super) database: u16,
    pub(super) key: Vec<u8>,
    pub(super) once: Option<Once>,
}
