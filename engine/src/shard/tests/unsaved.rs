//! What a tier is told of changes, and what it tells back.

use super::*;
use crate::reader::{Doubt, Look, ReadRoom};
use crate::shard::returning::Lost;
use std::collections::HashMap;

/// A tier that keeps what it is told: items by place, and of each hash the last record.
#[derive(Default)]
pub(super) struct Tier {
    pub(super) items: HashMap<u64, Vec<u8>>,
    next: u64,
    pub(super) flushed: u64,
    /// As it was told last.
    pub(super) spaces: crate::spaces::SpaceTable,
    pub(super) told: Vec<Told>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) hash: u64,
    pub(super) version: u64,
    slot: u16,
    pub(super) place: Option<u64>,
    /// It is a chunk, of the key with this hash.
    pub(super) chunk_of: Option<u64>,
}

impl Told {
    pub(super) fn known(&self) -> Known {
        match self.chunk_of {
            Some(of) => Known::chunk(self.hash, of, self.place),
            None => Known::item(self.hash, self.place),
        }
    }

    pub(super) fn saved(&self, shard: &mut Shard) {
        match self.chunk_of {
            Some(of) => shard.saved_chunk(self.hash, of, self.version, self.place),
            None => shard.saved(self.hash, self.version, self.place.is_some(), self.place),
        }
    }
}

fn slot_of(key: &[u8]) -> u16 {
    key.len() as u16
}

impl Tier {
    /// Takes up to `count` changes. They are not told to be saved.
    pub(super) fn take(&mut self, shard: &mut Shard, count: usize) -> Vec<Told> {
        let mut told = Vec::new();
        shard.take_unsaved(|unsaved| {
            if told.len() == count {
                return false;
            }
            let Unsaved { hash, version, slot, .. } = unsaved;
            let (bytes, chunk_of) = match unsaved.what {
                What::Item(bytes) | What::Head(bytes) => (Some(bytes), None),
                What::Chunk { item, of } => (Some(item), Some(of)),
                What::Gone => (None, None),
                What::Spaces(table) => {
                    self.spaces = *table;
                    return true;
                }
                What::Flushed => {
                    self.flushed = version;
                    return true;
                }
            };
            let place = bytes.map(|bytes| {
                self.next += 1;
                self.items.insert(self.next, bytes.to_vec());
                self.next
            });
            told.push(Told { hash, version, slot, place, chunk_of });
            true
        });
        self.told.extend(told.iter().cloned());
        told
    }

    pub(super) fn save(&mut self, shard: &mut Shard) -> Vec<Told> {
        let told = self.take(shard, usize::MAX);
        told.iter().for_each(|told| told.saved(shard));
        told
    }

    /// Brings an item back, with all of its chunks if it has some. What cannot be had is forgotten.
    pub(super) fn bring_back(&self, shard: &mut Shard, hash: u64, ticket: Ticket, now: Millis) {
        let Some(bytes) = self.items.get(&ticket.0) else {
            shard.forget_elsewhere(hash, ticket);
            return;
        };
        let Some(mut returning) = shard.promote(hash, ticket, bytes, now).unwrap() else { return };
        if shard.start_return(&mut returning, now) != Ok(true) {
            return self.lose(shard, returning);
        }
        loop {
            // Some are on their way at a time, and the last one comes first.
            let mut asked = Vec::new();
            while asked.len() < 3 {
                match shard.chunk_to_fetch(&mut returning, now) {
                    Ok(Some(chunk)) => asked.push(chunk),
                    Ok(None) => break,
                    Err(Lost) => return self.lose(shard, returning),
                }
            }
            if asked.is_empty() {
                if shard.end_return(&returning, now).is_err() {
                    self.lose(shard, returning);
                }
                return;
            }
            for chunk in asked.iter().rev() {
                let bytes = self.items.get(&chunk.ticket.0).map_or(&[][..], Vec::as_slice);
                if shard.chunk_back(&mut returning, chunk, bytes).is_err() {
                    return self.lose(shard, returning);
                }
            }
        }
    }

    fn lose(&self, shard: &mut Shard, returning: Returning) {
        shard.forget_elsewhere(returning.hash(), returning.ticket());
        shard.stop_return(returning);
    }

    pub(super) fn get(&self, shard: &mut Shard, key: &[u8], now: Millis) -> (bool, Option<Vec<u8>>) {
        let hash = shard.hash(0, key);
        match ask(shard, key, Op::Read(Read::default()), now) {
            Outcome::Pending(ticket) => {
                self.bring_back(shard, hash, ticket, now);
                (true, get(shard, key, now))
            }
            Outcome::Item(found) => (false, Some(bytes_of(found.value))),
            Outcome::Miss => (false, None),
            other => panic!("{other:?}"),
        }
    }

