//! `torc bench features`: what messages to many subscribers, scripts, transactions and connections that ask for nothing cost, beside
//! redis-server.
//!
//! All servers are started once, pinned to one core; round by round each is measured, each round beginning with another server.
//! What is compared is the server's CPU for each request, and the tail of the latency of those who ask beside many that do not.

mod crowd;
mod load;
mod page;
mod replies;

use std::{thread, time::Duration};

use clap::{Args, ValueEnum};
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
    load::Protocol,
    results::{Folder, Setting, groups, median},
    workload::{
        args::{Workload, WorkloadArgs},
        keys::Popularity,
        mix::Mix,
    },
};
use load::Asked;

/// Flags of `torc bench features`.
#[derive(Args, Clone, Debug)]
pub(crate) struct FeaturesArgs {
    /// What is measured
    #[arg(long, value_delimiter = ',', default_value = "messages,scripts,transactions,idle-clients")]
    kinds: Vec<Kind>,
    /// Rounds; in each of them all servers take their turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    /// Subscribers of the channel
    #[arg(long, default_value_t = 1000, value_name = "N")]
    subscribers: usize,
    /// Connected clients that ask for nothing
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    idle_clients: usize,
    /// Requests a second beside those
    #[arg(long, default_value_t = 20_000.0, value_name = "N")]
    rate: f64,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    lab: LabArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// PUBLISH to many subscribers
    Messages,
    /// A limiter of requests by EVAL
    Scripts,
    /// MULTI, five SETs and five GETs of any keys, EXEC
    Transactions,
    /// GETs beside connections that ask for nothing
    IdleClients,
}

/// One measurement: a line of the raw results.
#[derive(Clone, Debug, Serialize)]
struct Run {
    kind: Kind,
    shape: Shape,
    round: u32,
    server: String,
    /// Connections beside those that load.
    beside: usize,
    figures: Figures,
    /// Share of a core that these take by themselves, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_cpu_percent: Option<f64>,
}

/// Torc over redis-server, or with idle clients over without, median of the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ratio {
    kind: Kind,
    shape: Shape,
    server: String,
    ratio: f64,
}

#[derive(Serialize)]
struct Features {
    setting: Setting,
    rounds: u32,
    seconds: f64,
    subscribers: usize,
    idle_clients: usize,
    rate: f64,
    ratios: Vec<Ratio>,
    runs: Vec<Run>,
}

const MEMORY_MIB: u64 = 1024;
/// Shards of the second Torc, all of them on the servers' core.
const SHARDS: usize = 4;
const PEER: &str = "redis";
const SHAPES: [Shape; 2] = [Shape { depth: 1, connections: 20 }, Shape { depth: 16, connections: 20 }];
/// One client publishes.
const PUBLISHED: [Shape; 2] = [Shape { depth: 1, connections: 1 }, Shape { depth: 16, connections: 1 }];
const BESIDE: Shape = Shape { depth: 1, connections: 50 };
/// How long a server is left alone before its memory and its idle CPU are looked at, and how long is looked.
const SETTLE: Duration = Duration::from_secs(1);

/// Measures all kinds, prints the tables and keeps them.
pub(crate) fn run(args: &FeaturesArgs) -> Result<(), BenchError> {
    let timing = args.timing.timing(1.0)?;
    crowd::allow_files(args.idle_clients.max(args.subscribers))?;
    let folder = Folder::create(&args.lab.out, "features")?;
    let cores = args.lab.cores.claim()?;
    let most = (args.idle_clients.max(args.subscribers) + 1000).to_string();
    let connections = ["--max-connections".to_owned(), most.clone()];
    let torc = &args.lab.torc;
    let mut servers = vec![torc.start_with(&connections, &[cores.server], MEMORY_MIB << 20)?];
    let mut of_shards = torc.start_on_one(&connections, SHARDS, cores.server, MEMORY_MIB << 20)?;
    of_shards.name = format!("torc, {SHARDS} shards");
    servers.push(of_shards);
    servers.extend(peers::redis_with(cores.server, MEMORY_MIB, &["--maxclients".to_owned(), most])?);
    let mut runs = Vec::new();
    for &kind in &args.kinds {
        let mut order: Vec<&Contender> = servers.iter().collect();
        for round in 0..args.rounds {
            for server in &order {
                measure(args, timing, (kind, round), server, &mut runs)?;
                server.rest()?;
            }
            order.rotate_left(1);
        }
    }
    let features = Features {
        setting: Setting::new(cores, &servers),
        rounds: args.rounds,
        seconds: timing.duration.as_secs_f64(),
        subscribers: args.subscribers,
        idle_clients: args.idle_clients,
        rate: args.rate,
        ratios: ratios(&runs),
        runs,
    };
    folder.write(&page::page(&features), &features)
}

