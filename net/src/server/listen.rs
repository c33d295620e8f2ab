//! Binds everything before anything starts, so that what cannot be bound is said at once.
//!
//! Every shard accepts from every common listener. For TCP each shard has a socket of its own on the same port
//! (`SO_REUSEPORT`), and the kernel spreads the clients; a Unix socket is shared.

use super::config::{Endpoint, Listen, ServerConfig, StartError};
use crate::worker::ListenerKind;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Clients that the kernel keeps waiting to be accepted.
const BACKLOG: i32 = 1024;
/// Probes that a silent peer may leave unanswered before it counts as gone. They are this part of the keepalive time apart.
const KEEPALIVE_PROBES: u32 = 3;
/// The kernel takes no more.
const KEEPALIVE_MAX: Duration = Duration::from_secs(32767);
const USER_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// All that is listened on.
#[derive(Debug)]
pub(super) struct Bound {
    /// Of each shard, in the order of `kinds`.
    pub(super) shards: Vec<Vec<OwnedFd>>,
    pub(super) kinds: Vec<ListenerKind>,
    /// The common addresses, with the ports that were chosen.
    pub(super) addresses: Vec<Endpoint>,
    pub(super) shard_addresses: Vec<SocketAddr>,
    /// Socket files, to be removed at the end.
    pub(super) files: Vec<SocketFile>,
}

/// A socket file of ours, removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already; nothing is lost then.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(super) fn bind(config: &ServerConfig) -> Result<Bound, StartError> {
    if config.listen.is_empty() {
        return Err(StartError::NoListen);
    }
    let mut bound = Bound {
        shards: (0..config.shards).map(|_| Vec::new()).collect(),
        kinds: Vec::new(),
        addresses: Vec::new(),
        shard_addresses: Vec::new(),
        files: Vec::new(),
    };
    for listen in &config.listen {
        bound.add(listen, config)?;
    }
    if let Some(base) = config.shard_port_base {
        bound.add_shard_ports(base, config)?;
    }
    Ok(bound)
}

impl Bound {
    fn add(&mut self, listen: &Listen, config: &ServerConfig) -> Result<(), StartError> {
        let endpoint = match &listen.endpoint {
            Endpoint::Tcp(address) => self.add_tcp(*address, config),
            Endpoint::Unix(path) => self.add_unix(path),
        };
        let endpoint = endpoint.map_err(|cause| self.error("--listen", listen.endpoint.clone(), cause))?;
        self.addresses.push(endpoint);
        self.kinds.push(ListenerKind { protocol: listen.protocol, shard_port: false });
        Ok(())
    }

    fn add_tcp(&mut self, address: SocketAddr, config: &ServerConfig) -> io::Result<Endpoint> {
        let several = self.shards.len() > 1;
        if several && address.port() != 0 {
            // Another server that shares its port with us would steal half of the clients: refuse to share.
            drop(tcp(address, false, config)?);
        }
        let mut address = address;
        for shard in &mut self.shards {
            let socket = tcp(address, several, config)?;
            address = socket.local_addr()?.as_socket().unwrap_or(address);
            shard.push(socket.into());
        }
        Ok(Endpoint::Tcp(address))
    }

    fn add_unix(&mut self, path: &Path) -> io::Result<Endpoint> {
        let socket = unix(path)?;
        self.files.push(SocketFile(path.to_owned()));
        for shard in &mut self.shards {
            shard.push(socket.try_clone()?.into());
        }
        Ok(Endpoint::Unix(path.to_owned()))
    }

    fn add_shard_ports(&mut self, base: u16, config: &ServerConfig) -> Result<(), StartError> {
        let host = self.addresses.iter().find_map(|address| match address {
            Endpoint::Tcp(address) => Some(address.ip()),
            Endpoint::Unix(_) => None,
        });
        let host = host.ok_or(StartError::ShardPortHost)?;
        for number in 0..self.shards.len() as u16 {
            let port = match base {
                0 => 0,
                _ => base.checked_add(number).ok_or(StartError::ShardPort { base, shard: number })?,
            };
            let address = SocketAddr::new(host, port);
            let error = |cause| self.error("--shard-port-base", Endpoint::Tcp(address), cause);
            let socket = tcp(address, false, config).map_err(error)?;
            let address = socket.local_addr().map_err(error)?.as_socket().unwrap_or(address);
            self.shard_addresses.push(address);
            self.shards[usize::from(number)].push(socket.into());
        }
        self.kinds.push(ListenerKind { protocol: None, shard_port: true });
        Ok(())
    }

