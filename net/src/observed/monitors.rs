//! Clients that see what all others ask for (MONITOR), or what becomes of items and connections (memcached's `watch`).
//!
//! A shard puts the lines of a turn into the hands of every monitor, and the shard of a monitor's client takes them from there. What a
//! client does not take in time is bounded. A client that is slower than the others ask is cut off; one that watches events loses lines,
//! and is told how many.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use torc_proto::memcache::Watched;

/// Most monitors of requests at a time.
pub const MONITORS_MAX: usize = 16;
/// Most watchers of events at a time, as in memcached.
pub const WATCHERS_MAX: usize = 20;
/// Bytes that wait for one of either.
pub const MONITOR_BYTES_MAX: usize = 256 << 10;
/// Longest line that tells a watcher of lost ones, bytes.
const SKIPPED_BYTES_MAX: usize = 32;

/// What a client is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// What all clients ask for.
    Requests,
    /// What becomes of items and connections.
    Events(Watched),
}

/// All monitors of a server.
#[derive(Debug, Default)]
pub struct Monitors {
    /// Those of requests, and what others watch, once more: these are looked at in each turn. Relaxed: one that is seen late misses what was
    /// asked before.
    count: AtomicUsize,
    watched: AtomicU8,
    /// Events told so far.
    events: AtomicU64,
    all: Mutex<Vec<Arc<Monitor>>>,
}

/// One of them, and what waits for it.
#[derive(Debug)]
pub struct Monitor {
    sees: Sees,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    /// Some did not fit.
    is_lost: bool,
    /// Events that did not fit since the last one that did.
    skipped: u64,
}

/// Lines of events one behind the other: of each the kind, and where it ends.
#[derive(Debug, Default)]
pub struct EventLines {
    pub bytes: Vec<u8>,
    pub ends: Vec<(Watched, usize)>,
}

impl EventLines {
    /// Ends a line that was written to `bytes`.
    pub fn end(&mut self, kind: Watched) {
        self.ends.push((kind, self.bytes.len()));
    }

    /// Each line with its kind.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Watched, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts
            .zip(&self.ends)
            .map(|(start, (kind, end))| (*kind, self.bytes.get(start..*end).unwrap_or_default()))
    }
}

impl Monitors {
    #[inline]
    pub fn is_any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// What any of them watches.
    #[inline]
    pub fn watched(&self) -> Watched {
        Watched::of_bits(self.watched.load(Relaxed))
    }

    /// How many watch events.
    pub fn watchers(&self) -> u64 {
        self.all().iter().filter(|monitor| monitor.sees != Sees::Requests).count() as u64
    }

    /// Numbers for events: the first of so many.
    pub fn event_numbers(&self, count: u64) -> u64 {
        // Relaxed: numbers that differ are all that is needed.
        self.events.fetch_add(count, Relaxed) + 1
    }

    /// One more; `None`: there are as many as may be.
    pub fn begin(&self, sees: Sees) -> Option<Arc<Monitor>> {
        let mut all = self.all();
        let are_of_requests = sees == Sees::Requests;
        let count = all.iter().filter(|monitor| (monitor.sees == Sees::Requests) == are_of_requests).count();
        if count >= if are_of_requests { MONITORS_MAX } else { WATCHERS_MAX } {
            return None;
        }
        let monitor = Arc::new(Monitor { sees, pending: Mutex::default() });
        all.push(monitor.clone());
        self.count_again(&all);
        Some(monitor)
    }

    pub fn end(&self, monitor: &Arc<Monitor>) {
        let mut all = self.all();
        all.retain(|other| !Arc::ptr_eq(other, monitor));
        self.count_again(&all);
    }

    fn count_again(&self, all: &[Arc<Monitor>]) {
        let (mut count, mut watched) = (0, Watched::default());
        for monitor in all {
            match monitor.sees {
                Sees::Requests => count += 1,
                Sees::Events(kinds) => watched = watched.with(kinds),
            }
        }
        self.count.store(count, Relaxed);
        self.watched.store(watched.bits(), Relaxed);
    }

    /// Tells those of requests these lines.
    pub fn tell(&self, lines: &[u8]) {
        for monitor in self.those_now().iter().filter(|monitor| monitor.sees == Sees::Requests) {
            monitor.tell(lines);
        }
    }

    /// Tells watchers of events; how many lines they were given, and how many they lost.
    pub fn tell_events(&self, lines: &EventLines) -> (u64, u64) {
        let (mut told, mut skipped) = (0, 0);
        for monitor in self.those_now() {
            if let Sees::Events(kinds) = monitor.sees {
                let (more, lost) = monitor.tell_events(kinds, lines);
                (told, skipped) = (told + more, skipped + lost);
            }
        }
        (told, skipped)
    }

    /// All of them, for work that shards need not queue for.
    fn those_now(&self) -> Vec<Arc<Monitor>> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Monitor>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    fn tell(&self, lines: &[u8]) {
        let mut pending = self.pending();
        pending.is_lost |= pending.lines.len() + lines.len() > MONITOR_BYTES_MAX;
        if !pending.is_lost {
            pending.lines.extend_from_slice(lines);
        }
    }

