//! Changes are done once, whatever becomes of the queue pair that they were sent over.

use crate::link::{StopAtEnd, at_wire, wire_script};
use crate::wire::{Devices, PATIENCE, Wire, address, hello, local, numbered, read, request, start};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use torc_client::{Client, Config, RdmaConfig, Transport};
use torc_net::server::Server;
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError, Status};

const SESSION: u64 = 0x5e55_1077;
const KEYS: [&[u8]; 3] = [b"one", b"other", b"a third"];

/// The session over TCP, waiting for each answer.
struct Tcp(TcpStream, Vec<u8>);

impl Tcp {
    fn new(server: SocketAddr) -> Tcp {
        let socket = TcpStream::connect(server).expect("it accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("it can");
        socket.set_nodelay(true).expect("it can");
        let mut tcp = Tcp(socket, Vec::new());
        assert_eq!(tcp.ask(&request(Op::Hello, 1, &Options::NONE, b"", &hello(SESSION))).0, Status::Ok as u8);
        tcp
    }

    /// Status and value of the answer.
    fn ask(&mut self, request: &[u8]) -> (u8, Vec<u8>) {
        self.0.write_all(request).expect("sent");
        loop {
            match Answer::parse(&self.1, &FrameLimits { value_bytes_max: 1 << 20 }) {
                Ok((answer, taken)) => {
                    let told = (answer.header.status, answer.value.to_vec());
                    self.1.drain(..taken);
                    return told;
                }
                Err(ParseError::Incomplete { .. }) => {}
                Err(ParseError::Invalid(invalid)) => panic!("no answer: {invalid}"),
            }
            let mut more = [0; 4096];
            let count = read(&mut self.0, &mut more).expect("an answer");
            assert!(count > 0, "closed");
            self.1.extend_from_slice(&more[..count]);
        }
    }
}

/// A session's changes: each adds one, so the numbers that are answered are 1, 2, 3 for each key.
struct Changes {
    next: u64,
    /// How often each key was counted.
    counts: [u64; 3],
    /// Answers to numbers, as the first of them told.
    known: BTreeMap<u64, Vec<u8>>,
}

impl Changes {
    fn key(number: u64) -> usize {
        (number % 3) as usize
    }

    fn request(number: u64, repeat: bool) -> Vec<u8> {
        let key = KEYS[Changes::key(number)];
        request(Op::Increment, number as u32, &numbered(number, repeat), key, &1_u64.to_le_bytes())
    }

    fn draw(&mut self) -> u64 {
        self.next += 1;
        self.counts[Changes::key(self.next)] += 1;
        self.next
    }

