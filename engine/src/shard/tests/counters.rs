//! Values that are numbers.

use super::*;

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
fn a_counter_keeps_its_expiry_and_its_books() {
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
