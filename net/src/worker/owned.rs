//! Requests and answers that own their bytes: to wait in a connection's queue, to travel to another shard.
//!
//! The plain data of a command or an outcome is kept with empty slices in it; its bytes lie one behind the
//! other in a buffer. `fill` puts slices of the buffer back.

use super::mail::AskBytes;
use super::pool::Pool;
use super::queue::Asked;
use crate::observed::Sees;
use crate::session::{
    About, Answer, AttachRefusal, Compare, DatabasesChange, Exec, Joint, Jointly, NotFlushed, NotTracked,
    NotWalked, Once, Over, PairRefusal, Part, ReplyKind, Script, Shares, Told, Tracked, Tracking, Work,
    lent_cost,
};
use crate::transport::ConnId;
use torc_engine::bytes::Bytes;
use torc_engine::command::{
    Bits, Body, Command, Expiry, Found, IfEqual, Meta, Millis, Number, Op, Outcome, Refusal, Ticket, Unpack,
    Value, Write, WriteMode,
};
use torc_engine::segments::LentChain;

/// A [`Work`] without its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OwnedWork {
    Keyed(Op<'static>),
    ValueBegin {
        op: Op<'static>,
        bytes: u64,
    },
    ValueData,
    ValueEnd(Option<Options>),
    ValueAbort,
    Databases(DatabasesChange),
    Watch,
    Unwatch,
    Transaction {
        changes: bool,
    },
    Joint(Joint),
    Script(Script),
    Flush {
        at: Option<Millis>,
    },
    Scan {
        cursor: u64,
        count: u32,
    },
    Walk(Over),
    Attach {
        reads: bool,
    },
    Pair,
    Reads,
    Told(Told),
    Monitor {
        sees: Option<Sees>,
    },
    Sleep {
        ms: u64,
    },
    /// The user is the key, the password the value.
    Enter,
    Messages(About),
    Tracking(Tracking),
    Local,
    Close,
}

/// Options of a write that come behind its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Options {
    pub(crate) mode: WriteMode,
    pub(crate) expiry: Expiry,
    pub(crate) want_old: bool,
}

impl Options {
    pub(crate) fn apply(self, op: Op<'static>) -> Op<'static> {
        match op {
            Op::Write(write) => {
                Op::Write(Write { mode: self.mode, expiry: self.expiry, want_old: self.want_old, ..write })
            }
            other => other,
        }
    }
}

/// A [`Part`] that owns its bytes: `key`, then `value` (or data), then `echo`.
#[derive(Debug)]
pub(crate) struct OwnedPart {
    work: OwnedWork,
    database: u16,
    reply: ReplyKind,
    pub(crate) once: Option<Once>,
    /// The turn that read it, nanoseconds.
    pub(crate) read_ns: u64,
    bytes: Vec<u8>,
    key_end: usize,
    value_end: usize,
}

impl OwnedPart {
    /// Copies a part that the turn of `read_ns` has read.
    pub(crate) fn copy(part: &Part<'_>, read_ns: u64, pool: &mut Pool) -> OwnedPart {
        let (work, key, value) = match part.work {
            Work::Keyed(command) => {
                (OwnedWork::Keyed(strip_op(command.op)), command.key, op_value(&command.op))
            }
            Work::ValueBegin { command, bytes } => {
                (OwnedWork::ValueBegin { op: strip_op(command.op), bytes }, command.key, &b""[..])
            }
            Work::ValueData(data) => (OwnedWork::ValueData, &b""[..], data),
            Work::ValueEnd => (OwnedWork::ValueEnd(None), &b""[..], &b""[..]),
            Work::ValueEndWith { mode, expiry, want_old } => {
                (OwnedWork::ValueEnd(Some(Options { mode, expiry, want_old })), &b""[..], &b""[..])
            }
            Work::ValueAbort => (OwnedWork::ValueAbort, &b""[..], &b""[..]),
            Work::Databases(change) => (OwnedWork::Databases(change), &b""[..], &b""[..]),
            Work::Watch { key, .. } => (OwnedWork::Watch, key, &b""[..]),
            Work::Unwatch => (OwnedWork::Unwatch, &b""[..], &b""[..]),
            Work::Transaction { changes } => (OwnedWork::Transaction { changes }, &b""[..], &b""[..]),
            Work::Joint { joint, words, .. } => (OwnedWork::Joint(joint), &b""[..], words),
            Work::Script { script, words, .. } => (OwnedWork::Script(script), &b""[..], words),
            Work::Flush { at } => (OwnedWork::Flush { at }, &b""[..], &b""[..]),
            Work::Scan { cursor, count, .. } => (OwnedWork::Scan { cursor, count }, &b""[..], &b""[..]),
            Work::Walk { over, .. } => (OwnedWork::Walk(over), &b""[..], &b""[..]),
            Work::Attach { reads } => (OwnedWork::Attach { reads }, &b""[..], &b""[..]),
            Work::Pair { client } => (OwnedWork::Pair, &b""[..], client),
            Work::Reads { asked } => (OwnedWork::Reads, &b""[..], asked),
            Work::Told(told, value) => (OwnedWork::Told(told), &b""[..], value),
            Work::Monitor { sees } => (OwnedWork::Monitor { sees }, &b""[..], &b""[..]),
            Work::Sleep { ms } => (OwnedWork::Sleep { ms }, &b""[..], &b""[..]),
            Work::Enter { user, password } => (OwnedWork::Enter, user, password),
            Work::Messages { about, name, message } => (OwnedWork::Messages(about), name, message),
            Work::Tracking { asked, prefixes } => (OwnedWork::Tracking(asked), &b""[..], prefixes),
            Work::Local => (OwnedWork::Local, &b""[..], &b""[..]),
            Work::Close => (OwnedWork::Close, &b""[..], &b""[..]),
        };
        OwnedPart {
            work,
            database: part.work.database(),
            reply: part.reply,
            once: part.once,
            read_ns,
            bytes: pool.copy(&[key, value, part.echo]),
            key_end: key.len(),
            value_end: key.len() + value.len(),
        }
    }

