use super::*;
use crate::bits::{Action, Overflow, results};
use crate::command::{Command, Expiry, IfEqual, Op, Read, Then, Write};
use crate::shard::{Shard, ShardConfig};

const NOW: Millis = 1_700_000_000_000;

fn shard() -> Shard {
    let config = ShardConfig {
        now: NOW,
        segment_bytes: 64 << 10,
        value_bytes_max: 64 << 20,
        ..ShardConfig::new(64 << 20)
    };
    Shard::new(config).unwrap()
}

fn ask<'s>(shard: &'s mut Shard, op: Op<'_>) -> Outcome<'s> {
    let hash = shard.key_hash(b"k");
    shard.execute(&Command { database: 0, key: b"k", op }, hash, NOW)
}

fn set(shard: &mut Shard, value: &[u8]) {
    assert!(matches!(ask(shard, Op::Write(Write::set(value))), Outcome::Stored { .. }));
}

fn value(shard: &mut Shard) -> Option<Vec<u8>> {
    match ask(shard, Op::Read(Read::default())) {
        Outcome::Item(found) => Some(pieces(&found.value, 0..u64::MAX).flat_map(Bytes::to_vec).collect()),
        Outcome::Miss => None,
        other => panic!("{other:?}"),
    }
}

fn number(shard: &mut Shard, bits: Bits<'_>) -> i64 {
    match ask(shard, Op::Bits(bits)) {
        Outcome::Number(number) => number,
        other => panic!("{other:?}"),
    }
}

/// All of them at once; `None`: refused.
fn fields(shard: &mut Shard, steps: &[Step]) -> Option<Vec<Option<i64>>> {
    let mut packed = Vec::new();
    steps.iter().for_each(|step| step.pack(&mut packed));
    let writes = steps.iter().any(Step::writes);
    match ask(shard, Op::Bits(Bits::Fields { steps: &packed, writes })) {
        Outcome::Fields(bytes) => Some(results(&bytes.to_vec()).collect()),
        Outcome::Refused(_) => None,
        other => panic!("{other:?}"),
    }
}

fn unsigned(action: Action, bits: u8, offset: u64) -> Step {
    Step { action, overflow: Overflow::Wrap, is_signed: false, bits, offset }
}

