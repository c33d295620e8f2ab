//! What a seed draws before anything runs: how much memory there is, and what is done with it.

use super::entry;
use super::model::Excuses;
use super::tier::{Incident, TierWorld};
use crate::session::Limits;
use crate::slots::SlotMap;
use crate::transport::sim::Random;
use crate::worker::{BudgetConfig, FLOOR_SHARE, ListenerKind, Settings};
use std::time::Duration;
use torc_engine::ShardConfig;
use torc_engine::command::Millis;

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
    /// Bytes of a long value, at most.
    pub(super) long_bytes: usize,
    /// Clients stand still within long values, which fill what a shard has for values under way.
    pub(super) stalls: bool,
    /// Shards read each other's keys without asking.
    pub(super) reads_siblings: bool,
    pub(super) flushes: bool,
    pub(super) scans: bool,
    /// How often clients are about keys of transactions, percent.
    pub(super) together_percent: u32,
    /// The keys of a transaction are of one slot.
    pub(super) together_tagged: bool,
    /// How often clients run scripts, percent, and what these are drawn from.
    pub(super) scripts_percent: u32,
    pub(super) scripts_seed: u64,
    /// One client pipelines without end.
    pub(super) flood: bool,
    /// Parts after which a turn begins no other round.
    pub(super) turn_parts: usize,
    /// Clients may hold less than they otherwise would.
    pub(super) tight: bool,
    /// The store has what clients leave of the memory, and gives it back when they need it.
    pub(super) lends: bool,
    /// Bytes of a receive buffer: long ones hold more requests than a turn takes of one connection.
    pub(super) buffer_bytes_max: usize,
    pub(super) tier: Option<TierWorld>,
    /// Clients may be cut off, as the tier has failed.
    pub(super) may_close: bool,
    /// Clients have to give a password.
    pub(super) password: bool,
    /// Few keys are tracked at a time.
    pub(super) forgets: bool,
}

pub(super) const SEGMENT_BYTES: usize = 64 << 10;
/// What a small store keeps free: a segment for relocation, and one that is made free ahead.
pub(super) const FREE_BYTES: u64 = 2 * SEGMENT_BYTES as u64;
/// Memory of a shard in which all fits, and in which it does not.
const WIDE_BYTES: u64 = 16 << 20;
const TIGHT_BYTES: u64 = 1 << 20;
/// Memory of a shard and its clients together.
const LENT_BYTES: u64 = 4 << 20;
/// Shares of that: of clients, usually and where memory is short; of mail; of what no account knows of, at most.
const LENT_SHARE: u64 = 4;
const TIGHT_LENT_SHARE: u64 = 12;
const MAIL_SHARE: u64 = 32;
const BEYOND_SHARE: u64 = 4;
/// What clients may hold: more than they ever do, and less.
const CLIENT_BYTES: u64 = 1 << 30;
const TIGHT_CLIENT_BYTES: u64 = 128 << 10;
/// Of wide memory, so much is written at most: nothing has to be evicted, wherever the keys are.
const WRITTEN_BYTES: usize = 8 << 20;
/// Bytes of a value in one message of the native protocol, at most.
pub(super) const FRAMED_BYTES_MAX: usize = 60_000;
/// How long a drain may take, milliseconds.
pub(super) const DRAIN_MS: Millis = 1000;
/// How long a worker that has worked looks for more before it sleeps.
const SPINS_NS: [u64; 3] = [0, 0, 30_000_000];
/// Clients, at most.
const CLIENTS_MAX: usize = 8;
/// Worlds in which scripts are run, percent.
const SCRIPTS_PERCENT: u32 = 60;
/// Of those among them that flush, or have a tier that makes changes durable, percent in which they are.
const RARE_PERCENT: u32 = 25;
/// What a script may take: as much as its values and answers do, and time that no run takes, so that no clock decides.
const SCRIPT_BYTES: usize = 4 << 20;
const SCRIPT_TIME: Duration = Duration::from_secs(86_400);
/// Worlds in which a password is asked for, percent.
const PASSWORD_PERCENT: u32 = 15;
/// Worlds with a tier, percent of those whose memory clients do not share.
const TIER_PERCENT: u32 = 35;
/// Keys of a client where the index has to grow.
const MANY_KEYS: usize = 1500;

