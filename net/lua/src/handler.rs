//! What becomes of an error that no script has caught: a table with the words, and the place in the script.

use crate::frame::{Frame, Kind, Raise};
use crate::number;
use mlua_sys as ffi;
use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;

/// Called where the error was raised, with its value.
pub(crate) fn handle(frame: &Frame) -> Result<c_int, Raise> {
    frame.set_top(1);
    if frame.kind(1) != Kind::Table {
        frame.push_table();
        frame.push_bytes(b"ERR ");
        push_text(frame, 1);
        frame.concat(2);
        frame.set_field(-2, "err");
        frame.replace(1);
    }
    if let Some((source, line)) = place(frame) {
        frame.push_bytes(source.to_bytes());
        frame.set_field(1, "source");
        frame.push_number(line.into());
        frame.set_field(1, "line");
    }
    Ok(1)
}

/// The words of a value that is no table.
fn push_text(frame: &Frame, at: c_int) {
    match frame.kind(at) {
        Kind::Boolean if frame.is_true(at) => frame.push_bytes(b"true"),
        Kind::Boolean => frame.push_bytes(b"false"),
        Kind::Number => {
            let number = frame.number(at);
            let text = &frame.context().text;
            text.fill(|out| number::write(number, 14, out));
            frame.push_bytes(text.bytes());
        }
        Kind::String => frame.push_value(at),
        Kind::None | Kind::Nil => frame.push_bytes(b"nil"),
        Kind::Function => frame.push_bytes(b"function"),
        Kind::Table => frame.push_bytes(b"table"),
        Kind::Other => frame.push_bytes(b"userdata"),
    }
}

/// Levels that are looked at: what has raised the error, what has called that, and what has called a function that stands for one of Lua's.
const LEVELS: c_int = 3;

/// Source and line of the function of the script that runs.
fn place<'f>(frame: &Frame) -> Option<(&'f CStr, c_int)> {
    for level in 1..=LEVELS {
        let mut info = MaybeUninit::<ffi::lua_Debug>::zeroed();
        // SAFETY: the state calls this; `info` is room for what Lua tells, and its texts stay as long as the functions do that are told of.
        unsafe {
            if ffi::lua_getstack(frame.state(), level, info.as_mut_ptr()) == 0
                || ffi::lua_getinfo(frame.state(), c"Sl".as_ptr(), info.as_mut_ptr()) == 0
            {
                return None;
            }
            let info = info.assume_init();
            if CStr::from_ptr(info.what) != c"C" || level == LEVELS {
                return Some((CStr::from_ptr(info.source), info.currentline));
            }
        }
    }
    None
}
