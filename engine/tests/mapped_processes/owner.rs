//! The shard, and what is done to it.

use crate::board::{Board, KEYS, Random, value_of};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use torc_engine::command::{Command, Delete, Expiry, Op, Outcome, Write};
use torc_engine::mapped::ClockWords;
use torc_engine::{Shard, ShardConfig};

const MEMORY_BYTES: u64 = 4 << 20;
pub(crate) const SEGMENT_BYTES: usize = 64 << 10;

pub(crate) struct Owner {
    pub(crate) shard: Shard,
    pub(crate) board: Board,
    pub(crate) words: ClockWords,
    random: Random,
    fillers: u64,
    pub(crate) changes: u64,
}

/// The machine's time, nanoseconds.
fn since_boot() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; the call writes nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Owner {
    pub(crate) fn new(seed: u64, board: Board) -> Owner {
        let words = ClockWords::shared().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        words.raise(now);
        words.started().store(since_boot(), Ordering::Relaxed);
        let config = ShardConfig {
            segment_bytes: SEGMENT_BYTES,
            shared_memory: true,
            seed,
            now: now / 1_000_000,
            ..ShardConfig::new(MEMORY_BYTES)
        };
        let shard = Shard::new(config).unwrap();
        Owner { shard, board, words, random: Random(seed), fillers: 0, changes: 0 }
    }

    /// The server's time, as its own clock has it: milliseconds.
    fn now(&self) -> u64 {
        let passed = since_boot() - self.words.started().load(Ordering::Relaxed);
        (self.words.began() + passed) / 1_000_000
    }

    /// Descriptors for a reader: shard and clock.
    pub(crate) fn files(&self) -> [OwnedFd; 2] {
        [self.shard.to_read().unwrap().unwrap(), self.words.to_read().unwrap().unwrap()]
    }

    pub(crate) fn act_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            (0..100).for_each(|_| self.act());
        }
    }

    /// Goes on until each segment was used again at least once.
    pub(crate) fn turn_over(&mut self) {
        let reused =
            |shard: &Shard| shard.stats().segments_evicted.read() + shard.stats().segments_compacted.read();
        let enough = reused(&self.shard) + 2 * MEMORY_BYTES / SEGMENT_BYTES as u64;
        while reused(&self.shard) < enough {
            self.act();
        }
    }

    fn act(&mut self) {
        let now = self.now();
        let key = self.random.below(KEYS);
        match self.random.below(64) {
            0..20 => self.change(key, now),
            20 => _ = self.words.raise(self.words.began() + self.random.below(3_000_000)),
            21 if self.random.below(300) == 0 => self.flush(now),
            _ => self.fill(now),
        }
        self.shard.maintain(now, 8);
        self.board.set_now(now);
    }

    /// A change of a key: every eighth deletes it, every fourth ends soon by itself.
    fn change(&mut self, key: u64, now: u64) {
        let change = self.board.begin(Some(key));
        let name = key.to_le_bytes();
        if change.is_multiple_of(8) {
            self.ask(&name, Op::Delete(Delete::default()), now);
        } else {
            let expiry = if change % 4 == 1 { now + 1 + self.random.below(20) } else { u64::MAX };
            let flushes = self.board.done(None);
            let value = value_of([key, change, flushes, expiry], self.random.below(480));
            let end = if expiry == u64::MAX { Expiry::Never } else { Expiry::At(expiry) };
            self.ask(&name, Op::Write(Write { expiry: end, ..Write::set(&value) }), now);
        }
        self.board.end(Some(key), change);
        self.changes += 1;
    }

    fn flush(&mut self, now: u64) {
        let number = self.board.begin(None);
        self.shard.flush(None, now);
        self.board.end(None, number);
    }

    /// Keys that nobody asks for: some long ones, which fill segments, and many short ones, which make the index grow.
    fn fill(&mut self, now: u64) {
        self.fillers += 1;
        let key = format!("f{}", self.fillers % 60_000);
        // At first all memory becomes segments, so that the index has to take its own from them.
        let is_long = self.fillers < 3 * MEMORY_BYTES / 2000 || self.fillers.is_multiple_of(16);
        let bytes = if is_long { 2000 } else { 8 };
        self.ask(key.as_bytes(), Op::Write(Write::set(&vec![1; bytes])), now);
    }

    fn ask(&mut self, key: &[u8], op: Op<'_>, now: u64) {
        let hash = self.shard.hash(0, key);
        let outcome = self.shard.execute(&Command { database: 0, key, op }, hash, now);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }

    /// Memory that the shard's file takes, bytes.
    pub(crate) fn blocks(&self) -> u64 {
        let [file, _] = self.files();
        std::fs::File::from(file).metadata().unwrap().blocks() * 512
    }

    /// All has happened that a reader has to stand.
    pub(crate) fn check(&self) {
        self.shard.audit().unwrap();
        let stats = self.shard.stats();
        assert!(self.blocks() <= MEMORY_BYTES && self.shard.bytes_held() <= MEMORY_BYTES);
        assert!(stats.bytes_index.read() > 2 * SEGMENT_BYTES as u64, "the index has grown");
        for (what, count) in [
            ("evictions", stats.evictions.read()),
            ("relocations", stats.relocations.read()),
            ("compactions", stats.segments_compacted.read()),
            ("expirations", stats.expirations.read()),
            ("flushes", self.board.done(None)),
        ] {
            assert!(count > 0, "no {what}");
        }
    }
}
