//! Where a server listens: `HOST:PORT`, `tcp://HOST:PORT`, `unix:PATH` or `unix://PATH`; or where it shares its memory: `shm:PATH`.
//! Over RDMA it is `HOST:PORT` and a device of this machine.

use std::{
    fmt,
    fs::File,
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
};

use torc_rdma::Local;

use crate::{error::BenchError, login::Login};

/// The RDMA device of this machine, for all connections.
#[derive(Clone, Debug)]
pub(crate) struct Device(pub(crate) Arc<Local>);

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Device {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// The Unix socket over which a server shares its memory.
    Rings(PathBuf),
    /// Where a server listens that goes on over RDMA.
    Rdma(SocketAddr, Device),
    /// One that asks for a password.
    Locked(Box<Address>, Login),
}

impl Address {
    /// A connected, nonblocking socket; TCP without Nagle's delay.
    pub(crate) fn connect(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(address) | Self::Rdma(address, _) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
            Self::Unix(path) | Self::Rings(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
            Self::Locked(address, login) => {
                let mut stream = File::from(address.connect()?);
                rustix::io::ioctl_fionbio(&stream, false)?;
                login.say(&mut stream)?;
                rustix::io::ioctl_fionbio(&stream, true)?;
                Ok(stream.into())
            }
        }
    }

    /// The same server, which asks for a password.
    pub(crate) fn for_user(self, login: &Login) -> Self {
        Self::Locked(Box::new(self), login.clone())
    }

    /// Where the server there shares its memory; it is asked, if the address does not tell.
    pub(crate) fn rings(&self) -> Result<Self, BenchError> {
        let path = match self {
            Self::Rings(path) | Self::Unix(path) => path.clone(),
            Self::Tcp(_) | Self::Rdma(..) | Self::Locked(..) => {
                let found = torc_shm::find(&mut self.connect_blocking()?);
                let found =
                    found.map_err(BenchError::io(format!("asking {self} where it shares its memory")))?;
                found.ok_or(BenchError::setting("transport", "this server shares no memory"))?.0
            }
        };
        Ok(Self::Rings(path))
    }

    /// The same server, over RDMA.
    pub(crate) fn over_rdma(&self, device: &Device) -> Result<Self, BenchError> {
        match self {
            Self::Tcp(address) => Ok(Self::Rdma(*address, device.clone())),
            _ => {
                Err(BenchError::setting("transport", format!("RDMA begins with TCP: {self} is no HOST:PORT")))
            }
        }
    }

    /// A socket that blocks, for what is asked once.
    pub(crate) fn connect_blocking(&self) -> Result<TcpStream, BenchError> {
        let action = || format!("connecting to {self}");
        let stream = TcpStream::from(self.connect().map_err(BenchError::io(action()))?);
        stream.set_nonblocking(false).map_err(BenchError::io(action()))?;
        Ok(stream)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("shm:") {
            return Ok(Self::Rings(path.strip_prefix("//").unwrap_or(path).into()));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.strip_prefix("//").unwrap_or(path).into()));
        }
        let name = text.strip_prefix("tcp://").unwrap_or(text);
        let resolved = name.to_socket_addrs();
        let mut addresses = resolved.map_err(|error| format!("'{text}': {error}"))?;
        let first = addresses.next();
        first.map(Self::Tcp).ok_or(format!("'{text}' has no address"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Rdma(address, _) => write!(f, "rdma:{address}"),
            Self::Rings(path) => write!(f, "shm:{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Locked(address, _) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints() {
        for text in ["127.0.0.1:7171", "[::1]:80", "unix:/run/torc.sock", "shm:/run/torc.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let with_scheme: Address = "tcp://127.0.0.1:1".parse().unwrap();
        assert_eq!(with_scheme.to_string(), "127.0.0.1:1");
        let path: Address = "unix:///run/torc.sock".parse().unwrap();
        assert_eq!(path, Address::Unix("/run/torc.sock".into()));
        assert!("127.0.0.1".parse::<Address>().is_err());
    }
}
