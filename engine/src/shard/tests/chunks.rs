//! Long values and a tier: what is saved of them, what comes back, and what a crash leaves.

use super::readers_steps::Random;
use super::unsaved::{Tier, Told, remembering};
use super::*;

/// Bytes of a value that nobody writes twice.
pub(super) fn value(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.below(256) as u8).collect()
}

pub(super) fn is_chunk(told: &Told) -> bool {
    told.chunk_of.is_some()
}

/// Tells a new shard what a tier has, as recovery does.
pub(super) fn tell(told: &[Told], shard: &mut Shard) {
    shard.begin_recovery([0], |_| 0, true);
    let known: Vec<Known> = told.iter().rev().map(Told::known).collect();
    shard.recover(&known);
    shard.end_slots([0]);
}

pub(super) fn evict_all(shard: &mut Shard) {
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
        shard.scan_elsewhere(0, (hash, Ticket(*ticket)), bytes, NOW, (Tells::Keys, &mut keys));
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
        cursor = shard.scan(0, (cursor, 1000), Tells::Keys, NOW, &mut keys, &mut elsewhere);
        if cursor == 0 {
            break;
        }
    }
    let head = &told[told.len() - 1];
    assert_eq!(elsewhere, [(head.hash, Ticket(head.place.unwrap()))]);
    keys.clear();
    shard.scan_elsewhere(0, elsewhere[0], &tier.items[&head.place.unwrap()], NOW, (Tells::Keys, &mut keys));
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
        if flushes {
            // The index names none of its chunks any more.
            assert!(shard.chunk_to_fetch(&mut returning, NOW).is_err());
            shard.stop_return(returning);
        } else {
            while let Some(chunk) = shard.chunk_to_fetch(&mut returning, NOW).unwrap() {
                shard.chunk_back(&mut returning, &chunk, &tier.items[&chunk.ticket.0]).unwrap();
            }
            set(&mut shard, b"long", b"newer");
            shard.end_return(&returning, NOW).unwrap();
        }
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
