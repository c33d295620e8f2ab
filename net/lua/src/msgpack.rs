//! The library `cmsgpack`: MessagePack as Redis writes and reads it.

use crate::frame::{Frame, Function, Kind, Raise};
use crate::host::Stop;
use std::ffi::c_int;

pub(crate) const FUNCTIONS: [(&str, Function); 4] =
    [("pack", pack), ("unpack", unpack), ("unpack_one", unpack_one), ("unpack_limit", unpack_limit)];

pub(crate) const TEXTS: [(&str, &str); 4] = [
    ("_NAME", "cmsgpack"),
    ("_VERSION", "lua-cmsgpack 0.4.0"),
    ("_COPYRIGHT", "none"),
    ("_DESCRIPTION", "MessagePack"),
];

/// Tables in tables that are written; those in them are nil.
const WRITTEN_DEPTH_MAX: usize = 16;
/// Those that are read.
const READ_DEPTH_MAX: usize = 1000;

/// Writing went beyond what a script may take, or it is stopped.
struct TooLong;

fn pack(frame: &Frame) -> Result<c_int, Raise> {
    let count = frame.top();
    if count == 0 {
        return Err(Raise::Argument(0, c"MessagePack pack needs input."));
    }
    // All that writing needs, so that nothing is raised meanwhile.
    if !frame.has_room(3 * WRITTEN_DEPTH_MAX as c_int + 8) {
        return Err(Raise::Text(c"too many arguments"));
    }
    let context = frame.context();
    let written = context.text.fill(|out| {
        (1..=count).try_for_each(|at| {
            frame.push_value(at);
            let written = write(frame, out, 0);
            frame.pop(1);
            written
        })
    });
    if written.is_err() {
        context.stop(Stop::Memory);
        return Err(Raise::Stopped);
    }
    frame.push_bytes(context.text.bytes());
    Ok(1)
}

/// Appends the topmost value.
fn write(frame: &Frame, out: &mut Vec<u8>, depth: usize) -> Result<(), TooLong> {
    if out.len() > frame.context().reply_max.get() || frame.context().charge(8) {
        return Err(TooLong);
    }
    match frame.kind(-1) {
        Kind::Boolean => out.push(if frame.is_true(-1) { 0xc3 } else { 0xc2 }),
        Kind::Number => write_number(frame.number(-1), out),
        Kind::String => {
            let bytes = frame.bytes(-1).unwrap_or_default();
            write_head(out, bytes.len(), (0xa0, 32), Some(0xd9), [0xda, 0xdb]);
            out.extend_from_slice(bytes);
        }
        Kind::Table if depth < WRITTEN_DEPTH_MAX => return write_table(frame, out, depth),
        _ => out.push(0xc0),
    }
    Ok(())
}

