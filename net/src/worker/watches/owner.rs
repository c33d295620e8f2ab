//! Watching at the client's shard, and at the owner's.

use super::{WATCH_BYTES, WATCHED_MAX, WATCHES_MIN, WATCHES_SHARE, WatchedKey, Watcher, Watches};
use crate::session::{Answer, Exec, Part};
use crate::worker::connection::Connection;
use crate::worker::execute::Destination;
use crate::worker::holds::{HeldKey, Holder};
use crate::worker::mail::{Ask, AskBytes, What};
use crate::worker::state::WorkerState;
use std::collections::HashSet;

impl WorkerState {
    fn holder(&self, conn: &Connection) -> Holder {
        Holder { shard: self.number, conn: conn.id }
    }

    /// Watches a key for a connection. False: its shard has no place for the question yet.
    pub(in crate::worker) fn begin_watch(
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
    pub(in crate::worker) fn watch(&mut self, holder: Holder, database: u16, key: &[u8]) -> Answer<'static> {
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
    pub(in crate::worker) fn unwatch_all(&mut self, conn: &mut Connection) {
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
    pub(in crate::worker) fn unwatch(&mut self, holder: Holder) {
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
    pub(in crate::worker) fn take_watches(&mut self, holder: Holder, keys: &[u8]) -> bool {
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
        if self.has(crate::worker::bug::Bug::BlindWatch) {
            return false;
        }
        watcher.has_changed || watcher.keys.iter().any(is_other)
    }

    /// Databases have other spaces.
    pub(in crate::worker) fn look_at_watches(&mut self) {
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
