//! Commands that come at once after a start, while the server still learns what its tier holds.

use super::redis::{Answer, Redis};
use super::{
    SAVED, key, kill, set_all, start, stop, tier_file, value, wait_until_recovered, wait_until_saved,
};
use crate::harness::Server;
use std::path::Path;
use std::time::{Duration, Instant};

/// Enough that a start has not read them all when the first commands come.
const ITEMS: usize = 120_000;
/// Of each number modulo this one key is a counter, one was deleted, and the others have values.
const KINDS: usize = 10;
const COUNTER: usize = 3;
const DELETED: usize = 7;

fn server(path: &Path, shards: &str, reads: &str) -> Server {
    start(path, &[shards, reads, "--memory=512m", "--tier-size=256m"])
}

/// A tier with items, counters and what was deleted, whose server was killed.
fn killed(path: &Path) {
    let server = server(path, "--shards=2", "--tier-recovery=wait");
    let mut redis = Redis::connect(&server);
    set_all(&mut redis, (0..ITEMS).filter(|number| number % KINDS != COUNTER));
    for some in (0..ITEMS / KINDS).collect::<Vec<_>>().chunks(500) {
        let numbers = some.iter().map(|number| number * KINDS);
        let change = |number: usize| {
            let (count, gone) = (key(number + COUNTER).into_bytes(), key(number + DELETED).into_bytes());
            [vec![b"SET".to_vec(), count, number.to_string().into_bytes()], vec![b"DEL".to_vec(), gone]]
        };
        redis.ask_all(&numbers.flat_map(change).collect::<Vec<_>>());
    }
    wait_until_saved(&server);
    kill(server);
}

