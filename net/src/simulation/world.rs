//! What a seed draws before anything runs: how much memory there is, and what is done with it.

use crate::session::Limits;
use crate::transport::sim::Random;
use crate::worker::{BudgetConfig, ListenerKind, Settings};
use torc_engine::slots::SlotMap;

#[derive(Debug)]
pub(super) struct World {
    pub(super) shards: u16,
    pub(super) slots: SlotMap,
    pub(super) clients: usize,
    /// Commands of a client; deep ones send more.
    pub(super) commands: usize,
    /// Memory of a shard.
    pub(super) memory_bytes: u64,
    /// More is written than fits, so keys are evicted.
    pub(super) lossy: bool,
    /// Bytes of values that all clients may write together.
    pub(super) write_bytes: usize,
    /// Keys of a client.
    pub(super) keys: usize,
    /// Keys of a command that takes many, at most.
    pub(super) many: usize,
    /// Bytes of a usual value, and how many in a hundred are long.
    pub(super) value_bytes: usize,
    pub(super) long_percent: u32,
    pub(super) flushes: bool,
    pub(super) scans: bool,
    /// One client pipelines without end.
    pub(super) flood: bool,
    /// Parts after which a turn begins no other round.
    pub(super) turn_parts: usize,
    /// What clients may hold is less than they would.
    pub(super) tight: bool,
    /// Bytes of a receive buffer: long ones hold more requests than a turn takes of one connection.
    pub(super) buffer_bytes_max: usize,
}

/// Memory of a shard in which all fits, and in which it does not.
const WIDE_BYTES: u64 = 16 << 20;
const TIGHT_BYTES: u64 = 1 << 20;
/// What clients may hold: more than they ever do, and less.
const CLIENT_BYTES: u64 = 1 << 30;
const TIGHT_CLIENT_BYTES: u64 = 128 << 10;
/// Of wide memory, so much is written at most: nothing has to be evicted, wherever the keys are.
const WRITTEN_BYTES: usize = 8 << 20;
/// Keys of a client where the index has to grow.
const MANY_KEYS: usize = 1500;

impl World {
    pub(super) fn new(random: &mut Random) -> World {
        let clients = 1 + random.below(8);
        let lossy = random.chance(15);
        // One shard's memory is what the bound on misses is about.
        let shards = if lossy && random.chance(60) { 1 } else { 1 + random.below(4) as u16 };
        let grows = !lossy && random.chance(10);
        let flushes = !lossy && random.chance(15);
        let flood = random.chance(4);
        let value_bytes = if lossy { 2000 } else { 200 };
        // Batches of mail are long beside so little.
        let tight = shards == 1 && !flood && random.chance(30);
        World {
            shards,
            slots: SlotMap::even(shards),
            clients,
            commands: if lossy { 300 + random.below(700) } else { 20 + random.below(300) },
            memory_bytes: if lossy { TIGHT_BYTES } else { WIDE_BYTES },
            lossy,
            write_bytes: if lossy { usize::MAX } else { WRITTEN_BYTES },
            keys: match (lossy, grows) {
                // About twice what fits.
                (true, _) => 2 * usize::from(shards) * (TIGHT_BYTES as usize / 1000) / clients,
                (_, true) => MANY_KEYS,
                _ => 6,
            },
            many: match (lossy, grows) {
                (true, _) => 30,
                (_, true) => 60,
                _ => 8,
            },
            value_bytes: if grows { 20 } else { value_bytes },
            long_percent: if lossy || grows { 0 } else { 10 },
            flushes,
            scans: !lossy && !flushes,
            flood,
            turn_parts: [64, 256, 1024][random.below(3)],
            tight,
            buffer_bytes_max: match (tight, random.chance(30)) {
                (true, _) => 2000,
                (_, true) => 64 << 10,
                _ => 8000,
            },
        }
    }

    /// How many receive buffers a shard has, of how many bytes, and how much a client's side takes unread. A flood gets
    /// what it needs to keep its shard busy.
    pub(super) fn buffers(&self, random: &mut Random) -> (u16, usize, usize) {
        match self.flood {
            true => (16, 64 << 10, 256 << 10),
            false => {
                let bytes = 64 + random.below(self.buffer_bytes_max);
                (1 + random.below(16) as u16, bytes, 200 + random.below(20_000))
            }
        }
    }

    pub(super) fn settings(&self, random: &mut Random) -> Settings {
        let clients = if self.tight { TIGHT_CLIENT_BYTES } else { CLIENT_BYTES };
        Settings {
            limits: Limits {
                key_bytes_max: 250,
                value_bytes_max: 1 << 20,
                value_bytes_inline: 64 + random.below(4000),
                frame_bytes_max: 64 << 10,
                arguments_max: 1000,
            },
            listeners: vec![
                ListenerKind { protocol: None, shard_port: false },
                ListenerKind { protocol: None, shard_port: true },
            ],
            connections_max: 100,
            output_bytes_max: if self.flood { 256 << 10 } else { 100 + random.below(50_000) },
            queue_parts_max: 1 + random.below(100),
            input_bytes_max: 256 << 10,
            idle_ms_max: 0,
            slow_ms_max: 0,
            request_ms_max: 0,
            drain_ms_max: 1000,
            outcomes_bytes_max: 1 << 20,
            budget: BudgetConfig { memory: 0, clients, floor: 0, fixed: 0, lends: false },
        }
    }
}
