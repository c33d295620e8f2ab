//! Replies: RESP2 and RESP3 types appended to a buffer.
//!
//! Types that RESP2 does not have take the [`Version`] and fall back as Redis does: a map is a flat array, a
//! set an array, a boolean 0 or 1, a double and a big number a bulk string, null `$-1`.

/// Which replies a connection understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    #[default]
    Resp2,
    Resp3,
}

/// `+text`. A line end in `text` would end the reply, so there must be none.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    debug_assert!(!text.contains(['\r', '\n']));
    line(out, b'+', text.as_bytes());
}

/// `-text`: the first word is the error's code. Line ends become blanks, as Redis does it.
pub fn error(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 3);
    out.push(b'-');
    out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

/// `:number`.
#[inline]
pub fn integer(out: &mut Vec<u8>, number: i64) {
    line(out, b':', itoa::Buffer::new().format(number).as_bytes());
}

/// A bulk string.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    bulk_begin(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// What stands before the `len` bytes of a bulk string, and room for them and for the line end: what a GET costs.
#[inline]
pub fn bulk_begin(out: &mut Vec<u8>, len: usize) {
    out.reserve(len + BULK_FRAME_BYTES_MAX);
    if len < 1000 {
        // All eight bytes are copied at once, and the surplus is cut off: far cheaper than copying the exact number.
        let [hundreds, tens, ones] = [len / 100, len / 10 % 10, len % 10].map(|digit| b'0' + digit as u8);
        let (head, used) = match len {
            0..10 => ([b'$', ones, b'\r', b'\n', 0, 0, 0, 0], 4),
            10..100 => ([b'$', tens, ones, b'\r', b'\n', 0, 0, 0], 5),
            _ => ([b'$', hundreds, tens, ones, b'\r', b'\n', 0, 0], 6),
        };
        let end = out.len() + used;
        out.extend_from_slice(&head);
        out.truncate(end);
    } else {
        bulk_header(out, len as u64);
    }
}

/// `$`, 20 digits and two line ends; more than the eight bytes of a short head.
const BULK_FRAME_BYTES_MAX: usize = 25;

/// The head of a bulk string whose `len` bytes and line end follow.
pub fn bulk_header(out: &mut Vec<u8>, len: u64) {
    count(out, b'$', len);
}

/// `$-1`, or `_` in RESP3.
#[inline]
pub fn null(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(match version {
        Version::Resp2 => b"$-1\r\n",
        Version::Resp3 => b"_\r\n",
    });
}

/// `*-1`, or `_` in RESP3: an array that is not there.
pub fn null_array(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(match version {
        Version::Resp2 => b"*-1\r\n",
        Version::Resp3 => b"_\r\n",
    });
}

/// The head of an array; its elements follow.
pub fn array(out: &mut Vec<u8>, elements: usize) {
    count(out, b'*', elements as u64);
}

/// The head of a push, which RESP2 does not have; its elements follow.
pub fn push(out: &mut Vec<u8>, elements: usize) {
    count(out, b'>', elements as u64);
}

/// The head of a map; twice as many elements follow.
pub fn map(out: &mut Vec<u8>, pairs: usize, version: Version) {
    match version {
        Version::Resp2 => array(out, pairs * 2),
        Version::Resp3 => count(out, b'%', pairs as u64),
    }
}

/// The head of a set; its elements follow.
pub fn set(out: &mut Vec<u8>, elements: usize, version: Version) {
    match version {
        Version::Resp2 => array(out, elements),
        Version::Resp3 => count(out, b'~', elements as u64),
    }
}

/// `#t` or `#f`.
pub fn boolean(out: &mut Vec<u8>, value: bool, version: Version) {
    match version {
        Version::Resp2 => integer(out, value.into()),
        Version::Resp3 => out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
    }
}

