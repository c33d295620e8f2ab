//! A tier that begins anew: nothing of the old one is named, and the new one is told all that DRAM holds.

use super::readers_steps::Random;
use super::unsaved::Tier;
use super::*;
use std::collections::HashMap;

fn slot_of(key: &[u8]) -> u16 {
    key.len() as u16
}

fn remembering(memory_bytes: u64) -> Shard {
    let mut shard = shard_of(memory_bytes);
    shard.remember_changes(slot_of);
    shard
}

fn key(number: u64) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

const LIMITS: OfferLimits = OfferLimits { items: 100, marks: 400, bytes: 64 << 10 };

/// Forgets all places, `between` after each part.
fn forget_all(shard: &mut Shard, mut between: impl FnMut(&mut Shard)) {
    let mut from = Some(0);
    while let Some(next) = from {
        from = shard.forget_places(next);
        between(shard);
    }
    assert_eq!(shard.elsewhere(), 0);
}

/// Tells a tier all of DRAM, `between` after each part.
fn tell_all(shard: &mut Shard, tier: &mut Tier, mut between: impl FnMut(&mut Shard, &mut Tier)) {
    let (mut from, mut parts) = (Some(shard.begin_again()), 0);
    while let Some(next) = from {
        from = shard.tell_again(next, NOW, LIMITS);
        // One long value may be more than all of that.
        assert!(shard.unsaved() <= LIMITS.marks + 60 && shard.untaken_bytes() <= LIMITS.bytes + 300_000);
        between(shard, tier);
        if tier.save(shard).is_empty() {
            parts += 1;
            assert!(parts < 10_000, "it comes to an end");
        }
    }
    tier.save(shard);
    assert_eq!((shard.unsaved(), shard.untaken_bytes()), (0, 0));
}

#[test]
fn no_place_of_the_old_tier_is_taken_for_one_of_the_new() {
    let (mut shard, mut old) = (remembering(1 << 20), Tier::default());
    for number in 0..3000 {
        set(&mut shard, &key(number), &[b'o'; 300]);
        old.save(&mut shard);
    }
    let named = shard.index.elsewhere();
    assert!(named > 1000 && shard.stats.evictions.read() > 500, "{named}");
    shard.forget_changes();
    // The index grows while places are forgotten, and items come and go.
    let mut more = 10_000;
    forget_all(&mut shard, |shard| {
        (0..50).for_each(|number| set(shard, &key(more + number), b"since"));
        more += 50;
    });
    for number in 0..3000 {
        let in_memory = get(&mut shard, &key(number), NOW);
        assert!(
            in_memory.is_none_or(|value| value == [b'o'; 300]),
            "a miss, or what memory has: nothing waits"
        );
    }
    shard.audit().unwrap();
}

#[test]
fn all_that_memory_holds_is_told_long_values_with_their_chunks() {
    let (mut shard, mut old, mut new) = (remembering(4 << 20), Tier::default(), Tier::default());
    let long: Vec<u8> = (0..200_000u32).map(|byte| (byte / 3) as u8).collect();
    set(&mut shard, b"long", &long);
    for number in 0..2000 {
        set(&mut shard, &key(number), &number.to_le_bytes());
    }
    old.save(&mut shard);
    let counted = shard.changes().1;
    shard.forget_changes();
    forget_all(&mut shard, |_| {});
    // What changes while there is no tier is told as it is then.
    set(&mut shard, &key(1), b"changed");
    ask(&mut shard, &key(2), Op::Delete(Delete::default()), NOW);
    let gone = Write { expiry: Expiry::At(NOW + 1), ..Write::set(b"over") };
    ask(&mut shard, &key(3), Op::Write(gone), NOW - 5);
    let vivify = Read { vivify: Some(Expiry::Never), leases: true, ..Read::default() };
    ask(&mut shard, b"placeholder", Op::Read(vivify), NOW);
    shard.remember_again(slot_of, counted);
    assert_eq!((shard.changes().1, shard.taken_up_to()), (counted, counted), "numbers go on");
    let mut changed = 0;
    tell_all(&mut shard, &mut new, |shard, _| {
        // Clients go on: a change of what was told, and one of what was not.
        set(shard, &key(100 + changed % 50), b"in between");
        set(shard, &key(1900 - changed % 50), b"in between");
        changed += 1;
    });
    assert!(changed > 10, "in parts");
    // Its index begins large enough for all of it.
    let mut fresh = shard_of(64 << 20);
    fresh.begin_recovery(0..20, slot_of, true);
    fresh.recover(&new.known(|_| true));
    fresh.end_slots(0..20);
    for number in 0..2000 {
        let has = get(&mut shard, &key(number), NOW + 5);
        assert_eq!(new.get(&mut fresh, &key(number), NOW + 5).1, has, "{number}");
        assert_eq!(has.is_none(), [2, 3].contains(&number), "{number}");
    }
    assert_eq!(new.get(&mut fresh, b"long", NOW).1, Some(long));
    assert_eq!(new.get(&mut fresh, b"placeholder", NOW).1, None);
    shard.audit().unwrap();
    fresh.audit().unwrap();
}

