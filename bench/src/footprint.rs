//! `torc bench memory`: what an item costs beside its own bytes, and whether a full server keeps to
//! its memory.
//!
//! Overhead per item is counted twice. From outside, for every server: growth of the resident set
//! while the items are written, minus keys and values. From inside, for Torc: bytes of segments and
//! index in use minus the payload, as `/metrics` gives them; bookkeeping (what eviction remembers)
//! belongs to the memory that was given more than to an item, so it stands beside the sum.

use std::{fmt::Write, fs, thread, time::Duration};

use clap::Args;
use serde::Serialize;

use crate::{
    error::BenchError,
    lab::{LabArgs, contender::Contender, info, peers},
    process::probe::status_bytes,
    results::{Folder, Setting},
    workload::objects::Objects,
};

/// Flags of `torc bench memory`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MemoryArgs {
    /// Numbers of items
    #[arg(long, value_delimiter = ',', default_value = "1000000,5000000", value_name = "N")]
    items: Vec<u64>,
    /// Bytes of a key
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    key_size: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    value_size: u32,
    /// Memory of each server, MiB: enough for the items
    #[arg(long, default_value_t = 4096, value_name = "MIB")]
    memory_mib: u64,
    /// Memory of Torc when it is overfilled, MiB; 0 leaves that out
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    full_mib: u64,
    #[command(flatten)]
    lab: LabArgs,
}

/// One server with one number of items. Bytes an item unless the name says otherwise.
#[derive(Clone, Debug, Serialize)]
struct Row {
    server: String,
    items: u64,
    payload: f64,
    /// Growth of the resident set minus payload.
    overhead_resident: f64,
    /// Torc: segments and index minus payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    inside: Option<Inside>,
    rss_before_bytes: u64,
    rss_after_bytes: u64,
    /// Part of the resident set on huge pages.
    huge_bytes: u64,
}

/// The sum from `/metrics`, bytes an item.
#[derive(Clone, Copy, Debug, Serialize)]
struct Inside {
    overhead: f64,
    segments: f64,
    index: f64,
    bookkeeping: f64,
    payload: f64,
}

/// Torc overfilled.
#[derive(Clone, Debug, Serialize)]
struct Full {
    memory_bytes: u64,
    written_bytes: u64,
    rss_bytes: u64,
    evicted: u64,
}

#[derive(Serialize)]
struct Footprints {
    setting: Setting,
    key_bytes: u32,
    value_bytes: u32,
    rows: Vec<Row>,
    full: Option<Full>,
}

/// Measures every server at every number of items, prints the table and keeps it.
pub(crate) fn run(args: &MemoryArgs) -> Result<(), BenchError> {
    let folder = Folder::create(&args.lab.out, "memory")?;
    let cores = args.lab.cores.claim()?;
    let (mut rows, mut servers) = (Vec::new(), Vec::new());
    for &items in &args.items {
        drop(std::mem::take(&mut servers));
        servers = peers::start_all(&args.lab.torc, cores.server, args.memory_mib)?;
        for server in &servers {
            let row = measure(args, server, items)?;
            eprintln!("{}: {items} items, {:.1} B overhead (resident)", row.server, row.overhead_resident);
            rows.push(row);
        }
    }
    let setting = Setting::new(cores, &servers);
    drop(servers);
    let full = match args.full_mib {
        0 => None,
        mib => Some(overfill(args, cores.server, mib)?),
    };
    let footprints =
        Footprints { setting, key_bytes: args.key_size, value_bytes: args.value_size, rows, full };
    folder.write(&page(&footprints), &footprints)
}

/// At least this share of the items must be there for a figure an item.
const HELD_SHARE_MIN: f64 = 0.999;

/// Longer than the second after which a server's figures are published again.
const SETTLE: Duration = Duration::from_millis(2_500);

fn measure(args: &MemoryArgs, server: &Contender, items: u64) -> Result<Row, BenchError> {
    let payload = f64::from(args.key_size + args.value_size);
    let before = server.probe.sample()?.rss_bytes;
    fill(args, server, items)?;
    thread::sleep(SETTLE);
    let after = server.probe.sample()?.rss_bytes;
    let inside = match &server.admin {
        Some(admin) => Some(inside(&info::metrics(admin)?, items)?),
        None => None,
    };
    Ok(Row {
        server: server.name.clone(),
        items,
        payload,
        overhead_resident: after.saturating_sub(before) as f64 / items as f64 - payload,
        inside,
        rss_before_bytes: before,
        rss_after_bytes: after,
        huge_bytes: huge_bytes(server.probe.folder()),
    })
}

