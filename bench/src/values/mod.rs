//! `torc bench values`: what values of each size cost, read and written, in Torc and in its peers.
//!
//! All servers are started once, pinned to one core. Size by size they get the same keys; then, round by round, each
//! server is measured reading and writing them, each round beginning with another server. The first round does not count:
//! servers take memory then that they have not touched before, which the machine has to clear.

mod page;

use clap::Args;
use serde::Serialize;

use crate::{
    error::BenchError,
    generator::measure::Figures,
    lab::{
        LabArgs,
        contender::Contender,
        peers,
        shape::{Shape, Timing, TimingArgs},
    },
    load::{Protocol, preload},
    results::{Folder, Setting, groups, median},
    workload::{
        args::{Workload, WorkloadArgs},
        keys::Popularity,
        mix::Mix,
    },
};

/// Flags of `torc bench values`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ValuesArgs {
    /// Bytes of a value, each size a column
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1000,10000,60000,100000,300000,1000000,10000000",
        value_name = "BYTES"
    )]
    sizes: Vec<u32>,
    /// Connections and depth, as DEPTH@CONNECTIONS
    #[arg(long, default_value = "1@20")]
    shape: Shape,
    /// Rounds; in each of them all take their turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    /// Keys, or as many as fit into a quarter of the memory
    #[arg(long, default_value_t = 300, value_name = "N")]
    keys: u64,
    /// Memory of each server, MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory_mib: u64,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    lab: LabArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Load {
    Set,
    Get,
}

impl Load {
    const ALL: [Self; 2] = [Self::Set, Self::Get];

    fn mix(self) -> Mix {
        match self {
            Self::Set => Mix::WRITES,
            Self::Get => Mix::READS,
        }
    }
}

/// One measurement: a line of the raw results.
#[derive(Clone, Debug, Serialize)]
struct Run {
    value_bytes: u32,
    load: Load,
    round: u32,
    server: String,
    protocol: Protocol,
    figures: Figures,
}

/// Torc in one protocol over the cheaper of the peers of the same round.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ratio {
    value_bytes: u32,
    load: Load,
    protocol: Protocol,
    /// CPU an operation, median of the rounds.
    cpu: f64,
}

/// Everything that is kept.
#[derive(Serialize)]
struct Values {
    setting: Setting,
    sizes: Vec<u32>,
    shape: Shape,
    keys: u64,
    rounds: u32,
    seconds: f64,
    warmup_seconds: f64,
    ratios: Vec<Ratio>,
    runs: Vec<Run>,
}

/// Bytes of a key.
const KEY_BYTES: u32 = 16;

/// Measures all sizes, prints the tables and keeps them.
pub(crate) fn run(args: &ValuesArgs) -> Result<(), BenchError> {
    let timing = args.timing.timing(0.5)?;
    let folder = Folder::create(&args.lab.out, "values")?;
    let cores = args.lab.cores.claim()?;
    let servers = peers::start_for_long_values(&args.lab.torc, cores.server, args.memory_mib)?;
    let mut runs = Vec::new();
    for &value_bytes in &args.sizes {
        measure(args, timing, &servers, value_bytes, &mut runs)?;
    }
    let values = Values {
        setting: Setting::new(cores, &servers),
        sizes: args.sizes.clone(),
        shape: args.shape,
        keys: args.keys,
        rounds: args.rounds,
        seconds: timing.duration.as_secs_f64(),
        warmup_seconds: timing.warmup.as_secs_f64(),
        ratios: ratios(&runs),
        runs,
    };
    folder.write(&page::page(&values), &values)
}

/// Fills all servers with values of one size, and measures each of them in each round.
fn measure(
    args: &ValuesArgs,
    timing: Timing,
    servers: &[Contender],
    value_bytes: u32,
    runs: &mut Vec<Run>,
) -> Result<(), BenchError> {
    let mut workload = workload(args, value_bytes)?;
    for server in servers {
        preload(server.protocols[0], std::slice::from_ref(&server.address), &workload.objects)?;
    }
    let mut jobs: Vec<(&Contender, Protocol)> = servers
        .iter()
        .flat_map(|server| server.protocols.iter().map(move |&protocol| (server, protocol)))
        .filter(|&(_, protocol)| protocol != Protocol::Native)
        .collect();
    for round in 0..=args.rounds {
        let plan = args.shape.plan(timing, None, u64::from(round));
        for load in Load::ALL {
            workload.mix = load.mix();
            for &(server, protocol) in &jobs {
                let figures = server.measure(protocol, &plan, &workload, runs.len() as u64)?;
                if round > 0 {
                    let server = server.name.clone();
                    runs.push(Run { value_bytes, load, round, server, protocol, figures });
                }
            }
        }
        jobs.rotate_left(1);
    }
    eprintln!("values of {value_bytes} bytes done");
    Ok(())
}

fn workload(args: &ValuesArgs, value_bytes: u32) -> Result<Workload, BenchError> {
    let fit = (args.memory_mib << 20) / 4 / u64::from(value_bytes.max(1));
    let workload = WorkloadArgs {
        keys: args.keys.min(fit.max(1)),
        key_size: KEY_BYTES,
        value_size: value_bytes,
        key_distribution: Popularity::Uniform,
        mix: Mix::READS,
        seed: 1,
    };
    workload.build()
}

fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let torc = groups(runs, |run| (run.server == "torc", run.value_bytes, run.load, run.protocol));
    let torc = torc.into_iter().filter(|((is_torc, ..), _)| *is_torc);
    let ratios = torc.filter_map(|((_, value_bytes, load, protocol), of_torc)| {
        let of_rounds = of_torc.iter().filter_map(|run| {
            let same = |other: &&Run| {
                let of_peer = other.server != "torc";
                of_peer && (other.value_bytes, other.load, other.round) == (value_bytes, load, run.round)
            };
            let peers = runs.iter().filter(same).map(|other| other.figures.cpu_us());
            Some(run.figures.cpu_us() / peers.min_by(f64::total_cmp)?)
        });
        Some(Ratio { value_bytes, load, protocol, cpu: median(of_rounds.collect())? })
    });
    ratios.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_to_the_cheaper_peer_of_its_round() {
        let run = |round, server: &str, cpu| Run {
            value_bytes: 10,
            load: Load::Set,
            round,
            server: server.into(),
            protocol: Protocol::Resp,
            figures: Figures::of_a_second(100, cpu),
        };
        let runs = [
            run(0, "torc", 6.0),
            run(0, "redis", 3.0),
            run(0, "memcached", 4.0),
            run(1, "torc", 8.0),
            run(1, "redis", 16.0),
            run(1, "memcached", 8.0),
            run(2, "torc", 1.0),
        ];
        let ratios = ratios(&runs);
        let expected = Ratio { value_bytes: 10, load: Load::Set, protocol: Protocol::Resp, cpu: 1.5 };
        assert_eq!(ratios, [expected]);
    }
}
