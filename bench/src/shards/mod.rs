//! `torc bench shards`: two shards against one, on the same two cores. Loads: one shard; two shards
//! whose keys a shard-aware client sends straight to their owners; two shards behind the common
//! port, where every second key is the other shard's; or all clients read one key (`hot`). The generator needs a core too: on a machine
//! with two cores it shares one with the second shard, and the figures say what that leaves.
//!
//! Beside each load one bystander asks for a key at a time: what a flood does to it is what a
//! client feels. Then long values are written in a pipeline, two shards against one.

mod aware;
mod page;
mod ratio;
mod served;

use std::os::fd::BorrowedFd;

use clap::{Args, ValueEnum};
use rand::{SeedableRng, rngs::SmallRng};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::Serialize;

use crate::{
    codec::Codec,
    error::BenchError,
    generator::{Driver, Plan, measure::Figures},
    lab::{
        LabArgs,
        contender::Contender,
        shape::{Shape, Timing, TimingArgs},
    },
    load::{Protocol, preload, with_codec},
    results::{Folder, Setting},
    workload::{
        Mixed, Source,
        args::{Workload, WorkloadArgs},
        keys::KeyPicker,
        mix::Mix,
        objects::Objects,
    },
};
use aware::{Aware, owned_keys};
use ratio::{FillRatio, Ratio};
use served::Served;

/// Flags of `torc bench shards`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShardsArgs {
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
    /// Depths of pipelining, each DEPTH or DEPTH@CONNECTIONS
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1@50,16@50,64@50,256@50,1@1000,16@1000,64@1000,256@1000"
    )]
    depths: Vec<Shape>,
    /// What is asked for; mixed is what --mix says, hot is one key that all read
    #[arg(long, value_enum, value_delimiter = ',', default_value = "get,mixed,set,hot")]
    loads: Vec<Load>,
    /// Bytes of the values that are written in a pipeline; without any, nothing is
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 0..,
        default_value = "1000,10000,30000,100000,300000,1000000"
    )]
    fill_sizes: Vec<u32>,
    /// Rounds; in each of them all take their turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    #[command(flatten)]
    timing: TimingArgs,
    /// Memory of each server, MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory_mib: u64,
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    workload: WorkloadArgs,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Load {
    Get,
    Mixed,
    Set,
    Hot,
}

impl Load {
    /// A key that all read has one owner: who knows the slots would ask one of the shards alone.
    fn ways(self) -> &'static [Way] {
        if self == Load::Hot { &FILL_WAYS } else { &WAYS }
    }
}

/// The ways to serve it that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Way {
    OneShard,
    TwoShardsAware,
    TwoShardsCommonPort,
}

const WAYS: [Way; 3] = [Way::OneShard, Way::TwoShardsAware, Way::TwoShardsCommonPort];
const FILL_WAYS: [Way; 2] = [Way::OneShard, Way::TwoShardsCommonPort];

/// One more connection, which asks for a key at a time.
const BYSTANDER: Shape = Shape { depth: 1, connections: 1 };
/// Connections served between two looks at the bystander.
const LOAD_TURN_CONNECTIONS: usize = 16;
/// Longest sleep of the generator while nothing has come.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// How long values are written: so many bytes of them, by keys that no other load asks for.
const FILL: Shape = Shape { depth: 16, connections: 8 };
const FILL_BYTES: u64 = 512 << 20;
const FILL_KEY_BYTES: u32 = 20;

#[derive(Clone, Debug, Serialize)]
struct Run {
    round: u32,
    way: Way,
    load: Load,
    shape: Shape,
    figures: Figures,
    bystander: Figures,
    served: Option<Served>,
}

#[derive(Clone, Debug, Serialize)]
struct FillRun {
    round: u32,
    way: Way,
    value_bytes: u32,
    figures: Figures,
}

#[derive(Serialize)]
struct Shards {
    setting: Setting,
    protocol: Protocol,
    rounds: u32,
    ratios: Vec<Ratio>,
    fill_ratios: Vec<FillRatio>,
    runs: Vec<Run>,
    fill_runs: Vec<FillRun>,
}

/// Measures all ways in turn, prints the tables and keeps them.
pub(crate) fn run(args: &ShardsArgs) -> Result<(), BenchError> {
    let timing = args.timing.timing(2.0)?;
    let workload = args.workload.build()?;
    let folder = Folder::create(&args.lab.out, "shards")?;
    let cores = args.lab.cores.claim()?;
    let one = args.lab.torc.start(&[cores.server], args.memory_mib << 20)?;
    let two = args.lab.torc.start(&[cores.server, cores.generator], args.memory_mib << 20)?;
    for server in [&one, &two] {
        preload(args.protocol, std::slice::from_ref(&server.address), &workload.objects)?;
    }
    let owned = owned_keys(&two, &workload.objects)?;
    let stage = Stage { args, timing, one: &one, two: &two, workload: &workload, owned: &owned };
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        for &shape in &args.depths {
            for &load in &args.loads {
                let ways = load.ways();
                for turn in 0..ways.len() {
                    let way = ways[(turn + round as usize) % ways.len()];
                    runs.push(stage.measure(round, way, load, shape)?);
                }
            }
        }
        eprintln!("round {} of {} done", round + 1, args.rounds);
    }
    // Last, as long values may push the small ones out.
    let mut fill_runs = Vec::new();
    for round in 0..args.rounds {
        for &value_bytes in &args.fill_sizes {
            for turn in 0..FILL_WAYS.len() {
                let way = FILL_WAYS[(turn + round as usize) % FILL_WAYS.len()];
                fill_runs.push(stage.fill(round, way, value_bytes)?);
            }
        }
    }
    let shards = Shards {
        setting: Setting::new(cores, [&one, &two]),
        protocol: args.protocol,
        rounds: args.rounds,
        ratios: ratio::ratios(&runs),
        fill_ratios: ratio::fill_ratios(&fill_runs),
        runs,
        fill_runs,
    };
    folder.write(&page::page(&shards), &shards)
}

