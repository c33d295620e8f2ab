//! Commands about several keys that are done as one: MSETNX, RENAME, RENAMENX, COPY, MOVE.

use super::call::Call;
use super::error::Error;
use super::row::Origin;
use super::several;
use crate::session::part::Joint;
use crate::session::protocol::Port;
use torc_engine::words;
use torc_proto::resp::parse_i64;

pub(super) fn msetnx(call: &Call<'_, '_>, _: Origin) -> Result<Joint, Error> {
    several::check_pairs(call)?;
    Ok(Joint::SetIfNone)
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

/// The words that it is about: keys and their values; or the key of the item, and the one that it gets.
pub(super) fn words_of(call: &Call<'_, '_>, joint: Joint) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |word: &[u8]| {
        words::begin(word.len() as u32, &mut all);
        all.extend_from_slice(word);
    };
    match joint {
        Joint::SetIfNone => call.arguments_from(1).for_each(add),
        Joint::Copy { .. } => {
            add(call.argument(1));
            // MOVE names one key.
            add(call.argument(if call.row.keys.last == 1 { 1 } else { 2 }));
        }
    }
    all
}
