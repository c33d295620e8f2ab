//! Long values with a tier: larger than memory, changed in part, over kills and other numbers of shards.

use super::redis::{Answer, Redis};
use super::{count_all, kill, set_all, start, stop, tier_file, wait_until_saved};
use crate::harness::{Server, finish, torc};

/// A long value that only this key has, and that does not compress.
pub(super) fn long(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let words = std::iter::repeat_with(|| {
        // SplitMix64 (Steele and others, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ mixed >> 27).to_le_bytes()
    });
    words.flatten().take(300_000 + number * 40_009 % 900_000).collect()
}

pub(super) fn name(number: usize) -> String {
    format!("long:{number}")
}

pub(super) fn set_long(redis: &mut Redis, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        let set = vec![b"SET".to_vec(), name(number).into(), long(number)];
        assert_eq!(redis.ask_all(&[set]), [Answer::Ok]);
    }
}

/// How many keys have their long value; all others must have none.
pub(super) fn count_long(redis: &mut Redis, numbers: impl Iterator<Item = usize>) -> usize {
    let mut has = |number: &usize| match redis.run(&["GET", &name(*number)]) {
        Answer::Bulk(value) => {
            assert!(value == long(*number), "{number}: {} bytes", value.len());
            true
        }
        Answer::Nil => false,
        other => panic!("{number}: {other:?}"),
    };
    numbers.filter(|number| has(number)).count()
}

#[test]
fn long_values_are_there_beyond_memory_and_after_kills_with_other_shards() {
    const VALUES: usize = 120;
    for transport in ["uring", "epoll"] {
        let (_folder, path) = tier_file();
        let start = |shards: &str| {
            let transport = format!("--transport={transport}");
            start(&path, &[shards, "--memory=48m", "--tier-size=256m", &transport])
        };
        let server = start("--shards=2");
        let mut redis = Redis::connect(&server);
        set_long(&mut redis, 0..VALUES);
        set_all(&mut redis, 0..500);
        wait_until_saved(&server);
        assert_eq!(count_long(&mut redis, 0..VALUES), VALUES);
        assert!(server.metric("torc_tier_promotions_total", "") > 20.0, "they do not fit into memory");
        kill(server);
        for shards in ["--shards=1", "--shards=3", "--shards=2"] {
            let server = start(shards);
            let mut redis = Redis::connect(&server);
            assert_eq!(count_long(&mut redis, 0..VALUES), VALUES, "{shards}");
            assert_eq!(count_all(&mut redis, 0..500), 500);
            assert_eq!(server.metric("torc_tier_long_lost_total", ""), 0.0);
            kill(server);
        }
    }
}

#[test]
fn a_part_of_a_long_value_on_the_tier_is_read_and_changed() {
    let (_folder, path) = tier_file();
    let arguments = ["--shards=2", "--memory=48m", "--tier-size=256m"];
    let server = start(&path, &arguments);
    set_long(&mut Redis::connect(&server), 0..10);
    // What is saved is what an orderly stop has waited for.
    stop(server);
    let server = start(&path, &arguments);
    let mut redis = Redis::connect(&server);
    let mut changed = long(1);
    assert_eq!(redis.run(&["STRLEN", &name(0)]), Answer::Integer(long(0).len() as i64));
    let range = redis.run(&["GETRANGE", &name(0), "200000", "200009"]);
    assert_eq!(range, Answer::Bulk(long(0)[200_000..200_010].to_vec()));
    let written = server.metric("torc_tier_item_bytes_total", "");
    redis.run(&["SETRANGE", &name(1), "150000", "changed"]);
    changed[150_000..150_007].copy_from_slice(b"changed");
    redis.run(&["APPEND", &name(1), "tail"]);
    changed.extend(b"tail");
    redis.run(&["EXPIRE", &name(1), "1000"]);
    wait_until_saved(&server);
    let written = server.metric("torc_tier_item_bytes_total", "") - written;
    assert!(written < 200_000.0, "{written} bytes were written for some that changed");
    assert_eq!(redis.run(&["SET", &name(2), "no", "NX"]), Answer::Nil);
    assert_eq!(redis.run(&["DEL", &name(3)]), Answer::Integer(1));
    assert_eq!(redis.run(&["SET", &name(4), "short"]), Answer::Ok);
    redis.run(&["PEXPIRE", &name(5), "50"]);
    wait_until_saved(&server);
    std::thread::sleep(std::time::Duration::from_millis(200));
    kill(server);
    for shards in ["--shards=3", "--shards=1"] {
        let server = start(&path, &[shards, "--memory=64m"]);
        let mut redis = Redis::connect(&server);
        let Answer::Array(step) = redis.run(&["SCAN", "0", "COUNT", "1000"]) else { panic!("a step") };
        assert!(!format!("{step:?}").contains("Error"));
        assert!(redis.run(&["GET", &name(1)]) == Answer::Bulk(changed.clone()), "changed in part");
        let Answer::Integer(left) = redis.run(&["TTL", &name(1)]) else { panic!("a number") };
        assert!((900..=1000).contains(&left), "{left}");
        assert_eq!(redis.run(&["GET", &name(3)]), Answer::Nil, "deleted");
        assert_eq!(redis.run(&["GET", &name(4)]), Answer::Bulk(b"short".to_vec()));
        assert_eq!(redis.run(&["GET", &name(5)]), Answer::Nil, "expired");
        assert_eq!(count_long(&mut redis, [0, 2, 6, 7, 8, 9].into_iter()), 6);
        kill(server);
    }
}

