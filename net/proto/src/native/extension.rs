//! Extensions: what a request asks for beyond its header, and what an answer tells of an item.
//!
//! ```text
//! [ type u8 ][ flags u8, bit 0 critical ][ data_bytes u16 ][ word u32 ][ data, padded to 8 ]
//! ```

use super::Invalid;

/// Types of extensions. Requests and answers share one space of numbers.
pub mod kind {
    pub const DEADLINE: u8 = 0x01;
    pub const CLIENT_FLAGS: u8 = 0x02;
    pub const EXPIRY: u8 = 0x03;
    pub const COMPARE: u8 = 0x04;
    pub const TOKEN: u8 = 0x05;
    pub const VIVIFY: u8 = 0x06;
    pub const RECACHE: u8 = 0x07;
    pub const INITIAL: u8 = 0x08;
    pub const CHANGE: u8 = 0x09;
    pub const TRACE: u8 = 0x0A;
    pub const ITEM: u8 = 0x41;
    pub const ACCESS: u8 = 0x42;
}

/// Length of an extension's head.
pub const EXTENSION_HEAD_BYTES: usize = 8;
const CRITICAL: u8 = 1;

/// When an item ends ([N-EXT-5]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// The item's own; a new item never expires.
    #[default]
    Keep,
    Never,
    /// Milliseconds from the server's now.
    In(u64),
    /// Milliseconds of the Unix epoch.
    At(u64),
}

impl Expiry {
    fn wire(self) -> (u32, u64) {
        match self {
            Expiry::Keep => (0, 0),
            Expiry::Never => (1, 0),
            Expiry::In(ms) => (2, ms),
            Expiry::At(ms) => (3, ms),
        }
    }

    fn from_wire(kind: u32, ms: u64) -> Result<Expiry, Invalid> {
        Ok(match kind {
            0 => Expiry::Keep,
            1 => Expiry::Never,
            2 => Expiry::In(ms),
            3 => Expiry::At(ms),
            _ => return Err(Invalid::ExpiryKind(kind)),
        })
    }
}

/// With arithmetic: the item to create on a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initial {
    /// 64 bits of the operation's type.
    pub number: u64,
    pub expiry: Expiry,
}

/// Number of a change in its session ([N-ONCE-1]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub number: u64,
    /// It was sent before.
    pub repeat: bool,
}

/// W3C trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    pub flags: u32,
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
}

/// The extensions of a request, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Remaining microseconds.
    pub deadline_us: Option<u32>,
    pub client_flags: Option<u32>,
    pub expiry: Option<Expiry>,
    pub compare: Option<u64>,
    pub token: Option<u64>,
    pub vivify: Option<Expiry>,
    pub recache_below_ms: Option<u64>,
    pub initial: Option<Initial>,
    pub change: Option<Change>,
    pub trace: Option<Trace>,
    /// Types that came marked critical, one bit each (bit number = type); composed so, too.
    pub critical: u32,
}

impl Options {
    /// No extension at all.
    pub const NONE: Options = Options {
        deadline_us: None,
        client_flags: None,
        expiry: None,
        compare: None,
        token: None,
        vivify: None,
        recache_below_ms: None,
        initial: None,
        change: None,
        trace: None,
        critical: 0,
    };

    /// Decodes a request's extensions ([N-EXT-1], [N-EXT-2], [N-EXT-4]). Whether each has a meaning for the
    /// operation is the caller's to check, with `critical`.
    pub fn parse(extensions: &[u8]) -> Result<Options, Invalid> {
        let mut options = Options::default();
        for extension in Extensions(extensions) {
            options.take(extension?)?;
        }
        Ok(options)
    }

