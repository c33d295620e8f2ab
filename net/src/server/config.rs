//! What a server is made from, and why it cannot start.

use crate::event_classes::EventClasses;
use crate::rdma::{Rdma, RdmaChoice};
use crate::session::Protocol;
use crate::shutdown::OnShutdown;
use crate::tier::{TierConfig, TierError};
use crate::transport::choice::TransportChoice;
use crate::users::Users;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use torc_engine::eviction::Algorithm;
use torc_rdma::Unavailable;
use torc_shm::{RING_BYTES_MAX, RING_BYTES_MIN};

/// Where clients come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Port 0: any free one.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One listener of the server; every shard accepts from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    pub endpoint: Endpoint,
    /// `None`: the first bytes decide.
    pub protocol: Option<Protocol>,
}

/// Memory that is shared with clients on the same host, over a Unix socket of [`ServerConfig::listen`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemory {
    /// `--shared-memory-users`: with whom. Default: who runs the server.
    pub users: Vec<u32>,
    /// `--shared-memory-ring-bytes`: length of a client's ring in each direction, bytes, a power of two. Default: 64 KiB.
    pub ring_bytes: usize,
    /// `--shared-memory-reads`: they may read the shards' memory, too, all of it. Default: true.
    pub reads: bool,
}

impl Default for SharedMemory {
    fn default() -> Self {
        // SAFETY: geteuid takes nothing and cannot fail.
        let user = unsafe { libc::geteuid() };
        SharedMemory { users: vec![user], ring_bytes: 64 << 10, reads: true }
    }
}

/// All settings of a server; the defaults are those of `torc serve` without flags.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `--listen`. Default: 127.0.0.1:7171.
    pub listen: Vec<Listen>,
    /// `--shard-port-base`: shard `n` listens on this plus `n`; 0: any free ports. Default: no ports of their own.
    pub shard_port_base: Option<u16>,
    /// `--announce-host`: what clients are told. Default: the first TCP address.
    pub announce_host: Option<String>,
    /// `--requirepass-file`, `--auth-file`: who is let in. Default: everybody.
    pub users: Users,
    /// `--auth-timeout`: clients that give no password are closed. Default: 30 s.
    pub auth_timeout: Option<Duration>,
    /// `--enable-debug-command`. Default: false.
    pub debug_commands: bool,
    /// `--cluster-enabled`: the common port is a node of a cluster for clients of Redis. Default: true.
    pub is_cluster: bool,
    /// What `shutdown` of memcached clients does (`--enable-shutdown-command`). Default, `None`: they may not.
    pub on_shutdown: Option<OnShutdown>,
    /// `--shards`. Default: 1.
    pub shards: u16,
    /// `--cpus`: shard `n` is pinned to the `n`-th, counted around. Default, empty: not pinned.
    pub cpus: Vec<usize>,
    /// `--memory`: data, index and buffers of all shards, bytes. Default: 1 GiB.
    pub memory_bytes: u64,
    /// `--client-memory`: what clients of all shards may hold of it, bytes. Default: a quarter of what the process itself
    /// leaves.
    pub client_memory_bytes: Option<u64>,
    /// Size of a segment, bytes. Default: 1 MiB, less if memory is small.
    pub segment_bytes: Option<usize>,
    /// `--eviction`.
    pub eviction: Algorithm,
    /// `--max-value`, bytes. Default: 64 MiB.
    pub value_bytes_max: u64,
    /// `--max-key`, bytes; memcached has its own limit of 250. Default: 4 KiB.
    pub key_bytes_max: usize,
    /// Values longer than this are received in slices, bytes. Default: 16 KiB.
    pub value_bytes_inline: usize,
    /// Longest request without its value, bytes. Default: 1 MiB.
    pub frame_bytes_max: usize,
    /// Most keys or arguments of a request. Default: 65,536.
    pub arguments_max: usize,
    /// How many databases Redis clients may choose from, 1 to [`DATABASES_MAX`](torc_engine::spaces::DATABASES_MAX). Default: 16.
    pub databases: u16,
    /// `--max-connections`, over all listeners and shards. Default: 10,000.
    pub connections_max: usize,
    /// `--tier` and what belongs to it. Default: none.
    pub tier: Option<TierConfig>,
    /// `--transport`. Default: auto.
    pub transport: TransportChoice,
    /// `--spin`: how long a shard that has worked looks for more before it sleeps. Default, zero: not at all.
    pub spin: Duration,
    /// `--min-wait`: how long a shard with several active clients waits for a small batch, where the transport can.
    /// Default, zero: not at all.
    pub min_wait: Duration,
    /// `--shared-memory` and what belongs to it. Default: none is shared.
    pub shared_memory: Option<SharedMemory>,
    /// `--rdma` and what belongs to it.
    pub rdma: Rdma,
    /// `--output-limit`: answers that wait for one connection, bytes; lent values count a sixteenth. Default: 1 MiB.
    pub output_bytes_max: usize,
    /// `--subscriber-limit`: answers and messages that wait for a connection which gets messages, bytes; beyond that it is closed.
    /// Default: 32 MiB.
    pub subscriber_bytes_max: usize,
    /// `--notify-keyspace-events`. Default: none.
    pub event_classes: EventClasses,
    /// `--max-subscriptions`: channels and patterns of one connection. Default: 100,000.
    pub subscriptions_max: usize,
    /// `--tracking-table-max`: keys of which clients keep copies (CLIENT TRACKING); beyond that clients are told to drop some. Default:
    /// 1,000,000.
    pub tracking_keys_max: usize,
    /// Requests of one connection that wait for other shards; answers in a row between them count as one. Default: 512.
    pub queue_parts_max: usize,
    /// Receive buffers of a shard. Default: by its memory, a 64th of it in buffers of 16 KiB, 16 to 1024.
    pub receive_buffers: Option<u16>,
    /// `--idle-timeout`: silent clients are closed. Default: never.
    pub idle_timeout: Option<Duration>,
    /// `--slow-client-timeout`: clients that take no bytes are closed. Default: 30 s.
    pub slow_client_timeout: Option<Duration>,
    /// `--request-timeout`: clients that begin a request and do not finish it are closed. Default: 30 s.
    pub request_timeout: Option<Duration>,
    /// `--tcp-keepalive`: when a silent peer is asked whether it is still there. Default: 60 s.
    pub tcp_keepalive: Option<Duration>,
    /// `--tcp-user-timeout`: a peer that acknowledges nothing for so long is gone. Default: 30 s.
    pub tcp_user_timeout: Option<Duration>,
    /// `--script-time-max`: how long a script may run. Default: 100 ms.
    pub script_time_max: Duration,
    /// `--script-memory-max`: what a script may take, and the values that it is about, bytes. Default: a sixteenth of the shard's memory, 1 to 32 MiB.
    pub script_memory_bytes_max: Option<u64>,
    /// `--script-cache-max`: what the scripts may take that are known, bytes. Default: 4 MiB.
    pub script_cache_bytes_max: usize,
    /// `--drain-timeout`. Default: 10 s.
    pub drain_timeout: Duration,
}

