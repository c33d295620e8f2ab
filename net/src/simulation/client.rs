//! A simulated client: sends commands, several at a time, and checks every answer against the model.

mod draw;

use super::action::{Action, Call, Reply, named};
use super::model::Model;
use super::scripts::Scripts;
use super::speech::Speech;
use super::tier::TierWorld;
use super::world::World;
use crate::transport::sim::{LinkId, Network, Random};
use std::collections::{HashSet, VecDeque};
use torc_engine::command::Millis;
use torc_proto::slot::slot_of;

#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    speech: Speech,
    /// Of all its keys.
    database: u16,
    /// Its connection has given no password yet, where one is asked for.
    is_outside: bool,
    /// Its connection has not chosen that yet.
    chooses: bool,
    link: Option<Connected>,
    calls: VecDeque<(u32, Call)>,
    ids: u32,
    input: Vec<u8>,
    /// Commands still to be sent.
    pub(super) left: usize,
    /// Most commands under way, and most that are sent together.
    depth: usize,
    burst: usize,
    /// It reads at most so many bytes a step; 0 in some steps makes it slow.
    read_max: usize,
    habits: Habits,
    scripts: Scripts,
    values: u64,
    /// Bytes of values that it may still write.
    budget: usize,
    scan: Option<Scan>,
    /// It watches a counter, or is about to, so it runs no other transaction; and what it has read.
    watches: bool,
    read_count: Option<i64>,
    /// The end of what it has to send, and when it sends that: until then it stands still.
    held: Vec<u8>,
    held_until: Millis,
    /// It asks nothing more, as the server ends.
    stands_still: bool,
    /// It only reads its keys, one after the other.
    looks_last: bool,
    /// Steps since anything of its own moved, while it waited for an answer and read.
    silent_steps: u32,
    moved: u64,
}

/// What a client does besides asking.
#[derive(Debug, Clone, Copy)]
struct Habits {
    /// It asks without end, and is not waited for.
    floods: bool,
    /// It closes its sending side behind its last command.
    half_closes: bool,
    /// It comes to a shard's own port.
    shard_port: bool,
    /// All its keys are in one slot.
    tagged: bool,
    /// It stands still within a long value now and then.
    stalls: bool,
}

#[derive(Debug, Clone, Copy)]
struct Connected {
    link: LinkId,
    shard: u16,
    ended: bool,
}

/// A walk over all keys.
#[derive(Debug)]
struct Scan {
    cursor: String,
    begun: u64,
    seen: HashSet<String>,
}
/// Of a flood, so much is under way, and so much is sent together: more than a turn takes.
const FLOOD_DEPTH: usize = 40_000;
const FLOOD_BURST: usize = 10_000;
/// Answers that a client waits for come within so many steps, or something of it moves: with faults and without.
const SILENT_STEPS_MAX: [u32; 2] = [2_000, 300];
/// A client that stalls does so in this percent of what it sends at once, if that is so many bytes, for one to two times so
/// many milliseconds: long enough that its value may be given up for another one.
const STALL_PERCENT: u32 = 50;
const STALL_BYTES_MIN: usize = 10_000;
const STALL_MS: Millis = 2000;
/// Connections on which a wrong password comes before the right one, percent.
const WRONG_FIRST_PERCENT: u32 = 30;
/// Times more steps where a tier may be slow, and where memory for clients is short: the client that holds most is looked for only once a second of the
/// simulated clock.
const SHORT_PATIENCE: u32 = 10;

