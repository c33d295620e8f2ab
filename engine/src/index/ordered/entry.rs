//! What the index keeps of something that is elsewhere: 16 bytes.
//!
//! ```text
//!   63                                                               0
//!  +------------------------------------------------------------------+
//!  | hash                                                             |
//!  +---------------+-------+------------------------------------------+
//!  | kind          | freq  | place                                    |
//!  +---------------+-------+------------------------------------------+
//!   63           56 55   52 51                                       0
//! ```
//!
//! - *hash*: all of it, so growth and scan never need the item's bytes.
//! - *kind*: 0 is an empty entry; 1 to 252 say what it is of, and its tag.
//! - *freq*: accesses since it was written where it lies, up to [`FREQUENCY_MAX`](crate::index::FREQUENCY_MAX).
//! - *place*: where it lies, which is the medium's affair.

/// How many tags there are.
pub(in crate::index) const TAGS: u64 = 84;
/// Largest place plus one.
pub const PLACES: u64 = 1 << FREQUENCY_SHIFT;

const FREQUENCY_SHIFT: u32 = 52;
const KIND_SHIFT: u32 = 56;
/// The kind of the first role with the first tag.
const KIND_FIRST: u64 = 1;

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
    /// What stands for its key space. The index says that of what is added.
    pub(crate) tag: u8,
}

impl Elsewhere {
    /// What was not read yet.
    pub fn new(hash: u64, place: u64, role: Role) -> Elsewhere {
        Elsewhere { hash, place, frequency: 0, role, tag: 0 }
    }

    pub fn is_chunk(&self) -> bool {
        self.role == Role::Chunk
    }
}

/// An entry as it lies in the table; all zeros is an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Words {
    pub(super) hash: u64,
    rest: u64,
}

impl Words {
    pub(super) const EMPTY: Words = Words { hash: 0, rest: 0 };

    pub(super) fn new(entry: &Elsewhere) -> Words {
        debug_assert!(entry.place < PLACES && entry.frequency <= crate::index::slot::FREQUENCY_MAX);
        let kind = KIND_FIRST + entry.role as u64 * TAGS + u64::from(entry.tag);
        let rest = kind << KIND_SHIFT | u64::from(entry.frequency) << FREQUENCY_SHIFT | entry.place;
        Words { hash: entry.hash, rest }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest == 0
    }

    pub(super) fn entry(&self) -> Option<Elsewhere> {
        let kind = (self.rest >> KIND_SHIFT).checked_sub(KIND_FIRST)?;
        let role = match kind / TAGS {
            0 => Role::Only,
            1 => Role::Copy,
            _ => Role::Chunk,
        };
        Some(Elsewhere {
            hash: self.hash,
            place: self.rest & (PLACES - 1),
            frequency: (self.rest >> FREQUENCY_SHIFT & 15) as u8,
            role,
            tag: (kind % TAGS) as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        for (hash, place, role, tag, frequency) in [
            (0, 0, Role::Only, 0, 0),
            (u64::MAX, PLACES - 1, Role::Chunk, TAGS as u8 - 1, 15),
            (u64::MAX, PLACES - 1, Role::Copy, 1, 0),
            (0xABCD_EF01_2345_6789, 0x000A_BCDE_F012_3456, Role::Only, 3, 7),
        ] {
            let entry = Elsewhere { frequency, tag, ..Elsewhere::new(hash, place, role) };
            assert_eq!(Words::new(&entry).entry(), Some(entry));
            assert!(!Words::new(&entry).is_empty());
        }
        assert!(Words::EMPTY.is_empty() && Words::EMPTY.entry().is_none());
    }
}
