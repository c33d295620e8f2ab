//! The admin address among clients that keep it busy.

use crate::harness::Server;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CLIENTS: usize = 200;
/// A probe is told "not healthy" by its own time-out; many use a second.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connections to the admin address that have sent `bytes`, and read nothing.
fn crowd(server: &Server, bytes: &[u8]) -> Vec<TcpStream> {
    let url = server.ready["admin"].as_str().expect("an admin address");
    let address = url.strip_prefix("http://").expect("a URL");
    let client = |_| {
        let mut stream = TcpStream::connect(address).expect("the admin address accepts");
        stream.set_nonblocking(true).expect("a socket");
        // Who comes too late to be one of the last is closed already.
        let _ = stream.write(bytes);
        stream
    };
    (0..CLIENTS).map(client).collect()
}

fn answers_at_once(server: &Server) {
    for path in ["/healthz", "/metrics", "/readyz"].repeat(5) {
        let start = Instant::now();
        assert_eq!(server.admin(path).0, 200, "{path}");
        let taken = start.elapsed();
        assert!(taken < PATIENCE, "{path} took {taken:?}");
    }
}

#[test]
fn silent_clients_do_not_keep_a_probe_out() {
    let server = Server::start(&[]);
    let _silent = crowd(&server, b"");
    answers_at_once(&server);
    let _unfinished = crowd(&server, b"GET /metrics HT");
    answers_at_once(&server);
}

#[test]
fn clients_that_read_no_answer_do_not_keep_a_probe_out() {
    let server = Server::start(&["--shards=4"]);
    let _deaf = crowd(&server, &b"GET /metrics HTTP/1.1\r\nHost: torc\r\n\r\n".repeat(500));
    answers_at_once(&server);
}
