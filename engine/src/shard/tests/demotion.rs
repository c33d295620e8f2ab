//! A tier that takes only what eviction would drop.

use super::ring::{LIMITS, Ring, demoting};
use super::*;
use std::collections::HashMap;

fn key(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

fn value(number: u32) -> Vec<u8> {
    vec![number as u8; 1000]
}

#[test]
fn nothing_is_told_before_memory_is_full_and_then_only_what_eviction_drops() {
    let (mut shard, mut ring) = (demoting(2 << 20), Ring::new(100_000));
    let mut number = 0;
    while shard.stats().evictions.read() == 0 {
        assert!(ring.tier.told.len() < 500, "a few segments ahead of eviction");
        set(&mut shard, &key(number), &value(number));
        ring.turn(&mut shard);
        number += 1;
    }
    for number in number..6000 {
        set(&mut shard, &key(number), &value(number));
        ring.turn(&mut shard);
    }
    let evicted = shard.stats().evictions.read();
    assert!(
        evicted > 4000 && ring.tier.told.len() < evicted as usize + 500,
        "{evicted} {}",
        ring.tier.told.len()
    );
    assert_eq!(shard.stats().demotions_missed.read(), 0);
    for number in 0..6000 {
        assert!(ring.get(&mut shard, &key(number)) == Some(value(number)), "{number}");
        ring.turn(&mut shard);
    }
    shard.audit().unwrap();
}

#[test]
fn what_is_not_taken_in_time_is_dropped_and_counted() {
    let mut shard = demoting(2 << 20);
    for number in 0..6000 {
        set(&mut shard, &key(number), &value(number));
        shard.offer_cold(NOW, LIMITS);
    }
    let (evicted, missed) = (shard.stats().evictions.read(), shard.stats().demotions_missed.read());
    assert!(evicted > 4000 && missed == evicted, "{missed} of {evicted}");
    assert!(shard.unsaved() <= LIMITS.marks && shard.untaken_bytes() <= LIMITS.bytes + 2000);
}

#[test]
fn the_answer_to_what_voids_an_item_is_not_taken_for_that_to_the_item_itself() {
    let (mut shard, mut ring) = (demoting(2 << 20), Ring::new(1000));
    set(&mut shard, b"key", b"old");
    ring.stop(&mut shard);
    let mut shard = ring.recover(2 << 20);
    set(&mut shard, b"key", b"new");
    ring.take(&mut shard, 1);
    assert_eq!(ring.tier.told.last().map(|told| told.place), Some(None), "the old item is void");
    // The item is offered before that is answered, with the same version.
    while shard.offer_rest(NOW, LIMITS) {}
    ring.take(&mut shard, 1);
    ring.answer(&mut shard, 1);
    assert_eq!((shard.unsaved(), shard.index.elsewhere()), (1, 0));
    ring.answer(&mut shard, 1);
    assert_eq!((shard.unsaved(), shard.index.elsewhere()), (0, 1));
}

#[test]
fn changes_are_told_of_keys_that_the_index_may_have_lost() {
    let (mut shard, mut ring) = (demoting(2 << 20), Ring::new(1000));
    shard.leave_untold();
    set(&mut shard, b"written", b"new");
    set(&mut shard, b"deleted", b"new");
    ring.take(&mut shard, 10);
    ask(&mut shard, b"deleted", Op::Delete(Delete::default()), NOW);
    ask(&mut shard, b"missing", Op::Delete(Delete::default()), NOW);
    ring.take(&mut shard, 10);
    let told: Vec<_> = ring.tier.told.iter().map(|told| (told.hash, told.place)).collect();
    let wanted = [&b"written"[..], b"deleted", b"deleted", b"missing"].map(|key| (shard.hash(0, key), None));
    assert_eq!(told, wanted);
}

#[test]
fn an_orderly_end_saves_what_was_written_last_first() {
    let (mut shard, mut ring) = (demoting(2 << 20), Ring::new(100_000));
    (0..1000).for_each(|number| set(&mut shard, &key(number), &value(number)));
    set(&mut shard, &key(0), &value(0));
    for _ in 0..5 {
        shard.offer_rest(NOW, LIMITS);
        ring.take(&mut shard, 1000);
        ring.answer(&mut shard, 1000);
    }
    shard.end_offers();
    assert!(!shard.offer_rest(NOW, LIMITS));
    let mut after = ring.recover(2 << 20);
    let found: Vec<u32> = (0..1000).filter(|&n| ring.get(&mut after, &key(n)).is_some()).collect();
    assert!(found.len() > 100 && found.len() < 500, "{}", found.len());
    assert!(found[0] == 0 && found[1] > 400, "{found:?}");
}

/// Random changes, with a tier that lags, laps, and orderly ends: nothing but the last value comes, and an end keeps all.
#[test]
fn nothing_older_comes_back_over_laps_and_orderly_ends() {
    let mut all = 0;
    for seed in 1..=12u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut below = |end: u64| {
            // Xorshift (Marsaglia, 2003).
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % end
        };
        let mut ring = Ring::new(if seed % 2 == 0 { 1500 } else { 8000 });
        let mut shard = demoting(1 << 20);
        let mut model: HashMap<u32, Vec<u8>> = HashMap::new();
        for round in 0..4 {
            for step in 0..4000u32 {
                let number = (below(60) * below(60)) as u32;
                match below(100) {
                    0..40 => {
                        let value = [&step.to_le_bytes()[..], &value(round)[..below(900) as usize]].concat();
                        set(&mut shard, &key(number), &value);
                        model.insert(number, value);
                    }
                    40..50 => {
                        // One that must know the item fetches it before.
                        ring.get(&mut shard, &key(number));
                        ask(&mut shard, &key(number), Op::Delete(Delete::default()), NOW);
                        model.remove(&number);
                    }
                    50 if below(40) == 0 => {
                        shard.flush(None, NOW);
                        model.clear();
                    }
                    50 => {
                        shard.maintain(NOW + u64::from(step), 50);
                    }
                    51..60 => shard.offer_cold(NOW, LIMITS),
                    60..70 => {
                        let count = below(50) as usize;
                        ring.take(&mut shard, count);
                    }
                    70..80 => {
                        let count = below(50) as usize;
                        ring.answer(&mut shard, count);
                    }
                    _ => {
                        let found = ring.get(&mut shard, &key(number));
                        assert!(
                            found.is_none() || found.as_ref() == model.get(&number),
                            "seed {seed}: {number}"
                        );
                    }
                }
            }
            ring.stop(&mut shard);
            shard.audit().unwrap();
            let had: Vec<u32> = (0..3600).filter(|&n| ring.get(&mut shard, &key(n)).is_some()).collect();
            shard = ring.recover(1 << 20);
            for number in 0..3600 {
                let found = ring.get(&mut shard, &key(number));
                assert!(
                    found.is_none() || found.as_ref() == model.get(&number),
                    "seed {seed}: {number} after"
                );
                assert!(
                    found.is_some() || seed % 2 == 0 || !had.contains(&number),
                    "seed {seed}: {number} was there"
                );
                ring.turn(&mut shard);
            }
            all += had.len();
        }
    }
    assert!(all > 12 * 4 * 100, "{all}");
}
