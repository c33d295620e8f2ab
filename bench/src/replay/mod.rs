//! `torc bench trace`: the miss ratio of a cache on a real request trace. Each request reads its key
//! and writes it on a miss; nothing else touches the cache.
//!
//! Capacity is what the cache really held: the *peak number of live items* seen during the replay.
//! Its share of the trace's distinct objects is what simulators sweep, so the memory is searched
//! that gives the wanted share and not more. With `--real-sizes` objects keep their sizes and the
//! memory is a share of the bytes of all objects, overhead included.

pub(crate) mod cache;
mod reference;

use std::{fmt::Write, path::PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    error::BenchError,
    lab::{Cores, LabArgs},
    load::{Protocol, with_codec},
    results::{Folder, Setting},
    workload::{
        objects::{KEY_BYTES_MAX, Objects},
        trace::Trace,
    },
};
use cache::{Cache, InProcess, Remote};

/// Flags of `torc bench trace`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TraceArgs {
    /// A trace: lines of key,size, plain or gzip; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    trace: Vec<PathBuf>,
    /// Capacities as percent of the trace's distinct objects (of their bytes with --real-sizes)
    #[arg(long, value_delimiter = ',', default_value = "5,10,20,40", value_name = "PERCENT")]
    shares: Vec<f64>,
    /// One value size for all objects, bytes; by default such that the smallest capacity fills
    /// --segments segments
    #[arg(long, value_name = "BYTES", conflicts_with = "real_sizes")]
    value_size: Option<u32>,
    /// Segments that the smallest capacity has to fill, if --value-size is not given
    #[arg(long, default_value_t = 100, value_name = "N")]
    segments: u32,
    /// Each object has the size that the trace gives
    #[arg(long)]
    real_sizes: bool,
    /// What the traces are replayed through
    #[arg(long, value_enum, value_delimiter = ',', default_value = "in-process")]
    through: Vec<Through>,
    /// In process: size of a segment, bytes
    #[arg(long, default_value_t = torc_engine::shard::SEGMENT_BYTES, value_name = "BYTES")]
    segment_bytes: usize,
    /// Shards of the server, which divide the keys and the memory; the second shares the generator's core
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    shards: u8,
    #[command(flatten)]
    lab: LabArgs,
}

/// A shard without a server around it, or a server and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Through {
    InProcess,
    Resp,
    Memcache,
    Native,
}

impl Through {
    /// `None`: in process.
    fn protocol(self) -> Option<Protocol> {
        match self {
            Self::InProcess => None,
            Self::Resp => Some(Protocol::Resp),
            Self::Memcache => Some(Protocol::Memcache),
            Self::Native => Some(Protocol::Native),
        }
    }

    fn name(self) -> &'static str {
        self.protocol().map_or("in process", Protocol::name)
    }
}

/// One capacity's result.
#[derive(Clone, Debug, Serialize)]
struct Replay {
    trace: String,
    through: Through,
    /// `None`: the trace's own sizes.
    value_bytes: Option<u32>,
    wanted_percent: f64,
    /// Peak live items as percent of the distinct objects.
    percent: f64,
    items_peak: u64,
    memory_bytes: u64,
    requests: u64,
    misses: u64,
    miss_ratio: f64,
    /// Bytes of the missed requests' objects over bytes of all requests' objects.
    byte_miss_ratio: f64,
    /// Of S3-FIFO on this trace at the wanted share, if known.
    s3_fifo: Option<f64>,
}

#[derive(Serialize)]
struct Replays {
    setting: Setting,
    replays: Vec<Replay>,
}

/// Replays each trace through each cache at each capacity, prints the miss ratios and keeps them.
pub(crate) fn run(args: &TraceArgs) -> Result<(), BenchError> {
    if !args.shares.iter().all(|share| (0.01..=100.0).contains(share)) {
        return Err(BenchError::setting("shares", "expected percents from 0.01 to 100"));
    }
    let folder = Folder::create(&args.lab.out, "trace")?;
    let cores = args.lab.cores.claim()?;
    let mut replays = Vec::new();
    for path in &args.trace {
        let trace = Trace::read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for &through in &args.through {
            let bench = Bench::new(args, &trace, &name, through, cores)?;
            for &share in &args.shares {
                let replay = match args.real_sizes {
                    true => bench.at_bytes(share)?,
                    false => bench.at_items(share)?,
                };
                eprintln!("{name} {} {share} %: miss ratio {:.4}", through.name(), replay.miss_ratio);
                replays.push(replay);
            }
        }
    }
    let replays = Replays { setting: Setting::new(cores, []), replays };
    folder.write(&page(&replays), &replays)
}

