//! What a run measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{codec::Tally, process::probe::Sample};

/// Longest latency told apart, nanoseconds; longer ones count as this.
const LATENCY_NS_MAX: u64 = 1_000_000_000_000;

/// A latency histogram: nanoseconds, three significant digits.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
}

impl Latency {
    pub(crate) fn new() -> Self {
        let bounds = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Self(bounds.expect("the bounds are constants that the histogram accepts"))
    }

    /// Adds `count` requests that took `ns` each.
    #[inline]
    pub(crate) fn record(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns.max(1), count);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many requests were recorded.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// How many requests took longer than `limit`.
    #[cfg(test)]
    pub(crate) fn count_above(&self, limit: Duration) -> u64 {
        let limit_ns = limit.as_nanos().min(u128::from(u64::MAX)) as u64;
        let above = self.0.iter_recorded().filter(|step| step.value_iterated_to() > limit_ns);
        above.map(|step| step.count_since_last_iteration()).sum()
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let us = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            mean: self.0.mean() / 1e3,
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p99_9: us(0.999),
            p99_99: us(0.9999),
            max: self.0.max() as f64 / 1e3,
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// One run's raw measurements.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Length of the measurement.
    pub elapsed: Duration,
    /// Replies during the measurement.
    pub tally: Tally,
    /// Requests sent or due that were not answered a second after the end.
    pub unanswered: u64,
    /// Latencies, those of answers shortly after the end included.
    pub latency: Latency,
    /// Time in which the generator found nothing to do.
    pub generator_idle: Duration,
    pub generator: Sample,
    /// The server's process, if it could be watched.
    pub server: Option<Sample>,
}

impl Outcome {
    /// Replies a second.
    pub(crate) fn throughput(&self) -> f64 {
        self.tally.replies() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut latency = Latency::new();
        latency.record(1_000, 990);
        latency.record(1_000_000, 10);
        let percentiles = latency.percentiles();
        assert_eq!(latency.count(), 1_000);
        assert!((0.99..1.01).contains(&percentiles.p50));
        assert!((0.99..1.01).contains(&percentiles.p99));
        assert!((999.0..1_001.0).contains(&percentiles.p99_9));
        assert!((999.0..1_001.0).contains(&percentiles.max));
    }

    #[test]
    fn impossible_latencies_are_kept_at_the_bound() {
        let mut latency = Latency::new();
        latency.record(u64::MAX, 1);
        latency.record(0, 1);
        assert_eq!(latency.count(), 2);
        assert!(latency.percentiles().max >= 1e9);
    }
}
