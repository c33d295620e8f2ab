use super::*;
use crate::session::Protocol;
use crate::transport::sim::{Faults, Network, Sim};
use crate::worker::testing::{CONN, NOW, add_client_at, exchange, execute, key_of, pair, resp, with_client};
use torc_engine::command::{Command, Found, Op, Outcome, Read, Value, Write};
use torc_engine::segments::Lent;

/// How many a walk finds that is over in one turn.
fn hoarders(state: &mut WorkerState, overdrawn: bool) -> usize {
    let mut hunt = state.budget.begin_hunt(state.connections.places(), state.now);
    let measure = Measure { overdrawn, least: HOARD_BYTES, ..state.measure() };
    assert!(state.look_for_hoarders(&mut hunt, measure));
    hunt.found.len()
}

/// With few processors it may be a while until the other shard has its turn.
#[test]
fn a_client_whose_value_waits_for_another_shard_is_no_hoarder() {
    let (mut asker, mut owner) = pair(Protocol::Resp);
    let set = resp(&["SET", &key_of(&asker, 1), &"v".repeat(50_000)]);
    let parsed = execute(&mut asker, &set[..1000], 2);
    let conn = asker.connections.find(CONN).expect("it is there");
    conn.input.append(&set[parsed..][..2 * HOARD_BYTES], &mut asker.pool);
    conn.input_needed = set.len();
    asker.now += LOOK_MS;
    assert!(hoarders(&mut asker, false) == 0, "it can do nothing about it");
    assert_eq!(hoarders(&mut asker, true), 1, "memory is overdrawn");
    asker.publish_mail();
    exchange(&mut asker, &mut owner);
    asker.now += LOOK_MS;
    assert_eq!(hoarders(&mut asker, false), 1, "nothing is under way any more");
}

/// A slow medium, or another shard, may take seconds for it. Who takes no answers waits for itself.
#[test]
fn a_client_that_waits_for_the_server_is_no_hoarder() {
    let (mut asker, mut owner) = pair(Protocol::Resp);
    let get = resp(&["GET", &key_of(&asker, 1)]);
    execute(&mut asker, &get, 1);
    let conn = asker.connections.find(CONN).expect("it is there");
    conn.input.append(&[b'x'; 2 * HOARD_BYTES], &mut asker.pool);
    conn.input_needed = usize::MAX;
    assert!(!conn.queue.is_empty());
    assert_eq!([false, true].map(|overdrawn| hoarders(&mut asker, overdrawn)), [0, 1], "another shard");
    asker.publish_mail();
    exchange(&mut asker, &mut owner);
    let conn = asker.connections.find(CONN).expect("it is there");
    assert!(conn.queue.is_empty() && !conn.output.is_empty());
    assert_eq!(hoarders(&mut asker, false), 0, "its answer is held");
    asker.connections.find(CONN).expect("it is there").sending = true;
    assert_eq!(hoarders(&mut asker, false), 1, "it is not taken");
    let conn = asker.connections.find(CONN).expect("it is there");
    drop((conn.output.take(Vec::new), std::mem::take(&mut conn.sending)));
    assert_eq!(hoarders(&mut asker, false), 1, "its request is not whole");
    asker.connections.find(CONN).expect("it is there").input_needed = 0;
    assert_eq!(hoarders(&mut asker, false), 0, "its requests are not parsed");
}

fn id(place: usize) -> ConnId {
    ConnId { index: place as u32, generation: 0 }
}

/// A shard with so many clients, those at some places hoarders, and a transport that knows none of them.
fn crowd(clients: usize, hoarders: &[usize]) -> (WorkerState, Sim) {
    let mut state = with_client(Protocol::Resp);
    (1..clients).for_each(|place| add_client_at(&mut state, id(place), Protocol::Resp));
    for place in hoarders {
        let conn = state.connections.find(id(*place)).expect("it is there");
        conn.input.append(&[b'x'; 2 * HOARD_BYTES], &mut state.pool);
        conn.input_needed = 3 * HOARD_BYTES;
        state.budget.charge(conn);
    }
    state.now += SHORT_LOOK_MS;
    (state, Sim::new(Network::new(1, Faults::default(), 100), 0, 1, 100))
}

/// Has clients hold so many sixteenths of what they may, and closes hoarders.
fn close(state: &mut WorkerState, transport: &mut Sim, sixteenths: usize) {
    let held = state.budget.grant() / 16 * sixteenths;
    state.budget.common = held.saturating_sub(state.budget.connections);
    state.close_hoarders(transport);
}

fn open(state: &mut WorkerState, places: &[usize]) -> Vec<usize> {
    let is_open =
        |place: &usize| state.connections.find(id(*place)).is_some_and(|conn| conn.phase == Phase::Open);
    places.iter().copied().filter(is_open).collect()
}

#[test]
fn a_turn_looks_at_so_many_connections_alone_and_a_walk_at_all() {
    let last = 3 * HUNT_PLACES - 2;
    let (mut state, _) = crowd(last + 1, &[0, last]);
    let mut hunt = state.budget.begin_hunt(state.connections.places(), state.now);
    let mut turns = 0;
    loop {
        let before = state.connections.looks();
        let is_over = state.look_for_hoarders(&mut hunt, state.measure());
        assert!(state.connections.looks() - before <= HUNT_PLACES as u64);
        turns += 1;
        if is_over {
            break;
        }
    }
    let found: Vec<_> = hunt.found.iter().map(|(_, id)| *id).collect();
    assert_eq!((turns, found), (3, vec![CONN, id(last)]));
}

