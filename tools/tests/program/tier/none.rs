//! `--durability none`: the tier takes what memory has no room for, and at an orderly stop the rest.

use super::long::{count_long, long, name, set_long};
use super::redis::{Answer, Redis};
use super::{
    count_all, key, kill, set_all, start, stop, tier_file, value, wait_until_recovered, wait_until_saved,
};
use crate::harness::Server;
use std::path::Path;

const NONE: &str = "--durability=none";

/// A server whose tier was loaded a little at a time, so that nothing is dropped that the medium was too slow for.
fn loaded(path: &Path, arguments: &[&str], count: usize) -> Server {
    let server = start(path, arguments);
    let mut redis = Redis::connect(&server);
    for first in (0..count).step_by(500) {
        set_all(&mut redis, first..first + 500);
        wait_until_saved(&server);
    }
    server
}

#[test]
fn what_memory_and_tier_held_is_there_after_a_stop_and_nothing_after_a_kill() {
    const KEYS: usize = 60_000;
    let (_folder, path) = tier_file();
    let arguments = ["--shards=2", "--memory=32m", "--tier-size=128m", NONE];
    let server = loaded(&path, &arguments, 10_000);
    assert_eq!(server.metric("torc_tier_records_total", ""), 0.0, "memory is not full");
    drop(server);
    let server = loaded(&path, &arguments, KEYS);
    assert!(server.metric("torc_evictions_total", "") > 1000.0, "it does not fit");
    let before = count_all(&mut Redis::connect(&server), 0..KEYS);
    assert!(before > KEYS / 2, "{before} of {KEYS}");
    let missed = server.metric("torc_demotions_missed_total", "");
    assert!(before as f64 >= KEYS as f64 - missed - 600.0, "{before} there, {missed} missed");
    stop(server);
    for shards in ["--shards=1", "--shards=3"] {
        let server = start(&path, &[shards, "--memory=32m", NONE]);
        let after = count_all(&mut Redis::connect(&server), 0..KEYS);
        assert!(after * 100 >= before * 99, "{after} of {before} with {shards}");
        stop(server);
    }
    let server = start(&path, &arguments);
    wait_until_recovered(&server);
    assert!(server.metric("torc_tier_recovered_items", "") > 0.0);
    kill(server);
    let server = start(&path, &arguments);
    wait_until_recovered(&server);
    assert_eq!(server.metric("torc_tier_recovered_items", ""), 0.0);
    assert_eq!(count_all(&mut Redis::connect(&server), 0..KEYS), 0);
    set_all(&mut Redis::connect(&server), 0..1000);
    let said = stop(server);
    assert!(said.contains("has not ended in order"), "{said}");
    // Another durability believes what an orderly end has left.
    let server = start(&path, &["--memory=32m"]);
    assert_eq!(count_all(&mut Redis::connect(&server), 0..1000), 1000);
}

#[test]
fn every_kind_of_change_holds_over_a_stop() {
    let (_folder, path) = tier_file();
    let server = loaded(&path, &["--memory=32m", "--tier-size=64m", NONE], 5000);
    stop(server);
    // Everything is on the tier alone now.
    let server = start(&path, &["--memory=32m", NONE]);
    let mut redis = Redis::connect(&server);
    for number in 0..100 {
        assert_eq!(redis.run(&["DEL", &key(number)]), Answer::Integer(1));
        redis.run(&["PEXPIRE", &key(number + 100), "1"]);
        redis.run(&["APPEND", &key(number + 200), "+"]);
        redis.run(&["SET", &key(number + 300), "again"]);
        redis.run(&["SET", &key(number + 400), "again"]);
        redis.run(&["DEL", &key(number + 400)]);
    }
    stop(server);
    let server = start(&path, &["--shards=2", NONE]);
    let mut redis = Redis::connect(&server);
    for number in 0..100 {
        for gone in [number, number + 100, number + 400] {
            assert_eq!(redis.run(&["GET", &key(gone)]), Answer::Nil, "{gone}");
        }
        let appended = [value(number + 200), b"+".to_vec()].concat();
        assert_eq!(redis.run(&["GET", &key(number + 200)]), Answer::Bulk(appended));
        assert_eq!(redis.run(&["GET", &key(number + 300)]), Answer::Bulk(b"again".to_vec()));
    }
    assert_eq!(count_all(&mut redis, 500..5000), 4500);
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "after", "flush"]);
    stop(server);
    let server = start(&path, &[NONE]);
    let mut redis = Redis::connect(&server);
    assert_eq!(count_all(&mut redis, 0..5000), 0);
    assert_eq!(redis.run(&["GET", "after"]), Answer::Bulk(b"flush".to_vec()));
}

