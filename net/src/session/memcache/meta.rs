//! Answers of the meta commands.
//!
//! ```text
//!   VA <bytes> <flags>*      found, with value        HD <flags>*   done or found
//!   EN  mg: miss    NF  miss    NS  not stored    EX  another token    ME <key> <figures>
//! ```
//!
//! The flags stand in the order of the request's. `W`, `X` and `Z` come behind them.

use super::compose::{problem, value};
use super::reply_kind::MetaReply;
use crate::session::answer::Answer;
use crate::session::context::ComposeContext;
use crate::session::output::Output;
use torc_engine::command::{Found, Lease, Meta as ItemMeta, Millis, Number, Outcome, Value};
use torc_proto::memcache::{LINE_END, MetaVerb, Words, key64};

/// The flags that the answer to a streamed `ms` repeats, in order: `k`, `c`, `s`, `O` with its token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Echo {
    bytes: [u8; Echo::BYTES_MAX],
    length: u8,
}

impl Echo {
    /// An opaque token, and three letters with a space before each.
    const BYTES_MAX: usize = torc_proto::memcache::OPAQUE_BYTES_MAX + 3 * 2;

    pub(super) fn new(section: &[u8]) -> Echo {
        let mut echo = Echo::default();
        for word in Words::new(section) {
            match word {
                [b'O', ..] => echo.push(word),
                [letter @ (b'k' | b'c' | b's'), ..] => echo.push(&[*letter]),
                _ => {}
            }
        }
        echo
    }

