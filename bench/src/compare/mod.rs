//! `torc bench compare`: Torc beside its peers, in one run, kept in a folder.
//!
//! Every server is started once, pinned to one core, and holds the same keys; only one is loaded
//! at a time, from the other core, while the others sleep. Rounds alternate the servers, each round
//! starting with another one. In every round each server is measured at saturation (closed loop)
//! and at one fixed offered load (open loop), which is the same for all.

mod host;
mod host_page;
mod page;
mod ratio;

use clap::Args;
use serde::Serialize;

use crate::{
    error::BenchError,
    floor,
    generator::{Plan, measure::Figures},
    lab::{
        Cores, LabArgs,
        contender::Contender,
        peers,
        shape::{Shape, Timing, TimingArgs},
    },
    load::{Protocol, preload},
    results::{Folder, Setting},
    workload::args::{Workload, WorkloadArgs},
};

/// Flags of `torc bench compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArgs {
    /// Clients on the server's host: Torc's shared memory beside everybody's Unix sockets
    #[arg(long, conflicts_with_all = ["protocols", "depths", "offered_share"])]
    same_host: bool,
    /// Protocols to compare in
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Protocol::ALL)]
    protocols: Vec<Protocol>,
    /// Depths of pipelining, each DEPTH or DEPTH@CONNECTIONS
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    depths: Vec<Shape>,
    /// Rounds; in each of them all take their turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    #[command(flatten)]
    timing: TimingArgs,
    /// The fixed offered load, as a share of the slowest server's peak; 0 leaves it out
    #[arg(long, default_value_t = 0.5, value_name = "SHARE")]
    offered_share: f64,
    /// Memory of each server, MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory_mib: u64,
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    workload: WorkloadArgs,
}

/// How hard a server is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Load {
    /// Closed loop: as fast as it answers.
    Saturation,
    /// Open loop at a rate that every server can carry.
    Fixed,
}

/// One measurement: a line of the raw results.
#[derive(Clone, Debug, Serialize)]
struct Run {
    round: u32,
    server: String,
    protocol: Protocol,
    shape: Shape,
    load: Load,
    #[serde(skip_serializing_if = "Option::is_none")]
    offered_per_second: Option<f64>,
    figures: Figures,
}

/// Everything that is kept of a comparison.
#[derive(Serialize)]
struct Comparison {
    setting: Setting,
    workload: WorkloadArgs,
    rounds: u32,
    seconds: f64,
    warmup_seconds: f64,
    offered_share: f64,
    ratios: Vec<ratio::Ratio>,
    runs: Vec<Run>,
}

/// Runs the comparison, prints its tables and keeps its folder.
pub(crate) fn run(args: &CompareArgs) -> Result<(), BenchError> {
    if args.same_host {
        return host::run(args);
    }
    if !(0.0..=0.9).contains(&args.offered_share) {
        return Err(BenchError::setting("offered-share", "expected 0 to 0.9"));
    }
    let folder = Folder::create(&args.lab.out, "compare")?;
    let mut field = Field::set_up(args)?;
    field.preload()?;
    for round in 0..args.rounds {
        for &shape in &args.depths {
            field.measure(round, shape, None)?;
            if let Some(rate) = field.rate(shape) {
                field.measure(round, shape, Some(rate))?;
            }
        }
        eprintln!("round {} of {} done", round + 1, args.rounds);
    }
    let comparison = field.comparison();
    folder.write(&page::page(&comparison), &comparison)
}

/// A server that is offered more than this share of its peak is left out: it would measure a queue.
const OFFERED_SHARE_MAX: f64 = 0.8;

/// The servers that take part and what was measured so far.
struct Field<'a> {
    args: &'a CompareArgs,
    cores: Cores,
    servers: Vec<Contender>,
    echoes: Vec<Contender>,
    workload: Workload,
    timing: Timing,
    /// The offered load of each shape, from the first round's peaks.
    rates: Vec<(Shape, f64)>,
    runs: Vec<Run>,
}

impl<'a> Field<'a> {
    fn set_up(args: &'a CompareArgs) -> Result<Self, BenchError> {
        let workload = args.workload.build()?;
        let timing = args.timing.timing(2.0)?;
        let cores = args.lab.cores.claim()?;
        let servers = peers::start_all(&args.lab.torc, cores.server, args.memory_mib)?;
        let echoes = Contender::echoes(cores.server)?;
        Ok(Self { args, cores, servers, echoes, workload, timing, rates: Vec::new(), runs: Vec::new() })
    }

