//! JSON as values of Lua.

use super::Config;
use crate::frame::{Frame, Raise};
use std::ffi::c_int;

pub(super) fn decode(frame: &Frame) -> Result<c_int, Raise> {
    if frame.top() != 1 {
        return Err(Raise::Argument(1, c"expected 1 argument"));
    }
    let text = frame.check_bytes(1)?;
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(Raise::Text(c"JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut reader = Reader { frame, text, at: 0, depth: 0, config: frame.context().json.get() };
    let token = reader.token()?;
    reader.value(token)?;
    match reader.token()? {
        (Token::End, _) => Ok(1),
        (token, at) => Err(reader.unexpected("the end", token, at)),
    }
}

#[derive(Debug, Clone, Copy)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// It is in the context's buffer.
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// What is wrong there.
    Bad(&'static str),
}

impl Token {
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Bad(what) => what,
        }
    }
}

struct Reader<'r> {
    frame: &'r Frame,
    text: &'r [u8],
    at: usize,
    depth: u32,
    config: Config,
}

impl Reader<'_> {
    fn unexpected(&self, expected: &str, token: Token, at: usize) -> Raise {
        let (found, place) = (token.name(), at + 1);
        self.frame.error(format_args!("Expected {expected} but found {found} at character {place}"))
    }

    /// The next token, and where it begins.
    fn token(&mut self) -> Result<(Token, usize), Raise> {
        if self.frame.context().charge(8) {
            return Err(Raise::Stopped);
        }
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        let at = self.at;
        let Some(&byte) = self.text.get(at) else { return Ok((Token::End, at)) };
        let plain = match byte {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            // A string of C ends here.
            0 => return Ok((Token::End, at)),
            b'"' => return self.string(),
            _ => return Ok(self.word()),
        };
        self.at += 1;
        Ok((plain, at))
    }

    fn word(&mut self) -> (Token, usize) {
        let (at, rest) = (self.at, &self.text[self.at..]);
        let words = [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)];
        let is_usual = rest[0] == b'-' || rest[0].is_ascii_digit();
        if !is_usual {
            for (word, token) in words {
                if rest.starts_with(word.as_bytes()) {
                    self.at += word.len();
                    return (token, at);
                }
            }
        }
        let is_invalid = is_invalid_number(rest);
        match (is_usual, is_invalid, self.config.reads_invalid) {
            (true, true, false) => (Token::Bad("invalid number"), at),
            (true, ..) | (false, true, true) => match number_at(rest) {
                Some((number, len)) => {
                    self.at += len;
                    (Token::Number(number), at)
                }
                None => (Token::Bad("invalid number"), at),
            },
            _ => (Token::Bad("invalid token"), at),
        }
    }

    /// A string: its bytes are put into the context's buffer.
    fn string(&mut self) -> Result<(Token, usize), Raise> {
        let start = self.at;
        let mut at = start + 1;
        let text = self.text;
        let token = self.frame.context().text.fill(|out| {
            loop {
                let rest = text.get(at..).unwrap_or_default();
                let plain = memchr::memchr3(b'"', b'\\', 0, rest).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..plain]);
                at += plain;
                match text.get(at) {
                    Some(b'"') => return (Token::String, start, at + 1),
                    Some(b'\\') => match escape(&text[at..], out) {
                        Ok(len) => at += len,
                        Err(what) => return (Token::Bad(what), at, at),
                    },
                    _ => return (Token::Bad("unexpected end of string"), at, at),
                }
            }
        });
        self.at = token.2;
        if self.frame.context().charge_bytes(self.at - start) {
            return Err(Raise::Stopped);
        }
        Ok((token.0, token.1))
    }

    fn push_string(&self) {
        self.frame.push_bytes(self.frame.context().text.bytes());
    }

    /// Pushes the value that begins with a token.
    fn value(&mut self, (token, at): (Token, usize)) -> Result<(), Raise> {
        match token {
            Token::String => self.push_string(),
            Token::Number(number) => self.frame.push_number(number),
            Token::Boolean(is_true) => self.frame.push_boolean(is_true),
            Token::Null => self.frame.push_null(),
            Token::ObjectBegin => return self.nested(Self::object),
            Token::ArrayBegin => return self.nested(Self::array),
            other => return Err(self.unexpected("value", other, at)),
        }
        Ok(())
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<(), Raise>) -> Result<(), Raise> {
        self.depth += 1;
        if self.depth > self.config.decode_depth || !self.frame.has_room(6) {
            let (depth, at) = (self.depth, self.at);
            return Err(self
                .frame
                .error(format_args!("Found too many nested data structures ({depth}) at character {at}")));
        }
        self.frame.push_table();
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self) -> Result<(), Raise> {
        let mut token = self.token()?;
        if let Token::ObjectEnd = token.0 {
            return Ok(());
        }
        loop {
            match token {
                (Token::String, _) => self.push_string(),
                (other, at) => return Err(self.unexpected("object key string", other, at)),
            }
            match self.token()? {
                (Token::Colon, _) => {}
                (other, at) => return Err(self.unexpected("colon", other, at)),
            }
            let value = self.token()?;
            self.value(value)?;
            self.frame.raw_set(-3);
            match self.token()? {
                (Token::ObjectEnd, _) => return Ok(()),
                (Token::Comma, _) => token = self.token()?,
                (other, at) => return Err(self.unexpected("comma or object end", other, at)),
            }
        }
    }

    fn array(&mut self) -> Result<(), Raise> {
        let mut token = self.token()?;
        if let Token::ArrayEnd = token.0 {
            return Ok(());
        }
        for index in 1.. {
            self.value(token)?;
            self.frame.raw_set_at(-2, index);
            match self.token()? {
                (Token::ArrayEnd, _) => break,
                (Token::Comma, _) => token = self.token()?,
                (other, at) => return Err(self.unexpected("comma or array end", other, at)),
            }
        }
        Ok(())
    }
}

