//! What a shard is made from.

use crate::command::Millis;
use crate::eviction::Algorithm;

/// What a shard is made from.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Number of this shard.
    pub shard: u16,
    /// For segments, index, bookkeeping and what is set aside together, bytes.
    pub memory_bytes: u64,
    /// Set aside at the start for what lies beside the store, bytes: see [`crate::Shard::set_aside`].
    pub aside_bytes: u64,
    /// Kept free of items, so that it can be set aside at any moment, bytes.
    pub ahead_bytes: u64,
    /// Share that the index may take for places of items that are not in DRAM, percent; it may take a quarter of the memory beside.
    /// `None`: they are limited by the half that all of the index may take.
    pub places_percent: Option<u64>,
    /// A power of two, 64 KiB to 16 MiB.
    pub segment_bytes: usize,
    /// Longest value, bytes.
    pub value_bytes_max: u64,
    pub eviction: Algorithm,
    /// Whether other processes may read the shard's memory, by [`crate::Shard::to_read`]. It then has small pages, is taken a
    /// segment at a time, and never given back to the machine.
    pub shared_memory: bool,
    /// Seeds the hash; another one every start keeps outsiders from choosing keys that collide. One for all shards of a
    /// server: a request that goes on to another shard takes its hash along.
    pub seed: u64,
    /// The time of the start.
    pub now: Millis,
}

impl ShardConfig {
    /// The settings of a server without flags, for `memory_bytes`.
    pub fn new(memory_bytes: u64) -> ShardConfig {
        ShardConfig {
            shard: 0,
            memory_bytes,
            aside_bytes: 0,
            ahead_bytes: 0,
            places_percent: None,
            segment_bytes: SEGMENT_BYTES,
            value_bytes_max: 64 << 20,
            eviction: Algorithm::default(),
            shared_memory: false,
            seed: 0,
            now: 0,
        }
    }
}

/// Why a shard could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "memory of {given} bytes a shard is too small: {needed} bytes are needed for {SEGMENTS_MIN} segments of {segment_bytes}"
    )]
    TooSmall { given: u64, needed: u64, segment_bytes: usize },
    #[error("memory of {given} bytes a shard is too large: a shard can address {max}; use more shards")]
    TooLarge { given: u64, max: u64 },
    #[error("segment size {0} is not a power of two between 64 KiB and 16 MiB")]
    SegmentSize(usize),
    #[error("cannot reserve address space: {0}")]
    Reserve(#[from] std::io::Error),
}

/// Default size of a segment.
pub const SEGMENT_BYTES: usize = 1 << 20;
/// A shard needs this many segments to evict sensibly.
pub const SEGMENTS_MIN: usize = 8;
