//! `recovery`: how soon a server knows what its tier holds, beside reading the tables and filling an index alone.
//!
//! ```text
//! the tier is written by this process | alone: tables read, an index filled | a server: start, first hit, all known
//! ```

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use torc_engine::{
    Shard, ShardConfig,
    command::{Command, Op, Write},
    index::{Elsewhere, Index, PLACE_BYTES, Role},
    shard::What,
    version,
};
use torc_pmem::{
    format::{
        batch::Part,
        record::{Kind, Record},
        superblock::{Config, JournalConfig},
    },
    media::{
        Medium,
        file::{Access, FileMedium},
    },
    recover::{Event, Hashes, SurveyEnd},
    stream::{StreamWriter, Unfit},
    tier::Tier,
};
use torc_proto::slot::slot_of;

use super::{
    args::{KEY_BYTES, Recovered, TierArgs, VALUE_BYTES},
    disk::Scratch,
    servers::torc,
};
use crate::{
    codec::resp::Resp,
    error::BenchError,
    generator::{Plan, drive},
    lab::{contender::Contender, info},
    workload::{Mixed, keys::KeyPicker, mix::Mix, objects::Objects},
};

/// One start: a line of the raw results. Times are seconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Recovery {
    pub(super) round: u32,
    #[serde(flatten)]
    pub(super) recovered: Recovered,
    /// Of items that the tier holds, with those that are superseded.
    pub(super) records: u64,
    /// Bytes of the tier that hold something.
    pub(super) used_bytes: u64,
    /// Reading the tables, and then filling an index that has the size for it, on one core.
    pub(super) read_s: f64,
    pub(super) index_s: f64,
    /// From the start of the process to its ready line, and to the first hit.
    pub(super) ready_s: f64,
    pub(super) first_hit_s: f64,
    /// What the server says of the time that it took to know all, and how many items that were.
    pub(super) known_s: f64,
    pub(super) known: u64,
}

/// Page and batch, as a server chooses them for tiers that are not small.
const PAGE_BYTES: u32 = 16 << 10;
const BATCH_BYTES: u32 = 1 << 20;
/// Changes that are written together, as by a server.
const CHANGES: u64 = 2048;
/// The shard that encodes the items.
const SHARD_BYTES: u64 = 256 << 20;
const SEED: u64 = 5;
/// Until what was written is at rest on the disk.
const REST: Duration = Duration::from_secs(1);
/// Entries whose places in the index are fetched ahead.
const AHEAD: usize = 32;

/// Starts a server in each round on each of the tiers; nothing is added to them.
pub(super) fn measure(
    args: &TierArgs,
    cpu: usize,
    scratch: &Scratch,
    recoveries: &mut Vec<Recovery>,
) -> Result<Vec<Contender>, BenchError> {
    let mut written = Vec::new();
    for recovered @ Recovered { items, writes, snapshot_at } in args.recovered.iter().copied() {
        let name = format!("recovery-{items}-{writes}-{}", snapshot_at.unwrap_or_default());
        let path = scratch.file(&name);
        scratch.remove(&name);
        write(Path::new(&path), args.tier_mib << 20, recovered)?;
        let snapshot = snapshot_at.map_or(String::new(), |at| format!(", with a snapshot at {at} %"));
        eprintln!("recovery of {items}, written {writes} times{snapshot}: on the medium");
        written.push((recovered, path));
    }
    thread::sleep(REST);
    let mut last = Vec::new();
    for round in 0..args.rounds {
        for (recovered, path) in &written {
            last.clear();
            last.push(start(args, cpu, path, round, *recovered, recoveries)?);
            eprintln!("recovery of {}, round {} of {}: done", recovered.items, round + 1, args.rounds);
        }
    }
    Ok(last)
}

