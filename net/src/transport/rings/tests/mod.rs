//! What a connection over rings keeps to, beside what [every transport](crate::transport::tests) keeps to.

mod simulation;
mod stage;
mod stepped;

use super::ring::COLD_TURNS;
use super::*;
use crate::metrics::WorkerStats;
use crate::session::Piece;
use crate::transport::PIECES_MAX;
use crate::transport::epoll::Epoll;
use crate::transport::sim::Random;
use crate::transport::sockets::SocketsConfig;
use crate::transport::uring::{self, Uring};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;
use torc_proto::native::{AnswerHeader, Attached, Op};
use torc_shm::{Connected, Pair, WORDS_BYTES, connect};

const RING: usize = 4 << 10;
const PATIENCE: Duration = Duration::from_secs(20);
const TURN: Duration = Duration::from_millis(20);
const TURNS_MAX: usize = 20_000;

/// Runs `check` on an attached connection over the sockets of each transport that this machine has.
fn on_each(check: impl Fn(&mut Over, ConnId, Connected)) {
    open(|config| Epoll::new(config).unwrap(), &check);
    if uring::probe().is_ok() {
        open(|config| Uring::new(config).unwrap(), &check);
    }
}

fn open<T: Transport + 'static>(
    make: impl Fn(SocketsConfig) -> T,
    check: &impl Fn(&mut Over, ConnId, Connected),
) {
    let (path, listener) = listen();
    let sockets = make(SocketsConfig {
        listeners: vec![listener.into()],
        buffers: 16,
        buffer_bytes: 1024,
        spins: true,
        min_wait: Duration::ZERO,
    });
    let mut rings = Rings::new(sockets, config());
    let (conn, client) = attached(&mut rings, &path);
    std::fs::remove_file(path).unwrap();
    check(&mut Over { stats: rings.config.stats.clone(), rings: Box::new(rings) }, conn, client);
}

pub(in crate::transport) fn config() -> RingsConfig {
    // SAFETY: geteuid takes nothing and cannot fail.
    let users = vec![unsafe { libc::geteuid() }];
    RingsConfig { ring_bytes: RING, users, stats: Arc::default(), readable: Arc::default() }
}

pub(in crate::transport) fn listen() -> (PathBuf, UnixListener) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("torc-rings-{}-{number}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    (path, listener)
}

/// A client that attaches, as the worker would let it.
pub(in crate::transport) fn attached<T: Transport>(rings: &mut Rings<T>, path: &Path) -> (ConnId, Connected) {
    let path = path.to_owned();
    let client = thread::spawn(move || connect(&path, PATIENCE).unwrap());
    let mut value = Vec::new();
    let descriptors = Pair::descriptors(0, RING, RING);
    let ring_bytes = RING as u64;
    Attached {
        layout: 1,
        boot_id: 7,
        words_bytes: WORDS_BYTES as u32,
        request_ring_bytes: ring_bytes,
        answer_ring_bytes: ring_bytes,
        descriptors,
    }
    .compose(&mut value);
    let mut answer = Vec::new();
    let value_bytes = value.len() as u32;
    AnswerHeader { op: Op::Attach as u8, id: 1, value_bytes, ..AnswerHeader::default() }.compose(&mut answer);
    answer.extend_from_slice(&value);
    for _ in 0..TURNS_MAX {
        let mut events = Vec::new();
        rings.turn(Some(TURN), &mut events).unwrap();
        for event in events {
            if let Event::Received { conn, buffer, .. } = event {
                rings.recycle(buffer);
                assert_eq!(rings.attach(conn, &answer, false).unwrap(), 2 * (WORDS_BYTES + RING));
                return (conn, client.join().unwrap());
            }
        }
    }
    panic!("nobody asks to attach");
}

/// [`Rings`] over whatever sockets.
struct Over {
    rings: Box<dyn Transport>,
    stats: Arc<WorkerStats>,
}

impl Over {
    fn turn(&mut self, wait: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        self.rings.turn(Some(wait), &mut events).unwrap();
        events
    }

    fn send(&mut self, conn: ConnId, bytes: Vec<u8>, notice: Notice) {
        self.rings.send(conn, Piece::Bytes(bytes).into(), notice);
    }

    /// Turns without waiting until nothing more happens.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.turn(Duration::ZERO);
        }
    }

    /// Takes what has come, with no turn longer than `wait`.
    fn received(&mut self, wait: Duration) -> Vec<u8> {
        let mut all = Vec::new();
        for event in self.turn(wait) {
            if let Event::Received { buffer, len, .. } = event {
                all.extend_from_slice(self.rings.received(buffer, len));
                self.rings.recycle(buffer);
            }
        }
        all
    }
}

