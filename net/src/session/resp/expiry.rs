//! EXPIRE and TTL in all their units.

use super::call::{Call, keyed};
use super::error::Error;
use super::options::Unit;
use super::reply_kind::{Clock, Kind};
use crate::session::part::Part;
use torc_engine::command::{Expire, ExpireCondition, Expiry, Op, Read};

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

pub(super) fn expire<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    change(call, parts, Unit::Seconds)
}

pub(super) fn pexpire<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    change(call, parts, Unit::Millis)
}

pub(super) fn expireat<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    change(call, parts, Unit::UnixSeconds)
}

pub(super) fn pexpireat<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    change(call, parts, Unit::UnixMillis)
}

fn change<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>, unit: Unit) -> Result<(), Error> {
    let key = call.key(1)?;
    let condition = condition(call)?;
    let number = call.integer(2)?;
    let moment = unit.moment(number, call.now).ok_or(Error::InvalidExpire(call.row.name))?;
    // A time before the epoch is as past as its first millisecond.
    let expiry = Expiry::At(u64::try_from(moment).unwrap_or(0));
    parts.push(keyed(key, Op::Expire(Expire { expiry, condition, leases: false }), Kind::Changed));
    Ok(())
}

fn condition(call: &Call<'_, '_>) -> Result<ExpireCondition, Error> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for (index, word) in call.arguments_from(3).enumerate() {
        match () {
            () if word.eq_ignore_ascii_case(b"NX") => nx = true,
            () if word.eq_ignore_ascii_case(b"XX") => xx = true,
            () if word.eq_ignore_ascii_case(b"GT") => gt = true,
            () if word.eq_ignore_ascii_case(b"LT") => lt = true,
            () => return Err(Error::UnsupportedOption(3 + index as u32)),
        }
    }
    if nx && (xx || gt || lt) {
        return Err(Error::IncompatibleNx);
    }
    if gt && lt {
        return Err(Error::IncompatibleGtLt);
    }
    Ok(match (nx, xx, gt, lt) {
        (true, ..) => ExpireCondition::Unset,
        (_, true, true, _) => ExpireCondition::SetAndLater,
        (_, true, _, true) => ExpireCondition::SetAndEarlier,
        (_, true, ..) => ExpireCondition::Set,
        (_, _, true, _) => ExpireCondition::Later,
        (_, _, _, true) => ExpireCondition::Earlier,
        _ => ExpireCondition::Always,
    })
}

pub(super) fn persist<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let op = Op::Expire(Expire { expiry: Expiry::Never, condition: ExpireCondition::Set, leases: false });
    parts.push(keyed(call.key(1)?, op, Kind::Changed));
    Ok(())
}

pub(super) fn ttl<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    tell(call, parts, Clock { absolute: false, seconds: true })
}

pub(super) fn pttl<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    tell(call, parts, Clock { absolute: false, seconds: false })
}

pub(super) fn expiretime<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    tell(call, parts, Clock { absolute: true, seconds: true })
}

pub(super) fn pexpiretime<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    tell(call, parts, Clock { absolute: true, seconds: false })
}

fn tell<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>, clock: Clock) -> Result<(), Error> {
    parts.push(keyed(call.key(1)?, Op::Read(Read { peek: true, ..Read::default() }), Kind::Expiry(clock)));
    Ok(())
}
