//! One run's figures as text, and anything as lines of JSON.

use std::{fmt, fs, path::Path};

use serde::Serialize;

use crate::{error::BenchError, generator::measure::Figures};

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
            self.tally.hits, self.tally.misses, self.tally.done, self.tally.refused
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
    /// What makes these figures worth less than they look.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.tally.misses > 0 {
            let share = 100.0 * self.tally.misses as f64 / (self.tally.hits + self.tally.misses) as f64;
            warnings
                .push(format!("{share:.2} % of the reads missed: misses are cheap and flatter the figures"));
        }
        if self.tally.refused > 0 {
            warnings.push(format!("{} requests were refused", self.tally.refused));
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