    /// Whether it is done in steps, each when the one before is answered.
    pub(crate) fn is_in_steps(&self) -> bool {
        matches!(self.work, OwnedWork::Transaction { .. } | OwnedWork::Joint(_) | OwnedWork::Script(_))
    }

    /// Bytes of a value, as a step of something.
    pub(crate) fn data(bytes: Vec<u8>, read_ns: u64) -> OwnedPart {
        let value_end = bytes.len();
        let (work, reply) = (OwnedWork::ValueData, ReplyKind::Step);
        OwnedPart { work, database: 0, reply, once: None, read_ns, bytes, key_end: 0, value_end }
    }

    /// The part as it was parsed.
    pub(crate) fn part(&self) -> Part<'_> {
        let (key, rest) = self.bytes.split_at(self.key_end);
        let (value, echo) = rest.split_at(self.value_end - self.key_end);
        let work = match self.work {
            OwnedWork::Keyed(op) => Work::Keyed(fill_command(self.database, key, &op, value)),
            OwnedWork::ValueBegin { op, bytes } => {
                Work::ValueBegin { command: fill_command(self.database, key, &op, &[]), bytes }
            }
            OwnedWork::ValueData => Work::ValueData(value),
            OwnedWork::ValueEnd(None) => Work::ValueEnd,
            OwnedWork::ValueEnd(Some(Options { mode, expiry, want_old })) => {
                Work::ValueEndWith { mode, expiry, want_old }
            }
            OwnedWork::ValueAbort => Work::ValueAbort,
            OwnedWork::Databases(change) => Work::Databases(change),
            OwnedWork::Watch => Work::Watch { database: self.database, key },
            OwnedWork::Unwatch => Work::Unwatch,
            OwnedWork::Transaction { changes } => Work::Transaction { changes },
            OwnedWork::Joint(joint) => Work::Joint { joint, database: self.database, words: value },
            OwnedWork::Script(script) => Work::Script { script, database: self.database, words: value },
            OwnedWork::Flush { at } => Work::Flush { at },
            OwnedWork::Scan { cursor, count } => Work::Scan { database: self.database, cursor, count },
            OwnedWork::Walk(over) => Work::Walk { database: self.database, over },
            OwnedWork::Told(told) => Work::Told(told, value),
            OwnedWork::Attach { reads } => Work::Attach { reads },
            OwnedWork::Messages(about) => Work::Messages { about, name: key, message: value },
            OwnedWork::Pair => Work::Pair { client: value },
            OwnedWork::Reads => Work::Reads { asked: value },
            OwnedWork::Monitor { sees } => Work::Monitor { sees },
            OwnedWork::Sleep { ms } => Work::Sleep { ms },
            OwnedWork::Enter => Work::Enter { user: key, password: value },
            OwnedWork::Tracking(asked) => Work::Tracking { asked, prefixes: value },
            OwnedWork::Local => Work::Local,
            OwnedWork::Close => Work::Close,
        };
        Part { work, reply: self.reply, echo, once: self.once }
    }

