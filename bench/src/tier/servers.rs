//! The servers that are measured.

use super::{
    args::{Kind, TierArgs},
    disk::Scratch,
};
use crate::{
    error::BenchError,
    lab::{Cores, contender::Contender, peers},
};

/// Torc that is not told of any tier.
pub(super) const WITHOUT: &str = "torc without a tier";

/// The servers of `cost`, `tails` or `durable`, all running.
pub(super) fn servers(
    kind: Kind,
    args: &TierArgs,
    cores: Cores,
    scratch: &Scratch,
) -> Result<Vec<Contender>, BenchError> {
    let cpu = cores.server;
    if kind == Kind::Tails {
        let mut without = args.lab.torc.start(&[cpu], args.memory_mib << 20)?;
        without.name = WITHOUT.into();
        // The process may use both cores; the shard has one, who writes and reads the tier shares the other with the generator.
        let arguments = [
            format!("--tier={}", scratch.file("tails")),
            format!("--tier-size={}m", args.tier_mib),
            format!("--storage-cpus={}", cores.generator),
            format!("--cpus={cpu}"),
            "--shards=1".into(),
            "--shard-port-base=off".into(),
        ];
        let both = [cpu, cores.generator];
        let mut with = args.lab.torc.start_with(&arguments, &both, args.memory_mib << 20)?;
        with.name = "torc, file".into();
        return Ok(vec![without, with]);
    }
    if kind == Kind::Cost {
        let mut without = args.lab.torc.start(&[cpu], args.memory_mib << 20)?;
        without.name = WITHOUT.into();
        return Ok(vec![
            without,
            torc(args, cpu, &scratch.file("cost"), "interval:1s", "torc, file")?,
            torc(args, cpu, "memory", "interval:1s", "torc, memory")?,
        ]);
    }
    let mut servers = Vec::new();
    for (durability, fsync) in [("always", "always"), ("interval:1s", "everysec")] {
        let file = scratch.file(fsync);
        servers.push(torc(args, cpu, &file, durability, &format!("torc, {durability}"))?);
        servers.extend(redis(args, cpu, scratch, fsync)?);
    }
    Ok(servers)
}

/// Torc with a tier.
pub(super) fn torc(
    args: &TierArgs,
    cpu: usize,
    tier: &str,
    durability: &str,
    name: &str,
) -> Result<Contender, BenchError> {
    let arguments = [
        format!("--tier={tier}"),
        format!("--tier-size={}m", args.tier_mib),
        format!("--durability={durability}"),
    ];
    let mut server = args.lab.torc.start_with(&arguments, &[cpu], args.memory_mib << 20)?;
    server.name = name.into();
    Ok(server)
}

/// redis-server with an append-only file that it does not rewrite meanwhile, if installed.
pub(super) fn redis(
    args: &TierArgs,
    cpu: usize,
    scratch: &Scratch,
    fsync: &str,
) -> Result<Option<Contender>, BenchError> {
    let folder = scratch.folder(&format!("redis-{fsync}"))?;
    let arguments = ["--dir", &folder, "--appendonly", "yes", "--appendfsync", fsync];
    let no_rewrite = ["--auto-aof-rewrite-percentage", "0"];
    let arguments: Vec<String> = arguments.into_iter().chain(no_rewrite).map(Into::into).collect();
    let server = peers::redis_with(cpu, args.memory_mib, &arguments)?;
    Ok(server.map(|mut server| {
        server.name = format!("redis, {fsync}");
        server
    }))
}