/// What was written last to each key, by anybody.
#[derive(Default)]
struct Model(HashMap<Vec<u8>, Option<Vec<u8>>>);

const KEYS: u64 = 700;

impl Model {
    fn change(&mut self, shard: &mut Shard, random: &mut Random) {
        for _ in 0..random.below(60) {
            let key = key(random.below(KEYS));
            if random.below(5) == 0 {
                // One that is on the tier alone would have to be fetched, and stays.
                if !matches!(ask(shard, &key, Op::Delete(Delete::default()), NOW), Outcome::Pending(_)) {
                    self.0.insert(key, None);
                }
            } else {
                let len = if random.below(200) == 0 { 40_000 } else { random.below(900) as usize };
                let value = vec![random.below(256) as u8; len];
                set(shard, &key, &value);
                self.0.insert(key, Some(value));
            }
            if random.below(4000) == 0 {
                shard.flush(None, NOW);
                self.0.clear();
            }
        }
    }

    /// Recovers from the tier, to which all was saved: of each key it has what was written last, or nothing. `is_all`: it has what
    /// memory has.
    fn check(&self, shard: &mut Shard, tier: &Tier, is_all: bool) {
        let mut fresh = shard_of(64 << 20);
        fresh.begin_recovery(0..20, slot_of, true);
        fresh.recover(&tier.known(|_| true));
        fresh.end_slots(0..20);
        for number in 0..KEYS {
            let key = key(number);
            let found = tier.get(&mut fresh, &key, NOW).1;
            let peek = Read { peek: true, ..Read::default() };
            let is_in_memory = matches!(ask(shard, &key, Op::Read(peek), NOW), Outcome::Item(_));
            assert!(found.is_some() || !(is_all && is_in_memory), "{number} is missing");
            assert!(found.is_none() || Some(&found) == self.0.get(&key), "{number} is not what it was");
        }
    }
}

#[test]
fn a_crash_at_any_time_leaves_nothing_that_was_superseded() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
        let mut model = Model::default();
        for _ in 0..4 {
            for _ in 0..random.below(40) {
                model.change(&mut shard, &mut random);
                if random.below(3) > 0 {
                    tier.save(&mut shard);
                }
            }
            let counted = shard.changes().1;
            shard.forget_changes();
            forget_all(&mut shard, |shard| model.change(shard, &mut random));
            model.change(&mut shard, &mut random);
            tier = Tier::default();
            shard.remember_again(slot_of, counted);
            let (mut parts, crash_at) = (0, random.below(10));
            tell_all(&mut shard, &mut tier, |shard, tier| {
                model.change(shard, &mut random);
                if parts == crash_at {
                    tier.save(shard);
                    model.check(shard, tier, false);
                }
                parts += 1;
            });
            model.check(&mut shard, &tier, true);
            shard.audit().unwrap();
        }
    }
}

/// The index of a shard begins small, and grows as a whole. When memory was told in the order of the hashes, a part of the index was
/// full of places before it grew, and half of them were lost, then and at the next start.
#[test]
fn what_is_told_again_finds_room_in_the_index_of_the_next_start() {
    let (mut shard, mut tier) = (remembering(32 << 20), Tier::default());
    for number in 0..20_000 {
        set(&mut shard, &key(number), b"value");
        shard.maintain(NOW, 32);
    }
    shard.forget_changes();
    shard.remember_again(slot_of, 0);
    tell_all(&mut shard, &mut tier, |shard, _| _ = shard.maintain(NOW, 32));
    assert!(shard.index.elsewhere() > 19_900, "{}", shard.index.elsewhere());
    let mut fresh = shard_of(32 << 20);
    fresh.begin_recovery(0..20, slot_of, true);
    let known = tier.known(|_| true);
    let lost: u64 = known.chunks(1024).map(|some| fresh.recover(some).lost).sum();
    assert!(lost < 100, "{lost} of {} find no room", known.len());
}
