//! Somebody else reads the words of a shard while its owner changes them.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const KEYS: u64 = 200;
const WRITES: u64 = 100_000;
const VALUE_WORDS: usize = 8;
/// Of a word in which all bytes are the same number.
const ALL_BYTES: u64 = 0x0101_0101_0101_0101;

/// Index and segments, by their addresses.
#[derive(Clone, Copy)]
struct Memory {
    buckets: usize,
    bucket_count: usize,
    arena: usize,
}

impl Memory {
    fn of(shard: &Shard) -> Memory {
        Memory {
            buckets: shard.index.address() as usize,
            bucket_count: shard.index.buckets(),
            arena: shard.segments.address() as usize,
        }
    }

    fn word(address: usize, order: Ordering) -> u64 {
        assert!(address.is_multiple_of(8));
        // SAFETY: an aligned word of the index or of the segments, which stay mapped while their shard lives and are only
        // written as words.
        unsafe { AtomicU64::from_ptr(address as *mut u64) }.load(order)
    }

    /// Reads the item of a slot, if the slot stays; checks what a reader relies on.
    fn read(self, bucket: usize, number: usize) -> bool {
        let place = self.buckets + bucket * 64 + 8 + number * 8;
        let slot = Self::word(place, Ordering::Acquire);
        if slot == 0 {
            return false;
        }
        let item = self.arena + Slot::from_bits(slot).location() as usize;
        let [version, state_word, key] = [0, 8, 16].map(|at| Self::word(item + at, Ordering::Relaxed));
        let value: [u64; VALUE_WORDS] =
            std::array::from_fn(|word| Self::word(item + 24 + word * 8, Ordering::Relaxed));
        std::sync::atomic::fence(Ordering::Acquire);
        if Self::word(place, Ordering::Relaxed) != slot {
            return false;
        }
        assert!(version > 0 && key < KEYS);
        assert_eq!(state_word >> 8, (VALUE_WORDS as u64 * 8) << 24 | 8 << 8, "presence and lengths");
        assert!(value.iter().all(|&word| word == value[0]), "{value:?} is not one value");
        assert_eq!(value[0], value[0] % 256 * ALL_BYTES, "a torn word");
        true
    }
}

/// Without reuse of memory, which is for readers to exclude by rules of their own.
#[test]
fn a_published_slot_leads_to_a_whole_item() {
    let mut shard = Shard::new(ShardConfig::new(64 << 20)).unwrap();
    let mut write = |number: u64| {
        let value = (number % 256 * ALL_BYTES).to_le_bytes().repeat(VALUE_WORDS);
        set(&mut shard, &(number % KEYS).to_le_bytes(), &value);
        Memory::of(&shard)
    };
    let memory = write(0);
    let done = AtomicBool::new(false);
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut read, mut at) = (0u64, 0);
            while !done.load(Ordering::Relaxed) {
                read += u64::from(memory.read(at / 7 % memory.bucket_count, at % 7));
                at += 1;
            }
            read
        });
        (1..WRITES).for_each(|number| assert_eq!(write(number).bucket_count, memory.bucket_count));
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(read > 0, "the reader has met items");
}
