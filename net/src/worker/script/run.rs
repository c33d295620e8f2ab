//! How a script goes on, at the shard that its client speaks to.

use super::known::{Change, Key, Known};
use super::overlay::{Overlay, Shown};
use super::{Fetched, MEMORY, ScriptRun, Step, TIME};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Limits, Part, Port, ReplyKind, Script as Named, Work};
use crate::worker::connection::Connection;
use crate::worker::execute::Prepared;
use crate::worker::joint::Progress;
use crate::worker::owned::OwnedAnswer;
use crate::worker::state::WorkerState;
use std::time::{Duration, Instant};
use torc_engine::command::{Command, Op, Read};
use torc_engine::words;
use torc_lua::{Ended, Invocation, Limits as TimeAndMemory, Stop};
use torc_proto::resp::compose;

/// A script begins again for keys that it names so many times at most.
const ATTEMPTS_MAX: u32 = 100;

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
        let (digest, flags) = self.find_script(asked.named, asked.name())?;
        if asked.named.read_only && flags.are_told && !flags.no_writes {
            return Err(b"ERR Can not execute a script with write flag using *_ro command.".to_vec());
        }
        let mut known = Known::default();
        asked.keys().for_each(|key| known.add(asked.database, key));
        Ok(Box::new(ScriptRun {
            digest,
            flags,
            known,
            step: Step::Hold,
            is_alone: !conn.in_transaction,
            is_held: conn.in_transaction,
            has_waited: false,
            attempts: 0,
            used: Duration::ZERO,
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
        if let Some(moved) = self.elsewhere(conn, run.known.named()) {
            run.outcome = OutcomeClass::Moved;
            return Progress::Ends(moved);
        }
        if run.is_alone && run.known.len() > 0 && (run.has_waited || !self.is_all_here(conn, &run.known)) {
            match self.hold_alone(conn, || run.known.named()) {
                Progress::Goes => run.is_held = true,
                other => return other,
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

    pub(super) fn begin_step(&mut self, conn: &mut Connection, work: Work<'_>, read_ns: u64) -> bool {
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
        // All attempts have the time of one.
        let limits = TimeAndMemory { time: limits.time.saturating_sub(run.used), ..limits };
        let evicted = engine.store.stats().segments_evicted.read();
        let mut has_room = true;
        for (place, item) in items.iter().enumerate() {
            let (Some((database, key)), Some(item)) = (run.known.get(place), item) else {
                run.known.set_before(place, None);
                continue;
            };
            let version = Overlay::put(&mut engine.store, (*database, key), item, now);
            has_room &= version.is_some();
            run.known.set_before(place, version);
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
            bytes_max: limits.memory_bytes,
            answer_bytes: 0,
            may_change: !asked.named.read_only && !run.flags.no_writes,
            ends: Instant::now() + limits.time,
            has_read: false,
            published: Vec::new(),
            published_bytes: 0,
            shown: self.monitoring.is_on.then(Shown::default),
            wanted: Vec::new(),
        };
        let mut ended = match has_room {
            true => engine.lua.run(&mut overlay, &invocation, &mut run.reply),
            false => Ended::Stopped(Stop::Memory),
        };
        let Overlay { wanted, published, shown, has_read, .. } = overlay;
        if let Ended::Stopped(Stop::Host) = ended {
            run.used += engine.lua.since();
        } else if let Some(shown) = shown {
            self.note_called(&shown);
        }
        if engine.store.stats().segments_evicted.read() != evicted {
            // Something that it has written is lost.
            ended = Ended::Stopped(Stop::Memory);
        }
        if matches!(ended, Ended::Returned | Ended::Failed) {
            run.changes = if has_read { looks_told(conn, &run.known) } else { Vec::new() };
            run.changes.extend(Overlay::changes(&mut engine.store, &run.known, now));
            run.changes.extend(published);
        }
        Overlay::clear(&mut engine.store, &run.known, now);
        engine.trim(limits.memory_bytes as u64, now);
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
        conn.fetched = Some(Box::new(Fetched { is_told: true, ..Fetched::default() }));
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
}

/// If its client keeps copies, and the script has read: looks at its keys, by which their shards remember to tell it. Nobody changes
/// them meanwhile; and before the script's own changes, which the client is told then, as these may have come behind the reads.
fn looks_told(conn: &Connection, known: &Known) -> Vec<(Key, Change)> {
    match conn.tracking.as_ref().is_some_and(|tracking| tracking.reads()) {
        true => known.keys().map(|key| (key.clone(), Change::Look)).collect(),
        false => Vec::new(),
    }
}

/// What is parsed for a script is in memory, and so are its values: none is received in slices.
fn script_limits(limits: &Limits) -> Limits {
    Limits { value_bytes_inline: u32::MAX as usize, frame_bytes_max: u32::MAX as usize, ..*limits }
}
