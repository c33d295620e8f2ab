//! Long values and a tier: what changes, leaves or is told while others are under way.

use super::chunks::{evict_all, is_chunk, tell, value};
use super::unsaved::{Tier, Told, remembering};
use super::*;

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
