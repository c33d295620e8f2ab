//! The eight bytes that the index keeps of an item.
//!
//! ```text
//!   63          48 47  44 43  40 39   36 35                              0
//!  +--------------+------+------+-------+---------------------------------+
//!  | tag, 16      | kind | freq | lines | location in units of 8 bytes    |
//!  +--------------+------+------+-------+---------------------------------+
//! ```
//!
//! - *tag*: the low 16 bits of the hash (the bucket comes from its high bits).
//! - *kind*: 0 is an empty slot, 1 an item.
//! - *freq*: accesses since the item was last moved, up to [`FREQUENCY_MAX`]; a hot item is not written again.
//! - *lines*: cache lines of the item, up to 15: how much to prefetch, or to read one-sided.
//! - *location*: 36 bits, so a shard may have 512 GiB.

/// Largest offset plus one that a location can name, bytes.
pub const LOCATION_BYTES_MAX: u64 = 1 << 39;
/// Where frequencies saturate.
pub const FREQUENCY_MAX: u8 = 15;

/// Cache lines of an item to prefetch at most; the rest of a longer one streams.
const LINES_AHEAD_MAX: usize = 4;
const LINES_SHIFT: u32 = 36;
const FREQUENCY_SHIFT: u32 = 40;
const KIND_SHIFT: u32 = 44;
const FREQUENCY_MASK: u64 = 15 << FREQUENCY_SHIFT;
const TAG_SHIFT: u32 = 48;
const LOCATION_MASK: u64 = (1 << LINES_SHIFT) - 1;
const KIND_ITEM: u64 = 1;

/// One slot of a bucket; all zeros is an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Slot(u64);

impl Slot {
    pub const EMPTY: Slot = Slot(0);

    /// An item of `bytes` bytes at offset `at` of the arena, never read yet.
    pub fn new(hash: u64, at: u64, bytes: usize) -> Slot {
        debug_assert!(at < LOCATION_BYTES_MAX && at.is_multiple_of(8));
        let lines = (bytes.div_ceil(64) as u64).min(15);
        Slot((at / 8) | (lines << LINES_SHIFT) | Slot::wanted(hash) << KIND_SHIFT)
    }

    /// What [`Slot::matches`] compares with: tag and kind of an item with this hash.
    #[inline]
    pub fn wanted(hash: u64) -> u64 {
        (hash & 0xFFFF) << (TAG_SHIFT - KIND_SHIFT) | KIND_ITEM
    }

    #[inline]
    pub fn matches(self, wanted: u64) -> bool {
        self.0 >> KIND_SHIFT == wanted
    }

    /// Whether it is the same item at the same place, however often it was read.
    #[inline]
    pub(super) fn names_same(self, other: Slot) -> bool {
        (self.0 ^ other.0) & !FREQUENCY_MASK == 0
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Slot {
        Slot(bits)
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Offset of the item in the arena, bytes.
    #[inline]
    pub fn location(self) -> u64 {
        (self.0 & LOCATION_MASK) * 8
    }

    #[inline]
    pub fn lines(self) -> usize {
        (self.0 >> LINES_SHIFT & 15) as usize
    }

    /// Cache lines of the item that are worth fetching ahead.
    #[inline]
    pub(crate) fn lines_ahead(self) -> usize {
        self.lines().clamp(1, LINES_AHEAD_MAX)
    }

    #[inline]
    pub fn frequency(self) -> u8 {
        (self.0 >> FREQUENCY_SHIFT & 15) as u8
    }

    #[inline]
    #[must_use]
    pub fn with_frequency(self, frequency: u8) -> Slot {
        let frequency = u64::from(frequency.min(FREQUENCY_MAX));
        Slot(self.0 & !(15 << FREQUENCY_SHIFT) | frequency << FREQUENCY_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        let hash = 0xABCD_EF01_2345_6789;
        let slot = Slot::new(hash, LOCATION_BYTES_MAX - 8, 100).with_frequency(15).with_frequency(3);
        assert_eq!(slot.location(), LOCATION_BYTES_MAX - 8);
        assert_eq!(slot.lines(), 2);
        assert_eq!(slot.frequency(), 3);
        assert!(slot.matches(Slot::wanted(hash)));
        assert!(!slot.matches(Slot::wanted(hash + 1)));
        assert!(Slot::new(0, 0, 16).matches(Slot::wanted(0)));
        assert!(!Slot::new(0, 0, 16).is_empty());
        assert_eq!(Slot::new(0, 0, 1 << 20).with_frequency(99).frequency(), FREQUENCY_MAX);
    }
}
