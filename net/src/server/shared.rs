//! What all threads of a server know of it.

use crate::metrics::WorkerStats;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};
use torc_engine::command::Millis;
use torc_engine::slots::SlotMap;
use torc_engine::stats::ShardStats;

/// Shared by the shards' threads and the server object.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) slots: SlotMap,
    pub(crate) started_at: Millis,
    pub(crate) boot_id: u64,
    pub(crate) transport: &'static str,
    pub(crate) announce_host: String,
    /// Port of each shard that clients are told.
    pub(crate) ports: Vec<u16>,
    pub(crate) worker_stats: Vec<Arc<WorkerStats>>,
    /// Set when all shards are made.
    pub(crate) shard_stats: OnceLock<Vec<Arc<ShardStats>>>,
    pub(crate) memory_bytes: u64,
    pub(crate) connections_max: usize,
    pub(crate) value_bytes_max: u64,
    /// Connections of all shards.
    pub(crate) connections: AtomicUsize,
    pub(crate) draining: AtomicBool,
    /// Shards that have no connections any more, while draining.
    pub(crate) drained: AtomicUsize,
}

impl Shared {
    /// 40 hexadecimal digits, the same over restarts as long as the address is.
    pub(crate) fn node_id(&self, shard: u16) -> String {
        let port = self.ports.get(shard as usize);
        let mut digits = String::with_capacity(48);
        for part in 0..3u8 {
            let mut hasher = DefaultHasher::new();
            (&self.announce_host, port, shard, part).hash(&mut hasher);
            digits.push_str(&format!("{:016x}", hasher.finish()));
        }
        digits.truncate(40);
        digits
    }

    /// A figure for INFO and stats, summed over the shards; 0 if nothing has that name.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let of_shards = |names: &[&str]| names.iter().map(|name| self.of_shards(name)).sum();
        match name {
            "memory_max" | "memory_max_bytes" | "bytes_limit" => self.memory_bytes,
            "connections_max" => self.connections_max as u64,
            "value_bytes_max" => self.value_bytes_max,
            "memory_used_bytes" | "bytes_used" => {
                of_shards(&["bytes_segments", "bytes_index", "bytes_bookkeeping"])
            }
            "bytes" => self.of_shards("bytes_live"),
            "items_stored" | "stores" => self.of_shards("writes"),
            "deletes" => self.of_shards("deletions"),
            "refusals" => self.of_workers(|stats| stats.outcomes("refused")),
            "commands" | "requests" => self.of_workers(WorkerStats::requests_total),
            "connections_total" => self.of_workers(|stats| stats.accepted.read()),
            "connections_refused" => {
                self.of_workers(|stats| stats.closes(crate::metrics::CloseReason::TooMany))
            }
            "bytes_received" => self.of_workers(|stats| stats.received_bytes.read()),
            "bytes_sent" => self.of_workers(|stats| stats.sent_bytes.read()),
            "commands_get" => self.of_workers(|stats| stats.commands("read")),
            "commands_set" => self.of_workers(|stats| stats.commands("write")),
            "commands_flush" => self.of_workers(|stats| stats.commands("flush")),
            "commands_touch" => self.of_workers(|stats| stats.commands("expire")),
            "delete_hits" => self.of_workers(|stats| stats.command_outcome("delete", "done")),
            "delete_misses" => self.of_workers(|stats| stats.command_outcome("delete", "miss")),
            "touch_hits" => self.of_workers(|stats| stats.command_outcome("expire", "done")),
            "touch_misses" => self.of_workers(|stats| stats.command_outcome("expire", "miss")),
            "increment_hits" => self.of_workers(|stats| stats.command_outcome("arithmetic", "done")),
            "increment_misses" => self.of_workers(|stats| stats.command_outcome("arithmetic", "miss")),
            name => self.of_shards(name) + self.of_workers(|stats| stats.figure(name).unwrap_or_default()),
        }
    }

    fn of_shards(&self, name: &str) -> u64 {
        let shards = self.shard_stats.get().into_iter().flatten();
        shards.flat_map(|stats| stats.figures()).filter(|figure| figure.name == name).map(|f| f.value).sum()
    }

    fn of_workers(&self, figure: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.worker_stats.iter().map(|stats| figure(stats)).sum()
    }
}
