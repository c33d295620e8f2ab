//! `stats`: the server's figures under memcached's names.

use super::compose::Kind;
use crate::session::{ComposeContext, Output, ServerView};
use std::fmt::Display;
use std::io::Write as _;
use torc_proto::memcache::Invalid;

/// Which statistics.
#[derive(Debug, Clone, Copy)]
pub(super) enum Topic {
    General,
    Settings,
    /// Memory by slab class; there are none here.
    Slabs,
    /// Kept for clients that ask for them: an empty list.
    Empty,
    /// Counters run on: they are the server's, shared by its metrics. The answer is memcached's.
    Reset,
}

/// How `stats` with this argument is answered.
pub(super) fn kind(what: Option<&[u8]>) -> Kind {
    Kind::Stats(match what {
        None => Topic::General,
        Some(b"settings") => Topic::Settings,
        Some(b"slabs") => Topic::Slabs,
        Some(b"items" | b"sizes" | b"conns") => Topic::Empty,
        Some(b"reset") => Topic::Reset,
        Some(b"detail") => return Kind::Invalid(Invalid::StatsDetail),
        Some(_) => return Kind::Invalid(Invalid::Command),
    })
}

/// memcached's name and the server's figure. Programs that watch memcached want all of them; one that the
/// server does not keep reads 0.
const FIGURES: &[(&str, &str)] = &[
    ("max_connections", "connections_max"),
    ("curr_connections", "connections"),
    ("total_connections", "connections_total"),
    ("rejected_connections", "connections_refused"),
    ("cmd_get", "commands_get"),
    ("cmd_set", "commands_set"),
    ("cmd_flush", "commands_flush"),
    ("cmd_touch", "commands_touch"),
    ("get_hits", "hits"),
    ("get_misses", "misses"),
    ("get_expired", "misses_expired"),
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
    ("bytes_read", "bytes_received"),
    ("bytes_written", "bytes_sent"),
    ("limit_maxbytes", "memory_max"),
    ("bytes", "bytes"),
    ("total_items", "items_stored"),
    ("evictions", "evictions"),
    ("reclaimed", "expirations"),
];

pub(super) fn compose(topic: Topic, context: &ComposeContext<'_>, out: &mut Output) {
    let server = context.server;
    let tail = out.tail();
    match topic {
        Topic::Reset => return tail.extend_from_slice(b"RESET\r\n"),
        Topic::Empty => {}
        Topic::General => general(context, tail),
        Topic::Settings => settings(server, tail),
        Topic::Slabs => {
            stat("active_slabs", 0, tail);
            stat("total_malloced", server.figure("memory_max"), tail);
        }
    }
    tail.extend_from_slice(b"END\r\n");
}

fn general(context: &ComposeContext<'_>, tail: &mut Vec<u8>) {
    let server = context.server;
    stat("pid", std::process::id(), tail);
    stat("uptime", context.now.saturating_sub(server.started_at()) / 1000, tail);
    stat("time", context.now / 1000, tail);
    stat("version", super::compose::PROTOCOL_VERSION, tail);
    stat("torc_version", env!("CARGO_PKG_VERSION"), tail);
    stat("pointer_size", usize::BITS, tail);
    stat("threads", server.shard_count(), tail);
    stat("accepting_conns", 1, tail);
    stat("curr_items", server.items(), tail);
    for (name, figure) in FIGURES {
        stat(name, server.figure(figure), tail);
    }
    stat("torc_transport", server.transport(), tail);
}

fn settings(server: &dyn ServerView, tail: &mut Vec<u8>) {
    stat("maxbytes", server.figure("memory_max"), tail);
    stat("maxconns", server.figure("connections_max"), tail);
    stat("item_size_max", server.figure("value_bytes_max"), tail);
    stat("num_threads", server.shard_count(), tail);
    stat("evictions", "on", tail);
    stat("cas_enabled", "yes", tail);
    stat("flush_enabled", "yes", tail);
    stat("auth_enabled_ascii", "no", tail);
    stat("binding_protocol", "ascii", tail);
}

fn stat(name: &str, value: impl Display, tail: &mut Vec<u8>) {
    // Writing into a `Vec` does not fail.
    let _ = write!(tail, "STAT {name} {value}\r\n");
}