fn command(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

/// Commands on keys of one ten, with the answers that they must have. Whether a read may miss, as nobody knows its key yet, is
/// said with it.
fn commands(first: usize) -> Vec<(Vec<Vec<u8>>, Answer, bool)> {
    let name = |kind: usize| key(first + kind).into_bytes();
    vec![
        (command(&[b"INCR", &name(COUNTER)]), Answer::Integer(first as i64 + 1), false),
        (command(&[b"GET", &name(0)]), Answer::Bulk(value(first)), true),
        (command(&[b"SET", &name(1), b"other", b"NX"]), Answer::Nil, false),
        (command(&[b"SETNX", &name(DELETED), b"new"]), Answer::Integer(1), false),
        (command(&[b"DEL", &name(2)]), Answer::Integer(1), false),
        (command(&[b"SET", &name(4), b"blind"]), Answer::Ok, false),
        (command(&[b"GET", &name(4)]), Answer::Bulk(b"blind".to_vec()), false),
        (command(&[b"GET", &name(2)]), Answer::Nil, false),
        (command(&[b"APPEND", &name(5), b"!"]), Answer::Integer(value(first + 5).len() as i64 + 1), false),
        (command(&[b"GET", &name(DELETED)]), Answer::Bulk(b"new".to_vec()), false),
    ]
}

/// Asks for some tens of all ages at once; returns how many reads have missed.
fn ask_at_once(server: &Server, may_miss: bool) -> usize {
    let tens = (0..ITEMS / KINDS).step_by(97).map(|ten| ten * KINDS);
    let asked: Vec<_> = tens.flat_map(commands).collect();
    let mut redis = Redis::connect(server);
    let answers = redis.ask_all(&asked.iter().map(|(command, ..)| command.clone()).collect::<Vec<_>>());
    let mut missed = 0;
    for (answer, (command, wanted, is_read)) in answers.into_iter().zip(asked) {
        if may_miss && is_read && answer == Answer::Nil {
            missed += 1;
            continue;
        }
        let words = command.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>();
        assert!(answer == wanted, "{words:?}: {answer:?}");
    }
    missed
}

/// What `ask_at_once` has left, and all else as it was.
fn check(server: &Server) {
    let mut redis = Redis::connect(server);
    for first in (0..ITEMS / KINDS).step_by(97).map(|ten| ten * KINDS) {
        let name = |kind: usize| key(first + kind);
        let after = |kind: usize| (first + kind).to_string();
        assert_eq!(redis.run(&["GET", &name(COUNTER)]), Answer::Bulk((first + 1).to_string().into_bytes()));
        assert_eq!(redis.run(&["GET", &name(4)]), Answer::Bulk(b"blind".to_vec()), "{}", after(4));
        assert_eq!(redis.run(&["EXISTS", &name(2)]), Answer::Integer(0), "{}", after(2));
        assert_eq!(redis.run(&["GET", &name(1)]), Answer::Bulk(value(first + 1)), "{}", after(1));
        assert_eq!(redis.run(&["GET", &name(DELETED)]), Answer::Bulk(b"new".to_vec()), "{}", after(DELETED));
        let other = key(first + KINDS + DELETED);
        assert_eq!(redis.run(&["GET", &other]), Answer::Nil, "{other} was deleted");
    }
}

#[test]
fn commands_at_once_after_a_kill_wait_until_their_keys_are_known_whatever_the_number_of_shards() {
    let (_folder, path) = tier_file();
    killed(&path);
    for (round, shards) in ["--shards=3", "--shards=2", "--shards=1"].into_iter().enumerate() {
        let server = server(&path, shards, "--tier-recovery=wait");
        if round == 0 {
            assert_eq!(ask_at_once(&server, false), 0);
        }
        wait_until_recovered(&server);
        check(&server);
        wait_until_saved(&server);
        kill(server);
    }
}

#[test]
fn reads_at_once_after_a_kill_miss_if_they_are_told_to_and_nothing_else_does() {
    let (_folder, path) = tier_file();
    killed(&path);
    let server = server(&path, "--shards=2", "--tier-recovery=miss");
    let missed = ask_at_once(&server, true);
    println!("{missed} reads missed");
    wait_until_recovered(&server);
    check(&server);
    let log = stop(server);
    assert!(log.contains("recovering") && log.contains("--tier: recovered"), "{log}");
}

#[test]
fn a_scan_at_once_after_a_kill_waits_until_all_keys_are_known() {
    let (_folder, path) = tier_file();
    killed(&path);
    let server = server(&path, "--shards=2", "--tier-recovery=wait");
    let mut redis = Redis::connect(&server);
    let (mut cursor, mut keys) = ("0".to_owned(), std::collections::HashSet::new());
    loop {
        let Answer::Array(answer) = redis.run(&["SCAN", &cursor, "COUNT", "1000"]) else {
            panic!("no array")
        };
        let [Answer::Bulk(next), Answer::Array(some)] = &answer[..] else { panic!("{answer:?}") };
        keys.extend(some.iter().map(|key| format!("{key:?}")));
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(keys.len(), ITEMS - ITEMS / KINDS);
}

#[test]
fn a_server_stops_in_order_while_it_recovers_and_a_flush_then_takes_all() {
    let (_folder, path) = tier_file();
    killed(&path);
    let server = server(&path, "--shards=1", "--tier-recovery=wait");
    stop(server);
    let server = self::server(&path, "--shards=3", "--tier-recovery=wait");
    let mut redis = Redis::connect(&server);
    assert_eq!(redis.run(&["FLUSHALL"]), Answer::Ok);
    assert_eq!(redis.run(&["GET", &key(0)]), Answer::Nil);
    assert_eq!(redis.run(&["INCR", &key(COUNTER)]), Answer::Integer(1));
    // A mark for all that a shard and a stream have in common, and the counter.
    let end = Instant::now() + SAVED;
    while server.metric("torc_tier_records_total", "") < 5.0 || server.metric("torc_tier_unsaved", "") > 0.0 {
        assert!(Instant::now() < end, "changes are saved in time");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(server);
    let server = self::server(&path, "--shards=2", "--tier-recovery=wait");
    let mut redis = Redis::connect(&server);
    assert_eq!(redis.run(&["GET", &key(COUNTER)]), Answer::Bulk(b"1".to_vec()));
    assert_eq!(redis.run(&["GET", &key(1)]), Answer::Nil);
    wait_until_recovered(&server);
}
