//! Answers on their way out: small ones copied together, large values lent.

use std::collections::VecDeque;
use torc_engine::segments::Lent;

/// One thing to send.
#[derive(Debug)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// Bytes of a shard's arena; they go back to that shard when they are sent.
    Lent(Lent),
}

/// The answers of one connection that are not yet given to the transport.
#[derive(Debug, Default)]
pub struct Output {
    /// Sent before `tail`.
    pieces: VecDeque<Piece>,
    tail: Vec<u8>,
}

impl Output {
    /// Where small answers are appended.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Puts lent bytes behind all that was appended so far.
    pub fn lend(&mut self, lent: Lent) {
        if !self.tail.is_empty() {
            self.pieces.push_back(Piece::Bytes(std::mem::take(&mut self.tail)));
        }
        self.pieces.push_back(Piece::Lent(lent));
    }

    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.pieces.is_empty()
    }

    /// Takes the next piece to send; `spare` becomes the new, empty tail if the tail is taken.
    pub fn take(&mut self, spare: impl FnOnce() -> Vec<u8>) -> Option<Piece> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some(piece);
        }
        if self.tail.is_empty() {
            return None;
        }
        Some(Piece::Bytes(std::mem::replace(&mut self.tail, spare())))
    }
}
