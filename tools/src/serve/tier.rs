//! The figures of the tier that no shard has of its own.

use crate::admin::{Family, MetricKind, Sample, Value};
use std::sync::atomic::Ordering::Relaxed;
use torc_net::server::RunningTier;

/// Every figure, as it is now.
pub(super) fn families(tier: &RunningTier) -> Vec<Family> {
    let figures = &tier.figures;
    let counter = |name: &str, help: &str, value: u64| family(name, help, MetricKind::Counter, value as f64);
    let gauge = |name: &str, help: &str, value: f64| family(name, help, MetricKind::Gauge, value);
    vec![
        gauge("tier_bytes", "Size of the tier.", tier.bytes as f64),
        gauge(
            "tier_resident_bytes",
            "Resident memory that the tier takes beside --memory.",
            tier.resident_bytes() as f64,
        ),
        gauge(
            "tier_latched",
            "1: a call to the tier's medium has failed, and it is out of use.",
            f64::from(u8::from(figures.is_latched())),
        ),
        counter("tier_records_total", "Changes written to the tier.", figures.records.load(Relaxed)),
        counter(
            "tier_item_bytes_total",
            "Bytes of items written to the tier, before they are compressed.",
            figures.item_bytes.load(Relaxed),
        ),
        counter(
            "tier_written_bytes_total",
            "Bytes written to the tier's medium in batches.",
            figures.written_bytes.load(Relaxed),
        ),
        counter(
            "tier_drains_total",
            "Times that the medium was asked to make everything safe.",
            figures.drains.load(Relaxed),
        ),
        counter(
            "tier_freed_batches_total",
            "Batches whose room on the tier was taken again.",
            figures.freed.load(Relaxed),
        ),
        counter("tier_reads_total", "Items read from the tier.", figures.reads.load(Relaxed)),
        counter(
            "tier_corrupt_total",
            "Reads of the tier whose checksum did not hold: misses.",
            figures.corrupt.load(Relaxed),
        ),
        counter(
            "tier_read_errors_total",
            "Reads of the tier that its medium has refused: misses.",
            figures.read_errors.load(Relaxed),
        ),
        gauge(
            "tier_recovering",
            "1: what the tier holds is not all known since the start.",
            f64::from(u8::from(figures.is_recovering())),
        ),
        gauge(
            "tier_recovery_progress",
            "How much of the tier the start has come past, 0 to 1.",
            figures.recovery_progress(),
        ),
        gauge(
            "tier_recovered_items",
            "Items that the start has found on the tier.",
            figures.recovered.load(Relaxed) as f64,
        ),
        gauge(
            "tier_recovery_lost_items",
            "Items that the start has found no room for: misses.",
            figures.lost.load(Relaxed) as f64,
        ),
        gauge(
            "tier_recovery_seconds",
            "How long the start has taken to know what the tier holds; 0 before that.",
            figures.recovery_ms.load(Relaxed) as f64 / 1000.0,
        ),
        gauge(
            "tier_damaged_batches",
            "Batches of the tier that the start has found damaged.",
            figures.damaged.load(Relaxed) as f64,
        ),
    ]
}

fn family(name: &str, help: &str, kind: MetricKind, value: f64) -> Family {
    let samples = vec![Sample { labels: Vec::new(), value: Value::Number(value) }];
    Family { name: name.into(), help: help.into(), kind, samples }
}
