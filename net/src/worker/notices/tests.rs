//! What is noted, told, passed to other shards and dropped.

use super::*;
use crate::observed::Sees;
use crate::session::Protocol;
use crate::worker::notices::gone::Gone;
use crate::worker::state::WorkerState;
use crate::worker::testing::{
    CONN, NOW, add_client_at, exchange, execute, execute_of, key_of, pair, resp, sent, sent_to,
};
use std::sync::atomic::Ordering::Relaxed;

const LISTENER: ConnId = ConnId { index: 1, generation: 0 };

/// Two shards; a client of each is subscribed to all events.
fn listened(classes: &str) -> (WorkerState, WorkerState) {
    let (mut first, mut second) = pair(Protocol::Resp);
    let classes = EventClasses::parse(classes).expect("letters");
    first.shared.event_classes.store(classes.bits(), Relaxed);
    for state in [&mut first, &mut second] {
        add_client_at(state, LISTENER, Protocol::Resp);
        execute_of(state, LISTENER, 0, (&resp(&["PSUBSCRIBE", "__key*"]), 64));
        sent_to(state, LISTENER);
    }
    first.look_for_listeners();
    (first, second)
}

/// Channels and messages.
fn heard(state: &mut WorkerState) -> Vec<(String, String)> {
    let sent = sent_to(state, LISTENER);
    let lines: Vec<&str> = sent.split("\r\n").collect();
    lines.chunks_exact(9).map(|lines| (lines[6].to_owned(), lines[8].to_owned())).collect()
}

fn events(all: Vec<(String, String)>) -> Vec<String> {
    all.into_iter().map(|(channel, _)| channel.trim_start_matches("__keyevent@0__:").to_owned()).collect()
}

#[test]
fn an_event_is_told_on_both_channels_to_clients_of_all_shards() {
    let (mut first, mut second) = listened("KE$");
    let key = key_of(&first, 0);
    execute(&mut first, &resp(&["SET", &key, "v"]), 1);
    execute(&mut first, &resp(&["EXPIRE", &key, "100"]), 1);
    assert_eq!(heard(&mut first), []);
    first.give_notices();
    exchange(&mut first, &mut second);
    let told =
        [(format!("__keyspace@0__:{key}"), "set".to_owned()), ("__keyevent@0__:set".to_owned(), key.clone())];
    assert_eq!(heard(&mut first), told);
    assert_eq!(heard(&mut second), told);
    execute_of(&mut first, CONN, 3, (&resp(&["APPEND", &key, "v"]), 1));
    first.give_notices();
    let channels: Vec<String> = heard(&mut first).into_iter().map(|(channel, _)| channel).collect();
    assert_eq!(channels, [format!("__keyspace@3__:{key}"), "__keyevent@3__:append".into()]);
}

#[test]
fn nothing_is_noted_for_nobody() {
    let (mut first, _) = pair(Protocol::Resp);
    first.shared.event_classes.store(EventClasses::parse("KEAnm").expect("letters").bits(), Relaxed);
    first.look_for_listeners();
    assert!(first.notices.are_off() && first.shard.listener_mut::<Gone>().is_none());
    let (mut first, _) = listened("KEA");
    assert!(!first.notices.are_off() && first.shard.listener_mut::<Gone>().is_some());
    first.shared.event_classes.store(0, Relaxed);
    first.look_for_listeners();
    assert!(first.notices.are_off() && first.shard.listener_mut::<Gone>().is_none());
}

#[test]
fn what_goes_by_itself_is_told_by_its_database() {
    let (mut first, mut second) = listened("Ex");
    let key = key_of(&first, 0);
    execute_of(&mut first, CONN, 2, (&resp(&["SET", &key, "v", "PXAT", &(NOW + 5).to_string()]), 1));
    first.now += 10_000;
    execute_of(&mut first, CONN, 2, (&resp(&["GET", &key]), 1));
    first.give_notices();
    exchange(&mut first, &mut second);
    let told = [("__keyevent@2__:expired".to_owned(), key)];
    assert_eq!((heard(&mut first), heard(&mut second)), (told.to_vec(), told.to_vec()));
}

/// A segment whose items' time is over is walked, so each of them is told.
#[test]
fn all_items_of_a_segment_that_is_given_up_are_told() {
    let (mut first, _) = listened("Ex");
    first.settings.subscriber_bytes_max = 1 << 20;
    let keys: Vec<String> = (0..200).map(|number| format!("{{{}}}{number}", key_of(&first, 0))).collect();
    for key in &keys {
        execute(&mut first, &resp(&["SET", key, "v", "PXAT", &(NOW + 5).to_string()]), 1);
        sent(&mut first);
    }
    first.give_notices();
    let mut told = Vec::new();
    for _ in 0..20 {
        first.now += 1000;
        first.maintain(1000);
        first.give_notices();
        told.extend(heard(&mut first).into_iter().map(|(_, key)| key));
    }
    told.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(told, keys);
}

