//! RESP: the session of a Redis client.
//!
//! ```text
//!            +--------- Skip <------ value or key too long: answered, the rest of the request thrown away
//!            v            ^
//!   input -> Request -----+--> Value --> Options      a long value, received in slices
//!            |   ^                |         |
//!            |   +----------------+---------+
//!            +--> Several --> Request              keys left: the same bytes again, from the next key on
//!            +--> Queueing --> Exec --> Request       MULTI; then EXEC, until its transaction is taken
//!            +--> Closed                              QUIT, or bytes that are no RESP
//! ```
//!
//! A whole request is found by [`torc_proto::resp::request`], its row by [`table`], and the row's function
//! appends the parts. Of an unfinished request the places of its arguments are kept, and how many bytes it
//! lacks, so that a client that drips bytes costs little. What answers need is in [`reply`]; commands without a key are run when their
//! answer is due ([`local`]), since HELLO and CLIENT change how later answers look.
//!
//! Goals: the words of Redis 7.0 to the byte, errors too; no allocation for GET and SET; the same answers
//! however the input is cut. Non-goals: types other than strings.

mod bits;
mod caching;
mod call;
mod client;
mod clients;
mod cluster;
mod compare;
mod config;
mod connection;
mod counters;
mod debug;
mod dispatch;
mod dump;
mod error;
mod errors;
mod expiry;
mod facts;
mod gather;
mod guard;
mod hand_out;
mod hot_keys;
pub(crate) mod info;
mod introspection;
mod joint;
mod keyspace;
mod lengths;
mod local;
mod locked;
mod memory;
mod messages;
mod monitor;
mod numbers;
mod object;
mod observe;
mod options;
mod reply;
pub(super) mod reply_kind;
mod row;
mod script_calls;
mod scripting;
mod several;
mod storage;
mod stream;
mod strings;
mod subcommands;
mod table;
mod tracking;
mod transaction;
mod turn;
mod walked;
mod watch;

pub(crate) use clients::{ClientFacts, ClientFilter};

const _: () = assert!(table::NAMES.len() + subcommands::COUNT == COMMANDS);

pub(crate) use connection::REDIS_VERSION;
pub(crate) use errors::PATTERN_STEPS_MAX;
pub(in crate::session) use monitor::quote;
pub(crate) use numbers::command_name;
pub use reply::Free;
pub use reply_kind::ReplyKind;
pub(crate) use script_calls::NotCalled;
pub use transaction::Transaction;

use super::answer::Answer;
use super::calls::{COMMANDS, Fate, NO_COMMAND};
use super::context::ComposeContext;
use super::output::Output;
use super::parsing::{Limits, Parsed};
use super::part::{Part, ReplyKind as PartReply, Work};
use super::protocol::Port;
use super::push::Push;
use super::scratch::Scratch;
use call::{Call, part};
use error::Error;
use lengths::{exceeds, long_value};
use reply::Composer;
use reply_kind::Kind;
use row::{Row, Run};
use stream::State;
use table::row_of;
use torc_engine::command::{Command, Millis, Op};
use torc_proto::resp::ProtocolError;
use torc_proto::resp::compose::{self, Version};
use torc_proto::resp::request::{self, Arguments, SMALL_ARGUMENTS_MAX, Span, Step};
use transaction::Queue;
use turn::Turn;

/// State of one connection.
#[derive(Debug, Default)]
pub struct Session {
    port: Port,
    /// What is parsed now is about.
    database: u16,
    /// How what is parsed now is answered.
    version: Version,
    is_subscribed: bool,
    /// A change of subscriptions was handed out and may not be executed.
    unsettled: bool,
    /// What may be asked, or how it is answered, may depend on subscriptions.
    guarded: bool,
    caching: Caching,
    /// What is parsed now counts no accesses (CLIENT NO-TOUCH).
    no_touch: bool,
    /// The command that is parsed now, by its row in the table.
    command: u8,
    state: State,
    /// The places of arguments, of an unfinished request too.
    arguments: Arguments,
    /// Bytes that the input must have before it is worth a look.
    wanted: usize,
    composer: Composer,
    /// Between MULTI and EXEC.
    queue: Option<Box<Queue>>,
}

