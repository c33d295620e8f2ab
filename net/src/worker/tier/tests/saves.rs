//! When changes are handed over, and who waits for that.

use super::*;

/// As many changes as may be unsaved.
pub(super) fn fill(state: &mut WorkerState) {
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
fn a_flush_at_the_ceiling_gives_no_version_above_it_out_and_voids_all_before() {
    let (mut state, hand) = alone();
    hand.set_ceiling(1);
    hear(&mut state);
    ask(&mut state, CONN, &["SET", "key", "value"]);
    assert!(!state.shard.may_change());
    ask(&mut state, CONN, &["FLUSHALL"]);
    ask(&mut state, CONN, &["GET", "key"]);
    assert_eq!(sent(&mut state), "+OK\r\n+OK\r\n$-1\r\n");
    let mut versions = Vec::new();
    state.shard.take_unsaved(|unsaved| {
        versions.push(unsaved.version);
        true
    });
    assert_eq!(versions, [1]);
    ask(&mut state, CONN, &["SET", "key", "after"]);
    assert_eq!(sent(&mut state), "", "it waits for a version");
    hand.set_ceiling(u64::MAX);
    hear(&mut state);
    ask(&mut state, CONN, &["GET", "key"]);
    assert_eq!(sent(&mut state), "+OK\r\n$5\r\nafter\r\n");
}

#[test]
fn a_read_that_changes_the_expiry_waits_for_a_version_as_a_change_does() {
    let (mut state, hand) = alone();
    hand.set_ceiling(1);
    hear(&mut state);
    ask(&mut state, CONN, &["SET", "key", "value"]);
    assert_eq!(sent(&mut state), "+OK\r\n");
    ask(&mut state, CONN, &["GETEX", "key", "EX", "100"]);
    assert_eq!(sent(&mut state), "");
    ask(&mut state, OTHER, &["GET", "key"]);
    assert_eq!(sent_to(&mut state, OTHER), "$5\r\nvalue\r\n");
    hand.set_ceiling(u64::MAX);
    hear(&mut state);
    assert_eq!(sent(&mut state), "$5\r\nvalue\r\n");
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
fn changes_are_refused_while_what_was_before_them_could_come_back() {
    let (mut state, hand) = alone();
    ask(&mut state, CONN, &["SET", "key", "before"]);
    assert_eq!(sent(&mut state), "+OK\r\n");
    hand.latch(false);
    hear(&mut state);
    for change in [&["SET", "key", "after"][..], &["DEL", "key"], &["GETEX", "key", "EX", "10"]] {
        ask(&mut state, CONN, change);
        let answer = sent(&mut state);
        assert!(answer.starts_with('-') && answer.contains("durability"), "{change:?}: {answer}");
    }
    ask(&mut state, CONN, &["GET", "key"]);
    assert_eq!(sent(&mut state), "$6\r\nbefore\r\n");
}

#[test]
fn a_latched_tier_holds_nobody() {
    let (mut state, hand) = alone();
    fill(&mut state);
    ask(&mut state, CONN, &["SET", "key0", "held"]);
    state.save();
    hand.latch(true);
    for mut batch in hand.saves() {
        batch.entries.clear();
        hand.say(Reply::Saved(batch));
    }
    hear(&mut state);
    assert_eq!(sent(&mut state), "+OK\r\n");
    assert!(state.is_saved());
}

/// Sets so many keys.
fn set(state: &mut WorkerState, keys: usize) {
    for number in 0..keys {
        ask(state, CONN, &["SET", &format!("key{number}"), &"value".repeat(20)]);
        assert_eq!(sent(state), "+OK\r\n");
    }
}

/// A shard alone whose tier lies beside so much memory.
fn alone_beside(memory_bytes: u64) -> (WorkerState, Hand) {
    let (mut state, _) = alone();
    let (port, hand) = Hand::new(state.number);
    let durability = (Durability::Interval(std::time::Duration::from_secs(1)), true);
    state.tier = Some(Box::new(Tier::new(port, durability, memory_bytes, 2)));
    state.ticks += 1000;
    state.save();
    (state, hand)
}

#[test]
fn what_changes_often_is_written_once_in_a_quarter_of_the_interval() {
    const KEYS: usize = 3000;
    let (mut state, hand) = alone_beside(64 << 20);
    for _ in 0..3 {
        set(&mut state, KEYS);
        state.save();
        assert!(hand.saves().is_empty(), "it is not time");
    }
    state.ticks += 250;
    state.save();
    let written: usize = hand.saves().iter().map(|batch| batch.entries.len()).sum();
    assert_eq!(written, KEYS);
}

#[test]
fn all_that_had_changed_when_it_was_time_is_handed_over_however_much_it_is() {
    const KEYS: usize = 7000;
    let (mut state, hand) = alone_beside(64 << 20);
    set(&mut state, KEYS);
    state.ticks += 250;
    let mut written = 0;
    loop {
        state.save();
        let batches = hand.saves();
        if batches.is_empty() {
            break;
        }
        ask(&mut state, CONN, &["SET", "later", "value"]);
        for batch in batches {
            written += batch.entries.len();
            hand.say(Reply::Saved(batch));
        }
        state.hear_tier();
    }
    assert!(KEYS > SAVES_MAX * 2048, "more than may be under way");
    assert!(written >= KEYS, "{written} of {KEYS}");
    ask(&mut state, CONN, &["SET", "later still", "value"]);
    state.save();
    assert!(hand.saves().is_empty(), "it is not time");
}
