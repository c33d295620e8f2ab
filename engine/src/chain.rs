//! Values longer than an item may be: a small head and chunks.
//!
//! ```text
//!  head, an item with the key; its value:   | value bytes u64 | chain u64 | location u64 | location u64 | ...
//!  chunk, an item without key; its value:   | hash of the key u64 | data ...
//! ```
//!
//! The chain's number is the version of its first head, and that of every chunk once it has a head; so a
//! chunk that is met in its segment finds its head by the hash and knows it by the number. A new head may
//! take over the chunks of the old one (touch, append): only the list is written again. Locations in the list
//! change when chunks are moved.

use crate::command::UploadId;

/// Bytes of the list before the locations.
pub(crate) const LIST_HEAD_BYTES: usize = 16;

/// The value of a chain head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainList<'s>(&'s [u8]);

impl<'s> ChainList<'s> {
    pub(crate) fn new(bytes: &'s [u8]) -> ChainList<'s> {
        debug_assert!(bytes.len() >= LIST_HEAD_BYTES, "a chain head has a list");
        ChainList(bytes)
    }

    fn word(&self, at: usize) -> u64 {
        self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    /// Length of the whole value.
    pub(crate) fn value_bytes(&self) -> u64 {
        self.word(0)
    }

    /// The chain's number: its chunks have it as version.
    pub(crate) fn chain(&self) -> u64 {
        self.word(8)
    }

    pub(crate) fn locations(self) -> impl Iterator<Item = u64> + 's {
        self.0[LIST_HEAD_BYTES..].as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Where in the list a location stands, from its start.
    pub(crate) fn position(self, location: u64) -> Option<usize> {
        self.locations().position(|other| other == location).map(|number| LIST_HEAD_BYTES + number * 8)
    }

    /// Appends the encoding of a list to `out`.
    pub(crate) fn write(value_bytes: u64, chain: u64, locations: &[u64], out: &mut Vec<u8>) {
        out.extend_from_slice(&value_bytes.to_le_bytes());
        out.extend_from_slice(&chain.to_le_bytes());
        locations.iter().for_each(|location| out.extend_from_slice(&location.to_le_bytes()));
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
    pub(crate) locations: Vec<u64>,
    /// Bytes of the last chunk that are still to be written, and where.
    pub(crate) room: usize,
    pub(crate) room_at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_finds_its_locations() {
        let mut bytes = Vec::new();
        ChainList::write(1000, 7, &[8, 16, 24], &mut bytes);
        let list = ChainList::new(&bytes);
        assert_eq!((list.value_bytes(), list.chain()), (1000, 7));
        assert_eq!(list.locations().collect::<Vec<_>>(), [8, 16, 24]);
        assert_eq!(list.position(16), Some(24));
        assert_eq!(list.position(32), None);
    }
}
