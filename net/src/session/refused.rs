//! Protocols that are recognised but not served. Their clients are told so once, in words that they may show to people.

use super::output::Output;
use std::fmt;

/// A protocol that is recognised, and not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Http,
    MemcacheBinary,
    Tls,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Http => "HTTP",
            Refused::MemcacheBinary => "memcached's binary protocol",
            Refused::Tls => "TLS",
        })
    }
}

impl Refused {
    /// `request`: what of it is there.
    pub(super) fn compose(self, request: &[u8], out: &mut Output) {
        match self {
            Refused::Http => {
                let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n";
                let len = HTTP_ANSWER.len();
                let answer = format!("{head}Content-Length: {len}\r\n\r\n{HTTP_ANSWER}");
                out.tail().extend_from_slice(answer.as_bytes());
            }
            Refused::MemcacheBinary => binary(request, out.tail()),
            Refused::Tls => out.tail().extend_from_slice(TLS_ALERT),
        }
    }
}

const HTTP_ANSWER: &str = "This port serves RESP, memcached text and Torc's own protocol. HTTP is on the admin address (--admin).\n";

/// RFC 8446, section 6: an alert record of two bytes, fatal, `handshake_failure`.
const TLS_ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28];

/// Length of a header of memcached's binary protocol.
pub(super) const BINARY_HEADER_BYTES: usize = 24;
/// The magic of its requests.
pub(super) const BINARY_REQUEST: u8 = 0x80;
const BINARY_ANSWER: &str = "the binary protocol is not served: use the text or the meta commands";

/// An answer in that protocol (`doc/protocol-binary.txt` of memcached), with the request's operation and opaque: so its clients fail with an
/// error that they know, and may show the text.
///
/// ```text
///   0x81  operation  u16 key bytes = 0  extras bytes = 0  type = 0  u16 status = 0x83 (not supported)
///   u32 body bytes  u32 opaque  u64 cas = 0  text
/// ```
fn binary(request: &[u8], tail: &mut Vec<u8>) {
    const NOT_SUPPORTED: [u8; 2] = [0x00, 0x83];
    let operation = request.get(1).copied().unwrap_or(0);
    tail.extend_from_slice(&[0x81, operation, 0, 0, 0, 0]);
    tail.extend_from_slice(&NOT_SUPPORTED);
    tail.extend_from_slice(&(BINARY_ANSWER.len() as u32).to_be_bytes());
    tail.extend_from_slice(request.get(12..16).unwrap_or(&[0; 4]));
    tail.extend_from_slice(&[0; 8]);
    tail.extend_from_slice(BINARY_ANSWER.as_bytes());
}

/// Whether a client speaks it, and how many bytes of its first header are missing.
pub(super) fn is_binary(input: &[u8]) -> Option<usize> {
    let first = *input.first()?;
    (first == BINARY_REQUEST).then(|| BINARY_HEADER_BYTES.saturating_sub(input.len()))
}
