//! The start: the ready line, every kind of address, and ports that are taken.

use crate::harness::{Client, Server, finish, serve, stderr_of};
use std::net::TcpListener;
use std::process::Command;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";

#[test]
fn the_ready_line_has_every_address_and_they_serve() {
    let server = Server::start(&["--listen=127.0.0.1:0", "--listen=127.0.0.1:0", "--shards=2"]);
    assert_eq!(server.ready["ready"], true);
    assert_eq!(server.ready["version"], env!("CARGO_PKG_VERSION"));
    assert!(server.ready["pid"].as_u64().is_some_and(|pid| pid > 1));
    assert_eq!(server.ready["shards"], 2);
    assert!(["uring", "epoll"].contains(&server.ready["transport"].as_str().expect("a transport")));
    let listen = server.addresses("listen");
    let shards = server.addresses("shard_listen");
    assert_eq!((listen.len(), shards.len()), (2, 2), "{}", server.ready);
    for address in listen.iter().chain(&shards) {
        assert_ne!(address.port(), 0);
        let stream = std::net::TcpStream::connect(address).expect("the server accepts");
        Client::new(stream).ask(PING, PONG);
    }
    assert_eq!(server.admin("/readyz").0, 200);
    assert_eq!(server.admin("/healthz").0, 200);
}

#[test]
fn all_three_protocols_share_a_port() {
    let server = Server::start(&[]);
    server.connect().ask(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n", b"+OK\r\n");
    server.connect().ask(b"get k\r\n", b"VALUE k 0 5\r\nvalue\r\nEND\r\n");
    server.connect().ask(b"mg k v\r\n", b"VA 5\r\nvalue\r\n");
    let mut http = server.connect();
    http.send(b"GET / HTTP/1.1\r\n\r\n");
    let answer = String::from_utf8_lossy(&http.rest()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("admin"), "{answer}");
}

#[test]
fn a_pinned_listener_speaks_its_protocol_alone() {
    let server = Server::start(&["--listen=memcache+tcp://127.0.0.1:0"]);
    server.connect().ask(b"version\r\n", b"VERSION ");
    let mut other = server.connect();
    other.send(PING);
    assert!(!other.read_some().starts_with(b"+PONG"));
}

#[test]
fn unix_sockets_serve_and_stale_ones_are_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("torc.sock");
    let listen = format!("--listen=unix:{}", path.display());
    let mut server = Server::start(&[&listen]);
    Client::unix(&path).ask(PING, PONG);
    assert_eq!(server.ready["listen"][0].as_str(), Some(format!("unix:{}", path.display()).as_str()));

    // Another server is alive behind it: that one keeps its socket.
    let output = finish(&mut serve(&[&listen]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr_of(&output));
    assert!(stderr_of(&output).contains("torc.sock"), "{}", stderr_of(&output));
    Client::unix(&path).ask(PING, PONG);

    // Killed, it leaves a socket without a server.
    server.signal(libc::SIGKILL);
    server.wait();
    assert!(path.exists());
    let mut server = Server::start(&[&listen]);
    Client::unix(&path).ask(PING, PONG);
    server.signal(libc::SIGTERM);
    let (status, stderr) = server.wait();
    assert!(status.success(), "{stderr}");
    assert!(!path.exists(), "an orderly end removes the socket");
}

#[test]
fn ipv6_serves() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6 loopback");
        return;
    }
    let server = Server::start(&["--listen=[::1]:0"]);
    assert!(server.address().is_ipv6());
    server.connect().ask(PING, PONG);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_cure() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for flag in ["--listen", "--admin"] {
        let output = finish(&mut serve(&[&format!("{flag}={address}")]));
        let stderr = stderr_of(&output);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.contains(flag) && last.contains(&address) && last.contains("another"), "{stderr}");
        assert!(output.stdout.is_empty(), "no ready line");
    }
}

#[test]
fn nobody_has_to_read_ready_line_or_log() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    drop(taken);
    let mut child = serve(&[&format!("--listen={address}")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("torc starts");
    drop(child.stdout.take());
    drop(child.stderr.take());
    let end = std::time::Instant::now() + crate::harness::PATIENCE;
    let served = loop {
        if let Ok(stream) = std::net::TcpStream::connect(address) {
            break Client::new(stream).try_ping();
        }
        if std::time::Instant::now() > end {
            break false;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    // Its last log lines find no reader, either.
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("signalled");
    let status = child.wait().expect("waited for");
    assert!(served);
    assert!(status.success(), "{status}");
}

#[test]
fn the_banner_says_what_is_used_and_json_logs_stay_json() {
    let mut server = Server::start(&[]);
    server.signal(libc::SIGTERM);
    let (_, text) = server.wait();
    for topic in ["listen", "cores", "memory", "transport", "limits", "admin"] {
        assert!(text.contains(&format!("\n  {topic} ")), "{topic}: {text}");
    }
    let mut server = Server::start(&["--log=json"]);
    server.signal(libc::SIGTERM);
    let (_, lines) = server.wait();
    assert!(!lines.is_empty());
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
