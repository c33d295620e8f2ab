//! What the owner of held keys does: requests in their order, and who goes on when keys are released.

use super::{ByHash, FETCHED_AT_ONCE, Grant, HeldKey, Holder, Holds, LOOKED_AT_MAX, Request, held_hash};
use crate::session::Wish;
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::connection::Connection;
use crate::worker::mail::{Address, Ask, What};
use crate::worker::state::WorkerState;
use torc_engine::command::{Command, Op, Read};

impl WorkerState {
    /// A transaction wants these keys of this shard, all together. It is told when it has them; `at_once`: or else that it has not.
    pub(in crate::worker) fn request_hold(
        &mut self,
        holder: Holder,
        attempt: u32,
        keys: &[u8],
        at_once: bool,
    ) {
        let hash = |key: HeldKey<'_>| held_hash(key.database, self.shard.key_hash(key.key));
        let mut hashes: Vec<u64> = HeldKey::each(keys).map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        if !at_once {
            self.holds.waiting.push_back(Request {
                holder,
                attempt,
                keys: keys.to_vec(),
                hashes,
                fetched: 0,
            });
            if !self.is_others_turn() {
                self.grant_holds();
            }
        } else if self.is_free(&hashes) {
            self.grant(holder, attempt, keys, hashes);
        } else {
            self.answer_hold(holder, attempt, Grant::NotNow);
        }
    }

    /// Whether nobody holds one of the keys, or waits for one.
    fn is_free(&self, hashes: &[u64]) -> bool {
        #[cfg(test)]
        if self.has(Bug::CarelessHolds) {
            return true;
        }
        let Holds { keys, waiting, .. } = &self.holds;
        let is_waited_for = |hash| waiting.iter().any(|before| before.hashes.binary_search(hash).is_ok());
        waiting.len() <= LOOKED_AT_MAX
            && !self.is_others_turn()
            && !hashes.iter().any(|hash| keys.contains_key(hash) || is_waited_for(hash))
    }

    /// Whether somebody who holds nothing has waited for what was released in this turn, and is to go before keys are given again.
    fn is_others_turn(&self) -> bool {
        let has_waited = || !self.holds.conns.is_empty() || self.stopped.iter().any(|lane| !lane.is_empty());
        self.holds.gives_next_turn || self.holds.has_released && has_waited()
    }

    /// Whether nobody holds keys of this shard, or has to go before somebody does: whoever runs to its end in this turn need not hold any.
    pub(in crate::worker) fn is_all_free(&self) -> bool {
        !self.holds.is_any() && !self.holds.is_wanted() && !self.holds.has_news()
    }

    /// Gives keys to those who may have theirs now.
    pub(in crate::worker) fn grant_holds(&mut self) {
        let mut before = ByHash::default();
        let mut place = 0;
        while place < self.holds.waiting.len().min(LOOKED_AT_MAX)
            && let Some(request) = self.holds.waiting.get(place)
        {
            if !self.holds.is_blocked(request, &before)
                && self.fetch_wanted(place)
                && let Some(request) = self.holds.waiting.remove(place)
            {
                let Request { holder, attempt, keys, hashes, .. } = request;
                self.grant(holder, attempt, &keys, hashes);
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

    fn grant(&mut self, holder: Holder, attempt: u32, keys: &[u8], hashes: Vec<u64>) {
        if !self.holds.is_any() {
            self.shard.hold_readers(true);
        }
        #[cfg(test)]
        let hashes = if self.has(Bug::OpenHolds) { Vec::new() } else { hashes };
        self.holds.keys.extend(hashes.iter().map(|hash| (*hash, holder)));
        self.holds.held.insert(holder, hashes);
        self.count_holds();
        let has_changed = self.take_watches(holder, keys);
        self.answer_hold(holder, attempt, if has_changed { Grant::Changed } else { Grant::Keys });
    }

    fn answer_hold(&mut self, holder: Holder, attempt: u32, grant: Grant) {
        if holder.shard == self.number {
            return self.holds.granted.push((holder.conn, attempt, grant));
        }
        let lane = self.mail.express(holder.shard);
        let from = Address { conn: holder.conn, sequence: attempt };
        let ask = Ask { wish: Wish::AtOnce, ..Ask::plain(from, What::Granted(grant)) };
        self.mail.lane(lane).into_iter().for_each(|lane| lane.ask_anyway(&ask));
    }

    fn count_holds(&self) {
        let (keys, waiting) = self.holds.figures();
        self.stats.held_keys.set(keys as u64);
        self.stats.holds_waiting.set(waiting as u64);
    }

    /// A transaction has ended, or wants its keys no more.
    pub(in crate::worker) fn release_hold(&mut self, holder: Holder) {
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
    pub(in crate::worker) fn is_stopped_by_hold(&self, lane: u16, database: u16, key_hash: u64) -> bool {
        self.holds.blocks(database, key_hash) && !self.mail.is_express(lane)
    }

    /// Lets a connection of this shard wait until keys are released.
    pub(in crate::worker) fn wait_for_key(&mut self, conn: &mut Connection) {
        if !conn.waits_for_tier {
            conn.waits_for_tier = true;
            self.holds.conns.push(conn.id);
        }
    }

    /// What is to be done for transactions, once a turn.
    pub(in crate::worker) fn go_on_with_transactions(&mut self) {
        if self.holds.has_news() || self.holds.is_wanted() {
            self.go_on_behind_holds();
        }
        if !self.acquiring.is_empty() {
            self.give_up_transactions();
        }
    }

    /// Whether somebody waits for keys who does not wait for ever, or for what tells nobody that it is there.
    pub(in crate::worker) fn waits_for_keys(&self) -> bool {
        self.holds.is_wanted() || !self.acquiring.is_empty()
    }

    /// Lets those go on who have waited for keys.
    fn go_on_behind_holds(&mut self) {
        let is_due = std::mem::take(&mut self.holds.gives_next_turn);
        let has_released = std::mem::take(&mut self.holds.has_released);
        if has_released {
            let waited = std::mem::take(&mut self.holds.conns);
            // They go on when their connections are settled, in this turn. Not twice in a row: who wants to hold keys has a go, too.
            self.holds.gives_next_turn = !waited.is_empty() && !is_due;
            waited.into_iter().for_each(|id| self.let_go_on(id));
            self.resume_batches();
        }
        let are_given = has_released || is_due || self.holds.is_wanted() && self.tier.is_some();
        if are_given && !self.holds.gives_next_turn {
            self.grant_holds();
        }
        for (id, attempt, grant) in std::mem::take(&mut self.holds.granted) {
            self.take_grant(id, attempt, self.number, grant);
        }
        self.count_holds();
    }
}
