//! Who goes when keys are released.

use super::{HeldKey, Holder};
use crate::session::Protocol;
use crate::transport::ConnId;
use crate::worker::state::WorkerState;
use crate::worker::testing::{
    CONN, add_client_at, execute, execute_of, key_of, pair, resp, sent, sent_to, turn,
};

const OTHER: ConnId = ConnId { index: 1, generation: 0 };

fn holder(number: u32) -> Holder {
    Holder { shard: 0, conn: ConnId { index: 100 + number, generation: 0 } }
}

fn ask_to_hold(state: &mut WorkerState, holder: Holder, key: &str) {
    let mut keys = Vec::new();
    HeldKey { database: 0, is_watched: false, key: key.as_bytes() }.append(&mut keys);
    state.request_hold(holder, 1, &keys, false);
}

fn holds(state: &WorkerState, holder: Holder) -> bool {
    state.holds.held.contains_key(&holder)
}

#[test]
fn requests_of_other_shards_have_a_go_between_two_holders() {
    let (mut asker, mut owner) = pair(Protocol::Resp);
    let key = key_of(&owner, 1);
    (0..3).for_each(|number| ask_to_hold(&mut owner, holder(number), &key));
    execute(&mut asker, &resp(&["GET", &key]), 1);
    turn(&mut asker);
    turn(&mut owner);
    assert!(holds(&owner, holder(0)));
    assert_eq!(sent(&mut asker), "");
    owner.release_hold(holder(0));
    // Who asks for it in the same turn is given nothing yet.
    ask_to_hold(&mut owner, holder(3), &key);
    assert!(!owner.holds.is_any());
    turn(&mut owner);
    assert!(holds(&owner, holder(1)));
    turn(&mut asker);
    assert_eq!(sent(&mut asker), "$-1\r\n");
}

#[test]
fn clients_of_the_shard_have_a_go_between_two_holders() {
    let (_, mut owner) = pair(Protocol::Resp);
    let key = key_of(&owner, 1);
    add_client_at(&mut owner, OTHER, Protocol::Resp);
    (0..3).for_each(|number| ask_to_hold(&mut owner, holder(number), &key));
    execute_of(&mut owner, OTHER, 0, (&resp(&["INCR", &key]), 1));
    turn(&mut owner);
    assert_eq!(sent_to(&mut owner, OTHER), "");
    owner.release_hold(holder(0));
    turn(&mut owner);
    assert_eq!((holds(&owner, holder(1)), &*sent_to(&mut owner, OTHER)), (false, ":1\r\n"));
    // Nothing may end the turn before it is given.
    assert!(!owner.may_wait());
    execute_of(&mut owner, OTHER, 0, (&resp(&["INCR", &key]), 1));
    assert_eq!(sent_to(&mut owner, OTHER), ":2\r\n");
    turn(&mut owner);
    assert!(holds(&owner, holder(1)));
    for number in 1..3 {
        owner.release_hold(holder(number));
        turn(&mut owner);
    }
    assert!(!owner.holds.is_any() && owner.may_wait());
}

/// A key that somebody waits to hold is not held, so scripts of this shard alone need not stand in line behind who does.
#[test]
fn scripts_of_one_shard_are_done_at_once_unless_one_of_their_keys_is_held() {
    let (mut own, _) = pair(Protocol::Resp);
    let tag = key_of(&own, 0);
    let (held, free) = (format!("{{{tag}}}held"), format!("{{{tag}}}free"));
    ask_to_hold(&mut own, holder(0), &held);
    ask_to_hold(&mut own, holder(1), &held);
    let script = |key: &str| resp(&["EVAL", "return redis.call('incr', KEYS[1])", "1", key]);
    execute(&mut own, &script(&free), 1);
    assert_eq!(sent(&mut own), ":1\r\n");
    execute(&mut own, &script(&held), 1);
    turn(&mut own);
    assert_eq!(sent(&mut own), "");
    for number in 0..2 {
        own.release_hold(holder(number));
        turn(&mut own);
    }
    assert_eq!(sent(&mut own), ":1\r\n");
    assert!(!own.holds.is_any());
    assert!(own.connections.find(CONN).is_some_and(|conn| conn.is_idle()));
}

