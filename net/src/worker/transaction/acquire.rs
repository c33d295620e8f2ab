//! How a transaction comes to its keys, and gives them back.
//!
//! ```text
//!   at once:   hold, hold, hold --all are given--> run
//!                 |  one is not free: all are released
//!                 v
//!   in order:  hold --given, maybe after a while--> hold --given--> hold --given--> run
//! ```
//!
//! All shards are asked at once first, which takes as long as one. Whoever asks so is never kept waiting, and so keeps nobody else waiting
//! for what it does not get: it is told at once that a key is not free. Then it asks shard after shard, in ascending order, and waits.

use super::{Held, PATIENCE_MS, Running, Wanted};
use crate::session::{Exec, Transaction, Wish};
use crate::transport::ConnId;
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::connection::Connection;
use crate::worker::holds::{Grant, HeldKey, Holder, KEYS_MAX};
use crate::worker::mail::{Address, Ask, AskBytes, What};
use crate::worker::state::WorkerState;
use std::collections::{BTreeMap, VecDeque};

impl WorkerState {
    /// What is to hold these keys, which are all different.
    pub(in crate::worker) fn begin_hold(
        &mut self,
        conn: &Connection,
        keys: &[HeldKey<'_>],
        transaction: Option<Transaction>,
    ) -> Box<Running> {
        let by_shard = |mut shards: BTreeMap<u16, Vec<u8>>, key: &HeldKey<'_>| {
            key.append(shards.entry(self.owner(key.key)).or_default());
            shards
        };
        let shards = keys.iter().fold(BTreeMap::new(), by_shard);
        let shards: Vec<Wanted> =
            shards.into_iter().map(|(shard, keys)| Wanted { shard, keys, held: Held::Not }).collect();
        // A medium may be slow to bring keys; and who is given watched keys watches them no more.
        let may_ask_at_once =
            shards.len() > 1 && self.tier.is_none() && !keys.iter().any(|key| key.is_watched);
        #[cfg(test)]
        let may_ask_at_once = may_ask_at_once && !self.has(Bug::EarlyRelease);
        Box::new(Running {
            shards,
            is_at_once: may_ask_at_once && self.holds.chances.are_good(),
            is_undisturbed: false,
            transaction,
            attempt: conn.attempts.wrapping_add(1),
            since: self.ticks,
            is_too_large: keys.len() > KEYS_MAX,
            has_changed: false,
            is_run: false,
            has_waited: false,
            left: VecDeque::new(),
        })
    }

    /// Holds the keys that are not held yet. `None`: it waits, and is the connection's again.
    ///
    /// # Errors
    /// Why it is given up.
    pub(in crate::worker) fn acquire(
        &mut self,
        conn: &mut Connection,
        mut running: Box<Running>,
    ) -> Result<Option<Box<Running>>, Exec> {
        if running.is_too_large {
            return Err(Exec::TooManyKeys);
        }
        #[cfg(test)]
        if self.has(Bug::EarlyRelease) && running.is(Held::Keys) && !running.is(Held::Asked) {
            self.release_all(conn, &running);
        }
        if self.hold_at_once(conn, &mut running) && self.hold_in_order(conn, &mut running) {
            if running.has_changed {
                self.release_all(conn, &running);
                return Err(Exec::Changed);
            }
            running.is_run = true;
            return Ok(Some(running));
        }
        if self.ticks.saturating_sub(running.since) >= PATIENCE_MS {
            self.release_all(conn, &running);
            return Err(Exec::TimedOut);
        }
        if !std::mem::replace(&mut running.has_waited, true) {
            self.acquiring.push(conn.id);
        }
        conn.transaction = Some(running);
        Ok(None)
    }

