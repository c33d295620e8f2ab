//! Commands on keys, whatever their values are.

use super::call::{Call, keyed, part};
use super::error::Error;
use super::reply_kind::Kind;
use crate::session::part::{DatabasesChange, Part, Work};
use crate::session::walk::Over;
use torc_engine::command::{Op, Read};
use torc_proto::resp::parse_i64;

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

pub(super) fn type_of<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    parts.push(keyed(call.key(1)?, Op::Read(Read { peek: true, ..Read::default() }), Kind::Type));
    Ok(())
}

pub(super) fn flush<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    check_flush(call)?;
    parts.push(part(Work::Flush { at: None }, Kind::Flushed, &[]));
    Ok(())
}

pub(super) fn flush_database<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    check_flush(call)?;
    // The session knows which one is chosen.
    let change = DatabasesChange::Flush { database: 0 };
    parts.push(part(Work::Databases(change), Kind::Flushed, &[]));
    Ok(())
}

pub(super) fn swap<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let number = |index, error| {
        let number = parse_i64(call.argument(index)).and_then(|number| i32::try_from(number).ok());
        number.ok_or(error)
    };
    let (one, other) = (number(1, Error::FirstDatabase)?, number(2, Error::SecondDatabase)?);
    let there = |number| u16::try_from(number).ok().filter(|number| *number < call.limits.databases);
    let (Some(one), Some(other)) = (there(one), there(other)) else { return Err(Error::NoDatabase) };
    parts.push(part(Work::Databases(DatabasesChange::Swap { one, other }), Kind::Flushed, &[]));
    Ok(())
}

fn check_flush(call: &Call<'_, '_>) -> Result<(), Error> {
    let word = call.argument(1);
    let known = word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC");
    if call.len() > 2 || (call.len() == 2 && !known) {
        return Err(Error::Syntax);
    }
    Ok(())
}

/// Keys that one step of a SCAN looks at when the client says nothing.
const SCAN_COUNT: u32 = 10;

pub(super) fn scan<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let cursor = cursor(call.argument(1)).ok_or(Error::InvalidCursor)?;
    let mut count = SCAN_COUNT;
    let mut pattern = None;
    let mut strings = true;
    for index in (2..call.len()).step_by(2) {
        let option = call.argument(index);
        if index + 1 == call.len() {
            return Err(Error::Syntax);
        }
        if option.eq_ignore_ascii_case(b"COUNT") {
            count = match call.integer(index + 1)? {
                number @ 1.. => u32::try_from(number).unwrap_or(u32::MAX),
                _ => return Err(Error::Syntax),
            };
        } else if option.eq_ignore_ascii_case(b"MATCH") {
            pattern = Some(call.argument(index + 1));
        } else if option.eq_ignore_ascii_case(b"TYPE") {
            strings = call.argument(index + 1).eq_ignore_ascii_case(b"string");
        } else {
            return Err(Error::Syntax);
        }
    }
    let kind = Kind::Keys { pattern: pattern.is_some(), strings };
    parts.push(part(Work::Scan { database: 0, cursor, count }, kind, pattern.unwrap_or_default()));
    Ok(())
}

pub(super) fn keys<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    walk(Over::Keys, call.argument(1), parts);
    Ok(())
}

pub(super) fn dbsize<'a>(_: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    walk(Over::Count, &[], parts);
    Ok(())
}

pub(super) fn random_key<'a>(_: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    walk(Over::AnyKey, &[], parts);
    Ok(())
}

/// Appends a walk over all shards.
pub(super) fn walk<'a>(over: Over, echo: &'a [u8], parts: Parts<'_, 'a>) {
    parts.push(part(Work::Walk { database: 0, over }, Kind::Walked(over), echo));
}

fn cursor(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
