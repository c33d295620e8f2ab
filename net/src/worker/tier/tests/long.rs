//! Long values on the tier.

use super::*;
use crate::worker::tier::long::{CHUNKS_MAX, PATIENCE_MAX_MS, PATIENCE_MS, RETURNS_MAX};
use std::collections::{HashMap, VecDeque};
use torc_engine::command::Value;

const LEN: usize = 1_500_000;

/// A long value that is on the tier alone.
struct Long {
    key: &'static str,
    value: Vec<u8>,
    hash: u64,
    head: u64,
    /// What lies there, by place.
    items: HashMap<u64, Vec<u8>>,
}

/// Each item is on a page of its own, those of a value from the page `first` on.
fn page(number: u64) -> u64 {
    number << 13
}

fn put_long_elsewhere(state: &mut WorkerState, key: &'static str, first: u64) -> Long {
    put_elsewhere_of(state, key, first, LEN)
}

fn put_elsewhere_of(state: &mut WorkerState, key: &'static str, first: u64, len: usize) -> Long {
    let value: Vec<u8> = (0..len).map(|at| (at / 1000) as u8 ^ first as u8).collect();
    let hash = state.shard.hash(0, key.as_bytes());
    state.shard.execute(&command(key, Op::Write(Write::set(&value))), hash, NOW);
    let (mut items, mut saved, mut place) = (HashMap::new(), Vec::new(), page(first));
    state.shard.take_unsaved(|unsaved| {
        let (item, of) = match unsaved.what {
            Saved::Head(item) => (item, None),
            Saved::Chunk { item, of } => (item, Some(of)),
            other => panic!("{other:?}"),
        };
        items.insert(place, item.to_vec());
        saved.push((unsaved.hash, unsaved.version, of, place));
        place += page(1);
        true
    });
    for (hash, version, of, place) in saved {
        match of {
            Some(of) => state.shard.saved_chunk(hash, of, version, Some(place)),
            None => state.shard.saved(hash, version, true, Some(place)),
        }
    }
    let head = place - page(1);
    assert!(state.shard.demote(0, key.as_bytes(), head, NOW) && items.len() > 10);
    Long { key, value, hash, head, items }
}

impl Long {
    fn give(&self, hand: &Hand, place: u64) {
        hand.give(&[(place, &self.items[&place])]);
    }

    fn is_in_dram(&self, state: &mut WorkerState) -> bool {
        let read = command(self.key, Op::Read(Read::default()));
        match state.shard.execute(&read, self.hash, NOW) {
            Outcome::Item(found) => {
                let Value::Chained(chain) = found.value else { panic!("a long value") };
                let bytes: Vec<u8> = chain.slices().flat_map(|slice| slice.to_vec()).collect();
                assert!(bytes == self.value);
                true
            }
            _ => false,
        }
    }
}

/// Answers all fetches, the last one first, until there are no more. Returns how many were under way at most.
fn fetch_all(state: &mut WorkerState, hand: &Hand, values: &[&Long]) -> usize {
    let mut most = 0;
    loop {
        let fetches = hand.fetches();
        if fetches.is_empty() {
            return most;
        }
        most = most.max(fetches.len());
        for &place in fetches.iter().rev() {
            match values.iter().find(|value| value.items.contains_key(&place)) {
                Some(value) => value.give(hand, place),
                None => hand.fail(place),
            }
        }
        hear(state);
        while state.has_more_to_return() {
            hear(state);
        }
    }
}

#[test]
fn a_long_value_is_answered_when_all_of_it_is_there_with_few_chunks_on_their_way() {
    let (mut state, hand) = alone();
    let long = put_long_elsewhere(&mut state, "long", 40);
    ask(&mut state, CONN, &["STRLEN", "long"]);
    ask(&mut state, CONN, &["SET", "behind", "it"]);
    ask(&mut state, OTHER, &["GETRANGE", "long", "999", "1000"]);
    assert_eq!(hand.fetches(), [long.head]);
    long.give(&hand, long.head);
    hear(&mut state);
    let first = hand.fetches();
    assert_eq!(first.len(), CHUNKS_MAX);
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut state, *id).is_empty()));
    for place in first {
        long.give(&hand, place);
    }
    hear(&mut state);
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut state, *id).is_empty()));
    assert!(fetch_all(&mut state, &hand, &[&long]) <= CHUNKS_MAX);
    assert_eq!(sent_to(&mut state, CONN), format!(":{LEN}\r\n+OK\r\n"));
    assert!(!state.connections.find(OTHER).expect("it is there").waits_for_tier);
    assert!(long.is_in_dram(&mut state));
    assert_eq!((state.stats.tier_promotions.read(), state.stats.tier_long_lost.read()), (1, 0));
}

