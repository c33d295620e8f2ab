//! Keys are made, not stored: a table of a million keys would cost the generator a cache miss a
//! request, while writing 16 digits of a number costs a few nanoseconds and no memory.
//!
//! ```text
//! size 16 or less:  the last `size` of   0000000000abcdef   (the number in hexadecimal)
//! size above 16:    kkkk...k             0000000000abcdef   (filler first)
//! ```

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::sizes::{SizeDistribution, mix, rank, scale64, theta_in_range};
use crate::error::BenchError;

/// Longest key that all three protocols take, bytes.
pub const KEY_BYTES_MAX: usize = 250;

const DIGITS: usize = 16;

/// A numbered set of keys, each with its own size.
#[derive(Clone, Debug)]
pub struct KeySpace {
    count: u64,
    sizes: SizeDistribution,
}

/// Room for one key.
pub type KeyBuffer = [u8; KEY_BYTES_MAX];

impl KeySpace {
    /// `count` keys; refused when a key would be longer than [`KEY_BYTES_MAX`] or too short to hold
    /// its number.
    pub fn new(count: u64, sizes: SizeDistribution) -> Result<Self, BenchError> {
        let (low, high) = sizes.bounds();
        if count == 0 {
            return Err(BenchError::setting("keys", "must be at least 1"));
        }
        if high as usize > KEY_BYTES_MAX {
            let reason = format!("a key has at most {KEY_BYTES_MAX} bytes, asked for {high}");
            return Err(BenchError::setting("key-size", reason));
        }
        let holds = 16u128.checked_pow(low).unwrap_or(u128::MAX);
        if u128::from(count) > holds {
            let reason = format!("{low} bytes cannot tell {count} keys apart; take longer keys");
            return Err(BenchError::setting("key-size", reason));
        }
        Ok(Self { count, sizes })
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean length of a key, bytes.
    pub fn mean_bytes(&self) -> f64 {
        self.sizes.mean(self.count)
    }

    /// Writes key `index` into `buffer` and returns it.
    #[inline]
    pub fn write<'a>(&self, index: u64, buffer: &'a mut KeyBuffer) -> &'a [u8] {
        let size = (self.sizes.size_of(index) as usize).min(KEY_BYTES_MAX);
        let digits = hex(index);
        if size <= DIGITS {
            buffer[..DIGITS].copy_from_slice(&digits);
            return &buffer[DIGITS - size..DIGITS];
        }
        let filler = size - DIGITS;
        buffer[..filler].fill(b'k');
        buffer[filler..size].copy_from_slice(&digits);
        &buffer[..size]
    }
}

/// 16 hexadecimal digits, all at once: each nibble is spread into a byte of a 128-bit word, then
/// `'0'` is added, and 39 more where the nibble is above 9.
#[inline]
fn hex(value: u64) -> [u8; DIGITS] {
    let mut wide = u128::from(value);
    wide = (wide | (wide << 32)) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    wide = (wide | (wide << 16)) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    wide = (wide | (wide << 8)) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    wide = (wide | (wide << 4)) & 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    let letters = ((wide + ONES * 6) >> 4) & ONES;
    (wide + ONES * u128::from(b'0') + letters * 39).to_be_bytes()
}

/// In what order keys are asked for.
#[derive(Clone, Debug)]
pub enum KeyDistribution {
    Uniform,
    /// Popularity rank r has weight r^-theta; ranks are scattered over the key numbers.
    Zipf(Arc<[u32]>),
    /// The object numbers of a trace, over and over.
    Sequence(Arc<[u32]>),
}

/// How many Zipf draws are made ahead of the run. Drawing costs two logarithms; a run walks this
/// sequence in order, each run from a place of its own.
const ZIPF_SEQUENCE: usize = 1 << 22;

impl KeyDistribution {
    /// Draws a Zipf sequence over `count` keys (at most 2^32).
    pub fn zipf(count: u64, theta: &str, seed: u64) -> Result<Self, String> {
        let theta = theta_in_range(theta)?;
        let count = count.min(u64::from(u32::MAX));
        let mut random = SmallRng::seed_from_u64(seed);
        let sequence = (0..ZIPF_SEQUENCE).map(|_| scatter(rank(&mut random, count, theta), count)).collect();
        Ok(Self::Zipf(sequence))
    }
}

/// A fixed pseudo-random permutation of `0..count` by cycle walking over a keyed mixing of the next
/// power of two (Black, Rogaway 2002): the most popular keys do not lie beside each other.
fn scatter(rank: u64, count: u64) -> u32 {
    let bits = 64 - (count - 1).leading_zeros();
    let mask = if bits == 0 { 0 } else { u64::MAX >> (64 - bits) };
    let mut at = rank;
    loop {
        // Each step is invertible modulo 2^bits, so the whole is a permutation.
        at = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask;
        at ^= at >> (bits / 2).max(1);
        at = at.wrapping_mul(0xbf58_476d_1ce4_e5b9) & mask;
        if at < count {
            return at as u32;
        }
    }
}

