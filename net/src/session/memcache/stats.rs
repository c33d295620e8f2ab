//! `stats`: the server's figures under memcached's names.

use super::compose::PROTOCOL_VERSION;
use super::reply_kind::{Kind, Topic};
use crate::session::context::{ComposeContext, ServerView};
use crate::session::output::Output;
use std::fmt::Display;
use std::io::Write as _;
use torc_proto::memcache::Invalid;

/// How `stats` with this argument is answered.
pub(super) fn kind(what: Option<&[u8]>) -> Kind {
    Kind::Stats(match what {
        None => Topic::General,
        Some(b"settings") => Topic::Settings,
        Some(b"items") => Topic::Items,
        Some(b"slabs") => Topic::Slabs,
        Some(b"sizes") => Topic::Sizes,
        Some(b"conns") => Topic::Connections,
        Some(b"reset") => Topic::Reset,
        Some(b"detail") => return Kind::Invalid(Invalid::StatsDetail),
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
    ("auth_errors", "auth_failures"),
    ("bytes_read", "bytes_received"),
    ("bytes_written", "bytes_sent"),
    ("total_items", "items_stored"),
    ("evictions", "evictions"),
    ("reclaimed", "expirations"),
];

/// Counters of the one class of items that there is, as `stats items` and `stats slabs` name them.
const OF_ITEMS: &[(&str, &str)] =
    &[("evicted", "evictions"), ("outofmemory", "refused_memory"), ("reclaimed", "expirations")];
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

pub(super) fn compose(topic: Topic, context: &ComposeContext<'_>, out: &mut Output) {
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
        Topic::Connections => connection(context, tail),
    }
    tail.extend_from_slice(b"END\r\n");
}

fn general(context: &ComposeContext<'_>, tail: &mut Vec<u8>) {
    let server = context.server;
    stat("pid", std::process::id(), tail);
    stat("uptime", context.now.saturating_sub(server.started_at()) / 1000, tail);
    stat("time", context.now / 1000, tail);
    stat("version", PROTOCOL_VERSION, tail);
    stat("torc_version", env!("CARGO_PKG_VERSION"), tail);
    stat("pointer_size", usize::BITS, tail);
    stat("threads", server.shard_count(), tail);
    stat("accepting_conns", 1, tail);
    for (name, figure) in GAUGES {
        stat(name, server.figure(figure), tail);
    }
    for (name, figure) in COUNTERS {
        stat(name, server.figure_since_reset(figure), tail);
    }
    stat("torc_transport", server.transport(), tail);
}

fn settings(context: &ComposeContext<'_>, tail: &mut Vec<u8>) {
    let server = context.server;
    stat("maxbytes", server.figure("memory_max"), tail);
    stat("maxconns", server.figure("connections_max"), tail);
    let is_path = context.local.starts_with('/');
    let (host, port) = context.local.rsplit_once(':').filter(|_| !is_path).unwrap_or(("NULL", "0"));
    stat("tcpport", port, tail);
    stat("udpport", 0, tail);
    stat("inter", host, tail);
    stat("domain_socket", if is_path { context.local } else { "NULL" }, tail);
    stat("verbosity", 0, tail);
    stat("evictions", "on", tail);
    stat("num_threads", server.shard_count(), tail);
    stat("item_size_max", server.figure("value_bytes_max"), tail);
    stat("cas_enabled", "yes", tail);
    stat("flush_enabled", "yes", tail);
    stat("dump_enabled", "no", tail);
    stat("detail_enabled", "no", tail);
    stat("shutdown_command", "no", tail);
    stat("auth_enabled_sasl", "no", tail);
    stat("auth_enabled_ascii", if server.has_password() { "yes" } else { "no" }, tail);
    stat("ssl_enabled", "no", tail);
    stat("binding_protocol", "ascii", tail);
}

/// All items are of class 1, as `me` says, too.
fn items(server: &dyn ServerView, tail: &mut Vec<u8>) {
    if server.items() == 0 {
        return;
    }
    class("items:1:", &[("number", server.items()), ("mem_requested", server.figure("bytes"))], tail);
    class("items:1:", &since_reset(server, OF_ITEMS), tail);
}

fn slabs(server: &dyn ServerView, tail: &mut Vec<u8>) {
    let items = server.items();
    if items > 0 {
        class("1:", &[("used_chunks", items)], tail);
        class("1:", &since_reset(server, OF_SLABS), tail);
    }
    stat("active_slabs", u8::from(items > 0), tail);
    stat("total_malloced", server.figure("bytes_segments"), tail);
}

fn since_reset<'n>(server: &dyn ServerView, names: &[(&'n str, &str)]) -> Vec<(&'n str, u64)> {
    names.iter().map(|(name, figure)| (*name, server.figure_since_reset(figure))).collect()
}

fn class(prefix: &str, figures: &[(&str, u64)], tail: &mut Vec<u8>) {
    for (name, value) in figures {
        stat(&format!("{prefix}{name}"), value, tail);
    }
}

/// The connection that asks. Others are left out, as they may be another shard's.
fn connection(context: &ComposeContext<'_>, tail: &mut Vec<u8>) {
    let number = context.connection;
    stat(&format!("{number}:addr"), Address(context.peer), tail);
    stat(&format!("{number}:listen_addr"), Address(context.local), tail);
    stat(&format!("{number}:state"), "conn_parse_cmd", tail);
    stat(&format!("{number}:secs_since_last_cmd"), 0, tail);
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
