//! Long values and a tier: what is saved of them, what comes back, and what a crash leaves.

use super::readers_steps::Random;
use super::unsaved::{Tier, Told, remembering};
use super::*;
use std::collections::HashMap;

/// Bytes of a value that nobody writes twice.
fn value(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.below(256) as u8).collect()
}

fn is_chunk(told: &Told) -> bool {
    told.chunk_of.is_some()
}

/// Tells a new shard what a tier has, as recovery does.
fn tell(told: &[Told], shard: &mut Shard) {
    shard.begin_recovery([0], |_| 0, true);
    let known: Vec<Known> = told.iter().rev().map(Told::known).collect();
    shard.recover(&known);
    shard.end_slots([0]);
}

fn evict_all(shard: &mut Shard) {
    for number in 0..3000u32 {
        set(shard, &number.to_le_bytes(), &[1; 1000]);
    }
}

#[test]
fn chunks_are_taken_before_their_head_and_a_change_takes_new_ones_only() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    set(&mut shard, b"long", &value(1, 100_000));
    assert!(shard.untaken_bytes() >= 100_000);
    let told = tier.save(&mut shard);
    assert!(
        told.len() > 10 && told[..told.len() - 1].iter().all(is_chunk) && !is_chunk(&told[told.len() - 1])
    );
    assert_eq!((shard.unsaved(), shard.untaken_bytes()), (0, 0));
    assert_eq!(shard.index.elsewhere(), told.len() as u64);
    let range = Op::SetRange { offset: 50_000, value: Body::Bytes(b"changed") };
    ask(&mut shard, b"long", range, NOW);
    assert!(shard.untaken_bytes() < 20_000);
    let changed = tier.save(&mut shard);
    assert_eq!(changed.iter().map(is_chunk).collect::<Vec<_>>(), [true, false], "{changed:?}");
    let touch = Expire { expiry: Expiry::At(NOW + 5000), condition: ExpireCondition::Always, leases: false };
    ask(&mut shard, b"long", Op::Expire(touch), NOW);
    assert_eq!(tier.save(&mut shard).iter().map(is_chunk).collect::<Vec<_>>(), [false]);
    // What it does not list any more is named no more.
    assert_eq!(shard.index.elsewhere(), told.len() as u64);
    ask(&mut shard, b"long", Op::Delete(Delete::default()), NOW);
    assert_eq!(shard.index.elsewhere(), 0);
    shard.audit().unwrap();
}

#[test]
fn a_saved_long_value_is_evicted_and_comes_back_as_it_was() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    let mut whole = value(2, 100_000);
    let write = Write { expiry: Expiry::At(NOW + 60_000), flags: 7, ..Write::set(&whole) };
    ask(&mut shard, b"long", Op::Write(write), NOW);
    ask(&mut shard, b"long", Op::SetRange { offset: 150_000, value: Body::Bytes(b"behind a hole") }, NOW);
    whole.resize(150_000, 0);
    whole.extend(b"behind a hole");
    for round in 0..3 {
        let told = tier.save(&mut shard);
        if round == 0 {
            evict_all(&mut shard);
            tier.save(&mut shard);
        } else {
            assert!(shard.demote(0, b"long", told.last().unwrap().place.unwrap(), NOW));
        }
        let (was_pending, found) = tier.get(&mut shard, b"long", NOW);
        assert!(was_pending && found.as_ref() == Some(&whole), "round {round}");
        assert!(!shard.has_unsaved(), "coming back is no change");
        shard.audit().unwrap();
        let Outcome::Item(found) = ask(&mut shard, b"long", Op::Read(Read::default()), NOW) else {
            panic!("it is in DRAM")
        };
        assert_eq!((found.meta.flags, found.meta.expiry), (7, Some(NOW + 60_000)));
        // Its chunks are numbered on from there.
        let append = Write { mode: WriteMode::Append, expiry: Expiry::Keep, ..Write::set(b"more") };
        assert!(matches!(ask(&mut shard, b"long", Op::Write(append), NOW), Outcome::Stored { .. }));
        whole.extend(b"more");
    }
    assert_eq!(shard.held(), (0, 0));
}

