//! `restart`: how soon a server that has ended under load is warm again: killed, but for memcached, which survives an orderly end only.
//!
//! ```text
//! fill, wait until all is saved, read some | load, the end in the midst | start, first hit, some again, all
//!                                    hit ratio before                     every time from the start of the process
//! ```

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    args::{KEY_BYTES, TierArgs, VALUE_BYTES},
    disk::Scratch,
    restarted::Restarted,
    rounds::settle,
};
use crate::{
    error::BenchError,
    generator::{Driver, Plan, drive, measure::Figures},
    lab::contender::Contender,
    load::{sweep, with_codec},
    workload::{
        Mixed,
        args::Workload,
        keys::KeyPicker,
        mix::{Mix, Operation},
        objects::Objects,
    },
};

/// One restart: a line of the raw results. Times are seconds from the start of the process.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Restart {
    pub(super) round: u32,
    pub(super) server: String,
    /// Share of random reads that hit before the kill.
    pub(super) hits_before: f64,
    /// Ready line (Torc), or connections accepted (the others; Redis answers `LOADING` then).
    pub(super) ready_s: f64,
    pub(super) first_hit_s: f64,
    /// The end of the first random reads of which 90 % of the share before hit.
    pub(super) warm_s: f64,
    /// The end of one read of every item after that.
    pub(super) all_s: f64,
    /// Share of all items that were there then.
    pub(super) found: f64,
    /// Bytes that its files take on the disk.
    pub(super) disk_bytes: u64,
}

/// How many random keys tell whether a server is warm.
const PROBES: u64 = 10_000;

/// Share of the hits before the kill from which on a server is warm.
const WARM_SHARE: f64 = 0.9;

/// How long it may take to get there.
const WARM_MAX: Duration = Duration::from_secs(300);

/// Connections and depth of what is read.
const CONNECTIONS: usize = 50;
const DEPTH: u32 = 16;

/// Kills and starts each server in each round; gives back those of the last round.
pub(super) fn measure(
    args: &TierArgs,
    cpu: usize,
    scratch: &Scratch,
    restarts: &mut Vec<Restart>,
) -> Result<Vec<Contender>, BenchError> {
    let objects = Objects::new(args.items, KEY_BYTES, VALUE_BYTES)?.distinct();
    let picker = KeyPicker::uniform(args.items, 1);
    let workload = Workload { objects, picker, mix: Mix { get: 9, set: 1 } };
    let mut last = Vec::new();
    for round in 0..args.rounds {
        last.clear();
        for who in Restarted::ALL {
            scratch.remove(who.files());
            let Some(server) = who.start(args, cpu, scratch)? else {
                continue;
            };
            let hits_before = fill(&server, &workload)?;
            who.keep(&server)?;
            end_under_load(who, server, &workload, args)?;
            if let Some(server) = who.start(args, cpu, scratch)? {
                let disk_bytes = size(&scratch.path().join(who.files()));
                restarts.push(warm_up(&server, &workload, Restart::new(round, hits_before, disk_bytes))?);
                last.push(server);
            }
        }
        eprintln!("restart, round {} of {}: done", round + 1, args.rounds);
    }
    Ok(last)
}

impl Restart {
    fn new(round: u32, hits_before: f64, disk_bytes: u64) -> Self {
        Self {
            round,
            server: String::new(),
            hits_before,
            ready_s: 0.0,
            first_hit_s: 0.0,
            warm_s: 0.0,
            all_s: 0.0,
            found: 0.0,
            disk_bytes,
        }
    }
}

/// Writes all items, waits until they are saved, and returns the share of random reads that hit.
fn fill(server: &Contender, workload: &Workload) -> Result<f64, BenchError> {
    server.fill(&workload.objects, 0..workload.objects.count())?;
    settle(server)?;
    let probes = probe(server, workload, 0)?;
    probes.tally.without_refusals()?;
    Ok(probes.tally.hits as f64 / PROBES as f64)
}

/// Loads the server, and ends it while requests are under way.
fn end_under_load(
    who: Restarted,
    server: Contender,
    workload: &Workload,
    args: &TierArgs,
) -> Result<(), BenchError> {
    let plan = Plan { spin: true, ..Plan::closed(CONNECTIONS, DEPTH) };
    let length = args.timing.timing(1.0)?.duration;
    let picker = workload.picker.for_run(u64::MAX);
    let addresses = [server.address.clone()];
    with_codec!(server.protocols[0], |codec| {
        let mut source = Mixed::new(codec, &workload.objects, picker, workload.mix, u64::MAX);
        let mut driver = Driver::start(&plan, &addresses, codec, &mut source)?;
        let began = Instant::now();
        while began.elapsed() < length {
            driver.step(None)?;
        }
        who.end(server)
    })
}

/// Reads until the server is as warm as before, then everything once.
fn warm_up(server: &Contender, workload: &Workload, mut restart: Restart) -> Result<Restart, BenchError> {
    restart.server.clone_from(&server.name);
    restart.ready_s = server.ready_after.as_secs_f64();
    let one = Plan { spin: true, ..Plan::closed(1, 1) };
    let mut run = 1;
    while read(server, workload, &one, run, 1)?.tally.hits == 0 {
        run += 1;
        refuse_cold(server)?;
    }
    restart.first_hit_s = server.started.elapsed().as_secs_f64();
    while (probe(server, workload, run)?.tally.hits as f64) < WARM_SHARE * restart.hits_before * PROBES as f64
    {
        run += 1;
        refuse_cold(server)?;
    }
    restart.warm_s = server.started.elapsed().as_secs_f64();
    let all = 0..workload.objects.count();
    let address = std::slice::from_ref(&server.address);
    let found = sweep(server.protocols[0], address, &workload.objects, Operation::Get, all)?.tally;
    restart.all_s = server.started.elapsed().as_secs_f64();
    restart.found = found.hits as f64 / workload.objects.count() as f64;
    Ok(restart)
}

/// Gives up on a server that does not get warm.
fn refuse_cold(server: &Contender) -> Result<(), BenchError> {
    match server.started.elapsed() > WARM_MAX {
        true => Err(BenchError::Invalid(format!("{} is not warm after {WARM_MAX:?}", server.name))),
        false => Ok(()),
    }
}

fn probe(server: &Contender, workload: &Workload, run: u64) -> Result<Figures, BenchError> {
    let plan = Plan { spin: true, ..Plan::closed(CONNECTIONS, DEPTH) };
    read(server, workload, &plan, run, PROBES)
}

/// Reads `count` random keys; a server that is still loading may refuse them.
fn read(
    server: &Contender,
    workload: &Workload,
    plan: &Plan,
    run: u64,
    count: u64,
) -> Result<Figures, BenchError> {
    let picker = workload.picker.for_run(run);
    with_codec!(server.protocols[0], |codec| {
        let mut source = Mixed::new(codec, &workload.objects, picker, Mix::READS, count);
        drive(plan, std::slice::from_ref(&server.address), codec, &mut source, None)
    })
}

/// Bytes of a file, or of the files of a folder.
fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::metadata(path).map_or(0, |file| file.len());
    };
    entries.flatten().map(|entry| size(&entry.path())).sum()
}
