//! The lines that most requests are, read in one go.

use super::{Get, Line, LineLimits, Request, Store, StoreVerb};
use crate::memcache::bounds::LINE_END;
use crate::memcache::words::plain_bytes;

/// `get` of one key and `set`, written as every client writes them: with single spaces, plain numbers and
/// CR LF. Most requests are these, and this finds their end on the way. All others, wrong ones among them,
/// are left to [`any`](super::line::any), which reads these alike.
#[inline]
pub(super) fn usual<'a>(input: &'a [u8], limits: &LineLimits) -> Option<Line<'a>> {
    let (verb, rest) = input.split_first_chunk::<4>()?;
    if verb == b"get " {
        let (key, behind) = usual_key(rest, limits)?;
        behind.strip_prefix(LINE_END)?;
        let get = Get { key, keys: key, cas: false, exptime: None };
        let consumed = verb.len() + key.len() + LINE_END.len();
        return (consumed <= limits.line_bytes_max).then_some(Line { request: Request::Get(get), consumed });
    }
    if verb == b"set " {
        let (key, behind) = usual_key(rest, limits)?;
        let (flags, behind) = usual_number(behind)?;
        let (exptime, behind) = usual_number(behind)?;
        let (bytes, behind) = usual_number(behind)?;
        let behind = behind.strip_prefix(LINE_END)?;
        let store = Store {
            verb: StoreVerb::Set,
            key,
            flags,
            exptime: i64::from(exptime),
            bytes: u64::from(bytes),
            cas: 0,
            noreply: false,
        };
        let consumed = input.len() - behind.len();
        return (consumed <= limits.line_bytes_max)
            .then_some(Line { request: Request::Store(store), consumed });
    }
    None
}

/// A key at the start of `bytes`, and what is behind it.
#[inline]
fn usual_key<'a>(bytes: &'a [u8], limits: &LineLimits) -> Option<(&'a [u8], &'a [u8])> {
    let end = plain_bytes(bytes.get(..=limits.key_bytes_max).unwrap_or(bytes));
    (1..=limits.key_bytes_max).contains(&end).then(|| bytes.split_at(end))
}

/// A space and one to nine digits, and what is behind them.
#[inline]
fn usual_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.strip_prefix(b" ")?;
    let mut number = 0;
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (at > 0).then(|| (number, &digits[at..]));
        }
        if at == 9 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcache::request::line::any;

    const LIMITS: LineLimits = LineLimits { line_bytes_max: 8192, key_bytes_max: 250, keys_max: 4 };

    #[test]
    fn the_usual_lines_are_read_as_all_others() {
        let keys = ["", "k", "key:0123456789", "k\x01", "\x7f", &"k".repeat(250), &"k".repeat(251), "k k"];
        let tails = [
            "",
            "\r\n",
            "\n",
            " \r\n",
            " 0 0 5\r\n",
            " 1 2 3\n",
            " 0 0 5 \r\n",
            "  0 0 5\r\n",
            " 0 -1 5\r\n",
            " 4294967295 0 5\r\n",
            " 999999999 0 5\r\n",
            " 0 0 5 noreply\r\n",
            " 0 0\r\n",
            " 0 0 x\r\n",
            " 0 0 5\r",
            " 0  5\r\n",
            " 0000000001 0 5\r\n",
            " 0 0 5\r\nabcde\r\n",
        ];
        let mut read = 0;
        for (verb, key) in
            ["get ", "set ", "gets", "get", " get "].into_iter().flat_map(|verb| keys.map(|key| (verb, key)))
        {
            for tail in tails {
                let line = format!("{verb}{key}{tail}");
                if let Some(request) = usual(line.as_bytes(), &LIMITS) {
                    read += 1;
                    assert_eq!(any(line.as_bytes(), 0, &LIMITS), Ok(request), "{line}");
                }
            }
        }
        assert!(read > 10, "{read}");
    }
}
