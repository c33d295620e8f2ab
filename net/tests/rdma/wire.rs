//! A server at one end of the wire, and plain connections of clients at the other.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};
use torc_net::metrics::WorkerStats;
use torc_net::rdma::{Rdma, RdmaChoice};
use torc_net::server::{Endpoint, Listen, Server, ServerConfig};
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, Change, FrameLimits, Hello, Op, Options, ParseError, ReadsGiven, Status};
use torc_rdma::client::Sizes;
use torc_rdma::connect::{ConnectError, Connected, connect};
use torc_rdma::reads::ReadEnd;
use torc_rdma::verbs::device::Device;
use torc_rdma::verbs::survey::choice::Wish;
use torc_rdma::{Broken, Local};

/// Bounds each wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What shards keep at hand of what clients have given back.
const STOCK_BYTES: u64 = 4 << 20;

pub(crate) struct Devices {
    pub(crate) server: String,
    pub(crate) client: String,
}

pub(crate) fn devices() -> Option<Devices> {
    let names = std::env::var("TORC_TEST_RDMA").ok()?;
    let (server, client) = names.split_once(',').expect("two names");
    Some(Devices { server: server.into(), client: client.into() })
}

/// A small server at one end.
pub(crate) fn config(devices: &Devices) -> ServerConfig {
    let wish = Wish { device: Some(devices.server.clone()), ..Wish::default() };
    ServerConfig {
        listen: vec![Listen {
            endpoint: Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            protocol: None,
        }],
        memory_bytes: 64 << 20,
        rdma: Rdma { choice: RdmaChoice::Require, wish, clients_max: 8, ..Rdma::default() },
        ..ServerConfig::default()
    }
}