/// What the measurements share.
struct Stage<'a> {
    args: &'a ShardsArgs,
    timing: Timing,
    one: &'a Contender,
    two: &'a Contender,
    workload: &'a Workload,
    owned: &'a [Vec<u32>],
}

impl Stage<'_> {
    fn server(&self, way: Way) -> &Contender {
        match way {
            Way::OneShard => self.one,
            Way::TwoShardsAware | Way::TwoShardsCommonPort => self.two,
        }
    }

    fn measure(&self, round: u32, way: Way, load: Load, shape: Shape) -> Result<Run, BenchError> {
        let mut plan = shape.plan(self.timing, None, u64::from(round));
        plan.turn_connections = LOAD_TURN_CONNECTIONS;
        let mix = match load {
            Load::Get | Load::Hot => Mix::READS,
            Load::Mixed => self.workload.mix,
            Load::Set => Mix::WRITES,
        };
        let before = self.served(way)?;
        let both = with_codec!(self.args.protocol, |codec| match way {
            Way::TwoShardsAware => {
                let random = SmallRng::seed_from_u64(plan.seed);
                let (objects, owned) = (&self.workload.objects, self.owned);
                self.beside_bystander(way, &plan, codec, &mut Aware { codec, objects, mix, owned, random })
            }
            Way::OneShard | Way::TwoShardsCommonPort => {
                let picker = match load {
                    Load::Hot => KeyPicker::uniform(1, plan.seed),
                    _ => self.workload.picker.for_run(plan.seed),
                };
                let objects = &self.workload.objects;
                self.beside_bystander(
                    way,
                    &plan,
                    codec,
                    &mut Mixed::new(codec, objects, picker, mix, u64::MAX),
                )
            }
        });
        let (figures, bystander) = both?;
        figures.tally.without_refusals()?;
        bystander.tally.without_refusals()?;
        self.server(way).rest()?;
        let served = self.served(way)?.zip(before).map(|(after, before)| after.since(&before));
        Ok(Run { round, way, load, shape, figures, bystander, served })
    }

    /// What each of the two shards has served so far, behind the common port.
    fn served(&self, way: Way) -> Result<Option<Served>, BenchError> {
        let admin = self.server(way).admin.as_ref().filter(|_| way == Way::TwoShardsCommonPort);
        admin.map(|admin| Served::read(admin)).transpose()
    }

    /// Drives a load and the bystander from one thread; it sleeps while nothing has come, as spinning would take the
    /// second shard's core away.
    fn beside_bystander<C: Codec>(
        &self,
        way: Way,
        plan: &Plan,
        codec: &C,
        source: &mut impl Source,
    ) -> Result<(Figures, Figures), BenchError> {
        let server = self.server(way);
        let common = std::slice::from_ref(&server.address);
        let addresses = if way == Way::TwoShardsAware { &server.shard_addresses[..] } else { common };
        let bystander_plan = BYSTANDER.plan(self.timing, None, plan.seed);
        let picker = self.workload.picker.for_run(plan.seed + 1);
        let mut reads = Mixed::new(codec, &self.workload.objects, picker, Mix::READS, u64::MAX);
        let mut load = Driver::start(plan, addresses, codec, source)?;
        let mut bystander = Driver::start(&bystander_plan, common, codec, &mut reads)?;
        let (mut figures, mut beside) = (None, None);
        loop {
            sleep_until_ready([load.fd(), bystander.fd()])?;
            if figures.is_none() {
                figures = load.step(Some(&server.probe))?;
            }
            if beside.is_none() {
                beside = bystander.step(None)?;
            }
            match (figures, beside) {
                (Some(figures), Some(beside)) => return Ok((figures, beside)),
                under_way => (figures, beside) = under_way,
            }
        }
    }

    /// Writes values of one size, over and over.
    fn fill(&self, round: u32, way: Way, value_bytes: u32) -> Result<FillRun, BenchError> {
        let mut plan = FILL.plan(self.timing, None, u64::from(round));
        plan.window = true;
        plan.spin = false;
        let count = (FILL_BYTES / u64::from(value_bytes.max(1))).max(1);
        let objects = Objects::new(count, FILL_KEY_BYTES, value_bytes)?;
        let picker = KeyPicker::uniform(count, u64::from(round));
        let server = self.server(way);
        let figures = with_codec!(self.args.protocol, |codec| {
            server.drive(&plan, codec, &mut Mixed::new(codec, &objects, picker, Mix::WRITES, u64::MAX))
        })?;
        server.rest()?;
        Ok(FillRun { round, way, value_bytes, figures })
    }
}

/// Sleeps until one of two loads has something to do, for [`WAIT`] at most.
fn sleep_until_ready(loads: [BorrowedFd<'_>; 2]) -> Result<(), BenchError> {
    let mut watched = loads.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut watched, Some(&WAIT)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(BenchError::io("waiting for replies")(error)),
    }
}
