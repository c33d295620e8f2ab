//! The time of a server, as other processes see it.
//!
//! A server's time is when it began plus what has passed on the machine since ([`CLOCK_BOOTTIME`](libc::CLOCK_BOOTTIME)). When it
//! began is a word that rises as the server follows the wall clock. So whoever has the words has the time, also of a server
//! that sleeps, and no turn of it is needed for the time to go on.
//!
//! Readers elsewhere have the word in the [head](ClockWords::show_in) of each shard that they read, so that they see it without a READ
//! of its own. It rises there first: whatever time a server has shown, they have that word or a later one.
//!
//! A time namespace may have another `CLOCK_BOOTTIME`; so the words say in which one the server is, and readers in another are
//! refused.

use super::MapError;
use crate::Shard;
use crate::command::Millis;
use crate::shared::layout::LayoutError;
use crate::shared::{Published, acquire};
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use torc_pmem::media::shared::{SharedFile, SharedView, page_bytes};

const MAGIC: u64 = u64::from_le_bytes(*b"TORCCLK\0");
/// Magic; version; time namespace; machine's time at the start, ns; when the clock began, ns since the Unix epoch.
const WORDS: usize = 5;
const VERSION: u64 = 1;
/// Nobody can say which time namespace it is.
const UNKNOWN: u64 = u64::MAX;

/// The words of a clock, which its server writes.
#[derive(Debug, Clone)]
pub struct ClockWords {
    words: Published<[AtomicU64; WORDS]>,
    file: Option<Arc<SharedFile>>,
    /// Where else the last word is shown.
    shown: Arc<Mutex<Vec<Published<[AtomicU64; 1]>>>>,
}

impl ClockWords {
    /// Words that only this process sees.
    pub fn private() -> ClockWords {
        ClockWords { words: Published::zeros(), file: None, shown: Arc::default() }
    }

    /// Words that other processes may see ([`ClockWords::to_read`]).
    ///
    /// # Errors
    /// As [`SharedFile::create`].
    pub fn shared() -> io::Result<ClockWords> {
        let file = Arc::new(SharedFile::create(page_bytes(), page_bytes(), 0)?);
        let Some(words) = Published::of(&file, |file| file.head().get(..WORDS)?.try_into().ok()) else {
            unreachable!("a page is longer than that")
        };
        let clock = ClockWords { words, file: Some(file), shown: Arc::default() };
        for (word, constant) in clock.words.iter().zip([MAGIC, VERSION, time_namespace()]) {
            word.store(constant, Ordering::Release);
        }
        Ok(clock)
    }

    /// The machine's time when the clock was started, nanoseconds; written once, before anybody else sees the words.
    #[inline]
    pub fn started(&self) -> &AtomicU64 {
        &self.words[3]
    }

    /// When the clock began, nanoseconds since the Unix epoch; only ever rises.
    #[inline]
    pub fn began(&self) -> u64 {
        self.words[4].load(Ordering::Relaxed)
    }

    /// Lets the clock have begun later, unless it did. Returns when it began before.
    pub fn raise(&self, began: u64) -> u64 {
        let before = self.began();
        if began <= before {
            return before;
        }
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::ClockLate) {
            self.words[4].fetch_max(began, Ordering::Release);
            crate::steps::step();
        }
        for word in &*shown {
            word[0].fetch_max(began, Ordering::Release);
            #[cfg(test)]
            crate::steps::step();
        }
        // Release: whoever has a time that goes by this word finds it where it is shown, too.
        self.words[4].fetch_max(began, Ordering::Release)
    }

    /// Shows when the clock began in the memory of a shard, too, from here on.
    pub fn show_in(&self, shard: &Shard) {
        let Some(word) = shard.clock_word() else { return };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        word[0].fetch_max(self.began(), Ordering::Release);
        shown.push(word);
    }

    /// A descriptor for a reader; `None` if the words are private.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn to_read(&self) -> io::Result<Option<OwnedFd>> {
        self.file.as_ref().map(|file| file.to_read()).transpose()
    }
}

