//! One run's results: the figures, as JSON (serde) and as text.

use std::{fmt, fs, path::Path};

use serde::Serialize;

use crate::{
    error::BenchError,
    generator::measure::{Outcome, Percentiles},
};

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub seconds: f64,
    pub operations: u64,
    pub operations_per_second: f64,
    pub hits: u64,
    pub misses: u64,
    pub done: u64,
    pub refused: u64,
    pub value_bytes: u64,
    pub unanswered: u64,
    pub latency_us: Percentiles,
    /// Share of the time in which the generator had nothing to do: near 0, it was the bottleneck.
    pub generator_idle_share: f64,
    pub generator_run_delay_us: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFigures>,
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
}

impl From<&Outcome> for Figures {
    fn from(outcome: &Outcome) -> Self {
        let seconds = outcome.elapsed.as_secs_f64();
        let operations = outcome.tally.replies();
        let server = outcome.server.map(|server| ServerFigures {
            cpu_us_per_operation: server.on_cpu_ns as f64 / 1e3 / operations.max(1) as f64,
            cores_busy: server.on_cpu_ns as f64 / 1e9 / seconds.max(1e-9),
            run_delay_us: server.run_delay_ns as f64 / 1e3,
            rss_bytes: server.rss_bytes,
        });
        Self {
            seconds,
            operations,
            operations_per_second: outcome.throughput(),
            hits: outcome.tally.hits,
            misses: outcome.tally.misses,
            done: outcome.tally.done,
            refused: outcome.tally.refused,
            value_bytes: outcome.tally.value_bytes,
            unanswered: outcome.unanswered,
            latency_us: outcome.latency.percentiles(),
            generator_idle_share: outcome.generator_idle.as_secs_f64() / seconds.max(1e-9),
            generator_run_delay_us: outcome.generator.run_delay_ns as f64 / 1e3,
            server,
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = &self.latency_us;
        writeln!(
            f,
            "throughput   {:.0} operations/s ({} in {:.2} s)",
            self.operations_per_second, self.operations, self.seconds
        )?;
        writeln!(
            f,
            "replies      {} hits, {} misses, {} done, {} refused",
            self.hits, self.misses, self.done, self.refused
        )?;
        writeln!(
            f,
            "latency us   mean {:.1}  p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  p99.99 {:.1}  max {:.1}",
            latency.mean, latency.p50, latency.p90, latency.p99, latency.p99_9, latency.p99_99, latency.max
        )?;
        if let Some(server) = &self.server {
            writeln!(
                f,
                "server       {:.3} us CPU/operation, {:.2} cores busy, run delay {:.0} us, RSS {:.1} MiB",
                server.cpu_us_per_operation,
                server.cores_busy,
                server.run_delay_us,
                server.rss_bytes as f64 / f64::from(1 << 20)
            )?;
        }
        write!(
            f,
            "generator    idle {:.0} % of the time, run delay {:.0} us",
            self.generator_idle_share * 100.0,
            self.generator_run_delay_us
        )?;
        for warning in self.warnings() {
            write!(f, "\nWARNING      {warning}")?;
        }
        Ok(())
    }
}

impl Figures {
    /// A figure of the server's; not a number if it could not be watched.
    pub(crate) fn of_server(&self, figure: fn(&ServerFigures) -> f64) -> f64 {
        self.server.as_ref().map_or(f64::NAN, figure)
    }

    /// CPU time an operation, microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.of_server(|server| server.cpu_us_per_operation)
    }

    /// What makes these figures worth less than they look.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.misses > 0 {
            let share = 100.0 * self.misses as f64 / (self.hits + self.misses) as f64;
            warnings
                .push(format!("{share:.2} % of the reads missed: misses are cheap and flatter the figures"));
        }
        if self.refused > 0 {
            warnings.push(format!("{} requests were refused", self.refused));
        }
        if self.unanswered > 0 {
            warnings.push(format!(
                "{} requests had no answer a second after the end: the offered load is too high",
                self.unanswered
            ));
        }
        warnings
    }
}

/// Writes a line of JSON an item.
pub(crate) fn write_json_lines(path: &Path, items: &[impl Serialize]) -> Result<(), BenchError> {
    let action = || format!("writing {}", path.display());
    let mut text = String::new();
    for item in items {
        let line = serde_json::to_string(item).map_err(BenchError::io(action()))?;
        text.push_str(&line);
        text.push('\n');
    }
    fs::write(path, text).map_err(BenchError::io(action()))
}