    fn take(&mut self, extension: Extension<'_>) -> Result<(), Invalid> {
        let Extension { kind, word, data, critical } = extension;
        let wrong = Invalid::ExtensionData(kind);
        let number = || <[u8; 8]>::try_from(data).map(u64::from_le_bytes).map_err(|_| wrong);
        match kind {
            kind::DEADLINE | kind::CLIENT_FLAGS if !data.is_empty() => return Err(wrong),
            kind::DEADLINE => self.deadline_us = Some(word),
            kind::CLIENT_FLAGS => self.client_flags = Some(word),
            kind::EXPIRY => self.expiry = Some(Expiry::from_wire(word, number()?)?),
            kind::COMPARE => self.compare = Some(number()?),
            kind::TOKEN => self.token = Some(number()?),
            kind::VIVIFY => self.vivify = Some(Expiry::from_wire(word, number()?)?),
            kind::RECACHE => self.recache_below_ms = Some(number()?),
            kind::INITIAL => {
                let (ms, number) = two_numbers(data).ok_or(wrong)?;
                self.initial = Some(Initial { number, expiry: Expiry::from_wire(word, ms)? });
            }
            kind::CHANGE => self.change = Some(Change { number: number()?, repeat: word & 1 != 0 }),
            kind::TRACE => {
                let (trace_id, span_id) = data.split_first_chunk::<16>().ok_or(wrong)?;
                let span_id = <[u8; 8]>::try_from(span_id).map_err(|_| wrong)?;
                self.trace = Some(Trace { flags: word, trace_id: *trace_id, span_id });
            }
            _ if critical => return Err(Invalid::ExtensionUnknown(kind)),
            _ => return Ok(()),
        }
        if critical {
            self.critical |= 1 << kind;
        }
        Ok(())
    }

    /// Bytes that [`Options::compose`] appends: at most 184.
    #[inline]
    pub fn encoded_bytes(&self) -> u16 {
        let heads = u16::from(self.deadline_us.is_some()) + u16::from(self.client_flags.is_some());
        let numbers = u16::from(self.expiry.is_some())
            + u16::from(self.compare.is_some())
            + u16::from(self.token.is_some())
            + u16::from(self.vivify.is_some())
            + u16::from(self.recache_below_ms.is_some())
            + u16::from(self.change.is_some());
        heads * 8
            + numbers * 16
            + u16::from(self.initial.is_some()) * 24
            + u16::from(self.trace.is_some()) * 32
    }

    /// Appends all that is set, in the order of the types.
    pub fn compose(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u8, word: u32, data: &[&[u8]]| {
            let critical = self.critical & (1 << kind) != 0;
            put_extension(out, kind, critical, word, data);
        };
        if let Some(us) = self.deadline_us {
            put(kind::DEADLINE, us, &[]);
        }
        if let Some(flags) = self.client_flags {
            put(kind::CLIENT_FLAGS, flags, &[]);
        }
        if let Some(expiry) = self.expiry {
            let (word, ms) = expiry.wire();
            put(kind::EXPIRY, word, &[&ms.to_le_bytes()]);
        }
        if let Some(token) = self.compare {
            put(kind::COMPARE, 0, &[&token.to_le_bytes()]);
        }
        if let Some(token) = self.token {
            put(kind::TOKEN, 0, &[&token.to_le_bytes()]);
        }
        if let Some(expiry) = self.vivify {
            let (word, ms) = expiry.wire();
            put(kind::VIVIFY, word, &[&ms.to_le_bytes()]);
        }
        if let Some(ms) = self.recache_below_ms {
            put(kind::RECACHE, 0, &[&ms.to_le_bytes()]);
        }
        if let Some(initial) = self.initial {
            let (word, ms) = initial.expiry.wire();
            put(kind::INITIAL, word, &[&ms.to_le_bytes(), &initial.number.to_le_bytes()]);
        }
        if let Some(change) = self.change {
            put(kind::CHANGE, change.repeat.into(), &[&change.number.to_le_bytes()]);
        }
        if let Some(trace) = &self.trace {
            put(kind::TRACE, trace.flags, &[&trace.trace_id, &trace.span_id]);
        }
    }
}

