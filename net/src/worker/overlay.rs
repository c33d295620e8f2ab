//! What a script sees of the shards while it runs: copies of the values of its keys, in a store of its own.

use super::holds::HeldKey;
use super::joint;
use super::view::{View, context};
use crate::session::{Answer, Joint, Jointly, Limits, NotCalled, Output, Part, Piece, Scratch, Work, resp};
use std::collections::HashMap;
use torc_engine::Shard;
use torc_engine::command::{
    Body, Command, Delete, Expire, ExpireCondition, Expiry, Meta, Millis, Op, Outcome, Read, Refusal, Value,
    Write, WriteMode,
};
use torc_lua::{Host, Level, Stop};
use torc_proto::resp::compose;

/// A key with its database.
pub(super) type Key = (u16, Box<[u8]>);

/// What a key has: its value, with flags and expiry.
pub(super) type Item = (Meta, Vec<u8>);

/// What has become of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touched {
    Not,
    /// When it ends is another time.
    Expiry,
    Value,
}

/// Keys that a script may use, in the order in which they were named first.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: Vec<(Key, Touched)>,
    places: HashMap<Key, usize>,
    bytes: usize,
}

impl Known {
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes
    }

    /// Adds a key, unless it is known.
    pub(super) fn add(&mut self, database: u16, key: &[u8]) {
        let entry = (database, Box::from(key));
        if !self.places.contains_key(&entry) {
            self.bytes += 2 * (key.len() + size_of::<(Key, Touched)>());
            self.places.insert(entry.clone(), self.keys.len());
            self.keys.push((entry, Touched::Not));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Key> {
        self.keys.get(place).map(|(key, _)| key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().map(|(key, _)| key)
    }

    pub(super) fn to_hold(&self) -> Vec<HeldKey<'_>> {
        self.keys().map(|(database, key)| HeldKey { database: *database, is_watched: false, key }).collect()
    }

    fn place(&self, database: u16, key: &[u8]) -> Option<usize> {
        // A few are compared faster than hashed.
        if self.keys.len() <= FEW {
            return self.keys.iter().position(|((other, of), _)| *other == database && **of == *key);
        }
        self.places.get(&(database, Box::from(key))).copied()
    }

    fn touch(&mut self, (database, key): (u16, &[u8]), touched: Touched) {
        if let Some(place) = self.place(database, key) {
            let before = &mut self.keys[place].1;
            *before = touched.max(*before);
        }
    }

    fn touched(&self) -> impl Iterator<Item = (&Key, Touched)> {
        self.keys.iter().filter(|(_, touched)| *touched != Touched::Not).map(|(key, touched)| (key, *touched))
    }

    /// Nothing has become of any of them.
    pub(super) fn forget_touched(&mut self) {
        self.keys.iter_mut().for_each(|(_, touched)| *touched = Touched::Not);
    }
}

const FEW: usize = 8;

/// A change that is to be made.
#[derive(Debug)]
pub(super) enum Change {
    Write(Item),
    Expire(Expiry),
    Delete,
}

/// The host of a script that runs.
pub(super) struct Overlay<'o> {
    pub(super) store: &'o mut Shard,
    pub(super) session: &'o mut resp::Session,
    pub(super) output: &'o mut Output,
    pub(super) view: &'o View,
    pub(super) limits: &'o Limits,
    pub(super) now: Millis,
    pub(super) known: &'o mut Known,
    pub(super) may_change: bool,
    /// Keys that it has named and may not use yet: it is to begin again with them.
    pub(super) wanted: Vec<Key>,
}

