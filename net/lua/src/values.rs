//! Answers of commands as values of Lua.

use crate::frame::{Frame, Raise};
use std::ffi::c_int;

/// Values on the stack that one level of an answer needs.
const ROOM: c_int = 6;

/// Pushes the answer at the start of `bytes`, and takes it away from there.
pub(crate) fn push(frame: &Frame, bytes: &mut &[u8]) -> Result<(), Raise> {
    if !frame.has_room(ROOM) {
        return Err(Raise::Text(c"reached lua stack limit"));
    }
    let Some((&kind, _)) = bytes.split_first() else {
        frame.push_nil();
        return Ok(());
    };
    let line = line(bytes);
    match kind {
        b'+' => named(frame, "ok", line),
        b'-' => {
            named(frame, "err", line);
            frame.push_boolean(true);
            frame.set_field(-2, "ignore_error_stats_update");
        }
        b':' => frame.push_number(integer(line) as f64),
        b'$' | b'*' if line.starts_with(b"-") => frame.push_boolean(false),
        b'$' => frame.push_bytes(content(bytes, line)),
        b'*' => return list(frame, bytes, integer(line)),
        b'#' => frame.push_boolean(line == b"t"),
        b',' => {
            frame.push_table();
            let number = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok());
            frame.push_number(number.unwrap_or(f64::NAN));
            frame.set_field(-2, "double");
        }
        b'(' => named(frame, "big_number", line),
        b'=' => {
            let (format, text) = content(bytes, line).split_at_checked(4).unwrap_or_default();
            frame.push_table();
            named(frame, "format", &format[..format.len().min(3)]);
            frame.push_bytes(text);
            frame.set_field(-2, "string");
            frame.set_field(-2, "verbatim_string");
        }
        b'%' => return entries(frame, bytes, (integer(line), "map")),
        b'~' => return entries(frame, bytes, (integer(line), "set")),
        _ => frame.push_nil(),
    }
    Ok(())
}

/// Pushes a table with one field.
fn named(frame: &Frame, name: &str, text: &[u8]) {
    frame.push_table();
    frame.push_bytes(text);
    frame.set_field(-2, name);
}

fn list(frame: &Frame, bytes: &mut &[u8], len: i64) -> Result<(), Raise> {
    frame.push_table();
    for index in 1..=len {
        push(frame, bytes)?;
        frame.raw_set_at(-2, index as c_int);
    }
    Ok(())
}

/// A map, or a set: its members are the keys.
fn entries(frame: &Frame, bytes: &mut &[u8], (len, name): (i64, &str)) -> Result<(), Raise> {
    frame.push_table();
    frame.push_table();
    for _ in 0..len {
        push(frame, bytes)?;
        match name {
            "map" => push(frame, bytes)?,
            _ => frame.push_boolean(true),
        }
        frame.raw_set(-3);
    }
    frame.set_field(-2, name);
    Ok(())
}

/// The first line without its kind and end, which are taken away with it.
fn line<'b>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let end = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
    let line = bytes.get(1..end).unwrap_or_default();
    *bytes = bytes.get(end + 2..).unwrap_or_default();
    line
}

/// The bytes whose length the line told.
fn content<'b>(bytes: &mut &'b [u8], line: &[u8]) -> &'b [u8] {
    let len = (integer(line).max(0) as usize).min(bytes.len());
    let content = &bytes[..len];
    *bytes = bytes.get(len + 2..).unwrap_or_default();
    content
}

fn integer(line: &[u8]) -> i64 {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
