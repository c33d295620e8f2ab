//! A script of a client: EVAL and its kind.
//!
//! ```text
//!   keys are held --> their values are fetched --> the script runs, on copies --> what it has changed is written --> keys are released
//!        ^                                            |
//!        +------- it names another key ---------------+
//! ```
//!
//! The script itself runs without a pause. Until it has ended nothing is changed: it may begin again with a key more, and be stopped. Among the
//! commands of a transaction the keys are held already. Where all keys are this shard's and nobody holds any, nothing is held: all is
//! done before anybody else has a turn.

use super::connection::Connection;
use super::execute::{Destination, Prepared};
use super::overlay::{Change, Item, Key, Known, Overlay};
use super::owned::OwnedAnswer;
use super::state::WorkerState;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::scripts::Script;
use crate::session::{Answer, Limits, Part, Port, ReplyKind, Script as Named, Work};
use std::sync::Arc;
use torc_engine::command::{Command, Expiry, Op, Outcome, Read, Value, WriteMode};
use torc_engine::segments::Lent;
use torc_engine::words;
use torc_lua::{Digest, Ended, Invocation, Stop};
use torc_proto::resp::compose;

/// A script begins again for keys that it names so many times at most.
const ATTEMPTS_MAX: u32 = 100;

/// A script under way.
#[derive(Debug)]
pub(crate) struct ScriptRun {
    digest: Digest,
    script: Arc<Script>,
    known: Known,
    step: Step,
    /// It is none of a transaction's commands: it holds its keys itself.
    is_alone: bool,
    /// Its keys are held, or it needs none to be.
    is_held: bool,
    /// It could not be done at once.
    has_waited: bool,
    attempts: u32,
    changes: Vec<(Key, Change)>,
    reply: Vec<u8>,
    outcome: OutcomeClass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Hold,
    /// So many values are asked for.
    Fetch(usize),
    Run,
    /// So many changes are begun, of the last one so many parts.
    Write(usize, usize),
}

/// How far a step has come.
enum Progress {
    Goes,
    Waits,
    Ends(OwnedAnswer),
}

/// Answers to what was asked for a script.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    items: Vec<Option<Item>>,
    bytes: usize,
    bytes_max: usize,
    failed: Option<OwnedAnswer>,
}

impl Fetched {
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes
    }

    /// Takes an answer. What was lent for it is to be released.
    pub(super) fn take(&mut self, answer: &Answer<'_>) -> Vec<Lent> {
        let mut lent = Vec::new();
        let item = match answer {
            Answer::Outcome(Outcome::Item(found)) => {
                self.bytes = self.bytes.saturating_add(found.value.len() as usize);
                if self.bytes > self.bytes_max {
                    self.failed = Some(OwnedAnswer::Busy { limit: MEMORY });
                    return lent;
                }
                let mut bytes = Vec::with_capacity(found.value.len() as usize);
                match found.value {
                    Value::Inline(value) => value.append_to(&mut bytes),
                    Value::Chained(chain) => {
                        lent.extend(chain.lend(0..chain.len()));
                        lent.iter().for_each(|slice| slice.bytes().append_to(&mut bytes));
                    }
                }
                Some((found.meta, bytes))
            }
            Answer::Outcome(Outcome::Refused(refusal)) => {
                self.failed = Some(OwnedAnswer::refused(*refusal));
                None
            }
            Answer::Busy { limit } => {
                self.failed = Some(OwnedAnswer::Busy { limit });
                None
            }
            Answer::Outcome(_) => None,
            _ => {
                self.failed = Some(OwnedAnswer::OutcomeUnknown);
                None
            }
        };
        self.items.push(item);
        lent
    }
}

const MEMORY: &str = "script-memory-max";
const TIME: &str = "script-time-max";

impl ScriptRun {
    pub(super) fn bytes_held(&self) -> usize {
        let changes: usize =
            self.changes.iter().map(|((_, key), change)| key.len() + change.value().len()).sum();
        size_of::<ScriptRun>() + self.known.bytes_held() + self.reply.capacity() + changes
    }
}

/// What the client has asked for.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    named: Named,
    database: u16,
    words: &'a [u8],
}

impl<'a> Asked<'a> {
    fn name(self) -> &'a [u8] {
        words::each(self.words).next().unwrap_or_default()
    }

    fn keys(self) -> impl Iterator<Item = &'a [u8]> {
        words::each(self.words).skip(1).take(self.named.keys as usize)
    }

    fn arguments(self) -> impl Iterator<Item = &'a [u8]> {
        words::each(self.words).skip(1 + self.named.keys as usize)
    }
}

