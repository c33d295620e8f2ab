//! Long values and a tier that takes only what eviction would drop.

use super::chunks::{is_chunk, value};
use super::readers_steps::Random;
use super::ring::{LIMITS, Ring, demoting};
use super::unsaved::Told;
use super::*;
use std::collections::HashMap;

fn key(number: u64) -> Vec<u8> {
    format!("long {number}").into_bytes()
}

/// Turns until everything is offered, taken and saved that is due.
fn settle(shard: &mut Shard, ring: &mut Ring) {
    let mut before = None;
    while before.replace((ring.tier.told.len(), shard.unsaved())) != Some((ring.tier.told.len(), 0)) {
        ring.turn(shard);
    }
}

#[test]
fn long_values_that_memory_has_no_room_for_are_on_the_tier_and_come_back_as_they_were() {
    let (mut shard, mut ring) = (demoting(2 << 20), Ring::new(100_000));
    for number in 0..100 {
        set(&mut shard, &key(number), &value(number, 60_000 + 1000 * number as usize));
        settle(&mut shard, &mut ring);
        shard.audit().unwrap();
    }
    assert!(shard.stats().evictions.read() > 60);
    assert_eq!(shard.stats().demotions_missed.read(), 0);
    for number in 0..100 {
        let found = ring.get(&mut shard, &key(number));
        assert!(found == Some(value(number, 60_000 + 1000 * number as usize)), "{number}");
        settle(&mut shard, &mut ring);
        shard.audit().unwrap();
    }
    ring.stop(&mut shard);
    let mut after = ring.recover(2 << 20);
    for number in 0..100 {
        let found = ring.get(&mut after, &key(number));
        assert!(found == Some(value(number, 60_000 + 1000 * number as usize)), "{number} after");
    }
    assert_eq!(after.held(), (0, 0));
}

#[test]
fn a_value_that_eviction_comes_to_before_it_is_taken_whole_is_dropped_counted_and_leaves_nothing_named() {
    for answered in [false, true] {
        let (mut shard, mut ring) = (demoting(2 << 20), Ring::new(100_000));
        let mut number = 0;
        while shard.untaken_bytes() == 0 {
            set(&mut shard, &key(number), &value(number, 200_000));
            shard.offer_cold(NOW, LIMITS);
            number += 1;
        }
        ring.take(&mut shard, 3);
        assert!(ring.tier.told.iter().all(is_chunk));
        if answered {
            ring.answer(&mut shard, 3);
            assert_eq!(shard.index.elsewhere(), 3);
        }
        for number in number..number + 20 {
            set(&mut shard, &key(number), &value(number, 200_000));
        }
        assert_eq!(shard.stats().demotions_missed.read(), shard.stats().evictions.read());
        ring.answer(&mut shard, 100);
        assert_eq!((shard.index.elsewhere(), shard.untaken_bytes()), (0, 0));
        assert_eq!(ring.get(&mut shard, &key(0)), None);
        shard.audit().unwrap();
    }
}

#[test]
fn one_value_is_marked_at_a_time_however_long_they_are() {
    let mut shard = demoting(8 << 20);
    for number in 0..40 {
        set(&mut shard, &key(number), &value(number, 1 << 20));
        shard.offer_cold(NOW, LIMITS);
        assert!(shard.unsaved() <= 1 && shard.untaken_bytes() < LIMITS.bytes + (1 << 20) + 4096);
    }
}

#[test]
fn what_was_not_taken_whole_at_the_end_of_the_time_is_a_miss_and_takes_none() {
    let (mut shard, mut ring) = (demoting(4 << 20), Ring::new(100_000));
    set(&mut shard, &key(1), b"old");
    ring.stop(&mut shard);
    let mut shard = ring.recover(4 << 20);
    set(&mut shard, &key(1), &value(1, 1 << 20));
    shard.offer_rest(NOW, LIMITS);
    ring.take(&mut shard, 20);
    shard.end_offers();
    let before = ring.tier.items.len();
    ring.stop(&mut shard);
    assert_eq!(ring.tier.items.len(), before, "no more of it is copied");
    let mut after = ring.recover(4 << 20);
    assert_eq!(ring.get(&mut after, &key(1)), None, "nor is it what it was before");
    assert_eq!(after.index.elsewhere(), 0);
}

/// Before the end items that were on the tier were passed over, and lost when their places were left.
#[test]
fn an_end_tells_anew_what_is_newer_than_what_it_offers() {
    let (mut shard, mut ring) = (demoting(4 << 20), Ring::new(100_000));
    for number in 0..10 {
        set(&mut shard, &key(number), &value(number, 100_000));
    }
    ring.stop(&mut shard);
    let mut shard = ring.recover(4 << 20);
    for number in 0..10 {
        assert!(ring.get(&mut shard, &key(number)).is_some());
    }
    assert!(shard.offer_rest(NOW, LIMITS));
    while shard.offer_rest(NOW, LIMITS) {}
    assert!(!shard.has_unsaved(), "all is there");
    let (first, last) = ring.tier.told.split_at(ring.tier.told.len() / 2);
    let leave = |shard: &mut Shard, told: &Told| match (told.chunk_of, told.place.unwrap()) {
        (Some(of), place) => shard.leave_chunk(told.hash, of, place, false),
        (None, place) => shard.leave_place(told.hash, place, false),
    };
    assert!(first.iter().all(|told| leave(&mut shard, told)) && shard.has_unsaved());
    // The slot of all of these keys.
    shard.leave_out(6..=6);
    let later = last.iter().filter(|told| told.chunk_of.is_none());
    assert!(
        later.map(|told| leave(&mut shard, told)).filter(|stays| *stays).count() == 0,
        "there is no room"
    );
}

