//! Session of the native protocol (`docs/protocol.md`, clauses `[N-...]`).
//!
//! ```text
//!          whole frame                        long value                   refused, or over a limit
//!   Frames ------------> one part     Frames ------------> Value    Frames ------------------------> Skip
//!                                                ValueBegin  | ValueData ...           one part        | no parts
//!                                     Frames <-------------- ValueEnd     Frames <---------------------
//!
//!   Frames --multi-get--> Keys: one part a key, as many as there is room for; on with the next key
//!   Frames --not the magic--> Closed (everything behind it is dropped)
//! ```
//!
//! A deadline counts from the turn in which its frame's first byte was offered ([N-EXT-6]). So the session remembers
//! since when bytes wait in the input that it could not take, because a frame was not whole or the turn was full.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the state of a connection, framing |
//! | `plain.rs` | gets and sets without options, in one pass |
//! | `request.rs` | any frame to its [`Work`], pure |
//! | `compose.rs` | an answer to bytes |
//! | `reply_kind.rs`, `refusal.rs` | what a part keeps for its answer; why there is no other |
//! | `server.rs` | the answers about the server: hello, topology, statistics |

mod compose;
mod locked;
mod plain;
mod refusal;
pub(super) mod reply_kind;
mod request;
pub(crate) mod server;
mod told;

pub use reply_kind::ReplyKind;
pub use told::CREDIT;

use super::answer::Answer;
use super::context::ComposeContext;
use super::deadline::Deadline;
use super::output::Output;
use super::parsing::{Limits, Parsed};
use super::part::{self, Once, Part, Work};
use super::push::Push;
use refusal::Refusal;
use reply_kind::Kind;
use request::Asked;
use told::LimitsTold;
use torc_engine::command::{Millis, Read};
use torc_proto::native::frame::REQUEST_HEADER_BYTES;
use torc_proto::native::{self, Hello, Keys, Op, ParseError, Request, RequestHeader, flags};

/// State of one connection.
#[derive(Debug, Default)]
pub struct Session {
    state: State,
    /// Identity from the last hello, 0: none.
    identity: u64,
    /// The session began under another boot id: repeats cannot be answered ([N-HELLO-4]).
    outcomes_lost: bool,
    /// The limits that the answer to the last hello tells.
    limits_told: LimitsTold,
    backlog: Backlog,
    /// Requests that its client was refused for want of a password.
    refused: u8,
}

/// Where the next byte belongs.
#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Frames,
    /// In a value that is received in slices; `remaining` bytes of it are to come.
    Value {
        remaining: u32,
        reply: ReplyKind,
        once: Option<Once>,
    },
    /// In a multi-get whose keys are checked; `remaining` bytes of them are not handed out.
    Keys {
        remaining: usize,
        next: NextKey,
    },
    /// In a refused frame.
    Skip {
        remaining: u64,
    },
    /// Frames of a client that has to give a password first.
    Locked,
    /// Behind a password that is looked at.
    Entering,
    Closed,
}

/// What is done for the next key of a multi-get.
#[derive(Debug, Clone, Copy)]
struct NextKey {
    reply: ReplyKind,
    read: Read,
}

/// Since when the first bytes of the input lie there.
#[derive(Debug, Default, Clone, Copy)]
struct Backlog {
    bytes: usize,
    since: Millis,
}

impl Backlog {
    /// When the byte at `offset` of the input came, or a little later: a deadline may be kept too long, never cut short.
    fn arrival(&self, offset: usize, now: Millis) -> Millis {
        if offset < self.bytes { self.since } else { now }
    }

    fn advance(&mut self, consumed: usize, offered: usize, now: Millis) {
        self.bytes = self.bytes.saturating_sub(consumed);
        if self.bytes == 0 {
            *self = Backlog { bytes: offered - consumed, since: now };
        }
    }
}

