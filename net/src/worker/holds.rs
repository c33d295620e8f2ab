//! Keys that are held for transactions, at the shard that owns them: see `transaction.rs`.
//!
//! ```text
//!   Hold --> waiting, in order --nobody holds, or waits before for, one of its keys; all were fetched--> held --> Release
//! ```
//!
//! Who asks for a held key waits until it is released, be it a client of this shard, a batch of another one, or another
//! transaction. Those who have waited for a key and hold none have a go before it is held anew: a row of transactions keeps nobody out. A reader that asks nobody is in doubt about all keys of the shard as long as one is held, and so asks.
//!
//! Locks on keys are all taken before the first is given back (two-phase locking; Eswaran, Gray, Lorie and Traiger, 1976), and in ascending
//! order of shards. So whoever waits at the highest shard waits for somebody who waits for nobody: there is no deadlock. Who asks several shards
//! at once does not wait, and gives back what it was given.
//!
//! A key is held by its hash, in its database: two keys that share one wait for each other without need.

mod chances;
mod owner;

use crate::transport::ConnId;
use chances::Chances;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use torc_engine::by_hash::Same;
use torc_engine::words;

/// Keys of one transaction, at most.
pub(super) const KEYS_MAX: usize = 1 << 16;
/// Those who wait that are looked at when something has changed.
const LOOKED_AT_MAX: usize = 64;
/// Keys of one of them that are fetched from the tier at a time.
const FETCHED_AT_ONCE: usize = 64;

/// Some [hashes](held_hash).
type ByHash = HashSet<u64, BuildHasherDefault<Same>>;

/// Who holds keys, or watches some: a connection, and the shard that it is a client of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    pub(super) shard: u16,
    pub(super) conn: ConnId,
}

/// Keys that are held, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// By [hash](held_hash).
    keys: HashMap<u64, Holder, BuildHasherDefault<Same>>,
    held: HashMap<Holder, Vec<u64>>,
    waiting: VecDeque<Request>,
    /// Connections of this shard whose next command is about a held key.
    conns: Vec<ConnId>,
    /// What transactions of this shard are answered, with their attempts.
    granted: Vec<(ConnId, u32, Grant)>,
    /// Of the transactions of this shard.
    pub(super) chances: Chances,
    /// Keys were released: somebody may go on.
    has_released: bool,
    /// Keys are given in the next turn: those who have waited for one and hold nothing go first.
    gives_next_turn: bool,
}

/// What a transaction is answered that wants keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// They are held.
    Keys,
    /// They are, but one that it watched has changed.
    Changed,
    /// One of them is held or waited for, and it does not wait: nothing is held.
    NotNow,
}

/// A transaction that waits for keys of this shard.
#[derive(Debug)]
struct Request {
    holder: Holder,
    attempt: u32,
    /// As [`HeldKey`]s.
    keys: Vec<u8>,
    hashes: Vec<u64>,
    /// Keys that were fetched, if they had to be.
    fetched: usize,
}

/// A key that a transaction is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldKey<'k> {
    pub(super) database: u16,
    pub(super) is_watched: bool,
    pub(super) key: &'k [u8],
}

impl<'k> HeldKey<'k> {
    /// Appends it as a [word](words): whether it is watched, database, key.
    pub(super) fn append(self, keys: &mut Vec<u8>) {
        words::begin(self.key.len() as u32 + 3, keys);
        keys.push(self.is_watched.into());
        keys.extend_from_slice(&self.database.to_le_bytes());
        keys.extend_from_slice(self.key);
    }

    pub(super) fn each(keys: &'k [u8]) -> impl Iterator<Item = HeldKey<'k>> {
        words::each(keys).filter_map(|word| {
            let (&[watched, low, high], key) = word.split_first_chunk()?;
            Some(HeldKey { database: u16::from_le_bytes([low, high]), is_watched: watched != 0, key })
        })
    }
}

/// By what a key is held: its hash in its database, whatever space that has.
fn held_hash(database: u16, key_hash: u64) -> u64 {
    key_hash ^ u64::from(database).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Holds {
    /// Whether any key is held.
    #[inline]
    pub(super) fn is_any(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether a transaction waits for keys.
    pub(super) fn is_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether somebody may go on.
    pub(super) fn has_news(&self) -> bool {
        self.has_released || self.gives_next_turn || !self.granted.is_empty()
    }

    /// What a transaction of this shard is answered that has asked just now; `None`: it waits.
    pub(super) fn take_granted(&mut self, conn: ConnId, attempt: u32) -> Option<Grant> {
        let place = self.granted.iter().position(|granted| (granted.0, granted.1) == (conn, attempt))?;
        Some(self.granted.swap_remove(place).2)
    }

    /// Whether a key is held.
    #[inline]
    pub(super) fn blocks(&self, database: u16, key_hash: u64) -> bool {
        self.is_any() && self.keys.contains_key(&held_hash(database, key_hash))
    }

    /// Whether the request at a place has to wait for keys of others.
    fn is_blocked(&self, request: &Request, before: &ByHash) -> bool {
        request.hashes.iter().any(|hash| self.keys.contains_key(hash) || before.contains(hash))
    }

    /// How many keys are held, and how many transactions wait.
    pub(super) fn figures(&self) -> (usize, usize) {
        (self.keys.len(), self.waiting.len())
    }

    #[cfg(test)]
    pub(super) fn conns_waiting(&self) -> usize {
        self.conns.len()
    }
}

#[cfg(test)]
mod tests;
