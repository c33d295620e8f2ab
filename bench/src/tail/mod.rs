//! `torc bench tail`: how the tail of the latency holds while the server has other work. Two
//! experiments measure pairs, quiet and busy in alternating order, in the open loop at a share of
//! the peak; the figure is the median of the pairs' ratios of p99.9. The third, the floods, measures
//! Torc and its peers in turn; the figure is Torc's p99.9 over the better peer's.
//!
//! | experiment | quiet | busy |
//! |---|---|---|
//! | eviction | writes overwrite keys that fit in memory | each write is a new key and memory is full |
//! | neighbour | small reads alone | another client reads and writes long values |
//! | flood | - | other clients pipeline without end |
//!
//! The neighbour and the flooders run in the generator's own thread, a small piece a turn, so that
//! the small reads' clock is not held up by them for long.

mod churn;
mod eviction;
mod flood;
mod neighbour;

use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;

use flood::{Flood, FloodRatio, FloodRun};

use crate::{
    error::BenchError,
    generator::{Plan, measure::Figures},
    lab::{
        Cores, LabArgs,
        contender::Contender,
        shape::{Shape, Timing, TimingArgs},
    },
    load::Protocol,
    results::{Folder, Setting, median},
};

/// What the server is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Experiment {
    Eviction,
    Neighbour,
    Flood,
}

/// Flags of `torc bench tail`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TailArgs {
    #[arg(long, value_enum, value_delimiter = ',', default_value = "eviction,neighbour,flood")]
    experiments: Vec<Experiment>,
    /// What the floods pipeline, each in all protocols that have it
    #[arg(long, value_enum, value_delimiter = ',', default_value = "get,set,mn,ping,mget")]
    floods: Vec<Flood>,
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
    /// DEPTH or DEPTH@CONNECTIONS of the measured load
    #[arg(long, default_value = "1")]
    depth: Shape,
    /// Pairs of quiet and busy, and rounds of the floods
    #[arg(long, default_value_t = 7, value_name = "N")]
    pairs: u32,
    #[command(flatten)]
    timing: TimingArgs,
    /// Offered load as a share of the peak
    #[arg(long, default_value_t = 0.5, value_name = "SHARE")]
    offered_share: f64,
    /// Keys that are read
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    keys: u64,
    /// Bytes of a small value
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    value_size: u32,
    /// Memory of the server in the eviction experiment, MiB
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    memory_mib: u64,
    /// Bytes of a long value in the neighbour experiment
    #[arg(long, default_value_t = 10_000_000, value_name = "BYTES")]
    long_size: u32,
    #[command(flatten)]
    lab: LabArgs,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
struct Run {
    experiment: Experiment,
    pair: u32,
    busy: bool,
    offered_per_second: f64,
    /// Items evicted, or long values moved, meanwhile.
    other_work: u64,
    figures: Figures,
}

#[derive(Serialize)]
struct Tails {
    setting: Setting,
    protocol: Protocol,
    shape: Shape,
    seconds: f64,
    ratios: Vec<Ratio>,
    runs: Vec<Run>,
    flood_ratios: Vec<FloodRatio>,
    flood_runs: Vec<FloodRun>,
}

/// Medians of one experiment.
#[derive(Clone, Debug, Serialize)]
struct Ratio {
    experiment: Experiment,
    pairs: usize,
    /// Median over the pairs of busy p99.9 over quiet p99.9.
    p99_9: f64,
    /// The same of p99.
    p99: f64,
}

/// Runs the experiments, prints their tables and keeps them.
pub(crate) fn run(args: &TailArgs) -> Result<(), BenchError> {
    if !(0.01..=0.9).contains(&args.offered_share) {
        return Err(BenchError::setting("offered-share", "expected 0.01 to 0.9"));
    }
    let folder = Folder::create(&args.lab.out, "tail")?;
    let stage = Stage { args, cores: args.lab.cores.claim()?, timing: args.timing.timing(5.0)? };
    let (mut runs, mut flood_runs) = (Vec::new(), Vec::new());
    let mut servers = Vec::new();
    for experiment in &args.experiments {
        servers.extend(match experiment {
            Experiment::Eviction => eviction::run(&stage, &mut runs)?,
            Experiment::Neighbour => neighbour::run(&stage, &mut runs)?,
            Experiment::Flood => flood::run(&stage, &args.floods, &mut flood_runs)?,
        });
    }
    let tails = Tails {
        setting: Setting::new(stage.cores, &servers),
        protocol: args.protocol,
        shape: args.depth,
        seconds: stage.timing.duration.as_secs_f64(),
        ratios: args.experiments.iter().filter_map(|e| ratio(*e, &runs)).collect(),
        runs,
        flood_ratios: flood::ratios(&flood_runs),
        flood_runs,
    };
    folder.write(&page(&tails), &tails)
}

/// What the experiments share.
struct Stage<'a> {
    args: &'a TailArgs,
    cores: Cores,
    timing: Timing,
}

