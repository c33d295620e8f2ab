//! Bytes that have come and were not read.

use std::collections::VecDeque;

/// Bytes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// In the landing; else in a receive.
    pub(super) landed: bool,
    /// Where they begin in the landing, or the receive's number.
    pub(super) place: usize,
    pub(super) len: usize,
    /// Bytes that were not read.
    pub(super) left: usize,
}

impl Part {
    pub(super) fn landed(at: usize, len: usize) -> Part {
        Part { landed: true, place: at, len, left: len }
    }

    pub(super) fn received(number: u16, len: usize) -> Part {
        Part { landed: false, place: number.into(), len, left: len }
    }

    /// Bytes that were read.
    pub(super) fn read(&self) -> usize {
        self.len - self.left
    }
}

/// In the order of the stream. Not more than there are receives, and units of the landing.
#[derive(Debug)]
pub(super) struct Inbox(VecDeque<Part>);

impl Inbox {
    /// With room for so many that no more is needed most times.
    pub(super) fn new(parts: usize) -> Inbox {
        Inbox(VecDeque::with_capacity(parts))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, part: Part) {
        self.0.push_back(part);
    }

    pub(super) fn front(&self) -> Option<&Part> {
        self.0.front()
    }

    /// So many bytes of the first part were read; the part, if that was all of it.
    pub(super) fn take(&mut self, count: usize) -> Option<Part> {
        let part = self.0.front_mut()?;
        part.left -= count;
        if part.left == 0 { self.0.pop_front() } else { None }
    }
}
