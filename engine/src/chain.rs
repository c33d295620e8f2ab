//! Values longer than an item may be: a small head and extents.
//!
//! ```text
//!  head, an item with the key; its value:
//!  | value bytes u64 | stored bytes u64 | chain u64 | next ordinal u64 | extent u64 ... | location u64 ... | judged u64 |
//!   \_______________________________ self-contained ________________________________/ \_________ DRAM alone _________/
//!  chunk, an item with the same key; its value:   | ordinal u64 | data ...
//!
//!  extent   63        40 39                      0
//!           | length 24 | ordinal of the chunk 40 |     all ones instead of an ordinal: a hole
//! ```
//!
//! A chunk is named by its chain and its ordinal, wherever it lies. The chain's number is the version of its first head,
//! and the version of each of its chunks once the chunk has a head; ordinals are given once in a chain and never again. A
//! chunk carries the key, so whoever meets one (in its segment, on a medium, on a stream) finds its slot and its head.
//! Where chunks lie is known in DRAM alone: the locations stand behind the extents, in the same order, and without them
//! the list is complete everywhere else.
//! *judged* is the latest segment that had been opened when eviction last decided to keep the chain.
//!
//! An *extent* is a piece of the value: a chunk, or a *hole*, zeros that are stored nowhere. The value's bytes are
//! those of its extents, one behind the other; the stored ones are those of its chunks.
//!
//! A new head may take over chunks of the old one (touch, append, a range written): only the list is written again. A
//! chunk itself never changes once it is in a list, and neither does a list once its head can be found, so readers on
//! other threads are not disturbed: a chunk that moves takes a new head with it.

use crate::bytes::Bytes;
use crate::bytes_mut::BytesMut;
use crate::index::LOCATION_BYTES_MAX;
use crate::meta::{Millis, UploadId};

/// Bytes of the list before the extents.
const LIST_HEAD_BYTES: usize = 32;
/// Bytes of the list for each extent: itself and its location.
const EXTENT_BYTES: usize = 16;
/// Bytes of a chunk's value before its data: the ordinal.
pub(crate) const ORDINAL_BYTES: usize = 8;

const WORD: usize = 8;
const LENGTH_SHIFT: u32 = 40;
const ORDINAL_MASK: u64 = (1 << LENGTH_SHIFT) - 1;
/// No chunk has the last ordinal.
const HOLE: u64 = ORDINAL_MASK;
/// Longest extent, bytes; a longer hole is several.
pub(crate) const EXTENT_LEN_MAX: u64 = (1 << (u64::BITS - LENGTH_SHIFT)) - 1;

/// A piece of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    word: u64,
    location: u64,
}

impl Extent {
    /// `len` bytes of data in the chunk with this ordinal, which lies at `at`.
    pub(crate) fn chunk(ordinal: u64, at: u64, len: usize) -> Extent {
        debug_assert!(at < LOCATION_BYTES_MAX && len as u64 <= EXTENT_LEN_MAX && ordinal < HOLE);
        Extent { word: (len as u64) << LENGTH_SHIFT | ordinal, location: at }
    }

    /// Zeros, at most [`EXTENT_LEN_MAX`] bytes.
    pub(crate) fn hole(len: u64) -> Extent {
        debug_assert!(len <= EXTENT_LEN_MAX);
        Extent { word: len << LENGTH_SHIFT | HOLE, location: 0 }
    }

    /// The chunk's ordinal; a hole has none.
    pub(crate) fn ordinal(self) -> Option<u64> {
        let ordinal = self.word & ORDINAL_MASK;
        (ordinal != HOLE).then_some(ordinal)
    }

    /// Where the chunk lies; a hole lies nowhere.
    pub(crate) fn location(self) -> Option<u64> {
        self.ordinal().map(|_| self.location)
    }

    pub(crate) fn len(self) -> u64 {
        self.word >> LENGTH_SHIFT
    }

    /// The same chunk under an ordinal that is higher by `first`.
    pub(crate) fn behind(self, first: u64) -> Extent {
        Extent { word: self.word + first, ..self }
    }
}

/// Bytes of a list of so many extents.
pub(crate) fn list_bytes(extents: usize) -> usize {
    LIST_HEAD_BYTES + extents * EXTENT_BYTES + WORD
}

/// Extents of a list of so many bytes.
fn extents_of(list_bytes: usize) -> usize {
    (list_bytes - LIST_HEAD_BYTES - WORD) / EXTENT_BYTES
}

