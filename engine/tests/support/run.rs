//! A shard and a model side by side.
//!
//! | file | holds |
//! |---|---|
//! | `run.rs` | the run: its beginning, steps without a key, its end |
//! | `run/keyed.rs` | steps with a key |
//! | `run/bits.rs` | integers in values, packed values |
//! | `run/slices.rs` | uploads and lent values |
//! | `run/compare.rs` | answers beside what the model expects |

mod bits;
mod compare;
mod keyed;
mod slices;

use super::model::{Entry, Model};
use super::replica::{Copy, Replica};
use super::step::{Compare, Source, Step, When};
use super::{NOW, SEGMENT_BYTES};
use compare::{Seen, seen};
use slices::{LentValues, Upload};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use torc_engine::Shard;
use torc_engine::command::{Command, Delete, Expire, Expiry, Op, Read, WriteMode};
use torc_engine::shard::{SEGMENTS_MIN, Tells};
use torc_engine::spaces::SpaceTable;
use torc_engine::words;

/// Keys that share a few homes of the index, so that they overflow into each other's.
const COLLIDING_KEYS: usize = 30;
/// Keys that are in each of the databases.
const OTHER_KEYS: usize = 5;
const DATABASES: [u16; 2] = [0, 51];
const UPLOADS: usize = 4;

pub(crate) struct Run {
    shard: Shard,
    replica: Arc<Mutex<Replica>>,
    model: Model,
    exact: bool,
    memory_bytes: u64,
    now: u64,
    keys: Vec<Vec<u8>>,
    /// Largest version seen: a new one is larger.
    version: u64,
    written: u64,
    uploads: [Option<Upload>; UPLOADS],
    lent: LentValues,
}

/// Bytes that tell which write they are of, and where in it. The first is no digit, as uploads are never numbers.
fn pattern(write: u64, len: usize) -> Vec<u8> {
    let byte = |at: usize| (write * 37 + at as u64 * 7 + (at >> 8) as u64) as u8;
    (0..len).map(|at| if at == 0 { byte(at) | 0x80 } else { byte(at) }).collect()
}

/// Keys of several databases, each as its database and its bytes.
fn keys(shard: &Shard) -> Vec<Vec<u8>> {
    let candidates = || (0u64..).map(|number| in_database(0, format!("key-{number}").as_bytes()));
    // The index has 256 homes, by the high bits of the hash; the last home overflows behind the table.
    let colliding = candidates().filter(|key| matches!(hash(shard, key) >> 56, 7 | 255)).take(COLLIDING_KEYS);
    let other = candidates().filter(|key| hash(shard, key) >> 56 < 7).take(OTHER_KEYS);
    let twins = |key: Vec<u8>| DATABASES.map(|database| in_database(database, &key[2..]));
    colliding.chain(other.flat_map(twins)).collect()
}

/// A key of the model: the database, little endian, and the bytes.
fn in_database(database: u16, key: &[u8]) -> Vec<u8> {
    [&database.to_le_bytes(), key].concat()
}

/// Database and bytes of a key of the model.
fn split(key: &[u8]) -> (u16, &[u8]) {
    let (database, key) = key.split_first_chunk().expect("a key of the model names its database");
    (u16::from_le_bytes(*database), key)
}

fn hash(shard: &Shard, key: &[u8]) -> u64 {
    shard.key_hash(split(key).1)
}

impl Run {
    pub(crate) fn new(mut shard: Shard, memory_bytes: u64, exact: bool) -> Run {
        let keys = keys(&shard);
        let replica = Replica::of(&mut shard);
        Run {
            shard,
            replica,
            model: Model::default(),
            exact,
            memory_bytes,
            now: NOW,
            keys,
            version: 0,
            written: 0,
            uploads: Default::default(),
            lent: LentValues::new(),
        }
    }

