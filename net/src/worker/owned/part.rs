//! Parts of requests that own their bytes.

use super::op::{Options, fill_command, op_value, strip_op};
use crate::observed::Sees;
use crate::session::{
    About, DatabasesChange, Joint, Once, Over, Part, ReplyKind, Script, Told, Tracking, Work,
};
use crate::worker::pool::Pool;
use torc_engine::command::{Millis, Op};

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
