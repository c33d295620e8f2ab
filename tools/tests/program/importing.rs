//! `torc import`, from servers that speak Redis' or memcached's protocol: expiry, what is kept, what goes wrong and what is then told.

use crate::harness::{Client, PATIENCE, Server, finish, stderr_of, torc};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

fn import(source: &str, server: &Server, more: &[&str]) -> (Option<i32>, String, String) {
    let address = server.address().to_string();
    let mut command = torc();
    command.args(["import", source, "--server", &address]).args(more);
    let output = finish(&mut command);
    let (code, told) = (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned());
    (code, told, stderr_of(&output))
}

#[test]
fn all_that_a_database_holds_is_brought_over_with_its_expiry() {
    let (source, target) = (Server::start(&["--shards=2"]), Server::start(&["--shards=2"]));
    let mut client = source.connect();
    client.ask(b"SELECT 3\r\n", b"+OK\r\n");
    for number in 0..1000 {
        let ttl = if number % 2 == 0 { " EX 1000" } else { "" };
        client.ask(format!("SET key:{number} value-{number}{ttl}\r\n").as_bytes(), b"+OK\r\n");
    }
    client.ask(b"SELECT 0\r\nSET elsewhere v\r\n", b"+OK\r\n+OK\r\n");
    let name = format!("redis://{}/3", source.address());
    let (code, told, errors) = import(&name, &target, &[]);
    assert_eq!((code, told.as_str()), (Some(0), "1000 items, 8890 bytes of values\n"), "{errors}");
    let mut client = target.connect();
    client.ask(b"DBSIZE\r\nGET key:998\r\nTTL key:999\r\n", b":1000\r\n$9\r\nvalue-998\r\n:-1\r\n");
    client.send(b"PTTL key:998\r\n");
    let ttl: i64 =
        String::from_utf8(client.read_some()).unwrap().trim_start_matches(':').trim_end().parse().unwrap();
    assert!((900_000..=1_000_000).contains(&ttl), "{ttl}");
    // Once more, it is the same; with --keep what is there stays.
    client.ask(b"SET key:1 mine\r\nDEL key:2\r\n", b"+OK\r\n:1\r\n");
    let (_, told, _) = import(&name, &target, &["--keep"]);
    assert!(told.starts_with("1 items, 7 bytes") && told.contains("999 kept"), "{told}");
    client.ask(b"GET key:1\r\nGET key:2\r\n", b"$4\r\nmine\r\n$7\r\nvalue-2\r\n");
    let (_, told, _) = import(&name, &target, &[]);
    assert!(told.starts_with("1000 items"), "{told}");
    client.ask(b"GET key:1\r\n", b"$7\r\nvalue-1\r\n");
}

/// What a memcached holds, or a Torc that is read as one; `client` has stored it.
fn brought_over(source: &str) {
    let target = Server::start(&["--shards=2"]);
    let (code, told, errors) = import(&format!("memcache://{source}"), &target, &[]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(told.starts_with("1001 items, 8895 bytes"), "{told}");
    let mut client = target.connect();
    client.ask(
        b"get key:7 key:998\r\n",
        b"VALUE key:7 7 7\r\nvalue-7\r\nVALUE key:998 998 9\r\nvalue-998\r\nEND\r\n",
    );
    client.ask(b"mg key:999 t\r\nmg AAogLw== b v\r\n", b"HD t-1\r\nVA 5\r\nbytes\r\n");
    client.send(b"mg key:998 t\r\n");
    let ttl = String::from_utf8(client.read_some()).unwrap();
    let ttl: u32 = ttl.trim_start_matches("HD t").trim_end().parse().unwrap();
    assert!((900..=1000).contains(&ttl), "{ttl}");
}

/// A thousand items, half of which expire, and one whose key is no text.
fn store_items(mut client: Client) {
    for number in 0..1000 {
        let (ttl, value) = (if number % 2 == 0 { 1000 } else { 0 }, format!("value-{number}"));
        let set = format!("set key:{number} {number} {ttl} {}\r\n{value}\r\n", value.len());
        client.ask(set.as_bytes(), b"STORED\r\n");
    }
    client.ask(b"ms AAogLw== 5 b\r\nbytes\r\n", b"HD\r\n");
}

#[test]
fn what_memcached_and_torc_hold_is_brought_over_by_memcacheds_protocol() {
    let source = Server::start(&["--shards=2"]);
    store_items(source.connect());
    brought_over(&source.address().to_string());
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new("memcached");
    let Ok(mut memcached) =
        command.args(["-l", "127.0.0.1", "-U", "0", "-u", "root", "-p", &port.to_string()]).spawn()
    else {
        eprintln!("SKIPPED: memcached is not installed, so nothing was imported from it");
        return;
    };
    let begun = Instant::now();
    let stream = loop {
        match TcpStream::connect(&address) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let outcome = std::panic::catch_unwind(|| {
        store_items(Client::new(stream));
        brought_over(&address);
    });
    memcached.kill().unwrap();
    memcached.wait().unwrap();
    outcome.unwrap();
}

#[test]
fn what_is_in_the_way_is_said() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"s3cret\n").unwrap();
    let path = file.path().to_str().unwrap();
    let source = Server::start(&["--requirepass-file", path]);
    let target = Server::start(&["--requirepass-file", path, "--max-value=100"]);
    let mut client = source.connect();
    client.ask(b"AUTH s3cret\r\nSET short v\r\n", b"+OK\r\n+OK\r\n");
    client.ask(format!("SET long {}\r\n", "x".repeat(101)).as_bytes(), b"+OK\r\n");
    let name = format!("redis://{}", source.address());
    let both = ["--password-file", path, "--source-password-file", path];
    for (source, more, code, part) in [
        ("redis://127.0.0.1:1", &both[..], 1, "refused"),
        ("redis://u:s3cret@h", &both, 2, "--source-password-file"),
        (&name, &both[..2], 1, "give --source-password-file"),
        (&name, &both[2..], 1, "password"),
        ("memcache://h", &["--from", "7"], 2, "--from"),
    ] {
        let mut more = more.to_vec();
        more.extend(["--timeout", "2"]);
        let (got, told, errors) = import(source, &target, &more);
        assert!(got == Some(code) && told.is_empty() && errors.contains(part), "{source}: {got:?} {errors}");
    }
    let (code, told, errors) = import(&name, &target, &both);
    assert_eq!(code, Some(0), "{errors}");
    assert!(told.starts_with("1 items, 1 bytes") && told.contains("1 refused"), "{told}");
}
