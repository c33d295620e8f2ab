//! Who is asked to bring a new value, and who sees what stands for it meanwhile.

use super::*;

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
    assert_eq!(
        get(&mut shard, b"k", NOW),
        None,
        "a placeholder is a miss to a reader that does not know leases"
    );
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
