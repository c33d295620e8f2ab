//! What can be wrong with a request.

use crate::session::bad_input::BadInput;
use torc_proto::resp::ProtocolError;
use torc_proto::resp::dump::BadDump;

/// Why a request is refused. The words are Redis' own where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// The frame says which, and with what arguments.
    UnknownCommand,
    /// The frame says which.
    UnknownSubcommand,
    /// Of the command with this name.
    WrongArguments(&'static str),
    /// The frame says of which subcommand.
    SubcommandSyntax,
    /// Of the command with this name, which subscribers cannot use in RESP2; the frame says which subcommand.
    AmongMessages(&'static str),
    Syntax,
    /// MSETEX: no number of keys, and one that does not fit.
    KeyCount,
    PairCount,
    NotAnInteger,
    NotAFloat,
    NotFinite,
    /// Of the command with this name.
    InvalidExpire(&'static str),
    OffsetOutOfRange,
    BitOffset,
    /// SETBIT: neither 0 nor 1.
    Bit,
    /// BITPOS: the same.
    BitArgument,
    BitfieldType,
    OverflowType,
    BitfieldReadOnly,
    /// BITOP NOT.
    SeveralSources,
    /// Of this operation of BITOP.
    FewSources(&'static str),
    /// BITOP, LCS: a value that is too long for it.
    CombinedTooLong,
    /// BITOP: all values together.
    CombinedTooMuch,
    ComparedTextTooLong,
    /// LCS.
    LengthAndStretches,
    /// OBJECT FREQ.
    NoFrequency,
    /// SET: a value that is received in slices cannot be compared.
    ComparedTooLong,
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
    NestedMulti,
    ExecWithoutMulti,
    DiscardWithoutMulti,
    /// Of EXEC.
    ExecArguments,
    WatchInMulti,
    /// CLIENT TRACKING: what does not go together, and what it has not.
    SecondRedirect,
    NoRedirect,
    PrefixWithoutBcast,
    OptWithBcast,
    OptInAndOut,
    /// The arguments with these numbers.
    PrefixesOverlap(u32, u32),
    SwitchesBcast,
    SwitchesOpt,
    TooManyPrefixes,
    NotCaching,
    CachingWithoutOptIn,
    CachingWithoutOptOut,
    SsubscribeInMulti,
    /// The command cannot be queued.
    NotInTransaction,
    /// All that is queued is longer than `--max-frame` and `--max-value` together, or more than `--max-arguments`.
    TransactionTooLong,
    /// RESTORE: the payload, and its options.
    BadDump(BadDump),
    BusyKey,
    RestoredTtl,
    RestoredIdleTime,
    RestoredFrequency,
    /// DUMP: it would take too long.
    DumpTooLong,
    /// CLUSTER: there is no such slot.
    Slot,
    SlotOrCount,
    ClientId,
    /// CLIENT KILL: it is not positive.
    KilledId,
    /// The argument with this number.
    ClientType(u32),
    User(u32),
    /// SWAPDB: an argument is no number.
    FirstDatabase,
    SecondDatabase,
    /// There are fewer.
    NoDatabase,
    NotA32BitNumber,
    /// COPY, MOVE: a key to itself.
    SameObject,
    /// EVAL: more keys than arguments.
    TooManyScriptKeys,
    NegativeScriptKeys,
    CopyInCluster,
    MoveInCluster,
    /// It takes more steps than a command may.
    PatternTooLong,
    /// COMMAND: more names than are answered at once.
    TooManyNames,
    /// A password is to be given first.
    NoAuth,
    /// The same, of a request with too many arguments, and with one that is too long.
    LockedCount,
    LockedBulk,
    Protocol(ProtocolError),
    /// The frame is longer than `--max-frame`.
    FrameTooLong,
}

impl Error {
    /// What kind of bad input it answers.
    pub(super) fn kind(self) -> BadInput {
        match self {
            Error::UnknownCommand => BadInput::UnknownCommand,
            Error::NoAuth => BadInput::Unauthenticated,
            Error::KeyTooLong => BadInput::Key,
            Error::ValueTooLong | Error::PairsTooLong | Error::StringTooLong => BadInput::ValueTooLong,
            Error::PatternTooLong
            | Error::TooManyNames
            | Error::ComparedTooLong
            | Error::CombinedTooLong
            | Error::CombinedTooMuch
            | Error::ComparedTextTooLong
            | Error::TransactionTooLong => BadInput::Limit,
            Error::FrameTooLong
            | Error::LockedCount
            | Error::LockedBulk
            | Error::Protocol(ProtocolError::TooManyArguments | ProtocolError::TooBigInline) => {
                BadInput::Limit
            }
            Error::Protocol(_) => BadInput::Malformed,
            _ => BadInput::Arguments,
        }
    }
}
