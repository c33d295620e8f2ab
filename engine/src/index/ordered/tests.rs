//! The table of places against a `BTreeMap`, and how full it may be.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const BYTES_MAX: usize = 1 << 30;

/// SplitMix64 (Steele and others, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

fn entry(hash: u64) -> Elsewhere {
    Elsewhere::new(hash, hash % PLACES, Role::Only)
}

fn small() -> Ordered {
    let mut table = Ordered::new(BYTES_MAX).unwrap();
    assert_eq!((table.bytes(), table.insert(&entry(1))), (0, Err(Full)));
    assert!(!is_there(&table, 1) && !table.is_growing());
    table.grow();
    table
}

fn grow_if_wanted(table: &mut Ordered) {
    if table.growth_wanted().is_some() {
        table.grow();
    }
    table.grow_step(HOMES_PER_INSERT);
}

fn is_there(table: &Ordered, hash: u64) -> bool {
    table.find(hash, |_| true).is_some_and(|(_, found)| found == entry(hash))
}

#[test]
fn an_entry_takes_at_most_20_bytes_and_none_is_lost_while_the_table_grows() {
    for seed in 0..4 {
        let (mut table, mut random) = (Ordered::new(BYTES_MAX).unwrap(), Random(seed));
        let (mut lost, mut sum) = (0, 0.0);
        let (first, last) = (100_000, 400_000);
        for count in 1..=last {
            grow_if_wanted(&mut table);
            lost += u64::from(table.insert(&entry(random.next())).is_err());
            let each = table.bytes() as f64 / count as f64;
            if count > first {
                assert!(
                    (18.0..=crate::index::PLACE_BYTES as f64 + 0.1).contains(&each),
                    "{each} bytes of {count}"
                );
                sum += each;
            }
        }
        assert_eq!(lost, 0, "seed {seed}");
        let mean = sum / (last - first) as f64;
        assert!((18.9..19.3).contains(&mean), "{mean} bytes on average");
        table.audit(|_| {}).unwrap();
        let mut random = Random(seed);
        assert!((0..last).all(|_| is_there(&table, random.next())));
    }
}

/// What a tier does that is full: as many come as go.
#[test]
fn hardly_any_finds_no_room_at_the_highest_load() {
    let (mut table, mut random, mut oldest) = (Ordered::new(BYTES_MAX).unwrap(), Random(5), Random(5));
    let (mut full, mut count) = (0, 0);
    while count < 200_000 || table.growth_wanted().is_none() {
        grow_if_wanted(&mut table);
        table.insert(&entry(random.next())).unwrap();
        count += 1;
    }
    while table.is_growing() {
        table.grow_step(HOMES_PER_INSERT);
    }
    for _ in 0..1_000_000 {
        if let Some((at, _)) = table.find(oldest.next(), |_| true) {
            table.remove(at);
        }
        full += u64::from(table.insert(&entry(random.next())).is_err());
    }
    table.audit(|_| {}).unwrap();
    assert_eq!(full, 0);
    // Half of them are at home, and four in five one bucket behind it at most.
    let mut away = [0; 8];
    table.audit(|_| {}).unwrap();
    for (number, words) in table.lines.entries().iter().enumerate().filter(|(_, words)| !words.is_empty()) {
        away[(number / ENTRIES_PER_BUCKET - table.homes.of(words.hash)).min(7)] += 1;
    }
    let share = |count: u64| count as f64 / table.count() as f64;
    assert!(share(away[0]) > 0.48 && share(away[0] + away[1]) > 0.79 && share(away[7]) < 0.002, "{away:?}");
}

#[test]
fn a_table_that_may_not_grow_is_full_at_last_and_takes_one_for_one_that_goes() {
    let bytes_max = (1000 + TAIL_BUCKETS) * BUCKET_BYTES;
    let (mut table, mut random) = (Ordered::new(bytes_max).unwrap(), Random(1));
    let mut there = Vec::new();
    while there.len() < 10_000 {
        grow_if_wanted(&mut table);
        let hash = random.next();
        if table.insert(&entry(hash)).is_err() {
            break;
        }
        there.push(hash);
    }
    assert!(there.len() as u64 > table.homes.count * 4 * 90 / 100, "{}", there.len());
    let (at, _) = table.find(there[7], |_| true).unwrap();
    table.remove(at);
    table.insert(&entry(random.next())).unwrap();
    assert!(there.iter().all(|&hash| is_there(&table, hash) == (hash != there[7])));
    table.audit(|_| {}).unwrap();
}

#[test]
fn hashes_that_differ_in_any_one_bit_are_told_apart_and_equal_ones_are_two_entries() {
    let hash = 0xABCD_EF01_2345_6789;
    for bit in 0..64 {
        let mut table = small();
        table.insert(&entry(hash ^ 1 << bit)).unwrap();
        assert!(!is_there(&table, hash), "bit {bit}");
        table.insert(&entry(hash)).unwrap();
        assert!(is_there(&table, hash) && is_there(&table, hash ^ 1 << bit), "bit {bit}");
    }
    let mut table = small();
    for place in 0..9 {
        table.insert(&Elsewhere::new(hash, place, Role::Copy)).unwrap();
    }
    for place in 0..9 {
        let (at, found) = table.find(hash, |found| found.place == place).unwrap();
        assert_eq!(found, Elsewhere::new(hash, place, Role::Copy));
        table.remove(at);
    }
    assert_eq!((table.count(), table.find(hash, |_| true)), (0, None));
}

