//! A shard and a model side by side.

use super::model::{Entry, Expected, Model, Write};
use super::step::{Compare, Count, Source, Step, When};
use super::{NOW, SEGMENT_BYTES, VALUE_BYTES_MAX};
use std::collections::{BTreeSet, VecDeque};
use torc_engine::Shard;
use torc_engine::command::{
    Arithmetic, Body, Command, Delete, Delta, Expire, Expiry, Found, Lease, Meta, Number, Op, Outcome, Read,
    Refusal, UploadId, Value, WriteMode,
};
use torc_engine::segments::Lent;
use torc_engine::shard::SEGMENTS_MIN;

/// Keys that share a few homes of the index, so that they overflow into each other's.
const COLLIDING_KEYS: usize = 30;
const OTHER_KEYS: usize = 10;
/// Lent values held at a time, at most.
const LENT_MAX: usize = 5;
const UPLOADS: usize = 4;

struct Upload {
    id: UploadId,
    value: Vec<u8>,
    received: usize,
}

pub(crate) struct Run {
    shard: Shard,
    model: Model,
    exact: bool,
    memory_bytes: u64,
    now: u64,
    keys: Vec<Vec<u8>>,
    /// Largest version seen: a new one is larger.
    version: u64,
    written: u64,
    uploads: [Option<Upload>; UPLOADS],
    lent: VecDeque<(Vec<Lent>, Vec<u8>)>,
}

/// An outcome that borrows nothing.
#[derive(Debug)]
enum Seen {
    Miss,
    Item(Meta, Vec<u8>),
    Stored(Meta, Option<Vec<u8>>),
    NotStored(Option<Vec<u8>>),
    Exists,
    Deleted(Option<Vec<u8>>),
    Touched(Meta),
    Untouched,
    Counter(Number, Meta),
    Refused(Refusal),
}

fn bytes_of(found: &Found<'_>) -> Vec<u8> {
    let bytes: Vec<u8> = match found.value {
        Value::Inline(bytes) => bytes.to_vec(),
        Value::Chained(chain) => chain.slices().flatten().copied().collect(),
    };
    assert_eq!(bytes.len() as u64, found.meta.value_bytes, "a value is as long as its item says");
    bytes
}

fn seen(outcome: Outcome<'_>) -> Seen {
    let bytes = |old: Option<Found<'_>>| old.map(|found| bytes_of(&found));
    match outcome {
        Outcome::Miss => Seen::Miss,
        Outcome::Item(found) => Seen::Item(found.meta, bytes_of(&found)),
        Outcome::Stored { meta, old } => Seen::Stored(meta, bytes(old)),
        Outcome::NotStored { old } => Seen::NotStored(bytes(old)),
        Outcome::Exists => Seen::Exists,
        Outcome::Deleted { old } => Seen::Deleted(bytes(old)),
        Outcome::Touched { meta } => Seen::Touched(meta),
        Outcome::Untouched => Seen::Untouched,
        Outcome::Counter { number, meta } => Seen::Counter(number, meta),
        Outcome::Refused(refusal) => Seen::Refused(refusal),
        Outcome::Pending(ticket) => panic!("nothing waits in a shard without a second tier: {ticket:?}"),
    }
}

/// Bytes that tell which write they are of, and where in it.
fn pattern(write: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (write * 37 + at as u64 * 7 + (at >> 8) as u64) as u8).collect()
}

fn keys(shard: &Shard) -> Vec<Vec<u8>> {
    let candidates = || (0u64..).map(|number| format!("key-{number}").into_bytes());
    // The index has 256 homes, by the high bits of the hash; the last home overflows behind the table.
    let colliding = candidates().filter(|key| matches!(shard.hash(key) >> 56, 7 | 255)).take(COLLIDING_KEYS);
    let other = candidates().filter(|key| shard.hash(key) >> 56 < 7).take(OTHER_KEYS);
    colliding.chain(other).collect()
}

