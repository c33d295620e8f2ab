//! The table of key spaces of a server's databases.
//!
//! It is changed under a lock, which only the commands that flush and swap databases take, and each shard takes the table as it is then,
//! in the order of what it is asked. Before all have it nobody changes it again: a shard that took two changes at once would have the
//! later one before what the client of the first had asked it until then.

use crate::session::{DatabasesChange, NotFlushed};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use torc_engine::spaces::SpaceTable;

/// The table of spaces of a server.
#[derive(Debug)]
pub(crate) struct Databases {
    master: Mutex<Master>,
    /// By shard: the version of the table that it has taken.
    taken: Vec<AtomicU64>,
    /// By shard: the version of the table up to which it has nothing left of what was dropped.
    dropped: Vec<AtomicU64>,
}

/// Why the table is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unchanged {
    /// A shard has not got the table yet: later it will be.
    Later,
    Refused(NotFlushed),
}

#[derive(Debug, Default)]
struct Master {
    table: SpaceTable,
    /// Spaces that no database has any more, each with the version since when, as long as a shard may have something of them.
    dropped: VecDeque<(u16, u64)>,
    /// No shard has given out a higher version when it took the table.
    drawn: u64,
}

impl Databases {
    pub(crate) fn new(shards: u16) -> Databases {
        let versions = || (0..shards).map(|_| 0.into()).collect();
        Databases { master: Mutex::default(), taken: versions(), dropped: versions() }
    }

    /// The server begins with this table, before any shard takes it.
    pub(crate) fn begin(&self, table: &SpaceTable) {
        self.master().table = *table;
        self.taken.iter().for_each(|taken| taken.store(table.version, Ordering::Release));
    }

    /// The table as it is.
    pub(crate) fn table(&self) -> SpaceTable {
        self.master().table
    }

    fn master(&self) -> MutexGuard<'_, Master> {
        // Whoever holds it changes it by one assignment.
        self.master.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table, for a shard that has given out versions up to this one.
    pub(crate) fn take(&self, shard: u16, drawn: u64) -> SpaceTable {
        let mut master = self.master();
        master.drawn = master.drawn.max(drawn);
        self.taken[usize::from(shard)].store(master.table.version, Ordering::Release);
        master.table
    }

    /// A shard has nothing left of what was dropped up to this version.
    pub(crate) fn has_dropped(&self, shard: u16, version: u64) {
        self.dropped[usize::from(shard)].store(version, Ordering::Release);
    }

    /// Changes the table under a version, or a later one.
    pub(crate) fn change(
        &self,
        change: DatabasesChange,
        version: u64,
        may_begin_again: bool,
    ) -> Result<(), Unchanged> {
        let mut master = self.master();
        if self.taken.iter().any(|taken| taken.load(Ordering::Acquire) < master.table.version) {
            return Err(Unchanged::Later);
        }
        let version = version.max(master.drawn).max(master.table.version + 1);
        let table = master.table;
        master.table = match change {
            DatabasesChange::Swap { one, other } => table.swapped(one.into(), other.into(), version),
            DatabasesChange::Flush { database } => {
                let least = self.dropped.iter().map(|of| of.load(Ordering::Acquire)).min().unwrap_or(0);
                while master.dropped.front().is_some_and(|(_, since)| *since <= least) {
                    master.dropped.pop_front();
                }
                let is_free = |number| {
                    let is_awaited = master.dropped.iter().any(|(space, _)| *space == number);
                    !is_awaited && (may_begin_again || !table.begins_again())
                };
                let flushed = table.flushed(database.into(), version, is_free);
                let flushed = flushed.ok_or(Unchanged::Refused(NotFlushed::NoSpace))?;
                master.dropped.push_back((table.spaces[usize::from(database)].number, version));
                flushed
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: DatabasesChange = DatabasesChange::Flush { database: 3 };

    fn taken(databases: &Databases) -> SpaceTable {
        databases.take(0, 0);
        databases.take(1, 0)
    }

    #[test]
    fn a_number_is_not_given_out_again_before_every_shard_has_nothing_left_of_it() {
        let databases = Databases::new(2);
        databases.begin(&SpaceTable { given: u64::from(u16::MAX) - 1, ..SpaceTable::default() });
        let mut numbers = Vec::new();
        for version in 1..=3 {
            databases.change(FLUSH, version, true).unwrap();
            numbers.push(taken(&databases).spaces[3].number);
        }
        assert_eq!(
            numbers,
            [65534, 65535, 64],
            "behind the last come those that no database has, but for what was dropped"
        );
        let waits = || databases.master().dropped.iter().map(|(space, _)| *space).collect::<Vec<_>>();
        databases.has_dropped(0, 3);
        databases.change(FLUSH, 4, true).unwrap();
        taken(&databases);
        assert_eq!(waits(), [3, 65534, 65535, 64], "the other shard has something left");
        databases.has_dropped(1, 2);
        databases.change(FLUSH, 5, true).unwrap();
        taken(&databases);
        assert_eq!(waits(), [65535, 64, 65]);
        let refused = databases.change(FLUSH, 6, false);
        assert_eq!(refused, Err(Unchanged::Refused(NotFlushed::NoSpace)), "a tier may tell of it");
    }

    #[test]
    fn the_table_is_not_changed_again_before_every_shard_has_it_and_versions_rise_above_what_they_have_drawn()
    {
        let databases = Databases::new(2);
        databases.take(1, 50);
        databases.change(FLUSH, 7, true).unwrap();
        assert_eq!(databases.change(FLUSH, 8, true), Err(Unchanged::Later));
        databases.take(1, 0);
        assert_eq!(databases.change(FLUSH, 8, true), Err(Unchanged::Later));
        databases.take(0, 0);
        databases.change(DatabasesChange::Swap { one: 0, other: 3 }, 7, true).unwrap();
        let table = taken(&databases);
        assert_eq!((table.version, table.spaces[0].born, table.spaces[3].number), (51, 50, 0));
    }
}