/// The last homes are as full as can be, and so is all behind them.
#[test]
fn none_is_lost_at_the_end_of_the_table_while_it_grows() {
    for back in 0..4 {
        let mut table = small();
        let home = u64::MAX / table.homes.count;
        let mut there = Vec::new();
        for number in 0..1000 {
            let hash = u64::MAX - back * home - number % 3 * home - number;
            if table.insert(&entry(hash)).is_ok() {
                there.push(hash);
            }
        }
        assert!((130..160).contains(&there.len()), "{}", there.len());
        for homes in [1, 7, 50] {
            table.grow();
            while table.is_growing() {
                table.grow_step(homes);
                table.audit(|_| {}).unwrap();
            }
            assert!(there.iter().all(|&hash| is_there(&table, hash)));
        }
    }
}

#[test]
fn a_table_grows_to_what_is_expected_in_few_steps() {
    let (mut table, mut random) = (Ordered::new(BYTES_MAX).unwrap(), Random(3));
    let (mut growths, mut homes) = (0, 0);
    table.expect(100_000);
    for _ in 0..100_000 {
        grow_if_wanted(&mut table);
        growths += u32::from(table.homes.count != homes);
        homes = table.homes.count;
        table.insert(&entry(random.next())).unwrap();
    }
    assert!(growths < 9, "{growths}");
    let each = table.bytes() as u64 / 100_000;
    assert!((18..21).contains(&each), "{each} bytes");
}

#[derive(Debug, Clone)]
enum Operation {
    Insert(u64),
    Remove(usize),
    Replace(usize, u64),
    Grow,
    Step(usize),
    Between(u64, u64),
}

/// Few distinct high bits, so that homes overflow, at the end of the table, too.
fn hashes() -> impl Strategy<Value = u64> {
    prop_oneof![
        (60u64..64, any::<u32>()).prop_map(|(high, low)| high << 58 | u64::from(low)),
        (0u64..64, any::<u32>()).prop_map(|(high, low)| high << 58 | u64::from(low)),
        any::<u64>(),
        (0u64..20).prop_map(|back| u64::MAX - back),
        0u64..20,
    ]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        8 => hashes().prop_map(Operation::Insert),
        3 => any::<usize>().prop_map(Operation::Remove),
        1 => (any::<usize>(), 0..PLACES).prop_map(|(number, place)| Operation::Replace(number, place)),
        1 => Just(Operation::Grow),
        4 => (1usize..12).prop_map(Operation::Step),
        1 => (hashes(), hashes()).prop_map(|(one, other)| Operation::Between(one.min(other), one.max(other))),
    ];
    prop::collection::vec(operation, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn the_table_is_an_ordered_map_while_it_grows(operations in operations()) {
        let mut table = Ordered::new(1 << 20).unwrap();
        let mut model: BTreeMap<u64, Elsewhere> = BTreeMap::new();
        for operation in operations {
            let pick = |number: usize| model.keys().copied().nth(number % model.len().max(1));
            match operation {
                Operation::Insert(hash) => {
                    if !model.contains_key(&hash) && table.insert(&entry(hash)).is_ok() {
                        model.insert(hash, entry(hash));
                    }
                }
                Operation::Remove(number) => {
                    if let Some(hash) = pick(number) {
                        let (at, found) = table.find(hash, |_| true).unwrap();
                        prop_assert_eq!(Some(found), model.remove(&hash));
                        table.remove(at);
                    }
                }
                Operation::Replace(number, place) => {
                    if let Some(hash) = pick(number) {
                        let changed = Elsewhere { frequency: 15, tag: 3, ..Elsewhere::new(hash, place, Role::Chunk) };
                        table.replace(table.find(hash, |_| true).unwrap().0, &changed);
                        model.insert(hash, changed);
                    }
                }
                Operation::Grow => {
                    if !table.is_growing() && table.buckets() < 4000 {
                        table.grow();
                    }
                }
                Operation::Step(homes) => {
                    table.grow_step(homes);
                }
                Operation::Between(first, last) => {
                    let mut seen = Vec::new();
                    table.between(first, last, |entry| seen.push(entry));
                    let there: Vec<_> = model.range(first..=last).map(|(_, entry)| *entry).collect();
                    prop_assert_eq!(seen, there);
                }
            }
            let mut all = Vec::new();
            prop_assert_eq!(table.audit(|entry| all.push(*entry)), Ok(()));
            prop_assert_eq!(all, model.values().copied().collect::<Vec<_>>());
        }
        for (&hash, entry) in &model {
            prop_assert_eq!(table.find(hash, |_| true).map(|(_, found)| found), Some(*entry));
            prop_assert_eq!(table.near(hash, TAIL_BUCKETS * 8).any(|near| near == *entry), true);
        }
    }
}
