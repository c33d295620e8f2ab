//! What a shard promises, case by case. The model test is in `engine/tests/model.rs`.

use super::*;
use crate::command::*;

const NOW: Millis = 1_700_000_000_000;

fn shard_of(memory_bytes: u64) -> Shard {
    Shard::new(ShardConfig { now: NOW, segment_bytes: 64 << 10, ..ShardConfig::new(memory_bytes) }).unwrap()
}

fn shard() -> Shard {
    shard_of(8 << 20)
}

fn ask<'s>(shard: &'s mut Shard, key: &[u8], op: Op<'_>, now: Millis) -> Outcome<'s> {
    let hash = shard.hash(key);
    shard.execute(&Command { key, op }, hash, now)
}

fn set(shard: &mut Shard, key: &[u8], value: &[u8]) {
    let outcome = ask(shard, key, Op::Write(Write::set(value)), NOW);
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
}

fn bytes_of(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Inline(bytes) => bytes.to_vec(),
        Value::Chained(chain) => chain.slices().flatten().copied().collect(),
    }
}

fn get(shard: &mut Shard, key: &[u8], now: Millis) -> Option<Vec<u8>> {
    match ask(shard, key, Op::Read(Read::default()), now) {
        Outcome::Item(found) => Some(bytes_of(found.value)),
        Outcome::Miss => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_set_is_read_until_it_is_deleted() {
    let mut shard = shard();
    set(&mut shard, b"key", b"value");
    assert_eq!(get(&mut shard, b"key", NOW).unwrap(), b"value");
    assert!(matches!(ask(&mut shard, b"key", Op::Delete(Delete::default()), NOW), Outcome::Deleted { .. }));
    assert_eq!(get(&mut shard, b"key", NOW), None);
    assert!(matches!(ask(&mut shard, b"key", Op::Delete(Delete::default()), NOW), Outcome::Miss));
}

#[test]
fn expiry_is_exact_to_the_millisecond() {
    let mut shard = shard();
    let write = Write { expiry: Expiry::At(NOW + 1500), ..Write::set(b"v") };
    ask(&mut shard, b"k", Op::Write(write), NOW);
    assert!(get(&mut shard, b"k", NOW + 1499).is_some());
    assert!(get(&mut shard, b"k", NOW + 1500).is_none());
    assert_eq!(shard.stats().expirations.read(), 1);
}

#[test]
fn a_long_value_is_chained_lent_and_survives_touch_and_append() {
    let mut shard = shard();
    let long: Vec<u8> = (0..300_000u32).map(|i| (i * 7) as u8).collect();
    set(&mut shard, b"long", &long);
    assert_eq!(get(&mut shard, b"long", NOW).unwrap(), long);
    let touch = Expire { expiry: Expiry::At(NOW + 60_000), condition: ExpireCondition::Always };
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
    let bytes: Vec<u8> = lent.iter().flat_map(|lent| lent.bytes()).copied().collect();
    assert_eq!(bytes, whole[2..100_000]);
    lent.into_iter().for_each(|lent| shard.release(lent));
    assert!(get(&mut shard, b"long", NOW + 60_000).is_none());
    assert_eq!(shard.stats().bytes_live.read(), 0);
}

#[test]
fn lent_bytes_stay_while_everything_around_them_is_evicted() {
    let mut shard = shard_of(2 << 20);
    let long = vec![0xAB; 100_000];
    set(&mut shard, b"long", &long);
    let Outcome::Item(found) = ask(&mut shard, b"long", Op::Read(Read::default()), NOW) else {
        panic!("there")
    };
    let Value::Chained(chain) = found.value else { panic!("chained") };
    let lent: Vec<Lent> = chain.lend(0..u64::MAX).collect();
    for number in 0..5_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 2000]);
    }
    assert!(lent.iter().all(|lent| lent.bytes().iter().all(|&byte| byte == 0xAB)));
    lent.into_iter().for_each(|lent| shard.release(lent));
    set(&mut shard, b"after", b"x");
}

