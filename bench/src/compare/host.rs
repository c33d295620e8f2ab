//! `torc bench compare --same-host`: clients on the server's host, over everybody's Unix sockets and by Torc's shared memory.
//!
//! The servers hold the same keys, each of which was written and read; one is loaded at a time. In every round each way takes its
//! turn, each round beginning with another one: one connection, a read at a time, for the latency; and many, for the server's CPU at
//! saturation, by all ways but the one that does not ask the server.

use std::path::{Path, PathBuf};

use serde::Serialize;
use torc_shm::reads::ReadCounts;

use super::{CompareArgs, host_page};
use crate::{
    error::BenchError,
    generator::{address::Address, drive, measure::Figures},
    lab::{
        Cores,
        contender::Contender,
        peers,
        shape::{Shape, Timing},
    },
    load::{Protocol, preload, with_codec},
    one_sided,
    results::{Folder, Setting},
    workload::{
        Mixed,
        args::{Workload, WorkloadArgs},
        mix::Mix,
    },
};

/// One connection, a read at a time.
const ALONE: Shape = Shape { depth: 1, connections: 1 };
/// Many of these.
const MANY: Shape = Shape { depth: 1, connections: 50 };
/// How long the server that polls its rings does so before it sleeps.
const SPIN: &str = "50us";

/// How a client reaches a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    Tcp,
    Unix,
    Rings,
    /// The client reads the shards' memory.
    Reads,
}

/// A Torc that is started.
struct Torc {
    name: &'static str,
    /// Further arguments of `torc serve`.
    more: &'static [&'static str],
    /// How it is reached, and the words for that.
    ways: &'static [(By, &'static str)],
}

const TORCS: &[Torc] = &[
    Torc { name: "torc", more: &[], ways: &[(By::Tcp, "TCP"), (By::Unix, "Unix socket")] },
    Torc {
        name: "torc-shared",
        more: &["--shared-memory"],
        ways: &[(By::Rings, "rings, sleeping server"), (By::Reads, "read by the client")],
    },
    Torc {
        name: "torc-spin",
        more: &["--shared-memory", "--spin", SPIN],
        ways: &[(By::Rings, "rings, server that polls")],
    },
];

/// A server, and how it is reached.
#[derive(Clone, Debug)]
struct Way {
    name: String,
    /// Among the servers.
    server: usize,
    by: By,
}

/// One measurement: a line of the raw results.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) round: u32,
    pub(super) way: String,
    pub(super) by: By,
    pub(super) shape: Shape,
    pub(super) figures: Figures,
    /// Reads that the client did itself, and those that it had to ask for; with the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) one_sided: Option<Counts>,
}

/// What came of reads that were tried in the shards' memory.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Counts {
    hits: u64,
    misses: u64,
    asked: Vec<(&'static str, u64)>,
}

/// Everything that is kept.
#[derive(Serialize)]
pub(super) struct SameHost {
    pub(super) setting: Setting,
    pub(super) workload: WorkloadArgs,
    pub(super) rounds: u32,
    pub(super) seconds: f64,
    pub(super) warmup_seconds: f64,
    pub(super) runs: Vec<Run>,
}

/// Runs the comparison, prints its tables and keeps its folder.
pub(super) fn run(args: &CompareArgs) -> Result<(), BenchError> {
    let mut workload_args = args.workload.clone();
    // Only reads can be done by the client itself.
    workload_args.mix = Mix::READS;
    let folder = Folder::create(&args.lab.out, "same-host")?;
    let sockets = Sockets::create()?;
    let mut stage = Stage::set_up(args, &workload_args, &sockets.0)?;
    for round in 0..args.rounds {
        stage.round(round)?;
        eprintln!("round {} of {} done", round + 1, args.rounds);
    }
    let result = SameHost {
        setting: Setting::new(stage.cores, &stage.servers),
        workload: workload_args,
        rounds: args.rounds,
        seconds: stage.timing.duration.as_secs_f64(),
        warmup_seconds: stage.timing.warmup.as_secs_f64(),
        runs: stage.runs,
    };
    folder.write(&host_page::page(&result), &result)
}

/// The servers and what was measured so far.
struct Stage {
    cores: Cores,
    timing: Timing,
    workload_args: WorkloadArgs,
    servers: Vec<Contender>,
    ways: Vec<Way>,
    runs: Vec<Run>,
}

