//! RESP replies of any kind, counted when they are whole.

use std::cell::Cell;

use crate::codec::{Codec, Expect, LineScanner, Tally, length, resp::Resp};

/// Counts whole replies: all of them, or only the arrays, where each request is a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replies {
    pub arrays_alone: bool,
}

/// Where a connection stands.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    lines: LineScanner,
    /// Elements of an array that are still to come.
    left: Cell<usize>,
}

impl Codec for Replies {
    type Scanner = Scanner;

    fn name(&self) -> &'static str {
        "resp"
    }

    fn get(&self, out: &mut Vec<u8>, key: &[u8]) {
        Resp.get(out, key);
    }

    fn set(&self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        Resp.set(out, key, value);
    }

    fn reply_bytes(&self, key: &[u8], value: &[u8]) -> [usize; 2] {
        Resp.reply_bytes(key, value)
    }

    fn scan(&self, scanner: &mut Scanner, bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
        let Scanner { lines, left } = scanner;
        let whole = |tally: &mut Tally| match left.get() {
            0 => tally.done += u64::from(!self.arrays_alone),
            1 => {
                left.set(0);
                tally.done += 1;
            }
            more => left.set(more - 1),
        };
        let on_line = |line: &[u8], tally: &mut Tally| {
            let (&kind, rest) = line.split_first().ok_or("an empty line")?;
            match kind {
                b'$' if rest != b"-1" => {
                    let bytes = length(rest).ok_or("a length that is none")?;
                    return Ok(Expect::Body(bytes + b"\r\n".len()));
                }
                b'*' if rest != b"0" && rest != b"-1" => {
                    left.set(length(rest).ok_or("a length that is none")?);
                }
                b'*' if self.arrays_alone => tally.done += 1,
                b'-' => tally.refuse(rest),
                b'$' | b'*' | b'+' | b':' | b'_' => whole(tally),
                _ => return Err(format!("'{}'", String::from_utf8_lossy(line))),
            }
            Ok(Expect::Line)
        };
        lines.scan(bytes, tally, on_line, whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::{refuses, scans_however_cut};

    #[test]
    fn replies_are_counted_when_they_are_whole() {
        let stream = b"+OK\r\n+QUEUED\r\n*3\r\n+OK\r\n$2\r\nhi\r\n$-1\r\n:7\r\n*0\r\n$0\r\n\r\n";
        let all = Tally { done: 6, ..Tally::default() };
        scans_however_cut(&Replies { arrays_alone: false }, stream, &all);
        let arrays = Tally { done: 2, ..Tally::default() };
        scans_however_cut(&Replies { arrays_alone: true }, stream, &arrays);
        assert!(refuses(&Replies { arrays_alone: false }, b"STORED\r\n"));
    }
}
