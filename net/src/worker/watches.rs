//! Keys that connections watch: EXEC runs nothing if one has changed since.
//!
//! A table at the shard that owns the key, fed by what the shard tells of every change. What is not told is found out when the
//! transaction has its keys: an item whose time is over since counts, though nobody has met it. That an item moves, in DRAM or to the
//! tier, changes nothing. The first watcher makes the table listen, and the last one takes it away again.

use super::connection::Connection;
use super::execute::Destination;
use super::holds::{HeldKey, Holder};
use super::mail::{Ask, AskBytes, What};
use super::state::WorkerState;
use crate::session::{Answer, Exec, Part};
use std::collections::{HashMap, HashSet};
use torc_engine::changes::{Cause, Change, Listener};

/// Keys that one connection watches, at most.
const WATCHED_MAX: usize = 1 << 14;
/// A shard's memory is so many times as much as what those who watch its keys may take, bytes; and one takes so many, beside its key.
const WATCHES_SHARE: u64 = 64;
const WATCH_BYTES: usize = 256;
const WATCHES_MIN: u64 = 1 << 14;

/// What a connection watches.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Shard, database and key.
    keys: HashSet<(u16, u16, Box<[u8]>)>,
    bytes: usize,
}

impl Watched {
    /// Memory that it takes, here and at the keys' shards.
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = HeldKey<'_>> {
        self.keys.iter().map(|(_, database, key)| HeldKey { database: *database, is_watched: true, key })
    }
}

/// Who watches keys of this shard.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// By the hash of the item.
    items: HashMap<u64, Vec<Holder>>,
    watchers: HashMap<Holder, Watcher>,
    keys: usize,
}

#[derive(Debug, Default)]
struct Watcher {
    has_changed: bool,
    keys: Vec<WatchedKey>,
}

#[derive(Debug)]
struct WatchedKey {
    database: u16,
    /// Of the key, and of its item.
    hash: u64,
    item_hash: u64,
    key: Box<[u8]>,
    /// Whether it had a value when it was watched, if that was known.
    was_there: Option<bool>,
}

impl Watches {
    fn add(&mut self, holder: Holder, key: WatchedKey) {
        self.keys += 1;
        self.items.entry(key.item_hash).or_default().push(holder);
        self.watchers.entry(holder).or_default().keys.push(key);
    }

    fn remove(&mut self, holder: Holder) -> Option<Watcher> {
        let watcher = self.watchers.remove(&holder)?;
        self.keys -= watcher.keys.len();
        for key in &watcher.keys {
            if let Some(holders) = self.items.get_mut(&key.item_hash) {
                holders.retain(|other| *other != holder);
                if holders.is_empty() {
                    self.items.remove(&key.item_hash);
                }
            }
        }
        Some(watcher)
    }

    /// Every item was flushed: keys that had a value have changed.
    fn flush(&mut self) {
        for watcher in self.watchers.values_mut() {
            watcher.has_changed |= watcher.keys.iter().any(|key| key.was_there != Some(false));
        }
    }

    /// What is known of each key is looked at anew, as databases have other spaces: the hash of its item, and whether it has a value.
    fn look_anew(&mut self, mut look: impl FnMut(&WatchedKey) -> (u64, Option<bool>)) {
        self.items.clear();
        for (holder, watcher) in &mut self.watchers {
            for key in &mut watcher.keys {
                let (item_hash, is_there) = look(key);
                let is_other = item_hash != key.item_hash;
                watcher.has_changed |= is_other && (key.was_there, is_there) != (Some(false), Some(false));
                key.item_hash = item_hash;
                self.items.entry(item_hash).or_default().push(*holder);
            }
        }
    }
}

impl Listener for Watches {
    fn changed(&mut self, change: &Change<'_>) {
        match change.cause {
            Cause::Moved | Cause::Spaces => {}
            Cause::Flushed => self.flush(),
            Cause::Written | Cause::Deleted | Cause::Expired | Cause::Evicted => {
                // What was over when it was watched has gone then already.
                let goes = matches!(change.cause, Cause::Expired | Cause::Evicted);
                let is_news = |key: &WatchedKey| {
                    key.item_hash == change.hash && !(goes && key.was_there == Some(false))
                };
                for holder in self.items.get(&change.hash).into_iter().flatten() {
                    if let Some(watcher) = self.watchers.get_mut(holder) {
                        watcher.has_changed |= watcher.keys.iter().any(is_news);
                    }
                }
            }
        }
    }
}

impl WorkerState {
    fn holder(&self, conn: &Connection) -> Holder {
        Holder { shard: self.number, conn: conn.id }
    }

