//! Values of Lua as JSON.

use super::{Config, DEPTH_MAX};
use crate::frame::{Frame, Kind, Raise};
use crate::host::Stop;
use crate::number;
use std::ffi::c_int;

/// Why a value is not written.
enum Bad {
    Type(&'static str, &'static str),
    Depth(u32),
    TooLong,
}

pub(super) fn encode(frame: &Frame) -> Result<c_int, Raise> {
    if frame.top() != 1 {
        return Err(Raise::Argument(1, c"expected 1 argument"));
    }
    let context = frame.context();
    // All that writing needs, so that nothing is raised meanwhile.
    if !frame.has_room(3 * DEPTH_MAX as c_int + 16) {
        return Err(Raise::Text(c"reached lua stack limit"));
    }
    let config = context.json.get();
    let written = context.text.fill(|out| Writer { frame, config, out, depth: 0 }.value());
    match written {
        Ok(()) => {
            frame.push_bytes(context.text.bytes());
            Ok(1)
        }
        Err(Bad::Type(name, why)) => Err(frame.error(format_args!("Cannot serialise {name}: {why}"))),
        Err(Bad::Depth(depth)) => {
            Err(frame.error(format_args!("Cannot serialise, excessive nesting ({depth})")))
        }
        Err(Bad::TooLong) => {
            context.stop(Stop::Memory);
            Err(Raise::Stopped)
        }
    }
}

struct Writer<'w> {
    frame: &'w Frame,
    config: Config,
    out: &'w mut Vec<u8>,
    depth: u32,
}

impl Writer<'_> {
    /// Writes the topmost value.
    fn value(&mut self) -> Result<(), Bad> {
        let context = self.frame.context();
        if self.out.len() > context.reply_max.get() || context.charge(8) {
            return Err(Bad::TooLong);
        }
        match self.frame.kind(-1) {
            Kind::String => self.string(self.frame.bytes(-1).unwrap_or_default()),
            Kind::Number => return self.number(self.frame.number(-1)),
            Kind::Boolean if self.frame.is_true(-1) => self.out.extend_from_slice(b"true"),
            Kind::Boolean => self.out.extend_from_slice(b"false"),
            Kind::Table => {
                self.depth += 1;
                if self.depth > self.config.encode_depth {
                    return Err(Bad::Depth(self.depth));
                }
                match self.array_len()? {
                    0 => self.object()?,
                    len => self.array(len)?,
                }
                self.depth -= 1;
            }
            Kind::None | Kind::Nil => self.out.extend_from_slice(b"null"),
            Kind::Other if self.frame.is_null(-1) => self.out.extend_from_slice(b"null"),
            _ => return Err(Bad::Type(self.frame.type_name(-1), "type not supported")),
        }
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), Bad> {
        if number.is_finite() {
            number::write(number, self.config.precision as usize, self.out);
        } else if self.config.null_for_invalid {
            self.out.extend_from_slice(b"null");
        } else if self.config.writes_invalid {
            number::write(number, 14, self.out);
        } else {
            return Err(Bad::Type("number", "must not be NaN or Inf"));
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        for byte in bytes {
            let escaped: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'/' => b"\\/",
                0x08 => b"\\b",
                b'\t' => b"\\t",
                b'\n' => b"\\n",
                0x0C => b"\\f",
                b'\r' => b"\\r",
                0..=0x1F | 0x7F => {
                    let digit = |four: u8| b"0123456789abcdef"[usize::from(four & 15)];
                    self.out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(*byte)]);
                    continue;
                }
                plain => std::slice::from_ref(plain),
            };
            self.out.extend_from_slice(escaped);
        }
        self.out.push(b'"');
    }

    /// The length of the topmost table, if it is an array; else 0.
    fn array_len(&mut self) -> Result<usize, Bad> {
        let (mut count, mut most) = (0, 0.0);
        self.frame.push_nil();
        while self.frame.next(-2) {
            self.frame.pop(1);
            if self.frame.context().charge(4) {
                return Err(Bad::TooLong);
            }
            let key = if self.frame.kind(-1) == Kind::Number { self.frame.number(-1) } else { 0.0 };
            if key < 1.0 || key.fract() != 0.0 {
                self.frame.pop(1);
                return Ok(0);
            }
            count += 1;
            most = f64::max(most, key);
        }
        let Config { sparse_ratio, sparse_safe, sparse_is_object, .. } = self.config;
        let is_sparse = sparse_ratio > 0
            && most > f64::from(count) * f64::from(sparse_ratio)
            && most > f64::from(sparse_safe);
        match (is_sparse, sparse_is_object) {
            (false, _) => Ok(most as usize),
            (true, true) => Ok(0),
            (true, false) => Err(Bad::Type("table", "excessively sparse array")),
        }
    }

    fn array(&mut self, len: usize) -> Result<(), Bad> {
        self.out.push(b'[');
        for index in 1..=len {
            if index > 1 {
                self.out.push(b',');
            }
            self.frame.raw_get_at(-1, index as c_int);
            self.value()?;
            self.frame.pop(1);
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self) -> Result<(), Bad> {
        self.out.push(b'{');
        let mut is_first = true;
        self.frame.push_nil();
        while self.frame.next(-2) {
            if !std::mem::replace(&mut is_first, false) {
                self.out.push(b',');
            }
            match self.frame.kind(-2) {
                Kind::Number => {
                    self.out.push(b'"');
                    self.number(self.frame.number(-2))?;
                    self.out.push(b'"');
                }
                Kind::String => self.string(self.frame.bytes(-2).unwrap_or_default()),
                _ => {
                    let name = self.frame.type_name(-2);
                    return Err(Bad::Type(name, "table key must be a number or string"));
                }
            }
            self.out.push(b':');
            self.value()?;
            self.frame.pop(1);
        }
        self.out.push(b'}');
        Ok(())
    }
}
