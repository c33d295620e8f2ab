//! Bare echo servers: what the kernel's path costs when a request means nothing. For each
//! `request_bytes` received a connection gets `reply_bytes` back; the sizes come first on the
//! connection (see `codec::raw`). The cheaper of the two is the floor that servers are held against.
//!
//! Non-goals: robustness. They listen on the loopback address and serve this crate's generator.

mod epoll;
mod uring;

use std::net::{SocketAddr, TcpListener};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    codec::raw::{ECHO_BYTES_MAX, PREAMBLE_BYTES, Raw},
    error::BenchError,
};

/// How an echo server talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Uring,
    Epoll,
}

impl Engine {
    pub(crate) const ALL: [Self; 2] = [Self::Uring, Self::Epoll];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uring => "echo-uring",
            Self::Epoll => "echo-epoll",
        }
    }
}

/// Flags of the echo server.
#[derive(Args, Clone, Debug)]
pub(crate) struct EchoArgs {
    #[arg(long, value_enum)]
    engine: Engine,
}

/// Serves until it is killed. Prints one ready line with its address.
pub(crate) fn run(args: &EchoArgs) -> Result<(), BenchError> {
    let (listener, address) = listen()?;
    let ready = serde_json::json!({
        "ready": true,
        "pid": std::process::id(),
        "listen": [format!("tcp://{address}")],
    });
    println!("{ready}");
    serve(args.engine, &listener)
}

fn listen() -> Result<(TcpListener, SocketAddr), BenchError> {
    let action = "opening the echo server's port";
    let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::io(action))?;
    let address = listener.local_addr().map_err(BenchError::io(action))?;
    Ok((listener, address))
}

fn serve(engine: Engine, listener: &TcpListener) -> Result<(), BenchError> {
    match engine {
        Engine::Uring => uring::serve(listener),
        Engine::Epoll => epoll::serve(listener),
    }
}

/// What every reply is made of; never written to.
static REPLIES: [u8; ECHO_BYTES_MAX as usize] = [b'.'; ECHO_BYTES_MAX as usize];

/// Counts a connection's bytes: the echo's whole protocol.
#[derive(Debug, Default)]
struct Counter {
    preamble: [u8; PREAMBLE_BYTES],
    preamble_len: usize,
    sizes: Option<Raw>,
    /// Bytes of the request under way.
    partial: u64,
    /// Reply bytes that are due and not yet sent.
    owed: u64,
}

impl Counter {
    /// Takes received bytes; false if the preamble is out of bounds.
    #[inline]
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        if self.sizes.is_none() {
            let missing = PREAMBLE_BYTES - self.preamble_len;
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            self.preamble[self.preamble_len..self.preamble_len + head.len()].copy_from_slice(head);
            self.preamble_len += head.len();
            bytes = rest;
            if self.preamble_len < PREAMBLE_BYTES {
                return true;
            }
            self.sizes = Raw::from_preamble(self.preamble);
        }
        let Some(sizes) = self.sizes else {
            return false;
        };
        let received = self.partial + bytes.len() as u64;
        let requests = received / u64::from(sizes.request_bytes);
        self.partial = received % u64::from(sizes.request_bytes);
        self.owed += requests * u64::from(sizes.reply_bytes);
        true
    }

    /// The next piece to send.
    #[inline]
    fn due(&self) -> &'static [u8] {
        &REPLIES[..self.owed.min(u64::from(ECHO_BYTES_MAX)) as usize]
    }
}

/// An echo in a thread that serves until the process ends.
#[cfg(test)]
pub(crate) fn start_in_thread(engine: Engine) -> SocketAddr {
    let (listener, address) = listen().unwrap();
    // A refused ring shows as a refused connection.
    std::thread::spawn(move || serve(engine, &listener));
    address
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    fn available(engine: Engine) -> bool {
        engine == Engine::Epoll || io_uring::IoUring::new(2).is_ok()
    }

    #[test]
    fn each_engine_answers_each_full_request() {
        for engine in Engine::ALL.into_iter().filter(|engine| available(*engine)) {
            let address = start_in_thread(engine);
            for (request_bytes, reply_bytes) in [(3, 5), (100_000, 1), (1, 100_000)] {
                let mut stream = TcpStream::connect(address).unwrap();
                let mut out = Vec::new();
                out.extend_from_slice(&u32::to_le_bytes(request_bytes));
                out.extend_from_slice(&u32::to_le_bytes(reply_bytes));
                out.resize(out.len() + 4 * request_bytes as usize + 2, 0);
                // The preamble arrives in two pieces.
                stream.write_all(&out[..3]).unwrap();
                stream.write_all(&out[3..]).unwrap();
                let whole = if request_bytes > 2 { 4 } else { 4 + 2 / request_bytes };
                let mut replies = vec![0; (whole * reply_bytes) as usize];
                stream.read_exact(&mut replies).unwrap();
                assert!(replies.iter().all(|&byte| byte == b'.'));
                stream.set_nonblocking(true).unwrap();
                assert!(stream.read(&mut [0; 1]).is_err(), "a reply too many");
            }
        }
    }

    #[test]
    fn a_wrong_preamble_closes_the_connection() {
        for engine in Engine::ALL.into_iter().filter(|engine| available(*engine)) {
            let mut stream = TcpStream::connect(start_in_thread(engine)).unwrap();
            stream.write_all(&[0; 16]).unwrap();
            // An end or a reset, as bytes were left unread or not.
            assert!(!matches!(stream.read(&mut [0; 1]), Ok(1..)));
        }
    }
}
