//! The library `struct`: numbers and strings packed by a format.

use crate::frame::{Frame, Function, Raise};
use crate::number;
use std::ffi::c_int;

pub(crate) const FUNCTIONS: [(&str, Function); 3] = [("pack", pack), ("unpack", unpack), ("size", size)];

/// Longest integer, bytes.
const INTEGER_BYTES_MAX: usize = 32;
const ALIGN_MAX: usize = 8;
const TOO_SHORT: Raise = Raise::Argument(2, c"data string too short");

/// A format under work.
struct Format<'f> {
    frame: &'f Frame,
    rest: &'f [u8],
    is_little: bool,
    align: usize,
}

impl<'f> Format<'f> {
    fn new(frame: &'f Frame) -> Result<Format<'f>, Raise> {
        Ok(Format { frame, rest: frame.check_bytes(1)?, is_little: true, align: 1 })
    }

    /// The next option that is about a value, with its size and the zeros that lie before it at `at`.
    fn next(&mut self, at: usize) -> Result<Option<(u8, usize, usize)>, Raise> {
        while let Some((&option, rest)) = self.rest.split_first() {
            self.rest = rest;
            if self.frame.context().charge(8) {
                return Err(Raise::Stopped);
            }
            let size = match option {
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'f' => 4,
                b'c' => self.number(1)?,
                b'i' | b'I' => {
                    let size = self.number(4)?;
                    if size > INTEGER_BYTES_MAX {
                        return Err(self.frame.error(format_args!(
                            "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
                        )));
                    }
                    size
                }
                b's' => 0,
                control => {
                    self.control(control)?;
                    continue;
                }
            };
            let align = if option == b'c' { 0 } else { size.min(self.align) };
            let pad = if align > 1 { align.wrapping_sub(at & (align - 1)) & (align - 1) } else { 0 };
            return Ok(Some((option, size, pad)));
        }
        Ok(None)
    }

    fn number(&mut self, default: usize) -> Result<usize, Raise> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        if digits == 0 {
            return Ok(default);
        }
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse::<i32>().ok());
        number.map(|number| number as usize).ok_or(Raise::Text(c"integral size overflow"))
    }

    fn control(&mut self, option: u8) -> Result<(), Raise> {
        match option {
            b' ' => {}
            b'<' => self.is_little = true,
            b'>' => self.is_little = false,
            b'!' => {
                let align = self.number(ALIGN_MAX)?;
                if !align.is_power_of_two() {
                    return Err(self.frame.error(format_args!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            other => {
                let option = char::from(other);
                let context = self.frame.context();
                context.text.fill(|out| {
                    out.extend_from_slice(format!("invalid format option '{option}'").as_bytes())
                });
                self.frame.push_bytes(context.text.bytes());
                return Err(Raise::ArgumentTop(1));
            }
        }
        Ok(())
    }
}

fn pack(frame: &Frame) -> Result<c_int, Raise> {
    let mut format = Format::new(frame)?;
    // What is missing is nil.
    frame.push_nil();
    let context = frame.context();
    context.text.fill(|_| ());
    let (mut len, mut at) = (0, 2);
    while let Some((option, size, pad)) = format.next(len)? {
        len += pad;
        // Arguments are looked at before the buffer is.
        let mut bytes = [0; INTEGER_BYTES_MAX];
        let mut text: &[u8] = &[];
        let mut count = size;
        match option {
            b'x' => {}
            b'f' => {
                let number = frame.check_number(at)? as f32;
                bytes[..4].copy_from_slice(&if format.is_little {
                    number.to_le_bytes()
                } else {
                    number.to_be_bytes()
                });
            }
            b'd' => {
                let number = frame.check_number(at)?;
                bytes[..8].copy_from_slice(&if format.is_little {
                    number.to_le_bytes()
                } else {
                    number.to_be_bytes()
                });
            }
            b'c' | b's' => {
                text = frame.check_bytes(at)?;
                count = if size == 0 { text.len() } else { size };
                if text.len() < count {
                    return Err(Raise::Argument(at + 1, c"string too short"));
                }
                text = &text[..count];
            }
            _ => {
                let number = frame.check_number(at)?;
                let value = if number < 0.0 { number::to_i64(number) as u64 } else { number as u64 };
                let little = value.to_le_bytes();
                let few = size.min(8);
                bytes[..few].copy_from_slice(&little[..few]);
                if !format.is_little {
                    bytes[..size].reverse();
                }
            }
        }
        at += c_int::from(option != b'x');
        if len + count > context.reply_max.get() || context.charge_bytes(count) {
            return Err(Raise::Stopped);
        }
        context.text.append(|out| {
            out.resize(len, 0);
            out.extend_from_slice(if matches!(option, b'c' | b's') { text } else { &bytes[..size] });
            if option == b's' {
                out.push(0);
            }
        });
        len += count + usize::from(option == b's');
    }
    frame.push_bytes(context.text.bytes());
    Ok(1)
}

fn unpack(frame: &Frame) -> Result<c_int, Raise> {
    let mut format = Format::new(frame)?;
    let data = frame.check_bytes(2)?;
    let at = frame.integer_or(3, 1)?;
    if at < 1 {
        return Err(Raise::Argument(3, c"offset must be 1 or greater"));
    }
    let (mut at, mut count) = (at as usize - 1, 0);
    frame.set_top(3);
    while let Some((option, size, pad)) = format.next(at)? {
        at += pad;
        let mut bytes = taken(data, at, size)?;
        if !frame.has_room(3) {
            return Err(Raise::Text(c"too many results"));
        }
        count += 1;
        match option {
            b'x' => count -= 1,
            b'f' => {
                let bytes: [u8; 4] = bytes.try_into().map_err(|_| TOO_SHORT)?;
                frame.push_number(
                    if format.is_little { f32::from_le_bytes(bytes) } else { f32::from_be_bytes(bytes) }
                        .into(),
                );
            }
            b'd' => {
                let bytes: [u8; 8] = bytes.try_into().map_err(|_| TOO_SHORT)?;
                frame.push_number(if format.is_little {
                    f64::from_le_bytes(bytes)
                } else {
                    f64::from_be_bytes(bytes)
                });
            }
            b'c' => {
                if size == 0 {
                    if count == 1 || !frame.is_number(-1) {
                        return Err(Raise::Text(c"format 'c0' needs a previous size"));
                    }
                    let size = frame.number(-1).max(0.0) as usize;
                    frame.pop(1);
                    count -= 1;
                    bytes = taken(data, at, size)?;
                }
                frame.push_bytes(bytes);
            }
            b's' => {
                let rest = data.get(at..).unwrap_or_default();
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(Raise::Text(c"unfinished string in data"));
                };
                frame.push_bytes(&rest[..end]);
                bytes = &rest[..end + 1];
            }
            _ => frame.push_number(integer(bytes, format.is_little, option.is_ascii_lowercase())),
        }
        at += bytes.len();
    }
    frame.push_number((at + 1) as f64);
    Ok(count + 1)
}

fn taken(data: &[u8], at: usize, size: usize) -> Result<&[u8], Raise> {
    at.checked_add(size).and_then(|end| data.get(at..end)).ok_or(TOO_SHORT)
}

fn integer(bytes: &[u8], is_little: bool, is_signed: bool) -> f64 {
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    let value = if is_little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) };
    if !is_signed {
        return value as f64;
    }
    let unused = 64 - 8 * bytes.len().clamp(1, 8);
    ((value << unused) as i64 >> unused) as f64
}

fn size(frame: &Frame) -> Result<c_int, Raise> {
    let mut format = Format::new(frame)?;
    let mut len = 0usize;
    while let Some((option, size, pad)) = format.next(len)? {
        match (option, size) {
            (b's', _) => return Err(Raise::Argument(1, c"option 's' has no fixed size")),
            (b'c', 0) => return Err(Raise::Argument(1, c"option 'c0' has no fixed size")),
            _ => len = len.saturating_add(pad + size),
        }
    }
    frame.push_number(len as f64);
    Ok(1)
}
