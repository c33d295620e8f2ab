//! `torc bench compare`: Torc beside its peers, in one run, kept in a folder.
//!
//! Every server is started once, pinned to one core, and holds the same keys; only one is loaded
//! at a time, from the other core, while the others sleep. Rounds alternate the servers, each round
//! starting with another one. In every round each server is measured at saturation (closed loop)
//! and at one fixed offered load (open loop), which is the same for all.

mod page;
mod ratio;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    codec::raw::Raw,
    echo::Engine,
    error::BenchError,
    floor,
    generator::{Plan, measure::Outcome},
    lab::{
        CoreArgs, Cores,
        contender::Contender,
        peers::{self, ServerSettings, TorcArgs},
        shape::{Shape, Timing},
    },
    load::{Protocol, preload, seconds},
    report::Figures,
    results::{Folder, OutArgs, Setting},
    workload::args::{Workload, WorkloadArgs, WorkloadText},
};

/// A server that Torc is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    Redis,
    Memcached,
}

/// Flags of `torc bench compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    #[command(flatten)]
    torc: TorcArgs,
    /// Compares the peers alone
    #[arg(long, conflicts_with = "torc")]
    without_torc: bool,
    /// Peers to compare with; those that are not installed are left out
    #[arg(long, value_enum, value_delimiter = ',', default_value = "redis,memcached")]
    peers: Vec<Peer>,
    /// Protocols to compare in
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Protocol::ALL)]
    protocols: Vec<Protocol>,
    /// Depths of pipelining, each DEPTH or DEPTH@CONNECTIONS
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    depths: Vec<Shape>,
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    /// Length of one measurement, seconds
    #[arg(long, default_value_t = 2.0, value_name = "S")]
    seconds: f64,
    /// Load before each measurement, seconds
    #[arg(long, default_value_t = 0.5, value_name = "S")]
    warmup: f64,
    /// The fixed offered load, as a share of the slowest server's peak; 0 leaves it out
    #[arg(long, default_value_t = 0.5, value_name = "SHARE")]
    offered_share: f64,
    /// Memory of each server, MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory_mib: u64,
    #[command(flatten)]
    out: OutArgs,
    #[command(flatten)]
    cores: CoreArgs,
    #[command(flatten)]
    workload: WorkloadArgs,
}

/// How hard a server is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// Closed loop: as fast as it answers.
    Saturation,
    /// Open loop at a rate that every server can carry.
    Fixed,
}

/// One measurement: a line of the raw results.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub round: u32,
    pub server: String,
    pub protocol: Protocol,
    pub shape: Shape,
    pub load: Load,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_per_second: Option<f64>,
    pub figures: Figures,
}

/// Everything that is kept of a comparison.
#[derive(Serialize)]
struct Comparison {
    setting: Setting,
    workload: WorkloadText,
    rounds: u32,
    seconds: f64,
    warmup_seconds: f64,
    offered_share: f64,
    ratios: Vec<ratio::Ratio>,
    runs: Vec<Run>,
}

/// Runs the comparison, prints its tables and keeps its folder.
pub fn run(args: &CompareArgs, own_subcommand: &[&str]) -> Result<(), BenchError> {
    if !(0.0..=0.9).contains(&args.offered_share) {
        return Err(BenchError::setting("offered-share", "expected 0 to 0.9"));
    }
    let folder = Folder::create(&args.out, "compare")?;
    let mut field = Field::set_up(args, own_subcommand)?;
    field.preload()?;
    for round in 0..args.rounds {
        for &shape in &args.depths {
            field.saturate(round, shape)?;
            field.offer(round, shape, args.offered_share)?;
        }
        eprintln!("round {} of {} done", round + 1, args.rounds);
    }
    let comparison = field.comparison(args);
    folder.write(&page::page(&comparison), &comparison)
}

/// A server that is offered more than this share of its peak is left out: it would measure a queue.
const OFFERED_SHARE_MAX: f64 = 0.8;

/// The servers that take part and what was measured so far.
struct Field {
    cores: Cores,
    servers: Vec<Contender>,
    echoes: Vec<(Engine, Contender)>,
    protocols: Vec<Protocol>,
    workload: Workload,
    timing: Timing,
    /// The offered load of each shape, from the first round's peaks.
    rates: Vec<(Shape, f64)>,
    runs: Vec<Run>,
}

impl Field {
    fn set_up(args: &CompareArgs, own_subcommand: &[&str]) -> Result<Self, BenchError> {
        let workload = args.workload.build()?;
        let timing =
            Timing { warmup: seconds("warmup", args.warmup)?, duration: seconds("seconds", args.seconds)? };
        let cores = args.cores.claim()?;
        let settings = ServerSettings { cpu: cores.server, memory_mib: args.memory_mib };
        let mut servers = Vec::new();
        if !args.without_torc {
            servers.push(args.torc.start(settings)?);
        }
        for peer in &args.peers {
            servers.extend(match peer {
                Peer::Redis => peers::redis(settings)?,
                Peer::Memcached => peers::memcached(settings)?,
            });
        }
        let echoes = Engine::ALL
            .into_iter()
            .map(|engine| Ok((engine, Contender::echo(engine, own_subcommand, cores.server)?)))
            .collect::<Result<Vec<_>, BenchError>>()?;
        Ok(Self {
            cores,
            servers,
            echoes,
            protocols: args.protocols.clone(),
            workload,
            timing,
            rates: Vec::new(),
            runs: Vec::new(),
        })
    }

