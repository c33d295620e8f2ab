//! What requests, outcomes and ends of connections are counted by.

use torc_engine::command::{Delta, Expiry, Op, Outcome, Read, Write};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandClass {
    Read,
    /// A read that gives a new expiry (gat, GETEX).
    ReadAndExpire,
    Write,
    /// A write that names the token of the item it is for (cas).
    CompareAndSet,
    Delete,
    Increment,
    Decrement,
    Expire,
    SetRange,
    /// Bits of values, looked at or changed.
    Bits,
    /// A change of a value that must be a certain one.
    IfEqual,
    Flush,
    Scan,
    /// About channels and their messages.
    Messages,
    /// Commands that are run together (EXEC); each of them is counted, too.
    Transaction,
    /// Scripts (EVAL); what they call is not counted.
    Script,
    /// Answered without a shard (PING, INFO, errors).
    Local,
}

pub(super) const COMMANDS: [&str; 17] = [
    "read",
    "read_and_expire",
    "write",
    "compare_and_set",
    "delete",
    "increment",
    "decrement",
    "expire",
    "set_range",
    "bits",
    "if_equal",
    "flush",
    "scan",
    "messages",
    "transaction",
    "script",
    "local",
];

impl CommandClass {
    #[inline]
    pub fn of(op: &Op<'_>) -> CommandClass {
        match op {
            Op::Read(Read { expiry: Expiry::Keep, .. }) => CommandClass::Read,
            Op::Read(_) => CommandClass::ReadAndExpire,
            Op::Write(Write { compare: None, .. }) => CommandClass::Write,
            Op::Write(_) => CommandClass::CompareAndSet,
            Op::Unpack(_) => CommandClass::Write,
            Op::Delete(_) => CommandClass::Delete,
            Op::Arithmetic(arithmetic) => match arithmetic.delta {
                Delta::Decrement(_) | Delta::Signed(i64::MIN..0) => CommandClass::Decrement,
                Delta::Increment(_) | Delta::Signed(_) | Delta::Float(_) | Delta::Extended(_) => {
                    CommandClass::Increment
                }
            },
            Op::Expire(_) => CommandClass::Expire,
            Op::SetRange { .. } => CommandClass::SetRange,
            Op::Bits(_) => CommandClass::Bits,
            Op::IfEqual(_) => CommandClass::IfEqual,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeClass {
    Hit,
    Miss,
    /// Stored, deleted, touched, counted, flushed, scanned, answered.
    Done,
    /// A condition did not hold.
    NotDone,
    /// A limit or a wrong value.
    Refused,
    /// The key is served elsewhere.
    Moved,
}

pub(super) const OUTCOMES: [&str; 6] = ["hit", "miss", "done", "not_done", "refused", "moved"];

impl OutcomeClass {
    #[inline]
    pub fn of(outcome: &Outcome<'_>) -> OutcomeClass {
        match outcome {
            Outcome::Item(_) => OutcomeClass::Hit,
            Outcome::Miss => OutcomeClass::Miss,
            Outcome::Stored { .. }
            | Outcome::Deleted { .. }
            | Outcome::Touched { .. }
            | Outcome::Counter { .. }
            | Outcome::Number(_)
            | Outcome::Fields(_)
            | Outcome::Pending(_) => OutcomeClass::Done,
            Outcome::NotStored { .. } | Outcome::Exists | Outcome::Untouched => OutcomeClass::NotDone,
            Outcome::Refused(_) => OutcomeClass::Refused,
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it, or its machine is gone.
    Client,
    /// QUIT, or bytes that the protocol cannot go on from; answered first.
    Answered,
    /// It took its answers too slowly for too long.
    Slow,
    /// It did not finish its request in time.
    Unfinished,
    /// It was silent for too long.
    Idle,
    /// `--max-connections` were there already.
    TooMany,
    /// Bytes without end that are no request.
    Garbage,
    /// The server ends.
    Drained,
    /// It held much and moved little of it while clients held all that they may (`--client-memory`).
    Memory,
    /// Another client, or it itself, asked for that (CLIENT KILL).
    Killed,
    /// Its changes could not be saved before they were answered (`--durability always`).
    Storage,
    /// It gave no password in time, or sent too much without one, or too many wrong ones were given.
    Unauthenticated,
    /// It did not take the messages that it had subscribed to.
    Subscriber,
}

pub(super) const CLOSE_REASONS: [&str; 13] = [
    "client",
    "answered",
    "slow",
    "unfinished",
    "idle",
    "too_many",
    "garbage",
    "drained",
    "memory",
    "killed",
    "storage",
    "unauthenticated",
    "subscriber",
];
