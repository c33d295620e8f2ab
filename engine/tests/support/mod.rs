//! Sequences of operations, decoded from bytes, run against a shard and a simple model beside it.
//!
//! ```text
//!  bytes --decode--> Step, Step, ... --> Shard  --outcome--+
//!                            |                             +--> must agree
//!                            +---------> Model  --expected-+
//! ```
//!
//! Two grades: on a shard that never has to evict (`exact`) every outcome is known; on a tiny one an item may
//! be gone at any time, but what is read is the newest value or nothing. A replica that only listens is the same as the
//! shard at the end. After every step the shard's books
//! are recounted ([`Shard::audit`]).

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod model;
pub(crate) mod replica;
pub(crate) mod run;
pub(crate) mod step;

use run::Run;
use torc_engine::eviction::Algorithm;
use torc_engine::{Shard, ShardConfig};

pub(crate) const NOW: u64 = 1_700_000_000_000;
pub(crate) const SEGMENT_BYTES: usize = 64 << 10;
/// Longest value of these shards.
pub(crate) const VALUE_BYTES_MAX: u64 = 150_000;

/// With index (and the buckets beyond its last home) and bookkeeping.
fn memory_bytes(segments: u64) -> u64 {
    segments * SEGMENT_BYTES as u64 + (32 << 10)
}

/// A shard of `segments` segments and an index of 16 KiB. One in memory that others may read has an index of a segment, and some
/// bookkeeping from the start.
fn shard(segments: u64, eviction: Algorithm, shared_memory: bool) -> (Shard, u64) {
    let more = if shared_memory { 3 + segments / 8 } else { 0 };
    let memory_bytes = memory_bytes(segments + more);
    let shard = Shard::new(ShardConfig {
        now: NOW,
        segment_bytes: SEGMENT_BYTES,
        value_bytes_max: VALUE_BYTES_MAX,
        eviction,
        shared_memory,
        ..ShardConfig::new(memory_bytes)
    });
    (shard.expect("a shard of that size"), memory_bytes)
}

/// Whether some steps are done in memory that others may read: half of all are.
fn is_shared(bytes: &[u8]) -> bool {
    bytes.len() / step::STEP_BYTES % 2 == 1
}

/// Runs the steps on a shard that has room for all of them: every outcome is exact.
pub(crate) fn exact(bytes: &[u8], eviction: Algorithm) {
    let (shard, memory_bytes) = shard(2048, eviction, is_shared(bytes));
    let mut run = Run::new(shard, memory_bytes, true);
    step::decode(bytes).for_each(|step| run.step(&step));
    run.finish();
}

/// Runs the steps on a shard of few segments that is full to begin with.
pub(crate) fn crowded(bytes: &[u8], segments: u64, eviction: Algorithm) {
    let (shard, memory_bytes) = shard(segments, eviction, is_shared(bytes));
    let mut run = Run::new(shard, memory_bytes, false);
    run.fill();
    step::decode(bytes).for_each(|step| run.step(&step));
    run.finish();
}

/// The fuzz body of the store: any bytes are a sequence of operations, and none may panic or disagree.
pub(crate) fn fuzz_store(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let eviction = Algorithm::ALL[usize::from(first & 1)];
    match first >> 1 & 3 {
        0 => exact(rest, eviction),
        size => crowded(rest, [8, 16, 40][usize::from(size) - 1], eviction),
    }
}