/// The page. Writing to a string cannot fail, so its results are dropped.
fn page(replays: &Replays) -> String {
    let mut page = replays.setting.page("Miss ratios");
    let _ = writeln!(
        page,
        "\nCapacity: peak of live items as a share of the distinct objects; of their bytes with real sizes.\n\n\
         | trace | through | value bytes | wanted % | held % | items | memory MiB | miss ratio | by bytes | S3-FIFO | difference |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    for replay in &replays.replays {
        let text = |number: Option<f64>| number.map_or("-".into(), |n| format!("{n:.4}"));
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {:.2} | {} | {:.1} | {:.4} | {:.4} | {} | {} |",
            replay.trace,
            replay.through.name(),
            replay.value_bytes.map_or("real".into(), |bytes| bytes.to_string()),
            replay.wanted_percent,
            replay.percent,
            replay.items_peak,
            replay.memory_bytes as f64 / f64::from(1 << 20),
            replay.miss_ratio,
            replay.byte_miss_ratio,
            text(replay.s3_fifo),
            text(replay.s3_fifo.map(|known| replay.miss_ratio - known)),
        );
    }
    page
}

/// How near below the wanted capacity is near enough, and how many tries that may take.
const TOLERANCE: f64 = 0.01;
const TRIES_MAX: u32 = 10;

/// Bytes of a key in a replay.
const KEY_BYTES: u32 = 16;

/// What an item takes beside key and value, for the first guess only.
const OVERHEAD_GUESS_BYTES: f64 = 40.0;

/// What a server takes of its memory for other things than items, for the first guess only.
const SERVER_GUESS_BYTES: f64 = 12.0 * (1 << 20) as f64;

/// How often the number of live items is asked for, requests.
const ITEMS_EVERY: usize = 512;

struct Bench<'a> {
    args: &'a TraceArgs,
    trace: &'a Trace,
    name: &'a str,
    through: Through,
    cores: Cores,
    objects: Objects,
    value_bytes: Option<u32>,
}

impl<'a> Bench<'a> {
    fn new(
        args: &'a TraceArgs,
        trace: &'a Trace,
        name: &'a str,
        through: Through,
        cores: Cores,
    ) -> Result<Self, BenchError> {
        let largest = trace.sizes.iter().copied().max().unwrap_or(0);
        let value_bytes =
            (!args.real_sizes).then(|| args.value_size.unwrap_or_else(|| fitting_value_bytes(args, trace)));
        let objects = Objects::new(u64::from(trace.distinct), KEY_BYTES, value_bytes.unwrap_or(largest))?;
        Ok(Self { args, trace, name, through, cores, objects, value_bytes })
    }

    /// Memory as a share of the bytes of all objects at their largest.
    fn at_bytes(&self, share: f64) -> Result<Replay, BenchError> {
        let mut largest = vec![0u32; self.trace.distinct as usize];
        for (&object, &size) in self.trace.objects.iter().zip(&self.trace.sizes) {
            largest[object as usize] = largest[object as usize].max(size);
        }
        let bytes: u64 = largest.iter().map(|&size| u64::from(size)).sum();
        let memory_bytes = (bytes as f64 * share / 100.0) as u64;
        self.replay(share, memory_bytes)
    }

    /// Searches the memory whose peak of live items is the wanted one or a little less: each try
    /// scales by how far the last one was off.
    fn at_items(&self, share: f64) -> Result<Replay, BenchError> {
        let wanted = f64::from(self.trace.distinct) * share / 100.0;
        let item = f64::from(KEY_BYTES + self.value_bytes.unwrap_or(0)) + OVERHEAD_GUESS_BYTES;
        let beside = if self.through.protocol().is_some() { SERVER_GUESS_BYTES } else { 0.0 };
        let mut memory_bytes = wanted * item + beside;
        let mut best: Option<Replay> = None;
        for _ in 0..TRIES_MAX {
            let replay = self.replay(share, memory_bytes as u64)?;
            let held = replay.items_peak as f64;
            let better = best.as_ref().is_none_or(|best| best.items_peak < replay.items_peak);
            if held <= wanted && better {
                best = Some(replay);
            }
            if held <= wanted && held >= wanted * (1.0 - TOLERANCE) {
                break;
            }
            // Aims at the middle of the tolerated range.
            memory_bytes += (wanted * (1.0 - TOLERANCE / 2.0) - held) * item;
        }
        best.ok_or_else(|| {
            let reason = format!("no memory gives {share} % of the objects; take larger values");
            BenchError::setting("shares", reason)
        })
    }

    fn replay(&self, share: f64, memory_bytes: u64) -> Result<Replay, BenchError> {
        let Some(protocol) = self.through.protocol() else {
            let mut cache = InProcess::new(memory_bytes, self.args.segment_bytes)?;
            return self.pass(&mut cache, share, memory_bytes);
        };
        let cores = [self.cores.server, self.cores.generator];
        let server = self.args.lab.torc.start(&cores[..usize::from(self.args.shards)], memory_bytes)?;
        with_codec!(protocol, |codec| {
            let mut cache = Remote::connect(codec, &server.address)?;
            self.pass(&mut cache, share, memory_bytes)
        })
    }

