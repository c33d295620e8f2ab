//! `torc bench --transport shm-read`: reads out of the memory that a server shares, by the generator itself. What it cannot tell
//! by that, and writes, it asks for through rings, and waits. One key at a time.

use std::{
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError, Status, Topology, frame};
use torc_shm::reads::{Look, ReadCounts, Reads, Value};
use torc_shm::{Connected, connect_to_read};

use crate::{
    codec::{Codec, Tally, native::Native},
    error::BenchError,
    generator::{
        address::Address,
        measure::{Figures, Latency},
    },
    load::{LoadArgs, seconds},
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
/// Looks at the ring before the generator sleeps.
const LOOKS: u32 = 2000;
const PIECE_BYTES: usize = 64 << 10;

/// The line that a run's JSON file holds.
#[derive(Serialize)]
struct Report {
    transport: &'static str,
    one_sided: OneSided,
    results: Figures,
}

/// How many reads the generator could answer itself.
#[derive(Serialize)]
struct OneSided {
    hits: u64,
    misses: u64,
    asked: Vec<(&'static str, u64)>,
}

/// Runs the load and prints its results.
pub(crate) fn run(
    args: &LoadArgs,
    servers: &[Address],
    workload: Workload,
    probe: Option<&Probe>,
) -> Result<(), BenchError> {
    let [Address::Rings(path)] = servers else {
        return Err(BenchError::setting("server", "reads out of shared memory are of one server"));
    };
    let warmup = if args.requests.is_some() { Duration::ZERO } else { seconds("warmup", args.warmup)? };
    let limit = match args.requests {
        Some(requests) => (Duration::MAX, requests),
        None => (seconds("duration", args.duration)?, u64::MAX),
    };
    let (results, counts) = measure(path, workload, warmup, limit, probe)?;
    let asked = counts.causes().collect();
    let report = Report {
        transport: "shm-read",
        one_sided: OneSided { hits: counts.hits, misses: counts.misses, asked },
        results,
    };
    println!("{}", report.results);
    let OneSided { hits, misses, asked } = &report.one_sided;
    println!("with the warm-up: {hits} hits and {misses} misses without asking, asked {asked:?}");
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
    let mut client = Client::connect(path)?;
    let mut run = Run { workload, latency: Latency::new(), tally: Tally::default() };
    run.drive(&mut client, (warmup, u64::MAX))?;
    (run.latency, run.tally) = Default::default();
    let before = probe.map(Probe::sample).transpose()?;
    let generator = Probe::this_process();
    let own = generator.sample()?;
    let began = Instant::now();
    run.drive(&mut client, limit)?;
    let elapsed = began.elapsed();
    let own = generator.sample()?.since(&own);
    let server = probe.zip(before).map(|(probe, before)| Ok(probe.sample()?.since(&before))).transpose()?;
    let mut results = Figures::new(elapsed, run.tally, Duration::ZERO, own, server);
    results.latency_us = run.latency.percentiles();
    client.tell()?;
    Ok((results, client.reads.counts()))
}

struct Run {
    workload: Workload,
    latency: Latency,
    tally: Tally,
}

impl Run {
    /// Until the time is over, or so many requests are done.
    fn drive(&mut self, client: &mut Client, (time, requests): (Duration, u64)) -> Result<(), BenchError> {
        let began = Instant::now();
        let mut last = began;
        let mut buffer = [0; KEY_BYTES_MAX];
        for _ in 0..requests {
            if last.duration_since(began) >= time {
                break;
            }
            let (number, bits) = self.workload.picker.pick();
            let objects = &self.workload.objects;
            match self.workload.mix.pick(bits) {
                Operation::Get => client.get(objects, number, &mut buffer, &mut self.tally)?,
                Operation::Set => client.ask(objects, Operation::Set, number, &mut self.tally)?,
            }
            let now = Instant::now();
            self.latency.record(now.duration_since(last).as_nanos() as u64, 1);
            last = now;
        }
        Ok(())
    }
}

struct Client {
    rings: Connected,
    reads: Reads,
    scanner: <Native as Codec>::Scanner,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Client {
    fn connect(path: &Path) -> Result<Client, BenchError> {
        let mut rings = connect_to_read(path, PATIENCE)
            .map_err(|error| BenchError::Invalid(format!("attaching at {}: {error}", path.display())))?;
        let topology = topology(&mut rings)?;
        let reads = Reads::open(std::mem::take(&mut rings.others), topology)
            .map_err(|error| BenchError::Invalid(error.to_string()))?;
        Ok(Client { rings, reads, scanner: Default::default(), out: Vec::new(), input: Vec::new() })
    }

    fn get(
        &mut self,
        objects: &Objects,
        number: u64,
        buffer: &mut [u8; KEY_BYTES_MAX],
        tally: &mut Tally,
    ) -> Result<(), BenchError> {
        match self.reads.get(0, objects.key(number, buffer)) {
            Ok((Look::Hit { found, .. }, _)) => {
                tally.hits += 1;
                tally.value_bytes += match found.value {
                    Value::Inline(value) => value.len() as u64,
                    _ => 0,
                };
            }
            Ok(_) => tally.misses += 1,
            Err(_) => self.ask(objects, Operation::Get, number, tally)?,
        }
        if self.reads.has_much_to_tell() { self.tell() } else { Ok(()) }
    }

    /// Tells the server what was read, so that eviction knows.
    fn tell(&mut self) -> Result<(), BenchError> {
        let mut told = Vec::new();
        self.reads.tell(|op, value| told.push((op, value)));
        told.iter().try_for_each(|(op, value)| request(&mut self.rings, *op, value, |_| Ok(())))
    }

    /// Asks the server, and waits for its answer.
    fn ask(
        &mut self,
        objects: &Objects,
        operation: Operation,
        number: u64,
        tally: &mut Tally,
    ) -> Result<(), BenchError> {
        self.out.clear();
        objects.write_request(&Native, operation, number, &mut self.out);
        send(&mut self.rings, &self.out)?;
        let before = tally.replies();
        while tally.replies() == before {
            self.input.clear();
            receive(&mut self.rings, &mut self.input)?;
            let scanned = Native.scan(&mut self.scanner, &self.input, tally);
            scanned.map_err(BenchError::Invalid)?;
        }
        Ok(())
    }
}

fn broken(error: impl std::fmt::Display) -> BenchError {
    BenchError::Invalid(format!("the server's ring: {error}"))
}

fn send(rings: &mut Connected, mut bytes: &[u8]) -> Result<(), BenchError> {
    while !bytes.is_empty() {
        let sent = rings.write_some(bytes).map_err(broken)?;
        rings.wake_server();
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Waits for bytes: looks a while, then sleeps.
fn receive(rings: &mut Connected, input: &mut Vec<u8>) -> Result<(), BenchError> {
    let began = Instant::now();
    let mut looks = 0;
    while rings.read_some(PIECE_BYTES, input).map_err(broken)? == 0 {
        looks += 1;
        if looks < LOOKS {
            std::hint::spin_loop();
            continue;
        }
        if began.elapsed() > PATIENCE {
            return Err(broken("it does not answer"));
        }
        if rings.may_sleep(false).map_err(broken)? {
            let mut socket = [PollFd::from_borrowed_fd(rings.socket.as_fd(), PollFlags::IN)];
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            // Interrupted or not, the ring is looked at again.
            let _ = poll(&mut socket, Some(&second));
        }
        rings.hear_bells().map_err(broken)?;
    }
    rings.wake_server();
    Ok(())
}

/// Asks for the slot map.
fn topology(rings: &mut Connected) -> Result<Topology, BenchError> {
    request(rings, Op::Topology, &[], |value| Topology::parse(value).map_err(broken))
}

/// Asks for something that has no key, and reads the answer's value.
fn request<R>(
    rings: &mut Connected,
    op: Op,
    value: &[u8],
    read: impl FnOnce(&[u8]) -> Result<R, BenchError>,
) -> Result<R, BenchError> {
    const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    frame::compose_request(&mut request, op, 0, 0, &Options::NONE, &[], value).map_err(broken)?;
    send(rings, &request)?;
    loop {
        receive(rings, &mut answer)?;
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
