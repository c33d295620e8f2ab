//! Databases that are flushed and swapped: they get other key spaces.
//!
//! Nothing is done to items. Those of a space that no database has any more are not found by any command, count no more at once,
//! and are *dropped*: a walk over the index takes them out, a few homes at a time, jobs that meet them do, and the tags of their
//! places on a medium are over ([`crate::index`]). If the space had all that the shard holds, the rest is that of a flush, which frees
//! whole segments.

use super::{Shard, hash_of};
use crate::bytes::Bytes;
use crate::changes::{Cause, Change};
use crate::command::{Millis, UploadId};
use crate::index::{Entry, Place, Slot};
use crate::spaces::SpaceTable;
use crate::stats::DatabaseFigures;
use std::ops::ControlFlow;

/// Homes of the index in which a call looks for items that are dropped.
const DROP_HOMES: usize = 64;

/// The walk over the index that takes out what is dropped.
#[derive(Debug, Default)]
pub(super) struct Dropping {
    /// The hash to go on from.
    next: u64,
    /// How often the end of the index has to be met: something may have been dropped while the walk was under way.
    rounds: u8,
}

impl Shard {
    /// The space of each database.
    pub fn spaces(&self) -> &SpaceTable {
        &self.spaces.table
    }

    /// From now on databases have these spaces, and whoever is told of changes is told that, in its order. A table that is not newer
    /// changes nothing. Long values under way into a database that has another space now are given up.
    pub fn set_spaces(&mut self, table: &SpaceTable, now: Millis) {
        if table.version <= self.spaces.table.version {
            return;
        }
        if now >= self.flush_at {
            // One that is due has happened before.
            self.flush_now(now);
        }
        self.clock.start_above(table.version);
        let before = self.spaces.table;
        let figures = self.stats.all_databases();
        self.spaces.set(table);
        let mut after = vec![DatabaseFigures::default(); before.spaces.len()];
        for (space, figures) in before.spaces.iter().zip(&figures) {
            match table.spaces.iter().position(|other| other == space) {
                Some(database) => after[database] = *figures,
                None => self.drop_space(space.number, figures),
            }
        }
        self.stats.set_databases(&after, table.database_of(0, u64::MAX));
        self.publish_only();
        self.abort_moved_uploads();
        self.mark_spaces();
        for listener in &mut self.listeners {
            let (cause, version, key) = (Cause::Spaces, table.version, Bytes::default());
            listener.changed(&Change { cause, space: 0, key, hash: 0, version, item: None });
        }
        if self.holds_nothing() {
            self.void_all(now);
        }
    }

    /// The database that shows what has this space and version, if one does.
    pub fn database_of(&self, space: u16, version: u64) -> Option<usize> {
        self.spaces.database_of(space, version)
    }

    /// A version above all before, for a change of the table, unless there is none below the ceiling: then the last one.
    pub fn draw_version(&mut self, now: Millis) -> u64 {
        self.clock.next_below_ceiling(now)
    }

    /// The spaces that databases have at the start, before anything is stored or learnt.
    pub fn begin_spaces(&mut self, table: &SpaceTable) {
        self.clock.start_above(table.version);
        self.spaces.set(table);
        self.stats.set_databases(&[], table.database_of(0, u64::MAX));
    }

    /// No database has this space any more, with all that was counted in it.
    fn drop_space(&mut self, space: u16, figures: &DatabaseFigures) {
        self.stats.items.subtract(figures.items);
        self.stats.bytes_live.subtract(figures.bytes_live);
        self.stats.bytes_payload.subtract(figures.bytes_payload);
        self.stats.items_expiring.subtract(figures.expiring);
        self.stats.expiry_units.subtract(figures.expiry_units);
        self.index.flush_space_elsewhere(space);
        self.dropping.rounds = if self.dropping.next == 0 { 1 } else { 2 };
    }

    /// Whether nothing counts, here or on a medium, or may come to count.
    fn holds_nothing(&self) -> bool {
        self.stats.items.read() == 0
            && self.elsewhere() == 0
            && self.recovery.is_none()
            && self.uploads.iter().next().is_none()
    }

    /// Whether all that was dropped has gone, so that the numbers of its spaces can be given out again.
    pub fn has_dropped_all(&self) -> bool {
        let is_gone = |space: u16| !self.spaces.shows(space, u64::MAX);
        self.dropping.rounds == 0
            && self.index.flushed() == 0
            && !self.uploads.iter().any(|upload| is_gone(upload.space))
    }

    /// Takes out dropped items of some homes. Returns whether there is more to look at.
    pub(super) fn drop_some(&mut self) -> bool {
        if self.dropping.rounds == 0 {
            return false;
        }
        let mut found = Vec::new();
        let hash_of = |slot: Slot| hash_of(&self.secrets, &self.segments.item(slot.location()));
        let next = self.index.scan(self.dropping.next, DROP_HOMES, hash_of, |entry| {
            if let Entry::Item(slot) = entry {
                let item = self.segments.item(slot.location());
                if !self.spaces.shows(item.space(), item.version()) {
                    found.push((slot.location(), hash_of(slot)));
                }
            }
            ControlFlow::Continue(())
        });
        for (at, hash) in found {
            if let Some((place, slot)) = self.index.find(hash, |slot| slot.location() == at) {
                self.forget_dropped(place, slot, hash);
            }
        }
        self.dropping.next = next.unwrap_or(0);
        self.dropping.rounds -= u8::from(next.is_none());
        true
    }

    /// Nothing is left of what was dropped, as all items are gone.
    pub(super) fn end_dropping(&mut self) {
        self.dropping = Dropping::default();
    }

    /// Takes a dropped item out of the index. Nobody is told: everybody was told that its space is gone.
    pub(super) fn forget_dropped(&mut self, place: Place, slot: Slot, hash: u64) {
        self.bury(slot.location());
        self.index.remove(place, hash);
        self.forget_mark(slot.location(), hash);
        self.kill(slot.location());
    }

    /// Tells how many items are on a medium alone, by database.
    pub(super) fn publish_only(&self) {
        for (space, only) in self.index.only_by_space() {
            if let Some(database) = self.spaces.database_of(space, u64::MAX) {
                self.stats.databases[database].only.set(only);
            }
        }
    }

    fn abort_moved_uploads(&mut self) {
        let is_moved = |database: Option<u16>, space| database.is_some_and(|of| self.spaces.of(of) != space);
        let moved: Vec<UploadId> = self
            .uploads
            .iter()
            .filter(|upload| is_moved(upload.database, upload.space))
            .map(|upload| upload.id)
            .collect();
        moved.into_iter().for_each(|id| self.upload_abort(id));
    }
}