impl Session {
    pub fn parse<'a>(
        &mut self,
        input: &'a [u8],
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> Parsed {
        let mut consumed = 0;
        let mut missing = 0;
        while parts.len() < parts_max && consumed < input.len() {
            let rest = &input[consumed..];
            match self.state {
                State::Frames => {
                    if let Some((part, bytes)) = plain::request(rest, limits) {
                        parts.push(part);
                        consumed += bytes;
                        continue;
                    }
                    let arrived = self.backlog.arrival(consumed, now);
                    match self.frame(rest, arrived, now, limits, parts) {
                        Ok(bytes) => consumed += bytes,
                        Err(bytes) => {
                            missing = bytes;
                            break;
                        }
                    }
                }
                State::Value { remaining, reply, once } => {
                    consumed += self.value(rest, remaining, reply, once, parts)
                }
                State::Keys { remaining, next } => {
                    let Some(keys) = rest.get(..remaining) else {
                        missing = remaining - rest.len();
                        break;
                    };
                    consumed += self.keys(Keys::resume(keys), next, now, limits, parts, parts_max);
                }
                State::Skip { remaining } => {
                    let taken = rest.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
                    consumed += taken;
                    let remaining = remaining - taken as u64;
                    self.state = if remaining == 0 { State::Frames } else { State::Skip { remaining } };
                }
                State::Locked => match self.locked(rest, now, limits, parts) {
                    Ok(bytes) => consumed += bytes,
                    Err(bytes) => {
                        missing = bytes;
                        break;
                    }
                },
                State::Entering => {
                    missing = Parsed::HALTED;
                    break;
                }
                State::Closed => consumed = input.len(),
            }
        }
        self.backlog.advance(consumed, input.len(), now);
        Parsed { consumed, missing }
    }

