//! Why a native request is not executed.

use crate::session::bad_input::BadInput;
use torc_proto::native::Status;

/// Why a request is not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    Extension,
    UnknownExtension,
    UnknownOperation,
    Flags,
    /// A change shall be safe before it is answered, and need not be.
    Durability,
    /// It shall be, and this server makes none so.
    NotDurable,
    QuietGet,
    ExpiryKind,
    ExpiryNeeded,
    FlushTime,
    Condition,
    Step,
    UnexpectedKey,
    UnexpectedValue,
    Keys,
    TooManyKeys,
    Version,
    HelloTooShort,
    AttachTooShort,
    PairTooShort,
    ReadsTooShort,
    Accesses,
    Doubts,
    ShmLayout,
    KeyLength,
    ValueLength,
    /// The value of an operation that stores none, such as a multi-get's keys, is longer than `--max-frame`.
    ValueOverFrame,
    FrameLength,
    Deadline,
    NoSession,
    OutcomeUnknown,
    Unauthenticated,
}

impl Refusal {
    /// Status and the words for people ([N-ANS-2]).
    pub(super) fn wire(self) -> (Status, &'static str) {
        use Status::*;
        match self {
            Refusal::Malformed => (Malformed, "not a native frame: every frame begins with 0xC7"),
            Refusal::Extension => (Malformed, "an extension has a wrong length"),
            Refusal::UnknownExtension => {
                (UnknownExtension, "a critical extension is unknown or means nothing to this operation")
            }
            Refusal::UnknownOperation => (UnknownOperation, "unknown operation"),
            Refusal::Flags => (BadArgument, "a flag that this operation does not have"),
            Refusal::Durability => (BadArgument, "durable and at-once exclude each other"),
            Refusal::NotDurable => (
                NotSupported,
                "no change of this server is safe before it is answered: see --tier and --durability",
            ),
            Refusal::QuietGet => (BadArgument, "quiet-ok is for changes and flush"),
            Refusal::ExpiryKind => (BadArgument, "unknown kind of expiry"),
            Refusal::ExpiryNeeded => (BadArgument, "expire needs the extension expiry"),
            Refusal::FlushTime => (BadArgument, "flush takes an expiry in or at"),
            Refusal::Condition => (BadArgument, "unknown condition"),
            Refusal::Step => (BadArgument, "the step is 8 bytes, and finite"),
            Refusal::UnexpectedKey => (BadArgument, "this operation has no key"),
            Refusal::UnexpectedValue => (BadArgument, "this operation has no value"),
            Refusal::Keys => (BadArgument, "a multi-get's value is one or more keys, each with its length"),
            Refusal::TooManyKeys => (BadArgument, "more keys in one request than --max-arguments"),
            Refusal::Version => (UnsupportedVersion, "this server speaks version 1"),
            Refusal::Accesses => (BadArgument, "accesses are 16 bytes, and 24 for each"),
            Refusal::Doubts => (BadArgument, "doubts are words of 8 bytes, 64 at most"),
            Refusal::AttachTooShort => (BadArgument, "an attach's value is 8 bytes"),
            Refusal::ReadsTooShort => (BadArgument, "a reads' value is 16 bytes, or 96"),
            Refusal::PairTooShort => (BadArgument, "a pair's value is 80 bytes"),
            Refusal::ShmLayout => (UnsupportedVersion, "this server's layout of shared memory is 1"),
            Refusal::HelloTooShort => (BadArgument, "a hello's value is 24 bytes"),
            Refusal::KeyLength => (KeyTooLong, "the key is empty or longer than --max-key"),
            Refusal::ValueLength => (ValueTooLong, "value longer than --max-value"),
            Refusal::ValueOverFrame => (ValueTooLong, "value longer than --max-frame"),
            Refusal::FrameLength => (BadArgument, "request without its value longer than --max-frame"),
            Refusal::Deadline => (DeadlineExceeded, ""),
            Refusal::NoSession => {
                (BadArgument, "a numbered change needs a hello with a session, and a number from 1 on")
            }
            Refusal::OutcomeUnknown => (OutcomeUnknown, "the server was restarted since"),
            Refusal::Unauthenticated => {
                (Unauthenticated, "a hello with a user and its password is to come first")
            }
        }
    }
}

impl Refusal {
    /// What kind of bad input it answers; `None`: nothing was wrong with it.
    pub(super) fn bad_input(self) -> Option<BadInput> {
        Some(match self {
            Refusal::Deadline | Refusal::OutcomeUnknown | Refusal::NotDurable => return None,
            Refusal::Malformed | Refusal::Extension => BadInput::Malformed,
            Refusal::UnknownOperation | Refusal::UnknownExtension => BadInput::UnknownCommand,
            Refusal::Unauthenticated => BadInput::Unauthenticated,
            Refusal::KeyLength => BadInput::Key,
            Refusal::ValueLength => BadInput::ValueTooLong,
            Refusal::ValueOverFrame | Refusal::FrameLength | Refusal::TooManyKeys => BadInput::Limit,
            _ => BadInput::Arguments,
        })
    }
}