/// What is answered for a long value on a tier, after `harm`, which gets its chunks and its head.
fn answered(harm: impl Fn(&mut Shard, &mut Tier, &[Told])) -> Option<Vec<u8>> {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    set(&mut shard, b"long", &value(3, 100_000));
    let told = tier.save(&mut shard);
    evict_all(&mut shard);
    harm(&mut shard, &mut tier, &told);
    let (was_pending, found) = tier.get(&mut shard, b"long", NOW);
    assert!(was_pending);
    assert_eq!((get(&mut shard, b"long", NOW), shard.held()), (found.clone(), (0, 0)), "and so it stays");
    shard.audit().unwrap();
    found
}

#[test]
fn a_chain_of_which_a_part_is_missing_or_wrong_is_a_miss() {
    assert_eq!(answered(|_, _, _| {}), Some(value(3, 100_000)));
    let damage = |number: usize, damage: fn(&mut Vec<u8>)| {
        answered(move |_, tier, told| {
            let number = if number == usize::MAX { told.len() - 1 } else { number };
            damage(tier.items.get_mut(&told[number].place.unwrap()).unwrap());
        })
    };
    for number in [0, 5] {
        assert_eq!(damage(number, |bytes| bytes.truncate(500)), None);
        assert_eq!(damage(number, |bytes| bytes.clear()), None);
        // Its key, its chain, its ordinal.
        assert_eq!(damage(number, |bytes| bytes[16] ^= 1), None);
        assert_eq!(damage(number, |bytes| bytes[0] ^= 1), None);
        assert_eq!(damage(number, |bytes| bytes[20] ^= 1), None);
    }
    // The head: the number of its chain, the length of the value, and what it is.
    assert_eq!(damage(usize::MAX, |bytes| bytes[16 + 4 + 16] ^= 1), None);
    assert_eq!(damage(usize::MAX, |bytes| bytes[16 + 4] ^= 1), None);
    assert_eq!(damage(usize::MAX, |bytes| bytes[9] ^= present::CHAIN_HEAD | present::CHUNK), None);
    let swapped = |_: &mut Shard, tier: &mut Tier, told: &[Told]| {
        let other = tier.items[&told[1].place.unwrap()].clone();
        tier.items.insert(told[0].place.unwrap(), other);
    };
    assert_eq!(answered(swapped), None);
}

#[test]
fn a_chain_whose_chunk_has_left_is_a_miss_before_anything_is_fetched() {
    let left = |shard: &mut Shard, tier: &mut Tier, told: &[Told]| {
        let Told { hash, place, chunk_of, .. } = told[2];
        assert!(!shard.leave_chunk(hash, chunk_of.unwrap(), place.unwrap(), true), "it is not in DRAM");
        tier.items.retain(|place, _| Some(*place) == told[told.len() - 1].place);
        // Nor does a scan give its key.
        let (hash, mut keys) = (shard.hash(0, b"long"), Vec::new());
        let (ticket, bytes) = tier.items.iter().next().unwrap();
        shard.scan_elsewhere(0, (hash, Ticket(*ticket)), bytes, NOW, &mut keys);
        assert!(keys.is_empty());
    };
    assert_eq!(answered(left), None);
}

