//! The tail while evicting. Two servers with the same memory: one is given keys without end, the
//! other overwrites a set of keys that fits. Only one is loaded at a time.

use super::{
    Experiment, Run, Stage,
    churn::{Churn, Window},
};
use crate::{
    codec::Codec,
    error::BenchError,
    generator::{Plan, drive, measure::Outcome, pace::Pace},
    lab::{contender::Contender, info},
    load::with_codec,
    workload::{
        Objects, Sweep,
        keys::KeySpace,
        mix::{Mix, Operation},
        sizes::SizeDistribution,
    },
};

/// 9 reads to 1 write.
const MIX: Mix = Mix { get: 9, set: 1, delete: 0 };

/// More keys than are ever written.
const KEYS_MAX: u64 = 1 << 40;

const KEY_BYTES: u32 = 16;

/// A server with the keys it was given so far.
struct Side {
    server: Contender,
    window: Window,
}

pub(super) fn run(stage: &Stage, runs: &mut Vec<Run>) -> Result<Vec<Contender>, BenchError> {
    with_codec!(stage.args.protocol, |codec| run_in(stage, codec, runs))
}

fn run_in<C: Codec>(stage: &Stage, codec: &C, runs: &mut Vec<Run>) -> Result<Vec<Contender>, BenchError> {
    let args = stage.args;
    let keys = KeySpace::new(KEYS_MAX, SizeDistribution::Fixed(KEY_BYTES))?;
    let objects = Objects::new(keys, SizeDistribution::Fixed(args.value_size));
    let payload = u64::from(KEY_BYTES + args.value_size);
    // Without any overhead this many items fill the memory, so with it they overfill it.
    let overfull = (args.memory_mib << 20) / payload;
    let side = |cycle, written| {
        let server = stage.server(args.memory_mib)?;
        let window = Window { keys: args.keys, cycle, written };
        fill(codec, &objects, &server, &window, stage)?;
        Ok::<Side, BenchError>(Side { server, window })
    };
    let mut quiet = side(Some(args.keys), args.keys)?;
    let mut busy = side(None, overfull.max(args.keys))?;

    let mut peak = f64::MAX;
    for side in [&mut quiet, &mut busy] {
        let plan = args.depth.plan(stage.timing, None, 0);
        let outcome = measure(codec, &objects, side, &plan)?;
        peak = peak.min(outcome.throughput());
    }
    let rate = peak * args.offered_share;
    stage.pairs(Experiment::Eviction, rate, runs, |is_busy, rate, seed| {
        let side = if is_busy { &mut busy } else { &mut quiet };
        let plan = args.depth.plan(stage.timing, Some(rate), seed);
        let before = info::evicted(&side.server.address)?;
        let outcome = measure(codec, &objects, side, &plan)?;
        let evicted = info::evicted(&side.server.address)? - before;
        if is_busy != (evicted > 0) {
            return Err(BenchError::Invalid(format!(
                "{evicted} items were evicted in a {} measurement: change --keys or --memory-mib",
                if is_busy { "busy" } else { "quiet" },
            )));
        }
        Ok((outcome, evicted))
    })?;
    Ok(vec![quiet.server, busy.server])
}

fn fill<C: Codec>(
    codec: &C,
    objects: &Objects,
    server: &Contender,
    window: &Window,
    stage: &Stage,
) -> Result<(), BenchError> {
    let mut plan = stage.args.depth.plan(stage.timing, None, 0);
    plan.depth = 64;
    plan.connections = 4;
    plan.duration = None;
    plan.warmup = std::time::Duration::ZERO;
    plan.pace = Pace::Closed;
    let mut sweep = Sweep::over(codec, objects, Operation::Set, window.first());
    let servers = std::slice::from_ref(&server.address);
    let outcome = drive(&plan, servers, codec, &mut sweep, None, &mut |_| ())?;
    outcome.tally.without_refusals()
}

fn measure<C: Codec>(
    codec: &C,
    objects: &Objects,
    side: &mut Side,
    plan: &Plan,
) -> Result<Outcome, BenchError> {
    let mut churn = Churn::new(codec, objects, MIX, &mut side.window, plan.seed);
    let servers = std::slice::from_ref(&side.server.address);
    let probe = Some(&side.server.probe);
    drive(plan, servers, codec, &mut churn, probe, &mut |_| ())
}
