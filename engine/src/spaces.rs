//! Which key space each database of a shard has now.
//!
//! A command names a database, and its key is looked for in the space that the database has when the command is executed. So a
//! database is flushed, or swapped with another one, by a change of this table alone ([`Shard::set_spaces`](crate::Shard::set_spaces)),
//! whatever commands are on their way.
//!
//! The hash of a key is [mixed] with its space. What travels before a command is executed is the hash of the key alone, which is
//! that of the key in space 0.
//!
//! Readers beside the owner look in the table of the shard that they read, and look again when they are done:
//!
//! ```text
//!   reader                                    owner
//!   S1  sequence: even                        T1  sequence := odd
//!   S2  the database's space                  T2  all spaces
//!   S3  R1 to R9 of `reader.rs`               T3  sequence := next even one
//!   S4  sequence: the same
//! ```
//!
//! Whoever sees something of T2 at S2 or later sees T1 at S4. So what S3 came to was so in that space while the database had it.
//!
//! The sequence is odd, too, as long as a transaction holds keys of the shard: what it changes is seen by nobody before all of it is.

use crate::shared::{Published, acquire};
use std::sync::atomic::{AtomicU64, Ordering, fence};
pub use torc_pmem::format::spaces::{DATABASES_MAX, Space, SpaceTable};

/// The golden ratio's 64 bits: odd, and without a pattern.
const SPACE_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
/// Spaces of so many databases lie in a word.
const PER_WORD: usize = 4;
/// Words that readers see.
pub(crate) const SPACES_WORDS: usize = 1 + DATABASES_MAX / PER_WORD;

/// The hash of a key in a space, of its hash in space 0; or the other way round.
#[inline(always)]
pub(crate) fn mixed(hash: u64, space: u16) -> u64 {
    // The odd factor gives a key another home and another tag in each space.
    hash ^ u64::from(space).wrapping_mul(SPACE_FACTOR)
}

/// The table, as its owner has it.
#[derive(Debug)]
pub(crate) struct Spaces {
    /// As in the table; what each command needs.
    numbers: [u16; DATABASES_MAX],
    pub(crate) table: SpaceTable,
    /// No database has space 0 any more.
    pub(crate) zero_is_gone: bool,
    pub(crate) words: SpaceWords,
}

impl Spaces {
    pub(crate) fn new(words: Published<[AtomicU64; SPACES_WORDS]>) -> Spaces {
        let mut spaces = Spaces {
            numbers: [0; DATABASES_MAX],
            table: SpaceTable::default(),
            zero_is_gone: false,
            words: SpaceWords { words },
        };
        spaces.set(&SpaceTable::default());
        spaces
    }

    /// The space of a database.
    #[inline(always)]
    pub(crate) fn of(&self, database: u16) -> u16 {
        debug_assert!(usize::from(database) < DATABASES_MAX);
        self.numbers[usize::from(database) % DATABASES_MAX]
    }

    pub(crate) fn set(&mut self, table: &SpaceTable) {
        self.table = *table;
        self.numbers = table.spaces.map(|space| space.number);
        self.zero_is_gone = !table.has(0);
        self.words.publish(&self.numbers);
    }

    /// Whether a database shows what has this space and version.
    #[inline]
    pub(crate) fn shows(&self, space: u16, version: u64) -> bool {
        self.database_of(space, version).is_some()
    }

    #[inline]
    pub(crate) fn database_of(&self, space: u16, version: u64) -> Option<usize> {
        if self.table.has_changed() {
            return self.table.database_of(space, version);
        }
        Some(usize::from(space)).filter(|&database| database < DATABASES_MAX)
    }
}

/// The table, as others than its owner see it.
#[derive(Debug, Clone)]
pub(crate) struct SpaceWords {
    words: Published<[AtomicU64; SPACES_WORDS]>,
}

impl SpaceWords {
    /// In words that an owner has published.
    pub(crate) fn published(words: Published<[AtomicU64; SPACES_WORDS]>) -> SpaceWords {
        SpaceWords { words }
    }

