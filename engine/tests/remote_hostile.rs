//! Memory that is read from another machine is in other hands: whatever it holds, a look ends after a few rounds, without a panic, and
//! reads nothing but whole words of the head or of one frame.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};
use torc_engine::command::{Command, Op, Read, Write};
use torc_engine::reader::{Doubt, Look, ReadRoom};
use torc_engine::remote::{
    LANDING_WORDS, Query, ROUNDS_MAX, ReadList, RemoteOptions, RemoteRead, RemoteShard, Step, Times,
};
use torc_engine::{Shard, ShardConfig};

const SEGMENT_BYTES: usize = 64 << 10;
const KEYS: u32 = 3000;

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

/// What an adversary answers a READ with: the word that is there, or what he likes.
type Answer<'a> = &'a mut dyn FnMut(usize) -> Option<u64>;

/// `false`: something is not there.
fn post(list: &ReadList, landing: &[AtomicU64], head_bytes: u64, answer: Answer<'_>) -> bool {
    assert!(!list.is_empty());
    list.iter().all(|piece| {
        let end = piece.at + u64::from(piece.bytes);
        assert!(piece.bytes > 0 && piece.bytes.is_multiple_of(8) && piece.at.is_multiple_of(8));
        if piece.at >= head_bytes {
            let frame = |at: u64| (at - head_bytes) / SEGMENT_BYTES as u64;
            assert_eq!(frame(piece.at), frame(end - 1), "{piece:?} is of one frame");
        } else {
            assert!(end <= head_bytes, "{piece:?} is of the head");
        }
        let to = &landing[piece.into as usize / 8..][..piece.bytes as usize / 8];
        to.iter()
            .zip(piece.at as usize / 8..)
            .all(|(word, at)| answer(at).map(|value| word.store(value, Ordering::Relaxed)).is_some())
    })
}

/// Looks up what may be there and what is not. Returns hits, misses and doubts.
fn look(
    shard: &mut RemoteShard,
    head_bytes: u64,
    looks: u32,
    random: &mut Random,
    answer: Answer<'_>,
) -> [usize; 3] {
    let landing: Vec<AtomicU64> = (0..LANDING_WORDS).map(|_| AtomicU64::new(0)).collect();
    let (mut room, mut came) = (ReadRoom::new(), [0; 3]);
    for _ in 0..looks {
        let key = (random.below(KEYS as usize * 2) as u32).to_le_bytes();
        let hash = if random.below(4) == 0 { random.next() } else { shard.hash(&key) };
        let read = Read { leases: random.below(2) == 0, ..Read::default() };
        let database = if random.below(8) == 0 { random.below(80) as u16 } else { 0 };
        let query = Query { database, key: &key, hash, read: &read };
        let passed_max = if random.below(4) == 0 { random.next() } else { 0 };
        let times = Times { now: 0, lease_end: 1, passed_max };
        let mut rounds = 0;
        let Ok((mut remote, mut list)) = RemoteRead::begin(shard, &query, times) else {
            came[2] += 1;
            continue;
        };
        loop {
            rounds += 1;
            assert!(rounds <= ROUNDS_MAX, "a look ends");
            if !post(&list, &landing, head_bytes, answer) {
                shard.count_doubt(Doubt::Unregistered);
                came[2] += 1;
                break;
            }
            match remote.landed(shard, &query, &landing, 0, &mut room) {
                Step::Read(next) => list = next,
                Step::Done(look) => {
                    came[match look {
                        Ok(Look::Hit { .. }) => 0,
                        Ok(_) => 1,
                        Err(_) => 2,
                    }] += 1;
                    break;
                }
            }
        }
    }
    came
}

fn attach(words: &[u64]) -> Option<(RemoteShard, u64)> {
    let constants: Vec<AtomicU64> = words.iter().take(16).map(|word| AtomicU64::new(*word)).collect();
    let options = RemoteOptions { epoch: words[112], places: 64 };
    let shard = RemoteShard::attach(&constants, words.len() * 8, &options).ok()?;
    // Frames of another size than they are said to have are the adversary's business.
    (words[4] == u64::from(SEGMENT_BYTES.trailing_zeros())).then_some((shard, words[8]))
}

#[test]
fn whatever_memory_holds_a_look_ends() {
    let (whole, mut random) = (words(), Random(0x5EED_5EED));
    let head = whole[8] as usize / 8;
    let mut came = [0; 3];
    for round in 0..900 {
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
        let Some((mut shard, head_bytes)) = attach(&words) else { continue };
        let told = look(&mut shard, head_bytes, 50, &mut random, &mut |at| words.get(at).copied());
        came.iter_mut().zip(told).for_each(|(all, told)| *all += told);
    }
    assert!(came.iter().all(|count| *count > 300), "{came:?}");
}

/// No two READs of a word need to give the same.
#[test]
fn memory_that_changes_at_random_is_read_without_a_panic() {
    let (whole, mut random, mut other) = (words(), Random(99), Random(3));
    let mut came = [0; 3];
    for round in 0..200 {
        let (mut shard, head_bytes) = attach(&whole).unwrap();
        // From a word in four to one in a thousand.
        let seldom = 4 << (round % 9);
        let mut answer = |at: usize| match other.below(seldom) {
            0 => Some(other.next()),
            _ => whole.get(at).copied(),
        };
        let told = look(&mut shard, head_bytes, 200, &mut random, &mut answer);
        came.iter_mut().zip(told).for_each(|(all, told)| *all += told);
    }
    assert!(came.iter().all(|count| *count > 300), "{came:?}");
}

/// The slots of a bucket may all have the tag, and all buckets may be in reach.
#[test]
fn an_adversary_does_not_keep_a_reader_busy() {
    let (whole, mut random) = (words(), Random(5));
    let head = whole[8] as usize / 8;
    let (mut shard, head_bytes) = attach(&whole).unwrap();
    let key = 7u32.to_le_bytes();
    let tag = (shard.hash(&key) & 0xFFFF) << 48 | 1 << 44;
    let mut answer = |at: usize| match at {
        at if at < head => whole.get(at).copied(),
        at if (at - head).is_multiple_of(8) => Some(u64::MAX),
        at => Some(tag | at as u64 & 0xFFF),
    };
    let told = look(&mut shard, head_bytes, 500, &mut random, &mut answer);
    assert_eq!((told[0], told[1]), (0, 0), "{told:?}");
}