/// A connection keeps the memory for so many arguments (8 bytes each); what a longer request took is given back.
const ARGUMENTS_KEPT: usize = 512;

/// What a request comes to while subscriptions matter.
enum Guarded {
    /// It is worked off as ever.
    Passes,
    /// It has to wait for what was asked before.
    Waits,
    /// It is answered.
    Answered,
}

/// Where a client stands that has said CLIENT CACHING.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Caching {
    #[default]
    Not,
    /// It is about the next command.
    Begun,
    /// It was about the last one.
    Over,
}

/// What came of a step of parsing.
enum Progress {
    /// So many bytes are worked off.
    Consumed(usize),
    /// So many are missing at least.
    Missing(usize),
    /// Nothing more is looked at before a transaction has been taken.
    Halted,
}

/// As [`lower_word`] gives them.
const GET: u32 = u32::from_le_bytes(*b"get\0");
const SET: u32 = u32::from_le_bytes(*b"set\0");

/// Three letters in lower case, as a number; 0: it is not of three bytes. Other bytes may become other bytes, but none becomes a letter.
#[inline(always)]
fn lower_word(name: &[u8]) -> u32 {
    match *name {
        [first, second, third] => u32::from_le_bytes([first, second, third, 0]) | 0x20_20_20,
        _ => 0,
    }
}

impl Session {
    /// A session of a client that came by such a port.
    pub fn new(port: Port) -> Session {
        Session { port, composer: Composer::new(port), ..Session::default() }
    }

    /// Nothing is done for its client before it has given a password.
    pub(super) fn lock(mut self) -> Session {
        self.state = State::Locked { refused: 0 };
        self.composer.lock();
        self
    }

    /// Memory that it holds beside itself: the places of the arguments of a request, mostly.
    pub(crate) fn bytes_held(&self) -> usize {
        self.arguments.spans.capacity() * size_of::<Span>()
            + self.composer.bytes_held()
            + self.queue.as_ref().map_or(0, |queue| queue.bytes_held())
    }

    /// Appends the parts of all complete requests in `input`: see [`super::Session::parse`].
    pub fn parse<'a>(
        &mut self,
        input: &'a [u8],
        scratch: &'a Scratch,
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> Parsed {
        if input.len() < self.wanted {
            return Parsed { consumed: 0, missing: self.wanted - input.len() };
        }
        if self.guarded {
            self.settle();
        }
        let resumed = std::mem::take(&mut self.wanted) > 0;
        let mut turn = Turn::new(scratch, now, limits, parts, parts_max);
        let parsed = self.parse_all(input, resumed, &mut turn);
        scratch.count_many(table::GET as u8, Fate::Called, turn.gets);
        scratch.count_many(table::SET as u8, Fate::Called, turn.sets);
        self.set_database(&mut turn);
        parsed
    }

    /// What was parsed since the last choice is about the database that is chosen.
    #[inline]
    fn set_database(&self, turn: &mut Turn<'_, '_>) {
        if self.database != 0 || self.no_touch {
            self.set_choices(&mut turn.parts[turn.from..]);
        }
    }

