//! What a client that keeps copies is told of behind the reply to its script: the reply may be what keys had before they changed.

use super::known::{Change, Known};
use super::{Fetched, ScriptRun};
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::connection::Connection;
use crate::worker::state::WorkerState;
use crate::worker::tracking::add_word;
use std::collections::BTreeMap;
use torc_engine::words;

/// The keys of a script, if its client keeps copies, and whether it is told of each behind the reply.
#[derive(Debug, Default)]
pub(super) struct Told {
    keys: BTreeMap<Box<[u8]>, bool>,
    bytes: usize,
}

impl Told {
    pub(super) fn new(conn: &Connection, known: &Known) -> Told {
        if conn.tracking.is_none() {
            return Told::default();
        }
        let keys: BTreeMap<_, _> = known.keys().map(|(_, key)| (key.clone(), false)).collect();
        let bytes = keys.keys().map(|key| key.len() + size_of::<(Box<[u8]>, bool)>()).sum();
        Told { keys, bytes }
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.bytes
    }

    /// Keys have changed, as [`words`]; none means all. Whether they are the script's.
    pub(super) fn note(&mut self, keys: &[u8]) -> bool {
        if keys.is_empty() {
            self.keys.values_mut().for_each(|is_told| *is_told = true);
            return false;
        }
        let mut are_own = true;
        for key in words::each(keys) {
            are_own &= self.note_key(key);
        }
        are_own
    }

    fn note_key(&mut self, key: &[u8]) -> bool {
        self.keys.get_mut(key).map(|is_told| *is_told = true).is_some()
    }

    /// Those to be told of, as [`words`].
    fn list(&self) -> Vec<u8> {
        let mut keys = Vec::new();
        self.keys.iter().filter(|(_, is_told)| **is_told).for_each(|(key, _)| add_word(key, &mut keys));
        keys
    }
}

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
