//! The value of a reads and of its answer (`docs/protocol.md`, section 6): what a client may read of a shard by RDMA, and until when.

use super::Invalid;
use super::pair::PairEnd;
use super::topology::Reader;

/// Most pieces that an answer may name; the client asks for the others.
pub const PIECES_MAX: usize = 1024;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadsAsked {
    /// Of what it knows; 0: nothing.
    pub epoch: u64,
    /// It knows the pieces of so many bytes from the start.
    pub known: u64,
    /// A queue pair to read by, if it has none.
    pub pair: Option<PairEnd>,
}

impl ReadsAsked {
    /// Bytes without a queue pair; with one there are [`PairEnd::BYTES`] more.
    pub const BYTES: usize = 16;

    pub fn parse(value: &[u8]) -> Result<ReadsAsked, Invalid> {
        let mut reader = Reader(value);
        let (epoch, known) = (reader.u64()?, reader.u64()?);
        let pair = if reader.0.is_empty() { None } else { Some(PairEnd::parse(reader.0)?) };
        Ok(ReadsAsked { epoch, known, pair })
    }

    pub fn compose(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.known.to_le_bytes());
        self.pair.iter().for_each(|pair| pair.compose(out));
    }
}

/// A part of a shard's memory, and by which key it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadablePiece {
    /// From the start of the shard's memory, bytes.
    pub at: u64,
    pub bytes: u64,
    /// Where a READ finds it.
    pub address: u64,
    pub key: u32,
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadsGiven {
    /// Of the keys; it also stands in the shard's memory.
    pub epoch: u64,
    /// Bytes of the memory that can be read.
    pub bytes: u64,
    /// How long the server's clock has run, nanoseconds.
    pub passed_ns: u64,
    /// From when the client asked; 0: it gets no lease.
    pub lease_ms: u32,
    pub shard: u16,
    /// The server has no queue pair of this connection: it was destroyed, or never made.
    pub is_unpaired: bool,
    /// The server's queue pair, if one was made.
    pub pair: Option<PairEnd>,
    /// Those that the client does not know.
    pub pieces: Vec<ReadablePiece>,
}

/// Bytes of a piece's entry; the answer says how long they are, so that they can grow.
const ENTRY_BYTES: usize = 32;
/// A bit of an answer: [`ReadsGiven::is_unpaired`].
const UNPAIRED: u32 = 1;
/// Bytes before the pair.
const HEAD_BYTES: usize = 40;

impl ReadsGiven {
    pub fn parse(value: &[u8]) -> Result<ReadsGiven, Invalid> {
        let mut reader = Reader(value);
        let (epoch, bytes, passed_ns) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (lease_ms, shard, count) = (reader.u32()?, reader.u16()?, usize::from(reader.u16()?));
        let (entry_bytes, pair_bytes) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let is_unpaired = reader.u32()? & UNPAIRED != 0;
        let pair = reader.bytes(pair_bytes)?;
        let pair = if pair.is_empty() { None } else { Some(PairEnd::parse(pair)?) };
        if count > PIECES_MAX || entry_bytes < ENTRY_BYTES {
            return Err(Invalid::Layout);
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            let mut entry = Reader(reader.bytes(entry_bytes)?);
            let (at, bytes, address, key) = (entry.u64()?, entry.u64()?, entry.u64()?, entry.u32()?);
            pieces.push(ReadablePiece { at, bytes, address, key });
        }
        Ok(ReadsGiven { epoch, bytes, passed_ns, lease_ms, shard, is_unpaired, pair, pieces })
    }

    /// Appends the answer's value; of more pieces than [`PIECES_MAX`] the first.
    pub fn compose(&self, out: &mut Vec<u8>) {
        let count = self.pieces.len().min(PIECES_MAX);
        let pair_bytes = if self.pair.is_some() { PairEnd::BYTES } else { 0 };
        for word in [self.epoch, self.bytes, self.passed_ns] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.lease_ms.to_le_bytes());
        for short in [self.shard, count as u16, ENTRY_BYTES as u16, pair_bytes as u16] {
            out.extend_from_slice(&short.to_le_bytes());
        }
        let bits = if self.is_unpaired { UNPAIRED } else { 0 };
        out.extend_from_slice(&bits.to_le_bytes());
        self.pair.iter().for_each(|pair| pair.compose(out));
        for piece in &self.pieces[..count] {
            for word in [piece.at, piece.bytes, piece.address] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&piece.key.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
    }
}

const _: () = assert!(HEAD_BYTES == 3 * 8 + 4 + 4 * 2 + 4);

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> PairEnd {
        PairEnd { number: 7, mtu: 1024, receives: 1, receive_bytes: 256, ..PairEnd::default() }
    }

    #[test]
    fn what_is_asked_survives_the_wire() {
        for pair in [None, Some(end())] {
            let asked = ReadsAsked { epoch: 3, known: 1 << 30, pair };
            let mut bytes = Vec::new();
            asked.compose(&mut bytes);
            assert_eq!(ReadsAsked::parse(&bytes), Ok(asked));
            for short in (0..bytes.len()).filter(|short| *short != ReadsAsked::BYTES) {
                assert_eq!(ReadsAsked::parse(&bytes[..short]), Err(Invalid::Layout), "{short}");
            }
        }
    }

    #[test]
    fn what_is_given_survives_the_wire_and_no_prefix_of_it_does() {
        for pair in [None, Some(end())] {
            let piece = |at| ReadablePiece { at, bytes: 1 << 20, address: at + 77, key: 9 };
            let pieces = vec![piece(0), piece(1 << 20)];
            let given = ReadsGiven {
                epoch: 1,
                bytes: 2 << 20,
                passed_ns: 5,
                lease_ms: 1000,
                shard: 3,
                is_unpaired: pair.is_none(),
                pair,
                pieces,
            };
            let mut bytes = Vec::new();
            given.compose(&mut bytes);
            assert_eq!(ReadsGiven::parse(&bytes).as_ref(), Ok(&given));
            for short in 0..bytes.len() {
                assert_eq!(ReadsGiven::parse(&bytes[..short]), Err(Invalid::Layout), "{short}");
            }
        }
    }
}
