//! Two shards whose clients send each other messages, without transport and clock.

use super::*;
use crate::session::Protocol;
use crate::transport::ConnId;
use crate::worker::testing::{CONN, add_client_at, exchange, execute_of, key_of, pair, resp, sent, sent_to};

const OTHER: ConnId = ConnId { index: 1, generation: 0 };

/// Sends a client's request, however often it has to be offered.
fn ask(state: &mut WorkerState, id: ConnId, words: &[&str]) {
    let request = resp(words);
    let mut at = 0;
    while at < request.len() {
        at += execute_of(state, id, 0, (&request[at..], 64));
    }
}

/// Both shards have two clients; those of the second shard have chosen RESP3.
fn four_clients() -> (WorkerState, WorkerState) {
    let (mut first, mut second) = pair(Protocol::Resp);
    add_client_at(&mut first, OTHER, Protocol::Resp);
    for id in [CONN, OTHER] {
        add_client_at(&mut second, id, Protocol::Resp);
        ask(&mut second, id, &["HELLO", "3"]);
        sent_to(&mut second, id);
    }
    (first, second)
}

fn all_sent(state: &mut WorkerState) -> [String; 2] {
    [CONN, OTHER].map(|id| sent_to(state, id))
}

#[test]
fn a_message_reaches_the_subscribers_of_all_shards_who_are_counted() {
    let (mut first, mut second) = four_clients();
    ask(&mut first, CONN, &["PUBLISH", "a", "nobody"]);
    assert_eq!(sent(&mut first), ":0\r\n");
    ask(&mut first, OTHER, &["SUBSCRIBE", "a"]);
    ask(&mut second, CONN, &["SUBSCRIBE", "a", "b"]);
    ask(&mut second, OTHER, &["PSUBSCRIBE", "?"]);
    ask(&mut second, OTHER, &["SSUBSCRIBE", "a"]);
    all_sent(&mut first);
    all_sent(&mut second);
    ask(&mut first, CONN, &["PUBLISH", "a", "m"]);
    exchange(&mut first, &mut second);
    let message = "$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n";
    assert_eq!(all_sent(&mut first), [":3\r\n".into(), format!("*3\r\n{message}")]);
    let matching = ">4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$1\r\nm\r\n";
    assert_eq!(all_sent(&mut second), [format!(">3\r\n{message}"), matching.into()]);
    ask(&mut first, CONN, &["SPUBLISH", "a", "m"]);
    exchange(&mut first, &mut second);
    assert_eq!(sent(&mut first), ":1\r\n");
    assert_eq!(sent_to(&mut second, OTHER), ">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\nm\r\n");
}

