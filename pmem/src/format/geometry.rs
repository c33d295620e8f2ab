//! Where things lie: streams on a medium, positions in a stream, items in pages.
//!
//! ```text
//!  medium: | superblock | superblock | stream 0 | stream 1 | ... | journal 0 | journal 1 | ...
//!  stream: | checkpoint | checkpoint | ring of whole blocks                    |, and so each journal
//!  ring:   | batch | batch |  ...  | batch | rest, shorter than a batch may be |
//! ```
//!
//! A *position* counts the units that a stream has taken since it was made, and never falls; its place in the ring is the
//! remainder. So a position is the sequence number of what begins there, and says where it lies.

use super::batch::HEAD_BYTES;
use super::record::RECORD_BYTES;
use super::superblock::{
    BATCH_BYTES, BadConfig, Config, JournalConfig, PAGE_BYTES, STREAMS_MAX, SUPERBLOCKS,
};
use super::{BLOCK_UNITS, UNIT_BYTES};
use crate::media::BLOCK_BYTES;

/// Blocks at the start of a stream that hold checkpoints.
pub const CHECKPOINTS: u64 = 2;
/// A ring holds at least so many batches of the largest size.
pub const RING_BATCHES_MIN: u64 = 8;
/// A stream runs ahead of its checkpoint by this at most, bytes; by a quarter of its ring if that is less.
const AHEAD_BYTES: u64 = 16 << 20;
/// A journal by this share of its ring, as it is small.
const JOURNAL_AHEAD_SHARE: u64 = 2;
/// Bytes of a part of a snapshot, at most.
const PART_BYTES_MOST: usize = 256 << 10;
const BLOCK: u64 = BLOCK_BYTES as u64;
const UNIT: u64 = UNIT_BYTES as u64;

/// Where an item lies: the page's unit on the medium, and the item's number in the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(u64);

impl Place {
    /// Bits that a place takes.
    pub const BITS: u32 = 52;
    const ORDINAL_BITS: u32 = 13;
    /// Most items of a page.
    pub const ORDINALS: usize = 1 << Self::ORDINAL_BITS;

    pub(crate) fn new(unit: u64, ordinal: u16) -> Place {
        debug_assert!(unit < 1 << (Self::BITS - Self::ORDINAL_BITS) && usize::from(ordinal) < Self::ORDINALS);
        Place(unit << Self::ORDINAL_BITS | u64::from(ordinal))
    }

    /// The place as a number below 2^52.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The place that a number is; any number is one, though perhaps one where nothing lies.
    pub fn from_bits(bits: u64) -> Place {
        Place(bits)
    }

    /// Where the page begins, in units from the start of the medium.
    pub fn unit(self) -> u64 {
        self.0 >> Self::ORDINAL_BITS
    }

    /// The item's number in the page.
    pub fn ordinal(self) -> u16 {
        (self.0 & (Self::ORDINALS as u64 - 1)) as u16
    }
}

/// A medium as it is divided, by a configuration that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pub config: Config,
    /// Bytes of each stream's part, checkpoints included.
    stream_bytes: u64,
}

/// The ring of one stream, or of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Byte of the first checkpoint.
    start: u64,
    /// Units of the ring.
    units: u64,
    /// Units of the largest batch.
    batch: u64,
    /// How far it may run ahead of its checkpoint, units.
    ahead: u64,
}

impl Geometry {
    /// # Errors
    /// A size that is not possible, or too few bytes.
    pub fn new(config: Config) -> Result<Geometry, BadConfig> {
        let Config { bytes, page_bytes, batch_bytes, streams, journal, .. } = config;
        if !PAGE_BYTES.contains(&page_bytes) || !page_bytes.is_multiple_of(UNIT_BYTES as u32) {
            return Err(BadConfig::PageBytes(page_bytes));
        }
        let is_whole = batch_bytes.is_multiple_of(BLOCK_BYTES as u32) && batch_bytes >= 2 * page_bytes;
        if !BATCH_BYTES.contains(&batch_bytes) || !is_whole {
            return Err(BadConfig::BatchBytes(batch_bytes));
        }
        if streams == 0 || streams > STREAMS_MAX {
            return Err(BadConfig::Streams(streams));
        }
        if config.has_journals() && !journal.is_possible() {
            return Err(BadConfig::Journal { bytes: journal.bytes, batch_bytes: journal.batch_bytes });
        }
        let all = bytes.saturating_sub(SUPERBLOCKS * BLOCK) / u64::from(streams);
        let stream_bytes = all.saturating_sub(u64::from(journal.bytes)) / BLOCK * BLOCK;
        let least = CHECKPOINTS * BLOCK + RING_BATCHES_MIN * u64::from(batch_bytes);
        if stream_bytes < least {
            let needed = SUPERBLOCKS * BLOCK + (least + u64::from(journal.bytes)) * u64::from(streams);
            return Err(BadConfig::TooSmall { bytes, streams, needed });
        }
        if bytes / UNIT >= 1 << (Place::BITS - Place::ORDINAL_BITS) {
            return Err(BadConfig::TooLarge(bytes));
        }
        Ok(Geometry { config, stream_bytes })
    }

