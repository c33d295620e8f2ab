//! Servers that spin before they sleep, or wait for small batches, answer as all do: everybody, and a lone client at once.

mod servers;

use servers::*;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use torc_net::server::ServerConfig;
use torc_net::transport::choice::{TransportChoice, choose, without_min_wait};

/// The longest that can be set.
const LONG: Duration = Duration::from_millis(1);

/// Every kind of server with each setting, and with both.
fn waiting() -> impl Iterator<Item = ServerConfig> {
    let settings = [(LONG, Duration::ZERO), (Duration::ZERO, LONG), (LONG / 20, LONG / 20)];
    settings.into_iter().flat_map(|(spin, min_wait)| {
        kinds().into_iter().map(move |config| ServerConfig { spin, min_wait, ..config })
    })
}

/// Writes a key of this client and reads it; the keys belong to all shards.
fn write_and_read(client: &mut TcpStream, name: u32, number: u32) {
    let key = format!("key-{name}-{}", number % 50);
    let value = format!("{number:08}");
    let request = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$8\r\n{value}\r\n", key.len());
    exchange(client, request.as_bytes(), b"+OK\r\n");
    let request = format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len());
    exchange(client, request.as_bytes(), format!("$8\r\n{value}\r\n").as_bytes());
}

/// What all requests wait, the shortest one waits, too; others may have waited for a CPU.
fn shortest(times: &[Duration]) -> Duration {
    *times.iter().min().expect("one")
}

fn ask(client: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    exchange(client, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
    begun.elapsed()
}

#[test]
fn everybody_is_answered_whatever_the_shards_do_between() {
    for config in waiting() {
        let server = start(config);
        thread::scope(|scope| {
            for client in 0..4u32 {
                let mut stream = connect(address(&server));
                scope.spawn(move || {
                    for number in 0..100 {
                        write_and_read(&mut stream, client, number);
                        // Before, at and after the end of a spin.
                        thread::sleep(Duration::from_micros(u64::from(number * client) * 10));
                    }
                });
            }
        });
        end(server);
    }
}

#[test]
fn a_lone_client_waits_for_nobody() {
    for config in waiting() {
        let kind = format!("{config:?}");
        let server = start(config);
        let mut client = connect(address(&server));
        let shortest = shortest(&std::array::from_fn::<_, 100, _>(|_| ask(&mut client)));
        assert!(shortest < LONG / 2, "{shortest:?}: {kind}");
        end(server);
    }
}

/// That the setting has an effect where the kernel has it, and none that is longer.
#[test]
fn two_clients_wait_for_more_and_not_for_long() {
    let Ok(chosen) = choose(TransportChoice::Uring) else { return };
    if let Some(reason) = without_min_wait(&chosen) {
        return eprintln!("left out: {reason}");
    }
    let server = start(ServerConfig { min_wait: LONG, ..config(TransportChoice::Uring, 1) });
    assert_eq!(server.min_wait_refusal(), None);
    let mut clients = [connect(address(&server)), connect(address(&server))];
    let times: [_; 200] = std::array::from_fn(|number| ask(&mut clients[number % 2]));
    // Who asks late, for want of a CPU, finds a wait that is nearly over.
    let most = times.iter().max().expect("one");
    assert!(shortest(&times) < 2 * LONG && *most >= LONG / 2, "{times:?}");
    end(server);
}

#[test]
fn epoll_says_that_it_cannot_wait_for_a_batch() {
    let server = start(ServerConfig { min_wait: LONG, ..config(TransportChoice::Epoll, 1) });
    assert!(server.min_wait_refusal().is_some_and(|reason| reason.contains("epoll")));
    end(server);
    let server = start(config(TransportChoice::Epoll, 1));
    assert_eq!(server.min_wait_refusal(), None, "nobody asked for it");
    end(server);
}