/// Appends what an escape stands for, and says how long it is.
fn escape(text: &[u8], out: &mut Vec<u8>) -> Result<usize, &'static str> {
    let byte = match text.get(1) {
        Some(b'b') => 0x08,
        Some(b't') => b'\t',
        Some(b'n') => b'\n',
        Some(b'f') => 0x0C,
        Some(b'r') => b'\r',
        Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
        Some(b'u') => return unicode(text, out).ok_or("invalid unicode escape code"),
        _ => return Err("invalid escape code"),
    };
    out.push(byte);
    Ok(2)
}

fn unicode(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let code = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let first = code(2)?;
    let (code, len) = match first {
        0xD800..0xDC00 => {
            let second = if text.get(6..8) == Some(b"\\u") { code(8)? } else { return None };
            let low = (0xDC00..0xE000).contains(&second).then(|| second - 0xDC00)?;
            (0x1_0000 + ((first - 0xD800) << 10 | low), 12)
        }
        0xDC00..0xE000 => return None,
        code => (code, 6),
    };
    let mut bytes = [0; 4];
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut bytes).as_bytes());
    Some(len)
}

/// A number that C reads, and JSON has not got.
fn is_invalid_number(text: &[u8]) -> bool {
    if text[0] == b'+' {
        return true;
    }
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    match rest.first() {
        Some(b'0') => matches!(rest.get(1), Some(b'x' | b'X' | b'0'..=b'9')),
        Some(_) => ["inf", "nan"].iter().any(|word| starts_with(rest, word)),
        None => false,
    }
}

fn starts_with(text: &[u8], word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

/// Digits of an integer of base 16 that count, at most.
const HEX_DIGITS_MAX: usize = 256;

/// The number at the start of a text, as C's `strtod` reads it, and its length.
fn number_at(text: &[u8]) -> Option<(f64, usize)> {
    let sign_len = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let sign = if text[0] == b'-' { -1.0 } else { 1.0 };
    let rest = &text[sign_len..];
    for (word, number) in [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)] {
        if starts_with(rest, word) {
            return Some((sign * number, sign_len + word.len()));
        }
    }
    if let [b'0', b'x' | b'X', digits @ ..] = rest
        && digits.first().is_some_and(u8::is_ascii_hexdigit)
    {
        let count = digits.iter().take(HEX_DIGITS_MAX).take_while(|byte| byte.is_ascii_hexdigit()).count();
        let digit = |byte: &u8| f64::from(char::from(*byte).to_digit(16).unwrap_or(0));
        let number = digits[..count].iter().fold(0.0, |sum, byte| sum * 16.0 + digit(byte));
        return Some((sign * number, sign_len + 2 + count));
    }
    let digits =
        |from: usize| rest[from.min(rest.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    let mut fraction = 0;
    if rest.get(len) == Some(&b'.') {
        fraction = digits(len + 1);
        len += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = rest.get(len) {
        let signed = usize::from(matches!(rest.get(len + 1), Some(b'-' | b'+')));
        let exponent = digits(len + 1 + signed);
        if exponent > 0 {
            len += 1 + signed + exponent;
        }
    }
    let number: f64 = std::str::from_utf8(&rest[..len]).ok()?.parse().ok()?;
    Some((sign * number, sign_len + len))
}