/// Entries of chunks counted no accesses, so where the index was full a hot long value lost one of them before anything cold went.
#[test]
fn chunks_of_a_value_that_comes_back_count_as_read_as_their_head_does() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    set(&mut shard, b"long", &value(3, 100_000));
    let told = tier.save(&mut shard);
    for reads in 1..3 {
        assert!(shard.demote(0, b"long", told.last().unwrap().place.unwrap(), NOW) || reads == 1);
        evict_all(&mut shard);
        tier.save(&mut shard);
        assert!(tier.get(&mut shard, b"long", NOW).0);
        let accesses = |told: &Told| shard.index.find_elsewhere(told.hash).unwrap().1.frequency;
        assert!(
            told.iter().all(|told| accesses(told) >= 1),
            "{:?}",
            told.iter().map(accesses).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_scan_does_not_ask_for_chunks() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    set(&mut shard, b"long", &value(3, 100_000));
    let told = tier.save(&mut shard);
    evict_all(&mut shard);
    let (mut keys, mut elsewhere, mut cursor) = (Vec::new(), Vec::new(), 0);
    loop {
        cursor = shard.scan(0, cursor, 1000, NOW, &mut keys, &mut elsewhere);
        if cursor == 0 {
            break;
        }
    }
    let head = &told[told.len() - 1];
    assert_eq!(elsewhere, [(head.hash, Ticket(head.place.unwrap()))]);
    keys.clear();
    shard.scan_elsewhere(0, elsewhere[0], &tier.items[&head.place.unwrap()], NOW, &mut keys);
    assert_eq!(words::each(&keys).collect::<Vec<_>>(), [b"long"]);
}

#[test]
fn a_chain_that_is_read_stays_whole_or_goes_whole_when_its_places_are_left() {
    for may_stay in [true, false] {
        let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
        set(&mut shard, b"long", &value(4, 100_000));
        get(&mut shard, b"long", NOW);
        let told = tier.save(&mut shard);
        let (head, chunks) = told.split_last().unwrap();
        for (number, chunk) in chunks.iter().enumerate() {
            let stays =
                shard.leave_chunk(chunk.hash, chunk.chunk_of.unwrap(), chunk.place.unwrap(), may_stay);
            assert_eq!(stays, may_stay, "{number}");
            tier.items.remove(&chunk.place.unwrap());
        }
        let named = shard.index.find_elsewhere(head.hash).is_some();
        assert_eq!((named, shard.index.elsewhere()), (may_stay, u64::from(may_stay)));
        assert_eq!(tier.save(&mut shard).len(), if may_stay { told.len() } else { 0 });
        shard.leave_place(head.hash, head.place.unwrap(), false);
        tier.items.remove(&head.place.unwrap());
        shard.audit().unwrap();
        evict_all(&mut shard);
        (0..6000u32).for_each(|number| set(&mut shard, &(number << 16).to_le_bytes(), &[2; 1500]));
        let expected = may_stay.then(|| value(4, 100_000));
        assert!(tier.get(&mut shard, b"long", NOW) == (may_stay, expected), "{may_stay}");
    }
}

#[test]
fn a_key_that_changes_while_its_value_comes_back_keeps_the_change() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    set(&mut shard, b"long", &value(5, 100_000));
    let told = tier.save(&mut shard);
    evict_all(&mut shard);
    let (hash, head) = (shard.hash(0, b"long"), told.last().unwrap().place.unwrap());
    for flushes in [false, true] {
        let mut returning = shard.promote(hash, Ticket(head), &tier.items[&head], NOW).unwrap().unwrap();
        assert_eq!(shard.start_return(&mut returning, NOW), Ok(true));
        let chunk = shard.chunk_to_fetch(&mut returning, NOW).unwrap().unwrap();
        if flushes {
            shard.flush(None, NOW);
        } else {
            shard.maintain(NOW, 1000);
        }
        let came = shard.chunk_back(&mut returning, &chunk, &tier.items[&chunk.ticket.0]);
        assert_eq!(came, Ok(()));
        while let Some(chunk) = shard.chunk_to_fetch(&mut returning, NOW).unwrap() {
            shard.chunk_back(&mut returning, &chunk, &tier.items[&chunk.ticket.0]).unwrap();
        }
        if !flushes {
            set(&mut shard, b"long", b"newer");
        }
        shard.end_return(&returning, NOW).unwrap();
        assert_eq!(get(&mut shard, b"long", NOW), Some(b"newer".to_vec()).filter(|_| !flushes));
        assert_eq!(shard.held(), (0, 0));
        shard.audit().unwrap();
        if !flushes {
            shard.begin_recovery([0], |_| 0, true);
            shard.recover(&[Known::head(hash, Some(head))]);
            shard.end_slots([0]);
            shard.demote(0, b"long", head, NOW);
        }
    }
}

