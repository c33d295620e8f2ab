//! `torc bench`: one load on one server.

use std::{ops::Range, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    LoginArgs,
    codec::Tally,
    error::BenchError,
    generator::{Plan, address::Address, drive, measure::Figures, pace::Pace},
    one_sided,
    process::{affinity, probe::Probe, socket_owner},
    rdma::RdmaArgs,
    report::write_json_lines,
    workload::{Mixed, Sweep, args::WorkloadArgs, mix::Operation, objects::Objects},
};

pub(crate) use crate::protocol::Protocol;

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

/// What carries the bytes of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Socket,
    Shm,
    /// Rings, and reads by the generator itself
    #[serde(rename = "shm-read")]
    ShmRead,
    /// RoCEv2
    Rdma,
    /// RoCEv2, and reads of the server's memory by the generator itself
    #[serde(rename = "rdma-read")]
    RdmaRead,
}

impl Transport {
    fn reads_itself(self) -> bool {
        matches!(self, Self::ShmRead | Self::RdmaRead)
    }
}

/// Flags of `torc bench` without a subcommand.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// The server: HOST:PORT, unix:PATH or shm:PATH; several share the connections evenly
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7171")]
    server: Vec<Address>,
    /// What carries the bytes: shm is rings in memory that the server shares; it is asked where, if its address does not tell;
    /// rdma goes on over RoCEv2 from a TCP address. With shm-read and rdma-read the generator reads the server's memory itself, one key
    /// at a time on one connection, or on one to each shard; over RDMA the server lets it with --rdma-reads
    #[arg(long, value_enum, default_value_t = Transport::Socket)]
    pub(crate) transport: Transport,
    /// With rdma-read, looks each key up anew: two reads, rather than one of the place where it was
    #[arg(long)]
    pub(crate) forget: bool,
    #[command(flatten)]
    rdma: RdmaArgs,
    #[command(flatten)]
    login: LoginArgs,
    /// What to speak
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
    /// Connections, all from one thread
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
    pub(crate) duration: f64,
    /// Ends after this many requests rather than by the clock
    #[arg(long, value_name = "N")]
    pub(crate) requests: Option<u64>,
    /// Load before measuring, seconds
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    pub(crate) warmup: f64,
    /// Open loop at this many requests a second; without it, closed loop
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Writes every key first and checks that all are there
    #[arg(long)]
    preload: bool,
    /// The server's process; found by itself for a TCP server of this machine
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Pins the generator to this core and lets it spin there
    #[arg(long, value_name = "K")]
    cpu: Option<usize>,
    /// Writes the results to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
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
    workload: &'a WorkloadArgs,
    results: Figures,
}

/// Runs the load and prints its results.
pub(crate) fn run(args: &LoadArgs) -> Result<(), BenchError> {
    let workload = args.workload.build()?;
    let plan = args.plan()?;
    let servers = args.servers()?;
    if let Some(cpu) = args.cpu {
        affinity::pin(cpu)?;
    }
    if args.preload {
        preload(args.protocol, &servers, &workload.objects)?;
        eprintln!("{} keys are written", args.workload.keys);
    }
    let probe = args.probe()?;
    if args.transport.reads_itself() {
        return one_sided::run(args, &servers, workload, probe.as_ref());
    }
    let requests = args.requests.unwrap_or(u64::MAX);
    let figures = with_codec!(args.protocol, |codec| {
        let mut source = Mixed::new(codec, &workload.objects, workload.picker, workload.mix, requests);
        drive(&plan, &servers, codec, &mut source, probe.as_ref())
    })?;
    let report = LoadReport {
        protocol: args.protocol,
        servers: servers.iter().map(ToString::to_string).collect(),
        connections: args.connections,
        depth: args.depth,
        window: args.window,
        rate: args.rate,
        workload: &args.workload,
        results: figures,
    };
    println!("{}", report.results);
    if let Some(path) = &args.json {
        write_json_lines(path, &[&report])?;
    }
    if probe.is_none() {
        eprintln!("the server's process is not known: give --pid to see what it costs");
    }
    report.results.tally.without_refusals()
}

/// The highest rate that is offered, requests a second: more than one thread can send.
const RATE_MAX: f64 = 1e9;

