//! Words that all processes of a test write and read.

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const KEYS: u64 = 200;

const STOP: usize = 0;
const FLUSHES: usize = 1;
const TOLD: usize = 2;
const NOW: usize = 5;
const CHANGES: usize = 8;
const SHOWN: usize = CHANGES + KEYS as usize;
const WORDS: usize = SHOWN + KEYS as usize;

/// What is known of each key, as a number that rises: even, a change is done; odd, it is under way.
pub(crate) struct Board {
    file: OwnedFd,
    map: MmapRaw,
}

impl Board {
    pub(crate) fn new() -> Board {
        // SAFETY: the name is a C string; the descriptor is new and nobody else's.
        let file = unsafe {
            let fd = libc::memfd_create(c"board".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            File::from_raw_fd(fd)
        };
        file.set_len(WORDS as u64 * 8).unwrap();
        Board::open(file.into())
    }

    pub(crate) fn open(file: OwnedFd) -> Board {
        let map = MmapOptions::new().len(WORDS * 8).map_raw(&file).unwrap();
        Board { file, map }
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        assert!(number < WORDS);
        // SAFETY: an aligned word of the mapping (checked), zeros at first, and only used as such by all who map it.
        unsafe { &*self.map.as_ptr().cast::<AtomicU64>().add(number) }
    }

    pub(crate) fn stop(&self) {
        self.word(STOP).store(1, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.word(STOP).load(Ordering::SeqCst) > 0
    }

    /// Begins a change of a key (or of all, a flush), and returns its number.
    pub(crate) fn begin(&self, key: Option<u64>) -> u64 {
        let word = self.change(key);
        let change = word.load(Ordering::SeqCst) / 2 + 1;
        word.store(2 * change - 1, Ordering::SeqCst);
        change
    }

    pub(crate) fn end(&self, key: Option<u64>, change: u64) {
        self.change(key).store(2 * change, Ordering::SeqCst);
    }

    /// The last change that is done, and the last that has begun.
    pub(crate) fn done(&self, key: Option<u64>) -> u64 {
        self.change(key).load(Ordering::SeqCst) / 2
    }

    pub(crate) fn begun(&self, key: Option<u64>) -> u64 {
        self.change(key).load(Ordering::SeqCst).div_ceil(2)
    }

    fn change(&self, key: Option<u64>) -> &AtomicU64 {
        self.word(key.map_or(FLUSHES, |key| CHANGES + key as usize))
    }

    /// A reader has seen this change of a key.
    pub(crate) fn show(&self, key: u64, change: u64) {
        self.word(SHOWN + key as usize).fetch_max(change, Ordering::SeqCst);
    }

    /// The latest change of a key that a reader has seen.
    pub(crate) fn shown(&self, key: u64) -> u64 {
        self.word(SHOWN + key as usize).load(Ordering::SeqCst)
    }

    /// The owner has executed a command at this time.
    pub(crate) fn set_now(&self, now: u64) {
        self.word(NOW).store(now, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.word(NOW).load(Ordering::SeqCst)
    }

    /// Counts looks: hits, misses, doubts.
    pub(crate) fn tell(&self, told: [u64; 3]) {
        for (number, count) in told.into_iter().enumerate() {
            self.word(TOLD + number).fetch_add(count, Ordering::SeqCst);
        }
    }

    pub(crate) fn told(&self) -> [u64; 3] {
        [0, 1, 2].map(|number| self.word(TOLD + number).load(Ordering::SeqCst))
    }
}

/// A small generator of numbers that look random.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What a value says of itself, 8 bytes each: key, change, flushes before it, expiry; then so many words that follow from these,
/// and their sum.
pub(crate) fn value_of([key, change, flushes, expiry]: [u64; 4], words: u64) -> Vec<u8> {
    let mut all = vec![key, change, flushes, expiry];
    all.extend((0..words).map(|number| change.wrapping_mul(key + 3).rotate_left(number as u32) ^ number));
    all.push(all.iter().fold(7, |sum: u64, word| sum.rotate_left(5).wrapping_add(*word)));
    all.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// What it says, if it is whole.
pub(crate) fn read_value(value: &[u8]) -> Option<[u64; 4]> {
    let words = (value.len() / 8).checked_sub(5)? as u64;
    let said =
        [0, 1, 2, 3].map(|at: usize| u64::from_le_bytes(value[at * 8..at * 8 + 8].try_into().unwrap()));
    (value_of(said, words) == value).then_some(said)
}
