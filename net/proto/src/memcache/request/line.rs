//! Where a line ends, how long it may be, and what it leaves behind if it is wrong.

use super::command::command;
use super::usual::usual;
use super::{Line, LineLimits};
use crate::memcache::bounds::LINE_BYTES_MAX;
use crate::memcache::invalid::{Invalid, Unparsed};
use crate::memcache::number::length;
use crate::memcache::words::Words;

/// Reads one command line from the start of `input`. `searched` bytes of it were seen before without a line
/// end, so that a line that drips in is not searched from its start each time.
///
/// # Errors
/// [`Unparsed`]: the line has not ended, or it is no request.
#[inline]
pub fn parse<'a>(input: &'a [u8], searched: usize, limits: &LineLimits) -> Result<Line<'a>, Unparsed> {
    match usual(input, limits) {
        Some(line) => Ok(line),
        None => any(input, searched, limits),
    }
}

/// Any line, usual or not.
#[inline]
pub(super) fn any<'a>(input: &'a [u8], searched: usize, limits: &LineLimits) -> Result<Line<'a>, Unparsed> {
    let unseen = input.get(searched..).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', unseen).map(|at| at + searched.min(input.len())) else {
        let max = line_bytes_max(input, limits);
        return Err(if input.len() > max { too_long(input, max, limits) } else { Unparsed::Incomplete });
    };
    let consumed = end + 1;
    if consumed > LINE_BYTES_MAX.min(limits.line_bytes_max) {
        let max = line_bytes_max(input, limits);
        if consumed > max {
            return Err(too_long(input, max, limits));
        }
    }
    let line = match &input[..end] {
        [line @ .., b'\r'] => line,
        line => line,
    };
    match command(line, limits) {
        Ok(request) => Ok(Line { request, consumed }),
        Err(error) => Err(invalid(line, error, consumed)),
    }
}

/// Nothing behind a line that is too long can be believed.
#[cold]
fn too_long(input: &[u8], max: usize, limits: &LineLimits) -> Unparsed {
    let error = if max == limits.line_bytes_max { Invalid::FrameTooLong } else { Invalid::LineTooLong };
    Unparsed::Invalid { error, consumed: input.len(), value_bytes: None, noreply: false }
}

fn line_bytes_max(input: &[u8], limits: &LineLimits) -> usize {
    // The first word decides, so look no further than the longest name of a retrieval and the space behind it.
    let start = input.get(..LINE_BYTES_MAX.min(input.len())).unwrap_or_default();
    match Words::new(start).next() {
        Some(b"get" | b"bget" | b"gets" | b"gat" | b"gats") => limits.line_bytes_max,
        _ => limits.line_bytes_max.min(LINE_BYTES_MAX),
    }
}