    fn set_choices(&self, parts: &mut [Part<'_>]) {
        for part in parts {
            part.work.set_database(self.database);
            if let Work::Keyed(Command { op: Op::Read(read), .. }) = &mut part.work {
                read.peek |= self.no_touch;
            }
        }
    }

    /// What comes behind this request is about another database, if it may choose that.
    fn choose(&mut self, call: &Call<'_, '_>, turn: &mut Turn<'_, '_>) {
        let chosen = match call.row.name {
            "reset" => {
                self.set_database(turn);
                turn.parts.extend([
                    part(Work::Unwatch, Kind::Silent, &[]),
                    messages::forget(),
                    tracking::end(),
                    part(Work::Monitor { sees: None }, Kind::Silent, &[]),
                ]);
                self.caching = Caching::Not;
                self.state = match (call.limits.has_password, self.state) {
                    (_, locked @ State::Locked { .. }) => locked,
                    (true, _) => State::Locked { refused: 0 },
                    (false, _) => State::Request,
                };
                self.queue = None;
                self.unsettle();
                self.version = Version::default();
                (self.no_touch, turn.from) = (false, turn.parts.len());
                Some(0)
            }
            _ => connection::chosen(call.argument(1), self.port, call.limits.databases),
        };
        if let Some(database) = chosen {
            self.set_database(turn);
            (self.database, turn.from) = (database, turn.parts.len());
        }
    }

    #[inline(always)]
    fn parse_all<'a>(&mut self, input: &'a [u8], mut resumed: bool, turn: &mut Turn<'_, 'a>) -> Parsed {
        let mut at = 0;
        while at < input.len() && turn.parts.len() < turn.parts_max {
            let rest = &input[at..];
            if let State::Request = self.state
                && let Some(consumed) = self.small(rest, turn)
            {
                at += consumed;
                resumed = false;
                continue;
            }
            match self.step(rest, std::mem::take(&mut resumed), turn) {
                Progress::Consumed(consumed) => at += consumed,
                Progress::Missing(missing) => {
                    self.wanted = rest.len().saturating_add(missing);
                    return Parsed { consumed: at, missing };
                }
                Progress::Halted => return Parsed { consumed: at, missing: Parsed::HALTED },
            }
        }
        Parsed { consumed: at, missing: if at < input.len() { Parsed::HALTED } else { 0 } }
    }

