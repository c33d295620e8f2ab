//! Requests: where the arguments of one lie in the input.
//!
//! An unfinished request is offered again from its start with more behind it, and [`resume`] goes on where the
//! parser stopped: each argument is looked at once, however the request is cut. [`Step::Incomplete`] says how
//! many bytes are missing before anything more can be said. What follows a `\r` is not looked at, as in Redis.

use super::inline;
use super::number::parse_i64;
use super::{BULK_BYTES_MAX, LINE_BYTES_MAX};

/// An argument: `len` bytes of the input from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

impl Span {
    /// The bytes of the argument; empty if the span lies outside of `input`.
    #[inline]
    pub fn of<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        input.get(start..start + self.len as usize).unwrap_or_default()
    }
}

/// Where the arguments of a request lie: the result of [`parse`], kept by its caller for its memory.
#[derive(Debug, Default)]
pub struct Arguments {
    pub spans: Vec<Span>,
    /// How many arguments the array announces; more than `spans` while the request is incomplete.
    pub announced: usize,
    /// The argument whose length is there and whose bytes are not: offset and length of the bytes.
    pub unfinished: Option<(usize, u64)>,
    /// An argument of an inline request has escapes or joined quotes: its span is the raw text of the word, to
    /// be read with [`inline_word`].
    pub escaped: bool,
    /// Where the argument behind `spans` starts; 0 while the request has not even begun.
    next: usize,
}

impl Arguments {
    fn clear(&mut self) {
        self.spans.clear();
        self.announced = 0;
        self.unfinished = None;
        self.escaped = false;
        self.next = 0;
    }

    /// Takes the arguments that [`parse_small`] found.
    #[inline]
    pub fn take_small(&mut self, spans: &[Span]) {
        self.clear();
        self.spans.extend_from_slice(spans);
        self.announced = spans.len();
    }

    pub(super) fn push(&mut self, start: usize, len: usize) {
        // Both fit: `parse` refuses to look behind the first 4 GiB.
        self.spans.push(Span { start: start as u32, len: len as u32 });
    }
}

/// What [`parse`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A request of `consumed` bytes with at least one argument.
    Complete {
        consumed: usize,
    },
    /// `consumed` bytes that ask nothing: an empty line, an array of no elements.
    Empty {
        consumed: usize,
    },
    /// Nothing more can be said before `missing` bytes (never 0) are there. `Arguments` holds what is known.
    Incomplete {
        missing: usize,
    },
    Invalid(ProtocolError),
}

/// Why the rest of a connection cannot be understood. The words are Redis' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    TooBigInline,
    UnbalancedQuotes,
    TooBigCount,
    InvalidCount,
    /// More arguments than the caller allows.
    TooManyArguments,
    TooBigBulkCount,
    /// `$` was expected.
    ExpectedBulk {
        got: u8,
    },
    InvalidBulkLength,
}

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            ProtocolError::TooBigInline => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::TooBigCount => "too big mbulk count string",
            ProtocolError::InvalidCount => "invalid multibulk length",
            ProtocolError::TooManyArguments => "too many arguments, the limit is --max-arguments",
            ProtocolError::TooBigBulkCount => "too big bulk count string",
            // A line end would end the reply.
            ProtocolError::ExpectedBulk { got: b'\r' | b'\n' } => "expected '$', got ' '",
            ProtocolError::ExpectedBulk { got } => {
                return write!(f, "expected '$', got '{}'", char::from(*got));
            }
            ProtocolError::InvalidBulkLength => "invalid bulk length",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// Finds the arguments of the request at the start of `input`. At most `arguments_max` are allowed.
pub fn parse(input: &[u8], arguments_max: usize, arguments: &mut Arguments) -> Step {
    arguments.clear();
    // Spans hold 32 bits.
    let input = &input[..input.len().min(u32::MAX as usize)];
    match input.first() {
        None => Step::Incomplete { missing: 1 },
        Some(b'*') => parse_array(input, arguments_max, arguments),
        Some(_) => parse_inline(input, arguments_max, arguments),
    }
}

