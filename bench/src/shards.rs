//! `torc bench shards`: two shards against one. Loads: one shard; two shards whose keys a
//! shard-aware client sends straight to their owners; two shards behind the common port, where
//! every second key has to hop. The generator needs a core too: on a machine with two cores it
//! shares one with the second shard, and the figures say what that leaves.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
};

use clap::Args;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde::Serialize;
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError, Topology, frame, slot_of};

use crate::{
    codec::Codec,
    error::BenchError,
    generator::{Plan, address::Address, drive, measure::Outcome},
    lab::{
        CoreArgs,
        contender::Contender,
        peers::TorcArgs,
        shape::{Shape, Timing},
    },
    load::{Protocol, measure, preload, seconds, with_codec},
    report::Figures,
    results::{Folder, OutArgs, Setting},
    workload::{
        Objects, Source,
        args::{Workload, WorkloadArgs},
        keys::KEY_BYTES_MAX,
        mix::{Mix, Operation},
        sizes::scale64,
    },
};

/// Flags of `torc bench shards`.
#[derive(Args, Clone, Debug)]
pub struct ShardsArgs {
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
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
    /// Memory of each server, MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory_mib: u64,
    #[command(flatten)]
    torc: TorcArgs,
    #[command(flatten)]
    cores: CoreArgs,
    #[command(flatten)]
    out: OutArgs,
    #[command(flatten)]
    workload: WorkloadArgs,
}

/// The loads that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Way {
    OneShard,
    TwoShardsAware,
    TwoShardsCommonPort,
}

const WAYS: [Way; 3] = [Way::OneShard, Way::TwoShardsAware, Way::TwoShardsCommonPort];

#[derive(Clone, Debug, Serialize)]
struct Run {
    round: u32,
    way: Way,
    shape: Shape,
    figures: Figures,
}

#[derive(Serialize)]
struct Shards {
    setting: Setting,
    protocol: Protocol,
    runs: Vec<Run>,
}

/// Measures all ways in turn, prints the table and keeps it.
pub fn run(args: &ShardsArgs) -> Result<(), BenchError> {
    let timing =
        Timing { warmup: seconds("warmup", args.warmup)?, duration: seconds("seconds", args.seconds)? };
    let workload = args.workload.build()?;
    let folder = Folder::create(&args.out, "shards")?;
    let cores = args.cores.claim()?;
    let one = args.torc.start_on(&[cores.server], args.memory_mib << 20)?;
    let two = args.torc.start_on(&[cores.server, cores.generator], args.memory_mib << 20)?;
    for server in [&one, &two] {
        preload(args.protocol, std::slice::from_ref(&server.address), &workload, &mut |_| ())?;
    }
    let owned = owned_keys(&two, &workload.objects)?;
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        for &shape in &args.depths {
            for turn in 0..WAYS.len() {
                let way = WAYS[(turn + round as usize) % WAYS.len()];
                let mut plan = shape.plan(timing, None, u64::from(round));
                // Spinning would take the second shard's core away.
                plan.spin = false;
                let outcome = match way {
                    Way::OneShard => common_port(args.protocol, &plan, &one, &workload, round)?,
                    Way::TwoShardsCommonPort => common_port(args.protocol, &plan, &two, &workload, round)?,
                    Way::TwoShardsAware => aware(args.protocol, &plan, &two, &workload, &owned)?,
                };
                outcome.tally.without_refusals()?;
                runs.push(Run { round, way, shape, figures: Figures::from(&outcome) });
            }
        }
    }
    let shards = Shards { setting: Setting::new(cores, [&one, &two]), protocol: args.protocol, runs };
    folder.write(&page(&shards), &shards)
}

fn common_port(
    protocol: Protocol,
    plan: &Plan,
    server: &Contender,
    workload: &Workload,
    round: u32,
) -> Result<Outcome, BenchError> {
    let servers = std::slice::from_ref(&server.address);
    let run = u64::from(round);
    measure(protocol, plan, servers, workload, u64::MAX, run, Some(&server.probe), &mut |_| ())
}

fn aware(
    protocol: Protocol,
    plan: &Plan,
    server: &Contender,
    workload: &Workload,
    owned: &[Vec<u32>],
) -> Result<Outcome, BenchError> {
    with_codec!(protocol, |codec| {
        let mut source = Aware {
            codec,
            objects: &workload.objects,
            mix: workload.mix,
            owned,
            random: SmallRng::seed_from_u64(plan.seed),
        };
        let (servers, probe) = (&server.shard_addresses, Some(&server.probe));
        drive(plan, servers, codec, &mut source, probe, &mut |_| ())
    })
}

/// Random operations; each connection asks for its own shard's keys only, uniformly. The generator
/// deals connections out to the addresses in turn, so connection `n` belongs to shard
/// `n % owned.len()`.
struct Aware<'a, C> {
    codec: &'a C,
    objects: &'a Objects,
    mix: Mix,
    owned: &'a [Vec<u32>],
    random: SmallRng,
}