    /// What the keys of some slots have, newest first.
    pub(super) fn known(&self, has: impl Fn(u16) -> bool) -> Vec<Known> {
        let is_told = |told: &&Told| told.version > self.flushed && has(told.slot);
        let told = self.told.iter().rev().filter(is_told);
        told.map(Told::known).collect()
    }

    /// What a shard is after a restart.
    pub(super) fn recover(&self, memory_bytes: u64) -> Shard {
        let mut shard = remembering(memory_bytes);
        shard.begin_recovery(0..16384, slot_of, true);
        shard.recover(&self.known(|_| true));
        shard.end_slots(0..16384);
        shard
    }
}

pub(super) fn remembering(memory_bytes: u64) -> Shard {
    let mut shard = shard_of(memory_bytes);
    shard.remember_changes(slot_of);
    shard
}

fn delete(shard: &mut Shard, key: &[u8]) {
    ask(shard, key, Op::Delete(Delete::default()), NOW);
}

#[test]
fn a_change_is_taken_once_and_named_when_it_is_saved() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    for round in 0..3 {
        set(&mut shard, b"key", format!("value {round}").as_bytes());
    }
    assert_eq!((shard.unsaved(), shard.has_unsaved()), (1, true));
    assert_eq!(shard.untaken_bytes(), shard.stats().bytes_live.read());
    let told = tier.take(&mut shard, usize::MAX);
    assert_eq!((told.len(), told[0].slot), (1, 3));
    assert_eq!((shard.unsaved(), shard.has_unsaved(), shard.index.elsewhere()), (1, false, 0));
    assert_eq!(shard.untaken_bytes(), 0);
    shard.saved(told[0].hash, told[0].version, true, told[0].place);
    assert_eq!((shard.unsaved(), shard.index.elsewhere(), shard.index.items()), (0, 1, 1));
    assert!(tier.save(&mut shard).is_empty());
    shard.audit().unwrap();
}

#[test]
fn what_changed_while_it_was_saved_is_not_named_and_is_taken_again() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    for key in [&b"written"[..], b"deleted", b"same"] {
        set(&mut shard, key, b"old");
    }
    let told = tier.take(&mut shard, usize::MAX);
    set(&mut shard, b"written", b"new");
    delete(&mut shard, b"deleted");
    told.iter().for_each(|told| told.saved(&mut shard));
    assert_eq!((shard.unsaved(), shard.index.elsewhere()), (2, 1));
    let again = tier.save(&mut shard);
    assert_eq!(again.iter().map(|told| told.place.is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!((shard.unsaved(), shard.index.elsewhere()), (0, 2));
    // The first answer comes a second time: it means nothing any more.
    told.iter().for_each(|told| told.saved(&mut shard));
    assert_eq!(shard.index.elsewhere(), 2);
    let mut after = tier.recover(8 << 20);
    assert_eq!(tier.get(&mut after, b"written", NOW), (true, Some(b"new".to_vec())));
    assert_eq!(tier.get(&mut after, b"deleted", NOW), (false, None));
    assert_eq!(tier.get(&mut after, b"same", NOW), (true, Some(b"old".to_vec())));
}

#[test]
fn the_answer_to_a_save_is_not_taken_for_that_to_a_later_one() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    set(&mut shard, b"key", b"old");
    let first = tier.take(&mut shard, usize::MAX);
    set(&mut shard, b"key", b"new");
    let second = tier.take(&mut shard, usize::MAX);
    shard.saved(first[0].hash, first[0].version, true, first[0].place);
    assert_eq!((shard.unsaved(), shard.index.elsewhere()), (1, 0));
    shard.saved(second[0].hash, second[0].version, true, second[0].place);
    assert_eq!(shard.unsaved(), 0);
    assert_eq!(shard.index.find_elsewhere(second[0].hash).map(|(_, found)| found.place), second[0].place);
}

