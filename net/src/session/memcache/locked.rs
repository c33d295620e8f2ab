//! memcached's way to give a password (its `-Y`): the first command is a `set`, whose value is `user password`. Key, flags and expiry are
//! not looked at.

use super::lower::part;
use super::reply_kind::{Denial, Kind};
use super::{Reading, Session, Step};
use crate::session::locked::{self, REQUEST_BYTES_MAX};
use crate::session::part::{Part, Work};
use torc_proto::memcache::LINE_END;

/// Longest line without an end, bytes.
const LINE_BYTES_MAX: usize = 2048;

impl Session {
    /// Nothing is done for its client before it has given a password.
    pub(in crate::session) fn lock(mut self) -> Session {
        self.reading = Reading::Locked;
        self
    }

    pub fn is_locked(&self) -> bool {
        matches!(self.reading, Reading::Locked | Reading::Entering)
    }

    /// See [`crate::session::Session::entered`].
    pub fn entered(&mut self, is_through: bool) {
        self.reading = if is_through { Reading::Lines } else { Reading::Locked };
    }

    /// The line at the start of `rest`, of a client that has given no password.
    pub(super) fn locked<'a>(&mut self, rest: &'a [u8], parts: &mut Vec<Part<'a>>) -> Step {
        let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
        let Some(end) = memchr::memchr(b'\n', window) else {
            return if rest.len() < LINE_BYTES_MAX { Step::Needs(1) } else { self.hang_up(rest, parts) };
        };
        let line_bytes = end + 1;
        let mut words =
            rest[..end].split(|byte| matches!(byte, b' ' | b'\r')).filter(|word| !word.is_empty());
        let value_bytes = match (words.next(), words.nth(3)) {
            (Some(b"set"), Some(bytes)) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        let Some(value_bytes) = value_bytes.filter(|bytes: &usize| *bytes <= REQUEST_BYTES_MAX) else {
            return match value_bytes {
                Some(_) => self.hang_up(rest, parts),
                None => self.deny(Denial::Unauthenticated, line_bytes, parts),
            };
        };
        let whole = line_bytes + value_bytes + LINE_END.len();
        let Some(value) = rest.get(line_bytes..whole) else { return Step::Needs(whole - rest.len()) };
        let Some(value) = value.strip_suffix(LINE_END) else {
            return self.deny(Denial::Termination, whole, parts);
        };
        let mut words = value.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        match (words.next(), words.next()) {
            (Some(user), Some(password)) => {
                self.reading = Reading::Entering;
                parts.push(part(Work::Enter { user, password }, Kind::Entered));
                Step::Took(whole)
            }
            _ => self.deny(Denial::Words, whole, parts),
        }
    }

    fn deny(&mut self, denial: Denial, consumed: usize, parts: &mut Vec<Part<'_>>) -> Step {
        let work = if locked::count(&mut self.refused) { Work::Local } else { Work::Close };
        if matches!(work, Work::Close) {
            self.reading = Reading::Closed;
        }
        parts.push(part(work, Kind::Denied(denial)));
        Step::Took(consumed)
    }

    /// What comes is no password: the connection is closed, without a word as in memcached.
    fn hang_up(&mut self, rest: &[u8], parts: &mut Vec<Part<'_>>) -> Step {
        self.reading = Reading::Closed;
        parts.push(part(Work::Close, Kind::Silent));
        Step::Took(rest.len())
    }
}
