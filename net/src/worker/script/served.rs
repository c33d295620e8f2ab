//! A script of another shard's client, all of whose keys are this shard's: it is run at once, for one request and one answer.
//!
//! What cannot be done at once is sent back before anything is changed, and the shard of the client runs it, with its keys held.

use super::copies::outcome_of;
use super::known::{Change, Item, Known};
use super::overlay::copy_of;
use super::run::{ATTEMPTS_MAX, Asked};
use super::{MEMORY, ScriptRun};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Port};
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::owned::OwnedAnswer;
use crate::worker::perform::perform;
use crate::worker::state::WorkerState;
use std::time::Instant;
use torc_engine::command::{Command, Op, Outcome, Read};
use torc_lua::{Ended, Stop};
use torc_proto::resp::compose;

/// Longer replies do not travel, nor do more bytes of answers in a batch.
const REPLY_BYTES_MAX: usize = 64 << 10;
const ANSWERS_BYTES_MAX: usize = 512 << 10;
/// Scripts of other shards' clients may take of a turn one part in so many of what one script may take.
const TURN_SHARE: u32 = 4;

impl WorkerState {
    /// Runs a script; its reply is appended to `out`. `None`: one of its keys is held.
    pub(in crate::worker) fn serve_script(
        &mut self,
        asked: Asked<'_>,
        resp3: bool,
        out: &mut Vec<u8>,
    ) -> Option<OwnedAnswer> {
        let began = Instant::now();
        let answer = self.serve_script_at_once(asked, resp3, out);
        // What it takes to copy values and to compile counts, too.
        self.scripts_served += began.elapsed();
        answer
    }

    fn serve_script_at_once(
        &mut self,
        asked: Asked<'_>,
        resp3: bool,
        out: &mut Vec<u8>,
    ) -> Option<OwnedAnswer> {
        let mut run = match self.new_run(false, asked) {
            Ok(run) => run,
            Err(_) if self.scripts.is_none() => return Some(OwnedAnswer::Later),
            Err(words) => {
                self.stats.request(CommandClass::Script, OutcomeClass::Refused);
                compose::error(out, &words);
                return Some(OwnedAnswer::Script);
            }
        };
        loop {
            if self.tier.is_some() || self.have_scripts_run_long() {
                return Some(OwnedAnswer::Later);
            }
            let is_held = self.is_any_held(&run.known);
            #[cfg(test)]
            let is_held = is_held && !self.has(Bug::ScriptPastHold);
            if is_held {
                // A key that it has named itself is not waited for: the run would be for nothing each time.
                return (run.attempts > 0).then_some(OwnedAnswer::Later);
            }
            let ended = match self.read_at_once(&run.known) {
                Ok(items) => self.run_at_once(&mut run, &items, asked, resp3),
                Err(why) => Err(why),
            };
            match ended {
                Ok(None) => {}
                Ok(Some(outcome)) => return Some(self.end_at_once(&mut run, outcome, out)),
                Err(OwnedAnswer::Later) => return Some(OwnedAnswer::Later),
                Err(why) => {
                    self.stats.request(CommandClass::Script, OutcomeClass::Refused);
                    return Some(why);
                }
            }
        }
    }

    /// Runs it once. `None`: it is to begin again, with keys of this shard that it has named.
    ///
    /// # Errors
    /// The answer, if it was stopped; it is sent back for a key of another shard.
    fn run_at_once(
        &mut self,
        run: &mut ScriptRun,
        items: &[Option<Item>],
        asked: Asked<'_>,
        resp3: bool,
    ) -> Result<Option<OutcomeClass>, OwnedAnswer> {
        let (ended, wanted) = self.run_on_copies(run, items, asked, (Port::Common, resp3));
        if let Some(why) = self.stopped_for_good(ended) {
            self.note_run(run);
            return Err(why);
        }
        if ended != Ended::Stopped(Stop::Host) {
            return Ok(Some(outcome_of(ended)));
        }
        run.attempts += 1;
        let is_elsewhere =
            wanted.walk.is_some() || wanted.keys.iter().any(|(_, key)| self.owner(key) != self.number);
        if run.attempts > ATTEMPTS_MAX || is_elsewhere {
            return Err(OwnedAnswer::Later);
        }
        self.stats.scripts_begun_again.add(1);
        run.known.forget_touched();
        wanted.keys.iter().for_each(|(database, key)| run.known.add(*database, key));
        Ok(None)
    }

