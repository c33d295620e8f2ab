//! Functions on tables that Lua has, too. Its own count beyond 32 bits, walk over 2^31 places without a look at the time, or take the
//! square of a length.

use crate::frame::{Frame, Function, Kind, Raise};
use crate::sandbox::{LESS, REGISTRY, SORT};
use std::ffi::c_int;

pub(crate) const FUNCTIONS: [(&str, Function); 2] = [("insert", insert), ("sort", sort)];

/// Sequences that are longer are not compared by Lua itself: that could take the square of the length.
const SORTED_MAX: usize = 64;
/// The least place for a value to be inserted at: all behind it up to the sequence's end move.
const PLACE_MIN: i32 = -1000;

/// As Lua does, the lower 32 bits of an argument.
fn place(frame: &Frame, at: c_int) -> Result<i32, Raise> {
    frame.check_integer(at).map(|number| number as i32)
}

/// The values at places of a table, the first and the last included.
pub(crate) fn unpack(frame: &Frame) -> Result<c_int, Raise> {
    frame.check_table(1)?;
    let is_given = |at| !matches!(frame.kind(at), Kind::None | Kind::Nil);
    let first = if is_given(2) { place(frame, 2)? } else { 1 };
    let last = if is_given(3) { place(frame, 3)? } else { frame.len(1) as i32 };
    if first > last {
        return Ok(0);
    }
    // Two numbers of 32 bits are further apart than one of these tells.
    let count = c_int::try_from(i64::from(last) - i64::from(first) + 1);
    match count {
        Ok(count) if frame.has_room(count) => {
            (first..=last).for_each(|index| frame.raw_get_at(1, index));
            Ok(count)
        }
        _ => Err(Raise::Text(c"too many results to unpack")),
    }
}

/// Puts a value at the end of a sequence, or at a place, from which on all others move.
fn insert(frame: &Frame) -> Result<c_int, Raise> {
    frame.check_table(1)?;
    let end = i32::try_from(frame.len(1)).unwrap_or(i32::MAX).saturating_add(1);
    match frame.top() {
        2 => frame.raw_set_at(1, end),
        3 => {
            let place = place(frame, 2)?;
            if place < PLACE_MIN {
                return Err(Raise::Argument(2, c"position out of bounds"));
            }
            for index in (place.saturating_add(1)..=end).rev() {
                frame.raw_get_at(1, index - 1);
                frame.raw_set_at(1, index);
            }
            frame.raw_set_at(1, place);
        }
        _ => return Err(Raise::Text(c"wrong number of arguments to 'insert'")),
    }
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
