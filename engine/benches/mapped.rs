//! What a look at a shard's memory costs, from the process that has it and through a mapping as other processes have it: one
//! thread, uniform keys, values of 64 bytes.
//!
//! `cargo bench -p torc-engine --bench mapped`; run by `cargo test` it has few keys.

use std::hint::black_box;
use std::time::Instant;
use torc_engine::command::{Command, Op, Read, Write};
use torc_engine::mapped::{ClockWords, MappedClock, MappedShard};
use torc_engine::reader::{Doubt, Look, Place, ReadRoom};
use torc_engine::{Shard, ShardConfig};

const VALUE_BYTES: usize = 64;

/// Keys of 16 bytes, as the load generator has them.
fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn shard(keys: u64, shared_memory: bool) -> Shard {
    let config =
        ShardConfig { shared_memory, seed: 5, now: 1, ..ShardConfig::new((keys * 256).max(16 << 20)) };
    let mut shard = Shard::new(config).expect("memory for the keys");
    for number in 0..keys {
        let key = key(number);
        let hash = shard.hash(0, &key);
        let value = [number as u8; VALUE_BYTES];
        shard.execute(&Command { database: 0, key: &key, op: Op::Write(Write::set(&value)) }, hash, 1);
        shard.maintain(1, 8);
    }
    assert_eq!(shard.stats().items.read(), keys, "all keys fit");
    shard
}

/// Times looks one by one, and then together, as reading a clock costs about as much as a look.
fn measure(what: &str, keys: u64, looks: usize, mut look: impl FnMut(&[u8; 16]) -> bool) {
    let mut random = Random(1);
    let mut times: Vec<u32> = Vec::with_capacity(looks);
    let mut hits = 0;
    for _ in 0..looks {
        let key = key(random.next() % keys);
        let begun = Instant::now();
        hits += usize::from(look(&key));
        times.push(begun.elapsed().as_nanos() as u32);
    }
    let begun = Instant::now();
    for _ in 0..looks {
        hits += usize::from(look(&key(random.next() % keys)));
    }
    let mean = begun.elapsed().as_nanos() as f64 / looks as f64;
    times.sort_unstable();
    let at = |percent: usize| times[(looks - 1) * percent / 100];
    println!(
        "{what}: median {} ns, 99 % {} ns (with two looks at a clock); mean {mean:.0} ns; {hits} hits of {}",
        at(50),
        at(99),
        2 * looks
    );
}

fn is_hit(look: Result<Look<'_>, Doubt>) -> bool {
    match look {
        Ok(Look::Hit { found, .. }) => {
            black_box(found.value.len());
            true
        }
        _ => false,
    }
}

fn main() {
    // Whoever asks which tests there are finds none.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let (keys, looks) = if is_test { (10_000, 10_000) } else { (1_000_000, 2_000_000) };
    let (read, mut room) = (Read::default(), ReadRoom::new());
    println!("{keys} keys, values of {VALUE_BYTES} bytes, {looks} looks each");
    measure("two looks at a clock", keys, looks, |key| !black_box(key).is_empty());

    let own = shard(keys, false);
    let sibling = own.reader();
    measure("a sibling, own memory", keys, looks, |key| {
        is_hit(sibling.read((0, key), own.hash(0, key), &read, 1, &mut room))
    });
    drop(own);

    let shared = shard(keys, true);
    let sibling = shared.reader();
    measure("a sibling, shared memory", keys, looks, |key| {
        is_hit(sibling.read((0, key), shared.hash(0, key), &read, 1, &mut room))
    });
    let words = ClockWords::shared().expect("a page");
    let open = |file: std::io::Result<Option<_>>| file.expect("a descriptor").expect("it is shared");
    let clock = MappedClock::open(open(words.to_read())).expect("the same time namespace");
    let mapped = MappedShard::open(open(shared.to_read())).expect("a mapping");
    measure("another process' mapping, with the server's time", keys, looks, |key| {
        is_hit(mapped.read((0, key), mapped.hash(key), &read, clock.now(), &mut room))
    });
    let place_of =
        |number| match mapped.read((0, &key(number)), mapped.hash(&key(number)), &read, 1, &mut room) {
            Ok(Look::Hit { place, .. }) => place,
            other => panic!("{other:?}"),
        };
    let places: Vec<Place> = (0..keys).map(place_of).collect();
    let number_in =
        |key: &[u8; 16]| key[4..].iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    measure("the same, where it was found before", keys, looks, |key| {
        is_hit(mapped.read_again(&places[number_in(key)], (0, key), &read, clock.now(), &mut room))
    });
}
