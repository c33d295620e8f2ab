//! `pcall` and `xpcall`: they catch errors, but not that a script is stopped.

use crate::frame::{Frame, Kind, Raise};
use std::ffi::c_int;

const MANY: c_int = mlua_sys::LUA_MULTRET;

pub(crate) fn pcall(frame: &Frame) -> Result<c_int, Raise> {
    if frame.kind(1) == Kind::None {
        return Err(Raise::Argument(1, c"value expected"));
    }
    frame.push_boolean(true);
    frame.insert(1);
    let result = frame.call_protected(frame.top() - 2, MANY, 0);
    if frame.context().stopped().is_some() {
        return Err(Raise::Stopped);
    }
    if result.is_err() {
        plain_error(frame);
        frame.push_boolean(false);
        frame.replace(1);
    }
    Ok(frame.top())
}

/// An error with words of its own, as commands give, is caught as these words.
fn plain_error(frame: &Frame) {
    if frame.kind(-1) == Kind::Table {
        frame.raw_field(-1, "err");
        match frame.kind(-1) {
            Kind::String | Kind::Number => frame.remove(-2),
            _ => frame.pop(1),
        }
    }
}

/// The handler is called when the function has been left: as it is not told of the place of the error, it cannot see the difference. Where the
/// error was raised it would run without a limit of time, if it was raised for want of that.
pub(crate) fn xpcall(frame: &Frame) -> Result<c_int, Raise> {
    if frame.kind(2) == Kind::None {
        return Err(Raise::Argument(2, c"value expected"));
    }
    frame.set_top(2);
    frame.push_boolean(true);
    frame.push_value(1);
    let result = frame.call_protected(0, MANY, 0);
    if frame.context().stopped().is_some() {
        return Err(Raise::Stopped);
    }
    if result.is_err() {
        frame.push_boolean(false);
        frame.replace(3);
        frame.push_value(2);
        frame.insert(4);
        let _ = frame.call_protected(1, 1, 0);
        if frame.context().stopped().is_some() {
            return Err(Raise::Stopped);
        }
    }
    Ok(frame.top() - 2)
}
