//! Clients that keep copies of what they have read (CLIENT TRACKING), beside those that ask for keys.
//!
//! What is checked: when a client is answered what was written after a write of another key had been answered, it has been told before that
//! its copy of that key is old; and in the end, when nobody writes any more, no client has an old copy, nor one whose time is over.

use super::entry::Entries;
use super::scripts;
use super::speech::{array, frames};
use super::world::World;
use crate::transport::sim::{LinkId, Network, Random};
use std::collections::{HashMap, VecDeque};
use torc_engine::command::Millis;

/// Keys that are written at a time.
const KEYS: usize = 5;
/// Worlds in which clients keep copies, percent.
const COPIES_PERCENT: u32 = 35;
/// Requests that are sent together, at most.
const BURST: usize = 6;
/// How long after its time was over a copy may be there, milliseconds of the simulated clock: shards are late there.
const LATE_MS: Millis = 2_000;

#[derive(Debug)]
pub(super) struct Copies {
    random: Random,
    cachers: Vec<Cacher>,
    keys: Vec<Key>,
    /// Counts what happens.
    now: u64,
    /// Requests still to be sent.
    left: usize,
    pub(super) entries: Entries,
    may_close: bool,
    /// What a script does, percent, drawn of its own.
    by_script: Random,
    script_percent: u32,
}

/// A key that one client writes.
#[derive(Debug)]
struct Key {
    writer: usize,
    /// By value.
    writes: Vec<Write>,
    /// Nobody knows in which order its last writes were done.
    is_over: bool,
}

#[derive(Debug)]
struct Write {
    begun: u64,
    ended: Option<u64>,
    expiry: Option<Millis>,
}

/// How a client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Read,
    NoLoop,
    OptIn,
    Prefixes,
}

#[derive(Debug)]
struct Cacher {
    link: Option<LinkId>,
    style: Style,
    asked: VecDeque<Asked>,
    input: Vec<u8>,
    /// By key.
    copies: HashMap<usize, Kept>,
    /// Bytes that it reads in a step, at most.
    read_max: usize,
}

#[derive(Debug)]
struct Kept {
    /// The first write that it is older than.
    place: usize,
    /// It is of a value, whose time may be over.
    is_value: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// HELLO, SELECT, CLIENT.
    Setting,
    Read {
        key: usize,
        keeps: bool,
    },
    Write {
        key: usize,
        value: usize,
    },
}

impl Copies {
    pub(super) fn new(world: &World, seed: u64) -> Copies {
        // Of its own, so that what else a seed draws stays what it is.
        let mut random = Random::new(seed ^ 0xC0B1E5);
        let keeps = world.tier.is_none() && !world.lossy && random.chance(COPIES_PERCENT);
        let count = if keeps { 2 + random.below(4) } else { 0 };
        let cachers = (0..count).map(|_| Cacher {
            link: None,
            style: [Style::Read, Style::NoLoop, Style::OptIn, Style::Prefixes][random.below(4)],
            asked: VecDeque::new(),
            input: Vec::new(),
            copies: HashMap::new(),
            read_max: 1 + random.below(3000),
        });
        let cachers: Vec<Cacher> = cachers.collect();
        let keys = (0..if keeps { KEYS } else { 0 }).map(|_| Key::new(random.below(count))).collect();
        let left = if keeps { 50 + random.below(1000) } else { 0 };
        Copies {
            random,
            cachers,
            keys,
            now: 0,
            left,
            entries: Entries::default(),
            may_close: world.closes(),
            by_script: Random::new(world.scripts_seed ^ 0xC0B1E5),
            script_percent: scripts::percent(world),
        }
    }

    pub(super) fn read_fast(&mut self) {
        self.cachers.iter_mut().for_each(|cacher| cacher.read_max = usize::MAX);
    }

