//! `torc bench wait`: what Torc's ways to wait cost and bring at fixed loads below saturation: to sleep at once, to spin
//! before it sleeps (`--spin`), to wait for a small batch (`--min-wait`).
//!
//! A server for each way is started once, on one core, with the same keys; only one is loaded at a time, while the others
//! sleep. In each round all take their turn, each round beginning with another one.

mod page;
mod ratio;

use std::{fmt, str::FromStr};

use clap::Args;
use serde::Serialize;

use crate::{
    error::BenchError,
    generator::measure::Figures,
    lab::{
        LabArgs,
        contender::Contender,
        shape::{Shape, TimingArgs},
    },
    load::{Protocol, preload},
    results::{Folder, Setting},
    workload::args::WorkloadArgs,
};
use ratio::Ratio;

/// Flags of `torc bench wait`.
#[derive(Args, Clone, Debug)]
pub(crate) struct WaitArgs {
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
    /// Offered loads, each DEPTH:RATE or DEPTH@CONNECTIONS:RATE, in requests a second
    #[arg(long, value_delimiter = ',', default_value = "1:50000,16:190000,64:315000")]
    loads: Vec<Load>,
    /// Values of --spin, us; without any, it is not measured
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "10,20,50,100")]
    spins: Vec<u32>,
    /// Values of --min-wait, us; without any, it is not measured
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "10,20,50,100")]
    min_waits: Vec<u32>,
    /// Rounds; in each of them all take their turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    #[command(flatten)]
    timing: TimingArgs,
    /// Memory of each server, MiB
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    memory_mib: u64,
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    workload: WorkloadArgs,
}

/// What is offered, in the open loop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Load {
    shape: Shape,
    per_second: f64,
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (shape, rate) = text.split_once(':').ok_or_else(|| format!("'{text}' has no :RATE"))?;
        let rate = rate.parse::<u32>().ok().filter(|rate| *rate > 0);
        let rate = rate.ok_or_else(|| format!("'{text}' has no rate above 0 behind the colon"))?;
        Ok(Self { shape: shape.parse()?, per_second: rate.into() })
    }
}

/// How a server waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// It sleeps until something comes.
    Sleep,
    /// `--spin`, us.
    Spin(u32),
    /// `--min-wait`, us.
    MinWait(u32),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sleep => f.write_str("both off"),
            Self::Spin(us) => write!(f, "--spin={us}us"),
            Self::MinWait(us) => write!(f, "--min-wait={us}us"),
        }
    }
}

impl Way {
    fn arguments(self) -> [String; 2] {
        let (spin_us, min_wait_us) = match self {
            Self::Sleep => (0, 0),
            Self::Spin(us) => (us, 0),
            Self::MinWait(us) => (0, us),
        };
        [format!("--spin={spin_us}us"), format!("--min-wait={min_wait_us}us")]
    }
}

#[derive(Clone, Debug, Serialize)]
struct Run {
    round: u32,
    way: Way,
    load: Load,
    figures: Figures,
}

#[derive(Serialize)]
struct Wait {
    setting: Setting,
    workload: WorkloadArgs,
    protocol: Protocol,
    rounds: u32,
    seconds: f64,
    ratios: Vec<Ratio>,
    runs: Vec<Run>,
}

/// Measures all ways in turn, prints the table and keeps it.
pub(crate) fn run(args: &WaitArgs) -> Result<(), BenchError> {
    let timing = args.timing.timing(1.0)?;
    let workload = args.workload.build()?;
    let folder = Folder::create(&args.lab.out, "wait")?;
    let cores = args.lab.cores.claim()?;
    let spins = args.spins.iter().copied().map(Way::Spin);
    let ways =
        std::iter::once(Way::Sleep).chain(spins).chain(args.min_waits.iter().copied().map(Way::MinWait));
    let servers: Vec<(Way, Contender)> = ways
        .map(|way| {
            let mut server =
                args.lab.torc.start_with(&way.arguments(), &[cores.server], args.memory_mib << 20)?;
            server.name = way.to_string();
            preload(args.protocol, std::slice::from_ref(&server.address), &workload.objects)?;
            server.rest()?;
            Ok((way, server))
        })
        .collect::<Result<_, BenchError>>()?;
    let mut runs: Vec<Run> = Vec::new();
    for round in 0..args.rounds {
        for &load in &args.loads {
            let plan = load.shape.plan(timing, Some(load.per_second), u64::from(round));
            for turn in 0..servers.len() {
                let (way, server) = &servers[(turn + round as usize) % servers.len()];
                let figures = server.measure(args.protocol, &plan, &workload, runs.len() as u64)?;
                runs.push(Run { round, way: *way, load, figures });
            }
        }
        eprintln!("round {} of {} done", round + 1, args.rounds);
    }
    let wait = Wait {
        setting: Setting::new(cores, servers.iter().map(|(_, server)| server)),
        workload: args.workload.clone(),
        protocol: args.protocol,
        rounds: args.rounds,
        seconds: timing.duration.as_secs_f64(),
        ratios: ratio::ratios(&runs),
        runs,
    };
    folder.write(&page::page(&wait), &wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_have_a_shape_and_a_rate() {
        let load = |text: &str| text.parse::<Load>().map(|load| (load.shape.connections, load.per_second));
        assert_eq!(load("1:50000"), Ok((50, 50_000.0)));
        assert_eq!(load("64@3:10"), Ok((3, 10.0)));
        for wrong in ["", "1", "1:", "1:0", "0:5", "1:-5", "x:5"] {
            assert!(load(wrong).is_err(), "{wrong}");
        }
    }
}
