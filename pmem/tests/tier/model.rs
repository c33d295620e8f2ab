//! What a tier may answer: for each key what is known to be safe, and what came after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::media::Medium;
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::recover::{Counts, Event, Journaled, StreamEnd};
use torc_pmem::stream::Miss;
use torc_pmem::tier::Tier;

/// The version of a key's item, or that there is none.
pub(crate) type Fact = Option<u64>;

#[derive(Debug, Clone, Default)]
struct Key {
    /// What was true when the stream was drained last.
    safe: Fact,
    /// What was added since.
    later: Vec<Fact>,
    /// The batch that holds what is safe, or the last of what came later, was freed, so that it may be gone.
    may_miss: bool,
    last_may_miss: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    keys: BTreeMap<u64, Key>,
}

pub(crate) fn slot_of(hash: u64) -> u16 {
    (hash * 4099 % 16384) as u16
}

/// The bytes of a key's item in a version.
pub(crate) fn value(hash: u64, version: u64) -> Vec<u8> {
    let mixed = hash.wrapping_mul(31).wrapping_add(version).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = match mixed >> 60 {
        0 => 5000 + (mixed >> 20) % 3000,
        1..4 => 1000 + (mixed >> 20) % 2000,
        _ => 9 + (mixed >> 20) % 200,
    };
    if hash.is_multiple_of(2) {
        // Bytes that no compression makes shorter.
        let mut random = Random(mixed);
        return std::iter::repeat_with(|| random.next() as u8).take(len as usize).collect();
    }
    let line = format!("key {hash}, version {version}. ");
    line.bytes().cycle().take(len as usize).collect()
}

impl Key {
    fn add(&mut self, fact: Fact) {
        self.later.push(fact);
        // A crash may have freed what came before, and not have this.
        self.may_miss |= std::mem::take(&mut self.last_may_miss);
    }
}

impl Model {
    pub(crate) fn wrote(&mut self, hash: u64, version: u64) {
        self.keys.entry(hash).or_default().add(Some(version));
    }

    pub(crate) fn deleted(&mut self, hash: u64) {
        self.keys.entry(hash).or_default().add(None);
    }

    pub(crate) fn flushed(&mut self, of: impl Fn(u64) -> bool) {
        self.keys.iter_mut().filter(|(hash, _)| of(**hash)).for_each(|(_, key)| key.add(None));
    }

    /// The newest version that was added.
    pub(crate) fn newest(&self, hash: u64) -> Fact {
        self.keys.get(&hash).and_then(|key| *key.later.last().unwrap_or(&key.safe))
    }

    pub(crate) fn drained(&mut self, of: impl Fn(u64) -> bool) {
        for (_, key) in self.keys.iter_mut().filter(|(hash, _)| of(**hash)) {
            if let Some(last) = key.later.pop() {
                (key.safe, key.may_miss, key.last_may_miss) = (last, key.last_may_miss, false);
                key.later.clear();
            }
        }
    }

    /// The batch of an item goes, and the item was not added again.
    pub(crate) fn freed(&mut self, hash: u64, version: u64) {
        let Some(key) = self.keys.get_mut(&hash) else { return };
        match key.later.last() {
            Some(last) => key.last_may_miss |= *last == Some(version),
            None => key.may_miss |= key.safe == Some(version),
        }
    }

    /// What may be there in the midst of a step.
    pub(crate) fn amid(before: &Model, after: &Model) -> Model {
        let mut amid = before.clone();
        for (hash, after) in &after.keys {
            let key = amid.keys.entry(*hash).or_default();
            key.later.extend([after.safe].iter().chain(&after.later));
            key.may_miss |= after.may_miss | after.last_may_miss;
        }
        amid
    }