#[test]
fn a_long_value_of_which_a_chunk_cannot_be_had_is_a_miss_for_all() {
    for damaged in [false, true] {
        let (mut state, hand) = alone();
        let mut long = put_long_elsewhere(&mut state, "long", 40);
        if damaged {
            long.items.insert(page(45), long.items[&page(44)].clone());
        } else {
            long.items.remove(&page(45));
        }
        for id in [CONN, OTHER] {
            ask(&mut state, id, &["GET", "long"]);
            ask(&mut state, id, &["EXISTS", "long"]);
        }
        fetch_all(&mut state, &hand, &[&long]);
        for id in [CONN, OTHER] {
            assert_eq!(sent_to(&mut state, id), "$-1\r\n:0\r\n");
        }
        assert_eq!((state.stats.tier_long_lost.read(), state.shard.held()), (1, (0, 0)));
        assert!(!long.is_in_dram(&mut state));
    }
}

#[test]
fn few_long_values_are_on_their_way_at_a_time_and_all_of_them_come() {
    let (mut state, hand) = alone();
    let keys = ["a", "b", "c", "d", "e"];
    let values: Vec<Long> =
        keys.iter().zip(1..).map(|(key, number)| put_long_elsewhere(&mut state, key, number * 40)).collect();
    for long in &values {
        // They wait behind each other, but are fetched ahead.
        ask(&mut state, CONN, &["STRLEN", long.key]);
    }
    let all: Vec<&Long> = values.iter().collect();
    let most = fetch_all(&mut state, &hand, &all);
    assert!(most <= keys.len().max(RETURNS_MAX * CHUNKS_MAX), "{most}");
    assert_eq!(sent_to(&mut state, CONN), format!(":{LEN}\r\n").repeat(keys.len()));
    assert_eq!((state.stats.tier_long_lost.read(), state.shard.held()), (0, (0, 0)));
}

#[test]
fn a_long_value_waits_for_memory_and_is_given_up_after_some_time() {
    for frees in [true, false] {
        let (mut state, hand) = alone();
        let other = put_elsewhere_of(&mut state, "other", 40, 2_500_000);
        let long = put_long_elsewhere(&mut state, "long", 160);
        // The other one has most of the memory that there is for values that come back.
        ask(&mut state, OTHER, &["STRLEN", "other"]);
        hand.fetches();
        other.give(&hand, other.head);
        hear(&mut state);
        let chunks = hand.fetches();
        ask(&mut state, CONN, &["STRLEN", "long"]);
        fetch_all(&mut state, &hand, &[&long]);
        assert_eq!((sent(&mut state), chunks.len()), (String::new(), CHUNKS_MAX));
        assert_eq!(state.until_save(), Duration::from_millis(PATIENCE_MS), "it is looked after");
        if frees {
            for place in chunks {
                other.give(&hand, place);
            }
        } else {
            state.now += PATIENCE_MS;
        }
        hear(&mut state);
        fetch_all(&mut state, &hand, &[&long, &other]);
        assert_eq!(sent(&mut state), if frees { format!(":{LEN}\r\n") } else { ":0\r\n".into() });
        assert_eq!(state.stats.tier_long_lost.read(), u64::from(!frees));
    }
}

