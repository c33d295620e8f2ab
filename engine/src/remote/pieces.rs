//! A shard's file, for whoever registers its memory.

use super::list::RemotePiece;
use crate::shared::file::ShardFile;
use std::ops::Range;
use std::sync::Arc;
use torc_pmem::media::shared::SharedFile;

/// The memory of a shard that others may read: its head, then frames. It grows, a frame at a time, and never loses a byte.
#[derive(Debug, Clone)]
pub struct RemoteMemory {
    file: Arc<SharedFile>,
    head_bytes: u64,
    frame_bytes: u64,
}

/// A part of it, which stays mapped as long as this lives.
#[derive(Debug, Clone)]
pub struct MemoryPiece {
    file: Arc<SharedFile>,
    range: Range<u64>,
}

impl RemoteMemory {
    pub(crate) fn of(file: &ShardFile) -> RemoteMemory {
        let (head_bytes, frame_bytes) = (file.head_bytes() as u64, file.frame_bytes() as u64);
        RemoteMemory { file: file.file().clone(), head_bytes, frame_bytes }
    }

    /// Bytes that are committed. Whoever has registered fewer looks at this once a turn: it is one load.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.file.bytes() as u64
    }

    /// Bytes that there may be.
    pub fn bytes_max(&self) -> u64 {
        self.head_bytes + self.file.frames_max() as u64 * self.frame_bytes
    }

    /// What is committed behind the first `known` bytes, which end with the head or with a frame, in pieces of `most` bytes at most, unless
    /// the head or a frame is longer. No READ of a [reader](super::RemoteRead) goes over the end of a piece.
    pub fn pieces(&self, known: u64, most: u64) -> impl Iterator<Item = MemoryPiece> + use<> {
        let RemoteMemory { file, head_bytes, frame_bytes } = self.clone();
        let (mut at, end) = (known, self.bytes());
        std::iter::from_fn(move || {
            let left = end.checked_sub(at).filter(|left| *left > 0)?;
            let frames = (most / frame_bytes).max(1) * frame_bytes;
            let bytes = if at == 0 { head_bytes } else { frames.min(left) };
            let range = at..at + bytes;
            at = range.end;
            Some(MemoryPiece { file: file.clone(), range })
        })
    }
}

impl MemoryPiece {
    /// The part of the file that it is, bytes.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Where it lies. As long as `self` lives, all its bytes are mapped there, readable and writable. Its owner writes them as words, and
    /// no reference but to atomic words covers them.
    pub fn start(&self) -> *mut u8 {
        self.file.address().wrapping_add(self.range.start as usize)
    }

    /// Whether all that is to be read lies in it.
    pub fn holds(&self, piece: &RemotePiece) -> bool {
        self.range.contains(&piece.at) && piece.at.saturating_add(piece.bytes.into()) <= self.range.end
    }
}

#[cfg(test)]
mod tests {
    use crate::command::{Command, Op, Write};
    use crate::{Shard, ShardConfig};

    #[test]
    fn pieces_are_all_that_is_committed_and_new_ones_come_as_it_grows() {
        let segment_bytes = 64 << 10;
        let config = ShardConfig { shared_memory: true, segment_bytes, ..ShardConfig::new(2 << 20) };
        let mut shard = Shard::new(config).unwrap();
        let memory = shard.remote_memory().unwrap();
        let (mut known, mut grew) = (0, 0);
        for number in 0..1000u32 {
            let (key, value) = (number.to_le_bytes(), [7; 1000]);
            let hash = shard.key_hash(&key);
            shard.execute(&Command { database: 0, key: &key, op: Op::Write(Write::set(&value)) }, hash, 1);
            grew += usize::from(memory.bytes() > known);
            for piece in memory.pieces(known, 200 << 10) {
                assert_eq!(piece.range().start, known);
                let whole = if known == 0 { memory.head_bytes } else { segment_bytes as u64 };
                assert!((piece.range().end - known).is_multiple_of(whole));
                assert_eq!(piece.start().addr() - memory.file.address().addr(), known as usize);
                known = piece.range().end;
            }
            assert_eq!(known, memory.bytes());
        }
        assert!(grew > 10 && known <= memory.bytes_max());
        assert_eq!(memory.pieces(known, 1 << 20).count(), 0);
        let all: Vec<_> = memory.pieces(0, 200 << 10).collect();
        assert!(all[1..all.len() - 1].iter().all(|piece| piece.range().count() == 3 * segment_bytes));
        fn is_for_any_thread<T: Send + Sync + 'static>(_: &T) {}
        is_for_any_thread(&all[0]);
        let config = ShardConfig { segment_bytes, ..ShardConfig::new(2 << 20) };
        assert!(Shard::new(config).unwrap().remote_memory().is_none());
    }
}
