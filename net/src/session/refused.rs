//! Protocols that are recognised but not served. Their clients are told so once, in words that they may show to people.

use super::output::Output;

/// A protocol that is recognised, and not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Http,
    MemcacheBinary,
    Tls,
}

impl Refused {
    pub(super) fn compose(self, out: &mut Output) {
        match self {
            Refused::Http => {
                let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n";
                let len = HTTP_ANSWER.len();
                let answer = format!("{head}Content-Length: {len}\r\n\r\n{HTTP_ANSWER}");
                out.tail().extend_from_slice(answer.as_bytes());
            }
            Refused::MemcacheBinary => out.tail().extend_from_slice(
                b"SERVER_ERROR the binary protocol is not served, use the text protocol\r\n",
            ),
            Refused::Tls => out.tail().extend_from_slice(TLS_ALERT),
        }
    }
}

const HTTP_ANSWER: &str = "This port serves RESP, memcached text and Torc's own protocol. HTTP is on the admin address (--admin).\n";

/// RFC 8446, section 6: an alert record of two bytes, fatal, `handshake_failure`.
const TLS_ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28];
