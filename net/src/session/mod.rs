//! A connection's state machine: bytes in, [`Part`]s out; answers in, bytes out. No socket, no clock.
//!
//! ```text
//!   received bytes --parse--> Parts --(worker: own shard, or another's mailbox)--> Answers --compose--> Output
//! ```
//!
//! A round of the loop parses all its input before it executes anything, so parts only point into the receive buffers.
//! Parts are answered in the order in which they were parsed. The worker calls `compose` for a part when its
//! answer is there *and* all earlier parts of the connection are composed, so a session may keep state across
//! the parts of one multi-key command (a sum, "was anything found").
//!
//! A part that has to wait (another shard) is kept by the worker as its [`ReplyKind`] (plain data) and copies
//! of `key` and `echo`; nothing else of the request survives the turn.

mod answer;
mod bad_input;
mod calls;
mod context;
mod deadline;
pub mod detect;
mod free;
mod joint;
pub(crate) mod locked;
pub mod memcache;
mod messages;
pub mod native;
mod output;
mod parsing;
mod part;
mod protocol;
mod push;
mod refused;
pub mod resp;
mod scratch;
mod tracking;
mod walk;
mod wish;

pub use answer::{
    ATTACH_REFUSALS, Answer, AttachRefusal, Exec, Jointly, NotFlushed, PAIR_REFUSALS, PairRefusal, Shares,
};
pub use bad_input::{BAD_INPUTS, BadInput, Errors};
#[cfg(test)]
pub(crate) use calls::Fate;
pub(crate) use calls::{COMMANDS, Calls, FATES};
pub use context::{Changeable, ComposeContext, ServerView};
pub use deadline::Deadline;
pub use free::FreeReply;
pub use joint::{BitOperation, Compare, IfThere, Joint, Stretch};
pub use messages::{About, Channels, Inspect, Subscribed};
pub(crate) use output::lent_cost;
pub use output::{Output, Piece};
pub use parsing::{Limits, Parsed};
pub use part::{DatabasesChange, Once, Part, ReplyKind, Script, Told, Work};
pub use protocol::{PROTOCOLS, Port, Protocol};
pub use push::{About as PushAbout, Push};
pub use refused::Refused;
pub use resp::Transaction;
pub(crate) use resp::{NotCalled, command_name};
pub use scratch::Scratch;
pub use tracking::{Mode, NotTracked, Refused as NotTold, Tracked, Tracking, Wanted, Which};
pub use walk::{NotWalked, OfClients, Over};
pub use wish::Wish;

use torc_engine::command::Millis;

