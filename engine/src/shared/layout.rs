//! The head of a shard's file.
//!
//! ```text
//!   byte 0      constants: a word each, as numbered below
//!   896         epoch of the memory; when the server's clock began, nanoseconds since the Unix epoch
//!   1024        geometry of the index, 5 words
//!   1152        flushes, 3 words
//!   1280        spaces of the databases: their sequence, then 16 words of four spaces each
//!   4096        generations: a word a frame
//!   then        chunks of the index: a word each, the number of its frame plus one, or 0
//!   head_bytes  frames: frame n is segment n, or memory of the index
//! ```
//!
//! All words are little endian. The constants are written before anybody is given the file. A reader takes nothing here for
//! granted: whatever it finds is checked against the file before it is used, and looked at once.

use crate::spaces::SPACES_WORDS;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use torc_pmem::media::shared::page_bytes;

pub(crate) const FLUSHES_WORDS: usize = 3;

const MAGIC: u64 = u64::from_le_bytes(*b"TORCSHM\0");
/// Rises with each change of the head, of buckets, slots or items, of the hash, or of what a reader has to check.
pub const LAYOUT_VERSION: u64 = 3;

/// Bytes of the words before the tables.
pub(crate) const CONSTANTS_BYTES: usize = 4096;
pub(crate) const CONSTANTS: usize = 9;
const EPOCH_BYTE: usize = 896;
const GEOMETRY_BYTE: usize = 1024;
const FLUSHES_BYTE: usize = 1152;
const SPACES_BYTE: usize = 1280;
const GEOMETRY_WORDS: usize = 5;
const WORD: usize = size_of::<u64>();

/// All frames together are at most so long: what a slot of the index can name.
pub(crate) const FRAMES_BYTES_MAX: u64 = 1 << 39;
/// Frames are 64 KiB to 16 MiB, as segments are.
const FRAME_SHIFTS: std::ops::RangeInclusive<u64> = 16..=24;

/// What of the head changes, but for its tables: so many words from this byte on.
pub(crate) const HEAD_BYTE: usize = EPOCH_BYTE;
pub(crate) const HEAD_WORDS: usize = (SPACES_BYTE - HEAD_BYTE) / WORD + SPACES_WORDS;

/// Where words lie behind [`HEAD_BYTE`].
pub(crate) struct HeadWords {
    pub(crate) epoch: usize,
    pub(crate) clock: usize,
    /// The first is its sequence.
    pub(crate) geometry: Range<usize>,
    /// The last is their sequence.
    pub(crate) flushes: Range<usize>,
    /// The first is their sequence.
    pub(crate) spaces: Range<usize>,
}

pub(crate) const HEAD: HeadWords = {
    const fn behind(byte: usize, words: usize) -> Range<usize> {
        (byte - HEAD_BYTE) / WORD..(byte - HEAD_BYTE) / WORD + words
    }
    HeadWords {
        epoch: 0,
        clock: 1,
        geometry: behind(GEOMETRY_BYTE, GEOMETRY_WORDS),
        flushes: behind(FLUSHES_BYTE, FLUSHES_WORDS),
        spaces: behind(SPACES_BYTE, SPACES_WORDS),
    }
};

/// What is constant in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shard: u16,
    /// Of the hash.
    pub(crate) seed: u64,
    pub(crate) frame_shift: u32,
    pub(crate) frames_max: usize,
    /// Chunks that the index may have.
    pub(crate) chunks_max: usize,
    /// Accesses beyond which an item's are not counted.
    pub(crate) frequency_max: u8,
    pub(crate) head_bytes: usize,
}

/// Why a file is not one that this program can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("it is not the memory of a shard")]
    Magic,
    #[error("its layout has version {0}, and this program reads {LAYOUT_VERSION}")]
    Version(u64),
    #[error("its head contradicts itself")]
    Head,
}

impl Layout {
    /// Of a file whose frames have `1 << frame_shift` bytes.
    pub(crate) fn new(
        (shard, seed, frequency_max): (u16, u64, u8),
        frame_shift: u32,
        frames_max: usize,
        chunks_max: usize,
    ) -> Layout {
        let tables = (frames_max + chunks_max) * WORD;
        let head_bytes = (CONSTANTS_BYTES + tables).next_multiple_of(page_bytes());
        Layout { shard, seed, frame_shift, frames_max, chunks_max, frequency_max, head_bytes }
    }

    pub(crate) fn frame_bytes(&self) -> usize {
        1 << self.frame_shift
    }

