//! What is asked of the server: keys, values and the order of operations, written as requests of
//! one protocol by a [`Source`].

pub mod args;
pub mod keys;
pub mod mix;
pub mod sizes;
pub mod trace;

use std::{ops::Range, sync::Arc};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{codec::Codec, error::BenchError};
use keys::{KEY_BYTES_MAX, KeyBuffer, KeyPicker, KeySpace};
use mix::{Mix, Operation};
use sizes::{SizeDistribution, mix as spread};

/// Values start at one of this many places of the filler, so that neighbours differ.
const FILLER_OFFSETS: usize = 4096;

/// The set of objects: keys, and the size and bytes of each key's value.
#[derive(Clone, Debug)]
pub struct Objects {
    keys: KeySpace,
    values: SizeDistribution,
    filler: Arc<[u8]>,
}

impl Objects {
    pub fn new(keys: KeySpace, values: SizeDistribution) -> Self {
        let mut filler = vec![0; values.bounds().1 as usize + FILLER_OFFSETS];
        SmallRng::seed_from_u64(1).fill_bytes(&mut filler);
        Self { keys, values, filler: filler.into() }
    }

    pub fn count(&self) -> u64 {
        self.keys.count()
    }

    /// Mean bytes of a key and of a value.
    pub fn mean_bytes(&self) -> (f64, f64) {
        (self.keys.mean_bytes(), self.values.mean(self.count()))
    }

    /// The value of object `index`.
    #[inline]
    pub fn value(&self, index: u64) -> &[u8] {
        self.value_of_size(index, self.values.size_of(index) as usize)
    }

    /// A value for object `index` of `size` bytes, which is at most the distribution's largest.
    #[inline]
    fn value_of_size(&self, index: u64, size: usize) -> &[u8] {
        let offset = spread(index) as usize % FILLER_OFFSETS;
        &self.filler[offset..offset + size]
    }

    /// The key of object `index`.
    #[inline]
    pub fn key<'a>(&self, index: u64, buffer: &'a mut KeyBuffer) -> &'a [u8] {
        self.keys.write(index, buffer)
    }
}

/// A stream of requests.
pub trait Source {
    /// Appends up to `count` requests for `connection` to `out` and returns how many. Fewer than
    /// asked for: there are no more.
    fn fill(&mut self, connection: usize, count: u32, out: &mut Vec<u8>) -> u32;
}

/// Random operations on random keys: the measured load.
pub struct Mixed<'a, C> {
    codec: &'a C,
    objects: &'a Objects,
    picker: KeyPicker,
    mix: Mix,
    left: u64,
}

impl<'a, C: Codec> Mixed<'a, C> {
    /// `requests`: how many there are in all; `u64::MAX` for a run that ends by the clock.
    pub fn new(codec: &'a C, objects: &'a Objects, picker: KeyPicker, mix: Mix, requests: u64) -> Self {
        Self { codec, objects, picker, mix, left: requests }
    }
}

impl<C: Codec> Source for Mixed<'_, C> {
    #[inline]
    fn fill(&mut self, _connection: usize, count: u32, out: &mut Vec<u8>) -> u32 {
        let count = u64::from(count).min(self.left) as u32;
        self.left -= u64::from(count);
        let mut buffer = [0; KEY_BYTES_MAX];
        for _ in 0..count {
            let (index, random) = self.picker.pick();
            let key = self.objects.key(index, &mut buffer);
            match self.mix.pick(random) {
                Operation::Get => self.codec.get(out, key),
                Operation::Set => self.codec.set(out, key, self.objects.value(index)),
                Operation::Delete => self.codec.delete(out, key),
            }
        }
        count
    }
}

/// Each key once, in order: writes them (preload) or reads them (its verification).
pub struct Sweep<'a, C> {
    codec: &'a C,
    objects: &'a Objects,
    operation: Operation,
    left: Range<u64>,
}

impl<'a, C: Codec> Sweep<'a, C> {
    /// Over all objects.
    pub fn new(codec: &'a C, objects: &'a Objects, operation: Operation) -> Self {
        Self::over(codec, objects, operation, 0..objects.count())
    }

