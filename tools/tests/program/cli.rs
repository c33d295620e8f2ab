//! `torc cli` against a running server: native and RESP, arguments and pipe.

use crate::harness::{Server, finish, stderr_of, torc};
use std::io::Write;
use std::process::Stdio;

fn cli(server: &Server, arguments: &[&str]) -> (String, Option<i32>) {
    let output = finish(torc().args(["cli", "--server", &server.address().to_string()]).args(arguments));
    let stderr = stderr_of(&output);
    assert!(stderr.is_empty(), "{arguments:?}: {stderr}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

#[test]
fn native_verbs_do_what_they_say() {
    let server = Server::start(&["--shards=2"]);
    let ask = |line: &str| {
        let (text, code) = cli(&server, &line.split(' ').collect::<Vec<_>>());
        assert_eq!(code, Some(0), "{line}: {text}");
        text
    };
    assert!(ask("set k v ttl=60s flags=7").starts_with("stored, token "));
    let found = ask("get k");
    assert!(
        found.starts_with("\"v\"\n") && found.contains("flags 7") && found.contains("expires in "),
        "{found}"
    );
    assert_eq!(ask("get none"), "(missing)\n");
    assert_eq!(ask("get none k").lines().next(), Some("(missing)"));
    assert_eq!(ask("add k w"), "(not stored)\n");
    assert!(ask("append k w").starts_with("stored"));
    assert!(ask("set k x old").contains("old: \"vw\""));
    assert_eq!(ask("set k y compare=1"), "(another token)\n");
    assert_eq!(ask("touch k 10s if=unset"), "touched\n");
    assert_eq!(ask("increment n 5 initial=40"), "40\n");
    assert_eq!(ask("increment n 5"), "45\n");
    assert_eq!(ask("decrement n 100"), "0\n");
    assert_eq!(ask("delete k"), "deleted\n");
    assert_eq!(ask("ping"), "pong\n");
    assert!(ask("statistics").lines().count() > 5);
    let (big, small) = ("x".repeat(5000), "y");
    ask(&format!("set big {big}"));
    ask(&format!("set small {small}"));
    let biggest = ask("bigkeys 1");
    assert!(biggest.contains(" \"big\"\n") && !biggest.contains("small"), "{biggest}");
    assert!(biggest.contains("3 keys of "), "{biggest}");
    let topology = ask("topology");
    assert!(topology.contains("shard 0") && topology.contains("shard 1"), "{topology}");
    assert_eq!(ask("flush"), "flushed\n");
    assert_eq!(ask("get n"), "(missing)\n");
    assert!(ask("help").lines().count() > 10);
}

#[test]
fn how_a_verb_is_used_is_told_without_a_server() {
    let ask = |arguments: &[&str]| {
        let output = finish(torc().args(["cli", "--server", "127.0.0.1:1"]).args(arguments));
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    assert_eq!(ask(&["bigkeys", "--help"]), ("bigkeys [COUNT]\n".into(), Some(0)));
    assert_eq!(ask(&["PING", "--help"]), ("ping\n".into(), Some(0)));
    assert!(ask(&["help"]).0.contains("bigkeys [COUNT]\n"));
    assert_ne!(ask(&["nosuch", "--help"]).1, Some(0));
}

#[test]
fn wrong_lines_are_errors_with_the_usage() {
    let server = Server::start(&[]);
    for (arguments, part) in [
        (&["set", "k"][..], "usage: set KEY VALUE"),
        (&["set", "k", "v", "ttl=5"], "write 5s"),
        (&["hgetall", "k"], "help"),
        (&["--protocol", "resp", "HGETALL", "k"], "ERR unknown command"),
    ] {
        let (text, code) = cli(&server, arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {text}");
        assert!(text.contains("(error)") && text.contains(part), "{arguments:?}: {text}");
    }
}

#[test]
fn resp_sends_any_command() {
    let server = Server::start(&[]);
    let resp = |arguments: &[&str]| cli(&server, &[&["--protocol", "resp"], arguments].concat()).0;
    assert_eq!(resp(&["SET", "k", "two words"]), "OK\n");
    assert_eq!(resp(&["GET", "k"]), "\"two words\"\n");
    assert_eq!(resp(&["STRLEN", "k"]), "(integer) 9\n");
    assert_eq!(resp(&["MGET", "k", "none"]), "1) \"two words\"\n2) (nil)\n");
}

#[test]
fn a_pipe_is_a_line_a_command() {
    let server = Server::start(&[]);
    let mut child = torc()
        .args(["cli", "--server", &server.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("torc starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"set k \"a\\x00b\"\n\nget k\nexit\nget k\n").expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("torc ends");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1], "\"a\\x00b\"");
}

#[test]
fn what_is_no_address_is_an_error_that_says_how_one_is_written() {
    for server in ["localhost", "", "127.0.0.1:99999", "unix:"] {
        for protocol in ["native", "resp"] {
            let output = finish(torc().args(["cli", "-s", server, "-p", protocol, "PING"]));
            assert_eq!(output.status.code(), Some(1), "{server} {protocol}");
            assert!(stderr_of(&output).contains("host:port"), "{server}: {}", stderr_of(&output));
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error_with_the_cure() {
    for protocol in ["native", "resp"] {
        let began = std::time::Instant::now();
        let output =
            finish(torc().args(["cli", "-s", "127.0.0.1:1", "--timeout", "60", "-p", protocol, "PING"]));
        // Once the native protocol tried again for as long as it was told to wait for an answer.
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{protocol}");
        assert_eq!(output.status.code(), Some(1), "{protocol}");
        assert!(stderr_of(&output).contains("torc serve"), "{protocol}: {}", stderr_of(&output));
    }
}
