//! A request on its way through the client, and what came back.

use crate::Error;
use crate::completion::{self, Completion};
use crate::order::Ticket;
use std::time::{Duration, Instant};
use torc_proto::native::{AnswerHeader, ItemFacts, Op, Options, Status};

/// One request. It stays whole until it is answered, so that it can be sent again.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) op: Op,
    pub(crate) flags: u16,
    pub(crate) options: Options,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// When the client gives up.
    pub(crate) due: Instant,
    /// How long it may take, and whether the server is told.
    pub(crate) allowed: Duration,
    pub(crate) tell_deadline: bool,
    pub(crate) completion: Completion,
    /// Keeps gets of its key from overtaking it.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) progress: Progress,
}

/// What has happened to a call so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Progress {
    /// Number of the change in the session, 0: none yet.
    pub(crate) number: u64,
    /// Boot id of the server to which it was sent first, 0: not sent.
    pub(crate) boot_id: u64,
    /// The connection over which it was sent was lost before the answer.
    pub(crate) repeat: bool,
    /// It was on a connection at least once.
    pub(crate) sent: bool,
    /// Times that another owner was named.
    pub(crate) moves: u8,
}

impl Call {
    /// Whether it must not be done twice.
    pub(crate) fn is_change(&self) -> bool {
        self.op.is_change()
    }

    /// A request whose answer nobody waits for.
    pub(crate) fn unheard(op: Op, value: Vec<u8>, now: Instant, allowed: Duration) -> Call {
        let (completion, _) = completion::pair();
        Call {
            op,
            flags: 0,
            options: Options::NONE,
            key: Vec::new(),
            value,
            due: due(now, allowed),
            allowed,
            tell_deadline: false,
            completion,
            ticket: None,
            progress: Progress::default(),
        }
    }

    pub(crate) fn complete(mut self, result: Result<Reply, Error>) {
        // First, so that a get of whoever hears of the answer need not be asked for.
        drop(self.ticket.take());
        self.completion.complete(result);
    }

    /// Two gets that may share a frame.
    pub(crate) fn shares_frame_with(&self, other: &Call) -> bool {
        self.op == Op::Get
            && other.op == Op::Get
            && self.flags == other.flags
            && self.tell_deadline == other.tell_deadline
            && self.options == other.options
    }
}

/// When a time that begins now is over; one beyond the clock's range is as good as never.
pub(crate) fn due(now: Instant, allowed: Duration) -> Instant {
    now.checked_add(allowed).unwrap_or(now + Duration::from_secs(86_400 * 365))
}

/// An answer, owned.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) header: AnswerHeader,
    pub(crate) facts: ItemFacts,
    pub(crate) value: Vec<u8>,
}

impl Reply {
    /// The status; a refusal becomes the error that says it.
    pub(crate) fn accepted(&self) -> Result<Status, Error> {
        let status = self.header.status();
        let text = || String::from_utf8_lossy(&self.value).into_owned();
        match status {
            Status::DeadlineExceeded => Err(Error::DeadlineExceeded),
            Status::OutcomeUnknown => Err(Error::OutcomeUnknown),
            Status::Busy => Err(Error::Busy { limit: text() }),
            status if status.is_refusal() => Err(Error::Refused { status, message: text() }),
            status => Ok(status),
        }
    }
}