/// It came back when that was saved: the index did not name it yet.
#[test]
fn a_deletion_holds_that_comes_while_an_item_is_saved_which_eviction_has_dropped() {
    for len in [1000, 100_000] {
        let (mut shard, mut ring) = (demoting(2 << 20), Ring::new(100_000));
        set(&mut shard, b"key", &value(1, len));
        for number in 0..4000 {
            set(&mut shard, &key(number), &[1; 1000]);
            shard.offer_cold(NOW, LIMITS);
            ring.take(&mut shard, 100);
        }
        assert!(shard.item_of(shard.hash(0, b"key")).is_none(), "it is dropped, and being saved");
        assert!(matches!(ask(&mut shard, b"key", Op::Delete(Delete::default()), NOW), Outcome::Miss));
        ring.answer(&mut shard, usize::MAX);
        assert_eq!(ring.get(&mut shard, b"key"), None);
        ring.stop(&mut shard);
        assert_eq!(ring.get(&mut ring.recover(2 << 20), b"key"), None);
    }
}

const KEYS: u64 = 30;

/// Random changes of long and short values, with a tier that lags and laps, and orderly ends: nothing but the last value comes, whole.
#[test]
fn a_value_is_the_last_one_and_whole_or_a_miss_over_laps_and_orderly_ends() {
    let mut all = 0;
    for seed in 1..=16u64 {
        let mut random = Random(seed);
        let room = if seed % 2 == 0 { 400 } else { 20_000 };
        let (mut ring, mut shard) = (Ring::new(room), demoting(1 << 20));
        let mut model: HashMap<u64, Vec<u8>> = HashMap::new();
        for round in 0..3 {
            for step in 0..1500 {
                change(&mut shard, &mut ring, &mut model, &mut random);
                if step % 50 == 0 {
                    shard.audit().unwrap();
                }
            }
            ring.stop(&mut shard);
            shard.audit().unwrap();
            let had: Vec<u64> = (0..KEYS).filter(|&n| ring.get(&mut shard, &key(n)).is_some()).collect();
            shard = ring.recover(1 << 20);
            for number in 0..KEYS {
                let found = ring.get(&mut shard, &key(number));
                assert!(found.is_none() || found.as_ref() == model.get(&number), "seed {seed}: {number}");
                let is_lost = found.is_none() && room > 400 && had.contains(&number);
                assert!(!is_lost, "seed {seed}, round {round}: {number} was there");
                ring.turn(&mut shard);
            }
            all += had.len();
            assert!(shard.index.elsewhere() as usize <= ring.tier.items.len(), "each entry is of a record");
        }
    }
    assert!(all > 16 * 3 * 5, "{all}");
}

fn change(shard: &mut Shard, ring: &mut Ring, model: &mut HashMap<u64, Vec<u8>>, random: &mut Random) {
    let number = random.below(KEYS);
    let key = key(number);
    let len = if random.below(3) == 0 { 200 } else { 17_000 + random.below(60_000) };
    let new = value(random.below(1 << 40), len as usize);
    match random.below(100) {
        0..20 => {
            set(shard, &key, &new);
            model.insert(number, new);
        }
        20..26 => {
            let Some(mut whole) = ring.get(shard, &key) else { return };
            let (offset, piece) = (random.below(50_000), &new[..100]);
            if !matches!(
                ask(shard, &key, Op::SetRange { offset, value: Body::Bytes(piece) }, NOW),
                Outcome::Stored { .. }
            ) {
                return;
            }
            whole.resize(whole.len().max(offset as usize + 100), 0);
            whole[offset as usize..][..100].copy_from_slice(piece);
            model.insert(number, whole);
        }
        26..30 => {
            let Some(whole) = ring.get(shard, &key) else { return };
            let append = Write { mode: WriteMode::Append, expiry: Expiry::Keep, ..Write::set(&new[..50]) };
            if !matches!(ask(shard, &key, Op::Write(append), NOW), Outcome::Stored { .. }) {
                return;
            }
            model.insert(number, [&whole[..], &new[..50]].concat());
        }
        30..34 => {
            ring.get(shard, &key);
            ask(shard, &key, Op::Delete(Delete::default()), NOW);
            model.remove(&number);
        }
        34 if random.below(60) == 0 => {
            shard.flush(None, NOW);
            model.clear();
        }
        34 => drop(shard.maintain(NOW + random.below(5000), 50)),
        35..50 => shard.offer_cold(NOW, LIMITS),
        50..65 => ring.take(shard, random.below(30) as usize),
        65..80 => ring.answer(shard, random.below(30) as usize),
        _ => {
            let found = ring.get(shard, &key);
            assert!(
                found.is_none() || found.as_ref() == model.get(&number),
                "{number} {:?} {:?}",
                found.map(|f| f.len()),
                model.get(&number).map(|f| f.len())
            );
        }
    }
}