/// `,number`, with the fewest digits that read back the same.
pub fn double(out: &mut Vec<u8>, number: f64, version: Version) {
    let text = if number.is_nan() {
        "nan".to_owned()
    } else if number.is_infinite() {
        (if number > 0.0 { "inf" } else { "-inf" }).to_owned()
    } else {
        number.to_string()
    };
    match version {
        Version::Resp2 => bulk(out, text.as_bytes()),
        Version::Resp3 => line(out, b',', text.as_bytes()),
    }
}

/// `(digits`: an integer of any length, already in decimal.
pub fn big_number(out: &mut Vec<u8>, digits: &str, version: Version) {
    match version {
        Version::Resp2 => bulk(out, digits.as_bytes()),
        Version::Resp3 => line(out, b'(', digits.as_bytes()),
    }
}

/// Text for people: `=len`, `txt:` and the text; a bulk string in RESP2.
pub fn verbatim(out: &mut Vec<u8>, text: &str, version: Version) {
    match version {
        Version::Resp2 => bulk(out, text.as_bytes()),
        Version::Resp3 => {
            count(out, b'=', text.len() as u64 + 4);
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A request: an array of bulk strings.
pub fn request(out: &mut Vec<u8>, arguments: &[impl AsRef<[u8]>]) {
    array(out, arguments.len());
    for argument in arguments {
        bulk(out, argument.as_ref());
    }
}

fn count(out: &mut Vec<u8>, kind: u8, number: u64) {
    line(out, kind, itoa::Buffer::new().format(number).as_bytes());
}

#[inline]
fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.reserve(text.len() + 3);
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(write: impl Fn(&mut Vec<u8>, Version)) -> (String, String) {
        let [resp2, resp3] = [Version::Resp2, Version::Resp3].map(|version| {
            let mut out = Vec::new();
            write(&mut out, version);
            String::from_utf8(out).unwrap()
        });
        (resp2, resp3)
    }

    fn both(resp2: &str, resp3: &str) -> (String, String) {
        (resp2.to_owned(), resp3.to_owned())
    }

    #[test]
    fn each_type_falls_back_in_resp2() {
        assert_eq!(composed(null), both("$-1\r\n", "_\r\n"));
        assert_eq!(composed(null_array), both("*-1\r\n", "_\r\n"));
        assert_eq!(composed(|out, version| map(out, 2, version)), both("*4\r\n", "%2\r\n"));
        assert_eq!(composed(|out, version| set(out, 2, version)), both("*2\r\n", "~2\r\n"));
        assert_eq!(composed(|out, version| boolean(out, true, version)), both(":1\r\n", "#t\r\n"));
        assert_eq!(composed(|out, version| boolean(out, false, version)), both(":0\r\n", "#f\r\n"));
        assert_eq!(composed(|out, version| double(out, 1.5, version)), both("$3\r\n1.5\r\n", ",1.5\r\n"));
        assert_eq!(composed(|out, version| double(out, f64::NEG_INFINITY, version)).1, ",-inf\r\n");
        assert_eq!(composed(|out, version| double(out, f64::NAN, version)).1, ",nan\r\n");
        assert_eq!(
            composed(|out, version| big_number(out, "123", version)),
            both("$3\r\n123\r\n", "(123\r\n")
        );
        assert_eq!(
            composed(|out, version| verbatim(out, "a\r\n", version)),
            both("$3\r\na\r\n\r\n", "=7\r\ntxt:a\r\n\r\n")
        );
    }

    #[test]
    fn a_bulk_string_of_every_length() {
        for len in (0..1200).chain([9_999, 10_000, 100_000]) {
            let text = "x".repeat(len);
            assert_eq!(composed(|out, _| bulk(out, text.as_bytes())).0, format!("${len}\r\n{text}\r\n"));
        }
    }

    #[test]
    fn an_error_stays_one_line() {
        assert_eq!(composed(|out, _| error(out, b"ERR a\r\nb")).0, "-ERR a  b\r\n");
    }
}
