//! Small changes that are safe at once: they lie in a journal, and take room of the tier once they are packed.

use super::redis::{Answer, Redis};
use super::{key, kill, start, stop, tier_file, value, wait_until_recovered};
use crate::harness::{Server, finish, stderr_of, torc};
use serde_json::Value;
use std::path::Path;

fn always(path: &Path, arguments: &[&str]) -> Server {
    let all = [&["--durability=always", "--shards=2", "--memory=64m", "--tier-size=64m"], arguments].concat();
    let server = start(path, &all);
    wait_until_recovered(&server);
    server
}

fn stat(path: &Path) -> Value {
    let output = finish(torc().args(["tier", "stat", "--json"]).arg(path));
    assert!(output.status.success(), "{}", stderr_of(&output));
    serde_json::from_slice(&output.stdout).expect("an object")
}

/// Each alone: nothing is written with others.
fn set(redis: &mut Redis, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let command = [b"SET".to_vec(), key(number).into(), value(number)];
        assert_eq!(redis.ask_all(&[command.to_vec()]), [Answer::Ok]);
    }
}

fn found(redis: &mut Redis, numbers: std::ops::Range<usize>) -> usize {
    let get = |number| vec![b"GET".to_vec(), key(number).into()];
    let is_right = |redis: &mut Redis, number| redis.ask_all(&[get(number)]) == [Answer::Bulk(value(number))];
    numbers.filter(|number| is_right(redis, *number)).count()
}

fn written(server: &Server) -> (f64, f64) {
    let journal = server.metric("torc_tier_journal_bytes_total", "");
    (server.metric("torc_tier_written_bytes_total", "") - journal, journal)
}

#[test]
fn what_was_answered_is_in_the_journal_after_a_kill_and_packed_by_the_next_start() {
    let (_folder, path) = tier_file();
    for round in 0..4 {
        let server = always(&path, &[]);
        let mut redis = Redis::connect(&server);
        let numbers = 400 * round..400 * (round + 1);
        assert_eq!(found(&mut redis, 0..numbers.start), numbers.start, "round {round}");
        set(&mut redis, numbers.clone());
        assert_eq!(redis.run(&["DEL", &key(numbers.start)]), Answer::Integer(1));
        set(&mut redis, numbers.start..numbers.start + 1);
        let (stream, journal) = written(&server);
        assert!(journal >= 401.0 * 4096.0, "{journal}");
        assert!(stream < journal / 4.0, "{stream} {journal}");
        kill(server);
        let stat = stat(&path);
        assert_eq!((&stat["format"], &stat["state"]), (&2.into(), &"cut-off".into()));
        assert!(stat["journaled_changes"].as_u64() > Some(10), "{stat}");
        let check = finish(torc().args(["tier", "check"]).arg(&path));
        assert!(check.status.success(), "{check:?}");
    }
    let server = always(&path, &["--tier-recovery=wait"]);
    assert_eq!(found(&mut Redis::connect(&server), 0..1600), 1600);
    stop(server);
    let stat = stat(&path);
    assert_eq!(stat["journaled_changes"], 0);
    // Blocks of 4096 bytes for each change would be 6.5 MB.
    let used = stat["all"]["used_bytes"].as_u64().expect("a number");
    assert!(used < 1600 * 1500, "{stat}");
}

#[test]
fn a_tier_of_the_first_format_is_used_as_it_is_and_a_copy_has_journals() {
    let (folder, path) = tier_file();
    let server = always(&path, &["--tier-journal=0"]);
    set(&mut Redis::connect(&server), 0..100);
    let (stream, journal) = written(&server);
    assert!(journal == 0.0 && stream >= 100.0 * 4096.0);
    assert!(server.metric("torc_tier_padding_bytes_total", "") > stream / 2.0);
    kill(server);
    let server = always(&path, &[]);
    let mut redis = Redis::connect(&server);
    assert_eq!(found(&mut redis, 0..100), 100);
    set(&mut redis, 100..150);
    assert_eq!(written(&server).1, 0.0);
    stop(server);
    assert_eq!(stat(&path)["format"], 1);

    let copy = folder.path().join("copy");
    let copied = finish(torc().args(["tier", "copy"]).args([&path, &copy]));
    assert!(copied.status.success(), "{}", stderr_of(&copied));
    assert_eq!(stat(&copy)["format"], 4);
    let server = always(&copy, &[]);
    let mut redis = Redis::connect(&server);
    assert_eq!(found(&mut redis, 0..150), 150);
    set(&mut redis, 150..200);
    assert!(written(&server).1 > 0.0);
    kill(server);
    // What the journal has is copied, too.
    let again = folder.path().join("again");
    let copied = finish(torc().args(["tier", "copy", "--streams=3"]).args([&copy, &again]));
    assert!(copied.status.success(), "{}", stderr_of(&copied));
    let server = always(&again, &[]);
    assert_eq!(found(&mut Redis::connect(&server), 0..200), 200);
    stop(server);
}

#[test]
fn what_is_written_for_nothing_is_told_to_clients_too() {
    let (_folder, path) = tier_file();
    let server = always(&path, &[]);
    let mut redis = Redis::connect(&server);
    set(&mut redis, 0..20);
    let Answer::Bulk(info) = redis.run(&["INFO", "stats"]) else { panic!("a text") };
    let info = String::from_utf8(info).expect("text");
    let figure = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{name} in {info}"))
    };
    assert!(figure("tier_journal_bytes") >= 20.0 * 4096.0);
    assert_eq!(figure("tier_journal_bytes"), server.metric("torc_tier_journal_bytes_total", ""));
    assert!(figure("tier_written_bytes") >= figure("tier_journal_bytes"));
    assert!(figure("tier_item_bytes") > 0.0);
    assert_eq!(figure("tier_padding_bytes"), 0.0);
    stop(server);
}

#[test]
fn a_journal_that_is_too_large_is_refused_with_the_most_that_is_possible() {
    let (_folder, path) = tier_file();
    let tier = format!("--tier={}", path.display());
    let output = finish(&mut crate::harness::serve(&[&tier, "--tier-size=64m", "--tier-journal=1m"]));
    assert!(stderr_of(&output).contains("--tier-journal"), "{}", stderr_of(&output));
    assert!(stderr_of(&output).contains("512k"), "{}", stderr_of(&output));
}
