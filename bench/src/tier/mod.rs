//! `torc bench tier`: a second tier in six kinds of measurement.
//!
//! - `cost`: what each operation costs the server with a tier over what it costs without, all values in memory.
//! - `tails`: how long reads and writes of what lies in memory take at a quarter of the peak, with and without a tier.
//! - `durable`: changes that are safe on the disk, each at once or within a second, beside redis-server's append-only file.
//! - `restart`: how soon a server that was killed under load is warm again, beside redis-server's append-only file.
//! - `recovery`: how soon a server knows what its tier holds, beside reading the tables and filling an index alone.
//! - `hits`: how many reads hit, beside servers with as much memory as the tier has, and no tier.
//!
//! All files lie in one folder of the disk that is measured. In each round all servers take their turn, each round beginning
//! with another one, and none is loaded before the one before it has nothing left to write.

mod args;
mod disk;
mod hits;
mod kept;
mod page;
mod ratio;
mod recovery;
mod restart;
mod restarted;
mod rounds;
mod servers;

pub(crate) use args::TierArgs;

use crate::{
    error::BenchError,
    results::{Folder, Setting},
};
use args::Kind;
use disk::Scratch;
use kept::Tier;
use servers::servers;

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
    for kind in [Kind::Cost, Kind::Tails, Kind::Durable].into_iter().filter(|kind| wanted(*kind)) {
        let servers = servers(kind, args, cores, &scratch)?;
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
