//! A file that a reader maps is in other hands: whatever it holds, a look ends soon, inside the mapping, without a panic.

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_engine::command::{Command, Op, Read, Write};
use torc_engine::mapped::{Counts, MappedClock, MappedShard};
use torc_engine::reader::ReadRoom;
use torc_engine::{Shard, ShardConfig};

const SEGMENT_BYTES: usize = 64 << 10;
const KEYS: u32 = 3000;
/// The longest look that a loaded machine may need: far more than any should take, and less than for ever.
const LOOK_MAX: Duration = Duration::from_secs(20);

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // All sizes are as likely.
        self.0 >> (self.0 % 64)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() as usize ^ self.0 as usize) % bound
    }
}

/// The words of a file that a shard has filled.
fn words() -> Vec<u64> {
    let config = ShardConfig {
        segment_bytes: SEGMENT_BYTES,
        shared_memory: true,
        now: 1,
        ..ShardConfig::new(1 << 20)
    };
    let mut shard = Shard::new(config).unwrap();
    for number in 0..KEYS {
        let (key, value) = (number.to_le_bytes(), vec![1; number as usize % 300]);
        let hash = shard.hash(0, &key);
        shard.execute(&Command { database: 0, key: &key, op: Op::Write(Write::set(&value)) }, hash, 1);
    }
    let mut bytes = Vec::new();
    File::from(shard.to_read().unwrap().unwrap()).read_to_end(&mut bytes).unwrap();
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}

/// A file of these bytes that cannot be cut off.
fn file_of(bytes: &[u8]) -> OwnedFd {
    // SAFETY: the name is a C string; the descriptor is new and nobody else's.
    let mut file =
        unsafe { File::from_raw_fd(libc::memfd_create(c"hostile".as_ptr(), libc::MFD_ALLOW_SEALING)) };
    file.write_all(bytes).unwrap();
    // SAFETY: the call takes numbers.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) }, 0);
    file.into()
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Looks up what may be there and what is not, fetched ahead as clients do.
fn look(shard: &MappedShard, looks: u32, random: &mut Random) {
    let mut room = ReadRoom::new();
    for _ in 0..looks {
        let key = (random.below(KEYS as usize * 2) as u32).to_le_bytes();
        let hash = if random.below(4) == 0 { random.next() } else { shard.hash(&key) };
        let read = Read { leases: random.below(2) == 0, ..Read::default() };
        let begun = Instant::now();
        shard.prefetch_bucket(0, hash);
        shard.prefetch_item(0, hash);
        let _ = shard.read((0, &key), hash, &read, random.next(), &mut room);
        assert!(begun.elapsed() < LOOK_MAX);
    }
}

fn open_and_look(words: &[u64], random: &mut Random) {
    if let Ok(shard) = MappedShard::open(file_of(&bytes_of(words))) {
        look(&shard, 50, random);
    }
}

#[test]
fn whatever_a_file_holds_a_look_ends() {
    let (whole, mut random) = (words(), Random(0x5EED_5EED));
    let head = whole[8] as usize / 8;
    for round in 0..600 {
        let mut words = whole.clone();
        match round % 6 {
            // Constants, one or some.
            0 => (0..1 + random.below(3)).for_each(|_| words[random.below(9)] = random.next()),
            // Geometry and flushes; an even sequence is read on.
            1 => {
                (128..132).for_each(|word| words[word] = random.next() & !1);
                words[144 + random.below(2)] = random.next();
            }
            // Generations and chunks.
            2 => (512..head).for_each(|word| {
                let value = random.next();
                words[word] = if value.is_multiple_of(2) { value } else { !value };
            }),
            // Buckets and items, words here and there.
            3 => (0..20_000).for_each(|_| {
                let word = head + random.below(whole.len() - head);
                words[word] = random.next();
            }),
            // Slots that name anything.
            4 => words[head..head + SEGMENT_BYTES / 8].iter_mut().for_each(|word| *word ^= random.next()),
            _ => words.iter_mut().skip(9).for_each(|word| *word = random.next()),
        }
        open_and_look(&words, &mut random);
    }
}

#[test]
fn a_file_that_ends_anywhere_is_refused_or_read_up_to_its_end() {
    let (whole, mut random) = (words(), Random(77));
    for _ in 0..100 {
        let mut bytes = bytes_of(&whole);
        bytes.truncate(random.below(bytes.len()));
        if let Ok(shard) = MappedShard::open(file_of(&bytes)) {
            look(&shard, 200, &mut random);
        }
        let _ = MappedClock::open(file_of(&bytes));
    }
}

/// Somebody writes anything to the file while it is read.
#[test]
fn a_file_that_changes_at_random_is_read_without_a_panic() {
    let (whole, mut random) = (words(), Random(99));
    let file = file_of(&bytes_of(&whole));
    let map: MmapRaw = MmapOptions::new().map_raw(&file).unwrap();
    // SAFETY: aligned words of the mapping, which outlives them, and only used as such.
    let all = unsafe { std::slice::from_raw_parts(map.as_ptr().cast::<AtomicU64>(), whole.len()) };
    let shard = MappedShard::open(file).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(3);
            while !done.load(Ordering::Relaxed) {
                let word = 9 + random.below(whole.len() - 9);
                // Now and then what was there comes back, so that looks go deep.
                let value = if random.below(3) == 0 { random.next() } else { whole[word] };
                all[word].store(value, Ordering::Relaxed);
                (128..132)
                    .for_each(|word| all[word].store(whole[word] ^ (random.next() % 2), Ordering::Relaxed));
            }
        });
        // Until there was some of each: how soon depends on when the other thread gets a turn.
        let enough = Instant::now() + LOOK_MAX;
        let has_all = || {
            let Counts { hits, misses, doubts } = shard.counts();
            hits > 0 && misses > 0 && doubts.iter().sum::<u64>() > 1000
        };
        look(&shard, 50_000, &mut random);
        while !has_all() && Instant::now() < enough {
            look(&shard, 5_000, &mut random);
        }
        done.store(true, Ordering::Relaxed);
        assert!(has_all(), "{:?}", shard.counts());
    });
}
