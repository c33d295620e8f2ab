//! A tier that has failed, and is taken into use again.

use super::*;
use crate::worker::tier::state::Standing;
use std::collections::HashSet;

fn standing(state: &WorkerState) -> Standing {
    state.tier.as_ref().expect("a tier").standing
}

/// Turns until nothing is left to be walked.
fn turn(state: &mut WorkerState) {
    for _ in 0..1000 {
        hear(state);
        state.save();
        if !state.has_more_to_walk() {
            return;
        }
    }
    panic!("walks come to an end");
}

/// Turns until all is told and saved; returns the keys' hashes that were told to have an item.
fn save_all(state: &mut WorkerState, hand: &Hand) -> HashSet<u64> {
    let mut told = HashSet::new();
    for _ in 0..1000 {
        turn(state);
        let batches = hand.saves();
        if batches.is_empty() {
            return told;
        }
        for batch in batches {
            told.extend(
                batch.entries.iter().filter(|entry| entry.record.kind == Kind::Item).map(|e| e.record.hash),
            );
            hand.say(Reply::Saved(batch));
        }
    }
    panic!("it comes to an end");
}

fn hash(state: &WorkerState, key: &str) -> u64 {
    state.shard.hash(0, key.as_bytes())
}

#[test]
fn a_shard_lets_go_of_a_tier_when_nothing_of_it_is_named_or_waited_for() {
    let (mut state, hand) = alone();
    put_elsewhere(&mut state, "key", PLACE);
    put_elsewhere(&mut state, "apart", APART);
    ask(&mut state, CONN, &["GET", "key"]);
    hand.latch(true);
    turn(&mut state);
    assert_eq!(state.shard.elsewhere(), 0, "the place that is read is forgotten, too");
    assert!(!hand.is_let_go(), "a read is under way");
    hand.fail(PLACE);
    turn(&mut state);
    assert_eq!(sent(&mut state), "$-1\r\n");
    assert!(hand.is_let_go());
    ask(&mut state, CONN, &["GET", "apart"]);
    assert_eq!(sent(&mut state), "$-1\r\n");
    assert!(state.is_saved());
}

#[test]
fn what_memory_holds_is_told_to_the_tier_that_takes_its_place() {
    let (mut state, mut hand) = alone();
    for number in 0..3000 {
        ask(&mut state, CONN, &["SET", &format!("key{number}"), "value"]);
        sent(&mut state);
    }
    save_all(&mut state, &hand);
    ask(&mut state, CONN, &["SET", "unsaved", "value"]);
    hand.latch(true);
    turn(&mut state);
    // Clients go on without a tier.
    ask(&mut state, CONN, &["SET", "since", "value"]);
    ask(&mut state, CONN, &["DEL", "key7"]);
    assert_eq!(sent(&mut state), "+OK\r\n+OK\r\n:1\r\n");
    assert_eq!(state.shard.unsaved(), 0, "nobody is there to be told");
    hand.rearm();
    hear(&mut state);
    assert_eq!(hand.rearmed(), (true, true));
    assert!(!state.is_saved(), "a drain waits for it");
    // What changes now is told, be it come to or not.
    for key in ["key1", "key2999", "new"] {
        ask(&mut state, CONN, &["SET", key, "changed"]);
    }
    let told = save_all(&mut state, &hand);
    for number in (0..3000).filter(|number| *number != 7) {
        assert!(told.contains(&hash(&state, &format!("key{number}"))), "{number}");
    }
    assert!(["unsaved", "since", "new"].iter().all(|key| told.contains(&hash(&state, key))));
    assert!(!told.contains(&hash(&state, "key7")));
    assert_eq!((hand.rearmed(), standing(&state)), ((true, false), Standing::InUse));
    assert!(state.is_saved());
}

#[test]
fn answers_wait_for_the_tier_that_takes_the_place_of_one_that_failed() {
    let mut state = state_of(1);
    add_client_at(&mut state, CONN, Protocol::Resp);
    add_client_at(&mut state, OTHER, Protocol::Resp);
    let mut hand = give_tier_of(&mut state, Durability::Always);
    let waits = |state: &mut WorkerState, id| {
        let conn = state.connections.take(id).expect("it is there");
        let (waits, is_untrue) = (state.waits_to_answer(&conn), conn.is_untrue);
        state.connections.put(conn);
        (waits, is_untrue)
    };
    for round in 0..5 {
        ask(&mut state, CONN, &["SET", "key", &round.to_string()]);
        assert_eq!(waits(&mut state, CONN), (true, false));
        save_all(&mut state, &hand);
        assert_eq!(waits(&mut state, CONN), (false, false));
    }
    ask(&mut state, OTHER, &["SET", "lost", "value"]);
    hand.latch(true);
    turn(&mut state);
    assert!(waits(&mut state, OTHER).1, "its answer is not true");
    sent(&mut state);
    ask(&mut state, CONN, &["SET", "key", "refused"]);
    assert!(sent(&mut state).contains("durability"));
    hand.rearm();
    hear(&mut state);
    assert_eq!(waits(&mut state, CONN), (false, false), "what was answered before waits for nothing");
    ask(&mut state, CONN, &["SET", "key", "again"]);
    assert_eq!(waits(&mut state, CONN), (true, false));
    assert!(save_all(&mut state, &hand).contains(&hash(&state, "key")));
    assert_eq!(waits(&mut state, CONN), (false, false));
    assert_eq!(sent(&mut state), "+OK\r\n");
}

#[test]
fn a_tier_that_fails_again_while_it_is_told_what_memory_holds_is_let_go_of_again() {
    let (mut state, mut hand) = alone();
    for number in 0..3000 {
        ask(&mut state, CONN, &["SET", &format!("key{number}"), "value"]);
        sent(&mut state);
    }
    for round in 0..3 {
        hand.latch(true);
        hand.saves().into_iter().for_each(|mut batch| {
            batch.entries.clear();
            hand.say(Reply::Saved(batch));
        });
        turn(&mut state);
        assert!(hand.is_let_go(), "{round}");
        assert!(!hand.rearmed().1);
        hand.rearm();
        hear(&mut state);
        state.save();
        assert!(hand.rearmed().1, "{round}");
    }
    assert_eq!(save_all(&mut state, &hand).len(), 3000);
}

#[test]
fn a_tier_that_takes_what_eviction_drops_is_told_nothing_when_it_begins_anew() {
    let mut state = state_of(1);
    add_client_at(&mut state, CONN, Protocol::Resp);
    let mut hand = give_tier_of(&mut state, Durability::None);
    state.shard.only_demote();
    ask(&mut state, CONN, &["SET", "key", "value"]);
    hand.latch(true);
    turn(&mut state);
    hand.rearm();
    turn(&mut state);
    assert_eq!((hand.rearmed().0, standing(&state), hand.saves().len()), (true, Standing::InUse, 0));
    ask(&mut state, CONN, &["SET", "key", "changed"]);
    assert_eq!(state.shard.unsaved(), 0, "it holds no copy that this would make void");
}

/// What was counted before counts as saved: else a shard without items would wait for ever.
#[test]
fn an_empty_memory_is_told_at_once() {
    let (mut state, mut hand) = alone();
    ask(&mut state, CONN, &["SET", "key", "value"]);
    hand.latch(true);
    turn(&mut state);
    ask(&mut state, CONN, &["DEL", "key"]);
    hand.rearm();
    assert!(save_all(&mut state, &hand).is_empty());
    turn(&mut state);
    assert_eq!((hand.rearmed(), standing(&state)), ((true, false), Standing::InUse));
}
