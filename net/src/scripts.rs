//! The scripts that a server knows, by their digests: one table for all shards.
//!
//! Each shard compiles a script when it first runs it, and then asks the table no more; it looks again when the table has taken scripts
//! away. What SCRIPT LOAD brought stays; what only EVAL brought goes when there is no room, those that came first before others.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use torc_lua::Digest;

/// What a script takes beside its text, bytes: its entries here, and a little in each shard that has run it.
const SCRIPT_BYTES: usize = 512;
/// Compiled, a script takes about so many times its text.
const COMPILED: usize = 4;

/// The answer to a script for which there is no room.
pub(crate) const NO_ROOM: &[u8] = b"ERR busy: limit --script-cache-max reached";

/// The answer to a script that cannot be compiled.
pub(crate) fn not_compiled(error: &[u8]) -> Vec<u8> {
    [b"ERR Error compiling script (new function): ", error].concat()
}

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) whole: Box<[u8]>,
    /// Where the text that is compiled begins: behind what the first line says of it.
    start: usize,
    pub(crate) flags: ScriptFlags,
}

/// What the first line of a script says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ScriptFlags {
    /// Anything at all.
    pub(crate) are_told: bool,
    /// That it changes nothing.
    pub(crate) no_writes: bool,
}

#[derive(Debug)]
pub(crate) struct Scripts {
    bytes_max: usize,
    /// Greater each time that scripts were taken away.
    epoch: AtomicU64,
    bytes: AtomicU64,
    count: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    scripts: HashMap<Digest, Entry>,
    bytes: usize,
    /// Those that EVAL brought, in that order. Some may have gone, or stay by now.
    passing: VecDeque<Digest>,
}

#[derive(Debug)]
struct Entry {
    script: Arc<Script>,
    stays: bool,
}

fn cost(script: &Script) -> usize {
    SCRIPT_BYTES + script.whole.len() * (1 + COMPILED)
}

impl Scripts {
    /// An empty table that may take so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Scripts {
        let (epoch, bytes, count) = (0.into(), 0.into(), 0.into());
        Scripts { bytes_max, epoch, bytes, count, table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has seen this epoch has heard of all that was taken away before.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    /// Scripts that are known, and the bytes that they take.
    pub(crate) fn figures(&self) -> (u64, u64) {
        (self.count.load(Relaxed), self.bytes.load(Relaxed))
    }

    fn tell(&self, table: &Table) {
        self.bytes.store(table.bytes as u64, Relaxed);
        self.count.store(table.scripts.len() as u64, Relaxed);
    }

    pub(crate) fn find(&self, digest: &Digest) -> Option<Arc<Script>> {
        self.lock().scripts.get(digest).map(|entry| entry.script.clone())
    }

    /// Which of them are known.
    pub(crate) fn known(&self, mut visit: impl FnMut(&dyn Fn(&Digest) -> bool)) {
        let table = self.lock();
        visit(&|digest| table.scripts.contains_key(digest));
    }

    /// Adds a script. `stays`: until all are flushed. `None`: there is no room.
    pub(crate) fn add(&self, digest: Digest, script: Script, stays: bool) -> Option<Arc<Script>> {
        let mut table = self.lock();
        if let Some(entry) = table.scripts.get_mut(&digest) {
            entry.stays |= stays;
            return Some(entry.script.clone());
        }
        let bytes = cost(&script);
        if table.bytes + bytes > self.bytes_max {
            self.make_room(&mut table, bytes);
        }
        if table.bytes + bytes > self.bytes_max {
            return None;
        }
        let script = Arc::new(script);
        table.bytes += bytes;
        table.scripts.insert(digest, Entry { script: script.clone(), stays });
        if !stays {
            table.passing.push_back(digest);
        }
        self.tell(&table);
        Some(script)
    }

    /// Takes scripts away that do not stay, an eighth of what there may be at least: shards look again each time.
    fn make_room(&self, table: &mut Table, bytes: usize) {
        let wanted = self.bytes_max.saturating_sub(bytes.max(self.bytes_max / 8));
        while table.bytes > wanted
            && let Some(digest) = table.passing.pop_front()
        {
            if table.scripts.get(&digest).is_some_and(|entry| !entry.stays)
                && let Some(entry) = table.scripts.remove(&digest)
            {
                table.bytes -= cost(&entry.script);
            }
        }
        self.tell(table);
        self.epoch.fetch_add(1, Release);
    }

    pub(crate) fn flush(&self) {
        let mut table = self.lock();
        *table = Table::default();
        self.tell(&table);
        self.epoch.fetch_add(1, Release);
    }
}

impl Script {
    /// Reads a script for a table, and sees whether it can be compiled.
    ///
    /// # Errors
    /// The words of the answer: why it is none.
    pub(crate) fn read(text: &[u8], table: &Scripts) -> Result<Script, Vec<u8>> {
        // One that is too long would take long to be compiled.
        if text.len() * (1 + COMPILED) > table.bytes_max {
            return Err(NO_ROOM.to_vec());
        }
        let script = Script::with_flags(text)?;
        torc_lua::check(script.text()).map_err(|error| not_compiled(&error))?;
        Ok(script)
    }

