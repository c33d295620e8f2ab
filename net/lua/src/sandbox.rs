//! What scripts find: a table of globals that they share, and cannot change.
//!
//! ```text
//!   globals (empty) --index--> base: pairs, redis, string, KEYS, ... --index--> an error: no such global
//!      | new index: an error
//!   string, redis, ... (each empty, in the same way) --index--> the library's functions
//! ```
//!
//! Functions that write to a table by themselves (`rawset`, `table.insert`) ask whether it can be changed.

use crate::frame::{Frame, Function, Kind, Raise};
use crate::{bit, chunk, handler, json, msgpack, packed, protected, random, redis, strings, tables};
use mlua_sys as ffi;
use std::ffi::{CStr, c_int};

pub(crate) const REGISTRY: c_int = ffi::LUA_REGISTRYINDEX;
const GLOBALS: c_int = ffi::LUA_GLOBALSINDEX;

/// Places in the registry: what globals there are; tables that cannot be changed, as keys; compiled scripts; the handler of
/// errors; and Lua's own `table.sort`, with what compares for it.
pub(crate) const BASE: c_int = 1;
const LOCKED: c_int = 2;
pub(crate) const SCRIPTS: c_int = 3;
pub(crate) const HANDLER: c_int = 4;
pub(crate) const SORT: c_int = 5;
pub(crate) const LESS: c_int = 6;

/// Lua's own globals that scripts have. Some are replaced below.
const KEPT: [&str; 18] = [
    "_VERSION",
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "rawequal",
    "rawget",
    "select",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "coroutine",
    "math",
    "string",
    "table",
];
const REPLACED: [(&str, Function); 8] = [
    ("pcall", protected::pcall),
    ("xpcall", protected::xpcall),
    ("rawset", rawset),
    ("setmetatable", setmetatable),
    ("collectgarbage", collectgarbage),
    ("gcinfo", gcinfo),
    ("loadstring", chunk::loadstring),
    ("load", chunk::load),
];
const LIBRARIES: [&str; 9] =
    ["coroutine", "math", "string", "table", "redis", "bit", "cjson", "cmsgpack", "struct"];

/// Makes a new state one for scripts. `version`: what they are told of Redis.
pub(crate) fn build(frame: &Frame, version: &str) {
    open(frame);
    frame.push_table();
    for name in KEPT {
        frame.raw_field(GLOBALS, name);
        frame.set_field(-2, name);
    }
    add_functions(frame, &REPLACED);
    add_library(frame, "string", &strings::FUNCTIONS);
    frame.raw_field(-1, "string");
    frame.raw_field(-1, "gmatch");
    frame.set_field(-2, "gfind");
    frame.pop(1);
    add_library(frame, "math", &[("random", random::random), ("randomseed", random::randomseed)]);
    tables::replace(frame);
    add_redis(frame, version);
    add_library(frame, "bit", &bit::FUNCTIONS);
    add_library(frame, "struct", &packed::FUNCTIONS);
    add_library(frame, "cmsgpack", &msgpack::FUNCTIONS);
    add_texts(frame, "cmsgpack", &msgpack::TEXTS);
    add_library(frame, "cjson", &json::FUNCTIONS);
    add_texts(frame, "cjson", &json::TEXTS);
    frame.raw_field(-1, "cjson");
    frame.push_null();
    frame.set_field(-2, "null");
    frame.pop(1);
    frame.push_function(handler::handle);
    frame.raw_set_at(REGISTRY, HANDLER);
    for place in [LOCKED, SCRIPTS] {
        frame.push_table();
        frame.raw_set_at(REGISTRY, place);
    }
    lock_all(frame);
}

/// Opens those libraries of Lua of which scripts have something.
fn open(frame: &Frame) {
    let libraries: [(ffi::lua_CFunction, &CStr); 4] = [
        (ffi::luaopen_base, c""),
        (ffi::luaopen_table, c"table"),
        (ffi::luaopen_string, c"string"),
        (ffi::luaopen_math, c"math"),
    ];
    for (library, name) in libraries {
        // SAFETY: functions of Lua, called with the name of their library as it has to be.
        unsafe {
            ffi::lua_pushcclosure(frame.state(), library, 0);
            ffi::lua_pushstring_(frame.state(), name.as_ptr());
            ffi::lua_call(frame.state(), 1, 0);
        }
    }
}

/// Adds functions to the topmost table.
pub(crate) fn add_functions(frame: &Frame, functions: &[(&str, Function)]) {
    for (name, function) in functions {
        frame.push_function(*function);
        frame.set_field(-2, name);
    }
}

/// Adds functions to a library in the topmost table.
pub(crate) fn add_library(frame: &Frame, name: &str, functions: &[(&str, Function)]) {
    frame.raw_field(-1, name);
    if frame.kind(-1) != Kind::Table {
        frame.pop(1);
        frame.push_table();
        frame.push_value(-1);
        frame.set_field(-3, name);
    }
    add_functions(frame, functions);
    frame.pop(1);
}

fn add_texts(frame: &Frame, name: &str, texts: &[(&str, &str)]) {
    frame.raw_field(-1, name);
    for (name, text) in texts {
        frame.push_bytes(text.as_bytes());
        frame.set_field(-2, name);
    }
    frame.pop(1);
}

fn add_redis(frame: &Frame, version: &str) {
    add_library(frame, "redis", &redis::FUNCTIONS);
    frame.raw_field(-1, "redis");
    for (name, number) in redis::NUMBERS {
        frame.push_number(number);
        frame.set_field(-2, name);
    }
    frame.push_bytes(version.as_bytes());
    frame.set_field(-2, "REDIS_VERSION");
    let packed =
        version.split('.').filter_map(|part| part.parse().ok()).fold(0u32, |sum, part: u32| sum << 8 | part);
    frame.push_number(packed.into());
    frame.set_field(-2, "REDIS_VERSION_NUM");
    frame.pop(1);
}

