//! Answers on their way out: small ones copied together, large values lent.

use super::bad_input::{BadInput, Errors};
use super::calls::{Calls, Fate, NO_COMMAND};
use std::collections::VecDeque;
use torc_engine::bytes::Bytes;
use torc_engine::segments::Lent;

/// One thing to send.
#[derive(Debug)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// Bytes of a shard's arena; they go back to that shard when they are sent.
    Lent(Lent),
}

impl Piece {
    pub fn bytes(&self) -> Bytes<'_> {
        match self {
            Piece::Bytes(bytes) => Bytes::from(&bytes[..]),
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
    /// What `pieces` cost, see [`cost`].
    pieces_bytes: usize,
    /// Lent bytes that were copied, to be released.
    copied: Vec<Lent>,
    /// Errors among the answers, if there are any.
    errors: Option<Box<Errors>>,
}

impl Output {
    /// Counts an error that is written here as the answer to bad input.
    pub(super) fn count_error(&mut self, what: BadInput) {
        self.errors.get_or_insert_default().add(what);
    }

    /// Counts an error that is written here as the answer to the command of this number, if it is one.
    #[cold]
    pub(super) fn count_failed(&mut self, command: u8) {
        if command != NO_COMMAND {
            self.errors.get_or_insert_default().add_failed(command);
        }
    }

    /// Counts an error by its code: its line was appended to the tail from `start` on, with its end.
    #[cold]
    pub(super) fn count_code(&mut self, start: usize) {
        if let Some([b'-', line @ .., b'\r', b'\n']) = self.tail.get(start..) {
            self.errors.get_or_insert_default().add_code(line);
        }
    }

    /// What has failed of a call that no client is answered is counted by command, so that however many calls take no room.
    pub(crate) fn settle_errors(&mut self, calls: &Calls) {
        let failed = self.errors.iter_mut().flat_map(|errors| errors.settle());
        failed.for_each(|command| calls.add(command.into(), Fate::Failed, 1));
    }

    /// Errors that were written since the last call.
    #[inline]
    pub fn take_errors(&mut self) -> Option<Box<Errors>> {
        self.errors.take()
    }

    /// Where small answers are appended.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Puts lent bytes behind all that was appended so far. Short ones are copied: lent, they would pin a whole segment until
    /// the client has taken them.
    pub fn lend(&mut self, lent: Lent) {
        if lent.bytes().len() <= COPIED_BYTES_MAX {
            lent.bytes().append_to(&mut self.tail);
            self.copied.push(lent);
            return;
        }
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.push(Piece::Bytes(tail));
        }
        self.push(Piece::Lent(lent));
    }

