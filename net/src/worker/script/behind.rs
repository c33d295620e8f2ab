//! What a client that keeps copies is told of behind the reply to its script: the reply may be what keys had before they changed.

use super::known::Change;
use super::{Fetched, ScriptRun};
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::connection::Connection;
use crate::worker::state::WorkerState;
use crate::worker::tracking::add_word;
use torc_engine::words;

/// The keys that had a value when the script read them, and none when their shards began to remember the client: nobody was told that it went.
/// As [`words`].
fn gone(run: &ScriptRun, fetched: &Fetched) -> Vec<u8> {
    let mut keys = Vec::new();
    for ((key, change), found) in run.changes.iter().zip(&fetched.items) {
        if matches!(change, Change::Look) && found.is_none() && run.known.had_value(key) {
            add_word(&key.1, &mut keys);
        }
    }
    keys
}

impl WorkerState {
    /// Tells the client of a script of what has changed since its keys were read. The reply is composed.
    pub(super) fn tell_behind_script(
        &mut self,
        conn: &mut Connection,
        run: &ScriptRun,
        mut fetched: Fetched,
    ) {
        let Some(tracking) = &conn.tracking else { return };
        let is_by_prefixes = tracking.is_by_prefixes();
        let mut keys = gone(run, &fetched);
        #[cfg(test)]
        if self.has(Bug::UntoldScript) {
            return;
        }
        // What another connection is told stands in no order to the replies of this one.
        if !tracking.is_redirected() {
            words::each(&keys).for_each(|key| _ = fetched.told.note_key(key));
            keys = fetched.told.list();
        }
        if !keys.is_empty() {
            self.tell(conn.id, &keys, Some(conn), is_by_prefixes);
        }
    }
}
