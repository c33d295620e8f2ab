//! The end: SIGTERM and SIGINT drain, under load, too; what was asked is answered whole or not at all.

use crate::harness::{Client, Server};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[test]
fn a_signal_ends_an_idle_server_with_code_zero() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start(&[]);
        let mut idle = server.connect();
        idle.ask(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
        server.signal(signal);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("draining") && stderr.contains("stopped"), "{stderr}");
        assert!(idle.rest().is_empty(), "the connection is closed without a word");
    }
}

#[test]
fn a_client_ends_the_server_where_it_may() {
    for mode in ["shutdown", "shutdown graceful"] {
        let mut server = Server::start(&["--enable-shutdown-command"]);
        let mut client = server.connect();
        client.ask(b"set a 0 0 1\r\nx\r\n", b"STORED\r\n");
        client.send(format!("{mode}\r\n").as_bytes());
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("draining") && stderr.contains("stopped"), "{stderr}");
        assert!(client.rest().is_empty());
    }
    let server = Server::start(&[]);
    server.connect().ask(b"shutdown\r\n", b"ERROR: shutdown not enabled\r\n");
    server.connect().ask(b"mn\r\n", b"MN\r\n");
}

/// Values of 1,000 bytes in pipelines of 16: answers are often under way when the signal comes.
const DEPTH: usize = 16;
const VALUE: [u8; 1000] = [b'v'; 1000];

/// Asks until the server closes; the count of whole answers, and the bytes behind the last whole one.
fn ask_until_closed(address: std::net::SocketAddr, asked: Arc<AtomicU64>) -> JoinHandle<(u64, Vec<u8>)> {
    let mut client = Client::new(TcpStream::connect(address).expect("the server accepts"));
    std::thread::spawn(move || {
        let request = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(DEPTH);
        let answer = [b"$1000\r\n", &VALUE[..], b"\r\n"].concat();
        let (mut whole, mut left) = (0, Vec::new());
        loop {
            if client.try_send(&request).is_err() {
                left.extend(client.rest());
            } else {
                while left.len() < answer.len() * DEPTH {
                    let bytes = client.read_some();
                    if bytes.is_empty() {
                        break;
                    }
                    left.extend(bytes);
                }
            }
            let before = whole;
            while left.starts_with(&answer) {
                left.drain(..answer.len());
                whole += 1;
            }
            asked.store(whole, Ordering::Relaxed);
            if whole - before < DEPTH as u64 {
                return (whole, left);
            }
        }
    })
}

#[test]
fn a_signal_under_load_leaves_no_answer_in_pieces() {
    for (signal, transport) in
        [(libc::SIGTERM, "auto"), (libc::SIGINT, "auto"), (libc::SIGTERM, "epoll"), (libc::SIGINT, "epoll")]
    {
        let mut server = Server::start(&["--shards=2", "--transport", transport]);
        let set = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n", &VALUE[..], b"\r\n"].concat();
        server.connect().ask(&set, b"+OK\r\n");
        let asked: [Arc<AtomicU64>; 4] = Default::default();
        let clients = asked.each_ref().map(|asked| ask_until_closed(server.address(), asked.clone()));
        let end = Instant::now() + crate::harness::PATIENCE;
        // All of them are under way: a client that has not begun would have nothing to lose.
        while asked.iter().any(|asked| asked.load(Ordering::Relaxed) < 50) {
            assert!(Instant::now() < end, "the server answers");
            std::thread::sleep(Duration::from_millis(1));
        }
        server.signal(signal);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        for client in clients {
            let (whole, left) = client.join().expect("a client");
            assert!(whole > 0);
            assert!(left.is_empty(), "{} bytes of an answer", left.len());
        }
    }
}

/// A client that asks for more than fits into the sockets and reads nothing, so that a drain cannot finish.
fn stuck(server: &Server) -> Client {
    let set = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n", &vec![b'v'; 1_000_000][..], b"\r\n"].concat();
    server.connect().ask(&set, b"+OK\r\n");
    let mut stuck = server.connect();
    stuck.send(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(20));
    std::thread::sleep(Duration::from_millis(300));
    stuck
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["--drain-timeout=10m"]);
    let stuck = stuck(&server);
    server.signal(libc::SIGTERM);
    let end = Instant::now() + crate::harness::PATIENCE;
    while server.admin("/readyz").0 != 503 {
        assert!(Instant::now() < end, "the server drains");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.admin("/healthz").0, 200);
    server.signal(libc::SIGTERM);
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("second signal"), "{stderr}");
    drop(stuck);
}

#[test]
fn a_client_that_never_reads_does_not_hold_the_drain() {
    let mut server = Server::start(&["--drain-timeout=300ms"]);
    let _stuck = stuck(&server);
    server.signal(libc::SIGTERM);
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("--drain-timeout is over: 1 clients"), "{stderr}");
}
