//! Eviction and what a tier is about to get: an item is dropped when its copy is safe, and not before.

use super::readers_steps::Random;
use super::unsaved::Tier;
use super::*;
use crate::eviction::Algorithm;

const KEYS: u32 = 3000;
/// Items that are not saved: few beside those that fill the memory.
const UNSAVED: u32 = 60;

fn value(number: u32) -> Vec<u8> {
    vec![number as u8; 1000]
}

/// A full shard, most of whose items are on the tier alone.
fn full(shard: &mut Shard, tier: &mut Tier) {
    for number in 0..KEYS {
        set(shard, &number.to_le_bytes(), &value(number));
        if number % 20 == 19 {
            tier.save(shard);
        }
    }
    assert!(shard.stats().evictions.read() > 1000);
}

/// Reads bring so much back that all that was in DRAM makes room.
fn read_all(shard: &mut Shard, tier: &Tier, keys: std::ops::Range<u32>) {
    for number in keys {
        let (_, found) = tier.get(shard, &number.to_le_bytes(), NOW);
        assert!(found == Some(value(number)), "{number}");
    }
}

/// A place was left, which its item was told anew for, and the item was evicted before it was taken: it was on the tier, in
/// DRAM, read lately, and missed.
#[test]
fn what_is_told_anew_stays_until_it_is_saved() {
    for algorithm in Algorithm::ALL {
        let (mut shard, mut tier) = (evicting(algorithm), Tier::default());
        full(&mut shard, &mut tier);
        let newest = KEYS - UNSAVED..KEYS;
        read_all(&mut shard, &tier, newest.clone());
        for number in newest.clone() {
            let hash = shard.hash(0, &number.to_le_bytes());
            let (_, entry) = shard.index.find_elsewhere(hash).unwrap();
            assert!(shard.leave_place(hash, entry.place, true), "{number} was read, and is in DRAM");
        }
        let moved = shard.stats().relocations.read();
        read_all(&mut shard, &tier, 0..KEYS - UNSAVED);
        let moved = shard.stats().relocations.read() - moved;
        let once = algorithm != Algorithm::S3Fifo || moved < 2 * u64::from(UNSAVED);
        assert!(
            once,
            "{moved} moves: they are met once in the main queue, and again and again in the small one"
        );
        for number in newest.clone() {
            let found = get(&mut shard, &number.to_le_bytes(), NOW);
            assert!(found == Some(value(number)), "{algorithm:?}: {number} is {found:?}");
        }
        assert_eq!((shard.unsaved(), shard.stats().evictions_unsaved.read()), (UNSAVED as usize, 0));
        tier.save(&mut shard);
        for _ in 0..3 {
            read_all(&mut shard, &tier, 0..KEYS - UNSAVED);
        }
        assert_eq!(shard.unsaved(), 0);
        let held = newest.filter(|number| ticket(&shard, &number.to_le_bytes()).is_none()).count();
        assert!(held < UNSAVED as usize, "then it makes room as others do, and {held} are in DRAM");
        shard.audit().unwrap();
    }
}

/// An item that was being saved was evicted: it missed until it was saved, and was there again.
#[test]
fn what_is_being_saved_does_not_miss_meanwhile() {
    for len in [1000, 100_000] {
        let (mut shard, mut tier) = (evicting(Algorithm::S3Fifo), Tier::default());
        full(&mut shard, &mut tier);
        set(&mut shard, b"key", &vec![7; len]);
        let told = tier.take(&mut shard, usize::MAX);
        read_all(&mut shard, &tier, 0..KEYS);
        assert!(get(&mut shard, b"key", NOW) == Some(vec![7; len]), "{len}");
        told.iter().for_each(|told| told.saved(&mut shard));
        read_all(&mut shard, &tier, 0..KEYS);
        read_all(&mut shard, &tier, 0..KEYS);
        assert!(tier.get(&mut shard, b"key", NOW) == (true, Some(vec![7; len])), "{len}");
        assert_eq!(shard.held(), (0, 0));
        shard.audit().unwrap();
    }
}

/// What eviction kept of one segment belonged to more write classes than there were segments to open for them, and what came last was
/// lost before it was saved, while segments of other classes had room; so was what a command met that found no segment for a
/// class, while others had much that was saved.
#[test]
fn what_is_not_saved_stays_whatever_write_class_it_has() {
    const TTLS: [Option<Millis>; 6] =
        [None, Some(10_000), Some(50_000), Some(100_000), Some(500_000), Some(3_000_000)];
    for (ttls, long_percent, keys) in [(2, 10, 1500), (4, 10, 3000), (6, 0, 1500)] {
        for seed in 0..8 {
            let (mut shard, mut tier) = (evicting(Algorithm::S3Fifo), Tier::default());
            let mut random = Random(seed);
            for _ in 0..300 {
                for _ in 0..90 {
                    let key = (random.below(keys) as u32).to_le_bytes();
                    if random.below(10) > 0 {
                        tier.get(&mut shard, &key, NOW);
                        continue;
                    }
                    let ttl = TTLS[random.below(ttls) as usize];
                    let expiry = ttl.map_or(Expiry::Never, |ttl| Expiry::At(NOW + ttl));
                    let is_long = random.below(100) < long_percent;
                    let len = if is_long { 20_000 } else { 1 + random.below(2000) as usize };
                    let value = vec![key[0]; len];
                    ask(&mut shard, &key, Op::Write(Write { expiry, ..Write::set(&value) }), NOW);
                    // More waits.
                    if shard.untaken_bytes() >= 32 << 10 {
                        break;
                    }
                }
                let lost = shard.stats().evictions_unsaved.read();
                assert_eq!(lost, 0, "{ttls} classes, {long_percent}% long, seed {seed}");
                tier.save(&mut shard);
            }
            assert!(shard.stats().evictions.read() > 1000);
            shard.audit().unwrap();
        }
    }
}

/// A tier that saves nothing must not fill the memory with what it has not got: then room is made all the same.
#[test]
fn what_nobody_saves_makes_room_in_the_end() {
    for algorithm in Algorithm::ALL {
        let (mut shard, mut tier) = (evicting(algorithm), Tier::default());
        for number in 0..KEYS {
            set(&mut shard, &number.to_le_bytes(), &value(number));
        }
        let (evictions, unsaved) = (shard.stats().evictions.read(), shard.stats().evictions_unsaved.read());
        assert!(unsaved > 1000 && unsaved == evictions, "{algorithm:?}: {unsaved} of {evictions}");
        tier.save(&mut shard);
        for number in 0..KEYS {
            let (_, found) = tier.get(&mut shard, &number.to_le_bytes(), NOW);
            assert!(found.is_none_or(|found| found == value(number)), "{number}");
        }
        shard.audit().unwrap();
    }
}

fn evicting(eviction: Algorithm) -> Shard {
    let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, eviction, ..ShardConfig::new(1 << 20) };
    let mut shard = Shard::new(config).unwrap();
    shard.remember_changes(|_| 0);
    shard
}
