//! The same keys in several spaces: each is an item of its own, whatever becomes of the others.

use super::*;
use std::collections::BTreeSet;

const SPACES: [u16; 3] = [0, 7, 63];

fn ask_in<'s>(shard: &'s mut Shard, space: u16, key: &[u8], op: Op<'_>) -> Outcome<'s> {
    let hash = shard.key_hash(key);
    shard.execute(&Command { database: space, key, op }, hash, NOW)
}

fn read_in(shard: &mut Shard, space: u16, key: &[u8]) -> Option<Vec<u8>> {
    match ask_in(shard, space, key, Op::Read(Read::default())) {
        Outcome::Item(found) => Some(bytes_of(found.value)),
        Outcome::Miss => None,
        other => panic!("{other:?}"),
    }
}

/// A value that says whose it is; one in 50 is long.
fn value(space: u16, number: u32) -> Vec<u8> {
    let text = format!("{number} in {space}, ").into_bytes();
    let len = if number.is_multiple_of(50) { 20_000 } else { 40 };
    text.iter().copied().cycle().take(len).collect()
}

fn fill(shard: &mut Shard, count: u32) {
    for number in 0..count {
        for space in SPACES {
            let value = value(space, number);
            let write = Op::Write(Write::set(&value));
            let outcome = ask_in(shard, space, &number.to_le_bytes(), write);
            assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
        }
    }
    shard.audit().unwrap();
}

fn scan_of(shard: &Shard, space: u16) -> BTreeSet<Vec<u8>> {
    let (mut cursor, mut keys) = (0, Vec::new());
    loop {
        cursor = shard.scan(space, (cursor, 100), Tells::Keys, NOW, &mut keys, &mut Vec::new());
        if cursor == 0 {
            break;
        }
    }
    words::each(&keys).map(<[u8]>::to_vec).collect()
}

#[test]
fn growth_and_scans_keep_the_spaces_apart() {
    let mut shard = shard_of(32 << 20);
    let buckets = shard.index.buckets();
    fill(&mut shard, 9_000);
    assert!(shard.index.buckets() > 3 * buckets / 2, "the index has grown");
    for number in (0..9_000u32).step_by(3) {
        let delete = Op::Delete(Delete::default());
        let outcome = ask_in(&mut shard, 7, &number.to_le_bytes(), delete);
        assert!(matches!(outcome, Outcome::Deleted { .. }));
    }
    for number in 0..9_000u32 {
        for space in SPACES {
            let expected = (space != 7 || number % 3 != 0).then(|| value(space, number));
            assert!(read_in(&mut shard, space, &number.to_le_bytes()) == expected, "{number} in {space}");
        }
    }
    for (space, count) in [(0, 9_000), (7, 6_000), (63, 9_000), (1, 0)] {
        assert_eq!(scan_of(&shard, space).len(), count, "keys of space {space}");
    }
    shard.audit().unwrap();
}

#[test]
fn eviction_moves_and_drops_items_of_all_spaces_and_mixes_none() {
    for eviction in crate::eviction::Algorithm::ALL {
        let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, eviction, ..ShardConfig::new(4 << 20) };
        let mut shard = Shard::new(config).unwrap();
        let hot = |number: u32| number % 100 < 2;
        for round in 0..4 {
            fill(&mut shard, 6_000);
            let mut kept = [0; SPACES.len()];
            for number in 0..6_000u32 {
                for (space, kept) in SPACES.into_iter().zip(&mut kept) {
                    let Some(read) = read_in(&mut shard, space, &number.to_le_bytes()) else { continue };
                    assert!(read == value(space, number), "{number} in {space}");
                    *kept += 1;
                    // Long ones as well: eviction moves those that are read.
                    (0..3)
                        .filter(|_| hot(number))
                        .for_each(|_| drop(read_in(&mut shard, space, &number.to_le_bytes())));
                }
            }
            assert!(kept.iter().all(|&kept| (500..6_000).contains(&kept)), "{eviction:?}, {round}: {kept:?}");
            shard.audit().unwrap();
        }
        assert!(shard.stats().relocations.read() > 0 && shard.stats().evictions.read() > 0);
    }
}

#[test]
fn parts_of_long_values_change_in_their_space() {
    let mut shard = shard();
    let long = vec![1; 50_000];
    for space in SPACES {
        ask_in(&mut shard, space, b"k", Op::Write(Write::set(&long)));
    }
    for (number, space) in SPACES.into_iter().enumerate() {
        let mark = [number as u8 + 2; 3];
        ask_in(&mut shard, space, b"k", Op::SetRange { offset: 30_000, value: Body::Bytes(&mark) });
        let append = Write { mode: WriteMode::Append, ..Write::set(&mark) };
        ask_in(&mut shard, space, b"k", Op::Write(append));
    }
    drain(&mut shard, NOW);
    for (number, space) in SPACES.into_iter().enumerate() {
        let mut expected = long.clone();
        expected[30_000..30_003].fill(number as u8 + 2);
        expected.extend([number as u8 + 2; 3]);
        assert!(read_in(&mut shard, space, b"k").unwrap() == expected, "space {space}");
    }
}

