//! Commands that come while a shard is told what its tier holds, against a model: nothing that was superseded, deleted or
//! flushed comes back, and nothing is done before what it depends on is known.

use super::unsaved::Tier;
use super::*;
use crate::reader::{Doubt, ReadRoom};
use std::collections::{HashMap, HashSet};

const KEYS: u64 = 48;
const SLOTS: u16 = 8;

fn slot_of(key: &[u8]) -> u16 {
    key.iter().map(|byte| u16::from(*byte)).sum::<u16>() % SLOTS
}

fn key(number: u64) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// `SplitMix64` (Steele and others, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB) >> 32) % bound
    }
}

/// What a key is.
#[derive(Debug, Default, Clone)]
struct Is {
    value: Option<Vec<u8>>,
    /// It was changed in this run, so it is known.
    is_known: bool,
    is_unsaved: bool,
    /// It may have been evicted before it was saved.
    may_miss: bool,
}

#[derive(Debug, PartialEq)]
enum Said {
    Value(Option<Vec<u8>>),
    Done(bool),
    Waits,
}

struct World {
    shard: Shard,
    tier: Tier,
    keys: HashMap<Vec<u8>, Is>,
    random: Random,
    fillers: u64,
    /// Items that were evicted before they were saved.
    evicted: u64,
    reads_wait: bool,
    /// Keys of commands that wait until more is known.
    waiting: HashSet<Vec<u8>>,
}

fn remembering() -> Shard {
    let mut shard = shard_of(1 << 20);
    shard.remember_changes(slot_of);
    shard
}