    /// Checks what was found after a crash.
    pub(crate) fn check(&self, found: &Found) {
        for (hash, key) in &self.keys {
            let fact = found.items.get(hash).copied();
            let may_miss = (key.may_miss || key.last_may_miss) && fact.is_none();
            let allowed = fact == key.safe || key.later.contains(&fact) || may_miss;
            assert!(allowed, "key {hash} is {fact:?}: {key:?}");
        }
        let unknown: Vec<_> = found.items.keys().filter(|hash| !self.keys.contains_key(hash)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    /// Goes on from what was found: nothing else may come back.
    pub(crate) fn restart(&mut self, found: &Found) {
        for (hash, key) in &mut self.keys {
            *key = Key { safe: found.items.get(hash).copied(), ..Key::default() };
        }
    }

    /// Takes what was found for what is true.
    pub(crate) fn take(&mut self, found: &Found) {
        let key = |(hash, version): (&u64, &u64)| (*hash, Key { safe: Some(*version), ..Key::default() });
        self.keys = found.items.iter().map(key).collect();
    }

    /// Checks what was found of a damaged image: what was safe or came later, or nothing.
    pub(crate) fn check_damaged(&self, found: &Found) {
        for (hash, version) in &found.items {
            let (key, fact) = (&self.keys[hash], Some(*version));
            assert!(fact == key.safe || key.later.contains(&fact), "key {hash} is {fact:?}: {key:?}");
        }
    }
}

/// What counts of what is told.
#[derive(Debug, Default)]
struct Told {
    newest: BTreeMap<u64, (Record, Option<Place>)>,
    flushes: Vec<Record>,
}

impl Told {
    fn take(&mut self, event: Event) {
        match event {
            Event::Record { record, .. } if matches!(record.kind, Kind::Flush | Kind::FlushAll) => {
                self.flushes.push(record);
            }
            Event::Record { record, place } => {
                let known = self.newest.entry(record.hash).or_insert((record, place));
                if record.version > known.0.version {
                    *known = (record, place);
                }
            }
            Event::Lost(_) | Event::Part { .. } => {}
        }
    }

    /// Whether a record of a key is no newer than what was told.
    fn is_older(&self, record: &Record) -> bool {
        let is_mark = matches!(record.kind, Kind::Flush | Kind::FlushAll);
        !is_mark && self.newest.get(&record.hash).is_some_and(|known| known.0.version >= record.version)
    }
}

/// What recovery finds, as a shard would take it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) ends: Vec<StreamEnd>,
    pub(crate) counts: Vec<Counts>,
    /// What the journals have alone, and how much of that is older than what their streams have, or than what comes before it.
    pub(crate) journaled: Vec<Option<Journaled>>,
    pub(crate) stale: u64,
    /// Version of each key that can be read.
    pub(crate) items: BTreeMap<u64, u64>,
}

impl Found {
    pub(crate) fn of_image(image: &[u8]) -> Found {
        let medium = Sim::of_image(image.to_vec(), 512);
        let tier = Tier::open(Arc::new(medium)).expect("a tier");
        let found = Found::of(&tier);
        let is_whole = found.counts.iter().all(|counts| counts.damaged == 0);
        if is_whole && tier.config().has_snapshots {
            let of_tables = Found::of_tables(&tier);
            if of_tables.counts.iter().all(|counts| counts.damaged == 0) {
                assert_eq!(found.items, of_tables.items, "a snapshot says what tables say");
            }
        }
        found
    }

    pub(crate) fn of_medium(medium: &Arc<dyn Medium>) -> Option<Found> {
        Tier::open(Arc::clone(medium)).ok().map(|tier| Found::of(&tier))
    }

    pub(crate) fn of(tier: &Tier) -> Found {
        Found::of_tier(tier, false)
    }

    /// What is found without snapshots.
    pub(crate) fn of_tables(tier: &Tier) -> Found {
        Found::of_tier(tier, true)
    }

    /// Whether a snapshot was read.
    pub(crate) fn has_snapshot(&self) -> bool {
        self.counts.iter().any(|counts| counts.has_snapshot)
    }

    fn of_tier(tier: &Tier, reads_all: bool) -> Found {
        let mut found = Found::default();
        let mut told = Told::default();
        for stream in 0..tier.config().streams {
            let mut take = |event| told.take(event);
            let recovered = match reads_all {
                true => tier.recover_all(stream, &mut take),
                false => tier.recover(stream, &mut take),
            };
            let (end, counts) = recovered.expect("a medium without errors");
            found.ends.push(end);
            found.counts.push(counts);
            let of_stream = tier.find(stream).expect("a medium without errors");
            let journaled = tier.journaled(&of_stream).expect("a medium without errors");
            let records = journaled.iter().flat_map(|journaled| &journaled.records);
            found.stale += records.clone().filter(|(record, _)| told.is_older(record)).count() as u64;
            let versions: Vec<u64> = records.clone().map(|(record, _)| record.version).collect();
            found.stale += u64::from(!versions.is_sorted());
            records.for_each(|&(record, place)| told.take(Event::Record { record, place }));
            found.counts.extend(journaled.as_ref().map(|journaled| journaled.counts));
            found.journaled.push(journaled);
        }
        let Told { newest, flushes } = told;
        let mut reader = tier.reader();
        for (hash, (record, place)) in newest {
            let is_flushed =
                |mark: &Record| mark.version >= record.version && mark.slots().contains(&record.slot);
            let Some(place) = place.filter(|_| !flushes.iter().any(is_flushed)) else { continue };
            match reader.read(place) {
                Ok(bytes) => {
                    assert_eq!(bytes, value(hash, record.version), "a wrong byte of key {hash}");
                    found.items.insert(hash, record.version);
                }
                Err(Miss::Corrupt(_)) => {}
                Err(Miss::Media(error)) => panic!("{error}"),
            }
        }
        found
    }
}