/// Values of one piece and of many.
fn values() -> [Vec<u8>; 5] {
    let some = |len: usize| (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
    [vec![], some(1), some(100), some(200_000), vec![0xFF; 150_000]]
}

fn bit_of(value: &[u8], at: u64) -> bool {
    value.get((at / 8) as usize).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

#[test]
fn bits_are_counted_and_found_as_one_by_one() {
    let mut shard = shard();
    for bytes in values() {
        set(&mut shard, &bytes);
        let len = bytes.len() as i64;
        let ends = [
            0,
            1,
            7,
            8,
            9,
            63,
            64,
            1000,
            len / 2,
            len - 1,
            len,
            len * 8 - 1,
            len * 8,
            -1,
            -2,
            -9,
            -len,
            i64::MIN,
            i64::MAX,
        ];
        for by_bits in [false, true] {
            let unit = if by_bits { 1 } else { 8 };
            for (start, end) in ends.iter().flat_map(|start| ends.map(|end| (*start, end))) {
                let places = absolute(start, end, bytes.len() as u64 * 8 / unit);
                let backwards = start < 0 && end < 0 && start > end;
                let range = places.map_or(0..0, |(first, last)| first * unit..(last + 1) * unit);
                let counted = range.clone().filter(|at| !backwards && bit_of(&bytes, *at)).count();
                let asked = Bits::Count { range: Some(BitRange { start, end, by_bits }) };
                assert_eq!(number(&mut shard, asked), counted as i64, "{start} {end} {by_bits} of {len}");
                for bit in [false, true] {
                    let first =
                        range.clone().find(|at| bit_of(&bytes, *at) == bit).map_or(-1, |at| at as i64);
                    let asked = Bits::Find { bit, start, end: Some(end), by_bits };
                    assert_eq!(number(&mut shard, asked), first, "{bit} {start} {end} {by_bits} of {len}");
                }
            }
        }
        let behind = if bytes.first() == Some(&0xFF) {
            len * 8
        } else {
            number(&mut shard, Bits::Find { bit: false, start: 0, end: Some(-1), by_bits: false })
        };
        assert_eq!(
            number(&mut shard, Bits::Find { bit: false, start: 0, end: None, by_bits: false }),
            behind
        );
        let all = bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert_eq!(number(&mut shard, Bits::Count { range: None }), i64::from(all));
    }
    shard.audit().unwrap();
}

#[test]
fn integers_are_read_and_written_in_values_of_any_length() {
    let mut shard = shard();
    for before in values() {
        let len = before.len() as u64 * 8;
        for offset in [0, 3, 8, 77, 65_530, len.saturating_sub(5), len, len + 700_001] {
            set(&mut shard, &before);
            let mut after = before.clone();
            let steps = [
                unsigned(Action::Get, 9, 2),
                unsigned(Action::Set(0x1AB), 9, offset),
                unsigned(Action::Add(2), 9, offset),
                unsigned(Action::Get, 13, offset.saturating_sub(2)),
            ];
            let expected: Vec<_> = steps
                .iter()
                .map(|step| {
                    let range = step.bytes();
                    if after.len() < range.end as usize && step.writes() {
                        after.resize(range.end as usize, 0);
                    }
                    let mut bytes: Vec<u8> =
                        range.clone().map(|at| after.get(at as usize).copied().unwrap_or(0)).collect();
                    let result = step.run(&mut bytes);
                    if step.writes() {
                        after[range.start as usize..range.end as usize].copy_from_slice(&bytes);
                    }
                    result
                })
                .collect();
            assert_eq!(fields(&mut shard, &steps), Some(expected), "{offset} in {len}");
            assert!(value(&mut shard) == Some(after), "{offset} in {len}");
        }
    }
    shard.audit().unwrap();
}

#[test]
fn a_look_makes_no_value_and_a_step_that_fails_makes_one() {
    let mut shard = shard();
    let look = [unsigned(Action::Get, 8, 100)];
    assert_eq!(fields(&mut shard, &look), Some(vec![Some(0)]));
    assert_eq!(value(&mut shard), None);
    assert!(matches!(ask(&mut shard, Op::Bits(Bits::Count { range: None })), Outcome::Miss));
    let fail = Step { overflow: Overflow::Fail, ..unsigned(Action::Set(9), 2, 14) };
    assert_eq!(fields(&mut shard, &[fail]), Some(vec![None]));
    assert_eq!(value(&mut shard), Some(vec![0, 0]));
}

#[test]
fn what_takes_too_long_or_too_much_is_refused_and_changes_nothing() {
    let mut shard = shard();
    let far = FIELDS_SPAN_MAX * 8 + 8;
    let both = [unsigned(Action::Set(1), 1, 0), unsigned(Action::Set(1), 1, far)];
    assert_eq!(fields(&mut shard, &both), None);
    assert_eq!(fields(&mut shard, &both[..1]), Some(vec![Some(0)]));
    assert_eq!(fields(&mut shard, &[unsigned(Action::Set(1), 1, 64 << 23)]), None);
    assert_eq!(value(&mut shard), Some(vec![0x80]));
    assert_eq!(fields(&mut shard, &[unsigned(Action::Set(1), 1, BYTES_MAX * 8)]), Some(vec![Some(0)]));
    let too_long = Outcome::Refused(Refusal::RangeTooLong);
    let is = |outcome: Outcome<'_>| format!("{outcome:?}") == format!("{too_long:?}");
    assert!(is(ask(&mut shard, Op::Bits(Bits::Count { range: None }))));
    assert!(is(ask(&mut shard, Op::Bits(Bits::Find { bit: true, start: 0, end: None, by_bits: false }))));
    let range = Some(BitRange { start: 1, end: -1, by_bits: false });
    assert_eq!(number(&mut shard, Bits::Count { range }), 1);
    shard.audit().unwrap();
}

#[test]
fn a_value_changes_only_if_it_is_the_expected_one() {
    let mut shard = shard();
    for old in values() {
        let mut other = old.clone();
        match other.last_mut() {
            Some(last) => *last ^= 1,
            None => other.push(0),
        }
        for new in [&b""[..], b"new"] {
            let write = |expected: &[u8]| [expected, new].concat();
            let then = Then::Write { expiry: Expiry::Never, want_old: true };
            let asked = |bytes: &[u8], expected_len: usize, shard: &mut Shard, then| {
                let ask_for = IfEqual { bytes, expected_len: expected_len as u32, then };
                format!("{:?}", ask(shard, Op::IfEqual(ask_for))).split([' ', '(']).next().unwrap().to_owned()
            };
            assert_eq!(asked(&write(&old), old.len(), &mut shard, then), "Miss");
            assert_eq!(asked(&old, old.len(), &mut shard, Then::Delete), "Miss");
            set(&mut shard, &old);
            assert_eq!(asked(&write(&other), other.len(), &mut shard, then), "NotStored");
            assert_eq!(asked(&other, other.len(), &mut shard, Then::Delete), "NotStored");
            assert!(value(&mut shard).as_ref() == Some(&old));
            assert_eq!(asked(&write(&old), old.len(), &mut shard, then), "Stored");
            assert_eq!(value(&mut shard).as_deref(), Some(new));
            assert_eq!(asked(new, new.len(), &mut shard, Then::Delete), "Deleted");
            assert_eq!(value(&mut shard), None);
        }
    }
    shard.audit().unwrap();
}
