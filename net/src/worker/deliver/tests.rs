//! Two shards, one of them played by the test.

use super::*;
use crate::session::{Answer, Deadline, Port, Protocol, Scratch, Session};
use crate::worker::mail::{Address, Ask, Mail};
use crate::worker::owned::{OwnedOutcome, OwnedPart};
use crate::worker::testing::{CONN, NOW, execute, key_of, resp, sent, state_of, with_client};
use torc_engine::ShardConfig;
use torc_engine::bytes::Bytes;
use torc_engine::command::{Found, Meta, Op, Outcome, Value, Write};

/// A connection with `count` gets of a key that the other shard owns, each waiting to be begun.
fn connection(state: &mut WorkerState, count: usize) -> Connection {
    let key = key_of(state, 1);
    let mut session = Session::new(Some(Protocol::Memcache), Port::Common);
    let (request, scratch) = (format!("get {key}\r\n"), Scratch::default());
    let mut parts = Vec::new();
    session.parse(request.as_bytes(), &scratch, NOW, &state.settings.limits, &mut parts, 1);
    let mut conn = Connection::new(CONN, 1, session, NOW);
    for _ in 0..count {
        conn.deferred.push_back(OwnedPart::copy(&parts[0], 0, &mut state.pool));
    }
    conn
}

/// One client cannot make the server hold as many long values as it may have requests waiting.
#[test]
fn answers_that_wait_for_one_before_them_are_bounded_by_their_bytes() {
    const VALUE: &[u8] = &[7; 10_000];
    let mut state = state_of(2);
    let max = 100_000;
    state.settings.output_bytes_max = max;
    let mut conn = connection(&mut state, 1000);
    state.advance(&mut conn);
    let begun = conn.queue.len();
    assert!((100..300).contains(&begun), "{begun}");
    state.connections.insert(conn);
    let deliver = |state: &mut WorkerState, sequences: std::ops::Range<usize>| {
        let mut conn = state.connections.take(CONN).expect("it is there");
        for sequence in sequences {
            let found = Found { meta: Meta::default(), value: Value::Inline(Bytes::from(VALUE)) };
            let mut bytes = Vec::new();
            let answer = OwnedAnswer::of(Answer::Outcome(Outcome::Item(found)), &mut bytes, 0);
            state.take_answer(&mut conn, sequence as u32, AskBytes::default(), &bytes, answer);
        }
        state.connections.put(conn);
    };
    // All but the first: nothing can be composed, and nothing more is asked for.
    deliver(&mut state, 1..begun);
    let mut conn = state.connections.take(CONN).expect("it is there");
    state.advance(&mut conn);
    assert_eq!(conn.queue.len(), begun);
    state.connections.put(conn);
    deliver(&mut state, 0..1);
    let mut conn = state.connections.take(CONN).expect("it is there");
    assert!(conn.queue.is_empty() && conn.output.bytes() > begun * VALUE.len());
    // Once the client has taken them: now it is known how long they are.
    while conn.output.take(Vec::new).is_some() {}
    state.advance(&mut conn);
    assert!((1..=max / VALUE.len() + 1).contains(&conn.queue.len()), "{}", conn.queue.len());
    state.connections.put(conn);
}

/// What this shard answers to the other.
fn answer(
    state: &mut WorkerState,
    what: What,
    key: &[u8],
    value: &[u8],
    deadline: Deadline,
) -> Option<OwnedAnswer> {
    let from = Address { conn: CONN, sequence: 0 };
    let ask = Ask { deadline, hash: state.shard.hash(0, key), ..Ask::plain(from, what) };
    let mut batch = Batch::of(ask, AskBytes { key, value, echo: &[] });
    state.answer(1, &mut batch, 0);
    batch.owned.pop().map(|(answer, _)| answer)
}