impl Stage {
    fn set_up(args: &CompareArgs, workload_args: &WorkloadArgs, sockets: &Path) -> Result<Self, BenchError> {
        let (cores, timing) = (args.lab.cores.claim()?, args.timing.timing(1.5)?);
        let mut servers = peers::on_unix_sockets(sockets, cores.server, args.memory_mib)?;
        let mut ways: Vec<Way> = Vec::new();
        for (server, peer) in servers.iter().enumerate() {
            ways.push(Way { name: format!("{}, Unix socket", peer.name), server, by: By::Unix });
        }
        for Torc { name, more, ways: by } in TORCS {
            let socket = sockets.join(format!("{name}.sock"));
            let listen = ["--listen".to_owned(), format!("unix:{}", socket.display())];
            let arguments: Vec<String> =
                listen.into_iter().chain(more.iter().map(ToString::to_string)).collect();
            let mut torc = args.lab.torc.start_with(&arguments, &[cores.server], args.memory_mib << 20)?;
            torc.name = (*name).into();
            let way = |(by, words): &(By, &str)| Way {
                name: format!("torc, {words}"),
                server: servers.len(),
                by: *by,
            };
            ways.extend(by.iter().map(way));
            servers.push(torc);
        }
        let workload = workload_args.build()?;
        for server in &servers {
            let address = server.unix.as_ref().unwrap_or(&server.address);
            preload(server.protocols[0], std::slice::from_ref(address), &workload.objects)?;
            eprintln!("{}: {} keys", server.name, workload_args.keys);
        }
        let workload_args = workload_args.clone();
        Ok(Stage { cores, timing, workload_args, servers, ways, runs: Vec::new() })
    }

    /// Each way takes its turn at both shapes.
    fn round(&mut self, round: u32) -> Result<(), BenchError> {
        let mut ways = self.ways.clone();
        let turn = round as usize % ways.len().max(1);
        ways.rotate_left(turn);
        for shape in [ALONE, MANY] {
            for way in &ways {
                if way.by == By::Reads && shape == MANY {
                    continue;
                }
                let (figures, counts) = self.measure(way, shape, u64::from(round))?;
                figures.tally.without_refusals()?;
                eprintln!(
                    "{:<32} {:<26} {:>9.0}/s {:>7.3} us CPU/op  p50 {:>7.2} us",
                    way.name,
                    shape.to_string(),
                    figures.operations_per_second,
                    figures.cpu_us(),
                    figures.latency_us.p50,
                );
                let one_sided = counts.map(|counts| Counts {
                    hits: counts.hits,
                    misses: counts.misses,
                    asked: counts.causes().collect(),
                });
                let (way, by) = (way.name.clone(), way.by);
                self.runs.push(Run { round, way, by, shape, figures, one_sided });
            }
        }
        Ok(())
    }

    fn measure(
        &self,
        way: &Way,
        shape: Shape,
        round: u64,
    ) -> Result<(Figures, Option<ReadCounts>), BenchError> {
        let server = &self.servers[way.server];
        server.rest()?;
        let run = self.runs.len() as u64;
        let Workload { objects, picker, mix } = self.workload_args.build()?;
        let picker = picker.for_run(run);
        let unix = || match &server.unix {
            Some(Address::Unix(path)) => Ok(path.clone()),
            _ => Err(BenchError::Invalid(format!("{} told of no Unix socket", server.name))),
        };
        let address = match way.by {
            By::Tcp => server.address.clone(),
            By::Unix => Address::Unix(unix()?),
            By::Rings => Address::Rings(unix()?),
            By::Reads => {
                let Timing { warmup, duration } = self.timing;
                let (workload, limit) = (Workload { objects, picker, mix }, (duration, u64::MAX));
                let measured = one_sided::measure(&unix()?, workload, warmup, limit, Some(&server.probe))?;
                return Ok((measured.0, Some(measured.1)));
            }
        };
        // Torc in its own protocol, which rings carry alone.
        let protocol = server.protocols.iter().copied().find(|protocol| *protocol == Protocol::Native);
        let plan = shape.plan(self.timing, None, round);
        let figures = with_codec!(protocol.unwrap_or(server.protocols[0]), |codec| {
            let mut source = Mixed::new(codec, &objects, picker, mix, u64::MAX);
            drive(&plan, std::slice::from_ref(&address), codec, &mut source, Some(&server.probe))
        })?;
        Ok((figures, None))
    }
}

/// A folder for Unix sockets; it goes with this.
struct Sockets(PathBuf);

impl Sockets {
    fn create() -> Result<Sockets, BenchError> {
        let path = std::env::temp_dir().join(format!("torc-bench-{}", std::process::id()));
        let made = std::fs::create_dir(&path);
        made.map_err(BenchError::io(format!("making the folder {}", path.display())))?;
        Ok(Sockets(path))
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // What is left of it is empty sockets.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