/// Words as they are shown to who monitors the server, and a line end.
pub(crate) fn monitor_line(words: &[Vec<u8>], out: &mut Vec<u8>) {
    for (number, word) in words.iter().enumerate() {
        out.extend_from_slice(if number > 0 { b" " } else { b"" });
        resp::quote(word, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The protocol of one connection and its state. Each variant offers the same two calls.
#[derive(Debug)]
pub enum Session {
    /// The first bytes decide; see [`detect`].
    Undecided(Port),
    Resp(resp::Session),
    Memcache(memcache::Session),
    Native(native::Session),
}

impl Session {
    /// A session that speaks `protocol`, or finds out by the first bytes.
    pub fn new(protocol: Option<Protocol>, port: Port) -> Session {
        match protocol {
            None => Session::Undecided(port),
            Some(Protocol::Resp) => Session::Resp(resp::Session::new(port)),
            Some(Protocol::Memcache) => Session::Memcache(memcache::Session::default()),
            Some(Protocol::Native) => Session::Native(native::Session::default()),
        }
    }

    /// As [`Session::new`], of a client that has to give a password first.
    pub fn locked(protocol: Option<Protocol>, port: Port) -> Session {
        match Session::new(protocol, port) {
            Session::Resp(session) => Session::Resp(session.lock()),
            Session::Memcache(session) => Session::Memcache(session.lock()),
            Session::Native(session) => Session::Native(session.lock()),
            undecided @ Session::Undecided(_) => undecided,
        }
    }

    /// Whether its client has to give a password before anything is done for it, where there is one.
    pub fn is_locked(&self) -> bool {
        match self {
            Session::Undecided(_) => true,
            Session::Resp(session) => session.is_locked(),
            Session::Memcache(session) => session.is_locked(),
            Session::Native(session) => session.is_locked(),
        }
    }

    /// Whether the password of [`Work::Enter`] was right. Only then is more of the connection parsed.
    pub fn entered(&mut self, is_through: bool) {
        match self {
            Session::Undecided(_) => {}
            Session::Resp(session) => session.entered(is_through),
            Session::Memcache(session) => session.entered(is_through),
            Session::Native(session) => session.entered(is_through),
        }
    }

    /// Memory that it holds beside itself.
    pub(crate) fn bytes_held(&self) -> usize {
        match self {
            Session::Resp(session) => session.bytes_held(),
            Session::Undecided(_) | Session::Memcache(_) | Session::Native(_) => 0,
        }
    }

    /// Of a native session; 0: there is none.
    pub(crate) fn identity(&self) -> u64 {
        match self {
            Session::Native(session) => session.identity(),
            Session::Undecided(_) | Session::Memcache(_) | Session::Resp(_) => 0,
        }
    }

    /// The name that its client has given itself.
    pub(crate) fn client_name(&self) -> &[u8] {
        match self {
            Session::Resp(session) => session.client_name(),
            _ => &[],
        }
    }

    /// Appends the line of CLIENT LIST about its client.
    pub(crate) fn client_line(&self, facts: &resp::ClientFacts<'_>, out: &mut Vec<u8>) {
        match self {
            Session::Resp(session) => session.client_line(facts, out),
            _ => facts.line_of_another(out),
        }
    }

    /// Which protocol is spoken, if that is known.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            Session::Undecided(_) => None,
            Session::Resp(_) => Some(Protocol::Resp),
            Session::Memcache(_) => Some(Protocol::Memcache),
            Session::Native(_) => Some(Protocol::Native),
        }
    }

    /// Appends the parts of all complete frames in `input` to `parts`, up to `parts_max` in total. Begin, bytes and end of
    /// one value stay together, so they may pass that by two. The keys of a long command are handed out over several calls:
    /// the caller offers bytes that were not consumed again, unchanged. Never fails: wrong input becomes a part that
    /// answers with an error, and a `Close` where the protocol cannot go on. Bytes that a part needs in another form than
    /// they have in `input` (a key in base64) go to `scratch`.
    pub fn parse<'a>(
        &mut self,
        input: &'a [u8],
        scratch: &'a Scratch,
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> Parsed {
        if let Session::Undecided(port) = *self {
            match detect::detect(input) {
                detect::Detected::Unclear => return Parsed { consumed: 0, missing: 1 },
                detect::Detected::Protocol(protocol) => {
                    let session = if limits.has_password { Session::locked } else { Session::new };
                    *self = session(Some(protocol), port);
                }
                detect::Detected::Refused(refused) => {
                    let reply = ReplyKind::Refused(refused);
                    let echo = &input[..input.len().min(refused::BINARY_HEADER_BYTES)];
                    parts.push(Part { work: Work::Close, reply, echo, once: None });
                    return Parsed { consumed: input.len(), missing: 0 };
                }
            }
        }
        match self {
            Session::Undecided(_) => unreachable!("decided above"),
            Session::Resp(session) => session.parse(input, scratch, now, limits, parts, parts_max),
            Session::Memcache(session) => session.parse(input, scratch, now, limits, parts, parts_max),
            Session::Native(session) => session.parse(input, now, limits, parts, parts_max),
        }
    }

    /// Whether some keys of a command are handed out, and the others are left for later calls of `parse`.
    pub fn is_within_request(&self) -> bool {
        match self {
            Session::Undecided(_) => false,
            Session::Resp(session) => session.is_within_request(),
            Session::Memcache(session) => session.is_within_request(),
            Session::Native(session) => session.is_within_request(),
        }
    }

    /// What [`Work::Transaction`] is about, when its turn has come: only then is more of the connection parsed. `None`: a command could not
    /// be queued.
    pub fn take_transaction(&mut self) -> Option<Transaction> {
        match self {
            Session::Resp(session) => session.take_transaction(),
            Session::Undecided(_) | Session::Memcache(_) | Session::Native(_) => None,
        }
    }

    /// Appends the next parts of a transaction, as [`Session::parse`] does.
    pub fn replay<'a>(
        &mut self,
        transaction: &'a mut Transaction,
        scratch: &'a Scratch,
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) {
        if let Session::Resp(session) = self {
            session.replay(transaction, scratch, now, limits, parts, parts_max);
        }
    }

    /// How many of the next bytes belong to a long value. They need not be offered to `parse`: [`Session::value_passed`]
    /// can be told of them instead. The last byte of a request is never one of them.
    pub fn value_left(&self) -> u64 {
        match self {
            Session::Undecided(_) => 0,
            Session::Resp(session) => session.value_left(),
            Session::Memcache(session) => session.value_left(),
            Session::Native(session) => session.value_left(),
        }
    }

    /// Says that `bytes` bytes of the long value were received without `parse`: see [`Session::value_left`].
    pub fn value_passed(&mut self, bytes: u64) {
        match self {
            Session::Undecided(_) => {}
            Session::Resp(session) => session.value_passed(bytes),
            Session::Memcache(session) => session.value_passed(bytes),
            Session::Native(session) => session.value_passed(bytes),
        }
    }

    /// The worker says what the connection is subscribed to, whenever that changes.
    pub fn has_subscribed(&mut self, to: Subscribed) {
        if let Session::Resp(session) = self {
            session.has_subscribed(to);
        }
    }

    /// Whether [`Session::push`] may be called now.
    pub fn takes_pushes(&self) -> bool {
        match self {
            Session::Resp(session) => session.takes_pushes(),
            Session::Native(_) => true,
            Session::Undecided(_) | Session::Memcache(_) => false,
        }
    }

    /// Writes a frame that answers no request behind the answers that are written. If one of those is half written, the
    /// frame waits until it is whole. False: the protocol has no such frames.
    pub fn push(&mut self, push: Push<'_>, out: &mut Output) -> bool {
        match self {
            Session::Resp(session) => session.push(push, out),
            Session::Native(session) => session.push(push, out),
            Session::Undecided(_) | Session::Memcache(_) => false,
        }
    }

    /// How an answer is written that neither depends on other answers nor changes them: it may be composed before its turn.
    /// `None`: the answer has to wait for its turn.
    #[inline]
    pub fn free(&self, reply: &ReplyKind) -> Option<FreeReply> {
        match (self, reply) {
            (Session::Resp(session), ReplyKind::Resp(reply)) => session.free(reply).map(FreeReply::Resp),
            (Session::Memcache(session), ReplyKind::Memcache(reply)) => {
                session.free(reply).map(FreeReply::Memcache)
            }
            (Session::Native(_), ReplyKind::Native(reply)) => reply.free().map(FreeReply::Native),
            _ => None,
        }
    }

    /// Writes the answer to a read or a change in its usual form, in the protocol whose clients ask so in most cases; all else is left
    /// to [`Session::compose`]. Returns whether it has.
    #[inline(always)]
    pub fn compose_usual(&self, reply: ReplyKind, answer: &Answer<'_>, out: &mut Output) -> bool {
        match (self, reply) {
            (Session::Resp(session), ReplyKind::Resp(reply)) => session.compose_usual(reply, answer, out),
            _ => false,
        }
    }

    /// Writes the answer to one part. `key` is the key of a `Keyed` part or of its `ValueBegin`, else empty.
    pub fn compose(
        &mut self,
        reply: ReplyKind,
        key: &[u8],
        echo: &[u8],
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        match (self, reply) {
            (Session::Resp(session), ReplyKind::Resp(reply)) => {
                session.compose(reply, key, echo, answer, context, out)
            }
            (Session::Memcache(session), ReplyKind::Memcache(reply)) => {
                session.compose(reply, key, echo, answer, context, out)
            }
            (Session::Native(session), ReplyKind::Native(reply)) => {
                session.compose(reply, key, echo, answer, context, out)
            }
            (_, ReplyKind::Refused(refused)) => refused.compose(echo, out),
            // The worker keeps what it needs of it.
            (_, ReplyKind::Step) => {}
            (session, ReplyKind::Push(about)) => {
                session.push(Push::of_bytes(about, echo), out);
            }
            _ => unreachable!("a part is answered by the session that parsed it"),
        }
    }
}