/// What an answer tells of an item beyond its token and marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ItemFacts {
    /// 0 if the answer does not say.
    pub client_flags: u32,
    /// With `want-meta` only.
    pub item: Option<ItemMeta>,
    /// Seconds since the item was last read, if the server keeps it.
    pub access_age_s: Option<u32>,
}

/// The extension `item`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemMeta {
    /// `None`: never expires.
    pub remaining_ms: Option<u64>,
    pub value_bytes: u64,
    pub version: u64,
}

/// Length of the extension `item`.
pub const ITEM_EXTENSION_BYTES: u16 = 32;
/// Length of the extension `client-flags`.
pub const CLIENT_FLAGS_EXTENSION_BYTES: u16 = 8;
const NEVER: u64 = u64::MAX;

impl ItemFacts {
    /// Decodes an answer's extensions; unknown ones are skipped ([N-ANS-4]).
    pub fn parse(extensions: &[u8]) -> Result<ItemFacts, Invalid> {
        let mut facts = ItemFacts::default();
        for extension in Extensions(extensions) {
            let Extension { kind, word, data, .. } = extension?;
            match kind {
                kind::CLIENT_FLAGS => facts.client_flags = word,
                kind::ITEM => {
                    facts.client_flags = word;
                    let wrong = Invalid::ExtensionData(kind);
                    let (remaining, rest) = data.split_first_chunk::<8>().ok_or(wrong)?;
                    let (value_bytes, version) = two_numbers(rest).ok_or(wrong)?;
                    let remaining_ms = Some(u64::from_le_bytes(*remaining)).filter(|&ms| ms != NEVER);
                    facts.item = Some(ItemMeta { remaining_ms, value_bytes, version });
                }
                kind::ACCESS => facts.access_age_s = Some(word),
                _ => {}
            }
        }
        Ok(facts)
    }

    /// Appends the extensions that say this ([N-EXT-8]).
    pub fn compose(&self, out: &mut Vec<u8>) {
        match &self.item {
            Some(item) => put_extension(
                out,
                kind::ITEM,
                false,
                self.client_flags,
                &[
                    &item.remaining_ms.unwrap_or(NEVER).to_le_bytes(),
                    &item.value_bytes.to_le_bytes(),
                    &item.version.to_le_bytes(),
                ],
            ),
            None if self.client_flags != 0 => {
                put_extension(out, kind::CLIENT_FLAGS, false, self.client_flags, &[])
            }
            None => {}
        }
        if let Some(seconds) = self.access_age_s {
            put_extension(out, kind::ACCESS, false, seconds, &[]);
        }
    }

    /// Bytes that [`ItemFacts::compose`] appends.
    pub fn encoded_bytes(&self) -> u16 {
        let item = match self.item {
            Some(_) => ITEM_EXTENSION_BYTES,
            None if self.client_flags != 0 => CLIENT_FLAGS_EXTENSION_BYTES,
            None => 0,
        };
        item + if self.access_age_s.is_some() { EXTENSION_HEAD_BYTES as u16 } else { 0 }
    }
}

/// One extension as it lies in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    pub kind: u8,
    pub critical: bool,
    pub word: u32,
    pub data: &'a [u8],
}

/// Walks over encoded extensions. After an error it ends.
#[derive(Debug, Clone, Copy)]
pub struct Extensions<'a>(pub &'a [u8]);

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<Extension<'a>, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((head, rest)) = self.0.split_first_chunk::<EXTENSION_HEAD_BYTES>() else {
            self.0 = &[];
            return Some(Err(Invalid::ExtensionOverrun));
        };
        let data_bytes = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let padded_bytes = data_bytes.next_multiple_of(8);
        if rest.len() < padded_bytes {
            self.0 = &[];
            return Some(Err(Invalid::ExtensionOverrun));
        }
        self.0 = &rest[padded_bytes..];
        Some(Ok(Extension {
            kind: head[0],
            critical: head[1] & CRITICAL != 0,
            word: u32::from_le_bytes([head[4], head[5], head[6], head[7]]),
            data: &rest[..data_bytes],
        }))
    }
}

