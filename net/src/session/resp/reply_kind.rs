//! With which kind of reply a part is answered: plain data that is kept with the part.

use super::error::Error;
use crate::session::calls::NO_COMMAND;
use crate::session::messages::{Channels, Inspect};
use crate::session::walk::Over;

/// What a client is answered about keys that it keeps copies of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfTracking {
    Ok,
    Redirect,
    Info,
    /// CACHING with a word that it does not know.
    BadCaching,
    /// TRACKING with options that do not fit together; the echo is the request.
    Unfit(Error),
}

/// How a part is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplyKind {
    pub(super) kind: Kind,
    /// The command, by its row in the table, if it is known: errors are counted by it.
    pub(super) command: u8,
}

impl ReplyKind {
    /// There is no answer.
    pub(crate) const SILENT: ReplyKind = ReplyKind::new(Kind::Silent);

    /// Of no command yet.
    pub(super) const fn new(kind: Kind) -> ReplyKind {
        ReplyKind { kind, command: NO_COMMAND }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// The value or null: GET, GETEX, GETDEL.
    Value,
    /// Part of the value: GETRANGE.
    Range {
        start: i64,
        end: i64,
    },
    /// Length of the value: STRLEN.
    Length,
    /// `OK` or null: SET.
    Stored,
    /// The old value or null: GETSET, SET with GET.
    StoredOld,
    /// 1 or 0: SETNX.
    StoredFlag,
    /// Length of the new value: APPEND, SETRANGE.
    StoredLength,
    /// `OK` behind the last of several: MSET.
    StoredAll(Position),
    /// One of several values, the first with the array's header: MGET. `header` is 0 for the others.
    Element {
        header: u32,
        last: bool,
    },
    /// How many of several keys were there: DEL, EXISTS, TOUCH.
    Count(Position),
    Number,
    Float,
    /// The result of the only step on an integer: GETBIT, SETBIT.
    Field,
    /// The results of all: BITFIELD.
    Fields,
    /// This without a key: BITCOUNT, BITPOS.
    NumberElse(i64),
    /// The error, but this number without a key.
    ErrorElse(i64, Error),
    Object(Fact),
    /// Lines of text.
    Help(&'static [&'static str]),
    /// 1 or 0: EXPIRE family, PERSIST.
    Changed,
    Expiry(Clock),
    Type,
    Flushed,
    /// SCAN: whether the echo is a pattern, and whether strings are asked for at all.
    Keys {
        pattern: bool,
        strings: bool,
    },
    /// What a walk over the shards has found.
    Walked(Over),
    /// The value in Redis' own format: DUMP.
    Dump,
    /// `OK`, or that the key is there: RESTORE.
    Restored,
    /// That the key is there, else the error.
    BusyOr(Error),
    /// Null without a key, else the error.
    NullOr(Error),
    /// `OK`.
    Ok,
    /// `PONG`.
    Pong,
    /// The same, to a subscriber in RESP2: an array with the echo behind it.
    PongAmongMessages,
    /// SUBSCRIBE and its like: the echo is the name.
    Subscription {
        begins: bool,
        of: Channels,
    },
    /// UNSUBSCRIBE and its like, from all.
    Unsubscriptions(Channels),
    /// PUBLISH, SPUBLISH.
    Published,
    /// PUBSUB; the echo is what was asked for.
    Inspected(Inspect),
    /// CLIENT TRACKING and its like.
    Tracking(OfTracking),
    /// The echo, as a bulk string.
    Message,
    /// `OK`, or that there is no such key: RENAME.
    Renamed,
    /// 1 or 0, or that there is no such key: RENAMENX.
    RenamedFlag,
    /// 1 or 0: MSETNX, COPY, MOVE.
    Jointly,
    /// Length of what was stored: BITOP.
    Combined,
    /// What two values have in common: LCS.
    Compared,
    /// What a script returns: EVAL.
    Script,
    /// `OK` behind the last of several, if nothing is wrong: WATCH.
    Watched(Position),
    /// `OK`: MULTI.
    Multi,
    /// `QUEUED`, if the shard of the port has this slot.
    Queued(Option<u16>),
    /// Beginning and end of what a transaction is answered with: EXEC.
    Exec,
    /// The command in this row of the table; the echo is the request.
    Local(u8),
    /// The same, of a request that names a password.
    Entered(u8),
    /// The echo is the request.
    Error(Error),
    /// Nothing at all.
    Silent,
}