impl LoadArgs {
    /// The servers, over the transport that was asked for.
    fn servers(&self) -> Result<Vec<Address>, BenchError> {
        let servers: Vec<Address> = match self.transport {
            Transport::Socket => self.server.clone(),
            Transport::Shm | Transport::ShmRead => {
                self.server.iter().map(Address::rings).collect::<Result<_, _>>()?
            }
            Transport::Rdma | Transport::RdmaRead => {
                let device = self.rdma.open()?;
                self.server.iter().map(|server| server.over_rdma(&device)).collect::<Result<_, _>>()?
            }
        };
        let is_socket = |server: &Address| matches!(server, Address::Tcp(_) | Address::Unix(_));
        if !servers.iter().all(is_socket) && self.protocol != Protocol::Native {
            let reason = "shared memory and RDMA carry the native protocol alone";
            return Err(BenchError::setting("transport", reason));
        }
        let is_plain = self.depth == 1 && !self.window && self.rate.is_none();
        if self.transport.reads_itself() && !is_plain {
            let reason =
                "shm-read and rdma-read read one key at a time: leave out --depth, --window and --rate";
            return Err(BenchError::setting("transport", reason));
        }
        match self.login.login(self.protocol)? {
            None => Ok(servers),
            Some(_) if self.transport != Transport::Socket || !servers.iter().all(is_socket) => {
                Err(BenchError::setting("password-file", "a password is given over sockets alone"))
            }
            Some(login) => Ok(servers.into_iter().map(|server| server.for_user(&login)).collect()),
        }
    }

    fn plan(&self) -> Result<Plan, BenchError> {
        let pace = match self.rate {
            None => Pace::Closed,
            Some(rate) if rate > 0.0 && rate <= RATE_MAX => Pace::Open { rate },
            Some(_) => return Err(BenchError::setting("rate", format!("expected above 0 to {RATE_MAX}"))),
        };
        let mut plan = Plan {
            window: self.window,
            pace,
            spin: self.cpu.is_some(),
            seed: self.workload.seed,
            ..Plan::closed(self.connections, self.depth)
        };
        if self.requests.is_none() {
            plan.warmup = seconds("warmup", self.warmup)?;
            plan.duration = Some(seconds("duration", self.duration)?);
        }
        Ok(plan)
    }

    fn probe(&self) -> Result<Option<Probe>, BenchError> {
        let found = match (self.pid, &self.server[..]) {
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

/// A cache may drop a key of a million when its index is crowded; it is then written once more.
const PRELOADS_MAX: u32 = 3;

/// Writes every key, then reads every key and compares counts and bytes. A load on keys that are not there would
/// measure misses.
pub(crate) fn preload(protocol: Protocol, servers: &[Address], objects: &Objects) -> Result<(), BenchError> {
    let all = 0..objects.count();
    let mut found = Tally::default();
    for _ in 0..PRELOADS_MAX {
        let written = sweep(protocol, servers, objects, Operation::Set, all.clone())?;
        written.tally.without_refusals()?;
        found = sweep(protocol, servers, objects, Operation::Get, all.clone())?.tally;
        if found.hits == objects.count() && found.value_bytes == objects.value_bytes_total() {
            return Ok(());
        }
        eprintln!("preload: {} of {} keys are there; writing again", found.hits, objects.count());
    }
    Err(BenchError::Invalid(format!(
        "after the preload {} of {} keys are there with {} of {} bytes: is the server's memory large enough?",
        found.hits,
        objects.count(),
        found.value_bytes,
        objects.value_bytes_total(),
    )))
}

/// Connections and bytes in flight on each of them that keep a server busy.
const SWEEP_CONNECTIONS: usize = 4;
const SWEEP_BATCH_BYTES: usize = 16_384;

/// Writes or reads each of these objects once.
pub(crate) fn sweep(
    protocol: Protocol,
    servers: &[Address],
    objects: &Objects,
    operation: Operation,
    numbers: Range<u64>,
) -> Result<Figures, BenchError> {
    let depth = (SWEEP_BATCH_BYTES / objects.object_bytes().max(1)).clamp(1, 64) as u32;
    let plan = Plan::closed(SWEEP_CONNECTIONS, depth);
    with_codec!(protocol, |codec| {
        let mut source = Sweep::new(codec, objects, operation, numbers);
        drive(&plan, servers, codec, &mut source, None)
    })
}
