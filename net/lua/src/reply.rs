//! What a script returns, as its client is answered.

use crate::frame::{Frame, Kind};
use crate::number;
use std::ffi::c_int;

/// Tables in tables, at most.
const DEPTH_MAX: usize = 1000;
const ROOM: c_int = 8;

/// Where a reply is written.
pub(crate) struct Reply<'r> {
    pub(crate) out: &'r mut Vec<u8>,
    /// The client's version of RESP is 3, and the script's.
    pub(crate) resp3: bool,
    pub(crate) script_resp3: bool,
    pub(crate) bytes_max: usize,
    pub(crate) depth: usize,
}

impl Reply<'_> {
    /// Writes the topmost value, and takes it from the stack. False: the reply is too long, or the script is stopped.
    pub(crate) fn write(&mut self, frame: &Frame) -> bool {
        if self.out.len() > self.bytes_max || frame.context().charge(8) {
            return false;
        }
        match frame.kind(-1) {
            Kind::String => {
                let bytes = frame.bytes(-1).unwrap_or_default();
                if self.out.len() + bytes.len() > self.bytes_max {
                    return false;
                }
                self.bulk(bytes);
            }
            Kind::Number => self.integer(number::to_i64(frame.number(-1))),
            Kind::Boolean if self.script_resp3 => self.boolean(frame.is_true(-1)),
            Kind::Boolean if frame.is_true(-1) => self.integer(1),
            Kind::Table => return self.table(frame),
            _ => self.null(),
        }
        frame.pop(1);
        true
    }

    fn table(&mut self, frame: &Frame) -> bool {
        if self.depth >= DEPTH_MAX || !frame.has_room(ROOM) {
            frame.pop(1);
            self.line(b'-', b"ERR reached lua stack limit");
            return true;
        }
        let top = frame.top();
        let is_written = self.special(frame).unwrap_or_else(|| self.list(frame));
        if is_written {
            frame.set_top(top - 1);
        }
        is_written
    }

    /// A table that stands for something else.
    fn special(&mut self, frame: &Frame) -> Option<bool> {
        for (name, kind) in [("err", b'-'), ("ok", b'+')] {
            frame.raw_field(-1, name);
            if frame.kind(-1) == Kind::String {
                self.line(kind, frame.bytes(-1).unwrap_or_default());
                return Some(true);
            }
            frame.pop(1);
        }
        frame.raw_field(-1, "double");
        if frame.kind(-1) == Kind::Number {
            self.double(frame.number(-1));
            return Some(true);
        }
        frame.pop(1);
        for name in ["map", "set"] {
            frame.raw_field(-1, name);
            if frame.kind(-1) == Kind::Table {
                return Some(self.entries(frame, name == "map"));
            }
            frame.pop(1);
        }
        frame.raw_field(-1, "big_number");
        if frame.kind(-1) == Kind::String {
            let bytes = frame.bytes(-1).unwrap_or_default();
            match self.resp3 {
                true => self.line(b'(', bytes),
                false => {
                    self.header(b'$', bytes.len());
                    self.text(bytes);
                }
            }
            return Some(true);
        }
        frame.pop(1);
        frame.raw_field(-1, "verbatim_string");
        if frame.kind(-1) == Kind::Table {
            frame.raw_field(-1, "format");
            frame.raw_field(-2, "string");
            if frame.kind(-1) == Kind::String && frame.kind(-2) == Kind::String {
                let text = frame.bytes(-1).unwrap_or_default();
                self.verbatim(frame.bytes(-2).unwrap_or_default(), text);
                return Some(true);
            }
            frame.pop(2);
        }
        frame.pop(1);
        None
    }

    /// The values of a sequence, up to the first nil.
    fn list(&mut self, frame: &Frame) -> bool {
        let mut len = 0;
        loop {
            frame.raw_get_at(-1, len + 1);
            let is_end = frame.kind(-1) == Kind::Nil;
            frame.pop(1);
            if is_end {
                break;
            }
            len += 1;
            if frame.context().charge(1) {
                return false;
            }
        }
        self.header(b'*', len as usize);
        self.depth += 1;
        for index in 1..=len {
            frame.raw_get_at(-1, index);
            if !self.write(frame) {
                return false;
            }
        }
        self.depth -= 1;
        true
    }

    /// The keys of the topmost table, and their values.
    fn entries(&mut self, frame: &Frame, is_map: bool) -> bool {
        let mut len = 0;
        frame.push_nil();
        while frame.next(-2) {
            frame.pop(1);
            len += 1;
            if frame.context().charge(1) {
                return false;
            }
        }
        match (self.resp3, is_map) {
            (true, true) => self.header(b'%', len),
            (true, false) => self.header(b'~', len),
            (false, _) => self.header(b'*', if is_map { 2 * len } else { len }),
        }
        self.depth += 1;
        frame.push_nil();
        while frame.next(-2) {
            // `write` takes a copy of the key, and the value.
            frame.push_value(-2);
            if !self.write(frame) {
                return false;
            }
            match is_map {
                true if !self.write(frame) => return false,
                true => {}
                false => frame.pop(1),
            }
        }
        self.depth -= 1;
        true
    }

    fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    fn boolean(&mut self, is_true: bool) {
        let text: &[u8] = match (self.resp3, is_true) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        };
        self.out.extend_from_slice(text);
    }

    fn integer(&mut self, number: i64) {
        self.out.push(b':');
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn double(&mut self, double: f64) {
        let mut text = Vec::with_capacity(32);
        number::write(double, 17, &mut text);
        if self.resp3 { self.line(b',', &text) } else { self.bulk(&text) }
    }

    fn verbatim(&mut self, format: &[u8], text: &[u8]) {
        if !self.resp3 {
            return self.bulk(text);
        }
        let format: [u8; 3] = std::array::from_fn(|at| format.get(at).copied().unwrap_or(b' '));
        self.header(b'=', text.len() + 4);
        self.out.extend_from_slice(&format);
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, kind: u8, len: usize) {
        self.out.push(kind);
        self.out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A line: ends of lines within it become blanks.
    pub(crate) fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.text(text);
    }

    fn text(&mut self, text: &[u8]) {
        let blank = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        self.out.extend(text.iter().map(blank));
        self.out.extend_from_slice(b"\r\n");
    }
}
