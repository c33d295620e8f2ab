use super::*;
use crate::session::Protocol;
use crate::worker::testing::{CONN, add_client_at, exchange, execute, key_of, pair, resp, with_client};

/// How many a walk finds that is over in one turn.
fn hoarders(state: &mut WorkerState, overdrawn: bool) -> usize {
    let mut hunt = state.budget.begin_hunt(state.now);
    assert!(state.look_for_hoarders(&mut hunt, overdrawn, HOARD_BYTES));
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
    asker.now += LOOK_MS;
    assert!(hoarders(&mut asker, false) == 0, "it can do nothing about it");
    assert_eq!(hoarders(&mut asker, true), 1, "memory is overdrawn");
    asker.publish_mail();
    exchange(&mut asker, &mut owner);
    asker.now += LOOK_MS;
    assert_eq!(hoarders(&mut asker, false), 1, "nothing is under way any more");
}

#[test]
fn a_turn_looks_at_so_many_connections_alone_and_a_walk_at_all() {
    let mut state = with_client(Protocol::Resp);
    let clients = 3 * HUNT_PLACES - 1;
    for index in 1..clients as u32 {
        add_client_at(&mut state, ConnId { index, generation: 0 }, Protocol::Resp);
    }
    let last = ConnId { index: clients as u32 - 1, generation: 0 };
    for id in [CONN, last] {
        let conn = state.connections.find(id).expect("it is there");
        conn.input.append(&[b'x'; 2 * HOARD_BYTES], &mut state.pool);
    }
    state.now += LOOK_MS;
    let mut hunt = state.budget.begin_hunt(state.now);
    let mut turns = 0;
    loop {
        let before = state.connections.looks();
        let is_over = state.look_for_hoarders(&mut hunt, false, HOARD_BYTES);
        assert!(state.connections.looks() - before <= HUNT_PLACES as u64);
        turns += 1;
        if is_over {
            break;
        }
    }
    let found: Vec<_> = hunt.found.iter().map(|(_, _, id)| *id).collect();
    assert_eq!((turns, found), (3, vec![CONN, last]));
}

#[test]
fn those_that_hold_most_are_remembered() {
    let id = |index| ConnId { index, generation: 0 };
    let found = (0..3 * HUNTED_MAX as u32).map(|index| (false, index as usize, id(index))).collect();
    let mut hunt = Hunt { place: 0, counts: false, found, closing: 0 };
    hunt.keep_most();
    let least = hunt.found.iter().map(|(_, bytes, _)| *bytes).min();
    assert_eq!((hunt.found.len(), least), (HUNTED_MAX, Some(2 * HUNTED_MAX)));
}
