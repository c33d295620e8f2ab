//! What is told at the start: to people on stderr, to programs on stdout.

use super::running::Running;
use crate::config::value::{Size, show_cpus, show_durability};
use crate::config::{Config, LogFormat};
use crate::machine::Machine;
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use torc_net::server::RunningTier;

/// One line of JSON with every address, written when all of them are bound.
pub(super) fn ready_line(config: &Config, server: &Running, admin: Option<SocketAddr>) -> String {
    let line = json!({
        "ready": true,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "listen": server.listen(),
        "shard_listen": server.shard_listen(),
        "admin": admin.map(|address| format!("http://{address}")),
        "shards": config.server.shards,
        "transport": server.transport(),
    });
    format!("{line}\n")
}

/// A few lines for people, or one event for machines.
pub(super) fn show(config: &Config, machine: &Machine, server: &Running, admin: Option<SocketAddr>) {
    let lines = lines(config, machine, server, admin);
    match config.log {
        LogFormat::Text => {
            let pid = std::process::id();
            let mut text =
                format!("torc {}, pid {pid}, Linux {}\n", env!("CARGO_PKG_VERSION"), machine.kernel);
            for (topic, words) in lines {
                text.push_str(&format!("  {topic:<9} {words}\n"));
            }
            // Where nobody reads it, the server serves all the same.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        LogFormat::Json => {
            let [listen, cores, memory, tier, transport, limits, admin] = lines.map(|(_, words)| words);
            tracing::info!(listen, cores, memory, tier, transport, limits, admin, "started");
        }
    }
}

fn lines(
    config: &Config,
    machine: &Machine,
    server: &Running,
    admin: Option<SocketAddr>,
) -> [(&'static str, String); 7] {
    let shard_listen = server.shard_listen();
    let mut listen = server.listen().join(", ");
    if let (Some(first), Some(last)) = (shard_listen.first(), shard_listen.last()) {
        let to = if first == last { String::new() } else { format!(" to {last}") };
        listen.push_str(&format!("; shards' own: {first}{to}"));
    }
    [
        ("listen", listen),
        ("cores", cores(config, machine)),
        ("memory", memory(config, machine)),
        ("tier", server.tier().map_or("off".into(), |tier| tier_words(tier, config))),
        ("transport", transport(config, server)),
        (
            "limits",
            format!(
                "{} connections, keys to {}, values to {}",
                config.server.connections_max,
                Size(config.server.key_bytes_max as u64),
                Size(config.server.value_bytes_max)
            ),
        ),
        ("admin", admin.map_or("off".into(), |address| format!("http://{address}"))),
    ]
}

fn transport(config: &Config, server: &Running) -> String {
    let rings = config.server.shared_memory.as_ref().map_or("".into(), |shared| {
        let reads = if shared.reads { ", who may read all shards" } else { "" };
        format!("; shared memory for clients{reads}, rings of {}", Size(shared.ring_bytes as u64))
    });
    server.transport_and_why() + &rings
}

fn tier_words(tier: &RunningTier, config: &Config) -> String {
    let durability = config.server.tier.as_ref().map_or("".into(), |tier| show_durability(tier.durability));
    let content = match &tier.made {
        Some(why) => format!("made anew, as {why}"),
        None => {
            let before = if tier.was_clean { "an orderly end" } else { "a crash" };
            let bytes = Size(tier.figures.recovery_bytes.load(Relaxed));
            format!("recovering {bytes} after {before}")
        }
    };
    let reads = tier.reads.as_ref().map_or("".into(), |who| format!(", read by {who}"));
    format!("{}, {}{reads}, durability {durability}; {content}", tier.medium, Size(tier.bytes))
}

fn cores(config: &Config, machine: &Machine) -> String {
    let shards = config.server.shards;
    let quota = machine.cpu_quota.map_or("no quota".into(), |quota| format!("quota {quota:.2}"));
    let nodes = match machine.numa_nodes.len() {
        0 | 1 => "one NUMA node".into(),
        nodes => format!("{nodes} NUMA nodes"),
    };
    let crowded = if config.server.cpus.len() < usize::from(shards) { " (shards share CPUs)" } else { "" };
    format!(
        "{shards} {} on CPU {}{crowded}; allowed {}, {quota}, {nodes}",
        if shards == 1 { "shard" } else { "shards" },
        show_cpus(&config.server.cpus),
        show_cpus(&machine.cpus_allowed)
    )
}

fn memory(config: &Config, machine: &Machine) -> String {
    let huge = match machine.has_huge_pages() {
        _ if config.server.is_read_by_clients() => "as shmem_enabled says, for clients read it",
        true => "asked for",
        false => "not to be had",
    };
    format!(
        "{} of the {}'s {}, eviction {}, huge pages {huge}",
        Size(config.server.memory_bytes),
        machine.memory_source,
        Size(machine.memory_bytes >> 20 << 20),
        config.server.eviction.name()
    )
}
