//! How news come to clients: from this shard's table and from other shards to those who are told.

use super::news::News;
use super::table::Table;
use super::waiting::Behind;
use super::{By, add_word};
use crate::session::Push;
use crate::transport::ConnId;
use crate::worker::connection::Connection;
use crate::worker::holds::Holder;
use crate::worker::state::WorkerState;
use std::collections::BTreeSet;
use torc_engine::words;

impl WorkerState {
    /// Passes on what this shard has to tell, and takes what others have told. `current`: a client that was taken out.
    #[inline]
    pub(in crate::worker) fn tell_news(&mut self, current: Option<&mut Connection>) {
        if self.trackers.has_table || self.trackers.is_any() {
            self.tell_some_news(current);
        }
    }

    #[cold]
    fn tell_some_news(&mut self, mut current: Option<&mut Connection>) {
        #[cfg(test)]
        if self.has(crate::worker::bug::Bug::LateNews) && !self.strikes(crate::worker::bug::Bug::LateNews) {
            return;
        }
        let outs = self.shard.listener_mut::<Table>().and_then(Table::take_news).unwrap_or_default();
        for (shard, out) in (0..).zip(outs) {
            if shard == self.number {
                self.take_news(&out.news, current.as_deref_mut());
                if out.is_all {
                    self.tell_all(current.as_deref_mut());
                }
                continue;
            }
            if !out.news.is_empty() {
                self.mail.add_news(shard, Some(&out.news));
            }
            if out.is_all {
                self.mail.add_news(shard, None);
            }
        }
        for shard in 0..self.mail.shards() {
            while let Some(news) = self.mail.next_news(shard) {
                match news {
                    Some(news) => self.take_news(&news, current.as_deref_mut()),
                    None => self.tell_all(current.as_deref_mut()),
                }
            }
        }
        self.mail.publish_news();
    }

    /// Drops what others have told while no client is told anything: nobody else would take it, and it would keep the shard awake.
    pub(in crate::worker) fn drop_nobodys_news(&mut self) {
        if !self.trackers.has_table && !self.trackers.is_any() && self.mail.has_news() {
            (0..self.mail.shards()).for_each(|shard| while self.mail.next_news(shard).is_some() {});
        }
    }

    fn take_news(&mut self, news: &[u8], mut current: Option<&mut Connection>) {
        let mut broadcast: Vec<(Option<Holder>, &[u8])> = Vec::new();
        for news in News::each(news) {
            match news {
                News::Changed { to, by, key } => {
                    let mut keys = self.pool.take();
                    add_word(key, &mut keys);
                    let is_noted = match by {
                        By::Others => false,
                        By::Itself(place) => self.note_own(to, place, (key, &keys), current.as_deref_mut()),
                    };
                    if !is_noted {
                        self.tell(to, &keys, current.as_deref_mut(), false);
                    }
                    self.pool.give(keys);
                }
                News::Broadcast { by, key } => broadcast.push((by, key)),
                News::Redirected { to, from, keys } => {
                    self.tell_target(to, from, keys, current.as_deref_mut())
                }
                News::Broken { to } => self.note_broken(to, current.as_deref_mut()),
            }
        }
        if !broadcast.is_empty() {
            self.broadcast(&broadcast, current);
        }
    }

    /// Tells those who are told by prefixes: one push for each prefix.
    fn broadcast(&mut self, changes: &[(Option<Holder>, &[u8])], mut current: Option<&mut Connection>) {
        for id in self.trackers.by_prefixes.clone() {
            let Some((prefixes, no_loop)) = self.prefixes_of(id, current.as_deref()) else { continue };
            let own = no_loop.then_some(Holder { shard: self.number, conn: id });
            for prefix in prefixes {
                let is_for = |(by, key): &&(Option<Holder>, &[u8])| {
                    key.starts_with(&prefix) && (own.is_none() || *by != own)
                };
                let keys: BTreeSet<&[u8]> = changes.iter().filter(is_for).map(|(_, key)| *key).collect();
                if !keys.is_empty() {
                    let mut list = self.pool.take();
                    keys.iter().for_each(|key| add_word(key, &mut list));
                    self.tell(id, &list, current.as_deref_mut(), true);
                    self.pool.give(list);
                }
            }
        }
    }

    fn prefixes_of(&mut self, id: ConnId, current: Option<&Connection>) -> Option<(Vec<Box<[u8]>>, bool)> {
        let of = |conn: &Connection| {
            let tracking = conn.tracking.as_ref()?;
            Some((tracking.wanted.prefixes.clone(), tracking.wanted.mode.no_loop))
        };
        match current.filter(|conn| conn.id == id) {
            Some(conn) => of(conn),
            None => self.connections.find(id).and_then(|conn| of(conn)),
        }
    }

    /// All may have changed.
    fn tell_all(&mut self, mut current: Option<&mut Connection>) {
        for id in self.trackers.clients.clone() {
            let is_broadcast = self.trackers.by_prefixes.contains(&id);
            self.tell(id, &[], current.as_deref_mut(), is_broadcast);
        }
        // What was for those whom others are told by may be lost, too.
        for id in self.trackers.targets.clone() {
            if !self.trackers.clients.contains(&id) {
                self.with(id, current.as_deref_mut(), |state, conn| {
                    state.push_to(conn, Push::keys(&[], true));
                });
            }
        }
    }