#[test]
fn a_stop_without_time_keeps_a_part_and_all_of_it_right() {
    let (_folder, path) = tier_file();
    let server = loaded(&path, &["--memory=64m", "--tier-size=128m", "--drain-timeout=50ms", NONE], 60_000);
    let said = stop(server);
    assert!(said.contains("--drain-timeout leaves no time"), "{said}");
    let server = start(&path, &["--memory=64m", NONE]);
    let found = count_all(&mut Redis::connect(&server), 0..60_000);
    assert!(found > 0 && found < 60_000, "{found}");
}

#[test]
fn long_values_that_memory_has_no_room_for_are_on_the_tier_and_hold_over_a_stop() {
    const VALUES: usize = 150;
    let (_folder, path) = tier_file();
    let server = start(&path, &["--shards=2", "--memory=64m", "--tier-size=512m", NONE]);
    let mut redis = Redis::connect(&server);
    for number in 0..VALUES {
        set_long(&mut redis, number..number + 1);
        wait_until_saved(&server);
    }
    let missed = server.metric("torc_demotions_missed_total", "") as usize;
    let before = count_long(&mut redis, 0..VALUES);
    assert!(server.metric("torc_tier_promotions_total", "") > 20.0, "they do not fit into memory");
    assert!(missed < VALUES / 10 && before + missed + 5 >= VALUES, "{before} there, {missed} missed");
    // Changed in part, overwritten and deleted, wherever they lie.
    let mut changed = long(1);
    if redis.run(&["STRLEN", &name(1)]) == Answer::Integer(changed.len() as i64) {
        redis.run(&["SETRANGE", &name(1), "150000", "changed"]);
        changed[150_000..150_007].copy_from_slice(b"changed");
        redis.run(&["APPEND", &name(1), "tail"]);
        changed.extend(b"tail");
    }
    redis.run(&["DEL", &name(2)]);
    redis.run(&["SET", &name(3), "short"]);
    let before = count_long(&mut redis, 4..VALUES);
    stop(server);
    for shards in ["--shards=3", "--shards=1"] {
        let server = start(&path, &[shards, "--memory=64m", NONE]);
        let mut redis = Redis::connect(&server);
        let after = count_long(&mut redis, 4..VALUES);
        assert!(after + 2 >= before, "{after} of {before} with {shards}");
        assert!([Answer::Bulk(changed.clone()), Answer::Nil].contains(&redis.run(&["GET", &name(1)])));
        assert_eq!(redis.run(&["GET", &name(2)]), Answer::Nil);
        assert_eq!(redis.run(&["GET", &name(3)]), Answer::Bulk(b"short".to_vec()));
        stop(server);
    }
    kill(start(&path, &[NONE]));
    let server = start(&path, &[NONE]);
    assert_eq!(count_long(&mut Redis::connect(&server), 0..VALUES), 0);
}

/// The oldest was written last, over the newest.
#[test]
fn a_stop_keeps_what_is_newest_if_the_tier_is_smaller_than_memory() {
    const KEYS: usize = 60_000;
    let (_folder, path) = tier_file();
    let server = start(&path, &["--shards=2", "--memory=96m", "--tier-size=20m", NONE]);
    set_all(&mut Redis::connect(&server), 0..KEYS);
    assert_eq!(server.metric("torc_evictions_total", ""), 0.0);
    let said = stop(server);
    assert!(said.contains("--tier-size leaves no room"), "{said}");
    let server = start(&path, &["--memory=96m", NONE]);
    let mut redis = Redis::connect(&server);
    let newest = count_all(&mut redis, KEYS - 10_000..KEYS);
    assert!(newest == 10_000, "{newest} of the newest");
    let oldest = count_all(&mut redis, 0..10_000);
    assert!(oldest < 100, "{oldest} of the oldest");
}

#[test]
fn a_tier_that_takes_no_chunk_makes_long_values_misses_and_nothing_wrong() {
    let (_folder, path) = tier_file();
    let server = start(&path, &["--shards=2", "--memory=64m", "--tier-size=6m", NONE]);
    let mut redis = Redis::connect(&server);
    set_long(&mut redis, 0..150);
    let before = count_long(&mut redis, 0..150);
    assert!(before > 10 && before < 150, "{before}");
    stop(server);
    let server = start(&path, &["--memory=64m", NONE]);
    count_long(&mut Redis::connect(&server), 0..150);
}
