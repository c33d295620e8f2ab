//! Values too long to be buffered, and requests whose rest is thrown away: what lasts over many inputs.

use super::call::{Call, part};
use super::error::Error;
use super::hand_out::Several;
use super::lengths::Place;
use super::numbers::number_of;
use super::options::{Dialect, Options, Unit};
use super::reply_kind::Kind;
use super::row::{Row, Run, Values};
use super::storage::Storage;
use super::strings::set_kind;
use super::turn::Turn;
use super::{Progress, Session};
use crate::session::calls::Fate;
use crate::session::part::Work;
use torc_engine::command::{Expiry, WriteMode};
use torc_proto::resp::compose::Version;
use torc_proto::resp::request::{self, Arguments, Step};

/// Where in the input the session stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum State {
    /// Before a request.
    #[default]
    Request,
    /// Within a value that is received in slices.
    Value(Value),
    /// Behind such a value, before the options that follow it.
    Options(Value),
    /// Within a request that was already answered: `bytes` of an argument, then whole arguments.
    Skip { bytes: u64, arguments: usize },
    /// Within a request of several keys, of which some are handed out.
    Several(Several),
    /// Before a request that is queued: behind MULTI.
    Queueing,
    /// Behind EXEC, before its transaction has been taken.
    Exec,
    /// Before a request of a client that has to give a password first.
    Locked {
        /// Requests that it was refused for want of one.
        refused: u8,
    },
    /// Behind a password that is looked at.
    Entering {
        /// How is answered what comes behind it, if it is right.
        version: Version,
        /// As of a client that has to give one first; `None`: it has given one before.
        refused: Option<u8>,
    },
    /// Nothing more is looked at.
    Closed,
}

/// A value under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    /// Bytes of the value that are not here yet.
    left: u64,
    /// Bytes of its line end that are not here yet.
    line_end: u64,
    /// Arguments behind it.
    arguments: usize,
    mode: WriteMode,
    want_old: bool,
    to_live_ms: Option<i64>,
    kind: Kind,
    command: &'static str,
}

impl Session {
    /// Begins a long value at its place in the frame, or refuses its request and throws away the rest of it.
    pub(super) fn begin<'a>(
        &mut self,
        (command, row): (usize, &'static Row),
        frame: &'a [u8],
        arguments: &Arguments,
        Place { index, start, len }: Place,
        turn: &mut Turn<'_, 'a>,
    ) {
        self.command = number_of(command, &[]);
        turn.scratch.count(self.command, Fate::Called);
        let spans = arguments.spans.get(..index).unwrap_or_default();
        let behind = arguments.announced.saturating_sub(index + 1);
        let (scratch, now, limits) = (turn.scratch, turn.now, turn.limits);
        let call = Call { row, frame, spans, is_escaped: false, scratch, now, limits };
        if scratch.is_noting() {
            self.note(&call);
        }
        match storage(&call, len) {
            Err(error) => {
                turn.scratch.count(self.command, Fate::Failed);
                turn.error(error, &frame[..start]);
                self.pass_over(arguments, Place { index, start, len });
            }
            Ok(storage) => {
                let work = Work::ValueBegin { command: storage.command(&[], Expiry::Never), bytes: len };
                turn.parts.push(part(work, storage.kind, &[]));
                self.state = State::Value(Value {
                    left: len,
                    line_end: 2,
                    arguments: behind,
                    mode: storage.mode,
                    want_old: storage.want_old,
                    to_live_ms: storage.to_live_ms,
                    kind: storage.kind,
                    command: row.name,
                });
            }
        }
    }

    /// Throws away a long value and what is behind it: its request is answered.
    pub(super) fn pass_over(&mut self, arguments: &Arguments, Place { index, len, .. }: Place) {
        let behind = arguments.announced.saturating_sub(index + 1);
        self.state = State::Skip { bytes: len + 2, arguments: behind };
    }