#[test]
fn a_full_shard_keeps_taking_and_stays_in_its_memory() {
    let mut shard = shard_of(4 << 20);
    for number in 0..200_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[number as u8; 100]);
        let stats = shard.stats();
        assert!(stats.bytes_segments.read() + stats.bytes_index.read() <= 4 << 20);
    }
    assert!(shard.stats().evictions.read() > 100_000);
    assert!(shard.stats().items.read() > 20_000);
    assert_eq!(get(&mut shard, &199_999u32.to_le_bytes(), NOW).unwrap(), [199_999u32 as u8; 100]);
    assert_eq!(shard.stats().index_evictions.read(), 0);
}

#[test]
fn expired_segments_are_reused_within_a_second() {
    let mut shard = shard_of(4 << 20);
    for number in 0..20_000u32 {
        let write = Write { expiry: Expiry::At(NOW + 5_000), ..Write::set(&[1; 100]) };
        ask(&mut shard, &number.to_le_bytes(), Op::Write(write), NOW);
    }
    let used = shard.stats().bytes_segments.read();
    while shard.maintain(NOW + 4_000, 1000) {}
    assert_eq!(shard.stats().bytes_expired.read(), 0);
    while shard.maintain(NOW + 6_000, 1000) {}
    while shard.maintain(NOW + 7_000, 1000) {}
    assert!(used > 1 << 20);
    assert_eq!(shard.stats().bytes_segments.read(), 0);
    assert_eq!(shard.stats().bytes_live.read(), 0);
    assert_eq!(shard.stats().items.read(), 0);
    assert_eq!(shard.stats().expirations.read(), 20_000);
}

#[test]
fn a_flush_forgets_at_once_and_gives_the_memory_back() {
    let mut shard = shard();
    for number in 0..10_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 100]);
    }
    shard.flush(None, NOW + 1);
    assert_eq!(shard.stats().items.read(), 0);
    assert_eq!(get(&mut shard, &5u32.to_le_bytes(), NOW + 1), None);
    set(&mut shard, b"new", b"value");
    while shard.maintain(NOW + 2_000, 1000) {}
    while shard.maintain(NOW + 3_000, 1000) {}
    assert_eq!(shard.stats().bytes_segments.read(), 64 << 10);
    assert_eq!(get(&mut shard, b"new", NOW + 3_000).unwrap(), b"value");

    shard.flush(Some(NOW + 5_000), NOW + 3_000);
    assert!(get(&mut shard, b"new", NOW + 4_999).is_some());
    assert!(get(&mut shard, b"new", NOW + 5_000).is_none());
}

#[test]
fn counters_count_as_each_protocol_wants() {
    let mut shard = shard();
    let count =
        |delta, initial| Arithmetic { delta, initial, expiry: Expiry::Keep, compare: None, token: None };
    let number = |outcome: Outcome<'_>| match outcome {
        Outcome::Counter { number, .. } => Ok(number),
        Outcome::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    };
    set(&mut shard, b"n", b"9");
    let up = Op::Arithmetic(count(Delta::Increment(1), None));
    assert_eq!(number(ask(&mut shard, b"n", up, NOW)), Ok(Number::Unsigned(10)));
    assert_eq!(number(ask(&mut shard, b"n", up, NOW)), Ok(Number::Unsigned(11)));
    assert_eq!(get(&mut shard, b"n", NOW).unwrap(), b"11");
    let down = Op::Arithmetic(count(Delta::Decrement(100), None));
    assert_eq!(number(ask(&mut shard, b"n", down, NOW)), Ok(Number::Unsigned(0)));
    assert!(matches!(ask(&mut shard, b"none", up, NOW), Outcome::Miss));
    set(&mut shard, b"n", b"9223372036854775807");
    let signed = Op::Arithmetic(count(Delta::Signed(1), None));
    assert_eq!(number(ask(&mut shard, b"n", signed, NOW)), Err(Refusal::Overflow));
    set(&mut shard, b"n", b"text");
    assert_eq!(number(ask(&mut shard, b"n", signed, NOW)), Err(Refusal::NotANumber));
}

