//! What all threads of a server know of it.

use crate::clock::Wall;
use crate::databases::Databases;
use crate::metrics::{CloseReason, CommandTimes, WorkerStats, add_codes};
use crate::observed::Observed;
use crate::rdma::{PairsByClient, Watcher};
use crate::readable::Readable;
use crate::scripts::Scripts;
use crate::session::Protocol;
use crate::shutdown::OnShutdown;
use crate::slots::SlotMap;
pub(crate) use crate::subscribers::Subscribers;
use crate::tier::TierFigures;
use crate::tunables::Tunables;
use crate::users::Users;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use torc_engine::stats::{DatabaseFigures, ShardStats};

/// When less is beyond the accounts than before, each look takes off this share of the difference.
const SHRINK: i64 = 16;

/// Shared by the shards' threads and the server object.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) slots: SlotMap,
    /// How many clients may choose from.
    pub(crate) databases_count: u16,
    pub(crate) databases: Databases,
    pub(crate) users: Users,
    pub(crate) debug_commands: bool,
    pub(crate) is_cluster: bool,
    pub(crate) on_shutdown: Option<OnShutdown>,
    /// It says when the server started.
    pub(crate) wall: Arc<Wall>,
    pub(crate) boot_id: u64,
    pub(crate) transport: &'static str,
    /// The Unix socket over which memory is shared, if it is.
    pub(crate) shared_memory_path: Option<String>,
    pub(crate) readable: Arc<Readable>,
    /// The RDMA device, if there was one at the start.
    pub(crate) rdma: Option<Watcher>,
    pub(crate) pairs: Arc<PairsByClient>,
    pub(crate) announce_host: String,
    /// Port of each shard that clients are told.
    pub(crate) ports: Vec<u16>,
    pub(crate) worker_stats: Vec<Arc<WorkerStats>>,
    /// Set when all shards are made.
    pub(crate) shard_stats: OnceLock<Vec<Arc<ShardStats>>>,
    /// From the least that clients may set to `--memory`, bytes: what [`Tunables`] has is in between.
    pub(crate) memory: RangeInclusive<u64>,
    /// `--max-connections`: what [`Tunables`] has instead is not more.
    pub(crate) connections_max: usize,
    pub(crate) tunables: Tunables,
    pub(crate) scripts: Scripts,
    /// `--script-time-max`, milliseconds.
    pub(crate) script_ms_max: u64,
    pub(crate) observed: Observed,
    /// Resident memory of the process when it was last measured, bytes.
    pub(crate) resident_bytes: AtomicU64,
    pub(crate) value_bytes_max: u64,
    /// Figures as they were when a client reset them; only `stats` takes the lock.
    pub(crate) baseline: Mutex<Vec<Reset>>,
    /// What commands had taken when that was last reset.
    pub(crate) times_before: Mutex<Vec<CommandTimes>>,
    pub(crate) errors_before: Mutex<Vec<(String, u64)>>,
    /// Memory that each shard accounts for, bytes: of the store, of clients, fixed.
    pub(crate) accounts: Vec<AtomicU64>,
    /// Resident memory of the process that no account knows of, bytes; below 0 while accounts hold memory that was never
    /// touched.
    pub(crate) beyond: AtomicI64,
    /// Connections of all shards.
    pub(crate) connections: AtomicUsize,
    /// What the tier's threads count, if there is one. Set when it is taken into use.
    pub(crate) tier: OnceLock<Arc<TierFigures>>,
    /// By shard: it does not know all that a tier holds for it. Once false, it stays so.
    pub(crate) recovering: Vec<AtomicBool>,
    pub(crate) subscribers: Subscribers,
    /// Clients that are told of keys that they keep copies of, and those among them that are told by prefixes.
    pub(crate) trackers: Subscribers,
    pub(crate) broadcasts: Subscribers,
    /// `--tracking-table-max`.
    pub(crate) tracking_keys_max: usize,
    /// [`EventClasses`](crate::event_classes::EventClasses) that clients are told of, as bits.
    pub(crate) event_classes: AtomicU16,
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

    /// Before a shard serves.
    pub(crate) fn begin_recovery(&self, shard: u16) {
        self.recovering[usize::from(shard)].store(true, Relaxed);
    }

    pub(crate) fn end_recovery(&self, shard: u16) {
        self.recovering[usize::from(shard)].store(false, Relaxed);
    }

    /// Whether a shard may answer that it cannot know yet. Relaxed: seen late it costs a detour, and false is not seen early,
    /// as threads begin to serve after all shards have begun.
    pub(crate) fn is_recovering(&self, shard: u16) -> bool {
        self.recovering[usize::from(shard)].load(Relaxed)
    }

    /// A shard tells what it accounts for.
    pub(crate) fn account(&self, shard: u16, bytes: u64) {
        // Relaxed: a figure, one writer each.
        if let Some(account) = self.accounts.get(shard as usize) {
            account.store(bytes, Relaxed);
        }
    }

    /// A shard's part of the memory that no account knows of, bytes.
    pub(crate) fn beyond_accounts(&self) -> i64 {
        // Relaxed: a figure.
        self.beyond.load(Relaxed) / self.accounts.len().max(1) as i64
    }

    /// Compares what the process has resident with the accounts. What is beyond them counts at once when it grows, and
    /// slowly when it shrinks, so that a moment of less does not let the store grow into it.
    pub(crate) fn balance(&self, resident_bytes: u64) {
        self.resident_bytes.store(resident_bytes, Relaxed);
        let accounted: u64 = self.accounts.iter().map(|account| account.load(Relaxed)).sum();
        let measured = resident_bytes as i64 - accounted as i64;
        let before = self.beyond.load(Relaxed);
        let beyond = if measured > before { measured } else { before - (before - measured) / SHRINK };
        self.beyond.store(beyond, Relaxed);
    }

    /// A figure for INFO and stats, summed over the shards; 0 if nothing has that name.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        self.all().lookup(name).unwrap_or_default()
    }

    /// As [`Shared::figure`], of one shard.
    pub(crate) fn own_figure(&self, shard: u16, name: &str) -> u64 {
        let shard = usize::from(shard);
        Figures { shared: self, shards: shard..shard + 1 }.lookup(name).unwrap_or_default()
    }

    /// The figures of a database, added up over the shards, or of one shard.
    pub(crate) fn database(&self, number: usize, shard: Option<u16>) -> DatabaseFigures {
        let all = self.shard_stats.get().map(Vec::as_slice).unwrap_or_default();
        let some =
            shard.map_or(all, |shard| all.get(usize::from(shard)..=usize::from(shard)).unwrap_or_default());
        some.iter().fold(DatabaseFigures::default(), |sum, stats| sum.with(&stats.database(number)))
    }

    /// What commands took, over all shards, since [`Shared::reset_command_times`].
    pub(crate) fn command_times(&self) -> Vec<CommandTimes> {
        let before = self.times_before();
        let since = |times: CommandTimes| match before.iter().find(|known| known.name == times.name) {
            Some(known) => times.since(known),
            None => Some(times),
        };
        self.all_command_times().into_iter().filter_map(since).collect()
    }

    pub(crate) fn reset_command_times(&self) {
        let (now, errors_now) = (self.all_command_times(), self.all_error_codes());
        *self.times_before() = now;
        *self.errors_before() = errors_now;
    }

    /// Errors that clients of Redis were answered, by their codes, over all shards, since [`Shared::reset_command_times`].
    pub(crate) fn error_codes(&self) -> Vec<(String, u64)> {
        let before = self.errors_before();
        let since = |(code, count): (String, u64)| {
            let known = before.iter().find(|(known, _)| *known == code).map_or(0, |(_, count)| *count);
            (code, count.saturating_sub(known))
        };
        self.all_error_codes().into_iter().map(since).filter(|(_, count)| *count > 0).collect()
    }

    fn errors_before(&self) -> MutexGuard<'_, Vec<(String, u64)>> {
        // As with `times_before`.
        self.errors_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_error_codes(&self) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        self.worker_stats.iter().for_each(|stats| add_codes(&mut all, stats.error_codes()));
        all
    }

    fn times_before(&self) -> MutexGuard<'_, Vec<CommandTimes>> {
        // Nobody panics while holding the lock, and the list is replaced as a whole.
        self.times_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_command_times(&self) -> Vec<CommandTimes> {
        let mut all: Vec<CommandTimes> = Vec::new();
        for times in self.worker_stats.iter().flat_map(|stats| stats.command_times()) {
            match all.iter_mut().find(|known| known.name == times.name) {
                Some(known) => known.add(&times),
                None => all.push(times),
            }
        }
        all
    }

    fn all(&self) -> Figures<'_> {
        Figures { shared: self, shards: 0..self.worker_stats.len() }
    }

    /// As [`Shared::figure`], or [`Shared::own_figure`] of one shard, counted from the last [`Shared::reset`] of that name.
    pub(crate) fn figure_since_reset(&self, shard: Option<u16>, name: &str) -> u64 {
        let before = {
            let baseline = self.baseline();
            let reset = baseline.iter().find(|reset| reset.shard == shard && reset.name == name);
            reset.map_or(0, |reset| reset.value)
        };
        self.figure_of(shard, name).saturating_sub(before)
    }

    /// Lets [`Shared::figure_since_reset`] count these figures from 0 again, of all shards together and of each. The counters themselves
    /// run on.
    pub(crate) fn reset(&self, names: &[&'static str]) {
        let shards = (0..self.worker_stats.len() as u16).map(Some).chain([None]);
        let now = shards.flat_map(|shard| {
            names.iter().map(move |name| Reset { shard, name, value: self.figure_of(shard, name) })
        });
        let now: Vec<Reset> = now.collect();
        let mut baseline = self.baseline();
        baseline.retain(|reset| !names.contains(&reset.name));
        baseline.extend(now);
    }

    fn figure_of(&self, shard: Option<u16>, name: &str) -> u64 {
        shard.map_or_else(|| self.figure(name), |shard| self.own_figure(shard, name))
    }

    /// The least and the most that clients may set the memory to, bytes: what the index has grown to is not given back.
    pub(crate) fn memory_limits(&self) -> (i64, i64) {
        let kept = self.figure("bytes_index") + self.figure("bytes_bookkeeping");
        let (least, most) = self.memory.clone().into_inner();
        ((least + kept).min(most) as i64, most as i64)
    }

    /// Each shard's store goes down to its part of it, or may grow up to that again.
    pub(crate) fn set_memory(&self, bytes: u64) {
        let less = self.memory.end().saturating_sub(bytes) / self.worker_stats.len() as u64;
        self.tunables.set_memory(bytes, less);
    }

    fn baseline(&self) -> MutexGuard<'_, Vec<Reset>> {
        // Nobody panics while holding the lock, and a list of numbers is whole at every moment.
        self.baseline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a figure was when it was reset, of one shard or of all together.
#[derive(Debug)]
pub(crate) struct Reset {
    shard: Option<u16>,
    name: &'static str,
    value: u64,
}

/// The figures of some shards, added up.
struct Figures<'s> {
    shared: &'s Shared,
    shards: Range<usize>,
}

