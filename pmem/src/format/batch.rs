//! A batch: pages, the table of what they hold, and its bounds before and behind them.
//!
//! ```text
//!  | head | page | page | ... | table | zeros to the end of a block less 128 | foot |
//! ```
//!
//! Head and foot are the same 128 bytes but for the magic, so that a batch is known when either is whole; what it may
//! have held is also said by the batch behind it.
//!
//! A batch may be a part of a [snapshot](crate::recover): it has no pages, and its bounds say so.

use std::ops::RangeInclusive;

use super::UNIT_BYTES;
use super::fields::{Fields, Writer, is_sealed};
use super::record::RECORD_BYTES;

/// Bytes of a head, and of a foot.
pub const HEAD_BYTES: usize = 128;
const HEAD_MAGIC: [u8; 8] = *b"TORCHEAD";
const FOOT_MAGIC: [u8; 8] = *b"TORCFOOT";

/// What a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Position of the head.
    pub start: u64,
    /// Units from the head to behind the foot; 0: there is no batch.
    pub units: u32,
    /// Units from the head to the table.
    pub table: u32,
    /// Records of the table.
    pub records: u32,
    /// Lowest and highest slot of any record. Of a part of a snapshot the lowest is the higher one: see [`Part`].
    pub slots: (u16, u16),
    /// Highest version of any record.
    pub version: u64,
}

/// What the bounds of a batch say that is a part of a snapshot of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The snapshot is of what all batches below this position hold.
    pub below: u64,
    /// Its number among the parts, from 0.
    pub number: u16,
    /// No part comes behind it.
    pub is_last: bool,
}

impl Part {
    /// Most parts of a snapshot.
    pub const PARTS_MAX: u16 = Part::LAST - 1;
    /// Lowest slot of its bounds, so that no slot is within them.
    const LOWEST: u16 = u16::MAX;
    /// Flag of the last one, beside its number.
    const LAST: u16 = 1 << 15;

    /// Bounds of a part with so many records; what else they say is the same as for every batch.
    pub fn bounds(&self, records: u32, others: Bounds) -> Bounds {
        let highest = self.number | if self.is_last { Part::LAST } else { 0 };
        Bounds { records, slots: (Part::LOWEST, highest), version: self.below, ..others }
    }
}

impl Bounds {
    pub(super) fn encode<const N: usize>(&self, out: &mut Writer<N>) {
        out.u64(self.start);
        out.u32(self.units);
        out.u32(self.table);
        out.u32(self.records);
        out.u16(self.slots.0);
        out.u16(self.slots.1);
        out.u64(self.version);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Bounds {
        Bounds {
            start: fields.u64(),
            units: fields.u32(),
            table: fields.u32(),
            records: fields.u32(),
            slots: (fields.u16(), fields.u16()),
            version: fields.u64(),
        }
    }

    /// Bytes between the table and the foot, which hold nothing.
    pub fn padding_bytes(&self) -> u64 {
        let units = u64::from(self.units).saturating_sub(self.table.into());
        let table = self.records as usize * RECORD_BYTES + HEAD_BYTES;
        (units * UNIT_BYTES as u64).saturating_sub(table as u64)
    }

    /// Position behind the foot.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.units))
    }

    /// Of a part of a snapshot there are none: it supersedes nothing.
    pub fn slots(&self) -> RangeInclusive<u16> {
        self.slots.0..=self.slots.1
    }

    /// Which part of a snapshot it is, if it is one.
    pub fn part(&self) -> Option<Part> {
        let (lowest, highest) = self.slots;
        let is_last = highest & Part::LAST != 0;
        (lowest == Part::LOWEST && highest < lowest && self.units > 0).then_some(Part {
            below: self.version,
            number: highest & !Part::LAST,
            is_last,
        })
    }
}

/// Head or foot of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub stream: u16,
    pub pages: u32,
    pub volume: u64,
    /// The run that wrote it.
    pub generation: u64,
    /// Everything below this position was drained before the batch was written.
    pub drained: u64,
    /// Position of the oldest batch that may be read once this one is drained.
    pub oldest: u64,
    pub bounds: Bounds,
    /// Those of the batch before.
    pub previous: Bounds,
    /// Of the table's records.
    pub table_checksum: u64,
}

