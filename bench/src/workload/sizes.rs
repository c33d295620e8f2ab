//! Sizes of keys and values. A size belongs to a key's number, not to a request: the same key has
//! the same size in every run and in every process, so that a read can be checked against what a
//! preload of another process wrote.

use std::str::FromStr;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Zipf};

/// Largest size in bytes that a distribution accepts: no protocol here takes more in one value.
pub const SIZE_BYTES_MAX: u32 = 1 << 30;

/// `fixed:N`, `uniform:A-B` or `zipf:THETA:A-B` (size A is the most frequent), bytes, ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SizeDistribution {
    Fixed(u32),
    Uniform { low: u32, high: u32 },
    Zipf { theta: f64, low: u32, high: u32 },
}

impl SizeDistribution {
    /// The size of object `index`, bytes.
    #[inline]
    pub fn size_of(&self, index: u64) -> u32 {
        match *self {
            Self::Fixed(size) => size,
            Self::Uniform { low, high } => low + scale(mix(index), high - low + 1),
            Self::Zipf { theta, low, high } => {
                let mut random = SmallRng::seed_from_u64(index);
                low + rank(&mut random, u64::from(high - low + 1), theta) as u32
            }
        }
    }

    /// Smallest and largest size.
    pub fn bounds(&self) -> (u32, u32) {
        match *self {
            Self::Fixed(size) => (size, size),
            Self::Uniform { low, high } | Self::Zipf { low, high, .. } => (low, high),
        }
    }

    /// Mean size over the first `count` objects, or over a sample of them, bytes.
    pub fn mean(&self, count: u64) -> f64 {
        let sample = count.clamp(1, 10_000);
        let sum: u64 = (0..sample).map(|i| u64::from(self.size_of(i))).sum();
        sum as f64 / sample as f64
    }
}

/// A Zipf rank in `0..count`; rank 0 is the most frequent.
pub(super) fn rank(random: &mut SmallRng, count: u64, theta: f64) -> u64 {
    match Zipf::new(count as f64, theta) {
        Ok(zipf) => (zipf.sample(random) as u64).clamp(1, count) - 1,
        // Only a theta that `theta_in_range` refuses leads here.
        Err(_) => scale64(random.next_u64(), count),
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): spreads consecutive numbers.
#[inline]
pub(crate) fn mix(index: u64) -> u64 {
    let mut z = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Maps 64 random bits onto `0..count` by multiplication (Lemire 2019, without the rejection: the
/// bias is below `count / 2^64`).
#[inline]
pub(crate) fn scale64(random: u64, count: u64) -> u64 {
    ((u128::from(random) * u128::from(count)) >> 64) as u64
}

fn scale(random: u64, count: u32) -> u32 {
    scale64(random, u64::from(count)) as u32
}

impl FromStr for SizeDistribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(':').ok_or("expected fixed:N, uniform:A-B or zipf:THETA:A-B")?;
        match name {
            "fixed" => Ok(Self::Fixed(size(rest)?)),
            "uniform" => {
                let (low, high) = range(rest)?;
                Ok(Self::Uniform { low, high })
            }
            "zipf" => {
                let (theta, sizes) = rest.split_once(':').ok_or("expected zipf:THETA:A-B")?;
                let (low, high) = range(sizes)?;
                let theta = theta_in_range(theta)?;
                Ok(Self::Zipf { theta, low, high })
            }
            other => Err(format!("unknown distribution '{other}'")),
        }
    }
}

/// Zipf exponents that the sampler handles well.
pub(super) fn theta_in_range(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(theta) if (0.0..=10.0).contains(&theta) => Ok(theta),
        _ => Err(format!("THETA '{text}' is not a number from 0 to 10")),
    }
}

fn range(text: &str) -> Result<(u32, u32), String> {
    let (low, high) = text.split_once('-').ok_or("expected a range A-B")?;
    let (low, high) = (size(low)?, size(high)?);
    if low > high {
        return Err(format!("the range {low}-{high} is empty"));
    }
    Ok((low, high))
}

fn size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size) if size <= SIZE_BYTES_MAX => Ok(size),
        _ => Err(format!("'{text}' is not a size from 0 to {SIZE_BYTES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_each_form_and_refuses_the_rest() {
        assert_eq!("fixed:64".parse(), Ok(SizeDistribution::Fixed(64)));
        assert_eq!("uniform:1-9".parse(), Ok(SizeDistribution::Uniform { low: 1, high: 9 }));
        assert_eq!(
            "zipf:0.9:10-1000".parse(),
            Ok(SizeDistribution::Zipf { theta: 0.9, low: 10, high: 1000 })
        );
        for wrong in [
            "",
            "64",
            "fixed:",
            "fixed:-1",
            "uniform:9-1",
            "uniform:5",
            "zipf:1-2",
            "zipf:x:1-2",
            "zipf:nan:1-2",
            "zipf:11:1-2",
            "fixed:4294967295",
            "other:1",
        ] {
            assert!(wrong.parse::<SizeDistribution>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_the_same_each_time_and_stay_in_bounds() {
        for text in ["fixed:64", "uniform:10-20", "zipf:1.1:10-20"] {
            let sizes: SizeDistribution = text.parse().unwrap();
            let (low, high) = sizes.bounds();
            for index in 0..2_000 {
                let size = sizes.size_of(index);
                assert_eq!(size, sizes.size_of(index));
                assert!((low..=high).contains(&size));
            }
        }
    }

    #[test]
    fn uniform_reaches_both_ends_and_zipf_prefers_the_low_one() {
        let uniform: SizeDistribution = "uniform:10-13".parse().unwrap();
        let mut seen = [0u32; 4];
        (0..4_000).for_each(|i| seen[uniform.size_of(i) as usize - 10] += 1);
        assert!(seen.iter().all(|&n| (800..1_200).contains(&n)), "{seen:?}");
        let zipf: SizeDistribution = "zipf:1:1-100".parse().unwrap();
        let ones = (0..10_000).filter(|&i| zipf.size_of(i) == 1).count();
        // 1 / H(100) = 0.1928.
        assert!((1_700..2_150).contains(&ones), "{ones}");
    }

    #[test]
    fn mean_is_the_mean() {
        assert_eq!(SizeDistribution::Fixed(64).mean(1_000_000), 64.0);
        let uniform = SizeDistribution::Uniform { low: 0, high: 100 };
        assert!((45.0..55.0).contains(&uniform.mean(1_000_000)));
    }
}
