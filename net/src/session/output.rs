//! Answers on their way out: small ones copied together, large values lent.

use super::bad_input::{BadInput, Errors};
use std::collections::VecDeque;
use torc_engine::segments::Lent;

/// One thing to send.
#[derive(Debug)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// Bytes of a shard's arena; they go back to that shard when they are sent.
    Lent(Lent),
}

impl Piece {
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Lent(lent) => lent.bytes(),
        }
    }
}

/// The answers of one connection that are not yet given to the transport.
#[derive(Debug, Default)]
pub struct Output {
    /// Sent before `tail`.
    pieces: VecDeque<Piece>,
    tail: Vec<u8>,
    /// Copied bytes in `pieces`: what the connection costs beside its tail.
    pieces_bytes: usize,
    /// Errors among the answers.
    errors: Errors,
}

impl Output {
    /// Says that an error which is written here answers bad input.
    pub(super) fn count_error(&mut self, what: BadInput) {
        self.errors.add(what);
    }

    /// Errors that were written since the last call.
    pub fn errors(&mut self) -> &mut Errors {
        &mut self.errors
    }

    /// Where small answers are appended.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Puts lent bytes behind all that was appended so far.
    pub fn lend(&mut self, lent: Lent) {
        if !self.tail.is_empty() {
            self.pieces_bytes += self.tail.len();
            self.pieces.push_back(Piece::Bytes(std::mem::take(&mut self.tail)));
        }
        self.pieces.push_back(Piece::Lent(lent));
    }

    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.pieces.is_empty()
    }

    /// Memory that waits here: copied bytes, and a little for each lent piece, which only pins.
    pub fn bytes(&self) -> usize {
        self.pieces_bytes + self.tail.len() + self.pieces.len() * PIECE_BYTES
    }

    /// Lent pieces, in order.
    pub fn lent(&self) -> impl DoubleEndedIterator<Item = &Lent> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Lent(lent) => Some(lent),
            Piece::Bytes(_) => None,
        })
    }

    /// Gives the tail room from `spare` if it has none yet, so that composing allocates nothing.
    #[inline]
    pub fn prepare(&mut self, spare: impl FnOnce() -> Vec<u8>) {
        if self.tail.capacity() == 0 {
            self.tail = spare();
        }
    }

    /// Takes the next piece to send; `spare` becomes the new, empty tail if the tail is taken.
    pub fn take(&mut self, spare: impl FnOnce() -> Vec<u8>) -> Option<Piece> {
        if let Some(piece) = self.pieces.pop_front() {
            if let Piece::Bytes(bytes) = &piece {
                self.pieces_bytes -= bytes.len();
            }
            return Some(piece);
        }
        if self.tail.is_empty() {
            return None;
        }
        Some(Piece::Bytes(std::mem::replace(&mut self.tail, spare())))
    }

    /// The buffer of a tail that nothing was written to, to be used elsewhere.
    pub fn unused_tail(&mut self) -> Option<Vec<u8>> {
        (self.tail.is_empty() && self.tail.capacity() > 0).then(|| std::mem::take(&mut self.tail))
    }
}

/// What a piece in the queue costs.
const PIECE_BYTES: usize = size_of::<Piece>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_taken_whole_and_counted() {
        let mut output = Output::default();
        assert!(output.is_empty());
        assert!(output.take(Vec::new).is_none());
        output.prepare(|| Vec::with_capacity(100));
        output.tail().extend_from_slice(b"+OK\r\n");
        assert_eq!(output.bytes(), 5);
        let Some(Piece::Bytes(bytes)) = output.take(|| Vec::with_capacity(10)) else { panic!("bytes wait") };
        assert_eq!((&bytes[..], output.bytes()), (&b"+OK\r\n"[..], 0));
        assert!(output.is_empty());
        assert!(output.unused_tail().is_some() && output.unused_tail().is_none());
    }
}
