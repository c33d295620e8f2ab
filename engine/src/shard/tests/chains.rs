//! Chains while room is made: heads, chunks, and when eviction judges them.

use super::*;

const LONG: usize = 40_000;

/// Where the head of a long value lies, and its list.
fn head_of(shard: &Shard, key: &[u8]) -> (u64, Vec<u8>) {
    let key = Key { bytes: key, space: 0, hash: shard.hash(0, key) };
    let (_, slot) = shard.find(key).expect("it is there");
    (slot.location(), shard.segments.item(slot.location()).value().to_vec())
}

#[test]
fn a_chunk_that_moves_takes_a_new_head_with_it_and_the_old_list_stays_as_it_was() {
    let mut shard = shard();
    set(&mut shard, b"stays", &[1; LONG / 2]);
    for number in 0..3u8 {
        set(&mut shard, &[number], &[2; LONG]);
    }
    let (at, list) = head_of(&shard, b"stays");
    // The segments of its chunks are more than half dead then.
    for number in 0..3u8 {
        ask(&mut shard, &[number], Op::Delete(Delete::default()), NOW);
    }
    drain(&mut shard, NOW);
    let (moved_to, new_list) = head_of(&shard, b"stays");
    assert!(moved_to != at && new_list != list, "its chunks have moved");
    let old = shard.segments.item(at);
    assert!(old.is(state::DEAD));
    assert_eq!(old.value().to_vec(), list);
    assert_eq!(get(&mut shard, b"stays", NOW).unwrap(), [1; LONG / 2]);
    shard.audit().unwrap();
}

/// Writes values, never read, of so many bytes in all, of which half are long.
fn churn(shard: &mut Shard, bytes: usize, seed: u64) {
    for number in 0..bytes as u64 / 2 / LONG as u64 {
        set(shard, &(seed << 32 | number << 8).to_le_bytes(), &[3; LONG]);
        for short in 1..LONG as u64 / 1000 {
            set(shard, &(seed << 32 | number << 8 | short).to_le_bytes(), &[3; 970]);
        }
    }
}

#[test]
fn a_long_value_whose_key_has_proved_itself_does_not_go_with_those_on_trial() {
    let mut shard = shard_of(2 << 20);
    churn(&mut shard, 4 << 20, 1);
    for (round, stays) in [false, true].into_iter().enumerate() {
        set(&mut shard, b"long", &[1; LONG]);
        churn(&mut shard, 5 << 19, 2 + round as u64);
        assert_eq!(get(&mut shard, b"long", NOW).is_some(), stays, "round {round}");
    }
    shard.audit().unwrap();
}

#[test]
fn a_long_value_that_is_read_now_and_then_is_kept_whole_and_one_that_is_not_goes() {
    for eviction in crate::eviction::Algorithm::ALL {
        let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, eviction, ..ShardConfig::new(2 << 20) };
        let mut shard = Shard::new(config).unwrap();
        for key in [b"hot", b"old"] {
            set(&mut shard, key, &[1; 10 * LONG]);
            get(&mut shard, key, NOW);
            get(&mut shard, key, NOW);
        }
        for round in 0..50 {
            churn(&mut shard, 200_000, round);
            assert!(get(&mut shard, b"hot", NOW).is_some(), "{eviction:?}, round {round}");
            shard.audit().unwrap();
        }
        assert_eq!(get(&mut shard, b"old", NOW), None, "{eviction:?}");
    }
}

#[test]
fn a_long_value_is_chained_lent_and_survives_touch_and_append() {
    let mut shard = shard();
    let long: Vec<u8> = (0..300_000u32).map(|i| (i * 7) as u8).collect();
    set(&mut shard, b"long", &long);
    assert_eq!(get(&mut shard, b"long", NOW).unwrap(), long);
    let touch =
        Expire { expiry: Expiry::At(NOW + 60_000), condition: ExpireCondition::Always, leases: false };
    assert!(matches!(ask(&mut shard, b"long", Op::Expire(touch), NOW), Outcome::Touched { .. }));
    let append = Write { mode: WriteMode::Append, ..Write::set(b"tail") };
    assert!(matches!(ask(&mut shard, b"long", Op::Write(append), NOW), Outcome::Stored { .. }));
    let prepend = Write { mode: WriteMode::Prepend, ..Write::set(b"head") };
    ask(&mut shard, b"long", Op::Write(prepend), NOW);
    let whole = [b"head", &long[..], b"tail"].concat();
    assert_eq!(get(&mut shard, b"long", NOW + 59_999).unwrap(), whole);

    let Outcome::Item(found) = ask(&mut shard, b"long", Op::Read(Read::default()), NOW) else {
        panic!("there")
    };
    let Value::Chained(chain) = found.value else { panic!("chained") };
    let lent: Vec<Lent> = chain.lend(2..100_000).collect();
    let bytes: Vec<u8> = lent.iter().flat_map(|lent| lent.bytes().to_vec()).collect();
    assert_eq!(bytes, whole[2..100_000]);
    lent.into_iter().for_each(|lent| shard.release(lent));
    assert!(get(&mut shard, b"long", NOW + 60_000).is_none());
    assert_eq!(shard.stats().bytes_live.read(), 0);
}