#[cold]
fn invalid(line: &[u8], error: Invalid, consumed: usize) -> Unparsed {
    let mut words = Words::new(line);
    let (may_be_silent, value_bytes) = match words.next() {
        Some(b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas") => (true, words.nth(3)),
        Some(b"delete" | b"incr" | b"decr" | b"touch" | b"flush_all" | b"verbosity" | b"cache_memlimit") => {
            (true, None)
        }
        Some(b"ms") => (false, words.nth(1)),
        _ => (false, None),
    };
    // A wrong number of words leaves open what the last one is, so that error is always said.
    let noreply = may_be_silent && error != Invalid::Command && Words::new(line).last() == Some(b"noreply");
    Unparsed::Invalid { error, consumed, value_bytes: value_bytes.and_then(length), noreply }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcache::request::{Request, Store, StoreVerb};

    const LIMITS: LineLimits = LineLimits { line_bytes_max: 8192, key_bytes_max: 250, keys_max: 4 };

    fn request(line: &[u8]) -> Request<'_> {
        let parsed = parse(line, 0, &LIMITS).unwrap();
        assert_eq!(parsed.consumed, line.len());
        parsed.request
    }

    fn error(line: &[u8]) -> (Invalid, Option<u64>, bool) {
        match parse(line, 0, &LIMITS) {
            Err(Unparsed::Invalid { error, consumed, value_bytes, noreply }) => {
                assert_eq!(consumed, line.len());
                (error, value_bytes, noreply)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn retrievals() {
        let Request::Get(get) = request(b"get a\r\n") else { panic!() };
        assert!(get.is_single() && !get.cas && get.exptime.is_none());
        let Request::Get(get) = request(b" gats  -5 a bb   c \n") else { panic!() };
        assert_eq!(get.keys, b" a bb   c ");
        assert_eq!(Words::new(get.keys).collect::<Vec<_>>(), [&b"a"[..], b"bb", b"c"]);
        assert_eq!((get.cas, get.exptime, get.is_single()), (true, Some(-5), false));
        let Request::Get(get) = request(b"get a  \r\n") else { panic!() };
        assert!(get.is_single());
    }

    #[test]
    fn storage_commands() {
        assert_eq!(
            request(b"cas k 7 -1 5 99 noreply\r\n"),
            Request::Store(Store {
                verb: StoreVerb::Cas,
                key: b"k",
                flags: 7,
                exptime: -1,
                bytes: 5,
                cas: 99,
                noreply: true
            })
        );
        let Request::Store(store) = request(b"set k 0 0 5 bogus\r\n") else { panic!() };
        assert!(!store.noreply);
    }

    #[test]
    fn a_wrong_line_tells_how_much_value_to_skip() {
        assert_eq!(error(b"set k x 0 5\r\n"), (Invalid::Format, Some(5), false));
        assert_eq!(error(b"set k 0 0 5 noreply more\r\n"), (Invalid::Command, Some(5), false));
        assert_eq!(error(b"set k\x01 0 0 5 noreply\r\n"), (Invalid::Key, Some(5), true));
        assert_eq!(error(b"set k 0 0 -5\r\n"), (Invalid::Format, None, false));
        assert_eq!(error(b"set k 0 0 2147483647 noreply\r\n"), (Invalid::Format, None, true));
        assert_eq!(error(b"ms k 4294967301\r\n"), (Invalid::Format, None, false));
        assert_eq!(error(b"set k 0 0\r\n"), (Invalid::Command, None, false));
        assert_eq!(error(b"ms k\x02 5\r\n"), (Invalid::Key, Some(5), false));
        assert_eq!(error(b"ms k\r\n"), (Invalid::Format, None, false));
        assert_eq!(error(b"cas k 0 0 5\r\n"), (Invalid::Command, Some(5), false));
    }

    #[test]
    fn lines_without_request() {
        for line in [&b"\r\n"[..], b"\n", b"GET a\r\n", b"get\r\n", b"mg\r\n", b"delete k 0 0 0\r\n"] {
            assert_eq!(error(line).0, Invalid::Command);
        }
        assert_eq!(error(b"get a\tb\r\n").0, Invalid::Key);
        assert_eq!(error(b"get 1 2 3 4 5\r\n").0, Invalid::TooManyKeys);
        assert_eq!(error(b"me\r\n").0, Invalid::Format);
        let long = [b"get ", &b"k".repeat(251)[..], b"\r\n"].concat();
        assert_eq!(error(&long).0, Invalid::Key);
    }

    #[test]
    fn wrong_flags_are_found_when_they_are_read() {
        for (line, error) in [
            (&b"ms k 5 Z\r\n"[..], Invalid::Flag),
            (b"ms k 5 MX\r\n", Invalid::SetMode),
            (b"ma k MX\r\n", Invalid::ArithmeticMode),
            (b"md k k k\r\n", Invalid::FlagOrDuplicate),
            (b"me k k k\r\n", Invalid::Format),
        ] {
            let Request::Meta(meta) = request(line) else { panic!() };
            assert_eq!(meta.flags(), Err(error));
        }
    }

    #[test]
    fn a_line_is_bounded_with_and_without_its_end() {
        let ended = [&b"x".repeat(LINE_BYTES_MAX)[..], b"\r\n"].concat();
        assert_eq!(error(&ended).0, Invalid::LineTooLong);
        assert_eq!(error(&ended[..LINE_BYTES_MAX + 1]).0, Invalid::LineTooLong);
        assert_eq!(parse(&ended[..LINE_BYTES_MAX], 0, &LIMITS), Err(Unparsed::Incomplete));
        let spaces = [&b"get k"[..], &b" ".repeat(8192 - 7), b"\r\n"].concat();
        assert!(matches!(request(&spaces), Request::Get(_)));
        let spaces = [&b"get k"[..], &b" ".repeat(8192 - 6), b"\r\n"].concat();
        assert_eq!(error(&spaces).0, Invalid::FrameTooLong);
        let small = LineLimits { line_bytes_max: 100, ..LIMITS };
        for end in ["", "\r\n"] {
            let line = format!("{}{end}", "x".repeat(101));
            let Err(Unparsed::Invalid { error, .. }) = parse(line.as_bytes(), 0, &small) else { panic!() };
            assert_eq!(error, Invalid::FrameTooLong);
        }
    }

    #[test]
    fn a_line_that_drips_in_is_searched_on() {
        let line = b"version\r\n";
        for searched in 0..line.len() {
            assert_eq!(parse(&line[..searched], searched, &LIMITS), Err(Unparsed::Incomplete));
            assert!(parse(line, searched, &LIMITS).is_ok());
        }
        assert_eq!(parse(b"", 5, &LIMITS), Err(Unparsed::Incomplete));
    }
}