/// Whether a chain can give `count` more ordinals.
pub(crate) fn has_ordinals(next: u64, count: usize) -> bool {
    next + (count as u64) < HOLE
}

/// The value of a chain head in DRAM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainList<'s>(Bytes<'s>);

impl<'s> ChainList<'s> {
    pub(crate) fn new(bytes: Bytes<'s>) -> ChainList<'s> {
        debug_assert!(bytes.len() >= list_bytes(0), "a chain head has a list");
        ChainList(bytes)
    }

    /// Reads bytes from a medium as a list. `None`: they do not have the form of one.
    pub(crate) fn read(bytes: Bytes<'s>) -> Option<ChainList<'s>> {
        let extents = bytes.len().checked_sub(list_bytes(0))?;
        extents.is_multiple_of(EXTENT_BYTES).then_some(ChainList(bytes))
    }

    /// Length of the whole value.
    pub(crate) fn value_bytes(&self) -> u64 {
        self.0.word(0)
    }

    /// Bytes of the value that lie in chunks.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.0.word(WORD)
    }

    /// The chain's number: its chunks have it as version.
    pub(crate) fn chain(&self) -> u64 {
        self.0.word(2 * WORD)
    }

    /// The ordinal of the chain's next chunk.
    pub(crate) fn next_ordinal(&self) -> u64 {
        self.0.word(3 * WORD)
    }

    /// The latest segment that had been opened when eviction last kept the chain, by its sequence; 0: not judged yet.
    pub(crate) fn judged(&self) -> u64 {
        self.0.word(self.0.len() - WORD)
    }

    /// Number of extents.
    pub(crate) fn len(&self) -> usize {
        extents_of(self.0.len())
    }

    pub(crate) fn extent(&self, number: usize) -> Extent {
        let at = LIST_HEAD_BYTES + number * WORD;
        Extent { word: self.0.word(at), location: self.0.word(at + self.len() * WORD) }
    }

    pub(crate) fn extents(self) -> impl DoubleEndedIterator<Item = Extent> + ExactSizeIterator + 's {
        (0..self.len()).map(move |number| self.extent(number))
    }

    /// The number of the extent whose chunk lies at a location.
    pub(crate) fn position(self, location: u64) -> Option<usize> {
        self.extents().position(|extent| extent.location() == Some(location))
    }

    /// Bytes of the list that mean the same everywhere.
    #[cfg(test)]
    pub(crate) fn self_contained(self) -> Bytes<'s> {
        self.0.slice(0..LIST_HEAD_BYTES + self.len() * WORD)
    }
}

/// Writes a list, an extent at a time.
#[derive(Debug)]
pub(crate) struct ListWriter {
    /// Extents that the list will have.
    extents: usize,
    written: usize,
    value_bytes: u64,
    stored_bytes: u64,
}

impl ListWriter {
    /// For a list of `list_bytes` bytes.
    pub(crate) fn new(list_bytes: usize) -> ListWriter {
        let extents = extents_of(list_bytes);
        ListWriter { extents, written: 0, value_bytes: 0, stored_bytes: 0 }
    }

    /// Adds an extent to the list, whose bytes are `list`.
    pub(crate) fn push(&mut self, list: BytesMut<'_>, extent: Extent) {
        let at = LIST_HEAD_BYTES + self.written * WORD;
        let location_at = at + self.extents * WORD;
        list.slice(at..at + WORD).copy_from_slice(&extent.word.to_le_bytes());
        list.slice(location_at..location_at + WORD).copy_from_slice(&extent.location.to_le_bytes());
        self.written += 1;
        self.value_bytes += extent.len();
        self.stored_bytes += if extent.location().is_some() { extent.len() } else { 0 };
    }

