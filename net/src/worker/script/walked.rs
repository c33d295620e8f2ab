//! KEYS in a script: when it calls that, it ends, all shards are walked, and it begins again with the keys that were found among those that it
//! may use. From then on KEYS tells which of its keys match and have an item, so what the script itself has changed is in it. Keys that others
//! make while the walk passes are told or not, as KEYS tells them outside of scripts.

use super::known::{Key, Known};
use super::{Fetched, ScriptRun, Step};
use crate::session::resp::PATTERN_STEPS_MAX;
use crate::session::{NotWalked, Over, Part, ReplyKind, Work};
use crate::worker::connection::Connection;
use crate::worker::holds::KEYS_MAX;
use crate::worker::joint::Progress;
use crate::worker::owned::OwnedAnswer;
use crate::worker::state::WorkerState;
use crate::worker::tracking::add_word;
use torc_engine::Shard;
use torc_engine::command::{Command, Millis, Op, Outcome, Read};
use torc_engine::words;
use torc_proto::resp::glob;

/// What a script begins again for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Keys that it has named.
    pub(super) keys: Vec<Key>,
    /// A database and a pattern of KEYS.
    pub(super) walk: Option<Key>,
}

impl Wanted {
    pub(super) fn is_any(&self) -> bool {
        !self.keys.is_empty() || self.walk.is_some()
    }
}

/// The keys of a database that a script may use, match, and have an item in its store; as [`words`]. `None`: the pattern takes too many steps.
pub(super) fn matching(
    (store, known): (&mut Shard, &Known),
    (database, pattern): (u16, &[u8]),
    now: Millis,
) -> Option<Vec<u8>> {
    let (mut found, mut steps) = (Vec::new(), PATTERN_STEPS_MAX);
    for (_, key) in known.named().filter(|(of, _)| *of == database) {
        if !glob::matches(pattern, key, &mut steps)? {
            continue;
        }
        let look = Command { database, key, op: Op::Read(Read::LOOK) };
        let hash = store.key_hash(key);
        if let Outcome::Item(_) = store.execute(&look, hash, now) {
            add_word(key, &mut found);
        }
    }
    Some(found)
}

impl WorkerState {
    /// Begins to walk for a script. Nothing is held meanwhile.
    pub(super) fn begin_walk_for_script(&mut self, conn: &mut Connection, run: &mut ScriptRun, walk: Key) {
        conn.fetched = Some(Box::default());
        run.walked.push(walk);
        run.step = Step::Walk;
    }

    /// Goes on with the walk for the last of a script's patterns.
    pub(super) fn walk_for_script(
        &mut self,
        conn: &mut Connection,
        run: &mut ScriptRun,
        read_ns: u64,
    ) -> Progress {
        let Some((database, pattern)) = run.walked.last() else { return Progress::Ends(OwnedAnswer::Local) };
        if !conn.queue.is_empty() {
            return Progress::Waits;
        }
        if conn.fetched.as_ref().is_some_and(|fetched| !fetched.is_walked()) {
            let work = Work::Walk { database: *database, over: Over::Keys };
            let part = Part { work, reply: ReplyKind::Step, echo: pattern, once: None };
            let prepared = self.prepare_part(&part);
            self.begin(conn, &part, prepared, read_ns);
        }
        match conn.fetched.as_deref_mut() {
            Some(Fetched { failed: Some(failed), .. }) => {
                Progress::Ends(std::mem::replace(failed, OwnedAnswer::Local))
            }
            // It could not hold them all.
            Some(Fetched { found: Some(found), .. }) if words::each(found).nth(KEYS_MAX).is_some() => {
                Progress::Ends(OwnedAnswer::NotWalked(NotWalked::TooMuch))
            }
            Some(Fetched { found: Some(found), .. }) => {
                words::each(found).for_each(|key| run.known.add(*database, key));
                run.step = Step::Hold;
                Progress::Goes
            }
            _ => Progress::Waits,
        }
    }
}
