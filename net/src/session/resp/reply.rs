//! How parts are answered: the words on the wire.

mod values;

use super::client::{Client, Mute};
use super::compare;
use super::dump;
use super::error::Error;
use super::errors::{self, PATTERN_STEPS_MAX};
use super::gather::{Failure, Gather};
use super::local::LocalCall;
use super::messages;
use super::object;
use super::reply_kind::{Fact, Kind, ReplyKind};
use super::row::Run;
use super::table::ROWS;
use super::tracking;
use super::walked;
use crate::session::answer::{Answer, Exec, Jointly};
use crate::session::bad_input::BadInput;
use crate::session::calls::NO_COMMAND;
use crate::session::context::ComposeContext;
use crate::session::messages::Subscribed;
use crate::session::output::Output;
use crate::session::protocol::Port;
use crate::session::push::Push;
use torc_engine::command::{Found, Outcome, Value};
use torc_engine::words;
use torc_proto::resp::compose::Version;
use torc_proto::resp::{compose, glob};
use values::{bulk, expiry, fields, float, integer, range, signed, value};

/// Writes the replies of one connection. It may lag behind the parsing of requests.
#[derive(Debug, Default)]
pub(super) struct Composer {
    client: Client,
    gather: Gather,
    /// Pushes that wait for the end of an array.
    pushes: Vec<u8>,
}

impl Composer {
    pub(super) fn new(port: Port) -> Composer {
        Composer { client: Client { port, ..Client::default() }, ..Composer::default() }
    }

    /// Its client has to give a password first.
    pub(super) fn lock(&mut self) {
        self.client.is_locked = true;
    }

    /// Memory that it holds beside itself.
    pub(super) fn bytes_held(&self) -> usize {
        self.pushes.capacity()
    }

    pub(super) fn set_version(&mut self, version: Version) {
        self.client.version = version;
    }

    /// See [`crate::session::Session::free`]. Not free: one of several parts of a command, and commands that change how
    /// later answers look.
    #[inline]
    pub(super) fn free(&self, reply: &ReplyKind) -> Option<Free> {
        (!reply.kind.is_bound() && self.client.mute.is_none()).then_some(self.free_of(*reply))
    }

    /// See [`crate::session::Session::compose_usual`].
    #[inline(always)]
    pub(super) fn compose_usual(&self, reply: ReplyKind, answer: &Answer<'_>, out: &mut Output) -> bool {
        self.client.mute.is_none() && usual(reply.kind, answer, out)
    }

    /// Writes the answer to one part.
    pub(super) fn compose(
        &mut self,
        reply: ReplyKind,
        echo: &[u8],
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        if self.client.mute.is_some() {
            return self.compose_muted(reply, (echo, answer), context, out);
        }
        if reply.kind.is_bound() {
            return self.compose_bound(reply, echo, answer, context, out);
        }
        self.free_of(reply).compose(echo, answer, context, out);
    }

    #[inline]
    fn free_of(&self, reply: ReplyKind) -> Free {
        Free { reply, version: self.client.version }
    }

    /// An answer that depends on others, or on which others depend.
    fn compose_bound(
        &mut self,
        reply: ReplyKind,
        echo: &[u8],
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        let failure = Failure::of(answer);
        match reply.kind {
            Kind::Local(row) => self.local((row, None), (echo, reply.command), context, out),
            Kind::Entered(row) => {
                let entered = self.entered(answer);
                self.local((row, entered), (echo, reply.command), context, out);
            }
            Kind::Element { header, last } => self.element(reply, (header, last), answer, context, out),
            Kind::Count(position) => {
                let found = matches!(answer, Answer::Outcome(Outcome::Deleted { .. } | Outcome::Item(_)));
                if let Some(result) = self.gather.add(position, found.into(), failure) {
                    match result {
                        Ok(sum) => compose::integer(out.tail(), sum),
                        Err(failure) => failure.write(reply, context, out),
                    }
                }
            }
            Kind::Multi => {
                self.client.is_spoilt = false;
                compose::simple(out.tail(), "OK");
            }
            Kind::Queued(slot) => self.queued(slot, context, out),
            Kind::Exec => self.exec(reply, answer, context, out),
            Kind::StoredAll(position) | Kind::Watched(position) => {
                match self.gather.add(position, 1, failure) {
                    Some(Ok(_)) => compose::simple(out.tail(), "OK"),
                    Some(Err(failure)) => failure.write(reply, context, out),
                    None => {}
                }
            }
            _ => self.free_of(reply).compose_any(echo, answer, context, out),
        }
        if !self.gather.within_command && !self.client.in_transaction {
            self.write_pushes(out);
        }
    }

