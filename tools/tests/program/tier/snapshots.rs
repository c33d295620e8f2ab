//! Snapshots of the index: a start reads one in place of the tables that it is of.

use super::redis::{Answer, Redis};
use super::{key, kill, start, stop, tier_file, wait_until_recovered, wait_until_saved};
use crate::harness::{PATIENCE, Server, finish, serve, stderr_of, torc};
use std::path::Path;
use std::time::{Duration, Instant};

const KEYS: usize = 2000;

fn server(path: &Path, arguments: &[&str]) -> Server {
    let server = start(path, &[&["--memory=64m", "--tier-size=64m"], arguments].concat());
    wait_until_recovered(&server);
    server
}

/// Bytes that do not compress, so that as much as is written between snapshots soon is.
fn value(number: usize, round: usize) -> Vec<u8> {
    let mut state = ((round << 32) + number) as u64;
    let next = std::iter::repeat_with(|| {
        // SplitMix64 (Steele and others, 2014), but for its last step.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        ((state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32) as u8
    });
    next.take(700).collect()
}

fn set_all(redis: &mut Redis, round: usize) {
    for numbers in (0..KEYS).collect::<Vec<_>>().chunks(200) {
        let set = |number: &usize| vec![b"SET".to_vec(), key(*number).into(), value(*number, round)];
        redis.ask_all(&numbers.iter().map(set).collect::<Vec<_>>());
    }
}

fn holds(server: &Server, round: usize) {
    let mut redis = Redis::connect(server);
    for number in (0..KEYS).step_by(7) {
        let found = redis.ask_all(&[vec![b"GET".to_vec(), key(number).into()]]);
        assert_eq!(found, [Answer::Bulk(value(number, round))], "{number}");
    }
}

/// A snapshot that is due is made within this as a rule.
const MADE: Duration = Duration::from_millis(50);

/// Overwrites all keys until snapshots were written, and returns the last round. What a snapshot is of must not be written over
/// before there is one, however little of the CPU its maker gets.
fn overwrite(server: &Server, first: usize) -> usize {
    let (mut redis, end) = (Redis::connect(server), Instant::now() + PATIENCE);
    for round in first.. {
        set_all(&mut redis, round);
        let soon = Instant::now() + MADE;
        while Instant::now() < soon {
            if server.metric("torc_tier_snapshots_total", "") >= 2.0 {
                return round;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(Instant::now() < end, "snapshots are written");
    }
    unreachable!("there is no last round")
}

fn tier(command: &str, path: &Path) -> String {
    let output = finish(torc().args(["tier", command]).arg(path));
    assert!(output.status.success(), "{}", stderr_of(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_start_after_a_kill_reads_a_snapshot_and_the_commands_tell_of_it() {
    let (_folder, path) = tier_file();
    let mut round = 0;
    for (shards, is_killed) in [("--shards=1", true), ("--shards=2", false), ("--shards=1", true)] {
        let server = server(&path, &[shards, "--tier-snapshots=8"]);
        if round > 0 {
            assert_eq!(server.metric("torc_tier_recovery_snapshots", ""), 1.0);
            holds(&server, round);
        }
        round = overwrite(&server, round + 1);
        wait_until_saved(&server);
        assert!(server.metric("torc_tier_snapshot_bytes_total", "") > 0.0);
        assert!(server.metric("torc_tier_snapshot_records_total", "") >= KEYS as f64);
        if is_killed {
            kill(server)
        } else {
            stop(server);
        }
        assert!(tier("check", &path).contains("0 tables are damaged"));
        assert!(tier("dump", &path).contains("snapshot    of what is below position"));
        assert!(tier("stat", &path).contains(" snapshots, "));
    }
    // What is there is read though none is made any more.
    let server = server(&path, &["--tier-snapshots=0"]);
    assert_eq!(server.metric("torc_tier_recovery_snapshots", ""), 1.0);
    holds(&server, round);
    stop(server);
}

#[test]
fn a_tier_that_was_made_without_gets_snapshots_when_it_is_copied() {
    let (folder, path) = tier_file();
    let before = server(&path, &["--shards=1"]);
    set_all(&mut Redis::connect(&before), 1);
    stop(before);
    let old = server(&path, &["--shards=1", "--tier-snapshots=8"]);
    set_all(&mut Redis::connect(&old), 2);
    stop(old);
    assert!(!tier("stat", &path).contains(" snapshots, "));
    let copy = folder.path().join("copy");
    let copied = finish(torc().args(["tier", "copy"]).args([&path, &copy]));
    assert!(copied.status.success(), "{}", stderr_of(&copied));
    let new = server(&copy, &["--shards=1", "--tier-snapshots=8"]);
    holds(&new, 2);
    let round = overwrite(&new, 3);
    stop(new);
    let new = server(&copy, &["--shards=2"]);
    holds(&new, round);
    stop(new);
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let (_folder, path) = tier_file();
    let path = format!("--tier={}", path.display());
    for (wrong, words) in [
        ("--tier-snapshots=17", "0 to 16"),
        ("--tier-snapshots=often", "0 to 16"),
        ("--tier-snapshot-memory=1k", "from 64k"),
    ] {
        let output = finish(&mut serve(&[&path, "--tier-size=64m", wrong]));
        let text = stderr_of(&output);
        assert!(!output.status.success() && text.contains(words), "{text}");
    }
}