#[test]
fn a_tier_of_plain_memory_holds_long_values_that_memory_does_not() {
    let server = Server::start(&["--tier=memory", "--tier-size=256m", "--memory=48m", "--shards=2"]);
    let mut redis = Redis::connect(&server);
    set_long(&mut redis, 0..100);
    wait_until_saved(&server);
    assert_eq!(count_long(&mut redis, 0..100), 100);
    assert!(server.metric("torc_tier_promotions_total", "") > 20.0);
}

#[test]
fn a_long_value_that_was_answered_is_there_after_a_kill_if_it_is_saved_always() {
    let (_folder, path) = tier_file();
    for round in 0..4 {
        let shards = format!("--shards={}", [2, 1, 3, 2][round]);
        let server = start(&path, &[&shards, "--memory=64m", "--tier-size=256m", "--durability=always"]);
        let mut redis = Redis::connect(&server);
        assert_eq!(count_long(&mut redis, 0..round * 5), round * 5, "round {round}");
        set_long(&mut redis, round * 5..round * 5 + 5);
        kill(server);
    }
}

#[test]
fn a_full_tier_gives_long_values_or_nothing_for_laps() {
    let (_folder, path) = tier_file();
    let arguments = ["--shards=2", "--memory=48m", "--tier-size=64m"];
    let server = start(&path, &arguments);
    let mut redis = Redis::connect(&server);
    // Some are more than memory, and all of them more than three times the tier.
    for first in (0..300).step_by(30) {
        set_long(&mut redis, first..first + 30);
        assert_eq!(count_long(&mut redis, 0..1), 1, "a value that is asked for again and again stays");
    }
    wait_until_saved(&server);
    assert!(server.metric("torc_tier_freed_batches_total", "") > 100.0);
    let newest = count_long(&mut redis, 270..300);
    assert!(newest >= 28, "{newest} of the newest 30");
    let all = count_long(&mut redis, 0..300);
    assert!(all < 200, "{all} in 64m of tier and 48m of memory");
    wait_until_saved(&server);
    kill(server);
    let server = start(&path, &arguments);
    let mut redis = Redis::connect(&server);
    let newest = count_long(&mut redis, 270..300);
    assert!(newest >= 25, "{newest} of the newest 30 after a kill");
    count_long(&mut redis, 0..300);
    stop(server);
}

#[test]
fn long_values_are_copied_whole_to_a_tier_that_is_divided_otherwise() {
    const VALUES: usize = 40;
    let (folder, path) = tier_file();
    let server = start(&path, &["--shards=2", "--memory=48m", "--tier-size=128m"]);
    let mut redis = Redis::connect(&server);
    set_long(&mut redis, 0..VALUES);
    let mut changed = long(1);
    changed[150_000..150_007].copy_from_slice(b"changed");
    redis.run(&["SETRANGE", &name(1), "150000", "changed"]);
    redis.run(&["DEL", &name(2)]);
    wait_until_saved(&server);
    kill(server);
    let source = path.display().to_string();
    for (number, streams) in [1, 3].into_iter().enumerate() {
        let copy = folder.path().join(format!("copy{number}"));
        let streams = format!("--streams={streams}");
        let arguments = ["tier", "copy", "--tier-size=96m", &streams, &source];
        let output = finish(torc().args(arguments).arg(&copy));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(finish(torc().args(["tier", "check"]).arg(&copy)).status.code(), Some(0));
        let server = start(&copy, &["--shards=2", "--memory=48m"]);
        let mut redis = Redis::connect(&server);
        assert!(redis.run(&["GET", &name(1)]) == Answer::Bulk(changed.clone()), "its newest head and chunks");
        assert_eq!(redis.run(&["GET", &name(2)]), Answer::Nil, "it was deleted");
        assert_eq!(count_long(&mut redis, (0..VALUES).filter(|number| !(1..3).contains(number))), VALUES - 2);
        assert_eq!(server.metric("torc_tier_long_lost_total", ""), 0.0);
        kill(server);
    }
    // One that is too small keeps the newest, and gives nothing in part.
    let copy = folder.path().join("small");
    let output = finish(torc().args(["tier", "copy", "--tier-size=16m", &source]).arg(&copy));
    assert!(output.status.success(), "{output:?}");
    let server = start(&copy, &["--shards=2", "--memory=48m"]);
    let mut redis = Redis::connect(&server);
    let newest = count_long(&mut redis, VALUES - 5..VALUES);
    let all = count_long(&mut redis, (0..VALUES).filter(|number| *number != 1));
    assert!(newest == 5 && all < VALUES - 2, "{newest} of the newest, and {all}");
}
