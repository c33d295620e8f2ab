//! The client side of a protocol, as little of it as a load needs: requests are written straight
//! into the output buffer, replies are counted, not built. One file a protocol.
//!
//! Non-goals: this is no client library. A reply is known only as hit, miss, done or refused.

pub mod memcache;
pub mod native;
pub mod raw;
pub mod resp;

use serde::Serialize;

use crate::error::BenchError;

/// One protocol.
pub trait Codec {
    /// Where a connection stands between two pieces of its reply stream.
    type Scanner: Default;

    /// The protocol's name as the command line has it.
    fn name(&self) -> &'static str;

    /// Writes what a new connection says first; it brings no reply.
    fn open(&self, _out: &mut Vec<u8>) {}

    fn get(&self, out: &mut Vec<u8>, key: &[u8]);
    fn set(&self, out: &mut Vec<u8>, key: &[u8], value: &[u8]);

    /// Reply sizes of a get that hits and of a set, bytes.
    fn reply_bytes(&self, key: &[u8], value: &[u8]) -> [usize; 2];

    /// Takes the next bytes of the reply stream, however they are cut, and adds each reply that
    /// ends in them to `tally`. An error is a stream that this protocol cannot bring.
    fn scan(&self, scanner: &mut Self::Scanner, bytes: &[u8], tally: &mut Tally) -> Result<(), String>;
}

/// Counts of replies.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Writes that were carried out.
    pub done: u64,
    /// Errors that the server answered.
    pub refused: u64,
    /// Bytes of values read.
    pub value_bytes: u64,
    /// The first error that the server answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_refusal: Option<String>,
}

impl Tally {
    /// How many replies there were.
    #[inline]
    pub fn replies(&self) -> u64 {
        self.hits + self.misses + self.done + self.refused
    }

    pub(crate) fn refuse(&mut self, message: &[u8]) {
        self.refused += 1;
        if self.first_refusal.is_none() {
            self.first_refusal = Some(String::from_utf8_lossy(message).trim_end().to_owned());
        }
    }

    /// Refuses the tally of a load that must not meet errors.
    pub(crate) fn without_refusals(&self) -> Result<(), BenchError> {
        match &self.first_refusal {
            None => Ok(()),
            Some(first) => Err(BenchError::Invalid(format!(
                "the server refused {} requests, the first with: {first}",
                self.refused
            ))),
        }
    }
}

/// Longest reply line kept; the rest of a longer one (an error message) is dropped.
const LINE_BYTES_MAX: usize = 256;

/// Collects a line that arrives in pieces.
#[derive(Debug)]
pub(crate) struct PartialLine {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

impl Default for PartialLine {
    fn default() -> Self {
        Self { bytes: [0; LINE_BYTES_MAX], len: 0 }
    }
}

impl PartialLine {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let kept = piece.len().min(LINE_BYTES_MAX - self.len);
        self.bytes[self.len..self.len + kept].copy_from_slice(&piece[..kept]);
        self.len += kept;
    }

    /// Hands the line out and starts a new one.
    pub(crate) fn take(&mut self) -> ([u8; LINE_BYTES_MAX], usize) {
        let len = std::mem::take(&mut self.len);
        (self.bytes, len)
    }
}

/// What a text reply stream brings next.
#[derive(Debug, Default)]
pub(crate) enum Expect {
    /// A line that ends in `\n`.
    #[default]
    Line,
    /// This many bytes of a value and what follows it.
    Body(usize),
}

/// Cuts a stream of lines and counted bodies: the part that RESP and memcached share.
#[derive(Debug, Default)]
pub struct LineScanner {
    expect: Expect,
    line: PartialLine,
}

impl LineScanner {
    /// Calls `on_line` with each whole line (its `\r\n` cut off); what it returns comes next.
    /// `on_body` is called as each body ends.
    #[inline]
    pub(crate) fn scan(
        &mut self,
        mut bytes: &[u8],
        tally: &mut Tally,
        mut on_line: impl FnMut(&[u8], &mut Tally) -> Result<Expect, String>,
        mut on_body: impl FnMut(&mut Tally),
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            match &mut self.expect {
                Expect::Body(left) => {
                    let taken = bytes.len().min(*left);
                    bytes = &bytes[taken..];
                    *left -= taken;
                    if *left == 0 {
                        self.expect = Expect::Line;
                        on_body(tally);
                    }
                }
                Expect::Line => {
                    let Some(end) = newline(bytes) else {
                        self.line.push(bytes);
                        return Ok(());
                    };
                    let (line, rest) = bytes.split_at(end + 1);
                    bytes = rest;
                    self.expect = if self.line.is_empty() {
                        on_line(trimmed(line), tally)?
                    } else {
                        self.line.push(line);
                        let (kept, len) = self.line.take();
                        on_line(trimmed(&kept[..len]), tally)?
                    };
                }
            }
        }
        Ok(())
    }
}

/// Where the first line ends. Reply lines are short: a plain loop over the first bytes beats a
/// vector search's set-up.
#[inline]
fn newline(bytes: &[u8]) -> Option<usize> {
    const SHORT: usize = 8;
    let short = &bytes[..bytes.len().min(SHORT)];
    match short.iter().position(|&byte| byte == b'\n') {
        Some(at) => Some(at),
        None => memchr::memchr(b'\n', &bytes[short.len()..]).map(|at| at + short.len()),
    }
}

/// An error: a line that the protocol does not have.
#[cold]
fn unknown(line: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(line))
}

fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Longest value that a reply may announce, bytes.
const BODY_BYTES_MAX: usize = 1 << 40;

/// A decimal length; `None` for anything else or a number out of bounds.
#[inline]
pub(crate) fn length(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 13 {
        return None;
    }
    let mut value = 0usize;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + usize::from(digit - b'0');
    }
    (value <= BODY_BYTES_MAX).then_some(value)
}

/// Appends a decimal number.
#[inline]
pub(crate) fn push_number(out: &mut Vec<u8>, mut value: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Scans `stream` whole, cut in two at every byte, and byte by byte; all must give `expected`.
    pub(crate) fn scans_however_cut<C: Codec>(codec: &C, stream: &[u8], expected: &Tally) {
        for cut in 0..=stream.len() {
            let (left, right) = stream.split_at(cut);
            let mut tally = Tally::default();
            let mut scanner = C::Scanner::default();
            codec.scan(&mut scanner, left, &mut tally).unwrap();
            codec.scan(&mut scanner, right, &mut tally).unwrap();
            assert_eq!(&tally, expected, "cut at {cut}");
        }
        let mut tally = Tally::default();
        let mut scanner = C::Scanner::default();
        for byte in stream.chunks(1) {
            codec.scan(&mut scanner, byte, &mut tally).unwrap();
        }
        assert_eq!(&tally, expected, "byte by byte");
    }

    /// Whether a stream is refused.
    pub(crate) fn refuses<C: Codec>(codec: &C, stream: &[u8]) -> bool {
        let mut scanner = C::Scanner::default();
        codec.scan(&mut scanner, stream, &mut Tally::default()).is_err()
    }

    #[test]
    fn numbers_are_written_and_read_back() {
        for value in [0usize, 7, 10, 64, 999, 1_048_576] {
            let mut out = Vec::new();
            push_number(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
            assert_eq!(length(&out), Some(value));
        }
        for wrong in [&b""[..], b"-1", b"1x", b"99999999999999"] {
            assert_eq!(length(wrong), None);
        }
    }
}
