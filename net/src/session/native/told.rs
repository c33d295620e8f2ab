//! What a client is told in the answer to its hello.

/// Numbered changes of a session that may be unanswered, W of [N-ONCE-3]; also the outcomes that a shard keeps of a session.
pub const CREDIT: u32 = 256;

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LimitsTold {
    pub key_bytes_max: usize,
    pub frame_bytes_max: usize,
    pub value_bytes_max: u64,
}