    /// Length that the file may have, bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        self.head_bytes + (self.frames_max << self.frame_shift)
    }

    fn words(&self) -> [u64; CONSTANTS] {
        [
            MAGIC,
            LAYOUT_VERSION,
            u64::from(self.shard),
            self.seed,
            u64::from(self.frame_shift),
            self.frames_max as u64,
            self.chunks_max as u64,
            u64::from(self.frequency_max),
            self.head_bytes as u64,
        ]
    }

    /// # Panics
    /// If the head is too short.
    pub(crate) fn write(&self, head: &[AtomicU64]) {
        for (word, constant) in head[..CONSTANTS].iter().zip(self.words()) {
            word.store(constant, Ordering::Release);
        }
    }

    /// Reads the constants of a file of `bytes` bytes, whose first words are these.
    ///
    /// # Errors
    /// [`LayoutError`]: a file of something else, or of another version, or one that was damaged.
    pub(crate) fn read(head: &[AtomicU64], bytes: usize) -> Result<Layout, LayoutError> {
        let head: &[AtomicU64; CONSTANTS] =
            head.get(..CONSTANTS).and_then(|head| head.try_into().ok()).ok_or(LayoutError::Magic)?;
        let [magic, version, constants @ ..] = head.each_ref().map(|word| word.load(Ordering::Relaxed));
        if magic != MAGIC {
            return Err(LayoutError::Magic);
        }
        if version != LAYOUT_VERSION {
            return Err(LayoutError::Version(version));
        }
        Layout::checked(constants, bytes).ok_or(LayoutError::Head)
    }

    fn checked(
        [shard, seed, shift, frames, chunks, frequency, head]: [u64; CONSTANTS - 2],
        bytes: usize,
    ) -> Option<Layout> {
        if !FRAME_SHIFTS.contains(&shift) {
            return None;
        }
        let frames_most = FRAMES_BYTES_MAX >> shift;
        let is_few = |count: u64| (1..=frames_most).contains(&count);
        if !is_few(frames) || !is_few(chunks) {
            return None;
        }
        let layout = Layout {
            shard: shard.try_into().ok()?,
            seed,
            frame_shift: shift as u32,
            frames_max: frames as usize,
            chunks_max: chunks as usize,
            frequency_max: frequency.try_into().ok()?,
            head_bytes: usize::try_from(head).ok()?,
        };
        let tables_end = CONSTANTS_BYTES + (layout.frames_max + layout.chunks_max) * WORD;
        let is_whole =
            (tables_end..=bytes).contains(&layout.head_bytes) && layout.head_bytes.is_multiple_of(WORD);
        is_whole.then_some(layout)
    }

    /// Where words lie in the head, as the number of the first and of the one behind the last.
    pub(crate) fn epoch(&self) -> Range<usize> {
        EPOCH_BYTE / WORD..EPOCH_BYTE / WORD + 1
    }

    pub(crate) fn clock(&self) -> Range<usize> {
        EPOCH_BYTE / WORD + 1..EPOCH_BYTE / WORD + 2
    }

    pub(crate) fn geometry(&self) -> Range<usize> {
        GEOMETRY_BYTE / WORD..GEOMETRY_BYTE / WORD + GEOMETRY_WORDS
    }

    pub(crate) fn flushes(&self) -> Range<usize> {
        FLUSHES_BYTE / WORD..FLUSHES_BYTE / WORD + FLUSHES_WORDS
    }

    pub(crate) fn spaces(&self) -> Range<usize> {
        SPACES_BYTE / WORD..SPACES_BYTE / WORD + SPACES_WORDS
    }

    pub(crate) fn generations(&self) -> Range<usize> {
        CONSTANTS_BYTES / WORD..CONSTANTS_BYTES / WORD + self.frames_max
    }

    pub(crate) fn chunks(&self) -> Range<usize> {
        let first = self.generations().end;
        first..first + self.chunks_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(layout: &Layout) -> Vec<AtomicU64> {
        let head: Vec<AtomicU64> = (0..layout.head_bytes / WORD).map(|_| AtomicU64::new(0)).collect();
        layout.write(&head);
        head
    }

    #[test]
    fn a_head_reads_back_and_a_foreign_one_is_told_apart() {
        let layout = Layout::new((3, 77, 3), 20, 1024, 512);
        let head = head_of(&layout);
        assert_eq!(Layout::read(&head, layout.head_bytes), Ok(layout));
        assert_eq!(Layout::read(&head, layout.head_bytes - 1), Err(LayoutError::Head));
        assert_eq!(Layout::read(&head[..5], layout.head_bytes), Err(LayoutError::Magic));
        assert!(layout.chunks().end * WORD <= layout.head_bytes);
        head[1].store(9, Ordering::Relaxed);
        assert_eq!(Layout::read(&head, layout.head_bytes), Err(LayoutError::Version(9)));
        head[0].store(9, Ordering::Relaxed);
        assert_eq!(Layout::read(&head, layout.head_bytes), Err(LayoutError::Magic));
    }

    #[test]
    fn no_number_in_a_head_is_believed_that_does_not_fit() {
        let layout = Layout::new((0, 1, 3), 16, 16, 8);
        for number in 2..CONSTANTS {
            for value in [0, 1, 15, 25, 64, 1 << 16, 1 << 23, 1 << 40, u64::MAX / 8, u64::MAX] {
                let head = head_of(&layout);
                head[number].store(value, Ordering::Relaxed);
                if let Ok(read) = Layout::read(&head, layout.head_bytes) {
                    assert!(
                        read.chunks().end * WORD <= read.head_bytes && read.head_bytes <= layout.head_bytes
                    );
                    assert!(read.bytes_max() as u64 <= FRAMES_BYTES_MAX + layout.head_bytes as u64);
                }
            }
        }
    }
}
