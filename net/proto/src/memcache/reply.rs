//! Answers as a client reads them, for load generators and tests.

use super::{LINE_END, Value, Words, unsigned, value};

/// One answer. A retrieval is answered by a `Value` for each item and `End`; statistics by `Stat`s and `End`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    Value {
        key: &'a [u8],
        flags: u32,
        /// With `gets` and `gats`.
        cas: Option<u64>,
        value: &'a [u8],
    },
    End,
    Stored,
    NotStored,
    Exists,
    NotFound,
    Deleted,
    Touched,
    Ok,
    Reset,
    /// A counter's new number.
    Number(u64),
    Version(&'a [u8]),
    Stat {
        name: &'a [u8],
        value: &'a [u8],
    },
    /// A meta command's code (`HD`, `EN`, `NF`, `NS`, `EX`, `VA`), the flags behind it, and the value of `VA`.
    Meta {
        code: [u8; 2],
        flags: &'a [u8],
        value: Option<&'a [u8]>,
    },
    /// `MN`
    MetaNoop,
    /// `ME`: key and figures.
    MetaDebug(&'a [u8]),
    /// `ERROR`, `CLIENT_ERROR ...`, `SERVER_ERROR ...`, or a refusal with a word of its own (`BADCLASS ...`): the whole line.
    Error(&'a [u8]),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReply {
    Incomplete,
    /// No answer of this protocol; nothing behind it can be believed.
    Invalid,
}

/// Reads one answer from the start of `input`: it and the bytes it took.
pub fn parse(input: &[u8]) -> Result<(Reply<'_>, usize), NoReply> {
    let end = memchr::memchr(b'\n', input).ok_or(NoReply::Incomplete)?;
    let line = input[..end].strip_suffix(b"\r").ok_or(NoReply::Invalid)?;
    let consumed = end + 1;
    let mut words = Words::new(line);
    let first = words.next().ok_or(NoReply::Invalid)?;
    let rest = words.rest().strip_prefix(b" ").unwrap_or_default();
    let reply = match first {
        b"VALUE" => return text_value(words, input, consumed),
        b"VA" => return meta_value(words, input, consumed),
        b"END" => Reply::End,
        b"STORED" => Reply::Stored,
        b"NOT_STORED" => Reply::NotStored,
        b"EXISTS" => Reply::Exists,
        b"NOT_FOUND" => Reply::NotFound,
        b"DELETED" => Reply::Deleted,
        b"TOUCHED" => Reply::Touched,
        b"OK" => Reply::Ok,
        b"RESET" => Reply::Reset,
        b"VERSION" => Reply::Version(rest),
        b"STAT" => {
            let name = words.next().ok_or(NoReply::Invalid)?;
            Reply::Stat { name, value: words.rest().strip_prefix(b" ").unwrap_or_default() }
        }
        b"MN" => Reply::MetaNoop,
        b"ME" => Reply::MetaDebug(rest),
        b"HD" | b"EN" | b"NF" | b"NS" | b"EX" => {
            Reply::Meta { code: [first[0], first[1]], flags: rest, value: None }
        }
        b"ERROR" | b"ERROR:" | b"CLIENT_ERROR" | b"SERVER_ERROR" => Reply::Error(line),
        // Refusals to administrators.
        b"BADCLASS" | b"SAME" | b"NOTSTARTED" | b"MEMLIMIT_TOO_SMALL" | b"MEMLIMIT_ADJUST_FAILED" => {
            Reply::Error(line)
        }
        // memcached's old padding of a counter that became shorter may leave spaces behind the number.
        number => Reply::Number(unsigned(number).ok_or(NoReply::Invalid)?),
    };
    Ok((reply, consumed))
}

fn text_value<'a>(
    mut words: Words<'a>,
    input: &'a [u8],
    consumed: usize,
) -> Result<(Reply<'a>, usize), NoReply> {
    let key = words.next().ok_or(NoReply::Invalid)?;
    let mut number = || words.next().and_then(unsigned);
    let flags = number().and_then(|flags| u32::try_from(flags).ok()).ok_or(NoReply::Invalid)?;
    let bytes = number().ok_or(NoReply::Invalid)?;
    let cas = number();
    let (value, consumed) = data(input, consumed, bytes)?;
    Ok((Reply::Value { key, flags, cas, value }, consumed))
}

fn meta_value<'a>(
    mut words: Words<'a>,
    input: &'a [u8],
    consumed: usize,
) -> Result<(Reply<'a>, usize), NoReply> {
    let bytes = words.next().and_then(unsigned).ok_or(NoReply::Invalid)?;
    let flags = words.rest().strip_prefix(b" ").unwrap_or_default();
    let (value, consumed) = data(input, consumed, bytes)?;
    Ok((Reply::Meta { code: *b"VA", flags, value: Some(value) }, consumed))
}

