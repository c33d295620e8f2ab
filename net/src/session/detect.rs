//! Which protocol a connection speaks, from its first bytes.
//!
//! | first bytes | protocol |
//! |---|---|
//! | `*` | RESP |
//! | the native magic | native |
//! | a command of Redis as the first word (any case, but for memcached's own words in small letters), or an empty line | RESP, inline |
//! | an HTTP request line, memcached's binary magic (0x80), a TLS record (0x16) | refused by name |
//! | other text | memcached |
//!
//! At most [`WORD_BYTES_MAX`] bytes are waited for, a whole header of the binary protocol, and behind an HTTP method in capitals the end of the line, up to
//! [`HTTP_LINE_BYTES_MAX`]. memcached's words are in small letters, so a method in capitals is none of them.

mod words;

use super::protocol::Protocol;
use super::refused::{BINARY_HEADER_BYTES, BINARY_REQUEST, Refused};
use words::{REDIS_BYTES_MAX, is_of_redis};

/// What the first bytes tell.
#[derive(Debug, PartialEq, Eq)]
pub enum Detected {
    /// Too few bytes.
    Unclear,
    Protocol(Protocol),
    Refused(Refused),
}

/// First byte of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Decides by the first bytes of a connection.
pub fn detect(input: &[u8]) -> Detected {
    match input.first() {
        None => Detected::Unclear,
        Some(b'*') => Detected::Protocol(Protocol::Resp),
        Some(&torc_proto::native::MAGIC) => Detected::Protocol(Protocol::Native),
        Some(&BINARY_REQUEST) if input.len() < BINARY_HEADER_BYTES => Detected::Unclear,
        Some(&BINARY_REQUEST) => Detected::Refused(Refused::MemcacheBinary),
        Some(&TLS_HANDSHAKE) => Detected::Refused(Refused::Tls),
        Some(_) => detect_text(input),
    }
}

/// The longest first word that decides, and the byte behind it.
const WORD_BYTES_MAX: usize = REDIS_BYTES_MAX + 1;

