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
