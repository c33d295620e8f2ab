//! Two or three shards without their loops.

use super::batch::BATCH_ASKS;
use super::*;
use torc_engine::command::{Command, Expiry, Found, Op, Outcome, Read, Value, Write, WriteMode};
use torc_engine::segments::Lent;
use torc_engine::{Shard, ShardConfig};

fn ask(sequence: u32) -> Ask<'static> {
    let from = Address { conn: ConnId { index: 1, generation: 2 }, sequence };
    Ask::plain(from, What::Flush { at: None })
}

fn fill(lane: &mut Lane) -> u32 {
    (0..).take_while(|sequence| lane.ask(&ask(*sequence), AskBytes::default())).count() as u32
}

#[test]
fn two_shards_that_flood_each_other_still_answer() {
    let mut mail = Mail::among(2, u64::MAX);
    let (left, right) = mail.split_at_mut(1);
    let (left, right) = (&mut left[0], &mut right[0]);
    let count = fill(left.lane(1).unwrap());
    assert_eq!(count as usize, BATCHES_PER_LANE.end() * BATCH_ASKS);
    assert_eq!(fill(right.lane(0).unwrap()), count);
    assert_eq!(left.shard_without_places(1), Some(1));
    left.publish();
    right.publish();
    for (side, other) in [(&mut *left, 1), (&mut *right, 0)] {
        let lane = side.lane(other).unwrap();
        while let Some(batch) = lane.next_asked() {
            lane.answer(batch);
        }
        side.publish();
    }
    let lane = left.lane(1).unwrap();
    let batches: Vec<_> = std::iter::from_fn(|| lane.next_answered()).collect();
    let answered = batches.iter().flat_map(|batch| batch.asks.iter().map(|ask| ask.from.sequence));
    assert!(answered.eq(0..count));
    assert_eq!((lane.places(), left.under_way()), (count as usize, 0));
}

#[test]
fn who_waits_goes_on_in_order_as_places_come_back() {
    let mut mail = Mail::among(2, u64::MAX);
    let (left, right) = mail.split_at_mut(1);
    let (lane, other) = (left[0].lane(1).unwrap(), right[0].lane(0).unwrap());
    fill(lane);
    let conn = |index| ConnId { index, generation: 0 };
    (0..3).for_each(|index| lane.wait(conn(index)));
    assert!(!lane.has_resumable());
    lane.publish();
    let mut come_home = || {
        let batch = other.next_asked().unwrap();
        other.answer(batch);
        other.publish();
        assert!(lane.next_answered().is_some());
        let mut resumed = Vec::new();
        lane.take_resumable(&mut resumed);
        resumed
    };
    assert_eq!(come_home(), [], "the last places are left to who asks for little");
    assert_eq!(come_home(), [conn(0), conn(1), conn(2)]);
    assert!(lane.ask(&ask(0), AskBytes::default()));
}

fn two_lent() -> Vec<Lent> {
    let mut shard = Shard::new(ShardConfig::new(16 << 20)).unwrap();
    let hash = shard.hash(0, b"long");
    let mut ask = |op| match shard.execute(&Command { database: 0, key: b"long", op }, hash, 0) {
        Outcome::Item(Found { value: Value::Chained(chain), .. }) => chain.lend(0..2).collect(),
        _ => Vec::new(),
    };
    ask(Op::Write(Write::set(&[7; 500_000])));
    let mut lent: Vec<Lent> = ask(Op::Read(Read::default()));
    lent.extend(ask(Op::Read(Read::default())));
    lent
}

#[test]
fn lent_bytes_go_home_both_ways_though_no_batch_has_room() {
    let mut mail = Mail::among(2, u64::MAX);
    let (left, right) = mail.split_at_mut(1);
    let (lane, other) = (left[0].lane(1).unwrap(), right[0].lane(0).unwrap());
    fill(lane);
    lane.publish();
    let mut lent = two_lent();
    lane.release(lent.pop().unwrap());
    other.release(lent.pop().unwrap());
    lane.publish();
    assert!(!lane.has_sent_all());
    let batch = other.next_asked().unwrap();
    other.answer(batch);
    other.publish();
    let home = lane.next_answered().unwrap();
    assert_eq!(home.released.len(), 1, "the other's came with the answers");
    lane.recycle(home);
    lane.publish();
    assert!(lane.has_sent_all());
    let released: usize = std::iter::from_fn(|| other.next_asked()).map(|batch| batch.released.len()).sum();
    assert_eq!(released, 1);
}

