//! Values in chains: parts of them change, others read them meanwhile.

use super::*;
use crate::chain::ORDINAL_BYTES;

/// Data of a chunk in these shards.
const CHUNK: usize = (64 << 10) / 8 - 16 - b"k".len() - ORDINAL_BYTES;

fn set_range(shard: &mut Shard, key: &[u8], offset: u64, value: &[u8]) {
    let outcome = ask(shard, key, Op::SetRange { offset, value: Body::Bytes(value) }, NOW);
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
}

fn append(shard: &mut Shard, key: &[u8], value: &[u8]) {
    let write = Write { mode: WriteMode::Append, ..Write::set(value) };
    let outcome = ask(shard, key, Op::Write(write), NOW);
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
}

/// Bytes that were ever appended to the segments that are in use.
fn written(shard: &Shard) -> usize {
    shard.segments.headers().iter().map(|header| header.used as usize).sum()
}

fn some_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Once every change of a long value wrote all of it anew.
#[test]
fn a_change_of_a_long_value_writes_the_chunks_that_it_touches_and_no_others() {
    let mut shard = shard_of(16 << 20);
    let mut value = some_bytes(2_000_000);
    set(&mut shard, b"k", &value);
    let list_bytes = value.len().div_ceil(CHUNK) * 16 + 64;
    for (offset, bytes) in [(0, 1), (1_000_000, 1), (CHUNK * 50 - 1, 2), (1_999_999, 1), (700_000, 3 * CHUNK)]
    {
        let before = written(&shard);
        let new = vec![0xEE; bytes];
        set_range(&mut shard, b"k", offset as u64, &new);
        value[offset..offset + bytes].copy_from_slice(&new);
        let cost = written(&shard) - before;
        assert!(cost <= bytes + 2 * (8 << 10) + list_bytes, "{cost} bytes written for {bytes} at {offset}");
        assert!(get(&mut shard, b"k", NOW).unwrap() == value);
        shard.audit().unwrap();
    }
    let before = written(&shard);
    append(&mut shard, b"k", b"tail");
    value.extend(b"tail");
    assert!(written(&shard) - before <= 4 * CHUNK);
    assert!(get(&mut shard, b"k", NOW).unwrap() == value);
}

/// Once the 2049th piece wrote the whole value anew, and each one before it a list of all.
#[test]
fn a_value_that_grows_by_small_pieces_is_never_written_anew() {
    for mode in [WriteMode::Append, WriteMode::Prepend] {
        let mut shard = shard_of(16 << 20);
        set(&mut shard, b"k", &[1; 1_500_000]);
        for _ in 0..3_000u32 {
            let before = written(&shard);
            let write = Write { mode, ..Write::set(b"piece of it") };
            ask(&mut shard, b"k", Op::Write(write), NOW);
            let cost = written(&shard).saturating_sub(before);
            assert!(cost < 4 * CHUNK, "{cost} bytes written for a piece of 11");
            shard.maintain(NOW, 8);
        }
        assert_eq!(get(&mut shard, b"k", NOW).unwrap().len(), 1_500_000 + 3_000 * 11);
        shard.audit().unwrap();
    }
}

/// Once the gap was written: 64 MiB of zeros in one command.
#[test]
fn a_gap_before_a_range_takes_no_memory_and_reads_as_zeros() {
    let mut shard = shard_of(8 << 20);
    for base in [0, 100, 50_000] {
        let mut value = some_bytes(base);
        set(&mut shard, b"k", &value);
        let before = written(&shard);
        set_range(&mut shard, b"k", 50_000_000, b"end");
        assert!(written(&shard) - before < base + 4 * CHUNK);
        value.resize(50_000_000, 0);
        value.extend(b"end");
        assert!(get(&mut shard, b"k", NOW).unwrap() == value);
        for (offset, bytes) in [(20_000_000, 5), (49_999_998, 4), (base, 1), (30_000_000, 20_000)] {
            set_range(&mut shard, b"k", offset as u64, &vec![9; bytes]);
            value[offset..offset + bytes].fill(9);
        }
        append(&mut shard, b"k", b"more");
        value.extend(b"more");
        assert!(get(&mut shard, b"k", NOW).unwrap() == value);
        shard.audit().unwrap();
        assert!(shard.stats().bytes_live.read() < base as u64 + 200_000);

        let lent = lend_all(&mut shard, b"k", NOW);
        let bytes: Vec<u8> = lent.iter().flat_map(|lent| lent.bytes().to_vec()).collect();
        assert!(bytes == value);
        lent.into_iter().for_each(|lent| shard.release(lent));
    }
    ask(&mut shard, b"k", Op::Delete(Delete::default()), NOW);
    drain(&mut shard, NOW);
    assert_eq!(shard.stats().segments_pinned.read() + shard.stats().bytes_segments.read(), 0);
}

