//! What a script has changed is written.

use super::known::Change;
use super::{ScriptRun, Step};
use crate::session::{About, Work};
use crate::worker::connection::Connection;
use crate::worker::joint::Progress;
use crate::worker::owned::OwnedAnswer;
use crate::worker::state::WorkerState;
use torc_engine::command::{Command, Expiry, Op, WriteMode};

impl WorkerState {
    /// Makes the changes that are left.
    pub(super) fn write_for_script(
        &mut self,
        conn: &mut Connection,
        run: &mut ScriptRun,
        (mut place, mut parts): (usize, usize),
        read_ns: u64,
    ) -> Progress {
        let inline = self.settings.limits.value_bytes_inline;
        if !run.is_held && run.changes.iter().any(|(_, change)| change.may_wait(inline)) {
            // It may have to wait for room. Nobody has had a turn since it has run, so the keys are free.
            match self.hold_alone(conn, || run.known.named()) {
                Progress::Goes => run.is_held = true,
                // Others wait for them. Nothing is changed yet: it holds them first, and runs again.
                Progress::Waits => {
                    run.has_waited = true;
                    run.known.forget_touched();
                    run.step = Step::Hold;
                    return Progress::Waits;
                }
                other @ Progress::Ends(_) => return other,
            }
        }
        // Those who ask nobody see all of them or none.
        // Messages come last, when all is done.
        let holds_readers = run.changes.len() > 1 && !self.holds.is_any() && place == 0 && parts == 0;
        if holds_readers {
            self.shard.hold_readers(true);
        }
        let mut waits = false;
        while let Some(((database, key), change)) = run.changes.get(place) {
            let work = match (change.op(inline), parts) {
                (Some(op), _) => Work::Keyed(Command { database: *database, key, op }),
                (None, _) if matches!(change, Change::Publish { .. }) => {
                    let sharded = matches!(change, Change::Publish { sharded: true, .. });
                    Work::Messages { about: About::Publish { sharded }, name: key, message: change.value() }
                }
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
            let is_whole = !matches!(work, Work::ValueBegin { .. } | Work::ValueData(_));
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
        match conn.fetched.as_mut().and_then(|fetched| fetched.failed.take()) {
            Some(failed) => Progress::Ends(failed),
            None => Progress::Ends(OwnedAnswer::Script),
        }
    }
}