    fn told(&mut self, number: u64, (status, value): (u8, Vec<u8>)) {
        assert_eq!(status, Status::Ok as u8, "change {number}");
        let known = self.known.entry(number).or_insert_with(|| value.clone());
        assert_eq!(*known, value, "change {number} was told otherwise before");
    }
}

/// The next numbered changes, sent for the first time; some may not have been, if it breaks.
fn send(wire: &mut Wire, changes: &mut Changes) -> Vec<u64> {
    let numbers: Vec<u64> = (0..6).map(|_| changes.draw()).collect();
    let _ = numbers.iter().try_for_each(|number| wire.try_write(&Changes::request(*number, false)));
    numbers
}

/// Takes answers until those to so many changes have come, or it breaks.
fn take(wire: &mut Wire, changes: &mut Changes, count: usize) -> Result<(), String> {
    for _ in 0..count {
        let (number, status, value) = wire.try_answer()?;
        changes.told(number.into(), (status, value));
    }
    Ok(())
}

/// Sends changes again, over TCP.
fn repeat(server: &Server, changes: &mut Changes, numbers: impl IntoIterator<Item = u64>) {
    let mut tcp = Tcp::new(address(server));
    for number in numbers {
        let told = tcp.ask(&Changes::request(number, true));
        changes.told(number, told);
    }
}

fn counted(server: &Server, changes: &Changes) {
    let mut tcp = Tcp::new(address(server));
    for (key, count) in KEYS.iter().zip(changes.counts) {
        let (status, value) = tcp.ask(&request(Op::Get, 7, &Options::NONE, key, b""));
        assert_eq!((status, String::from_utf8_lossy(&value)), (Status::Ok as u8, count.to_string().into()));
    }
}

fn begin(server: &Server, devices: &Devices) -> Wire {
    let (local, since) = (local(devices), Instant::now());
    // A link that was down a moment ago is told to be gone, for now.
    let mut wire = loop {
        match Wire::at(address(server), &local) {
            Ok(wire) => break wire,
            Err(error) => assert!(since.elapsed() < PATIENCE, "no connection: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (_, status, _) = wire.try_do(Op::Hello, b"", &hello(SESSION)).expect("it goes on");
    assert_eq!(status, Status::Ok as u8);
    wire
}

pub(crate) fn changes_are_done_once_whatever_becomes_of_their_queue_pair(devices: &Devices) {
    let server = start(devices, |config| config.shards = 2);
    let mut tcp = Tcp::new(address(&server));
    // Made, so that each change finds a number.
    for key in KEYS {
        assert_eq!(tcp.ask(&request(Op::Set, 1, &Options::NONE, key, b"0")).0, Status::Ok as u8);
    }
    let mut changes = Changes { next: 0, counts: [0; 3], known: BTreeMap::new() };
    // The client thinks that the queue pair has failed, and it has not: a first sending comes before, with or behind its repeat.
    let mut wire = begin(&server, devices);
    for _ in 0..60 {
        let numbers = send(&mut wire, &mut changes);
        repeat(&server, &mut changes, numbers);
    }
    let count = changes.next as usize;
    take(&mut wire, &mut changes, count).expect("first sendings are answered, too");
    counted(&server, &changes);
    // It fails with the client's end, at once.
    for _ in 0..20 {
        let mut wire = begin(&server, devices);
        let numbers = send(&mut wire, &mut changes);
        drop(wire);
        repeat(&server, &mut changes, numbers);
    }
    counted(&server, &changes);
    // The link goes down at some moment.
    for round in 0..5 {
        let mut wire = begin(&server, devices);
        let mut down = wire_script("down", "a").spawn().expect("bash");
        let unanswered: Vec<u64> = loop {
            let numbers = send(&mut wire, &mut changes);
            if take(&mut wire, &mut changes, numbers.len()).is_err() {
                break numbers.into_iter().filter(|number| !changes.known.contains_key(number)).collect();
            }
        };
        println!("round {round}: {} changes are sent again", unanswered.len());
        repeat(&server, &mut changes, unanswered);
        assert!(down.wait().expect("bash").success());
        at_wire("up", "a");
        counted(&server, &changes);
    }
}

pub(crate) fn the_library_falls_back_and_returns_under_load(devices: &Devices) {
    let server = start(devices, |config| config.shards = 2);
    let config = Config {
        transport: Transport::Auto,
        rdma: RdmaConfig {
            device: Some(devices.client.clone()),
            retry_max: Duration::from_secs(1),
            ..RdmaConfig::default()
        },
        timeout: Duration::from_secs(20),
        ..Config::new(address(&server).to_string())
    };
    let client = Client::with(config).expect("a thread");
    client.set("n", "0").wait().expect("an answer");
    let stop = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut done = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                done += 1;
                assert_eq!(client.increment("n", 1).wait().expect("an answer"), Some(done));
            }
            done
        });
        let stops = StopAtEnd(&stop);
        for round in 1..=2 {
            crate::wire::wait_until("it is over RDMA", || client.rdma().connections > 0);
            let moves = client.rdma().moves;
            at_wire("down", "a");
            crate::wire::wait_until("it is over TCP", || client.rdma().connections == 0);
            std::thread::sleep(Duration::from_millis(300));
            at_wire("up", "a");
            crate::wire::wait_until("it is over RDMA again", || client.rdma().moves > moves);
            println!("round {round}: {:?}", client.rdma());
        }
        drop(stops);
        load.join().expect("each was done once")
    });
    assert_eq!(client.get("n").wait().expect("an answer").expect("there").value, done.to_string().as_bytes());
}