impl Figures<'_> {
    fn lookup(&self, name: &str) -> Option<u64> {
        let of_shards = |names: &[&str]| names.iter().map(|name| self.of_shards(name)).sum();
        let done = |command| self.of_workers(|stats| stats.command_outcome(command, "done"));
        let hits = |command| self.of_workers(|stats| stats.command_outcome(command, "hit"));
        let misses = |command| self.of_workers(|stats| stats.command_outcome(command, "miss"));
        let not_done = |command| self.of_workers(|stats| stats.command_outcome(command, "not_done"));
        let commands = |command| self.of_workers(|stats| stats.commands(command));
        Some(match name {
            "memory_max" | "memory_max_bytes" | "bytes_limit" => {
                self.shared.tunables.memory() * self.shards.len() as u64
                    / self.shared.worker_stats.len() as u64
            }
            "watchers" => self.shared.observed.monitors.watchers(),
            "tracking_keys_max" => self.shared.tracking_keys_max as u64,
            "connections_max" => self.shared.tunables.connections_max() as u64,
            "resident_bytes" => self.shared.resident_bytes.load(Relaxed),
            "value_bytes_max" => self.shared.value_bytes_max,
            "script_ms_max" => self.shared.script_ms_max,
            "known_scripts" => self.shared.scripts.figures().0,
            "known_script_bytes" => self.shared.scripts.figures().1,
            "memory_used_bytes" | "bytes_used" => {
                of_shards(&["bytes_segments", "bytes_index", "bytes_bookkeeping"])
            }
            "keys" => of_shards(&["items", "tier_only_items"]),
            "bytes" => self.of_shards("bytes_live"),
            "items_stored" | "stores" => self.of_shards("writes"),
            "deletes" => self.of_shards("deletions"),
            "refusals" => self.of_workers(|stats| stats.outcomes("refused")),
            "commands" | "requests" => self.of_workers(WorkerStats::requests_total),
            "errors_answered" => self.of_workers(|stats| stats.error_codes().map(|(_, count)| count).sum()),
            "connections_total" => self.of_workers(|stats| stats.accepted.read()),
            "connections_refused" => self.of_workers(|stats| stats.closes(CloseReason::TooMany)),
            "idle_kicks" => self.of_workers(|stats| stats.closes(CloseReason::Idle)),
            "auth_commands" => {
                self.of_workers(|stats| stats.auth_failures.read() + stats.auth_successes.read())
            }
            "bytes_received" => self.of_workers(|stats| stats.received_bytes.read()),
            "bytes_sent" => self.of_workers(|stats| stats.sent_bytes.read()),
            "values_too_long" => self.of_workers(|stats| stats.errors(Protocol::Memcache, "value_too_long")),
            "commands_get" => commands("read"),
            "get_hits" => hits("read"),
            "get_misses" => misses("read"),
            "commands_set" => commands("write") + commands("compare_and_set"),
            "cas_hits" => done("compare_and_set"),
            "cas_misses" => misses("compare_and_set"),
            "cas_mismatches" => not_done("compare_and_set"),
            "commands_flush" => commands("flush"),
            // A get that touches is a touch to memcached.
            "commands_touch" => commands("expire") + commands("read_and_expire"),
            "touch_hits" => done("expire") + hits("read_and_expire"),
            "touch_misses" => misses("expire") + misses("read_and_expire"),
            "delete_hits" => done("delete"),
            "delete_misses" => misses("delete") + not_done("delete"),
            "increment_hits" => done("increment"),
            "increment_misses" => misses("increment"),
            "decrement_hits" => done("decrement"),
            "decrement_misses" => misses("decrement"),
            "one_sided_hits" => self.of_workers(|stats| stats.one_sided_hits.read()),
            "one_sided_misses" => self.of_workers(|stats| stats.one_sided_misses.read()),
            "one_sided_failed_checks" => self.of_workers(|stats| stats.one_sided_asked().0),
            "one_sided_doubts" => self.of_workers(|stats| stats.one_sided_asked().1),
            // One thread writes for all shards.
            "tier_item_bytes" => self.of_tier(|tier| &tier.item_bytes),
            "tier_written_bytes" => self.of_tier(|tier| &tier.written_bytes),
            "tier_journal_bytes" => self.of_tier(|tier| &tier.journal_bytes),
            "tier_padding_bytes" => self.of_tier(|tier| &tier.padding_bytes),
            "tier_snapshots" => self.of_tier(|tier| &tier.snapshots.written),
            "tier_snapshot_bytes" => self.of_tier(|tier| &tier.snapshots.bytes),
            name => self.of_shard_or_worker(name)?,
        })
    }

    fn of_shard_or_worker(&self, name: &str) -> Option<u64> {
        // The names of a shard's figures and of a worker's are known before there is any.
        let shard = ShardStats::default().figures().any(|figure| figure.name == name);
        let worker = || self.workers().filter_map(|stats| stats.figure(name));
        if shard { Some(self.of_shards(name)) } else { worker().reduce(|sum, value| sum + value) }
    }

    fn of_shards(&self, name: &str) -> u64 {
        let shards = self.shared.shard_stats.get().and_then(|stats| stats.get(self.shards.clone()));
        let figures = shards.into_iter().flatten().flat_map(|stats| stats.figures());
        figures.filter(|figure| figure.name == name).map(|f| f.value).sum()
    }

    fn of_tier(&self, figure: fn(&TierFigures) -> &AtomicU64) -> u64 {
        self.shared.tier.get().map_or(0, |tier| figure(tier).load(Relaxed))
    }

    fn of_workers(&self, figure: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.workers().map(figure).sum()
    }

    fn workers(&self) -> impl Iterator<Item = &WorkerStats> {
        let workers = self.shared.worker_stats.get(self.shards.clone());
        workers.into_iter().flatten().map(|stats| &**stats)
    }
}

