use super::*;
use crate::session::Protocol;
use crate::worker::testing::{CONN, exchange, execute, key_of, pair, resp};

/// With few processors it may be a while until the other shard has its turn.
#[test]
fn a_client_whose_value_waits_for_another_shard_is_no_hoarder() {
    let (mut asker, mut owner) = pair(Protocol::Resp);
    let set = resp(&["SET", &key_of(&asker, 1), &"v".repeat(50_000)]);
    let parsed = execute(&mut asker, &set[..1000], 2);
    let conn = asker.connections.find(CONN).expect("it is there");
    conn.input.append(&set[parsed..][..2 * HOARD_BYTES], &mut asker.pool);
    asker.now += LOOK_MS;
    assert!(asker.hoarders(false, HOARD_BYTES).0.is_empty(), "it can do nothing about it");
    assert_eq!(asker.hoarders(true, HOARD_BYTES).0.len(), 1, "memory is overdrawn");
    asker.publish_mail();
    exchange(&mut asker, &mut owner);
    asker.now += LOOK_MS;
    assert_eq!(asker.hoarders(false, HOARD_BYTES).0.len(), 1, "nothing is under way any more");
}
