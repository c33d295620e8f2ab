//! Values longer than an item may be: a small head and extents.
//!
//! ```text
//!  head, an item with the key; its value:
//!  | value bytes u64 | chain u64 | stored bytes u64 | extent u64 | extent u64 | ...
//!  chunk, an item without key; its value:   | hash of the key u64 | data ...
//!
//!  extent   63        36 35                          0
//!           | length 28 | chunk in units of 8 bytes 36 |     all ones instead of a chunk: a hole
//! ```
//!
//! An *extent* is a piece of the value: a chunk, or a *hole*, zeros that are stored nowhere. The value's bytes are
//! those of its extents, one behind the other; the stored ones are those of its chunks.
//!
//! The chain's number is the version of its first head, and that of every chunk once it has a head; so a
//! chunk that is met in its segment finds its head by the hash and knows it by the number. A new head may
//! take over chunks of the old one (touch, append, a range written): only the list is written again. A chunk itself
//! never changes once it is in a list, so whoever reads it from afar reads on; where it lies changes when it is moved.

use crate::bytes::Bytes;
use crate::command::UploadId;
use crate::index::LOCATION_BYTES_MAX;

/// Bytes of the list before the extents.
pub(crate) const LIST_HEAD_BYTES: usize = 24;
/// Bytes of an extent in the list.
pub(crate) const EXTENT_BYTES: usize = 8;

const LENGTH_SHIFT: u32 = 36;
const LOCATION_MASK: u64 = (1 << LENGTH_SHIFT) - 1;
/// No item begins at the last 8 bytes that a location can name.
const NOWHERE: u64 = LOCATION_MASK;
/// Longest extent, bytes; a longer hole is several.
pub(crate) const EXTENT_LEN_MAX: u64 = (1 << (u64::BITS - LENGTH_SHIFT)) - 1;

const _: () = assert!(LOCATION_BYTES_MAX / 8 == LOCATION_MASK + 1);

/// A piece of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent(u64);

impl Extent {
    /// `len` bytes of data in the chunk at `at`.
    pub(crate) fn chunk(at: u64, len: usize) -> Extent {
        debug_assert!(at < LOCATION_BYTES_MAX && at.is_multiple_of(8) && len as u64 <= EXTENT_LEN_MAX);
        Extent(((len as u64) << LENGTH_SHIFT) | (at / 8))
    }

    /// Zeros, at most [`EXTENT_LEN_MAX`] bytes.
    pub(crate) fn hole(len: u64) -> Extent {
        debug_assert!(len <= EXTENT_LEN_MAX);
        Extent((len << LENGTH_SHIFT) | NOWHERE)
    }

    /// Where the chunk lies; a hole lies nowhere.
    pub(crate) fn location(self) -> Option<u64> {
        let location = self.0 & LOCATION_MASK;
        (location != NOWHERE).then_some(location * 8)
    }

    pub(crate) fn len(self) -> u64 {
        self.0 >> LENGTH_SHIFT
    }

    pub(crate) fn encoded(self) -> [u8; EXTENT_BYTES] {
        self.0.to_le_bytes()
    }
}

/// The value of a chain head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainList<'s>(Bytes<'s>);

impl<'s> ChainList<'s> {
    pub(crate) fn new(bytes: Bytes<'s>) -> ChainList<'s> {
        debug_assert!(bytes.len() >= LIST_HEAD_BYTES, "a chain head has a list");
        ChainList(bytes)
    }

    /// Length of the whole value.
    pub(crate) fn value_bytes(&self) -> u64 {
        self.0.word(0)
    }

    /// The chain's number: its chunks have it as version.
    pub(crate) fn chain(&self) -> u64 {
        self.0.word(8)
    }

    /// Bytes of the value that lie in chunks.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.0.word(16)
    }

    /// Number of extents.
    pub(crate) fn len(&self) -> usize {
        (self.0.len() - LIST_HEAD_BYTES) / EXTENT_BYTES
    }