    /// Watches a key for a connection. False: its shard has no place for the question yet.
    pub(super) fn begin_watch(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (database, key): (u16, &[u8]),
        read_ns: u64,
    ) -> bool {
        let shard = self.owner(key);
        let place = match self.destination(conn, key, shard) {
            Destination::Moved(answer) => {
                self.finish(conn, part, &[], read_ns, answer);
                return true;
            }
            Destination::Here => self.number,
            Destination::There(shard) => shard,
        };
        let entry = (place, database, Box::from(key));
        let watched = conn.watched.get_or_insert_default();
        if watched.keys.contains(&entry) {
            self.finish(conn, part, &[], read_ns, Answer::Local);
            return true;
        }
        if watched.keys.len() >= WATCHED_MAX {
            self.finish(conn, part, &[], read_ns, Answer::Exec(Exec::TooManyWatched));
            return true;
        }
        if place == self.number {
            let answer = self.watch(self.holder(conn), database, key);
            self.finish(conn, part, &[], read_ns, answer);
        } else {
            let hash = self.shard.key_hash(key);
            let ask = Ask { database, hash, ..Ask::plain(conn.next_address(), What::Watch) };
            if !self.ask(conn, place, &ask, AskBytes { key, ..AskBytes::default() }) {
                return false;
            }
            self.wait_for(conn, part, read_ns, (1, 0), None);
        }
        let watched = conn.watched.get_or_insert_default();
        watched.bytes += WATCH_BYTES + 2 * key.len();
        watched.keys.insert(entry);
        true
    }

    /// Watches a key of this shard.
    pub(super) fn watch(&mut self, holder: Holder, database: u16, key: &[u8]) -> Answer<'static> {
        let most = (self.shard.memory_bytes() / WATCHES_SHARE / WATCH_BYTES as u64).max(WATCHES_MIN) as usize;
        let hash = self.shard.key_hash(key);
        let item_hash = self.shard.item_hash(database, hash);
        let was_there = self.shard.is_there(database, key, hash, self.now);
        if self.shard.listener_mut::<Watches>().is_none() {
            self.shard.listen(Box::<Watches>::default());
        }
        let Some(watches) = self.shard.listener_mut::<Watches>() else { return Answer::OutcomeUnknown };
        if watches.keys >= most {
            return Answer::Exec(Exec::TooManyWatched);
        }
        watches.add(holder, WatchedKey { database, hash, item_hash, key: key.into(), was_there });
        self.stats.watched_keys.set(watches.keys as u64);
        Answer::Local
    }

    /// A connection watches no key any more.
    pub(super) fn unwatch_all(&mut self, conn: &mut Connection) {
        let Some(watched) = conn.watched.take() else { return };
        let shards: HashSet<u16> = watched.keys.iter().map(|(shard, ..)| *shard).collect();
        for shard in shards {
            if shard == self.number {
                self.unwatch(self.holder(conn));
            } else if let Some(lane) = self.mail.lane(shard) {
                // Behind what was watched before, and before what will be.
                lane.ask_anyway(&Ask::plain(conn.next_address(), What::Unwatch));
            }
        }
    }

    /// A connection, of this shard or another, watches no key of this shard any more.
    pub(super) fn unwatch(&mut self, holder: Holder) {
        self.remove_watcher(holder);
    }

    fn remove_watcher(&mut self, holder: Holder) -> Option<Watcher> {
        let watches = self.shard.listener_mut::<Watches>()?;
        let watcher = watches.remove(holder);
        let keys = watches.keys;
        self.stats.watched_keys.set(keys as u64);
        if keys == 0 {
            self.shard.listen_no_more::<Watches>();
        }
        watcher
    }

    /// Whether one of the watched keys among those that a transaction is given has changed. It watches none any more.
    pub(super) fn take_watches(&mut self, holder: Holder, keys: &[u8]) -> bool {
        let mut watched = HeldKey::each(keys).filter(|key| key.is_watched).peekable();
        if watched.peek().is_none() {
            return false;
        }
        // Whoever watches and is not known here has lost what it watched.
        let Some(watcher) = self.remove_watcher(holder) else { return true };
        let is_other = |key: &WatchedKey| {
            let is_there = self.shard.is_there(key.database, &key.key, key.hash, self.now);
            key.was_there.is_some_and(|was_there| was_there != is_there.unwrap_or(true))
        };
        #[cfg(test)]
        if self.has(super::bug::Bug::BlindWatch) {
            return false;
        }
        watcher.has_changed || watcher.keys.iter().any(is_other)
    }

    /// Databases have other spaces.
    pub(super) fn look_at_watches(&mut self) {
        let Some(watches) = self.shard.listener_mut::<Watches>() else { return };
        let mut watches = std::mem::take(watches);
        watches.look_anew(|key| {
            let is_there = self.shard.is_there(key.database, &key.key, key.hash, self.now);
            (self.shard.item_hash(key.database, key.hash), is_there)
        });
        if let Some(place) = self.shard.listener_mut::<Watches>() {
            *place = watches;
        }
    }
}