    /// Why `endpoint` cannot be listened on, and what to do.
    fn error(&self, setting: &'static str, endpoint: Endpoint, cause: io::Error) -> StartError {
        let cure = match (cause.kind(), &endpoint) {
            (io::ErrorKind::AddrInUse, Endpoint::Tcp(address)) if self.has(*address) => {
                "; this server listens there already: every listener and every shard needs an address of its own"
            }
            (io::ErrorKind::AddrInUse, Endpoint::Unix(path)) if !is_socket(path) => {
                "; a file that is no socket has that name: choose another, or remove it"
            }
            (io::ErrorKind::AddrInUse, Endpoint::Unix(path))
                if self.files.iter().any(|file| file.0 == *path) =>
            {
                "; this server listens there already"
            }
            (io::ErrorKind::AddrInUse, _) => "; another process has it: choose another, or end that process",
            (io::ErrorKind::PermissionDenied, _) => {
                "; ports below 1024 and other users' folders need more rights: choose another"
            }
            (io::ErrorKind::AddrNotAvailable, _) => "; no interface of this machine has that address",
            (io::ErrorKind::NotFound, _) => "; its folder does not exist",
            _ => "",
        };
        StartError::Listen { setting, endpoint: endpoint.to_string(), cause, cure }
    }

    /// Whether this server listens on `address`, or on all addresses with its port.
    fn has(&self, address: SocketAddr) -> bool {
        let common = self.addresses.iter().filter_map(|endpoint| match endpoint {
            Endpoint::Tcp(address) => Some(address),
            Endpoint::Unix(_) => None,
        });
        common.chain(&self.shard_addresses).any(|own| overlap(*own, address))
    }
}

fn tcp(address: SocketAddr, shared: bool, config: &ServerConfig) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // Accepted sockets inherit these.
    socket.set_tcp_nodelay(true)?;
    if let Some(time) = config.tcp_keepalive {
        let seconds = |time: Duration| time.clamp(Duration::from_secs(1), KEEPALIVE_MAX);
        let interval = seconds(time / KEEPALIVE_PROBES);
        let keepalive = TcpKeepalive::new().with_time(seconds(time)).with_interval(interval);
        socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    }
    socket.set_tcp_user_timeout(config.tcp_user_timeout.map(|time| time.min(USER_TIMEOUT_MAX)))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// A socket file that nobody answers at is left over from a server that was killed: it is replaced.
fn unix(path: &Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &address) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        other => other?,
    }
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn is_stale(path: &Path, address: &SockAddr) -> bool {
    let refused = Socket::new(Domain::UNIX, Type::STREAM, None)
        .and_then(|socket| socket.connect(address))
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    is_socket(path) && refused
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Whether two listeners cannot be there at once. Port 0 is any, and overlaps with none.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (everywhere || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::TcpStream;

    #[test]
    fn accepted_sockets_notice_a_peer_that_is_gone() {
        let config = ServerConfig {
            listen: vec![Listen { endpoint: Endpoint::Tcp(([127, 0, 0, 1], 0).into()), protocol: None }],
            tcp_keepalive: Some(Duration::from_secs(90)),
            tcp_user_timeout: Some(Duration::from_millis(12_345)),
            ..ServerConfig::default()
        };
        let bound = bind(&config).unwrap();
        let Endpoint::Tcp(address) = bound.addresses[0] else { panic!("it is TCP") };
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _) = SockRef::from(&bound.shards[0][0]).accept().unwrap();
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(90));
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_millis(12_345)));
    }
}
