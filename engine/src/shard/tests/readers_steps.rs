//! A reader and an owner that interrupt each other at every step, under seeds.
//!
//! At a step of the reader the owner executes some commands; at a step of the owner a reader looks a key up. What a reader may
//! see is what the key was at some moment between its start and its end.

use super::*;
use crate::changes::{Cause, Change, Listener};
use crate::mapped::{ClockWords, MappedClock, MappedShard};
use crate::reader::{Doubt, Look, Place, ReadRoom, ShardReader};
use crate::steps::{Fault, interrupt, put_in};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

pub(super) const KEYS: u64 = 12;
const ROUNDS: u64 = 300;
/// Seeds of a run without a fault, and seeds within which each fault must show.
const SEEDS: u64 = 60;
const FAULT_SEEDS: u64 = 1500;

/// A small generator of numbers that look random.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Hashes of what was evicted, as a write may make room by evicting what it replaces; zero for a flush, whose keys may still be
/// named elsewhere.
#[derive(Debug, Default, Clone)]
struct Gone(Arc<Mutex<Vec<u64>>>);

impl Listener for Gone {
    fn changed(&mut self, change: &Change<'_>) {
        if matches!(change.cause, Cause::Evicted | Cause::Flushed) {
            self.0.lock().unwrap().push(change.hash);
        }
    }
}

/// What is known of a key: the number in its value, or that it is not in DRAM, if it is there.
pub(super) type Seen = Option<u64>;
const ELSEWHERE: u64 = u64::MAX;

/// A reader in the same process, or one that has a mapping and a clock of its own.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there are two of them")]
pub(super) enum Either {
    Sibling(ShardReader),
    /// It remembers where it has found keys.
    Mapped(MappedShard, Rc<MappedClock>, Rc<RefCell<HashMap<u64, Place>>>),
}

pub(super) struct World {
    pub(super) shard: Shard,
    /// What all reads are done by.
    pub(super) reader: Either,
    pub(super) clock: ClockWords,
    gone: Gone,
    pub(super) random: Random,
    /// Bytes of all values: long ones fill segments soon, short ones make the index grow.
    value_bytes: usize,
    /// Number of the next value, and of the next key that nobody asks for.
    next: u64,
    fillers: u64,
    /// Time of the last command.
    pub(super) now: Millis,
}