    /// The whole trace, once.
    fn pass(&self, cache: &mut impl Cache, share: f64, memory_bytes: u64) -> Result<Replay, BenchError> {
        let mut key = [0; KEY_BYTES_MAX];
        let (mut misses, mut bytes, mut missed_bytes, mut items_peak) = (0, 0u64, 0u64, 0);
        for (at, (&object, &size)) in self.trace.objects.iter().zip(&self.trace.sizes).enumerate() {
            let object = u64::from(object);
            let size = self.value_bytes.unwrap_or(size);
            bytes += u64::from(size);
            let key = self.objects.key(object, &mut key);
            if !cache.get(key)? {
                misses += 1;
                missed_bytes += u64::from(size);
                let value = self.objects.value(object);
                cache.set(key, &value[..value.len().min(size as usize)])?;
            }
            if at % ITEMS_EVERY == 0 {
                items_peak = items_peak.max(cache.items()?);
            }
        }
        items_peak = items_peak.max(cache.items()?);
        let requests = self.trace.objects.len() as u64;
        Ok(Replay {
            trace: self.name.into(),
            through: self.through,
            value_bytes: self.value_bytes,
            wanted_percent: share,
            percent: 100.0 * items_peak as f64 / f64::from(self.trace.distinct),
            items_peak,
            memory_bytes,
            requests,
            misses,
            miss_ratio: misses as f64 / requests as f64,
            byte_miss_ratio: missed_bytes as f64 / bytes.max(1) as f64,
            s3_fifo: reference::s3_fifo(self.trace, share).filter(|_| !self.args.real_sizes),
        })
    }
}

/// A value size with which the smallest capacity fills the wanted number of segments.
fn fitting_value_bytes(args: &TraceArgs, trace: &Trace) -> u32 {
    let share = args.shares.iter().copied().fold(100.0, f64::min);
    let items = (f64::from(trace.distinct) * share / 100.0).max(1.0);
    let memory = f64::from(args.segments) * args.segment_bytes as f64;
    let item = memory / items - f64::from(KEY_BYTES) - OVERHEAD_GUESS_BYTES;
    item.clamp(1.0, 1e6) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(extra: &[&str]) -> TraceArgs {
        #[derive(clap::Parser)]
        struct Program {
            #[command(flatten)]
            trace: TraceArgs,
        }
        let words = ["x", "--trace", "x.csv"].iter().chain(extra);
        <Program as clap::Parser>::parse_from(words).trace
    }

    fn bench<'a>(args: &'a TraceArgs, trace: &'a Trace) -> Bench<'a> {
        let cores = Cores { server: 0, generator: 1 };
        Bench::new(args, trace, "t", Through::InProcess, cores).unwrap()
    }

    fn scan_and_loop() -> Trace {
        // Every object twice in a row: half of the requests hit in any cache that holds one item.
        let objects: Vec<u32> = (0..4_000u32).flat_map(|object| [object, object]).collect();
        Trace { sizes: vec![100; objects.len()], objects, distinct: 4_000 }
    }

    #[test]
    fn a_replay_through_the_shard_misses_what_it_must() {
        let args = args(&["--segment-bytes", "65536", "--value-size", "4000"]);
        let trace = scan_and_loop();
        let bench = bench(&args, &trace);
        let replay = bench.at_items(20.0).unwrap();
        assert_eq!(replay.misses, 4_000);
        assert_eq!(replay.miss_ratio, 0.5);
        assert!(replay.items_peak <= 800, "{}", replay.items_peak);
        assert!(replay.items_peak >= 700, "{}", replay.items_peak);
    }

    #[test]
    fn real_sizes_count_bytes() {
        let args = args(&["--segment-bytes", "65536", "--real-sizes"]);
        let trace = Trace { objects: vec![0, 1, 0, 1], sizes: vec![10, 30, 10, 30], distinct: 2 };
        let bench = bench(&args, &trace);
        let replay = bench.replay(100.0, 4 << 20).unwrap();
        assert_eq!((replay.misses, replay.miss_ratio), (2, 0.5));
        assert_eq!(replay.byte_miss_ratio, 0.5);
    }

    #[test]
    fn the_value_size_fills_the_segments() {
        let args = args(&["--shares", "10,20"]);
        let trace = scan_and_loop();
        // 400 items in 100 MiB.
        let expected = (100.0 * f64::from(1 << 20) / 400.0 - 56.0) as u32;
        assert_eq!(fitting_value_bytes(&args, &trace), expected);
    }
}