    fn tell_events(&self, kinds: Watched, lines: &EventLines) -> (u64, u64) {
        let mut pending = self.pending();
        let (mut told, mut skipped) = (0, 0);
        for (_, line) in lines.each().filter(|(kind, _)| kinds.has(*kind)) {
            if pending.lines.len() + line.len() + SKIPPED_BYTES_MAX > MONITOR_BYTES_MAX {
                pending.skipped += 1;
                skipped += 1;
                continue;
            }
            if pending.skipped > 0 {
                let text = format!("skipped={}\n", std::mem::take(&mut pending.skipped));
                pending.lines.extend_from_slice(text.as_bytes());
            }
            pending.lines.extend_from_slice(line);
            told += 1;
        }
        (told, skipped)
    }

    /// Takes what waits.
    pub fn take(&self, into: &mut Vec<u8>) {
        into.append(&mut self.pending().lines);
    }

    /// Whether more came than may wait.
    pub fn is_lost(&self) -> bool {
        self.pending().is_lost
    }

    /// Whether something waits, or was lost.
    pub fn has_news(&self) -> bool {
        let pending = self.pending();
        pending.is_lost || !pending.lines.is_empty()
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn each_monitor_is_told_what_comes_while_it_is_there() {
        let monitors = Monitors::default();
        monitors.tell(b"nobody");
        assert!(!monitors.is_any());
        let one = monitors.begin(Sees::Requests).unwrap();
        monitors.tell(b"a");
        let two = monitors.begin(Sees::Requests).unwrap();
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
        let all: Vec<_> = (0..MONITORS_MAX).map(|_| monitors.begin(Sees::Requests).unwrap()).collect();
        assert!(monitors.begin(Sees::Requests).is_none());
        monitors.tell(&[b'x'; MONITOR_BYTES_MAX]);
        let mut lines = Vec::new();
        all[0].take(&mut lines);
        monitors.tell(b"y");
        all[0].take(&mut lines);
        assert_eq!((lines.len(), all[0].is_lost()), (MONITOR_BYTES_MAX + 1, false));
        assert!(all[1].has_news() && all[1].is_lost(), "it was slower");
    }

    /// A watcher whose lines are being taken or copied holds up who tells it, and nobody else.
    #[test]
    fn the_list_is_free_while_a_watcher_is_told() {
        let monitors = Monitors::default();
        let watcher = monitors.begin(Sees::Events(Watched::FETCHERS)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        std::thread::scope(|scope| {
            let held = watcher.pending();
            let teller = scope.spawn(|| monitors.tell_events(&lines(&[(Watched::FETCHERS, "f\n")])));
            // The list's, this one's, and that of who tells it.
            while Arc::strong_count(&watcher) < 3 {
                assert!(Instant::now() < deadline, "it is told under the list's lock");
                std::thread::yield_now();
            }
            assert_eq!(monitors.watchers(), 1);
            drop(held);
            assert_eq!(teller.join().unwrap(), (1, 0));
        });
    }

    fn lines(all: &[(Watched, &str)]) -> EventLines {
        let mut lines = EventLines::default();
        for (kind, text) in all {
            lines.bytes.extend_from_slice(text.as_bytes());
            lines.end(*kind);
        }
        lines
    }

    #[test]
    fn watchers_are_told_of_what_they_watch_and_of_how_much_they_lost() {
        let monitors = Monitors::default();
        let kinds = Watched::FETCHERS.with(Watched::EVICTIONS);
        let (some, one) = (
            monitors.begin(Sees::Events(kinds)).unwrap(),
            monitors.begin(Sees::Events(Watched::EVICTIONS)).unwrap(),
        );
        assert!(!monitors.is_any() && monitors.watched() == kinds && monitors.watchers() == 2);
        let all = [(Watched::FETCHERS, "f\n"), (Watched::MUTATIONS, "m\n"), (Watched::EVICTIONS, "e\n")];
        assert_eq!(monitors.tell_events(&lines(&all)), (3, 0));
        let taken = |monitor: &Monitor| {
            let mut lines = Vec::new();
            monitor.take(&mut lines);
            String::from_utf8(lines).unwrap()
        };
        assert_eq!((taken(&some), taken(&one)), ("f\ne\n".into(), "e\n".into()));
        let long = "x".repeat(MONITOR_BYTES_MAX / 2);
        let long = [(Watched::FETCHERS, &*long), (Watched::FETCHERS, &*long), (Watched::FETCHERS, &*long)];
        assert_eq!(monitors.tell_events(&lines(&long)), (1, 2));
        assert!(!some.is_lost() && taken(&some).len() == MONITOR_BYTES_MAX / 2);
        monitors.tell_events(&lines(&all));
        assert_eq!(taken(&some), "skipped=2\nf\ne\n");
        monitors.tell(b"requests");
        assert!(!some.has_news());
        monitors.end(&some);
        assert_eq!(monitors.watched(), Watched::EVICTIONS);
        assert!((1..WATCHERS_MAX).all(|_| monitors.begin(Sees::Events(kinds)).is_some()));
        assert!(monitors.begin(Sees::Events(kinds)).is_none());
        assert!(monitors.begin(Sees::Requests).is_some(), "they are counted apart");
    }
}
