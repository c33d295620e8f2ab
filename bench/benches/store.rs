//! The index alone, and the shard without a server around it. Each bench checks what it did, so
//! that no work is optimised away or skipped.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use torc_bench::workload::{
    keys::KeyPicker,
    objects::{KEY_BYTES_MAX, Objects},
};
use torc_engine::{
    Shard, ShardConfig,
    command::{Command, Op, Outcome, Read, Write},
    index::{Index, Slot},
};

/// Requests that one turn of a server's loop works off in stages.
const BATCH: usize = 64;

const NOW: u64 = 1_700_000_000_000;

/// How many items: the canonical million when measuring, few when the bench only has to run
/// (`cargo test` starts it without `--bench`).
fn items() -> u64 {
    match std::env::args().any(|argument| argument == "--bench") {
        true => 1_000_000,
        false => 1_000,
    }
}

fn index(criterion: &mut Criterion) {
    let count = items();
    // Eight slots a bucket, two thirds of them taken.
    let homes = (count as usize).div_ceil(5);
    let hash = |number: u64| number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut index = Index::new(homes, usize::MAX >> 20).expect("address space");
    for number in 0..count {
        let slot = Slot::new(hash(number), number * 128, 96);
        index.insert(hash(number), slot).expect("a third of the slots is free");
    }
    let mut group = criterion.benchmark_group("index");
    let mut order = KeyPicker::uniform(count, 1);
    group.bench_function("find", |bencher| {
        bencher.iter(|| {
            let number = order.pick().0;
            let found = index.find(hash(number), |slot| slot.location() == number * 128);
            assert!(found.is_some());
        });
    });
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("find, a batch prefetched", |bencher| {
        bencher.iter(|| {
            let numbers: [u64; BATCH] = std::array::from_fn(|_| order.pick().0);
            numbers.iter().for_each(|number| index.prefetch(hash(*number)));
            for number in numbers {
                let found = index.find(hash(number), |slot| slot.location() == number * 128);
                assert!(found.is_some());
            }
        });
    });
    group.finish();
}

fn filled(objects: &Objects) -> Shard {
    let mut shard = Shard::new(ShardConfig { now: NOW, ..ShardConfig::new(1 << 30) }).expect("memory");
    for number in 0..objects.count() {
        set(&mut shard, objects, number);
    }
    shard
}

fn set(shard: &mut Shard, objects: &Objects, number: u64) {
    let mut buffer = [0; KEY_BYTES_MAX];
    let key = objects.key(number, &mut buffer);
    let op = Op::Write(Write::set(objects.value(number)));
    let hash = shard.hash(0, key);
    assert!(matches!(shard.execute(&Command { database: 0, key, op }, hash, NOW), Outcome::Stored { .. }));
}

fn is_hit(shard: &mut Shard, key: &[u8], hash: u64) -> bool {
    let op = Op::Read(Read::default());
    matches!(black_box(shard.execute(&Command { database: 0, key, op }, hash, NOW)), Outcome::Item(_))
}

fn shard(criterion: &mut Criterion) {
    let count = items();
    let objects = Objects::new(count, 16, 64).expect("16 digits hold any number");
    let mut shard = filled(&objects);
    let mut order = KeyPicker::uniform(count, 1);
    let mut group = criterion.benchmark_group("shard");
    group.bench_function("get, hit", |bencher| {
        bencher.iter(|| {
            let mut buffer = [0; KEY_BYTES_MAX];
            let key = objects.key(order.pick().0, &mut buffer);
            let hash = shard.hash(0, key);
            assert!(is_hit(&mut shard, key, hash));
        });
    });
    group.bench_function("get, miss", |bencher| {
        bencher.iter(|| {
            let mut buffer = [0; KEY_BYTES_MAX];
            let key = objects.key(count + order.pick().0, &mut buffer);
            let hash = shard.hash(0, key);
            assert!(!is_hit(&mut shard, key, hash));
        });
    });
    group.bench_function("set, overwriting", |bencher| {
        bencher.iter(|| {
            set(&mut shard, &objects, order.pick().0);
            shard.maintain(NOW, 8);
        });
    });
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("get, a batch in stages", |bencher| {
        bencher.iter(|| batch(&mut shard, &objects, &mut order));
    });
    group.finish();
}

/// What a turn of the loop does with its requests: hash and prefetch all, then execute all.
fn batch(shard: &mut Shard, objects: &Objects, order: &mut KeyPicker) {
    let mut keys = [[0; 16]; BATCH];
    let mut hashes = [0; BATCH];
    for (key, hash) in keys.iter_mut().zip(&mut hashes) {
        key.copy_from_slice(objects.key(order.pick().0, &mut [0; KEY_BYTES_MAX]));
        *hash = shard.hash(0, key);
        shard.prefetch_bucket(0, *hash);
    }
    hashes.iter().for_each(|hash| shard.prefetch_item(0, *hash));
    for (key, hash) in keys.iter().zip(hashes) {
        assert!(is_hit(shard, key, hash));
    }
}

criterion_group!(benches, index, shard);
criterion_main!(benches);