#[test]
fn subscriptions_of_all_shards_are_told_once() {
    let (mut first, mut second) = four_clients();
    for state in [&mut first, &mut second] {
        ask(state, OTHER, &["SUBSCRIBE", "a"]);
        ask(state, OTHER, &["PSUBSCRIBE", "a*"]);
    }
    ask(&mut second, CONN, &["SUBSCRIBE", "b"]);
    let table = [
        (&["PUBSUB", "CHANNELS"][..], "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (&["PUBSUB", "CHANNELS", "[^a]"], "*1\r\n$1\r\nb\r\n"),
        (&["PUBSUB", "NUMSUB", "b", "a"], "*4\r\n$1\r\nb\r\n:1\r\n$1\r\na\r\n:2\r\n"),
        (&["PUBSUB", "NUMPAT"], ":1\r\n"),
        (&["PUBSUB", "SHARDNUMSUB", "a"], "*2\r\n$1\r\na\r\n:0\r\n"),
    ];
    for (words, expected) in table {
        ask(&mut first, CONN, words);
        exchange(&mut first, &mut second);
        assert_eq!(sent(&mut first), expected, "{words:?}");
    }
}

#[test]
fn a_message_waits_for_changes_at_other_shards_and_for_no_messages() {
    let (mut first, mut second) = four_clients();
    ask(&mut second, OTHER, &["SUBSCRIBE", "a"]);
    ask(&mut first, OTHER, &["SUBSCRIBE", "a"]);
    all_sent(&mut first);
    let key = key_of(&first, 1);
    ask(&mut first, CONN, &["SET", &key, "v"]);
    ask(&mut first, CONN, &["PUBLISH", "a", "1"]);
    assert_eq!(sent_to(&mut first, OTHER), "");
    assert_eq!(first.connections.find(CONN).expect("it is there").deferred.len(), 1);
    exchange(&mut first, &mut second);
    exchange(&mut first, &mut second);
    assert_eq!(sent(&mut first), "+OK\r\n:2\r\n");
    for _ in 0..3 {
        ask(&mut first, CONN, &["PUBLISH", "a", "2"]);
    }
    assert_eq!(first.connections.find(CONN).expect("it is there").queue.len(), 3);
    exchange(&mut first, &mut second);
    assert_eq!(sent(&mut first), ":2\r\n:2\r\n:2\r\n");
    assert_eq!(first.connections.find(CONN).expect("it is there").shares.bytes_held() / 1000, 0);
}

/// Once a message that a publisher got itself took the place of the answer in its queue, which was never found there.
#[test]
fn a_publisher_gets_its_own_messages_between_its_answers() {
    let (mut first, mut second) = four_clients();
    ask(&mut first, CONN, &["HELLO", "3"]);
    ask(&mut first, CONN, &["SUBSCRIBE", "a"]);
    ask(&mut second, OTHER, &["SUBSCRIBE", "a"]);
    all_sent(&mut first);
    for text in ["1", "2", "3"] {
        ask(&mut first, CONN, &["PUBLISH", "a", text]);
    }
    exchange(&mut first, &mut second);
    let expected: String = ["1", "2", "3"]
        .map(|text| format!(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n{text}\r\n:2\r\n"))
        .concat();
    assert_eq!(sent(&mut first), expected);
}

#[test]
fn what_a_subscriber_may_ask_waits_until_it_is_known() {
    let (mut first, _) = four_clients();
    let requests: Vec<u8> =
        ["SUBSCRIBE a", "GET k", "PING", "UNSUBSCRIBE", "PING", "HELLO 3", "SUBSCRIBE a", "PING"]
            .iter()
            .flat_map(|line| resp(&line.split(' ').collect::<Vec<_>>()))
            .collect();
    let (mut at, mut rounds) = (0, 0);
    while at < requests.len() {
        at += execute_of(&mut first, CONN, 0, (&requests[at..], 64));
        rounds += 1;
    }
    assert_eq!(rounds, 3);
    let sent = sent(&mut first);
    let refusal = "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                   this context\r\n";
    let before = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    let behind = "*2\r\n$4\r\npong\r\n$0\r\n\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n+PONG\r\n%7\r\n";
    assert!(sent.starts_with(&format!("{before}{refusal}{behind}")), "{sent}");
    assert!(sent.ends_with(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n+PONG\r\n"), "{sent}");
    ask(&mut first, CONN, &["HELLO", "2"]);
    ask(&mut first, CONN, &["GET", "k"]);
    assert!(sent_to(&mut first, CONN).ends_with(refusal));
}

#[test]
fn a_subscription_is_charged_bounded_and_gone_with_its_connection() {
    let (mut first, _) = four_clients();
    let before = first.budget.charged();
    ask(&mut first, CONN, &["SUBSCRIBE", "a", "b", "c", "d", "e", "f"]);
    assert!(sent(&mut first).ends_with(":5\r\n-ERR busy: limit --max-subscriptions reached\r\n"));
    assert!(first.shared.subscribers.has(0) && first.shared.subscribers.any());
    let conn = first.connections.find(CONN).expect("it is there");
    assert!(conn.subscription_bytes > 500 && conn.content_bytes() >= conn.subscription_bytes);
    assert!(first.budget.charged() > before + 500);
    let mut conn = first.connections.remove(CONN).expect("it is there");
    first.budget.discharge(&conn);
    first.end_subscriptions(&conn);
    conn.queue.pop();
    assert!(first.shared.subscribers.has(0));
    assert!(!first.go_on_leaving());
    assert!(!first.shared.subscribers.any() && first.subscriptions.is_none());
}

#[test]
fn a_subscriber_that_takes_nothing_is_closed_and_counted_out() {
    let (mut first, _) = four_clients();
    ask(&mut first, OTHER, &["SUBSCRIBE", "a"]);
    let message = "m".repeat(100);
    let counts: String = (0..20)
        .map(|_| {
            ask(&mut first, CONN, &["PUBLISH", "a", &message]);
            sent(&mut first)
        })
        .collect();
    let taken = counts.matches(":1").count();
    assert!((5..15).contains(&taken) && counts.starts_with(":1") && counts.ends_with(":0\r\n"), "{counts}");
    assert!(first.connections.find(OTHER).expect("it is there").lags);
    assert!(first.dirty.contains(&OTHER));
}

#[test]
fn on_a_shards_port_sharded_channels_have_their_shard() {
    let (mut first, _) = four_clients();
    first.connections.find(CONN).expect("it is there").on_shard_port = true;
    let (here, there) = (key_of(&first, 0), key_of(&first, 1));
    for (words, expected) in [
        (["SSUBSCRIBE", &there].to_vec(), "-MOVED "),
        (["SPUBLISH", &there, "m"].to_vec(), "-MOVED "),
        (["SPUBLISH", &here, "m"].to_vec(), ":0"),
        (["SSUBSCRIBE", &here].to_vec(), "*3"),
        (["SUNSUBSCRIBE", &there].to_vec(), "*3"),
    ] {
        ask(&mut first, CONN, &words);
        let sent = sent(&mut first);
        assert!(sent.starts_with(expected), "{words:?}: {sent}");
    }
}

#[test]
fn a_hostile_pattern_takes_few_steps() {
    let (pattern, name) = ([&b"*"[..], &[b'a'; 2000], b"b"].concat(), [&[b'a'; 4000][..], b"b"].concat());
    assert!(!matches(&pattern, &name));
    let usual = [
        ("news.*.sport", "news.de.sport"),
        ("*[0-9]*", "channel:7:x"),
        ("a*b*c*d*e", "abcde"),
        ("*", "x"),
        ("", ""),
    ];
    for (pattern, name) in usual {
        assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
    }
    assert!(!matches(b"*", b""));
}