    /// Writes what stands before the extents and behind the locations.
    pub(crate) fn finish(self, list: BytesMut<'_>, chain: u64, next_ordinal: u64, judged: u64) {
        debug_assert_eq!(self.extents, self.written);
        set_judged(list, judged);
        let words = [self.value_bytes, self.stored_bytes, chain, next_ordinal];
        for (number, word) in words.into_iter().enumerate() {
            list.slice(number * WORD..(number + 1) * WORD).copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Changes a list that nobody can find yet: the chunk of an extent lies elsewhere.
pub(crate) fn set_location(list: BytesMut<'_>, number: usize, location: u64) {
    let at = LIST_HEAD_BYTES + (extents_of(list.len()) + number) * WORD;
    list.slice(at..at + WORD).copy_from_slice(&location.to_le_bytes());
}

/// Changes a list that nobody can find yet: see [`ChainList::judged`].
pub(crate) fn set_judged(list: BytesMut<'_>, judged: u64) {
    let at = list.len() - WORD;
    list.slice(at..at + WORD).copy_from_slice(&judged.to_le_bytes());
}

/// A value under way into the shard: its chunks are written, nobody can find them yet, and their segments are
/// pinned.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    /// Of the value of a client.
    pub(crate) database: Option<u16>,
    pub(crate) space: u16,
    pub(crate) key: Box<[u8]>,
    /// Bytes that will have come in the end.
    pub(crate) bytes: u64,
    /// Memory that they will take in the end, in whole chunks.
    pub(crate) cost: u64,
    /// Memory that chunks of a client's value have taken, a segment of its own as a whole.
    pub(crate) taken: u64,
    pub(crate) received: u64,
    pub(crate) chain: u64,
    /// All of them chunks, with ordinals from 0.
    pub(crate) extents: Vec<Extent>,
    /// The segment that takes nothing but its chunks, if it has one.
    pub(crate) own: Option<u32>,
    /// Bytes of the last chunk that are still to be written, and where.
    pub(crate) room: usize,
    pub(crate) room_at: u64,
    /// That room is lent: nothing is appended until it is back.
    pub(crate) lends: bool,
    /// It comes back from a medium, not from a client.
    pub(crate) returns: bool,
    /// When its last chunk was begun.
    pub(crate) moved_at: Millis,
    /// The rest of it, or its end, waits for a tier.
    pub(crate) waits: bool,
}

impl Upload {
    /// Where its chunks lie.
    pub(crate) fn locations(&self) -> impl Iterator<Item = u64> + '_ {
        self.extents.iter().filter_map(|extent| extent.location())
    }

    /// Memory beside its chunks.
    pub(crate) fn table_bytes(&self) -> usize {
        self.extents.capacity() * size_of::<Extent>() + self.key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes_mut::bytes_of;

    #[test]
    fn a_list_reads_back_and_finds_its_chunks() {
        let extents = [Extent::chunk(4, 8, 100), Extent::hole(EXTENT_LEN_MAX), Extent::chunk(0, 24, 7)];
        let mut words = vec![0; list_bytes(3) / WORD];
        let mut writer = ListWriter::new(words.len() * WORD);
        extents.into_iter().for_each(|extent| writer.push(BytesMut::of(&mut words), extent));
        writer.finish(BytesMut::of(&mut words), 7, 5, 6);
        let bytes = bytes_of(&words);
        let list = ChainList::new(Bytes::from(&bytes[..]));
        assert_eq!((list.value_bytes(), list.stored_bytes()), (EXTENT_LEN_MAX + 107, 107));
        assert_eq!((list.chain(), list.next_ordinal(), list.judged()), (7, 5, 6));
        assert_eq!(list.extents().collect::<Vec<_>>(), extents);
        assert_eq!((list.len(), list.extent(2)), (3, extents[2]));
        assert_eq!((list.position(24), list.position(32)), (Some(2), None));
        assert_eq!(list.self_contained().len(), LIST_HEAD_BYTES + 3 * WORD);
        set_location(BytesMut::of(&mut words), 2, 48);
        set_judged(BytesMut::of(&mut words), 9);
        let bytes = bytes_of(&words);
        let list = ChainList::new(Bytes::from(&bytes[..]));
        assert_eq!((list.position(48), list.judged()), (Some(2), 9));
        assert_eq!((list.extent(0), list.extent(1)), (extents[0], extents[1]));
    }

    #[test]
    fn the_last_place_and_the_last_ordinal_of_a_chunk_are_no_hole() {
        let last = LOCATION_BYTES_MAX - 16;
        let extent = Extent::chunk(HOLE - 2, last, 5).behind(1);
        assert_eq!((extent.location(), extent.ordinal(), extent.len()), (Some(last), Some(HOLE - 1), 5));
        assert_eq!((Extent::hole(5).location(), Extent::hole(5).len()), (None, 5));
        assert!(has_ordinals(HOLE - 2, 1) && !has_ordinals(HOLE - 2, 2));
    }
}