impl<C: Codec> Source for Aware<'_, C> {
    fn fill(&mut self, connection: usize, count: u32, out: &mut Vec<u8>) -> u32 {
        let keys = &self.owned[connection % self.owned.len()];
        let mut buffer = [0; KEY_BYTES_MAX];
        for _ in 0..count {
            let at = scale64(self.random.next_u64(), keys.len() as u64) as usize;
            let Some(&number) = keys.get(at) else {
                return 0;
            };
            let number = u64::from(number);
            let key = self.objects.key(number, &mut buffer);
            match self.mix.pick(self.random.next_u64() as u32) {
                Operation::Get => self.codec.get(out, key),
                Operation::Set => self.codec.set(out, key, self.objects.value(number)),
                Operation::Delete => self.codec.delete(out, key),
            }
        }
        count
    }
}

/// Which keys each shard owns, in the order of the shards' ports.
fn owned_keys(server: &Contender, objects: &Objects) -> Result<Vec<Vec<u32>>, BenchError> {
    let topology = topology(&server.address)?;
    let shards = server.shard_addresses.len();
    let mut owned = vec![Vec::new(); shards];
    let mut buffer = [0; KEY_BYTES_MAX];
    for number in 0..objects.count().min(u64::from(u32::MAX)) {
        let slot = slot_of(objects.key(number, &mut buffer));
        let shard = topology.owner(slot).map(usize::from);
        match shard.and_then(|shard| owned.get_mut(shard)) {
            Some(keys) => keys.push(number as u32),
            None => return Err(BenchError::Invalid(format!("nobody owns slot {slot}"))),
        }
    }
    Ok(owned)
}

/// Asks for the slot map in the native protocol.
fn topology(server: &Address) -> Result<Topology, BenchError> {
    const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };
    let action = || format!("asking {server} for its topology");
    let socket: OwnedFd = server.connect().map_err(BenchError::io(action()))?;
    let mut stream = TcpStream::from(socket);
    stream.set_nonblocking(false).map_err(BenchError::io(action()))?;
    let mut out = Vec::new();
    let composed = frame::compose_request(&mut out, Op::Topology, 0, 0, &Options::NONE, &[], &[]);
    composed.map_err(|error| BenchError::Invalid(error.to_string()))?;
    stream.write_all(&out).map_err(BenchError::io(action()))?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let bytes = stream.read(&mut piece).map_err(BenchError::io(action()))?;
        if bytes == 0 {
            return Err(BenchError::Closed { connection: 0, connections: 1 });
        }
        answer.extend_from_slice(&piece[..bytes]);
        match Answer::parse(&answer, &LIMITS) {
            Err(ParseError::Incomplete { .. }) => {}
            Err(ParseError::Invalid(error)) => return Err(BenchError::Invalid(error.to_string())),
            Ok((answer, _)) => {
                return Topology::parse(answer.value)
                    .map_err(|error| BenchError::Invalid(format!("topology: {error}")));
            }
        }
    }
}

/// The page. Writing to a string cannot fail, so its results are dropped.
fn page(shards: &Shards) -> String {
    let mut page = shards.setting.page("Two shards and one");
    let _ = writeln!(
        page,
        "\n{}; closed loop; medians. The second shard and the generator share a core, so throughput is\n\
         bounded by that core; CPU an operation is over all shards.\n\n\
         | depth | load | op/s | CPU us/op | p50 us | p99 us | server cores busy | misses |\n\
         |---|---|---|---|---|---|---|---|",
        shards.protocol.name()
    );
    let mut shapes: Vec<Shape> = Vec::new();
    for run in &shards.runs {
        if !shapes.contains(&run.shape) {
            shapes.push(run.shape);
        }
    }
    for shape in shapes {
        for way in WAYS {
            let runs = || shards.runs.iter().filter(|run| run.shape == shape && run.way == way);
            let of = |value: fn(&Figures) -> f64| {
                let values = runs().map(|run| value(&run.figures)).collect();
                crate::results::median(values).unwrap_or(0.0)
            };
            let _ = writeln!(
                page,
                "| {} | {} | {:.0} | {:.3} | {:.0} | {:.0} | {:.2} | {} |",
                shape.depth,
                match way {
                    Way::OneShard => "one shard",
                    Way::TwoShardsAware => "two shards, shard-aware client",
                    Way::TwoShardsCommonPort => "two shards, common port",
                },
                of(|figures| figures.operations_per_second),
                of(|figures| figures.server.as_ref().map_or(0.0, |s| s.cpu_us_per_operation)),
                of(|figures| figures.latency_us.p50),
                of(|figures| figures.latency_us.p99),
                of(|figures| figures.server.as_ref().map_or(0.0, |s| s.cores_busy)),
                runs().map(|run| run.figures.misses).sum::<u64>(),
            );
        }
    }
    page
}
