//! Pushes between pipelined answers: of one shard alone, and behind another's.

use super::*;
use crate::session::Protocol;
use crate::worker::testing::{CONN, exchange, execute, key_of, pair, resp, sent, with_client};

fn push(state: &mut WorkerState, word: &str) -> bool {
    let mut buffer = Vec::new();
    state.push(CONN, Push::new(&[b"message", word.as_bytes()], &mut buffer))
}

#[test]
fn a_push_stands_between_answers_and_never_within_one() {
    let mut state = with_client(Protocol::Resp);
    let key = key_of(&state, 0);
    assert!(!push(&mut state, "in RESP2"));
    execute(&mut state, &resp(&["HELLO", "3"]), 1);
    sent(&mut state);
    assert!(push(&mut state, "first"));
    execute(&mut state, &resp(&["SET", &key, "v"]), 1);
    assert!(push(&mut state, "second"));
    let first = ">2\r\n$7\r\nmessage\r\n$5\r\nfirst\r\n+OK\r\n>2\r\n$7\r\nmessage\r\n$6\r\nsecond\r\n";
    assert_eq!(sent(&mut state), first);
    let requests = [resp(&["MGET", &key, &key, &key]), resp(&["PING"])].concat();
    assert_eq!(execute(&mut state, &requests, 1), 0);
    assert!(push(&mut state, "third"));
    let rest = &requests[execute(&mut state, &requests, 2)..];
    execute(&mut state, rest, 1);
    let array = "*3\r\n$1\r\nv\r\n$1\r\nv\r\n$1\r\nv\r\n>2\r\n$7\r\nmessage\r\n$5\r\nthird\r\n+PONG\r\n";
    assert_eq!(sent(&mut state), array);
}

#[test]
fn a_push_waits_behind_another_shards_answer() {
    let mut state = with_client(Protocol::Resp);
    let (here, there) = (key_of(&state, 0), key_of(&state, 1));
    execute(&mut state, &resp(&["HELLO", "3"]), 1);
    sent(&mut state);
    execute(&mut state, &[resp(&["GET", &there]), resp(&["GET", &here])].concat(), 2);
    assert!(push(&mut state, "behind"));
    assert_eq!(sent(&mut state), "");
    let conn = state.connections.find(CONN).expect("it is there");
    assert_eq!(conn.queue.len(), 3);
    assert!(conn.charged > 0);
    let mut conn = state.connections.take(CONN).expect("it is there");
    conn.queue.pop();
    state.compose_ready(&mut conn);
    state.connections.put(conn);
    assert_eq!(sent(&mut state), "_\r\n>2\r\n$7\r\nmessage\r\n$6\r\nbehind\r\n");
}

/// It was taken for another part that waits, and the walk was never answered.
#[test]
fn a_walk_goes_on_with_a_push_behind_it() {
    let (mut first, mut second) = pair(Protocol::Resp);
    first.settings.subscriber_bytes_max = 1 << 20;
    execute(&mut first, &resp(&["HELLO", "3"]), 1);
    sent(&mut first);
    execute(&mut first, &resp(&["KEYS", "*"]), 1);
    let mut conn = first.connections.take(CONN).expect("it is there");
    first.advance(&mut conn);
    assert!(!conn.queue.is_empty(), "the other shard is asked");
    first.connections.put(conn);
    assert!(push(&mut first, "behind"));
    for _ in 0..5 {
        exchange(&mut first, &mut second);
        let mut conn = first.connections.take(CONN).expect("it is there");
        first.advance(&mut conn);
        first.connections.put(conn);
    }
    let sent = sent(&mut first);
    assert!(sent.contains("*0\r\n") && sent.contains("behind"), "{sent}");
}

#[test]
fn a_native_push_is_a_frame_of_its_own() {
    let mut state = with_client(Protocol::Native);
    assert!(push(&mut state, "word"));
    let sent = sent(&mut state);
    assert!(sent.ends_with("\u{7}\0\0\0message\u{4}\0\0\0word"), "{}", sent.escape_debug());
    assert!(state.dirty.contains(&CONN));
}

#[test]
fn who_does_not_take_what_waits_is_pushed_nothing_more() {
    let mut state = with_client(Protocol::Native);
    let pushed = (0..1000).take_while(|_| push(&mut state, &"w".repeat(100))).count();
    assert!((1..20).contains(&pushed), "{pushed}");
    state.connections.find(CONN).expect("it is there").phase = Phase::Closing;
    sent(&mut state);
    assert!(!push(&mut state, "closing"));
}
