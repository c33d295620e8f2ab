//! Functions of the library `string` that could take long, in steps that are counted.

use crate::frame::{Frame, Function, Kind, Raise};
use crate::host::Stop;
use crate::pattern::{Bad, Capture, Matcher};
use std::ffi::c_int;

/// They take the place of Lua's own.
pub(crate) const FUNCTIONS: [(&str, Function); 8] = [
    ("find", find),
    ("match", match_one),
    ("gmatch", gmatch),
    ("gsub", gsub),
    ("rep", rep),
    ("upper", upper),
    ("lower", lower),
    ("reverse", reverse),
];

/// What makes more of a pattern than plain bytes.
const SPECIAL: &[u8] = b"^$*+?.([%-";

impl From<Bad> for Raise {
    fn from(bad: Bad) -> Raise {
        match bad {
            Bad::Pattern(text) => Raise::Text(text),
            Bad::Stopped => Raise::Stopped,
        }
    }
}

fn find(frame: &Frame) -> Result<c_int, Raise> {
    search(frame, true)
}

fn match_one(frame: &Frame) -> Result<c_int, Raise> {
    search(frame, false)
}

/// Where a search begins: `at` counts from 1, or from the end.
fn start(at: i64, len: usize) -> usize {
    let from_end = at.saturating_add(len as i64).saturating_add(1);
    let at = if at < 0 { from_end } else { at };
    (at.max(1) as usize - 1).min(len)
}

fn search(frame: &Frame, finds: bool) -> Result<c_int, Raise> {
    let (source, pattern) = (frame.check_bytes(1)?, frame.check_bytes(2)?);
    let mut at = start(frame.integer_or(3, 1)?, source.len());
    let context = frame.context();
    let text = &pattern[..memchr::memchr(0, pattern).unwrap_or(pattern.len())];
    if finds && (frame.is_true(4) || !text.iter().any(|byte| SPECIAL.contains(byte))) {
        if context.charge_bytes(source.len() - at + pattern.len()) {
            return Err(Raise::Stopped);
        }
        let found = memchr::memmem::find(&source[at..], pattern);
        return Ok(push_span(frame, found.map(|found| (at + found, at + found + pattern.len()))));
    }
    let is_anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(source, &pattern[usize::from(is_anchored)..], context);
    loop {
        if let Some(end) = matcher.match_at(at)? {
            let count = if finds { push_span(frame, Some((at, end))) } else { 0 };
            return Ok(count + push_captures(frame, source, &matcher, (!finds).then_some((at, end)))?);
        }
        at += 1;
        if is_anchored || at > source.len() {
            frame.push_nil();
            return Ok(1);
        }
    }
}

/// First and last byte, counted from 1.
fn push_span(frame: &Frame, span: Option<(usize, usize)>) -> c_int {
    let Some((start, end)) = span else {
        frame.push_nil();
        return 1;
    };
    frame.push_number((start + 1) as f64);
    frame.push_number(end as f64);
    2
}

/// Pushes all captures, or `whole` if there are none.
fn push_captures(
    frame: &Frame,
    source: &[u8],
    matcher: &Matcher<'_>,
    whole: Option<(usize, usize)>,
) -> Result<c_int, Raise> {
    let captures = matcher.captures();
    if let (true, Some((start, end))) = (captures.is_empty(), whole) {
        frame.push_bytes(&source[start..end]);
        return Ok(1);
    }
    if !frame.has_room(captures.len() as c_int) {
        return Err(Raise::Text(c"too many captures"));
    }
    captures.iter().try_for_each(|capture| push_capture(frame, source, *capture))?;
    Ok(captures.len() as c_int)
}

fn push_capture(frame: &Frame, source: &[u8], capture: Capture) -> Result<(), Raise> {
    match capture {
        Capture::Open(_) => return Err(Raise::Text(c"unfinished capture")),
        Capture::Span(start, end) => frame.push_bytes(&source[start..end]),
        Capture::Place(at) => frame.push_number((at + 1) as f64),
    }
    Ok(())
}