impl Client {
    pub(super) fn new(number: usize, world: &World, random: &mut Random) -> Client {
        let floods = number == 0 && world.flood;
        let speech = match random.below(5) {
            // The shortest requests are the worst flood.
            _ if floods => Speech::Memcache,
            0 | 1 => Speech::Resp,
            2 | 3 => Speech::Memcache,
            _ => Speech::Native,
        };
        // Where transactions are drawn, most clients have the same keys to run them on.
        let joins = world.together_percent > 50 && !world.flushes && number % 4 != 3 && !floods;
        let speech = if joins { Speech::Resp } else { speech };
        let deep = random.chance(if world.tight { 50 } else { 15 });
        let shard_port = speech == Speech::Resp && !joins && random.chance(20);
        let chooses = speech == Speech::Resp && !joins && !shard_port && random.chance(60);
        Client {
            number,
            speech,
            database: if chooses { 1 + random.below(2) as u16 * 6 } else { 0 },
            is_outside: false,
            chooses: false,
            link: None,
            calls: VecDeque::new(),
            ids: 0,
            input: Vec::new(),
            left: if deep { 4 * world.commands } else { world.commands },
            depth: match (floods, deep) {
                (true, _) => FLOOD_DEPTH,
                (_, true) => 500 + random.below(3000),
                _ => 1 + random.below(40),
            },
            burst: match (floods, deep) {
                (true, _) => FLOOD_BURST,
                (_, true) => 200 + random.below(1500),
                _ => 1 + random.below(3),
            },
            read_max: if floods { usize::MAX } else { 1 + random.below(5000) },
            habits: Habits {
                floods,
                half_closes: random.chance(20) && !floods,
                shard_port,
                tagged: random.chance(20),
                stalls: world.stalls && random.chance(60),
            },
            scripts: Scripts::new(world, number, shard_port),
            values: 0,
            budget: world.write_bytes / world.clients,
            scan: None,
            watches: false,
            read_count: None,
            held: Vec::new(),
            held_until: 0,
            stands_still: false,
            looks_last: false,
            silent_steps: 0,
            moved: 0,
        }
    }

    /// From now on it reads all that has come.
    pub(super) fn read_fast(&mut self) {
        self.read_max = usize::MAX;
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.left == 0 || self.habits.floods
    }

    pub(super) fn is_done(&self) -> bool {
        self.habits.floods || (self.left == 0 && self.calls.is_empty())
    }

    /// It reads each of its keys once, wherever they are.
    pub(super) fn begin_last_look(&mut self, network: &mut Network, world: &World) {
        self.looks_last = true;
        if std::mem::take(&mut self.habits.shard_port) {
            self.link.take().into_iter().for_each(|connected| network.end(connected.link));
        }
        self.left = world.keys;
    }

    /// It asks nothing until it has lost its server.
    pub(super) fn stand_still(&mut self) {
        self.stands_still = true;
    }

    /// The server is gone.
    pub(super) fn lose(&mut self, model: &mut Model, now: Millis) {
        self.calls.drain(..).for_each(|(_, call)| model.broken(&call, now));
        self.input.clear();
        self.held.clear();
        self.scan = None;
        self.scripts.forget();
        (self.watches, self.read_count) = (false, None);
        self.link = None;
        self.stands_still = false;
        (self.silent_steps, self.moved) = (0, 0);
    }

    /// A flood ends when nobody else has anything to do.
    pub(super) fn stop_flooding(&mut self) {
        self.habits.floods = false;
        self.left = 0;
    }

    /// Connects, sends, reads: whatever is to be done.
    ///
    /// # Errors
    /// A wrong answer, or none for too long.
    pub(super) fn step(
        &mut self,
        network: &mut Network,
        model: &mut Model,
        random: &mut Random,
        world: &World,
        now: Millis,
    ) -> Result<(), String> {
        if (self.left == 0 || self.stands_still) && self.calls.is_empty() {
            return Ok(());
        }
        if self.link.is_none() {
            (self.is_outside, self.chooses) = (world.password, self.database != 0);
        }
        let connected = *self.link.get_or_insert_with(|| {
            let shard = random.below(world.shards as usize) as u16;
            let link = network.connect(shard, u16::from(self.habits.shard_port));
            Connected { link, shard, ended: false }
        });
        self.send(connected, network, model, random, world, now);
        let reads = random.chance(60);
        if reads {
            self.input.extend(network.read(connected.link, self.read_max));
        }
        self.take_answers(connected.shard, model, world, now).map_err(|wrong| self.tell(&wrong))?;
        if network.is_dead(connected.link) {
            // Where memory for clients is short, those who hold much are closed.
            let may_close = world.closes() || self.stands_still;
            if !network.was_reset(connected.link) && !self.calls.is_empty() && !may_close {
                return Err(self.tell(&format!("was closed while {} answers were due", self.calls.len())));
            }
            if self.looks_last {
                // It looks for those keys again.
                self.left += self.calls.len();
            }
            let stands_still = self.stands_still;
            self.lose(model, now);
            self.stands_still = stands_still;
            return Ok(());
        }
        let moved = network.moved(connected.link);
        if self.calls.is_empty() || self.moved != moved || !self.held.is_empty() {
            self.silent_steps = 0;
        } else {
            self.silent_steps += u32::from(reads);
        }
        self.moved = moved;
        let patience = if world.closes() || world.tier.is_some() { SHORT_PATIENCE } else { 1 };
        match self.silent_steps > SILENT_STEPS_MAX[usize::from(network.is_healed())] * patience {
            true => {
                let (waiting, link) = (self.calls.len(), network.describe(connected.link));
                Err(self.tell(&format!(
                    "starves: {waiting} answers are not there; its link is {link}; first {:?}",
                    self.calls.front()
                )))
            }
            false => Ok(()),
        }
    }

