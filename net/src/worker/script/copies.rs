//! A run of a script, on copies of what its keys have.

use super::known::Item;
#[cfg(test)]
use super::known::Known;
use super::overlay::{Overlay, Shown};
use super::run::Asked;
use super::walked::Wanted;
use super::{MEMORY, ScriptRun, TIME};
use crate::metrics::OutcomeClass;
use crate::session::{Limits, Port, Protocol};
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::owned::OwnedAnswer;
use crate::worker::state::WorkerState;
use std::time::Instant;
use torc_lua::{Ended, Invocation, Limits as TimeAndMemory, Stop};

impl WorkerState {
    /// Runs a script: how it ends, and what it is to begin again for. What it would change, and its reply, are in the run then.
    pub(super) fn run_on_copies(
        &mut self,
        run: &mut ScriptRun,
        items: &[Option<Item>],
        asked: Asked<'_>,
        (port, resp3): (Port, bool),
    ) -> (Ended, Wanted) {
        let Some(mut engine) = self.scripts.take() else { return (Ended::Unknown, Wanted::default()) };
        let (now, limits) = (self.now, self.settings.scripts);
        // All attempts have the time of one.
        let limits = TimeAndMemory { time: limits.time.saturating_sub(run.used), ..limits };
        // Of a run that was for nothing.
        engine.take_counted(|_, _| {});
        engine.trim(limits.memory_bytes as u64, now);
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
        engine.session.begin_script(port, asked.database);
        run.reply.clear();
        let (keys, arguments): (Vec<&[u8]>, Vec<&[u8]>) =
            (asked.keys().collect(), asked.arguments().collect());
        let invocation =
            Invocation { digest: &run.digest, keys: &keys, arguments: &arguments, resp3, limits };
        let mut overlay = Overlay {
            store: &mut engine.store,
            session: &mut engine.session,
            output: &mut engine.output,
            calls: &engine.calls,
            view: &self.view,
            limits: &script_limits(&self.settings.limits),
            now,
            known: &mut run.known,
            bytes_max: limits.memory_bytes,
            answer_bytes: 0,
            may_change: run.may_change,
            ends: Instant::now() + limits.time,
            has_read: false,
            shown: self.monitoring.is_on.then(Shown::default),
            published: Vec::new(),
            published_bytes: 0,
            walked: &run.walked,
            wanted: Wanted::default(),
        };
        let mut ended = match has_room {
            true => engine.lua.run(&mut overlay, &invocation, &mut run.reply),
            false => Ended::Stopped(Stop::Memory),
        };
        if run.is_held && has_room {
            self.turn.known_ns += engine.lua.since().as_nanos() as u64;
        }
        let Overlay { wanted, published, shown, has_read, .. } = overlay;
        run.has_read = has_read;
        run.shown = shown;
        if let Ended::Stopped(Stop::Host) = ended {
            run.used += engine.lua.since();
        }
        if engine.store.stats().segments_evicted.read() != evicted {
            // Something that it has written is lost.
            ended = Ended::Stopped(Stop::Memory);
        }
        if matches!(ended, Ended::Returned | Ended::Failed) {
            run.changes = Overlay::changes(&mut engine.store, &run.known, now);
            run.changes.extend(published);
        }
        let to_clear = &run.known;
        #[cfg(test)]
        let (nothing, keeps) = (Known::default(), self.has(Bug::KeptCopies));
        #[cfg(test)]
        let to_clear = if keeps { &nothing } else { to_clear };
        Overlay::clear(&mut engine.store, to_clear, now);
        self.scripts = Some(engine);
        (ended, wanted)
    }

    /// Counts what a script has called and read, and what of it has failed, and shows it to monitors: when it is known that the run was not for
    /// nothing, and before another script is run.
    pub(super) fn note_run(&mut self, run: &mut ScriptRun) {
        if let Some(engine) = &mut self.scripts {
            let ([hits, misses], errors) = engine.take_counted(|command, counts| {
                self.stats.called_by_script(command, counts);
            });
            engine.trim(self.settings.scripts.memory_bytes as u64, self.now);
            let stats = self.shard.stats();
            stats.hits.add(hits);
            stats.misses.add(misses);
            if let Some(errors) = errors {
                self.stats.errors_answered(Protocol::Resp, &errors);
            }
        }
        if let Some(shown) = run.shown.take() {
            self.note_called(&shown);
        }
    }

    /// The answer to a script that was stopped, or could not be run.
    pub(super) fn stopped_for_good(&self, ended: Ended) -> Option<OwnedAnswer> {
        match ended {
            Ended::Returned | Ended::Failed | Ended::Stopped(Stop::Host) => None,
            Ended::Stopped(Stop::Time) => {
                self.stats.scripts_out_of_time.add(1);
                Some(OwnedAnswer::Busy { limit: TIME })
            }
            Ended::Stopped(Stop::Memory) => {
                self.stats.scripts_out_of_memory.add(1);
                Some(OwnedAnswer::Busy { limit: MEMORY })
            }
            Ended::Unknown => Some(OwnedAnswer::OutcomeUnknown),
        }
    }
}

/// As what a script counts that has ended so.
pub(super) fn outcome_of(ended: Ended) -> OutcomeClass {
    if ended == Ended::Returned { OutcomeClass::Done } else { OutcomeClass::Refused }
}

/// What is parsed for a script is in memory, and so are its values: none is received in slices.
fn script_limits(limits: &Limits) -> Limits {
    Limits { value_bytes_inline: u32::MAX as usize, frame_bytes_max: u32::MAX as usize, ..*limits }
}