#[test]
fn what_is_taken_while_a_chain_changes_is_taken_once() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    let mut whole = value(6, 100_000);
    set(&mut shard, b"long", &whole);
    let first = tier.take(&mut shard, 5);
    assert!(first.len() == 5 && first.iter().all(is_chunk) && shard.has_unsaved());
    ask(&mut shard, b"long", Op::SetRange { offset: 0, value: Body::Bytes(b"changed") }, NOW);
    whole[..7].copy_from_slice(b"changed");
    let rest = tier.save(&mut shard);
    first.iter().for_each(|told| told.saved(&mut shard));
    let (all, chunks) = (first.len() + rest.len(), shard.index.elsewhere());
    assert_eq!(all as u64, chunks + 1, "the chunk that was changed was taken twice");
    assert_eq!((shard.unsaved(), shard.untaken_bytes()), (0, 0));
    let mut after = tier.recover(8 << 20);
    assert!(tier.get(&mut after, b"long", NOW) == (true, Some(whole)));
    // Of a chain that is gone before its head was taken nothing is named, here or after a restart.
    set(&mut shard, b"other", &value(7, 50_000));
    let taken = tier.take(&mut shard, 3);
    ask(&mut shard, b"other", Op::Delete(Delete::default()), NOW);
    taken.iter().for_each(|told| told.saved(&mut shard));
    assert_eq!(shard.index.elsewhere(), chunks);
    let after = tier.recover(8 << 20);
    assert_eq!(after.index.elsewhere(), chunks + 1, "the old chunk of the other chain, whose head is there");
}

#[test]
fn a_long_value_comes_back_to_shards_with_shorter_and_longer_segments() {
    let sized = |segment_bytes| {
        let config = ShardConfig { now: NOW, segment_bytes, ..ShardConfig::new(16 << 20) };
        let mut shard = Shard::new(config).unwrap();
        shard.remember_changes(|_| 0);
        shard
    };
    let (mut shard, mut tier, mut whole) = (sized(512 << 10), Tier::default(), value(8, 300_000));
    set(&mut shard, b"long", &whole);
    let told = tier.save(&mut shard);
    for segment_bytes in [64 << 10, 128 << 10, 1 << 20] {
        let mut after = sized(segment_bytes);
        tell(&told, &mut after);
        assert!(tier.get(&mut after, b"long", NOW) == (true, Some(whole.clone())), "{segment_bytes}");
        let range = Op::SetRange { offset: 100_000, value: Body::Bytes(&[7; 20_000]) };
        assert!(matches!(ask(&mut after, b"long", range, NOW), Outcome::Stored { .. }));
        whole[100_000..120_000].fill(7);
        assert!(get(&mut after, b"long", NOW).as_ref() == Some(&whole));
        (0..20_000u32).for_each(|number| set(&mut after, &number.to_le_bytes(), &[1; 1000]));
        after.audit().unwrap();
        whole = value(8, 300_000);
    }
}

#[test]
fn what_is_too_long_for_a_shard_can_be_deleted_there_for_good() {
    let sized = |segment_bytes| {
        let config = ShardConfig { now: NOW, segment_bytes, ..ShardConfig::new(16 << 20) };
        let mut shard = Shard::new(config).unwrap();
        shard.remember_changes(|_| 0);
        shard
    };
    for len in [100_000, 300_000] {
        let (mut shard, mut tier, whole) = (sized(1 << 20), Tier::default(), value(8, len));
        set(&mut shard, b"key", &whole);
        let mut told = tier.save(&mut shard);
        let mut after = sized(64 << 10);
        tell(&told, &mut after);
        after.start_above(shard.clock.next(NOW));
        assert_eq!(tier.get(&mut after, b"key", NOW), (true, None));
        ask(&mut after, b"key", Op::Delete(Delete::default()), NOW);
        told.extend(tier.save(&mut after));
        assert!(told.last().is_some_and(|told| told.place.is_none()), "it is told to be gone");
    }
}

