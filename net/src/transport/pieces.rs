//! What a connection sends at a time, and how the kernel is told of it.

use crate::session::Piece;
use torc_engine::bytes::Bytes;

/// Most pieces of one send.
pub const PIECES_MAX: usize = 16;
/// Bytes after which no other piece is added to a send.
pub const PIECES_BYTES_MAX: usize = 1 << 20;

/// Pieces that go to a client together, in order. An empty list is used again, for its memory.
#[derive(Debug, Default)]
pub struct Pieces {
    list: Vec<Piece>,
    bytes: usize,
}

impl Pieces {
    /// Whether another piece may be added to a send that ends after `bytes_max` bytes.
    pub fn has_room(&self, bytes_max: usize) -> bool {
        self.list.len() < PIECES_MAX && self.bytes < bytes_max
    }

    pub fn push(&mut self, piece: Piece) {
        self.bytes += piece.bytes().len();
        self.list.push(piece);
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Length of all together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The piece, if there is just one.
    pub fn single(&self) -> Option<&Piece> {
        match &self.list[..] {
            [piece] => Some(piece),
            _ => None,
        }
    }

    /// Takes all out.
    pub fn drain(&mut self) -> impl Iterator<Item = Piece> {
        self.bytes = 0;
        self.list.drain(..)
    }

    /// What is behind the first `sent` bytes; no slice is empty.
    pub(crate) fn rest(&self, sent: usize) -> impl Iterator<Item = Bytes<'_>> {
        let mut sent = sent;
        self.list.iter().filter_map(move |piece| {
            let bytes = piece.bytes();
            let skipped = sent.min(bytes.len());
            sent -= skipped;
            (skipped < bytes.len()).then(|| bytes.behind(skipped))
        })
    }
}

impl From<Piece> for Pieces {
    fn from(piece: Piece) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.push(piece);
        pieces
    }
}

/// The header and the slices that `sendmsg` is told of.
pub(crate) struct Message {
    header: libc::msghdr,
    slices: [libc::iovec; PIECES_MAX],
}

impl Message {
    pub(crate) fn new() -> Message {
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: a header of zeros is a valid one: no address, no slices, no control data.
        let header = unsafe { std::mem::zeroed() };
        Message { header, slices: [none; PIECES_MAX] }
    }

    /// Points the header at the first [`PIECES_MAX`] of `slices`. The header is valid only as long as `self` and the slices
    /// stay where they are.
    pub(crate) fn name<'s>(&mut self, slices: impl Iterator<Item = Bytes<'s>>) -> *const libc::msghdr {
        let mut count = 0;
        for (place, slice) in self.slices.iter_mut().zip(slices) {
            *place = libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() };
            count += 1;
        }
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = count;
        &raw const self.header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(lengths: &[usize]) -> Pieces {
        let mut pieces = Pieces::default();
        for (number, &len) in lengths.iter().enumerate() {
            pieces.push(Piece::Bytes(vec![number as u8; len]));
        }
        pieces
    }

    #[test]
    fn the_rest_begins_behind_what_was_sent() {
        let mut pieces = pieces(&[2, 0, 3]);
        assert_eq!(pieces.bytes(), 5);
        let rest = |sent| pieces.rest(sent).map(Bytes::to_vec).collect::<Vec<_>>();
        assert_eq!(rest(0), [vec![0, 0], vec![2, 2, 2]]);
        assert_eq!(rest(1), [vec![0], vec![2, 2, 2]]);
        assert_eq!(rest(4), [[2]]);
        assert!(rest(5).is_empty());
        assert_eq!(pieces.drain().count(), 3);
        assert_eq!((pieces.bytes(), pieces.is_empty()), (0, true));
    }

    #[test]
    fn a_send_is_bounded_in_pieces_and_in_bytes() {
        assert!(pieces(&[1; PIECES_MAX - 1]).has_room(PIECES_BYTES_MAX));
        assert!(!pieces(&[1; PIECES_MAX]).has_room(PIECES_BYTES_MAX));
        assert!(!pieces(&[PIECES_BYTES_MAX]).has_room(PIECES_BYTES_MAX));
    }
}
