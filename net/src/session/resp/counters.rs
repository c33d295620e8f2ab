//! The INCR family.

use super::call::{Call, keyed};
use super::error::Error;
use super::reply_kind::Kind;
use crate::session::part::Part;
use torc_engine::command::{Arithmetic, Delta, Expiry, Number, Op};
use torc_engine::extended::Extended;

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

pub(super) fn incr<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    add(call, parts, 1)
}

pub(super) fn decr<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    add(call, parts, -1)
}

pub(super) fn incrby<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    add(call, parts, call.integer(2)?)
}

pub(super) fn decrby<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    add(call, parts, call.integer(2)?.checked_neg().ok_or(Error::DecrementOverflow)?)
}

fn add<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>, step: i64) -> Result<(), Error> {
    let op = arithmetic(Delta::Signed(step), Number::Signed(step));
    parts.push(keyed(call.key(1)?, op, Kind::Number));
    Ok(())
}

pub(super) fn incrbyfloat<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    // An infinity is accepted here, and refused by the shard: an old value that is no number is the first error to tell.
    let step = Extended::parse(call.argument(2)).ok_or(Error::NotAFloat)?;
    let op = arithmetic(Delta::Extended(step), Number::Extended(step));
    parts.push(keyed(call.key(1)?, op, Kind::Float));
    Ok(())
}

/// A counter starts at zero, so a first step makes it the step's own size.
fn arithmetic<'a>(delta: Delta, first: Number) -> Op<'a> {
    Op::Arithmetic(Arithmetic {
        delta,
        initial: Some((first, Expiry::Never)),
        expiry: Expiry::Keep,
        compare: None,
        token: None,
        leases: false,
    })
}