    /// Whether scripts of other shards' clients have had their share of this turn. Many that run long would else make one turn of seconds.
    fn have_scripts_run_long(&self) -> bool {
        self.scripts_served > self.settings.scripts.time / TURN_SHARE
    }

    /// What keys of this shard have.
    ///
    /// # Errors
    /// The answer to the script.
    fn read_at_once(&mut self, known: &Known) -> Result<Vec<Option<Item>>, OwnedAnswer> {
        let mut items = Vec::with_capacity(known.len());
        let mut bytes = 0u64;
        for (database, key) in known.named() {
            let read = Read { uncounted: true, ..Read::default() };
            let command = Command { database, key, op: Op::Read(read) };
            let hash = self.shard.key_hash(key);
            let (outcomes, stats) = ((&mut self.outcomes, &mut self.notices), &self.stats);
            let item = match perform(&mut self.shard, outcomes, stats, &command, hash, None, self.now) {
                Ok(Answer::Outcome(Outcome::Item(found))) => {
                    bytes = bytes.saturating_add(found.value.len());
                    if bytes > self.settings.scripts.memory_bytes as u64 {
                        return Err(OwnedAnswer::Busy { limit: MEMORY });
                    }
                    Some(copy_of(&found))
                }
                Ok(Answer::Outcome(Outcome::Refused(refusal))) => return Err(OwnedAnswer::refused(refusal)),
                Ok(_) => None,
                // Nothing is elsewhere without a tier.
                Err(_) => return Err(OwnedAnswer::Later),
            };
            items.push(item);
        }
        Ok(items)
    }

    /// The answer to a script that has run; its changes are made then.
    fn end_at_once(&mut self, run: &mut ScriptRun, outcome: OutcomeClass, out: &mut Vec<u8>) -> OwnedAnswer {
        if !self.may_end_here(run, out.len()) {
            return OwnedAnswer::Later;
        }
        self.note_run(run);
        self.stats.request(CommandClass::Script, outcome);
        if let Some(failed) = self.change_at_once(run) {
            return failed;
        }
        #[cfg(test)]
        if self.strikes(Bug::ScriptDoneTwice) {
            return OwnedAnswer::Later;
        }
        out.extend_from_slice(&run.reply);
        OwnedAnswer::Script
    }

    /// Whether what is left to be done can be done at once. Nothing is changed yet.
    fn may_end_here(&self, run: &ScriptRun, answered: usize) -> bool {
        let reply = run.reply.len();
        if reply > REPLY_BYTES_MAX || answered + reply > ANSWERS_BYTES_MAX {
            return false;
        }
        let inline = self.settings.limits.value_bytes_inline;
        let subscribers = &self.shared.subscribers;
        let is_heard = |shard: u16| shard != self.number && subscribers.has(shard);
        let are_heard = || subscribers.any() && (0..self.mail.shards()).any(is_heard);
        // A publisher is answered when all shards have given its message to their clients.
        let has_to_wait = |change: &Change| match change {
            Change::Publish { .. } => are_heard(),
            change => change.may_wait(inline),
        };
        !run.changes.iter().any(|(_, change)| has_to_wait(change))
    }

    /// Makes all changes. The answer, if one of them was not made.
    fn change_at_once(&mut self, run: &ScriptRun) -> Option<OwnedAnswer> {
        let inline = self.settings.limits.value_bytes_inline;
        // Those who ask nobody see all of them or none.
        let holds_readers = run.changes.len() > 1 && !self.holds.is_any();
        if holds_readers {
            self.shard.hold_readers(true);
        }
        let mut failed = None;
        for ((database, key), change) in &run.changes {
            if let Change::Publish { sharded, message } = change {
                self.stats.request(CommandClass::Messages, OutcomeClass::Done);
                self.give_message(*sharded, key, message, None);
                continue;
            }
            let Some(op) = change.op(inline) else { continue };
            let command = Command { database: *database, key, op };
            let hash = self.shard.key_hash(key);
            let (outcomes, stats) = ((&mut self.outcomes, &mut self.notices), &self.stats);
            match perform(&mut self.shard, outcomes, stats, &command, hash, None, self.now) {
                Ok(Answer::Outcome(Outcome::Refused(refusal))) => {
                    failed = Some(OwnedAnswer::refused(refusal));
                }
                Ok(_) => {}
                Err(_) => failed = Some(OwnedAnswer::OutcomeUnknown),
            }
        }
        if holds_readers {
            self.shard.hold_readers(false);
        }
        failed
    }
}
