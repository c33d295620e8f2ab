//! What commands answer: items, tokens, expiry, old values.

use super::*;

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

fn old_of(outcome: Outcome<'_>) -> Option<Vec<u8>> {
    match outcome {
        Outcome::Stored { old, .. } | Outcome::NotStored { old } | Outcome::Deleted { old, .. } => {
            old.map(|found| bytes_of(found.value))
        }
        other => panic!("{other:?}"),
    }
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

#[test]
fn hits_and_misses_are_those_of_reads() {
    let mut shard = shard();
    let counted = |shard: &Shard| (shard.stats().hits.read(), shard.stats().misses.read());
    let write = |want_old, mode| Op::Write(Write { want_old, mode, ..Write::set(b"v") });
    let delete = |want_old| Op::Delete(Delete { want_old, ..Delete::default() });
    for (op, hits, misses) in [
        (write(false, WriteMode::Set), 0, 0),
        (write(true, WriteMode::Set), 1, 0),
        (write(true, WriteMode::Add), 1, 0),
        (Op::Read(Read::default()), 1, 0),
        (Op::Read(Read { peek: true, ..Read::default() }), 1, 0),
        (Op::Read(Read::LOOK), 0, 0),
        (delete(true), 1, 0),
        (delete(true), 0, 1),
        (delete(false), 0, 0),
        (write(true, WriteMode::Replace), 0, 1),
        (Op::Read(Read::LOOK), 0, 0),
        (Op::Read(Read::default()), 0, 1),
    ] {
        let before = counted(&shard);
        ask(&mut shard, b"k", op, NOW);
        let after = counted(&shard);
        assert_eq!((after.0 - before.0, after.1 - before.1), (hits, misses), "{op:?}");
    }
}

#[test]
fn a_glance_sees_what_a_read_would_and_counts_nothing() {
    let mut shard = shard();
    let glance = |shard: &Shard, now| {
        let command = Command { database: 0, key: b"k", op: Op::Read(Read::default()) };
        match shard.glance(&command, shard.hash(0, b"k"), now) {
            Glance::Found(meta) => Some((meta.value_bytes, meta.fetched)),
            Glance::Absent => None,
            Glance::Unknown => panic!("all is in memory"),
        }
    };
    let counted = |shard: &Shard| (shard.stats().hits.read(), shard.stats().misses.read());
    assert_eq!(glance(&shard, NOW), None);
    let write = Write { expiry: Expiry::At(NOW + 5), ..Write::set(b"123") };
    ask(&mut shard, b"k", Op::Write(write), NOW);
    let before = counted(&shard);
    assert_eq!([(); 2].map(|()| glance(&shard, NOW)), [Some((3, false)); 2]);
    assert_eq!([NOW + 4, NOW + 5].map(|now| glance(&shard, now).is_some()), [true, false]);
    shard.flush(Some(NOW + 2), NOW);
    assert_eq!([NOW + 1, NOW + 2].map(|now| glance(&shard, now).is_some()), [true, false]);
    assert_eq!(counted(&shard), before);
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
        cursor = shard.scan(0, (cursor, 50), Tells::Keys, NOW, &mut keys, &mut Vec::new());
        seen.extend(words::each(&keys).map(<[u8]>::to_vec));
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
fn a_flush_that_is_due_is_neither_put_off_nor_overlooked() {
    let mut shard = shard();
    set(&mut shard, b"k", b"v");
    shard.flush(Some(NOW + 1000), NOW);
    let mut keys = Vec::new();
    shard.scan(0, (0, 1000), Tells::Keys, NOW + 1000, &mut keys, &mut Vec::new());
    assert!(keys.is_empty(), "a scan sees the flush that no command has met yet");
    shard.flush(Some(NOW + 9000), NOW + 1000);
    assert_eq!(get(&mut shard, b"k", NOW + 1000), None);
}
