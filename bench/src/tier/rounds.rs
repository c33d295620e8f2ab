//! `cost`, `tails` and `durable`: all servers in turn, under each load, after a lap around their tiers.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::args::{KEY_BYTES, Kind, TierArgs, VALUE_BYTES};
use crate::{
    error::BenchError,
    generator::{Plan, measure::Figures},
    lab::{
        contender::Contender,
        info,
        shape::{Shape, Timing},
    },
    load::{Protocol, preload},
    workload::{args::Workload, keys::KeyPicker, mix::Mix, objects::Objects},
};

/// One measurement: a line of the raw results.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) kind: Kind,
    pub(super) value_bytes: u32,
    /// Share of the reads.
    pub(super) gets: f64,
    pub(super) shape: Shape,
    /// Operations a second that were offered; `None`: as many as are answered.
    pub(super) offered: Option<f64>,
    pub(super) round: u32,
    pub(super) server: String,
    pub(super) figures: Figures,
    /// Bytes that a change took of a tier for good, 0 without one.
    pub(super) kept_bytes: f64,
}

/// Bytes of a value in `tails`, and the share of the peak that is offered.
const TAILS_VALUE_BYTES: u32 = 1000;
const PEAK_SHARE: f64 = 0.25;

/// What redis-server says of writes is not whether they are synced: with `everysec` it is so after a second of quiet.
const SYNCED_AFTER: Duration = Duration::from_millis(1_200);

/// Bytes of a value in the lap before the first measurement.
const LAP_VALUE_BYTES: u32 = 4_000;

/// How long a tier may take for the changes that are left.
const SAVED_MAX: Duration = Duration::from_secs(20);

/// How often a tier is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Fills all servers with values of each size, and measures each of them in each round.
pub(super) fn measure(
    kind: Kind,
    args: &TierArgs,
    timing: Timing,
    servers: &[Contender],
    runs: &mut Vec<Run>,
) -> Result<(), BenchError> {
    let (sizes, mixes) = match kind {
        Kind::Cost => (&args.sizes[..], &[Mix { get: 9, set: 1 }, Mix::WRITES][..]),
        Kind::Tails => (&[TAILS_VALUE_BYTES][..], &[Mix { get: 9, set: 1 }][..]),
        _ => (&[VALUE_BYTES][..], &[Mix::WRITES][..]),
    };
    for server in servers.iter().filter(|server| server.admin.is_some()) {
        lap(args, server)?;
    }
    for &value_bytes in sizes {
        let objects = Objects::new(args.keys, KEY_BYTES, value_bytes)?.distinct();
        for server in servers {
            preload(Protocol::Resp, std::slice::from_ref(&server.address), &objects)?;
            settle(server)?;
        }
        let mut workload = Workload { objects, picker: KeyPicker::uniform(args.keys, 1), mix: Mix::READS };
        let loads: Vec<(Shape, Mix)> =
            args.shapes.iter().flat_map(|shape| mixes.iter().map(move |mix| (*shape, *mix))).collect();
        let mut offered = vec![None; loads.len()];
        if kind == Kind::Tails {
            for ((shape, mix), offered) in loads.iter().zip(&mut offered) {
                workload.mix = *mix;
                *offered = Some(PEAK_SHARE * slowest_peak(servers, *shape, timing, &workload)?);
            }
        }
        for round in 0..args.rounds {
            for (&(shape, mix), &offered) in loads.iter().zip(&offered) {
                workload.mix = mix;
                // A generator that spins would leave nothing of its core to a tier's threads.
                let spin = kind != Kind::Tails;
                let plan = Plan { spin, ..shape.plan(timing, offered, u64::from(round)) };
                for turn in 0..servers.len() {
                    let server = &servers[(turn + round as usize) % servers.len()];
                    let before = kept(server)?;
                    let figures = server.measure(Protocol::Resp, &plan, &workload, runs.len() as u64)?;
                    settle(server)?;
                    let after = kept(server)?;
                    let kept_bytes = (after.bytes - before.bytes) / (after.changes - before.changes).max(1.0);
                    let (gets, server) = (mix.gets(), server.name.clone());
                    runs.push(Run {
                        kind,
                        value_bytes,
                        gets,
                        shape,
                        offered,
                        round,
                        server,
                        figures,
                        kept_bytes,
                    });
                }
            }
        }
        eprintln!("{kind:?}, values of {value_bytes} bytes: done");
    }
    Ok(())
}

/// What a tier has written since its server's start.
#[derive(Clone, Copy, Default)]
struct Kept {
    /// To be kept, so not to journals.
    bytes: f64,
    changes: f64,
}

fn kept(server: &Contender) -> Result<Kept, BenchError> {
    let Some(admin) = &server.admin else { return Ok(Kept::default()) };
    let page = info::metrics(admin)?;
    let of = |name| info::metric(&page, name).unwrap_or_default();
    let bytes = of("torc_tier_written_bytes_total") - of("torc_tier_journal_bytes_total");
    Ok(Kept { bytes, changes: of("torc_tier_records_total") })
}

/// Operations a second that the slowest of the servers answers.
fn slowest_peak(
    servers: &[Contender],
    shape: Shape,
    timing: Timing,
    workload: &Workload,
) -> Result<f64, BenchError> {
    let mut slowest = f64::INFINITY;
    for server in servers {
        let figures = server.measure(Protocol::Resp, &shape.plan(timing, None, 0), workload, 0)?;
        settle(server)?;
        slowest = slowest.min(figures.operations_per_second);
    }
    Ok(slowest)
}

/// Makes a Torc write as much as a tier holds, and forget it: from then on no memory is touched for the first time, and the tier is
/// written over, as in a server that has run for a while.
fn lap(args: &TierArgs, server: &Contender) -> Result<(), BenchError> {
    let count = (args.tier_mib << 20) / u64::from(KEY_BYTES + LAP_VALUE_BYTES);
    let objects = Objects::new(count.max(1), KEY_BYTES, LAP_VALUE_BYTES)?.distinct();
    server.fill(&objects, 0..objects.count())?;
    info::flush_all(&server.address)?;
    settle(server)
}

/// Waits until the server has nothing left to write, so that it takes neither the core nor the disk from the next one.
pub(super) fn settle(server: &Contender) -> Result<(), BenchError> {
    let Some(admin) = &server.admin else {
        thread::sleep(SYNCED_AFTER);
        return server.rest();
    };
    let began = Instant::now();
    while info::metric(&info::metrics(admin)?, "torc_tier_unsaved").is_some_and(|unsaved| unsaved > 0.0) {
        if began.elapsed() > SAVED_MAX {
            let reason = format!("{} has changes that are not saved after {SAVED_MAX:?}", server.name);
            return Err(BenchError::Invalid(reason));
        }
        thread::sleep(ASK_EVERY);
    }
    server.rest()
}
