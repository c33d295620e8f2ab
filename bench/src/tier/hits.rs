//! `hits`: how many reads hit with a tier, beside servers without one that have its size, or its size and that of memory, in
//! memory. Each read that misses is followed by a write of its key; nothing else is written.

use serde::Serialize;

use super::{
    args::{KEY_BYTES, TierArgs},
    disk::Scratch,
    servers::torc,
};
use crate::{
    codec::resp::Resp,
    error::BenchError,
    lab::{contender::Contender, info},
    replay::cache::{Cache, Remote},
    workload::{
        keys::{KeyPicker, Popularity},
        objects::{KEY_BYTES_MAX, Objects},
    },
};

/// One server: a line of the raw results.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Hits {
    pub(super) server: String,
    /// Memory that it holds items in, tier included, MiB.
    pub(super) mib: u64,
    pub(super) keys: u64,
    /// Reads that were measured, after those that warmed it up.
    pub(super) reads: u64,
    pub(super) hit_ratio: f64,
    /// Of these hits, those that were brought back from the tier.
    pub(super) from_tier: f64,
    /// Items that eviction dropped before the tier had them, over all that it dropped since the start.
    pub(super) missed_demotions: f64,
    /// Bytes written to the medium over bytes of items that were written by clients and are new.
    pub(super) written: f64,
    /// Bytes of the index for a slot in use: an item takes one in memory and two on the tier.
    pub(super) slot_bytes: f64,
    /// Bytes of an item in memory beside key and value.
    pub(super) header_bytes: f64,
}

/// Bytes of a value.
const VALUE_BYTES: u32 = 1024;

/// Keys are so many times as many as fit the tier.
const KEYS_SHARE: u64 = 2;

/// Reads for each key, if nothing else is said, and the share of them that is measured.
const READS: u64 = 5;
const MEASURED_SHARE: u64 = 5;

/// Connections; all of them ask before the first is heard.
const CLIENTS: usize = 16;

const POPULARITY: Popularity = Popularity::Zipf { theta: 0.99 };

/// Measures a server with each durability beside the one without a tier that it is held against.
pub(super) fn measure(
    args: &TierArgs,
    cpu: usize,
    scratch: &Scratch,
    hits: &mut Vec<Hits>,
) -> Result<Vec<Contender>, BenchError> {
    let count = KEYS_SHARE * (args.tier_mib << 20) / u64::from(KEY_BYTES + VALUE_BYTES);
    let objects = Objects::new(count, KEY_BYTES, VALUE_BYTES)?.distinct();
    let picker = KeyPicker::endless(POPULARITY, count, 1);
    let mut servers = Vec::new();
    for (durability, mib) in [("interval:1s", args.tier_mib), ("none", args.tier_mib + args.memory_mib)] {
        let mut without = args.lab.torc.start(&[cpu], mib << 20)?;
        without.name = format!("torc, {mib} MiB of memory");
        hits.push(replay(&without, mib, args.reads, &objects, picker.clone())?);
        eprintln!("{}: {:.4}", without.name, hits[hits.len() - 1].hit_ratio);
        servers.push(without);
        scratch.remove("hits");
        let name = format!("torc, {durability}");
        let with = torc(args, cpu, &scratch.file("hits"), durability, &name)?;
        hits.push(replay(&with, args.tier_mib + args.memory_mib, args.reads, &objects, picker.clone())?);
        eprintln!("{}: {:.4}", with.name, hits[hits.len() - 1].hit_ratio);
        servers.push(with);
    }
    Ok(servers)
}

fn replay(
    server: &Contender,
    mib: u64,
    reads: Option<u64>,
    objects: &Objects,
    mut picker: KeyPicker,
) -> Result<Hits, BenchError> {
    let connect = |_| Remote::connect(&Resp, &server.address);
    let mut clients = (0..CLIENTS).map(connect).collect::<Result<Vec<_>, _>>()?;
    let mut buffer = [0; KEY_BYTES_MAX];
    let mut pass = |count: u64| -> Result<u64, BenchError> {
        let mut misses = 0;
        let mut numbers = [0; CLIENTS];
        for _ in 0..count / CLIENTS as u64 {
            for (client, number) in clients.iter_mut().zip(&mut numbers) {
                *number = picker.pick().0;
                client.ask(objects.key(*number, &mut buffer))?;
            }
            for (client, &number) in clients.iter_mut().zip(&numbers) {
                if !client.hear()? {
                    misses += 1;
                    client.set(objects.key(number, &mut buffer), objects.value(number))?;
                }
            }
        }
        Ok(misses)
    };
    let keys = objects.count();
    let reads = reads.unwrap_or(READS * keys).next_multiple_of(MEASURED_SHARE * CLIENTS as u64);
    let (warm_up, reads) = (reads - reads / MEASURED_SHARE, reads / MEASURED_SHARE);
    let warm_up_misses = pass(warm_up)?;
    let before = figures(server)?;
    let misses = pass(reads)?;
    let after = figures(server)?;
    let of = |name: &str| info::metric(&after, name).unwrap_or_default();
    let rise = |name: &str| of(name) - info::metric(&before, name).unwrap_or_default();
    let written = (warm_up_misses + misses) as f64 * objects.object_bytes() as f64;
    let slots = of("torc_items") + 2.0 * of("torc_tier_items");
    Ok(Hits {
        server: server.name.clone(),
        mib,
        keys,
        reads,
        hit_ratio: 1.0 - misses as f64 / reads.max(1) as f64,
        from_tier: rise("torc_tier_promotions_total") / (reads - misses).max(1) as f64,
        missed_demotions: of("torc_demotions_missed_total") / of("torc_evictions_total").max(1.0),
        written: of("torc_tier_written_bytes_total") / written,
        slot_bytes: of("torc_index_bytes") / slots.max(1.0),
        header_bytes: (of("torc_live_bytes") - of("torc_payload_bytes")) / of("torc_items").max(1.0),
    })
}

fn figures(server: &Contender) -> Result<String, BenchError> {
    let admin = server.admin.as_deref().unwrap_or_default();
    info::metrics(admin)
}
