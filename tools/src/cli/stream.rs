//! A connection to a server by its address in words, as the ready line writes it.

use crate::exit::Failure;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// `host:port`, `tcp://host:port` or `unix:/path`.
pub(crate) fn connect(server: &str, timeout: Duration) -> Result<Box<dyn Stream>, Failure> {
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

/// As [`connect`], to another server than one of ours: the error has no advice.
pub(crate) fn connect_to(server: &str, timeout: Duration) -> Result<Box<dyn Stream>, String> {
    let mut last = std::io::Error::other("the name has no address");
    for address in server.to_socket_addrs().map_err(|error| error.to_string())? {
        let connected = TcpStream::connect_timeout(&address, timeout).and_then(|stream| {
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => last = error,
        }
    }
    Err(last.to_string())
}

/// Appends what comes next to `input`. The end of the stream is an error.
pub(crate) fn fill(stream: &mut dyn Stream, input: &mut Vec<u8>) -> std::io::Result<()> {
    let mut bytes = [0; 64 << 10];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return Err(std::io::Error::other("it closed the connection")),
            Ok(count) => {
                input.extend_from_slice(&bytes[..count]);
                return Ok(());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