    /// Fills every server with the same keys; each must hold them all.
    fn preload(&self) -> Result<(), BenchError> {
        for server in &self.servers {
            let Some(&protocol) = server.protocols.first() else {
                continue;
            };
            let addresses = std::slice::from_ref(&server.address);
            let bytes = preload(protocol, addresses, &self.workload, &mut |_| ())?;
            eprintln!("{}: {} keys, {bytes} bytes of values", server.name, self.workload.text.keys);
        }
        Ok(())
    }

    /// Who is measured in which protocol, in the order of this round.
    fn jobs(&self, round: u32) -> Vec<(usize, Protocol)> {
        let mut jobs: Vec<(usize, Protocol)> = (0..self.servers.len())
            .flat_map(|at| self.protocols.iter().map(move |&protocol| (at, protocol)))
            .filter(|(at, protocol)| self.servers[*at].protocols.contains(protocol))
            .collect();
        let turn = round as usize % jobs.len().max(1);
        jobs.rotate_left(turn);
        jobs
    }

    fn saturate(&mut self, round: u32, shape: Shape) -> Result<(), BenchError> {
        let plan = shape.plan(self.timing, None, u64::from(round));
        for (at, protocol) in self.jobs(round) {
            let server = &self.servers[at];
            let outcome = server.measure(protocol, &plan, &self.workload, self.runs.len() as u64)?;
            let name = server.name.clone();
            self.keep(round, name, protocol, shape, None, &outcome);
        }
        self.echo(round, shape, &plan, None)
    }

    /// The floor beside a measurement: what the kernel's path costs at the same load.
    fn echo(&mut self, round: u32, shape: Shape, plan: &Plan, rate: Option<f64>) -> Result<(), BenchError> {
        for at in 0..self.echoes.len() {
            for protocol in self.protocols.clone() {
                let raw: Raw = floor::raw(protocol, &self.workload)?;
                let (engine, echo) = &self.echoes[at];
                let name = engine.name().to_owned();
                let outcome = echo.measure_raw(plan, raw)?;
                self.keep(round, name, protocol, shape, rate, &outcome);
            }
        }
        Ok(())
    }

    /// The same open loop for every server that can carry it.
    fn offer(&mut self, round: u32, shape: Shape, share: f64) -> Result<(), BenchError> {
        let Some(rate) = self.rate(shape, share) else {
            return Ok(());
        };
        let plan = shape.plan(self.timing, Some(rate), u64::from(round));
        for (at, protocol) in self.jobs(round) {
            let server = &self.servers[at];
            let peak = self.peak(&server.name, protocol, shape);
            if peak.is_some_and(|peak| rate > OFFERED_SHARE_MAX * peak) {
                continue;
            }
            let outcome = server.measure(protocol, &plan, &self.workload, self.runs.len() as u64)?;
            let name = server.name.clone();
            self.keep(round, name, protocol, shape, Some(rate), &outcome);
        }
        self.echo(round, shape, &plan, Some(rate))
    }

    /// The offered load at a shape: a share of the slowest peak of those that matter there, fixed
    /// by the first round.
    fn rate(&mut self, shape: Shape, share: f64) -> Option<f64> {
        if share == 0.0 {
            return None;
        }
        if let Some((_, rate)) = self.rates.iter().find(|(known, _)| *known == shape) {
            return Some(*rate);
        }
        let matters = |run: &&Run| run.server == "torc" || ratio::peers(shape.depth).contains(&&*run.server);
        let here = self.runs.iter().filter(|run| run.shape == shape);
        let peaks = here.filter(matters).map(|run| run.figures.operations_per_second);
        let slowest = peaks.min_by(f64::total_cmp)?;
        self.rates.push((shape, share * slowest));
        Some(share * slowest)
    }

    /// A server's throughput at saturation, in the latest round.
    fn peak(&self, server: &str, protocol: Protocol, shape: Shape) -> Option<f64> {
        let mut latest = self.runs.iter().rev();
        let run = latest.find(|run| {
            run.server == server
                && run.protocol == protocol
                && run.shape == shape
                && run.load == Load::Saturation
        })?;
        Some(run.figures.operations_per_second)
    }

    fn keep(
        &mut self,
        round: u32,
        server: String,
        protocol: Protocol,
        shape: Shape,
        offered_per_second: Option<f64>,
        outcome: &Outcome,
    ) {
        let figures = Figures::from(outcome);
        let load = match offered_per_second {
            None => Load::Saturation,
            Some(_) => Load::Fixed,
        };
        eprintln!(
            "{server:<11} {:<9} {shape:<26} {:>9.0}/s {:>7.3} us CPU/op  p99 {:>8.1} us",
            protocol.name(),
            figures.operations_per_second,
            figures.server.as_ref().map_or(0.0, |server| server.cpu_us_per_operation),
            figures.latency_us.p99,
            shape = shape.to_string(),
        );
        self.runs.push(Run { round, server, protocol, shape, load, offered_per_second, figures });
    }

    fn comparison(self, args: &CompareArgs) -> Comparison {
        Comparison {
            setting: Setting::new(self.cores, &self.servers),
            workload: self.workload.text,
            rounds: args.rounds,
            seconds: args.seconds,
            warmup_seconds: args.warmup,
            offered_share: args.offered_share,
            ratios: ratio::ratios(&self.runs),
            runs: self.runs,
        }
    }
}