fn detect_text(input: &[u8]) -> Detected {
    let window = &input[..input.len().min(WORD_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')) else {
        return match input.len() < WORD_BYTES_MAX {
            true => Detected::Unclear,
            false => Detected::Protocol(Protocol::Memcache),
        };
    };
    let (word, behind) = (&window[..end], window[end]);
    if HTTP_METHODS.contains(&word)
        && behind == b' '
        && let Some(detected) = detect_http(input)
    {
        return detected;
    }
    if DISCOVERY.starts_with(input) {
        return Detected::Unclear;
    }
    // Redis has settings whose names begin so.
    if matches!(input.strip_prefix(DISCOVERY), Some([b' ' | b'\r' | b'\n', ..])) {
        return Detected::Protocol(Protocol::Memcache);
    }
    // memcached knows no empty line.
    let is_redis = word.is_empty() && behind != b' ' || is_of_redis(word);
    Detected::Protocol(if is_redis { Protocol::Resp } else { Protocol::Memcache })
}

/// By this memcached's clients ask a cluster of Amazon's for its nodes. memcached does not know it, and clients go on without.
const DISCOVERY: &[u8] = b"config get cluster";

/// Longest request line that is looked at whole; memcached's lines are shorter.
const HTTP_LINE_BYTES_MAX: usize = 4096;

/// Called when the first word is an HTTP method: a request line has a target and a version behind it (RFC 9112,
/// section 3). `None`: it is no such line.
fn detect_http(input: &[u8]) -> Option<Detected> {
    let end = input.iter().take(HTTP_LINE_BYTES_MAX).position(|&byte| byte == b'\n');
    let line = match end {
        Some(end) => &input[..end],
        None if input.len() < HTTP_LINE_BYTES_MAX => return Some(Detected::Unclear),
        None => input,
    };
    let mut words = line.split(|&byte| byte == b' ').skip(1);
    let is_target = words.next().is_some_and(is_http_target);
    // What is too long to be looked at whole is judged by its target.
    let is_version = end.is_none()
        || words.next().is_some_and(|word| word.starts_with(b"HTTP/")) && words.next().is_none();
    (is_target && is_version).then_some(Detected::Refused(Refused::Http))
}

/// A path, a URI, `*` of OPTIONS, or host and port of CONNECT.
fn is_http_target(word: &[u8]) -> bool {
    word.starts_with(b"/") || word == b"*" || word.contains(&b':')
}

const HTTP_METHODS: [&[u8]; 9] =
    [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"CONNECT", b"TRACE"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Output;

    const RESP: Detected = Detected::Protocol(Protocol::Resp);
    const MEMCACHE: Detected = Detected::Protocol(Protocol::Memcache);
    const HTTP: Detected = Detected::Refused(Refused::Http);

    #[test]
    fn the_first_bytes_decide() {
        let table: [(&[u8], Detected); 44] = [
            (b"*1\r\n", RESP),
            (b"*", RESP),
            (&[torc_proto::native::MAGIC], Detected::Protocol(Protocol::Native)),
            (b"PING\r\n", RESP),
            (b"ping\n", RESP),
            (b"hello 3\r\n", RESP),
            (b"AUTH x\r\n", RESP),
            (b"info\r\n", RESP),
            (b"QUIT\r\n", RESP),
            (b"quit\r\n", MEMCACHE),
            (b"get k\r\n", MEMCACHE),
            (b"mg k v\r\n", MEMCACHE),
            (b"mn\r\n", MEMCACHE),
            (b"version\r\n", MEMCACHE),
            (b"flush_all\r\n", MEMCACHE),
            (b"verbosity 1\r\n", MEMCACHE),
            (b"pingpong\r\n", MEMCACHE),
            (b"config get *\r\n", RESP),
            (b"config get cluster-enabled\r\n", RESP),
            (b"CONFIG GET cluster\r\n", RESP),
            (b"config get cluster", Detected::Unclear),
            (b"config get cluster\r\n", MEMCACHE),
            (b"Set k v\r\n", RESP),
            (b"georadiusbymember_ro\n", RESP),
            (b"watch fetchers\r\n", MEMCACHE),
            (b" get k\r\n", MEMCACHE),
            (b"\r\n", RESP),
            (b"GET / HTTP/1.1\r\n", HTTP),
            (b"OPTIONS * HTTP/1.1\r\n", HTTP),
            (b"CONNECT a:1 HTTP/1.1\r\n", HTTP),
            (b"GET\r\n", RESP),
            (b"GETS k\r\n", MEMCACHE),
            (b"GET k\r\n", RESP),
            (b"GET k k\r\n", RESP),
            (b"GET /k\r\n", RESP),
            (b"GET / HTTP\r\n", RESP),
            (b"GET / HTTP/1.1 x\r\n", RESP),
            (b"GET k HTTP/1.1\r\n", RESP),
            (b"DELETE a:1 2\n", MEMCACHE),
            (b"GET http://a/ HTTP/1.0\n", HTTP),
            (b"POST /?a=b HTTP/2\r\n", HTTP),
            (&[0x80; BINARY_HEADER_BYTES], Detected::Refused(Refused::MemcacheBinary)),
            (b"\x81\r\n", MEMCACHE),
            (b"\x16\x03\x01", Detected::Refused(Refused::Tls)),
        ];
        for (input, expected) in table {
            assert_eq!(detect(input), expected, "{}", input.escape_ascii());
            // No prefix of the input is decided otherwise.
            for cut in 0..input.len() {
                let detected = detect(&input[..cut]);
                assert!(detected == Detected::Unclear || detected == expected, "{}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn no_more_is_waited_for_than_decides() {
        for first in 0..=u8::MAX {
            for rest in [b'a', 0, 0xFF] {
                let input = [&[first][..], &[rest; BINARY_HEADER_BYTES - 1]].concat();
                assert_ne!(detect(&input), Detected::Unclear, "{first}");
            }
        }
    }

    #[test]
    fn the_line_of_a_method_is_waited_for_up_to_a_bound() {
        for (start, expected) in [(&b"GET /"[..], HTTP), (b"GET k", RESP)] {
            let input = [start, &[b'a'; HTTP_LINE_BYTES_MAX]].concat();
            assert_eq!(detect(&input[..HTTP_LINE_BYTES_MAX - 1]), Detected::Unclear);
            assert_eq!(detect(&input), expected);
        }
    }

    #[test]
    fn what_is_refused_is_told_in_its_own_words() {
        let said = |refused: Refused| {
            let mut out = Output::default();
            refused.compose(b"\x80\x07\0\0\0\0\0\0\0\0\0\0abcd", &mut out);
            out.tail().clone()
        };
        let http = String::from_utf8(said(Refused::Http)).unwrap();
        let (head, body) = http.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "));
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(body.contains("--admin") && body.ends_with('\n'));
        let binary = said(Refused::MemcacheBinary);
        assert!(binary.starts_with(b"\x81\x07\0\0\0\0\0\x83") && &binary[12..16] == b"abcd");
        let body_bytes = u32::from_be_bytes([binary[8], binary[9], binary[10], binary[11]]) as usize;
        assert_eq!(BINARY_HEADER_BYTES + body_bytes, binary.len());
        let alert = said(Refused::Tls);
        assert_eq!(usize::from(u16::from_be_bytes([alert[3], alert[4]])), alert.len() - 5);
    }
}