fn write_all(client: &mut Connected, mut bytes: &[u8]) {
    let start = Instant::now();
    while !bytes.is_empty() {
        let written = client.write_some(bytes).unwrap();
        client.wake_server();
        bytes = &bytes[written..];
        assert!(start.elapsed() < PATIENCE, "{} bytes find no room", bytes.len());
    }
}

#[test]
fn requests_of_any_length_come_in_order_and_a_sleeping_shard_is_woken() {
    on_each(|transport, _, mut client| {
        let sent: Vec<u8> = (0..200_000usize).map(|at| (at / 3) as u8).collect();
        let to_send = sent.clone();
        let writer = thread::spawn(move || {
            for (number, piece) in to_send.chunks(777).enumerate() {
                if number % 50 == 0 {
                    thread::sleep(Duration::from_millis(2));
                }
                write_all(&mut client, piece);
            }
            client
        });
        let mut received = Vec::new();
        let start = Instant::now();
        while received.len() < sent.len() {
            // Long enough that a wake-up that is lost shows.
            received.extend(transport.received(PATIENCE));
            assert!(start.elapsed() < PATIENCE, "{} of {} bytes came", received.len(), sent.len());
        }
        writer.join().unwrap();
        assert!(received == sent);
        assert!(transport.stats.bells_heard.read() > 0);
    });
}

#[test]
fn who_is_awake_costs_no_bell() {
    on_each(|transport, conn, mut client| {
        for number in 0..1000u32 {
            write_all(&mut client, &number.to_le_bytes());
            assert_eq!(transport.received(Duration::ZERO), number.to_le_bytes());
            transport.send(conn, number.to_le_bytes().to_vec(), Notice::WithNext);
            let mut answer = Vec::new();
            client.read_some(usize::MAX, &mut answer).unwrap();
            assert_eq!(answer, number.to_le_bytes());
        }
        let stats = &transport.stats;
        assert_eq!((stats.bells_heard.read(), stats.bells_rung.read()), (0, 0));
    });
}

/// Once a bell that the transport had not reported as sent, when the next was due, would have been the last.
#[test]
fn a_client_that_sleeps_after_each_answer_is_woken_for_each() {
    on_each(|transport, conn, mut client| {
        for number in 0..200u32 {
            assert!(client.may_sleep(false).unwrap());
            transport.send(conn, number.to_le_bytes().to_vec(), Notice::WithNext);
            // The answers come faster than the ends of the bells are reported.
            let start = Instant::now();
            let mut answer = Vec::new();
            client.socket.set_nonblocking(true).unwrap();
            loop {
                transport.turn(Duration::ZERO);
                let mut bell = [0];
                if std::io::Read::read(&mut client.socket, &mut bell).is_ok() {
                    client.end.wake();
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "answer {number}: no bell");
            }
            client.read_some(usize::MAX, &mut answer).unwrap();
            assert_eq!(answer, number.to_le_bytes());
        }
    });
}

#[test]
fn a_bell_that_is_owed_is_rung_when_the_last_one_is_back() {
    on_each(|transport, conn, mut client| {
        // Two sleeps within one turn: the second bell is due before the first is on its way.
        assert!(client.may_sleep(false).unwrap());
        transport.send(conn, b"one".to_vec(), Notice::WithNext);
        transport.rings.may_have_news();
        client.end.wake();
        client.read_some(usize::MAX, &mut Vec::new()).unwrap();
        assert!(client.may_sleep(false).unwrap());
        transport.turn(Duration::ZERO);
        transport.send(conn, b"two".to_vec(), Notice::WithNext);
        transport.rings.may_have_news();
        let mut bells = 0;
        for _ in 0..50 {
            transport.turn(Duration::from_millis(1));
        }
        client.socket.set_nonblocking(true).unwrap();
        while std::io::Read::read(&mut client.socket, &mut [0]).is_ok() {
            bells += 1;
        }
        assert_eq!(bells, 2);
    });
}

#[test]
fn a_ring_gets_cold_and_its_client_rings() {
    on_each(|transport, _, mut client| {
        for round in 0..5u32 {
            for _ in 0..=COLD_TURNS {
                assert!(transport.turn(Duration::ZERO).is_empty());
            }
            client.write_some(b"request").unwrap();
            transport.settle();
            assert!(transport.received(Duration::ZERO).is_empty(), "nobody looks at it");
            client.wake_server();
            assert_eq!(transport.received(PATIENCE), b"request");
            assert_eq!(transport.stats.bells_heard.read(), u64::from(round) + 1);
        }
    });
}