#[test]
fn who_reads_a_value_keeps_its_bytes_while_parts_of_it_change() {
    let mut shard = shard_of(8 << 20);
    let before = some_bytes(300_000);
    set(&mut shard, b"k", &before);
    let lent = lend_all(&mut shard, b"k", NOW);
    let mut after = before.clone();
    for number in 0..60 {
        let offset = number * 4_999;
        set_range(&mut shard, b"k", offset as u64, &[number as u8; 3]);
        after[offset..offset + 3].fill(number as u8);
        append(&mut shard, b"k", &[number as u8; 100]);
        after.extend([number as u8; 100]);
        set(&mut shard, &number.to_le_bytes(), &some_bytes(60_000));
        shard.maintain(NOW, 1000);
    }
    assert!(get(&mut shard, b"k", NOW).unwrap() == after);
    let bytes: Vec<u8> = lent.iter().flat_map(|lent| lent.bytes().to_vec()).collect();
    assert!(bytes == before, "lent bytes have changed");
    lent.into_iter().for_each(|lent| shard.release(lent));
    shard.audit().unwrap();
}

/// Once the old value waited in memory of its own while room was made, and a refusal lost it.
#[test]
fn an_append_to_an_inline_value_survives_its_own_eviction() {
    let mut shard = shard_of(1 << 20);
    let mut value = some_bytes(2_000);
    set(&mut shard, b"k", &value);
    for number in 0..400u32 {
        for other in 0..40u32 {
            set(&mut shard, &(number * 40 + other).to_le_bytes(), &[1; 1_000]);
        }
        match ask(&mut shard, b"k", Op::Write(Write { mode: WriteMode::Append, ..Write::set(b"+") }), NOW) {
            Outcome::Stored { .. } => value.push(b'+'),
            Outcome::NotStored { .. } => {
                value = some_bytes(2_000);
                set(&mut shard, b"k", &value);
            }
            other => panic!("{other:?}"),
        }
        assert!(get(&mut shard, b"k", NOW).unwrap() == value);
    }
    shard.audit().unwrap();
    assert_eq!(shard.segments.pinned(), 0);
}

/// Once the chunks of such an upload stayed pinned for good.
#[test]
fn an_append_of_an_incomplete_upload_is_refused_and_leaves_nothing_pinned() {
    for base in [&b"short"[..], &[5; 100_000]] {
        for mode in [WriteMode::Append, WriteMode::Prepend, WriteMode::Set] {
            let mut shard = shard();
            set(&mut shard, b"k", base);
            let upload = shard.upload_begin(0, b"k", 50_000, NOW).unwrap();
            shard.upload_append(upload, &[1; 49_999], NOW).unwrap();
            let write = Write { mode, value: Body::Upload(upload), ..Write::set(b"") };
            let outcome = ask(&mut shard, b"k", Op::Write(write), NOW);
            assert!(matches!(outcome, Outcome::Refused(Refusal::ValueTooLarge)), "{outcome:?}");
            assert_eq!(shard.segments.pinned(), 0);
            assert_eq!(get(&mut shard, b"k", NOW).unwrap(), base);
            shard.audit().unwrap();
        }
    }
}

/// Each upload leaves a chunk of one byte behind; the list of them must fit into an item.
#[test]
fn a_list_that_would_be_too_long_is_refused_and_the_value_stays() {
    let mut shard = shard_of(64 << 20);
    let mut value = Vec::new();
    set(&mut shard, b"k", b"");
    let refused = (0..700u32).find_map(|number| {
        let piece = vec![number as u8; CHUNK + 1];
        match put_upload(&mut shard, &piece, |body| {
            Op::Write(Write { mode: WriteMode::Append, value: body, ..Write::set(b"") })
        }) {
            Ok(()) => value.extend(piece),
            Err(refusal) => return Some(refusal),
        }
        None
    });
    assert_eq!(refused, Some(Refusal::ValueTooLarge));
    assert!(get(&mut shard, b"k", NOW).unwrap() == value);
    shard.audit().unwrap();
    assert_eq!(shard.segments.pinned(), 0);
}

