//! The client's side: reads RESP2 and RESP3 replies into an owned tree.
//!
//! Made for `torc cli` and for tests, not for speed: each element is an allocation.

use super::number::parse_i64;
use super::{BULK_BYTES_MAX, LINE_BYTES_MAX};

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `_`, `$-1` or `*-1`.
    Null,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    /// Sent by the server unasked.
    Push(Vec<Reply>),
    Boolean(bool),
    Double(f64),
    BigNumber(Vec<u8>),
    /// Text in a format of three letters, mostly `txt`.
    Verbatim {
        format: [u8; 3],
        text: Vec<u8>,
    },
}

/// What [`parse`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    Complete {
        reply: Reply,
        consumed: usize,
    },
    /// More bytes are needed.
    Incomplete,
    Invalid(Invalid),
}

/// Why a reply cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// No type starts with this byte.
    Type(u8),
    /// What should be a length or a number is none, or is beyond what any server sends.
    Number,
    /// A line without an end in sight.
    Line,
    /// Arrays within arrays, deeper than [`DEPTH_MAX`].
    Depth,
    /// A value that does not end where its length says.
    End,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Invalid::Type(byte) => write!(f, "no RESP type starts with byte 0x{byte:02x}"),
            Invalid::Number => f.write_str("not a number, or out of range"),
            Invalid::Line => f.write_str("line too long"),
            Invalid::Depth => f.write_str("nested too deep"),
            Invalid::End => f.write_str("no line end behind a value"),
        }
    }
}

impl std::error::Error for Invalid {}

/// Deepest nesting that is followed.
pub const DEPTH_MAX: usize = 32;

/// Most elements that an aggregate may announce.
const ELEMENTS_MAX: i64 = 1 << 28;

/// Reads the reply at the start of `input`.
pub fn parse(input: &[u8]) -> Parsed {
    let mut reader = Reader { input, at: 0 };
    match reader.reply(0) {
        Ok(reply) => Parsed::Complete { reply, consumed: reader.at },
        Err(Stop::Incomplete) => Parsed::Incomplete,
        Err(Stop::Invalid(invalid)) => Parsed::Invalid(invalid),
    }
}

enum Stop {
    Incomplete,
    Invalid(Invalid),
}

impl From<Invalid> for Stop {
    fn from(invalid: Invalid) -> Stop {
        Stop::Invalid(invalid)
    }
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn reply(&mut self, depth: usize) -> Result<Reply, Stop> {
        if depth > DEPTH_MAX {
            return Err(Invalid::Depth.into());
        }
        let kind = *self.input.get(self.at).ok_or(Stop::Incomplete)?;
        if !b"+-:$*%~>#,(=_".contains(&kind) {
            return Err(Invalid::Type(kind).into());
        }
        self.at += 1;
        let line = self.line()?;
        Ok(match kind {
            b'+' => Reply::Simple(line.to_vec()),
            b'-' => Reply::Error(line.to_vec()),
            b':' => Reply::Integer(parse_i64(line).ok_or(Invalid::Number)?),
            b'$' => match self.bytes(line)? {
                Some(bytes) => Reply::Bulk(bytes.to_vec()),
                None => Reply::Null,
            },
            b'=' => match self.bytes(line)? {
                Some([a, b, c, b':', text @ ..]) => {
                    Reply::Verbatim { format: [*a, *b, *c], text: text.to_vec() }
                }
                _ => return Err(Invalid::End.into()),
            },
            b'*' => match elements(line)? {
                Some(count) => Reply::Array(self.replies(count, depth)?),
                None => Reply::Null,
            },
            b'~' => Reply::Set(self.replies(elements(line)?.ok_or(Invalid::Number)?, depth)?),
            b'>' => Reply::Push(self.replies(elements(line)?.ok_or(Invalid::Number)?, depth)?),
            b'%' => {
                let pairs = elements(line)?.ok_or(Invalid::Number)?;
                let mut map = Vec::new();
                for _ in 0..pairs {
                    map.push((self.reply(depth + 1)?, self.reply(depth + 1)?));
                }
                Reply::Map(map)
            }
            b'#' => match line {
                b"t" => Reply::Boolean(true),
                b"f" => Reply::Boolean(false),
                _ => return Err(Invalid::Number.into()),
            },
            b',' => Reply::Double(double(line).ok_or(Invalid::Number)?),
            b'(' => Reply::BigNumber(line.to_vec()),
            _ if line.is_empty() => Reply::Null,
            _ => return Err(Invalid::End.into()),
        })
    }

