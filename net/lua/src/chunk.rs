//! `loadstring` and `load`: text alone is compiled, as nothing checks what is compiled already.

use crate::frame::{Frame, Kind, Raise};
use mlua_sys as ffi;
use std::ffi::{CStr, c_char, c_int, c_void};

/// Longest text that a script compiles, bytes: others wait meanwhile.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// What begins something compiled.
const COMPILED: u8 = 0x1B;
/// Steps that compiling takes for each byte.
const STEPS: usize = 16;

pub(crate) fn loadstring(frame: &Frame) -> Result<c_int, Raise> {
    let text = frame.check_bytes(1)?;
    let name = if frame.bytes(2).is_some() { 2 } else { 1 };
    if text.len() > TEXT_BYTES_MAX || text.first() == Some(&COMPILED) {
        return refused(frame);
    }
    if frame.context().charge(text.len() * STEPS) {
        return Err(Raise::Stopped);
    }
    match frame.compile(text, frame.c_text(name)) {
        Ok(()) => Ok(1),
        Err(_) => {
            frame.push_nil();
            frame.insert(-2);
            Ok(2)
        }
    }
}

fn refused(frame: &Frame) -> Result<c_int, Raise> {
    frame.push_nil();
    frame.push_bytes(b"bad chunk: compiled, or too long");
    Ok(2)
}

/// What is read by a function of the script.
struct Pieces {
    bytes: usize,
    is_refused: bool,
}

/// Where the latest piece lies.
const PIECE: c_int = 3;

pub(crate) fn load(frame: &Frame) -> Result<c_int, Raise> {
    if frame.kind(1) != Kind::Function {
        return Err(Raise::Type(1, c"function"));
    }
    let name: &CStr = if frame.bytes(2).is_some() { frame.c_text(2) } else { c"=(load)" };
    frame.set_top(PIECE);
    let mut pieces = Pieces { bytes: 0, is_refused: false };
    // SAFETY: the state calls this. `pieces` outlives the call, and has nothing to drop.
    let result = unsafe { ffi::lua_load(frame.state(), next_piece, (&raw mut pieces).cast(), name.as_ptr()) };
    if frame.context().stopped().is_some() {
        return Err(Raise::Stopped);
    }
    if pieces.is_refused {
        return refused(frame);
    }
    if result != ffi::LUA_OK {
        frame.push_nil();
        frame.insert(-2);
        return Ok(2);
    }
    Ok(1)
}

unsafe extern "C-unwind" fn next_piece(
    state: *mut ffi::lua_State,
    pieces: *mut c_void,
    len: *mut usize,
) -> *const c_char {
    // SAFETY: `load` hands its pieces over; the state calls this, protected by `lua_load`.
    let (frame, pieces) = unsafe { (Frame::new(state), &mut *pieces.cast::<Pieces>()) };
    frame.push_value(1);
    frame.call(0, 1);
    frame.replace(PIECE);
    let piece = if frame.kind(PIECE) == Kind::String { frame.bytes(PIECE) } else { None };
    let piece = piece.unwrap_or_default();
    pieces.is_refused |= pieces.bytes == 0 && piece.first() == Some(&COMPILED);
    pieces.bytes += piece.len();
    pieces.is_refused |= pieces.bytes > TEXT_BYTES_MAX;
    let is_over = frame.context().charge(piece.len() * STEPS);
    if pieces.is_refused || is_over || piece.is_empty() {
        return std::ptr::null();
    }
    // SAFETY: Lua's room for the length.
    unsafe { *len = piece.len() };
    piece.as_ptr().cast()
}