    fn publish(&self, numbers: &[u16; DATABASES_MAX]) {
        // Only the owner writes it. It is odd before if readers are held.
        let sequence = self.words[0].load(Ordering::Relaxed);
        self.words[0].store(sequence | 1, Ordering::Relaxed);
        // T1 before T2: who sees one of these words, by whichever load, sees an odd sequence behind a fence.
        fence(Ordering::Release);
        for (word, numbers) in self.words[1..].iter().zip(numbers.chunks(PER_WORD)) {
            #[cfg(test)]
            crate::steps::step();
            let packed = numbers.iter().rev().fold(0, |word, number| word << 16 | u64::from(*number));
            word.store(packed, Ordering::Relaxed);
        }
        #[cfg(test)]
        crate::steps::step();
        self.words[0].store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// From now on every reader is in doubt (T1), or none for this cause any more (T3).
    pub(crate) fn hold(&self, holds: bool) {
        let sequence = self.words[0].load(Ordering::Relaxed);
        if holds != sequence.is_multiple_of(2) {
            return;
        }
        // Release: who sees it even sees all that was changed while it was odd.
        self.words[0].store(sequence.wrapping_add(1), Ordering::Release);
        // Before what is changed behind it, as in `publish`.
        fence(Ordering::Release);
    }

    /// S1 and S2: the space of a database, and the sequence. `None`: the table is being changed.
    #[inline]
    pub(crate) fn of(&self, database: u16) -> Option<(u16, u64)> {
        let sequence = acquire(&self.words[0]);
        let database = usize::from(database) % DATABASES_MAX;
        let word = acquire(&self.words[1 + database / PER_WORD]);
        sequence.is_multiple_of(2).then_some(((word >> (16 * (database % PER_WORD))) as u16, sequence))
    }

    /// S4.
    #[inline]
    pub(crate) fn is_still(&self, sequence: u64) -> bool {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::Spaces) {
            return true;
        }
        // Pairs with the fence of `publish`: what was read before is from before T2, or the load sees T1.
        fence(Ordering::Acquire);
        self.words[0].load(Ordering::Relaxed) == sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_the_table_that_was_set_last_and_that_it_has_changed() {
        let mut spaces = Spaces::new(Published::zeros());
        let (space, before) = spaces.words.of(63).unwrap();
        assert_eq!(space, 63);
        let table = SpaceTable::default().flushed(5, 1, |_| true).unwrap().swapped(5, 63, 2);
        spaces.set(&table);
        assert!(!spaces.words.is_still(before));
        for database in 0..DATABASES_MAX as u16 {
            let (space, sequence) = spaces.words.of(database).unwrap();
            assert_eq!(space, table.spaces[usize::from(database)].number);
            assert_eq!(space, spaces.of(database));
            assert!(spaces.words.is_still(sequence));
        }
        assert_eq!((spaces.shows(5, 9), spaces.shows(64, 9), spaces.zero_is_gone), (false, true, false));
    }

    #[test]
    fn held_readers_are_in_doubt_whatever_becomes_of_the_table_meanwhile() {
        let mut spaces = Spaces::new(Published::zeros());
        let (_, before) = spaces.words.of(0).unwrap();
        for _ in 0..2 {
            spaces.words.hold(true);
            assert!(spaces.words.of(0).is_none());
        }
        assert!(!spaces.words.is_still(before));
        spaces.set(&SpaceTable::default().flushed(0, 1, |_| true).unwrap());
        assert!(spaces.words.of(0).is_none(), "a table that is set lets nobody go");
        for _ in 0..2 {
            spaces.words.hold(false);
            assert!(spaces.words.of(0).is_some());
        }
        assert!(!spaces.words.is_still(before), "who began before looks again");
    }

    #[test]
    fn a_hash_is_mixed_and_unmixed_alike_and_space_zero_leaves_it() {
        assert_eq!(mixed(mixed(77, 9), 9), 77);
        assert_eq!(mixed(77, 0), 77);
    }
}
