//! One shard or two with a tier whose other end is the test.

mod long;
mod rearm;
mod saves;
mod wishes;

use super::*;
use crate::session::Protocol;
use crate::tier::Durability;
use crate::tier::testing::Hand;
use crate::tier::{Leaving, Moved};
use crate::worker::testing::*;
use torc_engine::command::{Op, Outcome, Read, Ticket, Write};
use torc_engine::shard::What as Saved;
use torc_pmem::format::record::{Kind, Record};
use torc_proto::slot::slot_of;

const OTHER: ConnId = ConnId { index: 1, generation: 0 };
/// Items in two pages, and another one of the first.
const PLACE: u64 = 40 << 13 | 7;
const BESIDE: u64 = PLACE + 2;
/// On another page.
const MOVED: u64 = 41 << 13 | 3;
const APART: u64 = 41 << 13;

fn give_tier(state: &mut WorkerState) -> Hand {
    give_tier_of(state, Durability::Interval(std::time::Duration::from_secs(1)))
}

fn give_tier_of(state: &mut WorkerState, durability: Durability) -> Hand {
    let (port, hand) = Hand::new(state.number);
    state.shard.remember_changes(slot_of);
    state.tier = Some(Box::new(Tier::new(port, (durability, true), 16 << 20, 2)));
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

fn leaving(hash: u64, place: u64, version: u64) -> Leaving {
    Leaving { record: Record { hash, version, expiry: 0, space: 0, slot: 0, kind: Kind::Item }, place }
}

fn command<'a>(key: &'a str, op: Op<'a>) -> Command<'a> {
    Command { database: 0, key: key.as_bytes(), op }
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
    state.shard.saved(hash, version, true, None);
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
    let (_, bytes) = put_elsewhere(&mut state, "key", PLACE);
    for id in [CONN, OTHER] {
        ask(&mut state, id, &["GET", "key"]);
        ask(&mut state, id, &["SET", "behind", "it"]);
        ask(&mut state, id, &["STRLEN", "key"]);
    }
    go_on(&mut state);
    assert_eq!(hand.fetches(), [PLACE]);
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut state, *id).is_empty()));
    let behind = state.shard.hash(0, b"behind");
    let get = command("behind", Op::Read(Read::default()));
    assert!(matches!(state.shard.execute(&get, behind, NOW), Outcome::Miss));
    hand.give(&[(PLACE, &bytes)]);
    hear(&mut state);
    for id in [CONN, OTHER] {
        assert_eq!(sent_to(&mut state, id), "$3\r\nkey\r\n+OK\r\n:3\r\n");
    }
    assert!(hand.fetches().is_empty());
}

#[test]
fn an_item_that_cannot_be_had_is_a_miss_and_is_asked_for_once() {
    let (mut state, hand) = alone();
    put_elsewhere(&mut state, "key", PLACE);
    ask(&mut state, CONN, &["GET", "key"]);
    hand.fail(PLACE);
    hear(&mut state);
    ask(&mut state, CONN, &["GET", "key"]);
    assert_eq!(sent(&mut state), "$-1\r\n$-1\r\n");
    assert!(hand.fetches().is_empty());
    assert_eq!(hand.corrupt(), 1);
}

#[test]
fn a_place_that_is_left_misses_and_whoever_asked_for_that_is_told() {
    let (mut state, hand) = alone();
    let (hash, bytes) = put_elsewhere(&mut state, "key", PLACE);
    ask(&mut state, CONN, &["GET", "key"]);
    hand.say(Reply::Leave { stream: 3, below: 0, places: vec![leaving(hash, PLACE, 0)] });
    hand.give(&[(PLACE, &bytes)]);
    hear(&mut state);
    assert_eq!((sent(&mut state), hand.left()), ("$-1\r\n".to_owned(), vec![(3, 0)]));
}

#[test]
fn what_is_fetched_is_not_what_a_client_has_written_meanwhile() {
    let (mut state, hand) = alone();
    let (_, bytes) = put_elsewhere(&mut state, "key", PLACE);
    ask(&mut state, CONN, &["GET", "key"]);
    ask(&mut state, OTHER, &["SET", "key", "newer"]);
    hand.give(&[(PLACE, &bytes)]);
    hear(&mut state);
    assert_eq!(sent(&mut state), "$5\r\nnewer\r\n");
}

