//! Command lines: one in, one [`Request`] out.

use super::bounds::{KEY_BYTES_MAX, LINE_BYTES_MAX, LINE_END};
use super::invalid::{Invalid, Unparsed};
use super::meta::{Meta, MetaVerb};
use super::number::{length, signed, unsigned};
use super::steering::{self, Dump, Watched};
use super::words::{Words, plain_bytes};

/// One command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub request: Request<'a>,
    /// Bytes of the line with its end; the value of a storage command comes behind them.
    pub consumed: usize,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    Get(Get<'a>),
    Store(Store<'a>),
    Delete {
        key: &'a [u8],
        noreply: bool,
    },
    Touch {
        key: &'a [u8],
        exptime: i64,
        noreply: bool,
    },
    /// `incr` and `decr`.
    Count {
        key: &'a [u8],
        delta: u64,
        down: bool,
        noreply: bool,
    },
    Meta(Meta<'a>),
    /// `mn`
    MetaNoop,
    Flush {
        delay: i64,
        noreply: bool,
    },
    Version,
    /// A command that is well-formed, and has nothing to change: `verbosity`, `lru`, most of `lru_crawler`.
    Accepted {
        noreply: bool,
    },
    /// `cache_memlimit`
    MemoryLimit {
        megabytes: u32,
        noreply: bool,
    },
    /// All keys, or none: the classes that were asked for have no items.
    Dump {
        dump: Dump,
        has_any: bool,
    },
    Watch {
        watched: Watched,
    },
    /// `is_known`: in a way that there is.
    Shutdown {
        is_known: bool,
    },
    Stats {
        what: Option<&'a [u8]>,
    },
    Quit,
}

/// `get`, `gets`, `gat`, `gats`: one or more keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Get<'a> {
    /// The first key.
    pub key: &'a [u8],
    /// All keys, checked, with their spaces: up to the end of the line if there are several.
    pub keys: &'a [u8],
    /// Answer with tokens (`gets`, `gats`).
    pub cas: bool,
    /// New expiry (`gat`, `gats`).
    pub exptime: Option<i64>,
}

impl<'a> Get<'a> {
    /// Whether there is but one key.
    #[inline]
    pub fn is_single(&self) -> bool {
        self.keys.len() == self.key.len()
    }
}

/// `set`, `add`, `replace`, `append`, `prepend`, `cas`, without the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store<'a> {
    pub verb: StoreVerb,
    pub key: &'a [u8],
    pub flags: u32,
    pub exptime: i64,
    /// Length of the value that follows, its line end not counted.
    pub bytes: u64,
    /// The token that the item must have (`cas`), else 0.
    pub cas: u64,
    pub noreply: bool,
}

/// Which storage command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreVerb {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
}

/// What a command line may be.
#[derive(Debug, Clone, Copy)]
pub struct LineLimits {
    /// Longest retrieval, bytes with its line end; other commands end at the smaller of this and
    /// [`LINE_BYTES_MAX`].
    pub line_bytes_max: usize,
    /// Longest key, at most [`KEY_BYTES_MAX`].
    pub key_bytes_max: usize,
    /// Most keys of one retrieval.
    pub keys_max: usize,
}

impl LineLimits {
    /// Limits of a server, brought within those of the protocol.
    pub fn new(line_bytes_max: usize, key_bytes_max: usize, keys_max: usize) -> LineLimits {
        LineLimits { line_bytes_max, key_bytes_max: key_bytes_max.min(KEY_BYTES_MAX), keys_max }
    }
}

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

/// `get` of one key and `set`, written as every client writes them: with single spaces, plain numbers and
/// CR LF. Most requests are these, and this finds their end on the way. All others, wrong ones among them,
/// are left to [`any`], which reads these alike.
#[inline]
fn usual<'a>(input: &'a [u8], limits: &LineLimits) -> Option<Line<'a>> {
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

#[inline]
fn any<'a>(input: &'a [u8], searched: usize, limits: &LineLimits) -> Result<Line<'a>, Unparsed> {
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

#[inline]
fn command<'a>(line: &'a [u8], limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    let mut words = Words::new(line);
    let verb = words.next().ok_or(Invalid::Command)?;
    match verb {
        b"get" => get(words, limits, false, None),
        b"set" => store(StoreVerb::Set, words, limits),
        b"mg" => meta(MetaVerb::Get, words, limits),
        b"ms" => meta(MetaVerb::Set, words, limits),
        _ => rare_command(verb, words, limits),
    }
}