    /// A command that needs no shard. Its errors are all about its arguments.
    fn local(
        &mut self,
        asked: (u8, Option<bool>),
        (frame, command): (&[u8], u8),
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        let start = out.tail().len();
        self.run(asked, frame, context, out.tail());
        if out.tail().get(start) == Some(&b'-') {
            out.count_error(BadInput::Arguments);
            out.count_failed(command);
            out.count_code(start);
        }
    }

    /// Whether a password was right. If so, the client may do all.
    fn entered(&mut self, answer: &Answer<'_>) -> Option<bool> {
        let is_through = matches!(answer, Answer::Entered(true));
        self.client.is_locked &= !is_through;
        Some(is_through)
    }

    /// Runs the command in row `index`, which came as `frame`.
    fn run(
        &mut self,
        (index, entered): (u8, Option<bool>),
        frame: &[u8],
        context: &ComposeContext<'_>,
        out: &mut Vec<u8>,
    ) {
        let Some(row) = ROWS.get(usize::from(index)) else { return };
        let (Run::Local(function) | Run::Enters(function) | Run::Chooses(function) | Run::Mixed(_, function)) =
            row.run
        else {
            return;
        };
        let call = LocalCall { row, words: errors::words(frame), context, port: self.client.port, entered };
        function(&mut self.client, &call, out);
    }