    /// Most records of a part of a snapshot: those of the largest batch, or fewer, as nothing else is written meanwhile.
    pub fn part_records(&self) -> usize {
        let bytes = (self.config.batch_bytes as usize).min(PART_BYTES_MOST);
        (bytes - 2 * HEAD_BYTES) / RECORD_BYTES
    }

    /// How many rings there are: streams, and behind them their journals.
    pub fn rings(&self) -> u16 {
        if self.config.has_journals() { 2 * self.config.streams } else { self.config.streams }
    }

    /// The number of a stream's journal among the rings.
    pub fn journal_of(&self, stream: u16) -> Option<u16> {
        self.config.has_journals().then(|| self.config.streams + stream)
    }

    /// The ring of a stream, or of a journal: see [`Geometry::journal_of`].
    pub fn ring(&self, number: u16) -> Ring {
        let units = |bytes: u64| (bytes / BLOCK - CHECKPOINTS) * BLOCK_UNITS;
        let Config { batch_bytes, journal, .. } = self.config;
        let Some(journal_number) = number.checked_sub(self.config.streams) else {
            let (units, batch) = (units(self.stream_bytes), u64::from(batch_bytes) / UNIT);
            let ahead = (units / 4).min((AHEAD_BYTES / UNIT).max(4 * batch));
            let start = SUPERBLOCKS * BLOCK + u64::from(number) * self.stream_bytes;
            return Ring { start, units, batch, ahead };
        };
        let units = units(u64::from(journal.bytes));
        Ring {
            start: self.journals() + u64::from(journal_number) * u64::from(journal.bytes),
            units,
            batch: u64::from(journal.batch_bytes) / UNIT,
            ahead: units / JOURNAL_AHEAD_SHARE,
        }
    }

    /// Byte of the first journal.
    fn journals(&self) -> u64 {
        SUPERBLOCKS * BLOCK + u64::from(self.config.streams) * self.stream_bytes
    }

    /// The stream or journal that has a unit of the medium in its ring, and the unit's number there.
    pub fn stream_of(&self, unit: u64) -> Option<(u16, u64)> {
        let (first, from, bytes) = match unit.checked_sub(self.journals() / UNIT) {
            Some(behind) => (self.config.streams, behind, u64::from(self.config.journal.bytes)),
            None => (0, unit.checked_sub(SUPERBLOCKS * BLOCK_UNITS)?, self.stream_bytes),
        };
        let units = bytes / UNIT;
        let number = u16::try_from(from.checked_div(units)?).ok()?.checked_add(first)?;
        let in_ring = (from % units).checked_sub(CHECKPOINTS * BLOCK_UNITS)?;
        (number < self.rings()).then_some((number, in_ring))
    }
}

impl JournalConfig {
    /// Whether a journal can be divided so.
    pub fn is_possible(&self) -> bool {
        let Self { bytes, batch_bytes } = *self;
        let is_whole = [bytes, batch_bytes].iter().all(|bytes| bytes.is_multiple_of(BLOCK_BYTES as u32));
        let least = CHECKPOINTS * BLOCK + RING_BATCHES_MIN * u64::from(batch_bytes);
        BATCH_BYTES.contains(&batch_bytes) && is_whole && u64::from(bytes) >= least
    }
}

impl Ring {
    /// Units of the ring.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Units of the largest batch.
    pub fn batch_units(&self) -> u64 {
        self.batch
    }

    /// Byte of a checkpoint on the medium.
    pub fn checkpoint(&self, turn: u64) -> u64 {
        self.start + turn % CHECKPOINTS * BLOCK
    }

    /// Byte of a position on the medium.
    pub fn byte(&self, position: u64) -> u64 {
        self.start + CHECKPOINTS * BLOCK + position % self.units * UNIT
    }

    /// Unit of a position on the medium.
    pub fn unit(&self, position: u64) -> u64 {
        self.byte(position) / UNIT
    }

    /// Where the batch begins that follows one that ended at `end`: there, or at the next start of the ring if the
    /// largest batch would not fit before it.
    pub fn next_start(&self, end: u64) -> u64 {
        let rest = self.units - end % self.units;
        if rest < self.batch { end + rest } else { end }
    }

