//! `torc bench --transport shm-read` and `rdma-read`: reads of a server's memory by the generator itself. What it cannot tell by that, and
//! writes, it asks for by a connection, and waits. One key at a time.
//!
//! | file | reads |
//! |---|---|
//! | `shm.rs` | out of memory that a server on this host shares; asks through rings |
//! | `rdma.rs` | by READs, each shard by a queue pair for that; asks over RDMA, the shards by their own ports |

mod rdma;
mod shm;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError, ReadCounts, Status, Topology, frame};

use crate::{
    codec::{Codec, Tally, native::Native},
    error::BenchError,
    generator::{
        address::Address,
        measure::{Figures, Latency},
    },
    load::{LoadArgs, Transport, seconds},
    process::probe::Probe,
    report::write_json_lines,
    workload::{
        args::Workload,
        mix::Operation,
        objects::{KEY_BYTES_MAX, Objects},
    },
};

/// Longest wait for the server.
const PATIENCE: Duration = Duration::from_secs(10);
/// Looks at a connection before the generator sleeps.
const LOOKS: u32 = 2000;
const PIECE_BYTES: usize = 64 << 10;

/// A connection of which the generator waits for each answer.
trait Asking {
    fn send(&mut self, bytes: &[u8]) -> Result<(), BenchError>;

    /// Appends bytes, one at least: looks for them a while, then sleeps.
    fn receive(&mut self, input: &mut Vec<u8>) -> Result<(), BenchError>;
}

/// What a look at the server's memory finds.
enum Found {
    /// A value of so many bytes.
    Hit(u64),
    Miss,
    /// The server has to be asked.
    Doubt,
}

/// How a server's memory is read.
trait Reading {
    type Asking: Asking;

    fn get(&mut self, key: &[u8]) -> Result<Found, BenchError>;

    /// By what the server is asked about a key.
    fn asking(&mut self, key: &[u8]) -> &mut Self::Asking;

    fn has_much_to_tell(&self) -> bool;

    /// Tells the server what was read, so that eviction knows.
    fn tell(&mut self) -> Result<(), BenchError>;

    fn counts(&self) -> ReadCounts;

    /// Of the hits, those that were where they had been; `None`: nothing is remembered.
    fn remembered(&self) -> Option<u64>;
}

/// The line that a run's JSON file holds.
#[derive(Serialize)]
struct Report {
    transport: Transport,
    one_sided: OneSided,
    results: Figures,
}