    /// A first line `#!lua flags=no-writes,...` says something of a script. The line's end stays, so that places are told right.
    fn with_flags(text: &[u8]) -> Result<Script, Vec<u8>> {
        let mut script = Script { whole: text.into(), start: 0, flags: ScriptFlags::default() };
        let Some(rest) = text.strip_prefix(b"#!") else { return Ok(script) };
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or(b"ERR Invalid script shebang")?;
        let mut words = rest[..end].split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let engine = words.next().unwrap_or_default();
        if engine != b"lua" {
            return Err(bad(b"ERR Unexpected engine in script shebang: #!", engine));
        }
        for word in words {
            let flags = word.strip_prefix(b"flags=");
            let flags = flags.ok_or_else(|| bad(b"ERR Unknown lua shebang option: ", word))?;
            for flag in flags.split(|byte| *byte == b',').filter(|flag| !flag.is_empty()) {
                match flag {
                    b"no-writes" => script.flags.no_writes = true,
                    b"allow-oom" | b"allow-stale" | b"no-cluster" | b"allow-cross-slot-keys" => {}
                    _ => return Err(bad(b"ERR Unexpected flag in script shebang: ", flag)),
                }
            }
        }
        script.flags.are_told = true;
        script.start = text.len() - rest.len() + end;
        Ok(script)
    }

    /// What is compiled.
    pub(crate) fn text(&self) -> &[u8] {
        &self.whole[self.start..]
    }
}

fn bad(text: &[u8], word: &[u8]) -> Vec<u8> {
    [text, word].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use torc_lua::digest;

    fn add(scripts: &Scripts, text: &str, stays: bool) -> bool {
        let script = Script::with_flags(text.as_bytes()).expect("no header");
        scripts.add(digest(text.as_bytes()), script, stays).is_some()
    }

    #[test]
    fn what_eval_brought_goes_when_there_is_no_room() {
        let scripts = Scripts::new(10 * (SCRIPT_BYTES + 5 * 8));
        assert!(add(&scripts, "return s", true));
        for number in 0..100 {
            assert!(add(&scripts, &format!("return {}", number % 10), false));
        }
        let (count, bytes) = scripts.figures();
        assert!(count <= 10 && bytes <= 10 * (SCRIPT_BYTES as u64 + 40), "{count} {bytes}");
        assert!(scripts.find(&digest(b"return s")).is_some() && scripts.epoch() > 0);
        for number in 0..100 {
            add(&scripts, &format!("return{number:2}"), true);
        }
        assert!(!add(&scripts, "return t", false), "those that stay take all the room");
        scripts.flush();
        assert_eq!(scripts.figures(), (0, 0));
        assert!(add(&scripts, "return t", false));
    }

    #[test]
    fn first_lines_say_what_a_script_does() {
        let read = |text: &str| Script::with_flags(text.as_bytes());
        let script = read("#!lua flags=no-writes,allow-stale\nreturn 1").expect("good");
        assert!(script.flags.no_writes && script.flags.are_told);
        assert_eq!(script.text(), b"\nreturn 1");
        assert!(!read("#!lua\nreturn 1").expect("good").flags.no_writes);
        for (text, why) in [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!js\n", "ERR Unexpected engine in script shebang: #!js"),
            ("#!lua name=x\n", "ERR Unknown lua shebang option: name=x"),
            ("#!lua flags=x\n", "ERR Unexpected flag in script shebang: x"),
        ] {
            assert_eq!(read(text).expect_err("bad"), why.as_bytes());
        }
    }
}
