//! The superblock: what a medium holds, and whether it may be believed.
//!
//! There are two, written in turn, in the first two blocks of the medium; the valid one with the higher turn counts. The
//! first 16 bytes and the place of the checksum are the same in every version of the format, for ever.

use std::ops::RangeInclusive;
use thiserror::Error;

use super::fields::{BYTE_ORDER, Fields, MAGIC, Writer, checksum, is_sealed};
use super::geometry::RING_BATCHES_MIN as JOURNAL_BATCHES_MIN;
use super::label::Label;
use super::spaces::SpaceTable;
use crate::media::BLOCK_BYTES;

/// Versions of the format that are read and written: 1 has no journals, 2 has one for each stream, 4 may have journals, and snapshots in
/// its streams, 5 beside that a table of spaces that has changed. 3 is [`super::label::MEMBER_FORMAT`].
pub const FORMATS: [u32; 4] = [1, 2, 4, 5];
/// Blocks at the start of a medium that hold superblocks.
pub const SUPERBLOCKS: u64 = 2;

const CLEAN: u16 = 1;
const VOID: u16 = 2;
/// Beside [`VOID`] always, so that whoever does not know it believes nothing.
const VOLATILE: u16 = 4;

/// Sizes that a page may have, bytes.
pub const PAGE_BYTES: RangeInclusive<u32> = 4 << 10..=64 << 10;
/// Sizes that a batch may have, bytes.
pub const BATCH_BYTES: RangeInclusive<u32> = 16 << 10..=4 << 20;
/// Most streams of a medium.
pub const STREAMS_MAX: u16 = 4096;

/// How a medium is divided; fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Size of the medium, bytes: a multiple of a block.
    pub bytes: u64,
    /// Largest size of a page that holds more than one item, bytes.
    pub page_bytes: u32,
    /// Largest size of a batch, bytes: a multiple of a block.
    pub batch_bytes: u32,
    pub streams: u16,
    pub journal: JournalConfig,
    /// Whether batches of streams may be parts of snapshots.
    pub has_snapshots: bool,
    /// A number that no other tier has, drawn by chance.
    pub volume: u64,
    /// What the caller's hashes are seeded with, as they have to stay the same.
    pub hash_seed: u64,
}

/// What each stream has for what must be safe before there is enough of it for a batch. All zero: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// What a journal takes, its checkpoints included, bytes: a multiple of a block.
    pub bytes: u32,
    /// Largest size of its batches, bytes, within [`BATCH_BYTES`]: a multiple of a block.
    pub batch_bytes: u32,
}

impl JournalConfig {
    /// Streams have no journals.
    pub const NONE: JournalConfig = JournalConfig { bytes: 0, batch_bytes: 0 };
}

impl Config {
    /// Whether streams have journals.
    pub fn has_journals(&self) -> bool {
        self.journal.bytes > 0
    }

    /// Version of the format of a medium that is divided so, as long as its table of spaces is what it was at first.
    pub fn format(&self) -> u32 {
        let [plain, journaled, with_snapshots, _] = FORMATS;
        match (self.has_snapshots, self.has_journals()) {
            (true, _) => with_snapshots,
            (false, true) => journaled,
            (false, false) => plain,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    pub config: Config,
    /// Which run wrote last.
    pub generation: u64,
    /// Which writing of a superblock this is.
    pub turn: u64,
    /// No version above this has been given out.
    pub ceiling: u64,
    /// The run ended in order: nothing was given out after what is on the medium.
    pub is_clean: bool,
    /// Nothing on the medium may be believed.
    pub is_void: bool,
    /// It is void until the run that uses it ends in order: see [`crate::tier::Tier::begin_volatile`].
    pub is_volatile: bool,
    pub spaces: SpaceTable,
}

/// Why what is on a medium is not used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Refused {
    #[error("it holds nothing yet")]
    Empty,
    #[error("it holds something that is not a tier of Torc")]
    Foreign,
    #[error("both superblocks are damaged")]
    Damaged,
    #[error(
        "it has format {found}; this program reads formats {}, {}, {} and {}", FORMATS[0], FORMATS[1], FORMATS[2], FORMATS[3]
    )]
    Format { found: u32 },
    #[error("it is member {number} of {of} that a tier lies on: give all of them")]
    Member { number: u16, of: u16 },
    #[error("it was written by a machine with the other byte order")]
    ByteOrder,
    #[error("it was made for {recorded} bytes and has {found}")]
    Size { recorded: u64, found: u64 },
    #[error("it was voided after its medium had failed")]
    Void,
    #[error("a run without durability used it and has not ended in order, so nothing on it may be believed")]
    Unfinished,
    #[error("{0}")]
    Config(#[from] BadConfig),
}

