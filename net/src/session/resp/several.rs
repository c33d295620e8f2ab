//! Commands of several keys: what is wrong with one, and the parts of one of its keys.

use super::call::{Call, keyed, part};
use super::error::Error;
use super::reply_kind::{Kind, Position};
use super::storage::Storage;
use crate::session::part::{Part, Work};
use torc_engine::command::{Delete, Expiry, Op, Read};

/// Nothing but keys, or names of channels: none is too long.
pub(super) fn check(call: &Call<'_, '_>) -> Result<(), Error> {
    call.row.handed_out().of(call.len()).try_for_each(|index| call.key(index).map(|_| ()))
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
    let storage = Storage::new(call.argument(index), Kind::StoredAll(position));
    let value = call.argument(index + 1);
    if value.len() <= call.limits.value_bytes_inline {
        let command = storage.command(value, Expiry::Never);
        parts.push(keyed(command.key, command.op, storage.kind));
        return;
    }
    let begin = Work::ValueBegin { command: storage.command(&[], Expiry::Never), bytes: value.len() as u64 };
    for work in [begin, Work::ValueData(value), Work::ValueEnd] {
        parts.push(part(work, storage.kind, &[]));
    }
}
