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

/// The figures of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// Length of the measurement.
    pub(crate) seconds: f64,
    pub(crate) operations: u64,
    pub(crate) operations_per_second: f64,
    /// Replies during the measurement.
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// Requests sent or due that were not answered a second after the end.
    pub(crate) unanswered: u64,
    /// Includes requests that are answered shortly after the end.
    pub(crate) latency_us: Percentiles,
    /// Share of the time in which the generator had nothing to do: near 0, it was the bottleneck.
    pub(crate) generator_idle_share: f64,
    pub(crate) generator_run_delay_us: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<ServerFigures>,
}

/// What the server's process used during the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerFigures {
    /// Time on a core an operation, from schedstat.
    pub cpu_us_per_operation: f64,
    /// Cores in use on average.
    pub cores_busy: f64,
    /// Time ready to run without a core, over the run.
    pub run_delay_us: f64,
    pub rss_bytes: u64,
    /// Bytes written to files an operation: see [`Sample::written_bytes`].
    pub written_bytes_per_operation: f64,
}

impl Figures {
    /// What was measured in a time, but for the latencies.
    pub(crate) fn new(
        elapsed: Duration,
        tally: Tally,
        idle: Duration,
        generator: Sample,
        server: Option<Sample>,
    ) -> Self {
        let (seconds, operations) = (elapsed.as_secs_f64().max(1e-9), tally.replies());
        let server = server.map(|server| ServerFigures {
            cpu_us_per_operation: server.on_cpu_ns as f64 / 1e3 / operations.max(1) as f64,
            cores_busy: server.on_cpu_ns as f64 / 1e9 / seconds,
            run_delay_us: server.run_delay_ns as f64 / 1e3,
            rss_bytes: server.rss_bytes,
            written_bytes_per_operation: server.written_bytes as f64 / operations.max(1) as f64,
        });
        Self {
            seconds,
            operations,
            operations_per_second: operations as f64 / seconds,
            tally,
            generator_idle_share: idle.as_secs_f64() / seconds,
            generator_run_delay_us: generator.run_delay_ns as f64 / 1e3,
            server,
            ..Self::default()
        }
    }

    /// A second of hits, without latencies.
    #[cfg(test)]
    pub(crate) fn of_a_second(hits: u64, cpu_us: f64) -> Self {
        let tally = Tally { hits, ..Tally::default() };
        let server = Sample { on_cpu_ns: (cpu_us * 1e3 * hits as f64) as u64, ..Sample::default() };
        Self::new(Duration::from_secs(1), tally, Duration::ZERO, Sample::default(), Some(server))
    }

    /// A figure of the server's; not a number if it could not be watched.
    pub(crate) fn of_server(&self, figure: fn(&ServerFigures) -> f64) -> f64 {
        self.server.as_ref().map_or(f64::NAN, figure)
    }

    /// CPU time an operation, microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.of_server(|server| server.cpu_us_per_operation)
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
        assert!(latency.percentiles().max >= 1e9);
    }
}