#[test]
fn leases_go_to_one_reader_and_end_with_a_write() {
    let mut shard = shard();
    let meta = Read { leases: true, vivify: Some(Expiry::At(NOW + 30_000)), ..Read::default() };
    let lease = |outcome: Outcome<'_>| match outcome {
        Outcome::Item(found) => found.meta.lease,
        other => panic!("{other:?}"),
    };
    assert_eq!(lease(ask(&mut shard, b"k", Op::Read(meta), NOW)), Lease::Won);
    assert_eq!(lease(ask(&mut shard, b"k", Op::Read(meta), NOW)), Lease::Given);
    assert_eq!(get(&mut shard, b"k", NOW), None, "a placeholder is a miss to who does not know leases");
    set(&mut shard, b"k", b"value");
    assert_eq!(lease(ask(&mut shard, b"k", Op::Read(meta), NOW)), Lease::None);
    let stale = Delete { stale: Some(Expiry::At(NOW + 10_000)), ..Delete::default() };
    ask(&mut shard, b"k", Op::Delete(stale), NOW);
    let Outcome::Item(found) = ask(&mut shard, b"k", Op::Read(meta), NOW) else { panic!("stale, not gone") };
    assert!(found.meta.stale && found.meta.lease == Lease::Won);
    assert_eq!(lease(ask(&mut shard, b"k", Op::Read(meta), NOW)), Lease::Given);
}

#[test]
fn tokens_guard_writes_and_touches_keep_them() {
    let mut shard = shard();
    set(&mut shard, b"k", b"1");
    let token = |shard: &mut Shard| match ask(shard, b"k", Op::Read(Read::default()), NOW) {
        Outcome::Item(found) => found.meta.token,
        other => panic!("{other:?}"),
    };
    let first = token(&mut shard);
    let touch = Expire { expiry: Expiry::At(NOW + 1000), condition: ExpireCondition::Always };
    ask(&mut shard, b"k", Op::Expire(touch), NOW);
    assert_eq!(token(&mut shard), first);
    let cas = |compare| Op::Write(Write { compare: Some(compare), ..Write::set(b"2") });
    assert!(matches!(ask(&mut shard, b"k", cas(first), NOW), Outcome::Stored { .. }));
    assert!(matches!(ask(&mut shard, b"k", cas(first), NOW), Outcome::Exists));
    assert!(matches!(ask(&mut shard, b"none", cas(first), NOW), Outcome::Miss));
    let explicit = Write { token: Some(77), ..Write::set(b"3") };
    ask(&mut shard, b"k", Op::Write(explicit), NOW);
    assert_eq!(token(&mut shard), 77);
}

#[test]
fn a_scan_over_a_growing_index_sees_every_key() {
    let mut shard = shard();
    for number in 0..5_000u32 {
        set(&mut shard, format!("key{number}").as_bytes(), b"v");
    }
    let (mut cursor, mut seen, mut more) = (0, std::collections::HashSet::new(), 5_000u32);
    loop {
        let mut keys = Vec::new();
        cursor = shard.scan(cursor, 50, NOW, &mut keys);
        let mut rest = &keys[..];
        while let Some((len, tail)) = rest.split_first_chunk::<4>() {
            let (key, tail) = tail.split_at(u32::from_le_bytes(*len) as usize);
            seen.insert(key.to_vec());
            rest = tail;
        }
        if cursor == 0 {
            break;
        }
        for _ in 0..50 {
            set(&mut shard, format!("key{more}").as_bytes(), b"v");
            more += 1;
        }
    }
    assert!((0..5_000u32).all(|number| seen.contains(format!("key{number}").as_bytes())));
}

#[test]
fn uploads_are_bounded_and_an_aborted_one_leaves_nothing() {
    let mut shard = shard_of(4 << 20);
    let id = shard.upload_begin(200_000, NOW).unwrap();
    shard.upload_append(id, &[1; 150_000], NOW).unwrap();
    shard.upload_abort(id);
    assert_eq!(shard.stats().bytes_live.read(), 0);
    assert_eq!(shard.upload_begin(2 << 20, NOW), Err(Refusal::OutOfMemory));
    let id = shard.upload_begin(100, NOW).unwrap();
    assert_eq!(shard.upload_append(id, &[1; 101], NOW), Err(Refusal::ValueTooLarge));
    let short = shard.upload_begin(100, NOW).unwrap();
    let write = Write { value: Body::Upload(short), ..Write::set(b"") };
    assert!(matches!(ask(&mut shard, b"k", Op::Write(write), NOW), Outcome::Refused(Refusal::ValueTooLarge)));
}
