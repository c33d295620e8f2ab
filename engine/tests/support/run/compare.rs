//! What the shard has answered beside what the model expects.

use super::super::model::{Entry, Expected};
use super::Run;
use torc_engine::command::{Found, Lease, Meta, Number, Op, Outcome, Read, Refusal, Value};

/// An outcome that borrows nothing.
#[derive(Debug)]
pub(super) enum Seen {
    Miss,
    Item(Meta, Vec<u8>),
    Stored(Meta, Option<Vec<u8>>),
    NotStored(Option<Vec<u8>>),
    Exists,
    Deleted(Option<Vec<u8>>, u64),
    Touched(Meta),
    Untouched,
    Counter(Number, Meta),
    Fields(Vec<u8>),
    Refused(Refusal),
}

fn bytes_of(found: &Found<'_>) -> Vec<u8> {
    let bytes: Vec<u8> = match found.value {
        Value::Inline(bytes) => bytes.to_vec(),
        Value::Chained(chain) => chain.slices().flat_map(|slice| slice.to_vec()).collect(),
    };
    assert_eq!(bytes.len() as u64, found.meta.value_bytes, "a value is as long as its item says");
    bytes
}

pub(super) fn seen(outcome: Outcome<'_>) -> Seen {
    let bytes = |old: Option<Found<'_>>| old.map(|found| bytes_of(&found));
    match outcome {
        Outcome::Miss => Seen::Miss,
        Outcome::Item(found) => Seen::Item(found.meta, bytes_of(&found)),
        Outcome::Stored { meta, old } => Seen::Stored(meta, bytes(old)),
        Outcome::NotStored { old } => Seen::NotStored(bytes(old)),
        Outcome::Exists => Seen::Exists,
        Outcome::Deleted { old, version } => Seen::Deleted(bytes(old), version),
        Outcome::Touched { meta } => Seen::Touched(meta),
        Outcome::Untouched => Seen::Untouched,
        Outcome::Counter { number, meta } => Seen::Counter(number, meta),
        Outcome::Refused(refusal) => Seen::Refused(refusal),
        Outcome::Fields(results) => Seen::Fields(results.to_vec()),
        Outcome::Number(_) => panic!("no step counts bits: {outcome:?}"),
        Outcome::Pending(ticket) => panic!("nothing waits in a shard without a second tier: {ticket:?}"),
    }
}

impl Run {
    /// Executes, and compares with what the model expects. `before` is the model's entry before, which stays
    /// if the shard refuses for want of memory.
    pub(super) fn compare_with(&mut self, key: &[u8], op: Op<'_>, expected: Expected, before: Option<Entry>) {
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
            (Seen::Fields(results), Expected::Fields(wanted)) => assert_eq!(results, wanted),
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
            (Seen::NotStored(old), Expected::NotStored { old: wanted }) => {
                assert!(same_old(old, wanted), "another old value");
            }
            (Seen::Deleted(old, version), Expected::Deleted { old: wanted }) => {
                assert!(same_old(old, wanted), "another old value");
                self.rise(*version);
                if let Some(entry) = self.model.entries.get_mut(key) {
                    entry.version = Some(*version);
                }
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

    pub(super) fn rise(&mut self, version: u64) {
        assert!(version > self.version, "versions rise");
        self.version = version;
    }

    pub(super) fn learn(&mut self, key: &[u8], meta: &Meta) {
        if let Some(entry) = self.model.entries.get_mut(key) {
            entry.version = Some(meta.version);
        }
    }

    pub(super) fn check_meta(&mut self, key: &[u8], meta: &Meta, entry: &Entry, changed: bool) {
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
    pub(super) fn check_fetched(&self, fetched: bool, expected: Option<bool>) {
        assert!(!self.exact || expected.is_none_or(|expected| expected == fetched), "read before");
    }

    /// Reads a key without touching it: what the model has, or, on a shard that evicts, nothing.
    pub(super) fn sync(&mut self, key: &[u8]) {
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
                let lease = match entry.lease_given {
                    _ if !leases => Some(Lease::None),
                    given => given.map(|given| if given { Lease::Given } else { Lease::Won }),
                };
                assert!(lease.is_none_or(|lease| lease == meta.lease), "{:?}, not {lease:?}", meta.lease);
                if let Some(entry) = self.model.entries.get_mut(key).filter(|_| leases) {
                    entry.lease_given = Some(true);
                }
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
}