fn rare_command<'a>(verb: &[u8], mut words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    match verb {
        b"bget" => get(words, limits, false, None),
        b"gets" => get(words, limits, true, None),
        b"gat" | b"gats" => {
            let exptime = words.next().ok_or(Invalid::Command)?;
            let exptime = signed(exptime).ok_or(Invalid::Exptime)?;
            get(words, limits, verb == b"gats", Some(exptime))
        }
        b"add" => store(StoreVerb::Add, words, limits),
        b"replace" => store(StoreVerb::Replace, words, limits),
        b"append" => store(StoreVerb::Append, words, limits),
        b"prepend" => store(StoreVerb::Prepend, words, limits),
        b"cas" => store(StoreVerb::Cas, words, limits),
        b"md" => meta(MetaVerb::Delete, words, limits),
        b"ma" => meta(MetaVerb::Arithmetic, words, limits),
        b"me" => meta(MetaVerb::Debug, words, limits),
        b"mn" => Ok(Request::MetaNoop),
        b"delete" => delete(words, limits),
        b"incr" => count(words, limits, false),
        b"decr" => count(words, limits, true),
        b"touch" => touch(words, limits),
        b"flush_all" => flush(words),
        b"verbosity" => steering::verbosity(words),
        b"version" => Ok(Request::Version),
        b"stats" => steering::stats(words),
        b"quit" => Ok(Request::Quit),
        b"shutdown" => Ok(steering::shutdown(words)),
        b"cache_memlimit" => steering::memory_limit(words),
        b"lru_crawler" => steering::crawler(words),
        b"lru" => steering::lru(words),
        b"slabs" => steering::slabs(words),
        b"watch" => steering::watch(words),
        _ => Err(Invalid::Command),
    }
}

#[inline]
fn meta<'a>(verb: MetaVerb, words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    Meta::parse(verb, words, limits).map(Request::Meta)
}

#[inline]
fn key<'a>(words: &mut Words<'a>, limits: &LineLimits) -> Result<&'a [u8], Invalid> {
    let (key, plain) = words.checked().ok_or(Invalid::Command)?;
    (plain && key.len() <= limits.key_bytes_max).then_some(key).ok_or(Invalid::Key)
}

#[inline]
fn get<'a>(
    mut words: Words<'a>,
    limits: &LineLimits,
    cas: bool,
    exptime: Option<i64>,
) -> Result<Request<'a>, Invalid> {
    let mut keys = words.rest();
    let first = key(&mut words, limits)?;
    let mut count = 1;
    while let Some((key, plain)) = words.checked() {
        if !plain || key.len() > limits.key_bytes_max {
            return Err(Invalid::Key);
        }
        count += 1;
        if count > limits.keys_max {
            return Err(Invalid::TooManyKeys);
        }
    }
    if count == 1 {
        keys = first;
    }
    Ok(Request::Get(Get { key: first, keys, cas, exptime }))
}

#[inline]
fn store<'a>(verb: StoreVerb, mut words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    let key = key(&mut words, limits);
    let mut word = || words.next().ok_or(Invalid::Command);
    let (flags, exptime, bytes) = (word()?, word()?, word()?);
    let cas = if verb == StoreVerb::Cas { Some(word()?) } else { None };
    // memcached takes any one word more, and only `noreply` as meaning something.
    let noreply = match words.next() {
        None => false,
        Some(word) => {
            if words.next().is_some() {
                return Err(Invalid::Command);
            }
            word == b"noreply"
        }
    };
    let number = |word| unsigned(word).ok_or(Invalid::Format);
    Ok(Request::Store(Store {
        verb,
        key: key?,
        flags: u32::try_from(number(flags)?).map_err(|_| Invalid::Format)?,
        exptime: signed(exptime).ok_or(Invalid::Format)?,
        bytes: length(bytes).ok_or(Invalid::Format)?,
        cas: cas.map_or(Ok(0), number)?,
        noreply,
    }))
}

fn delete<'a>(mut words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    let key = key(&mut words, limits)?;
    let noreply = match (words.next(), words.next(), words.next()) {
        (None, _, _) | (Some(b"0"), None, _) => false,
        (Some(b"noreply"), None, _) | (Some(b"0"), Some(b"noreply"), None) => true,
        (_, _, Some(_)) => return Err(Invalid::Command),
        _ => return Err(Invalid::DeleteUsage),
    };
    Ok(Request::Delete { key, noreply })
}

/// The words behind a key: one, and perhaps `noreply`.
fn argument<'a>(words: &mut Words<'a>) -> Result<(&'a [u8], bool), Invalid> {
    let argument = words.next().ok_or(Invalid::Command)?;
    let noreply = words.next() == Some(b"noreply");
    if words.next().is_some() {
        return Err(Invalid::Command);
    }
    Ok((argument, noreply))
}

fn count<'a>(mut words: Words<'a>, limits: &LineLimits, down: bool) -> Result<Request<'a>, Invalid> {
    let key = key(&mut words, limits);
    let (delta, noreply) = argument(&mut words)?;
    let key = key?;
    let delta = unsigned(delta).ok_or(Invalid::Delta)?;
    Ok(Request::Count { key, delta, down, noreply })
}

fn touch<'a>(mut words: Words<'a>, limits: &LineLimits) -> Result<Request<'a>, Invalid> {
    let key = key(&mut words, limits);
    let (exptime, noreply) = argument(&mut words)?;
    let key = key?;
    let exptime = signed(exptime).ok_or(Invalid::Exptime)?;
    Ok(Request::Touch { key, exptime, noreply })
}

fn flush<'a>(mut words: Words<'_>) -> Result<Request<'a>, Invalid> {
    match (words.next(), words.next(), words.next()) {
        (None, _, _) => Ok(Request::Flush { delay: 0, noreply: false }),
        (Some(b"noreply"), None, _) => Ok(Request::Flush { delay: 0, noreply: true }),
        (Some(delay), last, None) => {
            let delay = signed(delay).ok_or(Invalid::Exptime)?;
            Ok(Request::Flush { delay, noreply: last == Some(b"noreply") })
        }
        _ => Err(Invalid::Command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