impl Head {
    pub fn encode_head(&self) -> [u8; HEAD_BYTES] {
        self.encode(HEAD_MAGIC)
    }

    pub fn encode_foot(&self) -> [u8; HEAD_BYTES] {
        self.encode(FOOT_MAGIC)
    }

    fn encode(&self, magic: [u8; 8]) -> [u8; HEAD_BYTES] {
        let mut out = Writer::new();
        out.put(&magic);
        out.u16(self.stream);
        out.u16(0);
        out.u32(self.pages);
        out.u64(self.volume);
        out.u64(self.generation);
        out.u64(self.drained);
        out.u64(self.oldest);
        self.bounds.encode(&mut out);
        self.previous.encode(&mut out);
        out.u64(self.table_checksum);
        out.sealed()
    }

    /// The head that lies at the start of `bytes`.
    pub fn decode_head(bytes: &[u8]) -> Option<Head> {
        Head::decode(bytes.get(..HEAD_BYTES)?, HEAD_MAGIC)
    }

    /// The foot that lies at the end of `bytes`.
    pub fn decode_foot(bytes: &[u8]) -> Option<Head> {
        Head::decode(bytes.get(bytes.len().checked_sub(HEAD_BYTES)?..)?, FOOT_MAGIC)
    }

    fn decode(bytes: &[u8], magic: [u8; 8]) -> Option<Head> {
        let mut fields = Fields::new(bytes);
        if fields.array() != magic || !is_sealed(bytes) {
            return None;
        }
        let (stream, _, pages) = (fields.u16(), fields.u16(), fields.u32());
        Some(Head {
            stream,
            pages,
            volume: fields.u64(),
            generation: fields.u64(),
            drained: fields.u64(),
            oldest: fields.u64(),
            bounds: Bounds::decode(&mut fields),
            previous: Bounds::decode(&mut fields),
            table_checksum: fields.u64(),
        })
    }
}

const _: () = assert!(HEAD_BYTES.is_multiple_of(UNIT_BYTES));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_foot_come_back_and_are_not_taken_for_each_other() {
        let bounds = Bounds { start: 64, units: 128, table: 90, records: 7, slots: (3, 9), version: 77 };
        let head = Head {
            stream: 2,
            pages: 1,
            volume: 5,
            generation: 6,
            drained: 64,
            oldest: 0,
            bounds,
            previous: Bounds { start: 0, ..bounds },
            table_checksum: 8,
        };
        assert_eq!(Head::decode_head(&head.encode_head()), Some(head));
        assert_eq!(Head::decode_foot(&head.encode_foot()), Some(head));
        assert_eq!(Head::decode_head(&head.encode_foot()), None);
        assert_eq!((bounds.end(), bounds.slots()), (192, 3..=9));
        for at in 0..HEAD_BYTES {
            let mut bad = head.encode_head();
            bad[at] ^= 1;
            assert_eq!(Head::decode_head(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn parts_of_snapshots_are_known_by_their_bounds_and_no_other_batch_is() {
        let others = Bounds { start: 640, units: 128, table: 2, ..Bounds::default() };
        for number in [0, 1, Part::PARTS_MAX - 1] {
            for is_last in [false, true] {
                let part = Part { below: 320, number, is_last };
                let bounds = part.bounds(7, others);
                assert_eq!((bounds.part(), bounds.records, bounds.start), (Some(part), 7, 640));
                assert!(bounds.slots().is_empty() && !bounds.slots().contains(&5));
            }
        }
        for slots in [(0, 0), (0, u16::MAX), (u16::MAX, u16::MAX), (5, 9)] {
            assert_eq!(Bounds { slots, ..others }.part(), None);
        }
        assert_eq!(Bounds { slots: (u16::MAX, 0), ..Bounds::default() }.part(), None);
    }
}
