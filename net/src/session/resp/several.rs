//! Commands of several keys: one after the other, as many at a time as there is room for.
//!
//! What is wrong with a request is found before its first key is handed out. A request of which keys are left stays in
//! the input, and the places of its arguments stay in the session, so that it is not read again.

use super::call::{Call, Error, Plan, Position, keyed, part};
use super::reply::Kind;
use super::table::{Row, Run};
use super::{Progress, Session, State, Turn};
use crate::session::{Part, Work};
use torc_engine::command::{Delete, Expiry, Op, Read};

/// A request at the start of the input of which some keys are handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Several {
    row: &'static Row,
    bytes: usize,
    keys_done: usize,
}

impl Session {
    /// Appends the parts of a command's keys behind the first `done`, as far as there is room. Says how many bytes are
    /// worked off: none before the last key.
    pub(super) fn hand_out<'a>(
        &mut self,
        call: &Call<'_, 'a>,
        done: usize,
        turn: &mut Turn<'_, 'a>,
    ) -> usize {
        self.state = State::Request;
        let Run::Keys(_, append) = call.row.run else { return call.frame.len() };
        let count = call.row.keys.of(call.len()).len();
        for (number, index) in (done..).zip(call.row.keys.behind(done, call.len())) {
            if turn.parts.len() >= turn.parts_max {
                let (row, bytes) = (call.row, call.frame.len());
                self.state = State::Several(Several { row, bytes, keys_done: number });
                return 0;
            }
            append(call, index, Position::of(number, count), turn.parts);
        }
        call.frame.len()
    }

    /// Goes on with a request that is offered again.
    pub(super) fn go_on<'a>(
        &mut self,
        several: Several,
        rest: &'a [u8],
        turn: &mut Turn<'_, 'a>,
    ) -> Progress {
        let Some(frame) = rest.get(..several.bytes) else {
            return Progress::Missing(several.bytes - rest.len());
        };
        let arguments = std::mem::take(&mut self.arguments);
        let call = turn.call(several.row, frame, &arguments);
        let consumed = self.hand_out(&call, several.keys_done, turn);
        self.put_back(arguments);
        Progress::Consumed(consumed)
    }
}

/// Nothing but keys: none is too long.
pub(super) fn check(call: &Call<'_, '_>) -> Result<(), Error> {
    call.row.keys.of(call.len()).try_for_each(|index| call.key(index).map(|_| ()))
}

/// Keys with their values.
pub(super) fn check_pairs(call: &Call<'_, '_>) -> Result<(), Error> {
    if call.len().is_multiple_of(2) {
        return Err(Error::WrongArguments(call.row.name));
    }
    check(call)?;
    let too_long = |index: usize| call.argument(index + 1).len() as u64 > call.limits.value_bytes_max;
    if call.row.keys.of(call.len()).any(too_long) { Err(Error::ValueTooLong) } else { Ok(()) }
}

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

pub(super) fn mget<'a>(call: &Call<'_, 'a>, index: usize, position: Position, parts: Parts<'_, 'a>) {
    // The count is at most `arguments_max`, which is an `int` in the protocol.
    let header = if position.first { (call.len() - 1) as u32 } else { 0 };
    let kind = Kind::Element { header, last: position.last };
    parts.push(keyed(call.argument(index), Op::Read(Read::default()), kind));
}

pub(super) fn del<'a>(call: &Call<'_, 'a>, index: usize, position: Position, parts: Parts<'_, 'a>) {
    parts.push(keyed(call.argument(index), Op::Delete(Delete::default()), Kind::Count(position)));
}

pub(super) fn exists<'a>(call: &Call<'_, 'a>, index: usize, position: Position, parts: Parts<'_, 'a>) {
    let read = Read { peek: true, ..Read::default() };
    parts.push(keyed(call.argument(index), Op::Read(read), Kind::Count(position)));
}

pub(super) fn touch<'a>(call: &Call<'_, 'a>, index: usize, position: Position, parts: Parts<'_, 'a>) {
    parts.push(keyed(call.argument(index), Op::Read(Read::default()), Kind::Count(position)));
}

/// A value in one part, or as an upload if it is long.
pub(super) fn mset<'a>(call: &Call<'_, 'a>, index: usize, position: Position, parts: Parts<'_, 'a>) {
    let plan = Plan::new(call.argument(index), Kind::StoredAll(position));
    let value = call.argument(index + 1);
    if value.len() <= call.limits.value_bytes_inline {
        let command = plan.command(value, Expiry::Never);
        parts.push(keyed(command.key, command.op, plan.kind));
        return;
    }
    let begin = Work::ValueBegin { command: plan.command(&[], Expiry::Never), bytes: value.len() as u64 };
    for work in [begin, Work::ValueData(value), Work::ValueEnd] {
        parts.push(part(work, plan.kind, &[]));
    }
}