/// How long something is: in the byte that says what it is, in one of its own, or in two or four.
fn write_head(
    out: &mut Vec<u8>,
    len: usize,
    (first, few): (u8, usize),
    one: Option<u8>,
    [two, four]: [u8; 2],
) {
    if len < few {
        return out.push(first | len as u8);
    }
    match (u8::try_from(len), one, u16::try_from(len)) {
        (Ok(len), Some(one), _) => out.extend_from_slice(&[one, len]),
        (_, _, Ok(len)) => {
            out.push(two);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(four);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

fn write_number(number: f64, out: &mut Vec<u8>) {
    let integer = crate::number::to_i64(number);
    if integer as f64 != number {
        if f64::from(number as f32) == number {
            out.push(0xca);
            return out.extend_from_slice(&(number as f32).to_be_bytes());
        }
        out.push(0xcb);
        return out.extend_from_slice(&number.to_be_bytes());
    }
    let (kind, bytes) = match integer {
        -32..=127 => return out.push(integer as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..-32 => (0xd0, 1),
        -0x8000..-128 => (0xd1, 2),
        -0x8000_0000..-0x8000 => (0xd2, 4),
        ..-0x8000_0000 => (0xd3, 8),
    };
    out.push(kind);
    out.extend_from_slice(&integer.to_be_bytes()[8 - bytes..]);
}

fn write_table(frame: &Frame, out: &mut Vec<u8>, depth: usize) -> Result<(), TooLong> {
    let (mut count, mut most, mut is_array) = (0, 0.0, true);
    frame.push_nil();
    while frame.next(-2) {
        frame.pop(1);
        count += 1;
        if frame.context().charge(4) {
            return Err(TooLong);
        }
        let key = if frame.kind(-1) == Kind::Number { frame.number(-1) } else { 0.0 };
        is_array &= key >= 1.0 && key.fract() == 0.0;
        most = f64::max(most, key);
    }
    if is_array && most == count as f64 {
        write_head(out, count, (0x90, 16), None, [0xdc, 0xdd]);
        return (1..=count as c_int).try_for_each(|index| {
            frame.raw_get_at(-1, index);
            let written = write(frame, out, depth + 1);
            frame.pop(1);
            written
        });
    }
    write_head(out, count, (0x80, 16), None, [0xde, 0xdf]);
    frame.push_nil();
    while frame.next(-2) {
        frame.push_value(-2);
        write(frame, out, depth + 1)?;
        frame.pop(1);
        write(frame, out, depth + 1)?;
        frame.pop(1);
    }
    Ok(())
}

fn unpack(frame: &Frame) -> Result<c_int, Raise> {
    read_some(frame, None, 0)
}

fn unpack_one(frame: &Frame) -> Result<c_int, Raise> {
    let offset = frame.integer_or(2, 0)?;
    read_some(frame, Some(1), offset)
}

fn unpack_limit(frame: &Frame) -> Result<c_int, Raise> {
    let (limit, offset) = (frame.check_integer(2)?, frame.integer_or(3, 0)?);
    read_some(frame, Some(limit), offset)
}

/// Reads so many values, or all of them; with a limit the next offset comes first, -1 at the end.
fn read_some(frame: &Frame, limit: Option<i64>, offset: i64) -> Result<c_int, Raise> {
    let bytes = frame.check_bytes(1)?;
    let len = bytes.len();
    if offset < 0 || limit.is_some_and(|limit| limit < 0) {
        return Err(frame
            .error(format_args!("Invalid request to unpack with offset of {offset} and limit of {len}.")));
    }
    let Some(rest) = bytes.get(offset as usize..) else {
        return Err(frame.error(format_args!("Start offset {offset} greater than input length {len}.")));
    };
    let most = limit.filter(|limit| *limit > 0).unwrap_or(i64::MAX);
    frame.set_top(1);
    let (mut reader, mut count) = (Reader { frame, rest, depth: 0 }, 0);
    while !reader.rest.is_empty() && i64::from(count) < most {
        reader.read()?;
        count += 1;
    }
    if limit.is_none() {
        return Ok(count);
    }
    let next = len - reader.rest.len();
    frame.push_number(if next == len { -1.0 } else { next as f64 });
    frame.insert(2);
    Ok(count + 1)
}

struct Reader<'r> {
    frame: &'r Frame,
    rest: &'r [u8],
    depth: usize,
}

impl<'r> Reader<'r> {
    fn bytes(&mut self, count: usize) -> Result<&'r [u8], Raise> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            return Err(Raise::Text(c"Missing bytes in input."));
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn unsigned(&mut self, count: usize) -> Result<u64, Raise> {
        Ok(self.bytes(count)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// Pushes the next value.
    fn read(&mut self) -> Result<(), Raise> {
        let frame = self.frame;
        if !frame.has_room(6) {
            return Err(Raise::Text(c"reached lua stack limit"));
        }
        if frame.context().charge(8) {
            return Err(Raise::Stopped);
        }
        let kind = self.unsigned(1)? as u8;
        match kind {
            0x00..=0x7f => frame.push_number(kind.into()),
            0xe0..=0xff => frame.push_number((kind as i8).into()),
            0xc0 => frame.push_nil(),
            0xc2 | 0xc3 => frame.push_boolean(kind == 0xc3),
            0xca => {
                let bits = self.unsigned(4)? as u32;
                frame.push_number(f32::from_bits(bits).into());
            }
            0xcb => {
                let bits = self.unsigned(8)?;
                frame.push_number(f64::from_bits(bits));
            }
            0xcc..=0xcf => {
                let number = self.unsigned(1 << (kind - 0xcc))?;
                frame.push_number(number as f64);
            }
            0xd0..=0xd3 => {
                let count = 1 << (kind - 0xd0);
                let number = self.unsigned(count)? << (64 - 8 * count);
                frame.push_number((number as i64 >> (64 - 8 * count)) as f64);
            }
            0xa0..=0xbf => self.string((kind & 0x1f).into())?,
            0xd9..=0xdb => {
                let len = self.unsigned(1 << (kind - 0xd9))?;
                self.string(len)?;
            }
            0x90..=0x9f => self.array((kind & 0xf).into())?,
            0xdc | 0xdd => {
                let len = self.unsigned(2 << (kind - 0xdc))?;
                self.array(len)?;
            }
            0x80..=0x8f => self.map((kind & 0xf).into())?,
            0xde | 0xdf => {
                let len = self.unsigned(2 << (kind - 0xde))?;
                self.map(len)?;
            }
            _ => return Err(Raise::Text(c"Bad data format in input.")),
        }
        Ok(())
    }

    fn string(&mut self, len: u64) -> Result<(), Raise> {
        let bytes = self.bytes(len as usize)?;
        self.frame.push_bytes(bytes);
        Ok(())
    }

    fn nested(&mut self) -> Result<(), Raise> {
        self.depth += 1;
        if self.depth > READ_DEPTH_MAX {
            return Err(Raise::Text(c"Bad data format in input."));
        }
        self.frame.push_table();
        Ok(())
    }

    fn array(&mut self, len: u64) -> Result<(), Raise> {
        self.nested()?;
        for index in 1..=len {
            self.read()?;
            self.frame.raw_set_at(-2, index as c_int);
        }
        self.depth -= 1;
        Ok(())
    }

    fn map(&mut self, len: u64) -> Result<(), Raise> {
        self.nested()?;
        for _ in 0..len {
            self.read()?;
            // What can be no key.
            let is_nan = self.frame.kind(-1) == Kind::Number && self.frame.number(-1).is_nan();
            if is_nan || self.frame.kind(-1) == Kind::Nil {
                return Err(Raise::Text(c"Bad data format in input."));
            }
            self.read()?;
            self.frame.raw_set(-3);
        }
        self.depth -= 1;
        Ok(())
    }
}