    /// How far it may run ahead of its checkpoint, units.
    pub fn ahead(&self) -> u64 {
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config {
        bytes: 1 << 20,
        page_bytes: 4096,
        batch_bytes: 16384,
        streams: 3,
        journal: JournalConfig::NONE,
        has_snapshots: false,
        volume: 1,
        hash_seed: 0,
    };
    const JOURNALED: Config =
        Config { journal: JournalConfig { bytes: 139_264, batch_bytes: 16384 }, ..CONFIG };

    #[test]
    fn streams_do_not_touch_each_other_and_units_find_theirs() {
        let geometry = Geometry::new(CONFIG).unwrap();
        let mut last = SUPERBLOCKS * BLOCK;
        for stream in 0..3 {
            let ring = geometry.ring(stream);
            assert_eq!(ring.checkpoint(0), last);
            assert_eq!(ring.checkpoint(1), last + 4096);
            assert_eq!(ring.byte(0), last + 8192);
            assert_eq!(ring.byte(ring.units() + 64), last + 8192 + 4096);
            assert_eq!(geometry.stream_of(ring.unit(5)), Some((stream, 5)));
            assert_eq!(geometry.stream_of(ring.unit(0) - 1), None);
            last = ring.byte(ring.units() - 1) + 64;
        }
        assert!(last <= CONFIG.bytes);
        assert_eq!(geometry.stream_of(0), None);
        assert_eq!(geometry.stream_of(u64::MAX), None);
    }

    #[test]
    fn journals_lie_behind_the_streams_and_units_find_theirs() {
        let (geometry, without) = (Geometry::new(JOURNALED).unwrap(), Geometry::new(CONFIG).unwrap());
        assert_eq!((geometry.rings(), without.rings()), (6, 3));
        assert_eq!((geometry.journal_of(2), without.journal_of(2)), (Some(5), None));
        let mut last = SUPERBLOCKS * BLOCK;
        for number in 0..6 {
            let ring = geometry.ring(number);
            assert_eq!((ring.checkpoint(0), ring.byte(0)), (last, last + 8192), "{number}");
            let (first, end) = (ring.unit(0), ring.unit(ring.units() - 1));
            assert_eq!(geometry.stream_of(first), Some((number, 0)));
            assert_eq!(geometry.stream_of(end), Some((number, ring.units() - 1)));
            assert_eq!(geometry.stream_of(first - 1), None);
            assert!(ring.ahead() + ring.batch_units() <= ring.units());
            last = ring.byte(ring.units() - 1) + 64;
        }
        assert!(last <= CONFIG.bytes);
        assert_eq!(geometry.stream_of(last / 64 + 128), None);
        assert_eq!(geometry.ring(3).batch_units(), 256);
    }

    #[test]
    fn a_batch_never_crosses_the_end_of_the_ring() {
        let ring = Geometry::new(CONFIG).unwrap().ring(0);
        for block in 0..ring.units() / 64 * 2 {
            let start = ring.next_start(block * 64);
            assert!(start % ring.units() + ring.batch_units() <= ring.units());
            assert!(start < block * 64 + ring.batch_units());
            assert_eq!(ring.next_start(start), start);
        }
        assert!(ring.ahead() >= 2 * ring.batch_units());
    }

    #[test]
    fn what_cannot_be_divided_is_refused_with_the_numbers() {
        let refused = |config| Geometry::new(config).unwrap_err().to_string();
        assert!(refused(Config { page_bytes: 2048, ..CONFIG }).contains("2048"));
        assert!(refused(Config { batch_bytes: 20_000, ..CONFIG }).contains("20000"));
        assert!(refused(Config { page_bytes: 16384, ..CONFIG }).contains("batches have 16384"));
        assert!(refused(Config { streams: 0, ..CONFIG }).contains("0 streams"));
        let small = Config { bytes: 400_000, ..CONFIG };
        assert_eq!(refused(small), "400000 bytes are too few for 3 streams: they need 425984");
        assert!(Geometry::new(Config { bytes: 425_984, ..CONFIG }).is_ok());
        assert!(Geometry::new(Config { bytes: 1 << 46, ..CONFIG }).is_err());
        let journal = |bytes, batch_bytes| Config { journal: JournalConfig { bytes, batch_bytes }, ..CONFIG };
        for bad in [(135_168, 16384), (139_264, 8192), (139_300, 16384), (139_264, 0)] {
            assert!(refused(journal(bad.0, bad.1)).starts_with("journals have"), "{bad:?}");
        }
        let small = Config { bytes: 843_775, ..JOURNALED };
        assert_eq!(refused(small), "843775 bytes are too few for 3 streams: they need 843776");
        assert!(Geometry::new(Config { bytes: 843_776, ..JOURNALED }).is_ok());
    }
}
