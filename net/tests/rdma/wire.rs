//! A server at one end of the wire, and plain connections of clients at the other.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};
use torc_net::rdma::{Rdma, RdmaChoice};
use torc_net::server::{Endpoint, Listen, Server, ServerConfig};
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError};
use torc_rdma::client::Sizes;
use torc_rdma::connect::{Connected, connect};
use torc_rdma::verbs::survey::choice::Wish;
use torc_rdma::{Broken, Local};

/// Bounds each wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Devices {
    pub(crate) server: String,
    pub(crate) client: String,
}

pub(crate) fn devices() -> Option<Devices> {
    let names = std::env::var("TORC_TEST_RDMA").ok()?;
    let (server, client) = names.split_once(',').expect("two names");
    Some(Devices { server: server.into(), client: client.into() })
}

pub(crate) fn start(devices: &Devices, change: impl FnOnce(&mut ServerConfig)) -> Server {
    let wish = Wish { device: Some(devices.server.clone()), ..Wish::default() };
    let mut config = ServerConfig {
        listen: vec![Listen {
            endpoint: Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            protocol: None,
        }],
        memory_bytes: 64 << 20,
        rdma: Rdma { choice: RdmaChoice::Require, wish, clients_max: 8, ..Rdma::default() },
        ..ServerConfig::default()
    };
    change(&mut config);
    Server::start(config).expect("a server on a free port")
}

pub(crate) fn address(server: &Server) -> SocketAddr {
    match server.addresses()[0] {
        Endpoint::Tcp(address) => address,
        Endpoint::Unix(_) => unreachable!("it listens on TCP alone"),
    }
}

pub(crate) fn local(devices: &Devices) -> Local {
    let wish = Wish { device: Some(devices.client.clone()), ..Wish::default() };
    Local::open(&wish, 0).expect("the client's device")
}

/// A connection that waits for what it needs.
pub(crate) struct Wire {
    connected: Connected,
    input: Vec<u8>,
    next_id: u32,
}

impl Wire {
    pub(crate) fn new(server: &Server, local: &Local) -> Wire {
        let connected = connect(address(server), local, Sizes::default(), PATIENCE).expect("a connection");
        Wire { connected, input: Vec::new(), next_id: 1 }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        let until = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            match self.connected.end.write(bytes).expect("it goes on") {
                0 => self.wait(true, until),
                count => bytes = &bytes[count..],
            }
            self.take();
        }
    }

    /// Reads what has come, so that the server never waits for us while we wait for it.
    fn take(&mut self) {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.connected.end.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(broken) => panic!("it has broken: {broken}"),
            }
        }
    }

    fn wait(&mut self, blocked: bool, until: Instant) {
        assert!(Instant::now() < until, "nothing comes");
        if self.connected.end.may_sleep(blocked) {
            let notices = self.connected.end.notices().expect("a real device");
            wait(&[notices, std::os::fd::AsFd::as_fd(&self.connected.socket)]);
            self.connected.hear().expect("the server is there");
        }
    }

    pub(crate) fn ask(&mut self, op: Op, key: &[u8], value: &[u8]) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let mut request = Vec::new();
        compose_request(&mut request, op, 0, id, &Options::NONE, key, value).expect("a request");
        self.write(&request);
        id
    }

    /// The next answer: its id, status and value.
    pub(crate) fn answer(&mut self) -> (u32, u8, Vec<u8>) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.take();
            match Answer::parse(&self.input, &FrameLimits { value_bytes_max: u32::MAX }) {
                Ok((answer, taken)) => {
                    let told = (answer.header.id, answer.header.status, answer.value.to_vec());
                    self.input.drain(..taken);
                    return told;
                }
                Err(ParseError::Incomplete { .. }) => self.wait(false, until),
                Err(ParseError::Invalid(invalid)) => panic!("no answer: {invalid}"),
            }
        }
    }

    pub(crate) fn broken(&self) -> Option<Broken> {
        self.connected.end.broken()
    }
}

/// Waits until one of them is readable, a tenth of a second at most.
fn wait(descriptors: &[BorrowedFd<'_>]) {
    let mut polls: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|descriptor| libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    // SAFETY: the structures are readable and writable for the call.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 100) };
}

/// Bytes that are like no others nearby.
pub(crate) fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ salt.wrapping_mul(7)) as u8).collect()
}