/// Goes on after [`Step::Incomplete`]: `input` starts with the same bytes, and has more behind them.
pub fn resume(input: &[u8], arguments_max: usize, arguments: &mut Arguments) -> Step {
    if arguments.next == 0 {
        return parse(input, arguments_max, arguments);
    }
    bulks(&input[..input.len().min(u32::MAX as usize)], arguments)
}

fn parse_array(input: &[u8], arguments_max: usize, arguments: &mut Arguments) -> Step {
    let (count, body) = match line_number(input) {
        LineNumber::At(count, next) => (count, next),
        LineNumber::Incomplete => return Step::Incomplete { missing: 1 },
        LineNumber::TooLong => return Step::Invalid(ProtocolError::TooBigCount),
        LineNumber::NotANumber => return Step::Invalid(ProtocolError::InvalidCount),
    };
    if count > i64::from(i32::MAX) {
        return Step::Invalid(ProtocolError::InvalidCount);
    }
    let Ok(count @ 1..) = usize::try_from(count) else {
        return Step::Empty { consumed: body };
    };
    if count > arguments_max {
        return Step::Invalid(ProtocolError::TooManyArguments);
    }
    arguments.announced = count;
    arguments.next = body;
    bulks(input, arguments)
}

/// Finds `count` bulk strings at the start of `input`: what is left of an array.
pub fn parse_bulks(input: &[u8], count: usize, arguments: &mut Arguments) -> Step {
    arguments.clear();
    arguments.announced = count;
    bulks(&input[..input.len().min(u32::MAX as usize)], arguments)
}

fn bulks(input: &[u8], arguments: &mut Arguments) -> Step {
    arguments.unfinished = None;
    while arguments.spans.len() < arguments.announced {
        let at = arguments.next;
        let (start, len) = match small_header(input, at) {
            Some((start, len)) if start <= input.len() => (start, len as u64),
            _ => match bulk_header(input.get(at..).unwrap_or_default()) {
                Ok(Some((header, len))) => (at + header, len),
                Ok(None) => return Step::Incomplete { missing: 1 },
                Err(error) => return Step::Invalid(error),
            },
        };
        let end = start as u64 + len + 2;
        let have = input.len() as u64;
        if end > have {
            arguments.unfinished = Some((start, len));
            // The shortest line of another argument, right or wrong.
            let line = if arguments.spans.len() + 1 < arguments.announced { 2 } else { 0 };
            let missing = usize::try_from(end - have).unwrap_or(usize::MAX);
            return Step::Incomplete { missing: missing.saturating_add(line) };
        }
        arguments.push(start, len as usize);
        arguments.next = end as usize;
    }
    Step::Complete { consumed: arguments.next }
}

/// Reads `$len\r\n`: bytes of the header, and the length; `None` if it is not all there.
pub fn bulk_header(input: &[u8]) -> Result<Option<(usize, u64)>, ProtocolError> {
    match (line_number(input), input.first()) {
        (LineNumber::Incomplete, _) | (_, None) => Ok(None),
        (LineNumber::TooLong, _) => Err(ProtocolError::TooBigBulkCount),
        (_, Some(&got)) if got != b'$' => Err(ProtocolError::ExpectedBulk { got }),
        (LineNumber::At(len, header), _) => match u64::try_from(len) {
            Ok(len) if len <= BULK_BYTES_MAX => Ok(Some((header, len))),
            _ => Err(ProtocolError::InvalidBulkLength),
        },
        (LineNumber::NotANumber, _) => Err(ProtocolError::InvalidBulkLength),
    }
}

/// The number in a line like `*3\r\n`.
enum LineNumber {
    /// The number, and where the next line starts.
    At(i64, usize),
    Incomplete,
    TooLong,
    NotANumber,
}