#[test]
fn taking_stops_where_it_is_told_to_and_goes_on_there() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    let keys: Vec<_> = (0..10u8).map(|number| vec![number; 4]).collect();
    keys.iter().for_each(|key| set(&mut shard, key, b"value"));
    shard.flush(None, NOW);
    keys.iter().for_each(|key| set(&mut shard, key, b"again"));
    let hashes: Vec<u64> = keys.iter().map(|key| shard.hash(0, key)).collect();
    assert_eq!(tier.take(&mut shard, 0), []);
    let first: Vec<_> = tier.take(&mut shard, 4).iter().map(|told| told.hash).collect();
    let rest: Vec<_> = tier.take(&mut shard, 100).iter().map(|told| told.hash).collect();
    assert_eq!([first, rest].concat(), hashes);
    assert!(tier.flushed > 0 && tier.told.iter().all(|told| told.version > tier.flushed));
}

#[test]
fn what_left_dram_before_it_was_taken_voids_older_copies() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    set(&mut shard, b"evicted", b"old");
    set(&mut shard, b"expired", b"old");
    tier.save(&mut shard);
    set(&mut shard, b"evicted", b"new");
    let write = Write { expiry: Expiry::At(NOW + 10), ..Write::set(b"new") };
    ask(&mut shard, b"expired", Op::Write(write), NOW);
    assert_eq!(get(&mut shard, b"expired", NOW + 20), None);
    for number in 0..5000u32 {
        set(&mut shard, &number.to_le_bytes(), &[7; 1000]);
    }
    assert_eq!(get(&mut shard, b"evicted", NOW + 20), None, "it was evicted");
    assert_eq!(shard.untaken_bytes(), shard.stats().bytes_live.read(), "nothing else counts");
    tier.save(&mut shard);
    assert_eq!(shard.untaken_bytes(), 0);
    for key in [&b"evicted"[..], b"expired"] {
        assert_eq!(tier.get(&mut tier.recover(1 << 20), key, NOW + 20), (false, None));
    }
    shard.audit().unwrap();
}

#[test]
fn saved_items_are_evicted_and_read_again() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    let value = |number: u32| vec![number as u8; 1000];
    for number in 0..3000u32 {
        set(&mut shard, &number.to_le_bytes(), &value(number));
        if number % 50 == 49 {
            tier.save(&mut shard);
        }
    }
    assert!(shard.stats().evictions.read() > 1000);
    for round in 0..2 {
        for number in 0..3000u32 {
            let (_, found) = tier.get(&mut shard, &number.to_le_bytes(), NOW);
            assert!(found == Some(value(number)), "round {round}, key {number}");
        }
    }
    assert_eq!(shard.unsaved(), 0, "coming back is no change");
    assert_eq!(shard.index.elsewhere(), 3000);
    shard.audit().unwrap();
}

#[test]
fn a_key_that_changes_forgets_its_place() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    let keys: Vec<_> = (0..5u8).map(|number| vec![number; 4]).collect();
    let with_end = Write { expiry: Expiry::At(NOW + 10), ..Write::set(b"7") };
    for key in &keys {
        ask(&mut shard, key, Op::Write(with_end), NOW);
    }
    tier.save(&mut shard);
    assert_eq!(shard.index.elsewhere(), 5);
    set(&mut shard, &keys[0], b"new");
    delete(&mut shard, &keys[1]);
    let expire = Expire { expiry: Expiry::At(NOW), condition: ExpireCondition::Always, leases: false };
    ask(&mut shard, &keys[2], Op::Expire(expire), NOW);
    ask(&mut shard, &keys[3], Op::SetRange { offset: 1, value: Body::Bytes(b"8") }, NOW);
    assert_eq!(get(&mut shard, &keys[4], NOW + 10), None);
    assert_eq!(shard.index.elsewhere(), 0);
    shard.audit().unwrap();
}

#[test]
fn a_place_that_is_left_is_forgotten_and_what_was_read_is_saved_anew() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    for number in 0..2000u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 1000]);
    }
    let told = tier.save(&mut shard);
    let mut read = 0;
    for number in (0..2000u32).step_by(3) {
        let outcome = ask(&mut shard, &number.to_le_bytes(), Op::Read(Read::default()), NOW);
        read += usize::from(matches!(outcome, Outcome::Item(_)));
    }
    assert!(read > 100 && shard.index.items() < 1500);
    let places = told.iter().filter_map(|told| Some((told.hash, told.place?)));
    assert!(!shard.leave_place(told[0].hash, 9_999_999, true), "another place");
    assert_eq!(shard.index.elsewhere(), places.clone().count() as u64);
    let mut left = 50;
    for (hash, place) in places {
        left -= usize::from(shard.leave_place(hash, place, left > 0));
    }
    assert_eq!((shard.index.elsewhere(), shard.unsaved(), left), (0, 50, 0));
    tier.save(&mut shard);
    assert_eq!(shard.index.elsewhere(), 50);
    shard.audit().unwrap();
}