impl Stage<'_> {
    fn server(&self, memory_mib: u64) -> Result<Contender, BenchError> {
        self.args.lab.torc.start(&[self.cores.server], memory_mib << 20)
    }

    /// Measures pairs in alternating order, in the open loop at a share of the peak. `measure(busy, plan)` returns the
    /// figures and how much other work there was.
    fn pairs(
        &self,
        experiment: Experiment,
        peak: f64,
        runs: &mut Vec<Run>,
        mut measure: impl FnMut(bool, &Plan) -> Result<(Figures, u64), BenchError>,
    ) -> Result<(), BenchError> {
        let rate = peak * self.args.offered_share;
        for pair in 0..self.args.pairs {
            let busy_first = pair % 2 == 1;
            for busy in [busy_first, !busy_first] {
                let plan = self.args.depth.plan(self.timing, Some(rate), u64::from(pair) + 1);
                let (figures, other_work) = measure(busy, &plan)?;
                figures.tally.without_refusals()?;
                eprintln!(
                    "{experiment:?} {}: {:.0}/s, p99 {:.0} us, p99.9 {:.0} us, {} misses, other work {other_work}",
                    if busy { "busy " } else { "quiet" },
                    figures.operations_per_second,
                    figures.latency_us.p99,
                    figures.latency_us.p99_9,
                    figures.tally.misses,
                );
                runs.push(Run { experiment, pair, busy, offered_per_second: rate, other_work, figures });
            }
        }
        Ok(())
    }
}

fn ratio(experiment: Experiment, runs: &[Run]) -> Option<Ratio> {
    let of = |busy: bool| {
        let mut of: Vec<&Run> =
            runs.iter().filter(|run| run.experiment == experiment && run.busy == busy).collect();
        of.sort_by_key(|run| run.pair);
        of
    };
    let pairs: Vec<(&Run, &Run)> = of(true).into_iter().zip(of(false)).collect();
    let over = |value: fn(&Run) -> f64| {
        median(pairs.iter().map(|(busy, quiet)| value(busy) / value(quiet)).collect())
    };
    Some(Ratio {
        experiment,
        pairs: pairs.len(),
        p99_9: over(|run| run.figures.latency_us.p99_9)?,
        p99: over(|run| run.figures.latency_us.p99)?,
    })
}

fn page(tails: &Tails) -> String {
    let mut page = tails.setting.page("Tail latency beside other work");
    if !tails.runs.is_empty() {
        pairs_page(&mut page, tails);
    }
    if !tails.flood_runs.is_empty() {
        flood::page(&mut page, &tails.flood_ratios, &tails.flood_runs);
    }
    page
}

/// The tables of the pairs. Writing to a string cannot fail, so its results are dropped.
fn pairs_page(page: &mut String, tails: &Tails) {
    let _ = writeln!(
        page,
        "\n{}, {}; open loop, {} s a measurement.\n\n\
         | experiment | pairs | p99.9 busy / quiet | p99 busy / quiet |\n\
         |---|---|---|---|",
        tails.protocol.name(),
        tails.shape,
        tails.seconds,
    );
    for ratio in &tails.ratios {
        let _ = writeln!(
            page,
            "| {:?} | {} | {:.2} | {:.2} |",
            ratio.experiment, ratio.pairs, ratio.p99_9, ratio.p99
        );
    }
    let _ = writeln!(
        page,
        "\nLatencies and run-queue delays in us; other work: items evicted, or long values moved.\n\n\
         | experiment | pair | | offered/s | p50 | p99 | p99.9 | max | misses | server run delay | generator run delay | other work |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for run in &tails.runs {
        let latency = &run.figures.latency_us;
        let _ = writeln!(
            page,
            "| {:?} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {:.0} | {:.0} | {} |",
            run.experiment,
            run.pair + 1,
            if run.busy { "busy" } else { "quiet" },
            run.offered_per_second,
            latency.p50,
            latency.p99,
            latency.p99_9,
            latency.max,
            run.figures.tally.misses,
            run.figures.of_server(|server| server.run_delay_us),
            run.figures.generator_run_delay_us,
            run.other_work,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pair: u32, busy: bool, p99_9_us: u64) -> Run {
        let mut figures = Figures::default();
        figures.latency_us.p99_9 = p99_9_us as f64;
        figures.latency_us.p99 = p99_9_us as f64;
        Run { experiment: Experiment::Eviction, pair, busy, offered_per_second: 1.0, other_work: 0, figures }
    }

    #[test]
    fn pairs_are_matched_whatever_their_order() {
        let runs = [
            run(0, false, 100),
            run(0, true, 200),
            run(1, true, 900),
            run(1, false, 300),
            run(2, false, 100),
            run(2, true, 100),
        ];
        let ratio = ratio(Experiment::Eviction, &runs).unwrap();
        assert_eq!(ratio.pairs, 3);
        assert!((1.99..2.01).contains(&ratio.p99_9), "{}", ratio.p99_9);
        assert!(super::ratio(Experiment::Neighbour, &runs).is_none());
    }
}