impl World {
    fn ask(&mut self, key: &[u8], op: Op<'_>) -> Said {
        let hash = self.shard.hash(0, key);
        loop {
            match ask(&mut self.shard, key, op, NOW) {
                Outcome::Pending(Ticket::UNKNOWN) => {
                    self.shard.await_known(hash);
                    self.waiting.insert(key.to_vec());
                    return Said::Waits;
                }
                Outcome::Pending(ticket) => {
                    let bytes = &self.tier.items[&ticket.0];
                    self.shard.promote(hash, ticket, bytes, NOW).unwrap();
                }
                Outcome::Item(found) => return Said::Value(Some(bytes_of(found.value))),
                Outcome::Miss if matches!(op, Op::Read(_)) => return Said::Value(None),
                Outcome::Stored { .. } | Outcome::Deleted { .. } => return Said::Done(true),
                Outcome::NotStored { .. } | Outcome::Miss => return Said::Done(false),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Nobody goes on waiting for a key that is known, and most wait until then.
    fn check_waiting(&mut self) {
        let mut told = Vec::new();
        self.shard.take_known(|hash| told.push(hash));
        let shard = &self.shard;
        self.waiting.retain(|key| shard.is_recovering() && !told.contains(&shard.hash(0, key)));
        for key in &self.waiting {
            let hash = shard.hash(0, key);
            let command = Command { database: 0, key, op: Op::Delete(Delete::default()) };
            assert_eq!(shard.ticket_for(&command, hash, NOW), Some(Ticket::UNKNOWN), "{key:?} is known");
        }
    }

    /// One command, and what the model says of its answer.
    fn command(&mut self) {
        let key = key(self.random.below(KEYS));
        let value = format!("value {}", self.random.below(u64::MAX)).repeat(20).into_bytes();
        let is = self.keys.entry(key.clone()).or_default().clone();
        let (op, would_be) = match self.random.below(6) {
            0 | 1 => (Op::Read(Read::default()), None),
            2 => (Op::Write(Write::set(&value)), Some(Some(value.clone()))),
            3 => (Op::Delete(Delete::default()), Some(None)),
            4 => {
                let add = Write { mode: WriteMode::Add, ..Write::set(&value) };
                (Op::Write(add), Some(Some(value.clone())))
            }
            _ => {
                let replace = Write { mode: WriteMode::Replace, ..Write::set(&value) };
                (Op::Write(replace), Some(Some(value.clone())))
            }
        };
        let recovering = self.shard.is_recovering();
        let said = self.ask(&key, op);
        let is_there = |said: bool| said == is.value.is_some() || is.may_miss && !said;
        let is_right = match (&op, &said) {
            (_, Said::Waits) => recovering && !is.is_known,
            (Op::Read(_), Said::Value(None)) => {
                is_there(false) || recovering && !is.is_known && !self.reads_wait
            }
            (Op::Read(_), Said::Value(Some(value))) => Some(value) == is.value.as_ref(),
            (Op::Write(Write { mode: WriteMode::Set, .. }), Said::Done(done)) => *done,
            (Op::Write(Write { mode: WriteMode::Add, .. }), Said::Done(done)) => is_there(!*done),
            (_, Said::Done(done)) => is_there(*done),
            _ => false,
        };
        assert!(is_right, "{op:?} of {key:?}, which is {is:?}: {said:?}");
        if said == Said::Done(true)
            && let Some(value) = would_be
        {
            self.keys.insert(key, Is { value, is_known: true, is_unsaved: true, may_miss: false });
        }
    }

    /// Other items take the memory.
    fn fill(&mut self) {
        for _ in 0..150 {
            self.fillers += 1;
            let key = format!("filler {}", self.fillers).into_bytes();
            set(&mut self.shard, &key, &vec![7; 4000 + (self.fillers % 900) as usize]);
            self.shard.maintain(NOW, 1000);
        }
    }

    fn save(&mut self) {
        self.tier.save(&mut self.shard);
        self.keys.values_mut().for_each(|is| is.is_unsaved = false);
    }

    fn flush(&mut self) {
        self.shard.flush(None, NOW);
        self.keys.values_mut().for_each(|is| *is = Is { is_known: true, ..Is::default() });
    }

    fn something(&mut self) {
        match self.random.below(60) {
            0 => self.fill(),
            1..6 => self.save(),
            _ => self.command(),
        }
        let evicted = self.shard.stats().evictions_unsaved.read();
        if std::mem::replace(&mut self.evicted, evicted) != evicted {
            self.keys.values_mut().for_each(|is| is.may_miss |= is.is_unsaved);
        }
    }

    /// Begins anew, and lets commands come between what is told of two streams.
    fn restart(&mut self, flushes: bool) {
        self.save();
        // Those that were evicted before they were saved have a tombstone.
        let is = |(key, is): (Vec<u8>, Is)| (key, Is { is_known: false, ..is });
        self.keys = std::mem::take(&mut self.keys).into_iter().map(is).collect();
        let above = self.shard.clock.next(NOW);
        self.shard = remembering();
        self.evicted = 0;
        self.shard.start_above(above);
        self.shard.begin_recovery(0..SLOTS, slot_of, self.reads_wait);
        let halves = [0..SLOTS / 2, SLOTS / 2..SLOTS];
        let mut streams = halves.clone().map(|slots| self.tier.known(|slot| slots.contains(&slot)));
        let mut is_told = [false; 2];
        while is_told.contains(&false) {
            for _ in 0..self.random.below(12) {
                self.something();
                self.check_waiting();
            }
            if flushes && self.random.below(200) == 0 {
                self.flush();
            }
            let half = self.random.below(2) as usize;
            let count = self.random.below(40).min(streams[half].len() as u64) as usize;
            let told: Vec<_> = streams[half].drain(..count).collect();
            self.shard.recover(&told);
            self.check_waiting();
            if streams[half].is_empty() && !is_told[half] {
                is_told[half] = true;
                self.shard.end_slots(halves[half].clone());
                self.check_waiting();
            }
        }
        assert!(!self.shard.is_recovering());
        (0..300).for_each(|_| self.something());
        self.shard.audit().unwrap();
        assert_eq!(
            self.shard.stats().places_lost.read(),
            0,
            "the index has room for all, also in little memory"
        );
    }
}

#[test]
fn commands_that_come_while_the_tier_is_told_see_nothing_that_is_not_final() {
    for seed in 0..60 {
        let mut world = World {
            shard: remembering(),
            tier: Tier::default(),
            keys: HashMap::new(),
            random: Random(seed),
            fillers: 0,
            evicted: 0,
            reads_wait: seed % 2 == 0,
            waiting: HashSet::new(),
        };
        (0..600).for_each(|_| world.something());
        (0..3).for_each(|_| world.restart(seed % 3 == 0));
    }
}

#[test]
fn more_that_is_gone_than_can_be_remembered_makes_the_rest_miss() {
    let mut shard = remembering();
    shard.begin_recovery([slot_of(b"old"), 9], slot_of, true);
    let old = shard.hash(0, b"old");
    let gone = |hash| Known::item(hash, None);
    // A shard of 1 MiB remembers 8192.
    shard.recover(&(0..8192).map(gone).collect::<Vec<_>>());
    assert!(matches!(ask(&mut shard, b"old", Op::Read(Read::default()), NOW), Outcome::Pending(_)));
    shard.recover(&[gone(8192)]);
    assert_eq!(shard.recover(&[Known::item(old, Some(1))]), Recovered { items: 0, lost: 1 });
    assert_eq!(get(&mut shard, b"old", NOW), None);
    // What misses may be there, so its deletion is told.
    ask(&mut shard, b"old", Op::Delete(Delete::default()), NOW);
    assert!(shard.has_unsaved());
}

#[test]
fn readers_of_other_threads_see_nothing_before_all_is_known() {
    let mut shard = remembering();
    let (reader, mut room) = (shard.reader(), ReadRoom::new());
    shard.begin_recovery([slot_of(b"here"), slot_of(b"there")], slot_of, true);
    set(&mut shard, b"here", b"value");
    let (here, there) = (shard.hash(0, b"here"), shard.hash(0, b"there"));
    let mut look = |key: &[u8], hash| {
        reader.read((0, key), hash, &Read::default(), NOW, &mut room).map(|look| format!("{look:?}"))
    };
    assert_eq!(look(b"here", here), Err(Doubt::Recovery));
    assert_eq!(look(b"there", there), Err(Doubt::Recovery));
    shard.end_slots([slot_of(b"here"), slot_of(b"there")]);
    assert!(look(b"here", here).unwrap().starts_with("Hit"));
    assert_eq!(look(b"there", there), Ok("Miss".into()));
}