/// Pushes an iterator: it has source, pattern and place in a table of its own.
fn gmatch(frame: &Frame) -> Result<c_int, Raise> {
    frame.check_bytes(1)?;
    frame.check_bytes(2)?;
    frame.set_top(2);
    frame.push_number(0.0);
    frame.push_closure(gmatch_next, 3);
    Ok(1)
}

fn gmatch_next(frame: &Frame) -> Result<c_int, Raise> {
    let [source_at, pattern_at, place_at] = [0, 1, 2].map(Frame::upvalue);
    let source = frame.bytes(source_at).unwrap_or_default();
    let pattern = frame.bytes(pattern_at).unwrap_or_default();
    let mut at = frame.number(place_at) as usize;
    let mut matcher = Matcher::new(source, pattern, frame.context());
    while at <= source.len() {
        if let Some(end) = matcher.match_at(at)? {
            frame.push_number(if end == at { end + 1 } else { end } as f64);
            frame.replace(place_at);
            return push_captures(frame, source, &matcher, Some((at, end)));
        }
        at += 1;
    }
    frame.push_number(at as f64);
    frame.replace(place_at);
    Ok(0)
}

/// Pieces that lie on the stack before they are joined.
const PIECES: c_int = 12;

/// The result is put together on the stack: what replaces a match may be made by a function of the script.
fn gsub(frame: &Frame) -> Result<c_int, Raise> {
    let (source, pattern) = (frame.check_bytes(1)?, frame.check_bytes(2)?);
    if !matches!(frame.kind(3), Kind::String | Kind::Number | Kind::Function | Kind::Table) {
        return Err(Raise::Argument(3, c"string/function/table expected"));
    }
    if frame.kind(3) == Kind::Number {
        frame.bytes(3);
    }
    let most = frame.integer_or(4, source.len() as i64 + 1)?;
    frame.set_top(4);
    let is_anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(source, &pattern[usize::from(is_anchored)..], frame.context());
    let mut joined = Joined { frame, pieces: 0 };
    let (mut at, mut kept, mut count) = (0, 0, 0);
    while count < most {
        let found = matcher.match_at(at)?;
        if let Some(end) = found {
            count += 1;
            joined.add_bytes(&source[kept..at])?;
            replace(&mut joined, source, &matcher, (at, end))?;
            kept = end;
        }
        match found {
            Some(end) if end > at => at = end,
            _ if at < source.len() => at += 1,
            _ => break,
        }
        if is_anchored {
            break;
        }
    }
    joined.add_bytes(source.get(kept..).unwrap_or_default())?;
    joined.finish()?;
    frame.push_number(count as f64);
    Ok(2)
}

/// Pieces of a string behind the arguments of `gsub`: each is at least half as long as the one before, so joining costs little.
struct Joined<'j> {
    frame: &'j Frame,
    pieces: c_int,
}

