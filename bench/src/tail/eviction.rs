//! The tail while evicting. Two servers with the same memory: one is given keys without end, the
//! other overwrites a set of keys that fits. Only one is loaded at a time.

use super::{
    Experiment, Run, Stage,
    churn::{Churn, Window},
};
use crate::{
    codec::Codec,
    error::BenchError,
    generator::{Plan, measure::Figures},
    lab::{contender::Contender, info},
    load::with_codec,
    workload::{mix::Mix, objects::Objects},
};

const MIX: Mix = Mix { get: 9, set: 1 };

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
    let objects = Objects::new(KEYS_MAX, KEY_BYTES, args.value_size)?;
    // Without any overhead this many items fill the memory, so with it they overfill it.
    let overfull = (args.memory_mib << 20) / objects.object_bytes() as u64;
    let side = |cycle, written| {
        let server = stage.server(args.memory_mib)?;
        server.fill(&objects, 0..written)?;
        Ok::<Side, BenchError>(Side { server, window: Window { keys: args.keys, cycle, written } })
    };
    let mut quiet = side(Some(args.keys), args.keys)?;
    let mut busy = side(None, overfull.max(args.keys))?;

    let plan = args.depth.plan(stage.timing, None, 0);
    let mut peak = f64::MAX;
    for side in [&mut quiet, &mut busy] {
        peak = peak.min(measure(codec, &objects, side, &plan)?.operations_per_second);
    }
    stage.pairs(Experiment::Eviction, peak, runs, |is_busy, plan| {
        let side = if is_busy { &mut busy } else { &mut quiet };
        let before = info::evicted(&side.server.address)?;
        let figures = measure(codec, &objects, side, plan)?;
        let evicted = info::evicted(&side.server.address)? - before;
        if is_busy != (evicted > 0) {
            return Err(BenchError::Invalid(format!(
                "{evicted} items were evicted in a {} measurement: change --keys or --memory-mib",
                if is_busy { "busy" } else { "quiet" },
            )));
        }
        Ok((figures, evicted))
    })?;
    Ok(vec![quiet.server, busy.server])
}

fn measure<C: Codec>(
    codec: &C,
    objects: &Objects,
    side: &mut Side,
    plan: &Plan,
) -> Result<Figures, BenchError> {
    let mut churn = Churn::new(codec, objects, MIX, &mut side.window, plan.seed);
    side.server.drive(plan, codec, &mut churn)
}