    pub(crate) fn extent(&self, number: usize) -> Extent {
        Extent(self.0.word(LIST_HEAD_BYTES + number * EXTENT_BYTES))
    }

    pub(crate) fn extents(self) -> impl DoubleEndedIterator<Item = Extent> + ExactSizeIterator + 's {
        (0..self.len()).map(move |number| self.extent(number))
    }

    /// The number of the extent whose chunk lies at a location, and where it stands from the start of the list.
    pub(crate) fn position(self, location: u64) -> Option<(usize, Extent)> {
        let number = self.extents().position(|extent| extent.location() == Some(location))?;
        Some((LIST_HEAD_BYTES + number * EXTENT_BYTES, self.extent(number)))
    }
}

/// Writes a list, an extent at a time.
#[derive(Debug, Default)]
pub(crate) struct ListWriter {
    extents: usize,
    value_bytes: u64,
    stored_bytes: u64,
}

impl ListWriter {
    /// Adds an extent to the list, whose bytes are `list`.
    pub(crate) fn push(&mut self, list: &mut [u8], extent: Extent) {
        let at = LIST_HEAD_BYTES + self.extents * EXTENT_BYTES;
        list[at..at + EXTENT_BYTES].copy_from_slice(&extent.encoded());
        self.extents += 1;
        self.value_bytes += extent.len();
        self.stored_bytes += if extent.location().is_some() { extent.len() } else { 0 };
    }

    /// Writes what stands before the extents.
    pub(crate) fn finish(self, list: &mut [u8], chain: u64) {
        debug_assert_eq!(list.len(), LIST_HEAD_BYTES + self.extents * EXTENT_BYTES);
        for (number, word) in [self.value_bytes, chain, self.stored_bytes].into_iter().enumerate() {
            list[number * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// A value under way into the shard: its chunks are written, nobody can find them yet, and their segments are
/// pinned.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    /// Bytes that will have come in the end.
    pub(crate) bytes: u64,
    pub(crate) received: u64,
    pub(crate) chain: u64,
    /// All of them chunks.
    pub(crate) extents: Vec<Extent>,
    /// Bytes of the last chunk that are still to be written, and where.
    pub(crate) room: usize,
    pub(crate) room_at: u64,
}

impl Upload {
    /// One of `bytes` bytes, in at most `chunks` chunks.
    pub(crate) fn new(id: UploadId, bytes: u64, chain: u64, chunks: usize) -> Upload {
        Upload { id, bytes, received: 0, chain, extents: Vec::with_capacity(chunks), room: 0, room_at: 0 }
    }

    /// Where its chunks lie.
    pub(crate) fn locations(&self) -> impl Iterator<Item = u64> + '_ {
        self.extents.iter().filter_map(|extent| extent.location())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_finds_its_chunks() {
        let extents = [Extent::chunk(8, 100), Extent::hole(EXTENT_LEN_MAX), Extent::chunk(24, 7)];
        let mut bytes = [0; LIST_HEAD_BYTES + 3 * EXTENT_BYTES];
        let mut writer = ListWriter::default();
        extents.into_iter().for_each(|extent| writer.push(&mut bytes, extent));
        writer.finish(&mut bytes, 7);
        let list = ChainList::new(Bytes::from(&bytes));
        assert_eq!((list.value_bytes(), list.chain(), list.stored_bytes()), (EXTENT_LEN_MAX + 107, 7, 107));
        assert_eq!(list.extents().collect::<Vec<_>>(), extents);
        assert_eq!((list.len(), list.extent(2)), (3, extents[2]));
        assert_eq!(list.position(24), Some((LIST_HEAD_BYTES + 16, extents[2])));
        assert_eq!(list.position(32), None);
    }

    #[test]
    fn the_last_place_of_a_chunk_is_no_hole() {
        let last = LOCATION_BYTES_MAX - 16;
        assert_eq!(Extent::chunk(last, 5).location(), Some(last));
        assert_eq!((Extent::hole(5).location(), Extent::hole(5).len()), (None, 5));
    }
}
