//! How the memory of a server is divided.

use super::config::ServerConfig;
use crate::clock::{Clock, MachineClock};
use crate::tier::TierConfig;
use crate::transport::rings::{BUFFER_BYTES, BUFFERS};
use crate::worker::{BudgetConfig, FLOOR_SHARE, round_bytes, tier_bytes};
use torc_engine::ShardConfig;

/// Size of a receive buffer.
pub(super) const RECEIVE_BYTES: u32 = 16 << 10;
/// Receive buffers take this share of a shard's memory, within [`RECEIVE_BUFFERS`].
const RECEIVE_SHARE: u64 = 64;
const RECEIVE_BUFFERS: std::ops::RangeInclusive<u64> = 16..=1024;
/// Outcomes of changes that may be repeated take this share of a shard's memory, within [`OUTCOMES_BYTES`].
const OUTCOMES_SHARE: u64 = 128;
const OUTCOMES_BYTES: std::ops::RangeInclusive<u64> = 128 << 10..=64 << 20;
/// Kept back of each shard's memory for its ring and the allocator, until that is measured.
const SHARD_OVERHEAD_BYTES: u64 = 512 << 10;
/// Kept back once for code, stacks and the control plane, until that is measured.
const PROCESS_OVERHEAD_BYTES: u64 = 6 << 20;
/// Share of the memory beside the process' own that clients may hold together, if nothing else is said.
const CLIENT_SHARE: u64 = 4;
/// Share of a shard's memory for batches of requests between shards.
pub(super) const MAIL_SHARE: u64 = 32;
/// A value may take this share of what a shard has for items: a longer one would evict most of them.
const VALUE_SHARE: u64 = 4;
/// Of its memory for items and clients a shard keeps this share when it is lowered, and so many bytes.
const LOWERED_SHARE: u64 = 8;
const LOWERED_BYTES_MIN: u64 = 8 << 20;
/// A shard has at least this many segments; small memories get small segments.
const SEGMENTS_MIN: u64 = 64;

/// A shard's part of `--memory`.
pub(super) fn memory_of_shard(config: &ServerConfig) -> u64 {
    config.memory_bytes / u64::from(config.shards)
}

/// What a process takes beside its accounts, until it is measured.
pub(super) fn beyond_at_start(config: &ServerConfig) -> i64 {
    (PROCESS_OVERHEAD_BYTES + u64::from(config.shards) * SHARD_OVERHEAD_BYTES) as i64
}

/// What clients of all shards may hold, bytes.
pub fn client_memory(config: &ServerConfig) -> u64 {
    budget(config).clients * u64::from(config.shards)
}

/// The longest value that every shard takes, whatever else it does, bytes: a quarter of what it has for items while clients
/// hold all that they may.
pub fn value_bytes_possible(config: &ServerConfig) -> u64 {
    let budget = budget(config);
    let beside = budget.fixed + beyond_at_start(config) as u64 / u64::from(config.shards.max(1));
    budget.memory.saturating_sub(beside + budget.clients) / VALUE_SHARE
}

/// The least that clients may lower the memory to, bytes: an eighth of what items and clients have is left, and some for each shard. Where memory cannot be given
/// back, all of it.
pub(super) fn memory_least(config: &ServerConfig) -> u64 {
    let shards = u64::from(config.shards);
    let budget = budget(config);
    if !budget.lends {
        return config.memory_bytes;
    }
    let beside = beyond_at_start(config) as u64 + shards * budget.fixed;
    let left = (config.memory_bytes.saturating_sub(beside) / LOWERED_SHARE).max(shards * LOWERED_BYTES_MIN);
    (beside + left).min(config.memory_bytes)
}

pub(super) fn budget(config: &ServerConfig) -> BudgetConfig {
    let memory = memory_of_shard(config);
    let floor = (memory / FLOOR_SHARE).max(2 * config.value_bytes_inline as u64);
    let beside = beyond_at_start(config) as u64 / u64::from(config.shards);
    let clients = match config.client_memory_bytes {
        Some(all) => all / u64::from(config.shards),
        None => memory.saturating_sub(beside) / CLIENT_SHARE,
    };
    let buffers = u64::from(receive_buffers(config)) * u64::from(RECEIVE_BYTES);
    let tier = |tier: &TierConfig| tier_bytes(memory, config.shards) + tier.cache_bytes_of(config.shards);
    let tier = config.tier.as_ref().map_or(0, tier);
    let rings = u64::from(BUFFERS) * BUFFER_BYTES as u64;
    let buffers = buffers + config.shared_memory.as_ref().map_or(0, |_| rings);
    let fixed = buffers + round_bytes(memory) + outcomes_bytes(config) + tier;
    // Memory that clients read cannot be given back, so their share is set aside from the start.
    BudgetConfig { memory, clients: clients.max(floor), floor, fixed, lends: !config.keeps_memory() }
}

/// Longest input that may wait unparsed, bytes: a command with the frame before and behind its value, and the longest value,
/// as MSET buffers its values. Sessions refuse longer requests before so much of them waits.
pub(super) fn input_bytes_max(config: &ServerConfig) -> usize {
    let value_max =
        usize::try_from(config.value_bytes_max).unwrap_or(usize::MAX).max(config.value_bytes_inline);
    (2 * config.frame_bytes_max + RECEIVE_BYTES as usize).saturating_add(value_max)
}

pub(super) fn receive_buffers(config: &ServerConfig) -> u16 {
    let share = config.memory_bytes / u64::from(config.shards) / RECEIVE_SHARE / u64::from(RECEIVE_BYTES);
    config.receive_buffers.unwrap_or(share.clamp(*RECEIVE_BUFFERS.start(), *RECEIVE_BUFFERS.end()) as u16)
}

pub(super) fn outcomes_bytes(config: &ServerConfig) -> u64 {
    let share = config.memory_bytes / u64::from(config.shards) / OUTCOMES_SHARE;
    share.clamp(*OUTCOMES_BYTES.start(), *OUTCOMES_BYTES.end())
}

pub(super) fn store_config(
    config: &ServerConfig,
    shard: u16,
    seed: u64,
    clock: &MachineClock,
) -> ShardConfig {
    let budget = budget(config);
    let beyond = beyond_at_start(config) as u64 / u64::from(config.shards);
    let mut store = ShardConfig::new(budget.memory);
    store.aside_bytes = budget.fixed + beyond;
    if budget.lends {
        store.ahead_bytes = budget.floor;
    } else {
        store.aside_bytes += budget.clients;
    }
    let fitting =
        (budget.memory.saturating_sub(store.aside_bytes + store.ahead_bytes) / SEGMENTS_MIN).max(1).ilog2();
    let fitting = (1usize << fitting).clamp(64 << 10, store.segment_bytes);
    store.segment_bytes = config.segment_bytes.unwrap_or(fitting);
    store.shard = shard;
    store.places_percent = config.tier.as_ref().map(|tier| tier.index_percent);
    store.value_bytes_max = config.value_bytes_max;
    store.eviction = config.eviction;
    store.shared_memory = config.keeps_memory();
    store.seed = seed;
    store.now = clock.millis();
    store
}
