//! RESP: GET and SET as Redis clients send them. Takes RESP2 and RESP3 nulls.

use super::{Codec, Expect, LineScanner, Tally, length, push_number, unknown};

/// The codec; it has no state.
#[derive(Clone, Copy, Debug)]
pub struct Resp;

impl Codec for Resp {
    type Scanner = LineScanner;

    fn name(&self) -> &'static str {
        "resp"
    }

    #[inline]
    fn get(&self, out: &mut Vec<u8>, key: &[u8]) {
        out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
        push_bulk(out, key);
    }

    #[inline]
    fn set(&self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
        push_bulk(out, key);
        push_bulk(out, value);
    }

    fn reply_bytes(&self, _key: &[u8], value: &[u8]) -> [usize; 2] {
        let mut hit = Vec::new();
        push_bulk(&mut hit, value);
        [hit.len(), b"+OK\r\n".len()]
    }

    #[inline]
    fn scan(&self, scanner: &mut LineScanner, bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
        scanner.scan(bytes, tally, on_line, |tally| tally.hits += 1)
    }
}

#[inline]
fn on_line(line: &[u8], tally: &mut Tally) -> Result<Expect, String> {
    let Some((&kind, rest)) = line.split_first() else {
        return Err("an empty line".into());
    };
    match kind {
        b'$' => match length(rest) {
            Some(bytes) => {
                tally.value_bytes += bytes as u64;
                return Ok(Expect::Body(bytes + b"\r\n".len()));
            }
            None if rest == b"-1" => tally.misses += 1,
            None => return Err(unknown(line)),
        },
        b'_' => tally.misses += 1,
        b'+' => tally.done += 1,
        b'-' => tally.refuse(rest),
        _ => return Err(unknown(line)),
    }
    Ok(Expect::Line)
}

#[inline]
pub(crate) fn push_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'$');
    push_number(out, bytes.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::{refuses, scans_however_cut};

    #[test]
    fn writes_requests() {
        let mut out = Vec::new();
        Resp.get(&mut out, b"key");
        Resp.set(&mut out, b"key", b"0123456789");
        let expected: &[u8] = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n\
            *3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$10\r\n0123456789\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn counts_replies_however_the_stream_is_cut() {
        let stream = b"$5\r\nhello\r\n$-1\r\n+OK\r\n+OK\r\n$0\r\n\r\n_\r\n$4\r\n\r\n\r\n\r\n\
            -ERR no\r\n$2\r\nhi\r\n";
        let expected = Tally {
            hits: 4,
            misses: 2,
            done: 2,
            refused: 1,
            value_bytes: 11,
            first_refusal: Some("ERR no".into()),
        };
        scans_however_cut(&Resp, stream, &expected);
    }

    #[test]
    fn refuses_what_is_no_reply_to_these_requests() {
        for stream in [&b"\r\n"[..], b"$x\r\n", b"$-2\r\n", b"STORED\r\n", b"$99999999999999\r\n"] {
            assert!(refuses(&Resp, stream));
        }
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut scanner = LineScanner::default();
        let mut tally = Tally::default();
        let long = [b'-'; 100_000];
        Resp.scan(&mut scanner, &long, &mut tally).unwrap();
        Resp.scan(&mut scanner, b"\n", &mut tally).unwrap();
        assert_eq!(tally.refused, 1);
        assert!(tally.first_refusal.unwrap().len() <= 256);
    }

    #[test]
    fn reply_sizes_are_the_real_ones() {
        assert_eq!(Resp.reply_bytes(b"k", &[0; 64]), [71, 5]);
    }
}
