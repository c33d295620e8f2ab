//! One request under work, and what can be wrong with it.

use super::reply::{Kind, Reply};
use super::table::{self, Row};
use crate::session::{BadInput, Limits, Once, Part, ReplyKind, Scratch, Work};
use torc_engine::command::{Body, Command, Expiry, Millis, Op, Write, WriteMode};
use torc_proto::resp::request::inline_word;
use torc_proto::resp::{Arguments, BULK_BYTES_MAX, ProtocolError, Span, parse_i64};
use torc_proto::slot::slot_of;

/// A request whose command is known and whose number of arguments is right.
pub(super) struct Call<'r, 'a> {
    pub row: &'static Row,
    /// The request, or its start as far as it is here.
    pub frame: &'a [u8],
    pub spans: &'r [Span],
    /// Where arguments are decoded, if the request is a line with escapes.
    pub decoded: Option<&'a Scratch>,
    pub now: Millis,
    pub limits: &'r Limits,
}

impl<'r, 'a> Call<'r, 'a> {
    /// Number of arguments, the name among them.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// An argument; 0 is the name. Empty beyond the last.
    #[inline]
    pub(super) fn argument(&self, index: usize) -> &'a [u8] {
        let argument = self.spans.get(index).map(|span| span.of(self.frame)).unwrap_or_default();
        match self.decoded {
            None => argument,
            Some(scratch) => scratch.keep(&inline_word(argument)),
        }
    }

    /// The arguments from `index` on.
    pub(super) fn arguments_from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        (index..self.len()).map(|index| self.argument(index))
    }

    /// An argument that is a key.
    pub(super) fn key(&self, index: usize) -> Result<&'a [u8], Error> {
        let key = self.argument(index);
        if key.len() > self.limits.key_bytes_max { Err(Error::KeyTooLong) } else { Ok(key) }
    }

    pub(super) fn integer(&self, index: usize) -> Result<i64, Error> {
        parse_i64(self.argument(index)).ok_or(Error::NotAnInteger)
    }

    /// Whether all keys are of one slot, so that one node can do all of the command.
    pub(super) fn has_one_slot(&self) -> bool {
        let mut slots = self.row.keys.of(self.len()).map(|index| slot_of(self.argument(index)));
        slots.next().is_none_or(|first| slots.all(|slot| slot == first))
    }
}

/// The row of a request's command.
#[inline]
pub(super) fn row_of(frame: &[u8], arguments: &Arguments) -> Option<(usize, &'static Row)> {
    let name = arguments.spans.first()?.of(frame);
    if arguments.escaped { table::lookup(&inline_word(name)) } else { table::lookup(name) }
}

/// Where a part stands among those of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub first: bool,
    pub last: bool,
}

impl Position {
    pub(super) fn of(index: usize, count: usize) -> Position {
        Position { first: index == 0, last: index + 1 == count }
    }
}

/// What a command that stores one value says before the value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub key: &'a [u8],
    pub mode: WriteMode,
    pub want_old: bool,
    pub vivify: Option<Expiry>,
    /// The value goes over what is there, from here on.
    pub offset: Option<u64>,
    /// Milliseconds to live, counted from when the command is whole.
    pub to_live_ms: Option<i64>,
    /// Options may follow behind the value.
    pub options: bool,
    pub kind: Kind,
}

impl<'a> Plan<'a> {
    /// An unconditional write that never expires.
    pub(super) fn new(key: &'a [u8], kind: Kind) -> Plan<'a> {
        Plan {
            key,
            mode: WriteMode::Set,
            want_old: false,
            vivify: None,
            offset: None,
            to_live_ms: None,
            options: false,
            kind,
        }
    }

    /// Whether a value of `len` bytes leaves what it becomes part of within the limits.
    pub(super) fn fits(&self, len: u64, limits: &Limits) -> Result<(), Error> {
        let Some(offset) = self.offset else { return Ok(()) };
        match offset.saturating_add(len) {
            end if end > BULK_BYTES_MAX => Err(Error::StringTooLong),
            end if end > limits.value_bytes_max => Err(Error::ValueTooLong),
            _ => Ok(()),
        }
    }

    /// The command, for a value that is `value`.
    pub(super) fn command(&self, value: &'a [u8], expiry: Expiry) -> Command<'a> {
        let value = Body::Bytes(value);
        let op = match self.offset {
            Some(offset) => Op::SetRange { offset, value },
            None => Op::Write(Write {
                mode: self.mode,
                value,
                expiry,
                vivify: self.vivify,
                want_old: self.want_old,
                ..Write::set(&[])
            }),
        };
        Command { space: 0, key: self.key, op }
    }
}

/// Why a request is refused. The words are Redis' own where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// The frame says which, and with what arguments.
    UnknownCommand,
    /// Of the command with this name.
    WrongArguments(&'static str),
    Syntax,
    NotAnInteger,
    NotAFloat,
    NotFinite,
    /// Of the command with this name.
    InvalidExpire(&'static str),
    OffsetOutOfRange,
    /// On a shard's own port: keys of several slots.
    CrossSlot,
    DecrementOverflow,
    StringTooLong,
    KeyTooLong,
    ValueTooLong,
    /// MSET: all of it is longer than `--max-frame` and `--max-value` together.
    PairsTooLong,
    /// EXPIRE: the argument with this number.
    UnsupportedOption(u32),
    IncompatibleNx,
    IncompatibleGtLt,
    InvalidCursor,
    /// It takes more steps than a command may.
    PatternTooLong,
    /// COMMAND: more names than are answered at once.
    TooManyNames,
    Protocol(ProtocolError),
    /// The frame is longer than `--max-frame`.
    FrameTooLong,
}

impl Error {
    /// What kind of bad input it answers.
    pub(super) fn kind(self) -> BadInput {
        match self {
            Error::UnknownCommand => BadInput::UnknownCommand,
            Error::KeyTooLong => BadInput::Key,
            Error::ValueTooLong | Error::PairsTooLong | Error::StringTooLong => BadInput::ValueTooLong,
            Error::PatternTooLong | Error::TooManyNames => BadInput::Limit,
            Error::FrameTooLong
            | Error::Protocol(ProtocolError::TooManyArguments | ProtocolError::TooBigInline) => {
                BadInput::Limit
            }
            Error::Protocol(_) => BadInput::Malformed,
            _ => BadInput::Arguments,
        }
    }
}

/// A part for the shard that owns the key.
#[inline]
pub(super) fn keyed<'a>(key: &'a [u8], op: Op<'a>, kind: Kind) -> Part<'a> {
    part(Work::Keyed(Command { space: 0, key, op }), kind, &[])
}

/// A part that is answered here.
pub(super) fn local<'a>(kind: Kind, echo: &'a [u8]) -> Part<'a> {
    part(Work::Local, kind, echo)
}

#[inline]
pub(super) fn part<'a>(work: Work<'a>, kind: Kind, echo: &'a [u8]) -> Part<'a> {
    const ONCE: Option<Once> = None;
    Part { work, reply: ReplyKind::Resp(Reply(kind)), echo, once: ONCE }
}