    fn replies(&mut self, count: usize, depth: usize) -> Result<Vec<Reply>, Stop> {
        // Grown as elements come: what a peer announces costs nothing.
        let mut replies = Vec::new();
        for _ in 0..count {
            replies.push(self.reply(depth + 1)?);
        }
        Ok(replies)
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.input[self.at..];
        let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
        match window.windows(2).position(|pair| pair == b"\r\n") {
            Some(end) => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            None if rest.len() >= LINE_BYTES_MAX => Err(Invalid::Line.into()),
            None => Err(Stop::Incomplete),
        }
    }

    /// The bytes whose length `line` gives; `None` for `-1`.
    fn bytes(&mut self, line: &[u8]) -> Result<Option<&'a [u8]>, Stop> {
        let len = match parse_i64(line) {
            Some(-1) => return Ok(None),
            Some(len @ 0..) if len as u64 <= BULK_BYTES_MAX => len as usize,
            _ => return Err(Invalid::Number.into()),
        };
        let rest = &self.input[self.at..];
        let end = rest.get(len..len + 2).ok_or(Stop::Incomplete)?;
        if end != b"\r\n" {
            return Err(Invalid::End.into());
        }
        self.at += len + 2;
        Ok(Some(&rest[..len]))
    }
}

/// The count of an aggregate; `None` for `-1`.
fn elements(line: &[u8]) -> Result<Option<usize>, Stop> {
    match parse_i64(line) {
        Some(-1) => Ok(None),
        Some(count @ 0..=ELEMENTS_MAX) => Ok(Some(count as usize)),
        _ => Err(Invalid::Number.into()),
    }
}

fn double(line: &[u8]) -> Option<f64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_read() {
        let bulk = |text: &str| Reply::Bulk(text.into());
        let replies: [(&[u8], Reply); 16] = [
            (b"+OK\r\n", Reply::Simple(b"OK".to_vec())),
            (b"-ERR x\r\n", Reply::Error(b"ERR x".to_vec())),
            (b":-3\r\n", Reply::Integer(-3)),
            (b"$3\r\na\r\n\r\n", bulk("a\r\n")),
            (b"$-1\r\n", Reply::Null),
            (b"*-1\r\n", Reply::Null),
            (b"_\r\n", Reply::Null),
            (b"*2\r\n$1\r\na\r\n*0\r\n", Reply::Array(vec![bulk("a"), Reply::Array(vec![])])),
            (b"%1\r\n$1\r\na\r\n:1\r\n", Reply::Map(vec![(bulk("a"), Reply::Integer(1))])),
            (b"~1\r\n:1\r\n", Reply::Set(vec![Reply::Integer(1)])),
            (b">1\r\n:1\r\n", Reply::Push(vec![Reply::Integer(1)])),
            (b"#t\r\n", Reply::Boolean(true)),
            (b",1.5\r\n", Reply::Double(1.5)),
            (b",inf\r\n", Reply::Double(f64::INFINITY)),
            (b"(123\r\n", Reply::BigNumber(b"123".to_vec())),
            (b"=5\r\ntxt:a\r\n", Reply::Verbatim { format: *b"txt", text: b"a".to_vec() }),
        ];
        for (input, reply) in replies {
            assert_eq!(parse(input), Parsed::Complete { reply, consumed: input.len() });
            for cut in 0..input.len() {
                assert_eq!(parse(&input[..cut]), Parsed::Incomplete, "{}", input[..cut].escape_ascii());
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let nonsense: [(&[u8], Invalid); 8] = [
            (b"x", Invalid::Type(b'x')),
            (b":x\r\n", Invalid::Number),
            (b"$-2\r\n", Invalid::Number),
            (b"$536870913\r\n", Invalid::Number),
            (b"$1\r\nabc", Invalid::End),
            (b"*999999999\r\n", Invalid::Number),
            (b"%-1\r\n", Invalid::Number),
            (b"_x\r\n", Invalid::End),
        ];
        for (input, invalid) in nonsense {
            assert_eq!(parse(input), Parsed::Invalid(invalid), "{}", input.escape_ascii());
        }
        assert_eq!(parse(&b"*1\r\n".repeat(DEPTH_MAX + 2)), Parsed::Invalid(Invalid::Depth));
        assert_eq!(parse(&[b'+'; LINE_BYTES_MAX + 1]), Parsed::Invalid(Invalid::Line));
    }
}