impl World {
    pub(super) fn new(seed: u64, is_mapped: bool) -> World {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1);
        random.below(2);
        let value_bytes = [8, 3000][random.below(2) as usize];
        let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, ..ShardConfig::new(1 << 20) };
        let mut shard = Shard::new(ShardConfig { shared_memory: is_mapped, ..config }).unwrap();
        let gone = Gone::default();
        shard.listen(Box::new(gone.clone()));
        let clock = if is_mapped { ClockWords::shared().unwrap() } else { ClockWords::private() };
        clock.raise(NOW * 1_000_000);
        let reader = match shard.to_read().unwrap() {
            None => Either::Sibling(shard.reader()),
            Some(file) => {
                let time = MappedClock::open(clock.to_read().unwrap().unwrap()).unwrap();
                Either::Mapped(MappedShard::open(file).unwrap(), Rc::new(time), Rc::default())
            }
        };
        World { shard, reader, clock, gone, random, value_bytes, next: 1, fillers: 0, now: NOW }
    }

    /// A millisecond passes, for all who have the clock.
    pub(super) fn tick(&mut self) {
        self.now += 1;
        self.clock.raise(self.now * 1_000_000);
    }

    pub(super) fn key(number: u64) -> Vec<u8> {
        format!("key-{number:04}").into_bytes()
    }

    pub(super) fn write(&mut self, key: &[u8], expiry: Expiry) {
        let number = self.next;
        self.next += 1;
        let value = number.to_le_bytes().repeat(self.value_bytes / 8);
        let write = Write { expiry, ..Write::set(&value) };
        ask(&mut self.shard, key, Op::Write(write), self.now);
    }

    /// One command or some, of which one at most is about `key`. Returns what the key was meanwhile and is now.
    pub(super) fn act(&mut self, key: u64) -> Vec<Seen> {
        self.act_by(key, World::command)
    }

    /// As [`World::act`], with these commands.
    pub(super) fn act_by(&mut self, key: u64, commands: impl FnOnce(&mut World, &[u8])) -> Vec<Seen> {
        let hash = self.shard.hash(0, &World::key(key));
        self.gone.0.lock().unwrap().clear();
        commands(self, &World::key(key));
        let was_gone = self.gone.0.lock().unwrap().iter().any(|&gone| gone == hash || gone == 0);
        [Some(None).filter(|_| was_gone), Some(self.look(key))].into_iter().flatten().collect()
    }

    pub(super) fn command(&mut self, key: &[u8]) {
        match self.random.below(29) {
            0..8 => self.write(key, Expiry::Never),
            8 => {
                let end = self.now + 1 + self.random.below(3);
                self.write(key, Expiry::At(end));
            }
            9 | 10 => drop(ask(&mut self.shard, key, Op::Delete(Delete::default()), self.now)),
            11 => self.shard.flush(None, self.now),
            12 => self.tick(),
            13 => drop(self.shard.demote(0, key, self.next, self.now)),
            14..18 => self.turn_over(key),
            18 => drop(self.shard.maintain(self.now, 1000)),
            19..22 => self.swap(),
            22 => self.flush_database(),
            23 | 24 => self.write_in_other(key),
            _ => self.fill(5),
        }
    }

    pub(super) fn swap(&mut self) {
        let table = self.shard.spaces().swapped(0, 1, self.shard.version() + 1);
        self.shard.set_spaces(&table, self.now);
    }

    fn flush_database(&mut self) {
        let table = self.shard.spaces().flushed(0, self.shard.version() + 1, |_| true);
        self.shard.set_spaces(&table.unwrap(), self.now);
    }

    /// The same key in the other database is not what readers ask for, but they may find it while databases are swapped.
    fn write_in_other(&mut self, key: &[u8]) {
        let number = self.next;
        self.next += 1;
        let value = number.to_le_bytes().repeat(self.value_bytes / 8);
        let (op, hash) = (Op::Write(Write::set(&value)), self.shard.key_hash(key));
        let _ = self.shard.execute(&Command { database: 1, key, op }, hash, self.now);
    }

    /// All segments are used again, while the key is asked for often enough to stay.
    pub(super) fn turn_over(&mut self, key: &[u8]) {
        for _ in 0..10 {
            self.fill(60);
            ask(&mut self.shard, key, Op::Read(Read::default()), self.now);
        }
    }

    /// Writes keys that nobody asks for: segments are evicted and used again, the index grows.
    pub(super) fn fill(&mut self, most: u64) {
        for _ in 0..1 + self.random.below(most) {
            self.fillers += 1;
            let key = format!("filler-{}", self.fillers % 20_000);
            self.write(key.as_bytes(), Expiry::Never);
        }
    }

    /// What the owner says of a key.
    pub(super) fn look(&mut self, key: u64) -> Seen {
        let read = Op::Read(Read { peek: true, ..Read::default() });
        match ask(&mut self.shard, &World::key(key), read, self.now) {
            Outcome::Item(found) => Some(number_in(&bytes_of(found.value))),
            Outcome::Pending(_) => Some(ELSEWHERE),
            _ => None,
        }
    }
}

fn number_in(value: &[u8]) -> u64 {
    let number = u64::from_le_bytes(value[..8].try_into().unwrap());
    assert!(value.chunks(8).all(|word| word == number.to_le_bytes()), "a torn value");
    number
}

/// What a reader says of a key; `again`: first where it was found before, if the reader remembers that.
pub(super) fn read(
    reader: &Either,
    (key, hash): (u64, u64),
    now: Millis,
    room: &mut ReadRoom,
    again: bool,
) -> Result<Seen, Doubt> {
    let (name, read) = (&World::key(key)[..], &Read::default());
    match reader {
        Either::Sibling(reader) => Ok(seen_in(reader.read((0, name), hash, read, now, room)?).0),
        Either::Mapped(reader, clock, places) => {
            let now = clock.at(0);
            let place = places.borrow().get(&key).copied().filter(|_| again);
            let again = place.map(|place| reader.read_again(&place, (0, name), read, now, room));
            if let Some(Ok(look)) = again {
                return Ok(seen_in(look).0);
            }
            let (seen, place) = seen_in(reader.read((0, name), hash, read, now, room)?);
            places.borrow_mut().extend(place.map(|place| (key, place)));
            Ok(seen)
        }
    }
}

pub(super) fn seen_in(look: Look<'_>) -> (Seen, Option<Place>) {
    match look {
        Look::Hit { found, place, .. } => (Some(number_in(&bytes_of(found.value))), Some(place)),
        Look::Miss | Look::Expired | Look::Flushed => (None, None),
    }
}