#[test]
fn a_key_in_two_spaces_is_two_items() {
    let mut shard = shard();
    let in_space = |shard: &mut Shard, space: u16, op: Op<'_>| -> Option<Vec<u8>> {
        let hash = shard.key_hash(b"key");
        match shard.execute(&Command { database: space, key: b"key", op }, hash, NOW) {
            Outcome::Item(found) => Some(bytes_of(found.value)),
            _ => None,
        }
    };
    let get = Op::Read(Read::default());
    let long = vec![2; 100_000];
    in_space(&mut shard, 0, Op::Write(Write::set(b"none")));
    in_space(&mut shard, 1, Op::Write(Write { flags: 9, ..Write::set(&long) }));
    in_space(&mut shard, 63, Op::Write(Write::set(b"last")));
    assert_eq!(in_space(&mut shard, 0, get).unwrap(), b"none");
    assert_eq!(in_space(&mut shard, 1, get).unwrap(), long);
    assert_eq!(in_space(&mut shard, 2, get), None);
    in_space(&mut shard, 0, Op::Delete(Delete::default()));
    assert_eq!(in_space(&mut shard, 63, get).unwrap(), b"last");
    let touch = Expire { expiry: Expiry::At(NOW + 1), condition: ExpireCondition::Always, leases: false };
    in_space(&mut shard, 1, Op::Expire(touch));
    assert_eq!(in_space(&mut shard, 1, get).unwrap(), long);
    shard.audit().unwrap();
    // Options in front of the key are as they were, and space 0 takes no byte.
    let item = |shard: &Shard, space| {
        let key = Key { bytes: b"key", space, hash: shard.hash(space, b"key") };
        let (_, slot) = shard.find(key).unwrap();
        shard.segments.item(slot.location()).header()
    };
    assert_eq!((item(&shard, 1).flags, item(&shard, 1).space), (9, 1));
    shard.flush(None, NOW);
    assert!([0, 1, 63].into_iter().all(|space| in_space(&mut shard, space, get).is_none()));
}

fn flush_database(shard: &mut Shard, database: usize) {
    let version = shard.draw_version(NOW);
    let table = shard.spaces().flushed(database, version, |_| true).unwrap();
    shard.set_spaces(&table, NOW);
    shard.audit().unwrap();
}

fn swap(shard: &mut Shard, one: usize, other: usize) {
    let version = shard.draw_version(NOW);
    let table = shard.spaces().swapped(one, other, version);
    shard.set_spaces(&table, NOW);
    shard.audit().unwrap();
}

fn keys_of(shard: &Shard) -> [u64; 3] {
    SPACES.map(|database| shard.stats().database(database.into()).items)
}

#[test]
fn a_database_that_is_flushed_is_empty_at_once_and_its_memory_comes_back() {
    let mut shard = shard_of(32 << 20);
    fill(&mut shard, 9_000);
    let (items, live) = (shard.index.items(), shard.stats().bytes_live.read());
    flush_database(&mut shard, 7);
    assert_eq!((keys_of(&shard), shard.stats().items.read()), ([9_000, 0, 9_000], 18_000));
    assert!(shard.stats().bytes_live.read() < live * 3 / 4);
    assert_eq!((scan_of(&shard, 7).len(), scan_of(&shard, 63).len()), (0, 9_000));
    // What is written now is of the new space, whatever is left of the old one.
    ask_in(&mut shard, 7, &1u32.to_le_bytes(), Op::Write(Write::set(b"new")));
    assert!(!shard.has_dropped_all() && shard.index.items() == items + 1);
    drain(&mut shard, NOW);
    assert!(shard.has_dropped_all());
    assert_eq!((keys_of(&shard), shard.index.items()), ([9_000, 1, 9_000], 18_001));
    for number in 0..9_000u32 {
        for space in [0, 63] {
            assert!(read_in(&mut shard, space, &number.to_le_bytes()) == Some(value(space, number)));
        }
        let expected = (number == 1).then(|| b"new".to_vec());
        assert_eq!(read_in(&mut shard, 7, &number.to_le_bytes()), expected);
    }
    shard.audit().unwrap();
    // Space 0 is counted otherwise.
    flush_database(&mut shard, 0);
    assert_eq!((keys_of(&shard), shard.stats().items.read()), ([0, 1, 9_000], 9_001));
    ask_in(&mut shard, 0, b"k", Op::Write(Write::set(b"v")));
    drain(&mut shard, NOW);
    assert_eq!((keys_of(&shard), shard.index.items()), ([1, 1, 9_000], 9_002));
    shard.audit().unwrap();
}

