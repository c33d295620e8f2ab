//! What several parts of one command come to, and answers that are no result.

use super::errors;
use super::reply_kind::{Position, ReplyKind};
use crate::session::answer::{Answer, Exec, NotFlushed};
use crate::session::context::ComposeContext;
use crate::session::output::Output;
use crate::session::walk::NotWalked;
use torc_engine::command::{Outcome, Refusal};
use torc_proto::resp::compose;

/// State of a multi-key command over the answers of its parts, which come in order.
#[derive(Debug, Default)]
pub(super) struct Gather {
    sum: i64,
    failure: Option<Failure>,
    /// MGET: an error was the answer, so its other parts say nothing.
    pub abandoned: bool,
    /// MGET: one of its values was answered with an error, and the command counts as failed.
    pub has_failed: bool,
    /// Some parts of a command are answered, and others are still to come.
    pub within_command: bool,
}

impl Gather {
    /// Takes one part's count; with the last part comes the sum, or the first failure.
    pub(super) fn add(
        &mut self,
        position: Position,
        count: i64,
        failure: Option<Failure>,
    ) -> Option<Result<i64, Failure>> {
        self.within_command = !position.last;
        if position.first {
            (self.sum, self.failure) = (0, None);
        }
        match failure {
            None => self.sum += count,
            Some(failure) => {
                self.failure.get_or_insert(failure);
            }
        }
        position.last.then_some(match self.failure {
            None => Ok(self.sum),
            Some(failure) => Err(failure),
        })
    }
}

/// An answer that says why there is no result.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    Refused(Refusal),
    Moved { slot: u16, shard: u16 },
    Busy { limit: &'static str },
    OutcomeUnknown,
    NotFlushed(NotFlushed),
    NotRun(Exec),
    NotWalked(NotWalked),
}

impl Failure {
    #[inline]
    pub(super) fn of(answer: &Answer<'_>) -> Option<Failure> {
        match *answer {
            Answer::Outcome(Outcome::Refused(refusal)) => Some(Failure::Refused(refusal)),
            // A ticket is the worker's affair; nobody is told of it.
            Answer::Outcome(Outcome::Pending(_)) => Some(Failure::OutcomeUnknown),
            Answer::Moved { slot, shard, .. } => Some(Failure::Moved { slot, shard }),
            Answer::NotWalked(why) => Some(Failure::NotWalked(why)),
            Answer::NotFlushed(why) => Some(Failure::NotFlushed(why)),
            Answer::Exec(why) => Some(Failure::NotRun(why)),
            Answer::Busy { limit } => Some(Failure::Busy { limit }),
            // Only native clients give deadlines.
            Answer::OutcomeUnknown | Answer::DeadlineExceeded => Some(Failure::OutcomeUnknown),
            _ => None,
        }
    }

    /// Writes what `reply` is answered then, and counts it. What another shard has to do is not done, so it has not failed.
    #[cold]
    pub(super) fn write(self, reply: ReplyKind, context: &ComposeContext<'_>, out: &mut Output) {
        if !matches!(self, Failure::Moved { .. }) {
            out.count_failed(reply.command);
        }
        let start = out.tail().len();
        self.words(reply, context, out.tail());
        out.count_code(start);
    }

    fn words(self, reply: ReplyKind, context: &ComposeContext<'_>, out: &mut Vec<u8>) {
        match self {
            Failure::Refused(refusal) => compose::error(out, errors::refusal(refusal, reply.kind).as_bytes()),
            Failure::Moved { slot, shard } => {
                let (host, port) = context.server.shard_address(shard);
                compose::error(out, format!("MOVED {slot} {host}:{port}").as_bytes());
            }
            Failure::Busy { limit } => {
                let limit = limit.trim_start_matches('-');
                compose::error(out, format!("ERR busy: limit --{limit} reached").as_bytes());
            }
            Failure::NotRun(why) => compose::error(out, errors::not_run(why)),
            Failure::NotWalked(why) => compose::error(out, errors::not_walked(why)),
            Failure::NotFlushed(why) => compose::error(out, errors::not_flushed(why)),
            Failure::OutcomeUnknown => compose::error(out, b"ERR outcome unknown"),
        }
    }
}