#[test]
fn a_paused_client_is_not_read_and_its_end_is_noticed() {
    on_each(|transport, conn, mut client| {
        transport.rings.pause(conn);
        write_all(&mut client, b"request");
        transport.settle();
        assert!(transport.received(TURN).is_empty());
        transport.rings.resume(conn);
        assert_eq!(transport.received(PATIENCE), b"request");
        transport.rings.pause(conn);
        write_all(&mut client, b"more");
        transport.settle();
        drop(client);
        let closed = (0..TURNS_MAX).any(|_| matches!(transport.turn(TURN)[..], [Event::Closed { .. }]));
        assert!(closed);
        assert_eq!((transport.stats.rings.read(), transport.stats.ring_bytes.read()), (0, 0));
    });
}

#[test]
fn a_piece_to_a_client_that_is_gone_or_takes_nothing_comes_back() {
    for is_gone in [false, true] {
        on_each(|transport, conn, client| {
            transport.send(conn, vec![1; 10 * RING], Notice::Soon);
            transport.settle();
            let taken = transport.rings.taken(conn);
            let client = (!is_gone).then_some(client);
            if client.is_some() {
                transport.rings.close(conn);
            }
            let mut pieces = 0;
            let closed = (0..TURNS_MAX).any(|_| {
                transport.turn(TURN).into_iter().any(|event| match event {
                    Event::Closed { pieces: left, .. } => {
                        pieces += usize::from(!left.is_empty());
                        true
                    }
                    event => panic!("{event:?}"),
                })
            });
            assert_eq!((taken, pieces, closed), (0, 1, true));
        });
    }
}

#[test]
fn what_a_client_takes_of_a_long_send_shows() {
    on_each(|transport, conn, mut client| {
        transport.send(conn, vec![7; 10 * RING], Notice::Soon);
        transport.settle();
        let before = transport.rings.taken(conn);
        client.read_some(100, &mut Vec::new()).unwrap();
        assert_eq!(transport.rings.taken(conn) - before, 100);
    });
}

/// A shard that waits for room is told when there is some: without it the rest of an answer would never go.
#[test]
fn a_sleeping_shard_is_woken_for_room() {
    on_each(|transport, conn, mut client| {
        let bytes: Vec<u8> = (0..5 * RING).map(|at| (at / 7) as u8).collect();
        let expected = bytes.clone();
        transport.send(conn, bytes, Notice::Soon);
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            let start = Instant::now();
            while received.len() < expected.len() {
                thread::sleep(Duration::from_millis(5));
                client.read_some(usize::MAX, &mut received).unwrap();
                client.wake_server();
                assert!(start.elapsed() < PATIENCE, "{} bytes came", received.len());
            }
            assert!(received == expected);
            client
        });
        let start = Instant::now();
        let sent = (0..TURNS_MAX).any(|_| {
            let events = transport.turn(PATIENCE);
            events.iter().any(|event| matches!(event, Event::Sent { .. }))
        });
        assert!(sent && start.elapsed() < PATIENCE);
        reader.join().unwrap();
    });
}

/// Once the shard slept before it had woken the client for what it wrote when it found room, until its next tick.
#[test]
fn a_client_that_sleeps_within_a_long_answer_is_woken_for_the_next_part() {
    on_each(|transport, conn, mut client| {
        transport.send(conn, vec![7; 4 * RING], Notice::Soon);
        transport.settle();
        client.socket.set_nonblocking(true).unwrap();
        for _ in 0..2 {
            // The shard is awake, so it is not rung for, and finds the room by itself.
            assert_eq!(client.read_some(usize::MAX, &mut Vec::new()), Ok(RING));
            client.wake_server();
            assert!(client.may_sleep(false).unwrap());
            assert!(transport.turn(TURN).is_empty());
            assert!(std::io::Read::read(&mut client.socket, &mut [0]).is_ok(), "no bell");
            client.end.wake();
        }
    });
}

#[test]
fn nobody_attaches_twice() {
    on_each(|transport, conn, _client| {
        assert!(matches!(transport.rings.attach(conn, b"x", false), Err(NotAttached::Already)));
        let nobody = ConnId { index: 99, generation: 0 };
        assert!(matches!(transport.rings.attach(nobody, b"x", false), Err(NotAttached::NotLocal)));
    });
}
