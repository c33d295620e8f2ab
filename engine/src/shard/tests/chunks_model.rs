//! Long values and a tier against a model: whatever is written, saved, evicted and lost.

use super::chunks::value;
use super::readers_steps::Random;
use super::unsaved::{Tier, Told, remembering};
use super::*;
use std::collections::HashMap;

/// A version, and what a key has had since.
type Change = (u64, Option<Vec<u8>>);

/// A shard with a tier, and what each key may have.
struct World {
    shard: Shard,
    tier: Tier,
    random: Random,
    now: Millis,
    /// What keys had, by the version of each change.
    history: HashMap<u64, Vec<Change>>,
    /// Taken, and not told to be saved.
    saving: Vec<Told>,
    /// Records of the oldest batches that were left.
    left: usize,
    flushed: u64,
}

const KEYS: u64 = 12;
const MEMORY: u64 = 1 << 20;

impl World {
    fn new(seed: u64) -> World {
        World {
            shard: remembering(MEMORY),
            tier: Tier::default(),
            random: Random(seed),
            now: NOW,
            history: HashMap::new(),
            saving: Vec::new(),
            left: 0,
            flushed: 0,
        }
    }

    fn key(number: u64) -> Vec<u8> {
        format!("key-{number}").into_bytes()
    }

    fn current(&self, hash: u64) -> Option<Vec<u8>> {
        let (version, value) = self.history.get(&hash)?.last()?;
        value.clone().filter(|_| *version > self.flushed)
    }

    /// Executes until nothing is pending.
    fn ask(&mut self, key: &[u8], op: Op<'_>) -> Option<u64> {
        let hash = self.shard.hash(0, key);
        loop {
            let ticket = match ask(&mut self.shard, key, op, self.now) {
                Outcome::Pending(ticket) => ticket,
                Outcome::Stored { meta, .. } => return Some(meta.version),
                Outcome::Deleted { version, .. } => return Some(version),
                _ => return None,
            };
            self.tier.bring_back(&mut self.shard, hash, ticket, self.now);
        }
    }

    fn step(&mut self, may_leave: bool) {
        let key = World::key(self.random.below(KEYS));
        let hash = self.shard.hash(0, &key);
        let len = if self.random.below(2) == 0 { 100 } else { 17_000 + self.random.below(60_000) } as usize;
        let new = value(self.random.below(1 << 40), len);
        let before = self.now_has(&key);
        match self.random.below(if may_leave { 16 } else { 15 }) {
            0..4 => {
                let version = self.ask(&key, Op::Write(Write::set(&new)));
                self.note(hash, version, Some(new));
            }
            4 | 5 => {
                let offset = self.random.below(90_000);
                let piece = &new[..new.len().min(300)];
                let version = self.ask(&key, Op::SetRange { offset, value: Body::Bytes(piece) });
                let mut whole = before.unwrap_or_default();
                whole.resize(whole.len().max(offset as usize + piece.len()), 0);
                whole[offset as usize..][..piece.len()].copy_from_slice(piece);
                self.note(hash, version, Some(whole));
            }
            6 => {
                let append = Write { mode: WriteMode::Append, ..Write::set(&new[..50]) };
                let version = self.ask(&key, Op::Write(append));
                self.note(hash, version, before.map(|before| [&before[..], &new[..50]].concat()));
            }
            7 => {
                let version = self.ask(&key, Op::Delete(Delete::default()));
                self.note(hash, version, None);
            }
            8 if self.random.below(10) == 0 => {
                self.shard.flush(None, self.now);
                self.flushed = self.shard.flushed;
                self.saving.clear();
            }
            9 | 10 => self.save_some(),
            11 | 12 => {
                let told = std::mem::take(&mut self.saving);
                told.iter().for_each(|told| told.saved(&mut self.shard));
            }
            13 => (0..self.random.below(800) as u32).for_each(|number| {
                set(&mut self.shard, &number.to_le_bytes(), &[1; 1000]);
            }),
            15 => self.leave(),
            _ => drop(self.shard.maintain(self.now, 100)),
        }
        self.now += self.random.below(3);
    }

    fn note(&mut self, hash: u64, version: Option<u64>, value: Option<Vec<u8>>) {
        if let Some(version) = version {
            self.history.entry(hash).or_default().push((version, value));
        }
    }

    fn save_some(&mut self) {
        let count = 1 + self.random.below(30) as usize;
        let told = self.tier.take(&mut self.shard, count);
        self.saving.extend(told);
    }

    /// The oldest records are written over, if they are saved.
    fn leave(&mut self) {
        let end = self.tier.told.len().saturating_sub(self.saving.len());
        let end = end.min(self.left + 1 + self.random.below(20) as usize);
        for told in &self.tier.told[self.left.min(end)..end] {
            let (Some(place), may_stay) = (told.place, self.random.below(2) == 0) else { continue };
            match told.chunk_of {
                Some(of) => drop(self.shard.leave_chunk(told.hash, of, place, may_stay)),
                None => drop(self.shard.leave_place(told.hash, place, may_stay)),
            }
            self.tier.items.remove(&place);
        }
        self.left = self.left.max(end);
    }

    /// What a key has: what was written last, or nothing.
    fn now_has(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let hash = self.shard.hash(0, key);
        let (_, found) = self.tier.get(&mut self.shard, key, self.now);
        assert!(found.is_none() || found == self.current(hash), "another value of {hash}");
        found
    }

    /// What a crash leaves, of which `count` records are safe: of each key what its newest record says, whole.
    fn crash(&self, count: usize, is_exact: bool) {
        let mut told = Tier::default();
        told.told = self.tier.told[..count].to_vec();
        told.items = self.tier.items.clone();
        let mut after = told.recover(16 << 20);
        for key in (0..KEYS).map(World::key) {
            let hash = after.hash(0, &key);
            let newest = told.told.iter().rev().find(|told| told.hash == hash && told.chunk_of.is_none());
            let value = newest.filter(|newest| newest.place.is_some()).and_then(|newest| {
                let history = self.history.get(&hash)?;
                history.iter().find(|(version, _)| *version == newest.version)?.1.clone()
            });
            let (_, found) = told.get(&mut after, &key, self.now);
            assert!(found == value || (!is_exact && found.is_none()), "{count} of {}", self.tier.told.len());
        }
        after.audit().unwrap();
    }
}

fn run(seed: u64, steps: usize, may_leave: bool) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step(may_leave);
        world.shard.audit().unwrap();
    }
    let told = std::mem::take(&mut world.saving);
    told.iter().for_each(|told| told.saved(&mut world.shard));
    world.tier.save(&mut world.shard);
    assert_eq!((world.shard.unsaved(), world.shard.untaken_bytes(), world.shard.held()), (0, 0, (0, 0)));
    if world.flushed == 0 {
        // A record that is cut off is one that the crash came before.
        let mut count = world.tier.told.len();
        while count > 0 {
            world.crash(count, !may_leave);
            count = count.saturating_sub(1 + world.random.below(9) as usize);
        }
    }
    (0..KEYS).for_each(|number| drop(world.now_has(&World::key(number))));
}

#[test]
fn whatever_is_written_saved_evicted_and_lost_a_value_is_whole_or_a_miss() {
    for seed in 0..60 {
        run(seed, 150, seed % 2 == 1);
    }
}