    /// Takes one frame, or its head, off `rest`. Says how many bytes it took, or how many are missing.
    fn frame<'a>(
        &mut self,
        rest: &'a [u8],
        arrived: Millis,
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
    ) -> Result<usize, usize> {
        let header = match RequestHeader::parse(rest) {
            Ok(header) => header,
            Err(ParseError::Incomplete { missing }) => return Err(missing),
            Err(ParseError::Invalid(_)) => {
                self.state = State::Closed;
                let kind = Kind::Refused(Refusal::Malformed);
                let reply =
                    ReplyKind { id: 0, flags: 0, op: 0, repeat: false, kind, deadline: Deadline::NONE };
                parts.push(part(Work::Close, reply, &[], None));
                return Ok(rest.len());
            }
        };
        let op = match request::check_header(&header, limits) {
            Ok(op) => op,
            Err(refusal) => return Ok(self.refuse(&header, refusal, parts)),
        };
        let streamed = op.is_write() && header.value_bytes as usize > limits.value_bytes_inline;
        let wanted_bytes =
            if streamed { header.head_bytes() } else { header.head_bytes() + header.value_bytes as usize };
        if rest.len() < wanted_bytes {
            return Err(wanted_bytes - rest.len());
        }
        let (head, value) = rest[..wanted_bytes].split_at(header.head_bytes());
        let (head, key) = head.split_at(REQUEST_HEADER_BYTES + usize::from(header.extension_bytes));
        let request = Request { header, extensions: &head[REQUEST_HEADER_BYTES..], key, value };
        if op == Op::MultiGet {
            return Ok(match self.multi_get(&request, arrived, now, limits) {
                Ok(()) => wanted_bytes - value.len(),
                Err(refusal) => {
                    parts.push(part(Work::Local, self::reply(&header, Kind::Refused(refusal)), &[], None));
                    wanted_bytes
                }
            });
        }
        let asked = match request::work(op, &request, arrived, now) {
            Ok(asked) => asked,
            Err(refusal) if streamed => return Ok(self.refuse(&header, refusal, parts)),
            Err(refusal) => {
                parts.push(part(Work::Local, reply(&header, Kind::Refused(refusal)), &[], None));
                return Ok(wanted_bytes);
            }
        };
        match self.numbered(&asked) {
            Ok(once) => self.accept(&request, asked, once, streamed, limits, parts),
            Err(refusal) if streamed => return Ok(self.refuse(&header, refusal, parts)),
            Err(refusal) => parts.push(part(Work::Local, reply(&header, Kind::Refused(refusal)), &[], None)),
        }
        Ok(wanted_bytes)
    }

    /// Of its session; 0: it has none.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// The identity of a numbered change ([N-ONCE-1], [N-ONCE-2], [N-HELLO-4]).
    fn numbered(&self, asked: &Asked<'_>) -> Result<Option<Once>, Refusal> {
        match asked.change {
            None => Ok(None),
            Some(change) if self.identity == 0 || change.number == 0 => Err(Refusal::NoSession),
            Some(change) if change.repeat && self.outcomes_lost => Err(Refusal::OutcomeUnknown),
            Some(change) => {
                Ok(Some(Once { session: self.identity, number: change.number, repeat: change.repeat }))
            }
        }
    }

    fn accept<'a>(
        &mut self,
        request: &Request<'a>,
        asked: Asked<'a>,
        once: Option<Once>,
        streamed: bool,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
    ) {
        let mut reply = reply(&request.header, asked.kind);
        reply.repeat = once.is_some_and(|once| once.repeat);
        if asked.kind == Kind::Hello {
            // Taken here and now, so its deadline cannot pass any more.
            self.greet(request.value, limits);
        } else {
            reply.deadline = asked.deadline;
        }
        let work = match asked.work {
            Work::Keyed(command) if streamed => {
                let remaining = request.header.value_bytes;
                self.state = State::Value { remaining, reply, once };
                Work::ValueBegin { command, bytes: remaining.into() }
            }
            work => work,
        };
        parts.push(part(work, reply, asked.echo, once));
    }

    /// Takes the identity at once, so that changes sent right behind the hello belong to it.
    fn greet(&mut self, value: &[u8], limits: &Limits) {
        if let Ok(hello) = Hello::parse(value) {
            self.identity = hello.session;
            self.outcomes_lost = false;
            self.limits_told = LimitsTold {
                key_bytes_max: limits.key_bytes_max,
                frame_bytes_max: limits.frame_bytes_max,
                value_bytes_max: limits.value_bytes_max.min(u32::MAX.into()),
            };
        }
    }

    /// Checks a multi-get; its keys are next.
    fn multi_get(
        &mut self,
        request: &Request<'_>,
        arrived: Millis,
        now: Millis,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        Keys::parse(request.value, limits.arguments_max).map_err(|invalid| match invalid {
            native::Invalid::TooManyKeys { .. } => Refusal::TooManyKeys,
            _ => Refusal::Keys,
        })?;
        let (read, deadline) = request::read(Op::MultiGet, request, arrived, now)?;
        let reply = ReplyKind { deadline, ..reply(&request.header, Kind::Outcome) };
        self.state = State::Keys { remaining: request.value.len(), next: NextKey { reply, read } };
        Ok(())
    }

    /// One part a key ([N-MGET-1]), as many as there is room for; the last one is never quiet ([N-MGET-2]). Says how many
    /// bytes of keys it took.
    fn keys<'a>(
        &mut self,
        mut keys: Keys<'a>,
        mut next: NextKey,
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> usize {
        let offered = keys.rest().len();
        self.state = State::Frames;
        while let Some(key) = keys.next() {
            let mut reply = next.reply;
            if keys.rest().is_empty() {
                reply.flags &= !flags::QUIET_MISS;
            }
            let checked = match reply.deadline.is_past(now) {
                true => Err(Refusal::Deadline),
                false => request::check_key(key.len(), limits),
            };
            let work = match checked {
                Ok(()) => request::keyed(key, next.read),
                Err(refusal) => {
                    reply.kind = Kind::Refused(refusal);
                    Work::Local
                }
            };
            parts.push(part(work, reply, &[], None));
            next.reply.id = reply.id.wrapping_add(1);
            let remaining = keys.rest().len();
            if remaining > 0 && parts.len() >= parts_max {
                self.state = State::Keys { remaining, next };
                return offered - remaining;
            }
        }
        offered
    }

    /// Answers a frame with a refusal and skips all of it ([N-HDR-9]); takes no byte itself.
    fn refuse<'a>(&mut self, header: &RequestHeader, refusal: Refusal, parts: &mut Vec<Part<'a>>) -> usize {
        self.state = State::Skip { remaining: header.frame_bytes() };
        parts.push(part(Work::Local, reply(header, Kind::Refused(refusal)), &[], None));
        0
    }

    /// Passes on a slice of a long value; behind its last byte comes the end.
    fn value<'a>(
        &mut self,
        rest: &'a [u8],
        remaining: u32,
        reply: ReplyKind,
        once: Option<Once>,
        parts: &mut Vec<Part<'a>>,
    ) -> usize {
        let taken = rest.len().min(remaining as usize);
        let remaining = remaining - taken as u32;
        parts.push(part(Work::ValueData(&rest[..taken]), reply, &[], None));
        self.state = if remaining == 0 {
            parts.push(part(Work::ValueEnd, reply, &[], once));
            State::Frames
        } else {
            State::Value { remaining, reply, once }
        };
        taken
    }

    /// See [`crate::session::Session::value_left`]. A value ends its request, so its last byte is left for `parse`.
    pub fn value_left(&self) -> u64 {
        match self.state {
            State::Value { remaining, .. } => u64::from(remaining.saturating_sub(1)),
            _ => 0,
        }
    }

    /// See [`crate::session::Session::value_passed`].
    pub fn value_passed(&mut self, bytes: u64) {
        if let State::Value { remaining, .. } = &mut self.state {
            *remaining = remaining.saturating_sub(bytes as u32);
        }
    }

    /// Whether some keys of a multi-get are handed out, and others are not.
    pub fn is_within_request(&self) -> bool {
        matches!(self.state, State::Keys { .. })
    }

    pub fn compose(
        &mut self,
        reply: ReplyKind,
        key: &[u8],
        echo: &[u8],
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        match reply.kind {
            Kind::Hello if matches!(answer, Answer::Entered(false)) => {
                let kind = Kind::Refused(Refusal::Unauthenticated);
                ReplyKind { kind, ..reply }.compose(key, &[], answer, context.now, out);
            }
            Kind::Hello => self.compose_hello(&reply, echo, context, out),
            Kind::Topology => server::topology(&reply, context.server, out),
            Kind::Attach => server::attach(&reply, answer, context, out),
            Kind::Pair => server::pair(&reply, answer, out),
            Kind::Reads => server::reads(&reply, answer, out),
            Kind::Statistics => server::statistics(&reply, echo, context, out),
            Kind::Outcome | Kind::Refused(_) | Kind::Echo => {
                reply.compose(key, echo, answer, context.now, out);
            }
        }
    }

    /// Writes a frame that answers no request. An answer is one frame, so it stands between answers.
    pub fn push(&mut self, push: Push<'_>, out: &mut Output) -> bool {
        compose::push(push, out)
    }

    fn compose_hello(
        &mut self,
        reply: &ReplyKind,
        echo: &[u8],
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        if let Ok(hello) = Hello::parse(echo) {
            let boot_id = context.server.boot_id();
            self.outcomes_lost = hello.boot_id != 0 && hello.boot_id != boot_id;
            server::hello(reply, &hello, &self.limits_told, context, out);
        }
    }
}

fn reply(header: &RequestHeader, kind: Kind) -> ReplyKind {
    let deadline = Deadline::NONE;
    ReplyKind { id: header.id, flags: header.flags, op: header.op, repeat: false, kind, deadline }
}

fn part<'a>(work: Work<'a>, reply: ReplyKind, echo: &'a [u8], once: Option<Once>) -> Part<'a> {
    Part { work, reply: part::ReplyKind::Native(reply), echo, once }
}
