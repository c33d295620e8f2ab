//! A reader on another machine, case by case; the simulation is in `remote_steps.rs`.

use super::remote_wire::attach;
use super::*;
use crate::mapped::ClockWords;
use crate::reader::{Access, Doubt, Look, ReadRoom};
use crate::remote::{
    LANDING_WORDS, Query, ReadList, RemoteOptions, RemotePiece, RemoteRead, RemoteShard, Step, Times,
};
use crate::segments::{LeaseLimits, Revoke};
use crate::spaces::SpaceTable;
use crate::steps::{Fault, put_in};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use torc_pmem::media::shared::SharedView;

const SEGMENT: usize = 64 << 10;
const LEASE_END: u64 = 1000;

#[derive(Debug)]
struct Nobody;

impl Revoke for Nobody {
    fn revoke(&mut self) {}
}

/// An owner, and a reader whose READs are done at once.
struct Pair {
    owner: Shard,
    clock: ClockWords,
    far: RemoteShard,
    view: SharedView,
    landing: Vec<AtomicU64>,
    /// Of the last look.
    rounds: Vec<Vec<RemotePiece>>,
    report: Option<Access>,
    /// What the reader is told of time.
    times: Times,
    seen_at: u64,
}

fn pair() -> Pair {
    pair_of(4 << 20)
}

fn pair_of(memory_bytes: u64) -> Pair {
    let config = ShardConfig {
        now: NOW,
        segment_bytes: SEGMENT,
        shared_memory: true,
        seed: 7,
        shard: 3,
        ..ShardConfig::new(memory_bytes)
    };
    let mut owner = Shard::new(config).unwrap();
    owner.let_read_leases(LeaseLimits::default(), Box::new(Nobody));
    let clock = ClockWords::private();
    clock.raise(NOW * 1_000_000);
    clock.show_in(&owner);
    let (far, view) = attach(&owner, 16).unwrap();
    let landing = (0..LANDING_WORDS).map(|_| AtomicU64::new(0)).collect();
    let times = Times { now: 0, lease_end: LEASE_END, passed_max: 0 };
    Pair { owner, clock, far, view, landing, rounds: Vec::new(), report: None, times, seen_at: 0 }
}

