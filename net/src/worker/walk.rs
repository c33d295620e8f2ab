//! Walks over all shards for one command: KEYS, RANDOMKEY, the keys of a slot, `lru_crawler metadump`, CLIENT LIST and KILL.
//!
//! ```text
//!   begin_walk --> a step here, one a turn ------------------+--> the walk has what it wants, or was everywhere: answered
//!        ^    \--> a step of another shard, asked by mail ---+--> else the part is the first of the deferred ones again
//!        +------------------------------------------------------------/
//! ```
//!
//! A step is as short as one of SCAN, and others are served in between. Nothing of the connection is begun meanwhile. What is
//! found is bounded, and charged to the connection. A dump is answered step by step, and waits while its client takes nothing.

use super::connection::{Connection, Phase};
use super::mail::{Ask, AskBytes, AskKind, What};
use super::owned::OwnedPart;
use super::scan::{CURSOR_BITS, SCAN_ROOM};
use super::state::WorkerState;
use super::walking::Walk;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::resp::PATTERN_STEPS_MAX;
use crate::session::{Answer, NotWalked, OfClients, Over, Part, Work};
use torc_engine::shard::Tells;
use torc_engine::words;
use torc_proto::memcache::Dump;
use torc_proto::resp::glob;
use torc_proto::slot::slot_of;

/// Most bytes that one walk gathers, and the share of the memory for clients that it may take.
const WALK_BYTES_MAX: usize = 16 << 20;
const GRANT_SHARE: usize = 8;
/// A dump goes on when no more than so many bytes of it wait for its client: it has no end of them, so it takes less than other answers may.
const DUMP_BYTES_MAX: usize = 64 << 10;
/// Keys that one step looks for.
const STEP_KEYS: u32 = 1000;
/// Keys of which RANDOMKEY takes one. The first key behind a random place alone would not do: of two neighbours the second would
/// nearly never be taken.
const ANY_KEY_OF: u32 = 16;

/// What comes of a step.
enum Came {
    More,
    Done,
    Not(NotWalked),
}

impl WorkerState {
    /// One step of a walk, at the shard that is next. False: others are to come, or something has to be known first.
    pub(super) fn begin_walk(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        over: Over,
        read_ns: u64,
    ) -> bool {
        // What is asked of another shard is taken back until the walk is over: nothing may be behind it.
        if !conn.queue.is_empty() {
            return false;
        }
        if matches!(over, Over::Dump(_)) {
            if is_in_vain(conn, over) {
                conn.walk = None;
                self.finish(conn, part, &[], read_ns, Answer::Walked { count: 1, found: &[] });
                return true;
            }
            if !conn.has_room(DUMP_BYTES_MAX) {
                return false;
            }
        }
        let mut walk = conn.walk.take().unwrap_or_else(|| {
            self.walks_begun += 1;
            Box::new(self.walk(conn, part, over))
        });
        let shard = (walk.cursor >> CURSOR_BITS) as u16;
        if shard == self.number {
            let Some((cursor, found)) = self.walk_here(conn, part, &walk) else {
                conn.walk = Some(walk);
                return false;
            };
            let came = walk.take(cursor, &found, part.echo, self.walk_bytes_max());
            self.pool.give(found);
            return self.go_on(conn, part, walk, came, read_ns);
        }
        let local = walk.cursor & ((1 << CURSOR_BITS) - 1);
        let what = match over {
            Over::Clients(of) => What::Clients { place: local as u32, of, asker: conn.number },
            _ if self.waits_to_scan(shard) => {
                conn.walk = Some(walk);
                self.ask_later(conn);
                return false;
            }
            _ => What::Scan { cursor: local, count: walk.step_keys(), tells: walk.tells() },
        };
        conn.walk = Some(walk);
        let database = part.work.database();
        let ask = Ask { database, room: SCAN_ROOM, ..Ask::plain(conn.next_address(), what) };
        let asked = self.ask(conn, shard, &ask, AskBytes { echo: part.echo, ..AskBytes::default() });
        if asked {
            self.wait_for(conn, part, read_ns, (1, SCAN_ROOM), None);
            conn.asks_alone = true;
        }
        asked
    }

    /// Bytes that one walk may gather.
    fn walk_bytes_max(&self) -> usize {
        WALK_BYTES_MAX.min(self.budget.grant() / GRANT_SHARE)
    }

    /// A walk before its first step.
    fn walk(&self, conn: &Connection, part: &Part<'_>, over: Over) -> Walk {
        let here = u64::from(self.number) << CURSOR_BITS;
        let random = mixed(self.turn.began_ns ^ self.walks_begun << 32);
        let cursor = match over {
            Over::AnyKey => self.anywhere(conn, part.work.database(), random),
            _ if conn.is_of_one_shard() => here,
            Over::Count | Over::Clients(OfClients::Own) => here,
            Over::SlotCount { slot } | Over::SlotKeys { slot, .. } => {
                u64::from(self.shared.slots.owner(slot)) << CURSOR_BITS
            }
            Over::Keys | Over::Dump(_) | Over::Clients(_) => 0,
        };
        let from_start = !matches!(over, Over::AnyKey);
        Walk { over, cursor, from_start, random: mixed(random), count: 0, found: Vec::new() }
    }

