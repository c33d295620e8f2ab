//! `torc tier rearm`: asks a running server to take its tier into use again.

use crate::admin::{REARM_PATH, REARM_PATIENCE};
use crate::exit::{self, Failure};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Beyond the time that the server takes to answer.
const GRACE: Duration = Duration::from_secs(5);
/// Most bytes of an answer: what listens there may not be Torc.
const ANSWER_MAX: u64 = 64 << 10;

pub(super) fn run(admin: &str) -> Result<(), Failure> {
    let address = admin.strip_prefix("http://").unwrap_or(admin).trim_end_matches('/');
    let answer = ask(address).map_err(|error| {
        let cure = match error.kind() {
            ErrorKind::InvalidInput => "write host:port, as the server's --admin",
            _ => "is that the --admin of a running server?",
        };
        Failure::Failed(format!("{address}: {error}; {cure}"))
    })?;
    let foreign = || Failure::Failed(format!("{address} does not answer as Torc's --admin does"));
    let (status, words) = read(&answer).ok_or_else(foreign)?;
    match status {
        200 | 202 => exit::print(words),
        _ => Err(Failure::Failed(words.trim_end().into())),
    }
}

fn ask(address: &str) -> std::io::Result<Vec<u8>> {
    let mut last = std::io::Error::other("the name has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, GRACE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(REARM_PATIENCE + GRACE))?;
                let head = format!(
                    "POST {REARM_PATH} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(head.as_bytes())?;
                let mut answer = Vec::new();
                stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
                return Ok(answer);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Status and body.
fn read(answer: &[u8]) -> Option<(u16, &str)> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn an_answer_has_a_status_and_words() {
        let answer = b"HTTP/1.1 409 Conflict\r\ncontent-length: 3\r\n\r\nno\n";
        assert_eq!(read(answer), Some((409, "no\n")));
        for foreign in
            [&b""[..], b"+PONG\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"\xff\r\n\r\n"]
        {
            assert_eq!(read(foreign), None);
        }
    }
}