impl Pair {
    fn post(&mut self, list: &ReadList) {
        self.rounds.push(list.to_vec());
        for piece in list.iter() {
            let words = self.view.words(piece.at as usize, piece.bytes as usize / 8).unwrap();
            for (to, word) in self.landing[piece.into as usize / 8..].iter().zip(words) {
                to.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    /// Looks a key up; before each round `meanwhile` gets the owner.
    fn look_while(
        &mut self,
        key: &[u8],
        read: &Read,
        mut meanwhile: impl FnMut(usize, &mut Shard),
    ) -> Result<Option<Vec<u8>>, Doubt> {
        (self.rounds, self.report) = (Vec::new(), None);
        let query = Query { database: 0, key, hash: self.far.hash(key), read };
        let (mut remote, mut list) = RemoteRead::begin(&mut self.far, &query, self.times)?;
        let mut room = ReadRoom::new();
        loop {
            meanwhile(self.rounds.len(), &mut self.owner);
            self.post(&list);
            match remote.landed(&mut self.far, &query, &self.landing, self.seen_at, &mut room) {
                Step::Read(next) => list = next,
                Step::Done(Ok(Look::Hit { found, report, .. })) => {
                    self.report = report;
                    return Ok(Some(bytes_of(found.value)));
                }
                Step::Done(look) => return look.map(|_| None),
            }
        }
    }

    fn look(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Doubt> {
        self.look_while(key, &Read::default(), |_, _| {})
    }

    /// How many READs the rounds of the last look had.
    fn posted(&self) -> Vec<usize> {
        self.rounds.iter().map(Vec::len).collect()
    }
}

fn value(bytes: &[u8]) -> Result<Option<Vec<u8>>, Doubt> {
    Ok(Some(bytes.to_vec()))
}

#[test]
fn a_hit_takes_two_rounds_and_one_where_it_was_before_and_a_miss_two() {
    let mut pair = pair();
    set(&mut pair.owner, b"key", b"value");
    assert_eq!((pair.far.number(), pair.far.hash(b"key")), (3, pair.owner.key_hash(b"key")));
    assert_eq!(pair.look(b"key"), value(b"value"));
    assert_eq!(pair.posted(), [3, 1, 1, 2], "the head, the chunk's place, buckets, the item");
    assert_eq!(pair.look(b"key"), value(b"value"));
    assert_eq!(pair.posted(), [2]);
    assert_eq!(pair.look(b"other"), Ok(None));
    assert_eq!(pair.posted(), [1, 1]);
    set(&mut pair.owner, b"key", b"new");
    assert_eq!(pair.look(b"key"), value(b"new"));
    assert_eq!(pair.posted(), [2, 1, 2], "where it was before, buckets, the item");
    ask(&mut pair.owner, b"key", Op::Delete(Delete::default()), NOW);
    assert_eq!(pair.look(b"key"), Ok(None));
    let counts = pair.far.counts();
    assert_eq!((counts.looks.hits, counts.looks.misses, counts.remembered), (3, 2, 1));
    assert_eq!((counts.failed, counts.heads, counts.looks.doubts), (0, 1, [0; Doubt::ALL.len()]));
}

#[test]
fn items_of_all_lengths_are_read_or_left_to_the_owner() {
    let mut pair = pair();
    for bytes in [0, 1, 100, 895, 900, 940, 960, 1000, 4000, 4060, 4100, 16 << 10, 100 << 10] {
        let written = vec![7; bytes];
        set(&mut pair.owner, b"key", &written);
        let expected = if bytes <= 4060 { Ok(Some(written)) } else { Err(Doubt::Long) };
        for again in [false, true] {
            assert_eq!(pair.look(b"key"), expected, "{bytes} bytes, again: {again}");
        }
    }
}

#[test]
fn all_keys_of_a_shard_are_found_as_its_index_grows() {
    let mut pair = pair_of(8 << 20);
    for number in 0..30_000u32 {
        set(&mut pair.owner, &number.to_le_bytes(), b"value");
        if number % 7 == 0 {
            let key = (number / 2).to_le_bytes();
            // In the midst of a growth the head is another one after each write.
            assert_eq!(pair.look(&key), value(b"value"), "{number}");
        }
    }
    for number in 0..30_000u32 {
        assert_eq!(pair.look(&number.to_le_bytes()), value(b"value"), "{number}");
        assert_eq!(pair.look(&(number + 1_000_000).to_le_bytes()), Ok(None), "{number}");
    }
    assert_eq!(pair.far.counts().looks.doubts, [0; Doubt::ALL.len()]);
}

#[test]
fn a_lease_must_run_from_before_the_look_until_all_is_seen() {
    let mut pair = pair();
    set(&mut pair.owner, b"key", b"value");
    (pair.times.now, pair.seen_at) = (LEASE_END, LEASE_END);
    assert_eq!(pair.look(b"key"), Err(Doubt::Late));
    pair.times.now = LEASE_END - 1;
    assert_eq!(pair.look(b"key"), Err(Doubt::Late));
    pair.seen_at = LEASE_END - 1;
    assert_eq!(pair.look(b"key"), value(b"value"));
    let posted_at = |pair: &mut Pair, began, seen, lease_end| {
        (pair.times.now, pair.seen_at, pair.times.lease_end) = (began, seen, lease_end);
        (pair.look(b"key"), pair.posted())
    };
    let (began, end) = (LEASE_END - 1, LEASE_END);
    assert_eq!(
        posted_at(&mut pair, began, began, 0),
        (value(b"value"), vec![2]),
        "an earlier lease runs still"
    );
    assert_eq!(
        posted_at(&mut pair, began, end, 2 * end),
        (value(b"value"), vec![2, 1, 2]),
        "it has ended meanwhile"
    );
    assert_eq!(posted_at(&mut pair, began, began, 3 * end), (value(b"value"), vec![2]));
    let (began, end) = (3 * LEASE_END - 1, 3 * LEASE_END);
    assert_eq!(
        posted_at(&mut pair, began, began, 0),
        (value(b"value"), vec![2]),
        "it was seen under a later one"
    );
    assert_eq!(posted_at(&mut pair, end, end, 0), (Err(Doubt::Late), vec![]));
}

#[test]
fn what_may_be_over_by_the_clocks_is_left_to_the_owner() {
    let mut pair = pair();
    let write = Write { expiry: Expiry::At(NOW + 5), ..Write::set(b"value") };
    ask(&mut pair.owner, b"key", Op::Write(write), NOW);
    pair.times.passed_max = 4_999_999;
    for _ in 0..2 {
        assert_eq!(pair.look(b"key"), value(b"value"));
    }
    pair.times.passed_max = 5_000_000;
    assert_eq!(pair.look(b"key"), Err(Doubt::Expiry));
    pair.times.passed_max = 0;
    assert_eq!(pair.look(b"key"), value(b"value"));
    pair.clock.raise((NOW + 5) * 1_000_000);
    assert_eq!(pair.look(b"key"), Err(Doubt::Expiry), "the clock has stepped");
}

#[test]
fn flushes_spaces_and_what_is_elsewhere_are_seen() {
    let mut pair = pair();
    set(&mut pair.owner, b"key", b"value");
    assert_eq!(pair.look(b"key"), value(b"value"));
    pair.owner.flush(Some(NOW + 5), NOW);
    assert_eq!(pair.look(b"key"), value(b"value"));
    pair.times.passed_max = 5_000_000;
    assert_eq!(pair.look(b"key"), Err(Doubt::Flush), "it is due");
    pair.owner.flush(None, NOW + 5);
    assert_eq!(pair.look(b"key"), Ok(None));
    set(&mut pair.owner, b"key", b"value");
    let table = SpaceTable::default().swapped(0, 1, pair.owner.version() + 1);
    pair.owner.set_spaces(&table, NOW);
    assert_eq!(pair.look(b"key"), Ok(None));
    pair.owner.set_spaces(&table.swapped(0, 1, pair.owner.version() + 1), NOW);
    assert_eq!(pair.look(b"key"), value(b"value"));
    pair.owner.demote(0, b"key", 1, NOW);
    for _ in 0..100 {
        assert_eq!(pair.look(b"key"), Err(Doubt::Elsewhere));
    }
    set(&mut pair.owner, b"key", b"new");
    assert_eq!(pair.look(b"key"), value(b"new"));
    let other = (0..100).filter(|_| pair.look(b"other") == Ok(None)).count();
    assert!(other > 50, "that nothing is elsewhere any more is seen in the end: {other}");
}

#[test]
fn a_check_that_fails_is_tried_once_more() {
    let mut pair = pair();
    set(&mut pair.owner, b"key", b"value");
    let read = Read::default();
    let replaced = |often: usize| {
        let mut number = 0;
        move |_: usize, owner: &mut Shard| {
            number += 1;
            if number >= 3 && number / 2 <= often {
                set(owner, b"key", &[number as u8]);
            }
        }
    };
    // Rounds: the head, the chunk's place, buckets, the item, buckets, the item.
    assert_eq!(
        pair.look_while(b"key", &read, |round, owner| if round == 3 {
            set(owner, b"key", b"new")
        }),
        value(b"new")
    );
    assert_eq!((pair.posted(), pair.far.counts().failed), (vec![3, 1, 1, 2, 1, 2], 1));
    assert_eq!(pair.look_while(b"other", &read, replaced(99)), Ok(None));
    let always = |_: usize, owner: &mut Shard| set(owner, b"key", b"newer");
    assert_eq!(pair.look_while(b"key", &read, always), Err(Doubt::Gone));
    let swaps = |_: usize, owner: &mut Shard| {
        let table = owner.spaces().swapped(0, 1, owner.version() + 1);
        owner.set_spaces(&table, NOW);
    };
    assert_eq!(pair.look_while(b"key", &read, swaps), Err(Doubt::Flush));
}

#[test]
fn an_epoch_that_is_over_ends_all_reads() {
    let mut pair = pair();
    set(&mut pair.owner, b"key", b"value");
    assert_eq!(pair.look(b"key"), value(b"value"));
    pair.owner.set_epoch(1);
    for key in [&b"key"[..], b"other"] {
        assert_eq!(pair.look(key), Err(Doubt::Epoch));
    }
    put_in(Some(Fault::FarEpoch));
    let told = pair.look(b"key");
    put_in(None);
    assert_eq!(told, value(b"value"), "nobody else minds");
    let (far, _) = attach(&pair.owner, 16).unwrap();
    pair.far = far;
    assert_eq!(pair.look(b"key"), Err(Doubt::Epoch), "also of who has read nothing yet");
}

/// Two keys with the same home and tag.
fn twins(shard: &Shard) -> [Vec<u8>; 2] {
    let homes = (shard.index.buckets() - crate::index::PROBE_BUCKETS) as u64;
    let mut seen = HashMap::new();
    for number in 0..1_000_000u32 {
        let key = number.to_le_bytes().to_vec();
        let hash = shard.key_hash(&key);
        let home = (u128::from(hash) * u128::from(homes)) >> 64;
        if let Some(other) = seen.insert((home, hash & 0xFFFF), key.clone()) {
            return [other, key];
        }
    }
    unreachable!("there are more keys than homes with tags")
}

#[test]
fn an_item_with_the_same_tag_is_not_taken_for_the_keys() {
    let mut pair = pair();
    let [one, other] = twins(&pair.owner);
    set(&mut pair.owner, &one, b"one");
    let mut look = |key: &[u8]| pair.look(key);
    assert_eq!((look(&one), look(&other)), (value(b"one"), Ok(None)));
    put_in(Some(Fault::FarKey));
    let told = look(&other);
    put_in(None);
    assert_eq!(told, value(b"one"));
    set(&mut pair.owner, &other, b"other");
    assert_eq!((pair.look(&other), pair.look(&one)), (value(b"other"), value(b"one")));
}

#[test]
fn reads_are_reported_while_they_count_and_now_and_then_where_they_are_remembered() {
    let mut pair = pair();
    set(&mut pair.owner, b"key", b"value");
    let mut reports = Vec::new();
    for _ in 0..100 {
        pair.look(b"key").unwrap();
        if let Some(Access { hash, location }) = pair.report {
            pair.owner.count_read(hash, location);
        }
        reports.push(pair.report.is_some());
    }
    assert!(reports[0] && !reports[2], "an item that was never read, and one that was");
    assert!((5..12).contains(&reports.iter().filter(|told| **told).count()), "{reports:?}");
    let read = Read { peek: true, ..Read::default() };
    set(&mut pair.owner, b"key", b"new");
    pair.look_while(b"key", &read, |_, _| {}).unwrap();
    assert_eq!(pair.report, None);
    let read = Read { expiry: Expiry::At(NOW + 1), ..Read::default() };
    assert_eq!(pair.look_while(b"key", &read, |_, _| {}), Err(Doubt::Lease));
}

#[test]
fn only_the_constants_of_a_shard_are_attached() {
    let pair = pair();
    let piece = RemoteShard::constants();
    let constants = pair.view.words(0, piece.bytes as usize / 8).unwrap();
    let options = RemoteOptions { epoch: 0, places: 0 };
    assert!(RemoteShard::attach(constants, 100, &options).is_err(), "its head is longer");
    assert!(RemoteShard::attach(&constants[1..], 1 << 20, &options).is_err());
    assert!(RemoteShard::attach(&[], 1 << 20, &options).is_err());
}
