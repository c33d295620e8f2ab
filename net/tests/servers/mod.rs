//! Starts real servers for tests: on loopback, on any free port, on each transport and with one and two shards.
#![allow(dead_code, unused_imports, reason = "every test file uses a part of it")]

mod asking;

pub(crate) use asking::*;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use torc_net::metrics::{CloseReason, WorkerStats};
use torc_net::server::{Endpoint, Listen, Server, ServerConfig};
use torc_net::transport::choice::{TransportChoice, choose};

/// What a test waits for before it calls a thing hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A small server on a free port.
pub(crate) fn config(transport: TransportChoice, shards: u16) -> ServerConfig {
    ServerConfig {
        listen: vec![Listen { endpoint: Endpoint::Tcp(([127, 0, 0, 1], 0).into()), protocol: None }],
        transport,
        shards,
        memory_bytes: 64 << 20,
        drain_timeout: Duration::from_secs(5),
        // One that waits for a CPU does not come to it.
        script_time_max: Duration::from_millis(500),
        ..ServerConfig::default()
    }
}

/// Every kind of server that this machine can run.
pub(crate) fn kinds() -> Vec<ServerConfig> {
    let mut kinds = Vec::new();
    for shards in [1, 2] {
        kinds.push(config(TransportChoice::Epoll, shards));
        match choose(TransportChoice::Uring) {
            Ok(_) => kinds.push(config(TransportChoice::Uring, shards)),
            Err(reason) => eprintln!("io_uring is left out: {reason}"),
        }
    }
    kinds
}

pub(crate) fn start(config: ServerConfig) -> Server {
    Server::start(config).expect("a server on a free port starts")
}

pub(crate) fn address(server: &Server) -> SocketAddr {
    match &server.addresses()[0] {
        Endpoint::Tcp(address) => *address,
        Endpoint::Unix(path) => panic!("{} is no TCP address", path.display()),
    }
}

/// A client that gives up after [`PATIENCE`].
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a request and reads exactly the expected answer.
pub(crate) fn exchange(stream: &mut TcpStream, request: &[u8], expected: &[u8]) {
    stream.write_all(request).unwrap();
    expect(stream, expected);
}

pub(crate) fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    stream
        .read_exact(&mut answer)
        .unwrap_or_else(|error| panic!("{error} while waiting for {:?}", String::from_utf8_lossy(expected)));
    assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(expected));
}

/// Reads what has come, at least a byte.
pub(crate) fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) {
    let mut more = [0; 4096];
    let count = loop {
        match stream.read(&mut more) {
            // A read with a time-out is not restarted when the thread is stopped for a moment (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            count => break count.unwrap(),
        }
    };
    assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(input));
    input.extend_from_slice(&more[..count]);
}

/// Reads until the server closes. A reset counts as closed.
pub(crate) fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return answer,
            // A read with a time-out is not restarted when the thread is stopped for a moment (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} while waiting for the server to close"),
        }
    }
}

/// Looks again and again until `done`.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A figure of all workers.
pub(crate) fn sum(server: &Server, figure: impl Fn(&WorkerStats) -> u64) -> u64 {
    server.stats().iter().map(|stats| figure(&stats.worker)).sum()
}

pub(crate) fn closes(server: &Server, reason: CloseReason) -> u64 {
    sum(server, |stats| stats.closes(reason))
}

/// Ends a server and checks that it ends well.
pub(crate) fn end(server: Server) {
    server.drain();
    assert_eq!(server.join(), Ok(()));
}
