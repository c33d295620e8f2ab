//! Functions on tables that are not Lua's own: what they do counts as steps, their bounds hold, and tables that cannot be changed are not.

use crate::frame::{Frame, Kind, Raise};
use crate::sandbox::{self, LESS, REGISTRY, SORT};
use std::ffi::c_int;

/// Sequences that are longer are not compared by Lua itself: that could take the square of the length.
const SORTED_MAX: usize = 64;
/// In a heap that is larger there may be strings that take long to compare.
const HEAP_BYTES_MAX: usize = 1 << 20;
/// Values that are moved between two looks at the time.
const MOVED: i64 = 1024;

/// Replaces them in the library, in the topmost table.
pub(crate) fn replace(frame: &Frame) {
    frame.raw_field(-1, "table");
    frame.raw_field(-1, "sort");
    frame.raw_set_at(REGISTRY, SORT);
    frame.pop(1);
    sandbox::add_library(frame, "table", &[("insert", insert), ("sort", sort)]);
    if frame.compile(b"local a, b = ... return a < b", c"=?").is_ok() {
        frame.raw_set_at(REGISTRY, LESS);
    }
}

/// Puts a value into a sequence: at its end, or at a place, from which on the others move up.
fn insert(frame: &Frame) -> Result<c_int, Raise> {
    frame.check_table(1)?;
    let len = frame.len(1);
    let end = len as i64 + 1;
    let place = match frame.top() {
        2 => end,
        // As C's `int` has it.
        3 => i64::from(frame.check_integer(2)? as c_int),
        _ => return Err(Raise::Text(c"wrong number of arguments to 'insert'")),
    };
    if len == 0 {
        // Those that cannot be changed are empty.
        sandbox::check_open(frame)?;
    }
    for to in (place + 1..=end.max(place)).rev() {
        frame.raw_get_at(1, (to - 1) as c_int);
        frame.raw_set_at(1, to as c_int);
        if to % MOVED == 0 && frame.context().charge(4 * MOVED as usize) {
            return Err(Raise::Stopped);
        }
    }
    frame.raw_set_at(1, place as c_int);
    Ok(0)
}

/// The values at places of a table, the first and the last included. Lua's own counts them in 32 bits, so that a range over the most of
/// these passes its look for room.
pub(crate) fn unpack(frame: &Frame) -> Result<c_int, Raise> {
    frame.check_table(1)?;
    let is_given = |at| !matches!(frame.kind(at), Kind::None | Kind::Nil);
    let place = |at| frame.check_integer(at).map(|number| number as c_int);
    let first = if is_given(2) { place(2)? } else { 1 };
    let last = if is_given(3) { place(3)? } else { frame.len(1) as c_int };
    if first > last {
        return Ok(0);
    }
    match c_int::try_from(i64::from(last) - i64::from(first) + 1) {
        Ok(count) if frame.has_room(count) => {
            (first..=last).for_each(|index| frame.raw_get_at(1, index));
            Ok(count)
        }
        _ => Err(Raise::Text(c"too many results to unpack")),
    }
}

/// Long sequences are compared by a function of Lua, so that time is counted; so are all where there may be long strings.
fn sort(frame: &Frame) -> Result<c_int, Raise> {
    frame.check_table(1)?;
    if !matches!(frame.kind(2), Kind::None | Kind::Nil | Kind::Function) {
        return Err(Raise::Type(2, c"function"));
    }
    frame.set_top(2);
    let may_take_long = frame.len(1) > SORTED_MAX || frame.context().used() > HEAP_BYTES_MAX;
    if may_take_long && frame.kind(2) == Kind::Nil {
        frame.raw_get_at(REGISTRY, LESS);
        frame.replace(2);
    }
    frame.raw_get_at(REGISTRY, SORT);
    frame.insert(1);
    frame.call(2, 0);
    Ok(0)
}
