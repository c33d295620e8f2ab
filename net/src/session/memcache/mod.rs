//! Session of memcached's text protocol and meta commands.
//!
//! ```text
//!            +----------- line without value, or value inline ----------+
//!            v                                                           |
//!   --> [ Lines ] -- value over `value_bytes_inline` --> [ Value ] -- CR LF: ValueEnd,
//!            |  ^                                                        else ValueAbort
//!            |  +---- [ Skip ] <-- value refused: too large, or its line is wrong
//!            |  +---- [ Keys ] <-- a retrieval of more keys than there is room for: on with the next key
//!            +-- line too long, quit --> [ Closed ]: whatever comes is dropped
//! ```
//!
//! What differs from memcached on purpose:
//!
//! - The value of a storage command is skipped whenever its length can be read, even if the rest of its line
//!   is wrong. memcached reads such a value as commands.
//! - `l` (seconds since the last access) is the time since the item was last written: an access time would cost
//!   8 bytes an item and a line to write back for every hit. It is read off the item's version, whose upper 48
//!   bits are milliseconds of the Unix epoch.
//! - A lease placeholder (`N` of `mg`) is a miss to `get` and its like; memcached shows it as an empty value. To all
//!   other commands it is an item.
//! - `ms` with `I` and without `C` stores as if there was no `I`. `E` with `mg` is the token of the placeholder that
//!   `N` leaves, as in memcached's newer releases. A key set in base64 is given back in base64 only to a client that
//!   asked in base64.
//! - After a refusal for want of memory the old item stays. After one for size the item goes, as in
//!   memcached, so that nobody reads a value that its writer believes replaced.

mod compose;
pub(crate) mod dump;
mod locked;
mod lower;
mod meta;
pub(super) mod reply_kind;
pub(crate) mod stats;

pub use reply_kind::ReplyKind;

use super::answer::Answer;
use super::context::ComposeContext;
use super::output::Output;
use super::parsing::{Limits, Parsed};
use super::part::{self, Part, Work};
use super::refused::{self, BINARY_HEADER_BYTES, Refused};
use super::scratch::Scratch;
use lower::part;
use reply_kind::{Kind, LineKind, MetaReply};
use std::collections::VecDeque;
use torc_engine::command::{Command, Delete, Millis, Op};
use torc_proto::memcache::request::{self, Line, LineLimits, Request, Store, StoreVerb};
use torc_proto::memcache::{Invalid, KEY_BYTES_MAX, LINE_END, Meta, MetaVerb, Unparsed, Value};

impl ReplyKind {
    /// Writes an answer that is free: see [`crate::session::Session::free`].
    #[inline]
    pub fn compose(
        self,
        key: &[u8],
        echo: &[u8],
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        match self.0 {
            Kind::Silent => {}
            Kind::Item { cas, last } => compose::item(cas, last, &mut false, key, answer, out),
            Kind::Invalid(error) => compose::invalid(error, out),
            Kind::Meta(reply) | Kind::StreamedMeta(reply) => {
                meta::compose(reply, key, echo, answer, context, out);
            }
            Kind::Denied(denial) => compose::denied(denial, out),
            Kind::Entered => compose::entered(matches!(answer, Answer::Entered(true)), out),
            Kind::Stats(topic) => stats::write(topic, context, out),
            Kind::Connections => stats::connections(answer, out),
            Kind::Dump(dump) => dump::compose(dump, answer, out),
            Kind::Watch => compose::watch(answer, out),
            Kind::Shutdown { is_known } => compose::shutdown(is_known, context.server, out),
            Kind::MemoryLimit { megabytes, noreply } => {
                compose::memory_limit(megabytes, noreply, context.server, out);
            }
            Kind::Line(kind) => compose::line(kind, answer, out),
        }
    }
}

/// State of one connection.
#[derive(Debug, Default)]
pub struct Session {
    reading: Reading,
    /// Bytes at the start of the current line that were searched and hold no line end.
    searched: usize,
    /// What the answers to streamed `ms` commands have to repeat: the lines are gone from the input by then.
    echoes: VecDeque<meta::Echo>,
    /// A key of the retrieval that is being answered failed. The error was written and ends the answer.
    retrieval_failed: bool,
    /// Requests that its client was refused for want of a password.
    refused: u8,
}

/// What the next bytes are.
#[derive(Debug, Default, Clone, Copy)]
enum Reading {
    #[default]
    Lines,
    /// A value, line end included, of which `left` bytes are thrown away.
    Skip { left: u64 },
    /// A value that is handed on in slices; behind it comes a line end.
    Value { left: u64, end: Kind, abort: Kind, echo: meta::Echo },
    /// A line of checked keys, of which `keys` bytes are not handed out; behind them come `line_end` bytes.
    Keys { retrieval: lower::Retrieval, keys: usize, line_end: usize },
    /// Lines of a client that has to give a password first.
    Locked,
    /// Behind a password that is looked at.
    Entering,
    /// All further input is dropped.
    Closed,
}

