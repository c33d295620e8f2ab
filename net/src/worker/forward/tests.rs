use crate::session::Protocol;
use crate::worker::WorkerState;
use crate::worker::mail::{Address, Ask, AskBytes, What};
use crate::worker::testing::{CONN, NOW, exchange, execute, execute_in, key_of, pair, resp, sent};
use torc_engine::command::Millis;

/// What a client of the first shard is answered in a database.
fn ask(shards: &mut (WorkerState, WorkerState), database: u16, words: &[&str]) -> String {
    let (asker, owner) = shards;
    execute_in(asker, database, &resp(words), 10);
    asker.publish_mail();
    exchange(owner, asker);
    sent(asker)
}

#[test]
fn another_shard_is_asked_in_the_key_space_of_the_request() {
    let mut shards = pair(Protocol::Resp);
    let key = key_of(&shards.0, 1);
    assert_eq!(ask(&mut shards, 3, &["SET", &key, "third"]), "+OK\r\n");
    assert_eq!(ask(&mut shards, 0, &["GET", &key]), "$-1\r\n");
    assert_eq!(ask(&mut shards, 3, &["GET", &key]), "$5\r\nthird\r\n");
    assert_eq!(ask(&mut shards, 0, &["SET", &key, "none"]), "+OK\r\n");
    // Requests of one kind share what they are, but not across databases.
    let get = resp(&["GET", &key]);
    for database in [3, 0, 3] {
        execute_in(&mut shards.0, database, &get, 1);
    }
    shards.0.publish_mail();
    exchange(&mut shards.1, &mut shards.0);
    assert_eq!(sent(&mut shards.0), "$5\r\nthird\r\n$4\r\nnone\r\n$5\r\nthird\r\n");
}

#[test]
fn a_part_that_waits_keeps_its_key_space() {
    let mut shards = pair(Protocol::Resp);
    let key = key_of(&shards.0, 1);
    let long = "v".repeat(900);
    assert_eq!(ask(&mut shards, 3, &["SET", &key, &long]), "+OK\r\n");
    // Answers of a few such values fill what may wait for the client, so the last of these are deferred.
    let gets = resp(&["GET", &key]).repeat(9);
    execute_in(&mut shards.0, 3, &gets, 9);
    shards.0.publish_mail();
    let mut answers = String::new();
    for _ in 0..9 {
        exchange(&mut shards.1, &mut shards.0);
        answers += &sent(&mut shards.0);
        let mut conn = shards.0.connections.take(crate::worker::testing::CONN).expect("it is there");
        shards.0.advance(&mut conn);
        shards.0.connections.put(conn);
        shards.0.publish_mail();
    }
    assert_eq!(answers, format!("$900\r\n{long}\r\n").repeat(9));
}

#[test]
fn a_long_value_and_a_scan_keep_to_their_key_space() {
    let mut shards = pair(Protocol::Resp);
    let keys = [0, 1].map(|shard| key_of(&shards.0, shard));
    for key in &keys {
        assert_eq!(ask(&mut shards, 3, &["SET", key, &"v".repeat(50_000)]), "+OK\r\n");
        assert_eq!(ask(&mut shards, 0, &["STRLEN", key]), ":0\r\n");
        assert_eq!(ask(&mut shards, 3, &["STRLEN", key]), ":50000\r\n");
    }
    let there = (1u64 << 48).to_string();
    for (cursor, key) in [("0", &keys[0]), (&there, &keys[1])] {
        assert!(!ask(&mut shards, 0, &["SCAN", cursor]).contains(key));
        assert!(ask(&mut shards, 3, &["SCAN", cursor]).contains(key));
    }
}

/// A client of this shard may have been shown as expired what another shard's time made so; a third shard must not find it alive.
#[test]
fn what_a_shard_is_told_of_the_time_it_tells_others() {
    const LATER: Millis = NOW + 10;
    let (mut first, mut second) = pair(Protocol::Resp);
    first.begin_turn(0, LATER);
    second.begin_turn(0, NOW);
    let key = key_of(&first, 1);
    execute(&mut first, &resp(&["GET", &key]), 1);
    first.publish_mail();
    second.read_mail();
    let lane = second.mail.lane(0).expect("the other shard");
    let from = Address { conn: CONN, sequence: 0 };
    assert!(lane.ask(&Ask::plain(from, What::Flush { at: None }), AskBytes::default()));
    second.publish_mail();
    let lane = first.mail.lane(1).expect("the other shard");
    assert_eq!(lane.next_asked().map(|batch| batch.now), Some(LATER));
}
