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
//! - *kind*: 0 is an empty slot, 1 an item in DRAM, 2 an item that is elsewhere, or a chunk that is. In the second slot of
//!   these 3 to 14 say which, whether the key has an item in DRAM, too, and behind which flush it came.
//! - *freq*: accesses since the item was last moved, up to [`FREQUENCY_MAX`]; a hot item is not written again.
//! - *lines*: cache lines of the item, up to 15: how much to prefetch, or to read one-sided.
//! - *location*: 36 bits, so a shard may have 512 GiB.
//!
//! An item that is *elsewhere*, on a medium, takes two neighbouring slots of a bucket. They keep all of the hash, so growth
//! and scan never need the item's bytes; what its place means is the medium's affair:
//!
//! ```text
//!   63          48 47  44 43  40 39                                      0
//!  +--------------+------+------+-----------------------------------------+
//!  | tag, 16      | 2    | freq | hash, bits 16 to 55                     |
//!  +------+-------+------+------+-----------------------------------------+
//!  | hash | place | 3-14 | place, low 44 bits                             |    bits 56 to 63 of the hash, 44 to 51 of the place
//!  +------+-------+------+------------------------------------------------+
//! ```

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
const KIND_ELSEWHERE: u64 = 2;
const KIND_REST: u64 = 3;
/// Flushes are told apart that are fewer than this apart from each other.
pub(super) const FLUSHES: u64 = 4;
/// Largest place plus one.
pub const PLACES: u64 = 1 << 52;
const PLACE_LOW_BITS: u32 = 44;
const HASH_MIDDLE_MASK: u64 = (1 << FREQUENCY_SHIFT) - 1;

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

    /// Whether it matches, or is of an item elsewhere that may.
    #[inline]
    pub(super) fn may_be(self, wanted: u64) -> bool {
        // The first word of a pair differs from an item's in its kind alone.
        self.0 >> KIND_SHIFT == wanted || self.0 >> KIND_SHIFT == wanted - KIND_ITEM + KIND_ELSEWHERE
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
    pub fn is_item(self) -> bool {
        self.0 >> KIND_SHIFT & 15 == KIND_ITEM
    }

    /// The first of the two slots of an item that is elsewhere.
    #[inline]
    pub(crate) fn is_elsewhere(self) -> bool {
        self.0 >> KIND_SHIFT & 15 == KIND_ELSEWHERE
    }

    #[inline]
    #[must_use]
    pub fn with_frequency(self, frequency: u8) -> Slot {
        let frequency = u64::from(frequency.min(FREQUENCY_MAX));
        Slot(self.0 & !(15 << FREQUENCY_SHIFT) | frequency << FREQUENCY_SHIFT)
    }
}

/// What lies elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The only item of its key: there is none in DRAM.
    Only,
    /// A copy of the one in DRAM.
    Copy,
    /// A chunk of a long value, which may be in DRAM, too.
    Chunk,
}

/// Something that lies on a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// Of the key; of a chunk: of its name.
    pub hash: u64,
    /// Where it lies, as the medium understands it; below [`PLACES`].
    pub place: u64,
    pub frequency: u8,
    pub role: Role,
    /// How many flushes came before it, modulo [`FLUSHES`]. The index says that of what is added.
    pub(crate) flushes: u8,
}

impl Elsewhere {
    /// What was not read yet.
    pub fn new(hash: u64, place: u64, role: Role) -> Elsewhere {
        Elsewhere { hash, place, frequency: 0, role, flushes: 0 }
    }

    pub fn is_chunk(&self) -> bool {
        self.role == Role::Chunk
    }

    pub(super) fn slots(self) -> [Slot; 2] {
        debug_assert!(self.place < PLACES);
        let first = (self.hash & 0xFFFF) << TAG_SHIFT
            | KIND_ELSEWHERE << KIND_SHIFT
            | self.hash >> 16 & HASH_MIDDLE_MASK;
        let kind = KIND_REST + self.role as u64 * FLUSHES + u64::from(self.flushes);
        let rest = self.hash >> 56 << 56
            | self.place >> PLACE_LOW_BITS << TAG_SHIFT
            | kind << KIND_SHIFT
            | self.place & ((1 << PLACE_LOW_BITS) - 1);
        [Slot(first).with_frequency(self.frequency), Slot(rest)]
    }

    pub(super) fn of([first, rest]: [Slot; 2]) -> Elsewhere {
        let hash = rest.0 >> 56 << 56 | (first.0 & HASH_MIDDLE_MASK) << 16 | first.0 >> TAG_SHIFT;
        let place = (rest.0 >> TAG_SHIFT & 0xFF) << PLACE_LOW_BITS | rest.0 & ((1 << PLACE_LOW_BITS) - 1);
        let kind = (rest.0 >> KIND_SHIFT & 15).saturating_sub(KIND_REST);
        let role = match kind / FLUSHES {
            0 => Role::Only,
            1 => Role::Copy,
            _ => Role::Chunk,
        };
        Elsewhere { hash, place, frequency: first.frequency(), role, flushes: (kind % FLUSHES) as u8 }
    }
}

/// What the index keeps of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Item(Slot),
    Elsewhere(Elsewhere),
}

impl Entry {
    pub fn frequency(self) -> u8 {
        match self {
            Entry::Item(slot) => slot.frequency(),
            Entry::Elsewhere(elsewhere) => elsewhere.frequency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_for_elsewhere_keeps_the_whole_hash_and_is_no_item() {
        for (hash, place, role, flushes) in [
            (0, 0, Role::Only, 0),
            (u64::MAX, PLACES - 1, Role::Chunk, 3),
            (u64::MAX, PLACES - 1, Role::Copy, 1),
            (0xABCD_EF01_2345_6789, 0x000A_BCDE_F012_3456, Role::Only, 3),
        ] {
            let entry = Elsewhere { frequency: 7, flushes, ..Elsewhere::new(hash, place, role) };
            let slots = entry.slots();
            assert_eq!(Elsewhere::of(slots), entry);
            assert!(slots[0].is_elsewhere() && !slots[1].is_elsewhere());
            assert!(slots.iter().all(|slot| !slot.is_empty() && !slot.is_item()));
            assert!(slots.iter().all(|slot| !slot.matches(Slot::wanted(hash))));
        }
    }

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