#[inline]
fn line_number(input: &[u8]) -> LineNumber {
    let window = &input[..input.len().min(LINE_BYTES_MAX + 1)];
    let Some(end) = window.iter().position(|&byte| byte == b'\r') else {
        return if input.len() > LINE_BYTES_MAX { LineNumber::TooLong } else { LineNumber::Incomplete };
    };
    if input.len() < end + 2 {
        return LineNumber::Incomplete;
    }
    match input.get(1..end).and_then(parse_i64) {
        Some(number) => LineNumber::At(number, end + 2),
        None => LineNumber::NotANumber,
    }
}

fn parse_inline(input: &[u8], arguments_max: usize, arguments: &mut Arguments) -> Step {
    let window = &input[..input.len().min(LINE_BYTES_MAX + 1)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        if input.len() > LINE_BYTES_MAX {
            return Step::Invalid(ProtocolError::TooBigInline);
        }
        return Step::Incomplete { missing: 1 };
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    match inline::split(line, arguments) {
        Err(inline::Unbalanced) => return Step::Invalid(ProtocolError::UnbalancedQuotes),
        Ok(()) if arguments.spans.len() > arguments_max => {
            return Step::Invalid(ProtocolError::TooManyArguments);
        }
        Ok(()) => {}
    }
    arguments.announced = arguments.spans.len();
    if arguments.spans.is_empty() {
        Step::Empty { consumed: end + 1 }
    } else {
        Step::Complete { consumed: end + 1 }
    }
}

/// The words of an inline request, decoded: quotes taken off, escapes resolved.
pub fn inline_words(input: &[u8], arguments: &Arguments) -> Vec<Vec<u8>> {
    arguments
        .spans
        .iter()
        .map(|span| match arguments.escaped {
            true => inline_word(span.of(input)),
            false => span.of(input).to_vec(),
        })
        .collect()
}

/// What one word of an inline request with escapes stands for.
pub fn inline_word(raw: &[u8]) -> Vec<u8> {
    inline::decode(raw)
}

/// Most arguments that [`parse_small`] takes.
pub const SMALL_ARGUMENTS_MAX: usize = 8;

/// The fast path: a whole array of at most [`SMALL_ARGUMENTS_MAX`] arguments, each under 10,000 bytes. Gives the
/// number of arguments and the bytes consumed; `None` is for [`parse`] to look into.
#[inline]
pub fn parse_small(input: &[u8], spans: &mut [Span; SMALL_ARGUMENTS_MAX]) -> Option<(usize, usize)> {
    let &[b'*', digit, b'\r', b'\n'] = input.first_chunk::<4>()? else { return None };
    let count = digit.wrapping_sub(b'0') as usize;
    let spans = spans.get_mut(..count)?;
    let mut at = 4;
    for span in spans.iter_mut() {
        let (start, len) = small_header(input, at)?;
        let end = start + len;
        // The line end is not looked at, as in the general path.
        if input.len() < end + 2 {
            return None;
        }
        *span = Span { start: start as u32, len: len as u32 };
        at = end + 2;
    }
    if count == 0 { None } else { Some((count, at)) }
}

/// `$d\r\n` to `$dddd\r\n` at `at`, without leading zeros: where the bytes start, and how many.
#[inline(always)]
fn small_header(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let head = input.get(at..)?.first_chunk::<4>()?;
    let first = head[1].wrapping_sub(b'0');
    if head[0] != b'$' || first > 9 {
        return None;
    }
    let mut len = first as usize;
    if head[2] == b'\r' {
        return Some((at + 4, len));
    }
    if first == 0 {
        return None;
    }
    let mut next = at + 2;
    for _ in 0..4 {
        let byte = *input.get(next)?;
        next += 1;
        if byte == b'\r' {
            return Some((next + 1, len));
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        len = len * 10 + digit as usize;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments_of(input: &[u8]) -> (Step, Vec<&[u8]>) {
        let mut arguments = Arguments::default();
        let step = parse(input, 1000, &mut arguments);
        (step, arguments.spans.iter().map(|span| span.of(input)).collect())
    }

    #[test]
    fn what_is_missing_is_told() {
        let mut arguments = Arguments::default();
        assert_eq!(parse(b"*3\r\n", 10, &mut arguments), Step::Incomplete { missing: 1 });
        assert_eq!(parse(b"*3\r\n$3\r\n", 10, &mut arguments), Step::Incomplete { missing: 7 });
        let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nabc";
        assert_eq!(parse(input, 10, &mut arguments), Step::Incomplete { missing: 99 });
        assert_eq!(arguments.unfinished, Some((input.len() - 3, 100)));
        assert_eq!((arguments.announced, arguments.spans.len()), (3, 2));
    }

    #[test]
    fn the_small_path_agrees_with_the_general_one() {
        let inputs: [&[u8]; 12] = [
            b"*1\r\n$4\r\nPING\r\n",
            b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
            b"*2\r\n$3\r\nGET\r\n$16\r\n0123456789abcdef\r\nrest",
            b"*2\r\n$3\r\nGET\r\n$03\r\nabc\r\n",
            b"*2\r\n$3\r\nGET\r\n$-1\r\nabc\r\n",
            b"*2\r\n$3\r\nGET\r\n$3\r\nab",
            b"*2\r\n$3\r\nGET\r\n$3\r\nabc\r",
            b"*2\r\n$3\r\nGET\r\n",
            b"*0\r\n$3\r\n",
            b"*5\r\n",
            b"GET a\r\n",
            b"*2\r\n$3\r\nGET\r\n:3\r\n",
        ];
        for input in inputs {
            let mut spans = [Span::default(); SMALL_ARGUMENTS_MAX];
            if let Some((count, consumed)) = parse_small(input, &mut spans) {
                let small: Vec<&[u8]> = spans[..count].iter().map(|span| span.of(input)).collect();
                assert_eq!((Step::Complete { consumed }, small), arguments_of(input));
            }
        }
        let mut spans = [Span::default(); SMALL_ARGUMENTS_MAX];
        assert_eq!(parse_small(inputs[2], &mut spans), Some((2, inputs[2].len() - 4)));
        for len in [0usize, 9, 10, 99, 100, 999, 1000, 9999] {
            let mut input = format!("*1\r\n${len}\r\n").into_bytes();
            input.resize(input.len() + len, b'x');
            input.extend_from_slice(b"\r\n");
            assert_eq!(parse_small(&input, &mut spans), Some((1, input.len())), "{len}");
        }
    }

    #[test]
    fn lengths_beyond_every_limit_are_refused_before_they_are_waited_for() {
        let refused: [(&[u8], ProtocolError); 6] = [
            (b"*2147483648\r\n", ProtocolError::InvalidCount),
            (b"*99999999999999999999\r\n", ProtocolError::InvalidCount),
            (b"*1001\r\n", ProtocolError::TooManyArguments),
            (b"*1\r\n$536870913\r\n", ProtocolError::InvalidBulkLength),
            (b"*1\r\n$18446744073709551615\r\n", ProtocolError::InvalidBulkLength),
            (b"*1\r\n$-9223372036854775808\r\n", ProtocolError::InvalidBulkLength),
        ];
        for (input, error) in refused {
            assert_eq!(arguments_of(input).0, Step::Invalid(error));
        }
        let long = [b"*".as_slice(), &[b'1'; LINE_BYTES_MAX]].concat();
        assert_eq!(arguments_of(&long).0, Step::Invalid(ProtocolError::TooBigCount));
        assert_eq!(arguments_of(&long[..LINE_BYTES_MAX]).0, Step::Incomplete { missing: 1 });
        let long = [b"*1\r\n$".as_slice(), &[b'1'; LINE_BYTES_MAX]].concat();
        assert_eq!(arguments_of(&long).0, Step::Invalid(ProtocolError::TooBigBulkCount));
        assert_eq!(arguments_of(&[b'a'; LINE_BYTES_MAX + 1]).0, Step::Invalid(ProtocolError::TooBigInline));
    }
}
