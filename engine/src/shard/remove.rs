//! Items leave the index, and die.

use super::Shard;
use crate::changes::Cause;
use crate::index::{Place, Role, Slot};
use crate::item::state;

impl Shard {
    /// Removes an item whose time is over.
    #[cold]
    pub(super) fn forget_expired(&mut self, place: Place, slot: Slot, hash: u64) {
        let item = self.segments.item(slot.location());
        let version = item.version();
        if !self.spaces.shows(item.space(), version) {
            return self.forget_dropped(place, slot, hash);
        }
        if version > self.flushed {
            self.stats.expirations.add(1);
            self.stats.expirations_unread.add(u64::from(!item.is(state::FETCHED)));
            self.remove(place, slot, hash, Cause::Expired, version);
        } else {
            // Listeners were told of the flush itself.
            self.index.remove(place, hash);
            self.forget_copy(hash);
            self.kill(slot.location());
        }
    }

    /// Takes an item out of the index, tells of it, and kills it. Its bytes stay until the next command.
    pub(super) fn remove(&mut self, place: Place, slot: Slot, hash: u64, cause: Cause, version: u64) {
        self.bury(slot.location());
        self.index.remove(place, hash);
        if cause == Cause::Evicted {
            self.set_role(hash, Role::Only);
        } else if self.forget_copy(hash) && cause == Cause::Deleted {
            self.void_copy(slot.location(), hash, version);
        }
        self.changed(cause, slot.location(), hash, version);
        if cause == Cause::Evicted {
            self.kill_here(slot.location(), hash);
        } else {
            self.kill(slot.location());
        }
    }

    /// Marks an item dead that is about to leave the index (O3): once somebody has missed it, nobody reads it where it was.
    pub(super) fn bury(&mut self, at: u64) {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::BuryLate) {
            return;
        }
        let dead = self.segments.item(at).state() | state::DEAD;
        self.segments.set_state(at, dead);
    }
}