/// Measures one start.
fn start(
    args: &TierArgs,
    cpu: usize,
    path: &str,
    round: u32,
    recovered: Recovered,
    recoveries: &mut Vec<Recovery>,
) -> Result<Contender, BenchError> {
    let alone = alone(Path::new(path), args.tier_mib << 20, recovered.items)?;
    let server = torc(args, cpu, path, "interval:1s", "torc, recovering")?;
    let ready_s = server.ready_after.as_secs_f64();
    let newest = KeyPicker::uniform(1, 1);
    let one = Plan { spin: true, ..Plan::closed(1, 1) };
    let first = Objects::new(1, KEY_BYTES, VALUE_BYTES)?.distinct();
    let mut source = Mixed::new(&Resp, &first, newest, Mix::READS, 1);
    let hits = drive(&one, std::slice::from_ref(&server.address), &Resp, &mut source, None)?;
    if hits.tally.hits == 0 {
        return Err(BenchError::Invalid("the newest item misses".into()));
    }
    let first_hit_s = server.started.elapsed().as_secs_f64();
    let (known_s, known) = wait(&server)?;
    let Alone { read_s, index_s, records, used_bytes } = alone;
    recoveries.push(Recovery {
        round,
        recovered,
        records,
        used_bytes,
        read_s,
        index_s,
        ready_s,
        first_hit_s,
        known_s,
        known,
    });
    Ok(server)
}

fn failed<E: std::fmt::Display>(error: E) -> BenchError {
    BenchError::Invalid(format!("the tier of the measurement: {error}"))
}

/// Writes a tier that holds all objects, as a server leaves it that is killed: each of them once, then others on average as often
/// as is asked for, drawn alike from all. The first of them is written last.
/// A snapshot is written behind a batch, at about its time.
fn write(path: &Path, bytes: u64, recovered: Recovered) -> Result<(), BenchError> {
    let Recovered { items, writes, snapshot_at } = recovered;
    let objects = Objects::new(items, KEY_BYTES, VALUE_BYTES)?.distinct();
    let medium: Arc<dyn Medium> = Arc::new(FileMedium::open(path, bytes, Access::Best).map_err(failed)?);
    let config = Config {
        bytes,
        page_bytes: PAGE_BYTES,
        batch_bytes: BATCH_BYTES,
        streams: 1,
        journal: JournalConfig::NONE,
        has_snapshots: snapshot_at.is_some(),
        volume: 1,
        hash_seed: SEED,
    };
    Tier::create(&medium, config).map_err(failed)?;
    let tier = Tier::open(medium).map_err(failed)?;
    let (end, _) = tier.recover(0, &mut |_| {}).map_err(failed)?;
    let run = tier.begin().map_err(failed)?;
    let mut writer = run.writer(&end).map_err(failed)?;
    let now = time::OffsetDateTime::now_utc().unix_timestamp() as u64 * 1000;
    run.raise_ceiling(version::at(now + 1000)).map_err(failed)?;
    let mut shard =
        Shard::new(ShardConfig { seed: SEED, now, ..ShardConfig::new(SHARD_BYTES) }).map_err(failed)?;
    shard.remember_changes(slot_of);
    let mut buffer = [0; crate::workload::objects::KEY_BYTES_MAX];
    let mut picker = KeyPicker::uniform(items, SEED);
    let again = (1..items * (writes - 1)).map(|_| picker.pick().0).chain([0]);
    let mut snapshot_after = snapshot_at.map(|percent| (items * writes * percent / 100).max(1));
    for (count, number) in (0..items).rev().chain(again).take((items * writes) as usize).enumerate() {
        let key = objects.key(number, &mut buffer);
        let command = Command { database: 0, key, op: Op::Write(Write::set(objects.value(number))) };
        let hash = shard.hash(0, key);
        shard.execute(&command, hash, now);
        if (count as u64 + 1).is_multiple_of(CHANGES) {
            save(&mut shard, &mut writer)?;
            shard.maintain(now, u32::MAX);
            if snapshot_after.take_if(|after| count as u64 + 1 + CHANGES > *after).is_some() {
                snapshot(run.tier(), &mut writer, items)?;
            }
        }
    }
    save(&mut shard, &mut writer)?;
    if snapshot_after.is_some() {
        snapshot(run.tier(), &mut writer, items)?;
    }
    writer.close().map_err(failed)
}

