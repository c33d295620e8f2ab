//! One shard or two with a tier whose other end is the test.

mod long;

use super::*;
use crate::session::Protocol;
use crate::tier::testing::Hand;
use crate::worker::testing::*;
use torc_engine::command::{Outcome, Read, Write};
use torc_engine::shard::What as Saved;
use torc_proto::slot::slot_of;

const OTHER: ConnId = ConnId { index: 1, generation: 0 };
const PLACE: u64 = 77;

fn give_tier(state: &mut WorkerState) -> Hand {
    let (port, hand) = Hand::new(state.number);
    state.shard.remember_changes(slot_of);
    state.tier =
        Some(Box::new(Tier::new(port, Durability::Interval(std::time::Duration::from_secs(1)), 16 << 20, 2)));
    hand
}

/// A shard alone with two clients.
fn alone() -> (WorkerState, Hand) {
    let mut state = state_of(1);
    add_client_at(&mut state, CONN, Protocol::Resp);
    add_client_at(&mut state, OTHER, Protocol::Resp);
    let hand = give_tier(&mut state);
    (state, hand)
}

/// Two shards; the first has a client, the second a tier.
fn asking() -> (WorkerState, WorkerState, Hand) {
    let (first, mut second) = pair_with(Protocol::Resp, u64::MAX);
    let hand = give_tier(&mut second);
    (first, second, hand)
}

fn command<'a>(key: &'a str, op: Op<'a>) -> Command<'a> {
    Command { space: 0, key: key.as_bytes(), op }
}

/// An item that is on the tier alone. Returns its hash and its bytes there.
fn put_elsewhere(state: &mut WorkerState, key: &str, place: u64) -> (u64, Vec<u8>) {
    let hash = state.shard.hash(0, key.as_bytes());
    state.shard.execute(&command(key, Op::Write(Write::set(key.as_bytes()))), hash, NOW);
    let (mut bytes, mut version) = (Vec::new(), 0);
    state.shard.take_unsaved(|unsaved| {
        if let Saved::Item(item) = unsaved.what {
            (bytes, version) = (item.to_vec(), unsaved.version);
        }
        true
    });
    state.shard.saved(hash, version, None);
    assert!(state.shard.demote(0, key.as_bytes(), place, NOW));
    (hash, bytes)
}

/// Lets connections go on as the end of a turn does.
fn go_on(state: &mut WorkerState) {
    for id in std::mem::take(&mut state.dirty) {
        let Some(mut conn) = state.connections.take(id) else { continue };
        conn.dirty = false;
        state.advance(&mut conn);
        state.connections.put(conn);
    }
}

/// Hears what was said, and lets who waited for it go on.
fn hear(state: &mut WorkerState) {
    state.hear_tier();
    go_on(state);
}

fn ask(state: &mut WorkerState, id: ConnId, words: &[&str]) {
    execute_of(state, id, 0, (&resp(words), 1));
}

#[test]
fn all_who_wait_for_an_item_go_on_with_one_fetch_in_their_order() {
    let (mut state, hand) = alone();
    let (hash, bytes) = put_elsewhere(&mut state, "key", PLACE);
    for id in [CONN, OTHER] {
        ask(&mut state, id, &["GET", "key"]);
        ask(&mut state, id, &["SET", "behind", "it"]);
        ask(&mut state, id, &["STRLEN", "key"]);
    }
    go_on(&mut state);
    assert_eq!(hand.fetches(), [(hash, PLACE)]);
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut state, *id).is_empty()));
    let behind = state.shard.hash(0, b"behind");
    let get = command("behind", Op::Read(Read::default()));
    assert!(matches!(state.shard.execute(&get, behind, NOW), Outcome::Miss));
    hand.say(Reply::Fetched { hash, place: PLACE, item: Some(bytes) });
    hear(&mut state);
    for id in [CONN, OTHER] {
        assert_eq!(sent_to(&mut state, id), "$3\r\nkey\r\n+OK\r\n:3\r\n");
    }
    assert!(hand.fetches().is_empty());
}

#[test]
fn an_item_that_cannot_be_had_is_a_miss_and_is_asked_for_once() {
    let (mut state, hand) = alone();
    let (hash, _) = put_elsewhere(&mut state, "key", PLACE);
    ask(&mut state, CONN, &["GET", "key"]);
    hand.say(Reply::Fetched { hash, place: PLACE, item: None });
    hear(&mut state);
    ask(&mut state, CONN, &["GET", "key"]);
    assert_eq!(sent(&mut state), "$-1\r\n$-1\r\n");
    assert_eq!(hand.fetches().len(), 1);
}

#[test]
fn a_place_that_is_left_misses_and_whoever_asked_for_that_is_told() {
    let (mut state, hand) = alone();
    let (hash, bytes) = put_elsewhere(&mut state, "key", PLACE);
    ask(&mut state, CONN, &["GET", "key"]);
    hand.say(Reply::Leave { stream: 3, places: vec![Leaving { hash, place: PLACE, chunk_of: None }] });
    hand.say(Reply::Fetched { hash, place: PLACE, item: Some(bytes) });
    hear(&mut state);
    assert_eq!((sent(&mut state), hand.left()), ("$-1\r\n".to_owned(), vec![3]));
}

#[test]
fn what_is_fetched_is_not_what_a_client_has_written_meanwhile() {
    let (mut state, hand) = alone();
    let (hash, bytes) = put_elsewhere(&mut state, "key", PLACE);
    ask(&mut state, CONN, &["GET", "key"]);
    ask(&mut state, OTHER, &["SET", "key", "newer"]);
    hand.say(Reply::Fetched { hash, place: PLACE, item: Some(bytes) });
    hear(&mut state);
    assert_eq!(sent(&mut state), "$5\r\nnewer\r\n");
}

