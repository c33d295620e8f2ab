//! INFO: sections of `name:value` lines, in Redis' names where the thing is the same.

use super::client::Client;
use super::config::POLICY;
use super::connection::REDIS_VERSION;
use super::local::LocalCall;
use crate::cpu_time::CpuTime;
use crate::metrics::CommandTimes;
use crate::session::protocol::Port;
use std::fmt::Write;
use torc_proto::resp::compose;

/// Writes the lines of a section.
type Lines = fn(&LocalCall<'_>, &mut String);

const SECTIONS: [(&str, Lines); 12] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Commandstats", command_stats),
    ("Errorstats", error_stats),
    ("Latencystats", latency_stats),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

/// Told only to who asks for them.
const EXTRA: [&str; 2] = ["Commandstats", "Latencystats"];

pub(super) fn info(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let asked = call.words.get(1..).unwrap_or_default();
    let wanted = |name: &str| {
        asked.is_empty() && !EXTRA.contains(&name)
            || asked.iter().any(|word| {
                word.eq_ignore_ascii_case(name.as_bytes())
                    || ["all", "everything"].iter().any(|every| word.eq_ignore_ascii_case(every.as_bytes()))
                    || word.eq_ignore_ascii_case(b"default") && !EXTRA.contains(&name)
            })
    };
    let mut text = String::new();
    for (name, lines) in SECTIONS {
        if wanted(name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            line(&mut text, format_args!("# {name}"));
            lines(call, &mut text);
        }
    }
    compose::verbatim(out, &text, client.version);
}

/// What commands took: their shares of the turns that read them.
fn command_stats(call: &LocalCall<'_>, text: &mut String) {
    for CommandTimes { name, calls, failed, rejected, spent_ns, .. } in call.context.server.command_times() {
        let us = spent_ns / 1000;
        let each = if calls > 0 { spent_ns as f64 / 1000.0 / calls as f64 } else { 0.0 };
        let counts = format_args!("rejected_calls={rejected},failed_calls={failed}");
        line(text, format_args!("cmdstat_{name}:calls={calls},usec={us},usec_per_call={each:.2},{counts}"));
    }
}

/// How often clients were answered an error, by its code.
fn error_stats(call: &LocalCall<'_>, text: &mut String) {
    let mut codes = call.context.server.error_codes();
    codes.sort_unstable();
    codes.iter().for_each(|(code, count)| line(text, format_args!("errorstat_{code}:count={count}")));
}

/// Within which time they were answered: the durations of these turns.
fn latency_stats(call: &LocalCall<'_>, text: &mut String) {
    for times in call.context.server.command_times().iter().filter(|times| times.calls > 0) {
        let [half, most, nearly_all] = [0.5, 0.99, 0.999].map(|share| times.percentile(share));
        let name = times.name;
        line(
            text,
            format_args!(
                "latency_percentiles_usec_{name}:p50={half}.000,p99={most}.000,p99.9={nearly_all}.000"
            ),
        );
    }
}

/// Of the process, all threads together.
fn cpu(_: &LocalCall<'_>, text: &mut String) {
    let used = CpuTime::of_process();
    for (name, time) in [("sys", used.system), ("user", used.user)] {
        line(text, format_args!("used_cpu_{name}:{}.{:06}", time.as_secs(), time.subsec_micros()));
    }
    for name in ["sys", "user"] {
        line(text, format_args!("used_cpu_{name}_children:0.000000"));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{line}\r\n");
}

fn server(call: &LocalCall<'_>, text: &mut String) {
    let context = call.context;
    let server = context.server;
    let uptime_seconds = context.now.saturating_sub(server.started_at()) / 1000;
    line(text, format_args!("redis_version:{REDIS_VERSION}"));
    line(text, format_args!("redis_mode:{}", call.mode()));
    line(text, format_args!("server_name:torc"));
    line(text, format_args!("torc_version:{}", env!("CARGO_PKG_VERSION")));
    line(text, format_args!("os:{} {}", std::env::consts::OS, std::env::consts::ARCH));
    line(text, format_args!("arch_bits:{}", usize::BITS));
    line(text, format_args!("multiplexing_api:{}", server.transport()));
    line(text, format_args!("process_id:{}", std::process::id()));
    line(text, format_args!("run_id:{}", server.node_id(call.node())));
    line(text, format_args!("tcp_port:{}", context.local.rsplit(':').next().unwrap_or("0")));
    line(text, format_args!("server_time_usec:{}", context.now.saturating_mul(1000)));
    line(text, format_args!("uptime_in_seconds:{uptime_seconds}"));
    line(text, format_args!("uptime_in_days:{}", uptime_seconds / 86_400));
    line(text, format_args!("shards:{}", server.shard_count()));
    line(text, format_args!("executable:"));
    line(text, format_args!("config_file:"));
}

/// Redis' names, each with the server's figure.
pub(crate) const CLIENTS: &[(&str, &str)] = &[
    ("connected_clients", "connections"),
    ("maxclients", "connections_max"),
    ("blocked_clients", "connections_blocked"),
    ("tracking_clients", "tracking_clients"),
    ("shared_memory_clients", "rings"),
    ("shared_memory_clients_hot", "rings_hot"),
    ("shared_memory_clients_reading", "rings_reading"),
];

pub(crate) const MEMORY: &[(&str, &str)] = &[
    ("used_memory", "memory_used_bytes"),
    ("used_memory_dataset", "bytes_live"),
    ("used_memory_index", "bytes_index"),
    ("used_memory_segments", "bytes_segments"),
    ("used_memory_rss", "resident_bytes"),
    ("used_memory_scripts", "script_bytes"),
    ("used_memory_scripts_eval", "known_script_bytes"),
    ("number_of_cached_scripts", "known_scripts"),
    ("maxmemory", "memory_max_bytes"),
];

pub(crate) const STATS: &[(&str, &str)] = &[
    ("total_connections_received", "connections_total"),
    ("rejected_connections", "connections_refused"),
    ("total_commands_processed", "commands"),
    ("total_net_input_bytes", "bytes_received"),
    ("total_net_output_bytes", "bytes_sent"),
    ("keyspace_hits", "hits"),
    ("keyspace_misses", "misses"),
    ("total_error_replies", "errors_answered"),
    ("acl_access_denied_auth", "auth_failures"),
    ("expired_keys", "expirations"),
    ("evicted_keys", "evictions"),
    ("tracking_total_keys", "tracked_keys"),
    ("tracking_total_items", "tracked_items"),
    ("tracking_total_prefixes", "tracking_prefixes"),
    ("one_sided_hits", "one_sided_hits"),
    ("one_sided_misses", "one_sided_misses"),
    ("one_sided_failed_checks", "one_sided_failed_checks"),
    ("one_sided_doubts", "one_sided_doubts"),
    ("tier_fetches", "tier_fetches"),
    ("tier_promotions", "tier_promotions"),
    ("tier_cache_hits", "tier_cache_hits"),
    ("tier_cache_misses", "tier_cache_misses"),
    ("tier_cache_bytes", "tier_cache_bytes"),
    ("tier_unsaved", "tier_unsaved"),
    ("tier_item_bytes", "tier_item_bytes"),
    ("tier_written_bytes", "tier_written_bytes"),
    ("tier_journal_bytes", "tier_journal_bytes"),
    ("tier_padding_bytes", "tier_padding_bytes"),
    ("tier_snapshots", "tier_snapshots"),
    ("tier_snapshot_bytes", "tier_snapshot_bytes"),
];

fn clients(call: &LocalCall<'_>, text: &mut String) {
    figures(call, text, CLIENTS);
}

fn memory(call: &LocalCall<'_>, text: &mut String) {
    figures(call, text, MEMORY);
    for (name, figure) in [("used_memory", "memory_used_bytes"), ("maxmemory", "memory_max_bytes")] {
        line(text, format_args!("{name}_human:{}", human(call.figure(figure))));
    }
    let (resident, used) = (call.figure("resident_bytes"), call.figure("memory_used_bytes"));
    line(text, format_args!("maxmemory_policy:{POLICY}"));
    line(text, format_args!("mem_fragmentation_ratio:{:.2}", resident as f64 / used.max(1) as f64));
}

/// Bytes with a unit, as Redis writes them.
fn human(bytes: u64) -> String {
    let units = [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.2}{name}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
}

/// What a tier has is told of in the statistics; Redis' two ways of saving are not there.
fn persistence(_: &LocalCall<'_>, text: &mut String) {
    for (name, value) in [
        ("loading", "0"),
        ("rdb_changes_since_last_save", "0"),
        ("rdb_bgsave_in_progress", "0"),
        ("rdb_last_bgsave_status", "ok"),
        ("aof_enabled", "0"),
        ("aof_rewrite_in_progress", "0"),
        ("aof_last_bgrewrite_status", "ok"),
    ] {
        line(text, format_args!("{name}:{value}"));
    }
}

/// Counted from the last CONFIG RESETSTAT, whichever port took it.
fn stats(call: &LocalCall<'_>, text: &mut String) {
    for (redis, ours) in STATS {
        let value = match call.port {
            Port::Common => call.context.server.figure_since_reset(ours),
            Port::Shard => call.context.server.own_figure_since_reset(ours),
        };
        line(text, format_args!("{redis}:{value}"));
    }
}

fn figures(call: &LocalCall<'_>, text: &mut String, names: &[(&str, &str)]) {
    for (redis, ours) in names {
        line(text, format_args!("{redis}:{}", call.figure(ours)));
    }
}

fn replication(_: &LocalCall<'_>, text: &mut String) {
    line(text, format_args!("role:master"));
    line(text, format_args!("connected_slaves:0"));
    line(text, format_args!("master_repl_offset:0"));
}

fn cluster(call: &LocalCall<'_>, text: &mut String) {
    line(text, format_args!("cluster_enabled:{}", u8::from(call.is_cluster())));
}

fn keyspace(call: &LocalCall<'_>, text: &mut String) {
    for number in 0..call.context.server.databases() {
        let figures = call.database(number);
        let (keys, expires) = (figures.items + figures.only, figures.expiring);
        if keys > 0 {
            let ttl = figures.mean_ttl(call.context.now);
            line(text, format_args!("db{number}:keys={keys},expires={expires},avg_ttl={ttl}"));
        }
    }
}