/// What came of the next bytes.
enum Step {
    /// So many bytes are worked off.
    Took(usize),
    /// So many bytes are missing at least.
    Needs(usize),
}

/// What parsing looks at beside the bytes.
#[derive(Clone, Copy)]
struct Surroundings<'a, 'l> {
    scratch: &'a Scratch,
    now: Millis,
    limits: &'l Limits,
    lines: LineLimits,
}

/// A storage command before its value.
struct Storage<'a> {
    command: Command<'a>,
    bytes: u64,
    /// How the shard's outcome is answered.
    reply: Kind,
    /// How a value is answered that does not end where it should.
    abort: Kind,
    /// How a value that is too large is answered.
    too_large: Kind,
    /// Whether a value that is too large removes the old item.
    removes: bool,
    echo: &'a [u8],
}

impl Session {
    pub fn parse<'a>(
        &mut self,
        input: &'a [u8],
        scratch: &'a Scratch,
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> Parsed {
        let lines = LineLimits::new(limits.frame_bytes_max, limits.key_bytes_max, limits.arguments_max);
        let around = Surroundings { scratch, now, limits, lines };
        let mut consumed = 0;
        while parts.len() < parts_max {
            let Some(rest) = input.get(consumed..).filter(|rest| !rest.is_empty()) else { break };
            let step = match self.reading {
                Reading::Lines => self.line(rest, &around, parts),
                Reading::Skip { left } => self.skip(rest, left),
                Reading::Value { left, end, abort, echo } => self.value(rest, left, end, abort, echo, parts),
                Reading::Keys { retrieval, keys, line_end } => {
                    self.keys(rest, retrieval, keys, line_end, parts, parts_max)
                }
                Reading::Locked => self.locked(rest, parts),
                Reading::Entering => Step::Needs(Parsed::HALTED),
                Reading::Closed => Step::Took(rest.len()),
            };
            match step {
                Step::Took(bytes) => consumed += bytes,
                Step::Needs(missing) => return Parsed { consumed, missing },
            }
        }
        Parsed { consumed, missing: 0 }
    }

    /// Whether some keys of a retrieval are handed out, and others are not.
    pub fn is_within_request(&self) -> bool {
        matches!(self.reading, Reading::Keys { .. })
    }

    /// See [`crate::session::Session::value_left`].
    pub fn value_left(&self) -> u64 {
        match self.reading {
            Reading::Value { left, .. } => left,
            _ => 0,
        }
    }

    /// See [`crate::session::Session::value_passed`].
    pub fn value_passed(&mut self, bytes: u64) {
        if let Reading::Value { left, .. } = &mut self.reading {
            *left = left.saturating_sub(bytes);
        }
    }

    /// See [`crate::session::Session::free`]. Not free: a key among several, and a streamed `ms`, whose echo is kept in
    /// order.
    #[inline]
    pub fn free(&self, reply: &ReplyKind) -> Option<ReplyKind> {
        let free = match reply.0 {
            Kind::Item { last, .. } => last && !self.retrieval_failed,
            Kind::StreamedMeta(_) => false,
            _ => true,
        };
        free.then_some(*reply)
    }

    pub fn compose(
        &mut self,
        reply: ReplyKind,
        key: &[u8],
        echo: &[u8],
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        match reply.0 {
            Kind::Item { cas, last } => {
                compose::item(cas, last, &mut self.retrieval_failed, key, answer, out);
            }
            Kind::StreamedMeta(reply) => {
                let echo = self.echoes.pop_front().unwrap_or_default();
                meta::compose(reply, key, echo.bytes(), answer, context, out);
            }
            _ => reply.compose(key, echo, answer, context, out),
        }
    }