    /// Fills every server with the same keys; each must hold them all.
    fn preload(&self) -> Result<(), BenchError> {
        for server in &self.servers {
            let addresses = std::slice::from_ref(&server.address);
            preload(server.protocols[0], addresses, &self.workload.objects)?;
            eprintln!("{}: {} keys", server.name, self.args.workload.keys);
        }
        Ok(())
    }

    /// Measures every server in every protocol that it speaks, then the echoes, as the floor of the same load: in the
    /// closed loop, or offered a rate. Each round begins with another server.
    fn measure(&mut self, round: u32, shape: Shape, rate: Option<f64>) -> Result<(), BenchError> {
        let plan = shape.plan(self.timing, rate, u64::from(round));
        let mut jobs: Vec<(usize, Protocol)> = (0..self.servers.len())
            .flat_map(|at| self.args.protocols.iter().map(move |&protocol| (at, protocol)))
            .filter(|(at, protocol)| self.servers[*at].protocols.contains(protocol))
            .collect();
        let turn = round as usize % jobs.len().max(1);
        jobs.rotate_left(turn);
        for (at, protocol) in jobs {
            let server = &self.servers[at];
            let peak = self.peak(&server.name, protocol, shape);
            if rate.zip(peak).is_some_and(|(rate, peak)| rate > OFFERED_SHARE_MAX * peak) {
                continue;
            }
            let figures = server.measure(protocol, &plan, &self.workload, self.runs.len() as u64)?;
            let name = server.name.clone();
            self.keep(round, name, protocol, shape, rate, figures);
        }
        self.measure_floor(round, shape, rate, &plan)
    }

    fn measure_floor(
        &mut self,
        round: u32,
        shape: Shape,
        rate: Option<f64>,
        plan: &Plan,
    ) -> Result<(), BenchError> {
        for at in 0..self.echoes.len() {
            for &protocol in &self.args.protocols {
                let raw = floor::raw(protocol, &self.workload)?;
                let figures = self.echoes[at].measure_raw(plan, raw)?;
                let name = self.echoes[at].name.clone();
                self.keep(round, name, protocol, shape, rate, figures);
            }
        }
        Ok(())
    }

    /// The offered load at a shape: a share of the slowest peak of those that matter there, fixed
    /// by the first round.
    fn rate(&mut self, shape: Shape) -> Option<f64> {
        let share = Some(self.args.offered_share).filter(|share| *share > 0.0)?;
        if let Some((_, rate)) = self.rates.iter().find(|(known, _)| *known == shape) {
            return Some(*rate);
        }
        let matters = |run: &&Run| run.server == "torc" || ratio::peers(shape.depth).contains(&&*run.server);
        let here = self.runs.iter().filter(|run| run.shape == shape);
        let peaks = here.filter(matters).map(|run| run.figures.operations_per_second);
        let rate = share * peaks.min_by(f64::total_cmp)?;
        self.rates.push((shape, rate));
        Some(rate)
    }

    /// A server's throughput at saturation, in the latest round.
    fn peak(&self, server: &str, protocol: Protocol, shape: Shape) -> Option<f64> {
        let wanted = (server, protocol, shape, Load::Saturation);
        let mut latest = self.runs.iter().rev();
        let run = latest.find(|run| (&*run.server, run.protocol, run.shape, run.load) == wanted)?;
        Some(run.figures.operations_per_second)
    }

    fn keep(
        &mut self,
        round: u32,
        server: String,
        protocol: Protocol,
        shape: Shape,
        offered_per_second: Option<f64>,
        figures: Figures,
    ) {
        let load = if offered_per_second.is_some() { Load::Fixed } else { Load::Saturation };
        eprintln!(
            "{server:<11} {:<9} {:<26} {:>9.0}/s {:>7.3} us CPU/op  p99 {:>8.1} us",
            protocol.name(),
            shape.to_string(),
            figures.operations_per_second,
            figures.cpu_us(),
            figures.latency_us.p99,
        );
        self.runs.push(Run { round, server, protocol, shape, load, offered_per_second, figures });
    }

    fn comparison(self) -> Comparison {
        Comparison {
            setting: Setting::new(self.cores, &self.servers),
            workload: self.args.workload.clone(),
            rounds: self.args.rounds,
            seconds: self.timing.duration.as_secs_f64(),
            warmup_seconds: self.timing.warmup.as_secs_f64(),
            offered_share: self.args.offered_share,
            ratios: ratio::ratios(&self.runs),
            runs: self.runs,
        }
    }
}