    /// Whether all is asked, and no copy is old.
    pub(super) fn is_done(&self, now: Millis) -> bool {
        let is_right = |cacher: &Cacher, key: usize, copy: &Kept| {
            let key = &self.keys[key];
            let last = key.writes.last().and_then(|write| write.expiry).filter(|_| copy.is_value);
            // Who is told by prefixes is told that when the shard meets the item.
            let may_stay = cacher.style == Style::Prefixes || last.is_none_or(|end| now <= end + LATE_MS);
            key.is_over || copy.place == key.writes.len() && may_stay
        };
        let is_quiet = |cacher: &Cacher| {
            cacher.asked.is_empty() && cacher.copies.iter().all(|(key, copy)| is_right(cacher, *key, copy))
        };
        self.left == 0 && self.cachers.iter().all(is_quiet)
    }

    /// Lets each client read and send.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) fn step(&mut self, network: &mut Network, world: &World, now: Millis) -> Result<(), String> {
        for number in 0..self.cachers.len() {
            self.step_of(number, network, world, now)
                .map_err(|wrong| format!("cacher {number}: {wrong}: {:?}", self.cachers[number]))?;
        }
        Ok(())
    }

    fn step_of(
        &mut self,
        number: usize,
        network: &mut Network,
        world: &World,
        now: Millis,
    ) -> Result<(), String> {
        let link = match self.cachers[number].link {
            Some(link) => link,
            None if self.left == 0 => return Ok(()),
            None => {
                let link = network.connect(self.random.below(world.shards as usize) as u16, 0);
                self.begin(number, link, network, world);
                link
            }
        };
        if self.random.chance(60) {
            let cacher = &mut self.cachers[number];
            cacher.input.extend(network.read(link, cacher.read_max));
            self.hear(number)?;
        }
        if network.is_dead(link) {
            return self.lose(number, network.was_reset(link));
        }
        if self.left > 0 && self.random.chance(40) && self.cachers[number].asked.len() < 10 {
            let count = (1 + self.random.below(BURST)).min(self.left);
            self.left -= count;
            let bytes: Vec<u8> = (0..count).flat_map(|_| self.ask(number, now)).collect();
            network.write(link, &bytes);
        }
        Ok(())
    }

    fn begin(&mut self, number: usize, link: LinkId, network: &mut Network, world: &World) {
        let cacher = &mut self.cachers[number];
        cacher.link = Some(link);
        self.entries.of(true).given += u64::from(world.password);
        let style: &[&str] = match cacher.style {
            Style::Read => &[],
            Style::NoLoop => &["NOLOOP"],
            Style::OptIn => &["OPTIN"],
            Style::Prefixes => &["BCAST", "PREFIX", "copy"],
        };
        let tracking = [&["CLIENT", "TRACKING", "ON"], style].concat();
        // Keys of a database that no other client looks at.
        for words in [world.hello(), &["SELECT", "15"], &tracking] {
            cacher.asked.push_back(Asked::Setting);
            network.write(link, &array(words));
        }
    }

    /// The connection is gone, and with it all copies. Nobody knows what became of its writes.
    fn lose(&mut self, number: usize, was_reset: bool) -> Result<(), String> {
        let cacher = &mut self.cachers[number];
        let is_over = self.left == 0 && cacher.asked.is_empty();
        if !(was_reset || self.may_close || is_over) {
            return Err("was closed".into());
        }
        (cacher.link, cacher.copies) = (None, HashMap::new());
        cacher.input.clear();
        let asked = std::mem::take(&mut cacher.asked);
        for asked in asked {
            if let Asked::Write { key, .. } = asked
                && !std::mem::replace(&mut self.keys[key].is_over, true)
            {
                self.keys.push(Key::new(number));
            }
        }
        Ok(())
    }

    fn ask(&mut self, number: usize, now: Millis) -> Vec<u8> {
        self.now += 1;
        let alive: Vec<usize> = (0..self.keys.len()).filter(|key| !self.keys[*key].is_over).collect();
        let key = alive[self.random.below(alive.len())];
        let name = format!("copy{key}");
        let cacher = &mut self.cachers[number];
        if self.keys[key].writer == number && self.random.chance(50) {
            let value = self.keys[key].writes.len();
            let expiry = self.random.chance(20).then(|| now + 1 + self.random.below(300) as Millis);
            self.keys[key].writes.push(Write { begun: self.now, ended: None, expiry });
            cacher.asked.push_back(Asked::Write { key, value });
            let (value, end) = (value.to_string(), expiry.unwrap_or_default().to_string());
            let until: &[&str] = if expiry.is_some() { &["PXAT", &end] } else { &[] };
            return self.command(&name, &[&["SET", &name, &value], until].concat());
        }
        let mut bytes = Vec::new();
        let caches = cacher.style == Style::OptIn && self.random.chance(60);
        if caches {
            bytes = array(&["CLIENT", "CACHING", "YES"]);
            cacher.asked.push_back(Asked::Setting);
        }
        cacher.asked.push_back(Asked::Read { key, keeps: caches || cacher.style != Style::OptIn });
        bytes.extend(self.command(&name, &["GET", &name]));
        bytes
    }

    /// A command about a key, or a script that calls it.
    fn command(&mut self, key: &str, words: &[&str]) -> Vec<u8> {
        let script: &[&str] = match self.by_script.chance(self.script_percent) {
            true => &["EVAL", scripts::ANY, "1", key],
            false => &[],
        };
        array(&[script, words].concat())
    }

    fn hear(&mut self, number: usize) -> Result<(), String> {
        for frame in frames(&mut self.cachers[number].input) {
            self.now += 1;
            self.take(number, &frame)?;
        }
        Ok(())
    }

    fn take(&mut self, number: usize, frame: &str) -> Result<(), String> {
        let lines: Vec<&str> = frame.split("\r\n").collect();
        let cacher = &mut self.cachers[number];
        if let [">2", _, "invalidate", keys @ ..] = &lines[..] {
            match keys {
                ["_", ..] => cacher.copies.clear(),
                _ => {
                    let named = |line: &&str| line.strip_prefix("copy").and_then(|key| key.parse().ok());
                    keys.iter().filter_map(named).for_each(|key: usize| _ = cacher.copies.remove(&key));
                }
            }
            return Ok(());
        }
        match (cacher.asked.pop_front(), &lines[..]) {
            (Some(Asked::Setting), [first, ..]) if !first.starts_with('-') => Ok(()),
            (Some(Asked::Write { key, value }), ["+OK", ..]) => {
                if cacher.style == Style::NoLoop {
                    cacher.copies.remove(&key);
                }
                let write = &mut self.keys[key].writes[value];
                write.ended = Some(self.now);
                let begun = write.begun;
                self.copies_are_right(number, begun)
            }
            (Some(Asked::Read { key, keeps }), ["_", ..]) => {
                if keeps {
                    cacher.copies.insert(key, Kept { place: self.keys[key].writes.len(), is_value: false });
                }
                Ok(())
            }
            (Some(Asked::Read { key, keeps }), [_, value, ..]) => {
                let value: usize = value.parse().map_err(|_| format!("{value} was never written"))?;
                let Some(write) = self.keys[key].writes.get(value) else {
                    return Err(format!("{value} of copy{key} is not written yet"));
                };
                let begun = write.begun;
                if keeps {
                    cacher.copies.insert(key, Kept { place: value + 1, is_value: true });
                }
                self.copies_are_right(number, begun)
            }
            (asked, lines) => Err(format!("{asked:?} was answered {lines:?}")),
        }
    }

    /// A client has seen something that was written then.
    fn copies_are_right(&self, number: usize, seen: u64) -> Result<(), String> {
        for (key, Kept { place, .. }) in &self.cachers[number].copies {
            let key_of = &self.keys[*key];
            let Some(write) = key_of.writes.get(*place).filter(|_| !key_of.is_over) else { continue };
            if write.ended.is_some_and(|ended| ended < seen) {
                return Err(format!(
                    "was not told that its copy of copy{key}, {}, is old",
                    *place as i64 - 1
                ));
            }
        }
        Ok(())
    }
}

impl Key {
    fn new(writer: usize) -> Key {
        Key { writer, writes: Vec::new(), is_over: false }
    }
}
