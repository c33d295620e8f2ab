//! What commands that gather do in a turn, and what becomes of them when their clients go.

use crate::session::Protocol;
use crate::transport::{ConnId, Pieces};
use crate::worker::state::WorkerState;
use crate::worker::testing::{
    CONN, NOW, add_client_at, exchange, execute, execute_of, key_of, pair, resp, sent, sent_to, with_client,
};

const OTHER: ConnId = ConnId { index: 1, generation: 0 };

/// Keys of one shard.
fn keys(state: &WorkerState, shard: u16) -> [String; 3] {
    let tag = key_of(state, shard);
    ["a", "b", "d"].map(|name| format!("{{{tag}}}{name}"))
}

/// Gives a key a value of so many bytes.
fn fill(state: &mut WorkerState, key: &str, bytes: usize) {
    execute(state, &resp(&["SETBIT", key, &(bytes * 8 - 1).to_string(), "1"]), 1);
    assert_eq!(sent(state), ":0\r\n");
}

/// The next turn of a client that waits.
fn go_on(state: &mut WorkerState, id: ConnId) {
    state.begin_turn(0, NOW);
    let mut conn = state.connections.take(id).expect("it is there");
    conn.dirty = false;
    state.advance(&mut conn);
    state.connections.put(conn);
}

/// They are as much work as a few long ones.
#[test]
fn many_short_commands_are_done_in_many_turns() {
    const COUNT: usize = 20;
    let mut state = with_client(Protocol::Resp);
    let [a, _, d] = keys(&state, 0);
    fill(&mut state, &a, 100_000);
    let bitop = resp(&["BITOP", "OR", &d, &a, &a, &a, &a, &a, &a]);
    execute(&mut state, &bitop.repeat(COUNT), COUNT);
    let (mut done, mut turns) = (0, 0);
    while done < COUNT {
        let now = sent(&mut state).matches(":100000\r\n").count();
        // 700 KB each: some two MiB.
        assert!(now <= 4, "{now} in a turn");
        done += now;
        turns += 1;
        assert!(turns < 100, "{done} are done");
        go_on(&mut state, CONN);
    }
    assert!(turns >= 5, "{turns}");
}

/// Who finds nothing left waits for the next turn, and gets some then, whatever others do.
#[test]
fn who_comes_when_the_turn_is_used_up_is_served_in_the_next_one() {
    let mut state = with_client(Protocol::Resp);
    add_client_at(&mut state, OTHER, Protocol::Resp);
    let [a, b, d] = keys(&state, 0);
    fill(&mut state, &a, 4 << 10);
    fill(&mut state, &b, 5);
    let bitop = resp(&["BITOP", "OR", &d, &a, &b]);
    for _ in 0..2 {
        state.begin_turn(0, NOW);
        state.share.take(usize::MAX);
        execute_of(&mut state, OTHER, 0, (&bitop, 1));
        for _ in 0..3 {
            let mut conn = state.connections.take(OTHER).expect("it is there");
            state.advance(&mut conn);
            state.connections.put(conn);
            assert_eq!(sent_to(&mut state, OTHER), "");
        }
        state.begin_turn(0, NOW);
        state.share.take(usize::MAX);
        let mut conn = state.connections.take(OTHER).expect("it is there");
        state.advance(&mut conn);
        state.connections.put(conn);
        // What is stored in a block of its own waits once more.
        go_on(&mut state, OTHER);
        go_on(&mut state, OTHER);
        assert_eq!(sent_to(&mut state, OTHER), ":4096\r\n");
    }
}

/// Its keys are free for others at once, and the destination is as it was; of what it had sent behind that nothing is gathered.
#[test]
fn a_command_whose_client_has_gone_is_given_up_while_nothing_is_written() {
    let (mut first, mut second) = pair(Protocol::Resp);
    add_client_at(&mut first, OTHER, Protocol::Resp);
    for shard in [0, 1] {
        let [a, _, d] = keys(&first, shard);
        execute_of(&mut first, OTHER, 0, (&resp(&["SETBIT", &a, "4799999", "1"]), 1));
        exchange(&mut first, &mut second);
        sent_to(&mut first, OTHER);
        let client = ConnId { index: 2 + u32::from(shard), generation: 0 };
        add_client_at(&mut first, client, Protocol::Resp);
        execute_of(&mut first, client, 0, (&resp(&["BITOP", "OR", &d, &a, &a, &a, &a]), 1));
        let mut turns = 0;
        while !first.connections.find(client).expect("it is there").in_transaction {
            exchange(&mut first, &mut second);
            go_on(&mut first, client);
            turns += 1;
            assert!(turns < 10, "its keys are given");
        }
        first.closed(client, Pieces::default());
        for _ in 0..3 {
            first.begin_turn(0, NOW);
            if let Some(ghost) = first.connections.take(client) {
                first.settle_ghost(ghost);
            }
            exchange(&mut first, &mut second);
        }
        assert!(first.connections.ghosts().is_empty() && !first.holds.is_any() && !second.holds.is_any());
        let asked = [resp(&["STRLEN", &d]), resp(&["STRLEN", &a])].concat();
        execute_of(&mut first, OTHER, 0, (&asked, 2));
        exchange(&mut first, &mut second);
        assert_eq!(sent_to(&mut first, OTHER), ":0\r\n:600000\r\n", "{shard}");
    }
}
