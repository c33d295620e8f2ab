//! What a connection over rings keeps to, beside what [every transport](crate::transport::tests) keeps to.

mod bells;
mod bytes;
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