/// Locks the libraries in the topmost table, puts it behind the globals, and locks these.
fn lock_all(frame: &Frame) {
    frame.push_value(-1);
    frame.raw_set_at(REGISTRY, BASE);
    for name in LIBRARIES {
        frame.raw_field(-1, name);
        push_locked(frame);
        frame.set_field(-2, name);
    }
    // Strings tell of their library, and of nothing that could be changed.
    frame.push_table();
    frame.raw_field(-2, "string");
    frame.set_field(-2, "__index");
    push_locked(frame);
    frame.push_bytes(b"");
    // SAFETY: the state runs this; strings have a metatable.
    unsafe { ffi::lua_getmetatable(frame.state(), -1) };
    frame.push_value(-3);
    frame.set_field(-2, "__metatable");
    frame.pop(3);
    frame.push_table();
    frame.push_function(no_global);
    frame.set_field(-2, "__index");
    frame.set_metatable(-2);
    clear(frame, GLOBALS);
    frame.push_value(GLOBALS);
    frame.set_field(-2, "_G");
    frame.push_value(GLOBALS);
    frame.insert(-2);
    lock(frame);
    frame.pop(1);
}

/// Puts an empty table in the place of the topmost one, by which that one can be read.
fn push_locked(frame: &Frame) {
    frame.push_table();
    frame.insert(-2);
    lock(frame);
}

/// Has the table beneath the topmost one, which is empty, show what that has, and nothing be written to it.
fn lock(frame: &Frame) {
    frame.push_table();
    frame.insert(-2);
    frame.set_field(-2, "__index");
    frame.push_function(no_change);
    frame.set_field(-2, "__newindex");
    // What a script is told in place of the metatable, so that it cannot change that.
    frame.push_boolean(false);
    frame.set_field(-2, "__metatable");
    frame.set_metatable(-2);
    frame.raw_get_at(REGISTRY, LOCKED);
    frame.push_value(-2);
    frame.push_boolean(true);
    frame.raw_set(-3);
    frame.pop(1);
}

fn clear(frame: &Frame, table: c_int) {
    frame.push_nil();
    while frame.next(table) {
        frame.pop(1);
        frame.push_value(-1);
        frame.push_nil();
        frame.raw_set(table);
        // The table has changed: from its start again.
        frame.pop(1);
        frame.push_nil();
    }
}

/// Gives a global to the script that is about to run, nil to take it away: the topmost value.
pub(crate) fn set_global(frame: &Frame, name: &str) {
    frame.raw_get_at(REGISTRY, BASE);
    frame.insert(-2);
    frame.set_field(-2, name);
    frame.pop(1);
}

fn no_change(_: &Frame) -> Result<c_int, Raise> {
    Err(Raise::Text(c"Attempt to modify a readonly table"))
}

fn no_global(frame: &Frame) -> Result<c_int, Raise> {
    frame.push_bytes(b"Script attempted to access nonexistent global variable '");
    frame.push_value(2);
    if frame.bytes(-1).is_none() {
        frame.pop(1);
        frame.push_bytes(b"?");
    }
    frame.push_bytes(b"'");
    frame.concat(3);
    Err(Raise::Top)
}

/// An error without a place, if the first argument cannot be changed.
pub(crate) fn check_open(frame: &Frame) -> Result<(), Raise> {
    frame.check_table(1)?;
    frame.raw_get_at(REGISTRY, LOCKED);
    frame.push_value(1);
    frame.raw_get(-2);
    let is_locked = frame.is_true(-1);
    frame.pop(2);
    if is_locked {
        frame.push_bytes(b"Attempt to modify a readonly table");
        return Err(Raise::Value);
    }
    Ok(())
}

fn rawset(frame: &Frame) -> Result<c_int, Raise> {
    check_open(frame)?;
    for at in [2, 3] {
        if frame.kind(at) == Kind::None {
            return Err(Raise::Argument(at, c"value expected"));
        }
    }
    frame.set_top(3);
    if frame.kind(2) == Kind::Nil || frame.kind(2) == Kind::Number && frame.number(2).is_nan() {
        frame.push_bytes(if frame.kind(2) == Kind::Nil { b"index is nil" } else { b"index is NaN" });
        return Err(Raise::Value);
    }
    frame.raw_set(1);
    Ok(1)
}

fn setmetatable(frame: &Frame) -> Result<c_int, Raise> {
    check_open(frame)?;
    if !matches!(frame.kind(2), Kind::Nil | Kind::Table) {
        return Err(Raise::Argument(2, c"nil or table expected"));
    }
    frame.set_top(2);
    // SAFETY: the state calls this.
    if unsafe { ffi::lua_getmetatable(frame.state(), 1) } != 0 {
        frame.raw_field(-1, "__metatable");
        if frame.kind(-1) != Kind::Nil {
            return Err(Raise::Text(c"cannot change a protected metatable"));
        }
        frame.set_top(2);
    }
    frame.set_metatable(1);
    Ok(1)
}

/// Only tells how much memory there is: when garbage is collected is not the scripts' affair.
fn collectgarbage(frame: &Frame) -> Result<c_int, Raise> {
    match frame.bytes(1) {
        Some(b"count") => gcinfo(frame),
        Some(b"step") => {
            frame.push_boolean(false);
            Ok(1)
        }
        _ => {
            frame.push_number(0.0);
            Ok(1)
        }
    }
}

fn gcinfo(frame: &Frame) -> Result<c_int, Raise> {
    frame.push_number(frame.context().used() as f64 / 1024.0);
    Ok(1)
}
