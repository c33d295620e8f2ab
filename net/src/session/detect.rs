//! Which protocol a connection speaks, from its first bytes.
//!
//! | first bytes | protocol |
//! |---|---|
//! | `*` | RESP |
//! | the native magic | native |
//! | `PING`, `HELLO`, `AUTH`, `INFO`, `QUIT` as the first word (any case) | RESP, inline |
//! | an HTTP request line, memcached's binary magic (0x80, 0x81) | refused by name |
//! | other text | memcached |

use super::{Output, Part, Protocol, ReplyKind, Work};

/// What the first bytes tell.
#[derive(Debug, PartialEq, Eq)]
pub enum Detected {
    /// Too few bytes.
    Unclear,
    Protocol(Protocol),
    Refused(Refused),
}

/// A protocol that is recognised, and not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Http,
    MemcacheBinary,
}

impl Refused {
    pub(super) fn into_part(self) -> Part<'static> {
        Part { work: Work::Close, reply: ReplyKind::Refused(self), echo: &[], once: None }
    }

    pub(super) fn compose(self, out: &mut Output) {
        out.tail().extend_from_slice(match self {
            Refused::Http => b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 77\r\n\r\nThis port serves RESP, memcached text and Torc; HTTP is on the admin address\n",
            Refused::MemcacheBinary => b"SERVER_ERROR the binary protocol is not served, use the text protocol\r\n",
        });
    }
}

/// Decides by the first bytes of a connection.
pub fn detect(input: &[u8]) -> Detected {
    match input.first() {
        None => Detected::Unclear,
        Some(b'*') => Detected::Protocol(Protocol::Resp),
        Some(&torc_proto::native::MAGIC) => Detected::Protocol(Protocol::Native),
        Some(0x80 | 0x81) => Detected::Refused(Refused::MemcacheBinary),
        Some(_) => detect_text(input),
    }
}

/// The longest first word that decides: `OPTIONS` of HTTP.
const WORD_BYTES_MAX: usize = 8;

fn detect_text(input: &[u8]) -> Detected {
    let window = &input[..input.len().min(WORD_BYTES_MAX)];
    let end = window.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    let Some(end) = end else {
        if input.len() < WORD_BYTES_MAX {
            return Detected::Unclear;
        }
        return Detected::Protocol(Protocol::Memcache);
    };
    let word = &window[..end];
    let is = |name: &&str| word.eq_ignore_ascii_case(name.as_bytes());
    if ["PING", "HELLO", "AUTH", "INFO", "QUIT"].iter().any(is) && word != b"quit" {
        return Detected::Protocol(Protocol::Resp);
    }
    if [&b"GET"[..], b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"CONNECT", b"TRACE"]
        .contains(&word)
        && input[end] == b' '
    {
        return Detected::Refused(Refused::Http);
    }
    Detected::Protocol(Protocol::Memcache)
}
