//! Clients that see what all others ask for (MONITOR).
//!
//! A shard puts the lines of a turn into the hands of every monitor, and the shard of a monitor's client takes them from there. What a
//! client does not take in time is bounded; a client that is slower than the others ask is cut off.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// Most monitors at a time.
pub const MONITORS_MAX: usize = 16;
/// Bytes that wait for one monitor.
pub const MONITOR_BYTES_MAX: usize = 256 << 10;

/// All monitors of a server.
#[derive(Debug, Default)]
pub struct Monitors {
    /// Their number, once more: it is looked at in each turn. Relaxed: one that is seen late misses what was asked before.
    count: AtomicUsize,
    all: Mutex<Vec<Arc<Monitor>>>,
}

/// What waits for one.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    /// Some did not fit.
    is_lost: bool,
}

impl Monitors {
    #[inline]
    pub fn is_any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// One more; `None`: there are as many as may be.
    pub fn begin(&self) -> Option<Arc<Monitor>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MONITORS_MAX {
            return None;
        }
        let monitor = Arc::new(Monitor::default());
        all.push(monitor.clone());
        self.count.store(all.len(), Relaxed);
        Some(monitor)
    }

    pub fn end(&self, monitor: &Arc<Monitor>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !Arc::ptr_eq(other, monitor));
        self.count.store(all.len(), Relaxed);
    }

    /// Tells all of them these lines.
    pub fn tell(&self, lines: &[u8]) {
        for monitor in self.all.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            monitor.tell(lines);
        }
    }
}

impl Monitor {
    fn tell(&self, lines: &[u8]) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.is_lost |= pending.lines.len() + lines.len() > MONITOR_BYTES_MAX;
        if !pending.is_lost {
            pending.lines.extend_from_slice(lines);
        }
    }

    /// Takes what waits.
    pub fn take(&self, into: &mut Vec<u8>) {
        into.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).lines);
    }

    /// Whether more came than may wait.
    pub fn is_lost(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_lost
    }

    /// Whether something waits, or was lost.
    pub fn has_news(&self) -> bool {
        let pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.is_lost || !pending.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_monitor_is_told_what_comes_while_it_is_there() {
        let monitors = Monitors::default();
        monitors.tell(b"nobody");
        assert!(!monitors.is_any());
        let one = monitors.begin().unwrap();
        monitors.tell(b"a");
        let two = monitors.begin().unwrap();
        monitors.tell(b"b");
        let taken = |monitor: &Monitor| {
            let mut lines = Vec::new();
            monitor.take(&mut lines);
            lines
        };
        assert_eq!((taken(&one), taken(&two)), (b"ab".to_vec(), b"b".to_vec()));
        assert!(!one.has_news());
        monitors.end(&one);
        monitors.tell(b"c");
        assert_eq!((taken(&one), taken(&two)), (vec![], b"c".to_vec()));
        monitors.end(&two);
        assert!(!monitors.is_any());
    }

    #[test]
    fn monitors_and_what_waits_for_them_are_bounded() {
        let monitors = Monitors::default();
        let all: Vec<_> = (0..MONITORS_MAX).map(|_| monitors.begin().unwrap()).collect();
        assert!(monitors.begin().is_none());
        monitors.tell(&[b'x'; MONITOR_BYTES_MAX]);
        let mut lines = Vec::new();
        all[0].take(&mut lines);
        monitors.tell(b"y");
        all[0].take(&mut lines);
        assert_eq!((lines.len(), all[0].is_lost()), (MONITOR_BYTES_MAX + 1, false));
        assert!(all[1].has_news() && all[1].is_lost(), "it was slower");
    }
}