#[test]
fn whatever_a_hash_names_may_be_fetched_ahead() {
    let mut shard = shard();
    set(&mut shard, b"short", b"value");
    set(&mut shard, b"long", &[1; 300_000]);
    let behind = Op::SetRange { offset: 3_000_000, value: Body::Bytes(b"behind a hole") };
    ask(&mut shard, b"holed", behind, NOW);
    for key in [&b"short"[..], b"long", b"holed", b"nobody's"] {
        let hash = shard.hash(0, key);
        shard.prefetch_bucket(0, hash);
        shard.prefetch_item(0, hash);
        shard.prefetch_chunks(0, hash);
    }
    assert_eq!(get(&mut shard, b"long", NOW).unwrap(), [1; 300_000]);
}

#[test]
fn a_chain_of_many_small_pieces_stays_whole() {
    let mut shard = shard();
    let mut whole = vec![9; 20_000];
    set(&mut shard, b"k", &whole);
    for piece in 0..5_000u32 {
        let piece = piece.to_le_bytes();
        let write = Write { mode: WriteMode::Append, ..Write::set(&piece) };
        let outcome = ask(&mut shard, b"k", Op::Write(write), NOW);
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
        whole.extend(piece);
    }
    assert_eq!(get(&mut shard, b"k", NOW).unwrap(), whole);
    shard.audit().unwrap();
}

#[test]
fn long_values_are_evicted_as_short_ones_are() {
    for eviction in crate::eviction::Algorithm::ALL {
        let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, eviction, ..ShardConfig::new(2 << 20) };
        let mut shard = Shard::new(config).unwrap();
        for number in 0..8u32 {
            set(&mut shard, format!("long{number}").as_bytes(), &[1; 100_000]);
        }
        for number in 0..10_000u32 {
            set(&mut shard, &number.to_le_bytes(), &[1; 1000]);
        }
        let left = (0..8).filter(|n| get(&mut shard, format!("long{n}").as_bytes(), NOW).is_some()).count();
        assert_eq!(left, 0, "{eviction:?}: five times the memory was written since");
    }
}

#[test]
fn a_long_value_counts_as_expired_with_all_its_chunks() {
    let mut shard = shard();
    let write = Write { expiry: Expiry::At(NOW + 500), ..Write::set(&[1; 200_000]) };
    ask(&mut shard, b"long", Op::Write(write), NOW);
    shard.maintain(NOW + 1000, 0);
    assert!(shard.stats().bytes_expired.read() >= 200_000);
    drain(&mut shard, NOW + 1000);
    assert_eq!(shard.stats().bytes_expired.read(), 0);
    assert_eq!(shard.stats().bytes_segments.read(), 0);
}

#[test]
fn a_long_list_is_not_written_again_for_each_of_its_chunks() {
    let mut shard = shard_of(24 << 20);
    let mut value = vec![1; 4 << 20];
    set(&mut shard, b"long", &value);
    // Five of eight chunks are written anew, so all segments of the first ones are more than half dead.
    let chunk = 8 << 10;
    for number in (0..value.len() / chunk - 1).filter(|number| number % 8 < 5) {
        let offset = number * chunk + chunk / 2;
        let range = Op::SetRange { offset: offset as u64, value: Body::Bytes(&[2]) };
        ask(&mut shard, b"long", range, NOW);
        value[offset] = 2;
    }
    let before = shard.stats().relocations.read();
    drain(&mut shard, NOW);
    // About 190 chunks, three at a time, and a head each time.
    let moved = shard.stats().relocations.read() - before;
    assert!((150..300).contains(&moved), "{moved} items have moved");
    assert!(get(&mut shard, b"long", NOW).unwrap() == value);
    shard.audit().unwrap();
}