impl Overlay<'_> {
    /// Puts what a key has into the store. False: there is no room.
    pub(super) fn put(
        store: &mut Shard,
        (database, key): (u16, &[u8]),
        (meta, value): &Item,
        now: Millis,
    ) -> bool {
        let expiry = meta.expiry.map_or(Expiry::Never, Expiry::At);
        let write = Write { flags: meta.flags, expiry, ..Write::set(value) };
        let command = Command { database, key, op: Op::Write(write) };
        let hash = store.key_hash(key);
        matches!(store.execute(&command, hash, now), Outcome::Stored { .. })
    }

    fn execute(&mut self, command: &Command<'_>) -> Outcome<'_> {
        let hash = self.store.key_hash(command.key);
        self.store.execute(command, hash, self.now)
    }

    /// What a key has in the store.
    fn item(&mut self, (database, key): (u16, &[u8])) -> Option<Item> {
        item_in(self.store, (database, key), self.now)
    }

    /// The changes that are to be made, each with its key; the store is empty then.
    pub(super) fn changes(store: &mut Shard, known: &Known, now: Millis) -> Vec<(Key, Change)> {
        let mut changes = Vec::new();
        for ((database, key), touched) in known.touched() {
            let change = match (item_in(store, (*database, key), now), touched) {
                (None, _) => Change::Delete,
                (Some((meta, _)), Touched::Expiry) => {
                    Change::Expire(meta.expiry.map_or(Expiry::Never, Expiry::At))
                }
                (Some(item), _) => Change::Write(item),
            };
            changes.push(((*database, key.clone()), change));
        }
        changes
    }

    /// Takes everything out of the store.
    pub(super) fn clear(store: &mut Shard, known: &Known, now: Millis) {
        for (database, key) in known.keys() {
            let command = Command { database: *database, key, op: Op::Delete(Delete::default()) };
            let hash = store.key_hash(key);
            store.execute(&command, hash, now);
        }
    }

    /// The keys that a part is about. `None`: scripts cannot do that.
    fn check_keys(&mut self, part: &Part<'_>) -> Result<(), NotCalled> {
        let mut want = |database: u16, key: &[u8]| {
            if self.known.place(database, key).is_none() {
                self.wanted.push((database, key.into()));
            }
        };
        match &part.work {
            Work::Keyed(command) => want(command.database, command.key),
            Work::Joint { joint, database, words } => {
                let asked = joint::Asked { joint: *joint, database: *database, words };
                asked.keys().for_each(|(database, key)| want(database, key));
            }
            Work::Local => {}
            _ => return Err(NotCalled::Forbidden),
        }
        Ok(())
    }

    /// Does a part of a command and writes its answer.
    fn do_part(&mut self, part: &Part<'_>) -> Result<(), Stop> {
        let Overlay { store, session, output, view, now, .. } = self;
        let context = context(0, "", "", *now, view);
        let mut answer_with = |key: &[u8], answer: &Answer<'_>| {
            session.compose(resp_reply(part), key, part.echo, answer, &context, output);
        };
        match &part.work {
            Work::Keyed(command) => {
                let hash = store.key_hash(command.key);
                let outcome = store.execute(command, hash, *now);
                if let Outcome::Refused(Refusal::OutOfMemory) = outcome {
                    return Err(Stop::Memory);
                }
                answer_with(command.key, &Answer::Outcome(outcome));
                let touched = match command.op {
                    Op::Expire(_) => Touched::Expiry,
                    op if op.changes() => Touched::Value,
                    _ => Touched::Not,
                };
                self.known.touch((command.database, command.key), touched);
            }
            Work::Joint { joint, database, words } => {
                let asked = joint::Asked { joint: *joint, database: *database, words };
                let done = self.join(asked)?;
                let context = context_of(self.view, self.now);
                self.session.compose(
                    resp_reply(part),
                    &[],
                    part.echo,
                    &Answer::Jointly(done),
                    &context,
                    self.output,
                );
            }
            _ => answer_with(&[], &Answer::Local),
        }
        Ok(())
    }

    /// A command about several keys.
    fn join(&mut self, asked: joint::Asked<'_>) -> Result<Jointly, Stop> {
        match asked.joint {
            Joint::SetIfNone => {
                let keys: Vec<(u16, &[u8])> = asked.keys().collect();
                if keys.iter().any(|key| self.item(*key).is_some()) {
                    return Ok(Jointly::NotDone);
                }
                for (key, value) in keys.into_iter().zip(asked.values()) {
                    self.give(key, &(Meta::default(), value.to_vec()))?;
                }
            }
            Joint::Copy { replaces, removes, .. } => {
                let Some((from, to)) = asked.ends() else { return Ok(Jointly::NotDone) };
                let Some(item) = self.item(from) else { return Ok(Jointly::NoItem) };
                if from == to {
                    return Ok(if replaces { Jointly::Done } else { Jointly::NotDone });
                }
                if !replaces && self.item(to).is_some() {
                    return Ok(Jointly::NotDone);
                }
                self.give(to, &item)?;
                if removes {
                    self.execute(&Command {
                        database: from.0,
                        key: from.1,
                        op: Op::Delete(Delete::default()),
                    });
                    self.known.touch(from, Touched::Value);
                }
            }
        }
        Ok(Jointly::Done)
    }

    fn give(&mut self, key: (u16, &[u8]), item: &Item) -> Result<(), Stop> {
        self.known.touch(key, Touched::Value);
        if Overlay::put(self.store, key, item, self.now) { Ok(()) } else { Err(Stop::Memory) }
    }

    /// Appends what was composed, and gives back what the store has lent for it.
    fn take_output(&mut self, answer: &mut Vec<u8>) {
        let mut lent: Vec<_> = self.output.copied().collect();
        while let Some(piece) = self.output.take(Vec::new) {
            match piece {
                Piece::Bytes(bytes) => answer.extend_from_slice(&bytes),
                Piece::Lent(slice) => {
                    slice.bytes().append_to(answer);
                    lent.push(slice);
                }
            }
        }
        lent.into_iter().for_each(|lent| self.store.release(lent));
    }
}