#[test]
fn a_page_is_read_once_for_all_its_items_and_kept_for_those_that_nobody_asked_for() {
    let (mut state, hand) = alone();
    let (_, first) = put_elsewhere(&mut state, "first", PLACE);
    let (_, second) = put_elsewhere(&mut state, "second", BESIDE);
    let (_, third) = put_elsewhere(&mut state, "third", BESIDE + 1);
    ask(&mut state, CONN, &["GET", "first"]);
    ask(&mut state, OTHER, &["GET", "second"]);
    assert_eq!(hand.fetches(), [PLACE]);
    hand.give(&[(PLACE, &first), (BESIDE, &second), (BESIDE + 1, &third)]);
    hear(&mut state);
    assert_eq!((&*sent(&mut state), &*sent_to(&mut state, OTHER)), ("$5\r\nfirst\r\n", "$6\r\nsecond\r\n"));
    ask(&mut state, CONN, &["GET", "third"]);
    assert_eq!(sent(&mut state), "$5\r\nthird\r\n");
    assert!(hand.fetches().is_empty());
    let figures = ["tier_cache_hits", "tier_cache_misses"].map(|name| state.stats.figure(name));
    assert_eq!(figures, [Some(1), Some(2)]);
    assert!(state.stats.tier_cache_bytes.read() > 0);
}

#[test]
fn a_latched_tier_answers_nothing_from_pages_that_it_kept_or_that_were_on_their_way() {
    let (mut state, hand) = alone();
    let (_, first) = put_elsewhere(&mut state, "first", PLACE);
    let (_, second) = put_elsewhere(&mut state, "second", BESIDE);
    let (_, apart) = put_elsewhere(&mut state, "apart", APART);
    ask(&mut state, CONN, &["GET", "first"]);
    hand.give(&[(PLACE, &first), (BESIDE, &second)]);
    hear(&mut state);
    assert_eq!(sent(&mut state), "$5\r\nfirst\r\n");
    ask(&mut state, CONN, &["GET", "apart"]);
    hand.latch(true);
    ask(&mut state, OTHER, &["GET", "second"]);
    assert_eq!(sent_to(&mut state, OTHER), "$-1\r\n");
    hand.give(&[(APART, &apart)]);
    hear(&mut state);
    assert_eq!(sent(&mut state), "$-1\r\n");
    assert_eq!((hand.corrupt(), state.stats.tier_cache_bytes.read()), (0, 0));
}

/// The page of an item that has one for itself.
fn page_of(number: u64) -> u64 {
    (100 + number) << 13
}

/// Items that are each in a page of their own: keys and bytes.
fn put_apart(state: &mut WorkerState, numbers: std::ops::Range<u64>) -> Vec<(String, Vec<u8>)> {
    let keys = numbers.map(|number| (number, format!("key{number}")));
    keys.map(|(number, key)| (key.clone(), put_elsewhere(state, &key, page_of(number)).1)).collect()
}

#[test]
fn the_items_of_a_long_pipeline_are_fetched_ahead_of_it_all_the_way() {
    let (mut state, hand) = alone();
    let items = put_apart(&mut state, 0..100);
    items.iter().for_each(|(key, _)| ask(&mut state, CONN, &["GET", key]));
    let pages = |numbers: std::ops::Range<u64>| numbers.map(page_of).collect::<Vec<_>>();
    assert_eq!(hand.fetches(), pages(0..64));
    for (number, (_, bytes)) in (0..8).zip(&items) {
        hand.give(&[(page_of(number), bytes)]);
    }
    hear(&mut state);
    assert_eq!(hand.fetches(), pages(64..72));
    let mut answered = sent(&mut state);
    for (number, (_, bytes)) in (8..100).zip(&items[8..]) {
        hand.give(&[(page_of(number), bytes)]);
        hear(&mut state);
        answered += &sent(&mut state);
    }
    let answers = items.iter().map(|(key, _)| format!("${}\r\n{key}\r\n", key.len()));
    assert_eq!(answered, answers.collect::<String>());
    assert!(hand.fetches().is_empty(), "each was fetched once");
}