/// Why a medium cannot be divided so.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum BadConfig {
    #[error("pages have {0} bytes: a multiple of 64 from 4096 to 65536 is possible")]
    PageBytes(u32),
    #[error(
        "batches have {0} bytes: a multiple of 4096 from 16384 to 4194304, at least two pages, is possible"
    )]
    BatchBytes(u32),
    #[error("there are {0} streams: 1 to {STREAMS_MAX} are possible")]
    Streams(u16),
    #[error("{bytes} bytes are too few for {streams} streams: they need {needed}")]
    TooSmall { bytes: u64, streams: u16, needed: u64 },
    #[error(
        "journals have {bytes} bytes and batches of {batch_bytes}: multiples of 4096 are possible, with room for \
         {JOURNAL_BATCHES_MIN} batches of 16384 to 4194304 bytes"
    )]
    Journal { bytes: u32, batch_bytes: u32 },
    #[error("{0} bytes are more than places can name")]
    TooLarge(u64),
}

impl Refused {
    /// Whether one of two superblocks says it for both.
    fn is_of_others(&self) -> bool {
        matches!(self, Refused::Format { .. } | Refused::ByteOrder | Refused::Member { .. })
    }
}

impl Superblock {
    /// Version of the format that it is written in. Who does not know the last one would look for keys where they are not.
    pub fn format(&self) -> u32 {
        if self.spaces.has_changed() { FORMATS[3] } else { self.config.format() }
    }

    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut out = Writer::new();
        let config = &self.config;
        out.put(&MAGIC);
        out.u32(BYTE_ORDER);
        out.u32(self.format());
        out.u32(config.page_bytes);
        out.u32(config.batch_bytes);
        out.u64(config.bytes);
        out.u64(config.volume);
        out.u64(config.hash_seed);
        out.u64(self.generation);
        out.u64(self.turn);
        out.u64(self.ceiling);
        out.u16(config.streams);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        out.u16(flag(self.is_clean, CLEAN) | flag(self.is_void, VOID) | flag(self.is_volatile, VOLATILE));
        out.u32(config.journal.bytes);
        out.u32(config.journal.batch_bytes);
        if self.spaces.has_changed() {
            out.u32(0);
            self.spaces.write(&mut out);
        }
        out.sealed()
    }

    /// # Errors
    /// What it is instead.
    pub fn decode(block: &[u8]) -> Result<Superblock, Refused> {
        let mut fields = Fields::new(block);
        if fields.array() != MAGIC {
            let is_empty = block.iter().all(|byte| *byte == 0);
            return Err(if is_empty { Refused::Empty } else { Refused::Foreign });
        }
        let order = fields.u32();
        if order == BYTE_ORDER.swap_bytes() && is_sealed_swapped(block) {
            return Err(Refused::ByteOrder);
        }
        if order != BYTE_ORDER || !is_sealed(block) {
            return Err(Refused::Damaged);
        }
        let found = fields.u32();
        if let Some(Label { number, of, .. }) = Label::decode(block) {
            return Err(Refused::Member { number: number + 1, of });
        }
        if !FORMATS.contains(&found) {
            return Err(Refused::Format { found });
        }
        let (page_bytes, batch_bytes, bytes) = (fields.u32(), fields.u32(), fields.u64());
        let (volume, hash_seed) = (fields.u64(), fields.u64());
        let (generation, turn, ceiling) = (fields.u64(), fields.u64(), fields.u64());
        let (streams, flags) = (fields.u16(), fields.u16());
        let journal = match found {
            1 => JournalConfig::NONE,
            _ => JournalConfig { bytes: fields.u32(), batch_bytes: fields.u32() },
        };
        let has_snapshots = found >= FORMATS[2];
        let spaces = if found == FORMATS[3] {
            fields.u32();
            SpaceTable::read(&mut fields)
        } else {
            SpaceTable::default()
        };
        let config =
            Config { bytes, page_bytes, batch_bytes, streams, journal, has_snapshots, volume, hash_seed };
        let has = |flag| flags & flag != 0;
        let (is_clean, is_void, is_volatile) = (has(CLEAN), has(VOID), has(VOLATILE));
        Ok(Superblock { config, generation, turn, ceiling, is_clean, is_void, is_volatile, spaces })
    }

    /// The one of two that counts.
    ///
    /// # Errors
    /// Why neither does. A format or a byte order that is unknown is said, even if the other one could be read.
    pub fn newer(blocks: [&[u8]; 2]) -> Result<Superblock, Refused> {
        match blocks.map(Superblock::decode) {
            [Ok(first), Ok(second)] => Ok(if first.turn >= second.turn { first } else { second }),
            [Err(other), _] | [_, Err(other)] if other.is_of_others() => Err(other),
            [Ok(only), Err(_)] | [Err(_), Ok(only)] => Ok(only),
            [Err(Refused::Empty), Err(Refused::Empty)] => Err(Refused::Empty),
            [Err(first), Err(second)] => {
                let is_damaged = [first, second].contains(&Refused::Damaged);
                Err(if is_damaged { Refused::Damaged } else { Refused::Foreign })
            }
        }
    }
}

