//! The figures of the tier that no shard has of its own.

use crate::admin::MetricKind::{Counter, Gauge};
use crate::admin::{Family, MetricKind, Sample, Value};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use torc_net::server::RunningTier;
use torc_net::tier::GIVEN_UP;
use torc_pmem::media::MemberFigures;

type Row = (&'static str, MetricKind, fn(&RunningTier) -> f64, &'static str);

/// Name, kind, value, help.
const ROWS: &[Row] = &[
    ("tier_bytes", Gauge, |t| t.bytes as f64, "Size of the tier."),
    (
        "tier_resident_bytes",
        Gauge,
        |t| t.resident_bytes() as f64,
        "Resident memory that the tier takes beside --memory.",
    ),
    (
        "tier_latched",
        Gauge,
        |t| f64::from(u8::from(t.figures.is_latched()) << u8::from(!t.figures.is_void())),
        "1: a call to the tier's medium has failed, and it is out of use; 2: nor could it be made void, so changes are refused.",
    ),
    (
        "tier_rearms_total",
        Counter,
        |t| t.figures.rearms() as f64,
        "Times that the tier was taken into use again after a call to its medium had failed.",
    ),
    (
        "tier_refilling",
        Gauge,
        |t| f64::from(u8::from(t.figures.is_refilling())),
        "1: what memory held when the tier was taken into use again is not all on it.",
    ),
    (
        "tier_lag_seconds",
        Gauge,
        |t| t.lag().as_secs_f64(),
        "How long the oldest change waits that a shard has handed over and that is not safe.",
    ),
    (
        "tier_late_total",
        Counter,
        |t| t.figures.late.load(Relaxed) as f64,
        "Times that changes waited for a quarter of the interval, so that the thread that writes counted as the shards do.",
    ),
    (
        "tier_records_total",
        Counter,
        |t| t.figures.records.load(Relaxed) as f64,
        "Changes written to the tier.",
    ),
    (
        "tier_item_bytes_total",
        Counter,
        |t| t.figures.item_bytes.load(Relaxed) as f64,
        "Bytes of items written to the tier, before they are compressed.",
    ),
    (
        "tier_written_bytes_total",
        Counter,
        |t| t.figures.written_bytes.load(Relaxed) as f64,
        "Bytes written to the tier's medium in batches, to journals and to be kept.",
    ),
    (
        "tier_journal_bytes_total",
        Counter,
        |t| t.figures.journal_bytes.load(Relaxed) as f64,
        "Those of them that went to journals, and are kept until they are packed.",
    ),
    (
        "tier_padding_bytes_total",
        Counter,
        |t| t.figures.padding_bytes.load(Relaxed) as f64,
        "Those of them that are kept and hold nothing, as a page ends at 64 bytes and a batch at 4096.",
    ),
    (
        "tier_drains_total",
        Counter,
        |t| t.figures.drains.load(Relaxed) as f64,
        "Times that the medium was asked to make everything safe.",
    ),
    (
        "tier_freed_batches_total",
        Counter,
        |t| t.figures.freed.load(Relaxed) as f64,
        "Batches whose room on the tier was taken again.",
    ),
    (
        "tier_carried_total",
        Counter,
        |t| t.figures.carried.load(Relaxed) as f64,
        "Items in such room that were written once more, as they were read and were not in DRAM.",
    ),
    ("tier_reads_total", Counter, |t| t.figures.reads.load(Relaxed) as f64, "Items read from the tier."),
    (
        "tier_corrupt_total",
        Counter,
        |t| t.figures.corrupt.load(Relaxed) as f64,
        "Reads of the tier whose checksum did not hold: misses.",
    ),
    (
        "tier_read_errors_total",
        Counter,
        |t| t.figures.read_errors.load(Relaxed) as f64,
        "Reads of the tier that its medium has refused: misses.",
    ),
    (
        "tier_recovering",
        Gauge,
        |t| f64::from(u8::from(t.figures.is_recovering())),
        "1: what the tier holds is not all known since the start.",
    ),
    (
        "tier_recovery_progress",
        Gauge,
        |t| t.figures.recovery_progress(),
        "How much of the tier the start has come past, 0 to 1.",
    ),
    (
        "tier_recovered_items",
        Gauge,
        |t| t.figures.recovered.load(Relaxed) as f64,
        "Items that the start has found on the tier.",
    ),
    (
        "tier_recovery_lost_items",
        Gauge,
        |t| t.figures.lost.load(Relaxed) as f64,
        "Items that the start has found no room for: misses.",
    ),
    (
        "tier_recovery_seconds",
        Gauge,
        |t| t.figures.recovery_ms.load(Relaxed) as f64 / 1000.0,
        "How long the start has taken to know what the tier holds; 0 before that.",
    ),
    (
        "tier_damaged_batches",
        Gauge,
        |t| t.figures.damaged.load(Relaxed) as f64,
        "Batches of the tier that the start has found damaged.",
    ),
    (
        "tier_recovery_snapshots",
        Gauge,
        |t| t.figures.snapshots_read.load(Relaxed) as f64,
        "Streams of the tier of which the start has read a snapshot in place of older tables.",
    ),
    (
        "tier_snapshots_total",
        Counter,
        |t| t.figures.snapshots.written.load(Relaxed) as f64,
        "Snapshots of the index that were written to the tier.",
    ),
    (
        "tier_snapshot_records_total",
        Counter,
        |t| t.figures.snapshots.records.load(Relaxed) as f64,
        "Records of snapshots that were written to the tier.",
    ),
    (
        "tier_snapshot_bytes_total",
        Counter,
        |t| t.figures.snapshots.bytes.load(Relaxed) as f64,
        "Bytes of snapshots that were written to the tier; tier_written_bytes_total counts them, too.",
    ),
    (
        "tier_snapshot_read_bytes_total",
        Counter,
        |t| t.figures.snapshots.read_bytes.load(Relaxed) as f64,
        "Bytes of tables that were read to make snapshots.",
    ),
    (
        "tier_snapshot_seconds_total",
        Counter,
        |t| t.figures.snapshots.ms.load(Relaxed) as f64 / 1000.0,
        "Time that making snapshots has taken.",
    ),
];

