//! Functions of the library `table` that are not Lua's own: what they do counts as steps, and tables that cannot be changed are not.

use crate::frame::{Frame, Kind, Raise};
use crate::sandbox::{self, LESS, REGISTRY, SORT};
use std::ffi::c_int;

/// Sequences that are longer are not compared by Lua itself: that could take the square of the length.
const SORTED_MAX: usize = 64;
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

/// Long sequences are compared by a function of Lua, so that time is counted.
fn sort(frame: &Frame) -> Result<c_int, Raise> {
    frame.check_table(1)?;
    if !matches!(frame.kind(2), Kind::None | Kind::Nil | Kind::Function) {
        return Err(Raise::Type(2, c"function"));
    }
    frame.set_top(2);
    if frame.len(1) > SORTED_MAX && frame.kind(2) == Kind::Nil {
        frame.raw_get_at(REGISTRY, LESS);
        frame.replace(2);
    }
    frame.raw_get_at(REGISTRY, SORT);
    frame.insert(1);
    frame.call(2, 0);
    Ok(0)
}
