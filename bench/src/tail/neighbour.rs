//! The tail of small reads while another client reads and writes long values on the same server.

use super::{Experiment, Run, Stage};
use crate::{
    codec::Codec,
    error::BenchError,
    generator::{Driver, Plan, measure::Figures},
    lab::contender::Contender,
    load::with_codec,
    workload::{Mixed, keys::KeyPicker, mix::Mix, objects::Objects},
};

const SMALL_KEY_BYTES: u32 = 16;
/// Another length, so that the two clients' keys differ.
const LONG_KEY_BYTES: u32 = 20;
const LONG_KEYS: u64 = 8;
const MEMORY_MIB: u64 = 1024;

/// Bytes of a long value that the neighbour moves in one turn of the generator's loop.
const LONG_TURN_BYTES: usize = 64 * 1024;

const READS_AND_WRITES: Mix = Mix { get: 1, set: 1 };

pub(super) fn run(stage: &Stage, runs: &mut Vec<Run>) -> Result<Vec<Contender>, BenchError> {
    let args = stage.args;
    let server = stage.server(MEMORY_MIB)?;
    let small = Objects::new(args.keys, SMALL_KEY_BYTES, args.value_size)?;
    let long = Objects::new(LONG_KEYS, LONG_KEY_BYTES, args.long_size)?;
    server.fill(&small, 0..args.keys)?;
    server.fill(&long, 0..LONG_KEYS)?;
    with_codec!(args.protocol, |codec| {
        let measure = |plan: &Plan, busy| measure(codec, &server, [&small, &long], plan, busy);
        let peak = measure(&args.depth.plan(stage.timing, None, 0), false)?.0.operations_per_second;
        stage.pairs(Experiment::Neighbour, peak, runs, |busy, plan| measure(plan, busy))?;
    });
    Ok(vec![server])
}

/// Measures small reads, with the neighbour or without; returns how many long values it moved.
fn measure<C: Codec>(
    codec: &C,
    server: &Contender,
    [small, long]: [&Objects; 2],
    plan: &Plan,
    busy: bool,
) -> Result<(Figures, u64), BenchError> {
    let servers = std::slice::from_ref(&server.address);
    let source = |objects, mix| {
        Mixed::new(codec, objects, KeyPicker::uniform(Objects::count(objects), plan.seed), mix, u64::MAX)
    };
    let (mut small, mut long) = (source(small, Mix::READS), source(long, READS_AND_WRITES));
    let long_plan =
        Plan { warmup: plan.warmup, spin: true, turn_bytes: LONG_TURN_BYTES, ..Plan::closed(1, 1) };
    let mut neighbour = match busy {
        true => Some(Driver::start(&long_plan, servers, codec, &mut long)?),
        false => None,
    };
    let mut measured = Driver::start(plan, servers, codec, &mut small)?;
    loop {
        if let Some(neighbour) = &mut neighbour {
            neighbour.step(None)?;
        }
        if let Some(figures) = measured.step(Some(&server.probe))? {
            return Ok((figures, neighbour.map_or(0, |neighbour| neighbour.replies())));
        }
    }
}
