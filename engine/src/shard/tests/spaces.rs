//! The same keys in several spaces: each is an item of its own, whatever becomes of the others.

use super::*;
use std::collections::BTreeSet;

const SPACES: [u16; 3] = [0, 7, u16::MAX];

fn ask_in<'s>(shard: &'s mut Shard, space: u16, key: &[u8], op: Op<'_>) -> Outcome<'s> {
    let hash = shard.hash(space, key);
    shard.execute(&Command { space, key, op }, hash, NOW)
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
        cursor = shard.scan(space, cursor, 100, NOW, &mut keys, &mut Vec::new());
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
    for (space, count) in [(0, 9_000), (7, 6_000), (u16::MAX, 9_000), (1, 0)] {
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
        let hash = shard.hash(space, b"key");
        match shard.execute(&Command { space, key: b"key", op }, hash, NOW) {
            Outcome::Item(found) => Some(bytes_of(found.value)),
            _ => None,
        }
    };
    let get = Op::Read(Read::default());
    let long = vec![2; 100_000];
    in_space(&mut shard, 0, Op::Write(Write::set(b"none")));
    in_space(&mut shard, 1, Op::Write(Write { flags: 9, ..Write::set(&long) }));
    in_space(&mut shard, u16::MAX, Op::Write(Write::set(b"last")));
    assert_eq!(in_space(&mut shard, 0, get).unwrap(), b"none");
    assert_eq!(in_space(&mut shard, 1, get).unwrap(), long);
    assert_eq!(in_space(&mut shard, 2, get), None);
    in_space(&mut shard, 0, Op::Delete(Delete::default()));
    assert_eq!(in_space(&mut shard, u16::MAX, get).unwrap(), b"last");
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
    assert!([0, 1, u16::MAX].into_iter().all(|space| in_space(&mut shard, space, get).is_none()));
}