impl World {
    pub(super) fn new(random: &mut Random, seed: u64) -> World {
        let clients = 1 + random.below(CLIENTS_MAX);
        let lossy = random.chance(15);
        let lends = lossy && random.chance(50);
        // One shard's memory is what the bound on misses is about.
        let shards = if lossy && random.chance(60) { 1 } else { 1 + random.below(4) as u16 };
        let grows = !lossy && random.chance(10);
        let flushes = !lossy && random.chance(15);
        let flood = random.chance(4);
        let tight = !flood && random.chance(30);
        let stalls = lends && random.chance(50);
        let clients = if stalls { CLIENTS_MAX } else { clients };
        let (memory_bytes, value_bytes, long_percent) = match (lossy, lends, grows) {
            (_, true, _) if stalls => (LENT_BYTES, 6000, 20),
            (_, true, _) => (LENT_BYTES, 6000, 3),
            (true, ..) => (TIGHT_BYTES, 2000, 0),
            (.., true) => (WIDE_BYTES, 20, 0),
            _ => (WIDE_BYTES, 200, 10),
        };
        // Of its own, so that what else a seed draws stays what it is.
        let mut of_tier = Random::new(!seed);
        let has_tier = !lends && of_tier.chance(TIER_PERCENT);
        let together_percent = if Random::new(seed.rotate_left(32)).chance(30) { 80 } else { 6 };
        let mut of_scripts = Random::new(seed.rotate_left(48));
        let together_tagged = of_scripts.chance(50);
        let scripts_percent =
            if of_scripts.chance(SCRIPTS_PERCENT) { [10, 50, 90][of_scripts.below(3)] } else { 0 };
        let scripts_seed = of_scripts.number();
        let tier = has_tier.then(|| TierWorld::new(&mut of_tier, shards));
        // Worlds of which there are few, and in which each bug of theirs is to show, too.
        let is_rare = flushes || tier.as_ref().is_some_and(TierWorld::makes_durable);
        let scripts_percent = if is_rare && !of_scripts.chance(RARE_PERCENT) { 0 } else { scripts_percent };
        World {
            may_close: false,
            forgets: Random::new(seed.rotate_left(16)).chance(20),
            password: Random::new(seed.rotate_left(24)).chance(PASSWORD_PERCENT),
            together_percent,
            together_tagged,
            scripts_percent,
            scripts_seed,
            tier,
            shards,
            slots: SlotMap::even(shards),
            clients,
            commands: if lossy { 300 + random.below(700) } else { 20 + random.below(300) },
            memory_bytes,
            lossy,
            write_bytes: if lossy { usize::MAX } else { WRITTEN_BYTES },
            keys: match (lossy, grows) {
                // About twice what fits.
                (true, _) => 2 * usize::from(shards) * (memory_bytes as usize / (value_bytes / 2)) / clients,
                (_, true) => MANY_KEYS,
                _ => 6,
            },
            many: match (lossy, grows) {
                (true, _) => 30,
                (_, true) => 60,
                _ => 8,
            },
            value_bytes,
            long_percent,
            long_bytes: if stalls { 150_000 } else { FRAMED_BYTES_MAX },
            stalls,
            reads_siblings: random.chance(60),
            flushes,
            scans: !lossy && !flushes,
            flood,
            turn_parts: [64, 256, 1024][random.below(3)],
            tight,
            lends,
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

    /// `fixed`: bytes of a shard's receive buffers.
    pub(super) fn settings(&self, fixed: u64, random: &mut Random) -> Settings {
        Settings {
            limits: Limits {
                databases: 16,
                makes_durable: self.tier.as_ref().is_some_and(TierWorld::makes_durable),
                has_password: self.password,
                debug_commands: false,
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
            pairs_max: 1,
            // Where memory is short, what one connection may have is no bound.
            output_bytes_max: match (self.flood, self.tight) {
                (true, _) => 256 << 10,
                (_, true) => 100 + random.below(300_000),
                _ => 100 + random.below(50_000),
            },
            room_bytes_min: 1 + random.below(5000) as u64,
            subscriber_bytes_max: 1 << 20,
            subscriptions_max: 100,
            tracking_keys_max: if self.forgets { 3 } else { 1_000_000 },
            queue_parts_max: 1 + random.below(if self.tight { 500 } else { 100 }),
            input_bytes_max: 256 << 10,
            slow_ms_max: 0,
            request_ms_max: 0,
            auth_ms_max: 0,
            drain_ms_max: DRAIN_MS,
            ring_bytes: 0,
            spin_ns: SPINS_NS[random.below(SPINS_NS.len())],
            outcomes_bytes_max: 1 << 20,
            scripts: torc_lua::Limits { memory_bytes: SCRIPT_BYTES, time: SCRIPT_TIME },
            budget: self.budget(fixed),
        }
    }

    /// A shard's memory and what clients may have of it.
    fn budget(&self, fixed: u64) -> BudgetConfig {
        let memory = self.memory_bytes;
        let clients = match (self.lends, self.tight) {
            (true, true) => memory / TIGHT_LENT_SHARE,
            (true, false) => memory / LENT_SHARE,
            (false, true) => TIGHT_CLIENT_BYTES,
            (false, false) => CLIENT_BYTES,
        };
        match self.lends {
            true => BudgetConfig { memory, clients, floor: memory / FLOOR_SHARE, fixed, lends: true },
            false => {
                // What is offered to a tier goes by it.
                let memory = if self.tier.is_some() { memory } else { 0 };
                BudgetConfig { memory, clients, floor: 0, fixed: 0, lends: false }
            }
        }
    }

    /// What a shard's mail to others may take.
    pub(super) fn mail_bytes(&self) -> u64 {
        if self.lends { self.memory_bytes / MAIL_SHARE } else { u64::MAX }
    }

    /// Bytes of the process that no account knows of, at most.
    pub(super) fn beyond_max(&self) -> usize {
        if self.lends { (self.memory_bytes / BEYOND_SHARE) as usize * usize::from(self.shards) } else { 0 }
    }

    /// Clients that hold much may be closed for it.
    pub(super) fn closes(&self) -> bool {
        self.tight || self.lends || self.may_close
    }

    /// How a client begins that understands pushes.
    pub(super) fn hello(&self) -> &'static [&'static str] {
        const WORDS: [&str; 5] = ["HELLO", "3", "AUTH", entry::USER, entry::PASSWORDS[0]];
        if self.password { &WORDS } else { &WORDS[..2] }
    }

    /// What answers need not be held against a server.
    pub(super) fn excuses(&self) -> Excuses {
        let keeps = self.tier.as_ref().is_some_and(TierWorld::makes_durable);
        let returns = self.tier.as_ref().is_some_and(|tier| !tier.makes_durable());
        Excuses { misses: self.lossy && !keeps, returns, memory: self.lossy, refusals: false }
    }

    /// What happens after so many steps, if it has not happened.
    pub(super) fn next_incident(&mut self, steps: u64) -> Option<Incident> {
        let all = &mut self.tier.as_mut()?.incidents;
        let is_due = all.first().is_some_and(|(at, _)| *at <= steps);
        is_due.then(|| all.remove(0).1)
    }

    /// Another number of shards has the keys.
    pub(super) fn divide(&mut self, shards: u16) {
        (self.shards, self.slots) = (shards, SlotMap::even(shards));
    }

    /// What a shard is made from.
    pub(super) fn store(&self, shard: u16, fixed: u64, seed: u64, now: Millis) -> ShardConfig {
        let budget = self.budget(fixed);
        ShardConfig {
            shard,
            segment_bytes: SEGMENT_BYTES,
            aside_bytes: budget.fixed,
            ahead_bytes: budget.floor,
            seed,
            now,
            places_percent: self.tier.as_ref().map(TierWorld::index_percent),
            ..ShardConfig::new(self.memory_bytes)
        }
    }
}