/// It was given up by the clock alone: also if memory came back all the time, and would have been enough in a moment.
#[test]
fn a_long_value_that_waits_for_memory_goes_on_with_the_pins_that_are_given_back() {
    for never_enough in [false, true] {
        let (mut state, hand) = alone();
        let long = put_long_elsewhere(&mut state, "long", 40);
        // Somebody has so many segments pinned that nothing may come back.
        let keys: Vec<String> = (0..11).map(|number| format!("pinned{number}")).collect();
        for key in &keys {
            let set = command(key, Op::Write(Write::set(&[1; 1_000_000])));
            state.shard.execute(&set, state.shard.hash(0, key.as_bytes()), NOW);
        }
        let pin = |state: &mut WorkerState, key: &str| {
            let (hash, read) = (state.shard.hash(0, key.as_bytes()), command(key, Op::Read(Read::default())));
            let Outcome::Item(found) = state.shard.execute(&read, hash, NOW) else { panic!("it is there") };
            let Value::Chained(chain) = found.value else { panic!("a long value") };
            chain.lend(0..u64::MAX).collect::<Vec<_>>()
        };
        let mut pins: VecDeque<_> = keys.iter().map(|key| (key, pin(&mut state, key))).collect();
        ask(&mut state, CONN, &["STRLEN", "long"]);
        fetch_all(&mut state, &hand, &[&long]);
        hear(&mut state);
        assert!(
            !state.has_more_to_return() && sent(&mut state).is_empty(),
            "there is nothing to do but to wait"
        );
        let mut waited = 0;
        while state.stats.tier_promotions.read() + state.stats.tier_long_lost.read() == 0 {
            (state.now, waited) = (state.now + PATIENCE_MS - 1, waited + PATIENCE_MS - 1);
            hear(&mut state);
            assert!(!state.has_more_to_return());
            assert!(waited < 2 * PATIENCE_MAX_MS, "others wait behind it");
            if state.stats.tier_long_lost.read() > 0 {
                break;
            }
            let (key, lent) = pins.pop_front().expect("enough of them");
            lent.into_iter().for_each(|lent| state.shard.release(lent));
            assert!(state.has_more_to_return(), "another turn comes at once");
            if never_enough {
                let lent = pin(&mut state, key);
                pins.push_back((key, lent));
            }
            hear(&mut state);
            fetch_all(&mut state, &hand, &[&long]);
        }
        assert_eq!(waited >= PATIENCE_MAX_MS, never_enough, "{waited} ms");
        pins.into_iter().flat_map(|(_, lent)| lent).for_each(|lent| state.shard.release(lent));
        wait(&mut state);
        assert_eq!(sent(&mut state), if never_enough { ":0\r\n".into() } else { format!(":{LEN}\r\n") });
    }
}

#[test]
fn a_long_value_does_not_wait_for_values_of_clients() {
    let (mut state, hand) = alone();
    let long = put_long_elsewhere(&mut state, "long", 40);
    let begin = || {
        let id = state.shard.upload_begin(0, b"k", 700_000, NOW).ok()?;
        state.shard.upload_append(id, &[1; 600_000], NOW).ok().map(|()| id)
    };
    let ids: Vec<_> = std::iter::from_fn(begin).collect();
    ask(&mut state, CONN, &["STRLEN", "long"]);
    fetch_all(&mut state, &hand, &[&long]);
    assert!(ids.len() > 3 && sent(&mut state) == format!(":{LEN}\r\n"));
    assert!(ids.iter().all(|&id| state.shard.is_under_way(id)));
}

#[test]
fn a_write_meanwhile_wins_over_a_long_value_on_its_way() {
    let (mut state, hand) = alone();
    let long = put_long_elsewhere(&mut state, "long", 40);
    ask(&mut state, CONN, &["STRLEN", "long"]);
    hand.fetches();
    long.give(&hand, long.head);
    hear(&mut state);
    ask(&mut state, OTHER, &["SET", "long", "newer"]);
    fetch_all(&mut state, &hand, &[&long]);
    assert_eq!((sent(&mut state), sent_to(&mut state, OTHER)), (":5\r\n".into(), "+OK\r\n".into()));
    assert_eq!(state.shard.held(), (0, 0));
}

#[test]
fn a_scan_that_comes_to_a_long_value_on_its_way_gets_its_key() {
    let (mut state, hand) = alone();
    let long = put_long_elsewhere(&mut state, "long", 40);
    ask(&mut state, CONN, &["STRLEN", "long"]);
    hand.fetches();
    long.give(&hand, long.head);
    hear(&mut state);
    ask(&mut state, OTHER, &["SCAN", "0"]);
    assert_eq!(sent_to(&mut state, OTHER), "");
    fetch_all(&mut state, &hand, &[&long]);
    let scanned = sent_to(&mut state, OTHER);
    assert!(scanned.contains("$4\r\nlong\r\n"), "{scanned}");
    // One that nobody asks for is read for its key alone.
    let other = put_long_elsewhere(&mut state, "other", 160);
    ask(&mut state, OTHER, &["SCAN", "0"]);
    assert_eq!(hand.fetches(), [other.head]);
    other.give(&hand, other.head);
    hear(&mut state);
    let scanned = sent_to(&mut state, OTHER);
    assert!(scanned.contains("other") && scanned.contains("long") && hand.fetches().is_empty(), "{scanned}");
}

