//! With which kind of frame a part is answered: plain data that is kept with the part.

use super::refusal::Refusal;
use crate::session::deadline::Deadline;
use crate::session::wish::Wish;
use torc_proto::native::flags;

/// How a part is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyKind {
    pub(super) id: u32,
    /// Flags of the request.
    pub(super) flags: u16,
    /// Code of the request's operation.
    pub(super) op: u8,
    /// The change was sent before ([N-ONCE-6]).
    pub(super) repeat: bool,
    pub(super) kind: Kind,
    /// Until when the part may be begun ([N-EXT-6]).
    pub(super) deadline: Deadline,
}

impl ReplyKind {
    /// See [`crate::session::Session::free`].
    #[inline]
    pub fn free(&self) -> Option<ReplyKind> {
        matches!(self.kind, Kind::Outcome | Kind::Refused(_) | Kind::Echo).then_some(*self)
    }

    pub(in crate::session) fn verb(&self) -> &'static str {
        torc_proto::native::Op::from_wire(self.op).map_or("other", torc_proto::native::Op::name)
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// As it is, but for another request.
    pub fn with_id(self, id: u32) -> ReplyKind {
        ReplyKind { id, ..self }
    }

    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// What it asks for of durability ([N-DUR-1]).
    pub fn wish(&self) -> Wish {
        match self.flags & flags::DURABILITY {
            flags::DURABLE => Wish::Durable,
            flags::AT_ONCE => Wish::AtOnce,
            _ => Wish::AsSet,
        }
    }
}

/// What the answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A shard's outcome.
    Outcome,
    /// Nothing was executed.
    Refused(Refusal),
    Hello,
    /// The request's own value; also a noop.
    Echo,
    Topology,
    Attach,
    Pair,
    Reads,
    Statistics,
}
