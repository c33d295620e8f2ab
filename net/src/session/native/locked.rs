//! Clients that have to give a password first: with their hello ([N-AUTH-1] to [N-AUTH-3]).

use super::refusal::Refusal;
use super::reply_kind::Kind;
use super::{Session, State, part, reply, request};
use crate::session::locked::{self, REQUEST_BYTES_MAX};
use crate::session::parsing::Limits;
use crate::session::part::{Part, Work};
use torc_engine::command::Millis;
use torc_proto::native::frame::REQUEST_HEADER_BYTES;
use torc_proto::native::{Hello, Op, ParseError, Request, RequestHeader};

impl Session {
    /// Nothing is done for its client before it has given a password.
    pub(in crate::session) fn lock(mut self) -> Session {
        self.state = State::Locked;
        self
    }

    pub fn is_locked(&self) -> bool {
        matches!(self.state, State::Locked | State::Entering)
    }

    /// See [`crate::session::Session::entered`].
    pub fn entered(&mut self, is_through: bool) {
        self.state = if is_through { State::Frames } else { State::Locked };
    }

    /// The frame at the start of `rest`, of a client that has given no password. Says how many bytes it took, or how many are missing.
    pub(super) fn locked<'a>(
        &mut self,
        rest: &'a [u8],
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
    ) -> Result<usize, usize> {
        let header = match RequestHeader::parse(rest) {
            Ok(header) => header,
            Err(ParseError::Incomplete { missing }) => return Err(missing),
            Err(ParseError::Invalid(_)) => return self.frame(rest, now, now, limits, parts),
        };
        let wanted = usize::try_from(header.frame_bytes()).unwrap_or(usize::MAX);
        if header.op != Op::Hello as u8 || wanted > REQUEST_BYTES_MAX || !locked::count(&mut self.refused) {
            return Ok(self.hang_up(&header, rest, parts));
        }
        let Some(frame) = rest.get(..wanted) else { return Err(wanted - rest.len()) };
        let (head, value) = frame.split_at(header.head_bytes());
        let (head, key) = head.split_at(REQUEST_HEADER_BYTES + usize::from(header.extension_bytes));
        let request = Request { header, extensions: &head[REQUEST_HEADER_BYTES..], key, value };
        let asked =
            request::check_header(&header, limits).and_then(|op| request::work(op, &request, now, now));
        match asked {
            Ok(asked) => {
                self.greet(value, limits);
                let (user, password) = Hello::credentials(value).unwrap_or_default();
                self.state = State::Entering;
                parts.push(part(Work::Enter { user, password }, reply(&header, asked.kind), value, None));
            }
            Err(refusal) => {
                parts.push(part(Work::Local, reply(&header, Kind::Refused(refusal)), &[], None));
            }
        }
        Ok(wanted)
    }

    fn hang_up<'a>(&mut self, header: &RequestHeader, rest: &[u8], parts: &mut Vec<Part<'a>>) -> usize {
        self.state = State::Closed;
        let kind = Kind::Refused(Refusal::Unauthenticated);
        parts.push(part(Work::Close, reply(header, kind), &[], None));
        rest.len()
    }
}
