//! Durability by request, as the native protocol has it.

use super::*;
use std::time::Duration;
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Change, Hello, Op as Verb, Options, flags};

const INTERVAL: Durability = Durability::Interval(Duration::from_secs(3600));

/// A shard alone with a native client.
fn native(durability: Durability) -> (WorkerState, Hand) {
    let mut state = state_of(1);
    add_client_at(&mut state, CONN, Protocol::Native);
    let hand = give_tier_of(&mut state, durability);
    (state, hand)
}

fn frame(verb: Verb, flags: u16, options: &Options, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let key = if matches!(verb, Verb::Flush | Verb::Hello) { &b""[..] } else { b"key" };
    compose_request(&mut bytes, verb, flags, 1, options, key, value).expect("short");
    bytes
}

fn say(state: &mut WorkerState, frames: &[(Verb, u16)]) {
    let one = |(verb, flags): &(Verb, u16)| {
        frame(*verb, *flags, &Options::NONE, if *verb == Verb::Set { b"value" } else { b"" })
    };
    let bytes: Vec<u8> = frames.iter().flat_map(one).collect();
    assert_eq!(execute_of(state, CONN, 0, (&bytes, frames.len())), bytes.len());
}

fn waits(state: &mut WorkerState) -> bool {
    let conn = state.connections.take(CONN).expect("it is there");
    let waits = state.waits_to_answer(&conn);
    state.connections.put(conn);
    waits
}

/// The batches that are handed over in this turn are on the medium.
fn save(state: &mut WorkerState, hand: &Hand) -> usize {
    state.save();
    let batches = hand.saves();
    let count = batches.len();
    batches.into_iter().for_each(|batch| hand.say(Reply::Saved(batch)));
    hear(state);
    count
}

#[test]
fn who_asks_for_durability_waits_and_is_saved_at_once() {
    let (mut state, hand) = native(INTERVAL);
    say(&mut state, &[(Verb::Set, 0)]);
    state.save();
    hand.saves();
    say(&mut state, &[(Verb::Set, 0), (Verb::Get, 0)]);
    assert!(!waits(&mut state), "it is saved within the interval");
    assert_eq!(save(&mut state, &hand), 0);
    for verb in [Verb::Set, Verb::Delete, Verb::Set, Verb::Flush, Verb::Append] {
        let (asked, changes) = ([(verb, flags::DURABLE)], verb != Verb::Append);
        say(&mut state, &asked);
        // There is nothing to join to: no change, and nothing to wait for.
        assert_eq!(waits(&mut state), changes, "{verb:?}");
        assert_eq!(save(&mut state, &hand) > 0, changes, "{verb:?}");
        assert!(!waits(&mut state), "{verb:?}");
    }
    // What comes before and behind it in a pipeline waits with it.
    say(&mut state, &[(Verb::Set, flags::AT_ONCE), (Verb::Set, flags::DURABLE), (Verb::Get, 0)]);
    assert!(waits(&mut state));
    save(&mut state, &hand);
    assert!(!waits(&mut state));
}

#[test]
fn who_wants_the_answer_at_once_does_not_wait_where_others_do() {
    let (mut state, hand) = native(Durability::Always);
    say(
        &mut state,
        &[
            (Verb::Set, flags::AT_ONCE),
            (Verb::Get, 0),
            (Verb::Delete, flags::AT_ONCE),
            (Verb::Flush, flags::AT_ONCE),
        ],
    );
    assert!(!waits(&mut state));
    say(&mut state, &[(Verb::Set, 0)]);
    assert!(waits(&mut state));
    save(&mut state, &hand);
    assert!(!waits(&mut state));
    say(&mut state, &[(Verb::Set, flags::AT_ONCE), (Verb::Set, 0)]);
    assert!(waits(&mut state));
}

/// [N-DUR-4]
#[test]
fn a_repeat_waits_until_what_was_done_is_saved() {
    let (mut state, hand) = native(INTERVAL);
    let mut hello = Vec::new();
    Hello { version_min: 1, version_max: 1, features: 0, session: 5, boot_id: 0 }.compose(&mut hello);
    let bytes = frame(Verb::Hello, 0, &Options::NONE, &hello);
    execute_of(&mut state, CONN, 0, (&bytes, 1));
    let set = |state: &mut WorkerState, flags, repeat| {
        let options = Options { change: Some(Change { number: 1, repeat }), ..Options::NONE };
        let bytes = frame(Verb::Set, flags, &options, b"value");
        assert_eq!(execute_of(state, CONN, 0, (&bytes, 1)), bytes.len());
    };
    set(&mut state, 0, false);
    assert!(!waits(&mut state));
    set(&mut state, flags::DURABLE, true);
    assert!(waits(&mut state), "it was done, and is not safe");
    save(&mut state, &hand);
    assert!(!waits(&mut state));
    set(&mut state, flags::DURABLE, true);
    assert!(!waits(&mut state), "it is safe");
}

#[test]
fn another_shard_answers_when_it_is_safe_or_at_once_as_it_was_asked() {
    for durability in [INTERVAL, Durability::Always] {
        let (mut first, mut second) = pair_with(Protocol::Native, u64::MAX);
        let hand = give_tier_of(&mut second, durability);
        let key = key_of(&first, 1);
        let ask = |first: &mut WorkerState, second: &mut WorkerState, flags| {
            let mut bytes = Vec::new();
            compose_request(&mut bytes, Verb::Set, flags, 1, &Options::NONE, key.as_bytes(), b"value")
                .expect("short");
            execute_of(first, CONN, 0, (&bytes, 1));
            first.publish_mail();
            exchange(first, second);
            first.connections.find(CONN).expect("it is there").queue.is_empty()
        };
        assert!(ask(&mut first, &mut second, flags::AT_ONCE), "{durability:?}");
        assert_eq!(ask(&mut first, &mut second, 0), durability == INTERVAL);
        save(&mut second, &hand);
        exchange(&mut first, &mut second);
        assert!(!ask(&mut first, &mut second, flags::DURABLE), "{durability:?}");
        assert!(save(&mut second, &hand) > 0, "{durability:?}");
        second.publish_mail();
        exchange(&mut first, &mut second);
        assert!(first.connections.find(CONN).expect("it is there").queue.is_empty());
    }
}
