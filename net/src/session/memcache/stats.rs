//! `stats`: the server's figures under memcached's names.

use super::compose::{self, PROTOCOL_VERSION};
use super::lower;
use super::reply_kind::{Kind, Topic};
use crate::cpu_time::CpuTime;
use crate::observed::MONITOR_BYTES_MAX;
use crate::session::answer::Answer;
use crate::session::context::{Changeable, ComposeContext, ServerView};
use crate::session::output::Output;
use crate::session::part::{Part, Work};
use crate::session::resp::ClientFacts;
use crate::session::walk::{OfClients, Over};
use std::fmt::Display;
use std::io::Write as _;
use torc_proto::memcache::Invalid;

/// What is done for `stats` with this argument, and how it is answered.
pub(super) fn part<'a>(what: Option<&[u8]>) -> Part<'a> {
    let kind = kind(what);
    let work = match kind {
        Kind::Connections => Work::Walk { database: 0, over: Over::Clients(OfClients::Stats) },
        _ => Work::Local,
    };
    lower::part(work, kind)
}

fn kind(what: Option<&[u8]>) -> Kind {
    Kind::Stats(match what {
        None => Topic::General,
        Some(b"settings") => Topic::Settings,
        Some(b"items") => Topic::Items,
        Some(b"slabs") => Topic::Slabs,
        Some(b"sizes") => Topic::Sizes,
        Some(b"conns") => return Kind::Connections,
        Some(b"reset") => Topic::Reset,
        Some(_) => return Kind::Invalid(Invalid::Command),
    })
}

/// Figures of the present: memcached's name of each, and the server's.
pub(crate) const GAUGES: &[(&str, &str)] = &[
    ("max_connections", "connections_max"),
    ("curr_connections", "connections"),
    ("limit_maxbytes", "memory_max"),
    ("bytes", "bytes"),
    ("curr_items", "keys"),
    ("connection_structures", "connections"),
    ("hash_bytes", "bytes_index"),
    ("log_watchers", "watchers"),
    ("shared_memory_conns", "rings"),
    ("shared_memory_conns_hot", "rings_hot"),
    ("shared_memory_conns_reading", "rings_reading"),
    ("tier_unsaved", "tier_unsaved"),
    ("tier_cache_bytes", "tier_cache_bytes"),
];

/// Counters since the start, or since a `stats reset`: names as in [`GAUGES`].
pub(crate) const COUNTERS: &[(&str, &str)] = &[
    ("total_connections", "connections_total"),
    ("rejected_connections", "connections_refused"),
    ("cmd_get", "commands_get"),
    ("cmd_set", "commands_set"),
    ("cmd_flush", "commands_flush"),
    ("cmd_touch", "commands_touch"),
    ("get_hits", "get_hits"),
    ("get_misses", "get_misses"),
    ("get_expired", "misses_expired"),
    ("get_flushed", "misses_flushed"),
    ("one_sided_hits", "one_sided_hits"),
    ("one_sided_misses", "one_sided_misses"),
    ("one_sided_failed_checks", "one_sided_failed_checks"),
    ("one_sided_doubts", "one_sided_doubts"),
    ("tier_fetches", "tier_fetches"),
    ("tier_promotions", "tier_promotions"),
    ("tier_cache_hits", "tier_cache_hits"),
    ("tier_cache_misses", "tier_cache_misses"),
    ("tier_item_bytes", "tier_item_bytes"),
    ("tier_written_bytes", "tier_written_bytes"),
    ("tier_journal_bytes", "tier_journal_bytes"),
    ("tier_padding_bytes", "tier_padding_bytes"),
    ("tier_snapshots", "tier_snapshots"),
    ("tier_snapshot_bytes", "tier_snapshot_bytes"),
    ("delete_hits", "delete_hits"),
    ("delete_misses", "delete_misses"),
    ("incr_hits", "increment_hits"),
    ("incr_misses", "increment_misses"),
    ("decr_hits", "decrement_hits"),
    ("decr_misses", "decrement_misses"),
    ("cas_hits", "cas_hits"),
    ("cas_misses", "cas_misses"),
    ("cas_badval", "cas_mismatches"),
    ("touch_hits", "touch_hits"),
    ("touch_misses", "touch_misses"),
    ("store_too_large", "values_too_long"),
    ("store_no_memory", "refused_memory"),
    ("auth_cmds", "auth_commands"),
    ("auth_errors", "auth_failures"),
    ("idle_kicks", "idle_kicks"),
    ("bytes_read", "bytes_received"),
    ("bytes_written", "bytes_sent"),
    ("total_items", "items_stored"),
    ("evictions", "evictions"),
    ("reclaimed", "expirations"),
    ("expired_unfetched", "expirations_unread"),
    ("evicted_unfetched", "evictions_unread"),
    ("log_worker_dropped", "watched_events_dropped"),
    ("log_worker_written", "watched_events"),
    ("log_watcher_skipped", "watched_lines_skipped"),
    ("log_watcher_sent", "watched_lines"),
];

