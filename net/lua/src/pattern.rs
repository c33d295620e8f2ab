//! Patterns of Lua 5.1, matched by steps that are counted.
//!
//! As in Lua: backtracking, so a pattern can take a time that is exponential in its length; `%z` is a zero, and a zero in a pattern is its
//! end.

use crate::context::Context;
use std::ffi::CStr;

/// Captures of a pattern.
pub(crate) const CAPTURES_MAX: usize = 32;
/// Nested calls of the matcher: each stands for a part of the pattern.
const DEPTH_MAX: usize = 400;
const ESCAPE: u8 = b'%';

/// Why a pattern does not match anything.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bad {
    Pattern(&'static CStr),
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    /// Begins here, and has not ended.
    Open(usize),
    /// First byte and the one behind the last.
    Span(usize, usize),
    /// A place: the number of the byte, from 0.
    Place(usize),
}

pub(crate) struct Matcher<'m> {
    source: &'m [u8],
    pattern: &'m [u8],
    context: &'m Context,
    captures: [Capture; CAPTURES_MAX],
    level: usize,
    depth: usize,
}

type Matched = Result<Option<usize>, Bad>;

impl<'m> Matcher<'m> {
    pub(crate) fn new(source: &'m [u8], pattern: &'m [u8], context: &'m Context) -> Matcher<'m> {
        let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
        let pattern = &pattern[..end];
        let captures = [Capture::Place(0); CAPTURES_MAX];
        Matcher { source, pattern, context, captures, level: 0, depth: 0 }
    }

    pub(crate) fn captures(&self) -> &[Capture] {
        &self.captures[..self.level]
    }

    /// Whether the pattern matches at `at`: the end of the match.
    pub(crate) fn match_at(&mut self, at: usize) -> Matched {
        (self.level, self.depth) = (0, 0);
        self.run(at, 0)
    }

    fn byte(&self, p: usize) -> Option<u8> {
        self.pattern.get(p).copied()
    }

    fn step(&self) -> Result<(), Bad> {
        if self.context.charge(4) { Err(Bad::Stopped) } else { Ok(()) }
    }

    fn run(&mut self, s: usize, p: usize) -> Matched {
        if self.depth >= DEPTH_MAX {
            return Err(Bad::Pattern(c"pattern too complex"));
        }
        self.depth += 1;
        let result = self.go(s, p);
        self.depth -= 1;
        result
    }

    fn go(&mut self, mut s: usize, mut p: usize) -> Matched {
        loop {
            self.step()?;
            let Some(byte) = self.byte(p) else { return Ok(Some(s)) };
            match byte {
                b'(' if self.byte(p + 1) == Some(b')') => {
                    return self.begin_capture(s, p + 2, Capture::Place(s));
                }
                b'(' => return self.begin_capture(s, p + 1, Capture::Open(s)),
                b')' => return self.end_capture(s, p + 1),
                b'$' if p + 1 == self.pattern.len() => {
                    return Ok((s == self.source.len()).then_some(s));
                }
                ESCAPE if self.byte(p + 1) == Some(b'b') => match self.balance(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                ESCAPE if self.byte(p + 1) == Some(b'f') => {
                    let set = p + 2;
                    if self.byte(set) != Some(b'[') {
                        return Err(Bad::Pattern(c"missing '[' after '%f' in pattern"));
                    }
                    let end = self.class_end(set)?;
                    let before = if s == 0 { 0 } else { self.source[s - 1] };
                    let here = self.source.get(s).copied().unwrap_or(0);
                    if self.set_has(before, set, end - 1) || !self.set_has(here, set, end - 1) {
                        return Ok(None);
                    }
                    p = end;
                }
                ESCAPE if self.byte(p + 1).is_some_and(|byte| byte.is_ascii_digit()) => {
                    match self.back_reference(s, p + 1)? {
                        Some(end) => (s, p) = (end, p + 2),
                        None => return Ok(None),
                    }
                }
                _ => {
                    let end = self.class_end(p)?;
                    let fits = self.fits(s, p, end);
                    match self.byte(end) {
                        Some(b'?') => {
                            if fits && let Some(found) = self.run(s + 1, end + 1)? {
                                return Ok(Some(found));
                            }
                            p = end + 1;
                        }
                        Some(b'*') => return self.longest(s, p, end),
                        Some(b'+') if fits => return self.longest(s + 1, p, end),
                        Some(b'-') => return self.shortest(s, p, end),
                        Some(b'+') => return Ok(None),
                        _ if !fits => return Ok(None),
                        _ => (s, p) = (s + 1, end),
                    }
                }
            }
        }
    }

    /// The end of the class that begins at `p`.
    fn class_end(&self, p: usize) -> Result<usize, Bad> {
        match self.byte(p) {
            Some(ESCAPE) => match self.byte(p + 1) {
                Some(_) => Ok(p + 2),
                None => Err(Bad::Pattern(c"malformed pattern (ends with '%')")),
            },
            Some(b'[') => {
                let mut at = p + 1;
                if self.byte(at) == Some(b'^') {
                    at += 1;
                }
                // The first one may be the end's sign itself.
                loop {
                    match self.byte(at) {
                        None => return Err(Bad::Pattern(c"malformed pattern (missing ']')")),
                        Some(ESCAPE) => at += 2,
                        Some(_) => at += 1,
                    }
                    if self.byte(at) == Some(b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the byte at `s` is of the class from `p` to `end`.
    fn fits(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.source.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            ESCAPE => is_of(byte, self.pattern[p + 1]),
            b'[' => self.set_has(byte, p, end - 1),
            plain => plain == byte,
        }
    }

    /// Whether a set has a byte; it begins at `p`, and its closing bracket is at `end`.
    fn set_has(&self, byte: u8, p: usize, end: usize) -> bool {
        let mut at = p + 1;
        let is_negated = self.pattern[at] == b'^';
        if is_negated {
            at += 1;
        }
        while at < end {
            if self.pattern[at] == ESCAPE {
                if is_of(byte, self.pattern[at + 1]) {
                    return !is_negated;
                }
                at += 2;
            } else if at + 2 < end && self.pattern[at + 1] == b'-' {
                if (self.pattern[at]..=self.pattern[at + 2]).contains(&byte) {
                    return !is_negated;
                }
                at += 3;
            } else {
                if self.pattern[at] == byte {
                    return !is_negated;
                }
                at += 1;
            }
        }
        is_negated
    }

    fn longest(&mut self, s: usize, p: usize, end: usize) -> Matched {
        let mut count = 0;
        while self.fits(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        loop {
            if let Some(found) = self.run(s + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn shortest(&mut self, mut s: usize, p: usize, end: usize) -> Matched {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.fits(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn begin_capture(&mut self, s: usize, p: usize, capture: Capture) -> Matched {
        let level = self.level;
        if level >= CAPTURES_MAX {
            return Err(Bad::Pattern(c"too many captures"));
        }
        self.captures[level] = capture;
        self.level += 1;
        let found = self.run(s, p)?;
        if found.is_none() {
            self.level = level;
        }
        Ok(found)
    }

    fn end_capture(&mut self, s: usize, p: usize) -> Matched {
        let is_open = |capture: &Capture| matches!(capture, Capture::Open(_));
        let Some(at) = self.captures().iter().rposition(is_open) else {
            return Err(Bad::Pattern(c"invalid pattern capture"));
        };
        let Capture::Open(start) = self.captures[at] else { return Ok(None) };
        self.captures[at] = Capture::Span(start, s);
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures[at] = Capture::Open(start);
        }
        Ok(found)
    }

    /// `%bxy`: from an x to its y.
    fn balance(&self, s: usize, p: usize) -> Matched {
        let (Some(open), Some(close)) = (self.byte(p), self.byte(p + 1)) else {
            return Err(Bad::Pattern(c"unbalanced pattern"));
        };
        if self.source.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut nested = 1;
        for (at, byte) in self.source.iter().enumerate().skip(s + 1) {
            self.step()?;
            if *byte == close {
                nested -= 1;
                if nested == 0 {
                    return Ok(Some(at + 1));
                }
            } else if *byte == open {
                nested += 1;
            }
        }
        Ok(None)
    }

    /// `%1`: what a capture has, once more.
    fn back_reference(&self, s: usize, p: usize) -> Matched {
        let at = usize::from(self.pattern[p]).wrapping_sub(usize::from(b'1'));
        let span = match self.captures().get(at) {
            Some(Capture::Span(start, end)) => &self.source[*start..*end],
            Some(Capture::Place(_)) => return Ok(None),
            Some(Capture::Open(_)) | None => return Err(Bad::Pattern(c"invalid capture index")),
        };
        if self.context.charge_bytes(span.len()) {
            return Err(Bad::Stopped);
        }
        Ok(self.source[s..].starts_with(span).then_some(s + span.len()))
    }
}

/// Whether a byte is of a class that is named by a letter.
fn is_of(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0B,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is != class.is_ascii_uppercase()
}
