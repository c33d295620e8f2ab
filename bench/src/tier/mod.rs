//! `torc bench tier`: a second tier in four kinds of measurement.
//!
//! - `cost`: what each operation costs the server with a tier over what it costs without, all values in memory.
//! - `durable`: changes that are safe on the disk, each at once or within a second, beside redis-server's append-only file.
//! - `restart`: how soon a server that was killed under load is warm again, beside redis-server's append-only file.
//! - `recovery`: how soon a server knows what its tier holds, beside reading the tables and filling an index alone.
//! - `hits`: how many reads hit, beside servers with as much memory as the tier has, and no tier.
//!
//! All files lie in one folder of the disk that is measured. In each round all servers take their turn, each round beginning
//! with another one, and none is loaded before the one before it has nothing left to write.

mod disk;
mod hits;
mod page;
mod ratio;
mod recovery;
mod restart;
mod rounds;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    error::BenchError,
    lab::{
        LabArgs,
        contender::Contender,
        peers,
        shape::{Shape, TimingArgs},
    },
    results::{Folder, Setting},
};
use disk::Scratch;
use hits::Hits;
use ratio::Ratio;
use recovery::Recovery;
use restart::Restart;
use rounds::Run;

/// Flags of `torc bench tier`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TierArgs {
    /// What is measured
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cost,durable,restart,hits")]
    kinds: Vec<Kind>,
    /// Folder on the disk to measure; the files in it are removed at the end
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    on: PathBuf,
    /// Connections and depths, as DEPTH or DEPTH@CONNECTIONS
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    shapes: Vec<Shape>,
    /// Bytes of a value in `cost`, each size a table; the others have 100
    #[arg(long, value_delimiter = ',', default_value = "64,1000", value_name = "BYTES")]
    sizes: Vec<u32>,
    /// Keys of `cost` and `durable`
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    keys: u64,
    /// Items of `restart`
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    items: u64,
    /// Items of `recovery`, each a line
    #[arg(long, value_delimiter = ',', default_value = "1000000", value_name = "N")]
    recovered: Vec<u64>,
    /// Reads of `hits`, a fifth of them measured; by default five a key
    #[arg(long, value_name = "N")]
    reads: Option<u64>,
    /// Rounds; in each of them all take their turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    /// Memory of each server, MiB
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    memory_mib: u64,
    /// Size of each tier, MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    tier_mib: u64,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    lab: LabArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Cost,
    Durable,
    Restart,
    Recovery,
    Hits,
}

/// Everything that is kept.
#[derive(Serialize)]
struct Tier {
    setting: Setting,
    /// The file system and the device that the files lay on.
    disk: String,
    /// What each Torc's banner says of its tier.
    tiers: Vec<String>,
    keys: u64,
    items: u64,
    rounds: u32,
    seconds: f64,
    warmup_seconds: f64,
    ratios: Vec<Ratio>,
    runs: Vec<Run>,
    restarts: Vec<Restart>,
    recoveries: Vec<Recovery>,
    hits: Vec<Hits>,
}

/// Bytes of a key.
const KEY_BYTES: u32 = 16;

/// Bytes of a value where sizes are not what is measured.
const VALUE_BYTES: u32 = 100;

/// Torc that is not told of any tier.
const WITHOUT: &str = "torc without a tier";

/// Measures what is asked for, prints the tables and keeps them.
pub(crate) fn run(args: &TierArgs) -> Result<(), BenchError> {
    let timing = args.timing.timing(1.0)?;
    let folder = Folder::create(&args.lab.out, "tier")?;
    let scratch = Scratch::create(&args.on)?;
    let cores = args.lab.cores.claim()?;
    let mut tier = Tier {
        setting: Setting::new(cores, &[]),
        disk: disk::describe(scratch.path()),
        tiers: Vec::new(),
        keys: args.keys,
        items: args.items,
        rounds: args.rounds,
        seconds: timing.duration.as_secs_f64(),
        warmup_seconds: timing.warmup.as_secs_f64(),
        ratios: Vec::new(),
        runs: Vec::new(),
        restarts: Vec::new(),
        recoveries: Vec::new(),
        hits: Vec::new(),
    };
    let wanted = |kind| args.kinds.contains(&kind);
    for kind in [Kind::Cost, Kind::Durable].into_iter().filter(|kind| wanted(*kind)) {
        let servers = servers(kind, args, cores.server, &scratch)?;
        rounds::measure(kind, args, timing, &servers, &mut tier.runs)?;
        tier.remember(cores, &servers);
    }
    if wanted(Kind::Restart) {
        let servers = restart::measure(args, cores.server, &scratch, &mut tier.restarts)?;
        tier.remember(cores, &servers);
    }
    if wanted(Kind::Recovery) {
        let servers = recovery::measure(args, cores.server, &scratch, &mut tier.recoveries)?;
        tier.remember(cores, &servers);
    }
    if wanted(Kind::Hits) {
        let servers = hits::measure(args, cores.server, &scratch, &mut tier.hits)?;
        tier.remember(cores, &servers);
    }
    tier.ratios = ratio::ratios(&tier.runs);
    folder.write(&page::page(&tier), &tier)
}

impl Tier {
    fn remember(&mut self, cores: crate::lab::Cores, servers: &[Contender]) {
        self.setting.servers.extend(Setting::new(cores, servers).servers);
        let tiers = servers.iter().filter_map(|server| {
            let tier = server.banner("tier").filter(|tier| tier != "off")?;
            let tier = tier.split("; made anew").next().unwrap_or_default();
            Some(format!("{}: {tier}", server.name))
        });
        self.tiers.extend(tiers);
    }
}

/// The servers of `cost` or `durable`, all running.
fn servers(kind: Kind, args: &TierArgs, cpu: usize, scratch: &Scratch) -> Result<Vec<Contender>, BenchError> {
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
fn torc(
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
fn redis(
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