#[test]
fn a_chunk_that_leaves_before_its_head_is_taken_is_taken_again() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    set(&mut shard, b"long", &value(9, 100_000));
    let first = tier.take(&mut shard, 5);
    first.iter().for_each(|told| told.saved(&mut shard));
    let Told { hash, place, chunk_of, .. } = first[2];
    assert!(shard.leave_chunk(hash, chunk_of.unwrap(), place.unwrap(), false), "its head is to be taken");
    tier.items.remove(&place.unwrap());
    let waiting = shard.untaken_bytes();
    let rest = tier.save(&mut shard);
    assert!(rest.iter().any(|told| told.hash == hash) && waiting > shard.untaken_bytes());
    assert_eq!((shard.unsaved(), shard.untaken_bytes()), (0, 0));
    let mut after = tier.recover(8 << 20);
    assert!(tier.get(&mut after, b"long", NOW) == (true, Some(value(9, 100_000))));
}

#[test]
fn chunks_of_a_chain_that_is_evicted_before_its_head_is_taken_are_not_named() {
    let (mut shard, mut tier) = (remembering(1 << 20), Tier::default());
    set(&mut shard, b"long", &value(11, 100_000));
    let taken = tier.take(&mut shard, 5);
    evict_all(&mut shard);
    assert_eq!(get(&mut shard, b"long", NOW), None);
    taken.iter().for_each(|told| told.saved(&mut shard));
    assert_eq!(shard.index.elsewhere(), 0);
}

#[test]
fn a_value_that_comes_back_twice_is_there_once() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    set(&mut shard, b"long", &value(10, 100_000));
    let head = tier.save(&mut shard).last().unwrap().place.unwrap();
    assert!(shard.demote(0, b"long", head, NOW));
    let hash = shard.hash(0, b"long");
    let begin = |shard: &mut Shard| {
        let mut returning = shard.promote(hash, Ticket(head), &tier.items[&head], NOW).unwrap().unwrap();
        assert_eq!(shard.start_return(&mut returning, NOW), Ok(true));
        returning
    };
    let mut both = [begin(&mut shard), begin(&mut shard)];
    for returning in &mut both {
        while let Some(chunk) = shard.chunk_to_fetch(returning, NOW).unwrap() {
            shard.chunk_back(returning, &chunk, &tier.items[&chunk.ticket.0]).unwrap();
        }
    }
    both.iter().for_each(|returning| shard.end_return(returning, NOW).unwrap());
    assert_eq!((shard.index.items(), shard.held()), (1, (0, 0)));
    shard.audit().unwrap();
}

/// A version, and what a key has had since.
type Change = (u64, Option<Vec<u8>>);

/// A shard with a tier, and what each key may have.
struct World {
    shard: Shard,
    tier: Tier,
    random: Random,
    now: Millis,
    /// What keys had, by the version of each change.
    history: HashMap<u64, Vec<Change>>,
    /// Taken, and not told to be saved.
    saving: Vec<Told>,
    /// Records of the oldest batches that were left.
    left: usize,
    flushed: u64,
}

const KEYS: u64 = 12;
const MEMORY: u64 = 1 << 20;

impl World {
    fn new(seed: u64) -> World {
        World {
            shard: remembering(MEMORY),
            tier: Tier::default(),
            random: Random(seed),
            now: NOW,
            history: HashMap::new(),
            saving: Vec::new(),
            left: 0,
            flushed: 0,
        }
    }

    fn key(number: u64) -> Vec<u8> {
        format!("key-{number}").into_bytes()
    }

    fn current(&self, hash: u64) -> Option<Vec<u8>> {
        let (version, value) = self.history.get(&hash)?.last()?;
        value.clone().filter(|_| *version > self.flushed)
    }

    /// Executes until nothing is pending.
    fn ask(&mut self, key: &[u8], op: Op<'_>) -> Option<u64> {
        let hash = self.shard.hash(0, key);
        loop {
            let ticket = match ask(&mut self.shard, key, op, self.now) {
                Outcome::Pending(ticket) => ticket,
                Outcome::Stored { meta, .. } => return Some(meta.version),
                Outcome::Deleted { version, .. } => return Some(version),
                _ => return None,
            };
            self.tier.bring_back(&mut self.shard, hash, ticket, self.now);
        }
    }