    /// Memory that it takes.
    pub(crate) fn bytes_held(&self) -> usize {
        size_of::<OwnedPart>() + self.bytes.capacity()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The value in an operation.
pub(crate) fn op_value<'a>(op: &Op<'a>) -> &'a [u8] {
    match op {
        Op::Write(Write { value: Body::Bytes(bytes), .. })
        | Op::SetRange { value: Body::Bytes(bytes), .. }
        | Op::Bits(Bits::Fields { steps: bytes, .. })
        | Op::IfEqual(IfEqual { bytes, .. })
        | Op::Unpack(Unpack { packed: bytes, .. }) => bytes,
        _ => b"",
    }
}

/// The operation without its value.
pub(crate) fn strip_op(op: Op<'_>) -> Op<'static> {
    match op {
        Op::Read(read) => Op::Read(read),
        Op::Write(write) => Op::Write(write.with_value(strip_body(write.value))),
        Op::Delete(delete) => Op::Delete(delete),
        Op::Arithmetic(arithmetic) => Op::Arithmetic(arithmetic),
        Op::Expire(expire) => Op::Expire(expire),
        Op::SetRange { offset, value } => Op::SetRange { offset, value: strip_body(value) },
        Op::Bits(Bits::Fields { writes, .. }) => Op::Bits(Bits::Fields { steps: &[], writes }),
        Op::Bits(Bits::Count { range }) => Op::Bits(Bits::Count { range }),
        Op::Bits(Bits::Find { bit, start, end, by_bits }) => {
            Op::Bits(Bits::Find { bit, start, end, by_bits })
        }
        Op::IfEqual(IfEqual { expected_len, then, .. }) => {
            Op::IfEqual(IfEqual { bytes: &[], expected_len, then })
        }
        Op::Unpack(Unpack { len, mode, expiry, .. }) => Op::Unpack(Unpack { packed: &[], len, mode, expiry }),
    }
}

fn strip_body(body: Body<'_>) -> Body<'static> {
    match body {
        Body::Bytes(_) => Body::Bytes(&[]),
        Body::Upload(upload) => Body::Upload(upload),
    }
}

/// The command of a key, an operation and its value.
#[inline]
pub(crate) fn fill_command<'a>(
    database: u16,
    key: &'a [u8],
    op: &Op<'static>,
    value: &'a [u8],
) -> Command<'a> {
    let op = match *op {
        Op::Write(write @ Write { value: Body::Bytes(_), .. }) => {
            Op::Write(Write { value: Body::Bytes(value), ..write })
        }
        Op::SetRange { offset, value: Body::Bytes(_) } => Op::SetRange { offset, value: Body::Bytes(value) },
        Op::Bits(Bits::Fields { writes, .. }) => Op::Bits(Bits::Fields { steps: value, writes }),
        Op::IfEqual(ask) => Op::IfEqual(IfEqual { bytes: value, ..ask }),
        Op::Unpack(ask) => Op::Unpack(Unpack { packed: value, ..ask }),
        other => other,
    };
    Command { database, key, op }
}

/// An [`Outcome`] without its value, free to change threads.
#[derive(Debug)]
pub(crate) enum OwnedOutcome {
    Miss,
    Item(Meta),
    Stored { meta: Meta, old: Option<Box<Meta>> },
    NotStored { old: Option<Box<Meta>> },
    Exists,
    Deleted { old: Option<Box<Meta>>, version: u64 },
    Touched(Meta),
    Untouched,
    Counter { number: Number, meta: Meta },
    Number(i64),
    Fields,
    Refused(Refusal),
    Pending(Ticket),
}

