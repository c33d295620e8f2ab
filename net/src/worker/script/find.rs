//! The scripts that a shard has compiled.

use super::engine::ScriptEngine;
use crate::scripts::{NO_ROOM, Script, ScriptFlags, not_compiled};
use crate::session::Script as Named;
use crate::worker::state::WorkerState;
use torc_lua::Digest;

const NO_MEMORY: &[u8] = b"OOM there is no memory for scripts";
const NOSCRIPT: &[u8] = b"NOSCRIPT No matching script. Please use EVAL.";

/// Longer texts are digested each time, bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;
const RECENT: usize = 8;

/// Digests of texts that came not long ago: a text is compared faster than digested.
#[derive(Debug, Default)]
pub(super) struct Recent([(Box<[u8]>, Digest); RECENT]);

impl Recent {
    fn digest(&mut self, text: &[u8]) -> Digest {
        // Texts of one length are seldom used in turn.
        let place = &mut self.0[text.len() % RECENT];
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return torc_lua::digest(text);
        }
        if *place.0 != *text {
            *place = (text.into(), torc_lua::digest(text));
        }
        place.1
    }
}

impl WorkerState {
    /// A script that is compiled, by its text or its digits.
    ///
    /// # Errors
    /// The words of the answer: why not.
    pub(super) fn find_script(
        &mut self,
        named: Named,
        name: &[u8],
    ) -> Result<(Digest, ScriptFlags), Vec<u8>> {
        let table = &self.shared.scripts;
        if self.scripts.is_none() {
            self.scripts = ScriptEngine::new(self.settings.scripts.memory_bytes as u64, self.now);
        }
        let engine = self.scripts.as_deref_mut().ok_or(NO_MEMORY)?;
        let digest = match named.by_digits {
            true => torc_lua::from_digits(name).ok_or(NOSCRIPT)?,
            false => engine.recent.digest(name),
        };
        if engine.epoch != table.epoch() {
            engine.forget(table);
        }
        if let Some(flags) = engine.scripts.get(&digest) {
            return Ok((digest, *flags));
        }
        let script = match table.find(&digest) {
            Some(script) => script,
            None if named.by_digits => return Err(NOSCRIPT.to_vec()),
            None => table.add(digest, Script::read(name, table)?, false).ok_or(NO_ROOM)?,
        };
        engine.lua.load(&digest, script.text()).map_err(|error| not_compiled(&error))?;
        engine.scripts.insert(digest, script.flags);
        self.stats.compiled_scripts.set(engine.scripts.len() as u64);
        Ok((digest, script.flags))
    }
}
