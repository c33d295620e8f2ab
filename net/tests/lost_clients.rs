//! Clients that are gone, that never finish what they began, and slow ones that are neither; on every transport, with
//! one shard and with two.

mod servers;

use servers::*;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use torc_net::metrics::CloseReason;
use torc_net::server::{Server, ServerConfig};

/// Runs a scenario on every kind of server, on all at the same time.
fn on_all(change: impl Fn(&mut ServerConfig), scenario: impl Fn(&Server) + Sync) {
    let configs = kinds().into_iter().map(|mut config| {
        change(&mut config);
        config
    });
    thread::scope(|scope| {
        for config in configs {
            let scenario = &scenario;
            let kind = format!("{} with {} shards", config.transport, config.shards);
            let run = move || {
                let server = start(config);
                scenario(&server);
                end(server);
            };
            thread::Builder::new().name(kind).spawn_scoped(scope, run).unwrap();
        }
    });
}

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn get(key: &str) -> Vec<u8> {
    format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).into_bytes()
}

fn connections(server: &Server) -> u64 {
    sum(server, |stats| stats.connections.read())
}

#[test]
fn clients_that_leave_without_reading_leave_at_once() {
    const CLIENTS: usize = 300;
    on_all(
        |config| {
            // All of their answers may wait.
            config.memory_bytes = 2 << 30;
            config.client_memory_bytes = Some(1 << 30);
        },
        |server| {
            let mut witness = connect(address(server));
            for key in 0..8 {
                exchange(&mut witness, &set(&format!("k{key}"), &[b'v'; 200_000]), b"+OK\r\n");
            }
            let requests: Vec<u8> = (0..300).flat_map(|number| get(&format!("k{}", number % 8))).collect();
            let clients: Vec<TcpStream> = (0..CLIENTS)
                .map(|_| {
                    let mut client = connect(address(server));
                    client.write_all(&requests).unwrap();
                    client
                })
                .collect();
            wait_until("all are there", || connections(server) == 1 + CLIENTS as u64);
            thread::sleep(Duration::from_millis(300));
            drop(clients);
            let left = Instant::now();
            wait_until("all are gone", || connections(server) == 1);
            let took = left.elapsed();
            assert!(took < Duration::from_secs(10), "it took {took:?}");
            assert_eq!(closes(server, CloseReason::Slow), 0);
            exchange(&mut witness, b"PING\r\n", b"+PONG\r\n");
        },
    );
}

#[test]
fn a_request_that_drips_ends_and_one_that_goes_on_does_not() {
    on_all(
        |config| config.request_timeout = Some(Duration::from_secs(2)),
        |server| {
            // Whole requests of which the last byte is missing: a short one, one in slices, and a command line.
            let halves = [set("s", &[b'v'; 30_000]), set("l", &[b'v'; 300_000]), b"get k".to_vec()];
            let mut dripping: Vec<TcpStream> = halves.iter().map(|_| connect(address(server))).collect();
            for (client, half) in dripping.iter_mut().zip(&halves) {
                client.write_all(&half[..half.len() / 2]).unwrap();
            }
            let mut honest = connect(address(server));
            let mut waiting = connect(address(server));
            exchange(&mut waiting, b"PING\r\n", b"+PONG\r\n");
            let long = set("h", &[b'v'; 1 << 20]);
            let mut slices = long.chunks(64 << 10);
            let begun = Instant::now();
            while closes(server, CloseReason::Unfinished) < halves.len() as u64 {
                assert!(begun.elapsed() < PATIENCE, "they are still there");
                thread::sleep(Duration::from_millis(500));
                // A byte that is not the last.
                dripping.iter_mut().for_each(|client| drop(client.write_all(b"v")));
                honest.write_all(slices.next().unwrap_or_default()).unwrap();
            }
            slices.for_each(|slice| honest.write_all(slice).unwrap());
            expect(&mut honest, b"+OK\r\n");
            exchange(&mut waiting, b"PING\r\n", b"+PONG\r\n");
            assert_eq!(closes(server, CloseReason::Unfinished), halves.len() as u64);
        },
    );
}

#[test]
fn a_reader_that_takes_a_little_now_and_then_is_not_slow() {
    const VALUE_BYTES: usize = 8 << 20;
    on_all(
        |config| {
            config.memory_bytes = 256 << 20;
            config.slow_client_timeout = Some(Duration::from_secs(2));
        },
        |server| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // Little waits in the kernel, so that a send takes long.
            socket.set_recv_buffer_size(64 << 10).unwrap();
            socket.connect(&address(server).into()).unwrap();
            let mut client: TcpStream = socket.into();
            client.write_all(&set("k", &[b'v'; VALUE_BYTES])).unwrap();
            expect(&mut client, b"+OK\r\n");
            client.write_all(&get("k")).unwrap();
            let mut chunk = vec![0; 40 << 10];
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(8) {
                client.read_exact(&mut chunk).unwrap();
                thread::sleep(Duration::from_millis(200));
            }
            assert_eq!(closes(server, CloseReason::Slow), 0);
            // Now it takes nothing any more.
            wait_until("it is closed", || closes(server, CloseReason::Slow) == 1);
        },
    );
}