    /// A place among the keys of a database, each shard being as likely as it has keys.
    fn anywhere(&self, conn: &Connection, database: u16, random: u64) -> u64 {
        let keys = |shard| {
            let figures = self.shared.database(database.into(), Some(shard));
            figures.items + figures.only
        };
        let shards =
            if conn.is_of_one_shard() { self.number..self.number + 1 } else { 0..self.mail.shards() };
        let all: u64 = shards.clone().map(keys).sum();
        let mut left = random % all.max(1);
        for shard in shards {
            let here = keys(shard);
            if left < here {
                return u64::from(shard) << CURSOR_BITS | place_among(here, mixed(random));
            }
            left -= here;
        }
        u64::from(self.number) << CURSOR_BITS
    }

    /// A step at this shard: the next cursor, and what was found. `None`: it has to wait.
    fn walk_here(&mut self, conn: &mut Connection, part: &Part<'_>, walk: &Walk) -> Option<(u64, Vec<u8>)> {
        let local = walk.cursor & ((1 << CURSOR_BITS) - 1);
        if let Over::Clients(of) = walk.over {
            let mut found = self.pool.take();
            let next = self.clients(local as u32, (of, conn.number), part.echo, &mut found);
            if local == 0 {
                self.own_client(conn, of, part.echo, &mut found);
            }
            let here = u64::from(self.number) << CURSOR_BITS;
            let only_here = conn.is_of_one_shard() || of == OfClients::Own;
            return Some((self.cursor_behind(here, next.into(), only_here), found));
        }
        if walk.over == Over::Count {
            let own = conn.is_of_one_shard().then_some(self.number);
            let figures = self.shared.database(part.work.database().into(), own);
            let mut found = self.pool.take();
            found.extend_from_slice(&(figures.items + figures.only).to_le_bytes());
            return Some((0, found));
        }
        let step = self.step_here(conn, part.work.database(), (local, walk.step_keys(), walk.tells()))?;
        Some((step.cursor, step.keys))
    }

    /// Another shard has done a step. The part begins anew with the next one, or is answered.
    pub(super) fn walked(
        &mut self,
        conn: &mut Connection,
        kind: &AskKind,
        bytes: AskBytes<'_>,
        (cursor, found): (u64, &[u8]),
    ) {
        let (Some(mut walk), Some(asked)) = (conn.walk.take(), conn.queue.take_back()) else { return };
        let work = Work::Walk { database: kind.database, over: walk.over };
        let part = Part { work, reply: asked.reply, echo: bytes.echo, once: None };
        let came = walk.take(cursor, found, bytes.echo, self.walk_bytes_max());
        conn.asks_alone = false;
        // A script asks for the next step itself.
        if !self.go_on(conn, &part, walk, came, asked.read_ns) && conn.script.is_none() {
            conn.deferred.push_front(OwnedPart::copy(&part, asked.read_ns, &mut self.pool));
        }
    }

    /// Answers what has come to an end. False: another step is due, in the next turn.
    fn go_on(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        mut walk: Box<Walk>,
        came: Came,
        read_ns: u64,
    ) -> bool {
        let answer = match came {
            Came::More if !is_in_vain(conn, walk.over) && self.passes(&mut walk, conn) => {
                self.tell_part(conn, part, &mut walk);
                conn.walk = Some(walk);
                if !conn.dirty {
                    conn.dirty = true;
                    self.dirty.push(conn.id);
                }
                return false;
            }
            Came::More | Came::Done if matches!(walk.over, Over::Dump(_)) => {
                Answer::Walked { count: 1, found: &walk.found }
            }
            Came::More | Came::Done => Answer::Walked { count: walk.count, found: &walk.found },
            Came::Not(why) => Answer::NotWalked(why),
        };
        self.stats.request(CommandClass::Scan, OutcomeClass::Done);
        self.finish(conn, part, &[], read_ns, answer);
        true
    }

    /// What a dump has found is written after each step: who does not take it stops the walk.
    fn tell_part(&mut self, conn: &mut Connection, part: &Part<'_>, walk: &mut Walk) {
        if matches!(walk.over, Over::Dump(_)) {
            conn.output.prepare(|| self.pool.take());
            self.compose(conn, part, &[], &Answer::Walked { count: 0, found: &walk.found });
            walk.found.clear();
            self.budget.charge(conn);
        }
    }