    fn tell(&self, wrong: &str) -> String {
        format!("client {} ({:?}, {:?}): {wrong}", self.number, self.speech, self.habits)
    }

    fn send(
        &mut self,
        connected: Connected,
        network: &mut Network,
        model: &mut Model,
        random: &mut Random,
        world: &World,
        now: Millis,
    ) {
        let stands_still = !self.held.is_empty() && now < self.held_until && !network.is_healed();
        // Of who is not let in little is kept.
        let is_at_gate =
            matches!(self.calls.back(), Some((_, Call { action: Action::Enter { is_right: true }, .. })));
        if !random.chance(70) || connected.ended || stands_still || self.stands_still {
            return;
        }
        // Of a request that it has begun, whatever is behind it: nobody is let in, or answered, for the half of one.
        network.write(connected.link, &std::mem::take(&mut self.held));
        if is_at_gate {
            return;
        }
        if std::mem::take(&mut self.is_outside) {
            return network
                .write(connected.link, &self.enter(model, random.chance(WRONG_FIRST_PERCENT), now));
        }
        let mut bytes = Vec::new();
        if std::mem::take(&mut self.chooses) {
            let action = Action::Select { database: self.database };
            bytes.extend(self.speech.request(&action, 0, false));
            self.calls.push_back((0, model.begin(action, now)));
        }
        for _ in 0..self.burst {
            if self.left == 0 || self.calls.len() >= self.depth {
                break;
            }
            self.left -= usize::from(!self.habits.floods);
            let action = self.draw(model, random, world);
            self.ids = self.ids.wrapping_add(1);
            let tier = world.tier.as_ref();
            let asks_durable = tier.is_some_and(TierWorld::makes_durable)
                && self.speech == Speech::Native
                && action.changes()
                && random.chance(20);
            let by_script = (self.speech == Speech::Resp).then(|| self.scripts.instead(&action)).flatten();
            let (script, request) = match by_script {
                Some((script, request)) => (Some(script), request),
                None => (None, self.speech.request(&action, self.ids, asks_durable)),
            };
            bytes.extend(request);
            let mut call = model.begin(action, now);
            call.script = script;
            call.is_durable = asks_durable || tier.is_some_and(TierWorld::is_always);
            self.calls.push_back((self.ids, call));
        }
        if self.habits.stalls && bytes.len() >= STALL_BYTES_MIN && random.chance(STALL_PERCENT) {
            self.held = bytes.split_off(random.below(bytes.len()));
            self.held_until = now + STALL_MS + random.number() % STALL_MS;
        }
        network.write(connected.link, &bytes);
        if self.left == 0 && self.habits.half_closes && self.held.is_empty() {
            network.end(connected.link);
            self.link = Some(Connected { ended: true, ..connected });
        }
    }

    /// Gives the right password, perhaps behind a wrong one.
    fn enter(&mut self, model: &mut Model, errs: bool, now: Millis) -> Vec<u8> {
        let mut bytes = Vec::new();
        for is_right in [false, true].into_iter().skip(usize::from(!errs)) {
            let action = Action::Enter { is_right };
            self.ids = self.ids.wrapping_add(1);
            bytes.extend(self.speech.request(&action, self.ids, false));
            self.calls.push_back((self.ids, model.begin(action, now)));
        }
        bytes
    }

