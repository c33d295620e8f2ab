//! Two shards, one of them played by the test.

use super::*;
use crate::session::{Deadline, Limits, Port, Protocol, Scratch};
use crate::transport::ConnId;
use crate::worker::mail::Address;
use crate::worker::owned::{OwnedOutcome, OwnedPart};
use crate::worker::{BudgetConfig, CoreParts, Settings};
use std::sync::Arc;
use torc_engine::bytes::Bytes;
use torc_engine::command::{Found, Meta, Value};
use torc_engine::{Shard, ShardConfig};

const NOW: Millis = 1_790_000_000_000;
const CONN: ConnId = ConnId { index: 0, generation: 0 };

/// The first of two shards.
pub(in crate::worker) fn core() -> Core {
    let limits = Limits {
        key_bytes_max: 250,
        value_bytes_max: 1 << 20,
        value_bytes_inline: 1000,
        frame_bytes_max: 1000,
        arguments_max: 10,
    };
    let settings = Settings {
        limits,
        listeners: Vec::new(),
        connections_max: 1,
        output_bytes_max: 1000,
        queue_parts_max: 10,
        input_bytes_max: 1000,
        idle_ms_max: 0,
        slow_ms_max: 0,
        request_ms_max: 0,
        drain_ms_max: 0,
        outcomes_bytes_max: 0,
        budget: BudgetConfig { memory: 16 << 20, clients: 8 << 20, floor: 4 << 20, fixed: 0, lends: false },
    };
    let shard = Shard::new(ShardConfig { now: NOW, ..ShardConfig::new(16 << 20) }).expect("16 MiB");
    let shared = Arc::new(crate::simulation::shared(2));
    let mail = crate::worker::mail::Mail::among(2, u64::MAX).swap_remove(0);
    Core::new(CoreParts { shard, mail, shared, number: 0, settings, now: NOW })
}

/// A connection with `count` gets of a key that the other shard owns, each waiting to be begun.
fn connection(core: &mut Core, count: usize) -> Connection {
    let owned = |key: &String| core.shared.slots.owner(slot_of(key.as_bytes())) == 1;
    let key = (0..).map(|number| format!("key{number}")).find(owned).expect("half of all keys");
    let mut session = Session::new(Some(Protocol::Memcache), Port::Common);
    let (request, scratch) = (format!("get {key}\r\n"), Scratch::default());
    let mut parts = Vec::new();
    session.parse(request.as_bytes(), &scratch, NOW, &core.settings.limits, &mut parts, 1);
    let mut conn = Connection::new(CONN, 1, session, NOW);
    for _ in 0..count {
        conn.deferred.push_back(OwnedPart::copy(&parts[0], 0, &mut core.pool));
    }
    conn
}

/// One client cannot make the server hold as many long values as it may have requests waiting.
#[test]
fn answers_that_wait_for_one_before_them_are_bounded_by_their_bytes() {
    const VALUE: &[u8] = &[7; 10_000];
    let mut core = core();
    let max = 100_000;
    core.settings.output_bytes_max = max;
    let mut conn = connection(&mut core, 1000);
    core.advance(&mut conn);
    let begun = conn.queue.len();
    assert!((100..300).contains(&begun), "{begun}");
    core.connections.insert(conn);
    let deliver = |core: &mut Core, sequences: std::ops::Range<usize>| {
        let mut conn = core.connections.take(CONN).expect("it is there");
        for sequence in sequences {
            let found = Found { meta: Meta::default(), value: Value::Inline(Bytes::from(VALUE)) };
            let mut bytes = Vec::new();
            let answer = OwnedAnswer::of(Answer::Outcome(Outcome::Item(found)), &mut bytes);
            core.take_answer(&mut conn, sequence as u32, AskBytes::default(), &bytes, answer);
        }
        core.connections.put(conn);
    };
    // All but the first: nothing can be composed, and nothing more is asked for.
    deliver(&mut core, 1..begun);
    let mut conn = core.connections.take(CONN).expect("it is there");
    core.advance(&mut conn);
    assert_eq!(conn.queue.len(), begun);
    core.connections.put(conn);
    deliver(&mut core, 0..1);
    let mut conn = core.connections.take(CONN).expect("it is there");
    assert!(conn.queue.is_empty() && conn.output.bytes() > begun * VALUE.len());
    // Once the client has taken them: now it is known how long they are.
    while conn.output.take(Vec::new).is_some() {}
    core.advance(&mut conn);
    assert!((1..=max / VALUE.len() + 1).contains(&conn.queue.len()), "{}", conn.queue.len());
    core.connections.put(conn);
}

/// What this shard answers to the other.
fn answer(core: &mut Core, what: What, key: &[u8], value: &[u8], deadline: Deadline) -> Option<OwnedAnswer> {
    let from = Address { conn: CONN, sequence: 0 };
    let mut batch = Batch::of(Ask { deadline, ..Ask::plain(from, what) }, AskBytes { key, value, echo: &[] });
    let hash = core.shard.hash(0, key);
    core.answer(1, &mut batch, 0, hash);
    batch.answers.pop().and_then(|answered| answered.answer)
}

/// [N-EXT-6]: the time may pass between two shards.
#[test]
fn what_another_shard_asks_too_late_is_not_executed() {
    let mut core = core();
    let set = Op::Write(Write::set(&[]));
    let (in_time, over) = (Deadline::at(NOW), Deadline::at(NOW - 1));
    let late = answer(&mut core, What::Keyed(set), b"k", b"v", over);
    assert!(matches!(late, Some(OwnedAnswer::DeadlineExceeded)), "{late:?}");
    let get = What::Keyed(Op::Read(Default::default()));
    let miss = answer(&mut core, get, b"k", b"", Deadline::NONE);
    assert!(matches!(miss, Some(OwnedAnswer::Outcome(OwnedOutcome::Miss))), "{miss:?}");
    let stored = answer(&mut core, What::Keyed(set), b"k", b"v", in_time);
    assert!(matches!(stored, Some(OwnedAnswer::Outcome(OwnedOutcome::Stored { .. }))), "{stored:?}");
    answer(&mut core, What::UploadBegin { op: set, bytes: 3 }, b"long", b"", in_time);
    answer(&mut core, What::UploadData, b"", b"abc", Deadline::NONE);
    let late = answer(&mut core, What::UploadEnd(None), b"", b"", over);
    assert!(matches!(late, Some(OwnedAnswer::DeadlineExceeded)), "{late:?}");
    assert!(core.foreign_uploads.is_empty());
    let miss = answer(&mut core, get, b"long", b"", Deadline::NONE);
    assert!(matches!(miss, Some(OwnedAnswer::Outcome(OwnedOutcome::Miss))), "{miss:?}");
}
