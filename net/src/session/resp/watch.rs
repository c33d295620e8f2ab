//! WATCH and UNWATCH: what changes before EXEC is told of by the keys' owners, see `crate::worker::watches`.

use super::call::{Call, part};
use super::error::Error;
use super::reply_kind::{Kind, Position};
use crate::session::part::{Part, Work};

pub(super) fn watch<'a>(call: &Call<'_, 'a>, index: usize, position: Position, parts: &mut Vec<Part<'a>>) {
    let work = Work::Watch { database: 0, key: call.argument(index) };
    parts.push(part(work, Kind::Watched(position), &[]));
}

pub(super) fn unwatch<'a>(_: &Call<'_, 'a>, parts: &mut Vec<Part<'a>>) -> Result<(), Error> {
    parts.push(part(Work::Unwatch, Kind::Ok, &[]));
    Ok(())
}