/// Draws key numbers for one run.
#[derive(Debug)]
pub struct KeyPicker {
    distribution: KeyDistribution,
    count: u64,
    at: usize,
    random: SmallRng,
}

impl KeyPicker {
    pub fn new(distribution: KeyDistribution, count: u64, seed: u64) -> Self {
        let at = match &distribution {
            KeyDistribution::Zipf(sequence) => scale64(mix(seed), sequence.len() as u64) as usize,
            KeyDistribution::Uniform | KeyDistribution::Sequence(_) => 0,
        };
        Self { distribution, count, at, random: SmallRng::seed_from_u64(seed) }
    }

    /// The next key number and 32 random bits that are independent of it.
    #[inline]
    pub fn pick(&mut self) -> (u64, u32) {
        let random = self.random.next_u64();
        match &self.distribution {
            KeyDistribution::Uniform => {
                let key = scale64(self.random.next_u64(), self.count);
                (key, random as u32)
            }
            KeyDistribution::Zipf(sequence) | KeyDistribution::Sequence(sequence) => {
                let key = sequence.get(self.at).copied().unwrap_or(0);
                self.at += 1;
                if self.at >= sequence.len() {
                    self.at = 0;
                }
                (u64::from(key), random as u32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn fixed(count: u64, size: u32) -> KeySpace {
        KeySpace::new(count, SizeDistribution::Fixed(size)).unwrap()
    }

    #[test]
    fn hex_is_what_the_standard_library_writes() {
        for value in [0, 1, 9, 10, 15, 16, 0xdead_beef, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(value).to_vec(), format!("{value:016x}").into_bytes());
        }
    }

    #[test]
    fn keys_have_their_size_and_differ() {
        let mut buffer = [0; KEY_BYTES_MAX];
        assert_eq!(fixed(10, 16).write(10, &mut buffer), b"000000000000000a");
        assert_eq!(fixed(256, 2).write(255, &mut buffer), b"ff");
        assert_eq!(fixed(10, 18).write(1, &mut buffer), b"kk0000000000000001");
        let sizes = SizeDistribution::Uniform { low: 4, high: 40 };
        let space = KeySpace::new(65_536, sizes).unwrap();
        let keys: HashSet<Vec<u8>> = (0..65_536).map(|i| space.write(i, &mut buffer).to_vec()).collect();
        assert_eq!(keys.len(), 65_536);
    }

    #[test]
    fn impossible_keys_are_refused_by_the_setting_s_name() {
        for (count, size) in [(257, 2), (0, 16), (1, 251), (2, 0)] {
            let error = KeySpace::new(count, SizeDistribution::Fixed(size)).unwrap_err();
            assert!(error.to_string().starts_with("--key"), "{error}");
        }
    }

    #[test]
    fn scatter_is_a_permutation() {
        for count in [1u64, 2, 3, 7, 64, 1000, 4097] {
            let seen: HashSet<u32> = (0..count).map(|r| scatter(r, count)).collect();
            assert_eq!(seen.len() as u64, count);
        }
    }

    #[test]
    fn uniform_picks_every_key_about_equally_often() {
        let mut picker = KeyPicker::new(KeyDistribution::Uniform, 10, 7);
        let mut seen = [0u32; 10];
        (0..20_000).for_each(|_| seen[picker.pick().0 as usize] += 1);
        assert!(seen.iter().all(|n| (1_800..2_200).contains(n)), "{seen:?}");
    }

    #[test]
    fn zipf_picks_by_rank() {
        let zipf = KeyDistribution::zipf(1_000, "1.0", 7).unwrap();
        let mut picker = KeyPicker::new(zipf, 1_000, 7);
        let mut seen = vec![0u32; 1_000];
        (0..100_000).for_each(|_| seen[picker.pick().0 as usize] += 1);
        seen.sort_unstable_by(|a, b| b.cmp(a));
        // H(1000) = 7.485: rank 1 has 13.4 % of the draws, rank 2 half of that.
        assert!((12_600..14_200).contains(&seen[0]), "{}", seen[0]);
        assert!((6_200..7_200).contains(&seen[1]), "{}", seen[1]);
    }

    #[test]
    fn a_sequence_repeats_in_order() {
        let sequence = KeyDistribution::Sequence(Arc::from([3u32, 1, 2]));
        let mut picker = KeyPicker::new(sequence, 4, 7);
        let picked: Vec<u64> = (0..7).map(|_| picker.pick().0).collect();
        assert_eq!(picked, [3, 1, 2, 3, 1, 2, 3]);
    }
}
