//! Objects are made, not stored: a table of a million keys would cost the generator a cache miss a
//! request, while writing 16 digits of a number costs a few nanoseconds and no memory.
//!
//! ```text
//! keys of 16 bytes or less:  the last ones of    0000000000abcdef   (the number in hexadecimal)
//! longer keys:               kkkk...k            0000000000abcdef   (filler first)
//! ```

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{keys::spread, mix::Operation};
use crate::{codec::Codec, error::BenchError};

/// Longest key that all three protocols take, bytes.
pub const KEY_BYTES_MAX: usize = 250;

/// Longest value, bytes: no protocol here takes more.
pub const VALUE_BYTES_MAX: u32 = 1 << 30;

const DIGITS: usize = 16;

/// Values start at one of this many places of the filler, so that neighbours differ.
const FILLER_OFFSETS: usize = 4096;

/// As many places that values which lie close to each other hardly ever share bytes, but too many for the CPU's nearer caches.
const FILLER_OFFSETS_DISTINCT: usize = 4 << 20;

/// Room for one key.
pub type KeyBuffer = [u8; KEY_BYTES_MAX];

/// A numbered set of keys and their values, all of one size each.
#[derive(Clone, Debug)]
pub struct Objects {
    count: u64,
    key_bytes: usize,
    value_bytes: usize,
    /// A power of two.
    offsets: usize,
    filler: Arc<[u8]>,
}

impl Objects {
    /// Refused when a key is longer than [`KEY_BYTES_MAX`] or too short to hold its number, or a value longer than
    /// [`VALUE_BYTES_MAX`].
    pub fn new(count: u64, key_bytes: u32, value_bytes: u32) -> Result<Self, BenchError> {
        if count == 0 {
            return Err(BenchError::setting("keys", "must be at least 1"));
        }
        if key_bytes as usize > KEY_BYTES_MAX {
            let reason = format!("a key has at most {KEY_BYTES_MAX} bytes, asked for {key_bytes}");
            return Err(BenchError::setting("key-size", reason));
        }
        if 16u128.checked_pow(key_bytes).is_some_and(|numbers| numbers < u128::from(count)) {
            let reason = format!("{key_bytes} bytes cannot tell {count} keys apart; take longer keys");
            return Err(BenchError::setting("key-size", reason));
        }
        if value_bytes > VALUE_BYTES_MAX {
            return Err(BenchError::setting("value-size", format!("at most {VALUE_BYTES_MAX} bytes")));
        }
        let (key_bytes, value_bytes) = (key_bytes as usize, value_bytes as usize);
        let offsets = FILLER_OFFSETS;
        Ok(Self { count, key_bytes, value_bytes, offsets, filler: filler(value_bytes + offsets) })
    }

    /// The same keys with values that share no bytes, so that a server that compresses several of them together gains nothing.
    #[must_use]
    pub fn distinct(self) -> Self {
        let offsets = FILLER_OFFSETS_DISTINCT;
        Self { offsets, filler: filler(self.value_bytes + offsets), ..self }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of a key and its value.
    pub fn object_bytes(&self) -> usize {
        self.key_bytes + self.value_bytes
    }

    /// Bytes of all values together.
    pub fn value_bytes_total(&self) -> u64 {
        self.count * self.value_bytes as u64
    }

    /// The key of object `number`.
    #[inline]
    pub fn key<'a>(&self, number: u64, buffer: &'a mut KeyBuffer) -> &'a [u8] {
        let digits = hex(number);
        if self.key_bytes <= DIGITS {
            buffer[..DIGITS].copy_from_slice(&digits);
            return &buffer[DIGITS - self.key_bytes..DIGITS];
        }
        let filler = self.key_bytes - DIGITS;
        buffer[..filler].fill(b'k');
        buffer[filler..self.key_bytes].copy_from_slice(&digits);
        &buffer[..self.key_bytes]
    }

    /// The value of object `number`.
    #[inline]
    pub fn value(&self, number: u64) -> &[u8] {
        let offset = spread(number) as usize & (self.offsets - 1);
        &self.filler[offset..offset + self.value_bytes]
    }

    /// Appends one request for object `number`.
    #[inline]
    pub fn write_request<C: Codec>(&self, codec: &C, operation: Operation, number: u64, out: &mut Vec<u8>) {
        let mut buffer = [0; KEY_BYTES_MAX];
        let key = self.key(number, &mut buffer);
        match operation {
            Operation::Get => codec.get(out, key),
            Operation::Set => codec.set(out, key, self.value(number)),
        }
    }
}

/// Random bytes, always the same.
fn filler(bytes: usize) -> Arc<[u8]> {
    let mut filler = vec![0; bytes];
    SmallRng::seed_from_u64(1).fill_bytes(&mut filler);
    filler.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_what_the_standard_library_writes() {
        for value in [0, 1, 9, 10, 15, 16, 0xdead_beef, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(value).to_vec(), format!("{value:016x}").into_bytes());
        }
    }

    #[test]
    fn keys_and_values_have_their_size() {
        let mut buffer = [0; KEY_BYTES_MAX];
        let objects = |count, key_bytes| Objects::new(count, key_bytes, 64).unwrap();
        assert_eq!(objects(11, 16).key(10, &mut buffer), b"000000000000000a");
        assert_eq!(objects(256, 2).key(255, &mut buffer), b"ff");
        assert_eq!(objects(10, 18).key(1, &mut buffer), b"kk0000000000000001");
        assert_eq!(objects(10, 18).value(1).len(), 64);
        assert_ne!(objects(10, 18).value(1), objects(10, 18).value(2));
    }

    #[test]
    fn distinct_values_share_hardly_any_bytes() {
        let objects = Objects::new(400, 16, 100).unwrap();
        let touching = |objects: &Objects| {
            let mut places: Vec<usize> =
                (0..objects.count()).map(|number| spread(number) as usize & (objects.offsets - 1)).collect();
            places.sort_unstable();
            places.windows(2).filter(|two| two[1] - two[0] < 100).count()
        };
        assert!(touching(&objects) > 350);
        let distinct = objects.distinct();
        assert!(touching(&distinct) < 20);
        assert_eq!(distinct.value(7).len(), 100);
    }

    #[test]
    fn impossible_objects_are_refused_by_the_setting_s_name() {
        for (count, key_bytes) in [(257, 2), (0, 16), (1, 251), (2, 0)] {
            let error = Objects::new(count, key_bytes, 1).unwrap_err();
            assert!(error.to_string().starts_with("--key"), "{error}");
        }
        assert!(Objects::new(1, 16, u32::MAX).unwrap_err().to_string().starts_with("--value-size"));
    }
}