    /// Asks all shards at once, if it is to, and takes what it has of them back if not all give their keys. False: answers are missing,
    /// or places to ask in.
    fn hold_at_once(&mut self, conn: &mut Connection, running: &mut Running) -> bool {
        if !running.is_at_once {
            return true;
        }
        for place in 0..running.shards.len() {
            if running.is(Held::Refused) {
                break;
            }
            if running.shards[place].held == Held::Not && !self.ask_to_hold(conn, running, place, true) {
                return false;
            }
        }
        if running.is(Held::Asked) {
            return false;
        }
        running.is_at_once = false;
        let is_refused = running.is(Held::Refused);
        self.holds.chances.learn(!is_refused);
        if is_refused {
            self.stats.holds_refused.add(1);
            #[cfg(test)]
            if self.has(Bug::KeptKeys) {
                return true;
            }
            self.release_all(conn, running);
            running.shards.iter_mut().for_each(|wanted| wanted.held = Held::Not);
            running.attempt = running.attempt.wrapping_add(1);
            conn.attempts = running.attempt;
        }
        true
    }

    /// Asks shard after shard for the keys. True: all are held.
    fn hold_in_order(&mut self, conn: &mut Connection, running: &mut Running) -> bool {
        while let Some(place) = running.shards.iter().position(|wanted| wanted.held != Held::Keys) {
            if running.shards[place].held == Held::Asked || !self.ask_to_hold(conn, running, place, false) {
                return false;
            }
        }
        true
    }

    /// Asks one shard. False: there is no place for it yet.
    pub(super) fn ask_to_hold(
        &mut self,
        conn: &mut Connection,
        running: &mut Running,
        place: usize,
        at_once: bool,
    ) -> bool {
        let Wanted { shard, keys, held } = &mut running.shards[place];
        if *shard != self.number {
            let from = Address { conn: conn.id, sequence: running.attempt };
            let ask = Ask { wish: Wish::AtOnce, ..Ask::plain(from, What::Hold { at_once }) };
            let lane = self.mail.express(*shard);
            if !self.ask_in(conn, lane, &ask, AskBytes { value: keys, ..AskBytes::default() }) {
                return false;
            }
            *held = Held::Asked;
            return true;
        }
        *held = Held::Asked;
        let holder = Holder { shard: self.number, conn: conn.id };
        self.request_hold(holder, running.attempt, keys, at_once);
        if let Some(grant) = self.holds.take_granted(conn.id, running.attempt) {
            running.take(self.number, grant);
        }
        true
    }

    /// A shard has given a transaction its keys, or not.
    pub(in crate::worker) fn take_grant(&mut self, id: ConnId, attempt: u32, shard: u16, grant: Grant) {
        let Some(conn) = self.connections.find(id) else { return };
        let Some(running) = &mut conn.transaction else { return };
        if running.attempt == attempt && running.take(shard, grant) {
            self.mark_dirty(id);
        }
    }

    /// Gives back what a transaction holds, or has asked for.
    pub(super) fn release_all(&mut self, conn: &Connection, running: &Running) {
        for wanted in &running.shards {
            if matches!(wanted.held, Held::Not | Held::Refused) {
                continue;
            }
            if wanted.shard == self.number {
                self.release_hold(Holder { shard: self.number, conn: conn.id });
            } else {
                let from = Address { conn: conn.id, sequence: running.attempt };
                let ask = Ask { wish: Wish::AtOnce, ..Ask::plain(from, What::Release) };
                let lane = self.mail.express(wanted.shard);
                self.mail.lane(lane).into_iter().for_each(|lane| lane.ask_anyway(&ask));
            }
        }
    }

    /// Gives transactions up that have waited for their keys for too long.
    pub(in crate::worker) fn give_up_transactions(&mut self) {
        let mut acquiring = std::mem::take(&mut self.acquiring);
        acquiring.retain(|id| {
            let Some(conn) = self.connections.find(*id) else { return false };
            let Some(running) = conn.transaction.as_ref().filter(|running| !running.is_run) else {
                return false;
            };
            let is_over = self.ticks.saturating_sub(running.since) >= PATIENCE_MS;
            if is_over {
                // It may wait for a place in the lane of a shard that stands still.
                conn.marks.stalled = false;
                self.mark_dirty(*id);
            }
            !is_over
        });
        self.acquiring.append(&mut acquiring);
    }
}
