//! What a simulated client asks next.

use super::{Client, Scan};
use crate::simulation::action::{Action, named};
use crate::simulation::model::Model;
use crate::simulation::speech::Speech;
use crate::simulation::world::{FRAMED_BYTES_MAX, World};
use crate::transport::sim::Random;
use std::collections::HashSet;

/// Keys that are written once, in the first commands, and then only scanned.
const STEADY_KEYS: usize = 5;
const SHARED_KEYS: usize = 3;
/// Keys that are written together.
const GROUP_KEYS: usize = 5;
/// Keys that are counted up together.
const TALLY_KEYS: usize = 3;

/// A key that is written together with others.
fn group_key(number: usize, world: &World) -> String {
    match world.together_tagged {
        true => format!("{{together}}:{number}"),
        false => format!("together:{number}"),
    }
}

/// A key that clients count up, alone or together with the others.
fn tally_key(number: usize, world: &World) -> String {
    match world.together_tagged {
        true => format!("{{together}}:tally:{number}"),
        false => format!("tally:{number}"),
    }
}

impl Client {
    pub(super) fn draw(&mut self, model: &Model, random: &mut Random, world: &World) -> Action {
        if self.looks_last {
            return Action::Get { key: self.key_of(self.left) };
        }
        if self.habits.floods {
            return Action::Ping;
        }
        let steady = self.values < STEADY_KEYS as u64 && !self.habits.shard_port;
        if steady && world.scans {
            let key = named(self.database, &format!("steady:{}:{}", self.number, self.values));
            return Action::Set { key, value: self.value(random, world), ttl_ms: None };
        }
        let action = match self.may_join(world) && random.chance(world.together_percent) {
            true => self.draw_together(random, world),
            false => self.draw_any(model, random, world),
        };
        match self.speech.has(&action) {
            true => action,
            false => Action::Get { key: self.key(random, world) },
        }
    }

    fn draw_any(&mut self, model: &Model, random: &mut Random, world: &World) -> Action {
        let key = self.key(random, world);
        let shared = named(self.database, &format!("shared:{}", random.below(SHARED_KEYS)));
        match random.below(100) {
            0..30 => Action::Get { key },
            30..48 => Action::Set { key, value: self.value(random, world), ttl_ms: None },
            48..54 => {
                Action::Set { key, value: self.value(random, world), ttl_ms: Some(1 + random.number() % 200) }
            }
            54..60 => Action::Delete { key },
            60..64 => Action::Increment { key: named(self.database, &format!("count:{}", self.number)) },
            64..71 => {
                let count = 1 + random.below(world.many);
                let pairs = (0..count).map(|_| (self.key(random, world), self.short_value(random, world)));
                Action::SetMany { pairs: pairs.collect() }
            }
            71..78 => Action::GetMany { keys: self.keys(random, world) },
            78..80 => Action::DeleteMany { keys: self.keys(random, world) },
            80..87 => Action::SetShared { key: shared, value: self.value(random, world) },
            87..93 => Action::GetShared { key: shared },
            93..97 if world.scans && self.speech == Speech::Resp && !self.habits.shard_port => {
                self.next_page(model, random)
            }
            97 if world.flushes => Action::Flush { everywhere: !self.habits.shard_port },
            98 if world.flushes && !self.habits.shard_port => {
                Action::FlushDatabase { database: self.database }
            }
            99 if world.password && self.speech == Speech::Resp => {
                Action::Enter { is_right: random.chance(30) }
            }
            _ => Action::Ping,
        }
    }

    /// On a shard's own port keys of several shards are no transaction's; where memory is short keys go one by one.
    fn may_join(&self, world: &World) -> bool {
        !self.habits.shard_port && !world.lossy && !world.flushes
    }

    fn draw_together(&mut self, random: &mut Random, world: &World) -> Action {
        let named = |key: String| named(self.database, &key);
        let key = named("watched".into());
        if let Some(to) = self.read_count.take() {
            self.watches = false;
            return Action::CountWatched { key, to: to + 1 };
        }
        // EXEC would end the watch.
        let may_tally = !self.watches && self.speech == Speech::Resp;
        if let Some(range) = may_tally.then(|| self.scripts.tallies(TALLY_KEYS)).flatten() {
            return Action::Tally { keys: range.map(|number| named(tally_key(number, world))).collect() };
        }
        let keys: Vec<String> = (0..GROUP_KEYS).map(|number| named(group_key(number, world))).collect();
        match random.below(6) {
            // EXEC would end the watch.
            _ if self.watches || self.speech != Speech::Resp => {
                Action::GetOneOf { key: keys[random.below(GROUP_KEYS)].clone() }
            }
            0 => {
                let bytes = random.below(world.value_bytes);
                let long = self.scripts.long_bytes();
                Action::SetTogether { keys, value: self.value_of(long.unwrap_or(bytes)) }
            }
            1 | 2 => Action::GetTogether { keys },
            3 => {
                self.watches = true;
                Action::WatchCount { key }
            }
            _ => Action::GetOneOf { key: keys[random.below(GROUP_KEYS)].clone() },
        }
    }

    /// One page at a time: the next cursor is in the answer.
    fn next_page(&mut self, model: &Model, random: &mut Random) -> Action {
        if self.calls.iter().any(|(_, call)| matches!(call.action, Action::Scan { .. })) {
            return Action::Ping;
        }
        let begun = model.now();
        let scan = self.scan.get_or_insert_with(|| Scan { cursor: "0".into(), begun, seen: HashSet::new() });
        Action::Scan { cursor: scan.cursor.clone(), count: 1 + random.below(50) }
    }

    fn key(&self, random: &mut Random, world: &World) -> String {
        self.key_of(random.below(world.keys))
    }

    fn key_of(&self, key: usize) -> String {
        let number = self.number;
        let key = match self.habits.tagged {
            true => format!("{{own:{number}}}:{key}"),
            false => format!("own:{number}:{key}"),
        };
        named(self.database, &key)
    }

    fn keys(&self, random: &mut Random, world: &World) -> Vec<String> {
        let mut keys: Vec<String> =
            (0..1 + random.below(world.many)).map(|_| self.key(random, world)).collect();
        // memcached answers a key as often as it is asked for; the model takes each once.
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// A value that no other write has; some are long enough to be received in slices.
    fn value(&mut self, random: &mut Random, world: &World) -> Vec<u8> {
        match random.chance(world.long_percent) {
            true => self.value_of(random.below(self.longest(world))),
            false => self.short_value(random, world),
        }
    }

    /// Bytes of its longest value.
    fn longest(&self, world: &World) -> usize {
        if self.speech == Speech::Native { FRAMED_BYTES_MAX } else { world.long_bytes }
    }

    fn short_value(&mut self, random: &mut Random, world: &World) -> Vec<u8> {
        self.value_of(random.below(world.value_bytes))
    }

    fn value_of(&mut self, bytes: usize) -> Vec<u8> {
        self.values += 1;
        let mut value = format!("{}-{}-", self.number, self.values).into_bytes();
        let bytes = bytes.min(self.budget);
        self.budget -= bytes;
        value.resize(value.len() + bytes, b'x');
        value
    }
}