    /// Whether there is somewhere to go on.
    fn passes(&self, walk: &mut Walk, conn: &Connection) -> bool {
        let shard = (walk.cursor >> CURSOR_BITS) as u16;
        match walk.over {
            Over::SlotCount { slot } | Over::SlotKeys { slot, .. } if !conn.is_of_one_shard() => {
                walk.cursor != 0 && shard == self.shared.slots.owner(slot)
            }
            _ if walk.cursor != 0 => true,
            // A walk that began in between goes once more from the start to the end.
            _ => {
                if conn.is_of_one_shard() {
                    walk.cursor = u64::from(self.number) << CURSOR_BITS;
                }
                !std::mem::replace(&mut walk.from_start, true)
            }
        }
    }
}

impl Walk {
    fn step_keys(&self) -> u32 {
        if self.over == Over::AnyKey { ANY_KEY_OF } else { STEP_KEYS }
    }

    fn tells(&self) -> Tells {
        if matches!(self.over, Over::Dump(_)) { Tells::Items } else { Tells::Keys }
    }

    /// Takes what a step has found, unless all is more than `bytes_max` bytes then. `pattern` is for keys.
    fn take(&mut self, cursor: u64, found: &[u8], pattern: &[u8], bytes_max: usize) -> Came {
        self.cursor = cursor;
        let came = match self.over {
            Over::Keys => self.take_matching(found, pattern),
            Over::Count => {
                self.count = found.try_into().map_or(0, u64::from_le_bytes);
                Came::Done
            }
            Over::AnyKey => match words::each(found).count() as u64 {
                0 => Came::More,
                keys => {
                    words::each(found)
                        .nth((self.random % keys) as usize)
                        .iter()
                        .for_each(|key| self.push(key));
                    Came::Done
                }
            },
            Over::SlotCount { slot } => {
                self.count += words::each(found).filter(|key| slot_of(key) == slot).count() as u64;
                Came::More
            }
            Over::SlotKeys { slot, keys_max } => {
                let wanted = u64::from(keys_max).saturating_sub(self.count) as usize;
                words::each(found).filter(|key| slot_of(key) == slot).take(wanted).for_each(|key| {
                    self.count += 1;
                    self.push(key);
                });
                if self.count >= keys_max.into() { Came::Done } else { Came::More }
            }
            Over::Clients(OfClients::Kill | OfClients::KillOne) => {
                self.count += found.len() as u64;
                Came::More
            }
            Over::Dump(dump) => self.take_items(found, dump),
            Over::Clients(OfClients::Own | OfClients::List | OfClients::Stats) => {
                self.found.extend_from_slice(found);
                Came::More
            }
        };
        // What a dump has found goes out after each step.
        let is_gathered = !matches!(self.over, Over::Dump(_));
        if is_gathered && self.found.len() > bytes_max { Came::Not(NotWalked::TooMuch) } else { came }
    }

    /// Keys and facts come in turn.
    fn take_items(&mut self, found: &[u8], dump: Dump) -> Came {
        let Dump::Items { max } = dump else {
            self.found.extend_from_slice(found);
            return Came::More;
        };
        let wanted = u64::from(max).saturating_sub(self.count) as usize;
        let mut words = words::each(found);
        for (key, facts) in std::iter::from_fn(|| words.next().zip(words.next())).take(wanted) {
            self.count += 1;
            self.push(key);
            self.push(facts);
        }
        if self.count >= max.into() { Came::Done } else { Came::More }
    }

    fn take_matching(&mut self, found: &[u8], pattern: &[u8]) -> Came {
        let mut steps = PATTERN_STEPS_MAX;
        for key in words::each(found) {
            match glob::matches(pattern, key, &mut steps) {
                Some(true) => self.push(key),
                Some(false) => {}
                None => return Came::Not(NotWalked::Pattern),
            }
        }
        Came::More
    }

    fn push(&mut self, key: &[u8]) {
        words::begin(key.len() as u32, &mut self.found);
        self.found.extend_from_slice(key);
    }
}

/// Whether it is a dump for a client that is told nothing more. Its steps would be gathered until the connection is closed.
fn is_in_vain(conn: &Connection, over: Over) -> bool {
    matches!(over, Over::Dump(_)) && conn.phase != Phase::Open
}

/// Where [`ANY_KEY_OF`] keys behind are looked for, in a shard that has `keys`. Places before the first one count as the first one,
/// as many as these keys take: so the first keys are taken as often as those that have others before them.
fn place_among(keys: u64, random: u64) -> u64 {
    let width = (u64::from(ANY_KEY_OF) << CURSOR_BITS) / keys;
    (random % ((1 << CURSOR_BITS) + width)).saturating_sub(width)
}

/// A number that looks random (the finalizer of SplitMix64).
fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let seed = (seed ^ seed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    seed ^ seed >> 31
}

#[cfg(test)]
mod tests;
