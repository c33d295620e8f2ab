//! Settings that a client can change while the server runs (CONFIG SET, CLIENT PAUSE), as all shards see them.

use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use torc_engine::command::Millis;

/// Each is a number of its own that orders nothing, so all accesses are relaxed.
#[derive(Debug)]
pub(crate) struct Tunables {
    /// Silent clients are closed after this; 0: never.
    idle_ms_max: AtomicU64,
    connections_max: AtomicUsize,
    /// Memory of all shards, bytes.
    memory: AtomicU64,
    /// What each shard has less than at the start, bytes.
    memory_less: AtomicU64,
    /// Held while both are set.
    memory_is_set: Mutex<()>,
    /// Until then commands of clients wait.
    paused_until: AtomicU64,
    /// All do, not only those that may change something.
    pauses_all: AtomicBool,
}

/// Which commands of clients wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    Changes,
    All,
}

impl Tunables {
    pub(crate) fn new(idle_ms_max: u64, connections_max: usize, memory: u64) -> Tunables {
        Tunables {
            idle_ms_max: idle_ms_max.into(),
            connections_max: connections_max.into(),
            memory: memory.into(),
            memory_less: 0.into(),
            memory_is_set: Mutex::default(),
            paused_until: 0.into(),
            pauses_all: false.into(),
        }
    }

    pub(crate) fn idle_ms_max(&self) -> u64 {
        self.idle_ms_max.load(Relaxed)
    }

    pub(crate) fn set_idle_ms_max(&self, ms: u64) {
        self.idle_ms_max.store(ms, Relaxed);
    }

    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max.load(Relaxed)
    }

    pub(crate) fn set_connections_max(&self, count: usize) {
        self.connections_max.store(count, Relaxed);
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Relaxed)
    }

    #[inline]
    pub(crate) fn memory_less(&self) -> u64 {
        self.memory_less.load(Relaxed)
    }

    /// `less`: of each shard.
    pub(crate) fn set_memory(&self, bytes: u64, less: u64) {
        let _set = self.memory_is_set.lock();
        self.memory.store(bytes, Relaxed);
        self.memory_less.store(less, Relaxed);
    }

    /// A pause that has begun goes on as long as it was to, and is of all commands if one of the two is.
    pub(crate) fn pause(&self, now: Millis, until: Millis, all: bool) {
        let before = self.paused(now);
        self.pauses_all.store(all || before == Some(Pause::All), Relaxed);
        self.paused_until.fetch_max(until, Relaxed);
    }

    pub(crate) fn go_on(&self) {
        self.paused_until.store(0, Relaxed);
    }

    #[inline]
    pub(crate) fn paused(&self, now: Millis) -> Option<Pause> {
        if self.paused_until.load(Relaxed) <= now {
            return None;
        }
        Some(if self.pauses_all.load(Relaxed) { Pause::All } else { Pause::Changes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_made_shorter_or_less_but_by_its_end() {
        let tunables = Tunables::new(0, 1, 0);
        assert_eq!(tunables.paused(5), None);
        tunables.pause(5, 100, true);
        tunables.pause(6, 50, false);
        assert_eq!((tunables.paused(99), tunables.paused(100)), (Some(Pause::All), None));
        tunables.pause(200, 300, false);
        assert_eq!(tunables.paused(250), Some(Pause::Changes));
        tunables.go_on();
        assert_eq!(tunables.paused(250), None);
    }
}