    fn step(&mut self, may_leave: bool) {
        let key = World::key(self.random.below(KEYS));
        let hash = self.shard.hash(0, &key);
        let len = if self.random.below(2) == 0 { 100 } else { 17_000 + self.random.below(60_000) } as usize;
        let new = value(self.random.below(1 << 40), len);
        let before = self.now_has(&key);
        match self.random.below(if may_leave { 16 } else { 15 }) {
            0..4 => {
                let version = self.ask(&key, Op::Write(Write::set(&new)));
                self.note(hash, version, Some(new));
            }
            4 | 5 => {
                let offset = self.random.below(90_000);
                let piece = &new[..new.len().min(300)];
                let version = self.ask(&key, Op::SetRange { offset, value: Body::Bytes(piece) });
                let mut whole = before.unwrap_or_default();
                whole.resize(whole.len().max(offset as usize + piece.len()), 0);
                whole[offset as usize..][..piece.len()].copy_from_slice(piece);
                self.note(hash, version, Some(whole));
            }
            6 => {
                let append = Write { mode: WriteMode::Append, ..Write::set(&new[..50]) };
                let version = self.ask(&key, Op::Write(append));
                self.note(hash, version, before.map(|before| [&before[..], &new[..50]].concat()));
            }
            7 => {
                let version = self.ask(&key, Op::Delete(Delete::default()));
                self.note(hash, version, None);
            }
            8 if self.random.below(10) == 0 => {
                self.shard.flush(None, self.now);
                self.flushed = self.shard.flushed;
                self.saving.clear();
            }
            9 | 10 => self.save_some(),
            11 | 12 => {
                let told = std::mem::take(&mut self.saving);
                told.iter().for_each(|told| told.saved(&mut self.shard));
            }
            13 => (0..self.random.below(800) as u32).for_each(|number| {
                set(&mut self.shard, &number.to_le_bytes(), &[1; 1000]);
            }),
            15 => self.leave(),
            _ => drop(self.shard.maintain(self.now, 100)),
        }
        self.now += self.random.below(3);
    }

    fn note(&mut self, hash: u64, version: Option<u64>, value: Option<Vec<u8>>) {
        if let Some(version) = version {
            self.history.entry(hash).or_default().push((version, value));
        }
    }

    fn save_some(&mut self) {
        let count = 1 + self.random.below(30) as usize;
        let told = self.tier.take(&mut self.shard, count);
        self.saving.extend(told);
    }

    /// The oldest records are written over, if they are saved.
    fn leave(&mut self) {
        let end = self.tier.told.len().saturating_sub(self.saving.len());
        let end = end.min(self.left + 1 + self.random.below(20) as usize);
        for told in &self.tier.told[self.left.min(end)..end] {
            let (Some(place), may_stay) = (told.place, self.random.below(2) == 0) else { continue };
            match told.chunk_of {
                Some(of) => drop(self.shard.leave_chunk(told.hash, of, place, may_stay)),
                None => drop(self.shard.leave_place(told.hash, place, may_stay)),
            }
            self.tier.items.remove(&place);
        }
        self.left = self.left.max(end);
    }

    /// What a key has: what was written last, or nothing.
    fn now_has(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let hash = self.shard.hash(0, key);
        let (_, found) = self.tier.get(&mut self.shard, key, self.now);
        assert!(found.is_none() || found == self.current(hash), "another value of {hash}");
        found
    }