    /// The answer to a client that does not want any: only what changes the connection is done, and what it is told of its
    /// subscriptions and their messages comes all the same.
    fn compose_muted(
        &mut self,
        reply: ReplyKind,
        (echo, answer): (&[u8], &Answer<'_>),
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        let skip = self.client.mute == Some(Mute::Skip);
        let kind = reply.kind;
        match kind {
            Kind::Exec => self.note_exec(answer, out),
            Kind::Multi => self.client.is_spoilt = false,
            _ => {}
        }
        if skip && kind.ends_command() && !self.client.in_transaction {
            self.client.mute = None;
        }
        let asked = match kind {
            Kind::Local(row) => Some((row, None)),
            Kind::Entered(row) => Some((row, self.entered(answer))),
            _ => None,
        };
        if let Kind::Subscription { .. } | Kind::Unsubscriptions(_) = kind {
            self.free_of(reply).compose(echo, answer, context, out);
        }
        if let Some(asked) = asked {
            let mut unsent = Vec::new();
            self.client.is_heard = false;
            self.run(asked, echo, context, &mut unsent);
            if self.client.is_heard || !skip && self.client.mute.is_none() {
                out.tail().extend_from_slice(&unsent);
            }
        }
    }

    /// A command was queued, unless its keys belong to another shard than the port's.
    fn queued(&mut self, slot: Option<u16>, context: &ComposeContext<'_>, out: &mut Output) {
        let own = context.server.shard();
        let owner = |slot| {
            let ranges = context.server.slot_ranges();
            ranges.into_iter().find(|(range, _)| range.contains(&slot)).map_or(own, |(_, shard)| shard)
        };
        let Some((slot, shard)) = slot.map(|slot| (slot, owner(slot))).filter(|(_, shard)| *shard != own)
        else {
            return compose::simple(out.tail(), "QUEUED");
        };
        self.client.is_spoilt = true;
        Failure::Moved { slot, shard }.write(ReplyKind::SILENT, context, out);
    }

    /// Whether a queued command was for another shard.
    pub(super) fn take_spoilt(&mut self) -> bool {
        std::mem::take(&mut self.client.is_spoilt)
    }

    fn exec(
        &mut self,
        reply: ReplyKind,
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        self.note_exec(answer, out);
        match answer {
            Answer::Exec(Exec::Changed) => match self.client.version {
                Version::Resp2 => out.tail().extend_from_slice(b"*-1\r\n"),
                Version::Resp3 => compose::null(out.tail(), Version::Resp3),
            },
            Answer::Exec(Exec::Begun(commands)) => compose::array(out.tail(), *commands as usize),
            Answer::Exec(Exec::Ended) => {}
            other => {
                let failure = Failure::of(other).unwrap_or(Failure::OutcomeUnknown);
                failure.write(reply, context, out);
            }
        }
    }

    /// Follows a transaction from its first answer to its last.
    fn note_exec(&mut self, answer: &Answer<'_>, out: &mut Output) {
        self.client.in_transaction = matches!(answer, Answer::Exec(Exec::Begun(_)));
        if self.client.in_transaction {
            return;
        }
        self.write_pushes(out);
        if std::mem::take(&mut self.client.skips_next) {
            self.client.mute.get_or_insert(Mute::Skip);
        }
    }

    /// One value of an MGET. A failure of the first stands for all, as keys of one slot fail together; a
    /// later one is an element.
    fn element(
        &mut self,
        reply: ReplyKind,
        (header, last): (u32, bool),
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        let failure = Failure::of(answer);
        if header > 0 {
            (self.gather.abandoned, self.gather.has_failed) = (failure.is_some(), false);
            match failure {
                None => compose::array(out.tail(), header as usize),
                Some(failure) => failure.write(reply, context, out),
            }
        }
        if !self.gather.abandoned {
            match failure {
                None => {
                    let reply = ReplyKind { kind: Kind::Value, ..reply };
                    self.free_of(reply).single(&[], answer, context, out);
                }
                Some(failure) => {
                    // One call fails once.
                    let has_failed = std::mem::replace(&mut self.gather.has_failed, true);
                    let command = if has_failed { NO_COMMAND } else { reply.command };
                    failure.write(ReplyKind { command, ..reply }, context, out);
                }
            }
            self.gather.within_command = !last;
        }
    }

    /// Writes what has waited for the end of an array.
    fn write_pushes(&mut self, out: &mut Output) {
        if !self.pushes.is_empty() {
            out.tail().extend_from_slice(&std::mem::take(&mut self.pushes));
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// RESP2 knows only answers, but for messages, which a subscriber gets as arrays.
    pub(super) fn takes_pushes(&self) -> bool {
        self.client.version == Version::Resp3 || self.client.subscribed.is_some()
    }

    /// See [`crate::session::Session::has_subscribed`].
    pub(super) fn has_subscribed(&mut self, to: Subscribed) {
        self.client.subscribed = (to.total() > 0).then(|| Box::new(to));
    }

    /// Writes a frame that answers no request.
    pub(super) fn push(&mut self, push: Push<'_>, out: &mut Output) -> bool {
        let is_within = self.gather.within_command || self.client.in_transaction;
        let out = if is_within { &mut self.pushes } else { out.tail() };
        tracking::push(push, self.client.version, self.client.subscribed.is_some(), out)
    }
}

/// How a part is answered that is a whole command and whose answer depends on no other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Free {
    reply: ReplyKind,
    version: Version,
}

impl Free {
    #[inline]
    pub fn compose(self, echo: &[u8], answer: &Answer<'_>, context: &ComposeContext<'_>, out: &mut Output) {
        if !usual(self.reply.kind, answer, out) {
            self.compose_any(echo, answer, context, out);
        }
    }

    fn compose_any(self, echo: &[u8], answer: &Answer<'_>, context: &ComposeContext<'_>, out: &mut Output) {
        match (self.reply.kind, Failure::of(answer)) {
            (Kind::Ok, _) => compose::simple(out.tail(), "OK"),
            (Kind::Pong, _) => compose::simple(out.tail(), "PONG"),
            (Kind::Message, _) => compose::bulk(out.tail(), echo),
            (Kind::Help(lines), _) => help(lines, out.tail()),
            (Kind::Error(error), _) => failed(error, echo, out),
            (Kind::Silent, _) => {}
            (
                Kind::PongAmongMessages
                | Kind::Subscription { .. }
                | Kind::Unsubscriptions(_)
                | Kind::Published
                | Kind::Inspected(_),
                None,
            ) => messages::compose(self.reply.kind, echo, answer, self.version, out),
            (Kind::Tracking(told), None) => {
                tracking::compose(told, answer, self.version, out.tail())
                    .unwrap_or_else(|error| self.fail(error, echo, out));
            }
            (_, Some(failure)) => failure.write(self.reply, context, out),
            (_, None) => self.single(echo, answer, context, out),
        }
    }

    /// An answer that is no failure.
    fn single(self, echo: &[u8], answer: &Answer<'_>, context: &ComposeContext<'_>, out: &mut Output) {
        let Free { reply: ReplyKind { kind, command }, version } = self;
        let outcome = match answer {
            Answer::Outcome(outcome) => outcome,
            Answer::Jointly(jointly) => return self.done_jointly(*jointly, out),
            Answer::Compared { asked, length, found } => {
                return compare::write(*asked, (*length, found), version, out.tail());
            }
            Answer::Script(reply) => {
                return with_errors(command, out, |out| out.extend_from_slice(reply));
            }
            Answer::Walked { count, found } => {
                return with_errors(command, out, |out| walked::write(kind, (*count, found), version, out));
            }
            Answer::Scanned { cursor, keys } => return self.scanned(echo, *cursor, keys, out),
            _ => return compose::simple(out.tail(), "OK"),
        };
        match (kind, outcome) {
            (Kind::Value, Outcome::Item(found)) => value(found.value, out),
            (Kind::Value | Kind::StoredOld, Outcome::Deleted { old, .. } | Outcome::Stored { old, .. })
            | (Kind::StoredOld, Outcome::NotStored { old }) => match old {
                Some(found) => value(found.value, out),
                None => compose::null(out.tail(), version),
            },
            (Kind::Value | Kind::StoredOld | Kind::Stored | Kind::NullOr(_), Outcome::Miss)
            | (Kind::Stored, Outcome::NotStored { .. }) => compose::null(out.tail(), version),
            (Kind::NullOr(error), _) => self.fail(error, &[], out),
            (Kind::Stored, _) => compose::simple(out.tail(), "OK"),
            (Kind::Range { start, end }, Outcome::Item(found)) => range(found.value, start, end, out),
            (Kind::Range { .. }, _) => compose::bulk(out.tail(), &[]),
            (Kind::Length | Kind::StoredLength, Outcome::Item(Found { meta, .. }))
            | (Kind::Length | Kind::StoredLength, Outcome::Stored { meta, .. }) => {
                compose::integer(out.tail(), signed(meta.value_bytes));
            }
            (Kind::Field | Kind::Fields, Outcome::Fields(results)) => {
                fields(kind, *results, version, out.tail())
            }
            (Kind::NumberElse(_), Outcome::Number(number)) => compose::integer(out.tail(), *number),
            (Kind::NumberElse(number) | Kind::ErrorElse(number, _), Outcome::Miss) => {
                compose::integer(out.tail(), number);
            }
            (Kind::Dump, Outcome::Item(found)) => dump::write(found.value, out),
            (Kind::Dump, _) => compose::null(out.tail(), version),
            (Kind::Restored, Outcome::Stored { .. }) => compose::simple(out.tail(), "OK"),
            (Kind::BusyOr(error), Outcome::Miss) => self.fail(error, &[], out),
            (Kind::Restored | Kind::BusyOr(_), _) => self.fail(Error::BusyKey, &[], out),
            (Kind::ErrorElse(_, error), _) => self.fail(error, &[], out),
            (Kind::Object(Fact::All), Outcome::Miss) => self.no_such_key(out),
            (Kind::Object(_), Outcome::Miss) => compose::null(out.tail(), version),
            (Kind::Object(fact), Outcome::Item(found)) => {
                object::tell(fact, (found, echo.len()), context.now, out.tail())
            }
            (Kind::Number, Outcome::Counter { number, .. }) => compose::integer(out.tail(), integer(*number)),
            (Kind::Float, Outcome::Counter { number, .. }) => float(*number, out.tail()),
            (Kind::StoredFlag, Outcome::Stored { .. })
            | (Kind::Changed, Outcome::Touched { .. } | Outcome::Deleted { .. }) => {
                compose::integer(out.tail(), 1);
            }
            (Kind::Expiry(clock), Outcome::Item(found)) => {
                compose::integer(out.tail(), expiry(clock, &found.meta, context.now));
            }
            (Kind::Expiry(_), _) => compose::integer(out.tail(), -2),
            (Kind::Type, Outcome::Item(_)) => compose::simple(out.tail(), "string"),
            (Kind::Type, _) => compose::simple(out.tail(), "none"),
            _ => compose::integer(out.tail(), 0),
        }
    }

    /// The answer to a command about several keys.
    fn done_jointly(self, jointly: Jointly, out: &mut Output) {
        match (self.reply.kind, jointly) {
            (Kind::Renamed | Kind::RenamedFlag, Jointly::NoItem) => self.no_such_key(out),
            (Kind::Renamed, _) => compose::simple(out.tail(), "OK"),
            (_, Jointly::Length(length)) => compose::integer(out.tail(), signed(length)),
            (Kind::Combined, Jointly::TooLong) => self.fail(Error::CombinedTooLong, &[], out),
            (_, Jointly::TooMuch) => self.fail(Error::CombinedTooMuch, &[], out),
            (_, Jointly::TooLong) => self.fail(Error::ComparedTextTooLong, &[], out),
            (_, jointly) => compose::integer(out.tail(), (jointly == Jointly::Done).into()),
        }
    }

    /// The next cursor and those keys that match.
    fn scanned(self, pattern: &[u8], cursor: u64, keys: &[u8], out: &mut Output) {
        let Kind::Keys { pattern: filtered, strings } = self.reply.kind else { return };
        let mut steps = PATTERN_STEPS_MAX;
        let mut wanted = Vec::new();
        for key in words::each(keys).filter(|_| strings) {
            let matched = if filtered { glob::matches(pattern, key, &mut steps) } else { Some(true) };
            match matched {
                Some(true) => wanted.push(key),
                Some(false) => {}
                None => return self.fail(Error::PatternTooLong, &[], out),
            }
        }
        let out = out.tail();
        compose::array(out, 2);
        compose::bulk(out, itoa::Buffer::new().format(cursor).as_bytes());
        compose::array(out, wanted.len());
        wanted.iter().for_each(|key| compose::bulk(out, key));
    }

    fn no_such_key(self, out: &mut Output) {
        with_errors(self.reply.command, out, |out| compose::error(out, b"ERR no such key"));
    }

    /// An error that was found only when the command was executed.
    fn fail(self, error: Error, frame: &[u8], out: &mut Output) {
        out.count_failed(self.reply.command);
        failed(error, frame, out);
    }
}

/// Writes what GET and SET are mostly answered. False: it is something else.
#[inline(always)]
fn usual(kind: Kind, answer: &Answer<'_>, out: &mut Output) -> bool {
    match (kind, answer) {
        (Kind::Value, Answer::Outcome(Outcome::Item(Found { value: Value::Inline(bytes), .. }))) => {
            bulk(*bytes, out);
        }
        (Kind::Stored, Answer::Outcome(Outcome::Stored { .. })) => {
            out.tail().extend_from_slice(b"+OK\r\n");
        }
        _ => return false,
    }
    true
}

/// An error that the session has found itself.
pub(super) fn failed(error: Error, frame: &[u8], out: &mut Output) {
    out.count_error(error.kind());
    let start = out.tail().len();
    errors::write(error, frame, out.tail());
    out.count_code(start);
}

/// Writes what may be an error of the command of this number, and counts it then.
fn with_errors(command: u8, out: &mut Output, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.tail().len();
    write(out.tail());
    if out.tail().get(start) == Some(&b'-') {
        out.count_failed(command);
        out.count_code(start);
    }
}

/// The lines that HELP answers with.
pub(super) fn help(lines: &[&str], out: &mut Vec<u8>) {
    compose::array(out, lines.len());
    lines.iter().for_each(|line| compose::simple(out, line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_keeps_little_for_its_answer() {
        assert!(size_of::<ReplyKind>() <= 40, "{}", size_of::<ReplyKind>());
    }
}