/// An [`Answer`] without its bytes.
#[derive(Debug)]
pub(crate) enum OwnedAnswer {
    Outcome(OwnedOutcome),
    Moved {
        slot: u16,
        shard: u16,
        epoch: u64,
    },
    Flushed,
    NotFlushed(NotFlushed),
    Exec(Exec),
    Jointly(Jointly),
    Compared {
        asked: Compare,
        length: u64,
    },
    Script,
    Scanned {
        cursor: u64,
    },
    Subscribed(u64),
    Unsubscribed {
        left: u64,
    },
    Published(u64),
    Inspected,
    Tracking(Result<Tracked, NotTracked>),
    /// The client that is to be told in place of another, if it is there.
    Target(Option<ConnId>),
    Walked {
        count: u64,
    },
    NotWalked(NotWalked),
    Busy {
        limit: &'static str,
    },
    Attach(Result<Shares, AttachRefusal>),
    Pair(PairRefusal),
    Reads(Option<PairRefusal>),
    OutcomeUnknown,
    DeadlineExceeded,
    Entered(bool),
    Local,
    /// The value is too long to be copied and cannot be lent now. The asker asks again later. Or a script cannot be run at once: the
    /// asker runs it.
    Later,
}

impl OwnedAnswer {
    pub(crate) fn refused(refusal: Refusal) -> OwnedAnswer {
        OwnedAnswer::Outcome(OwnedOutcome::Refused(refusal))
    }

