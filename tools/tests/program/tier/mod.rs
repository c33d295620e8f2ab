//! A server with a second tier: what it keeps over stops and crashes, and what it never gives back.

mod crash;
mod damage;
mod databases;
mod durable;
mod journal;
mod long;
mod members;
mod none;
mod order;
mod pages;
mod rearm;
mod recovery;
mod redis;
mod resize;
mod sizes;
mod snapshots;
mod threads;

use crate::harness::{Server, finish, serve, stderr_of};
use redis::{Answer, Redis};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer than a test waits for a change to be on the tier.
const SAVED: Duration = Duration::from_secs(30);

/// A stop may take so long as that, be the medium ever so busy with others: what it would leave out is missed afterwards.
const UNHURRIED: &str = "--drain-timeout=50s";

fn start(tier: &Path, arguments: &[&str]) -> Server {
    let tier = format!("--tier={}", tier.display());
    Server::start(&[&[&tier, "--durability=interval:100ms", UNHURRIED], arguments].concat())
}

fn tier_file() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tier");
    (folder, path)
}

/// Waits until all is known that the tier holds.
fn wait_until_recovered(server: &Server) {
    let end = Instant::now() + Duration::from_secs(60);
    while server.metric("torc_tier_recovering", "") > 0.0 {
        let (status, words) = server.admin("/readyz");
        assert!(status == 200 && words.starts_with("ready"), "{status} {words}");
        assert!(Instant::now() < end, "recovery comes to an end");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.metric("torc_tier_recovery_progress", ""), 1.0);
    assert!(server.metric("torc_tier_recovery_seconds", "") > 0.0);
    assert_eq!(server.metric("torc_tier_recovery_lost_items", ""), 0.0);
}

