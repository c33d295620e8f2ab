//! One shard of a server without transport and clock, for tests that look into its worker.

use super::connection::Connection;
use super::siblings::Siblings;
use super::{BudgetConfig, Settings, WorkerParts, WorkerState};
use crate::session::{Limits, Piece, Port, Protocol, Scratch, Session, Work};
use crate::shared::Shared;
use crate::transport::ConnId;
use crate::worker::mail::Mail;
use std::sync::Arc;
use torc_engine::{Shard, ShardConfig};
use torc_proto::slot::slot_of;

pub(super) const NOW: u64 = 1_790_000_000_000;
pub(super) const CONN: ConnId = ConnId { index: 0, generation: 0 };

/// The first of so many shards, with small limits and without time-outs.
pub(super) fn state_of(shards: u16) -> WorkerState {
    let shared = Arc::new(crate::simulation::shared(shards));
    state_at(0, Mail::among(shards, u64::MAX).swap_remove(0), shared)
}

/// Two shards that can speak with each other. The first has a client of `protocol`.
pub(super) fn pair(protocol: Protocol) -> (WorkerState, WorkerState) {
    pair_with(protocol, 0)
}

/// As [`pair`], with so many bytes for the batches between them.
pub(super) fn pair_with(protocol: Protocol, mail_bytes: u64) -> (WorkerState, WorkerState) {
    let shared = Arc::new(crate::simulation::shared(2));
    let mut mails = Mail::among(2, mail_bytes);
    let mut states = [1, 0].map(|number| state_at(number, mails.pop().expect("two"), shared.clone()));
    add_client(&mut states[1], protocol);
    let [second, first] = states;
    (first, second)
}

fn state_at(number: u16, mail: Mail, shared: Arc<Shared>) -> WorkerState {
    let limits = Limits {
        key_bytes_max: 250,
        value_bytes_max: 1 << 20,
        value_bytes_inline: 1000,
        frame_bytes_max: 1000,
        arguments_max: 10,
        databases: 16,
        makes_durable: true,
        has_password: false,
        debug_commands: false,
    };
    let settings = Settings {
        limits,
        listeners: Vec::new(),
        output_bytes_max: 1000,
        subscriber_bytes_max: 1000,
        subscriptions_max: 5,
        tracking_keys_max: 100,
        queue_parts_max: 10,
        room_bytes_min: 1000,
        input_bytes_max: 1000,
        slow_ms_max: 0,
        request_ms_max: 0,
        auth_ms_max: 0,
        drain_ms_max: 0,
        spin_ns: 0,
        pairs_max: 1,
        ring_bytes: 0,
        outcomes_bytes_max: 0,
        scripts: torc_lua::Limits { memory_bytes: 2 << 20, time: std::time::Duration::from_millis(100) },
        budget: BudgetConfig { memory: 16 << 20, clients: 8 << 20, floor: 4 << 20, fixed: 0, lends: false },
    };
    let config = ShardConfig { shard: number, now: NOW, ..ShardConfig::new(16 << 20) };
    let shard = Shard::new(config).expect("16 MiB");
    WorkerState::new(WorkerParts {
        shard,
        mail,
        siblings: Siblings::default(),
        shared,
        number,
        settings,
        now: NOW,
        tier: None,
        readers: None,
    })
}

/// The first of two shards, and a client of it that speaks `protocol`.
pub(super) fn with_client(protocol: Protocol) -> WorkerState {
    let mut state = state_of(2);
    add_client(&mut state, protocol);
    state
}

fn add_client(state: &mut WorkerState, protocol: Protocol) {
    add_client_at(state, CONN, protocol);
}

pub(super) fn add_client_at(state: &mut WorkerState, id: ConnId, protocol: Protocol) {
    let session = Session::new(Some(protocol), Port::Common);
    state.connections.insert(Connection::new(id, u64::from(id.index) + 1, session, 0));
}

/// Parses up to `parts_max` parts of `input` and executes them. Says how many bytes were parsed.
pub(super) fn execute(state: &mut WorkerState, input: &[u8], parts_max: usize) -> usize {
    execute_in(state, 0, input, parts_max)
}

/// As [`execute`], in a database.
pub(super) fn execute_in(state: &mut WorkerState, database: u16, input: &[u8], parts_max: usize) -> usize {
    execute_of(state, CONN, database, (input, parts_max))
}

/// As [`execute_in`], for any client.
pub(super) fn execute_of(
    state: &mut WorkerState,
    id: ConnId,
    database: u16,
    (input, parts_max): (&[u8], usize),
) -> usize {
    let (scratch, mut parts) = (Scratch::default(), Vec::new());
    let limits = Limits { ..state.settings.limits };
    let conn = state.connections.find(id).expect("it is there");
    let consumed = conn.session.parse(input, &scratch, 0, &limits, &mut parts, parts_max).consumed;
    for part in &mut parts {
        match &mut part.work {
            Work::Keyed(command) | Work::ValueBegin { command, .. } => command.database = database,
            Work::Scan { database: scanned, .. } => *scanned = database,
            _ => {}
        }
    }
    let prepared: Vec<_> = parts
        .iter()
        .map(|part| match &part.work {
            Work::Keyed(command) => state.prepare(command),
            _ => Default::default(),
        })
        .collect();
    state.execute(id, &parts, &prepared);
    consumed
}

/// Lets two shards read each other's mail until nothing is left of it.
pub(super) fn exchange(first: &mut WorkerState, second: &mut WorkerState) {
    for _ in 0..3 {
        for state in [&mut *first, &mut *second] {
            state.read_mail();
            state.publish_mail();
        }
    }
}

/// A turn of a shard, without its transport.
pub(super) fn turn(state: &mut WorkerState) {
    state.begin_turn(0, state.now);
    state.read_mail();
    state.go_on_with_transactions();
    for id in std::mem::take(&mut state.dirty) {
        let Some(mut conn) = state.connections.take(id) else { continue };
        conn.dirty = false;
        if !conn.marks.stalled {
            state.advance(&mut conn);
        }
        state.connections.put(conn);
    }
    state.tell_news(None);
    state.publish_mail();
}

/// Takes what is composed for the client.
pub(super) fn sent(state: &mut WorkerState) -> String {
    sent_to(state, CONN)
}

pub(super) fn sent_to(state: &mut WorkerState, id: ConnId) -> String {
    let output = &mut state.connections.find(id).expect("it is there").output;
    let mut sent = String::new();
    while let Some(piece) = output.take(Vec::new) {
        let Piece::Bytes(bytes) = piece else { panic!("short values are copied") };
        sent.push_str(&String::from_utf8_lossy(&bytes));
    }
    sent
}

pub(super) fn resp(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    torc_proto::resp::compose::request(&mut bytes, words);
    bytes
}

/// A key of this shard, or of the other one.
pub(super) fn key_of(state: &WorkerState, shard: u16) -> String {
    let owned = |key: &String| state.shared.slots.owner(slot_of(key.as_bytes())) == shard;
    (0..).map(|number| format!("key{number}")).find(owned).expect("half of all keys")
}