    // Both inlined: else the processor reads in wide pieces what it has just written in narrow ones, which is slow.
    /// Takes an outcome over; its value is appended to `bytes`, or lent if it is a chain of more than `copied_max` bytes.
    #[inline(always)]
    pub(crate) fn take_over(
        outcome: Outcome<'_>,
        bytes: &mut Vec<u8>,
        copied_max: usize,
    ) -> (OwnedAnswer, Option<Box<LentChain>>) {
        let mut lent = None;
        let mut keep = |found: Found<'_>| {
            match found.value {
                Value::Inline(value) => value.append_to(bytes),
                Value::Chained(chain) if chain.len() <= copied_max as u64 => {
                    chain.slices().for_each(|slice| slice.append_to(bytes));
                }
                Value::Chained(chain) => lent = Some(Box::new(LentChain::of(&chain))),
            }
            found.meta
        };
        let outcome = match outcome {
            Outcome::Miss => OwnedOutcome::Miss,
            Outcome::Item(found) => OwnedOutcome::Item(keep(found)),
            Outcome::Stored { meta, old } => {
                OwnedOutcome::Stored { meta, old: old.map(|old| Box::new(keep(old))) }
            }
            Outcome::NotStored { old } => OwnedOutcome::NotStored { old: old.map(|old| Box::new(keep(old))) },
            Outcome::Exists => OwnedOutcome::Exists,
            Outcome::Deleted { old, version } => {
                OwnedOutcome::Deleted { old: old.map(|old| Box::new(keep(old))), version }
            }
            Outcome::Touched { meta } => OwnedOutcome::Touched(meta),
            Outcome::Untouched => OwnedOutcome::Untouched,
            Outcome::Counter { number, meta } => OwnedOutcome::Counter { number, meta },
            Outcome::Number(number) => OwnedOutcome::Number(number),
            Outcome::Fields(results) => {
                results.append_to(bytes);
                OwnedOutcome::Fields
            }
            Outcome::Refused(refusal) => OwnedOutcome::Refused(refusal),
            Outcome::Pending(ticket) => OwnedOutcome::Pending(ticket),
        };
        (OwnedAnswer::Outcome(outcome), lent)
    }

    /// As [`OwnedAnswer::take_over`], of whatever a shard answers.
    #[inline(always)]
    pub(crate) fn of(
        answer: Answer<'_>,
        bytes: &mut Vec<u8>,
        copied_max: usize,
    ) -> (OwnedAnswer, Option<Box<LentChain>>) {
        let plain = match answer {
            Answer::Outcome(outcome) => return OwnedAnswer::take_over(outcome, bytes, copied_max),
            Answer::Moved { slot, shard, epoch } => OwnedAnswer::Moved { slot, shard, epoch },
            Answer::Flushed => OwnedAnswer::Flushed,
            Answer::NotFlushed(why) => OwnedAnswer::NotFlushed(why),
            Answer::Exec(what) => OwnedAnswer::Exec(what),
            Answer::Jointly(what) => OwnedAnswer::Jointly(what),
            Answer::Compared { asked, length, found } => {
                bytes.extend_from_slice(found);
                OwnedAnswer::Compared { asked, length }
            }
            Answer::Script(reply) => {
                bytes.extend_from_slice(reply);
                OwnedAnswer::Script
            }
            Answer::Scanned { cursor, keys } => {
                bytes.extend_from_slice(keys);
                OwnedAnswer::Scanned { cursor }
            }
            Answer::Subscribed(count) => OwnedAnswer::Subscribed(count),
            Answer::Unsubscribed { names, left } => {
                bytes.extend_from_slice(names);
                OwnedAnswer::Unsubscribed { left }
            }
            Answer::Published(count) => OwnedAnswer::Published(count),
            Answer::Inspected(found) => {
                bytes.extend_from_slice(found);
                OwnedAnswer::Inspected
            }
            Answer::Tracking { outcome, words } => {
                bytes.extend_from_slice(words);
                OwnedAnswer::Tracking(outcome)
            }
            Answer::Walked { count, found } => {
                bytes.extend_from_slice(found);
                OwnedAnswer::Walked { count }
            }
            Answer::NotWalked(why) => OwnedAnswer::NotWalked(why),
            Answer::Busy { limit } => OwnedAnswer::Busy { limit },
            Answer::Attach(attached) => OwnedAnswer::Attach(attached),
            Answer::Reads(given) => {
                bytes.extend_from_slice(given.unwrap_or_default());
                OwnedAnswer::Reads(given.err())
            }
            // One that is not refused is answered at once.
            Answer::Pair(paired) => OwnedAnswer::Pair(paired.err().unwrap_or(PairRefusal::Off)),
            Answer::OutcomeUnknown => OwnedAnswer::OutcomeUnknown,
            Answer::DeadlineExceeded => OwnedAnswer::DeadlineExceeded,
            Answer::Entered(is_through) => OwnedAnswer::Entered(is_through),
            Answer::Local => OwnedAnswer::Local,
        };
        (plain, None)
    }

    /// The answer with its value, or its keys, in place.
    pub(crate) fn answer<'a>(&self, bytes: &'a [u8], chain: Option<&'a LentChain>) -> Answer<'a> {
        match *self {
            OwnedAnswer::Outcome(ref outcome) => Answer::Outcome(outcome.outcome(bytes, chain)),
            OwnedAnswer::Moved { slot, shard, epoch } => Answer::Moved { slot, shard, epoch },
            OwnedAnswer::Flushed => Answer::Flushed,
            OwnedAnswer::NotFlushed(why) => Answer::NotFlushed(why),
            OwnedAnswer::Exec(what) => Answer::Exec(what),
            OwnedAnswer::Jointly(what) => Answer::Jointly(what),
            OwnedAnswer::Compared { asked, length } => Answer::Compared { asked, length, found: bytes },
            OwnedAnswer::Script => Answer::Script(bytes),
            OwnedAnswer::Scanned { cursor } => Answer::Scanned { cursor, keys: bytes },
            OwnedAnswer::Subscribed(count) => Answer::Subscribed(count),
            OwnedAnswer::Unsubscribed { left } => Answer::Unsubscribed { names: bytes, left },
            OwnedAnswer::Published(count) => Answer::Published(count),
            OwnedAnswer::Inspected => Answer::Inspected(bytes),
            OwnedAnswer::Tracking(outcome) => Answer::Tracking { outcome, words: bytes },
            OwnedAnswer::Target(_) => Answer::Local,
            OwnedAnswer::Walked { count } => Answer::Walked { count, found: bytes },
            OwnedAnswer::NotWalked(why) => Answer::NotWalked(why),
            OwnedAnswer::Busy { limit } => Answer::Busy { limit },
            OwnedAnswer::Attach(attached) => Answer::Attach(attached),
            OwnedAnswer::Pair(why) => Answer::Pair(Err(why)),
            OwnedAnswer::Reads(why) => Answer::Reads(why.map_or(Ok(bytes), Err)),
            OwnedAnswer::OutcomeUnknown => Answer::OutcomeUnknown,
            OwnedAnswer::DeadlineExceeded => Answer::DeadlineExceeded,
            OwnedAnswer::Entered(is_through) => Answer::Entered(is_through),
            OwnedAnswer::Local => Answer::Local,
            OwnedAnswer::Later => Answer::Busy { limit: "client-memory" },
        }
    }
}