/// Writes a snapshot of what was written until now, as a server does that remembers all keys.
fn snapshot(tier: &Tier, writer: &mut StreamWriter, items: u64) -> Result<(), BenchError> {
    let (of, mut entries) = (writer.here(), Vec::new());
    let mut met = Hashes::of_bytes(items as usize * 16);
    let survey = tier.survey(&of, &|_| true, &mut met, &AtomicBool::new(false), &mut |entry| {
        entries.push(entry);
        true
    });
    let end = survey.map_err(failed)?.end;
    if end != SurveyEnd::Whole {
        return Err(BenchError::Invalid(format!("no snapshot of the tier: {end:?}")));
    }
    let parts = entries.chunks(tier.part_records());
    let last = parts.len().saturating_sub(1) as u16;
    for (number, entries) in (0..).zip(parts) {
        let part = Part { below: of.end(), number, is_last: number == last };
        if !writer.write_part(part, entries).map_err(failed)? {
            return Err(BenchError::Invalid("no room for a snapshot of the tier".into()));
        }
    }
    writer.drain().map_err(failed)
}

/// Writes what has changed as one batch, or as many as it takes.
fn save(shard: &mut Shard, writer: &mut StreamWriter) -> Result<(), BenchError> {
    let (mut saved, mut result) = (Vec::new(), Ok(()));
    shard.take_unsaved(|unsaved| {
        let What::Item(item) = unsaved.what else { return true };
        let (item, (hash, version)) = (item.to_vec(), (unsaved.hash, unsaved.version));
        let record = Record { hash, version, expiry: 0, space: 0, slot: unsaved.slot, kind: Kind::Item };
        while let Err(unfit) = writer.add(&record, &item) {
            let written = if unfit == Unfit::BatchFull { writer.write() } else { return true };
            if let Err(error) = written {
                result = Err(failed(error));
                return false;
            }
        }
        saved.push((hash, version));
        true
    });
    result?;
    saved.into_iter().for_each(|(hash, version)| shard.saved(hash, version, true, None));
    writer.commit().map_err(failed)
}

/// What a start cannot do without. Times are seconds.
struct Alone {
    read_s: f64,
    index_s: f64,
    records: u64,
    used_bytes: u64,
}

/// The tables are read, newest first; then an index takes what is told first of each key.
fn alone(path: &Path, bytes: u64, items: u64) -> Result<Alone, BenchError> {
    let medium: Arc<dyn Medium> = Arc::new(FileMedium::open(path, bytes, Access::Best).map_err(failed)?);
    let tier = Tier::open(medium).map_err(failed)?;
    let mut entries = Vec::with_capacity(items as usize);
    let began = Instant::now();
    let (end, _) = tier
        .recover(0, &mut |event| {
            if let Event::Record { record, place: Some(place) } = event {
                entries.push(Elsewhere::new(record.hash, place.to_bits(), Role::Only));
            }
        })
        .map_err(failed)?;
    let read_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut index = Index::new(1, (4 * items * PLACE_BYTES) as usize).map_err(failed)?;
    index.expect(items);
    while (index.bytes() as u64) < items * PLACE_BYTES * 9 / 10 {
        index.grow_elsewhere();
        while index.is_elsewhere_growing() {
            index.grow_elsewhere_step();
        }
    }
    for entries in entries.chunks(AHEAD) {
        entries.iter().for_each(|entry| index.prefetch_elsewhere(entry.hash));
        for entry in entries {
            if index.find_elsewhere(entry.hash).is_none() {
                // Next to none finds no room.
                _ = index.insert_elsewhere(0, *entry);
            }
        }
    }
    let index_s = began.elapsed().as_secs_f64();
    if index.elsewhere() < items / 1000 * 999 {
        return Err(BenchError::Invalid(format!("the tier holds {} items, not {items}", index.elsewhere())));
    }
    Ok(Alone { read_s, index_s, records: entries.len() as u64, used_bytes: end.used_bytes() })
}

/// Waits until a server knows what its tier holds; returns how long that took it, and how many items it has found.
fn wait(server: &Contender) -> Result<(f64, u64), BenchError> {
    let began = Instant::now();
    let admin = server.admin.as_deref().unwrap_or_default();
    loop {
        let metrics = info::metrics(admin)?;
        let metric = |name| info::metric(&metrics, name).unwrap_or_default();
        if metric("torc_tier_recovering") == 0.0 {
            return Ok((metric("torc_tier_recovery_seconds"), metric("torc_tier_recovered_items") as u64));
        }
        if began.elapsed() > Duration::from_secs(600) {
            return Err(BenchError::Invalid(format!("{} recovers for more than ten minutes", server.name)));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
