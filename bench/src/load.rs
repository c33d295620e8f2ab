//! `torc bench`: one load on one server.

use std::{io::IsTerminal, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    codec::Tally,
    error::BenchError,
    generator::{
        Plan, Progress, TURN_BYTES, TURN_CONNECTIONS,
        address::Address,
        drive,
        measure::Outcome,
        pace::{Arrivals, OpenLoop, Pace, Rate},
    },
    process::{affinity, probe::Probe, socket_owner},
    report::{Figures, write_json_lines},
    workload::{
        Mixed, Sweep,
        args::{Workload, WorkloadArgs, WorkloadText},
        mix::Operation,
    },
};

/// A protocol that servers of keys and values speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Resp,
    Memcache,
    Native,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Resp, Self::Memcache, Self::Native];

    pub fn name(self) -> &'static str {
        match self {
            Self::Resp => "resp",
            Self::Memcache => "memcache",
            Self::Native => "native",
        }
    }
}

/// Runs `$body` with `$codec` bound to the codec of a [`Protocol`]: each protocol gets its own
/// compiled load loop.
macro_rules! with_codec {
    ($protocol:expr, |$codec:ident| $body:expr) => {
        match $protocol {
            $crate::load::Protocol::Resp => {
                let $codec = &$crate::codec::resp::Resp;
                $body
            }
            $crate::load::Protocol::Memcache => {
                let $codec = &$crate::codec::memcache::Memcache;
                $body
            }
            $crate::load::Protocol::Native => {
                let $codec = &$crate::codec::native::Native;
                $body
            }
        }
    };
}

pub(crate) use with_codec;

/// Flags of `torc bench` without a subcommand.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// The server: HOST:PORT or unix:PATH; several share the connections evenly
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7171")]
    server: Vec<String>,
    /// What to speak
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
    #[arg(long, default_value_t = 50, value_name = "N")]
    connections: usize,
    /// Requests written together on a connection
    #[arg(long, default_value_t = 1, value_name = "D")]
    depth: u32,
    /// Closed loop: send a request for each reply, rather than a batch when all are answered
    #[arg(long)]
    window: bool,
    /// Length of the measurement, seconds
    #[arg(long, default_value_t = 10.0, value_name = "S", conflicts_with = "requests")]
    duration: f64,
    /// Ends after this many requests rather than by the clock
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Load before measuring, seconds
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    warmup: f64,
    /// Open loop at this many requests a second (k and m allowed); without it, closed loop
    #[arg(long, value_name = "R")]
    rate: Option<Rate>,
    /// Open loop: how arrivals are spaced
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,
    /// Writes every key first and checks that all are there
    #[arg(long)]
    preload: bool,
    /// The server's process; found by itself for a TCP server of this machine
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Pins the generator to this core and lets it spin there
    #[arg(long, value_name = "K")]
    cpu: Option<usize>,
    /// Writes the results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    workload: WorkloadArgs,
}

/// The line that a run's JSON file holds.
#[derive(Serialize)]
struct LoadReport<'a> {
    protocol: Protocol,
    servers: Vec<String>,
    connections: usize,
    depth: u32,
    window: bool,
    rate: Option<f64>,
    workload: &'a WorkloadText,
    results: Figures,
}

/// Runs the load and prints its results.
pub fn run(args: &LoadArgs) -> Result<(), BenchError> {
    let servers = args.addresses()?;
    let workload = args.workload.build()?;
    let plan = args.plan()?;
    if let Some(cpu) = args.cpu {
        affinity::pin(cpu)?;
    }
    if args.preload {
        let bytes = preload(args.protocol, &servers, &workload, &mut progress_line("preload"))?;
        eprintln!("preloaded {} keys, {bytes} bytes of values", workload.text.keys);
    }
    let probe = args.probe(&servers)?;
    let requests = args.requests.unwrap_or(u64::MAX);
    let outcome = measure(
        args.protocol,
        &plan,
        &servers,
        &workload,
        requests,
        0,
        probe.as_ref(),
        &mut progress_line("load"),
    )?;
    let report = LoadReport {
        protocol: args.protocol,
        servers: servers.iter().map(ToString::to_string).collect(),
        connections: args.connections,
        depth: args.depth,
        window: args.window,
        rate: args.rate.map(|rate| rate.0),
        workload: &workload.text,
        results: Figures::from(&outcome),
    };
    println!("{}", report.results);
    if let Some(path) = &args.json {
        write_json_lines(path, &[report])?;
    }
    if probe.is_none() {
        eprintln!("the server's process is not known: give --pid to see what it costs");
    }
    outcome.tally.without_refusals()
}

impl LoadArgs {
    fn addresses(&self) -> Result<Vec<Address>, BenchError> {
        let parse =
            |text: &String| text.parse().map_err(|reason: String| BenchError::setting("server", reason));
        self.server.iter().map(parse).collect()
    }

