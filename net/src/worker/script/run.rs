//! How a script goes on, at the shard that its client speaks to.

use super::copies::outcome_of;
use super::known::{Change, Key, Known};
use super::told::Told;
use super::walked::Wanted;
use super::{Fetched, ScriptRun, Step, name_of};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Part, Port, ReplyKind, Script as Named, Work};
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::connection::Connection;
use crate::worker::execute::Prepared;
use crate::worker::joint::Progress;
use crate::worker::owned::OwnedAnswer;
use crate::worker::state::WorkerState;
use std::time::Duration;
use torc_engine::command::{Command, Op, Read};
use torc_engine::words;
use torc_lua::{Ended, Stop};
use torc_proto::resp::compose;

/// A script begins again for keys that it names so many times at most.
pub(super) const ATTEMPTS_MAX: u32 = 100;

/// What the client has asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) struct Asked<'a> {
    pub(in crate::worker) named: Named,
    pub(in crate::worker) database: u16,
    pub(in crate::worker) words: &'a [u8],
}

impl<'a> Asked<'a> {
    pub(super) fn name(self) -> &'a [u8] {
        name_of(self.words)
    }

    pub(super) fn keys(self) -> impl Iterator<Item = &'a [u8]> {
        words::each(self.words).skip(1).take(self.named.keys as usize)
    }

    pub(super) fn arguments(self) -> impl Iterator<Item = &'a [u8]> {
        words::each(self.words).skip(1 + self.named.keys as usize)
    }
}

impl WorkerState {
    /// Begins a script, or goes on with it. False: it waits.
    pub(in crate::worker) fn begin_script(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (named, database, words): (Named, u16, &[u8]),
        read_ns: u64,
    ) -> bool {
        if !conn.queue.is_empty() {
            return false;
        }
        let asked = Asked { named, database, words };
        if let Some(shard) = self.ships_to(conn, asked) {
            return self.ship_script(conn, shard, part, asked, read_ns);
        }
        let run = match conn.script.take() {
            Some(run) => Ok(run),
            None => {
                conn.keeps_script = false;
                self.new_run(conn.in_transaction, asked).map(Box::new)
            }
        };
        let mut run = match run {
            Ok(run) => run,
            Err(words) => {
                self.stats.request(CommandClass::Script, OutcomeClass::Refused);
                let mut reply = Vec::new();
                compose::error(&mut reply, &words);
                self.finish(conn, part, asked.name(), read_ns, Answer::Script(&reply));
                return true;
            }
        };
        loop {
            let progress = match run.step {
                Step::Walk => self.walk_for_script(conn, &mut run, read_ns),
                Step::Hold => self.hold_for_script(conn, &mut run),
                Step::Fetch(place) => self.fetch_for_script(conn, &mut run, place, read_ns),
                Step::Run => self.run_script(conn, &mut run, asked),
                Step::Write(place, parts) => self.write_for_script(conn, &mut run, (place, parts), read_ns),
            };
            match progress {
                Progress::Goes => {}
                Progress::Waits => {
                    conn.script = Some(run);
                    return false;
                }
                Progress::Ends(answer) => {
                    let fetched = conn.fetched.take();
                    if run.is_alone {
                        self.end_lone(conn);
                    }
                    self.stats.request(CommandClass::Script, run.outcome);
                    self.finish(conn, part, asked.name(), read_ns, answer.answer(&run.reply, None));
                    fetched.into_iter().for_each(|fetched| self.tell_behind_script(conn, &run, *fetched));
                    return true;
                }
            }
        }
    }

    /// What is known of a script before it runs. `is_held`: its keys are, by the transaction that it belongs to.
    ///
    /// # Errors
    /// The words of the answer: why it does not.
    pub(super) fn new_run(&mut self, is_held: bool, asked: Asked<'_>) -> Result<ScriptRun, Vec<u8>> {
        let (digest, flags) = self.find_script(asked.named, asked.name())?;
        if asked.named.read_only && flags.are_told && !flags.no_writes {
            return Err(b"ERR Can not execute a script with write flag using *_ro command.".to_vec());
        }
        let mut known = Known::default();
        asked.keys().for_each(|key| known.add(asked.database, key));
        Ok(ScriptRun {
            digest,
            may_change: !asked.named.read_only && !flags.no_writes,
            known,
            step: Step::Hold,
            is_alone: !is_held,
            is_held,
            has_waited: false,
            attempts: 0,
            used: Duration::ZERO,
            changes: Vec::new(),
            walked: Vec::new(),
            has_read: false,
            shown: None,
            reply: Vec::new(),
            outcome: OutcomeClass::Refused,
        })
    }

    /// Whether all of it can be done at once, on this shard.
    fn is_all_here(&self, conn: &Connection, known: &Known) -> bool {
        self.tier.is_none()
            && conn.transaction.is_none()
            && known.keys().all(|(_, key)| self.owner(key) == self.number)
            && !self.is_any_held(known)
    }

    /// Whether somebody holds one of these keys of this shard.
    pub(super) fn is_any_held(&self, known: &Known) -> bool {
        self.holds.is_any()
            && known.named().any(|(database, key)| self.holds.blocks(database, self.shard.key_hash(key)))
    }