    /// Over some objects.
    pub fn over(codec: &'a C, objects: &'a Objects, operation: Operation, numbers: Range<u64>) -> Self {
        Self { codec, objects, operation, left: numbers }
    }
}

impl<C: Codec> Source for Sweep<'_, C> {
    fn fill(&mut self, _connection: usize, count: u32, out: &mut Vec<u8>) -> u32 {
        let count = u64::from(count).min(self.left.end - self.left.start) as u32;
        let mut buffer = [0; KEY_BYTES_MAX];
        for index in self.left.by_ref().take(count as usize) {
            let key = self.objects.key(index, &mut buffer);
            match self.operation {
                Operation::Get => self.codec.get(out, key),
                Operation::Set => self.codec.set(out, key, self.objects.value(index)),
                Operation::Delete => self.codec.delete(out, key),
            }
        }
        count
    }
}

/// Mean sizes on the wire of one request and of its reply when every read hits, bytes: what an
/// echo server has to move to stand for this workload.
pub fn wire_bytes<C: Codec>(codec: &C, objects: &Objects, mix: Mix) -> Result<(u32, u32), BenchError> {
    let samples = objects.count().min(1_000);
    let mut buffer = [0; KEY_BYTES_MAX];
    let (mut request, mut reply) = (0.0, 0.0);
    for index in 0..samples {
        let key = objects.key(index, &mut buffer);
        let value = objects.value(index);
        let mut sizes = [0.0; 3];
        let mut out = Vec::new();
        codec.get(&mut out, key);
        sizes[0] = out.len() as f64;
        out.clear();
        codec.set(&mut out, key, value);
        sizes[1] = out.len() as f64;
        out.clear();
        codec.delete(&mut out, key);
        sizes[2] = out.len() as f64;
        let replies = codec.reply_bytes(key, value).map(|bytes| bytes as f64);
        let shares = mix.shares();
        for at in 0..3 {
            request += shares[at] * sizes[at];
            reply += shares[at] * replies[at];
        }
    }
    let mean = |sum: f64| (sum / samples as f64).round() as u32;
    if mean(request) == 0 || mean(reply) == 0 {
        let reason = "requests or replies without bytes cannot be echoed";
        return Err(BenchError::setting("value-size", reason));
    }
    Ok((mean(request), mean(reply)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{memcache::Memcache, resp::Resp};

    fn objects(count: u64, key: u32, value: u32) -> Objects {
        let keys = KeySpace::new(count, SizeDistribution::Fixed(key)).unwrap();
        Objects::new(keys, SizeDistribution::Fixed(value))
    }

    #[test]
    fn a_sweep_writes_every_key_once_and_ends() {
        let objects = objects(5, 4, 2);
        let mut sweep = Sweep::new(&Memcache, &objects, Operation::Get);
        let mut out = Vec::new();
        assert_eq!(sweep.fill(0, 3, &mut out), 3);
        assert_eq!(sweep.fill(1, 3, &mut out), 2);
        assert_eq!(sweep.fill(0, 3, &mut out), 0);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "get 0000\r\nget 0001\r\nget 0002\r\nget 0003\r\nget 0004\r\n");
    }

    #[test]
    fn a_counted_load_ends_at_its_count() {
        let objects = objects(5, 4, 2);
        let picker = KeyPicker::new(keys::KeyDistribution::Uniform, 5, 1);
        let mix = "get=1".parse().unwrap();
        let mut load = Mixed::new(&Memcache, &objects, picker, mix, 5);
        let mut out = Vec::new();
        assert_eq!(load.fill(0, 4, &mut out), 4);
        assert_eq!(load.fill(0, 4, &mut out), 1);
        assert_eq!(load.fill(0, 4, &mut out), 0);
        assert_eq!(out.len(), 5 * "get 0000\r\n".len());
    }

    #[test]
    fn wire_sizes_are_the_weighted_means() {
        let objects = objects(100, 16, 64);
        let mix = "get=9,set=1".parse().unwrap();
        // GET 36 and SET 107 bytes; $64 reply 71 and +OK 5.
        assert_eq!(wire_bytes(&Resp, &objects, mix).unwrap(), (43, 64));
    }
}