/// Waits until every change so far is on the tier.
fn wait_until_saved(server: &Server) {
    let end = Instant::now() + SAVED;
    while server.metric("torc_tier_unsaved", "") > 0.0 {
        assert!(Instant::now() < end, "changes are saved in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn stop(mut server: Server) -> String {
    server.signal(libc::SIGTERM);
    let (status, stderr) = server.wait();
    assert!(status.success(), "{stderr}");
    stderr
}

fn kill(mut server: Server) {
    server.signal(libc::SIGKILL);
    server.wait();
}

fn key(number: usize) -> String {
    format!("key:{number}")
}

/// A value that only this key has, of some hundred bytes that do not compress.
fn value(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let bytes = std::iter::repeat_with(|| {
        // SplitMix64 (Steele and others, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 32) as u8
    });
    bytes.take(100 + number * 7 % 900).collect()
}

fn set_all(redis: &mut Redis, numbers: impl Iterator<Item = usize>) {
    let numbers: Vec<usize> = numbers.collect();
    for some in numbers.chunks(200) {
        let sets = some.iter().map(|&number| vec![b"SET".to_vec(), key(number).into(), value(number)]);
        let answers = redis.ask_all(&sets.collect::<Vec<_>>());
        assert!(answers.iter().all(|answer| *answer == Answer::Ok), "{answers:?}");
    }
}

/// How many of the keys have their value; all others must have none.
fn count_all(redis: &mut Redis, numbers: impl Iterator<Item = usize>) -> usize {
    let numbers: Vec<usize> = numbers.collect();
    let mut found = 0;
    for some in numbers.chunks(200) {
        let gets = some.iter().map(|&number| vec![b"GET".to_vec(), key(number).into()]);
        for (answer, &number) in redis.ask_all(&gets.collect::<Vec<_>>()).into_iter().zip(some) {
            match answer {
                Answer::Bulk(bytes) => {
                    assert!(bytes == value(number), "key {number} has {:?}", String::from_utf8_lossy(&bytes));
                    found += 1;
                }
                Answer::Nil => {}
                other => panic!("key {number}: {other:?}"),
            }
        }
    }
    found
}

#[test]
fn a_cache_larger_than_memory_is_warm_after_a_stop_and_after_a_kill() {
    const KEYS: usize = 60_000;
    for (transport, shards) in [("uring", "--shards=2"), ("epoll", "--shards=1")] {
        let (_folder, path) = tier_file();
        let arguments = [&format!("--transport={transport}"), shards, "--memory=32m", "--tier-size=128m"];
        let server = start(&path, &arguments);
        let mut redis = Redis::connect(&server);
        set_all(&mut redis, 0..KEYS);
        assert!(server.metric("torc_evictions_total", "") > 1000.0, "it does not fit");
        wait_until_saved(&server);
        let all = count_all(&mut redis, 0..KEYS);
        assert!(all > KEYS * 99 / 100, "{all} of {KEYS} were there before the stop");
        kill(server);
        let server = start(&path, &arguments);
        let mut redis = Redis::connect(&server);
        let all = count_all(&mut redis, 0..KEYS);
        assert!(all > KEYS * 99 / 100, "{all} of {KEYS} are there after a kill");
        let Answer::Integer(told) = redis.run(&["DBSIZE"]) else { panic!("a number") };
        // Items change places while the shards' figures are read.
        assert!(all.abs_diff(told as usize) < KEYS / 100, "{told} keys are told, {all} found");
        assert!(server.metric("torc_tier_promotions_total", "") > KEYS as f64 * 0.9);
        // What was not saved a moment ago is saved by an orderly stop.
        set_all(&mut Redis::connect(&server), KEYS..KEYS + 500);
        stop(server);
        let server = start(&path, &arguments);
        let mut redis = Redis::connect(&server);
        assert_eq!(count_all(&mut redis, KEYS..KEYS + 500), 500);
        assert_eq!(redis.run(&["FLUSHALL"]), Answer::Ok);
        assert_eq!((redis.run(&["DBSIZE"]), count_all(&mut redis, 0..KEYS)), (Answer::Integer(0), 0));
    }
}

#[test]
fn an_orderly_stop_waits_until_all_is_saved() {
    const KEYS: usize = 1500;
    let value =
        |number: usize| (0..20).flat_map(|piece| value(number + piece)).take(8000).collect::<Vec<u8>>();
    let (_folder, path) = tier_file();
    let server = start(&path, &["--tier-size=64m", "--durability=interval:1h"]);
    let sets = (0..KEYS).map(|number| vec![b"SET".to_vec(), key(number).into(), value(number)]);
    let mut redis = Redis::connect(&server);
    for some in sets.collect::<Vec<_>>().chunks(50) {
        redis.ask_all(some);
    }
    // The last ones would wait for an hour.
    redis.run(&["SET", "last", "one"]);
    assert!(server.metric("torc_tier_unsaved", "") > 0.0);
    stop(server);
    let server = start(&path, &[]);
    let mut redis = Redis::connect(&server);
    for number in 0..KEYS {
        assert_eq!(redis.run(&["GET", &key(number)]), Answer::Bulk(value(number)), "{number}");
    }
}

#[test]
fn every_kind_of_change_is_as_it_was_after_another_start_with_other_shards() {
    let (_folder, path) = tier_file();
    let server = start(&path, &["--shards=2", "--tier-size=64m"]);
    let mut redis = Redis::connect(&server);
    set_all(&mut redis, 0..1000);
    wait_until_saved(&server);
    for number in 0..100 {
        redis.run(&["DEL", &key(number)]);
        redis.run(&["PEXPIRE", &key(number + 100), "200"]);
        redis.run(&["APPEND", &key(number + 200), "+"]);
        redis.run(&["SET", &key(number + 300), "again", "EX", "1000"]);
        // This makes it a long value, with a hole.
        redis.run(&["SETRANGE", &key(number + 400), "300000", "!"]);
    }
    redis.run(&["INCRBY", "counter", "41"]);
    redis.run(&["INCR", "counter"]);
    wait_until_saved(&server);
    std::thread::sleep(Duration::from_millis(300));
    let keys_of_all = count_all(&mut redis, 500..1000);
    kill(server);
    for shards in ["--shards=3", "--shards=1", "--shards=2"] {
        let server = start(&path, &[shards, "--memory=128m"]);
        let mut redis = Redis::connect(&server);
        for number in 0..100 {
            assert_eq!(redis.run(&["GET", &key(number)]), Answer::Nil, "deleted");
            assert_eq!(redis.run(&["GET", &key(number + 100)]), Answer::Nil, "expired");
            let appended = [value(number + 200), b"+".to_vec()].concat();
            assert_eq!(redis.run(&["GET", &key(number + 200)]), Answer::Bulk(appended));
            assert_eq!(redis.run(&["GET", &key(number + 300)]), Answer::Bulk(b"again".to_vec()));
            let Answer::Integer(left) = redis.run(&["TTL", &key(number + 300)]) else { panic!("a number") };
            assert!((900..=1000).contains(&left), "{left}");
            let first = redis.run(&["GETRANGE", &key(number + 400), "0", "19"]);
            assert_eq!(first, Answer::Bulk(value(number + 400)[..20].to_vec()));
            assert_eq!(redis.run(&["STRLEN", &key(number + 400)]), Answer::Integer(300_001));
        }
        assert_eq!(redis.run(&["GET", "counter"]), Answer::Bulk(b"42".to_vec()));
        assert_eq!(count_all(&mut redis, 500..1000), keys_of_all);
        // One that is only on the tier is changed by commands that must know it.
        assert_eq!(redis.run(&["SET", &key(600), "no", "NX"]), Answer::Nil);
        assert_eq!(redis.run(&["EXISTS", &key(601)]), Answer::Integer(1));
        stop(server);
    }
    let server = start(&path, &["--shards=2"]);
    let mut redis = Redis::connect(&server);
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "after", "flush"]);
    stop(server);
    let server = start(&path, &["--shards=2"]);
    let mut redis = Redis::connect(&server);
    assert_eq!(count_all(&mut redis, 0..1000), 0);
    assert_eq!(redis.run(&["GET", "after"]), Answer::Bulk(b"flush".to_vec()));
}