#[test]
fn a_long_value_is_handed_over_in_batches_of_a_bounded_size() {
    let (mut state, hand) = alone();
    let hash = state.shard.hash(0, b"long");
    let value = vec![b'y'; 3_000_000];
    state.shard.execute(&command("long", Op::Write(Write::set(&value))), hash, NOW);
    ask(&mut state, CONN, &["SET", "behind", "it"]);
    assert!(state.holds_changes(), "changes wait while so much is not handed over");
    let mut kinds = Vec::new();
    while !state.is_saved() {
        state.ticks += 1000;
        state.save();
        let batches = hand.saves();
        assert!(!batches.is_empty() && batches.len() <= SAVES_MAX);
        for mut batch in batches {
            let bytes: usize = (0..batch.entries.len()).map(|number| batch.item(number).len()).sum();
            assert!(bytes <= 2 * (256 << 10), "{bytes}");
            kinds.extend(batch.entries.iter().map(|entry| entry.record.kind));
            batch.entries.iter_mut().zip(7..).for_each(|(entry, place)| entry.place = Some(place));
            hand.say(Reply::Saved(batch));
        }
        hear(&mut state);
    }
    let (last, chunks) = kinds.split_last().unwrap();
    assert!(*last == Kind::Item || *last == Kind::ChainHead);
    assert!(chunks.len() > 20 && chunks.contains(&Kind::Chunk), "{kinds:?}");
}

#[test]
fn a_long_value_that_begins_at_the_ceiling_waits_for_its_number() {
    let (mut state, hand) = alone();
    hand.set_ceiling(1);
    hear(&mut state);
    ask(&mut state, CONN, &["SET", "key", "value"]);
    assert!(!state.shard.may_change());
    let value = "v".repeat(100_000);
    let (input, mut done) = (resp(&["SET", "long", &value]), 0);
    while done < input.len() {
        done += execute_of(&mut state, CONN, 0, (&input[done..], 1));
    }
    ask(&mut state, OTHER, &["FLUSHALL"]);
    let mut versions = Vec::new();
    state.shard.take_unsaved(|unsaved| {
        versions.push(unsaved.version);
        true
    });
    assert_eq!((versions, sent(&mut state)), (vec![1], "+OK\r\n".into()));
    hand.set_ceiling(u64::MAX);
    hear(&mut state);
    ask(&mut state, CONN, &["STRLEN", "long"]);
    assert_eq!(sent(&mut state), "+OK\r\n:100000\r\n");
}

/// Gives a client's request to its shard, part by part, up to `left` bytes before its end.
fn feed(state: &mut WorkerState, id: ConnId, input: &[u8], left: usize) {
    let mut done = 0;
    while done < input.len() - left {
        let parsed = execute_of(state, id, 0, (&input[done..input.len() - left], 1));
        if parsed == 0 {
            break;
        }
        done += parsed;
    }
}

/// Saves until nobody is held. Returns how often.
fn save_all(state: &mut WorkerState, hand: &Hand) -> usize {
    for round in 0..100 {
        state.ticks += 1000;
        state.save();
        let batches = hand.saves();
        if batches.is_empty() {
            return round;
        }
        batches.into_iter().for_each(|batch| hand.say(Reply::Saved(batch)));
        hear(state);
    }
    panic!("it comes to an end");
}

/// Values that were whole and waited for the tier kept the room of those under way: a fourth one was refused for want of memory.
#[test]
fn long_values_wait_for_those_that_wait_for_the_tier_and_none_is_refused() {
    const CLIENTS: u32 = 10;
    let (mut state, hand) = alone();
    super::saves::fill(&mut state);
    let ids: Vec<ConnId> = (2..2 + CLIENTS).map(|index| ConnId { index, generation: 0 }).collect();
    let value = "v".repeat(1_000_000);
    for &id in &ids {
        add_client_at(&mut state, id, Protocol::Resp);
        feed(&mut state, id, &resp(&["SET", &format!("long{}", id.index), &value]), 0);
        // Whoever has waited for more than a second is not given up for those who come later.
        state.now += 2000;
    }
    assert!(ids.iter().all(|id| sent_to(&mut state, *id).is_empty()), "all of them wait");
    assert!(save_all(&mut state, &hand) > 3);
    for &id in &ids {
        assert_eq!(sent_to(&mut state, id), "+OK\r\n", "{id:?}");
    }
    assert!(!state.shard.waits_for_room(0, b"key", 2_000_000), "nothing is left of those that waited");
}