    fn plan(&self) -> Result<Plan, BenchError> {
        let pace = match self.rate {
            None => Pace::Closed,
            Some(Rate(rate)) => Pace::Open(OpenLoop { rate, arrivals: self.arrivals }),
        };
        let duration = seconds("duration", self.duration)?;
        Ok(Plan {
            connections: self.connections,
            depth: self.depth,
            window: self.window,
            pace,
            warmup: match self.requests {
                Some(_) => Duration::ZERO,
                None => seconds("warmup", self.warmup)?,
            },
            duration: self.requests.is_none().then_some(duration),
            spin: self.cpu.is_some(),
            turn_bytes: TURN_BYTES,
            turn_connections: TURN_CONNECTIONS,
            seed: self.workload.seed,
        })
    }

    fn probe(&self, servers: &[Address]) -> Result<Option<Probe>, BenchError> {
        let found = match (self.pid, servers) {
            (Some(pid), _) => Some(pid),
            (None, [Address::Tcp(address), ..]) if address.ip().is_loopback() => {
                socket_owner::listener(address.port())
            }
            _ => None,
        };
        found.map(Probe::new).transpose()
    }
}

/// A flag in seconds; refuses what is no duration.
pub(crate) fn seconds(setting: &'static str, seconds: f64) -> Result<Duration, BenchError> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| BenchError::setting(setting, format!("{seconds}: {error}")))
}

/// Drives `requests` requests of the workload's mix; another `run` draws other keys.
#[allow(clippy::too_many_arguments)] // One call that names everything a run depends on.
pub(crate) fn measure(
    protocol: Protocol,
    plan: &Plan,
    servers: &[Address],
    workload: &Workload,
    requests: u64,
    run: u64,
    probe: Option<&Probe>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, BenchError> {
    with_codec!(protocol, |codec| {
        let picker = workload.picker(run);
        let mut source = Mixed::new(codec, &workload.objects, picker, workload.mix, requests);
        drive(plan, servers, codec, &mut source, probe, progress)
    })
}

/// A cache may drop a key of a million when its index is crowded; it is then written once more.
const PRELOADS_MAX: u32 = 3;

/// Connections and depth of a preload: enough to keep a server busy.
const PRELOAD_CONNECTIONS: usize = 4;
const PRELOAD_BATCH_BYTES: f64 = 16_384.0;

/// Writes every key, then reads every key and compares counts and bytes; returns the bytes of all
/// values. A load on keys that are not there would measure misses.
pub(crate) fn preload(
    protocol: Protocol,
    servers: &[Address],
    workload: &Workload,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, BenchError> {
    let objects = &workload.objects;
    let bytes: u64 = (0..objects.count()).map(|i| objects.value(i).len() as u64).sum();
    let mut found = Tally::default();
    for _ in 0..PRELOADS_MAX {
        let written = sweep(protocol, servers, workload, Operation::Set, progress)?;
        written.tally.without_refusals()?;
        found = sweep(protocol, servers, workload, Operation::Get, progress)?.tally;
        if found.hits == objects.count() && found.value_bytes == bytes {
            return Ok(bytes);
        }
        eprintln!("preload: {} of {} keys are there; writing again", found.hits, objects.count());
    }
    Err(BenchError::Invalid(format!(
        "after the preload {} of {} keys are there with {} of {bytes} bytes: is the server's memory large enough?",
        found.hits,
        objects.count(),
        found.value_bytes,
    )))
}

fn sweep(
    protocol: Protocol,
    servers: &[Address],
    workload: &Workload,
    operation: Operation,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, BenchError> {
    let (key_bytes, value_bytes) = workload.objects.mean_bytes();
    let depth = (PRELOAD_BATCH_BYTES / (key_bytes + value_bytes)).clamp(1.0, 64.0) as u32;
    let plan = Plan {
        connections: PRELOAD_CONNECTIONS,
        depth,
        window: false,
        pace: Pace::Closed,
        warmup: Duration::ZERO,
        duration: None,
        spin: false,
        turn_bytes: TURN_BYTES,
        turn_connections: TURN_CONNECTIONS,
        seed: workload.seed,
    };
    with_codec!(protocol, |codec| {
        let mut source = Sweep::new(codec, &workload.objects, operation);
        drive(&plan, servers, codec, &mut source, None, progress)
    })
}

/// A progress line on stderr; silent when that is no terminal.
pub(crate) fn progress_line(what: &str) -> impl FnMut(Progress) {
    let terminal = std::io::stderr().is_terminal();
    let mut previous = 0;
    let mut previous_elapsed = Duration::ZERO;
    move |progress| {
        let since = progress.elapsed.saturating_sub(previous_elapsed).as_secs_f64();
        let rate = progress.replies.saturating_sub(previous) as f64 / since.max(1e-9);
        (previous, previous_elapsed) = (progress.replies, progress.elapsed);
        if terminal {
            let warming_up = if progress.warming_up { " warming up" } else { "" };
            eprint!(
                "\r\x1b[K{what}{warming_up}: {:.1} s, {} replies, {rate:.0}/s, {} misses\r",
                progress.elapsed.as_secs_f64(),
                progress.replies,
                progress.misses
            );
        }
    }
}