/// [N-EXT-6]: the time may pass between two shards.
#[test]
fn what_another_shard_asks_too_late_is_not_executed() {
    let mut state = state_of(2);
    let set = Op::Write(Write::set(&[]));
    let (in_time, over) = (Deadline::at(NOW), Deadline::at(NOW - 1));
    let late = answer(&mut state, What::Keyed(set), b"k", b"v", over);
    assert!(matches!(late, Some(OwnedAnswer::DeadlineExceeded)), "{late:?}");
    let get = What::Keyed(Op::Read(Default::default()));
    let miss = answer(&mut state, get, b"k", b"", Deadline::NONE);
    assert!(matches!(miss, Some(OwnedAnswer::Outcome(OwnedOutcome::Miss))), "{miss:?}");
    let stored = answer(&mut state, What::Keyed(set), b"k", b"v", in_time);
    assert!(matches!(stored, Some(OwnedAnswer::Outcome(OwnedOutcome::Stored { .. }))), "{stored:?}");
    answer(&mut state, What::UploadBegin { op: set, bytes: 3 }, b"long", b"", in_time);
    answer(&mut state, What::UploadData, b"", b"abc", Deadline::NONE);
    let late = answer(&mut state, What::UploadEnd(None), b"", b"", over);
    assert!(matches!(late, Some(OwnedAnswer::DeadlineExceeded)), "{late:?}");
    assert!(state.foreign_uploads.is_empty());
    let miss = answer(&mut state, get, b"long", b"", Deadline::NONE);
    assert!(matches!(miss, Some(OwnedAnswer::Outcome(OwnedOutcome::Miss))), "{miss:?}");
}

/// The answers of another shard, played by the test: nothing is there.
fn answer_misses(state: &mut WorkerState, sequences: &[u32]) {
    for &sequence in sequences {
        let mut conn = state.connections.take(CONN).expect("it is there");
        let miss = (OwnedAnswer::Outcome(OwnedOutcome::Miss), None);
        state.take_answer(&mut conn, sequence, AskBytes::default(), &[], miss);
        state.connections.put(conn);
    }
}

/// What is composed ahead of its turn must have the words of its turn: here the null of another protocol version, a
/// count over several keys, and an answer that is not wanted.
#[test]
fn answers_behind_another_shards_are_those_of_their_turn() {
    let mut state = with_client(Protocol::Resp);
    state.settings.output_bytes_max = 100_000;
    let (here, there) = (key_of(&state, 0), key_of(&state, 1));
    let requests: [&[&str]; 10] = [
        &["GET", &there],
        &["GET", &here],
        &["HELLO", "3"],
        &["GET", &here],
        &["GET", &there],
        &["SET", &here, "v"],
        &["EXISTS", &here, &there, &here],
        &["CLIENT", "REPLY", "SKIP"],
        &["GET", &here],
        &["STRLEN", &here],
    ];
    let input: Vec<u8> = requests.iter().flat_map(|words| resp(words)).collect();
    assert_eq!(execute(&mut state, &input, 100), input.len());
    assert_eq!(sent(&mut state), "");
    let conn = state.connections.find(CONN).expect("it is there");
    let asked = conn.queue.asked();
    assert_eq!(asked.len(), 3);
    answer_misses(&mut state, &[asked[2], asked[0], asked[1]]);
    let sent = sent(&mut state);
    let (before, behind) = sent.split_once("%7").expect("the answer to HELLO 3");
    assert_eq!(before, "$-1\r\n$-1\r\n");
    assert!(behind.ends_with("_\r\n_\r\n+OK\r\n:2\r\n:1\r\n"), "{behind}");
}

/// One send for a pipeline, though its first answers are there before its last ones.
#[test]
fn answers_wait_for_what_is_under_way_and_for_nothing_that_comes_later() {
    let mut state = with_client(Protocol::Resp);
    state.settings.output_bytes_max = 100_000;
    let (here, there) = (key_of(&state, 0), key_of(&state, 1));
    let pipeline = [resp(&["GET", &here]), resp(&["GET", &there]), resp(&["GET", &here])].concat();
    execute(&mut state, &pipeline, 100);
    let holds = |state: &mut WorkerState| state.connections.find(CONN).expect("it is there").holds_answers();
    let asked = |state: &mut WorkerState| state.connections.find(CONN).expect("it is there").queue.asked();
    assert!(holds(&mut state), "the first answer waits for the second");
    let first = asked(&mut state);
    execute(&mut state, &pipeline, 100);
    assert!(holds(&mut state));
    answer_misses(&mut state, &first);
    assert!(!holds(&mut state), "four answers do not wait for what came behind them");
    assert_eq!(sent(&mut state), "$-1\r\n".repeat(4));
    assert!(!holds(&mut state), "there is nothing to hold");
    let last = asked(&mut state);
    answer_misses(&mut state, &last);
    assert!(!holds(&mut state));
    assert_eq!(sent(&mut state), "$-1\r\n".repeat(2));
}

