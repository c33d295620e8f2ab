//! The index against a `HashMap`, with hashes as keys: growth, overflow and removal in any order.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// Hashes stand for items: location `n * 8` is the item with `hashes[n]`.
#[derive(Default)]
struct Items {
    hashes: Vec<u64>,
}

impl Items {
    fn add(&mut self, hash: u64) -> Slot {
        self.hashes.push(hash);
        Slot::new(hash, (self.hashes.len() as u64 - 1) * 8, 100)
    }

    fn hash_of(&self, slot: Slot) -> u64 {
        self.hashes[slot.location() as usize / 8]
    }
}

fn slot_of(entry: Entry) -> Slot {
    match entry {
        Entry::Item(slot) => slot,
        Entry::Elsewhere(elsewhere) => panic!("{elsewhere:?}"),
    }
}

fn find(index: &Index, items: &Items, hash: u64) -> Option<Slot> {
    index.find(hash, |slot| items.hash_of(slot) == hash).map(|(_, slot)| slot)
}

fn grow_if_wanted(index: &mut Index, items: &Items) {
    if index.growth_wanted().is_some() {
        index.grow();
    }
    for _ in 0..GROW_STEPS_PER_INSERT {
        index.grow_step(|slot| items.hash_of(slot), |_| panic!("a table that grows in time drops nothing"));
    }
}

#[test]
fn many_items_stay_findable_while_the_table_grows() {
    let mut index = Index::new(16, 64 << 20).unwrap();
    let mut items = Items::default();
    for number in 0..300_000u64 {
        let hash = rapidhash::v3::rapidhash_v3(&number.to_le_bytes());
        grow_if_wanted(&mut index, &items);
        let slot = items.add(hash);
        index.insert(hash, slot).unwrap();
    }
    for &hash in &items.hashes {
        assert!(find(&index, &items, hash).is_some());
    }
    let bytes_per_item = index.bytes() as f64 / items.hashes.len() as f64;
    assert!(bytes_per_item < 14.5, "{bytes_per_item} bytes of index an item");
}

#[test]
fn a_full_neighbourhood_is_reported_and_names_its_coldest_item() {
    let mut index = Index::new(1, 0).unwrap();
    let mut items = Items::default();
    let capacity = (PROBE_BUCKETS + 1) * SLOTS_PER_BUCKET;
    for number in 0..capacity as u64 {
        let slot = items.add(number).with_frequency(if number == 9 { 0 } else { 2 });
        index.insert(number, slot).unwrap();
    }
    assert_eq!(index.insert(1000, Slot::new(1000, 0, 16)), Err(Full));
    assert_eq!(items.hash_of(slot_of(index.coldest_near(1000).unwrap())), 9);
}

/// Two full homes become one: their overflow reaches a bucket less far then, and that bucket's items have no place.
#[test]
fn growth_names_every_item_that_finds_no_place() {
    let mut index = Index::new(2, 1 << 20).unwrap();
    let mut items = Items::default();
    let per_home = (PROBE_BUCKETS + 1) * SLOTS_PER_BUCKET;
    let (low, high) = ((1u64 << 63) - 1, 1u64 << 63);
    let hashes = (0..per_home as u64).map(|number| low - number);
    let hashes: Vec<u64> = hashes.chain((0..SLOTS_PER_BUCKET as u64).map(|number| high + number)).collect();
    for &hash in &hashes {
        let slot = items.add(hash);
        index.insert(hash, slot).unwrap();
    }
    index.grow();
    let mut lost = HashSet::new();
    while index.is_growing() {
        index.grow_step(
            |slot| items.hash_of(slot),
            |entry| assert!(lost.insert(items.hash_of(slot_of(entry)))),
        );
    }
    assert_eq!(lost.len(), SLOTS_PER_BUCKET);
    assert_eq!(index.items() as usize, hashes.len() - lost.len());
    assert!(hashes.iter().all(|&hash| find(&index, &items, hash).is_some() != lost.contains(&hash)));
}

