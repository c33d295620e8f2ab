//! Transactions: commands are queued behind MULTI, and run together by EXEC.
//!
//! What is queued is checked as far as that needs no key: its name and the number of its arguments. An error there spoils the whole, which
//! EXEC refuses. The requests are kept as they came. EXEC hands them over, and they are parsed again when all their keys are held:
//! see `crate::worker::transaction`. Nothing behind an EXEC is parsed before that is done, as a SELECT in the transaction has its say.

use super::call::{self, Call, part};
use super::error::Error;
use super::facts;
use super::lengths::{Place, exceeds, long_value, pairs_bytes_max};
use super::numbers;
use super::reply_kind::Kind;
use super::row::{Origin, Row, Run};
use super::scripting;
use super::stream::State;
use super::table::row_of;
use super::turn::Turn;
use super::{Caching, Progress, Session, connection};
use crate::session::calls::Fate;
use crate::session::joint::Joint;
use crate::session::parsing::Limits;
use crate::session::part::{Part, Work};
use crate::session::protocol::Port;
use crate::session::scratch::Scratch;
use torc_engine::command::Millis;
use torc_proto::resp::compose;
use torc_proto::resp::request::{self, Arguments, Step};
use torc_proto::slot::slot_of;

/// A short transaction has so many commands, and bytes of requests, at most.
const SHORT_COMMANDS: u32 = 64;
const SHORT_BYTES: usize = 16 << 10;

/// Commands that wait for EXEC.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Their requests, each an array.
    frames: Vec<u8>,
    commands: u32,
    /// One of them may change something, or sends a message.
    changes: bool,
    /// A command could not be queued.
    is_spoilt: bool,
    /// Not all commands are about the keys that they name, and about nothing else.
    is_manifold: bool,
}

impl Queue {
    pub(super) fn bytes_held(&self) -> usize {
        size_of::<Queue>() + self.frames.capacity()
    }

    /// How many commands it has, and the bytes of their requests.
    pub(super) fn told(&self) -> (u32, usize) {
        (self.commands, self.frames.len())
    }
}

/// Commands that are to be run together.
#[derive(Debug)]
pub struct Transaction {
    frames: Vec<u8>,
    commands: u32,
    is_manifold: bool,
    /// Chosen when they are run.
    database: u16,
    port: Port,
    /// Bytes of the requests that are parsed.
    parsed: usize,
}

impl Transaction {
    pub fn commands(&self) -> u32 {
        self.commands
    }

    /// Memory that it takes.
    pub fn bytes_held(&self) -> usize {
        self.frames.capacity()
    }

    /// Whether it is a few commands that are each done at once, where their keys are.
    pub fn is_short(&self, limits: &Limits) -> bool {
        !self.is_manifold
            && self.commands <= SHORT_COMMANDS
            && self.frames.len() <= limits.value_bytes_inline.min(SHORT_BYTES)
    }

    pub fn is_parsed(&self) -> bool {
        self.parsed == self.frames.len()
    }

    /// Names the keys of all commands, each with its database. Some may be named several times.
    pub fn each_key<'t>(&'t self, limits: &Limits, mut visit: impl FnMut(u16, &'t [u8])) {
        let scratch = Scratch::default();
        let (mut arguments, mut database, mut rest) = (Arguments::default(), self.database, &self.frames[..]);
        while let Step::Complete { consumed } = request::parse(rest, limits.arguments_max, &mut arguments) {
            if let Some((_, row)) = row_of(rest, &arguments) {
                let argument = |index: usize| arguments.spans.get(index).map(|span| span.of(rest));
                // Names of channels belong to slots as keys do, and are none.
                let count = if row.flags.contains(&"pubsub") { 0 } else { arguments.spans.len() };
                let first = argument(1).unwrap_or_default();
                for key in row.keys_of(count, first).filter_map(argument) {
                    visit(database, key);
                }
                let keys = scripting::keys(row, arguments.spans.len(), argument(2));
                keys.filter_map(argument).for_each(|key| visit(database, key));
                // Their subcommands have one.
                if let ("object" | "memory", Some(key)) = (row.name, argument(2)) {
                    visit(database, key);
                }
                if let Run::Joint(read, _) = row.run {
                    let call = Call {
                        row,
                        frame: rest,
                        spans: &arguments.spans,
                        is_escaped: false,
                        scratch: &scratch,
                        now: 0,
                        limits,
                    };
                    // The other database's key is the last one.
                    let key = row.keys.of(arguments.spans.len()).filter_map(argument).next_back();
                    let joint = read(&call, Origin { port: self.port, database });
                    if let (Ok(Joint::Copy { to, .. }), Some(key)) = (joint, key) {
                        visit(to, key);
                    }
                }
                if let ("select", Some(word)) = (row.name, argument(1)) {
                    database = connection::chosen(word, self.port, limits.databases).unwrap_or(database);
                }
            }
            rest = &rest[consumed..];
        }
    }
}