#[test]
fn databases_that_are_swapped_have_each_others_keys_and_figures() {
    let mut shard = shard_of(32 << 20);
    fill(&mut shard, 200);
    ask_in(&mut shard, 0, b"more", Op::Write(Write::set(b"0")));
    let expiry = Expiry::At(NOW + 10_000);
    ask_in(&mut shard, 7, b"ends", Op::Write(Write { expiry, ..Write::set(b"7") }));
    swap(&mut shard, 0, 7);
    assert_eq!(keys_of(&shard), [201, 201, 200]);
    assert_eq!((read_in(&mut shard, 7, b"more"), read_in(&mut shard, 0, b"more")), (Some(b"0".into()), None));
    assert_eq!(read_in(&mut shard, 0, &5u32.to_le_bytes()), Some(value(7, 5)));
    let figures = [0, 7].map(|database| shard.stats().database(database));
    assert_eq!(figures.map(|figures| figures.expiring), [1, 0]);
    assert!((9_000..=11_000).contains(&figures[0].mean_ttl(NOW)), "{}", figures[0].mean_ttl(NOW));
    flush_database(&mut shard, 7);
    swap(&mut shard, 63, 7);
    swap(&mut shard, 0, 63);
    assert_eq!(keys_of(&shard), [0, 200, 201]);
    drain(&mut shard, NOW);
    assert_eq!(read_in(&mut shard, 63, b"ends"), Some(b"7".to_vec()));
    shard.audit().unwrap();
}

#[test]
fn the_flush_of_all_that_there_is_frees_segments_and_leaves_a_flush_to_come() {
    let mut shard = shard_of(32 << 20);
    fill(&mut shard, 3_000);
    shard.flush(Some(NOW + 5_000), NOW);
    for database in [0, 7, 63] {
        flush_database(&mut shard, database);
    }
    let before = shard.stats().relocations.read();
    drain(&mut shard, NOW);
    assert_eq!((shard.index.items(), shard.stats().relocations.read()), (0, before));
    ask_in(&mut shard, 7, b"k", Op::Write(Write::set(b"v")));
    assert!(read_in(&mut shard, 7, b"k").is_some());
    shard.maintain(NOW + 5_000, 10);
    assert_eq!(read_in(&mut shard, 7, b"k"), None, "that came in its time");
    shard.audit().unwrap();
}

#[test]
fn a_value_under_way_into_a_database_that_gets_another_space_is_given_up() {
    let mut shard = shard();
    let begin = |shard: &mut Shard, database| shard.upload_begin(database, b"k", 50_000, NOW).unwrap();
    let ids = [0, 7, 63].map(|database| begin(&mut shard, database));
    ids.iter().for_each(|id| shard.upload_append(*id, &[1; 30_000], NOW).unwrap());
    flush_database(&mut shard, 0);
    swap(&mut shard, 7, 8);
    for (id, is_there) in ids.into_iter().zip([false, false, true]) {
        assert_eq!(shard.upload_append(id, &[1; 20_000], NOW).is_ok(), is_there);
    }
    let write = Write { value: Body::Upload(ids[2]), ..Write::set(b"") };
    assert!(matches!(ask_in(&mut shard, 63, b"k", Op::Write(write)), Outcome::Stored { .. }));
    let write = Write { value: Body::Upload(ids[0]), ..Write::set(b"") };
    let refused = ask_in(&mut shard, 0, b"k", Op::Write(write));
    assert!(matches!(refused, Outcome::Refused(Refusal::OutOfMemory)), "{refused:?}");
    drain(&mut shard, NOW);
    shard.audit().unwrap();
    assert!(shard.has_dropped_all());
}

mod on_a_tier {
    use super::super::unsaved::Tier;
    use super::*;

    fn slot_of(_: &[u8]) -> u16 {
        0
    }

    fn set_in(shard: &mut Shard, database: u16, key: &[u8]) {
        let outcome = ask_in(shard, database, key, Op::Write(Write::set(key)));
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
    }