/// A reader that the owner interrupts. Returns whether it could tell.
fn interrupted_reader(world: &Rc<RefCell<World>>, room: &mut ReadRoom) -> Result<bool, String> {
    let (reader, key, hash, now, before, often, again) = {
        let world = &mut *world.borrow_mut();
        let key = world.random.below(KEYS);
        // The owner's look would forget what a flush or its time has left in the index.
        let before = match world.random.below(8) {
            0 => {
                world.shard.flush(None, world.now);
                None
            }
            1 => {
                world.write(&World::key(key), Expiry::At(world.now + 1));
                world.tick();
                None
            }
            _ => world.look(key),
        };
        let hash = world.shard.hash(0, &World::key(key));
        let often = 2 + world.random.below(60);
        let again = world.random.below(2) == 0;
        (world.reader.clone(), key, hash, world.now, before, often, again)
    };
    let seen = Rc::new(RefCell::new(vec![before]));
    let other = {
        let (world, seen) = (world.clone(), seen.clone());
        move || {
            let world = &mut *world.borrow_mut();
            if world.random.below(often) == 0 {
                seen.borrow_mut().extend(world.act(key));
            }
        }
    };
    let told = interrupt(other, || read(&reader, (key, hash), now, room, again));
    let seen = seen.borrow();
    match told {
        Ok(told) if !seen.contains(&told) => Err(format!("key {key}: read {told:?}, was {seen:?}")),
        told => Ok(told.is_ok()),
    }
}

/// An owner that a reader interrupts.
fn interrupted_owner(world: &Rc<RefCell<World>>) -> Result<(), String> {
    let world = &mut *world.borrow_mut();
    let (reader, now, key) = (world.reader.clone(), world.now, world.random.below(KEYS));
    let hash = world.shard.hash(0, &World::key(key));
    let before = world.look(key);
    let told = Rc::new(RefCell::new(Vec::new()));
    let other = {
        let (told, mut random) = (told.clone(), world.random.clone());
        let mut room = ReadRoom::new();
        move || {
            if random.below(4) == 0 {
                for again in [false, true] {
                    told.borrow_mut().extend(read(&reader, (key, hash), now, &mut room, again));
                }
            }
        }
    };
    let mut seen = vec![before];
    seen.extend(interrupt(other, || world.act(key)));
    let told = told.borrow();
    if let Some(told) = told.iter().find(|told| !seen.contains(told)) {
        return Err(format!("key {key}: read {told:?}, was {seen:?}"));
    }
    // What was shown as gone does not come back.
    let changed = told.iter().position(|told| *told != before).unwrap_or(told.len());
    let is_back = told[changed..].contains(&before) && seen.last() != Some(&before);
    if is_back { Err(format!("key {key}: read {told:?} one after the other, was {seen:?}")) } else { Ok(()) }
}

/// Runs a seed; returns how many of its reads could tell.
fn run(seed: u64, is_mapped: bool) -> Result<u64, String> {
    let world = Rc::new(RefCell::new(World::new(seed, is_mapped)));
    let mut room = ReadRoom::new();
    let mut told = 0;
    for _ in 0..ROUNDS {
        told += u64::from(interrupted_reader(&world, &mut room)?);
        interrupted_owner(&world)?;
        let world = &mut *world.borrow_mut();
        let key = world.random.below(KEYS);
        world.act(key);
    }
    world.borrow_mut().shard.audit()?;
    Ok(told)
}

fn run_all(is_mapped: bool) {
    let run = |seed| run(seed, is_mapped).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    let told: u64 = (0..SEEDS).map(run).sum();
    assert!(told > SEEDS * ROUNDS / 3, "most reads are answered: {told}");
}

#[test]
fn a_reader_sees_what_was_there_at_some_moment_of_its_look() {
    run_all(false);
}

#[test]
fn so_does_a_reader_of_another_mapping() {
    run_all(true);
}

fn must_show(faults: &[Fault], is_mapped: bool) {
    for &fault in faults {
        put_in(Some(fault));
        let shows = |seed| std::panic::catch_unwind(|| run(seed, is_mapped)).map_or(true, |run| run.is_err());
        let shown = (0..FAULT_SEEDS).find(|&seed| shows(seed));
        put_in(None);
        let seed = shown.unwrap_or_else(|| panic!("{fault:?} was not seen"));
        eprintln!("{fault:?}: seed {seed}");
    }
}

/// The checker is checked: without any one of the checks, or of the owner's steps, some seed must show it.
#[test]
fn every_check_of_a_reader_is_needed() {
    must_show(&Fault::ALL, false);
}

#[test]
fn so_is_every_check_of_a_reader_of_another_mapping() {
    must_show(&[Fault::StaleClock, Fault::BuryLate], true);
    must_show(&Fault::ALL, true);
}
