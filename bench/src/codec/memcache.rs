//! memcached text: `get` and `set` of one key.

use super::{Codec, Expect, LineScanner, Tally, length, push_number, unknown};

/// The codec; it has no state.
#[derive(Clone, Copy, Debug)]
pub struct Memcache;

/// The scanner: lines, and whether a value came before the `END` that closes a get.
#[derive(Debug, Default)]
pub struct Scanner {
    lines: LineScanner,
    found: bool,
}

impl Codec for Memcache {
    type Scanner = Scanner;

    fn name(&self) -> &'static str {
        "memcache"
    }

    #[inline]
    fn get(&self, out: &mut Vec<u8>, key: &[u8]) {
        out.extend_from_slice(b"get ");
        out.extend_from_slice(key);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn set(&self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        out.extend_from_slice(b"set ");
        out.extend_from_slice(key);
        out.extend_from_slice(b" 0 0 ");
        push_number(out, value.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }

    fn reply_bytes(&self, key: &[u8], value: &[u8]) -> [usize; 2] {
        let mut digits = Vec::new();
        push_number(&mut digits, value.len());
        let line = b"VALUE  0 \r\n".len() + key.len() + digits.len();
        let hit = line + value.len() + b"\r\nEND\r\n".len();
        [hit, b"STORED\r\n".len()]
    }

    #[inline]
    fn scan(&self, scanner: &mut Scanner, bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
        let Scanner { lines, found } = scanner;
        lines.scan(bytes, tally, |line, tally| on_line(line, found, tally), |_| ())
    }
}

#[inline]
fn on_line(line: &[u8], found: &mut bool, tally: &mut Tally) -> Result<Expect, String> {
    match line {
        [b'V', b'A', b'L', b'U', b'E', b' ', ..] => {
            let digits = line.rsplit(|&byte| byte == b' ').next();
            let bytes = digits.and_then(length).ok_or_else(|| unknown(line))?;
            *found = true;
            tally.value_bytes += bytes as u64;
            return Ok(Expect::Body(bytes + b"\r\n".len()));
        }
        b"END" => match std::mem::take(found) {
            true => tally.hits += 1,
            false => tally.misses += 1,
        },
        b"STORED" => tally.done += 1,
        b"ERROR" => tally.refuse(line),
        _ if line.starts_with(b"SERVER_ERROR") || line.starts_with(b"CLIENT_ERROR") => {
            tally.refuse(line);
        }
        _ => return Err(unknown(line)),
    }
    Ok(Expect::Line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::{refuses, scans_however_cut};

    #[test]
    fn writes_requests() {
        let mut out = Vec::new();
        Memcache.get(&mut out, b"key");
        Memcache.set(&mut out, b"key", b"0123456789");
        let expected: &[u8] = b"get key\r\nset key 0 0 10\r\n0123456789\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn counts_replies_however_the_stream_is_cut() {
        let stream = b"VALUE key 0 5\r\nhello\r\nEND\r\nEND\r\nSTORED\r\nVALUE key 9 0\r\n\r\n\
            END\r\nVALUE key 0 6\r\nEND\r\n\n\r\nEND\r\nSTORED\r\nSTORED\r\n\
            SERVER_ERROR out of memory\r\nEND\r\n";
        let expected = Tally {
            hits: 3,
            misses: 2,
            done: 3,
            refused: 1,
            value_bytes: 11,
            first_refusal: Some("SERVER_ERROR out of memory".into()),
        };
        scans_however_cut(&Memcache, stream, &expected);
    }

    #[test]
    fn refuses_what_is_no_reply_to_these_requests() {
        for stream in [&b"\r\n"[..], b"VALUE k 0 x\r\n", b"VALUE \r\n", b"+OK\r\n"] {
            assert!(refuses(&Memcache, stream));
        }
    }

    #[test]
    fn reply_sizes_are_the_real_ones() {
        let [hit, set] = Memcache.reply_bytes(b"key", b"hello");
        assert_eq!(hit, b"VALUE key 0 5\r\nhello\r\nEND\r\n".len());
        assert_eq!(set, "STORED\r\n".len());
    }
}