    /// What a crash leaves, of which `count` records are safe: of each key what its newest record says, whole.
    fn crash(&self, count: usize, is_exact: bool) {
        let mut told = Tier::default();
        told.told = self.tier.told[..count].to_vec();
        told.items = self.tier.items.clone();
        let mut after = told.recover(16 << 20);
        for key in (0..KEYS).map(World::key) {
            let hash = after.hash(0, &key);
            let newest = told.told.iter().rev().find(|told| told.hash == hash && told.chunk_of.is_none());
            let value = newest.filter(|newest| newest.place.is_some()).and_then(|newest| {
                let history = self.history.get(&hash)?;
                history.iter().find(|(version, _)| *version == newest.version)?.1.clone()
            });
            let (_, found) = told.get(&mut after, &key, self.now);
            assert!(found == value || (!is_exact && found.is_none()), "{count} of {}", self.tier.told.len());
        }
        after.audit().unwrap();
    }
}

fn run(seed: u64, steps: usize, may_leave: bool) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step(may_leave);
        world.shard.audit().unwrap();
    }
    let told = std::mem::take(&mut world.saving);
    told.iter().for_each(|told| told.saved(&mut world.shard));
    world.tier.save(&mut world.shard);
    assert_eq!((world.shard.unsaved(), world.shard.untaken_bytes(), world.shard.held()), (0, 0, (0, 0)));
    if world.flushed == 0 {
        // A record that is cut off is one that the crash came before.
        let mut count = world.tier.told.len();
        while count > 0 {
            world.crash(count, !may_leave);
            count = count.saturating_sub(1 + world.random.below(9) as usize);
        }
    }
    (0..KEYS).for_each(|number| drop(world.now_has(&World::key(number))));
}

#[test]
fn whatever_is_written_saved_evicted_and_lost_a_value_is_whole_or_a_miss() {
    for seed in 0..60 {
        run(seed, 150, seed % 2 == 1);
    }
}

/// A start tells the newest first, and a head lies behind its chunks.
#[test]
fn a_long_value_waits_until_its_slot_is_told_and_is_whole_then() {
    let (mut shard, mut tier) = (remembering(8 << 20), Tier::default());
    let (old, new) = (value(7, 100_000), value(8, 150_000));
    set(&mut shard, b"long", &old);
    tier.save(&mut shard);
    set(&mut shard, b"long", &new);
    let last = tier.save(&mut shard);
    set(&mut shard, b"other", &old);
    tier.save(&mut shard);
    let known = |told: &Told| match told.chunk_of {
        Some(of) => Known::chunk(told.hash, of, told.place),
        None => Known::head(told.hash, told.place),
    };
    let told: Vec<Known> = tier.told.iter().rev().map(known).collect();
    let head = told.iter().position(|told| *told == known(last.last().unwrap())).unwrap();
    let read = |shard: &mut Shard| match ask(shard, b"long", Op::Read(Read::default()), NOW) {
        Outcome::Pending(ticket) => Some(ticket),
        Outcome::Miss => None,
        other => panic!("{other:?}"),
    };
    for (from, reads_wait) in [(head + 1, true), (head + 2, true), (head + 1, false)] {
        let mut shard = remembering(8 << 20);
        shard.begin_recovery([0], |_| 0, reads_wait);
        shard.recover(&told[..from]);
        assert_eq!(read(&mut shard), reads_wait.then_some(Ticket::UNKNOWN), "chunks are to come");
        let deleted = ask(&mut shard, b"long", Op::Delete(Delete::default()), NOW);
        assert!(matches!(deleted, Outcome::Pending(Ticket::UNKNOWN)), "{deleted:?}");
        shard.recover(&told[from..]);
        assert_eq!(read(&mut shard), reads_wait.then_some(Ticket::UNKNOWN), "more may be to come");
        shard.end_slots([0]);
        assert_eq!(tier.get(&mut shard, b"long", NOW), (true, Some(new.clone())));
        assert_eq!(tier.get(&mut shard, b"other", NOW), (true, Some(old.clone())));
        shard.audit().unwrap();
    }
    // What came since the start is newer.
    let mut shard = remembering(8 << 20);
    shard.begin_recovery([0], |_| 0, true);
    shard.recover(&told[..head + 1]);
    set(&mut shard, b"long", &old);
    shard.recover(&told[head + 1..]);
    shard.end_slots([0]);
    assert_eq!(tier.get(&mut shard, b"long", NOW), (false, Some(old)));
    shard.audit().unwrap();
}
