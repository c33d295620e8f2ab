//! The scripts that a shard has compiled.

use super::engine::ScriptEngine;
use crate::scripts::{BadHeader, NO_ROOM, Script, not_compiled};
use crate::session::Script as Named;
use crate::worker::state::WorkerState;
use std::sync::Arc;
use torc_lua::Digest;

const NOSCRIPT: &[u8] = b"NOSCRIPT No matching script. Please use EVAL.";

impl WorkerState {
    /// What runs scripts. `None`: there is no memory for it.
    fn script_engine(&mut self) -> Option<&mut ScriptEngine> {
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