/// As memory comes and goes, no walk may be over for long.
#[test]
fn a_walk_goes_on_where_the_last_one_was_dropped() {
    let hoarders = [0, HUNT_PLACES, 3 * HUNT_PLACES - 1];
    let (mut state, mut transport) = crowd(3 * HUNT_PLACES, &hoarders);
    for place in hoarders {
        state.connections.find(id(place)).expect("it is there").moved = HOARD_BYTES;
    }
    for dropped in 1..=3 {
        close(&mut state, &mut transport, 14);
        assert!(!state.may_wait(), "a walk is under way");
        close(&mut state, &mut transport, 8);
        assert!(state.may_wait(), "there is memory");
        let moved = |state: &mut WorkerState| {
            hoarders.map(|place| state.connections.find(id(place)).expect("it is there").moved)
        };
        assert_eq!(moved(&mut state).iter().filter(|moved| **moved == 0).count(), dropped);
        close(&mut state, &mut transport, 14);
        assert!(state.may_wait(), "it is too early for another");
        state.now += SHORT_LOOK_MS;
    }
    assert_eq!(open(&mut state, &hoarders), hoarders);
    for turn in 1..=3 {
        close(&mut state, &mut transport, 14);
        assert_eq!(state.may_wait(), turn == 3);
    }
    assert_eq!(open(&mut state, &hoarders), []);
}

#[test]
fn who_moves_while_others_are_looked_at_is_closed_only_if_memory_is_overdrawn() {
    for (sixteenths, left_open) in [(14, vec![0]), (19, vec![])] {
        let hoarders = [0, 2 * HUNT_PLACES - 1];
        let (mut state, mut transport) = crowd(2 * HUNT_PLACES, &hoarders);
        close(&mut state, &mut transport, sixteenths);
        state.connections.find(CONN).expect("it is there").moved += HOARD_BYTES;
        close(&mut state, &mut transport, sixteenths);
        assert_eq!(open(&mut state, &hoarders), left_open);
    }
}

/// What they were charged with is free already.
#[test]
fn who_is_gone_when_a_walk_is_over_does_not_count_as_being_closed() {
    for is_gone in [false, true] {
        let last = 2 * HUNT_PLACES - 1;
        let (mut state, mut transport) = crowd(2 * HUNT_PLACES, &[last]);
        let grant = state.budget.grant();
        let conn = state.connections.find(CONN).expect("it is there");
        conn.phase = Phase::Closing;
        conn.charged = grant / 2;
        state.budget.connections += grant / 2;
        close(&mut state, &mut transport, 14);
        if is_gone {
            let conn = state.connections.remove(CONN).expect("it is there");
            state.budget.discharge(&conn);
        }
        close(&mut state, &mut transport, 14);
        assert_eq!(open(&mut state, &[last]).is_empty(), is_gone);
    }
}

/// A part of a long value.
fn lent(shard: &mut torc_engine::Shard, key: &str) -> Lent {
    let (key, hash) = (key.as_bytes(), shard.hash(0, key.as_bytes()));
    let write = Op::Write(Write::set(&[7; 500_000]));
    shard.execute(&Command { database: 0, key, op: write }, hash, NOW);
    let read = Op::Read(Read::default());
    match shard.execute(&Command { database: 0, key, op: read }, hash, NOW) {
        Outcome::Item(Found { value: Value::Chained(chain), .. }) => {
            chain.lend(0..10_000).next().expect("10,000 bytes")
        }
        _ => panic!("it is long, and there"),
    }
}

/// They hold few bytes, and would be the last otherwise.
#[test]
fn while_pins_are_short_those_that_pin_are_closed_first_and_alone() {
    for takes in [false, true] {
        let all: Vec<_> = (1..2 * HUNT_PLACES).collect();
        let (mut state, mut transport) = crowd(2 * HUNT_PLACES, &all);
        let pins: Vec<_> = (0..100)
            .map_while(|key| {
                (!state.shard.is_short_of_pins()).then(|| lent(&mut state.shard, &key.to_string()))
            })
            .collect();
        assert!(state.shard.is_short_of_pins(), "{} values are lent", pins.len());
        state.ticks = LENT_MS;
        let lent = lent(&mut state.shard, "another");
        let conn = state.connections.find(CONN).expect("it is there");
        conn.output.lend(lent);
        conn.sending = true;
        assert!(conn.has_lent() && conn.content_bytes() < HOARD_BYTES);
        state.budget.grant = 2 * state.budget.used();
        state.close_hoarders(&mut transport);
        state.connections.find(CONN).expect("it is there").sent_at = if takes { LENT_MS } else { 0 };
        state.close_hoarders(&mut transport);
        assert_eq!(open(&mut state, &[0]).is_empty(), !takes);
        assert_eq!(open(&mut state, &all).len(), all.len());
    }
}

#[test]
fn those_that_rank_highest_are_remembered() {
    let mut ranked: Vec<_> = (0..3 * HUNTED_MAX).map(|place| ((false, false, place), id(place))).collect();
    ranked[0].0.0 = true;
    keep_most(&mut ranked);
    let least = ranked.iter().filter(|(rank, _)| !rank.0).map(|(rank, _)| rank.2).min();
    assert_eq!((ranked.len(), least), (HUNTED_MAX, Some(2 * HUNTED_MAX + 1)));
}