fn context_of(view: &View, now: Millis) -> crate::session::ComposeContext<'_> {
    context(0, "", "", now, view)
}

fn resp_reply(part: &Part<'_>) -> resp::ReplyKind {
    match part.reply {
        crate::session::ReplyKind::Resp(reply) => reply,
        _ => resp::ReplyKind::SILENT,
    }
}

/// What a key has in a store.
pub(super) fn item_in(store: &mut Shard, (database, key): (u16, &[u8]), now: Millis) -> Option<Item> {
    let read = Read { peek: true, ..Read::default() };
    let hash = store.key_hash(key);
    match store.execute(&Command { database, key, op: Op::Read(read) }, hash, now) {
        Outcome::Item(found) => {
            let mut bytes = Vec::with_capacity(found.value.len() as usize);
            match found.value {
                Value::Inline(value) => value.append_to(&mut bytes),
                Value::Chained(chain) => chain.slices().for_each(|slice| slice.append_to(&mut bytes)),
            }
            Some((found.meta, bytes))
        }
        _ => None,
    }
}

impl Change {
    /// The change as a command; `None`: the value is too long for one.
    pub(super) fn op(&self, value_bytes_inline: usize) -> Option<Op<'_>> {
        Some(match self {
            Change::Write((_, value)) if value.len() > value_bytes_inline => return None,
            Change::Write((_, value)) => Op::Write(self.write()?.with_value(Body::Bytes(value))),
            Change::Expire(expiry) => {
                Op::Expire(Expire { expiry: *expiry, condition: ExpireCondition::Always, leases: false })
            }
            Change::Delete => Op::Delete(Delete::default()),
        })
    }

    /// A write without its value.
    pub(super) fn write(&self) -> Option<Write<'static>> {
        let Change::Write((meta, _)) = self else { return None };
        let expiry = meta.expiry.map_or(Expiry::Never, Expiry::At);
        Some(Write { mode: WriteMode::Set, flags: meta.flags, expiry, ..Write::set(&[]) })
    }

    pub(super) fn value(&self) -> &[u8] {
        match self {
            Change::Write((_, value)) => value,
            Change::Expire(_) | Change::Delete => &[],
        }
    }
}

impl Host for Overlay<'_> {
    fn call(&mut self, request: &[u8], _: usize, resp3: bool, answer: &mut Vec<u8>) -> Result<(), Stop> {
        let (scratch, mut parts) = (Scratch::default(), Vec::new());
        self.session.set_version(resp3);
        let parsed =
            self.session.parse_call(request, &scratch, (self.now, self.limits), &mut parts, self.may_change);
        let checked = parsed.and_then(|()| parts.iter().try_for_each(|part| self.check_keys(part)));
        if let Err(why) = checked {
            compose::error(answer, why.words());
            return Ok(());
        }
        if !self.wanted.is_empty() {
            return Err(Stop::Host);
        }
        parts.iter().try_for_each(|part| self.do_part(part))?;
        self.take_output(answer);
        Ok(())
    }

    fn log(&mut self, level: Level, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        match level {
            Level::Debug | Level::Verbose => tracing::debug!("script: {text}"),
            Level::Notice => tracing::info!("script: {text}"),
            Level::Warning => tracing::warn!("script: {text}"),
        }
    }
}