#[test]
fn what_is_fetched_ahead_is_bounded_over_all_clients_and_none_of_them_waits_for_ever() {
    let (mut state, hand) = alone();
    let clients: Vec<ConnId> = (2..8).map(|index| ConnId { index, generation: 0 }).collect();
    let items = put_apart(&mut state, 0..360);
    for (id, items) in clients.iter().zip(items.chunks(60)) {
        add_client_at(&mut state, *id, Protocol::Resp);
        items.iter().for_each(|(key, _)| ask(&mut state, *id, &["GET", key]));
    }
    let mut asked = hand.fetches();
    // The last client's first item is asked for, as it waits for that.
    assert_eq!(asked.len(), 257);
    let mut given = 0;
    while let Some(place) = asked.pop() {
        hand.give(&[(place, &items[(place >> 13) as usize - 100].1)]);
        hear(&mut state);
        asked.extend(hand.fetches());
        given += 1;
    }
    assert_eq!(given, 360, "each was fetched once");
    for (id, items) in clients.iter().zip(items.chunks(60)) {
        let answers = items.iter().map(|(key, _)| format!("${}\r\n{key}\r\n", key.len()));
        assert_eq!(sent_to(&mut state, *id), answers.collect::<String>());
    }
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
    let (_, bytes) = put_elsewhere(&mut second, &keys[0], PLACE);
    let (_, later) = put_elsewhere(&mut second, &keys[1], APART);
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
    assert_eq!(hand.fetches(), [PLACE, APART], "what comes behind is fetched ahead");
    exchange(&mut second, &mut first);
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut first, *id).is_empty()));
    // What is fetched first may be what is needed last.
    hand.give(&[(APART, &later)]);
    second.hear_tier();
    exchange(&mut second, &mut first);
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut first, *id).is_empty()));
    hand.give(&[(PLACE, &bytes)]);
    second.hear_tier();
    exchange(&mut second, &mut first);
    let lengths = [&keys[0], &keys[1]].map(|key| key.len() + 1);
    assert_eq!(sent(&mut first), format!(":{}\r\n+OK\r\n", lengths[0]));
    assert_eq!(sent_to(&mut first, OTHER), format!(":{}\r\n:11\r\n", lengths[1]));
}

/// Lets time pass in which those who ask later ask again.
fn wait(state: &mut WorkerState) {
    state.now += 1000;
    state.balance();
    go_on(state);
}

/// Has a shard begin to learn what its tier holds.
fn recover(state: &mut WorkerState) {
    state.shard.begin_recovery(0..16384, slot_of, true);
    state.shared.begin_recovery(state.number);
}

/// Has a shard know that a key is not on its tier, and if `all`, whatever else there is.
fn know(state: &mut WorkerState, key: &str, all: bool) {
    let hash = state.shard.hash(0, key.as_bytes());
    state.shard.recover(&[torc_engine::shard::Known::item(hash, None)]);
    if all {
        state.shard.end_slots(0..16384);
        state.hear_tier();
    }
}

#[test]
fn what_is_not_known_yet_waits_with_all_behind_it_and_nobody_else() {
    let (mut state, _hand) = alone();
    recover(&mut state);
    ask(&mut state, CONN, &["SET", "blind", "1"]);
    ask(&mut state, CONN, &["INCR", "blind"]);
    assert_eq!(sent(&mut state), "+OK\r\n:2\r\n", "what was written is known");
    ask(&mut state, CONN, &["APPEND", "key", "+"]);
    ask(&mut state, CONN, &["GET", "blind"]);
    ask(&mut state, OTHER, &["GET", "other"]);
    ask(&mut state, OTHER, &["SET", "behind", "it"]);
    wait(&mut state);
    assert_eq!(waits_to_know(&state), 2, "nobody asks again because time has passed");
    know(&mut state, "key", false);
    assert!(!state.may_wait(), "it does not sleep before they go on");
    hear(&mut state);
    assert_eq!(sent(&mut state), ":1\r\n$1\r\n2\r\n");
    assert_eq!(sent_to(&mut state, OTHER), "");
    know(&mut state, "key", true);
    assert!(!state.shared.is_recovering(0));
    go_on(&mut state);
    assert_eq!(waits_to_know(&state), 2, "each has waited once");
    assert_eq!(sent_to(&mut state, OTHER), "$-1\r\n+OK\r\n");
}

/// How often a command has begun to wait until its key is known.
fn waits_to_know(state: &WorkerState) -> u64 {
    state.stats.figure("tier_recovery_waits").expect("a figure")
}

#[test]
fn who_waits_to_know_goes_on_when_another_client_has_said_what_the_key_is() {
    let (mut state, _hand) = alone();
    recover(&mut state);
    for (key, change, answer) in
        [("one", &["SET", "one", "new"][..], "$3\r\nnew\r\n"), ("two", &["FLUSHALL"], "$-1\r\n")]
    {
        ask(&mut state, CONN, &["GET", key]);
        ask(&mut state, OTHER, change);
        assert_eq!(sent(&mut state), "");
        hear(&mut state);
        assert_eq!(sent(&mut state), answer, "{change:?}");
        sent_to(&mut state, OTHER);
    }
    assert_eq!(waits_to_know(&state), 2);
}

