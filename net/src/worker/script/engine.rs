//! What a shard runs scripts with, made when the first one comes: a Lua state, and a store for the values that a script is about.
//!
//! A script works on copies. The values of its keys are put into a store of its own, where its commands are executed as a shard executes
//! them; what they have changed is written to the shards when the script has ended. So a script that is stopped has changed nothing.

use super::find::Recent;
use crate::scripts::{ScriptFlags, Scripts};
use crate::session::resp;
use crate::session::{Calls, Errors, FATES, Output};
use std::collections::HashMap;
use std::sync::Arc;
use torc_engine::{Shard, ShardConfig};
use torc_lua::{Digest, Interpreter};

/// Its store has so many times the memory that a script's values may take: what it replaces takes room, too.
const VALUES_SHARE: u64 = 2;
/// A store that has taken more is given back when the script has ended, bytes.
const STORE_BYTES_KEPT: u64 = 2 << 20;
/// Least memory of that store, bytes.
const STORE_BYTES_MIN: u64 = 4 << 20;
/// Segments of that store, about: some are open at a time, and they are far less than what is kept.
const SEGMENTS: u64 = 128;

#[derive(Debug)]
pub(crate) struct ScriptEngine {
    pub(super) lua: Interpreter,
    pub(super) store: Shard,
    pub(super) session: resp::Session,
    pub(super) output: Output,
    /// What the script under way has called.
    pub(super) calls: Arc<Calls>,
    pub(super) recent: Recent,
    /// Those that are compiled.
    pub(super) scripts: HashMap<Digest, ScriptFlags>,
    /// Of the table of all scripts, when it was last looked at.
    pub(super) epoch: u64,
}

/// An empty store for scripts that may take so much memory.
fn store(memory_bytes: u64, now: u64) -> Option<Shard> {
    let bytes = (VALUES_SHARE * memory_bytes).max(STORE_BYTES_MIN);
    let segment_bytes = ((bytes / SEGMENTS).next_power_of_two() as usize).clamp(64 << 10, 1 << 20);
    let config = ShardConfig { segment_bytes, value_bytes_max: memory_bytes, now, ..ShardConfig::new(bytes) };
    Shard::new(config).ok()
}

impl ScriptEngine {
    /// `None`: there is no memory.
    pub(super) fn new(memory_bytes: u64, now: u64) -> Option<Box<ScriptEngine>> {
        Some(Box::new(ScriptEngine {
            lua: Interpreter::new(resp::REDIS_VERSION)?,
            store: store(memory_bytes, now)?,
            session: resp::Session::default(),
            output: Output::default(),
            calls: Arc::default(),
            recent: Recent::default(),
            scripts: HashMap::new(),
            epoch: 0,
        }))
    }

    /// Gives memory back that scripts have taken.
    pub(super) fn trim(&mut self, memory_bytes: u64, now: u64) {
        if self.store.bytes_held() > STORE_BYTES_KEPT
            && let Some(store) = store(memory_bytes, now)
        {
            self.store = store;
        }
    }

    /// Hands out the calls of the last run, as [`Calls::take`] does. Returns its hits and misses and what has failed in it; all is forgotten.
    pub(super) fn take_counted(
        &mut self,
        take: impl FnMut(usize, [u64; FATES]),
    ) -> ([u64; 2], Option<Box<Errors>>) {
        self.calls.take(take);
        let stats = self.store.stats();
        let read = [&stats.hits, &stats.misses].map(|count| {
            let counted = count.read();
            count.set(0);
            counted
        });
        (read, self.output.take_errors())
    }

    /// Memory that it takes.
    pub(in crate::worker) fn bytes_held(&self) -> usize {
        self.lua.bytes_held() + self.store.bytes_held() as usize
    }
}

impl ScriptEngine {
    /// Forgets what the table has not got any more.
    pub(super) fn forget(&mut self, table: &Scripts) {
        self.epoch = table.epoch();
        let ScriptEngine { scripts, lua, .. } = self;
        table.known(|is_known| scripts.retain(|digest, _| is_known(digest)));
        lua.retain(|digest| scripts.contains_key(digest));
    }
}
