//! From EXEC to the release of its keys.

use super::{PARTS, PATIENCE_MS, Running, TURN_PARTS};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Exec, Limits, Part, Scratch, Transaction, Wish};
use crate::transport::ConnId;
use crate::worker::connection::{Connection, Phase};
use crate::worker::holds::{HeldKey, Holder, KEYS_MAX};
use crate::worker::mail::{Address, Ask, AskBytes, What};
use crate::worker::owned::OwnedPart;
use crate::worker::state::WorkerState;
use std::collections::{BTreeMap, HashSet, VecDeque};
use torc_engine::command::{Command, Op};

impl WorkerState {
    /// Begins a transaction, or goes on with it. False: it waits.
    pub(in crate::worker) fn begin_transaction(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        read_ns: u64,
    ) -> bool {
        if !conn.queue.is_empty() {
            return false;
        }
        let running = match conn.transaction.take() {
            Some(running) => Ok(Some(running)),
            None => self.new_transaction(conn).map(Some),
        };
        let running = match running {
            Ok(Some(running)) if !conn.in_transaction => self.acquire(conn, running),
            other => other,
        };
        let mut running = match running {
            Ok(Some(running)) => running,
            Ok(None) => return false,
            Err(why) => return self.refuse_transaction(conn, part, why, read_ns),
        };
        if !conn.in_transaction {
            conn.in_transaction = true;
            conn.watched = None;
            let commands = running.transaction.as_ref().map_or(0, Transaction::commands);
            self.finish(conn, part, &[], read_ns, Answer::Exec(Exec::Begun(commands)));
        }
        if !self.run_on(conn, &mut running, read_ns) || !conn.queue.is_empty() {
            conn.transaction = Some(running);
            return false;
        }
        conn.in_transaction = false;
        self.release_all(conn, &running);
        self.note_exec(conn);
        self.stats.request(CommandClass::Transaction, OutcomeClass::Done);
        self.finish(conn, part, &[], read_ns, Answer::Exec(Exec::Ended));
        true
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
        if self.hold_all(conn, &mut running) {
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

    /// Ends what one command has held by itself.
    pub(in crate::worker) fn end_lone(&mut self, conn: &mut Connection) {
        if let Some(running) = conn.transaction.take() {
            conn.in_transaction = false;
            self.release_all(conn, &running);
        }
    }

    fn refuse_transaction(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        why: Exec,
        read_ns: u64,
    ) -> bool {
        self.unwatch_all(conn);
        self.note_exec(conn);
        let outcome = if why == Exec::Changed { OutcomeClass::NotDone } else { OutcomeClass::Refused };
        self.stats.request(CommandClass::Transaction, outcome);
        self.finish(conn, part, &[], read_ns, Answer::Exec(why));
        true
    }

    /// What a connection's session has queued, with the keys that it is about.
    fn new_transaction(&mut self, conn: &mut Connection) -> Result<Box<Running>, Exec> {
        let transaction = conn.session.take_transaction().ok_or(Exec::Aborted)?;
        let mut running = self.to_hold(conn, &self.keys_of(conn, &transaction), None);
        conn.attempts = running.attempt;
        running.transaction = Some(transaction);
        Ok(running)
    }

    /// What is to hold these keys, which are all different.
    pub(in crate::worker) fn to_hold(
        &self,
        conn: &Connection,
        keys: &[HeldKey<'_>],
        transaction: Option<Transaction>,
    ) -> Box<Running> {
        let by_shard = |mut shards: BTreeMap<u16, Vec<u8>>, key: &HeldKey<'_>| {
            key.append(shards.entry(self.owner(key.key)).or_default());
            shards
        };
        let shards = keys.iter().fold(BTreeMap::new(), by_shard);
        Box::new(Running {
            shards: shards.into_iter().collect(),
            transaction,
            asked: 0,
            held: 0,
            attempt: conn.attempts.wrapping_add(1),
            since: self.ticks,
            is_too_large: keys.len() > KEYS_MAX,
            has_changed: false,
            is_run: false,
            has_waited: false,
            left: VecDeque::new(),
        })
    }

    /// Each key of a transaction once, and each that is watched.
    fn keys_of<'t>(&self, conn: &'t Connection, transaction: &'t Transaction) -> Vec<HeldKey<'t>> {
        let limits: &Limits = &self.settings.limits;
        let (mut named, mut keys) = (HashSet::new(), Vec::new());
        keys.extend(conn.watched.iter().flat_map(|watched| watched.keys()));
        transaction.each_key(limits, |database, key| {
            let is_new = keys.len() <= KEYS_MAX && key.len() <= limits.key_bytes_max;
            if is_new && named.insert((database, key)) {
                keys.push(HeldKey { database, is_watched: false, key });
            }
        });
        keys
    }

    /// Asks shard after shard for the keys. True: all are held.
    fn hold_all(&mut self, conn: &mut Connection, running: &mut Running) -> bool {
        #[cfg(test)]
        if self.has(crate::worker::bug::Bug::EarlyRelease)
            && running.asked > 0
            && running.asked == running.held
        {
            self.release_all(conn, running);
        }
        while let Some((shard, keys)) = running.shards.get(running.held) {
            if running.asked > running.held {
                return false;
            }
            if *shard == self.number {
                let holder = Holder { shard: self.number, conn: conn.id };
                self.request_hold(holder, running.attempt, keys);
                running.asked += 1;
                if let Some(changed) = self.holds.take_granted(conn.id, running.attempt) {
                    running.held += 1;
                    running.has_changed |= changed;
                }
            } else {
                let from = Address { conn: conn.id, sequence: running.attempt };
                let ask = Ask { wish: Wish::AtOnce, ..Ask::plain(from, What::Hold) };
                let lane = self.mail.express(*shard);
                if !self.ask_in(conn, lane, &ask, AskBytes { value: keys, ..AskBytes::default() }) {
                    return false;
                }
                running.asked += 1;
            }
        }
        true
    }

    /// A shard has given a transaction its keys.
    pub(in crate::worker) fn take_grant(&mut self, id: ConnId, attempt: u32, shard: u16, changed: bool) {
        let Some(conn) = self.connections.find(id) else { return };
        let Some(running) = &mut conn.transaction else { return };
        let is_asked = running.shards.get(running.held).is_some_and(|(of, _)| *of == shard);
        if running.attempt == attempt && is_asked && running.asked > running.held {
            running.held += 1;
            running.has_changed |= changed;
            self.mark_dirty(id);
        }
    }

    /// Gives back what a transaction holds, or has asked for.
    fn release_all(&mut self, conn: &Connection, running: &Running) {
        for (shard, _) in &running.shards[..running.asked] {
            if *shard == self.number {
                self.release_hold(Holder { shard: self.number, conn: conn.id });
            } else {
                let from = Address { conn: conn.id, sequence: running.attempt };
                let ask = Ask { wish: Wish::AtOnce, ..Ask::plain(from, What::Release) };
                let lane = self.mail.express(*shard);
                self.mail.lane(lane).into_iter().for_each(|lane| lane.ask_anyway(&ask));
            }
        }
    }

    /// Begins the commands that are left. False: some are.
    fn run_on(&mut self, conn: &mut Connection, running: &mut Running, read_ns: u64) -> bool {
        let mut begun = 0;
        loop {
            while let Some(owned) = running.left.pop_front() {
                let part = owned.part();
                let prepared = self.prepare_part(&part);
                if !self.begin(conn, &part, prepared, read_ns) {
                    running.left.push_front(owned);
                    return false;
                }
                self.pool.give(owned.into_bytes());
            }
            if running.transaction.as_ref().is_none_or(Transaction::is_parsed) {
                return true;
            }
            if begun >= TURN_PARTS {
                self.go_on_next_turn(conn);
                return false;
            }
            begun += self.parse_and_begin(conn, running, read_ns);
        }
    }

    /// Parses a few more parts and begins them. Returns how many.
    fn parse_and_begin(&mut self, conn: &mut Connection, running: &mut Running, read_ns: u64) -> usize {
        let Running { transaction, left, .. } = running;
        let (scratch, mut parts) = (Scratch::counting(self.calls.clone()), Vec::new());
        let limits = &self.settings.limits;
        let Some(transaction) = transaction else { return 0 };
        scratch.set_noting(self.monitoring.is_on);
        conn.session.replay(transaction, &scratch, self.now, limits, &mut parts, PARTS);
        if self.monitoring.is_on {
            self.note_asked(conn, &scratch, &parts);
        }
        for part in &parts {
            let prepared = self.prepare_part(part);
            if !left.is_empty() || !self.begin(conn, part, prepared, read_ns) {
                left.push_back(OwnedPart::copy(part, read_ns, &mut self.pool));
            }
        }
        parts.len()
    }

    /// Looks after a connection in the next turn, be it settled now or taken out.
    pub(in crate::worker) fn go_on_next_turn(&mut self, conn: &mut Connection) {
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(conn.id);
        }
    }

    /// Whether what a part of a transaction asks for may not be lent, or is more than waits for a client at most.
    pub(in crate::worker) fn is_too_long_to_run(
        &self,
        conn: &Connection,
        command: &Command<'_>,
        hash: u64,
    ) -> bool {
        let shows = match &command.op {
            Op::Read(read) => !read.peek,
            Op::Write(write) => write.want_old,
            Op::Delete(delete) => delete.want_old,
            _ => false,
        };
        shows && (!conn.has_room(self.settings.input_bytes_max) || self.would_pin(command, hash).is_some())
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

    /// A connection is gone. Whether it has to stay as a ghost, until its transaction is over.
    pub(in crate::worker) fn leave_transaction(&mut self, conn: &mut Connection) -> bool {
        if !conn.in_transaction {
            self.unwatch_all(conn);
            if let Some(running) = conn.transaction.take() {
                self.release_all(conn, &running);
            }
        }
        conn.in_transaction
    }

    /// Goes on with a ghost's transaction.
    pub(in crate::worker) fn go_on_as_ghost(&mut self, conn: &mut Connection) {
        debug_assert!(conn.phase == Phase::Closing, "its client is gone");
        if !conn.marks.stalled {
            self.advance(conn);
        }
    }
}
