//! From EXEC to the release of its keys.

use super::{Held, PARTS, Running, TURN_PARTS};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Exec, Limits, Part, Scratch, Transaction};
use crate::worker::connection::{Connection, Phase};
use crate::worker::holds::{HeldKey, KEYS_MAX};
use crate::worker::owned::OwnedPart;
use crate::worker::state::WorkerState;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use torc_engine::by_hash::Same;
use torc_engine::command::{Command, Op};

/// A key among those of a transaction.
#[derive(PartialEq, Eq)]
struct Named<'k> {
    hash: u64,
    database: u16,
    key: &'k [u8],
}

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

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
            Ok(Some(running)) if !conn.in_transaction && !running.is_undisturbed => {
                self.acquire(conn, running)
            }
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
        if running.is_undisturbed {
            self.shard.hold_readers(true);
        }
        if !self.run_on(conn, &mut running, read_ns) || !conn.queue.is_empty() {
            if running.is_undisturbed {
                self.hold_after_all(conn, &mut running);
            }
            conn.transaction = Some(running);
            return false;
        }
        conn.in_transaction = false;
        if running.is_undisturbed {
            self.shard.hold_readers(false);
        }
        self.release_all(conn, &running);
        self.stats.request(CommandClass::Transaction, OutcomeClass::Done);
        self.finish(conn, part, &[], read_ns, Answer::Exec(Exec::Ended));
        true
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
        let outcome = if why == Exec::Changed { OutcomeClass::NotDone } else { OutcomeClass::Refused };
        self.stats.request(CommandClass::Transaction, outcome);
        self.finish(conn, part, &[], read_ns, Answer::Exec(why));
        true
    }

    /// What a connection's session has queued, with the keys that it is about.
    fn new_transaction(&mut self, conn: &mut Connection) -> Result<Box<Running>, Exec> {
        let transaction = conn.session.take_transaction().ok_or(Exec::Aborted)?;
        let is_short = self.tier.is_none()
            && conn.watched.is_none()
            && self.is_all_free()
            && transaction.is_short(&self.settings.limits);
        let keys =
            if is_short && self.mail.is_alone() { Vec::new() } else { self.keys_of(conn, &transaction) };
        let mut running = self.begin_hold(conn, &keys, None);
        running.is_undisturbed = is_short && running.shards.iter().all(|wanted| wanted.shard == self.number);
        running.is_run = running.is_undisturbed;
        conn.attempts = running.attempt;
        running.transaction = Some(transaction);
        Ok(running)
    }

    /// Holds the keys of a transaction that has to wait before it is done. Nobody else has had a turn since it began, so they are free.
    fn hold_after_all(&mut self, conn: &mut Connection, running: &mut Running) {
        let keys = running.transaction.iter().flat_map(|transaction| self.keys_of(conn, transaction));
        let shards = self.begin_hold(conn, &keys.collect::<Vec<_>>(), None).shards;
        (running.shards, running.is_undisturbed) = (shards, false);
        for place in 0..running.shards.len() {
            self.ask_to_hold(conn, running, place, true);
        }
        debug_assert!(running.shards.iter().all(|wanted| wanted.held == Held::Keys), "the keys are free");
    }

    /// Each key of a transaction once, and each that is watched.
    fn keys_of<'t>(&self, conn: &'t Connection, transaction: &'t Transaction) -> Vec<HeldKey<'t>> {
        let limits: &Limits = &self.settings.limits;
        let mut named: HashSet<Named<'_>, BuildHasherDefault<Same>> = HashSet::default();
        let mut keys = Vec::new();
        keys.extend(conn.watched.iter().flat_map(|watched| watched.keys()));
        transaction.each_key(limits, |database, key| {
            let is_new = keys.len() <= KEYS_MAX && key.len() <= limits.key_bytes_max;
            if is_new && named.insert(Named { hash: self.shard.key_hash(key), database, key }) {
                keys.push(HeldKey { database, is_watched: false, key });
            }
        });
        keys
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