/// The time of another process' server. One thread uses it.
#[derive(Debug, Clone)]
pub struct MappedClock {
    words: Published<[AtomicU64; WORDS]>,
    /// The latest time that was told.
    told: Cell<Millis>,
}

impl MappedClock {
    /// Maps the words of a clock.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn open(file: OwnedFd) -> Result<MappedClock, MapError> {
        let view = Arc::new(SharedView::map(file, page_bytes())?);
        let words: Option<Published<[AtomicU64; WORDS]>> =
            Published::of(&view, |view| view.words(0, WORDS)?.try_into().ok());
        let words = words.ok_or(LayoutError::Magic)?;
        let [magic, version, namespace] = [0, 1, 2].map(|number: usize| acquire(&words[number]));
        if magic != MAGIC {
            return Err(LayoutError::Magic.into());
        }
        if version != VERSION {
            return Err(LayoutError::Version(version).into());
        }
        if namespace == UNKNOWN || namespace != time_namespace() {
            return Err(MapError::TimeNamespace);
        }
        Ok(MappedClock { words, told: Cell::new(0) })
    }

    /// The server's time, milliseconds since the Unix epoch: never less than what it had shown to anybody before this call, nor
    /// than was told here before.
    #[inline]
    pub fn now(&self) -> Millis {
        self.at(since_boot())
    }

    /// The server's time when the machine's is this, nanoseconds.
    #[inline]
    pub(crate) fn at(&self, since_boot: u64) -> Millis {
        // Acquire: whatever the server has shown before this call, it had this word, or a later one.
        let began = acquire(&self.words[4]);
        let passed = since_boot.saturating_sub(self.words[3].load(Ordering::Relaxed));
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::StaleClock) && self.told.get() > 0 {
            return self.told.get();
        }
        let now = (began.saturating_add(passed) / 1_000_000).max(self.told.get());
        self.told.set(now);
        now
    }
}

/// The machine's time, sleep included, nanoseconds.
fn since_boot() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; the call writes nothing else. The clock is there since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// The time namespace of this process: a number that differs from any other's; 0 if the kernel has no such thing.
fn time_namespace() -> u64 {
    match std::fs::metadata("/proc/self/ns/time") {
        Ok(namespace) => namespace.ino(),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && std::fs::exists("/proc/self/ns").is_ok_and(|is| is) =>
        {
            0
        }
        Err(_) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_has_the_time_of_the_server_and_never_goes_back() {
        let server = ClockWords::shared().unwrap();
        server.started().store(5_000_000_000, Ordering::Relaxed);
        server.raise(1_700_000_000_000_000_000);
        let clock = MappedClock::open(server.to_read().unwrap().unwrap()).unwrap();
        assert_eq!(clock.at(5_000_000_000), 1_700_000_000_000);
        assert_eq!(clock.at(6_000_000_000), 1_700_000_001_000);
        // The server follows a step of the wall clock.
        server.raise(1_700_003_600_000_000_000);
        assert_eq!(clock.at(6_000_000_000), 1_700_003_601_000);
        assert_eq!(clock.at(5_500_000_000), 1_700_003_601_000, "forward only");
        server.raise(u64::MAX);
        server.started().store(u64::MAX, Ordering::Relaxed);
        assert!(clock.now() > 1_700_003_601_000);
    }

    #[test]
    fn a_clock_of_another_namespace_version_or_kind_is_refused() {
        for (word, value) in [(0, 1), (1, 2), (2, 1), (2, UNKNOWN)] {
            let server = ClockWords::shared().unwrap();
            server.words[word].store(value, Ordering::Relaxed);
            let opened = MappedClock::open(server.to_read().unwrap().unwrap());
            assert!(opened.is_err(), "word {word} is {value}");
        }
        assert!(ClockWords::private().to_read().unwrap().is_none());
    }
}