impl ReplyKind {
    /// See [`crate::session::Part::is_more_of_a_change`].
    #[inline]
    pub(in crate::session) fn is_more_of_a_change(&self) -> bool {
        matches!(self.kind, Kind::StoredAll(Position { first: false, .. }))
    }

    /// Whether the echo is the whole request.
    pub(in crate::session) fn is_whole(&self) -> bool {
        matches!(self.kind, Kind::Local(_) | Kind::Entered(_))
    }

    /// Whether a command is put off until EXEC: it is one to be told of when it is done.
    pub(in crate::session) fn is_queued(&self) -> bool {
        matches!(self.kind, Kind::Queued(_))
    }

    /// The words of such a request; what it says of passwords is left out.
    pub(in crate::session) fn request(&self, echo: &[u8]) -> Vec<Vec<u8>> {
        let mut words = super::errors::words(echo);
        if matches!(words.first(), Some(name) if name.eq_ignore_ascii_case(b"auth") || name.eq_ignore_ascii_case(b"hello"))
        {
            words[1..].iter_mut().for_each(|word| *word = b"(redacted)".to_vec());
        }
        words
    }
}

impl Kind {
    /// The commonest command that is answered so.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Kind::Value => "get",
            Kind::Range { .. } => "getrange",
            Kind::Length => "strlen",
            Kind::Stored => "set",
            Kind::StoredOld => "getset",
            Kind::StoredFlag => "setnx",
            Kind::StoredLength => "append",
            Kind::StoredAll(_) => "mset",
            Kind::Element { .. } => "mget",
            Kind::Count(_) => "del",
            Kind::Number | Kind::ErrorElse(..) | Kind::NumberElse(_) => "incr",
            Kind::Float => "incrbyfloat",
            Kind::Field | Kind::Fields => "bitfield",
            Kind::Object(_) => "object",
            Kind::Changed => "expire",
            Kind::Expiry(_) => "ttl",
            Kind::Type => "type",
            Kind::Flushed => "flushall",
            Kind::Keys { .. } => "scan",
            Kind::Walked(_) => "keys",
            Kind::Dump => "dump",
            Kind::Restored | Kind::BusyOr(_) => "restore",
            Kind::NullOr(_) => "get",
            Kind::Pong | Kind::PongAmongMessages => "ping",
            Kind::Subscription { begins: true, .. } => "subscribe",
            Kind::Subscription { .. } | Kind::Unsubscriptions(_) => "unsubscribe",
            Kind::Published => "publish",
            Kind::Inspected(_) => "pubsub",
            Kind::Message => "echo",
            Kind::Renamed | Kind::RenamedFlag => "rename",
            Kind::Jointly => "msetnx",
            Kind::Combined => "bitop",
            Kind::Compared => "lcs",
            Kind::Watched(_) => "watch",
            Kind::Multi => "multi",
            Kind::Queued(_) => "queued",
            Kind::Exec => "exec",
            Kind::Script => "eval",
            Kind::Tracking(_) => "client",
            Kind::Help(_) | Kind::Ok | Kind::Local(_) | Kind::Entered(_) | Kind::Error(_) | Kind::Silent => {
                "other"
            }
        }
    }
}

impl Kind {
    /// Whether the words depend on those of other answers, or others on this one.
    #[inline]
    pub(super) fn is_bound(self) -> bool {
        matches!(
            self,
            Kind::Element { .. }
                | Kind::Count(_)
                | Kind::StoredAll(_)
                | Kind::Watched(_)
                | Kind::Multi
                | Kind::Queued(_)
                | Kind::Exec
                | Kind::Local(_)
                | Kind::Entered(_)
        )
    }

    /// Whether the command has no part behind this one.
    pub(super) fn ends_command(self) -> bool {
        match self {
            // It stands before what answers its command.
            Kind::Silent => false,
            Kind::Element { last, .. } => last,
            Kind::Count(position) | Kind::StoredAll(position) | Kind::Watched(position) => position.last,
            _ => true,
        }
    }
}

/// What OBJECT tells of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Encoding,
    /// Seconds since it was written, as no accesses are dated.
    Age,
    References,
    /// Bytes of memory; the echo is the key.
    Usage,
    /// What DEBUG OBJECT tells.
    All,
}

/// How an expiry is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// Since the Unix epoch, else from now on.
    pub absolute: bool,
    pub seconds: bool,
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
