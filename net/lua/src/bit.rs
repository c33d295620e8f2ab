//! The library `bit`: operations on 32 bits.

use crate::frame::{Frame, Function, Raise};
use std::ffi::c_int;

pub(crate) const FUNCTIONS: [(&str, Function); 12] = [
    ("tobit", |frame| done(frame, bits(frame, 1)?)),
    ("bnot", |frame| done(frame, !bits(frame, 1)?)),
    ("bswap", |frame| done(frame, bits(frame, 1)?.swap_bytes())),
    ("band", |frame| fold(frame, |one, other| one & other)),
    ("bor", |frame| fold(frame, |one, other| one | other)),
    ("bxor", |frame| fold(frame, |one, other| one ^ other)),
    ("lshift", |frame| shift(frame, |bits, by| bits << by)),
    ("rshift", |frame| shift(frame, |bits, by| bits >> by)),
    ("arshift", |frame| shift(frame, |bits, by| (bits as i32 >> by) as u32)),
    ("rol", |frame| shift(frame, u32::rotate_left)),
    ("ror", |frame| shift(frame, u32::rotate_right)),
    ("tohex", tohex),
];

/// Added to a number, it leaves the lowest 32 bits of its nearest integer in the lowest bits: 1.5 * 2^52.
const ROUNDS: f64 = 6_755_399_441_055_744.0;

fn bits(frame: &Frame, at: c_int) -> Result<u32, Raise> {
    Ok((frame.check_number(at)? + ROUNDS).to_bits() as u32)
}

fn done(frame: &Frame, bits: u32) -> Result<c_int, Raise> {
    frame.push_number((bits as i32).into());
    Ok(1)
}

fn fold(frame: &Frame, join: impl Fn(u32, u32) -> u32) -> Result<c_int, Raise> {
    let mut sum = bits(frame, 1)?;
    for at in 2..=frame.top() {
        sum = join(sum, bits(frame, at)?);
    }
    done(frame, sum)
}

fn shift(frame: &Frame, shifted: impl Fn(u32, u32) -> u32) -> Result<c_int, Raise> {
    let (value, by) = (bits(frame, 1)?, bits(frame, 2)?);
    done(frame, shifted(value, by & 31))
}

fn tohex(frame: &Frame) -> Result<c_int, Raise> {
    let value = bits(frame, 1)?;
    let asked = if frame.top() < 2 { 8 } else { bits(frame, 2)? as i32 };
    let digits: &[u8; 16] = if asked < 0 { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let count = asked.unsigned_abs().min(8) as usize;
    let mut text = [0; 8];
    for (place, digit) in text[..count].iter_mut().rev().enumerate() {
        *digit = digits[(value >> (4 * place) & 15) as usize];
    }
    frame.push_bytes(&text[..count]);
    Ok(1)
}
