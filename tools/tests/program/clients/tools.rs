//! The tools that Debian has.

use super::{run, tool};
use crate::harness::{Server, finish};
use std::process::Command;

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
