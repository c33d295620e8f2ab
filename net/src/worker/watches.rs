//! Keys that connections watch: EXEC runs nothing if one has changed since.
//!
//! A table at the shard that owns the key, fed by what the shard tells of every change. What is not told is found out when the
//! transaction has its keys: an item whose time is over since counts, though nobody has met it. That an item moves, in DRAM or to the
//! tier, changes nothing. The first watcher makes the table listen, and the last one takes it away again.

mod owner;

use super::holds::{HeldKey, Holder};
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
