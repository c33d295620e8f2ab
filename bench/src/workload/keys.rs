//! Which keys are asked for.

use std::{fmt, str::FromStr, sync::Arc};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Zipf};

/// How often keys are asked for: `uniform`, or `zipf:THETA`, where rank r has weight r^-theta and ranks are
/// scattered over the keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popularity {
    Uniform,
    Zipf { theta: f64 },
}

impl FromStr for Popularity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let theta = match text.split_once(':') {
            None if text == "uniform" => return Ok(Self::Uniform),
            Some(("zipf", theta)) => theta.parse::<f64>().ok(),
            _ => None,
        };
        let theta = theta.filter(|theta| (0.0..=10.0).contains(theta));
        theta.map(|theta| Self::Zipf { theta }).ok_or("expected uniform or zipf:THETA (0 to 10)".into())
    }
}

impl fmt::Display for Popularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf { theta } => write!(f, "zipf:{theta}"),
        }
    }
}

/// Draws key numbers for one run.
#[derive(Clone, Debug)]
pub struct KeyPicker {
    count: u64,
    random: SmallRng,
    /// Keys drawn ahead, which a run walks in order; empty for uniform ones, and for those that are drawn as they are asked for.
    drawn: Arc<[u32]>,
    at: usize,
    zipf: Option<Zipf<f64>>,
}

/// How many Zipf draws are made ahead of the run: each costs two logarithms.
const DRAWN_AHEAD: usize = 1 << 22;

impl KeyPicker {
    pub fn uniform(count: u64, seed: u64) -> Self {
        Self { count, random: SmallRng::seed_from_u64(seed), drawn: Arc::new([]), at: 0, zipf: None }
    }

    /// Over `count` keys; ranks reach to 2^32.
    pub fn new(popularity: Popularity, count: u64, seed: u64) -> Self {
        let mut picker = Self::endless(popularity, count, seed);
        if let Some(zipf) = picker.zipf.take() {
            let count = picker.count.min(u64::from(u32::MAX));
            picker.drawn = (0..DRAWN_AHEAD).map(|_| draw(&zipf, &mut picker.random, count) as u32).collect();
        }
        picker
    }

    /// As [`KeyPicker::new`], but a draw costs what it costs, and they never come again in the same order: what a cache has dropped
    /// must not be asked for again because the run is longer than what was drawn ahead.
    pub fn endless(popularity: Popularity, count: u64, seed: u64) -> Self {
        let mut picker = Self::uniform(count, seed);
        if let Popularity::Zipf { theta } = popularity {
            // A count and a theta out of bounds are refused where they are set.
            picker.zipf = Zipf::new(count.min(u64::from(u32::MAX)) as f64, theta).ok();
        }
        picker
    }

    /// Another run's picker: it draws other keys.
    #[must_use]
    pub fn for_run(&self, run: u64) -> Self {
        let mut picker = self.clone();
        picker.random = SmallRng::seed_from_u64(self.random.clone().next_u64() ^ spread(run));
        picker.at = scale(spread(run), self.drawn.len() as u64) as usize;
        picker
    }

    /// The next key number and 32 random bits that are independent of it.
    #[inline]
    pub fn pick(&mut self) -> (u64, u32) {
        let bits = self.random.next_u64() as u32;
        if self.drawn.is_empty() {
            let number = match &self.zipf {
                Some(zipf) => draw(zipf, &mut self.random, self.count),
                None => scale(self.random.next_u64(), self.count),
            };
            return (number, bits);
        }
        let number = self.drawn[self.at];
        self.at = (self.at + 1) % self.drawn.len();
        (u64::from(number), bits)
    }
}

/// A key number, its rank scattered.
fn draw(zipf: &Zipf<f64>, random: &mut SmallRng, count: u64) -> u64 {
    scale(spread(zipf.sample(random) as u64), count)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): spreads consecutive numbers.
#[inline]
pub(crate) fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Maps 64 random bits onto `0..count` by multiplication (Lemire 2019, without the rejection: the
/// bias is below `count / 2^64`).
#[inline]
pub(crate) fn scale(random: u64, count: u64) -> u64 {
    ((u128::from(random) * u128::from(count)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularities_are_read_and_written_alike() {
        for text in ["uniform", "zipf:0.99", "zipf:0"] {
            assert_eq!(text.parse::<Popularity>().unwrap().to_string(), text);
        }
        for wrong in ["", "zipf", "zipf:x", "zipf:nan", "zipf:11", "uniform:1", "other"] {
            assert!(wrong.parse::<Popularity>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn uniform_picks_every_key_about_equally_often() {
        let mut picker = KeyPicker::uniform(10, 7);
        let mut seen = [0u32; 10];
        (0..20_000).for_each(|_| seen[picker.pick().0 as usize] += 1);
        assert!(seen.iter().all(|n| (1_800..2_200).contains(n)), "{seen:?}");
    }

    #[test]
    fn zipf_picks_by_rank_and_each_run_begins_elsewhere() {
        let zipf = KeyPicker::new(Popularity::Zipf { theta: 1.0 }, 1_000_000, 7);
        let mut picker = zipf.for_run(1);
        let mut seen = std::collections::HashMap::new();
        (0..100_000).for_each(|_| *seen.entry(picker.pick().0).or_insert(0u32) += 1);
        let mut seen: Vec<u32> = seen.into_values().collect();
        seen.sort_unstable_by(|a, b| b.cmp(a));
        // H(1,000,000) = 14.39: rank 1 has 6.9 % of the draws, rank 2 half of that.
        assert!((6_600..7_300).contains(&seen[0]), "{}", seen[0]);
        assert!((3_250..3_700).contains(&seen[1]), "{}", seen[1]);
        let keys = |run| {
            let mut picker = zipf.for_run(run);
            [(); 8].map(|()| picker.pick().0)
        };
        assert_ne!(keys(1), keys(2));
    }
}
