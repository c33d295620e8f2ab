//! The library `cjson`, with Redis' words.

mod decode;
mod encode;

use crate::frame::{Frame, Function, Kind, Raise};
use std::ffi::{CStr, c_int};

pub(crate) const FUNCTIONS: [(&str, Function); 10] = [
    ("encode", encode::encode),
    ("decode", decode::decode),
    ("new", new),
    ("encode_sparse_array", encode_sparse_array),
    ("encode_max_depth", encode_max_depth),
    ("decode_max_depth", decode_max_depth),
    ("encode_number_precision", encode_number_precision),
    ("encode_keep_buffer", encode_keep_buffer),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", decode_invalid_numbers),
];

pub(crate) const TEXTS: [(&str, &str); 2] = [("_NAME", "cjson"), ("_VERSION", "2.1.0")];

/// Tables in tables, at most, whatever a script asks for: each takes some of the thread's stack.
const DEPTH_MAX: u32 = 1000;

/// What a script has chosen. It begins anew with each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    /// Sequences with many holes are objects.
    sparse_is_object: bool,
    sparse_ratio: u32,
    sparse_safe: u32,
    encode_depth: u32,
    decode_depth: u32,
    precision: u32,
    keeps_buffer: bool,
    /// Numbers that are none are written as they are, or as null.
    writes_invalid: bool,
    null_for_invalid: bool,
    reads_invalid: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            sparse_is_object: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: DEPTH_MAX,
            decode_depth: DEPTH_MAX,
            precision: 14,
            keeps_buffer: true,
            writes_invalid: false,
            null_for_invalid: false,
            reads_invalid: true,
        }
    }
}

fn change(frame: &Frame, change: impl FnOnce(&mut Config)) {
    let json = &frame.context().json;
    let mut config = json.get();
    change(&mut config);
    json.set(config);
}

/// There is one for all of a script.
fn new(frame: &Frame) -> Result<c_int, Raise> {
    frame.raw_get_at(mlua_sys::LUA_REGISTRYINDEX, crate::sandbox::BASE);
    frame.raw_field(-1, "cjson");
    Ok(1)
}

/// An argument that is a number between two others, if it is there.
fn number(
    frame: &Frame,
    at: c_int,
    (least, most): (i64, i64),
    words: &'static CStr,
) -> Result<Option<u32>, Raise> {
    if matches!(frame.kind(at), Kind::None | Kind::Nil) {
        return Ok(None);
    }
    let number = frame.check_integer(at)?;
    match (least..=most).contains(&number) {
        true => Ok(Some(number as u32)),
        false => Err(Raise::Argument(at, words)),
    }
}

const POSITIVE: &CStr = c"expected integer between 1 and 2147483647";
const NOT_NEGATIVE: &CStr = c"expected integer between 0 and 2147483647";
const INT_MAX: i64 = i32::MAX as i64;

/// Yes or no, if it is there.
fn choice(frame: &Frame, at: c_int) -> Result<Option<bool>, Raise> {
    match (frame.kind(at), frame.bytes(at)) {
        (Kind::None | Kind::Nil, _) => Ok(None),
        (Kind::Boolean, _) => Ok(Some(frame.is_true(at))),
        (_, Some(b"on")) => Ok(Some(true)),
        (_, Some(b"off")) => Ok(Some(false)),
        _ => Err(Raise::Argument(at, c"invalid option")),
    }
}

fn encode_sparse_array(frame: &Frame) -> Result<c_int, Raise> {
    let sparse = choice(frame, 1)?;
    let ratio = number(frame, 2, (0, INT_MAX), NOT_NEGATIVE)?;
    let safe = number(frame, 3, (0, INT_MAX), NOT_NEGATIVE)?;
    change(frame, |config| {
        config.sparse_is_object = sparse.unwrap_or(config.sparse_is_object);
        config.sparse_ratio = ratio.unwrap_or(config.sparse_ratio);
        config.sparse_safe = safe.unwrap_or(config.sparse_safe);
    });
    let config = frame.context().json.get();
    frame.push_boolean(config.sparse_is_object);
    frame.push_number(config.sparse_ratio.into());
    frame.push_number(config.sparse_safe.into());
    Ok(3)
}

fn encode_max_depth(frame: &Frame) -> Result<c_int, Raise> {
    let depth = number(frame, 1, (1, INT_MAX), POSITIVE)?;
    change(frame, |config| {
        config.encode_depth = depth.map_or(config.encode_depth, |depth| depth.min(DEPTH_MAX))
    });
    frame.push_number(frame.context().json.get().encode_depth.into());
    Ok(1)
}

fn decode_max_depth(frame: &Frame) -> Result<c_int, Raise> {
    let depth = number(frame, 1, (1, INT_MAX), POSITIVE)?;
    change(frame, |config| {
        config.decode_depth = depth.map_or(config.decode_depth, |depth| depth.min(DEPTH_MAX))
    });
    frame.push_number(frame.context().json.get().decode_depth.into());
    Ok(1)
}

fn encode_number_precision(frame: &Frame) -> Result<c_int, Raise> {
    let precision = number(frame, 1, (1, 14), c"expected integer between 1 and 14")?;
    change(frame, |config| config.precision = precision.unwrap_or(config.precision));
    frame.push_number(frame.context().json.get().precision.into());
    Ok(1)
}

/// The buffer is kept in any case, as long as it is short.
fn encode_keep_buffer(frame: &Frame) -> Result<c_int, Raise> {
    let keeps = choice(frame, 1)?;
    change(frame, |config| config.keeps_buffer = keeps.unwrap_or(config.keeps_buffer));
    frame.push_boolean(frame.context().json.get().keeps_buffer);
    Ok(1)
}

fn encode_invalid_numbers(frame: &Frame) -> Result<c_int, Raise> {
    let null = frame.kind(1) == Kind::String && frame.bytes(1) == Some(b"null");
    let writes = if null { None } else { choice(frame, 1)? };
    change(frame, |config| {
        if null || writes.is_some() {
            (config.null_for_invalid, config.writes_invalid) = (null, writes.unwrap_or(false));
        }
    });
    let config = frame.context().json.get();
    match config.null_for_invalid {
        true => frame.push_bytes(b"null"),
        false => frame.push_boolean(config.writes_invalid),
    }
    Ok(1)
}

fn decode_invalid_numbers(frame: &Frame) -> Result<c_int, Raise> {
    let reads = choice(frame, 1)?;
    change(frame, |config| config.reads_invalid = reads.unwrap_or(config.reads_invalid));
    frame.push_boolean(frame.context().json.get().reads_invalid);
    Ok(1)
}
