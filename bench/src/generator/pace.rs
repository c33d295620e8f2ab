//! When requests are sent: as fast as answers come, or by a schedule.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rand_distr::Exp1;

/// Closed loop or open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    Closed,
    /// Requests a second over all connections; above 0 and finite.
    Open {
        rate: f64,
    },
}

/// The intended times of an open loop's batches, nanoseconds since the run began: independent clients, so the gaps
/// are exponential.
#[derive(Debug)]
pub(crate) struct Schedule {
    gap_ns: f64,
    next_ns: f64,
    random: SmallRng,
}

impl Schedule {
    /// Batches of `depth` requests each, at `rate` requests a second.
    pub(crate) fn new(rate: f64, depth: u32, seed: u64) -> Self {
        let gap_ns = 1e9 * f64::from(depth) / rate;
        Self { gap_ns, next_ns: gap_ns, random: SmallRng::seed_from_u64(seed) }
    }

    /// The intended time of the next batch, if it has come.
    #[inline]
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<u64> {
        if self.next_ns > now_ns as f64 {
            return None;
        }
        let intended = self.next_ns;
        self.next_ns += self.gap_ns * self.random.sample::<f64, _>(Exp1);
        Some(intended as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_rate_and_its_spread_however_late_they_are_asked_for() {
        for depth in [1, 16] {
            let mut schedule = Schedule::new(1e6, depth, 3);
            let times: Vec<u64> =
                std::iter::from_fn(|| schedule.due(100_000_000 * u64::from(depth))).collect();
            assert!((98_500..101_500).contains(&times.len()), "{}", times.len());
            let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            assert!((0.95..1.05).contains(&(variance.sqrt() / mean)));
        }
    }
}