impl Session {
    /// MULTI.
    pub(super) fn begin_queue(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Error> {
        if self.queue.is_some() {
            return Err(Error::NestedMulti);
        }
        self.queue = Some(Box::default());
        self.state = State::Queueing;
        turn.parts.push(call::local(Kind::Multi, &[]));
        Ok(())
    }

    /// EXEC.
    pub(super) fn end_queue(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Error> {
        let Some(queue) = &self.queue else { return Err(Error::ExecWithoutMulti) };
        self.state = State::Exec;
        turn.parts.push(part(Work::Transaction { changes: queue.changes }, Kind::Exec, &[]));
        Ok(())
    }

    /// DISCARD.
    pub(super) fn drop_queue(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Error> {
        if self.queue.take().is_none() {
            return Err(Error::DiscardWithoutMulti);
        }
        self.state = State::Request;
        turn.parts.push(part(Work::Unwatch, Kind::Ok, &[]));
        Ok(())
    }

    /// Between requests: whether they are queued.
    pub(super) fn idle(&self) -> State {
        if self.queue.is_some() { State::Queueing } else { State::Request }
    }

    /// Takes a whole request behind MULTI.
    pub(super) fn enqueue<'a>(&mut self, frame: &'a [u8], arguments: &Arguments, turn: &mut Turn<'_, 'a>) {
        let row = row_of(frame, arguments);
        if exceeds(row.map(|(_, row)| row), arguments, frame.len(), frame.len(), turn.limits) {
            self.close(Error::FrameTooLong, frame.len(), turn);
            return;
        }
        let Some((index, row)) = row else { return self.spoil(Error::UnknownCommand, frame, turn) };
        if !row.takes(arguments.spans.len()) {
            turn.scratch.count(index as u8, Fate::Rejected);
            return self.refuse_arguments(row, frame, turn);
        }
        if row.name == "watch" {
            [Fate::Called, Fate::Failed].into_iter().for_each(|fate| turn.scratch.count(index as u8, fate));
            return turn.error(Error::WatchInMulti, &[]);
        }
        if row.is_run_in_queue() {
            if self.caching != Caching::Not {
                self.pass_caching(row, turn);
            }
            self.run(index, row, frame, arguments, turn);
            return;
        }
        match self.queued(row, frame, arguments, turn) {
            Ok(slot) => turn.parts.push(call::local(Kind::Queued(slot), &[])),
            Err(error) => {
                let word = arguments.spans.get(1).map(|word| word.of(frame)).unwrap_or_default();
                turn.scratch.count(numbers::number_of(index, word), Fate::Rejected);
                self.spoil(error, frame, turn);
            }
        }
    }

    /// Puts a request behind those that are queued. On a shard's own port the slot of its keys is told.
    fn queued(
        &mut self,
        row: &'static Row,
        frame: &[u8],
        arguments: &Arguments,
        turn: &Turn<'_, '_>,
    ) -> Result<Option<u16>, Error> {
        if row.flags.contains(&"no_multi") {
            return Err(Error::NotInTransaction);
        }
        if let Some(word) = arguments.spans.get(1) {
            facts::check_subcommand(row.name, word.of(frame), arguments.spans.len())?;
        }
        if long_value(row, arguments, turn.limits)
            .is_some_and(|value| value.len > turn.limits.value_bytes_max)
        {
            return Err(Error::ValueTooLong);
        }
        let words = (frame[0] != b'*').then(|| request::inline_words(frame, arguments));
        let slot = match self.port {
            Port::Common => None,
            Port::Shard => {
                let argument = |index: usize| match &words {
                    Some(words) => words[index].as_slice(),
                    None => arguments.spans[index].of(frame),
                };
                let count = arguments.spans.len();
                let first = if count > 1 { argument(1) } else { &[] };
                let named = (count > 2).then(|| argument(2));
                let keys = row.keys_of(count, first).chain(scripting::keys(row, count, named));
                let mut slots = keys.map(|index| slot_of(argument(index)));
                let slot = slots.next();
                if slots.any(|other| Some(other) != slot) {
                    return Err(Error::CrossSlot);
                }
                slot
            }
        };
        let Some(queue) = &mut self.queue else { return Err(Error::ExecWithoutMulti) };
        if queue.commands as usize >= turn.limits.arguments_max
            || queue.frames.len().saturating_add(frame.len()) > pairs_bytes_max(turn.limits)
        {
            return Err(Error::TransactionTooLong);
        }
        queue.commands += 1;
        queue.is_manifold |= !row.is_about_keys(arguments.spans.len());
        queue.changes |= row.flags.contains(&"write")
            || matches!(row.run, Run::Script(script) if !script.read_only)
            || matches!(row.name, "publish" | "spublish");
        match words {
            Some(words) => compose::request(&mut queue.frames, &words),
            None => queue.frames.extend_from_slice(frame),
        }
        Ok(slot)
    }

    /// A command has too few or too many arguments. An EXEC that has is one that fails.
    pub(super) fn refuse_arguments<'a>(
        &mut self,
        row: &'static Row,
        frame: &'a [u8],
        turn: &mut Turn<'_, 'a>,
    ) {
        if row.name != "exec" {
            return self.spoil(Error::WrongArguments(row.name), frame, turn);
        }
        (self.queue, self.state) = (None, State::Request);
        turn.parts.push(part(Work::Unwatch, Kind::Silent, &[]));
        turn.error(Error::ExecArguments, frame);
    }

    /// Answers what cannot be queued; EXEC will refuse the whole. What is queued is not needed any more.
    fn spoil<'a>(&mut self, error: Error, frame: &'a [u8], turn: &mut Turn<'_, 'a>) {
        if let Some(queue) = &mut self.queue {
            **queue = Queue { is_spoilt: true, ..Queue::default() };
        }
        turn.error(error, frame);
    }

