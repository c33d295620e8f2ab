//! Pushes between pipelined answers: of one shard alone, and behind another's.

use super::*;
use crate::session::{Limits, Piece, Port, Protocol, Scratch, Session};
use crate::worker::connection::Connection;
use crate::worker::exchange::tests::core;
use torc_engine::slots::slot_of;

const CONN: ConnId = ConnId { index: 0, generation: 0 };

/// What [`core`] is, and a client of it that speaks `protocol`.
fn with_client(protocol: Protocol) -> Core {
    let mut core = core();
    let session = Session::new(Some(protocol), Port::Common);
    core.connections.insert(Connection::new(CONN, 1, session, 0));
    core
}

/// Parses up to `parts_max` parts of `input` and executes them. Says how many bytes were parsed.
fn execute(core: &mut Core, input: &[u8], parts_max: usize) -> usize {
    let (scratch, mut parts) = (Scratch::default(), Vec::new());
    let limits = Limits { ..core.settings.limits };
    let conn = core.connections.find(CONN).expect("it is there");
    let consumed = conn.session.parse(input, &scratch, 0, &limits, &mut parts, parts_max).consumed;
    let prepared: Vec<_> = parts
        .iter()
        .map(|part| match &part.work {
            Work::Keyed(command) => core.prepare(command.key),
            _ => Default::default(),
        })
        .collect();
    core.execute(CONN, &parts, &prepared);
    consumed
}

fn push(core: &mut Core, word: &str) -> bool {
    let mut buffer = Vec::new();
    core.push(CONN, Push::new(&[b"message", word.as_bytes()], &mut buffer))
}

fn sent(core: &mut Core) -> String {
    let output = &mut core.connections.find(CONN).expect("it is there").output;
    let mut sent = String::new();
    while let Some(piece) = output.take(Vec::new) {
        let Piece::Bytes(bytes) = piece else { panic!("short values are copied") };
        sent.push_str(&String::from_utf8_lossy(&bytes));
    }
    sent
}

fn resp(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    torc_proto::resp::compose::request(&mut bytes, words);
    bytes
}

/// A key of this shard, or of the other one.
fn key_of(core: &Core, shard: u16) -> String {
    let owned = |key: &String| core.shared.slots.owner(slot_of(key.as_bytes())) == shard;
    (0..).map(|number| format!("key{number}")).find(owned).expect("half of all keys")
}

#[test]
fn a_push_stands_between_answers_and_never_within_one() {
    let mut core = with_client(Protocol::Resp);
    let key = key_of(&core, 0);
    assert!(!push(&mut core, "in RESP2"));
    execute(&mut core, &resp(&["HELLO", "3"]), 1);
    sent(&mut core);
    assert!(push(&mut core, "first"));
    execute(&mut core, &resp(&["SET", &key, "v"]), 1);
    assert!(push(&mut core, "second"));
    let first = ">2\r\n$7\r\nmessage\r\n$5\r\nfirst\r\n+OK\r\n>2\r\n$7\r\nmessage\r\n$6\r\nsecond\r\n";
    assert_eq!(sent(&mut core), first);
    let requests = [resp(&["MGET", &key, &key, &key]), resp(&["PING"])].concat();
    assert_eq!(execute(&mut core, &requests, 1), 0);
    assert!(push(&mut core, "third"));
    let rest = &requests[execute(&mut core, &requests, 2)..];
    execute(&mut core, rest, 1);
    let array = "*3\r\n$1\r\nv\r\n$1\r\nv\r\n$1\r\nv\r\n>2\r\n$7\r\nmessage\r\n$5\r\nthird\r\n+PONG\r\n";
    assert_eq!(sent(&mut core), array);
}

#[test]
fn a_push_waits_behind_another_shards_answer() {
    let mut core = with_client(Protocol::Resp);
    let (here, there) = (key_of(&core, 0), key_of(&core, 1));
    execute(&mut core, &resp(&["HELLO", "3"]), 1);
    sent(&mut core);
    execute(&mut core, &[resp(&["GET", &there]), resp(&["GET", &here])].concat(), 2);
    assert!(push(&mut core, "behind"));
    assert_eq!(sent(&mut core), "");
    let conn = core.connections.find(CONN).expect("it is there");
    assert_eq!(conn.queue.len(), 3);
    assert!(conn.charged > 0);
    let mut conn = core.connections.take(CONN).expect("it is there");
    conn.pop();
    core.compose_ready(&mut conn);
    core.connections.put(conn);
    assert_eq!(sent(&mut core), "_\r\n>2\r\n$7\r\nmessage\r\n$6\r\nbehind\r\n");
}

#[test]
fn a_native_push_is_a_frame_of_its_own() {
    let mut core = with_client(Protocol::Native);
    assert!(push(&mut core, "word"));
    let sent = sent(&mut core);
    assert!(sent.ends_with("\u{7}\0\0\0message\u{4}\0\0\0word"), "{}", sent.escape_debug());
    assert!(core.dirty.contains(&CONN));
}

#[test]
fn who_does_not_take_what_waits_is_pushed_nothing_more() {
    let mut core = with_client(Protocol::Native);
    let pushed = (0..1000).take_while(|_| push(&mut core, &"w".repeat(100))).count();
    assert!((1..20).contains(&pushed), "{pushed}");
    core.connections.find(CONN).expect("it is there").phase = Phase::Closing;
    sent(&mut core);
    assert!(!push(&mut core, "closing"));
}