#[cfg(test)]
mod tests {
    use super::Shared;
    use crate::session::{memcache::stats, native, resp::info};
    use crate::simulation::shared;
    use crate::tunables::Tunables;

    #[test]
    fn every_figure_that_a_protocol_shows_has_a_source() {
        let shared = shared(1);
        let lists = [stats::GAUGES, stats::COUNTERS, info::CLIENTS, info::MEMORY, info::STATS];
        let named = lists.into_iter().flatten().map(|(_, figure)| *figure);
        for figure in named.chain(native::server::FIGURES) {
            assert!(shared.all().lookup(figure).is_some(), "{figure}");
        }
        assert_eq!(shared.all().lookup("no_such_figure"), None);
    }

    #[test]
    fn the_figures_of_the_shards_add_up() {
        let shared = Shared { tunables: Tunables::new(0, 100, 64 << 20), ..shared(2) };
        shared.worker_stats[0].accepted.add(5);
        shared.worker_stats[1].accepted.add(2);
        for (name, figures) in [("connections_total", [5, 2]), ("memory_max_bytes", [32 << 20, 32 << 20])] {
            assert_eq!([0, 1].map(|shard| shared.own_figure(shard, name)), figures, "{name}");
            assert_eq!(shared.figure(name), figures.iter().sum::<u64>(), "{name}");
        }
    }

    #[test]
    fn a_reset_is_for_the_names_that_it_gives() {
        let shared = shared(1);
        shared.worker_stats[0].accepted.add(5);
        shared.worker_stats[0].turns.add(7);
        shared.reset(&["connections_total"]);
        shared.worker_stats[0].accepted.add(2);
        assert_eq!(
            (shared.figure_since_reset(None, "connections_total"), shared.figure("connections_total")),
            (2, 7)
        );
        assert_eq!(shared.figure_since_reset(None, "turns"), 7);
        shared.reset(&["connections_total"]);
        assert_eq!(shared.figure_since_reset(None, "connections_total"), 0);
    }

    #[test]
    fn a_reset_is_for_each_shard_too() {
        let shared = shared(2);
        shared.worker_stats[0].accepted.add(5);
        shared.worker_stats[1].accepted.add(9);
        shared.reset(&["connections_total"]);
        shared.worker_stats[1].accepted.add(2);
        let since = |shard| shared.figure_since_reset(shard, "connections_total");
        assert_eq!([since(Some(0)), since(Some(1)), since(None)], [0, 2, 2]);
    }
}
