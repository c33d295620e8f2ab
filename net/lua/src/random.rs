//! `math.random`: the generator of C's `lrand48`, as in Redis. It goes on from script to script.

use crate::context::Context;
use crate::frame::{Frame, Raise};
use std::ffi::c_int;

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const ADDEND: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
const MAX: u32 = i32::MAX as u32;

/// Where it begins, and the low bits behind a seed.
pub(crate) const START: u64 = 0x1234_ABCD_330E;
const SEED_BITS: u64 = 0x330E;

/// The next number of 31 bits.
fn next(context: &Context) -> u32 {
    let state = context.random.get().wrapping_mul(MULTIPLIER).wrapping_add(ADDEND) & MASK;
    context.random.set(state);
    (state >> 17) as u32
}

pub(crate) fn random(frame: &Frame) -> Result<c_int, Raise> {
    let fraction = f64::from(next(frame.context()) % MAX) / f64::from(MAX);
    let number = match frame.top() {
        0 => fraction,
        1 => {
            let most = frame.check_integer(1)?;
            if most < 1 {
                return Err(Raise::Argument(1, c"interval is empty"));
            }
            (fraction * most as f64).floor() + 1.0
        }
        2 => {
            let (least, most) = (frame.check_integer(1)?, frame.check_integer(2)?);
            if least > most {
                return Err(Raise::Argument(2, c"interval is empty"));
            }
            (fraction * (most as f64 - least as f64 + 1.0)).floor() + least as f64
        }
        _ => return Err(Raise::Text(c"wrong number of arguments")),
    };
    frame.push_number(number);
    Ok(1)
}

pub(crate) fn randomseed(frame: &Frame) -> Result<c_int, Raise> {
    let given = frame.check_integer(1)?;
    frame.context().random.set(u64::from(given as u32) << 16 | SEED_BITS);
    Ok(0)
}