pub(crate) fn start(devices: &Devices, change: impl FnOnce(&mut ServerConfig)) -> Server {
    let mut config = config(devices);
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
    let since = Instant::now();
    loop {
        match Local::open(&wish, 0) {
            Ok(local) => return local,
            // A port is usable some time after its link is up.
            Err(why) => assert!(since.elapsed() < PATIENCE, "the client's device: {why}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A figure of all shards.
pub(crate) fn sum(server: &Server, figure: impl Fn(&WorkerStats) -> u64) -> u64 {
    server.stats().iter().map(|stats| figure(&stats.worker)).sum()
}

/// The samples of one name with this label, of all shards.
pub(crate) fn sample(server: &Server, name: &str, label: &str) -> u64 {
    sum(server, |stats| {
        let of_name = stats.samples().filter(|sample| sample.name == name);
        let labelled =
            |labels: [Option<(&str, &str)>; 2]| labels.iter().flatten().any(|(_, of)| *of == label);
        of_name.filter(|sample| labelled(sample.labels)).map(|sample| sample.value).sum()
    })
}

/// Looks again and again until `done`.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < PATIENCE, "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Nothing is left of clients that are gone.
#[track_caller]
pub(crate) fn nothing_is_left(server: &Server) {
    wait_until("all connections are gone", || sum(server, |stats| stats.connections.read()) == 0);
    let held = |server: &Server| sum(server, |stats| stats.pairs.read() + stats.pair_bytes.read());
    assert_eq!(held(server), 0);
    let is_given_back = || sum(server, |stats| stats.client_bytes.read()) <= STOCK_BYTES;
    wait_until("what was held for them is given back", is_given_back);
}

/// An answer: its id, status and value.
pub(crate) type Got = (u32, u8, Vec<u8>);

/// A connection that waits for what it needs.
pub(crate) struct Wire {
    connected: Connected,
    input: Vec<u8>,
    next_id: u32,
    /// Bounds its waits.
    pub(crate) patience: Duration,
}

impl Wire {
    #[track_caller]
    pub(crate) fn new(server: &Server, local: &Local) -> Wire {
        Wire::at(address(server), local).expect("a connection")
    }

    pub(crate) fn at(server: SocketAddr, local: &Local) -> Result<Wire, ConnectError> {
        Wire::with(server, local, Sizes::default())
    }

    pub(crate) fn with(server: SocketAddr, local: &Local, sizes: Sizes) -> Result<Wire, ConnectError> {
        let connected = connect(server, local, sizes, PATIENCE)?;
        Ok(Wire { connected, input: Vec::new(), next_id: 1, patience: PATIENCE })
    }

    /// Writes as much as goes, and takes what has come.
    pub(crate) fn try_write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        let until = Instant::now() + self.patience;
        while !bytes.is_empty() {
            match self.connected.end.write(bytes).map_err(|broken| broken.to_string())? {
                0 => self.wait(true, until)?,
                count => bytes = &bytes[count..],
            }
            self.take()?;
        }
        Ok(())
    }

    /// Writes without ever reading; how many bytes went out before nothing went for so long.
    pub(crate) fn write_blindly(&mut self, bytes: &[u8], patience: Duration) -> Result<usize, Broken> {
        let (mut done, mut since) = (0, Instant::now());
        while done < bytes.len() && since.elapsed() < patience {
            match self.connected.end.write(&bytes[done..])? {
                0 => std::thread::sleep(Duration::from_millis(1)),
                count => {
                    done += count;
                    since = Instant::now();
                }
            }
        }
        Ok(done)
    }

    /// Reads what has come, so that the server never waits for us while we wait for it.
    fn take(&mut self) -> Result<(), String> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.connected.end.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(broken) => return Err(broken.to_string()),
            }
        }
    }

    fn wait(&mut self, blocked: bool, until: Instant) -> Result<(), String> {
        assert!(Instant::now() < until, "nothing comes, and nothing tells so: it hangs");
        if self.connected.end.may_sleep(blocked) {
            let notices = self.connected.end.notices().expect("a real device");
            poll(&[notices, self.connected.socket.as_fd()]);
            if let Err(error) = self.connected.hear() {
                // What has come before can be read.
                let before = self.input.len();
                self.take()?;
                return if self.input.len() > before { Ok(()) } else { Err(error.to_string()) };
            }
        }
        Ok(())
    }

    /// Sends a request; its id.
    pub(crate) fn try_ask(
        &mut self,
        op: Op,
        options: &Options,
        key: &[u8],
        value: &[u8],
    ) -> Result<u32, String> {
        let id = self.next_id;
        self.next_id += 1;
        self.try_write(&request(op, id, options, key, value))?;
        Ok(id)
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, op: Op, key: &[u8], value: &[u8]) -> u32 {
        self.try_ask(op, &Options::NONE, key, value).expect("it goes on")
    }

    /// The next answer.
    pub(crate) fn try_answer(&mut self) -> Result<Got, String> {
        let until = Instant::now() + self.patience;
        loop {
            let taken = self.take();
            match Answer::parse(&self.input, &FrameLimits { value_bytes_max: u32::MAX }) {
                Ok((answer, taken)) => {
                    let told = (answer.header.id, answer.header.status, answer.value.to_vec());
                    self.input.drain(..taken);
                    return Ok(told);
                }
                Err(ParseError::Incomplete { .. }) => {
                    taken?;
                    self.wait(false, until)?;
                }
                Err(ParseError::Invalid(invalid)) => panic!("no answer: {invalid}"),
            }
        }
    }

    /// Has the server answer what may be read.
    pub(crate) fn ask_reads(&mut self, end: &mut ReadEnd<Device>) {
        let (mut value, asked_at) = (Vec::new(), Instant::now());
        end.asked().compose(&mut value);
        self.ask(Op::Reads, b"", &value);
        let (_, status, value) = self.answer();
        assert_eq!(status, Status::Ok as u8, "{}", String::from_utf8_lossy(&value));
        end.given(&ReadsGiven::parse(&value).expect("what is given"), asked_at).expect("it can be read");
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> Got {
        self.try_answer().expect("an answer")
    }

    /// One request, and what comes back.
    pub(crate) fn try_do(&mut self, op: Op, key: &[u8], value: &[u8]) -> Result<Got, String> {
        let id = self.try_ask(op, &Options::NONE, key, value)?;
        let got = self.try_answer()?;
        assert_eq!(got.0, id, "the answer is to another request");
        Ok(got)
    }

    #[track_caller]
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) {
        let (_, status, _) = self.try_do(Op::Set, key, value).expect("it goes on");
        assert_eq!(status, Status::Ok as u8, "SET of {} bytes", value.len());
    }

    #[track_caller]
    pub(crate) fn get(&mut self, key: &[u8]) -> Vec<u8> {
        let (_, status, value) = self.try_do(Op::Get, key, b"").expect("it goes on");
        assert_eq!(status, Status::Ok as u8);
        value
    }

    /// Takes what has come, or waits a moment for something.
    pub(crate) fn try_more(&mut self) -> Result<(), String> {
        let before = self.input.len();
        self.take()?;
        if self.input.len() > before { Ok(()) } else { self.wait(false, Instant::now() + self.patience) }
    }

    /// Waits until the other side has ended the connection, taking what comes; what ended it.
    pub(crate) fn end(&mut self) -> String {
        let until = Instant::now() + self.patience;
        loop {
            self.input.clear();
            if let Err(why) = self.take().and_then(|()| self.wait(false, until)) {
                return why;
            }
        }
    }

    pub(crate) fn broken(&self) -> Option<Broken> {
        self.connected.end.broken()
    }

    /// What has come and was not parsed.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.input
    }
}

pub(crate) fn request(op: Op, id: u32, options: &Options, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    compose_request(&mut request, op, 0, id, options, key, value).expect("a request");
    request
}

/// The value of a hello that opens a session.
pub(crate) fn hello(session: u64) -> Vec<u8> {
    let mut value = Vec::new();
    Hello { version_min: 1, version_max: 1, features: 0, session, boot_id: 0 }.compose(&mut value);
    value
}

/// A change that is done once.
pub(crate) fn numbered(number: u64, repeat: bool) -> Options {
    Options { change: Some(Change { number, repeat }), ..Options::NONE }
}

/// Reads what has come. A read with a time-out is not restarted when the thread is stopped for a moment (signal(7)).
pub(crate) fn read(socket: &mut TcpStream, to: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match socket.read(to) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            count => return count,
        }
    }
}

/// Waits until one of them is readable, a tenth of a second at most.
fn poll(descriptors: &[BorrowedFd<'_>]) {
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
