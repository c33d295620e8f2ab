//! A record of a batch's table: what happened to a key, and where the item lies if there is one.

use std::ops::RangeInclusive;

use super::fields::{Fields, Writer};

/// Bytes of a record.
pub const RECORD_BYTES: usize = 40;

/// What a record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Item = 1,
    ChainHead = 2,
    /// A piece of a long value; its hash names the chain and the piece.
    Chunk = 3,
    /// The key was deleted.
    Tombstone = 4,
    /// A space was flushed.
    Flush = 5,
    /// All spaces were flushed.
    FlushAll = 6,
    /// Of a journal: where its stream has what this batch holds.
    Packed = 7,
}

impl Kind {
    fn decode(kind: u8) -> Option<Kind> {
        let items = [Kind::Item, Kind::ChainHead, Kind::Chunk];
        let marks = [Kind::Tombstone, Kind::Flush, Kind::FlushAll, Kind::Packed];
        items.into_iter().chain(marks).find(|known| *known as u8 == kind)
    }

    /// Whether there are bytes behind it. The others are marks: they say that older things are gone, or where they are.
    pub fn has_bytes(self) -> bool {
        matches!(self, Kind::Item | Kind::ChainHead | Kind::Chunk)
    }
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Of key and space. Of a flush: the last slot. Of [`Kind::Packed`]: a position.
    pub hash: u64,
    pub version: u64,
    /// Milliseconds of the Unix epoch; 0: never. A chunk, which ends with its head, has the hash of its key here.
    pub expiry: u64,
    pub space: u16,
    /// Of a flush: the first one.
    pub slot: u16,
    pub kind: Kind,
}

impl Record {
    /// A mark that everything in these slots up to this version is gone, in one space or in all.
    pub fn flush(space: Option<u16>, slots: RangeInclusive<u16>, version: u64) -> Record {
        Record {
            hash: u64::from(*slots.end()),
            version,
            expiry: 0,
            space: space.unwrap_or(0),
            slot: *slots.start(),
            kind: if space.is_some() { Kind::Flush } else { Kind::FlushAll },
        }
    }

    /// A mark that what this batch of a journal holds is packed into the batch of its stream that begins at a position.
    /// It has the slot of the record behind it.
    pub fn packed(start: u64, slot: u16) -> Record {
        Record { hash: start, version: 0, expiry: 0, space: 0, slot, kind: Kind::Packed }
    }

    /// When it ends, milliseconds of the Unix epoch.
    pub fn ends_at(&self) -> Option<u64> {
        (self.expiry != 0 && self.kind != Kind::Chunk).then_some(self.expiry)
    }

    /// Of a flush: whether it says that an item is gone.
    pub fn voids(&self, item: &Record) -> bool {
        let same_space = match self.kind {
            Kind::FlushAll => true,
            Kind::Flush => self.space == item.space,
            _ => false,
        };
        same_space && item.version <= self.version && self.slots().contains(&item.slot)
    }

    /// The slots that it says something of.
    pub fn slots(&self) -> RangeInclusive<u16> {
        match self.kind {
            Kind::Flush | Kind::FlushAll => self.slot..=u16::try_from(self.hash).unwrap_or(u16::MAX),
            _ => self.slot..=self.slot,
        }
    }
}

/// A record with the place of its item, as it stands in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub record: Record,
    /// Units from the batch's head to the page; 0 for a mark.
    pub page: u32,
    /// Length of the item, bytes.
    pub len: u32,
    /// Number of the item in its page.
    pub ordinal: u16,
}

impl Entry {
    /// As it stands in a part of a snapshot: an item of a page at a position of the stream.
    pub fn of_snapshot(record: Record, position: u64, ordinal: u16) -> Entry {
        Entry { record, page: position as u32, len: (position >> 32) as u32, ordinal }
    }

    /// In a part of a snapshot: the position of its page.
    pub fn position(&self) -> u64 {
        u64::from(self.len) << 32 | u64::from(self.page)
    }

    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let (mut out, record) = (Writer::new(), &self.record);
        out.u64(record.hash);
        out.u64(record.version);
        out.u64(record.expiry);
        out.u32(self.page);
        out.u32(self.len);
        out.u16(self.ordinal);
        out.u16(record.space);
        out.u16(record.slot);
        out.put(&[record.kind as u8, 0]);
        out.finish()
    }

    /// `None`: its kind is unknown.
    pub fn decode(bytes: &[u8]) -> Option<Entry> {
        let mut fields = Fields::new(bytes);
        let (hash, version, expiry) = (fields.u64(), fields.u64(), fields.u64());
        let (page, len, ordinal) = (fields.u32(), fields.u32(), fields.u16());
        let (space, slot) = (fields.u16(), fields.u16());
        let kind = Kind::decode(fields.u8())?;
        Some(Entry { record: Record { hash, version, expiry, space, slot, kind }, page, len, ordinal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_unknown_kinds_do_not() {
        for kind in [Kind::Item, Kind::ChainHead, Kind::Chunk, Kind::Tombstone] {
            let record = Record { hash: u64::MAX - 1, version: 2, expiry: 3, space: 4, slot: 5, kind };
            let entry = Entry { record, page: 6, len: 7, ordinal: 8 };
            assert_eq!(Entry::decode(&entry.encode()), Some(entry));
            assert_eq!(record.slots(), 5..=5);
        }
        let flush = Record::flush(Some(3), 10..=20, 99);
        let entry = Entry { record: flush, page: 0, len: 0, ordinal: 0 };
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        assert_eq!((flush.slots(), flush.kind), (10..=20, Kind::Flush));
        assert_eq!(Record::flush(None, 0..=0, 1).kind, Kind::FlushAll);
        let of_snapshot = Entry::of_snapshot(Record { kind: Kind::Item, ..flush }, (7 << 32) + 9, 8191);
        let decoded = Entry::decode(&of_snapshot.encode()).unwrap();
        assert_eq!((decoded, decoded.position()), (of_snapshot, (7 << 32) + 9));
        let mut bytes = entry.encode();
        bytes[38] = 200;
        assert_eq!(Entry::decode(&bytes), None);
    }

    #[test]
    fn a_flush_voids_what_is_not_newer_in_its_slots_and_its_space() {
        let item = Record { hash: 1, version: 9, expiry: 0, space: 3, slot: 12, kind: Kind::Item };
        assert!(
            Record::flush(Some(3), 10..=12, 9).voids(&item) && Record::flush(None, 12..=12, 10).voids(&item)
        );
        for mark in [
            Record::flush(Some(3), 10..=12, 8),
            Record::flush(Some(2), 10..=12, 9),
            Record::flush(None, 13..=20, 9),
            Record { kind: Kind::Tombstone, ..item },
        ] {
            assert!(!mark.voids(&item), "{mark:?}");
        }
    }
}
