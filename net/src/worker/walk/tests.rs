//! Walks of clients that are being closed.

use super::*;
use crate::metrics::CloseReason;
use crate::session::Protocol;
use crate::worker::testing::{CONN, NOW, exchange, execute, pair};
use torc_engine::command::{Command, Op, Outcome, Write};

/// Two shards with many keys each; a client of the first.
fn filled() -> (WorkerState, WorkerState) {
    let (mut first, mut second) = pair(Protocol::Memcache);
    for state in [&mut first, &mut second] {
        for number in 0..5 * STEP_KEYS {
            let key = number.to_le_bytes();
            let hash = state.shard.key_hash(&key);
            let set = Command { database: 0, key: &key, op: Op::Write(Write::set(b"v")) };
            assert!(matches!(state.shard.execute(&set, hash, NOW), Outcome::Stored { .. }));
        }
    }
    (first, second)
}

/// Ends a client as CLIENT KILL does while a send of it is under way.
fn kill(state: &mut WorkerState) {
    let conn = state.connections.find(CONN).expect("it is there");
    (conn.phase, conn.sending) = (Phase::Finishing(CloseReason::Killed), true);
}

/// A turn for the client, to which all that was composed is being sent; whether its dump goes on.
fn turn(state: &mut WorkerState) -> bool {
    let mut conn = state.connections.remove(CONN).expect("it is there");
    conn.output = Default::default();
    state.advance(&mut conn);
    let goes_on = conn.walk.is_some() || !conn.deferred.is_empty();
    state.connections.insert(*conn);
    goes_on
}

/// Where the walk is, and what it has found.
fn walked(state: &mut WorkerState) -> Option<(u64, usize)> {
    let conn = state.connections.find(CONN).expect("it is there");
    conn.walk.as_ref().map(|walk| (walk.cursor >> CURSOR_BITS, walk.found.len()))
}

#[test]
fn a_dump_ends_when_its_client_is_killed() {
    let (mut first, _) = filled();
    execute(&mut first, b"lru_crawler mgdump all\r\n", 1);
    assert_eq!(walked(&mut first), Some((0, 0)));
    kill(&mut first);
    assert!(!turn(&mut first));
}

#[test]
fn a_dump_ends_when_its_client_is_killed_during_a_step_of_another_shard() {
    let (mut first, mut second) = filled();
    execute(&mut first, b"lru_crawler mgdump all\r\n", 1);
    while walked(&mut first).is_some_and(|(shard, _)| shard == 0) {
        assert!(turn(&mut first));
    }
    turn(&mut first);
    assert!(first.connections.find(CONN).is_some_and(|conn| conn.asks_alone));
    kill(&mut first);
    exchange(&mut first, &mut second);
    assert_eq!(walked(&mut first), None);
    assert!(!turn(&mut first));
}