    /// Works off a whole array of few short arguments, which is what clients mostly send. Returns the bytes consumed.
    #[inline]
    fn small<'a>(&mut self, rest: &'a [u8], turn: &mut Turn<'_, 'a>) -> Option<usize> {
        let mut spans = [Span::default(); SMALL_ARGUMENTS_MAX];
        let (count, consumed) = request::parse_small(rest, &mut spans)?;
        let limits = turn.limits;
        let [name, key, value] = [spans[0].of(rest), spans[1].of(rest), spans[2].of(rest)];
        let is_usual = turn.may_be_usual
            && !self.guarded
            && key.len() <= limits.key_bytes_max
            && value.len() <= turn.value_bytes_usual
            && consumed <= limits.frame_bytes_max;
        match (count, lower_word(name)) {
            (2, GET) if is_usual => {
                turn.parts.push(call::named(call::keyed(key, strings::READ, Kind::Value), table::GET as u8));
                turn.gets += 1;
            }
            (3, SET) if is_usual => {
                turn.parts.push(call::named(strings::plain_set(key, value), table::SET as u8));
                turn.sets += 1;
            }
            _ if count > limits.arguments_max => return None,
            _ => return Some(self.any_small(&rest[..consumed], &spans[..count], turn)),
        }
        Some(consumed)
    }

    #[inline(never)]
    fn any_small<'a>(&mut self, frame: &'a [u8], spans: &[Span], turn: &mut Turn<'_, 'a>) -> usize {
        let mut arguments = std::mem::take(&mut self.arguments);
        arguments.take_small(spans);
        let from = turn.parts.len();
        let consumed = self.dispatch(frame, &arguments, turn);
        self.name(&mut turn.parts[from..]);
        self.arguments = arguments;
        consumed
    }

    /// See [`super::Session::free`].
    #[inline]
    pub fn free(&self, reply: &ReplyKind) -> Option<Free> {
        self.composer.free(reply)
    }

    /// See [`super::Session::compose_usual`].
    #[inline(always)]
    pub(super) fn compose_usual(&self, reply: ReplyKind, answer: &Answer<'_>, out: &mut Output) -> bool {
        self.composer.compose_usual(reply, answer, out)
    }

    /// Writes the answer to one part.
    pub fn compose(
        &mut self,
        reply: ReplyKind,
        _key: &[u8],
        echo: &[u8],
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        self.composer.compose(reply, echo, answer, context, out);
    }

    pub(crate) fn client_name(&self) -> &[u8] {
        &self.composer.client().name
    }

    /// See [`super::Session::client_line`].
    pub(crate) fn client_line(&self, facts: &ClientFacts<'_>, out: &mut Vec<u8>) {
        let queued = self.queue.as_ref().map(|queue| queue.told());
        facts.line(self.composer.client(), queued, out);
    }

    /// See [`super::Session::takes_pushes`].
    pub fn takes_pushes(&self) -> bool {
        self.composer.takes_pushes()
    }

    /// See [`super::Session::push`].
    pub fn push(&mut self, push: Push<'_>, out: &mut Output) -> bool {
        self.composer.push(push, out)
    }

    /// One step. `resumed`: the input ended here before, and has grown.
    fn step<'a>(&mut self, rest: &'a [u8], resumed: bool, turn: &mut Turn<'_, 'a>) -> Progress {
        let from = turn.parts.len();
        let progress = match self.state {
            State::Request | State::Queueing => self.request(rest, resumed, turn),
            State::Exec | State::Entering { .. } => Progress::Halted,
            State::Locked { refused } => self.locked(rest, refused, turn),
            State::Several(several) => self.go_on(several, rest, turn),
            State::Closed => Progress::Consumed(rest.len()),
            _ => self.stream(rest, turn),
        };
        self.name(&mut turn.parts[from..]);
        progress
    }

    /// Tells parts whose they are.
    fn name(&self, parts: &mut [Part<'_>]) {
        for part in parts {
            if let PartReply::Resp(reply) = &mut part.reply {
                reply.command = self.command;
            }
        }
    }

    /// The request at the start of `rest`.
    fn request<'a>(&mut self, rest: &'a [u8], resumed: bool, turn: &mut Turn<'_, 'a>) -> Progress {
        self.command = NO_COMMAND;
        let mut arguments = std::mem::take(&mut self.arguments);
        let find = if resumed { request::resume } else { request::parse };
        let progress = match find(rest, turn.limits.arguments_max, &mut arguments) {
            Step::Empty { consumed } => Progress::Consumed(consumed),
            Step::Complete { consumed } if self.queue.is_some() => {
                self.enqueue(&rest[..consumed], &arguments, turn);
                Progress::Consumed(consumed)
            }
            Step::Complete { consumed }
                if rest[0] != b'*' && !is_array_alike(&rest[..consumed], &arguments, turn) =>
            {
                let is_done = self.inline(&rest[..consumed], &arguments, turn);
                Progress::Consumed(if is_done { consumed } else { 0 })
            }
            Step::Complete { consumed } => {
                Progress::Consumed(self.dispatch(&rest[..consumed], &arguments, turn))
            }
            Step::Incomplete { missing } => self.incomplete(rest, missing, &arguments, turn),
            Step::Invalid(error) => self.invalid(error, rest, &arguments, turn),
        };
        if let Progress::Missing(_) = progress {
            self.arguments = arguments;
        } else {
            self.put_back(arguments);
        }
        progress
    }

    /// Keeps the places of arguments that are still needed, and the memory of a few.
    fn put_back(&mut self, arguments: Arguments) {
        if arguments.spans.capacity() <= ARGUMENTS_KEPT || self.is_within_request() {
            self.arguments = arguments;
        }
    }

    /// Whether some keys of a request are handed out, and others are not.
    pub fn is_within_request(&self) -> bool {
        matches!(self.state, State::Several(_))
    }

    /// Works off an inline request as the array that the client could have sent instead. For requests whose words are not
    /// slices of the line, or may be too long for one part. False: it has to wait.
    fn inline<'a>(&mut self, line: &[u8], arguments: &Arguments, turn: &mut Turn<'_, 'a>) -> bool {
        let mut array = Vec::new();
        compose::request(&mut array, &request::inline_words(line, arguments));
        let array = turn.scratch.keep(&array);
        let mut at = 0;
        while at < array.len() {
            match self.step(&array[at..], false, turn) {
                Progress::Consumed(0) => return false,
                Progress::Consumed(consumed) => at += consumed,
                Progress::Missing(_) | Progress::Halted => break,
            }
        }
        true
    }

    /// What can be done about a request that is not all there: begin a long value, or refuse it early.
    fn incomplete<'a>(
        &mut self,
        rest: &'a [u8],
        missing: usize,
        arguments: &Arguments,
        turn: &mut Turn<'_, 'a>,
    ) -> Progress {
        let total = rest.len().saturating_add(missing);
        let called = arguments.spans.first().and_then(|name| table::lookup(name.of(rest)));
        let row = called.map(|(_, row)| row);
        if exceeds(row, arguments, rest.len(), total, turn.limits) {
            return self.close(Error::FrameTooLong, rest.len(), turn);
        }
        if self.queue.is_some() {
            let row = row.filter(|row| row.takes(arguments.announced));
            let place = row.and_then(|row| long_value(row, arguments, turn.limits));
            return self.incomplete_queued(place, (rest, missing), arguments, turn);
        }
        self.begin_early(called, rest, arguments, turn).unwrap_or(Progress::Missing(missing))
    }

    /// The request is wrong at some place. A long value before that place is begun first, as it would have been if the
    /// input had ended there: what a client gets must not depend on how its bytes arrive.
    fn invalid<'a>(
        &mut self,
        error: ProtocolError,
        rest: &'a [u8],
        arguments: &Arguments,
        turn: &mut Turn<'_, 'a>,
    ) -> Progress {
        let called = arguments.spans.first().and_then(|name| table::lookup(name.of(rest)));
        match self.begin_early(called, rest, arguments, turn) {
            Some(progress) => progress,
            None => self.close(Error::Protocol(error), rest.len(), turn),
        }
    }

    /// Begins a long value of a request whose end is not here.
    fn begin_early<'a>(
        &mut self,
        called: Option<(usize, &'static Row)>,
        rest: &'a [u8],
        arguments: &Arguments,
        turn: &mut Turn<'_, 'a>,
    ) -> Option<Progress> {
        let (index, row) =
            called.filter(|(_, row)| row.takes(arguments.announced) && self.queue.is_none())?;
        let place = long_value(row, arguments, turn.limits)?;
        if self.guarded {
            match self.guard(row, &rest[..place.start], arguments, turn) {
                Guarded::Passes => {}
                Guarded::Waits => return Some(Progress::Consumed(0)),
                Guarded::Answered => {
                    turn.scratch.count(index as u8, Fate::Rejected);
                    self.pass_over(arguments, place);
                    return Some(Progress::Consumed(place.start));
                }
            }
            self.pass_caching(row, turn);
        }
        self.begin((index, row), rest, arguments, place, turn);
        Some(Progress::Consumed(place.start))
    }

    /// Answers with an error and ends the connection.
    fn close(&mut self, error: Error, consumed: usize, turn: &mut Turn<'_, '_>) -> Progress {
        turn.parts.push(part(Work::Close, Kind::Error(error), &[]));
        self.state = State::Closed;
        Progress::Consumed(consumed)
    }
}

/// Whether an inline request can be worked off where it lies. A request of several keys has to be: an array made of it
/// would not outlast the call.
fn is_array_alike(line: &[u8], arguments: &Arguments, turn: &Turn<'_, '_>) -> bool {
    (!arguments.escaped && line.len() <= turn.limits.value_bytes_inline)
        || row_of(line, arguments)
            .is_some_and(|(_, row)| matches!(row.run, Run::Keys(..) | Run::Listens { .. }))
}