#[test]
fn who_goes_on_when_there_are_places_again_is_charged_for_what_it_has_asked() {
    let mut state = with_client(Protocol::Resp);
    state.settings.output_bytes_max = usize::MAX;
    let mut mails = Mail::among(2, u64::MAX);
    let mut other = mails.pop().unwrap();
    state.mail = mails.pop().unwrap();
    let more_than_places = 5000;
    let input = resp(&["GET", &key_of(&state, 1)]).repeat(more_than_places);
    execute(&mut state, &input, more_than_places);
    assert!(!state.connections.find(CONN).unwrap().deferred.is_empty());
    state.publish_mail();
    let lane = other.lane(0).unwrap();
    while let Some(batch) = lane.next_asked() {
        lane.answer(batch);
    }
    other.publish();
    state.read_mail();
    let conn = state.connections.find(CONN).unwrap();
    assert!(conn.deferred.is_empty());
    assert_eq!(conn.charged, conn.bytes_held());
}

/// So a pipelined read is answered with "busy" only while clients hold three eighths of the segments.
#[test]
fn a_long_value_is_refused_for_later_only_while_three_eighths_of_the_segments_are_pinned() {
    const BYTES: usize = 600 << 10;
    let mut state = state_of(2);
    let set = Op::Write(Write::set(&[]));
    let keys: Vec<_> = (0..12).map(|number| format!("long{number}")).collect();
    for key in &keys {
        answer(
            &mut state,
            What::UploadBegin { op: set, bytes: BYTES as u64 },
            key.as_bytes(),
            b"",
            Deadline::NONE,
        );
        answer(&mut state, What::UploadData, b"", &vec![7; BYTES], Deadline::NONE);
        let stored = answer(&mut state, What::UploadEnd(None), b"", b"", Deadline::NONE);
        assert!(matches!(stored, Some(OwnedAnswer::Outcome(OwnedOutcome::Stored { .. }))), "{stored:?}");
    }
    let get = |state: &mut WorkerState, key: &str| {
        let from = Address { conn: CONN, sequence: 0 };
        let what = What::Keyed(Op::Read(Default::default()));
        let ask = Ask { hash: state.shard.hash(0, key.as_bytes()), ..Ask::plain(from, what) };
        let mut batch = Batch::of(ask, AskBytes { key: key.as_bytes(), ..AskBytes::default() });
        state.answer(1, &mut batch, 0);
        batch.owned.pop().expect("an answer that is not words")
    };
    state.shard.maintain(NOW + 1000, 0);
    let bytes = state.shard.stats().bytes_segments_max.read();
    let segments = bytes as usize / ShardConfig::new(16 << 20).segment_bytes;
    let (mut held, mut later) = (Vec::new(), 0);
    for key in &keys {
        let out_of_pins = 8 * state.shard.held().0 >= 3 * segments;
        let (answer, chain) = get(&mut state, key);
        assert_eq!(matches!(answer, OwnedAnswer::Later), out_of_pins, "{answer:?}");
        assert_eq!(chain.is_some(), !out_of_pins);
        later += usize::from(out_of_pins);
        held.extend(chain);
    }
    assert!(later > 0 && !held.is_empty(), "{later} of {}", keys.len());
    held.drain(..).for_each(|chain| state.discard(Some(chain)));
    let (answer, chain) = get(&mut state, &keys[0]);
    assert!(matches!(answer, OwnedAnswer::Outcome(OwnedOutcome::Item(_))), "{answer:?}");
    state.discard(chain);
}

/// Another shard cannot answer yet, and is asked again later, perhaps in another way.
#[test]
fn answers_do_not_wait_for_what_was_taken_back() {
    let mut state = state_of(2);
    let mut conn = connection(&mut state, 1);
    state.advance(&mut conn);
    conn.output.tail().extend_from_slice(b"an answer");
    assert!(conn.holds_answers(), "they are sent together");
    assert!(conn.queue.take_back().is_some());
    assert!(!conn.holds_answers());
}