/// What memcached counts, and never happens here: there are no slabs to move memory between, no lists by the last use, no thread that crawls
/// them, and clients beyond the limit are refused at once.
const NEVER: &[&str] = &[
    "response_obj_oom",
    "read_buf_oom",
    "listen_disabled_num",
    "time_in_listen_disabled_us",
    "conn_yields",
    "hash_is_expanding",
    "slab_reassign_rescues",
    "slab_reassign_chunk_rescues",
    "slab_reassign_evictions_nomem",
    "slab_reassign_inline_reclaim",
    "slab_reassign_busy_items",
    "slab_reassign_busy_deletes",
    "slab_reassign_running",
    "slabs_moved",
    "slab_global_page_pool",
    "lru_crawler_running",
    "lru_crawler_starts",
    "lru_maintainer_juggles",
    "malloc_fails",
    "evicted_active",
    "crawler_reclaimed",
    "crawler_items_checked",
    "lrutail_reflocked",
    "moves_to_cold",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
    "lru_bumps_dropped",
];

/// The same for a class of items; the age of the oldest is not known.
const NEVER_OF_ITEMS: &[&str] = &[
    "age",
    "evicted_nonzero",
    "evicted_time",
    "tailrepairs",
    "evicted_active",
    "crawler_reclaimed",
    "crawler_items_checked",
    "lrutail_reflocked",
    "moves_to_cold",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
];

/// Counters of the one class of items that there is, as `stats items` and `stats slabs` name them.
const OF_ITEMS: &[(&str, &str)] = &[
    ("evicted", "evictions"),
    ("outofmemory", "refused_memory"),
    ("reclaimed", "expirations"),
    ("expired_unfetched", "expirations_unread"),
    ("evicted_unfetched", "evictions_unread"),
];
const OF_SLABS: &[(&str, &str)] = &[
    ("get_hits", "get_hits"),
    ("cmd_set", "commands_set"),
    ("delete_hits", "delete_hits"),
    ("incr_hits", "increment_hits"),
    ("decr_hits", "decrement_hits"),
    ("cas_hits", "cas_hits"),
    ("cas_badval", "cas_mismatches"),
    ("touch_hits", "touch_hits"),
];

pub(super) fn write(topic: Topic, context: &ComposeContext<'_>, out: &mut Output) {
    let server = context.server;
    let tail = out.tail();
    match topic {
        Topic::Reset => {
            let names: Vec<&'static str> = COUNTERS.iter().map(|(_, figure)| *figure).collect();
            server.reset_figures(&names);
            return tail.extend_from_slice(b"RESET\r\n");
        }
        Topic::General => general(context, tail),
        Topic::Settings => settings(context, tail),
        Topic::Items => items(server, tail),
        Topic::Slabs => slabs(server, tail),
        Topic::Sizes => stat("sizes_status", "disabled", tail),
    }
    tail.extend_from_slice(b"END\r\n");
}

/// What the shards have told of their connections.
pub(super) fn connections(answer: &Answer<'_>, out: &mut Output) {
    match answer {
        Answer::Walked { found, .. } => {
            out.tail().extend_from_slice(found);
            out.tail().extend_from_slice(b"END\r\n");
        }
        other => compose::problem(other, out),
    }
}

fn general(context: &ComposeContext<'_>, tail: &mut Vec<u8>) {
    let server = context.server;
    stat("pid", std::process::id(), tail);
    stat("uptime", context.now.saturating_sub(server.started_at()) / 1000, tail);
    stat("time", context.now / 1000, tail);
    stat("version", PROTOCOL_VERSION, tail);
    stat("torc_version", env!("CARGO_PKG_VERSION"), tail);
    stat("pointer_size", usize::BITS, tail);
    let used = CpuTime::of_process();
    for (name, time) in [("rusage_user", used.user), ("rusage_system", used.system)] {
        stat(name, format_args!("{}.{:06}", time.as_secs(), time.subsec_micros()), tail);
    }
    stat("threads", server.shard_count(), tail);
    stat("accepting_conns", 1, tail);
    for (name, figure) in GAUGES {
        stat(name, server.figure(figure), tail);
    }
    for (name, figure) in COUNTERS {
        stat(name, server.figure_since_reset(figure), tail);
    }
    stat("hash_power_level", server.figure("index_buckets").checked_ilog2().unwrap_or(0), tail);
    NEVER.iter().for_each(|name| stat(name, 0, tail));
    stat("torc_transport", server.transport(), tail);
}