    /// What can be done about a request behind MULTI that is not all there: a value that is too long is thrown away.
    pub(super) fn incomplete_queued<'a>(
        &mut self,
        place: Option<Place>,
        (rest, missing): (&'a [u8], usize),
        arguments: &Arguments,
        turn: &mut Turn<'_, 'a>,
    ) -> Progress {
        let Some(place) = place.filter(|place| place.len > turn.limits.value_bytes_max) else {
            return Progress::Missing(missing);
        };
        self.spoil(Error::ValueTooLong, rest, turn);
        self.pass_over(arguments, place);
        Progress::Consumed(place.start)
    }

    /// See [`crate::session::Session::take_transaction`].
    pub fn take_transaction(&mut self) -> Option<Transaction> {
        self.state = State::Request;
        let queue = self.queue.take().filter(|queue| !queue.is_spoilt)?;
        let Queue { frames, commands, is_manifold, .. } = *queue;
        let is_moved = self.composer.take_spoilt();
        let (database, port) = (self.database, self.port);
        let transaction = Transaction { frames, commands, is_manifold, database, port, parsed: 0 };
        (!is_moved).then_some(transaction)
    }

    /// See [`crate::session::Session::replay`].
    pub fn replay<'a>(
        &mut self,
        transaction: &'a mut Transaction,
        scratch: &'a Scratch,
        now: Millis,
        limits: &Limits,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) {
        if self.guarded {
            self.settle();
        }
        // Whoever queues commands is through: a password among them is looked at as it is run.
        let limits = &Limits { has_password: false, ..*limits };
        let mut turn = Turn { is_replay: true, ..Turn::new(scratch, now, limits, parts, parts_max) };
        // Step by step: the quick way for small requests stays in the one place where it counts.
        let Transaction { frames, parsed, .. } = transaction;
        let frames: &'a [u8] = frames;
        while *parsed < frames.len() && turn.parts.len() < turn.parts_max {
            match self.step(&frames[*parsed..], false, &mut turn) {
                Progress::Consumed(consumed) => *parsed += consumed,
                // Each request is whole.
                Progress::Missing(_) | Progress::Halted => *parsed = frames.len(),
            }
        }
        self.set_database(&mut turn);
    }
}

impl Row {
    /// Whether each of its parts is about one of the keys that stand in it, and is done at once where that key is.
    fn is_about_keys(&self, arguments: usize) -> bool {
        let is_of_parts = matches!(self.run, Run::Parts(_) | Run::Keys(..) | Run::Store(_));
        is_of_parts && self.keys.of(arguments).next().is_some() && !self.flags.contains(&"pubsub")
    }

    /// Whether it is run at once though commands are queued.
    fn is_run_in_queue(&self) -> bool {
        matches!(self.run, Run::Queue(_) | Run::Quit) || self.name == "reset"
    }
}