    /// Goes on where the last input ended.
    pub(super) fn stream<'a>(&mut self, rest: &'a [u8], turn: &mut Turn<'_, 'a>) -> Progress {
        match self.state {
            State::Value(value) if value.left > 0 => {
                let len = rest.len().min(usize::try_from(value.left).unwrap_or(usize::MAX));
                turn.parts.push(part(Work::ValueData(&rest[..len]), value.kind, &[]));
                self.state = State::Value(Value { left: value.left - len as u64, ..value });
                Progress::Consumed(len)
            }
            State::Value(mut value) => {
                let len = rest.len().min(value.line_end as usize);
                value.line_end -= len as u64;
                self.state = match value {
                    Value { line_end: 1.., .. } => State::Value(value),
                    Value { arguments: 1.., .. } => State::Options(value),
                    _ => {
                        end(&value, Ok(Options::default()), turn);
                        State::Request
                    }
                };
                Progress::Consumed(len)
            }
            State::Options(value) => self.options(value, rest, turn),
            State::Skip { bytes, arguments } => self.skip(bytes, arguments, rest, turn),
            State::Request
            | State::Several(_)
            | State::Queueing
            | State::Exec
            | State::Locked { .. }
            | State::Entering { .. }
            | State::Closed => Progress::Consumed(0),
        }
    }

    /// See [`crate::session::Session::value_left`].
    pub fn value_left(&self) -> u64 {
        match self.state {
            State::Value(value) => value.left,
            _ => 0,
        }
    }

    /// See [`crate::session::Session::value_passed`].
    pub fn value_passed(&mut self, bytes: u64) {
        if let State::Value(value) = &mut self.state {
            value.left = value.left.saturating_sub(bytes);
        }
    }

    /// The options behind a value: the value ends when all are here.
    fn options<'a>(&mut self, value: Value, rest: &'a [u8], turn: &mut Turn<'_, 'a>) -> Progress {
        let mut arguments = std::mem::take(&mut self.arguments);
        let step = request::parse_bulks(rest, value.arguments, &mut arguments);
        let frame_max = turn.limits.frame_bytes_max;
        let progress = match step {
            Step::Incomplete { missing } if rest.len().saturating_add(missing) <= frame_max => {
                Progress::Missing(missing)
            }
            Step::Complete { consumed } | Step::Empty { consumed } if consumed <= frame_max => {
                let words = arguments.spans.iter().map(|span| span.of(rest));
                end(&value, Options::parse(words, Dialect::Set), turn);
                self.state = State::Request;
                Progress::Consumed(consumed)
            }
            step => {
                turn.parts.push(part(Work::ValueAbort, Kind::Silent, &[]));
                let error = match step {
                    Step::Invalid(error) => Error::Protocol(error),
                    _ => Error::FrameTooLong,
                };
                self.close(error, rest.len(), turn)
            }
        };
        self.arguments = arguments;
        progress
    }

    fn skip(&mut self, bytes: u64, arguments: usize, rest: &[u8], turn: &mut Turn<'_, '_>) -> Progress {
        if bytes > 0 {
            let len = rest.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.state = State::Skip { bytes: bytes - len as u64, arguments };
            self.leave_skip();
            return Progress::Consumed(len);
        }
        match request::bulk_header(rest) {
            Ok(None) => Progress::Missing(1),
            Ok(Some((header, len))) => {
                self.state = State::Skip { bytes: len + 2, arguments: arguments.saturating_sub(1) };
                Progress::Consumed(header)
            }
            Err(error) => self.close(Error::Protocol(error), rest.len(), turn),
        }
    }

    fn leave_skip(&mut self) {
        if let State::Skip { bytes: 0, arguments: 0 } = self.state {
            self.state = self.idle();
        }
    }
}

/// What stands before the value.
fn storage<'a>(call: &Call<'_, 'a>, len: u64) -> Result<Storage<'a>, Error> {
    match call.row.run {
        _ if call.row.values == Values::Pairs => Err(Error::PairsTooLong),
        _ if len > call.limits.value_bytes_max => Err(Error::ValueTooLong),
        Run::Store(storage) => {
            let storage = storage(call)?;
            storage.fits(len, call.limits)?;
            Ok(storage)
        }
        _ => Err(Error::ValueTooLong),
    }
}

/// The end of a value: it is stored as its options say, or dropped if they are wrong.
fn end(value: &Value, options: Result<Options<'_>, Error>, turn: &mut Turn<'_, '_>) {
    match finished(value, options, turn.now) {
        Ok((work, kind)) => turn.parts.push(part(work, kind, &[])),
        Err(error) => turn.parts.push(part(Work::ValueAbort, Kind::Error(error), &[])),
    }
}

fn finished<'a>(
    value: &Value,
    options: Result<Options<'_>, Error>,
    now: u64,
) -> Result<(Work<'a>, Kind), Error> {
    let options = options?;
    if options.equal.is_some() {
        return Err(Error::ComparedTooLong);
    }
    if value.arguments > 0 {
        let work = Work::ValueEndWith {
            mode: options.mode(),
            expiry: options.set_expiry(now)?,
            want_old: options.get,
        };
        return Ok((work, set_kind(options.get)));
    }
    let Some(ms) = value.to_live_ms else {
        return Ok((Work::ValueEnd, value.kind));
    };
    // Time to live runs from when the value is whole.
    let moment = Unit::Millis.moment(ms, now).ok_or(Error::InvalidExpire(value.command))?;
    let work = Work::ValueEndWith {
        mode: value.mode,
        expiry: Expiry::At(moment.unsigned_abs()),
        want_old: value.want_old,
    };
    Ok((work, value.kind))
}
