//! What a shard promises, case by case. The model test is in `engine/tests/model.rs`.

mod accounts;
mod bounds;
mod chains;
mod elsewhere;
mod long_values;
mod readers;
mod rest;
mod spaces;
mod told;

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
    let hash = shard.hash(0, key);
    shard.execute(&Command { space: 0, key, op }, hash, now)
}

fn set(shard: &mut Shard, key: &[u8], value: &[u8]) {
    let outcome = ask(shard, key, Op::Write(Write::set(value)), NOW);
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
}

fn bytes_of(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Inline(bytes) => bytes.to_vec(),
        Value::Chained(chain) => chain.slices().flat_map(|slice| slice.to_vec()).collect(),
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
fn a_miss_says_what_became_of_the_item() {
    let mut shard = shard();
    let write = Write { expiry: Expiry::At(NOW + 1500), ..Write::set(b"v") };
    ask(&mut shard, b"expired", Op::Write(write), NOW);
    set(&mut shard, b"flushed", b"v");
    let counts = |shard: &Shard| {
        let stats = shard.stats();
        (stats.misses.read(), stats.misses_expired.read(), stats.misses_flushed.read())
    };
    get(&mut shard, b"expired", NOW + 1500);
    assert_eq!(counts(&shard), (1, 1, 0));
    // It has been forgotten on the way.
    get(&mut shard, b"expired", NOW + 1500);
    assert_eq!(counts(&shard), (2, 1, 0));
    shard.flush(None, NOW + 1600);
    get(&mut shard, b"flushed", NOW + 1600);
    assert_eq!(counts(&shard), (3, 1, 1));
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
    assert!(lent.iter().all(|lent| lent.bytes().to_vec().iter().all(|&byte| byte == 0xAB)));
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
    let count = |delta, initial| Arithmetic {
        delta,
        initial,
        expiry: Expiry::Keep,
        compare: None,
        token: None,
        leases: false,
    };
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

/// Leaves a placeholder, and returns the token of its lease.
fn placeholder(shard: &mut Shard, key: &[u8]) -> u64 {
    let read = Read { leases: true, vivify: Some(Expiry::At(NOW + 30_000)), ..Read::default() };
    match ask(shard, key, Op::Read(read), NOW) {
        Outcome::Item(found) if found.meta.lease == Lease::Won => found.meta.token,
        other => panic!("{other:?}"),
    }
}

fn stored_with(shard: &mut Shard, key: &[u8], token: u64) -> Outcome<'static> {
    let write = Write { compare: Some(token), leases: true, ..Write::set(b"from before") };
    match ask(shard, key, Op::Write(write), NOW) {
        Outcome::Miss => Outcome::Miss,
        Outcome::Exists => Outcome::Exists,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deletion_ends_a_lease_whoever_deletes() {
    let mut shard = shard();
    let delete = |leases| Delete { leases, ..Delete::default() };
    let token = placeholder(&mut shard, b"k");
    assert!(matches!(ask(&mut shard, b"k", Op::Delete(delete(true)), NOW), Outcome::Deleted { .. }));
    assert!(matches!(stored_with(&mut shard, b"k", token), Outcome::Miss));

    let token = placeholder(&mut shard, b"k");
    let unseen = Delete { want_old: true, stale: Some(Expiry::Keep), ..delete(false) };
    assert!(matches!(ask(&mut shard, b"k", Op::Delete(unseen), NOW), Outcome::Miss));
    assert!(matches!(stored_with(&mut shard, b"k", token), Outcome::Miss));

    let token = placeholder(&mut shard, b"k");
    let named = Delete { compare: Some(token), want_old: true, ..delete(false) };
    assert!(matches!(ask(&mut shard, b"k", Op::Delete(named), NOW), Outcome::Deleted { old: None, .. }));
}

#[test]
fn a_placeholder_marked_stale_has_its_lease_to_give_again() {
    let mut shard = shard();
    let token = placeholder(&mut shard, b"k");
    let stale = Delete { stale: Some(Expiry::Keep), leases: true, ..Delete::default() };
    assert!(matches!(ask(&mut shard, b"k", Op::Delete(stale), NOW), Outcome::Deleted { .. }));
    assert!(matches!(stored_with(&mut shard, b"k", token), Outcome::Exists));
    assert_eq!(get(&mut shard, b"k", NOW), None);
    let read = Read { leases: true, ..Read::default() };
    for lease in [Lease::Won, Lease::Given] {
        let Outcome::Item(found) = ask(&mut shard, b"k", Op::Read(read), NOW) else { panic!() };
        assert!(found.meta.stale && found.value.is_empty() && found.meta.expiry == Some(NOW + 30_000));
        assert_eq!(found.meta.lease, lease);
    }
}

#[test]
fn a_placeholder_is_an_item_to_who_knows_leases_and_none_to_others() {
    let write = |mode, leases| Op::Write(Write { mode, leases, ..Write::set(b"v") });
    let touch =
        |leases| Op::Expire(Expire { expiry: Expiry::Never, condition: ExpireCondition::Always, leases });
    let count = |leases| {
        let initial = Some((Number::Unsigned(7), Expiry::Never));
        let delta = Delta::Increment(1);
        Op::Arithmetic(Arithmetic {
            delta,
            initial,
            expiry: Expiry::Keep,
            compare: None,
            token: None,
            leases,
        })
    };
    let answers = |leases| {
        let ops = [
            write(WriteMode::Add, leases),
            write(WriteMode::Replace, leases),
            write(WriteMode::Append, leases),
            touch(leases),
            count(leases),
        ];
        ops.map(|op| {
            let mut shard = shard();
            placeholder(&mut shard, b"k");
            match ask(&mut shard, b"k", op, NOW) {
                Outcome::Stored { .. } => "stored",
                Outcome::NotStored { .. } => "not stored",
                Outcome::Touched { .. } => "touched",
                Outcome::Counter { .. } => "counted",
                Outcome::Refused(Refusal::NotANumber) => "no number",
                Outcome::Miss => "miss",
                other => panic!("{other:?}"),
            }
        })
    };
    assert_eq!(answers(true), ["not stored", "stored", "stored", "touched", "no number"]);
    assert_eq!(answers(false), ["stored", "not stored", "not stored", "miss", "counted"]);
}

#[test]
fn a_stale_value_keeps_the_expiry_and_the_given_lease() {
    let mut shard = shard();
    let token = placeholder(&mut shard, b"k");
    let late = Write { compare: Some(token - 1), invalidate: true, ..Write::set(b"late") };
    assert!(matches!(ask(&mut shard, b"k", Op::Write(late), NOW), Outcome::Stored { .. }));
    let read = Read { leases: true, ..Read::default() };
    let Outcome::Item(found) = ask(&mut shard, b"k", Op::Read(read), NOW) else { panic!() };
    assert!(found.meta.stale && found.meta.expiry == Some(NOW + 30_000));
    assert_eq!(found.meta.lease, Lease::Given);
}

#[test]
fn a_touch_counts_as_an_access() {
    let mut shard = shard();
    set(&mut shard, b"k", b"v");
    let touch = Expire { expiry: Expiry::At(NOW + 1000), condition: ExpireCondition::Always, leases: false };
    let Outcome::Touched { meta } = ask(&mut shard, b"k", Op::Expire(touch), NOW) else { panic!() };
    assert!(!meta.fetched);
    let peek = Read { peek: true, ..Read::default() };
    let Outcome::Item(found) = ask(&mut shard, b"k", Op::Read(peek), NOW) else { panic!() };
    assert!(found.meta.fetched);
}

#[test]
fn a_lease_before_the_end_goes_by_the_expiry_that_the_read_names() {
    let lease = |recache_by_new| {
        let mut shard = shard();
        let write = Write { expiry: Expiry::At(NOW + 50_000), ..Write::set(b"v") };
        ask(&mut shard, b"k", Op::Write(write), NOW);
        let read = Read {
            leases: true,
            expiry: Expiry::At(NOW + 10_000),
            recache_below_ms: Some(30_000),
            recache_by_new,
            show_old_expiry: recache_by_new,
            ..Read::default()
        };
        let Outcome::Item(found) = ask(&mut shard, b"k", Op::Read(read), NOW) else { panic!() };
        (found.meta.lease, found.meta.expiry)
    };
    assert_eq!(lease(true), (Lease::Won, Some(NOW + 50_000)));
    assert_eq!(lease(false), (Lease::None, Some(NOW + 10_000)));
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
    let touch = Expire { expiry: Expiry::At(NOW + 1000), condition: ExpireCondition::Always, leases: false };
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
        cursor = shard.scan(0, cursor, 50, NOW, &mut keys, &mut Vec::new());
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

#[test]
fn uploads_are_bounded_and_an_aborted_one_leaves_nothing() {
    let mut shard = shard_of(4 << 20);
    let id = shard.upload_begin(0, b"k", 200_000, NOW).unwrap();
    shard.upload_append(id, &[1; 150_000], NOW).unwrap();
    shard.upload_abort(id);
    assert_eq!(shard.stats().bytes_live.read(), 0);
    assert_eq!(shard.upload_begin(0, b"k", 2 << 20, NOW), Err(Refusal::OutOfMemory));
    let id = shard.upload_begin(0, b"k", 100, NOW).unwrap();
    assert_eq!(shard.upload_append(id, &[1; 101], NOW), Err(Refusal::ValueTooLarge));
    let short = shard.upload_begin(0, b"k", 100, NOW).unwrap();
    let write = Write { value: Body::Upload(short), ..Write::set(b"") };
    assert!(matches!(ask(&mut shard, b"k", Op::Write(write), NOW), Outcome::Refused(Refusal::ValueTooLarge)));
}

fn drain(shard: &mut Shard, now: Millis) {
    for second in 1..=3 {
        let steps = (0..10_000).take_while(|_| shard.maintain(now + second * 1000, 1000)).count();
        assert!(steps < 10_000, "maintenance comes to an end");
    }
    shard.audit().unwrap();
}

fn lend_all(shard: &mut Shard, key: &[u8], now: Millis) -> Vec<Lent> {
    match ask(shard, key, Op::Read(Read::default()), now) {
        Outcome::Item(Found { value: Value::Chained(chain), .. }) => chain.lend(0..u64::MAX).collect(),
        other => panic!("{other:?}"),
    }
}

fn old_of(outcome: Outcome<'_>) -> Option<Vec<u8>> {
    match outcome {
        Outcome::Stored { old, .. } | Outcome::NotStored { old } | Outcome::Deleted { old, .. } => {
            old.map(|found| bytes_of(found.value))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flush_that_is_due_is_neither_put_off_nor_overlooked() {
    let mut shard = shard();
    set(&mut shard, b"k", b"v");
    shard.flush(Some(NOW + 1000), NOW);
    let mut keys = Vec::new();
    shard.scan(0, 0, 1000, NOW + 1000, &mut keys, &mut Vec::new());
    assert!(keys.is_empty(), "a scan sees the flush that no command has met yet");
    shard.flush(Some(NOW + 9000), NOW + 1000);
    assert_eq!(get(&mut shard, b"k", NOW + 1000), None);
}

#[test]
fn the_old_value_is_answered_whatever_old_and_new_are() {
    let long = vec![7; 100_000];
    for (old, new) in [(&b"old"[..], &b"new"[..]), (b"old", &long), (&long, b"new"), (&long, &long)] {
        for mode in [WriteMode::Set, WriteMode::Append, WriteMode::Prepend, WriteMode::Add] {
            let mut shard = shard();
            set(&mut shard, b"k", old);
            let write = Write { mode, want_old: true, ..Write::set(new) };
            assert_eq!(old_of(ask(&mut shard, b"k", Op::Write(write), NOW)).unwrap(), old);
            set(&mut shard, b"k", old);
            let upload = shard.upload_begin(0, b"k", new.len() as u64, NOW).unwrap();
            shard.upload_append(upload, new, NOW).unwrap();
            let write = Write { value: Body::Upload(upload), ..write };
            assert_eq!(old_of(ask(&mut shard, b"k", Op::Write(write), NOW)).unwrap(), old);
            set(&mut shard, b"k", old);
            let over = Write { mode: WriteMode::Set, expiry: Expiry::At(NOW), ..write };
            let over = Op::Write(Write { value: Body::Bytes(new), ..over });
            assert_eq!(old_of(ask(&mut shard, b"k", over, NOW)).unwrap(), old);
            set(&mut shard, b"k", old);
            let delete = Op::Delete(Delete { want_old: true, ..Delete::default() });
            assert_eq!(old_of(ask(&mut shard, b"k", delete, NOW)).unwrap(), old);
        }
    }
}

#[test]
fn a_placeholder_is_no_old_value() {
    let mut shard = shard();
    let vivify = Read { leases: true, vivify: Some(Expiry::Never), ..Read::default() };
    for expiry in [Expiry::Never, Expiry::At(NOW)] {
        ask(&mut shard, b"k", Op::Read(vivify), NOW);
        let write = Write { want_old: true, expiry, ..Write::set(b"v") };
        assert_eq!(old_of(ask(&mut shard, b"k", Op::Write(write), NOW)), None);
        ask(&mut shard, b"k", Op::Delete(Delete::default()), NOW);
    }
}

#[test]
fn lent_bytes_outlive_their_shard() {
    let mut shard = shard();
    set(&mut shard, b"long", &[0xCD; 100_000]);
    let lent = lend_all(&mut shard, b"long", NOW);
    drop(shard);
    assert!(lent.iter().all(|lent| lent.bytes().to_vec().iter().all(|&byte| byte == 0xCD)));
}

#[test]
#[should_panic(expected = "lent bytes go back to the shard that lent them")]
fn lent_bytes_go_home() {
    let (mut one, mut other) = (shard(), shard());
    set(&mut one, b"long", &[0xCD; 100_000]);
    for lent in lend_all(&mut one, b"long", NOW) {
        other.release(lent);
    }
}

#[test]
fn when_everything_is_lent_writes_are_refused_until_it_comes_back() {
    for eviction in crate::eviction::Algorithm::ALL {
        let config = ShardConfig::new(1 << 20);
        let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, eviction, ..config };
        let mut shard = Shard::new(config).unwrap();
        let mut lent = Vec::new();
        let refused = (0..100u32).any(|number| {
            let outcome = ask(&mut shard, &number.to_le_bytes(), Op::Write(Write::set(&[1; 50_000])), NOW);
            if matches!(outcome, Outcome::Refused(Refusal::OutOfMemory)) {
                return true;
            }
            lent.extend(lend_all(&mut shard, &number.to_le_bytes(), NOW));
            false
        });
        assert!(refused, "a shard of 1 MiB cannot hold 5 MB that nobody gives back");
        shard.audit().unwrap();
        assert!(shard.stats().refused_memory.read() > 0);
        lent.drain(..).for_each(|lent| shard.release(lent));
        set(&mut shard, b"after", &[2; 50_000]);
        assert_eq!(get(&mut shard, b"after", NOW).unwrap(), [2; 50_000]);
    }
}

#[test]
fn what_was_lent_at_a_flush_is_free_once_it_is_back() {
    let mut shard = shard();
    set(&mut shard, b"long", &[3; 100_000]);
    let lent = lend_all(&mut shard, b"long", NOW);
    shard.flush(None, NOW);
    drain(&mut shard, NOW);
    assert!(shard.stats().segments_pinned.read() > 0);
    lent.into_iter().for_each(|lent| shard.release(lent));
    drain(&mut shard, NOW + 10_000);
    assert_eq!(shard.stats().bytes_segments.read(), 0);
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
fn a_late_upload_id_touches_nobody_elses_upload() {
    let mut shard = shard();
    let late = shard.upload_begin(0, b"k", 10, NOW).unwrap();
    shard.upload_abort(late);
    let other = shard.upload_begin(0, b"k", 4, NOW).unwrap();
    assert_eq!(shard.upload_append(late, b"late", NOW), Err(Refusal::OutOfMemory));
    shard.upload_abort(late);
    shard.upload_append(other, b"mine", NOW).unwrap();
    ask(&mut shard, b"k", Op::Write(Write { value: Body::Upload(other), ..Write::set(b"") }), NOW);
    assert_eq!(get(&mut shard, b"k", NOW).unwrap(), b"mine");
}

#[test]
fn an_upload_may_have_a_flush_in_its_middle() {
    let mut shard = shard();
    let upload = shard.upload_begin(0, b"k", 30_000, NOW).unwrap();
    shard.upload_append(upload, &[1; 20_000], NOW).unwrap();
    shard.flush(None, NOW);
    shard.upload_append(upload, &[2; 10_000], NOW).unwrap();
    ask(&mut shard, b"k", Op::Write(Write { value: Body::Upload(upload), ..Write::set(b"") }), NOW);
    shard.audit().unwrap();
    assert_eq!(get(&mut shard, b"k", NOW).unwrap().len(), 30_000);
    ask(&mut shard, b"k", Op::Delete(Delete::default()), NOW);
    shard.audit().unwrap();
    assert_eq!(shard.stats().bytes_live.read(), 0);
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
fn the_index_grows_inside_the_memory() {
    for eviction in crate::eviction::Algorithm::ALL {
        let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, eviction, ..ShardConfig::new(3 << 20) };
        let mut shard = Shard::new(config).unwrap();
        let buckets = shard.index.buckets();
        for number in 0..150_000u32 {
            set(&mut shard, &number.to_le_bytes(), b"v");
            if number % 1000 == 0 {
                shard.audit().unwrap();
                shard.maintain(NOW + u64::from(number), 0);
            }
        }
        assert!(shard.index.buckets() > 4 * buckets, "the index has grown");
        let stats = shard.stats();
        let told =
            stats.bytes_segments_max.read() + stats.bytes_index.read() + stats.bytes_bookkeeping.read();
        assert!(told <= 3 << 20, "{told} bytes of 3 MiB");
    }
}

#[test]
fn a_segment_more_than_half_dead_is_compacted() {
    let mut shard = shard();
    for number in 0..10_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 100]);
    }
    for number in (0..10_000u32).filter(|number| number % 5 != 0) {
        ask(&mut shard, &number.to_le_bytes(), Op::Delete(Delete::default()), NOW);
    }
    drain(&mut shard, NOW);
    let stats = shard.stats();
    assert!(stats.bytes_segments.read() < 2 * stats.bytes_live.read());
    assert_eq!(stats.items.read(), 2_000);
    assert!((0..2_000u32).all(|number| get(&mut shard, &(number * 5).to_le_bytes(), NOW).is_some()));
}

#[test]
fn a_counter_in_place_keeps_its_expiry_and_its_books() {
    let mut shard = shard();
    let write = Write { expiry: Expiry::At(NOW + 5_000), ..Write::set(b"10") };
    ask(&mut shard, b"n", Op::Write(write), NOW);
    let count = Arithmetic {
        delta: Delta::Increment(1),
        initial: None,
        expiry: Expiry::Keep,
        compare: None,
        token: None,
        leases: false,
    };
    for step in 1..=60 {
        ask(&mut shard, b"n", Op::Arithmetic(count), NOW + step * 10);
        shard.audit().unwrap();
    }
    assert_eq!(get(&mut shard, b"n", NOW + 4_999).unwrap(), b"70");
    assert_eq!(get(&mut shard, b"n", NOW + 5_000), None);
    drain(&mut shard, NOW + 6_000);
    assert_eq!(shard.stats().bytes_segments.read(), 0);
}

#[test]
fn a_new_value_has_not_been_read() {
    let mut shard = shard();
    let fetched = |shard: &mut Shard| match ask(shard, b"k", Op::Read(Read::default()), NOW) {
        Outcome::Item(found) => found.meta.fetched,
        other => panic!("{other:?}"),
    };
    set(&mut shard, b"k", b"1");
    assert_eq!((fetched(&mut shard), fetched(&mut shard)), (false, true));
    set(&mut shard, b"k", b"2");
    assert_eq!((fetched(&mut shard), fetched(&mut shard)), (false, true));
}