#[test]
fn accesses_are_counted_where_an_item_lies_and_what_is_carried_on_is_found_there() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    let keys = [&b"read"[..], b"cold", b"changed", b"flushed"];
    keys.iter().for_each(|key| set(&mut shard, key, b"value"));
    let told = tier.save(&mut shard);
    let places: Vec<u64> = told.iter().filter_map(|told| told.place).collect();
    for (key, place) in keys.iter().zip(&places) {
        assert!(shard.demote(0, key, *place, NOW));
    }
    let of = |number: usize| (told[number].hash, places[number]);
    assert_eq!(shard.accesses_at(of(0).0, of(0).1), 0);
    for _ in 0..2 {
        tier.get(&mut shard, b"read", NOW);
        assert!(!shard.may_be_carried(of(0).0, of(0).1, told[0].version), "it is in DRAM, too");
        assert!(shard.demote(0, b"read", of(0).1, NOW));
    }
    assert!(shard.accesses_at(of(0).0, of(0).1) > 1);
    assert_eq!(shard.accesses_at(of(0).0, of(1).1), 0, "another place");
    assert!(shard.may_be_carried(of(0).0, of(0).1, told[0].version));
    set(&mut shard, b"changed", b"new");
    assert!(!shard.may_be_carried(of(2).0, of(2).1, told[2].version));
    tier.items.insert(99, tier.items[&of(0).1].clone());
    shard.carried(of(0).0, of(0).1, Some(99));
    shard.carried(of(2).0, of(2).1, Some(100));
    shard.carried(of(1).0, of(1).1, None);
    assert_eq!(shard.index.find_elsewhere(of(0).0).unwrap().1.place, 99);
    assert_eq!(tier.get(&mut shard, b"read", NOW), (true, Some(b"value".to_vec())));
    assert_eq!(tier.get(&mut shard, b"changed", NOW), (false, Some(b"new".to_vec())));
    assert_eq!(tier.get(&mut shard, b"cold", NOW), (false, None));
    shard.flush(None, NOW);
    assert!(!shard.may_be_carried(of(3).0, of(3).1, told[3].version), "it would come back");
    shard.audit().unwrap();
}

#[test]
fn eviction_counts_accesses_for_the_copy_on_the_tier() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    set(&mut shard, b"read", &[1; 1000]);
    set(&mut shard, b"not read", &[1; 1000]);
    let told = tier.save(&mut shard);
    get(&mut shard, b"read", NOW);
    for number in 0..3000u32 {
        set(&mut shard, &number.to_le_bytes(), &[7; 1000]);
    }
    let accesses = |told: &Told| shard.accesses_at(told.hash, told.place.unwrap());
    assert!(shard.item_of(told[0].hash).is_none() && shard.item_of(told[1].hash).is_none(), "evicted");
    assert_eq!((accesses(&told[0]), accesses(&told[1])), (1, 0));
}

#[test]
fn a_placeholder_voids_the_copy_before() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    set(&mut shard, b"key", b"short");
    tier.save(&mut shard);
    delete(&mut shard, b"key");
    let read = Read { leases: true, vivify: Some(Expiry::Never), ..Read::default() };
    ask(&mut shard, b"key", Op::Read(read), NOW);
    assert_eq!(tier.save(&mut shard)[0].place, None);
    assert_eq!(tier.get(&mut tier.recover(8 << 20), b"key", NOW), (false, None));
}

#[test]
fn a_flush_voids_what_is_saved_and_what_is_being_saved() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    set(&mut shard, b"saved", b"old");
    tier.save(&mut shard);
    set(&mut shard, b"saving", b"old");
    let told = tier.take(&mut shard, usize::MAX);
    set(&mut shard, b"unsaved", b"old");
    shard.flush(None, NOW);
    told.iter().for_each(|told| told.saved(&mut shard));
    assert_eq!(shard.unsaved(), 0);
    for key in [&b"saved"[..], b"saving", b"unsaved"] {
        assert_eq!(tier.get(&mut shard, key, NOW).1, None);
    }
    tier.save(&mut shard);
    assert_eq!(tier.get(&mut tier.recover(8 << 20), b"saved", NOW), (false, None));
}