/// Writes `items` items and nothing else.
fn fill(args: &MemoryArgs, server: &Contender, items: u64) -> Result<(), BenchError> {
    server.fill(&Objects::new(items, args.key_size, args.value_size)?, 0..items)
}

fn inside(page: &str, items: u64) -> Result<Inside, BenchError> {
    let metric = |name: &'static str| {
        info::metric(page, name).ok_or_else(|| BenchError::Invalid(format!("/metrics has no {name}")))
    };
    let held = metric("torc_items")?;
    // A crowded index may drop a few; fewer items would make each look dearer or cheaper.
    if held > items as f64 || held < items as f64 * HELD_SHARE_MIN {
        return Err(BenchError::Invalid(format!(
            "{held} of {items} items are held: give the servers more --memory-mib"
        )));
    }
    let an_item = |name| Ok::<f64, BenchError>(metric(name)? / held);
    let (segments, index) = (an_item("torc_segments_bytes")?, an_item("torc_index_bytes")?);
    let (bookkeeping, payload) = (an_item("torc_bookkeeping_bytes")?, an_item("torc_payload_bytes")?);
    Ok(Inside { overhead: segments + index - payload, segments, index, bookkeeping, payload })
}

fn huge_bytes(process_folder: &str) -> u64 {
    let rollup = fs::read_to_string(format!("{process_folder}/smaps_rollup")).unwrap_or_default();
    let names = ["AnonHugePages:", "ShmemPmdMapped:", "Private_Hugetlb:", "Shared_Hugetlb:"];
    names.iter().filter_map(|name| status_bytes(&rollup, name)).sum()
}

/// Writes twice as many bytes as the memory holds.
fn overfill(args: &MemoryArgs, cpu: usize, memory_mib: u64) -> Result<Full, BenchError> {
    let memory_bytes = memory_mib << 20;
    let server = args.lab.torc.start(&[cpu], memory_bytes)?;
    let item_bytes = u64::from(args.key_size + args.value_size);
    let items = 2 * memory_bytes / item_bytes;
    fill(args, &server, items)?;
    thread::sleep(SETTLE);
    Ok(Full {
        memory_bytes,
        written_bytes: items * item_bytes,
        rss_bytes: server.probe.sample()?.rss_bytes,
        evicted: info::evicted(&server.address)?,
    })
}

/// The page. Writing to a string cannot fail, so its results are dropped.
fn page(footprints: &Footprints) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut page = footprints.setting.page("Memory");
    let _ = writeln!(
        page,
        "\nKeys of {} B, values of {} B, no options. Bytes an item.\n\n\
         | server | items | overhead (resident set) | overhead (segments + index - payload) | segments | index | bookkeeping | payload | RSS MiB | on huge pages MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|",
        footprints.key_bytes, footprints.value_bytes
    );
    for row in &footprints.rows {
        let inside = |value: fn(&Inside) -> f64| {
            row.inside.as_ref().map_or("-".into(), |inside| format!("{:.1}", value(inside)))
        };
        let _ = writeln!(
            page,
            "| {} | {} | {:.1} | {} | {} | {} | {} | {:.1} | {:.1} | {:.1} |",
            row.server,
            row.items,
            row.overhead_resident,
            inside(|inside| inside.overhead),
            inside(|inside| inside.segments),
            inside(|inside| inside.index),
            inside(|inside| inside.bookkeeping),
            row.payload,
            mib(row.rss_after_bytes),
            mib(row.huge_bytes),
        );
    }
    if let Some(full) = &footprints.full {
        let _ = writeln!(
            page,
            "\nOverfilled: memory {:.0} MiB, {:.0} MiB written, {} items evicted, resident set {:.1} MiB: {:+.1} % of the memory.",
            mib(full.memory_bytes),
            mib(full.written_bytes),
            full.evicted,
            mib(full.rss_bytes),
            100.0 * (full.rss_bytes as f64 / full.memory_bytes as f64 - 1.0),
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_sum_is_segments_and_index_minus_payload() {
        let page = "torc_items{shard=\"0\"} 10\ntorc_segments_bytes{shard=\"0\"} 1000\n\
            torc_index_bytes{shard=\"0\"} 120\ntorc_bookkeeping_bytes{shard=\"0\"} 10\n\
            torc_payload_bytes{shard=\"0\"} 800\n";
        let sum = inside(page, 10).unwrap();
        assert_eq!((sum.overhead, sum.bookkeeping), (32.0, 1.0));
        assert!(inside(page, 11).is_err(), "an item of eleven is lost");
        assert!(inside("", 10).is_err());
    }
}
