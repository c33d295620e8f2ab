//! A load that writes new keys all the time and reads among the latest: with little memory every
//! write makes the cache evict, yet reads hit, as the keys that they ask for are young.

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    codec::Codec,
    workload::{
        Source,
        keys::scale,
        mix::{Mix, Operation},
        objects::Objects,
    },
};

/// Which keys a churn writes and reads; goes on over several runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Reads ask for one of this many latest keys; at least 1.
    pub(super) keys: u64,
    /// Writes start again at key 0 after this many: nothing new is written, nothing evicted.
    pub(super) cycle: Option<u64>,
    /// Writes so far; at least `keys`.
    pub(super) written: u64,
}

impl Window {
    fn number(&self, write: u64) -> u64 {
        self.cycle.map_or(write, |cycle| write % cycle)
    }

    fn read(&self, random: u64) -> u64 {
        // Not the very latest: its write may still be under way on another connection.
        let newest = self.written.saturating_sub(self.keys / 4);
        let oldest = self.written - self.keys;
        let span = (newest - oldest).max(1);
        self.number(oldest + scale(random, span))
    }

    fn write(&mut self) -> u64 {
        self.written += 1;
        self.number(self.written - 1)
    }
}

pub(super) struct Churn<'a, C> {
    codec: &'a C,
    objects: &'a Objects,
    mix: Mix,
    window: &'a mut Window,
    random: SmallRng,
}

impl<'a, C: Codec> Churn<'a, C> {
    pub(super) fn new(
        codec: &'a C,
        objects: &'a Objects,
        mix: Mix,
        window: &'a mut Window,
        seed: u64,
    ) -> Self {
        Self { codec, objects, mix, window, random: SmallRng::seed_from_u64(seed) }
    }
}

impl<C: Codec> Source for Churn<'_, C> {
    fn fill(&mut self, _connection: usize, count: u32, out: &mut Vec<u8>) -> u32 {
        for _ in 0..count {
            let operation = self.mix.pick(self.random.next_u64() as u32);
            let number = match operation {
                Operation::Get => self.window.read(self.random.next_u64()),
                Operation::Set => self.window.write(),
            };
            self.objects.write_request(self.codec, operation, number, out);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stay_among_the_latest_writes() {
        let mut window = Window { keys: 100, cycle: None, written: 1_000 };
        for random in [0, u64::MAX / 2, u64::MAX] {
            assert!((900..975).contains(&window.read(random)));
        }
        assert_eq!(window.write(), 1_000);
        assert_eq!(window.written, 1_001);
    }

    #[test]
    fn a_cycle_writes_nothing_new() {
        let mut window = Window { keys: 10, cycle: Some(10), written: 10 };
        let numbers: Vec<u64> = (0..20).map(|_| window.write()).collect();
        assert!(numbers.iter().all(|&number| number < 10));
        assert!(window.read(u64::MAX) < 10);
    }
}