/// Sequences by home; all of them even.
fn sequences(index: &Index) -> Vec<u32> {
    let sequences: Vec<u32> =
        (0..index.buckets()).map(|number| index.table.bucket(number).head().sequence()).collect();
    assert!(sequences.iter().all(|sequence| sequence % 2 == 0));
    sequences
}

/// Whoever finds a home's sequence unchanged has missed none of its items.
#[test]
fn the_sequence_of_a_home_tells_of_items_that_come_and_go_elsewhere() {
    let mut index = Index::new(2, 1 << 20).unwrap();
    let mut items = Items::default();
    let high = 1u64 << 63;
    for hash in 0..SLOTS_PER_BUCKET as u64 {
        index.insert(hash, items.add(hash)).unwrap();
    }
    assert_eq!(sequences(&index)[..2], [0, 0], "a place in the home itself is one word");
    index.insert(100, items.add(100)).unwrap();
    assert_eq!(sequences(&index)[..2], [2, 0], "one goes away, and the reach grows");
    index.insert(high, items.add(high)).unwrap();
    let (place, slot) = index.find(100, |slot| items.hash_of(slot) == 100).unwrap();
    index.replace(place, slot.with_frequency(3));
    assert_eq!(sequences(&index)[..2], [2, 0], "a slot changes where it is");
    index.remove(place, 100);
    assert_eq!(sequences(&index)[..2], [4, 0], "it leaves, and the reach falls");
    assert_eq!(index.table.bucket(0).head().reach(), 0);
}

#[test]
fn growth_changes_the_sequence_of_each_home_that_it_moves() {
    let mut index = Index::new(2, 1 << 20).unwrap();
    let mut items = Items::default();
    for hash in 0..20 {
        index.insert(hash, items.add(hash)).unwrap();
    }
    index.grow();
    for home in [1, 0] {
        let before = sequences(&index)[home];
        index.grow_step(|slot| items.hash_of(slot), |_| panic!("there is room"));
        assert_eq!(sequences(&index)[home], before + 2, "home {home} is closed once, as one change");
    }
    assert!(!index.is_growing() && (0..20).all(|hash| find(&index, &items, hash).is_some()));
}