#[test]
fn commands_have_the_names_of_redis() {
    let (mut first, _) = listened("EAnm");
    let key = key_of(&first, 0);
    let table: [(&[&str], &[&str]); 18] = [
        (&["GET", "K"], &["keymiss"]),
        (&["SET", "K", "1", "EXAT", "2000000000"], &["new", "set", "expire"]),
        (&["SET", "K", "1", "NX"], &[]),
        (&["SET", "K", "1", "GET"], &["set"]),
        (&["INCR", "K"], &["incrby"]),
        (&["DECRBY", "K", "2"], &["incrby"]),
        (&["INCRBYFLOAT", "K", "1.5"], &["incrbyfloat"]),
        (&["APPEND", "K", "x"], &["append"]),
        (&["SETRANGE", "K", "1", "y"], &["setrange"]),
        (&["PERSIST", "K"], &[]),
        (&["GETEX", "K", "PERSIST"], &[]),
        (&["GETEX", "K", "EXAT", "2000000000"], &["expire"]),
        (&["GETEX", "K", "PERSIST"], &["persist"]),
        (&["PEXPIREAT", "K", "2000000000000"], &["expire"]),
        (&["EXPIRE", "K", "-1"], &["del"]),
        (&["GETSET", "K", "z"], &["keymiss", "new", "set"]),
        (&["GETDEL", "K"], &["del"]),
        (&["DEL", "K"], &[]),
    ];
    for (words, expected) in table {
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "K" { key.as_str() } else { word }).collect();
        execute(&mut first, &resp(&words), 2);
        sent(&mut first);
        first.give_notices();
        assert_eq!(events(heard(&mut first)), *expected, "{words:?}");
    }
}

/// INFO tells the same figures whether somebody listens or not.
#[test]
fn who_listens_changes_no_count_of_hits_and_misses() {
    let counts = |listens: bool, watches: bool| {
        let (mut first, _) = if listens { listened("EAnm") } else { pair(Protocol::Resp) };
        let kinds = Watched::FETCHERS.with(Watched::MUTATIONS).with(Watched::DELETIONS);
        let watcher =
            watches.then(|| first.shared.observed.monitors.begin(Sees::Events(kinds)).expect("one"));
        first.look_for_listeners();
        assert_eq!(first.notices.are_off(), !listens && !watches);
        let key = key_of(&first, 0);
        for words in [
            &["GET", &key][..],
            &["SET", &key, "v"],
            &["GET", &key],
            &["APPEND", &key, "w"],
            &["GETEX", &key, "PERSIST"],
            &["PEXPIREAT", &key, &(NOW + 5).to_string()],
            &["DEL", &key],
            &["DEL", &key],
        ] {
            execute(&mut first, &resp(words), 2);
            sent(&mut first);
        }
        first.give_notices();
        assert_eq!(watcher.is_some_and(|watcher| watcher.has_news()), watches);
        (first.shard.stats().hits.read(), first.shard.stats().misses.read())
    };
    assert_eq!(counts(false, false), (2, 1));
    for (listens, watches) in [(true, false), (false, true), (true, true)] {
        assert_eq!(counts(listens, watches), (2, 1), "{listens} {watches}");
    }
}

#[test]
fn what_has_no_place_waits_and_what_is_too_much_is_dropped_and_counted() {
    let (mut first, mut second) = listened("E$");
    for state in [&mut first, &mut second] {
        state.settings.subscriber_bytes_max = 1 << 30;
    }
    let key = format!("{{{}}}{}", key_of(&first, 0), "k".repeat(200));
    let count = 60_000;
    for _ in 0..count {
        execute(&mut first, &resp(&["SET", &key, "v"]), 1);
        sent(&mut first);
    }
    let mut told = [0; 2];
    for _ in 0..1000 {
        first.give_notices();
        exchange(&mut first, &mut second);
        told[0] += heard(&mut first).len();
        told[1] += heard(&mut second).len();
    }
    let dropped = first.stats.notices_dropped.read() as usize;
    assert!(dropped > 0 && dropped < count, "{dropped}");
    assert_eq!(told, [count - dropped; 2]);
    assert!(first.notices.bytes_held() < 1 << 20);
}

#[test]
fn what_a_script_does_at_another_shard_is_told_once() {
    let (mut first, mut second) = listened("EA");
    let key = key_of(&first, 1);
    let script =
        "redis.call('set', KEYS[1], 1) redis.call('incr', KEYS[1]) return redis.call('expire', KEYS[1], 9)";
    execute(&mut first, &resp(&["EVAL", script, "1", &key]), 1);
    for _ in 0..3 {
        exchange(&mut first, &mut second);
        [&mut first, &mut second].into_iter().for_each(WorkerState::give_notices);
    }
    assert_eq!((&*sent(&mut first), first.stats.scripts_sent.read()), (":1\r\n", 1));
    let own = key_of(&first, 0);
    let told = events(heard(&mut first));
    execute(&mut first, &resp(&["EVAL", script, "1", &own]), 1);
    first.give_notices();
    assert!(!told.is_empty());
    assert_eq!(told, events(heard(&mut first)));
    assert_eq!(told, events(heard(&mut second)));
}
