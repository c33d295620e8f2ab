//! The INCR family.

use super::call::{Call, Error, keyed};
use super::reply::Kind;
use crate::session::Part;
use torc_engine::command::{Arithmetic, Delta, Expiry, Number, Op};

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
    let step = float(call.argument(2)).ok_or(Error::NotAFloat)?;
    if !step.is_finite() {
        return Err(Error::NotFinite);
    }
    let op = arithmetic(Delta::Float(step), Number::Float(step));
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

/// A decimal number, or an infinity.
fn float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|number: &f64| !number.is_nan())
}