#[derive(Debug, Clone)]
enum Operation {
    Insert(u64),
    Remove(usize),
    Touch(usize),
    /// An item leaves DRAM.
    Demote(usize),
    /// Nothing elsewhere counts any more.
    Flush,
    /// So many buckets are swept.
    Sweep(usize),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    // Few distinct high bits, so that homes overflow.
    let hash = (0u64..64, any::<u32>()).prop_map(|(high, low)| high << 58 | u64::from(low));
    let operation = prop_oneof![
        4 => hash.prop_map(Operation::Insert),
        2 => any::<usize>().prop_map(Operation::Remove),
        1 => any::<usize>().prop_map(Operation::Touch),
        4 => any::<usize>().prop_map(Operation::Demote),
        1 => Just(Operation::Flush),
        1 => (1usize..8).prop_map(Operation::Sweep),
    ];
    prop::collection::vec(operation, 0..800)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_index_is_a_map(operations in operations(), homes_a_step in 1usize..20) {
        let mut index = Index::new(4, 1 << 20).unwrap();
        let mut items = Items::default();
        let mut model: HashMap<u64, u8> = HashMap::new();
        // Their places are their hashes, cut off.
        let mut elsewhere: HashSet<u64> = HashSet::new();
        let place_of = |hash: u64| hash % PLACES;
        let role_of = |hash: u64| [Role::Only, Role::Copy, Role::Chunk][(hash % 3) as usize];
        let mut swept = true;
        for operation in operations {
            grow_if_wanted(&mut index, &items);
            let pick = |number: usize| model.keys().copied().nth(number % model.len().max(1));
            match operation {
                Operation::Insert(hash) => {
                    if !model.contains_key(&hash) && !elsewhere.contains(&hash) && index.insert(hash, items.add(hash)).is_ok() {
                        model.insert(hash, 0);
                    }
                }
                Operation::Remove(number) => {
                    if let Some(hash) = pick(number) {
                        let (place, _) = index.find(hash, |slot| items.hash_of(slot) == hash).unwrap();
                        index.remove(place, hash);
                        model.remove(&hash);
                    }
                    if number % 5 == 0 && let Some(hash) = elsewhere.iter().next().copied() {
                        let (place, _) = index.find_elsewhere(hash).unwrap();
                        index.remove_elsewhere(place, hash);
                        elsewhere.remove(&hash);
                    }
                }
                Operation::Demote(number) => {
                    if let Some(hash) = pick(number) {
                        let (place, _) = index.find(hash, |slot| items.hash_of(slot) == hash).unwrap();
                        index.remove(place, hash);
                        model.remove(&hash);
                        let entry = Elsewhere { frequency: 3, ..Elsewhere::new(hash, place_of(hash), role_of(hash)) };
                        if index.insert_elsewhere(entry).is_ok() {
                            elsewhere.insert(hash);
                        }
                    }
                }
                Operation::Flush => {
                    index.flush_elsewhere();
                    elsewhere.clear();
                    swept = false;
                }
                Operation::Sweep(buckets) => swept = !index.sweep_flushed(buckets),
                Operation::Touch(number) => {
                    if let Some(hash) = pick(number) {
                        let (place, slot) = index.find(hash, |slot| items.hash_of(slot) == hash).unwrap();
                        index.replace(place, slot.with_frequency(slot.frequency() + 1));
                        model.entry(hash).and_modify(|count| *count = (*count + 1).min(FREQUENCY_MAX));
                    }
                }
            }
            prop_assert_eq!(index.items(), model.len() as u64);
            prop_assert_eq!(index.elsewhere() - index.flushed(), elsewhere.len() as u64);
            let only = elsewhere.iter().filter(|hash| role_of(**hash) == Role::Only).count();
            prop_assert_eq!(index.only_elsewhere(), only as u64);
            prop_assert!(!swept || index.flushed() == 0);
        }
        prop_assert!((0..2).any(|_| !index.sweep_flushed(usize::MAX)));
        prop_assert_eq!(index.elsewhere(), elsewhere.len() as u64);
        for (&hash, &frequency) in &model {
            prop_assert_eq!(find(&index, &items, hash).map(Slot::frequency), Some(frequency));
        }
        for &hash in &items.hashes {
            prop_assert_eq!(find(&index, &items, hash).is_some(), model.contains_key(&hash));
            let there = index.find_elsewhere(hash).map(|(_, entry)| (entry.place, entry.frequency));
            prop_assert_eq!(there, elsewhere.contains(&hash).then_some((place_of(hash), 3)));
        }
        let mut seen = HashSet::new();
        let mut cursor = Some(0);
        while let Some(hash) = cursor {
            let visit = |entry| {
                seen.insert(match entry {
                    Entry::Item(slot) => items.hash_of(slot),
                    Entry::Elsewhere(elsewhere) => elsewhere.hash,
                });
                if seen.len().is_multiple_of(3) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            cursor = index.scan(hash, homes_a_step, |slot| items.hash_of(slot), visit);
            grow_if_wanted(&mut index, &items);
        }
        prop_assert_eq!(seen, model.keys().copied().chain(elsewhere).collect::<HashSet<_>>());
    }
}

#[test]
fn no_pair_is_lost_while_a_table_of_pairs_grows() {
    const PAIRS: u64 = 400_000;
    for seed in 0..4 {
        let mut index = Index::new(64, 1 << 30).unwrap();
        let mut lost = 0;
        let mut state = seed;
        for _ in 0..PAIRS {
            // SplitMix64 (Steele and others, 2014).
            state = u64::wrapping_add(state, 0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            let hash = mixed ^ mixed >> 31;
            if index.growth_wanted().is_some() {
                index.grow();
            }
            for _ in 0..GROW_STEPS_PER_INSERT {
                index.grow_step(|_| unreachable!("there are pairs alone"), |_| lost += 1);
            }
            lost += u64::from(index.insert_elsewhere(Elsewhere::new(hash, 1, Role::Only)).is_err());
        }
        assert_eq!(lost, 0, "seed {seed}");
        let each = index.bytes() as u64 / PAIRS;
        assert!((28..=36).contains(&each), "{each} bytes for a pair");
    }
}
