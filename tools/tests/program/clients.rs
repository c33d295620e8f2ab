//! Real clients, at pinned versions, in the scripts of `tests/clients/`.
//!
//! `tools/ci.sh` makes the Python environment and names it in `TORC_TEST_PYTHON`. Without it these tests say
//! loudly that they are skipped, except where `CI` is set: there it is a failure.

use crate::harness::{Server, finish};
use std::path::Path;
use std::process::Command;

/// The interpreter with the pinned clients, if there is one.
fn python() -> Option<String> {
    let python = std::env::var("TORC_TEST_PYTHON").ok().filter(|python| Path::new(python).exists());
    missing_unless(python.is_some(), "TORC_TEST_PYTHON names no Python with the pinned clients");
    python
}

/// Says that a test is skipped, and fails it under CI.
fn missing_unless(there: bool, what: &str) {
    if there {
        return;
    }
    let skippable = std::env::var("CI").is_err() || std::env::var("TORC_SKIP_CLIENTS").is_ok();
    assert!(skippable, "{what}: run `bash tools/ci.sh test`, which installs it");
    eprintln!("SKIPPED: {what}; `bash tools/ci.sh test` installs it");
}

fn script(name: &str, arguments: &[&str]) {
    let Some(python) = python() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
    run(Command::new(python).arg(path).args(arguments));
}

/// What the command printed, once it has succeeded.
fn run(command: &mut Command) -> String {
    let output = finish(command);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {shown}{}", String::from_utf8_lossy(&output.stderr));
    shown
}

/// Debian's tool of that name, if it is installed.
fn tool(name: &str) -> Option<Command> {
    let there = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|path| path.join(name).exists()));
    missing_unless(there, name);
    there.then(|| Command::new(name))
}

#[test]
fn redis_py_speaks_both_versions_of_resp() {
    for transport in ["auto", "epoll"] {
        let server = Server::start(&["--shards=2", "--transport", transport]);
        script("redis_plain.py", &[&format!("redis://{}", server.address())]);
    }
}

#[test]
fn redis_py_gets_messages_in_both_versions_and_asynchronously() {
    for transport in ["auto", "epoll"] {
        let server =
            Server::start(&["--shards=2", "--transport", transport, "--notify-keyspace-events", "KEA"]);
        let cluster = server.addresses("shard_listen")[0].port().to_string();
        script("redis_messages.py", &[&format!("redis://{}", server.address()), &cluster]);
    }
}

#[test]
fn redis_py_keeps_copies_that_are_never_old() {
    for transport in ["auto", "epoll"] {
        let server = Server::start(&["--shards=2", "--transport", transport]);
        script("redis_caching.py", &[&format!("redis://{}", server.address())]);
    }
}

#[test]
fn redis_py_speaks_resp_over_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("torc.sock");
    let _server = Server::start(&[&format!("--listen=unix:{}", path.display())]);
    script("redis_plain.py", &[&format!("unix://{}", path.display())]);
}

#[test]
fn the_cluster_client_of_redis_py_goes_straight_to_the_shards() {
    for transport in ["auto", "epoll"] {
        let server = Server::start(&["--shards=2", "--transport", transport]);
        let shard = server.addresses("shard_listen")[0];
        for port in [server.address().port(), shard.port()] {
            script("redis_cluster.py", &["127.0.0.1", &port.to_string(), "2"]);
        }
    }
}

#[test]
fn a_cluster_client_can_be_told_to_keep_its_host() {
    let server = Server::start(&["--shards=2", "--announce-host=same"]);
    script("redis_cluster.py", &["127.0.0.1", &server.address().port().to_string(), "2"]);
}

#[test]
fn pymemcache_speaks_memcached_text() {
    for transport in ["auto", "epoll"] {
        let server = Server::start(&["--shards=2", "--transport", transport]);
        script("memcache_text.py", &[&server.address().to_string()]);
    }
}

#[test]
fn redis_cli_works() {
    let server = Server::start(&[]);
    let port = server.address().port().to_string();
    let cli = |arguments: &[&str]| Some(run(tool("redis-cli")?.args(["-p", &port]).args(arguments)));
    if cli(&["PING"]).is_none() {
        return;
    }
    assert_eq!(cli(&["SET", "greeting", "hello"]).as_deref(), Some("OK\n"));
    assert_eq!(cli(&["GET", "greeting"]).as_deref(), Some("hello\n"));
    assert_eq!(cli(&["-3", "GET", "greeting"]).as_deref(), Some("hello\n"));
    assert_eq!(cli(&["--scan"]).as_deref(), Some("greeting\n"));
    assert!(cli(&["INFO"]).is_some_and(|info| info.contains("# Server")));
    assert!(cli(&["CLUSTER", "KEYSLOT", "greeting"]).is_some_and(|slot| slot.trim().parse::<u16>().is_ok()));
}

#[test]
fn the_tools_of_libmemcached_work() {
    let server = Server::start(&[]);
    let servers = format!("--servers={}", server.address());
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("greeting");
    std::fs::write(&file, "hello").expect("a file");
    let Some(mut copy) = tool("memccp") else { return };
    run(copy.arg(&servers).arg(&file));
    assert_eq!(run(Command::new("memccat").args([&servers, "greeting"])).trim(), "hello");
    assert!(run(Command::new("memcstat").arg(&servers)).contains("curr_items"));
    run(Command::new("memcexist").args([&servers, "greeting"]));
    run(Command::new("memcrm").args([&servers, "greeting"]));
    assert!(!finish(Command::new("memcexist").args([&servers, "greeting"])).status.success());
    run(Command::new("memcping").arg(&servers));
    run(Command::new("memcflush").arg(&servers));
}
