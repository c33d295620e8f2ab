//! What a shard runs scripts with, made when the first one comes: a Lua state, and a store for the values that a script is about.
//!
//! A script works on copies. The values of its keys are put into a store of its own, where its commands are executed as a shard executes
//! them; what they have changed is written to the shards when the script has ended. So a script that is stopped has changed nothing.

use super::state::WorkerState;
use crate::scripts::{BadHeader, NO_ROOM, Script, not_compiled};
use crate::session::resp;
use crate::session::{Output, Script as Named};
use std::collections::HashMap;
use std::sync::Arc;
use torc_engine::{Shard, ShardConfig};
use torc_lua::{Digest, Interpreter};

/// Share of its store that a script's values may take: what it replaces takes room, too.
const VALUES_SHARE: u64 = 4;
/// Least memory of that store, bytes.
const STORE_BYTES_MIN: u64 = 4 << 20;
/// Segments of that store, about.
const SEGMENTS: u64 = 32;
/// Keys that scripts may have in it.
const NOSCRIPT: &[u8] = b"NOSCRIPT No matching script. Please use EVAL.";

#[derive(Debug)]
pub(crate) struct ScriptEngine {
    pub(super) lua: Interpreter,
    pub(super) store: Shard,
    pub(super) session: resp::Session,
    pub(super) output: Output,
    /// Those that are compiled.
    scripts: HashMap<Digest, Arc<Script>>,
    /// Of the table of all scripts, when it was last looked at.
    epoch: u64,
}

impl ScriptEngine {
    /// `None`: there is no memory.
    fn new(memory_bytes: u64, now: u64) -> Option<Box<ScriptEngine>> {
        let bytes = (VALUES_SHARE * memory_bytes).max(STORE_BYTES_MIN);
        let segment_bytes = ((bytes / SEGMENTS).next_power_of_two() as usize).clamp(64 << 10, 1 << 20);
        let config =
            ShardConfig { segment_bytes, value_bytes_max: memory_bytes, now, ..ShardConfig::new(bytes) };
        Some(Box::new(ScriptEngine {
            lua: Interpreter::new(resp::REDIS_VERSION)?,
            store: Shard::new(config).ok()?,
            session: resp::Session::default(),
            output: Output::default(),
            scripts: HashMap::new(),
            epoch: 0,
        }))
    }

    /// Memory that it takes.
    pub(super) fn bytes_held(&self) -> usize {
        self.lua.bytes_held() + self.store.bytes_held() as usize
    }
}

impl WorkerState {
    /// What runs scripts. `None`: there is no memory for it.
    pub(super) fn script_engine(&mut self) -> Option<&mut ScriptEngine> {
        if self.scripts.is_none() {
            self.scripts = ScriptEngine::new(self.settings.scripts.memory_bytes as u64, self.now);
        }
        self.scripts.as_deref_mut()
    }

    /// A script that is compiled, by its text or its digits.
    ///
    /// # Errors
    /// The words of the answer: why not.
    pub(super) fn find_script(
        &mut self,
        named: Named,
        name: &[u8],
    ) -> Result<(Digest, Arc<Script>), Vec<u8>> {
        let digest = match named.by_digits {
            true => torc_lua::from_digits(name).ok_or(NOSCRIPT)?,
            false => torc_lua::digest(name),
        };
        let shared = self.shared.clone();
        let Some(engine) = self.script_engine() else { return Err(b"OOM no memory for scripts".to_vec()) };
        if engine.epoch != shared.scripts.epoch() {
            engine.forget(&shared.scripts);
        }
        if let Some(script) = engine.scripts.get(&digest) {
            return Ok((digest, script.clone()));
        }
        let script = match shared.scripts.find(&digest) {
            Some(script) => script,
            None if named.by_digits => return Err(NOSCRIPT.to_vec()),
            None => {
                let script = Script::read(name).map_err(|BadHeader(words)| words)?;
                torc_lua::check(script.text()).map_err(|error| not_compiled(&error))?;
                shared.scripts.add(digest, script, false).ok_or(NO_ROOM)?
            }
        };
        engine.lua.load(&digest, script.text()).map_err(|error| not_compiled(&error))?;
        engine.scripts.insert(digest, script.clone());
        let compiled = engine.scripts.len();
        self.stats.compiled_scripts.set(compiled as u64);
        Ok((digest, script))
    }
}

impl ScriptEngine {
    /// Forgets what the table has not got any more.
    fn forget(&mut self, table: &crate::scripts::Scripts) {
        self.epoch = table.epoch();
        let ScriptEngine { scripts, lua, .. } = self;
        table.known(|is_known| scripts.retain(|digest, _| is_known(digest)));
        lua.retain(|digest| scripts.contains_key(digest));
    }
}