    fn push(&mut self, word: &[u8]) {
        for byte in std::iter::once(&b' ').chain(word) {
            if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl Default for Echo {
    fn default() -> Self {
        Echo { bytes: [0; Echo::BYTES_MAX], length: 0 }
    }
}

pub(super) fn compose(
    reply: MetaReply,
    key: &[u8],
    echo: &[u8],
    answer: &Answer<'_>,
    context: &ComposeContext<'_>,
    out: &mut Output,
) {
    let Answer::Outcome(outcome) = answer else { return problem(answer, out) };
    let line = Line { reply, key, echo, now: context.now };
    match (reply.verb, outcome) {
        (MetaVerb::Get, Outcome::Item(found)) => line.hit(found, out),
        (MetaVerb::Get, Outcome::Miss) => line.usual(b"EN", None, out),
        (MetaVerb::Set, Outcome::Stored { meta, .. }) => line.usual(b"HD", Some(meta), out),
        (MetaVerb::Set, Outcome::NotStored { .. }) => line.status(b"NS", None, out),
        (MetaVerb::Set, Outcome::Miss) => line.status(if reply.joins { b"NS" } else { b"NF" }, None, out),
        (MetaVerb::Delete, Outcome::Deleted { .. }) => line.usual(b"HD", None, out),
        (MetaVerb::Arithmetic, Outcome::Counter { number, meta }) => match number {
            Number::Unsigned(number) => line.counted(*number, meta, out),
            Number::Signed(_) | Number::Float(_) | Number::Extended(_) => problem(answer, out),
        },
        (MetaVerb::Delete | MetaVerb::Arithmetic, Outcome::Miss) => line.status(b"NF", None, out),
        (MetaVerb::Debug, Outcome::Item(found)) => line.debug(found, out),
        (MetaVerb::Debug, Outcome::Miss) => out.tail().extend_from_slice(b"EN\r\n"),
        (_, Outcome::Exists) => line.status(b"EX", None, out),
        _ => problem(answer, out),
    }
}

/// What an answer is made of beside the item.
struct Line<'l> {
    reply: MetaReply,
    key: &'l [u8],
    echo: &'l [u8],
    now: Millis,
}

impl Line<'_> {
    /// An item, in the words of `mg`.
    fn hit(&self, found: &Found<'_>, out: &mut Output) {
        let value_bytes = match found.value {
            Value::Inline(value) if self.reply.value => value.len(),
            _ => 0,
        };
        let tail = out.tail();
        self.reserve(value_bytes, tail);
        if self.reply.value {
            head(b"VA ", found.value.len(), tail);
        } else {
            tail.extend_from_slice(b"HD");
        }
        self.flags(Some(&found.meta), tail);
        if found.meta.lease == Lease::Given {
            tail.extend_from_slice(b" Z");
        }
        if found.meta.stale {
            tail.extend_from_slice(b" X");
        }
        if found.meta.lease == Lease::Won {
            tail.extend_from_slice(b" W");
        }
        tail.extend_from_slice(LINE_END);
        if self.reply.value {
            value(&found.value, out);
            out.tail().extend_from_slice(LINE_END);
        }
    }

    /// A counter, in the words of `ma`.
    fn counted(&self, number: u64, meta: &ItemMeta, out: &mut Output) {
        if !self.reply.value {
            return self.usual(b"HD", Some(meta), out);
        }
        if self.reply.quiet {
            return;
        }
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(number);
        let tail = out.tail();
        self.reserve(text.len(), tail);
        head(b"VA ", text.len() as u64, tail);
        self.flags(Some(meta), tail);
        tail.extend_from_slice(LINE_END);
        tail.extend_from_slice(text.as_bytes());
        tail.extend_from_slice(LINE_END);
    }

    /// What `q` keeps silent.
    fn usual(&self, code: &[u8; 2], meta: Option<&ItemMeta>, out: &mut Output) {
        if !self.reply.quiet {
            self.status(code, meta, out);
        }
    }

    fn status(&self, code: &[u8; 2], meta: Option<&ItemMeta>, out: &mut Output) {
        let tail = out.tail();
        self.reserve(0, tail);
        tail.extend_from_slice(code);
        self.flags(meta, tail);
        tail.extend_from_slice(LINE_END);
    }

    /// Room for the whole answer, so that it grows once: the key may stand in it in base64, and each flag
    /// (three bytes of the request at least, or the last two) may become a number of 20 digits.
    fn reserve(&self, value_bytes: usize, tail: &mut Vec<u8>) {
        tail.reserve(value_bytes + 2 * self.key.len() + 12 * self.echo.len() + 64);
    }

    /// Gives back what the request's flags ask for, in their order; of the item only if there is one.
    fn flags(&self, meta: Option<&ItemMeta>, tail: &mut Vec<u8>) {
        for word in Words::new(self.echo) {
            match (word, meta) {
                ([b'O', ..], _) => {
                    tail.push(b' ');
                    tail.extend_from_slice(word);
                }
                ([b'k', ..], _) => {
                    tail.extend_from_slice(b" k");
                    self.key(tail);
                    if self.reply.base64 {
                        tail.extend_from_slice(b" b");
                    }
                }
                // memcached says `c0` for what was not stored.
                ([b'c', ..], None) if self.reply.verb == MetaVerb::Set => head(b" c", 0, tail),
                ([letter, ..], Some(meta)) => self.flag(*letter, meta, tail),
                _ => {}
            }
        }
    }

    fn flag(&self, letter: u8, meta: &ItemMeta, tail: &mut Vec<u8>) {
        match (letter, self.reply.verb) {
            (b'c', _) => head(b" c", meta.token, tail),
            (b's', MetaVerb::Get | MetaVerb::Set) => head(b" s", meta.value_bytes, tail),
            (b't', MetaVerb::Get | MetaVerb::Arithmetic) => match meta.expiry {
                None => tail.extend_from_slice(b" t-1"),
                Some(expiry) => head(b" t", seconds_left(expiry, self.now), tail),
            },
            (b'f', MetaVerb::Get) => head(b" f", u64::from(meta.flags), tail),
            (b'h', MetaVerb::Get) => head(b" h", u64::from(meta.fetched), tail),
            (b'l', MetaVerb::Get) => head(b" l", seconds_since_written(meta, self.now), tail),
            _ => {}
        }
    }

    fn key(&self, tail: &mut Vec<u8>) {
        if self.reply.base64 {
            key64::encode(self.key, tail);
        } else {
            tail.extend_from_slice(self.key);
        }
    }

    /// The figures of an item, in the words of `me`; `size` is the value's, `cls` is 1 as there are no classes.
    fn debug(&self, found: &Found<'_>, out: &mut Output) {
        let tail = out.tail();
        self.reserve(128, tail);
        tail.extend_from_slice(b"ME ");
        self.key(tail);
        match found.meta.expiry {
            None => tail.extend_from_slice(b" exp=-1"),
            Some(expiry) => head(b" exp=", seconds_left(expiry, self.now), tail),
        }
        head(b" la=", seconds_since_written(&found.meta, self.now), tail);
        head(b" cas=", found.meta.token, tail);
        tail.extend_from_slice(if found.meta.fetched { b" fetch=yes" } else { b" fetch=no" });
        head(b" cls=1 size=", found.value.len(), tail);
        tail.extend_from_slice(LINE_END);
    }
}

fn head(text: &[u8], number: u64, tail: &mut Vec<u8>) {
    tail.extend_from_slice(text);
    tail.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Seconds to live, a begun one counted whole: what was just set to 100 reads 100.
fn seconds_left(expiry: Millis, now: Millis) -> u64 {
    expiry.saturating_sub(now).div_ceil(1000)
}

/// The upper 48 bits of a version are milliseconds of the Unix epoch.
fn seconds_since_written(meta: &ItemMeta, now: Millis) -> u64 {
    now.saturating_sub(meta.version >> 16) / 1000
}
