//! How a tool gets a connection, waiting for it: TCP, a pair, and the bytes go over RDMA.

use crate::client::{ClientEnd, Sizes, Unjoined};
use crate::{Cause, Local, Refused};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use torc_proto::native::frame::compose_request;
use torc_proto::native::pair::PairEnd;
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError, Status};
use torc_verbs::device::Device;

/// Longest answer that is read; a refusal says why in words.
const ANSWER_BYTES_MAX: u32 = 64 << 10;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The server does not go on over RDMA: its words.
    #[error("the server does not go on over RDMA: {0}")]
    Refused(String),
    #[error("the server answered what was not asked: {0}")]
    Protocol(String),
    #[error("{0}")]
    Ends(#[from] Refused),
}

/// A client's end of a connection. Its first word may still be lost: the path of RDMA is another one than TCP's.
#[derive(Debug)]
pub struct Connected {
    pub end: ClientEnd<Device>,
    /// It carries nothing; its end is the connection's. It does not block.
    pub socket: TcpStream,
}

impl Connected {
    /// Takes the notices that have come; to be called when either descriptor is readable. It never waits.
    ///
    /// # Errors
    /// The server is gone. What has come before can be read.
    pub fn hear(&mut self) -> io::Result<()> {
        self.end.hear_notices();
        still_there(&mut self.socket)
    }
}

/// Whether the socket of a connection over RDMA is as it should be: open, without a byte to read. It must not block.
///
/// # Errors
/// The other side has ended the connection, or sent something over a socket that carries nothing.
pub fn still_there(socket: &mut impl Read) -> io::Result<()> {
    loop {
        let why = match socket.read(&mut [0]) {
            Ok(0) => "the server closed the connection",
            Ok(_) => "the server sent something over a socket that carries nothing",
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
    }
}

/// 24 bits that are hard to guess, for [`Unjoined::new`]: the standard library seeds its hash maps with the system's randomness.
pub fn first() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32 & torc_verbs::path::BITS_24
}

/// Connects to the server at `address`. `timeout` bounds each wait for the server.
///
/// # Errors
/// [`ConnectError`].
pub fn connect(
    address: SocketAddr,
    local: &Local,
    sizes: Sizes,
    timeout: Duration,
) -> Result<Connected, ConnectError> {
    let mut socket = TcpStream::connect_timeout(&address, timeout)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.set_write_timeout(Some(timeout))?;
    let unjoined = Unjoined::new(&local.device, &local.domain, &local.place, sizes, first())?;
    let answer = ask(&mut socket, &unjoined.offer)?;
    socket.set_nonblocking(true)?;
    Ok(Connected { end: unjoined.join(&answer)?, socket })
}

/// Tells the server of our end, and hears of its own.
fn ask(socket: &mut (impl Read + Write), offer: &PairEnd) -> Result<PairEnd, ConnectError> {
    let protocol = |why: &dyn ToString| ConnectError::Protocol(why.to_string());
    let (mut request, mut value) = (Vec::new(), Vec::new());
    offer.compose(&mut value);
    compose_request(&mut request, Op::Pair, 0, 1, &Options::NONE, b"", &value)
        .map_err(|invalid| protocol(&invalid))?;
    socket.write_all(&request)?;
    let mut bytes = Vec::new();
    loop {
        match Answer::parse(&bytes, &FrameLimits { value_bytes_max: ANSWER_BYTES_MAX }) {
            Ok((answer, _)) if answer.header.status() == Status::Ok => {
                return PairEnd::parse(answer.value).map_err(|invalid| protocol(&invalid));
            }
            Ok((answer, _)) => {
                return Err(ConnectError::Refused(String::from_utf8_lossy(answer.value).into_owned()));
            }
            Err(ParseError::Incomplete { missing }) => {
                let before = bytes.len();
                bytes.resize(before + missing, 0);
                socket.read_exact(&mut bytes[before..])?;
            }
            Err(ParseError::Invalid(invalid)) => return Err(protocol(&invalid)),
        }
    }
}

impl From<&ConnectError> for Cause {
    fn from(why: &ConnectError) -> Cause {
        match why {
            ConnectError::Socket(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Cause::NoAnswer
            }
            ConnectError::Socket(_) => Cause::Ended,
            ConnectError::Refused(_) => Cause::Refused,
            ConnectError::Protocol(_) => Cause::Protocol,
            ConnectError::Ends(why) => why.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use torc_proto::native::AnswerHeader;

    /// A server that answers with certain bytes, whatever it is asked, and then ends.
    struct Says(Vec<u8>);

    impl Read for Says {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = to.len().min(self.0.len());
            to[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    impl Write for Says {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(status: Status, value: &[u8]) -> Vec<u8> {
        let header =
            AnswerHeader { op: Op::Pair as u8, status: status as u8, id: 1, ..AnswerHeader::default() };
        let mut bytes = Vec::new();
        Answer { header, extensions: &[], key: b"", value }.compose(&mut bytes).expect("short");
        bytes
    }

    #[test]
    fn the_answer_is_the_servers_end_or_why_there_is_none() {
        let end = PairEnd { number: 17, ..PairEnd::default() };
        let mut value = Vec::new();
        end.compose(&mut value);
        let whole = answer(Status::Ok, &value);
        let ask = |bytes: &[u8]| ask(&mut Says(bytes.to_vec()), &PairEnd::default());
        assert_eq!(ask(&whole).expect("an end").number, 17);
        for short in 0..whole.len() {
            let why = ask(&whole[..short]).expect_err("it ended before");
            assert_eq!(Cause::from(&why), Cause::Ended, "{short}: {why}");
        }
        for (bytes, cause) in [
            (answer(Status::Busy, b"rdma.pairs"), Cause::Refused),
            (answer(Status::Ok, &value[..40]), Cause::Protocol),
            (b"-ERR unknown command, with some words behind\r\n".to_vec(), Cause::Protocol),
        ] {
            let why = ask(&bytes).expect_err("there is none");
            assert_eq!(Cause::from(&why), cause, "{why}");
        }
    }

    #[test]
    fn a_socket_that_carries_nothing_is_open_and_silent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut near = TcpStream::connect(listener.local_addr().expect("bound")).expect("up");
        let (mut far, _) = listener.accept().expect("one came");
        near.set_nonblocking(true).expect("it can");
        still_there(&mut near).expect("nothing has happened");
        far.write_all(b"x").expect("up");
        near.set_nonblocking(false).expect("it can");
        assert!(still_there(&mut near).expect_err("a byte").to_string().contains("carries nothing"));
        drop(far);
        assert!(still_there(&mut near).expect_err("the end").to_string().contains("closed"));
    }
}
