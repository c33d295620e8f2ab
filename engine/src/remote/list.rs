//! What is read next, and where it lands.
//!
//! ```text
//!   word 0     buckets, BUCKETS_MAX of them
//!   256        an item, as far as readers copy one
//!   768        an entry of the table of chunks
//!   776        heads, up to three
//! ```

use crate::index::{BUCKET_BYTES, BUCKET_WORDS};
use crate::reader::ITEM_BYTES_MAX;
use crate::shared::layout::{HEAD_BYTE, HEAD_WORDS, Layout};
use std::ops::{Deref, Range};
use std::sync::atomic::AtomicU64;

/// Buckets that a reader looks at, at most; items that lie farther from their homes are asked for.
pub(super) const BUCKETS_MAX: usize = 32;
/// Buckets that are read at once: nearly all items lie so near to their homes.
pub(super) const BUCKETS_AHEAD: usize = 4;
/// Heads that are read one behind the other.
const HEADS: usize = 3;

const WORD: usize = size_of::<u64>();
const ITEM: usize = BUCKETS_MAX * BUCKET_WORDS;
const WORD_AT: usize = ITEM + ITEM_BYTES_MAX / WORD;
const HEAD_AT: usize = WORD_AT + 8;
/// Words of a landing: where the READs of one look land, 8 KiB.
pub const LANDING_WORDS: usize = 1024;
const _: () = assert!(HEAD_AT + HEADS * HEAD_WORDS <= LANDING_WORDS);

/// A READ: bytes of the shard's file, and where they land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemotePiece {
    /// From the start of the file, bytes; a multiple of 8.
    pub at: u64,
    /// A multiple of 8. All lie in the head of the file, or in one frame.
    pub bytes: u32,
    /// From the start of the landing, bytes.
    pub into: u32,
}

/// READs to be posted in this order, on one queue pair, behind one doorbell. They are executed one behind the other; what one of them
/// reads it may read in any order, but no word by halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadList {
    pieces: [RemotePiece; HEADS],
    count: usize,
}

impl Deref for ReadList {
    type Target = [RemotePiece];

    fn deref(&self) -> &[RemotePiece] {
        &self.pieces[..self.count]
    }
}

impl ReadList {
    fn and(mut self, at: u64, words: usize, into: usize) -> ReadList {
        let (bytes, into) = ((words * WORD) as u32, (into * WORD) as u32);
        self.pieces[self.count] = RemotePiece { at, bytes, into };
        self.count += 1;
        self
    }

    fn and_head(self, number: usize) -> ReadList {
        self.and(HEAD_BYTE as u64, HEAD_WORDS, HEAD_AT + number * HEAD_WORDS)
    }

    /// The head, thrice.
    pub(super) fn heads() -> ReadList {
        (0..HEADS).fold(ReadList::default(), ReadList::and_head)
    }

    /// The head alone, behind what was read before.
    pub(super) fn closing() -> ReadList {
        ReadList::default().and_head(0)
    }

    /// The entry of a chunk.
    pub(super) fn chunk(layout: &Layout, chunk: usize) -> ReadList {
        ReadList::default().and(((layout.chunks().start + chunk) * WORD) as u64, 1, WORD_AT)
    }

    /// `count` buckets from this place of the file on, behind those that have landed.
    pub(super) fn buckets(at: u64, landed: usize, count: usize) -> ReadList {
        ReadList::default().and(at, count * BUCKET_BYTES / WORD, landed * BUCKET_WORDS)
    }

    /// So many bytes of an item at most, then the head. `None`: there is no such segment.
    pub(super) fn item(layout: &Layout, location: u64, bytes: usize) -> Option<ReadList> {
        let segment = usize::try_from(location >> layout.frame_shift).ok()?;
        if segment >= layout.frames_max {
            return None;
        }
        let end = (segment as u64 + 1) << layout.frame_shift;
        let bytes = bytes.min(ITEM_BYTES_MAX).min((end - location) as usize).next_multiple_of(WORD);
        Some(ReadList::default().and(layout.head_bytes as u64 + location, bytes / WORD, ITEM).and_head(0))
    }
}

/// What has landed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Landing<'l>(&'l [AtomicU64; LANDING_WORDS]);

impl<'l> Landing<'l> {
    pub(super) fn of(words: &'l [AtomicU64]) -> Option<Landing<'l>> {
        Some(Landing(words.get(..LANDING_WORDS)?.try_into().ok()?))
    }

    pub(super) fn buckets(self) -> &'l [AtomicU64] {
        &self.0[..ITEM]
    }

    pub(super) fn item(self) -> &'l [AtomicU64] {
        &self.0[ITEM..WORD_AT]
    }

    pub(super) fn word(self) -> &'l AtomicU64 {
        &self.0[WORD_AT]
    }

    pub(super) fn head(self, number: usize) -> &'l [AtomicU64; HEAD_WORDS] {
        let range: Range<usize> = HEAD_AT + number * HEAD_WORDS..HEAD_AT + (number + 1) * HEAD_WORDS;
        let Ok(head) = self.0[range].try_into() else { unreachable!("it is that long") };
        head
    }
}