    fn take_answers(
        &mut self,
        shard: u16,
        model: &mut Model,
        world: &World,
        now: Millis,
    ) -> Result<(), String> {
        let mut start = 0;
        while start < self.input.len() {
            let Some((_, first)) = self.calls.front() else {
                return Err(format!("nobody asked for {:?}", String::from_utf8_lossy(&self.input[start..])));
            };
            let Some((id, reply, bytes)) = self.speech.reply(&self.input[start..], first) else {
                break;
            };
            start += bytes;
            let place = id.map_or(Some(0), |id| self.calls.iter().position(|(other, _)| *other == id));
            let call = place.and_then(|place| self.calls.remove(place));
            let (_, call) = call.ok_or_else(|| format!("nobody asked for {id:?}: {reply:?}"))?;
            if self.habits.shard_port && refused_rightly(&call, &reply, shard, world)? {
                continue;
            }
            model.end(&call, &reply, now)?;
            match call.action {
                Action::Scan { .. } => self.take_page(reply, model)?,
                Action::WatchCount { .. } => {
                    let digits = if let Reply::Value(digits) = reply { digits } else { b"0".to_vec() };
                    self.read_count = String::from_utf8_lossy(&digits).parse().ok();
                }
                _ => {}
            }
        }
        self.input.drain(..start);
        Ok(())
    }

    /// Puts a page to those before it; at the end every steady key must have been seen.
    fn take_page(&mut self, reply: Reply, model: &Model) -> Result<(), String> {
        let Some(scan) = &mut self.scan else { return Ok(()) };
        let Reply::Array(mut entries) = reply else { return Err("a page is an array".into()) };
        let (Some(Reply::Array(keys)), Some(Reply::Value(cursor))) = (entries.pop(), entries.pop()) else {
            return Err(format!("a page is a cursor and keys: {entries:?}"));
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for key in keys {
            let Reply::Value(key) = key else { return Err(format!("{key:?} is no key")) };
            scan.seen.insert(named(self.database, &text(&key)));
        }
        scan.cursor = text(&cursor);
        if scan.cursor == "0" {
            let prefix = named(self.database, "steady:");
            if let Some(missed) = model.steady(&prefix, scan.begun).find(|key| !scan.seen.contains(*key)) {
                return Err(format!("a scan missed {missed}"));
            }
            if let Some(key) = model.unheard_of(&scan.seen) {
                return Err(format!("a scan found {key:?}"));
            }
            self.scan = None;
        }
        Ok(())
    }
}

/// What a script is refused for.
const NOT_LOCAL: &str = "Script attempted to access a non local key";

/// On a shard's own port: whether the command was refused, as keys of another shard and keys of several slots must be.
///
/// # Errors
/// It was refused, or served, wrongly.
fn refused_rightly(call: &Call, reply: &Reply, shard: u16, world: &World) -> Result<bool, String> {
    let action = &call.action;
    let slots: HashSet<u16> = action.keys().iter().map(|key| slot_of(key.as_bytes())).collect();
    let Some(&slot) = slots.iter().next() else { return Ok(false) };
    let expected = match (slots.len(), world.slots.owner(slot) == shard) {
        (1, true) => None,
        // It has named the key while it ran.
        (1, false) if call.script.is_some_and(|script| !script.is_told_all) => {
            Some(format!("ERR {NOT_LOCAL}"))
        }
        (1, false) => Some(format!("MOVED {slot} ")),
        _ => Some("CROSSSLOT".into()),
    };
    let refusal = match reply {
        Reply::Error(text) if ["MOVED", "CROSSSLOT"].iter().any(|word| text.starts_with(word)) => Some(text),
        Reply::Error(text) if text.contains(NOT_LOCAL) => Some(text),
        _ => None,
    };
    match (&expected, refusal) {
        (None, None) => Ok(false),
        (Some(expected), Some(text)) if text.starts_with(expected.as_str()) => Ok(true),
        _ => Err(format!("on the port of shard {shard}, {action:?} was answered {reply:?}")),
    }
}
