//! memcached's text protocol and its meta commands, as `doc/protocol.txt` of memcached 1.6 describes them.
//!
//! ```text
//!   set user:7 0 60 5\r\n      one command line: words, single spaces or more between them
//!   hello\r\n                  storage commands only: exactly as many bytes as announced, then CR LF
//! ```
//!
//! [`request::parse`] reads one command line; what follows it is read with [`value`]. [`reply::parse`] and
//! [`compose`] are the client's side. Everything borrows from the input, nothing allocates.
//!
//! Goals: memcached's answers, word for word, where a client could tell the difference; one cheap pass.
//! Non-goals: the binary protocol, UDP, and to steer memory as memcached's is steered (`slabs`, `lru`, `lru_crawler`): these commands
//! are checked, and answered as memcached does, but change nothing.
//!
//! Where this parser is stricter than memcached: keys hold no control characters, numbers are digits only
//! (and one `-` where negative values have a meaning), and numbers that do not fit are refused, not cut off.

mod bounds;
pub mod compose;
mod flags;
mod invalid;
pub mod key64;
mod meta;
mod number;
pub mod reply;
pub mod request;
mod steering;
mod words;

pub use bounds::{KEY_BYTES_MAX, LINE_BYTES_MAX, LINE_END, OPAQUE_BYTES_MAX, VALUE_BYTES_MAX};
pub use flags::MetaFlags;
pub use invalid::{Invalid, Unparsed};
pub use meta::{Meta, MetaVerb};
pub use number::{length, signed, unsigned};
pub use steering::{CLASS, Dump, Watched};
pub use words::{Words, is_key};

/// What stands behind a storage command's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// The value; with its line end it took `bytes + 2` of the input.
    Complete(&'a [u8]),
    /// This many bytes are missing.
    Incomplete(usize),
    /// No line end where it should be. `bytes + 2` of the input are skipped all the same, as memcached does.
    BadChunk,
}

/// Splits a value of `bytes` bytes and its line end from the input.
pub fn value(input: &[u8], bytes: usize) -> Value<'_> {
    let Some(total) = bytes.checked_add(LINE_END.len()) else {
        return Value::Incomplete(usize::MAX);
    };
    if input.len() < total {
        return Value::Incomplete(total - input.len());
    }
    match input.split_at_checked(bytes) {
        Some((value, rest)) if rest.starts_with(LINE_END) => Value::Complete(value),
        _ => Value::BadChunk,
    }
}

/// Feeds bytes to the request parser as a server would, with small limits, and checks what must hold for any
/// input: progress or "incomplete", never more consumed than there is, every key within its limits. The
/// body of the fuzz test.
pub fn fuzz_memcache_request(mut input: &[u8]) {
    let limits = request::LineLimits { line_bytes_max: 4096, key_bytes_max: 250, keys_max: 64 };
    loop {
        match request::parse(input, 0, &limits) {
            Ok(line) => {
                assert!(line.consumed > 0 && line.consumed <= input.len());
                let mut rest = &input[line.consumed..];
                if let Some(bytes) = check_request(&line.request) {
                    let total = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(2);
                    rest = rest.get(total..).unwrap_or_default();
                }
                input = rest;
            }
            Err(Unparsed::Incomplete) => {
                assert!(memchr::memchr(b'\n', input).is_none());
                assert!(input.len() <= limits.line_bytes_max);
                return;
            }
            Err(Unparsed::Invalid { consumed, error, .. }) => {
                assert!(consumed > 0 && consumed <= input.len());
                assert!(error.line().ends_with(LINE_END));
                if error.ends_connection() {
                    return;
                }
                input = &input[consumed..];
            }
        }
    }
}

/// Checks one request; the announced length of its value, if it has one.
fn check_request(request: &request::Request<'_>) -> Option<u64> {
    use request::Request;
    let check_key = |key: &[u8]| assert!(is_key(key) && key.len() <= KEY_BYTES_MAX);
    match request {
        Request::Get(get) => {
            let keys = Words::new(get.keys);
            assert!((1..=64).contains(&keys.clone().count()));
            keys.for_each(check_key);
        }
        Request::Store(store) => {
            check_key(store.key);
            return Some(store.bytes);
        }
        Request::Delete { key, .. } | Request::Touch { key, .. } | Request::Count { key, .. } => {
            check_key(key)
        }
        Request::Meta(meta) => {
            check_key(meta.key);
            let mut buffer = [0; KEY_BYTES_MAX];
            if meta.flags().is_ok_and(|flags| flags.has(b'b'))
                && let Ok(key) = meta.decoded_key(&mut buffer)
            {
                assert!(!key.is_empty() && key.len() <= meta.key.len());
            }
            return (meta.verb == MetaVerb::Set).then_some(meta.bytes);
        }
        _ => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_with_a_line_end_or_is_bad() {
        assert_eq!(value(b"abc\r\nmore", 3), Value::Complete(b"abc"));
        assert_eq!(value(b"\r\n", 0), Value::Complete(b""));
        assert_eq!(value(b"a\r\nb\r\n", 4), Value::Complete(b"a\r\nb"));
        assert_eq!(value(b"abc\r", 3), Value::Incomplete(1));
        assert_eq!(value(b"", 3), Value::Incomplete(5));
        assert_eq!(value(b"abcd\r\n", 3), Value::BadChunk);
        assert_eq!(value(b"abc\nx", 3), Value::BadChunk);
        assert_eq!(value(b"abc", usize::MAX), Value::Incomplete(usize::MAX));
        assert_eq!(value(b"abc", usize::MAX - 2), Value::Incomplete(usize::MAX - 3));
    }
}