impl WorkerState {
    /// Begins a script, or goes on with it. False: it waits.
    pub(super) fn begin_script(
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
        let run = match conn.script.take() {
            Some(run) => Ok(run),
            None => self.new_run(conn, asked),
        };
        let mut run = match run {
            Ok(run) => run,
            Err(words) => {
                self.stats.request(CommandClass::Script, OutcomeClass::Refused);
                let mut reply = Vec::new();
                compose::error(&mut reply, &words);
                self.finish(conn, part, &[], read_ns, Answer::Script(&reply));
                return true;
            }
        };
        loop {
            let progress = match run.step {
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
                    conn.fetched = None;
                    if run.is_alone {
                        self.end_lone(conn);
                    }
                    self.stats.request(CommandClass::Script, run.outcome);
                    self.finish(conn, part, &[], read_ns, answer.answer(&run.reply, None));
                    return true;
                }
            }
        }
    }

    /// What is known of a script before it runs.
    ///
    /// # Errors
    /// The words of the answer: why it does not.
    fn new_run(&mut self, conn: &Connection, asked: Asked<'_>) -> Result<Box<ScriptRun>, Vec<u8>> {
        let (digest, script) = self.find_script(asked.named, asked.name())?;
        if asked.named.read_only && script.has_flags && !script.no_writes {
            return Err(b"ERR Can not execute a script with write flag using *_ro command.".to_vec());
        }
        let mut known = Known::default();
        asked.keys().for_each(|key| known.add(asked.database, key));
        Ok(Box::new(ScriptRun {
            digest,
            script,
            known,
            step: Step::Hold,
            is_alone: !conn.in_transaction,
            is_held: conn.in_transaction,
            has_waited: false,
            attempts: 0,
            changes: Vec::new(),
            reply: Vec::new(),
            outcome: OutcomeClass::Refused,
        }))
    }

    /// Whether all of it can be done at once, on this shard.
    fn is_all_here(&self, conn: &Connection, known: &Known) -> bool {
        self.tier.is_none()
            && conn.transaction.is_none()
            && !self.holds.is_any()
            && !self.holds.is_wanted()
            && known.keys().all(|(_, key)| self.owner(key) == self.number)
    }

    fn hold_for_script(&mut self, conn: &mut Connection, run: &mut ScriptRun) -> Progress {
        let elsewhere =
            run.known.keys().find_map(|(_, key)| match self.destination(conn, key, self.owner(key)) {
                Destination::Moved(answer) => Some(answer),
                Destination::Here | Destination::There(_) => None,
            });
        if let Some(Answer::Moved { slot, shard, epoch }) = elsewhere {
            run.outcome = OutcomeClass::Moved;
            return Progress::Ends(OwnedAnswer::Moved { slot, shard, epoch });
        }
        if run.is_alone && run.known.len() > 0 && (run.has_waited || !self.is_all_here(conn, &run.known)) {
            match self.hold_alone(conn, || run.known.to_hold()) {
                Ok(true) => run.is_held = true,
                Ok(false) => return Progress::Waits,
                Err(why) => return Progress::Ends(OwnedAnswer::Exec(why)),
            }
        }
        let bytes_max = self.settings.scripts.memory_bytes;
        conn.fetched = Some(Box::new(Fetched { bytes_max, ..Fetched::default() }));
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
        for place in place..run.known.len() {
            let Some((database, key)) = run.known.get(place) else { break };
            let command = Command { database: *database, key, op: Op::Read(Read::default()) };
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

    fn begin_step(&mut self, conn: &mut Connection, work: Work<'_>, read_ns: u64) -> bool {
        let part = Part { work, reply: ReplyKind::Step, echo: &[], once: None };
        let prepared: Prepared = self.prepare_part(&part);
        self.begin(conn, &part, prepared, read_ns)
    }

    fn run_script(&mut self, conn: &mut Connection, run: &mut ScriptRun, asked: Asked<'_>) -> Progress {
        let items = conn.fetched.take().map(|fetched| fetched.items).unwrap_or_default();
        let Some(mut engine) = self.scripts.take() else {
            return Progress::Ends(OwnedAnswer::OutcomeUnknown);
        };
        let (now, limits) = (self.now, self.settings.scripts);
        let evicted = engine.store.stats().segments_evicted.read();
        let mut has_room = true;
        for ((database, key), item) in run.known.keys().zip(&items) {
            if let Some(item) = item {
                has_room &= Overlay::put(&mut engine.store, (*database, key), item, now);
            }
        }
        let port = if conn.on_shard_port { Port::Shard } else { Port::Common };
        engine.session.begin_script(port, asked.database);
        run.reply.clear();
        let (keys, arguments): (Vec<&[u8]>, Vec<&[u8]>) =
            (asked.keys().collect(), asked.arguments().collect());
        let invocation = Invocation {
            digest: &run.digest,
            keys: &keys,
            arguments: &arguments,
            resp3: conn.session.takes_pushes(),
            limits,
        };
        let mut overlay = Overlay {
            store: &mut engine.store,
            session: &mut engine.session,
            output: &mut engine.output,
            view: &self.view,
            limits: &script_limits(&self.settings.limits),
            now,
            known: &mut run.known,
            may_change: !asked.named.read_only && !run.script.no_writes,
            wanted: Vec::new(),
        };
        let mut ended = match has_room {
            true => engine.lua.run(&mut overlay, &invocation, &mut run.reply),
            false => Ended::Stopped(Stop::Memory),
        };
        let wanted = overlay.wanted;
        if engine.store.stats().segments_evicted.read() != evicted {
            // Something that it has written is lost.
            ended = Ended::Stopped(Stop::Memory);
        }
        if matches!(ended, Ended::Returned | Ended::Failed) {
            run.changes = Overlay::changes(&mut engine.store, &run.known, now);
        }
        Overlay::clear(&mut engine.store, &run.known, now);
        self.scripts = Some(engine);
        self.after_script(conn, run, (ended, wanted))
    }

    /// What comes behind a run.
    fn after_script(
        &mut self,
        conn: &mut Connection,
        run: &mut ScriptRun,
        (ended, wanted): (Ended, Vec<Key>),
    ) -> Progress {
        run.outcome = OutcomeClass::Refused;
        match ended {
            Ended::Returned => run.outcome = OutcomeClass::Done,
            Ended::Failed => {}
            Ended::Stopped(Stop::Host) => return self.restart_script(conn, run, wanted),
            Ended::Stopped(Stop::Time) => {
                self.stats.scripts_out_of_time.add(1);
                return Progress::Ends(OwnedAnswer::Busy { limit: TIME });
            }
            Ended::Stopped(Stop::Memory) => {
                self.stats.scripts_out_of_memory.add(1);
                return Progress::Ends(OwnedAnswer::Busy { limit: MEMORY });
            }
            Ended::Unknown => return Progress::Ends(OwnedAnswer::OutcomeUnknown),
        }
        conn.fetched = Some(Box::default());
        run.step = Step::Write(0, 0);
        Progress::Goes
    }

    /// Lets a script begin again with keys that it has named.
    fn restart_script(&mut self, conn: &mut Connection, run: &mut ScriptRun, wanted: Vec<Key>) -> Progress {
        let refuse = |run: &mut ScriptRun, words: &[u8]| {
            run.reply.clear();
            compose::error(&mut run.reply, words);
            Progress::Ends(OwnedAnswer::Script)
        };
        if conn.on_shard_port && wanted.iter().any(|(_, key)| self.owner(key) != self.number) {
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
        wanted.iter().for_each(|(database, key)| run.known.add(*database, key));
        run.step = Step::Hold;
        Progress::Goes
    }

    /// Makes the changes.
    fn write_for_script(
        &mut self,
        conn: &mut Connection,
        run: &mut ScriptRun,
        (mut place, mut parts): (usize, usize),
        read_ns: u64,
    ) -> Progress {
        let inline = self.settings.limits.value_bytes_inline;
        if !run.is_held && run.changes.iter().any(|(_, change)| change.value().len() > inline) {
            // It may have to wait for room. Nobody has had a turn since it has run, so the keys are free.
            match self.hold_alone(conn, || run.known.to_hold()) {
                Ok(true) => run.is_held = true,
                Ok(false) | Err(_) => return Progress::Ends(OwnedAnswer::Busy { limit: MEMORY }),
            }
        }
        // Those who ask nobody see all of them or none.
        let holds_readers = run.changes.len() > 1 && !self.holds.is_any() && place == 0 && parts == 0;
        if holds_readers {
            self.shard.hold_readers(true);
        }
        let mut waits = false;
        while let Some(((database, key), change)) = run.changes.get(place) {
            let work = match (change.op(inline), parts) {
                (Some(op), _) => Work::Keyed(Command { database: *database, key, op }),
                (None, 0) => {
                    let Some(write) = change.write() else { break };
                    let command = Command { database: *database, key, op: Op::Write(write) };
                    Work::ValueBegin { command, bytes: change.value().len() as u64 }
                }
                (None, 1) => Work::ValueData(change.value()),
                (None, _) => {
                    let expiry = change.write().map_or(Expiry::Never, |write| write.expiry);
                    Work::ValueEndWith { mode: WriteMode::Set, expiry, want_old: false }
                }
            };
            let is_whole = matches!(work, Work::Keyed(_) | Work::ValueEndWith { .. });
            if !self.begin_step(conn, work, read_ns) {
                waits = true;
                break;
            }
            (place, parts) = if is_whole { (place + 1, 0) } else { (place, parts + 1) };
        }
        if holds_readers {
            self.shard.hold_readers(false);
        }
        run.step = Step::Write(place, parts);
        if waits || !conn.queue.is_empty() {
            return Progress::Waits;
        }
        match conn.fetched.take().and_then(|fetched| fetched.failed) {
            Some(failed) => Progress::Ends(failed),
            None => Progress::Ends(OwnedAnswer::Script),
        }
    }
}

/// What is parsed for a script is in memory, and so are its values: none is received in slices.
fn script_limits(limits: &Limits) -> Limits {
    Limits { value_bytes_inline: u32::MAX as usize, frame_bytes_max: u32::MAX as usize, ..*limits }
}
