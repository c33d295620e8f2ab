//! A client of shared memory that waits, as far as tests need one.

use super::servers::{PATIENCE, config};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use torc_net::server::{Endpoint, Listen, Server, ServerConfig, SharedMemory};
use torc_net::transport::choice::{TransportChoice, choose};
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError, Status};
use torc_shm::{Broken, Connected, connect, connect_to_read};

const LIMITS: FrameLimits = FrameLimits { value_bytes_max: u32::MAX };

/// A folder for sockets that is removed again.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("torc-shm-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("torc.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One test at a time: some look at what this process has mapped, and it is both sides of all of them.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a scenario on every kind of server, with rings of so many bytes.
pub(crate) fn on_each(ring_bytes: usize, scenario: impl Fn(&Server, &Path)) {
    on_each_with(|config| shares(config, ring_bytes), scenario);
}

pub(crate) fn shares(config: &mut ServerConfig, ring_bytes: usize) {
    config.shared_memory = Some(SharedMemory { ring_bytes, ..SharedMemory::default() });
}

pub(crate) fn on_each_with(change: impl Fn(&mut ServerConfig), scenario: impl Fn(&Server, &Path)) {
    let _alone = alone();
    let transports = [TransportChoice::Epoll, TransportChoice::Uring];
    for transport in transports.into_iter().filter(|&transport| choose(transport).is_ok()) {
        for (shards, spin) in [(1, Duration::ZERO), (2, Duration::from_micros(50))] {
            eprintln!("{transport}, {shards} shards");
            let folder = Folder::new();
            let mut config = ServerConfig { spin, ..config(transport, shards) };
            config.listen.push(Listen { endpoint: Endpoint::Unix(folder.socket()), protocol: None });
            change(&mut config);
            let server = super::servers::start(config);
            scenario(&server, &folder.socket());
            super::servers::end(server);
        }
    }
}

/// One answer, owned.
#[derive(Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) id: u32,
    pub(crate) status: Status,
    pub(crate) value: Vec<u8>,
}

pub(crate) struct Client {
    pub(crate) rings: Connected,
    input: Vec<u8>,
    next: u32,
}

impl Client {
    pub(crate) fn connect(path: &Path) -> Client {
        Client::of(connect(path, PATIENCE).expect("the server shares its memory"))
    }

    /// One that may read the server's shards, too.
    pub(crate) fn connect_to_read(path: &Path) -> Client {
        Client::of(connect_to_read(path, PATIENCE).expect("the server shares its memory"))
    }

    pub(crate) fn of(rings: Connected) -> Client {
        Client { rings, input: Vec::new(), next: 0 }
    }

    /// Writes a request; says its id.
    pub(crate) fn send(&mut self, op: Op, key: &[u8], value: &[u8]) -> u32 {
        let mut bytes = Vec::new();
        self.next += 1;
        compose_request(&mut bytes, op, 0, self.next, &Options::NONE, key, value).unwrap();
        self.send_raw(&bytes);
        self.next
    }

    pub(crate) fn send_raw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = self.rings.write_some(bytes).unwrap();
            bytes = &bytes[written..];
            self.rings.wake_server();
            if written == 0 && self.take().unwrap() == 0 {
                self.wait(true);
            }
        }
    }

    pub(crate) fn receive(&mut self) -> Got {
        self.try_receive().expect("the server is there")
    }

    /// The next answer, unless the server closes.
    pub(crate) fn try_receive(&mut self) -> Option<Got> {
        loop {
            match Answer::parse(&self.input, &LIMITS) {
                Ok((answer, consumed)) => {
                    let header = answer.header;
                    let got = Got { id: header.id, status: header.status(), value: answer.value.to_vec() };
                    self.input.drain(..consumed);
                    return Some(got);
                }
                Err(ParseError::Incomplete { .. }) => {}
                Err(ParseError::Invalid(invalid)) => panic!("{invalid}"),
            }
            if self.take().unwrap() == 0 && !self.wait(false) {
                return None;
            }
        }
    }

    fn take(&mut self) -> Result<usize, Broken> {
        let count = self.rings.read_some(usize::MAX, &mut self.input)?;
        self.rings.wake_server();
        Ok(count)
    }

    /// Sleeps until the server rings; false: it closed.
    pub(crate) fn wait(&mut self, for_room: bool) -> bool {
        if !self.rings.may_sleep(for_room).unwrap() {
            return true;
        }
        assert!(readable(&self.rings, PATIENCE), "the server does not ring");
        self.rings.hear_bells().is_ok()
    }

    pub(crate) fn ask(&mut self, op: Op, key: &[u8], value: &[u8]) -> Got {
        let id = self.send(op, key, value);
        let got = self.receive();
        assert_eq!(got.id, id);
        got
    }

    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) {
        assert_eq!(self.ask(Op::Set, key, value).status, Status::Ok);
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Vec<u8> {
        let got = self.ask(Op::Get, key, b"");
        assert_eq!(got.status, Status::Ok);
        got.value
    }
}

/// Whether the socket becomes readable, or ends, in time.
pub(crate) fn readable(rings: &Connected, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now()).as_millis() as i32;
        let mut poll = libc::pollfd { fd: rings.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live pollfd.
        match unsafe { libc::poll(&raw mut poll, 1, left) } {
            0 => return false,
            1.. => return true,
            _ => {}
        }
    }
}