#[test]
fn a_scan_finds_keys_in_memory_and_on_the_tier() {
    const KEYS: usize = 30_000;
    for (tier, shards) in [("file", "--shards=2"), ("memory", "--shards=1")] {
        let (_folder, path) = tier_file();
        let path = if tier == "memory" { tier.into() } else { path };
        let server = start(&path, &["--memory=32m", "--tier-size=128m", shards]);
        let mut redis = Redis::connect(&server);
        set_all(&mut redis, 0..KEYS);
        wait_until_saved(&server);
        let promoted = server.metric("torc_tier_promotions_total", "");
        let (mut cursor, mut seen) = ("0".to_owned(), std::collections::HashSet::new());
        loop {
            let Answer::Array(mut step) = redis.run(&["SCAN", &cursor, "COUNT", "100"]) else {
                panic!("a step")
            };
            let (Some(Answer::Array(keys)), Some(Answer::Bulk(next))) = (step.pop(), step.pop()) else {
                panic!("a cursor and keys")
            };
            seen.extend(keys);
            cursor = String::from_utf8(next).expect("a number");
            if cursor == "0" {
                break;
            }
        }
        assert!(seen.len() <= KEYS && seen.len() > KEYS * 99 / 100, "{} of {KEYS}", seen.len());
        assert_eq!(server.metric("torc_tier_promotions_total", ""), promoted, "a scan brings nothing back");
    }
}

#[test]
fn a_second_server_and_a_foreign_file_are_refused_by_name() {
    let (folder, path) = tier_file();
    let server = start(&path, &["--tier-size=64m"]);
    let tier = format!("--tier={}", path.display());
    let output = finish(&mut serve(&[&tier]));
    assert!(!output.status.success());
    assert!(stderr_of(&output).contains("used by another process"), "{}", stderr_of(&output));
    drop(server);
    let foreign = folder.path().join("foreign");
    std::fs::write(&foreign, vec![b'x'; 8 << 20]).expect("a file");
    let tier = format!("--tier={}", foreign.display());
    let output = finish(&mut serve(&[&tier]));
    assert!(stderr_of(&output).contains("--tier-on-mismatch reset"), "{}", stderr_of(&output));
    assert_eq!(std::fs::read(&foreign).expect("a file"), vec![b'x'; 8 << 20], "it was not touched");
    let output = finish(&mut serve(&["--tier=/nowhere/tier"]));
    assert!(stderr_of(&output).contains("--tier-size"), "{}", stderr_of(&output));
    let output = finish(&mut serve(&["--tier=/nowhere/tier", "--tier-size=64m"]));
    assert!(stderr_of(&output).contains("/nowhere/tier"), "{}", stderr_of(&output));
    let server = Server::start(&[&tier, "--tier-on-mismatch=reset"]);
    set_all(&mut Redis::connect(&server), 0..10);
    drop(server);
    for size in ["0", "1", "4k", "256k"] {
        let new = folder.path().join("new");
        let output =
            finish(&mut serve(&[&format!("--tier={}", new.display()), &format!("--tier-size={size}")]));
        assert!(stderr_of(&output).contains("--tier-size: "), "{size}: {}", stderr_of(&output));
        assert!(!new.exists(), "no file is left that has the wrong size for the next start");
    }
}

#[test]
fn a_tier_of_plain_memory_holds_what_memory_does_not() {
    let server = Server::start(&["--tier=memory", "--tier-size=128m", "--memory=32m", "--shards=2"]);
    let mut redis = Redis::connect(&server);
    for first in (0..60_000).step_by(5000) {
        set_all(&mut redis, first..first + 5000);
        wait_until_saved(&server);
    }
    let found = count_all(&mut redis, 0..60_000);
    assert!(found > 59_000, "{found}");
    assert!(server.metric("torc_tier_promotions_total", "") > 10_000.0);
    let own = server.metric("torc_resident_bytes", "") - server.metric("torc_tier_resident_bytes", "");
    assert!(own < 34.0 * 1024.0 * 1024.0, "{own} bytes beside the tier");
}