    /// Tells a client of this shard, or the one in its place, of keys: none means all.
    pub(in crate::worker) fn tell(
        &mut self,
        id: ConnId,
        keys: &[u8],
        mut current: Option<&mut Connection>,
        is_broadcast: bool,
    ) {
        let mut redirected = None;
        self.with(id, current.as_deref_mut(), |state, conn| {
            let Some(tracking) = &conn.tracking else { return };
            if tracking.is_by_prefixes() != is_broadcast {
                return;
            }
            state.stats.invalidations.add(1);
            match tracking.target {
                Some(target) => redirected = Some(target),
                None => {
                    conn.joint.iter_mut().for_each(|run| run.note_told());
                    if conn.fetched.as_mut().is_none_or(|fetched| fetched.note_told(keys)) {
                        state.tell_ahead(conn, keys);
                    }
                }
            }
        });
        let from = Holder { shard: self.number, conn: id };
        match redirected {
            Some(Holder { shard, conn }) if shard == self.number => {
                self.tell_target(conn, from, keys, current)
            }
            Some(Holder { shard, conn }) => self.add_news(shard, News::Redirected { to: conn, from, keys }),
            None => {}
        }
    }

    /// What a client has changed itself is told behind the answer to that, if that is not sent yet. False: it is to be told now. `keys`: the key,
    /// as [`words`].
    fn note_own(
        &mut self,
        id: ConnId,
        place: Option<u32>,
        (key, keys): (&[u8], &[u8]),
        current: Option<&mut Connection>,
    ) -> bool {
        let mut is_noted = false;
        self.with(id, current, |state, conn| {
            let Some(tracking) = conn.tracking.as_mut().filter(|tracking| tracking.target.is_none()) else {
                return;
            };
            is_noted = match (&mut conn.fetched, &mut conn.joint) {
                // A script changes nothing before it has ended: this is of a command before it.
                (Some(fetched), _) if !fetched.has_ended() => state.push_ahead(conn, Push::keys(keys, false)),
                (Some(fetched), _) => !fetched.note_told(keys),
                (None, Some(run)) => {
                    run.note_own(key);
                    true
                }
                // Whatever waits was begun behind it.
                (None, None) if place.is_none() => state.push_ahead(conn, Push::keys(keys, false)),
                (None, None) => {
                    place.is_some_and(|place| tracking.waiting.note_at(place, key))
                        // A script at another shard: nothing is begun behind it.
                        || conn.asks_alone && state.push_to(conn, Push::keys(keys, false))
                }
            };
            if is_noted {
                state.stats.invalidations.add(1);
                state.budget.charge(conn);
            }
        });
        is_noted
    }

    /// Tells a client before all answers that it waits for, and once more behind those that may be as it was before.
    fn tell_ahead(&mut self, conn: &mut Connection, keys: &[u8]) {
        if !self.push_ahead(conn, Push::keys(keys, false)) || conn.queue.is_empty() {
            return;
        }
        #[cfg(test)]
        if self.has(crate::worker::bug::Bug::LonePush) {
            return;
        }
        // A script at another shard may have read any key; nothing is begun behind it.
        if conn.asks_alone {
            self.push_to(conn, Push::keys(keys, false));
        }
        if let Some(tracking) = &mut conn.tracking {
            match keys.is_empty() {
                true => tracking.waiting.note_all(),
                false => words::each(keys).for_each(|key| {
                    tracking.waiting.note(self.shard.key_hash(key), key);
                }),
            }
        }
        self.budget.charge(conn);
    }

    /// What stood at a place of a client's queue is answered: it is told again of what has changed of that meanwhile.
    #[inline]
    pub(in crate::worker) fn tell_behind(&mut self, conn: &mut Connection, sequence: u32) {
        if let Some(tracking) = &mut conn.tracking {
            let keys = match tracking.waiting.end(sequence) {
                Behind::Nothing => return,
                Behind::Keys(keys) => keys,
                Behind::All => Vec::new(),
            };
            self.push_ahead(conn, Push::keys(&keys, false));
        }
    }

    fn add_news(&mut self, shard: u16, news: News<'_>) {
        let mut bytes = self.pool.take();
        news.append(&mut bytes);
        self.mail.add_news(shard, Some(&bytes));
        self.pool.give(bytes);
    }

    /// Tells a client in place of another.
    fn tell_target(&mut self, to: ConnId, from: Holder, keys: &[u8], mut current: Option<&mut Connection>) {
        let is_there = self.with(to, current.as_deref_mut(), |state, conn| {
            state.push_to(conn, Push::keys(keys, true));
        });
        if is_there {
            return;
        }
        match from.shard == self.number {
            true => self.note_broken(from.conn, current),
            false => self.add_news(from.shard, News::Broken { to: from.conn }),
        }
    }

    /// The client is gone that was told in place of this one.
    fn note_broken(&mut self, id: ConnId, current: Option<&mut Connection>) {
        self.with(id, current, |state, conn| {
            let Some(tracking) = conn.tracking.as_mut().filter(|tracking| tracking.target.is_some()) else {
                return;
            };
            tracking.is_broken = true;
            let number = tracking.wanted.mode.redirect.to_le_bytes();
            let mut bytes = Vec::new();
            state.push_ahead(conn, Push::broken(&number, &mut bytes));
        });
    }

    /// Acts on a client of this shard, be it the one that was taken out. False: it is gone.
    fn with(
        &mut self,
        id: ConnId,
        current: Option<&mut Connection>,
        act: impl FnOnce(&mut WorkerState, &mut Connection),
    ) -> bool {
        if let Some(conn) = current.filter(|conn| conn.id == id) {
            act(self, conn);
            return true;
        }
        let Some(mut conn) = self.connections.take(id) else { return false };
        act(self, &mut conn);
        self.connections.put(conn);
        true
    }
}