/// The value behind a line, and the bytes that line and value took.
fn data(input: &[u8], line_bytes: usize, bytes: u64) -> Result<(&[u8], usize), NoReply> {
    let rest = input.get(line_bytes..).unwrap_or_default();
    let bytes = usize::try_from(bytes).map_err(|_| NoReply::Invalid)?;
    match value(rest, bytes) {
        Value::Complete(value) => Ok((value, line_bytes + bytes + LINE_END.len())),
        Value::Incomplete(_) => Err(NoReply::Incomplete),
        Value::BadChunk => Err(NoReply::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_read_and_its_prefixes_are_incomplete() {
        let cases: &[(&[u8], Reply<'_>)] = &[
            (b"VALUE k 7 3\r\nabc\r\n", Reply::Value { key: b"k", flags: 7, cas: None, value: b"abc" }),
            (b"VALUE k 0 0 9\r\n\r\n", Reply::Value { key: b"k", flags: 0, cas: Some(9), value: b"" }),
            (b"END\r\n", Reply::End),
            (b"STORED\r\n", Reply::Stored),
            (b"NOT_STORED\r\n", Reply::NotStored),
            (b"EXISTS\r\n", Reply::Exists),
            (b"NOT_FOUND\r\n", Reply::NotFound),
            (b"DELETED\r\n", Reply::Deleted),
            (b"TOUCHED\r\n", Reply::Touched),
            (b"OK\r\n", Reply::Ok),
            (b"RESET\r\n", Reply::Reset),
            (b"18446744073709551615\r\n", Reply::Number(u64::MAX)),
            (b"VERSION 1.6.18\r\n", Reply::Version(b"1.6.18")),
            (b"STAT pid 12\r\n", Reply::Stat { name: b"pid", value: b"12" }),
            (b"HD\r\n", Reply::Meta { code: *b"HD", flags: b"", value: None }),
            (b"EN kfoo O1\r\n", Reply::Meta { code: *b"EN", flags: b"kfoo O1", value: None }),
            (b"VA 2 t-1 W\r\nhi\r\n", Reply::Meta { code: *b"VA", flags: b"t-1 W", value: Some(b"hi") }),
            (b"MN\r\n", Reply::MetaNoop),
            (b"ME k exp=-1\r\n", Reply::MetaDebug(b"k exp=-1")),
            (b"ERROR\r\n", Reply::Error(b"ERROR")),
            (b"CLIENT_ERROR no\r\n", Reply::Error(b"CLIENT_ERROR no")),
        ];
        for (bytes, reply) in cases {
            assert_eq!(parse(bytes), Ok((*reply, bytes.len())));
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Err(NoReply::Incomplete), "{reply:?} cut at {end}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in [
            &b"\r\n"[..],
            b"HELLO\r\n",
            b"END\n",
            b"VALUE k x 3\r\n",
            b"VALUE k 0\r\n",
            b"VALUE k 0 1\r\nabc\r\n",
            b"VA\r\n",
            b"18446744073709551616\r\n",
            b"STAT\r\n",
        ] {
            assert_eq!(parse(bytes), Err(NoReply::Invalid));
        }
        assert_eq!(parse(b"VALUE k 0 18446744073709551615\r\n"), Err(NoReply::Incomplete));
    }
}
