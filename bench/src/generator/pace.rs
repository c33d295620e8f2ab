//! When requests are sent: as fast as answers come, or by a schedule.

use std::str::FromStr;

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// Closed loop or open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    Closed,
    Open(OpenLoop),
}

/// An offered load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenLoop {
    /// Requests a second over all connections; above 0 and finite.
    pub rate: f64,
    pub arrivals: Arrivals,
}

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Independent clients: exponential gaps.
    Poisson,
    /// Equal gaps.
    Even,
}

/// A rate in requests a second: a plain number or with a suffix `k` or `m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.char_indices().next_back() {
            Some((at, 'k' | 'K')) => (&text[..at], 1e3),
            Some((at, 'm' | 'M')) => (&text[..at], 1e6),
            _ => (text, 1.0),
        };
        match digits.parse::<f64>() {
            Ok(number) if number > 0.0 && number * unit <= 1e9 => Ok(Self(number * unit)),
            _ => Err(format!("'{text}' is not a rate from above 0 to 1000m requests a second")),
        }
    }
}

/// The intended times of an open loop's batches, nanoseconds since the run began.
#[derive(Debug)]
pub struct Schedule {
    gap_ns: f64,
    arrivals: Arrivals,
    next_ns: f64,
    random: SmallRng,
}

impl Schedule {
    /// Batches of `depth` requests each, at `open.rate` requests a second.
    pub fn new(open: OpenLoop, depth: u32, seed: u64) -> Self {
        let gap_ns = 1e9 * f64::from(depth) / open.rate;
        Self { gap_ns, arrivals: open.arrivals, next_ns: gap_ns, random: SmallRng::seed_from_u64(seed) }
    }

    /// The intended time of the next batch, if it has come.
    #[inline]
    pub fn due(&mut self, now_ns: u64) -> Option<u64> {
        if self.next_ns > now_ns as f64 {
            return None;
        }
        let intended = self.next_ns;
        self.next_ns += match self.arrivals {
            Arrivals::Even => self.gap_ns,
            // 53 random bits make a number in (0, 1].
            Arrivals::Poisson => {
                let unit = ((self.random.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
                -unit.ln() * self.gap_ns
            }
        };
        Some(intended as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(arrivals: Arrivals, rate: f64, depth: u32, until_ns: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(OpenLoop { rate, arrivals }, depth, 3);
        std::iter::from_fn(|| schedule.due(until_ns)).collect()
    }

    #[test]
    fn even_arrivals_keep_their_gap_however_late_they_are_asked_for() {
        assert_eq!(times(Arrivals::Even, 1e6, 1, 3_500), [1_000, 2_000, 3_000]);
        assert_eq!(times(Arrivals::Even, 1e6, 16, 40_000), [16_000, 32_000]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_its_spread() {
        let times = times(Arrivals::Poisson, 1e6, 1, 100_000_000);
        assert!((98_500..101_500).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&(variance.sqrt() / mean)));
    }

    #[test]
    fn rates_take_suffixes() {
        assert_eq!("1.5m".parse(), Ok(Rate(1_500_000.0)));
        assert_eq!("200k".parse(), Ok(Rate(200_000.0)));
        assert_eq!("7".parse(), Ok(Rate(7.0)));
        for wrong in ["", "0", "-1", "k", "nan", "inf", "1g", "2000m", "5\u{e9}"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
