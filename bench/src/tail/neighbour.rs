//! The tail of small reads while another client reads and writes long values on the same server.

use super::{Experiment, Run, Stage};
use crate::{
    codec::Codec,
    error::BenchError,
    generator::{Driver, Plan, drive, measure::Outcome, pace::Pace},
    lab::contender::Contender,
    load::with_codec,
    workload::{
        Mixed, Objects, Sweep,
        keys::{KeyDistribution, KeyPicker, KeySpace},
        mix::{Mix, Operation},
        sizes::SizeDistribution,
    },
};

const SMALL_KEY_BYTES: u32 = 16;
/// Another length, so that the two clients' keys differ.
const LONG_KEY_BYTES: u32 = 20;
const LONG_KEYS: u64 = 8;
const MEMORY_MIB: u64 = 1024;

/// Bytes of a long value that the neighbour moves in one turn of the generator's loop.
const LONG_TURN_BYTES: usize = 64 * 1024;

const READS: Mix = Mix { get: 1, set: 0, delete: 0 };
const READS_AND_WRITES: Mix = Mix { get: 1, set: 1, delete: 0 };

pub(super) fn run(stage: &Stage, runs: &mut Vec<Run>) -> Result<Vec<Contender>, BenchError> {
    with_codec!(stage.args.protocol, |codec| run_in(stage, codec, runs))
}

fn run_in<C: Codec>(stage: &Stage, codec: &C, runs: &mut Vec<Run>) -> Result<Vec<Contender>, BenchError> {
    let args = stage.args;
    let server = stage.server(MEMORY_MIB)?;
    let objects = |count, key, value| {
        let keys = KeySpace::new(count, SizeDistribution::Fixed(key))?;
        Ok::<_, BenchError>(Objects::new(keys, SizeDistribution::Fixed(value)))
    };
    let scene = Scene {
        codec,
        server: &server,
        small: objects(args.keys, SMALL_KEY_BYTES, args.value_size)?,
        long: objects(LONG_KEYS, LONG_KEY_BYTES, args.long_size)?,
    };
    scene.fill(&scene.small, 64, stage)?;
    scene.fill(&scene.long, 1, stage)?;
    let plan = args.depth.plan(stage.timing, None, 0);
    let peak = scene.measure(&plan, false)?.0.throughput();
    let rate = peak * args.offered_share;
    stage.pairs(Experiment::Neighbour, rate, runs, |busy, rate, seed| {
        let plan = args.depth.plan(stage.timing, Some(rate), seed);
        scene.measure(&plan, busy)
    })?;
    Ok(vec![server])
}

struct Scene<'a, C> {
    codec: &'a C,
    server: &'a Contender,
    small: Objects,
    long: Objects,
}

impl<C: Codec> Scene<'_, C> {
    fn fill(&self, objects: &Objects, depth: u32, stage: &Stage) -> Result<(), BenchError> {
        let mut plan = stage.args.depth.plan(stage.timing, None, 0);
        plan.depth = depth;
        plan.connections = 2;
        plan.duration = None;
        plan.warmup = std::time::Duration::ZERO;
        let mut sweep = Sweep::new(self.codec, objects, Operation::Set);
        let servers = std::slice::from_ref(&self.server.address);
        let outcome = drive(&plan, servers, self.codec, &mut sweep, None, &mut |_| ())?;
        outcome.tally.without_refusals()
    }

    /// Measures small reads, with the neighbour or without; returns how many long values it moved.
    fn measure(&self, plan: &Plan, busy: bool) -> Result<(Outcome, u64), BenchError> {
        let servers = std::slice::from_ref(&self.server.address);
        let mut small = self.source(&self.small, READS, plan.seed);
        let mut long = self.source(&self.long, READS_AND_WRITES, plan.seed);
        let long_plan = Plan {
            connections: 1,
            depth: 1,
            window: false,
            pace: Pace::Closed,
            duration: None,
            turn_bytes: LONG_TURN_BYTES,
            ..plan.clone()
        };
        let mut neighbour = match busy {
            true => Some(Driver::start(&long_plan, servers, self.codec, &mut long)?),
            false => None,
        };
        let mut moved = 0;
        let mut measured = Driver::start(plan, servers, self.codec, &mut small)?;
        loop {
            if let Some(neighbour) = &mut neighbour {
                neighbour.step(None, &mut |progress| moved = progress.replies)?;
            }
            if let Some(outcome) = measured.step(Some(&self.server.probe), &mut |_| ())? {
                return Ok((outcome, moved));
            }
        }
    }

    fn source<'b>(&'b self, objects: &'b Objects, mix: Mix, seed: u64) -> Mixed<'b, C> {
        let picker = KeyPicker::new(KeyDistribution::Uniform, objects.count(), seed);
        Mixed::new(self.codec, objects, picker, mix, u64::MAX)
    }
}