/// How many reads the generator could answer itself, with the warm-up.
#[derive(Serialize)]
struct OneSided {
    hits: u64,
    misses: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    remembered: Option<u64>,
    asked: Vec<(&'static str, u64)>,
}

/// Runs the load and prints its results.
pub(crate) fn run(
    args: &LoadArgs,
    servers: &[Address],
    workload: Workload,
    probe: Option<&Probe>,
) -> Result<(), BenchError> {
    let warmup = if args.requests.is_some() { Duration::ZERO } else { seconds("warmup", args.warmup)? };
    let limit = match args.requests {
        Some(requests) => (Duration::MAX, requests),
        None => (seconds("duration", args.duration)?, u64::MAX),
    };
    let (results, one_sided) = match servers {
        [Address::Rings(path)] => drive(shm::Client::connect(path)?, workload, warmup, limit, probe)?,
        [Address::Rdma(address, device)] => {
            let client = rdma::Client::connect(*address, device, !args.forget)?;
            drive(client, workload, warmup, limit, probe)?
        }
        _ => return Err(BenchError::setting("server", "reads of a server's memory are of one server")),
    };
    let report = Report { transport: args.transport, one_sided, results };
    println!("{}", report.results);
    let OneSided { hits, misses, remembered, asked } = &report.one_sided;
    let remembered = remembered.map_or(String::new(), |count| format!(" ({count} by a remembered place)"));
    println!("with the warm-up: {hits} hits{remembered} and {misses} misses without asking, asked {asked:?}");
    if let Some(path) = &args.json {
        write_json_lines(path, &[&report])?;
    }
    report.results.tally.without_refusals()
}

/// Loads the server that shares its memory at `path`: `warmup` long, then until the time is over or so many requests are done. What the
/// reads came to is with the warm-up.
pub(crate) fn measure(
    path: &Path,
    workload: Workload,
    warmup: Duration,
    limit: (Duration, u64),
    probe: Option<&Probe>,
) -> Result<(Figures, ReadCounts), BenchError> {
    let mut run = Run::new(shm::Client::connect(path)?, workload);
    let figures = run.measure(warmup, limit, probe)?;
    Ok((figures, run.reading.counts()))
}

fn drive(
    reading: impl Reading,
    workload: Workload,
    warmup: Duration,
    limit: (Duration, u64),
    probe: Option<&Probe>,
) -> Result<(Figures, OneSided), BenchError> {
    let mut run = Run::new(reading, workload);
    let figures = run.measure(warmup, limit, probe)?;
    let ReadCounts { hits, misses, .. } = run.reading.counts();
    let asked = run.reading.counts().causes().collect();
    Ok((figures, OneSided { hits, misses, remembered: run.reading.remembered(), asked }))
}

struct Run<R> {
    reading: R,
    workload: Workload,
    latency: Latency,
    tally: Tally,
    scanner: <Native as Codec>::Scanner,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl<R: Reading> Run<R> {
    fn new(reading: R, workload: Workload) -> Run<R> {
        Run {
            reading,
            workload,
            latency: Latency::new(),
            tally: Tally::default(),
            scanner: Default::default(),
            out: Vec::new(),
            input: Vec::new(),
        }
    }

    fn measure(
        &mut self,
        warmup: Duration,
        limit: (Duration, u64),
        probe: Option<&Probe>,
    ) -> Result<Figures, BenchError> {
        self.drive((warmup, u64::MAX))?;
        (self.latency, self.tally) = Default::default();
        let before = probe.map(Probe::sample).transpose()?;
        let generator = Probe::this_process();
        let own = generator.sample()?;
        let began = Instant::now();
        self.drive(limit)?;
        let elapsed = began.elapsed();
        let own = generator.sample()?.since(&own);
        let server =
            probe.zip(before).map(|(probe, before)| Ok(probe.sample()?.since(&before))).transpose()?;
        let tally = std::mem::take(&mut self.tally);
        let mut results = Figures::new(elapsed, tally, Duration::ZERO, own, server);
        results.latency_us = self.latency.percentiles();
        self.reading.tell()?;
        Ok(results)
    }

    /// Until the time is over, or so many requests are done.
    fn drive(&mut self, (time, requests): (Duration, u64)) -> Result<(), BenchError> {
        let began = Instant::now();
        let mut last = began;
        let mut buffer = [0; KEY_BYTES_MAX];
        for _ in 0..requests {
            if last.duration_since(began) >= time {
                break;
            }
            let (number, bits) = self.workload.picker.pick();
            let key = self.workload.objects.key(number, &mut buffer);
            match self.workload.mix.pick(bits) {
                Operation::Get => self.get(key, number)?,
                Operation::Set => self.ask(Operation::Set, key, number)?,
            }
            let now = Instant::now();
            self.latency.record(now.duration_since(last).as_nanos() as u64, 1);
            last = now;
        }
        Ok(())
    }

    fn get(&mut self, key: &[u8], number: u64) -> Result<(), BenchError> {
        match self.reading.get(key)? {
            Found::Hit(bytes) => {
                self.tally.hits += 1;
                self.tally.value_bytes += bytes;
            }
            Found::Miss => self.tally.misses += 1,
            Found::Doubt => self.ask(Operation::Get, key, number)?,
        }
        if self.reading.has_much_to_tell() { self.reading.tell() } else { Ok(()) }
    }

    /// Asks the server, and waits for its answer.
    fn ask(&mut self, operation: Operation, key: &[u8], number: u64) -> Result<(), BenchError> {
        let objects: &Objects = &self.workload.objects;
        self.out.clear();
        objects.write_request(&Native, operation, number, &mut self.out);
        let asking = self.reading.asking(key);
        asking.send(&self.out)?;
        let before = self.tally.replies();
        while self.tally.replies() == before {
            self.input.clear();
            asking.receive(&mut self.input)?;
            let scanned = Native.scan(&mut self.scanner, &self.input, &mut self.tally);
            scanned.map_err(BenchError::Invalid)?;
        }
        Ok(())
    }
}

fn broken(error: impl std::fmt::Display) -> BenchError {
    BenchError::Invalid(format!("the server: {error}"))
}

/// Asks for the slot map.
fn topology(asking: &mut impl Asking) -> Result<Topology, BenchError> {
    request(asking, Op::Topology, &[], |value| Topology::parse(value).map_err(broken))
}

/// Tells the server what was read.
fn tell(asking: &mut impl Asking, told: &[(Op, Vec<u8>)]) -> Result<(), BenchError> {
    told.iter().try_for_each(|(op, value)| request(asking, *op, value, |_| Ok(())))
}

/// Asks for something that has no key, and reads the answer's value.
fn request<R>(
    asking: &mut impl Asking,
    op: Op,
    value: &[u8],
    read: impl FnOnce(&[u8]) -> Result<R, BenchError>,
) -> Result<R, BenchError> {
    const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    frame::compose_request(&mut request, op, 0, 0, &Options::NONE, &[], value).map_err(broken)?;
    asking.send(&request)?;
    loop {
        asking.receive(&mut answer)?;
        match Answer::parse(&answer, &LIMITS) {
            Err(ParseError::Incomplete { .. }) => {}
            Err(ParseError::Invalid(error)) => return Err(broken(error)),
            Ok((answer, _)) if answer.header.status() != Status::Ok => {
                return Err(broken(String::from_utf8_lossy(answer.value)));
            }
            Ok((answer, _)) => return read(answer.value),
        }
    }
}