fn settings(context: &ComposeContext<'_>, tail: &mut Vec<u8>) {
    let server = context.server;
    let yes = |is: bool| if is { "yes" } else { "no" };
    stat("maxbytes", server.figure("memory_max"), tail);
    stat("maxconns", server.figure("connections_max"), tail);
    let is_path = context.local.starts_with('/');
    let (host, port) = context.local.rsplit_once(':').filter(|_| !is_path).unwrap_or(("NULL", "0"));
    stat("tcpport", port, tail);
    stat("udpport", 0, tail);
    stat("inter", host, tail);
    stat("domain_socket", if is_path { context.local } else { "NULL" }, tail);
    stat("num_threads", server.shard_count(), tail);
    stat("item_size_max", server.figure("value_bytes_max"), tail);
    stat("idle_timeout", server.changeable(Changeable::IdleSeconds), tail);
    stat("shutdown_command", yes(server.has_shutdown_command()), tail);
    stat("auth_enabled_ascii", yes(server.has_password()), tail);
    stat("watcher_logbuf_size", MONITOR_BYTES_MAX, tail);
    SETTINGS.iter().for_each(|(name, value)| stat(name, value, tail));
}

/// Settings of memcached's that are always so here.
const SETTINGS: &[(&str, &str)] = &[
    ("verbosity", "0"),
    ("oldest", "0"),
    ("evictions", "on"),
    ("stat_key_prefix", ":"),
    ("detail_enabled", "no"),
    ("cas_enabled", "yes"),
    ("binding_protocol", "ascii"),
    ("auth_enabled_sasl", "no"),
    ("maxconns_fast", "yes"),
    ("slab_reassign", "no"),
    ("slab_automove", "0"),
    ("lru_crawler", "no"),
    ("lru_crawler_sleep", "0"),
    ("lru_crawler_tocrawl", "0"),
    ("lru_maintainer_thread", "no"),
    ("lru_segmented", "no"),
    ("hot_lru_pct", "0"),
    ("warm_lru_pct", "0"),
    ("hot_max_factor", "0.00"),
    ("warm_max_factor", "0.00"),
    ("temp_lru", "no"),
    ("flush_enabled", "yes"),
    ("dump_enabled", "yes"),
    ("track_sizes", "no"),
    ("ssl_enabled", "no"),
];

/// All items are of class 1, as `me` says, too.
fn items(server: &dyn ServerView, tail: &mut Vec<u8>) {
    if server.items() == 0 {
        return;
    }
    class("items:1:", &[("number", server.items()), ("mem_requested", server.figure("bytes"))], tail);
    class("items:1:", &since_reset(server, OF_ITEMS), tail);
    NEVER_OF_ITEMS.iter().for_each(|name| class("items:1:", &[(name, 0)], tail));
}

/// The memory of items as tools expect it: pages of a megabyte are what segments take, a chunk is as long as items are on average.
fn slabs(server: &dyn ServerView, tail: &mut Vec<u8>) {
    const PAGE: u64 = 1 << 20;
    let (items, bytes, allocated) = (server.items(), server.figure("bytes"), server.figure("bytes_segments"));
    if items > 0 {
        let chunk = bytes.div_ceil(items).max(1);
        let (pages, per_page) = (allocated.div_ceil(PAGE).max(1), (PAGE / chunk).max(1));
        let chunks = (pages * per_page).max(items);
        let figures = [
            ("chunk_size", chunk),
            ("chunks_per_page", per_page),
            ("total_pages", pages),
            ("total_chunks", chunks),
            ("used_chunks", items),
            ("free_chunks", chunks - items),
            ("free_chunks_end", 0),
            ("mem_requested", bytes),
        ];
        class("1:", &figures, tail);
        class("1:", &since_reset(server, OF_SLABS), tail);
    }
    stat("active_slabs", u8::from(items > 0), tail);
    stat("total_malloced", allocated, tail);
}

fn since_reset<'n>(server: &dyn ServerView, names: &[(&'n str, &str)]) -> Vec<(&'n str, u64)> {
    names.iter().map(|(name, figure)| (*name, server.figure_since_reset(figure))).collect()
}

fn class(prefix: &str, figures: &[(&str, u64)], tail: &mut Vec<u8>) {
    for (name, value) in figures {
        stat(&format!("{prefix}{name}"), value, tail);
    }
}

/// A connection; `asks`: it is the one that asks.
pub(crate) fn connection(facts: &ClientFacts<'_>, asks: bool, tail: &mut Vec<u8>) {
    let number = facts.number;
    stat(&format!("{number}:addr"), Address(facts.peer), tail);
    stat(&format!("{number}:listen_addr"), Address(facts.local), tail);
    stat(&format!("{number}:state"), if asks { "conn_parse_cmd" } else { "conn_read" }, tail);
    stat(&format!("{number}:secs_since_last_cmd"), if asks { 0 } else { facts.idle_seconds }, tail);
}

/// An address with its kind before it, as memcached shows it.
struct Address<'a>(&'a str);

impl Display for Address<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.0 {
            path if path.starts_with('/') => "unix:",
            unnamed if unnamed.starts_with("unix:") => "",
            _ => "tcp:",
        };
        write!(f, "{kind}{}", self.0)
    }
}

fn stat(name: &str, value: impl Display, tail: &mut Vec<u8>) {
    // Writing into a `Vec` does not fail.
    let _ = write!(tail, "STAT {name} {value}\r\n");
}
