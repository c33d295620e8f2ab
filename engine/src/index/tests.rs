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

fn grow_elsewhere_if_wanted(index: &mut Index) {
    if index.elsewhere_growth_wanted().is_some() {
        index.grow_elsewhere();
    }
    index.grow_elsewhere_step();
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
    assert_eq!(items.hash_of(index.coldest_near(1000).unwrap()), 9);
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
        index.grow_step(|slot| items.hash_of(slot), |slot| assert!(lost.insert(items.hash_of(slot))));
    }
    assert_eq!(lost.len(), SLOTS_PER_BUCKET);
    assert_eq!(index.items() as usize, hashes.len() - lost.len());
    assert!(hashes.iter().all(|&hash| find(&index, &items, hash).is_some() != lost.contains(&hash)));
}

#[test]
fn the_reach_of_a_home_covers_its_items_elsewhere_in_the_table() {
    let mut index = Index::new(2, 1 << 20).unwrap();
    let mut items = Items::default();
    for hash in 0..SLOTS_PER_BUCKET as u64 {
        index.insert(hash, items.add(hash)).unwrap();
    }
    let reach = |index: &Index| index.table.bucket(0).head().reach();
    assert_eq!(reach(&index), 0);
    index.insert(100, items.add(100)).unwrap();
    index.insert(101, items.add(101)).unwrap();
    assert_eq!(reach(&index), 1);
    for (hash, after) in [(100, 1), (101, 0)] {
        let (place, _) = index.find(hash, |slot| items.hash_of(slot) == hash).unwrap();
        index.remove(place, hash);
        assert_eq!(reach(&index), after);
    }
}

/// Those of one home, which move down as others go.
#[test]
fn a_sweep_takes_out_all_that_was_flushed() {
    let mut index = Index::new(1, 1 << 20).unwrap();
    index.grow_elsewhere();
    (0..200).for_each(|hash| index.insert_elsewhere(0, Elsewhere::new(hash, 1, Role::Only)).unwrap());
    index.flush_elsewhere();
    assert!(!index.sweep_flushed(usize::MAX));
    assert_eq!((index.elsewhere(), index.flushed()), (0, 0));
}

/// Hashes on both sides of where a home, or what a cursor leaves out, begins and ends.
#[test]
fn a_scan_passes_over_no_hash_between_its_steps() {
    for (homes, elsewhere) in [(5, 0), (5, 1), (1000, 700), (7, 60_000)] {
        let mut index = Index::new(homes, 64 << 20).unwrap();
        let mut items = Items::default();
        let mut all = HashSet::new();
        for number in 0..elsewhere {
            // In no order, as hashes come.
            let hash = u64::MAX / elsewhere * (number * 7919 % elsewhere);
            grow_elsewhere_if_wanted(&mut index);
            index.insert_elsewhere(0, Elsewhere::new(hash, 1, Role::Only)).unwrap();
            all.insert(hash);
        }
        for home in 0..homes as u64 {
            let first = (u128::from(home) << 64).div_ceil(homes as u128) as u64;
            for hash in [first, first + 1, first.next_multiple_of(SCAN_STEP), first.wrapping_sub(1)] {
                if all.insert(hash) {
                    index.insert(hash, items.add(hash)).unwrap();
                }
            }
        }
        for homes_max in [1, 2, 100] {
            let (mut seen, mut next, mut steps) = (HashSet::new(), Some(0u64), 0);
            while let Some(hash) = next {
                assert!(hash.is_multiple_of(SCAN_STEP));
                next = index.scan(
                    hash,
                    homes_max,
                    |slot| items.hash_of(slot),
                    |entry| {
                        let hash = match entry {
                            Entry::Item(slot) => items.hash_of(slot),
                            Entry::Elsewhere(entry) => entry.hash,
                        };
                        assert!(seen.insert(hash), "{hash} twice");
                        ControlFlow::Continue(())
                    },
                );
                assert!(next.is_none_or(|next| next > hash));
                steps += 1;
            }
            assert!(seen == all && steps >= homes / homes_max);
        }
    }
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
    FlushSpace(u16),
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
        1 => (0u16..5).prop_map(Operation::FlushSpace),
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
        let space_of = |hash: u64| (hash % 5) as u16 * 1000;
        let mut swept = true;
        for operation in operations {
            grow_if_wanted(&mut index, &items);
            grow_elsewhere_if_wanted(&mut index);
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
                        let (at, entry) = index.find_elsewhere(hash).unwrap();
                        index.remove_elsewhere(at, &entry);
                        elsewhere.remove(&hash);
                    }
                }
                Operation::Demote(number) => {
                    if let Some(hash) = pick(number) {
                        let (place, _) = index.find(hash, |slot| items.hash_of(slot) == hash).unwrap();
                        index.remove(place, hash);
                        model.remove(&hash);
                        let entry = Elsewhere { frequency: 3, ..Elsewhere::new(hash, place_of(hash), role_of(hash)) };
                        if index.insert_elsewhere(space_of(hash), entry).is_ok() {
                            elsewhere.insert(hash);
                        }
                    }
                }
                Operation::Flush => {
                    index.flush_elsewhere();
                    elsewhere.clear();
                    swept = false;
                }
                Operation::FlushSpace(number) => {
                    index.flush_space_elsewhere(number * 1000);
                    elsewhere.retain(|hash| space_of(*hash) != number * 1000);
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
            for (space, told) in index.only_by_space() {
                let own = elsewhere.iter().filter(|hash| space_of(**hash) == space);
                prop_assert_eq!(told, own.filter(|hash| role_of(**hash) == Role::Only).count() as u64);
            }
            prop_assert!(!swept || index.flushed() == 0);
            prop_assert_eq!(index.audit(), Ok(()));
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
            grow_elsewhere_if_wanted(&mut index);
        }
        prop_assert_eq!(seen, model.keys().copied().chain(elsewhere).collect::<HashSet<_>>());
    }
}