fn put_upload<'a>(
    shard: &mut Shard,
    bytes: &[u8],
    op: impl FnOnce(Body<'a>) -> Op<'a>,
) -> Result<(), Refusal> {
    let upload = shard.upload_begin(0, b"k", bytes.len() as u64, NOW).unwrap();
    shard.upload_append(upload, bytes, NOW).unwrap();
    match ask(shard, b"k", op(Body::Upload(upload)), NOW) {
        Outcome::Stored { .. } => Ok(()),
        Outcome::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

/// Once the bytes of a range had to be there all at once, outside the shard's memory.
#[test]
fn a_range_is_received_in_slices_and_written_into_any_value() {
    for base in [0, 100, 50_000] {
        for offset in [0, 1, 99, CHUNK, 20_000, 49_999, 50_000, 2_000_000] {
            for len in [0, 1, CHUNK, 30_000] {
                let mut shard = shard();
                let mut value = some_bytes(base);
                set(&mut shard, b"k", &value);
                let range = vec![0xEE; len];
                put_upload(&mut shard, &range, |value| Op::SetRange { offset: offset as u64, value })
                    .unwrap();
                value.resize(value.len().max(offset + len), 0);
                value[offset..offset + len].copy_from_slice(&range);
                assert!(get(&mut shard, b"k", NOW).unwrap() == value, "{len} at {offset} of {base}");
                shard.audit().unwrap();
                assert_eq!(shard.segments.pinned(), 0);
            }
        }
    }
}

#[test]
fn of_values_under_way_the_oldest_goes_on_and_the_youngest_is_given_up() {
    const LEN: usize = 6 << 20;
    let mut shard = shard_of(64 << 20);
    let ids: Vec<UploadId> = (0..16).map(|_| shard.upload_begin(0, b"k", LEN as u64, NOW).unwrap()).collect();
    let share = (shard.segments.count_max() * shard.segments.segment_bytes() / 4) as u64;
    let mut refused_first = None;
    for _ in 0..LEN / 100_000 {
        for (number, &id) in ids.iter().enumerate() {
            if shard.upload_append(id, &[1; 100_000], NOW).is_err() {
                refused_first.get_or_insert(number);
            }
            assert!(shard.uploads.taken_bytes() <= share);
        }
    }
    assert_eq!(refused_first, Some(15));
    let left: Vec<_> = ids.iter().filter(|id| shard.is_under_way(**id)).copied().collect();
    assert_eq!(left, ids[..2], "a quarter of 64 MiB");
    assert!(shard.upload_begin(0, b"k", LEN as u64, NOW).is_ok_and(|id| {
        let refused = (0..60).any(|_| shard.upload_append(id, &[1; 100_000], NOW).is_err());
        refused && left.iter().all(|id| shard.is_under_way(*id))
    }));
    left.into_iter().for_each(|id| shard.upload_abort(id));
    assert_eq!((shard.held().1, shard.uploads.taken_bytes()), (0, 0));
    shard.audit().unwrap();
}

#[test]
fn values_under_way_count_in_whole_chunks() {
    let mut shard = shard_of(64 << 20);
    // A long key is in every chunk.
    let key = [b'k'; 4_000];
    let id = shard.upload_begin(0, &key, 500_000, NOW).unwrap();
    assert!(shard.held().1 > 900_000);
    shard.upload_abort(id);
}

/// A hundred clients that announced long values kept out every other one for a second, and for ever if they came again.
#[test]
fn who_announces_much_and_sends_little_keeps_nobody_out() {
    let mut shard = shard_of(256 << 20);
    for round in 0..3 {
        for _ in 0..50 {
            let id = shard.upload_begin(0, b"drip", 7 << 20, NOW).unwrap();
            shard.upload_append(id, &[1; 20_000], NOW).unwrap();
        }
        let other = shard.upload_begin(0, b"other", 4 << 20, NOW).unwrap();
        let stored = (0..4).all(|_| shard.upload_append(other, &[2; 1 << 20], NOW).is_ok());
        assert!(stored, "round {round}");
        assert!(shard.segments.pinned() * 3 < shard.segments.count_max(), "{}", shard.segments.pinned());
        shard.upload_abort(other);
    }
}

/// What a medium, a page or a replica holds of values: no location, in any order, whatever has happened to them.
#[test]
fn chains_are_whole_without_the_places_where_they_lie() {
    use crate::item::{ItemRef, present};
    use std::collections::HashMap;
    let mut shard = shard_of(8 << 20);
    for number in 0..12u32 {
        let key = format!("long-{number}").into_bytes();
        set(&mut shard, &key, &some_bytes(60_000 + number as usize * 7_777));
        set_range(&mut shard, &key, 30_000, &[number as u8; 9_000]);
        append(&mut shard, &key, &some_bytes(number as usize * 1_000));
        let touch =
            Expire { expiry: Expiry::At(NOW + 60_000), condition: ExpireCondition::Always, leases: false };
        ask(&mut shard, &key, Op::Expire(touch), NOW);
        set(&mut shard, &number.to_le_bytes(), &some_bytes(10_000));
    }
    set_range(&mut shard, b"long-3", 2_000_000, b"behind a hole");
    drain(&mut shard, NOW);
    let (mut chunks, mut heads) = (HashMap::new(), HashMap::new());
    let mut each = |item: ItemRef<'_>| {
        if item.present() & present::CHUNK != 0 {
            let name = (item.version(), item.value().word(0));
            let data = item.value().behind(ORDINAL_BYTES).to_vec();
            assert!(chunks.insert(name, (item.key().to_vec(), data)).is_none(), "named once");
        } else if item.present() & present::CHAIN_HEAD != 0 {
            heads.insert(item.key().to_vec(), ChainList::new(item.value()).self_contained().to_vec());
        }
    };
    shard.each_live(&mut each);
    assert_eq!(heads.len(), 12);
    for (key, list) in heads {
        let word = |at: usize| u64::from_le_bytes(list[at..at + 8].try_into().unwrap());
        let mut value = Vec::new();
        for at in (32..list.len()).step_by(8) {
            let (len, ordinal) = ((word(at) >> 40) as usize, word(at) & ((1 << 40) - 1));
            match chunks.get(&(word(16), ordinal)) {
                Some((chunks_key, data)) => {
                    assert_eq!((chunks_key, data.len()), (&key, len));
                    value.extend(data);
                }
                None => {
                    assert_eq!(ordinal, (1 << 40) - 1);
                    value.resize(value.len() + len, 0);
                }
            }
        }
        assert_eq!(word(0), value.len() as u64);
        assert!(get(&mut shard, &key, NOW).unwrap() == value);
    }
}

/// Ids came from the clock, and were the same every 16 ms: one client's bytes went into another one's value.
#[test]
fn bytes_of_a_value_that_was_given_up_go_to_no_other_one() {
    let mut shard = shard_of(16 << 20);
    let mut still = Vec::new();
    while let Ok(id) = shard.upload_begin(0, b"still", 400 << 10, NOW)
        && shard.upload_append(id, &[0; 300 << 10], NOW).is_ok()
    {
        still.push(id);
    }
    let later = NOW + 64 * 16;
    let other = shard.upload_begin(0, b"other", 400 << 10, later).unwrap();
    shard.upload_append(other, &[2; 400 << 10], later).unwrap();
    let ended: Vec<_> = still.iter().filter(|&&id| !shard.is_under_way(id)).copied().collect();
    assert!(!ended.is_empty() && !still.contains(&other));
    assert!(ended.iter().all(|&id| shard.upload_append(id, &[1; 10], later).is_err()));
    assert!(shard.is_under_way(other), "another one's bytes ended it");
    still.into_iter().chain([other]).for_each(|id| shard.upload_abort(id));
    shard.audit().unwrap();
}

/// A hundred clients that send a byte now and then have refused every long value of all others.
#[test]
fn uploads_that_stand_still_make_room_for_one_that_moves() {
    let mut shard = shard_of(16 << 20);
    let mut dripping = Vec::new();
    while let Ok(id) = shard.upload_begin(0, b"drip", 400 << 10, NOW)
        && shard.upload_append(id, &[1; 300 << 10], NOW).is_ok()
    {
        dripping.push(id);
    }
    assert!(dripping.len() > 5, "{}", dripping.len());
    let early = shard.upload_begin(0, b"other", 1 << 20, NOW + 500);
    assert!(early.and_then(|id| shard.upload_append(id, &[2; 1 << 20], NOW + 500)).is_err());
    dripping.iter().for_each(|&id| shard.upload_append(id, &[1], NOW + 900).unwrap());
    let other = shard.upload_begin(0, b"other", 1 << 20, NOW + 1000).unwrap();
    shard.upload_append(other, &[2; 1 << 20], NOW + 1000).unwrap();
    let ended = dripping.iter().filter(|&&id| shard.upload_append(id, &[1], NOW + 1001).is_err()).count();
    assert!((1..dripping.len()).contains(&ended), "{ended} of {}", dripping.len());
    dripping.into_iter().chain([other]).for_each(|id| shard.upload_abort(id));
    shard.audit().unwrap();
}
