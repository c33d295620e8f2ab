//! Which key space each database has.
//!
//! A key belongs to a space, and a database shows the keys of one. A database that is flushed gets another space, and two that are
//! swapped exchange theirs: whatever has the old space is not touched, and nobody finds it any more, or finds it in the other
//! database. The table is changed as a whole, under one version, so that of two tables the one with the higher version counts.
//!
//! There are 65,536 spaces, given out one after the other. When all were given out the numbers begin again with the lowest that no
//! database has: what a medium still holds of the space that had the number before is older than the version under which it was given
//! out again, and counts no more.

use super::fields::{Fields, Writer};

/// Most databases.
pub const DATABASES_MAX: usize = 64;

/// The key space of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    pub number: u16,
    /// What is of this version or older had the number before, and is not of this space.
    pub born: u64,
}

/// The space of each database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceTable {
    /// Under which it was changed last; 0: never.
    pub version: u64,
    /// How many numbers were given out or passed over. Its low 16 bits are the next one, if no database has that.
    pub given: u64,
    pub spaces: [Space; DATABASES_MAX],
}

impl Default for SpaceTable {
    /// Each database has the space of its own number.
    fn default() -> SpaceTable {
        let spaces = std::array::from_fn(|number| Space { number: number as u16, born: 0 });
        SpaceTable { version: 0, given: DATABASES_MAX as u64, spaces }
    }
}

impl SpaceTable {
    /// Whether any database has another space than the one of its number, or had.
    pub fn has_changed(&self) -> bool {
        self.version > 0
    }

    /// The database that shows what has this space and version.
    pub fn database_of(&self, space: u16, version: u64) -> Option<usize> {
        self.spaces.iter().position(|of| of.number == space && version > of.born)
    }

    /// Whether a database has a space of this number.
    pub fn has(&self, number: u16) -> bool {
        self.spaces.iter().any(|space| space.number == number)
    }

    /// Whether the next number has been given out before.
    pub fn begins_again(&self) -> bool {
        self.given > u64::from(u16::MAX)
    }

    /// The table with a new space for a database. `None`: there is no number that `is_free`.
    ///
    /// # Panics
    /// If there is no such database.
    pub fn flushed(
        &self,
        database: usize,
        version: u64,
        is_free: impl Fn(u16) -> bool,
    ) -> Option<SpaceTable> {
        let mut all = self.given..=self.given + u64::from(u16::MAX);
        let given = all.find(|&given| !self.has(given as u16) && is_free(given as u16))?;
        let mut table = SpaceTable { version, given: given + 1, ..*self };
        table.spaces[database] = Space { number: given as u16, born: version };
        Some(table)
    }

    /// The table with the spaces of two databases exchanged.
    ///
    /// # Panics
    /// If there are no such databases.
    pub fn swapped(&self, one: usize, other: usize, version: u64) -> SpaceTable {
        let mut table = SpaceTable { version, ..*self };
        table.spaces.swap(one, other);
        table
    }

    pub(super) fn write<const N: usize>(&self, out: &mut Writer<N>) {
        out.u64(self.version);
        out.u64(self.given);
        self.spaces.iter().for_each(|space| out.u16(space.number));
        self.spaces.iter().for_each(|space| out.u64(space.born));
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> SpaceTable {
        let mut table = SpaceTable { version: fields.u64(), given: fields.u64(), ..SpaceTable::default() };
        table.spaces.iter_mut().for_each(|space| space.number = fields.u16());
        table.spaces.iter_mut().for_each(|space| space.born = fields.u64());
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flushed_database_has_a_space_that_none_has_had_and_others_keep_theirs() {
        let first = SpaceTable::default();
        assert_eq!((first.database_of(3, 1), first.database_of(64, 1)), (Some(3), None));
        let flushed = first.flushed(3, 10, |_| true).unwrap();
        assert_eq!(flushed.spaces[3], Space { number: 64, born: 10 });
        assert_eq!((flushed.database_of(3, 1), flushed.database_of(64, 11)), (None, Some(3)));
        assert_eq!(flushed.database_of(64, 10), None, "what had the number before is older");
        let swapped = flushed.swapped(3, 0, 12);
        assert_eq!((swapped.database_of(64, 11), swapped.database_of(0, 1)), (Some(0), Some(3)));
        assert_eq!((swapped.version, swapped.given), (12, 65));
    }

    #[test]
    fn numbers_begin_again_with_those_that_no_database_has_and_nobody_needs() {
        let mut table = SpaceTable { given: u64::from(u16::MAX), ..SpaceTable::default() };
        table = table.flushed(0, 5, |_| true).unwrap();
        assert_eq!((table.spaces[0].number, table.begins_again()), (u16::MAX, true));
        table = table.flushed(9, 6, |_| true).unwrap();
        assert_eq!(table.spaces[9], Space { number: 0, born: 6 });
        table = table.flushed(9, 7, |number| number > 200).unwrap();
        assert_eq!((table.spaces[9].number, table.given), (201, 65536 + 202));
        assert_eq!(table.flushed(9, 8, |_| false), None);
    }
}