impl Joined<'_> {
    fn add_bytes(&mut self, bytes: &[u8]) -> Result<(), Raise> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.frame.push_bytes(bytes);
        self.add()
    }

    /// The topmost value is the next piece.
    fn add(&mut self) -> Result<(), Raise> {
        self.pieces += 1;
        let mut joined = 1;
        let mut len = self.frame.len(-1);
        while joined < self.pieces && (self.frame.len(-joined - 1) <= len || self.pieces - joined >= PIECES) {
            len += self.frame.len(-joined - 1);
            joined += 1;
        }
        self.join(joined)
    }

    fn join(&mut self, count: c_int) -> Result<(), Raise> {
        if count > 1 {
            let len: usize = (1..=count).map(|at| self.frame.len(-at)).sum();
            if self.frame.context().charge_bytes(len) {
                return Err(Raise::Stopped);
            }
            self.frame.concat(count);
            self.pieces -= count - 1;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Raise> {
        match self.pieces {
            0 => {
                self.frame.push_bytes(b"");
                Ok(())
            }
            pieces => self.join(pieces),
        }
    }
}

/// Adds what replaces a match.
fn replace(
    joined: &mut Joined<'_>,
    source: &[u8],
    matcher: &Matcher<'_>,
    (start, end): (usize, usize),
) -> Result<(), Raise> {
    let frame = joined.frame;
    match frame.kind(3) {
        Kind::String => return expand(joined, source, matcher, (start, end)),
        Kind::Table => {
            push_captures(frame, source, matcher, Some((start, end)))?;
            let extra = matcher.captures().len().max(1) as c_int - 1;
            frame.pop(extra);
            frame.get(3);
        }
        _ => {
            frame.push_value(3);
            let count = push_captures(frame, source, matcher, Some((start, end)))?;
            frame.call(count, 1);
        }
    }
    match frame.kind(-1) {
        Kind::String => {}
        Kind::Number => {
            frame.bytes(-1);
        }
        _ if !frame.is_true(-1) => {
            frame.pop(1);
            return joined.add_bytes(&source[start..end]);
        }
        kind => {
            let text = match kind {
                Kind::Table => c"invalid replacement value (a table)",
                Kind::Boolean => c"invalid replacement value (a boolean)",
                Kind::Function => c"invalid replacement value (a function)",
                _ => c"invalid replacement value (a userdata)",
            };
            return Err(Raise::Text(text));
        }
    }
    joined.add()
}

/// Adds the replacement string, with what `%0` to `%9` stand for.
fn expand(
    joined: &mut Joined<'_>,
    source: &[u8],
    matcher: &Matcher<'_>,
    (start, end): (usize, usize),
) -> Result<(), Raise> {
    let frame = joined.frame;
    let text = frame.bytes(3).unwrap_or_default();
    let mut at = 0;
    while at < text.len() {
        let plain = memchr::memchr(b'%', &text[at..]).map_or(text.len(), |found| at + found);
        joined.add_bytes(&text[at..plain])?;
        if plain == text.len() {
            break;
        }
        match text.get(plain + 1).copied().unwrap_or(0) {
            b'0' => joined.add_bytes(&source[start..end])?,
            digit @ b'1'..=b'9' => {
                let captures = matcher.captures();
                match captures.get(usize::from(digit - b'1')) {
                    Some(capture) => {
                        push_capture(frame, source, *capture)?;
                        frame.bytes(-1);
                        joined.add()?;
                    }
                    None if digit == b'1' && captures.is_empty() => joined.add_bytes(&source[start..end])?,
                    None => return Err(Raise::Text(c"invalid capture index")),
                }
            }
            other => joined.add_bytes(&[other])?,
        }
        at = plain + 2;
    }
    Ok(())
}

fn rep(frame: &Frame) -> Result<c_int, Raise> {
    let text = frame.check_bytes(1)?;
    let count = frame.check_integer(2)?.max(0) as usize;
    let context = frame.context();
    let Some(len) = text.len().checked_mul(count).filter(|len| *len <= context.reply_max.get()) else {
        context.stop(Stop::Memory);
        return Err(Raise::Stopped);
    };
    made(frame, len, |out| {
        if len > 0 {
            out.resize(len, 0);
            out.chunks_exact_mut(text.len()).for_each(|chunk| chunk.copy_from_slice(text));
        }
    })
}

fn upper(frame: &Frame) -> Result<c_int, Raise> {
    let text = frame.check_bytes(1)?;
    made(frame, text.len(), |out| out.extend(text.iter().map(u8::to_ascii_uppercase)))
}

fn lower(frame: &Frame) -> Result<c_int, Raise> {
    let text = frame.check_bytes(1)?;
    made(frame, text.len(), |out| out.extend(text.iter().map(u8::to_ascii_lowercase)))
}

fn reverse(frame: &Frame) -> Result<c_int, Raise> {
    let text = frame.check_bytes(1)?;
    made(frame, text.len(), |out| out.extend(text.iter().rev()))
}

/// Pushes a string of so many bytes.
fn made(frame: &Frame, len: usize, make: impl FnOnce(&mut Vec<u8>)) -> Result<c_int, Raise> {
    let context = frame.context();
    if context.charge_bytes(4 * len) {
        return Err(Raise::Stopped);
    }
    context.text.fill(make);
    frame.push_bytes(context.text.bytes());
    Ok(1)
}
