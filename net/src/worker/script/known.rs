//! The keys of a script, and what becomes of them.

use std::collections::HashMap;
use torc_engine::command::{Body, Delete, Expire, ExpireCondition, Expiry, Meta, Op, Read, Write, WriteMode};

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

/// A key that a script may use.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) key: Key,
    pub(super) touched: Touched,
    /// The version of its copy when the script began, if it had a value.
    pub(super) before: Option<u64>,
    /// It has had a value since.
    pub(super) has_come: bool,
}

/// Keys that a script may use, in the order in which they were named first.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: Vec<Named>,
    places: HashMap<Key, usize>,
    bytes: usize,
}

impl Known {
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes
    }

    /// Adds a key, unless it is known.
    pub(super) fn add(&mut self, database: u16, key: &[u8]) {
        if self.place(database, key).is_some() {
            return;
        }
        self.bytes += 2 * (key.len() + size_of::<Named>());
        self.keys.push(Named {
            key: (database, Box::from(key)),
            touched: Touched::Not,
            before: None,
            has_come: false,
        });
        if self.keys.len() > FEW {
            let from = self.places.len();
            let more = (from..).zip(&self.keys[from..]).map(|(place, named)| (named.key.clone(), place));
            self.places.extend(more);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Key> {
        self.keys.get(place).map(|named| &named.key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().map(|named| &named.key)
    }

    /// The keys, each with its database.
    pub(super) fn named(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.keys().map(|(database, key)| (*database, &**key))
    }

    pub(super) fn place(&self, database: u16, key: &[u8]) -> Option<usize> {
        // A few are compared faster than hashed.
        if self.keys.len() <= FEW {
            let is_it = |named: &Named| named.key.0 == database && *named.key.1 == *key;
            return self.keys.iter().position(is_it);
        }
        self.places.get(&(database, Box::from(key))).copied()
    }

    pub(super) fn touch(&mut self, (database, key): (u16, &[u8]), touched: Touched) {
        if let Some(place) = self.place(database, key) {
            let before = &mut self.keys[place].touched;
            *before = touched.max(*before);
        }
    }

    /// Keys that something may have become of.
    pub(super) fn touched(&self) -> impl Iterator<Item = &Named> {
        self.keys.iter().filter(|named| named.touched != Touched::Not)
    }

    /// A key has got a value.
    pub(super) fn come(&mut self, (database, key): (u16, &[u8])) {
        if let Some(place) = self.place(database, key) {
            self.keys[place].has_come = true;
        }
    }

    /// Which version the copy of a key has before the script runs.
    pub(super) fn set_before(&mut self, place: usize, version: Option<u64>) {
        if let Some(named) = self.keys.get_mut(place) {
            (named.before, named.has_come) = (version, false);
        }
    }

    /// Whether a key had a value when it was read for the script.
    pub(super) fn had_value(&self, (database, key): &Key) -> bool {
        self.place(*database, key).is_some_and(|place| self.keys[place].before.is_some())
    }

    /// Nothing has become of any of them.
    pub(super) fn forget_touched(&mut self) {
        self.keys.iter_mut().for_each(|named| named.touched = Touched::Not);
    }
}

const FEW: usize = 8;

/// A change that is to be made.
#[derive(Debug)]
pub(super) enum Change {
    Write(Item),
    Expire(Expiry),
    Delete,
    /// None: its shard remembers to tell the client of later ones.
    Look,
    /// Subscribers get a message: the key is the name of their channel.
    Publish {
        sharded: bool,
        message: Vec<u8>,
    },
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
            Change::Look => Op::Read(Read::LOOK),
            Change::Publish { .. } => return None,
        })
    }

    /// Whether it may have to wait for room, so that its key has to be held: a value that is received in slices. So has one that is
    /// looked at, for its answer.
    pub(super) fn may_wait(&self, value_bytes_inline: usize) -> bool {
        match self {
            Change::Write((_, value)) => value.len() > value_bytes_inline,
            change => matches!(change, Change::Look),
        }
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
            Change::Publish { message, .. } => message,
            Change::Expire(_) | Change::Delete | Change::Look => &[],
        }
    }
}