impl Run {
    pub(crate) fn new(shard: Shard, memory_bytes: u64, exact: bool) -> Run {
        let keys = keys(&shard);
        Run {
            shard,
            model: Model::default(),
            exact,
            memory_bytes,
            now: NOW,
            keys,
            version: 0,
            written: 0,
            uploads: Default::default(),
            lent: VecDeque::new(),
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
            let key = format!("fill-{number}").into_bytes();
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
        self.write_step(key, (mode, source), 0, expiry, (none, None), (None, false, false));
    }

    fn audit(&self) {
        if let Err(error) = self.shard.audit() {
            panic!("{error}");
        }
    }

    fn ask(&mut self, key: &[u8], op: Op<'_>) -> Seen {
        let hash = self.shard.hash(key);
        seen(self.shard.execute(&Command { key, op }, hash, self.now))
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
            Step::UploadBegin { slot, len } => self.upload_begin(slot, len),
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

    fn keyed(&mut self, step: &Step) {
        let number = match *step {
            Step::Read { key, .. }
            | Step::Write { key, .. }
            | Step::Delete { key, .. }
            | Step::Count { key, .. }
            | Step::Expire { key, .. }
            | Step::SetRange { key, .. }
            | Step::Lend { key, .. } => key,
            _ => unreachable!("the caller has the others"),
        };
        let key = self.keys[number % self.keys.len()].clone();
        if !self.exact && self.model.live(&key, self.now).is_some() {
            self.sync(&key);
        }
        match *step {
            Step::Read { expiry, vivify, recache, leases, peek, .. } => {
                let (expiry, vivify) = (self.expiry(expiry), vivify.map(|when| self.expiry(when)));
                let read = Read { expiry, vivify, token: None, recache_below_ms: recache, leases, peek };
                let before = self.model.entries.get(&key).cloned();
                let expected = self.model.read(&key, expiry, vivify, recache, leases, peek, self.now);
                self.compare_with(&key, Op::Read(read), expected, before);
                if let Some(entry) = self.model.entries.get_mut(&key)
                    && !peek
                    && (!entry.placeholder || leases)
                {
                    // A refused touch has counted as an access.
                    entry.fetched = entry.fetched.filter(|&fetched| fetched);
                    if !entry.placeholder {
                        entry.fetched = Some(true);
                    }
                }
            }
            Step::Write {
                mode, source, flags, expiry, compare, token, vivify, invalidate, want_old, ..
            } => {
                let rest = (vivify, invalidate, want_old);
                self.write_step(&key, (mode, source), flags, expiry, (compare, token), rest);
            }
            Step::Delete { compare, token, stale, value_only, want_old, .. } => {
                let compare = self.token(&key, compare);
                let stale = stale.map(|when| self.expiry(when));
                let before = self.model.entries.get(&key).cloned();
                let expected = self.model.delete(&key, compare, token, stale, value_only, want_old, self.now);
                let op = Op::Delete(Delete { compare, token, stale, value_only, want_old });
                self.compare_with(&key, op, expected, before);
            }
            Step::Count { count, initial, expiry, compare, token, .. } => {
                let compare = self.token(&key, compare);
                let expiry = self.expiry(expiry);
                let initial = initial.map(|(number, when)| (Number::Unsigned(number), self.expiry(when)));
                let before = self.model.entries.get(&key).cloned();
                let expected = self.model.count(
                    &key,
                    |text| apply(count, text),
                    initial,
                    expiry,
                    compare,
                    token,
                    self.now,
                );
                let delta = match count {
                    Count::Increment(by) => Delta::Increment(by),
                    Count::Decrement(by) => Delta::Decrement(by),
                    Count::Signed(by) => Delta::Signed(by),
                    Count::Float(by) => Delta::Float(by),
                };
                let op = Op::Arithmetic(Arithmetic { delta, initial, expiry, compare, token });
                self.compare_with(&key, op, expected, before);
            }
            Step::Expire { expiry, condition, .. } => {
                let expiry = self.expiry(expiry);
                let before = self.model.entries.get(&key).cloned();
                let expected = self.model.expire(&key, expiry, condition, self.now);
                self.compare_with(&key, Op::Expire(Expire { expiry, condition }), expected, before);
            }
            Step::SetRange { offset, len, .. } => {
                self.written += 1;
                let bytes = pattern(self.written, len);
                let before = self.model.entries.get(&key).cloned();
                let expected = self.model.set_range(&key, offset, &bytes, self.now);
                self.compare_with(&key, Op::SetRange { offset, value: &bytes }, expected, before);
            }
            Step::Lend { from, to, .. } => self.lend(&key, from, to),
            _ => unreachable!("the caller has the others"),
        }
        self.sync(&key);
    }

    fn write_step(
        &mut self,
        key: &[u8],
        (mode, source): (WriteMode, Source),
        flags: u32,
        expiry: When,
        (compare, token): (Compare, Option<u64>),
        (vivify, invalidate, want_old): (Option<When>, bool, bool),
    ) {
        self.written += 1;
        let Some((value, upload, complete)) = self.value(source) else { return };
        if !self.exact && self.model.live(key, self.now).is_some() {
            // The upload may have cost the item its place.
            self.sync(key);
        }
        let write = Write {
            mode,
            value,
            complete,
            flags,
            expiry: self.expiry(expiry),
            compare: self.token(key, compare),
            token,
            vivify: vivify.map(|when| self.expiry(when)),
            invalidate,
            want_old,
        };
        let value = write.value.clone();
        let op = torc_engine::command::Write {
            mode,
            value: upload.map_or(Body::Bytes(&value), Body::Upload),
            flags,
            expiry: write.expiry,
            compare: write.compare,
            token,
            vivify: write.vivify,
            invalidate,
            want_old,
        };
        let before = self.model.entries.get(key).cloned();
        let expected = self.model.write(key, write, self.now);
        self.compare_with(key, Op::Write(op), expected, before);
    }

    /// The value to write; `None` if its upload was refused.
    fn value(&mut self, source: Source) -> Option<(Vec<u8>, Option<UploadId>, bool)> {
        match source {
            Source::Pattern(len) => Some((pattern(self.written, len), None, true)),
            Source::Number(number) => Some((number.to_string().into_bytes(), None, true)),
            Source::Upload(len) => {
                let value = pattern(self.written, len);
                let id = self.begun(len)?;
                let (first, second) = value.split_at(len / 3);
                for slice in [first, second] {
                    if let Err(refusal) = self.shard.upload_append(id, slice, self.now) {
                        assert!(!self.exact && refusal == Refusal::OutOfMemory, "{refusal:?}");
                        return None;
                    }
                }
                Some((value, Some(id), true))
            }
            Source::Held(slot) => match self.uploads[slot].take() {
                None => Some((pattern(self.written, 33), None, true)),
                Some(upload) => {
                    let complete = upload.received == upload.value.len();
                    Some((upload.value, Some(upload.id), complete))
                }
            },
        }
    }

    fn begun(&mut self, len: usize) -> Option<UploadId> {
        match self.shard.upload_begin(len as u64, self.now) {
            Ok(id) => Some(id),
            Err(Refusal::ValueTooLarge) => {
                assert!(len as u64 > VALUE_BYTES_MAX);
                None
            }
            Err(refusal) => {
                assert!(!self.exact && refusal == Refusal::OutOfMemory, "{refusal:?}");
                None
            }
        }
    }

    fn upload_begin(&mut self, slot: usize, len: usize) {
        if self.uploads[slot].is_some() {
            return;
        }
        self.written += 1;
        let value = pattern(self.written, len);
        self.uploads[slot] = self.begun(len).map(|id| Upload { id, value, received: 0 });
    }

    fn upload_feed(&mut self, slot: usize, len: usize) {
        let Some(upload) = &mut self.uploads[slot] else { return };
        let from = upload.received;
        let to = (from + len).min(upload.value.len());
        match self.shard.upload_append(upload.id, &upload.value[from..to], self.now) {
            Ok(()) => upload.received = to,
            Err(refusal) => {
                assert!(!self.exact && refusal == Refusal::OutOfMemory, "{refusal:?}");
                self.uploads[slot] = None;
            }
        }
    }

    fn token(&mut self, key: &[u8], compare: Compare) -> Option<u64> {
        let token = self.model.live(key, self.now).map_or(77, |entry| entry.token());
        match compare {
            Compare::Nothing => None,
            Compare::Right => Some(token),
            Compare::Lower => Some(token - 1),
            Compare::Higher => Some(token + 1),
        }
    }

    /// Executes, and compares with what the model expects. `before` is the model's entry before, which stays
    /// if the shard refuses for want of memory.
    fn compare_with(&mut self, key: &[u8], op: Op<'_>, expected: Expected, before: Option<Entry>) {
        let seen = self.ask(key, op);
        if !self.exact && matches!(seen, Seen::Refused(Refusal::OutOfMemory)) {
            match before {
                Some(entry) => self.model.entries.insert(key.to_vec(), Entry { lease_given: None, ..entry }),
                None => self.model.entries.remove(key),
            };
            return;
        }
        let moves = matches!(
            expected,
            Expected::Touched { changed: true, .. }
                | Expected::Item { changed: true, .. }
                | Expected::Deleted { .. }
        );
        if !self.exact && moves && matches!(seen, Seen::Miss) {
            // Room for the new header has cost the item its place.
            self.model.entries.remove(key);
            return;
        }
        let exact = self.exact;
        let same_old =
            |old: &Option<Vec<u8>>, expected: &Option<Vec<u8>>| old == expected || (!exact && old.is_none());
        match (&seen, &expected) {
            (Seen::Miss, Expected::Miss)
            | (Seen::Exists, Expected::Exists)
            | (Seen::Untouched, Expected::Untouched) => {}
            (Seen::Refused(refusal), Expected::Refused(wanted)) => assert_eq!(refusal, wanted),
            (Seen::Item(meta, value), Expected::Item { entry, lease, changed }) => {
                assert!(value == &entry.value, "another value than the newest");
                if let Some(lease) = lease {
                    assert_eq!(meta.lease, *lease);
                }
                self.check_meta(key, meta, entry, *changed);
                self.check_fetched(meta.fetched, entry.fetched);
            }
            (Seen::Stored(meta, old), Expected::Stored { entry, old: wanted }) => {
                assert!(same_old(old, wanted), "another old value");
                match entry {
                    Some(entry) => self.check_meta(key, meta, entry, true),
                    None => self.rise(meta.version),
                }
            }
            (Seen::NotStored(old), Expected::NotStored { old: wanted })
            | (Seen::Deleted(old), Expected::Deleted { old: wanted }) => {
                assert!(same_old(old, wanted), "another old value");
            }
            (Seen::Touched(meta), Expected::Touched { entry, changed }) => {
                self.check_meta(key, meta, entry, *changed);
            }
            (Seen::Counter(number, meta), Expected::Counter { number: wanted, entry }) => {
                assert_eq!(number, wanted);
                self.rise(meta.version);
                assert_eq!(meta.token, entry.token.unwrap_or(meta.version));
                assert_eq!(meta.expiry, entry.expiry);
                self.learn(key, meta);
            }
            _ => panic!("{seen:?}, expected {expected:?}"),
        }
    }

    fn rise(&mut self, version: u64) {
        assert!(version > self.version, "versions rise");
        self.version = version;
    }

    fn learn(&mut self, key: &[u8], meta: &Meta) {
        if let Some(entry) = self.model.entries.get_mut(key) {
            entry.version = Some(meta.version);
        }
    }

    fn check_meta(&mut self, key: &[u8], meta: &Meta, entry: &Entry, changed: bool) {
        if changed {
            self.rise(meta.version);
            self.learn(key, meta);
        } else {
            assert_eq!(entry.version.unwrap_or(meta.version), meta.version);
        }
        assert_eq!(meta.token, entry.token.unwrap_or(meta.version));
        assert_eq!(meta.flags, entry.flags);
        assert_eq!(meta.expiry, entry.expiry);
        assert_eq!(meta.value_bytes, entry.value.len() as u64);
        assert_eq!(meta.stale, entry.stale);
    }

    /// Only on a shard that moves nothing: an item that moves while it is changed may forget that it was read.
    fn check_fetched(&self, fetched: bool, expected: Option<bool>) {
        assert!(!self.exact || expected.is_none_or(|expected| expected == fetched), "read before");
    }

    /// Reads a key without touching it: what the model has, or, on a shard that evicts, nothing.
    fn sync(&mut self, key: &[u8]) {
        self.model.turn(self.now);
        let entry = self.model.live(key, self.now).cloned();
        let leases = entry.as_ref().is_some_and(|entry| entry.placeholder);
        let seen = self.ask(key, Op::Read(Read { peek: true, leases, ..Read::default() }));
        match (seen, entry) {
            (Seen::Miss, None) => {}
            (Seen::Miss, Some(_)) => {
                assert!(!self.exact, "an item was lost");
                self.model.entries.remove(key);
            }
            (Seen::Item(meta, value), Some(entry)) => {
                assert!(value == entry.value, "another value than the newest");
                assert_eq!(meta.lease, if leases { Lease::Given } else { Lease::None });
                if entry.version.is_none() {
                    self.rise(meta.version);
                    self.learn(key, &meta);
                }
                self.check_meta(key, &meta, &entry, false);
                self.check_fetched(meta.fetched, entry.fetched);
            }
            (seen, entry) => panic!("{seen:?}, expected {entry:?}"),
        }
    }

    fn lend(&mut self, key: &[u8], from: u64, to: u64) {
        let Some(entry) = self.model.live(key, self.now).filter(|entry| !entry.placeholder) else { return };
        let (value, from, to) = (entry.value.clone(), from.min(to), from.max(to));
        if self.lent.len() >= LENT_MAX {
            self.release();
        }
        let hash = self.shard.hash(key);
        let op = Op::Read(Read { peek: true, ..Read::default() });
        let outcome = self.shard.execute(&Command { key, op }, hash, self.now);
        if let Outcome::Item(Found { value: Value::Chained(chain), .. }) = outcome {
            let lent: Vec<Lent> = chain.lend(from..to).collect();
            let end = |at: u64| (at as usize).min(value.len());
            self.lent.push_back((lent, value[end(from)..end(to)].to_vec()));
        }
    }

    fn release(&mut self) {
        let Some((lent, expected)) = self.lent.pop_front() else { return };
        let bytes: Vec<u8> = lent.iter().flat_map(|lent| lent.bytes()).copied().collect();
        assert!(bytes == expected, "lent bytes have changed");
        lent.into_iter().for_each(|lent| self.shard.release(lent));
    }

    fn scan(&mut self, count: u32) {
        let (mut cursor, mut keys) = (0, BTreeSet::new());
        for _ in 0..100_000 {
            let mut found = Vec::new();
            cursor = self.shard.scan(cursor, count, self.now, &mut found);
            let mut rest = &found[..];
            while let Some((len, tail)) = rest.split_first_chunk::<4>() {
                let (key, tail) = tail.split_at(u32::from_le_bytes(*len) as usize);
                keys.insert(key.to_vec());
                rest = tail;
            }
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(cursor, 0, "a scan ends");
        let live = |entry: &Entry| !entry.placeholder && entry.expiry.is_none_or(|expiry| expiry > self.now);
        let expected: BTreeSet<Vec<u8>> =
            self.model.entries.iter().filter(|(_, entry)| live(entry)).map(|(key, _)| key.clone()).collect();
        assert!(keys.is_subset(&expected), "a scan shows what is not there");
        assert!(!self.exact || keys == expected, "a scan misses keys");
    }

    /// Reads everything once more, then lets go of everything: no byte stays in use.
    pub(crate) fn finish(mut self) {
        self.model.turn(self.now);
        let keys: Vec<Vec<u8>> = self.model.entries.keys().cloned().collect();
        keys.iter().for_each(|key| self.sync(key));
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
    Expire { expiry: Expiry::Never, condition: torc_engine::command::ExpireCondition::Always };

/// The number after a step, as each protocol counts.
fn apply(count: Count, text: &[u8]) -> Result<Number, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::NotANumber)?;
    let unsigned = || {
        let digits = text.trim_end_matches(' ');
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| plain).ok_or(Refusal::NotANumber)
    };
    match count {
        Count::Increment(by) => Ok(Number::Unsigned(unsigned()?.wrapping_add(by))),
        Count::Decrement(by) => Ok(Number::Unsigned(unsigned()?.saturating_sub(by))),
        Count::Signed(by) => {
            let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            let number = number.ok_or(Refusal::NotANumber)?;
            number.checked_add(by).map(Number::Signed).ok_or(Refusal::Overflow)
        }
        Count::Float(by) => {
            let number = text.parse::<f64>().map_err(|_| Refusal::NotANumber)?;
            if !number.is_finite() {
                return Err(Refusal::NotANumber);
            }
            Ok(Number::Float(number + by))
        }
    }
}