#[test]
fn batches_of_another_shard_go_on_in_their_order_behind_one_that_stops() {
    let (mut first, mut second, hand) = asking();
    add_client_at(&mut first, OTHER, Protocol::Resp);
    let keys: Vec<String> = (0..)
        .map(|number| format!("key{number}"))
        .filter(|key| first.owner(key.as_bytes()) == 1)
        .take(2)
        .collect();
    let (hash, bytes) = put_elsewhere(&mut second, &keys[0], PLACE);
    let (later_hash, later) = put_elsewhere(&mut second, &keys[1], PLACE + 1);
    for (id, words) in [
        (CONN, &["APPEND", &keys[0], "+"][..]),
        (CONN, &["SET", &keys[0], "1"]),
        (OTHER, &["APPEND", &keys[1], "-"]),
        (OTHER, &["INCRBY", &keys[0], "10"]),
    ] {
        ask(&mut first, id, words);
        first.publish_mail();
        second.read_mail();
    }
    assert_eq!(
        hand.fetches(),
        [(hash, PLACE), (later_hash, PLACE + 1)],
        "what comes behind is fetched ahead"
    );
    exchange(&mut second, &mut first);
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut first, *id).is_empty()));
    // What is fetched first may be what is needed last.
    hand.say(Reply::Fetched { hash: later_hash, place: PLACE + 1, item: Some(later) });
    second.hear_tier();
    exchange(&mut second, &mut first);
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut first, *id).is_empty()));
    hand.say(Reply::Fetched { hash, place: PLACE, item: Some(bytes) });
    second.hear_tier();
    exchange(&mut second, &mut first);
    let lengths = [&keys[0], &keys[1]].map(|key| key.len() + 1);
    assert_eq!(sent(&mut first), format!(":{}\r\n+OK\r\n", lengths[0]));
    assert_eq!(sent_to(&mut first, OTHER), format!(":{}\r\n:11\r\n", lengths[1]));
}

/// As many changes as may be unsaved.
fn fill(state: &mut WorkerState) {
    for number in 0..unsaved_max(16 << 20) {
        ask(state, CONN, &["SET", &format!("key{number}"), "value"]);
        assert_eq!(sent(state), "+OK\r\n");
    }
}

#[test]
fn changes_wait_while_too_many_are_unsaved_and_reads_do_not() {
    let (mut state, hand) = alone();
    fill(&mut state);
    ask(&mut state, CONN, &["SET", "key0", "held"]);
    ask(&mut state, OTHER, &["GET", "key0"]);
    ask(&mut state, OTHER, &["INCR", "number"]);
    hear(&mut state);
    assert_eq!(sent(&mut state), "");
    assert_eq!(sent_to(&mut state, OTHER), "$5\r\nvalue\r\n");
    state.save();
    for batch in hand.saves() {
        hand.say(Reply::Saved(batch));
    }
    hear(&mut state);
    assert_eq!(sent(&mut state), "+OK\r\n");
    assert_eq!(sent_to(&mut state, OTHER), ":1\r\n");
}

#[test]
fn changes_of_other_shards_wait_while_too_many_are_unsaved() {
    let (mut first, mut second, hand) = asking();
    add_client_at(&mut second, CONN, Protocol::Resp);
    let owned: Vec<String> = (0..)
        .map(|number| format!("key{number}"))
        .filter(|key| first.owner(key.as_bytes()) == 1)
        .take(5000)
        .collect();
    for key in &owned[..unsaved_max(16 << 20)] {
        ask(&mut second, CONN, &["SET", key, "value"]);
        sent(&mut second);
    }
    ask(&mut first, CONN, &["SET", &owned[0], "held"]);
    first.publish_mail();
    exchange(&mut second, &mut first);
    assert_eq!(sent(&mut first), "");
    second.save();
    hand.saves().into_iter().for_each(|batch| hand.say(Reply::Saved(batch)));
    second.hear_tier();
    exchange(&mut second, &mut first);
    assert_eq!(sent(&mut first), "+OK\r\n");
}

#[test]
fn changes_wait_for_a_version_below_the_ceiling() {
    let (mut state, hand) = alone();
    hand.set_ceiling(1);
    hear(&mut state);
    ask(&mut state, CONN, &["SET", "key", "value"]);
    ask(&mut state, CONN, &["SET", "key", "value"]);
    ask(&mut state, OTHER, &["GET", "key"]);
    assert_eq!((&*sent(&mut state), &*sent_to(&mut state, OTHER)), ("+OK\r\n", "$5\r\nvalue\r\n"));
    hand.set_ceiling(u64::MAX);
    hear(&mut state);
    assert_eq!(sent(&mut state), "+OK\r\n");
}

#[test]
fn a_drain_waits_until_everything_is_saved() {
    let (mut state, hand) = alone();
    assert!(state.is_saved());
    fill(&mut state);
    assert!(!state.is_saved());
    state.save();
    assert!(!state.shard.has_unsaved() || !state.is_saved(), "some is to be handed over");
    let batches = hand.saves();
    assert!(batches.len() > 1);
    for batch in batches {
        assert!(!state.is_saved());
        hand.say(Reply::Saved(batch));
        state.hear_tier();
    }
    assert!(state.is_saved());
}

#[test]
fn a_latched_tier_holds_nobody() {
    let (mut state, hand) = alone();
    fill(&mut state);
    ask(&mut state, CONN, &["SET", "key0", "held"]);
    state.save();
    hand.latch();
    for mut batch in hand.saves() {
        batch.entries.clear();
        hand.say(Reply::Saved(batch));
    }
    hear(&mut state);
    assert_eq!(sent(&mut state), "+OK\r\n");
    assert!(state.is_saved());
}