/// Appends one extension; `data` is at most 65,535 bytes in all (ours are at most 24).
fn put_extension(out: &mut Vec<u8>, kind: u8, critical: bool, word: u32, data: &[&[u8]]) {
    let data_bytes: usize = data.iter().map(|part| part.len()).sum();
    debug_assert!(data_bytes <= usize::from(u16::MAX));
    out.extend_from_slice(&[kind, if critical { CRITICAL } else { 0 }]);
    out.extend_from_slice(&(data_bytes as u16).to_le_bytes());
    out.extend_from_slice(&word.to_le_bytes());
    for part in data {
        out.extend_from_slice(part);
    }
    out.resize(out.len() + data_bytes.next_multiple_of(8) - data_bytes, 0);
}

fn two_numbers(data: &[u8]) -> Option<(u64, u64)> {
    let (first, second) = data.split_first_chunk::<8>()?;
    let second = <[u8; 8]>::try_from(second).ok()?;
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: u8, critical: bool, word: u32, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_extension(&mut out, kind, critical, word, &[data]);
        out
    }

    /// [N-EXT-1]
    #[test]
    fn an_unknown_extension_is_skipped_unless_it_is_critical() {
        let mut bytes = encoded(0x7F, false, 9, b"three");
        bytes.extend(encoded(kind::DEADLINE, false, 250, b""));
        assert_eq!(Options::parse(&bytes).unwrap().deadline_us, Some(250));
        assert_eq!(Options::parse(&encoded(0x7F, true, 9, b"three")), Err(Invalid::ExtensionUnknown(0x7F)));
    }

    /// [N-EXT-2]
    #[test]
    fn lengths_that_lie_are_found() {
        let mut bytes = encoded(kind::EXPIRY, false, 2, &5_u64.to_le_bytes());
        bytes[2] = 9;
        assert_eq!(Options::parse(&bytes), Err(Invalid::ExtensionOverrun));
        bytes[2] = 7;
        assert_eq!(Options::parse(&bytes), Err(Invalid::ExtensionData(kind::EXPIRY)));
        assert_eq!(Options::parse(&bytes[..4]), Err(Invalid::ExtensionOverrun));
        assert_eq!(
            Options::parse(&encoded(kind::DEADLINE, false, 1, b"x")),
            Err(Invalid::ExtensionData(kind::DEADLINE))
        );
    }

    /// [N-EXT-4]
    #[test]
    fn of_two_of_one_type_the_later_counts() {
        let mut bytes = encoded(kind::TOKEN, false, 0, &1_u64.to_le_bytes());
        bytes.extend(encoded(kind::TOKEN, true, 0, &2_u64.to_le_bytes()));
        let options = Options::parse(&bytes).unwrap();
        assert_eq!((options.token, options.critical), (Some(2), 1 << kind::TOKEN));
    }

    /// [N-EXT-5]
    #[test]
    fn an_unknown_kind_of_expiry_is_refused() {
        let bytes = encoded(kind::EXPIRY, false, 4, &5_u64.to_le_bytes());
        assert_eq!(Options::parse(&bytes), Err(Invalid::ExpiryKind(4)));
    }

    #[test]
    fn never_is_told_apart_from_a_long_time() {
        for remaining_ms in [None, Some(0), Some(u64::MAX - 1)] {
            let facts = ItemFacts {
                client_flags: 3,
                item: Some(ItemMeta { remaining_ms, value_bytes: 64, version: 8 }),
                access_age_s: None,
            };
            let mut bytes = Vec::new();
            facts.compose(&mut bytes);
            assert_eq!(bytes.len(), usize::from(facts.encoded_bytes()));
            assert_eq!(ItemFacts::parse(&bytes).unwrap(), facts);
        }
    }
}