impl ServerConfig {
    /// Whether clients on this host may read the shards' memory.
    pub fn is_read_by_clients(&self) -> bool {
        self.shared_memory.as_ref().is_some_and(|shared| shared.reads)
    }

    /// Whether the shards' memory is files, of which nothing is given back to the machine: others have it mapped, or a device has.
    /// Known when the device is: without one nothing is required of it.
    pub(super) fn keeps_memory(&self) -> bool {
        self.is_read_by_clients() || self.rdma.choice == RdmaChoice::Require
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            listen: vec![Listen {
                endpoint: Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 7171))),
                protocol: None,
            }],
            shard_port_base: None,
            announce_host: None,
            users: Users::default(),
            debug_commands: false,
            is_cluster: true,
            on_shutdown: None,
            auth_timeout: Some(Duration::from_secs(30)),
            shards: 1,
            cpus: Vec::new(),
            memory_bytes: 1 << 30,
            client_memory_bytes: None,
            segment_bytes: None,
            eviction: Algorithm::default(),
            value_bytes_max: 64 << 20,
            key_bytes_max: 4 << 10,
            value_bytes_inline: 16 << 10,
            frame_bytes_max: 1 << 20,
            arguments_max: 1 << 16,
            databases: 16,
            connections_max: 10_000,
            tier: None,
            transport: TransportChoice::Auto,
            spin: Duration::ZERO,
            min_wait: Duration::ZERO,
            shared_memory: None,
            rdma: Rdma::default(),
            output_bytes_max: 1 << 20,
            subscriber_bytes_max: 32 << 20,
            event_classes: EventClasses::default(),
            subscriptions_max: 100_000,
            tracking_keys_max: 1_000_000,
            queue_parts_max: 512,
            receive_buffers: None,
            idle_timeout: None,
            slow_client_timeout: Some(Duration::from_secs(30)),
            request_timeout: Some(Duration::from_secs(30)),
            tcp_keepalive: Some(Duration::from_secs(60)),
            tcp_user_timeout: Some(Duration::from_secs(30)),
            script_time_max: Duration::from_millis(100),
            script_memory_bytes_max: None,
            script_cache_bytes_max: 4 << 20,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a server did not start: the setting, the cause, the cure.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("--listen: there is no address to listen on")]
    NoListen,
    #[error(
        "--shared-memory: clients get it over a Unix socket that speaks the native protocol: add one, as in --listen unix:/path"
    )]
    SharedMemoryListen,
    #[error("--shared-memory: the kernel refused it: {0}; see `torc doctor`")]
    SharedMemory(std::io::Error),
    #[error(
        "--shared-memory-ring-bytes: {0} is no power of two between {RING_BYTES_MIN} and {RING_BYTES_MAX}"
    )]
    RingBytes(usize),
    #[error("--rdma require: {why}{}", .cure.map(|cure| format!("; {cure}")).unwrap_or_default())]
    Rdma { why: Unavailable, cure: Option<&'static str> },
    #[error("--shards: a server needs at least one shard")]
    NoShards,
    #[error("{setting}: {endpoint} cannot be listened on: {cause}{cure}")]
    Listen { setting: &'static str, endpoint: String, cause: std::io::Error, cure: &'static str },
    #[error("--shard-port-base: {base} leaves no port for shard {shard}; choose a lower one")]
    ShardPort { base: u16, shard: u16 },
    #[error("--shard-port-base: shards need a TCP address in --listen for their own ports")]
    ShardPortHost,
    #[error("--transport uring: {0}")]
    Transport(String),
    #[error("--cpus: shard {shard} cannot be pinned to CPU {cpu}: {cause}")]
    Pin { shard: u16, cpu: usize, cause: std::io::Error },
    #[error(transparent)]
    Tier(#[from] TierError),
    #[error("--memory: {0}")]
    Memory(#[from] torc_engine::StoreError),
    #[error("shard {shard}: its {transport} transport cannot be opened: {cause}")]
    Open { shard: u16, transport: &'static str, cause: std::io::Error },
    #[error("shard {shard}: its thread cannot be started: {cause}")]
    Thread { shard: u16, cause: std::io::Error },
}
