//! The checkpoint of a stream: from where recovery looks for its end.
//!
//! There are two, in the first two blocks of the stream, written one after the other with the same content; the valid one
//! with the higher turn counts.

use super::batch::Bounds;
use super::fields::{Fields, Writer, is_sealed};
use crate::media::BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"TORCMARK";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    pub stream: u16,
    pub volume: u64,
    /// The run that wrote it. Batches behind it are of this run or a later one.
    pub generation: u64,
    /// Which writing of this stream's checkpoint it is.
    pub turn: u64,
    /// Position behind the last batch: everything below is drained.
    pub end: u64,
    /// Position of the oldest batch that may still be read.
    pub oldest: u64,
    /// The last batch.
    pub previous: Bounds,
}

impl Checkpoint {
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut out = Writer::new();
        out.put(&MAGIC);
        out.u16(self.stream);
        out.put(&[0; 6]);
        out.u64(self.volume);
        out.u64(self.generation);
        out.u64(self.turn);
        out.u64(self.end);
        out.u64(self.oldest);
        self.previous.encode(&mut out);
        out.sealed()
    }

    /// `None`: it is none, or damaged.
    pub fn decode(block: &[u8]) -> Option<Checkpoint> {
        let mut fields = Fields::new(block);
        if fields.array() != MAGIC || !is_sealed(block) {
            return None;
        }
        let stream = fields.u16();
        let _: [u8; 6] = fields.array();
        Some(Checkpoint {
            stream,
            volume: fields.u64(),
            generation: fields.u64(),
            turn: fields.u64(),
            end: fields.u64(),
            oldest: fields.u64(),
            previous: Bounds::decode(&mut fields),
        })
    }
}
