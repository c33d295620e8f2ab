//! What is asked of the server: keys, values and the order of operations, written as requests of
//! one protocol by a [`Source`].

pub mod args;
pub mod keys;
pub mod mix;
pub mod objects;
pub mod trace;

use std::ops::Range;

use crate::codec::Codec;
use keys::KeyPicker;
use mix::{Mix, Operation};
use objects::Objects;

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
        for _ in 0..count {
            let (number, random) = self.picker.pick();
            self.objects.write_request(self.codec, self.mix.pick(random), number, out);
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
    /// Over the keys with these numbers.
    pub fn new(codec: &'a C, objects: &'a Objects, operation: Operation, left: Range<u64>) -> Self {
        Self { codec, objects, operation, left }
    }
}

impl<C: Codec> Source for Sweep<'_, C> {
    fn fill(&mut self, _connection: usize, count: u32, out: &mut Vec<u8>) -> u32 {
        let numbers = self.left.by_ref().take(count as usize);
        let write = |number| self.objects.write_request(self.codec, self.operation, number, out);
        numbers.map(write).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::memcache::Memcache;

    #[test]
    fn a_sweep_writes_every_key_once_and_ends() {
        let objects = Objects::new(5, 4, 2).unwrap();
        let mut sweep = Sweep::new(&Memcache, &objects, Operation::Get, 0..5);
        let mut out = Vec::new();
        assert_eq!(sweep.fill(0, 3, &mut out), 3);
        assert_eq!(sweep.fill(1, 3, &mut out), 2);
        assert_eq!(sweep.fill(0, 3, &mut out), 0);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "get 0000\r\nget 0001\r\nget 0002\r\nget 0003\r\nget 0004\r\n");
    }

    #[test]
    fn a_counted_load_ends_at_its_count() {
        let objects = Objects::new(5, 4, 2).unwrap();
        let mut load = Mixed::new(&Memcache, &objects, KeyPicker::uniform(5, 1), Mix::READS, 5);
        let mut out = Vec::new();
        assert_eq!(load.fill(0, 4, &mut out), 4);
        assert_eq!(load.fill(0, 4, &mut out), 1);
        assert_eq!(load.fill(0, 4, &mut out), 0);
        assert_eq!(out.len(), 5 * "get 0000\r\n".len());
    }
}
