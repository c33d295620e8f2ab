//! What is kept for whoever asks why a server was slow: requests that took long, and moments in which much did.
//!
//! One for all shards. Whoever was fast comes nowhere near its locks; with `slowlog-log-slower-than 0` everybody does.

mod events;
mod hot_keys;
mod monitors;
mod slow_log;

pub use events::{Event, EventFigures, HISTORY_MAX, Occurrence};
pub(crate) use hot_keys::HotKeys;
pub use hot_keys::{HotKey, SAMPLE};
pub use monitors::{EventLines, MONITOR_BYTES_MAX, MONITORS_MAX, Monitor, Monitors, Sees, WATCHERS_MAX};
pub use slow_log::{SLOW_LOG_MAX, SlowEntry};

use events::Events;
use slow_log::SlowLog;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As in Redis: requests from 10 ms on, 128 of them.
const SLOWER_THAN_US: i64 = 10_000;
const SLOW_LOG_LEN: usize = 128;

/// Slow requests and slow moments of a server. The numbers are settings that order nothing: all accesses are relaxed.
#[derive(Debug)]
pub struct Observed {
    /// Microseconds from which on a request is slow; negative: none is.
    slower_than_us: AtomicI64,
    /// Milliseconds from which on a moment is an event; 0: none is.
    events_from_ms: AtomicU64,
    slow_log: Mutex<SlowLog>,
    pub monitors: Monitors,
    /// By shard: its hottest keys, and the sampled requests of all keys.
    hot: Mutex<Vec<(Vec<HotKey>, u64)>>,
    events: Mutex<Events>,
}

impl Default for Observed {
    fn default() -> Observed {
        Observed {
            slower_than_us: SLOWER_THAN_US.into(),
            events_from_ms: 0.into(),
            slow_log: Mutex::new(SlowLog::new(SLOW_LOG_LEN)),
            monitors: Monitors::default(),
            hot: Mutex::default(),
            events: Mutex::default(),
        }
    }
}

impl Observed {
    #[inline]
    pub fn slower_than_us(&self) -> i64 {
        self.slower_than_us.load(Relaxed)
    }

    pub fn set_slower_than_us(&self, us: i64) {
        self.slower_than_us.store(us, Relaxed);
    }

    pub fn slow_log_max(&self) -> usize {
        self.slow_log().max()
    }

    pub fn set_slow_log_max(&self, max: usize) {
        self.slow_log().set_max(max);
    }

    pub fn events_from_ms(&self) -> u64 {
        self.events_from_ms.load(Relaxed)
    }

    pub fn set_events_from_ms(&self, ms: u64) {
        self.events_from_ms.store(ms, Relaxed);
    }

    /// Keeps a slow request; it gets its number here.
    pub fn add_slow(&self, entry: SlowEntry) {
        self.slow_log().add(entry);
    }

    /// The newest slow requests, the newest first.
    pub fn slowest(&self, count: usize) -> Vec<SlowEntry> {
        self.slow_log().newest(count)
    }

    pub fn slow_log_len(&self) -> usize {
        self.slow_log().len()
    }

    pub fn clear_slow_log(&self) {
        self.slow_log().clear();
    }

    /// Something took `ms` milliseconds. It is kept if that is an event.
    #[inline]
    pub fn happened(&self, event: Event, second: u64, ms: u64) {
        let from = self.events_from_ms();
        if from > 0 && ms >= from {
            self.events().add(event, Occurrence { second, ms });
        }
    }

    /// What happened of each kind, if something has.
    pub fn latest(&self) -> Vec<(Event, EventFigures)> {
        self.events().latest()
    }

    /// What has happened of a kind, the oldest first.
    pub fn history(&self, event: Event) -> Vec<Occurrence> {
        self.events().history(event)
    }

    /// Forgets what has happened of a kind. False: nothing has.
    pub fn forget(&self, event: Event) -> bool {
        self.events().forget(event)
    }

    /// A shard tells of its hottest keys.
    pub(crate) fn tell_hot_keys(&self, shard: u16, keys: Vec<HotKey>, total: u64) {
        let mut hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = usize::from(shard);
        if hot.len() <= shard {
            hot.resize_with(shard + 1, Default::default);
        }
        hot[shard] = (keys, total);
    }

    /// The hottest keys of all shards, the hottest first, and the sampled requests of all keys.
    pub fn hot_keys(&self) -> (Vec<HotKey>, u64) {
        let hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = hot_keys::together(hot.iter().map(|(keys, _)| &keys[..]));
        (keys, hot.iter().map(|(_, total)| total).sum())
    }

    fn slow_log(&self) -> MutexGuard<'_, SlowLog> {
        // Nobody panics while holding either lock, and what they guard is whole at every moment.
        self.slow_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