    fn push(&mut self, piece: Piece) {
        self.pieces_bytes += cost(&piece);
        self.pieces.push_back(piece);
    }

    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.pieces.is_empty()
    }

    /// Bytes that count as waiting: all copied ones, and a share of the lent ones, which only pin memory.
    pub fn bytes(&self) -> usize {
        self.pieces_bytes + self.tail.len()
    }

    /// Memory that it holds.
    pub fn bytes_held(&self) -> usize {
        self.pieces_bytes + self.tail.capacity()
    }

    /// Lent bytes that are not needed any more.
    pub fn copied(&mut self) -> impl Iterator<Item = Lent> + '_ {
        self.copied.drain(..)
    }

    /// Whether lent bytes wait here.
    pub fn has_lent(&self) -> bool {
        self.lent().next().is_some()
    }

    /// Whether more than so many bytes wait here.
    pub fn is_longer_than(&self, bytes: usize) -> bool {
        let mut sum = self.tail.len();
        sum > bytes
            || self.pieces.iter().any(|piece| {
                sum += piece.bytes().len();
                sum > bytes
            })
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

    /// Composes small answers behind what is in `words` instead of into the tail.
    pub fn apart(&mut self, words: &mut Vec<u8>, compose: impl FnOnce(&mut Output)) {
        std::mem::swap(&mut self.tail, words);
        compose(self);
        std::mem::swap(&mut self.tail, words);
    }

    /// Takes the next piece to send; `spare` becomes the new, empty tail if the tail is taken.
    pub fn take(&mut self, spare: impl FnOnce() -> Vec<u8>) -> Option<Piece> {
        if let Some(piece) = self.pieces.pop_front() {
            self.pieces_bytes -= cost(&piece);
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

/// Lent bytes up to this are copied.
const COPIED_BYTES_MAX: usize = 4 << 10;
/// One byte in so many of a lent value counts against the limit of waiting answers.
const LENT_SHARE: u64 = 16;

/// What lent bytes count against the limit of waiting answers.
pub(crate) fn lent_cost(bytes: u64) -> usize {
    usize::try_from(bytes / LENT_SHARE).unwrap_or(usize::MAX)
}

/// What a piece in the queue costs, in bytes.
fn cost(piece: &Piece) -> usize {
    let bytes = match piece {
        Piece::Bytes(bytes) => bytes.capacity(),
        Piece::Lent(lent) => lent_cost(lent.bytes().len() as u64),
    };
    bytes + size_of::<Piece>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_values_count_a_sixteenth() {
        use torc_engine::command::{Command, Op, Outcome, Read, Value, Write};
        let mut shard = torc_engine::Shard::new(torc_engine::ShardConfig::new(16 << 20)).expect("16 MiB");
        let hash = shard.hash(0, b"k");
        let set = Command { database: 0, key: b"k", op: Op::Write(Write::set(&[7; 1 << 20])) };
        assert!(matches!(shard.execute(&set, hash, 1), Outcome::Stored { .. }));
        let get = Command { database: 0, key: b"k", op: Op::Read(Read::default()) };
        let Outcome::Item(found) = shard.execute(&get, hash, 1) else { panic!("it is there") };
        let Value::Chained(chain) = found.value else { panic!("a long value is a chain") };
        let mut output = Output::default();
        output.tail().extend_from_slice(b"head");
        chain.lend(0..chain.len()).for_each(|lent| output.lend(lent));
        let pieces = output.pieces.len();
        let lent_bytes: usize = output.lent().map(|lent| lent.bytes().len()).sum();
        // The last few bytes are copied.
        let copied_bytes = (1 << 20) - lent_bytes;
        assert!((1..=COPIED_BYTES_MAX).contains(&copied_bytes), "{copied_bytes}");
        let expected = lent_bytes / 16 + copied_bytes + 4 + pieces * size_of::<Piece>();
        assert!(output.bytes().abs_diff(expected) < pieces, "{} of {pieces}", output.bytes());
        let content = (1 << 20) + 4;
        assert!(output.is_longer_than(content - 1) && !output.is_longer_than(content));
        let mut lent: Vec<Lent> = output.copied().collect();
        assert_eq!(lent.len(), 1);
        while let Some(piece) = output.take(Vec::new) {
            lent.extend(match piece {
                Piece::Lent(lent) => Some(lent),
                Piece::Bytes(_) => None,
            });
        }
        assert_eq!(output.bytes(), 0);
        lent.into_iter().for_each(|lent| shard.release(lent));
    }

    #[test]
    fn errors_are_given_out_once() {
        let mut output = Output::default();
        assert!(output.take_errors().is_none());
        [BadInput::Malformed, BadInput::Limit, BadInput::Limit]
            .into_iter()
            .for_each(|what| output.count_error(what));
        output.count_failed(7);
        output.count_failed(NO_COMMAND);
        for line in ["-ERR no such thing\r\n", "+OK\r\n", "-MINE is it\r\n", "-word\r\n"] {
            let start = output.tail().len();
            output.tail().extend_from_slice(line.as_bytes());
            output.count_code(start);
        }
        let taken = output.take_errors().expect("some were written");
        assert_eq!((taken.counts, &taken.failed[..]), ([1, 0, 0, 0, 0, 2, 0], &[7][..]));
        let codes: Vec<&[u8]> = torc_engine::words::each(&taken.codes).collect();
        assert_eq!(codes, [&b"ERR"[..], b"MINE", b"ERR"]);
        assert!(output.take_errors().is_none());
    }

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
