//! Limits met from outside: connections, descriptors, sizes, clients that do not behave.

use crate::harness::{Client, PATIENCE, Server, finish, serve, stderr_of, sum_of};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_connection_too_many_is_refused_and_the_others_go_on() {
    let server = Server::start(&["--max-connections=3"]);
    let mut inside: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    assert!(inside.iter_mut().all(Client::try_ping));
    assert!(!server.connect().try_ping(), "a fourth is not served");
    assert!(inside.iter_mut().all(Client::try_ping));
    assert!(server.metric("torc_connections_closed_total", "too_many") >= 1.0);
    inside.pop();
    wait_until("the place is free again", || server.connect().try_ping());
}

#[test]
fn the_connection_limit_fits_the_open_files() {
    let mut command = serve(&["--check"]);
    limit_files(&mut command, 400);
    let output = finish(&mut command);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = shown.lines().find(|line| line.starts_with("max-connections")).unwrap_or_default();
    assert!(line.contains(" 144 ") && line.contains("400"), "{shown}");

    assert!(stderr_of(&output).contains("--max-connections is 144"), "{}", stderr_of(&output));

    // Once a limit below 257 kept a server without flags from starting.
    let mut command = serve(&["--shards=1"]);
    limit_files(&mut command, 100);
    let mut server = Server::spawn(&mut command);
    let mut only = server.connect();
    assert!(only.try_ping());
    assert!(!server.connect().try_ping(), "a second is not served");
    server.signal(libc::SIGTERM);
    let (status, stderr) = server.wait();
    assert!(status.success() && stderr.contains("--max-connections is 1,"), "{stderr}");

    let mut command = serve(&["--check", "--max-connections=1000"]);
    limit_files(&mut command, 400);
    let output = finish(&mut command);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr_of(&output).contains("--max-connections"), "{}", stderr_of(&output));
}

#[test]
fn a_server_at_its_file_limit_serves_on() {
    let mut command = serve(&[]);
    limit_files(&mut command, 300);
    let server = Server::spawn(&mut command);
    let mut first = server.connect();
    assert!(first.try_ping());
    // More than the limit allows; each is served or refused, none hangs the server.
    let crowd: Vec<TcpStream> = (0..400).filter_map(|_| TcpStream::connect(server.address()).ok()).collect();
    assert!(first.try_ping());
    drop(crowd);
    wait_until("new clients are served again", || server.connect().try_ping());
    assert!(first.try_ping());
}

fn limit_files(command: &mut std::process::Command, files: u64) {
    let set = move || {
        let limit = libc::rlimit { rlim_cur: files, rlim_max: files };
        // SAFETY: the pointer is to a live `rlimit` that the call only reads.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the closure makes one system call: no allocation, no lock.
    unsafe { command.pre_exec(set) };
}

#[test]
fn values_and_keys_over_the_limit_get_their_protocols_error() {
    let server = Server::start(&["--max-value=100k", "--max-key=200"]);
    let mut redis = server.connect();
    let long_key = "k".repeat(201);
    redis.send(format!("*2\r\n$3\r\nGET\r\n$201\r\n{long_key}\r\n").as_bytes());
    assert!(redis.read_some().starts_with(b"-ERR"));
    let value = vec![b'v'; 200 << 10];
    let mut redis = server.connect();
    redis.send(&[b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$204800\r\n", &value[..], b"\r\n"].concat());
    assert!(redis.read_some().starts_with(b"-ERR"));
    let mut memcache = server.connect();
    memcache.send(&[b"set k 0 0 204800\r\n", &value[..], b"\r\n"].concat());
    assert!(memcache.read_some().starts_with(b"SERVER_ERROR object too large"));
    memcache.ask(b"get k\r\n", b"END\r\n");
}

#[test]
fn the_longest_value_is_stored_by_every_shard() {
    let server = Server::start(&["--memory=128m", "--shards=2"]);
    let (_, metrics) = server.admin("/metrics");
    let most = sum_of(&metrics, "torc_limit", "max-value") as usize;
    assert!((8 << 20..64 << 20).contains(&most), "lowered to what a shard can take: {most}");
    let value = vec![b'v'; most];
    for key in 0..6 {
        let mut client = server.connect();
        client.send(format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n${most}\r\n").as_bytes());
        client.send(&value);
        client.ask(b"\r\n", b"+OK\r\n");
        client.ask(
            format!("*2\r\n$6\r\nSTRLEN\r\n$1\r\n{key}\r\n").as_bytes(),
            format!(":{most}\r\n").as_bytes(),
        );
    }
}

#[test]
fn garbage_ends_its_own_connection_alone() {
    let server = Server::start(&[]);
    let mut good = server.connect();
    for garbage in [
        &b"*-5\r\n"[..],
        b"*1\r\n$99999999999999999999\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$18446744073709551615\r\n",
        b"\x80\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
        b"set k 0 0 -1\r\n",
        b"set k 0 0 99999999999999999999\r\n",
        &[0xff; 4096],
    ] {
        let mut bad = server.connect();
        bad.send(garbage);
        let answer = bad.end();
        assert!(answer.len() < 300, "{garbage:?}: {answer:?}");
        assert!(good.try_ping(), "{garbage:?}");
    }
    // Half a frame, then gone.
    let mut half = server.connect();
    half.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\nhalf");
    drop(half);
    assert!(good.try_ping());
    good.ask(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$-1\r\n");
}

#[test]
fn a_frame_that_drips_in_byte_by_byte_is_answered() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n" {
        client.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    client.expect(b"+OK\r\n");
}

#[test]
fn a_client_that_never_reads_is_dropped_and_nobody_notices() {
    let server = Server::start(&["--slow-client-timeout=500ms", "--output-limit=1m"]);
    let value = vec![b'v'; 1 << 20];
    let mut good = server.connect();
    good.ask(&[b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n", &value[..], b"\r\n"].concat(), b"+OK\r\n");
    let mut stuck = server.connect();
    stuck.send(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(64));
    wait_until("the slow client is dropped", || {
        assert!(good.try_ping());
        server.metric("torc_connections", "") <= 1.0
    });
}

#[test]
fn a_full_memory_evicts_and_serves_on() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let value = vec![b'v'; 10_000];
    for batch in 0..100 {
        let mut request = Vec::new();
        for index in 0..100 {
            request.extend(format!("set key{batch}-{index} 0 0 {}\r\n", value.len()).bytes());
            request.extend(&value);
            request.extend(b"\r\n");
        }
        client.send(&request);
        client.expect(&b"STORED\r\n".repeat(100));
    }
    assert!(server.metric("torc_evictions_total", "") > 0.0);
    client.ask(b"get key99-99\r\n", b"VALUE key99-99 0 10000\r\n");
}