fn measure(
    args: &FeaturesArgs,
    timing: Timing,
    (kind, round): (Kind, u32),
    server: &Contender,
    runs: &mut Vec<Run>,
) -> Result<(), BenchError> {
    let (asked, shapes) = match kind {
        Kind::Messages => (Asked::Messages, PUBLISHED),
        Kind::Scripts => (Asked::Scripts, SHAPES),
        Kind::Transactions => (Asked::Transactions, SHAPES),
        Kind::IdleClients => return beside_idle(args, timing, round, server, runs),
    };
    let beside = if kind == Kind::Messages { args.subscribers } else { 0 };
    let subscribers = crowd::Subscribers::new(&server.address, beside)?;
    for shape in shapes {
        let plan = shape.plan(timing, None, u64::from(round));
        let before = subscribers.bytes();
        let figures = server.drive(&plan, &asked.codec(), &mut asked.requests())?;
        if beside > 0 && subscribers.bytes() == before {
            return Err(BenchError::Invalid(format!("subscribers of {} get no messages", server.name)));
        }
        runs.push(Run {
            kind,
            shape,
            round,
            server: server.name.clone(),
            beside,
            figures,
            idle_cpu_percent: None,
        });
    }
    Ok(())
}

/// The same load without and with connections that ask for nothing.
fn beside_idle(
    args: &FeaturesArgs,
    timing: Timing,
    round: u32,
    server: &Contender,
    runs: &mut Vec<Run>,
) -> Result<(), BenchError> {
    let workload = workload()?;
    let plan = BESIDE.plan(timing, Some(args.rate), u64::from(round));
    for beside in [0, args.idle_clients] {
        let _idle = crowd::idle(&server.address, beside)?;
        thread::sleep(SETTLE);
        let before = server.probe.sample()?;
        thread::sleep(SETTLE);
        let idle = server.probe.sample()?.since(&before);
        let figures = server.measure(Protocol::Resp, &plan, &workload, u64::from(round))?;
        let cpu = 100.0 * idle.on_cpu_ns as f64 / SETTLE.as_nanos() as f64;
        runs.push(Run {
            kind: Kind::IdleClients,
            shape: BESIDE,
            round,
            server: server.name.clone(),
            beside,
            figures,
            idle_cpu_percent: Some(cpu),
        });
    }
    Ok(())
}

/// A few keys that are not there: what is measured is the way to them.
fn workload() -> Result<Workload, BenchError> {
    let keys = WorkloadArgs {
        keys: 1000,
        key_size: 16,
        value_size: 64,
        key_distribution: Popularity::Uniform,
        mix: Mix::READS,
        seed: 1,
    };
    keys.build()
}

fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let ratio = |(kind, shape, server): (Kind, Shape, &str), of: Vec<f64>| {
        Some(Ratio { kind, shape, server: server.into(), ratio: median(of)? })
    };
    let of_group = groups(runs, |run| (run.kind, run.shape, &*run.server)).into_iter();
    let ratios = of_group.filter_map(|(group, own)| {
        let of_rounds = own.iter().filter_map(|run| match group.0 {
            Kind::IdleClients => {
                let alone = own.iter().find(|other| other.round == run.round && other.beside == 0)?;
                let p99 = |run: &Run| run.figures.latency_us.p99;
                (run.beside > 0).then(|| p99(run) / p99(alone))
            }
            _ => {
                let same = |other: &&Run| {
                    let theirs = (other.kind, other.shape, other.round, &*other.server);
                    theirs == (run.kind, run.shape, run.round, PEER)
                };
                let peer = runs.iter().find(same).filter(|_| run.server != PEER)?;
                Some(run.figures.cpu_us() / peer.figures.cpu_us())
            }
        });
        ratio(group, of_rounds.collect())
    });
    ratios.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: Kind, round: u32, server: &str, cpu: f64, beside: usize, p99: f64) -> Run {
        let mut figures = Figures::of_a_second(100, cpu);
        figures.latency_us.p99 = p99;
        Run { kind, shape: BESIDE, round, server: server.into(), beside, figures, idle_cpu_percent: None }
    }

    #[test]
    fn ratios_are_of_one_round() {
        let runs = [
            run(Kind::Scripts, 0, "torc", 2.0, 0, 1.0),
            run(Kind::Scripts, 0, "redis", 4.0, 0, 1.0),
            run(Kind::Scripts, 1, "torc", 9.0, 0, 1.0),
            run(Kind::IdleClients, 0, "torc", 1.0, 0, 10.0),
            run(Kind::IdleClients, 0, "torc", 1.0, 9, 15.0),
        ];
        let ratios: Vec<_> = ratios(&runs).into_iter().map(|ratio| (ratio.kind, ratio.ratio)).collect();
        assert_eq!(ratios, [(Kind::Scripts, 0.5), (Kind::IdleClients, 1.5)]);
    }
}