    #[test]
    fn a_tier_is_told_of_the_table_between_what_was_changed_before_and_behind() {
        let mut shard = shard();
        let mut tier = Tier::default();
        shard.remember_changes(slot_of);
        let first = *shard.spaces();
        set_in(&mut shard, 3, b"before");
        flush_database(&mut shard, 2);
        set_in(&mut shard, 3, b"between");
        swap(&mut shard, 3, 4);
        set_in(&mut shard, 3, b"behind");
        let (_, all) = shard.changes();
        assert_eq!(all, 5);
        let mut spaces = Vec::new();
        for taken in 1..=3 {
            let told = tier.take(&mut shard, 1);
            assert_eq!(told.len(), 1, "one item at a time");
            spaces.push((tier.spaces != first, shard.taken_up_to()));
            assert!(shard.taken_up_to() < all || taken == 3);
        }
        // The table is told in its turn: as it is by then, and again.
        assert_eq!(spaces, [(false, 1), (true, 3), (true, 5)]);
        assert_eq!(tier.spaces, *shard.spaces());
        assert!(!shard.has_unsaved());
        // A flush makes void what was to be told, but not the table.
        flush_database(&mut shard, 5);
        shard.flush(None, NOW);
        tier.take(&mut shard, 10);
        assert_eq!((tier.spaces, shard.taken_up_to()), (*shard.spaces(), shard.changes().1));
    }

    #[test]
    fn places_of_a_database_that_is_flushed_are_not_found_and_swept_out() {
        let mut shard = shard();
        let mut tier = Tier::default();
        shard.remember_changes(slot_of);
        let name = |number: u32| format!("key-{number}").into_bytes();
        for number in 0..500 {
            [0, 7].into_iter().for_each(|database| set_in(&mut shard, database, &name(number)));
        }
        let told = tier.save(&mut shard);
        let places: Vec<u64> = told.iter().filter_map(|told| told.place).collect();
        for number in 0..500 {
            for (database, at) in [(0, 0), (7, 1)] {
                let place = places[number as usize * 2 + at];
                assert!(shard.demote(database, &name(number), place, NOW));
            }
        }
        while shard.maintain(NOW, 100) {}
        let only = |shard: &Shard| [0, 7].map(|database| shard.stats().database(database).only);
        assert_eq!((only(&shard), shard.elsewhere()), ([500, 500], 1000));
        flush_database(&mut shard, 7);
        assert_eq!((only(&shard), shard.elsewhere()), ([500, 0], 500));
        let mut ask = |database| {
            let op = Op::Read(Read::default());
            matches!(ask_in(&mut shard, database, &name(3), op), Outcome::Pending(_))
        };
        assert_eq!([ask(0), ask(7)], [true, false]);
        assert!(!shard.has_dropped_all());
        while shard.maintain(NOW, 100) {}
        assert_eq!((shard.index.elsewhere(), shard.has_dropped_all()), (500, true));
        shard.audit().unwrap();
    }

    #[test]
    fn what_is_told_of_a_space_that_no_database_has_is_passed_over() {
        let mut shard = shard();
        let table = shard.spaces().flushed(7, 5, |_| true).unwrap();
        shard.begin_spaces(&table);
        shard.remember_changes(slot_of);
        shard.begin_recovery(0..1, slot_of, true);
        let hash = |shard: &Shard, space: u16| shard.hash(space, b"key");
        let known =
            [0, 7, 64].map(|space| Known::item(hash(&shard, space), Some(space.into())).of_space(space));
        assert_eq!(shard.recover(&known).items, 2);
        shard.end_slots(0..1);
        shard.publish();
        let only = [0, 7, 63].map(|database| shard.stats().database(database).only);
        assert_eq!(only, [1, 1, 0]);
        shard.audit().unwrap();
    }
}

#[test]
fn a_table_that_was_drawn_before_a_flush_that_is_due_counts_behind_it() {
    let mut shard = shard_of(32 << 20);
    fill(&mut shard, 10);
    shard.flush(Some(NOW + 10), NOW);
    let version = shard.draw_version(NOW);
    let table = shard.spaces().swapped(0, 7, version);
    let later = NOW + 10;
    shard.set_spaces(&table, later);
    assert_eq!((keys_of(&shard), shard.spaces().version), ([0; 3], version));
    let flushed = shard.version();
    assert!(flushed > version);
    let mut ask = |database, op| {
        let hash = shard.key_hash(b"key");
        match shard.execute(&Command { database, key: b"key", op }, hash, later) {
            Outcome::Stored { meta, .. } => assert!(meta.version > flushed),
            Outcome::Item(found) => assert_eq!(bytes_of(found.value), b"new"),
            other => panic!("{other:?}"),
        }
    };
    ask(7, Op::Write(Write::set(b"new")));
    ask(7, Op::Read(Read::default()));
    // Tables are compared with each other alone: the next one may be older than the flush, too.
    shard.set_spaces(&table.swapped(7, 63, version + 1), later);
    assert_eq!((keys_of(&shard), shard.spaces().version), ([0, 0, 1], version + 1));
    shard.audit().unwrap();
}