impl OwnedOutcome {
    fn outcome<'a>(&self, bytes: &'a [u8], chain: Option<&'a LentChain>) -> Outcome<'a> {
        let value = match chain {
            Some(chain) => Value::Chained(chain.chain()),
            None => Value::Inline(Bytes::from(bytes)),
        };
        let found = |meta: Meta| Found { meta, value };
        match *self {
            OwnedOutcome::Miss => Outcome::Miss,
            OwnedOutcome::Item(meta) => Outcome::Item(found(meta)),
            OwnedOutcome::Stored { meta, ref old } => {
                Outcome::Stored { meta, old: old.as_deref().copied().map(found) }
            }
            OwnedOutcome::NotStored { ref old } => {
                Outcome::NotStored { old: old.as_deref().copied().map(found) }
            }
            OwnedOutcome::Exists => Outcome::Exists,
            OwnedOutcome::Deleted { ref old, version } => {
                Outcome::Deleted { old: old.as_deref().copied().map(found), version }
            }
            OwnedOutcome::Touched(meta) => Outcome::Touched { meta },
            OwnedOutcome::Untouched => Outcome::Untouched,
            OwnedOutcome::Counter { number, meta } => Outcome::Counter { number, meta },
            OwnedOutcome::Number(number) => Outcome::Number(number),
            OwnedOutcome::Fields => Outcome::Fields(Bytes::from(bytes)),
            OwnedOutcome::Refused(refusal) => Outcome::Refused(refusal),
            OwnedOutcome::Pending(ticket) => Outcome::Pending(ticket),
        }
    }
}

/// An answer that waits for one before it: its bytes are the key, then what the client wants repeated, then the value.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) reply: ReplyKind,
    /// The connection ends with this answer.
    pub(crate) closes: bool,
    /// The turn that read the part, nanoseconds.
    pub(crate) read_ns: u64,
    answer: OwnedAnswer,
    bytes: Vec<u8>,
    key_end: usize,
    echo_end: usize,
    /// The value if it is lent, in place of bytes.
    chain: Option<Box<LentChain>>,
}

impl Kept {
    /// Whether it answers nothing.
    pub(crate) fn is_push(&self) -> bool {
        matches!(self.reply, ReplyKind::Push(_))
    }

    /// Keeps what a shard answers to a part that the turn of `read_ns` has read.
    pub(crate) fn take_over(
        part: &Part<'_>,
        read_ns: u64,
        key: &[u8],
        answer: Answer<'_>,
        pool: &mut Pool,
    ) -> Box<Kept> {
        let mut bytes = pool.copy(&[key, part.echo]);
        let (answer, chain) = OwnedAnswer::of(answer, &mut bytes, 0);
        let (key_end, echo_end) = (key.len(), key.len() + part.echo.len());
        let closes = matches!(part.work, Work::Close);
        Box::new(Kept { reply: part.reply, closes, read_ns, answer, bytes, key_end, echo_end, chain })
    }

    /// Keeps another shard's answer; `value` are its bytes.
    pub(crate) fn copy(
        asked: &Asked,
        AskBytes { key, echo, .. }: AskBytes<'_>,
        value: &[u8],
        (answer, chain): (OwnedAnswer, Option<Box<LentChain>>),
        pool: &mut Pool,
    ) -> Box<Kept> {
        let bytes = pool.copy(&[key, echo, value]);
        let (key_end, echo_end) = (key.len(), key.len() + echo.len());
        let &Asked { reply, read_ns, .. } = asked;
        Box::new(Kept { reply, closes: false, read_ns, answer, bytes, key_end, echo_end, chain })
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_end]
    }

    pub(crate) fn echo(&self) -> &[u8] {
        &self.bytes[self.key_end..self.echo_end]
    }

    pub(crate) fn answer(&self) -> Answer<'_> {
        self.answer.answer(&self.bytes[self.echo_end..], self.chain.as_deref())
    }

    /// What it counts against the limit of waiting answers, bytes.
    pub(crate) fn cost(&self) -> usize {
        let lent = self.chain.as_ref().map_or(0, |chain| lent_cost(chain.chain().len()));
        self.bytes.capacity() + size_of::<Kept>() + lent
    }

    /// Its buffer, and the lent slices that were not handed on.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Option<Box<LentChain>>) {
        (self.bytes, self.chain)
    }
}
