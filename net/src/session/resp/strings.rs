//! Commands on one value: GET, SET and their relatives.

use super::call::{Call, keyed};
use super::error::Error;
use super::options::{Dialect, Options, Time, Unit};
use super::reply_kind::Kind;
use super::storage::Storage;
use crate::session::part::Part;
use torc_engine::command::{Delete, Expiry, IfEqual, Op, Read, Then, Write, WriteMode};

/// How GET looks.
pub(super) const READ: Op<'static> = Op::Read(Read::PLAIN);

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

pub(super) fn value<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    parts.push(keyed(call.key(1)?, Op::Read(Read::default()), Kind::Value));
    Ok(())
}

pub(super) fn strlen<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    parts.push(keyed(call.key(1)?, Op::Read(Read::default()), Kind::Length));
    Ok(())
}

pub(super) fn getrange<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let key = call.key(1)?;
    let kind = Kind::Range { start: call.integer(2)?, end: call.integer(3)? };
    parts.push(keyed(key, Op::Read(Read::default()), kind));
    Ok(())
}

pub(super) fn getdel<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let op = Op::Delete(Delete { want_old: true, ..Delete::default() });
    parts.push(keyed(call.key(1)?, op, Kind::Value));
    Ok(())
}

pub(super) fn delifeq<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let bytes = call.argument(2);
    // A request is far shorter than 4 GiB.
    let ask = IfEqual { bytes, expected_len: bytes.len() as u32, then: Then::Delete };
    parts.push(keyed(call.key(1)?, Op::IfEqual(ask), Kind::Changed));
    Ok(())
}

pub(super) fn getex<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let key = call.key(1)?;
    let options = Options::parse(call.arguments_from(2), Dialect::GetEx)?;
    let expiry = match options.time {
        Some(time) => time.expiry(call.now, call.row.name),
        None if options.persist => Ok(Expiry::Never),
        None => Ok(Expiry::Keep),
    };
    parts.push(match expiry {
        Ok(expiry) => keyed(key, Op::Read(Read { expiry, ..Read::default() }), Kind::Value),
        // Redis looks for the key first: without one, a wrong time is no error.
        Err(error) => keyed(key, Op::Read(Read { peek: true, ..Read::default() }), Kind::NullOr(error)),
    });
    Ok(())
}

/// A value that is here, short enough for one part, behind what `storage` says.
pub(super) fn store_one<'a>(
    call: &Call<'_, 'a>,
    parts: Parts<'_, 'a>,
    mut storage: Storage<'a>,
    value_index: usize,
) -> Result<(), Error> {
    let mut expiry = Expiry::Never;
    if storage.options && call.len() > value_index + 1 {
        let options = Options::parse(call.arguments_from(value_index + 1), Dialect::Set)?;
        expiry = options.set_expiry(call.now)?;
        storage.mode = options.mode();
        storage.want_old = options.get;
        storage.kind = set_kind(options.get);
        if let Some(expected) = options.equal {
            let then = Then::Write { expiry, want_old: options.get };
            let bytes = [expected, call.argument(value_index)].concat();
            let ask = IfEqual { bytes: call.scratch.keep(&bytes), expected_len: expected.len() as u32, then };
            parts.push(keyed(storage.key, Op::IfEqual(ask), storage.kind));
            return Ok(());
        }
    } else if let Some(ms) = storage.to_live_ms {
        expiry = moment(ms, call)?;
    }
    let value = call.argument(value_index);
    if storage.offset.is_some() && value.is_empty() {
        parts.push(keyed(storage.key, Op::Read(Read::LOOK), Kind::Length));
        return Ok(());
    }
    storage.fits(value.len() as u64, call.limits)?;
    let command = storage.command(value, expiry);
    parts.push(keyed(command.key, command.op, storage.kind));
    Ok(())
}

fn moment(to_live_ms: i64, call: &Call<'_, '_>) -> Result<Expiry, Error> {
    Unit::Millis
        .moment(to_live_ms, call.now)
        .map(|moment| Expiry::At(moment.unsigned_abs()))
        .ok_or(Error::InvalidExpire(call.row.name))
}

/// How SET is answered.
pub(super) fn set_kind(get: bool) -> Kind {
    if get { Kind::StoredOld } else { Kind::Stored }
}

pub(super) fn set<'a>(call: &Call<'_, 'a>) -> Result<Storage<'a>, Error> {
    Ok(Storage { options: true, ..Storage::new(call.key(1)?, Kind::Stored) })
}

pub(super) fn setex<'a>(call: &Call<'_, 'a>) -> Result<Storage<'a>, Error> {
    set_to_live(call, Unit::Seconds)
}

pub(super) fn psetex<'a>(call: &Call<'_, 'a>) -> Result<Storage<'a>, Error> {
    set_to_live(call, Unit::Millis)
}

fn set_to_live<'a>(call: &Call<'_, 'a>, unit: Unit) -> Result<Storage<'a>, Error> {
    let key = call.key(1)?;
    let time = Time { unit, digits: call.argument(2) };
    let Expiry::At(moment) = time.expiry(call.now, call.row.name)? else {
        return Err(Error::InvalidExpire(call.row.name));
    };
    let to_live_ms = i64::try_from(moment.saturating_sub(call.now)).ok();
    Ok(Storage { to_live_ms, ..Storage::new(key, Kind::Stored) })
}

pub(super) fn setnx<'a>(call: &Call<'_, 'a>) -> Result<Storage<'a>, Error> {
    Ok(Storage { mode: WriteMode::Add, ..Storage::new(call.key(1)?, Kind::StoredFlag) })
}

pub(super) fn getset<'a>(call: &Call<'_, 'a>) -> Result<Storage<'a>, Error> {
    Ok(Storage { want_old: true, ..Storage::new(call.key(1)?, Kind::StoredOld) })
}

pub(super) fn append<'a>(call: &Call<'_, 'a>) -> Result<Storage<'a>, Error> {
    let vivify = Some(Expiry::Never);
    Ok(Storage { mode: WriteMode::Append, vivify, ..Storage::new(call.key(1)?, Kind::StoredLength) })
}

pub(super) fn setrange<'a>(call: &Call<'_, 'a>) -> Result<Storage<'a>, Error> {
    let offset = u64::try_from(call.integer(2)?).map_err(|_| Error::OffsetOutOfRange)?;
    Ok(Storage { offset: Some(offset), ..Storage::new(call.key(1)?, Kind::StoredLength) })
}

/// The part of a `SET key value` without options.
#[inline]
pub(super) fn plain_set<'a>(key: &'a [u8], value: &'a [u8]) -> Part<'a> {
    keyed(key, Op::Write(Write::set(value)), Kind::Stored)
}