/// Whether the block is sealed as a machine of the other byte order would.
fn is_sealed_swapped(block: &[u8]) -> bool {
    block.split_last_chunk().is_some_and(|(covered, sum)| checksum(covered) == u64::from_be_bytes(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Superblock {
        Superblock {
            config: Config {
                bytes: 1 << 30,
                page_bytes: 16 << 10,
                batch_bytes: 1 << 20,
                streams: 3,
                journal: JournalConfig { bytes: 1 << 20, batch_bytes: 64 << 10 },
                has_snapshots: false,
                volume: 0x1122_3344_5566_7788,
                hash_seed: 5,
            },
            generation: 7,
            turn: 9,
            ceiling: 11,
            is_clean: true,
            is_void: false,
            is_volatile: false,
            spaces: SpaceTable::default(),
        }
    }

    fn resealed(mut block: [u8; BLOCK_BYTES], is_swapped: bool) -> [u8; BLOCK_BYTES] {
        let sum = checksum(&block[..BLOCK_BYTES - 8]);
        block[BLOCK_BYTES - 8..].copy_from_slice(&if is_swapped {
            sum.to_be_bytes()
        } else {
            sum.to_le_bytes()
        });
        block
    }

    #[test]
    fn it_comes_back_and_the_newer_of_two_counts() {
        let older = Superblock { turn: 8, is_clean: false, ..plain() };
        let (new, old) = (plain().encode(), older.encode());
        assert_eq!(Superblock::decode(&new), Ok(plain()));
        assert_eq!(Superblock::newer([&new, &old]), Ok(plain()));
        assert_eq!(Superblock::newer([&old, &new]), Ok(plain()));
        assert_eq!(Superblock::newer([&old, &[0; BLOCK_BYTES]]), Ok(older));
    }

    #[test]
    fn one_without_journals_has_the_first_format() {
        let config = Config { journal: JournalConfig::NONE, ..plain().config };
        let superblock = Superblock { config, ..plain() };
        assert_eq!((plain().encode()[12], superblock.encode()[12]), (2, 1));
        assert_eq!(Superblock::decode(&superblock.encode()), Ok(superblock));
        for journal in [JournalConfig::NONE, plain().config.journal] {
            let config = Config { journal, has_snapshots: true, ..plain().config };
            let with_snapshots = Superblock { config, ..plain() };
            assert_eq!(with_snapshots.encode()[12], 4);
            assert_eq!(Superblock::decode(&with_snapshots.encode()), Ok(with_snapshots));
        }
        // Whoever wrote that format did not look at what has a meaning now.
        let mut beside = superblock.encode();
        beside[77] = 1;
        assert_eq!(Superblock::decode(&resealed(beside, false)), Ok(superblock));
    }

    #[test]
    fn a_table_of_spaces_that_has_changed_has_the_last_format() {
        for has_journals in [false, true] {
            let journal = if has_journals { plain().config.journal } else { JournalConfig::NONE };
            let config = Config { journal, has_snapshots: true, ..plain().config };
            let before = Superblock { config, ..plain() };
            let flushed = before.spaces.flushed(7, 0x0102_0304_0506_0708, |_| true).unwrap();
            let superblock = Superblock { spaces: flushed.swapped(7, 63, u64::MAX), ..before };
            let block = superblock.encode();
            assert_eq!((before.encode()[12], block[12]), (4, 5));
            assert_eq!(Superblock::decode(&block), Ok(superblock));
            // As the drawing says.
            assert_eq!((&block[88..96], &block[96..104]), (&[0xFF; 8][..], &[65, 0, 0, 0, 0, 0, 0, 0][..]));
            assert_eq!((block[104 + 63 * 2], block[104 + 7 * 2], block[104 + 2]), (64, 63, 1));
            assert_eq!(block[232 + 63 * 8..][..8], 0x0102_0304_0506_0708_u64.to_le_bytes());
            assert!(block[744..BLOCK_BYTES - 8].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn every_damaged_byte_is_found() {
        let good = plain().encode();
        for at in 0..BLOCK_BYTES {
            let mut bad = good;
            bad[at] ^= 0x10;
            assert!(Superblock::decode(&bad).is_err(), "byte {at}");
        }
        let mut bad = good;
        bad[100] = 1;
        assert_eq!(Superblock::newer([&bad, &bad]), Err(Refused::Damaged));
    }

    #[test]
    fn what_is_unknown_is_named() {
        let mut newer = plain().encode();
        newer[12] = 9;
        let newer = resealed(newer, false);
        let refused = Superblock::newer([&plain().encode(), &newer]).unwrap_err();
        assert_eq!(refused.to_string(), "it has format 9; this program reads formats 1, 2, 4 and 5");
        let mut swapped = plain().encode();
        swapped[8..12].copy_from_slice(&BYTE_ORDER.to_be_bytes());
        assert_eq!(Superblock::decode(&resealed(swapped, true)), Err(Refused::ByteOrder));
        assert_eq!(Superblock::newer([&[0; BLOCK_BYTES]; 2]), Err(Refused::Empty));
        assert_eq!(Superblock::newer([&[7; BLOCK_BYTES]; 2]), Err(Refused::Foreign));
    }
}