/// Its keys are to be held before a long value is written, and others want them: it holds them first.
#[test]
fn a_long_value_of_a_script_waits_for_those_who_want_its_keys() {
    let (mut own, _) = pair(Protocol::Resp);
    let tag = key_of(&own, 0);
    let (held, free) = (format!("{{{tag}}}held"), format!("{{{tag}}}free"));
    ask_to_hold(&mut own, holder(0), &held);
    let mut keys = Vec::new();
    for key in [&held, &free] {
        HeldKey { database: 0, is_watched: false, key: key.as_bytes() }.append(&mut keys);
    }
    own.request_hold(holder(1), 1, &keys, false);
    let script = "redis.call('set', KEYS[1], string.rep('v', 2000)) return redis.call('strlen', KEYS[1])";
    execute(&mut own, &resp(&["EVAL", script, "1", &free]), 1);
    turn(&mut own);
    assert_eq!(sent(&mut own), "");
    for number in 0..2 {
        own.release_hold(holder(number));
        (0..2).for_each(|_| turn(&mut own));
    }
    assert_eq!(sent(&mut own), ":2000\r\n");
    assert!(!own.holds.is_any());
}

/// Nobody else has a turn before a short transaction of one shard is done, so it holds nothing, unless it has to wait after all.
#[test]
fn a_transaction_of_one_shard_holds_its_keys_only_if_it_needs_another_turn() {
    let (mut own, _) = pair(Protocol::Resp);
    add_client_at(&mut own, OTHER, Protocol::Resp);
    let limits = &mut own.settings.limits;
    (limits.arguments_max, limits.frame_bytes_max, limits.value_bytes_inline) = (2000, 20_000, 20_000);
    let tag = key_of(&own, 0);
    let key = |number: usize| format!("{{{tag}}}{number}");
    let multi = |commands: &[Vec<u8>]| [resp(&["MULTI"]), commands.concat(), resp(&["EXEC"])].concat();
    execute(&mut own, &multi(&[resp(&["SET", &key(0), "v"]), resp(&["GET", &key(0)])]), 4);
    assert_eq!(sent(&mut own), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\nv\r\n");
    assert!(!own.holds.is_any());
    let words: Vec<String> = (0..600).flat_map(|number| [key(number), "w".into()]).collect();
    let words: Vec<&str> = std::iter::once("MSET").chain(words.iter().map(String::as_str)).collect();
    execute(&mut own, &multi(&[resp(&words)]), 3);
    assert!(own.holds.is_any());
    execute_of(&mut own, OTHER, 0, (&resp(&["GET", &key(0)]), 1));
    assert_eq!(sent_to(&mut own, OTHER), "");
    (0..3).for_each(|_| turn(&mut own));
    assert_eq!(sent(&mut own), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(sent_to(&mut own, OTHER), "$1\r\nw\r\n");
    assert!(!own.holds.is_any());
}

/// Those who read wait for its keys: it must not stand still with some of them.
#[test]
fn a_transaction_that_has_begun_to_hold_keys_goes_on_in_a_pause() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let [here, there] = [0, 1].map(|shard| key_of(&first, shard));
    ask_to_hold(&mut second, holder(0), &there);
    let commands =
        [resp(&["MULTI"]), resp(&["SET", &here, "v"]), resp(&["SET", &there, "v"]), resp(&["EXEC"])];
    execute(&mut first, &commands.concat(), 4);
    for _ in 0..3 {
        turn(&mut first);
        turn(&mut second);
    }
    assert!(first.holds.is_any());
    first.shared.tunables.pause(first.now, first.now + 60_000, false);
    second.release_hold(holder(0));
    for _ in 0..4 {
        turn(&mut second);
        turn(&mut first);
    }
    assert!(!first.holds.is_any());
    assert_eq!(sent(&mut first), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n");
}
