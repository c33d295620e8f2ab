//! A connection to a server by its address in words, as the ready line writes it.

use crate::exit::Failure;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// `host:port`, `tcp://host:port` or `unix:/path`.
pub(super) fn connect(server: &str, timeout: Duration) -> Result<Box<dyn Stream>, Failure> {
    let fail = |error: std::io::Error| {
        let cure = match error.kind() {
            std::io::ErrorKind::InvalidInput => "write host:port or unix:/path",
            _ => "is the server running there? Start one with: torc serve",
        };
        Failure::Failed(format!("{server}: {error}; {cure}"))
    };
    if let Some(path) = server.strip_prefix("unix:").or_else(|| server.strip_prefix("shm:")) {
        let stream = UnixStream::connect(path.strip_prefix("//").unwrap_or(path)).map_err(fail)?;
        stream.set_read_timeout(Some(timeout)).map_err(fail)?;
        return Ok(Box::new(stream));
    }
    let address = server.strip_prefix("tcp://").unwrap_or(server);
    let mut last = std::io::Error::other("the name has no address");
    for address in address.to_socket_addrs().map_err(fail)? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout)).map_err(fail)?;
                stream.set_nodelay(true).map_err(fail)?;
                return Ok(Box::new(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(fail(last))
}