#[test]
fn a_command_waits_no_longer_than_to_its_deadline_until_its_key_is_known() {
    use torc_proto::native::{Op as Verb, Options, frame::compose_request};
    let mut state = state_of(1);
    add_client_at(&mut state, CONN, Protocol::Native);
    let _hand = give_tier(&mut state);
    recover(&mut state);
    let options = Options { deadline_us: Some(50_000), ..Options::NONE };
    let mut bytes = Vec::new();
    compose_request(&mut bytes, Verb::Append, 0, 1, &options, b"key", b"+").expect("short");
    state.now = 5;
    execute_of(&mut state, CONN, 0, (&bytes, 1));
    assert!(state.watches_deadlines());
    for (now, is_answered) in [(40, false), (60, true)] {
        state.now = now;
        hear(&mut state);
        let output = &mut state.connections.find(CONN).expect("it is there").output;
        assert_eq!(!output.is_empty(), is_answered, "{now}");
    }
    assert!(!state.watches_deadlines());
}

#[test]
fn clients_of_another_shard_ask_again_until_their_keys_are_known_and_in_their_order() {
    let (mut first, mut second, _hand) = asking();
    add_client_at(&mut first, OTHER, Protocol::Resp);
    recover(&mut second);
    let (own, keys) = (key_of(&first, 0), [key_of(&first, 1), format!("{{{}}}", key_of(&first, 1))]);
    // Keys of the second shard, of one the first, and of the second again.
    for (id, key) in [(CONN, &keys[0]), (OTHER, &keys[1])] {
        ask(&mut first, id, &["APPEND", key, "+"]);
        ask(&mut first, id, &["SET", &own, "x"]);
        ask(&mut first, id, &["GET", key]);
    }
    let turn = |first: &mut WorkerState, second: &mut WorkerState| {
        wait(first);
        first.publish_mail();
        exchange(second, first);
        go_on(first);
    };
    (0..3).for_each(|_| turn(&mut first, &mut second));
    assert!([CONN, OTHER].iter().all(|id| sent_to(&mut first, *id).is_empty()));
    know(&mut second, &keys[1], false);
    (0..4).for_each(|_| turn(&mut first, &mut second));
    assert_eq!(sent_to(&mut first, OTHER), ":1\r\n+OK\r\n$1\r\n+\r\n", "another client waits for nobody");
    assert_eq!(sent(&mut first), "");
    know(&mut second, &keys[1], true);
    (0..4).for_each(|_| turn(&mut first, &mut second));
    assert_eq!(sent(&mut first), ":1\r\n+OK\r\n$1\r\n+\r\n");
}

#[test]
fn an_item_that_was_read_and_is_on_the_tier_alone_stays_and_is_read_where_it_lies_then() {
    let (mut state, hand) = alone();
    let (hash, bytes) = put_elsewhere(&mut state, "key", PLACE);
    let (cold, _) = put_elsewhere(&mut state, "cold", PLACE + 1);
    let (over, _) = put_elsewhere(&mut state, "over", PLACE + 2);
    for (hash, place) in [(hash, PLACE), (over, PLACE + 2)] {
        state.shard.promote(hash, Ticket(place), &bytes, NOW).unwrap();
    }
    assert!(state.shard.demote(0, b"key", PLACE, NOW));
    ask(&mut state, CONN, &["GET", "key"]);
    hand.give(&[(PLACE, &bytes)]);
    hear(&mut state);
    assert_eq!(sent(&mut state), "$3\r\nkey\r\n");
    assert!(state.shard.demote(0, b"key", PLACE, NOW));
    let mut expired = leaving(over, PLACE + 2, u64::MAX);
    expired.record.expiry = NOW;
    let places = vec![expired, leaving(cold, PLACE + 1, u64::MAX), leaving(hash, PLACE, u64::MAX)];
    hand.fetches();
    hand.say(Reply::Leave { stream: 3, below: 0, places });
    hear(&mut state);
    assert_eq!(hand.left(), [(3, 1)]);
    ask(&mut state, CONN, &["GET", "cold"]);
    ask(&mut state, CONN, &["GET", "over"]);
    assert_eq!(sent(&mut state), "$-1\r\n$-1\r\n");
    let moves = vec![Moved { hash, from: PLACE, to: Some(MOVED) }];
    hand.say(Reply::Moved { stream: 3, moves });
    hear(&mut state);
    assert_eq!(hand.left(), [(3, usize::MAX)]);
    ask(&mut state, CONN, &["GET", "key"]);
    assert_eq!(hand.fetches(), [MOVED]);
}