#[test]
fn values_of_a_shard_whose_batches_have_stopped_leave_room_for_others() {
    let (mut first, mut second, hand) = asking();
    for index in [1, 2] {
        add_client_at(&mut first, ConnId { index, generation: 0 }, Protocol::Resp);
    }
    add_client_at(&mut second, CONN, Protocol::Resp);
    let keys: Vec<String> = (0..)
        .map(|number| format!("key{number}"))
        .filter(|key| first.owner(key.as_bytes()) == 1)
        .take(unsaved_max(16 << 20) + 4)
        .collect();
    let (long, short) = keys.split_at(4);
    for key in short {
        ask(&mut second, CONN, &["SET", key, "value"]);
        sent(&mut second);
    }
    let value = "v".repeat(1_000_000);
    for (index, key) in (0..).zip(&long[..3]) {
        feed(&mut first, ConnId { index, generation: 0 }, &resp(&["SET", key, &value]), 2);
        first.publish_mail();
        exchange(&mut second, &mut first);
    }
    let end = |first: &mut WorkerState, second: &mut WorkerState, index| {
        feed(first, ConnId { index, generation: 0 }, b"\r\n", 0);
        first.publish_mail();
        exchange(second, first);
    };
    end(&mut first, &mut second, 0);
    end(&mut first, &mut second, 1);
    assert!(second.has_stopped(0), "the end of the first has to wait, and the others stand behind it");
    feed(&mut second, CONN, &resp(&["SET", &long[3], &value]), 0);
    assert!(second.shard.waits_for_room(0, b"key", 4_000_000));
    save_all(&mut second, &hand);
    exchange(&mut second, &mut first);
    assert_eq!(sent(&mut second), "+OK\r\n");
    assert!(!second.shard.waits_for_room(0, b"key", 7_000_000), "the third waits for its client now");
    end(&mut first, &mut second, 2);
    save_all(&mut second, &hand);
    exchange(&mut second, &mut first);
    for index in 0..3 {
        assert_eq!(sent_to(&mut first, ConnId { index, generation: 0 }), "+OK\r\n", "{index}");
    }
}

#[test]
fn chunks_that_are_written_over_stay_if_their_value_is_in_memory_and_was_read() {
    for is_read in [true, false] {
        let (mut state, hand) = alone();
        let hash = state.shard.hash(0, b"long");
        let set = Op::Write(Write::set(&[7; LEN]));
        state.shard.execute(&command("long", set), hash, NOW);
        let (mut places, mut next) = (Vec::new(), page(40));
        state.shard.take_unsaved(|unsaved| {
            let (kind, expiry) = match unsaved.what {
                Saved::Chunk { of, .. } => (Kind::Chunk, of),
                _ => (Kind::ChainHead, 0),
            };
            let record =
                Record { hash: unsaved.hash, version: unsaved.version, expiry, space: 0, slot: 0, kind };
            places.push(Leaving { record, place: next });
            next += page(1);
            true
        });
        for Leaving { record, place } in &places {
            match record.kind {
                Kind::Chunk => {
                    state.shard.saved_chunk(record.hash, record.expiry, record.version, Some(*place))
                }
                _ => state.shard.saved(record.hash, record.version, true, Some(*place)),
            }
        }
        if is_read {
            ask(&mut state, CONN, &["GETRANGE", "long", "0", "1"]);
        }
        assert!(!state.shard.has_unsaved());
        places.truncate(4);
        let first = places[0].record.hash;
        hand.say(Reply::Leave { stream: 3, below: 0, places });
        hear(&mut state);
        assert_eq!(hand.left(), [(3, 0)], "nothing of it is carried on");
        assert_eq!((state.shard.has_unsaved(), state.shard.chunk_place(first)), (is_read, None));
    }
}