#[test]
fn a_deletion_is_told_even_of_a_key_whose_entry_was_lost() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    let count = 60_000u32;
    for number in 0..count {
        set(&mut shard, &number.to_le_bytes(), b"v");
        if number % 100 == 99 {
            tier.save(&mut shard);
        }
    }
    let lost = (0..count).find(|number| {
        ticket(&shard, &number.to_le_bytes()).is_none()
            && get(&mut shard, &number.to_le_bytes(), NOW).is_none()
    });
    let lost = lost.expect("the index has no room for all").to_le_bytes();
    let is_over = Write { expiry: Expiry::At(NOW), ..Write::set(b"over") };
    for op in [Op::Delete(Delete::default()), Op::Write(is_over)] {
        ask(&mut shard, &lost, op, NOW);
        let told = tier.save(&mut shard);
        assert_eq!((told.len(), told[0].hash, told[0].place), (1, shard.hash(0, &lost), None));
    }
}

#[test]
fn everything_that_was_recovered_is_found_and_doubtful_to_readers() {
    let mut shard = remembering(64 << 20);
    let (reader, mut room) = (shard.reader(), ReadRoom::new());
    let hashes: Vec<u64> = (0..20_000u32).map(|number| shard.hash(0, &number.to_le_bytes())).collect();
    for (&hash, place) in hashes.iter().zip(0..) {
        shard.begin_recovery([0], slot_of, true);
        let recovered = shard.recover(&[Known::item(hash, Some(place))]);
        assert_eq!(recovered, Recovered { items: 1, lost: 0 });
        shard.end_slots([0]);
        if place % 97 > 0 {
            continue;
        }
        for (&hash, number) in hashes.iter().zip(0..=place as u32) {
            assert_eq!(ticket(&shard, &number.to_le_bytes()), Some(Ticket(u64::from(number))));
            let look = reader.read((0, &number.to_le_bytes()), hash, &Read::default(), NOW, &mut room);
            assert!(matches!(look, Err(Doubt::Elsewhere)), "{number} of {place}: {look:?}");
        }
    }
    let mut from = Some(0);
    while let Some(hash) = from {
        from = shard.forget_places(hash);
    }
    let look = reader.read((0, &0u32.to_le_bytes()), hashes[0], &Read::default(), NOW, &mut room);
    assert!(matches!(look, Ok(Look::Miss)), "nothing is elsewhere: {look:?}");
}

/// Keys that have an item, wherever it is.
fn keys(shard: &Shard) -> u64 {
    shard.stats().items.read() + shard.index.only_elsewhere()
}

#[test]
fn a_key_is_counted_once_wherever_its_item_is() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    for number in 0..3000u32 {
        set(&mut shard, &number.to_le_bytes(), &[7; 1000]);
        if number % 50 == 49 {
            tier.save(&mut shard);
        }
    }
    assert!(shard.index.only_elsewhere() > 1000 && keys(&shard) == 3000);
    for number in 0..3000u32 {
        tier.get(&mut shard, &number.to_le_bytes(), NOW);
    }
    assert_eq!(keys(&shard), 3000);
    for number in (0..3000u32).step_by(3) {
        tier.get(&mut shard, &number.to_le_bytes(), NOW);
        ask(&mut shard, &number.to_le_bytes(), Op::Delete(Delete::default()), NOW);
    }
    assert_eq!(keys(&shard), 2000);
    tier.save(&mut shard);
    shard.flush(None, NOW);
    assert_eq!((keys(&shard), shard.elsewhere()), (0, 0));
    for number in 0..100u32 {
        assert_eq!(tier.get(&mut shard, &(3 * number + 1).to_le_bytes(), NOW).1, None);
        set(&mut shard, &number.to_le_bytes(), &[8; 100]);
    }
    tier.save(&mut shard);
    (0..100).take_while(|_| shard.maintain(NOW, 100)).for_each(drop);
    assert_eq!((keys(&shard), shard.elsewhere(), shard.index.flushed()), (100, 100, 0));
    shard.audit().unwrap();
}

#[test]
fn what_leaves_dram_while_it_is_saved_is_named_as_the_only_item_of_its_key() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    for key in [&b"stays"[..], b"leaves"] {
        set(&mut shard, key, b"value");
    }
    let told = tier.take(&mut shard, 2);
    let (_, slot) = shard.slot_of(shard.hash(0, b"leaves")).unwrap();
    shard.drop_item(slot.location());
    told.iter().for_each(|told| told.saved(&mut shard));
    assert_eq!((shard.index.elsewhere(), shard.index.only_elsewhere(), keys(&shard)), (2, 1, 2));
    shard.audit().unwrap();
    assert_eq!(tier.get(&mut shard, b"leaves", NOW), (true, Some(b"value".to_vec())));
}
