//! Settings of a client.

use std::time::Duration;
use torc_rdma::client::Sizes;
use torc_rdma::verbs::survey::choice::Wish;

/// What carries requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Memory that the server shares, if it does and runs on this host; else RDMA, if both sides have it; else a socket.
    #[default]
    Auto,
    /// A socket.
    Socket,
    /// Shared memory, or nothing.
    SharedMemory,
    /// RDMA, or nothing.
    Rdma,
}

/// How connections go over RDMA. A connection that cannot is over TCP, with [`Transport::Auto`], and RDMA is tried again.
#[derive(Debug, Clone)]
pub struct RdmaConfig {
    /// The device, its port, and the index of a GID in the port's table; what is `None` is chosen: a port that is up, and RoCEv2 over
    /// IPv4 before IPv6.
    pub device: Option<String>,
    pub port: Option<u8>,
    pub gid: Option<u8>,
    /// DSCP and ECN bits of the packets, what priority flow control goes by.
    pub traffic_class: u8,
    /// Memory of each connection for long answers and for long requests, bytes. It is locked, with about half a MiB beside it.
    pub landing_bytes: usize,
    pub lending_bytes: usize,
    /// Read the server's shards without asking it, if it lets clients do so ([`Config::one_sided`] has to be on, too): such gets cost none
    /// of its CPU. A queue pair more for each connection.
    pub reads: bool,
    /// How long a pair and the first answer over RDMA may take. Packets of RDMA may not get through where those of TCP do.
    pub connect_timeout: Duration,
    /// Wait until RDMA is tried again after it has failed: the first, doubled up to the last, each with random jitter.
    pub retry_min: Duration,
    pub retry_max: Duration,
}

impl Default for RdmaConfig {
    fn default() -> RdmaConfig {
        let sizes = Sizes::default();
        RdmaConfig {
            device: None,
            port: None,
            gid: None,
            traffic_class: 0,
            landing_bytes: sizes.landing_bytes,
            lending_bytes: sizes.lending_bytes,
            reads: false,
            connect_timeout: Duration::from_secs(1),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(30),
        }
    }
}

impl RdmaConfig {
    pub(crate) fn sizes(&self) -> Sizes {
        let (landing_bytes, lending_bytes) = (self.landing_bytes, self.lending_bytes);
        Sizes { landing_bytes, lending_bytes, ..Sizes::default() }
    }

    pub(crate) fn wish(&self) -> Wish {
        let memory_bytes = (self.landing_bytes + self.lending_bytes) as u64;
        let (device, port, gid) = (self.device.clone(), self.port, self.gid);
        Wish { device, port, gid, memory_bytes, ..Wish::default() }
    }
}

/// Who a client is, for a server that asks for a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    /// At most 512 bytes.
    pub password: Vec<u8>,
}

impl Credentials {
    /// The user `default`.
    pub fn password(password: impl Into<Vec<u8>>) -> Credentials {
        Credentials { user: "default".into(), password: password.into() }
    }

    pub(crate) fn words(&self) -> (&[u8], &[u8]) {
        (self.user.as_bytes(), &self.password)
    }
}

/// The password does not belong into a log.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How a client connects and how long it waits. Make one with [`Config::new`] and change fields.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to connect first: `host:port`, `unix:/path`, or `shm:/path` (the Unix socket over which a server shares its memory).
    /// Of several, the next one is tried when one fails. The shards'
    /// own addresses are learnt from the server.
    pub addresses: Vec<String>,
    /// What carries requests. Over shared memory one connection serves all shards.
    pub transport: Transport,
    pub rdma: RdmaConfig,
    /// Answer gets out of the shards' memory where the server shares it ([`crate::Client::one_sided`] counts them). Such gets cost no
    /// system call and none of the server's time; the shards are mapped into this process, read-only. Over RDMA
    /// [`RdmaConfig::reads`] asks for it.
    pub one_sided: bool,
    /// How long a request may take if it has no deadline of its own, reconnecting and repeating included.
    pub timeout: Duration,
    /// How long connecting and the hello may take.
    pub connect_timeout: Duration,
    /// Wait between two tries to connect: the first, doubled up to the last, each with random jitter.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// Most requests that are unanswered; more are refused at once.
    pub requests_max: usize,
    /// Longest value that an answer may have, bytes.
    pub value_bytes_max: u32,
    /// Number the changes, so that each is done once even if its connection is lost. Without it such a change ends
    /// with [`crate::Error::OutcomeUnknown`].
    pub session: bool,
    /// What the server is told of who the client is, on each connection. Whoever can listen on the network between them can read it.
    pub credentials: Option<Credentials>,
    /// Name of the client that the server is told.
    pub name: String,
}

impl Config {
    /// The defaults, for a server at `address`.
    pub fn new(address: impl Into<String>) -> Config {
        Config {
            addresses: vec![address.into()],
            transport: Transport::Auto,
            rdma: RdmaConfig::default(),
            one_sided: true,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
            requests_max: 65_536,
            value_bytes_max: 256 << 20,
            session: true,
            credentials: None,
            name: "torc-client".into(),
        }
    }
}
