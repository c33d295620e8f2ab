//! Commands about several keys that are done as one: MSETNX, MSETEX, RENAME, RENAMENX, COPY, MOVE; and their words.

use super::call::Call;
use super::error::Error;
use super::options::{Dialect, Options};
use super::row::Origin;
use super::several;
use crate::session::joint::{IfThere, Joint};
use crate::session::protocol::Port;
use torc_engine::words;
use torc_proto::resp::parse_i64;

pub(super) fn msetnx(call: &Call<'_, '_>, _: Origin) -> Result<Joint, Error> {
    several::check_pairs(call)?;
    Ok(Joint::SetIfNone)
}

/// `MSETEX numkeys key value ... [NX|XX] [EX|PX|EXAT|PXAT time|KEEPTTL]`, as Redis 8.4 and Valkey 9.1 have it.
pub(super) fn msetex(call: &Call<'_, '_>, _: Origin) -> Result<Joint, Error> {
    let pairs = parse_i64(call.argument(1)).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let pairs = usize::try_from(pairs.ok_or(Error::KeyCount)?).unwrap_or(usize::MAX);
    if pairs > (call.len() - 2) / 2 {
        return Err(Error::PairCount);
    }
    for index in call.keys() {
        call.key(index)?;
        if call.argument(index + 1).len() as u64 > call.limits.value_bytes_max {
            return Err(Error::ValueTooLong);
        }
    }
    let options = Options::parse(call.arguments_from(2 + 2 * pairs), Dialect::Set)?;
    if options.get || options.equal.is_some() {
        return Err(Error::Syntax);
    }
    let condition = match (options.add, options.replace) {
        (true, _) => Some(IfThere::None),
        (_, true) => Some(IfThere::All),
        _ => None,
    };
    Ok(Joint::Set { condition, expiry: options.expiry(call.now, call.row.name)? })
}

pub(super) fn rename(call: &Call<'_, '_>, origin: Origin) -> Result<Joint, Error> {
    several::check(call)?;
    Ok(Joint::Copy { to: origin.database, replaces: true, removes: true })
}

pub(super) fn renamenx(call: &Call<'_, '_>, origin: Origin) -> Result<Joint, Error> {
    several::check(call)?;
    Ok(Joint::Copy { to: origin.database, replaces: false, removes: true })
}

pub(super) fn copy(call: &Call<'_, '_>, origin: Origin) -> Result<Joint, Error> {
    several::check(call)?;
    let (mut to, mut replaces) = (origin.database, false);
    let mut index = 3;
    while index < call.len() {
        let option = call.argument(index);
        if option.eq_ignore_ascii_case(b"REPLACE") {
            replaces = true;
        } else if option.eq_ignore_ascii_case(b"DB") && index + 1 < call.len() {
            to = database(call, index + 1)?;
            index += 1;
        } else {
            return Err(Error::Syntax);
        }
        index += 1;
    }
    if origin.port == Port::Shard && to != 0 {
        return Err(Error::CopyInCluster);
    }
    match to == origin.database && call.argument(1) == call.argument(2) {
        true => Err(Error::SameObject),
        false => Ok(Joint::Copy { to, replaces, removes: false }),
    }
}

pub(super) fn move_to(call: &Call<'_, '_>, origin: Origin) -> Result<Joint, Error> {
    several::check(call)?;
    if origin.port == Port::Shard {
        return Err(Error::MoveInCluster);
    }
    let to = database(call, 2)?;
    match to == origin.database {
        true => Err(Error::SameObject),
        false => Ok(Joint::Copy { to, replaces: false, removes: true }),
    }
}

/// A database that an argument names.
fn database(call: &Call<'_, '_>, index: usize) -> Result<u16, Error> {
    let number = parse_i64(call.argument(index)).ok_or(Error::NotAnInteger)?;
    let number = i32::try_from(number).map_err(|_| Error::NotA32BitNumber)?;
    u16::try_from(number).ok().filter(|number| *number < call.limits.databases).ok_or(Error::NoDatabase)
}

/// The words that it is about: keys and their values; or the key of the item, and the one that it gets; or keys alone.
pub(super) fn words_of(call: &Call<'_, '_>, joint: Joint) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |word: &[u8]| {
        words::begin(word.len() as u32, &mut all);
        all.extend_from_slice(word);
    };
    match joint {
        Joint::SetIfNone => call.arguments_from(1).for_each(add),
        Joint::Set { .. } => call.keys().for_each(|index| {
            add(call.argument(index));
            add(call.argument(index + 1));
        }),
        Joint::Combine(_) | Joint::Compare(_) => call.keys().for_each(|index| add(call.argument(index))),
        Joint::Copy { .. } => {
            add(call.argument(1));
            // MOVE names one key.
            add(call.argument(if call.row.keys.last == 1 { 1 } else { 2 }));
        }
    }
    all
}
