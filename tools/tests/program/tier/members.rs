//! One tier over several files: what a kill leaves, members that are missing or another's, other sizes, and a member that fails.

use super::rearm::{latch, rearms};
use super::redis::Redis;
use super::{count_all, kill, set_all, stop, wait_until_saved};
use crate::harness::{Server, finish, serve, stderr_of, torc};
use std::path::{Path, PathBuf};
use std::process::Output;

const KEYS: usize = 20_000;

struct Two {
    folder: tempfile::TempDir,
}

impl Two {
    fn new() -> Two {
        Two { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, names: &[&str], more: &[&str]) -> Vec<String> {
        let tiers = names.iter().map(|name| format!("--tier={}", self.path(name).display()));
        let fixed = ["--durability=interval:100ms", "--memory=32m", "--shards=2"];
        tiers.chain(fixed.iter().chain(more).map(|argument| (*argument).to_owned())).collect()
    }

    fn start(&self, names: &[&str], more: &[&str]) -> Server {
        let arguments = self.arguments(names, more);
        Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn refused(&self, names: &[&str], more: &[&str]) -> String {
        let arguments = self.arguments(names, more);
        let output = finish(&mut serve(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        assert!(!output.status.success());
        stderr_of(&output)
    }

    /// A tier over `a` and `b` with all keys, that was killed.
    fn filled(&self) {
        let server = self.start(&["a", "b"], &["--tier-size=64m"]);
        set_all(&mut Redis::connect(&server), 0..KEYS);
        wait_until_saved(&server);
        for name in ["a", "b"] {
            let member = format!("{{member=\"{}\"}}", self.path(name).display());
            assert!(server.metric("torc_tier_member_written_bytes_total", &member) > 1e6, "{name}");
        }
        kill(server);
    }

    fn has_all(&self, server: &Server) {
        let all = count_all(&mut Redis::connect(server), 0..KEYS);
        assert_eq!(all, KEYS, "all keys are there");
    }

    fn tier(&self, arguments: &[&str], names: &[&str]) -> Output {
        finish(torc().arg("tier").args(arguments).args(names.iter().map(|name| self.path(name))))
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len()
}

#[test]
fn a_tier_over_two_files_is_there_after_a_kill_in_any_order() {
    let two = Two::new();
    two.filled();
    assert_eq!((size(&two.path("a")), size(&two.path("b"))), (32 << 20, 32 << 20));
    let output = two.tier(&["check"], &["b", "a"]);
    assert!(output.status.success(), "{}", stderr_of(&output));
    for (names, more) in [
        (["b", "a"], "--tier-reads=auto"),
        (["a", "b"], "--tier-reads=threads"),
        (["a", "b"], "--transport=epoll"),
    ] {
        let server = two.start(&names, &[more]);
        two.has_all(&server);
        kill(server);
    }
}

#[test]
fn members_that_are_missing_swapped_or_anothers_are_refused_and_left_alone() {
    let (two, other) = (Two::new(), Two::new());
    two.filled();
    other.filled();
    let before = std::fs::read(two.path("a")).expect("a file");
    let told = two.refused(&["a"], &[]);
    assert!(told.contains("it is member 1 of 2 that a tier lies on: give all of them"), "{told}");
    let told = two.refused(&["a", "c"], &["--tier-size=64m"]);
    assert!(told.contains("member 2 of 2 is missing") && told.contains("--tier-on-mismatch reset"), "{told}");
    assert!(!two.path("c").exists(), "nothing was made");
    let told = two.refused(&["a", "b", "c"], &["--tier-size=96m"]);
    assert!(told.contains("of 2, and 3 are given"), "{told}");
    std::fs::copy(other.path("b"), two.path("theirs")).expect("a copy");
    let told = two.refused(&["a", "theirs"], &[]);
    assert!(told.contains("theirs is a member of another tier than"), "{told}");
    std::fs::copy(two.path("a"), two.path("twin")).expect("a copy");
    assert!(two.refused(&["a", "twin"], &[]).contains("one is a copy of the other"));
    assert!(two.refused(&["a", "a"], &[]).contains("twice"));
    std::fs::hard_link(two.path("a"), two.path("link")).expect("a link");
    two.refused(&["a", "link"], &[]);
    assert!(
        two.refused(&["a", "b"], &["--tier-size=1m", "--tier-size=2m", "--tier-size=3m"])
            .contains("tier-size")
    );
    let alone = two.start(&["single"], &["--tier-size=64m"]);
    kill(alone);
    let told = two.refused(&["single", "new"], &["--tier-size=64m"]);
    assert!(told.contains("is a tier of its own") && told.contains("torc tier copy"), "{told}");
    assert!(stderr_of(&two.tier(&["reset", "--yes"], &["b"])).contains("member 2 of 2"));
    assert!(std::fs::read(two.path("a")).expect("a file") == before, "it was not touched");
    two.has_all(&two.start(&["a", "b"], &[]));
    // What is asked for is done.
    let server = two.start(&["a", "c"], &["--tier-size=64m", "--tier-on-mismatch=reset"]);
    assert_eq!(count_all(&mut Redis::connect(&server), 0..100), 0);
    assert!(stop(server).contains("made anew"));
}

#[test]
fn a_member_that_is_deleted_under_a_server_is_missed_at_the_next_start() {
    let two = Two::new();
    two.filled();
    let server = two.start(&["a", "b"], &[]);
    std::fs::remove_file(two.path("b")).expect("it is there");
    two.has_all(&server);
    kill(server);
    assert!(two.refused(&["a", "b"], &["--tier-size=64m"]).contains("member 2 of 2 is missing"));
    assert!(!two.path("b").exists());
}

#[test]
fn several_files_are_resized_at_a_start_and_copied_to_others_and_to_one() {
    let two = Two::new();
    two.filled();
    let server = two.start(&["a", "b"], &["--tier-size=64m", "--tier-size=40m"]);
    two.has_all(&server);
    assert!(stop(server).contains("is resized"));
    assert_eq!((size(&two.path("a")), size(&two.path("b"))), (64 << 20, 40 << 20));
    let output = two.tier(&["copy", "--to"], &["c"]);
    assert_eq!(output.status.code(), Some(2));
    let [a, b] = ["a", "b"].map(|name| two.path(name).display().to_string());
    let output = two.tier(&["copy", &a, &b, "--to"], &["one"]);
    assert!(output.status.success(), "{}", stderr_of(&output));
    let server = two.start(&["one"], &[]);
    two.has_all(&server);
    stop(server);
    let one = two.path("one").display().to_string();
    let output = two.tier(&["copy", &one, "--to"], &["x", "y", "z"]);
    assert!(output.status.success(), "{}", stderr_of(&output));
    // A copy that was cut off between two names has its others beside them.
    std::fs::rename(two.path("y"), two.path("y.part")).expect("it is there");
    std::fs::copy(two.path("b"), two.path("y")).expect("a copy");
    let server = two.start(&["x", "y", "z"], &[]);
    two.has_all(&server);
    stop(server);
    let output = two.tier(&["resize", "--size=60m"], &["x", "y", "z"]);
    assert!(output.status.success(), "{}", stderr_of(&output));
    assert_eq!(size(&two.path("z")), 20 << 20);
}

#[test]
fn a_member_that_fails_latches_the_tier_and_is_named_and_rearmed() {
    let two = Two::new();
    let server = two.start(&["a", "b"], &["--tier-size=64m", "--memory=64m"]);
    set_all(&mut Redis::connect(&server), 0..5000);
    // Labels and superblocks can be written, and nothing else.
    latch(&server, 16 << 10);
    assert_eq!(server.metric("torc_tier_latched", ""), 1.0);
    super::rearm::limit(&server, libc::RLIM_INFINITY);
    rearms(&server);
    set_all(&mut Redis::connect(&server), 5000..6000);
    wait_until_saved(&server);
    assert_eq!(count_all(&mut Redis::connect(&server), 0..6000), 6000);
    let log = {
        let mut server = server;
        server.signal(libc::SIGKILL);
        server.wait().1
    };
    let named = ["a", "b"].map(|name| format!("--tier: {}: cannot write", two.path(name).display()));
    assert!(named.iter().any(|named| log.contains(named)), "{log}");
    let server = two.start(&["a", "b"], &[]);
    assert_eq!(count_all(&mut Redis::connect(&server), 5000..6000), 1000);
}
