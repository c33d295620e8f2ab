//! Clients that do everything wrong that a client of a socket can, through rings, beside one that must notice nothing: they drip,
//! leave half-way, never read, come and go. When they are gone, all is as it was.

use super::client::*;
use super::hostile::{is_clean, resident_bytes};
use super::servers::*;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use torc_net::server::{Server, ServerConfig};
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Attach, Op, Options, Status};

const RING: usize = 16 << 10;
const LONG: usize = 1 << 20;

/// A client by ring and one by TCP that keep to everything, and check every answer.
struct Witness {
    rings: Client,
    tcp: TcpStream,
    count: u32,
}

impl Witness {
    fn new(server: &Server, path: &Path) -> Witness {
        Witness { rings: Client::connect(path), tcp: connect(address(server)), count: 0 }
    }

    /// A few keys, so that every shard is asked: what one writes both read.
    fn check(&mut self) {
        for key in 0..4 {
            self.count += 1;
            let (key, value) = (format!("w{key}"), format!("{:08}", self.count));
            self.rings.set(key.as_bytes(), value.as_bytes());
            assert_eq!(self.rings.get(key.as_bytes()), value.as_bytes());
            let get = format!("*2\r\n$3\r\nGET\r\n$2\r\n{key}\r\n");
            exchange(&mut self.tcp, get.as_bytes(), format!("$8\r\n{value}\r\n").as_bytes());
        }
    }
}

fn request(op: Op, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    compose_request(&mut bytes, op, 0, 1, &Options::NONE, key, value).unwrap();
    bytes
}

/// What clients hold, by the server's own figures.
#[derive(Debug, Clone, Copy)]
struct Held {
    connections: u64,
    rings: u64,
    ring_bytes: u64,
    parked: u64,
    client_bytes: u64,
}

/// What shards keep of buffers for clients to come, which counts as their clients'.
const STOCK_BYTES: u64 = 6 << 20;

impl Held {
    fn now(server: &Server) -> Held {
        Held {
            connections: sum(server, |stats| stats.connections.read()),
            rings: sum(server, |stats| stats.rings.read()),
            ring_bytes: sum(server, |stats| stats.ring_bytes.read()),
            parked: sum(server, |stats| stats.parked.read()),
            client_bytes: sum(server, |stats| stats.client_bytes.read()),
        }
    }

    /// Waits until clients hold what they held then.
    fn comes_back(self, server: &Server) {
        let exact = |held: &Held| [held.connections, held.rings, held.ring_bytes, held.parked];
        let is_back =
            |now: Held| exact(&now) == exact(&self) && now.client_bytes <= self.client_bytes + STOCK_BYTES;
        let begun = Instant::now();
        while !is_back(Held::now(server)) {
            assert!(begun.elapsed() < PATIENCE, "{:?} is left of {self:?}", Held::now(server));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_request_byte_by_byte_is_a_request() {
    on_each(RING, |server, path| {
        let mut witness = Witness::new(server, path);
        let mut client = Client::connect(path);
        for byte in request(Op::Set, b"drip", b"drop") {
            client.send_raw(&[byte]);
            // Long enough that a server that does not spin has gone to sleep.
            std::thread::sleep(Duration::from_micros(300));
        }
        assert_eq!(client.receive().status, Status::Ok);
        assert_eq!(client.get(b"drip"), b"drop");
        witness.check();
    });
}

#[test]
fn a_client_that_leaves_half_way_leaves_nothing() {
    on_each(RING, |server, path| {
        let mut witness = Witness::new(server, path);
        witness.check();
        let before = Held::now(server);
        let (short, long) = (request(Op::Set, b"h", &[7; 100]), request(Op::Set, b"h", &[7; LONG]));
        for bytes in [&short[..3], &short[..50], &long[..100_000], &long[..LONG], &[]] {
            let mut client = Client::connect(path);
            client.send_raw(bytes);
            drop(client);
            witness.check();
        }
        // Half of a request to attach, and a whole one whose files nobody takes.
        let mut value = Vec::new();
        Attach::OURS.compose(&mut value);
        let attach = request(Op::Attach, b"", &value);
        for bytes in [&attach[..attach.len() - 1], &attach] {
            UnixStream::connect(path).unwrap().write_all(bytes).unwrap();
            witness.check();
        }
        // So many that their rings' memory would show if it stayed charged.
        for _ in 0..2 * STOCK_BYTES / before.ring_bytes {
            drop(Client::connect(path));
        }
        before.comes_back(server);
        assert_eq!(witness.rings.ask(Op::Get, b"h", b"").status, Status::Miss);
        is_clean(server, 1);
    });
}

/// Asks for long values, and never takes an answer.
fn never_read(client: &mut Client, until: Instant) {
    let get = request(Op::Get, b"long", b"");
    while Instant::now() < until && client.rings.write_some(&get).is_ok() {
        client.rings.wake_server();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Begins a long value and does not go on.
fn hold_half(client: &mut Client, until: Instant) {
    let set = request(Op::Set, b"half", &[7; LONG]);
    let mut sent = 0;
    while Instant::now() < until && sent < LONG / 2 {
        let Ok(written) = client.rings.write_some(&set[sent..LONG / 2]) else { return };
        sent += written;
        client.rings.wake_server();
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

/// A byte at a time, each with its bell.
fn drip(client: &mut Client, until: Instant) {
    for byte in request(Op::Set, b"drip", &[7; 5000]) {
        if Instant::now() > until || client.rings.write_some(&[byte]).is_err() {
            return;
        }
        client.rings.wake_server();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Asks, and is gone before the answer.
fn leave(client: &mut Client, _: Instant) {
    let _ = client.rings.write_some(&request(Op::Get, b"long", b""));
    client.rings.wake_server();
}

/// Several attackers of a kind, for as long as a wave lasts; who is refused or closed comes again.
fn attack(path: &Path, how: fn(&mut Client, Instant), until: Instant) {
    while Instant::now() < until {
        match torc_shm::connect(path, PATIENCE) {
            Ok(rings) => how(&mut Client::of(rings), until),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The bounds are for what must never be: memory that a wave takes along.
#[test]
fn waves_of_attackers_leave_memory_and_counters_as_they_were() {
    const OF_A_KIND: usize = 10;
    const WAVE: Duration = Duration::from_millis(700);
    const WAVES: usize = 4;
    const GROWTH_MAX: u64 = 12 << 20;
    let small = |config: &mut ServerConfig| {
        shares(config, RING);
        config.memory_bytes = 64 << 20;
        config.slow_client_timeout = Some(Duration::from_millis(300));
    };
    on_each_with(small, |server, path| {
        let mut witness = Witness::new(server, path);
        witness.rings.set(b"long", &[7; 200_000]);
        witness.check();
        let before = Held::now(server);
        let mut resident = Vec::new();
        for _ in 0..WAVES {
            let until = Instant::now() + WAVE;
            std::thread::scope(|scope| {
                for how in [never_read, hold_half, drip, leave] {
                    for _ in 0..OF_A_KIND {
                        scope.spawn(move || attack(path, how, until));
                    }
                }
                while Instant::now() < until {
                    witness.check();
                }
            });
            before.comes_back(server);
            resident.push(resident_bytes());
        }
        // The first waves touch what all of them use.
        eprintln!("{} checks, resident after each wave {resident:?}", witness.count);
        assert!(resident[WAVES - 1] < resident[1] + GROWTH_MAX, "{resident:?}");
        assert_eq!(sum(server, |stats| stats.rings_broken()), 0, "they keep to the layout");
        witness.check();
        is_clean(server, 1);
    });
}