    /// Fills the memory with values of half a KiB to 4 KiB, some of which expire, some of which are read.
    pub(crate) fn fill(&mut self) {
        let mut bytes = 0;
        while bytes < self.shard.stats().bytes_segments_max.read() as usize * 5 / 4 {
            let number = self.written;
            let source = Source::Pattern(500 + number as usize * 811 % 3_500);
            let expiry =
                if number.is_multiple_of(3) { When::In(2_000 + number as i64 * 50) } else { When::Never };
            let database = DATABASES[usize::from(number.is_multiple_of(7))];
            let key = in_database(database, format!("fill-{number}").as_bytes());
            bytes += 500 + number as usize * 811 % 3_500;
            self.write(&key, WriteMode::Set, source, expiry);
            if number.is_multiple_of(5) {
                self.ask(&key, Op::Read(Read::default()));
                self.ask(&key, Op::Read(Read::default()));
                if let Some(entry) = self.model.live(&key, self.now) {
                    entry.fetched = Some(true);
                }
            }
            if number % 100 == 99 {
                self.now += 500;
            }
        }
        self.audit();
    }

    fn write(&mut self, key: &[u8], mode: WriteMode, source: Source, expiry: When) {
        let none = Compare::Nothing;
        self.write_step(key, (mode, source), 0, expiry, (none, None), (None, false, false, false));
    }

    fn audit(&self) {
        if let Err(error) = self.shard.audit() {
            panic!("{error}");
        }
    }

    fn ask(&mut self, key: &[u8], op: Op<'_>) -> Seen {
        let hash = hash(&self.shard, key);
        let (database, key) = split(key);
        seen(self.shard.execute(&Command { database, key, op }, hash, self.now))
    }

