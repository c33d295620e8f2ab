//! Keys that are held for transactions, at the shard that owns them: see `transaction.rs`.
//!
//! ```text
//!   Hold --> waiting, in order --nobody holds, or waits before for, one of its keys; all were fetched--> held --> Release
//! ```
//!
//! Who asks for a held key waits until it is released, be it a client of this shard, a batch of another one, or another
//! transaction. A reader that asks nobody is in doubt about all keys of the shard as long as one is held, and so asks.
//!
//! Locks on keys are all taken before the first is given back (two-phase locking; Eswaran, Gray, Lorie and Traiger, 1976), and in ascending
//! order of shards. So whoever waits at the highest shard waits for somebody who waits for nobody: there is no deadlock.
//!
//! A key is held by its hash, in its database: two keys that share one wait for each other without need.

#[cfg(test)]
use super::bug::Bug;
use super::connection::Connection;
use super::mail::{Address, Ask, What};
use super::state::WorkerState;
use crate::session::Wish;
use crate::transport::ConnId;
use std::collections::{HashMap, HashSet, VecDeque};
use torc_engine::command::{Command, Op, Read};
use torc_engine::words;

/// Keys of one transaction, at most.
pub(super) const KEYS_MAX: usize = 1 << 16;
/// Those who wait that are looked at when something has changed.
const LOOKED_AT_MAX: usize = 64;
/// Keys of one of them that are fetched from the tier at a time.
const FETCHED_AT_ONCE: usize = 64;

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
    keys: HashMap<u64, Holder>,
    held: HashMap<Holder, Vec<u64>>,
    waiting: VecDeque<Request>,
    /// Connections of this shard whose next command is about a held key.
    conns: Vec<ConnId>,
    /// Transactions of this shard that were given keys, with their attempts, and whether a watched key has changed.
    granted: Vec<(ConnId, u32, bool)>,
    /// Keys were released: somebody may go on.
    has_released: bool,
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

    /// Whether somebody waits for keys.
    pub(super) fn is_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether somebody may go on.
    pub(super) fn has_news(&self) -> bool {
        self.has_released || !self.granted.is_empty()
    }

    /// Whether a transaction of this shard was given its keys just now, and whether a watched one has changed.
    pub(super) fn take_granted(&mut self, conn: ConnId, attempt: u32) -> Option<bool> {
        let place = self.granted.iter().position(|granted| (granted.0, granted.1) == (conn, attempt))?;
        Some(self.granted.swap_remove(place).2)
    }

    /// Whether a key is held.
    #[inline]
    pub(super) fn blocks(&self, database: u16, key_hash: u64) -> bool {
        self.is_any() && self.keys.contains_key(&held_hash(database, key_hash))
    }

    /// Whether the request at a place has to wait for keys of others.
    fn is_blocked(&self, request: &Request, before: &HashSet<u64>) -> bool {
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

impl WorkerState {
    /// A transaction wants these keys of this shard, all together. It is told when it has them.
    pub(super) fn request_hold(&mut self, holder: Holder, attempt: u32, keys: &[u8]) {
        let hash = |key: HeldKey<'_>| held_hash(key.database, self.shard.key_hash(key.key));
        let mut hashes: Vec<u64> = HeldKey::each(keys).map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let keys = keys.to_vec();
        self.holds.waiting.push_back(Request { holder, attempt, keys, hashes, fetched: 0 });
        self.grant_holds();
    }

    /// Gives keys to those who may have theirs now.
    pub(super) fn grant_holds(&mut self) {
        let mut before = HashSet::new();
        let mut place = 0;
        while place < self.holds.waiting.len().min(LOOKED_AT_MAX)
            && let Some(request) = self.holds.waiting.get(place)
        {
            if !self.holds.is_blocked(request, &before)
                && self.fetch_wanted(place)
                && let Some(request) = self.holds.waiting.remove(place)
            {
                self.grant(request);
                continue;
            }
            before.extend(self.holds.waiting[place].hashes.iter());
            place += 1;
        }
    }

    /// Has the keys of a request fetched from the tier. False: some are not there yet.
    fn fetch_wanted(&mut self, place: usize) -> bool {
        if self.tier.is_none() {
            return true;
        }
        let Some(request) = self.holds.waiting.get_mut(place) else { return false };
        let keys = std::mem::take(&mut request.keys);
        let mut fetched = request.fetched;
        let mut is_there = true;
        for key in HeldKey::each(&keys).skip(fetched).take(FETCHED_AT_ONCE) {
            let command = Command { database: key.database, key: key.key, op: Op::Read(Read::default()) };
            let hash = self.shard.key_hash(key.key);
            if let Some(ticket) = self.shard.ticket_for(&command, hash, self.now) {
                let item_hash = self.shard.item_hash(key.database, hash);
                is_there &= self.fetch(item_hash, ticket, None);
            }
            fetched += usize::from(is_there);
        }
        let is_all = is_there && HeldKey::each(&keys).nth(fetched).is_none();
        if let Some(request) = self.holds.waiting.get_mut(place) {
            (request.keys, request.fetched) = (keys, fetched);
        }
        is_all || is_there && self.fetch_wanted(place)
    }

    fn grant(&mut self, request: Request) {
        let Request { holder, attempt, keys, hashes, .. } = request;
        if !self.holds.is_any() {
            self.shard.hold_readers(true);
        }
        #[cfg(test)]
        let hashes = if self.has(Bug::OpenHolds) { Vec::new() } else { hashes };
        self.holds.keys.extend(hashes.iter().map(|hash| (*hash, holder)));
        self.holds.held.insert(holder, hashes);
        self.count_holds();
        let changed = self.take_watches(holder, &keys);
        if holder.shard == self.number {
            return self.holds.granted.push((holder.conn, attempt, changed));
        }
        let lane = self.mail.express(holder.shard);
        let from = Address { conn: holder.conn, sequence: attempt };
        let ask = Ask { wish: Wish::AtOnce, ..Ask::plain(from, What::Granted { changed }) };
        self.mail.lane(lane).into_iter().for_each(|lane| lane.ask_anyway(&ask));
    }

    fn count_holds(&self) {
        let (keys, waiting) = self.holds.figures();
        self.stats.held_keys.set(keys as u64);
        self.stats.holds_waiting.set(waiting as u64);
    }

    /// A transaction has ended, or wants its keys no more.
    pub(super) fn release_hold(&mut self, holder: Holder) {
        self.holds.waiting.retain(|request| request.holder != holder);
        // Those who have waited behind it may have theirs, too.
        self.holds.has_released = true;
        let Some(hashes) = self.holds.held.remove(&holder) else { return };
        for hash in hashes {
            self.holds.keys.remove(&hash);
        }
        if !self.holds.is_any() {
            self.shard.hold_readers(false);
        }
    }

    /// Whether a request of another shard has to wait for a held key: not in an express lane, where who holds it asks.
    #[inline]
    pub(super) fn is_stopped_by_hold(&self, lane: u16, database: u16, key_hash: u64) -> bool {
        self.holds.blocks(database, key_hash) && !self.mail.is_express(lane)
    }

    /// Lets a connection of this shard wait until keys are released.
    pub(super) fn wait_for_key(&mut self, conn: &mut Connection) {
        if !conn.waits_for_tier {
            conn.waits_for_tier = true;
            self.holds.conns.push(conn.id);
        }
    }

    /// What is to be done for transactions, once a turn.
    pub(super) fn go_on_with_transactions(&mut self) {
        if self.holds.has_news() || self.holds.is_wanted() {
            self.go_on_behind_holds();
        }
        if !self.acquiring.is_empty() {
            self.give_up_transactions();
        }
    }

    /// Whether somebody waits for keys who does not wait for ever, or for what tells nobody that it is there.
    pub(super) fn waits_for_keys(&self) -> bool {
        self.holds.is_wanted() || !self.acquiring.is_empty()
    }

    /// Lets those go on who have waited for keys.
    fn go_on_behind_holds(&mut self) {
        for (id, attempt, changed) in std::mem::take(&mut self.holds.granted) {
            self.take_grant(id, attempt, self.number, changed);
        }
        if self.holds.has_released {
            self.holds.has_released = false;
            for id in std::mem::take(&mut self.holds.conns) {
                self.let_go_on(id);
            }
            self.grant_holds();
            self.resume_batches();
            self.count_holds();
        } else if self.holds.is_wanted() && self.tier.is_some() {
            self.grant_holds();
        }
    }
}