    fn hold_for_script(&mut self, conn: &mut Connection, run: &mut ScriptRun) -> Progress {
        if let Some(moved) = self.elsewhere(conn, run.known.named()) {
            run.outcome = OutcomeClass::Moved;
            return Progress::Ends(moved);
        }
        let holds =
            run.is_alone && run.known.len() > 0 && (run.has_waited || !self.is_all_here(conn, &run.known));
        #[cfg(test)]
        let holds = holds && !self.has(Bug::OpenScript);
        #[cfg(test)]
        if self.has(Bug::OpenScript) {
            run.is_held = true;
        }
        if holds {
            match self.hold_alone(conn, || run.known.named()) {
                Progress::Goes => run.is_held = true,
                other => return other,
            }
        }
        let bytes_max = self.settings.scripts.memory_bytes;
        let told = Told::new(conn.tracking.is_some(), &run.known);
        conn.fetched = Some(Box::new(Fetched { bytes_max, told, ..Fetched::default() }));
        run.step = Step::Fetch(0);
        Progress::Goes
    }

    /// Asks for the values of the keys.
    fn fetch_for_script(
        &mut self,
        conn: &mut Connection,
        run: &mut ScriptRun,
        place: usize,
        read_ns: u64,
    ) -> Progress {
        let decides = run.may_change;
        #[cfg(test)]
        let decides = decides && !self.has(Bug::HastyScript);
        // What the script itself reads is counted when it has run.
        let read = Read { decides, uncounted: true, ..Read::default() };
        for place in place..run.known.len() {
            let Some((database, key)) = run.known.get(place) else { break };
            let command = Command { database: *database, key, op: Op::Read(read) };
            if !self.begin_step(conn, Work::Keyed(command), read_ns) {
                // What is not held may be another thing by then.
                run.has_waited = true;
                run.step = if run.is_held { Step::Fetch(place) } else { Step::Hold };
                return Progress::Waits;
            }
        }
        run.step = Step::Fetch(run.known.len());
        if !conn.queue.is_empty() {
            return Progress::Waits;
        }
        if let Some(failed) = conn.fetched.as_mut().and_then(|fetched| fetched.failed.take()) {
            return Progress::Ends(failed);
        }
        run.step = Step::Run;
        Progress::Goes
    }

    pub(super) fn begin_step(&mut self, conn: &mut Connection, work: Work<'_>, read_ns: u64) -> bool {
        let part = Part { work, reply: ReplyKind::Step, echo: &[], once: None };
        let prepared: Prepared = self.prepare_part(&part);
        self.begin(conn, &part, prepared, read_ns)
    }

    fn run_script(&mut self, conn: &mut Connection, run: &mut ScriptRun, asked: Asked<'_>) -> Progress {
        let Fetched { items, told, .. } = conn.fetched.take().map(|fetched| *fetched).unwrap_or_default();
        let port = if conn.on_shard_port { Port::Shard } else { Port::Common };
        let (ended, wanted) = self.run_on_copies(run, &items, asked, (port, conn.session.takes_pushes()));
        run.outcome = outcome_of(ended);
        if ended == Ended::Stopped(Stop::Host) {
            return self.restart_script(conn, run, wanted);
        }
        self.note_run(run);
        if let Some(why) = self.stopped_for_good(ended) {
            return Progress::Ends(why);
        }
        run.changes.splice(0..0, looks_told(conn, run));
        conn.fetched = Some(Box::new(Fetched { has_ended: true, told, ..Fetched::default() }));
        run.step = Step::Write(0, 0);
        Progress::Goes
    }

    /// Lets a script begin again with keys that it has named.
    fn restart_script(&mut self, conn: &mut Connection, run: &mut ScriptRun, wanted: Wanted) -> Progress {
        let refuse = |run: &mut ScriptRun, words: &[u8]| {
            run.reply.clear();
            compose::error(&mut run.reply, words);
            Progress::Ends(OwnedAnswer::Script)
        };
        if conn.on_shard_port && wanted.keys.iter().any(|(_, key)| self.owner(key) != self.number) {
            return refuse(run, b"ERR Script attempted to access a non local key in a cluster node");
        }
        if !run.is_alone {
            return refuse(run, b"ERR in a transaction a script may use those keys alone that it is given");
        }
        run.attempts += 1;
        self.stats.scripts_begun_again.add(1);
        if run.attempts > ATTEMPTS_MAX {
            return refuse(run, b"ERR a script has used too many keys that it was not given");
        }
        self.end_lone(conn);
        run.is_held = false;
        run.known.forget_touched();
        wanted.keys.iter().for_each(|(database, key)| run.known.add(*database, key));
        run.step = Step::Hold;
        wanted.walk.into_iter().for_each(|walk| self.begin_walk_for_script(conn, run, walk));
        Progress::Goes
    }
}

/// Looks at the keys of a script that has read, if its client keeps copies: by these their shards remember to tell it. Nobody changes
/// them meanwhile; and they come before the script's own changes, which the client is told then, as these may have come behind the reads.
/// There are as many as the script's keys, and so bounded: by `--max-arguments`, and by
/// [`KEYS_MAX`](crate::worker::holds::KEYS_MAX) where the keys are held.
fn looks_told(conn: &Connection, run: &ScriptRun) -> Vec<(Key, Change)> {
    match conn.tracking.as_ref().is_some_and(|tracking| run.has_read && tracking.reads()) {
        true => run.known.keys().map(|key| (key.clone(), Change::Look)).collect(),
        false => Vec::new(),
    }
}