    /// One command line, and its value if that is inline.
    #[inline]
    fn line<'a>(&mut self, rest: &'a [u8], around: &Surroundings<'a, '_>, parts: &mut Vec<Part<'a>>) -> Step {
        match request::parse(rest, self.searched, &around.lines) {
            Ok(line) => {
                self.searched = 0;
                self.request(line, rest, around, parts)
            }
            Err(unparsed) => self.no_request(unparsed, rest, parts),
        }
    }

    /// What is no command line, or none yet.
    #[cold]
    fn no_request<'a>(&mut self, unparsed: Unparsed, rest: &'a [u8], parts: &mut Vec<Part<'a>>) -> Step {
        if let Some(missing) = refused::is_binary(rest) {
            return self.refuse_binary(missing, rest, parts);
        }
        match unparsed {
            Unparsed::Incomplete => {
                self.searched = rest.len();
                Step::Needs(1)
            }
            Unparsed::Invalid { error, consumed, value_bytes, noreply } => {
                self.searched = 0;
                self.refuse(error, value_bytes, noreply, parts);
                Step::Took(consumed)
            }
        }
    }

    #[inline]
    fn request<'a>(
        &mut self,
        line: Line<'a>,
        rest: &'a [u8],
        around: &Surroundings<'a, '_>,
        parts: &mut Vec<Part<'a>>,
    ) -> Step {
        let consumed = line.consumed;
        match line.request {
            Request::Get(get) => {
                let retrieval = lower::Retrieval::new(&get, around.now);
                if !get.is_single() {
                    let line_end = if rest[..consumed].ends_with(LINE_END) { LINE_END.len() } else { 1 };
                    self.reading = Reading::Keys { retrieval, keys: get.keys.len(), line_end };
                    return Step::Took(consumed - line_end - get.keys.len());
                }
                parts.push(retrieval.item(get.key, true));
            }
            Request::Store(store) => {
                return self.store(storage(&store, around.now), rest, consumed, around.limits, parts);
            }
            Request::Meta(meta) => return self.meta(&meta, rest, consumed, around, parts),
            Request::Quit => {
                self.reading = Reading::Closed;
                parts.push(part(Work::Close, Kind::Silent));
            }
            other => parts.push(lower::plain(&other, around.now)),
        }
        Step::Took(consumed)
    }

    #[inline]
    fn meta<'a>(
        &mut self,
        meta: &Meta<'a>,
        rest: &'a [u8],
        consumed: usize,
        around: &Surroundings<'a, '_>,
        parts: &mut Vec<Part<'a>>,
    ) -> Step {
        let read = meta.flags().and_then(|flags| {
            let key = if flags.has(b'b') { decode_key(meta, around.scratch)? } else { meta.key };
            Ok((lower::meta(meta.verb, key, &flags, around.now), MetaReply::new(meta.verb, &flags)))
        });
        let (command, reply) = match read {
            Ok(read) => read,
            Err(error) => {
                self.refuse(error, (meta.verb == MetaVerb::Set).then_some(meta.bytes), false, parts);
                return Step::Took(consumed);
            }
        };
        if meta.verb != MetaVerb::Set {
            let mut part = part(Work::Keyed(command), Kind::Meta(reply));
            part.echo = meta.section;
            parts.push(part);
            return Step::Took(consumed);
        }
        let storage = Storage {
            command,
            bytes: meta.bytes,
            reply: Kind::Meta(reply),
            abort: Kind::Invalid(Invalid::DataChunk),
            too_large: Kind::Line(LineKind::TooLarge),
            removes: true,
            echo: meta.section,
        };
        self.store(storage, rest, consumed, around.limits, parts)
    }

    /// A storage command: its value is inline, streamed or refused.
    #[inline]
    fn store<'a>(
        &mut self,
        storage: Storage<'a>,
        rest: &'a [u8],
        line_bytes: usize,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
    ) -> Step {
        let bytes = storage.bytes;
        if bytes > limits.value_bytes_max {
            self.refuse_too_large(&storage, parts);
            return Step::Took(line_bytes);
        }
        let inline = usize::try_from(bytes).ok().filter(|bytes| *bytes <= limits.value_bytes_inline);
        let Some(bytes) = inline else {
            self.begin_value(&storage, parts);
            return Step::Took(line_bytes);
        };
        let value_and_rest = rest.get(line_bytes..).unwrap_or_default();
        match torc_proto::memcache::value(value_and_rest, bytes) {
            Value::Complete(value) => {
                let command = lower::with_value(storage.command, value);
                let mut part = part(Work::Keyed(command), storage.reply);
                part.echo = storage.echo;
                parts.push(part);
            }
            Value::BadChunk => push_unless_silent(Work::Local, storage.abort, parts),
            Value::Incomplete(missing) => return Step::Needs(missing),
        }
        Step::Took(line_bytes + bytes + LINE_END.len())
    }

    #[cold]
    fn begin_value<'a>(&mut self, storage: &Storage<'a>, parts: &mut Vec<Part<'a>>) {
        let work = Work::ValueBegin { command: storage.command, bytes: storage.bytes };
        parts.push(part(work, Kind::Silent));
        let (end, echo) = match storage.reply {
            Kind::Meta(reply) => (Kind::StreamedMeta(reply), meta::Echo::new(storage.echo)),
            other => (other, meta::Echo::default()),
        };
        self.reading = Reading::Value { left: storage.bytes, end, abort: storage.abort, echo };
    }

    fn value<'a>(
        &mut self,
        rest: &'a [u8],
        left: u64,
        end: Kind,
        abort: Kind,
        echo: meta::Echo,
        parts: &mut Vec<Part<'a>>,
    ) -> Step {
        if left > 0 {
            let slice = &rest[..shorter(rest, left)];
            parts.push(part(Work::ValueData(slice), Kind::Silent));
            self.reading = Reading::Value { left: left - slice.len() as u64, end, abort, echo };
            return Step::Took(slice.len());
        }
        let Some(line_end) = rest.get(..LINE_END.len()) else {
            return Step::Needs(LINE_END.len() - rest.len());
        };
        if line_end == LINE_END {
            if let Kind::StreamedMeta(_) = end {
                self.echoes.push_back(echo);
            }
            parts.push(part(Work::ValueEnd, end));
        } else {
            parts.push(part(Work::ValueAbort, abort));
        }
        self.reading = Reading::Lines;
        Step::Took(LINE_END.len())
    }

    /// The keys of a retrieval, as many as there is room for.
    fn keys<'a>(
        &mut self,
        rest: &'a [u8],
        retrieval: lower::Retrieval,
        keys: usize,
        line_end: usize,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> Step {
        let line = keys + line_end;
        if rest.len() < line {
            return Step::Needs(line - rest.len());
        }
        let left = retrieval.items(&rest[..keys], parts, parts_max);
        if left > 0 {
            self.reading = Reading::Keys { retrieval, keys: left, line_end };
            return Step::Took(keys - left);
        }
        self.reading = Reading::Lines;
        Step::Took(line)
    }

    fn skip(&mut self, rest: &[u8], left: u64) -> Step {
        let bytes = shorter(rest, left);
        self.reading = match left - bytes as u64 {
            0 => Reading::Lines,
            left => Reading::Skip { left },
        };
        Step::Took(bytes)
    }

    /// On a listener for this protocol alone nobody has looked which one the client speaks.
    #[cold]
    fn refuse_binary<'a>(&mut self, missing: usize, rest: &'a [u8], parts: &mut Vec<Part<'a>>) -> Step {
        if missing > 0 {
            return Step::Needs(missing);
        }
        self.reading = Reading::Closed;
        let (reply, echo) = (part::ReplyKind::Refused(Refused::MemcacheBinary), &rest[..BINARY_HEADER_BYTES]);
        parts.push(Part { work: Work::Close, reply, echo, once: None });
        Step::Took(rest.len())
    }

    /// Says what is wrong with a line, and skips the value behind it.
    #[cold]
    fn refuse(&mut self, error: Invalid, value_bytes: Option<u64>, noreply: bool, parts: &mut Vec<Part<'_>>) {
        if error.ends_connection() {
            self.reading = Reading::Closed;
            parts.push(part(Work::Close, Kind::Invalid(error)));
            return;
        }
        self.skip_value(value_bytes);
        if !noreply {
            parts.push(part(Work::Local, Kind::Invalid(error)));
        }
    }

    #[cold]
    fn refuse_too_large<'a>(&mut self, storage: &Storage<'a>, parts: &mut Vec<Part<'a>>) {
        self.skip_value(Some(storage.bytes));
        if storage.removes {
            let command =
                Command { database: 0, key: storage.command.key, op: Op::Delete(Delete::default()) };
            parts.push(part(Work::Keyed(command), storage.too_large));
        } else {
            push_unless_silent(Work::Local, storage.too_large, parts);
        }
    }

    /// A length that leaves no room for the line end behind it is no length.
    fn skip_value(&mut self, value_bytes: Option<u64>) {
        if let Some(left) = value_bytes.and_then(|bytes| bytes.checked_add(LINE_END.len() as u64)) {
            self.reading = Reading::Skip { left };
        }
    }
}

/// The key that base64 stands for.
#[cold]
fn decode_key<'a>(meta: &Meta<'a>, scratch: &'a Scratch) -> Result<&'a [u8], Invalid> {
    let mut buffer = [0; KEY_BYTES_MAX];
    meta.decoded_key(&mut buffer).map(|key| scratch.keep(key))
}

/// Appends a part that does nothing but answer, unless the client wants no answer.
fn push_unless_silent<'a>(work: Work<'a>, reply: Kind, parts: &mut Vec<Part<'a>>) {
    if !matches!(reply, Kind::Silent) {
        parts.push(part(work, reply));
    }
}

#[inline]
fn storage<'a>(store: &Store<'a>, now: Millis) -> Storage<'a> {
    let said = |kind| if store.noreply { Kind::Silent } else { kind };
    Storage {
        command: lower::store(store, now),
        bytes: store.bytes,
        reply: said(Kind::Line(LineKind::Store)),
        abort: said(Kind::Invalid(Invalid::DataChunk)),
        too_large: said(Kind::Line(LineKind::TooLarge)),
        removes: store.verb == StoreVerb::Set,
        echo: &[],
    }
}

fn shorter(bytes: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}