#[test]
fn a_request_that_makes_room_goes_though_there_is_no_place() {
    let mut mail = Mail::among(2, u64::MAX);
    let (left, right) = mail.split_at_mut(1);
    let (lane, other) = (left[0].lane(1).unwrap(), right[0].lane(0).unwrap());
    let count = fill(lane);
    lane.ask_anyway(&ask(count));
    assert!(!lane.ask(&ask(count + 1), AskBytes::default()));
    lane.publish();
    assert!(!lane.has_sent_all());
    let batch = other.next_asked().unwrap();
    other.answer(batch);
    other.publish();
    assert!(lane.next_answered().is_some());
    lane.publish();
    let last = std::iter::from_fn(|| other.next_asked()).last().unwrap();
    assert_eq!(last.asks.last().unwrap().from.sequence, count);
    assert!(lane.has_sent_all());
}

#[test]
fn batches_that_nobody_uses_are_given_back_on_demand() {
    let mut mail = Mail::among(2, u64::MAX);
    let (left, right) = mail.split_at_mut(1);
    let (lane, other) = (left[0].lane(1).unwrap(), right[0].lane(0).unwrap());
    fill(lane);
    lane.publish();
    while let Some(batch) = other.next_asked() {
        other.answer(batch);
    }
    other.publish();
    while let Some(batch) = lane.next_answered() {
        lane.recycle(batch);
    }
    assert!(left[0].bytes_held() > 100 << 10, "{}", left[0].bytes_held());
    left[0].trim(50 << 10);
    assert!((10 << 10..=50 << 10).contains(&left[0].bytes_held()), "{}", left[0].bytes_held());
    left[0].trim(0);
    assert_eq!(left[0].bytes_held(), 0);
}

#[test]
fn requests_keep_their_bytes_apart() {
    let mut batch = Batch::default();
    let bytes = [("key", "value", "echo"), ("", "", ""), ("k", "", "e")];
    for (key, value, echo) in bytes {
        let bytes = AskBytes { key: key.as_bytes(), value: value.as_bytes(), echo: echo.as_bytes() };
        batch.add(&ask(0), bytes);
    }
    for (number, (key, value, echo)) in bytes.into_iter().enumerate() {
        let read = batch.bytes_of(number);
        assert_eq!((read.key, read.value, read.echo), (key.as_bytes(), value.as_bytes(), echo.as_bytes()));
    }
}

#[test]
fn nobody_sleeps_over_a_batch() {
    let mut mail = Mail::among(3, u64::MAX);
    assert!(mail[2].announce_sleep());
    assert!(mail[0].lane(2).unwrap().ask(&ask(0), AskBytes::default()));
    assert!(mail[0].lane(2).unwrap().publish(), "the sleeper must be woken");
    mail[2].begin_turn(0);
    assert!(!mail[2].announce_sleep());
}

#[test]
fn requests_share_a_kind_if_they_differ_in_key_and_value_alone() {
    let from = Address { conn: ConnId { index: 1, generation: 2 }, sequence: 0 };
    let mut batch = Batch::default();
    let mut number = 0;
    let mut kind_of = |op: Op<'_>| {
        let what = AskWhat::Keyed(&op);
        batch.add(&Ask { what, ..Ask::plain(from, What::UploadData) }, AskBytes::default());
        number += 1;
        *batch.kind_of(number - 1)
    };
    let set = Write::set(b"value");
    let plain = kind_of(Op::Write(set));
    assert_eq!(kind_of(Op::Write(Write::set(b"another"))), plain);
    let others = [
        Write { mode: WriteMode::Add, ..set },
        Write { flags: 1, ..set },
        Write { expiry: Expiry::At(1), ..set },
        Write { compare: Some(1), ..set },
        Write { token: Some(1), ..set },
        Write { vivify: Some(Expiry::Never), ..set },
        Write { invalidate: true, ..set },
        Write { want_old: true, ..set },
        Write { leases: true, ..set },
    ];
    let kinds: Vec<AskKind> = others.into_iter().map(|write| kind_of(Op::Write(write))).collect();
    for (number, kind) in kinds.iter().enumerate() {
        assert!(*kind != plain && !kinds[..number].contains(kind), "{kind:?}");
    }
    assert_eq!(kind_of(Op::Write(set)), plain);
}

#[test]
fn an_access_is_told_within_a_while_though_nothing_else_is_said() {
    let mut mail = Mail::among(2, u64::MAX);
    let (left, right) = mail.split_at_mut(1);
    let (left, right) = (&mut left[0], &mut right[0]);
    let mut come = |now: Millis| {
        left.begin_turn(now);
        if now == 5000 {
            left.lane(1).unwrap().report(Report { hash: 7, location: 8 });
        }
        left.publish();
        right.lane(0).unwrap().next_asked().map(|batch| batch.reports.len())
    };
    assert_eq!([4999, 5000, 5999, 6000, 9000].map(&mut come), [None, None, None, Some(1), None]);
}