/// Of snapshots that were given up, by cause.
fn given_up(tier: &RunningTier) -> Family {
    let figures = &tier.figures.snapshots.given_up;
    let sample = |(cause, count): (&&str, &AtomicU64)| Sample {
        labels: vec![("cause".into(), (*cause).into())],
        value: Value::Number(count.load(Relaxed) as f64),
    };
    Family {
        name: "tier_snapshots_given_up_total".into(),
        help: "Snapshots of the index that were not made or not ended: too little is superseded, too large, too many keys, damage, written over meanwhile, an error.".into(),
        kind: Counter,
        samples: GIVEN_UP.iter().zip(figures).map(sample).collect(),
    }
}

/// Every figure, as it is now.
pub(super) fn families(tier: &RunningTier) -> Vec<Family> {
    let family = |(name, kind, value, help): &Row| Family {
        name: (*name).into(),
        help: (*help).into(),
        kind: *kind,
        samples: vec![Sample { labels: Vec::new(), value: Value::Number(value(tier)) }],
    };
    ROWS.iter().map(family).chain([given_up(tier)]).chain(members(tier)).collect()
}

type MemberRow = (&'static str, MetricKind, fn(&MemberFigures) -> u64, &'static str);

/// Of a tier on several files, by file.
const MEMBER_ROWS: &[MemberRow] = &[
    ("tier_member_bytes", Gauge, |m| m.bytes, "Size of one of several files of the tier."),
    (
        "tier_member_written_bytes_total",
        Counter,
        |m| m.written_bytes,
        "Bytes written to one of several files of the tier since it was opened.",
    ),
    (
        "tier_member_failures_total",
        Counter,
        |m| m.failures,
        "Calls to one of several files of the tier that have failed since it was opened.",
    ),
];

fn members(tier: &RunningTier) -> impl Iterator<Item = Family> + use<> {
    let members = tier.members();
    let sample = |member: &MemberFigures, value: u64| Sample {
        labels: vec![("member".to_owned(), member.name.clone())],
        value: Value::Number(value as f64),
    };
    let family = move |(name, kind, value, help): &MemberRow| Family {
        name: (*name).into(),
        help: (*help).into(),
        kind: *kind,
        samples: members.iter().map(|member| sample(member, value(member))).collect(),
    };
    MEMBER_ROWS.iter().map(family).filter(|family| !family.samples.is_empty())
}