    fn expiry(&self, when: When) -> Expiry {
        match when {
            When::Keep => Expiry::Keep,
            When::Never => Expiry::Never,
            When::In(ms) => Expiry::At(self.now.saturating_add_signed(ms)),
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.model.turn(self.now);
        match *step {
            Step::Advance(ms) => self.now += ms,
            Step::Maintain(budget) => {
                self.shard.maintain(self.now, budget);
            }
            Step::Flush(delay) => {
                self.shard.flush(delay.map(|delay| self.now + delay), self.now);
                self.model.flush_at = Some(self.now + delay.unwrap_or(0));
                self.model.turn(self.now);
            }
            Step::FlushDatabase { number } => {
                let version = self.shard.version() + 1;
                let table = self.shard.spaces().flushed(DATABASES[number].into(), version, |_| true);
                self.set_spaces(&table.expect("a space"));
                self.model.flush(DATABASES[number]);
            }
            Step::Swap => {
                let [one, other] = DATABASES;
                let version = self.shard.version() + 1;
                let table = self.shard.spaces().swapped(one.into(), other.into(), version);
                self.set_spaces(&table);
                self.model.swap(one, other);
            }
            Step::UploadBegin { key, slot, len } => self.upload_begin(key, slot, len),
            Step::UploadFeed { slot, len } => self.upload_feed(slot, len),
            Step::UploadAbort { slot } => {
                if let Some(upload) = self.uploads[slot].take() {
                    self.shard.upload_abort(upload.id);
                }
            }
            Step::Release => self.release(),
            Step::Scan { count } => self.scan(count),
            _ => self.keyed(step),
        }
        self.audit();
    }

    /// Values under way into databases that get another space are given up.
    fn set_spaces(&mut self, table: &SpaceTable) {
        let before = *self.shard.spaces();
        self.shard.set_spaces(table, self.now);
        let is_moved = |upload: &Upload| {
            let database = usize::from(split(&upload.key).0);
            before.spaces[database] != table.spaces[database]
        };
        for slot in &mut self.uploads {
            if let Some(upload) = slot.take_if(|upload| is_moved(upload)) {
                let more = self.shard.upload_append(upload.id, &[1], self.now);
                assert_eq!(more, Err(torc_engine::command::Refusal::OutOfMemory));
            }
        }
    }

    fn scan(&mut self, count: u32) {
        let mut keys = BTreeSet::new();
        DATABASES.into_iter().for_each(|database| self.scan_database(database, count, &mut keys));
        let live = |entry: &Entry| !entry.placeholder && entry.expiry.is_none_or(|expiry| expiry > self.now);
        let expected: BTreeSet<Vec<u8>> =
            self.model.entries.iter().filter(|(_, entry)| live(entry)).map(|(key, _)| key.clone()).collect();
        assert!(keys.is_subset(&expected), "a scan shows what is not there");
        assert!(!self.exact || keys == expected, "a scan misses keys");
    }

    fn scan_database(&self, database: u16, count: u32, keys: &mut BTreeSet<Vec<u8>>) {
        let mut cursor = 0;
        for _ in 0..100_000 {
            let mut found = Vec::new();
            cursor = self.shard.scan(
                database,
                (cursor, count),
                Tells::Keys,
                self.now,
                &mut found,
                &mut Vec::new(),
            );
            keys.extend(words::each(&found).map(|key| in_database(database, key)));
            if cursor == 0 {
                return;
            }
        }
        panic!("a scan ends");
    }

    /// Every key that the shard or the replica has is the same in both.
    fn compare_replica(&mut self) {
        let replica = self.replica.clone();
        let copies: Vec<_> = replica.lock().expect("one thread").items.keys().cloned().collect();
        let spaces = *self.shard.spaces();
        let shown = |(space, key): &(u16, Vec<u8>)| {
            let database = spaces.database_of(*space, u64::MAX)?;
            Some(in_database(database as u16, key))
        };
        let copies = copies.iter().filter_map(shown);
        let all: BTreeSet<Vec<u8>> = self.model.entries.keys().cloned().chain(copies).collect();
        for key in all {
            let seen = self.ask(&key, Op::Read(Read { peek: true, leases: true, ..Read::default() }));
            let replica = replica.lock().expect("one thread");
            let (database, bytes) = split(&key);
            let space = spaces.spaces[usize::from(database)].number;
            match (seen, replica.live(space, bytes, self.now)) {
                (Seen::Miss, None) => {}
                (Seen::Item(meta, value), Some(copy)) => {
                    let (version, placeholder) = (meta.version, copy.placeholder);
                    let (token, flags, expiry, stale) = (meta.token, meta.flags, meta.expiry, meta.stale);
                    assert_eq!(*copy, Copy { version, token, flags, expiry, stale, placeholder, value });
                }
                (seen, copy) => panic!("the shard has {seen:?}, the replica {copy:?}"),
            }
        }
    }

    /// Reads everything once more, then lets go of everything: no byte stays in use.
    pub(crate) fn finish(mut self) {
        self.model.turn(self.now);
        let keys: Vec<Vec<u8>> = self.model.entries.keys().cloned().collect();
        keys.iter().for_each(|key| self.sync(key));
        self.compare_replica();
        while !self.lent.is_empty() {
            self.release();
        }
        for slot in 0..UPLOADS {
            self.step(&Step::UploadAbort { slot });
        }
        for (number, key) in keys.iter().enumerate() {
            let op = match number % 3 {
                0 => Op::Expire(Expire { expiry: Expiry::At(self.now + 10), ..NEVER_LATER }),
                _ => Op::Delete(Delete::default()),
            };
            let seen = self.ask(key, op);
            assert!(!matches!(seen, Seen::Refused(_)), "{seen:?}");
        }
        self.audit();
        for _ in 0..4 {
            self.now += 1000;
            let busy = (0..10_000).take_while(|_| self.shard.maintain(self.now, 100)).count();
            assert!(busy < 10_000, "maintenance comes to an end");
        }
        self.audit();
        let stats = self.shard.stats();
        let kept =
            stats.bytes_segments_max.read() + stats.bytes_index.read() + stats.bytes_bookkeeping.read();
        // The least number of segments is kept whatever the rest takes.
        let least = stats.bytes_segments_max.read() <= (SEGMENTS_MIN * SEGMENT_BYTES) as u64;
        assert!(least || kept <= self.memory_bytes, "{kept} bytes of {}", self.memory_bytes);
        for figure in stats.figures() {
            let empty = [
                "items",
                "bytes_live",
                "bytes_payload",
                "bytes_expired",
                "bytes_segments",
                "bytes_uploads",
                "segments_pinned",
            ];
            if empty.contains(&figure.name) && !keys.is_empty() {
                let placeholders = self.model.entries.values().filter(|entry| entry.placeholder).count();
                assert!(figure.value == 0 || placeholders > 0, "{}: {}", figure.name, figure.value);
            }
        }
    }
}

const NEVER_LATER: Expire =
    Expire { expiry: Expiry::Never, condition: torc_engine::command::ExpireCondition::Always, leases: false };
