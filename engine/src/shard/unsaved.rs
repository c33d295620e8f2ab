//! Changes that a second tier has not got yet.
//!
//! ```text
//!   a change --> [ Changed ] --- Shard::take_unsaved ---> [ Saving ] --- Shard::saved ---> no mark; the index names the place
//!                     ^                                       |
//!                     +------------ another change -----------+
//! ```
//!
//! Of each key that has changed there is one mark, by its hash. Changes of a key that come before the last one was taken
//! are taken as one. A deletion has to be taken, too, as the tier may hold an older copy: so has everything else after which
//! the item is not in DRAM.
//!
//! For a tier that takes only what eviction would drop, it is the items of `demotion.rs` that come to be taken, and of changes
//! those that make void what the tier holds.

use super::marks::{Mark, Marks, Progress, Unsaved, What};
use super::offered::Demotion;
use super::{Shard, hash_of};
use crate::changes::Cause;
use crate::command::Millis;
use crate::index::{Elsewhere, Place, Role, Slot};
use crate::item::{ItemRef, present, state};
use std::collections::hash_map::Entry;

impl Shard {
    /// From now on changes are remembered until a tier has them. `slot_of` gives the slot of a key.
    pub fn remember_changes(&mut self, slot_of: fn(&[u8]) -> u16) {
        self.unsaved = Some(Box::new(Marks::new(slot_of)));
        self.tells = true;
        // While there is memory.
        self.grow_places();
    }

    /// The tier takes only what eviction would drop: see [`Shard::offer_cold`].
    pub fn only_demote(&mut self) {
        self.unsaved.iter_mut().for_each(|marks| marks.demotion = Some(Demotion::default()));
    }

    pub(super) fn demotes(&self) -> bool {
        self.unsaved.as_ref().is_some_and(|marks| marks.demotion.is_some())
    }

    /// Whether the tier has the item of a hash, or is about to have it whatever becomes of it in DRAM. Of a long value it is the head
    /// that counts, which is taken last.
    pub(super) fn is_on_tier(&self, hash: u64) -> bool {
        let is_saving = self.unsaved.as_ref().is_some_and(|marks| marks.is_saving_item(hash));
        is_saving || self.index.find_elsewhere(hash).is_some()
    }

    /// Versions up to this one have been given out by earlier runs.
    pub fn start_above(&mut self, version: u64) {
        self.clock.start_above(version);
    }

    /// No change is given a version above this, as long as [`Shard::may_change`].
    pub fn set_ceiling(&mut self, version: u64) {
        self.clock.set_ceiling(version);
    }

    /// Whether there is a version for another change.
    pub fn may_change(&self) -> bool {
        !self.clock.is_at_ceiling()
    }

    /// Changes that were not told to be saved.
    pub fn unsaved(&self) -> usize {
        self.unsaved.as_ref().map_or(0, |marks| marks.by_hash.len())
    }

    /// Bytes of the items that are to be taken: eviction must not come to them first.
    #[inline]
    pub fn untaken_bytes(&self) -> u64 {
        self.unsaved.as_ref().map_or(0, |marks| marks.waiting_bytes)
    }

    /// Counts changes. Those so far are saved when everything up to the second number has been taken and is saved; see
    /// [`Shard::taken_up_to`].
    #[inline]
    pub fn changes(&self) -> (u64, u64) {
        self.unsaved.as_ref().map_or((0, 0), |marks| (marks.changes, marks.queued))
    }

    /// How much has been taken, in the order of taking.
    pub fn taken_up_to(&self) -> u64 {
        self.unsaved.as_ref().map_or(u64::MAX, |marks| marks.taken)
    }

    /// Whether there is something to take.
    pub fn has_unsaved(&self) -> bool {
        self.unsaved.as_ref().is_some_and(|marks| {
            !marks.queue.is_empty() || marks.flushed.is_some() || !marks.spaces.is_empty()
        })
    }

    /// Memory of the marks.
    pub fn unsaved_bytes(&self) -> usize {
        self.unsaved.as_ref().map_or(0, |marks| marks.bytes())
    }

    /// Forgets all changes, as no tier will ever have them, and expects nothing of it.
    pub fn forget_changes(&mut self) {
        self.end_recovery();
        self.unsaved = None;
        self.tells = !self.listeners.is_empty();
    }

    #[inline(never)]
    pub(super) fn mark(&mut self, cause: Cause, at: u64, hash: u64, version: u64) {
        let is_named = || self.index.find_elsewhere(hash).is_some();
        let leaves =
            || matches!(cause, Cause::Deleted | Cause::Expired) || cause == Cause::Evicted && !is_named();
        if self.recovery.is_some() && leaves() {
            self.supersede(hash);
        }
        self.hear(hash);
        if self.unsaved.is_none() {
            return;
        }
        let item = self.segments.item(at);
        let demotes = self.demotes();
        let is_to_be_taken = cause == Cause::Written && !demotes;
        let bytes =
            if is_to_be_taken { self.unsaved_bytes_of(self.unsaved.as_deref(), hash, &item) } else { 0 };
        let is_missed = demotes && cause == Cause::Evicted && !self.is_on_tier(hash);
        let Some(marks) = &mut self.unsaved else { return };
        let slot = |slot_of: fn(&[u8]) -> u16| item.key().with_copy(slot_of);
        // What is not told yet may be of this key.
        let may_be_held = self.recovery.is_some() || marks.may_hold(hash);
        match cause {
            Cause::Written | Cause::Deleted if demotes && !may_be_held => {}
            Cause::Written if !demotes => {
                let mark = Mark { version, bytes, space: item.space(), slot: 0, progress: Progress::Written };
                marks.note(hash, mark);
            }
            Cause::Written | Cause::Deleted => {
                let slot = slot(marks.slot_of);
                let mark = Mark { version, bytes: 0, space: item.space(), slot, progress: Progress::Gone };
                marks.note(hash, mark);
            }
            Cause::Expired | Cause::Evicted => {
                if is_missed {
                    self.stats.demotions_missed.add(1);
                }
                let slot = slot(marks.slot_of);
                marks.left(hash, slot);
            }
            Cause::Moved | Cause::Flushed | Cause::Spaces => {}
        }
    }

    /// A key has changed of which the tier held the item: that is void.
    #[cold]
    pub(super) fn void_copy(&mut self, at: u64, hash: u64, version: u64) {
        let Some(marks) = self.unsaved.as_mut().filter(|marks| marks.demotion.is_some()) else { return };
        let item = self.segments.item(at);
        let slot = item.key().with_copy(marks.slot_of);
        marks.note(hash, Mark { version, bytes: 0, space: item.space(), slot, progress: Progress::Gone });
    }

    /// A key was deleted that the index does not name. The tier may hold it if the index has lost entries, and is about to if the item
    /// was evicted while it was being saved.
    pub(super) fn mark_missing(&mut self, space: u16, key: &[u8], hash: u64, now: Millis) {
        let may_be_held = |marks: &&mut Box<Marks>| marks.has_lost || marks.is_saving_item(hash);
        let Some(marks) = self.unsaved.as_mut().filter(may_be_held) else { return };
        let (version, slot) = (self.clock.next(now), (marks.slot_of)(key));
        marks.note(hash, Mark { version, bytes: 0, space, slot, progress: Progress::Gone });
    }

    pub(super) fn mark_flushed(&mut self) {
        let Some(marks) = &mut self.unsaved else { return };
        // What was to be taken, or is being saved, is void by this.
        marks.by_hash.clear();
        marks.queue.clear();
        marks.chunks_taken = None;
        marks.waiting_bytes = 0;
        (marks.taken, marks.queued) = (marks.queued, marks.queued + 1);
        marks.changes += 1;
        marks.flushed = Some(self.flushed);
        if !std::mem::take(&mut marks.spaces).is_empty() {
            self.mark_spaces();
        }
    }

    /// An item that no database shows leaves DRAM.
    pub(super) fn forget_mark(&mut self, at: u64, hash: u64) {
        let item = self.segments.item(at);
        if let Some(marks) = &mut self.unsaved {
            let slot = item.key().with_copy(marks.slot_of);
            marks.left(hash, slot);
        }
    }

    /// Databases have other spaces than the tier knows.
    pub(super) fn mark_spaces(&mut self) {
        let has_changed = self.spaces.table.has_changed();
        let Some(marks) = self.unsaved.as_mut().filter(|_| has_changed) else { return };
        marks.changes += 1;
        marks.queued += 1;
        marks.spaces.push_back(marks.queued);
    }

    pub(super) fn mark_lost(&mut self) {
        self.unsaved.iter_mut().for_each(|marks| marks.has_lost = true);
    }

    /// Gives `take` what a tier has to be told next, in the order of the changes, until it has had enough and says so by
    /// `false`; that one comes again.
    pub fn take_unsaved(&mut self, mut take: impl FnMut(Unsaved<'_>) -> bool) {
        let Some(mut marks) = self.unsaved.take() else { return };
        if let Some(version) = marks.flushed {
            let what = What::Flushed;
            if take(Unsaved { hash: 0, version, expiry: None, space: 0, slot: 0, what }) {
                marks.flushed = None;
                marks.taken += 1;
            }
        }
        while marks.flushed.is_none() {
            if marks.spaces.front() == Some(&(marks.taken + 1)) {
                // In its turn: what comes behind it was changed under the table.
                let what = What::Spaces(&self.spaces.table);
                let version = self.spaces.table.version;
                if !take(Unsaved { hash: 0, version, expiry: None, space: 0, slot: 0, what }) {
                    break;
                }
                marks.spaces.pop_front();
                marks.taken += 1;
                continue;
            }
            let Some(&hash) = marks.queue.front() else { break };
            let Some(&mark) = marks.by_hash.get(&hash) else { unreachable!("the queue names marks") };
            let unsaved = self.unsaved_of(hash, mark, marks.slot_of);
            let is_item = matches!(unsaved.what, What::Item(_) | What::Head(_));
            if let What::Head(item) = unsaved.what
                && !self.take_chunks(&mut marks, &unsaved, &ItemRef::new(item), &mut take)
            {
                break;
            }
            if !take(unsaved) {
                break;
            }
            marks.took(hash, u64::MAX);
            marks.by_hash.entry(hash).and_modify(|mark| mark.progress = Progress::Saving { is_item });
            marks.queue.pop_front();
            marks.taken += 1;
        }
        self.unsaved = Some(marks);
    }

    fn unsaved_of(&self, hash: u64, mark: Mark, slot_of: fn(&[u8]) -> u16) -> Unsaved<'_> {
        let Mark { version, space, slot, progress, .. } = mark;
        let gone = Unsaved { hash, version, expiry: None, space, slot, what: What::Gone };
        if progress != Progress::Written {
            return gone;
        }
        let Some(item) = self.item_of(hash).filter(|item| item.version() == version) else {
            debug_assert!(false, "whatever takes an item out of DRAM changes its mark");
            return gone;
        };
        let slot = item.key().with_copy(slot_of);
        let what = match item.present() & present::CHAIN_HEAD != 0 {
            _ if item.is(state::PLACEHOLDER) => What::Gone,
            true => What::Head(item.encoded()),
            false => What::Item(item.encoded()),
        };
        Unsaved { expiry: item.expiry(), slot, what, ..gone }
    }

    /// The item in DRAM with this hash.
    pub(super) fn item_of(&self, hash: u64) -> Option<ItemRef<'_>> {
        self.slot_of(hash).map(|(_, slot)| self.segments.item(slot.location()))
    }

    pub(super) fn slot_of(&self, hash: u64) -> Option<(Place, Slot)> {
        let is_it = |location| hash_of(&self.secrets, &self.segments.item(location)) == hash;
        self.index.find(hash, |slot| is_it(slot.location()))
    }

    /// What was taken is saved: an item at a place of the medium, or at none if the medium does not take it; anything else at
    /// none. Nothing comes of it if the key has changed since.
    ///
    /// # Panics
    /// If the place is not below [`crate::index::PLACES`].
    pub fn saved(&mut self, hash: u64, version: u64, is_item: bool, place: Option<u64>) {
        let Some(marks) = &mut self.unsaved else { return };
        let Entry::Occupied(there) = marks.by_hash.entry(hash) else { return };
        let mark = there.get();
        let role = match mark.progress {
            Progress::Saving { is_item: taken } if taken == is_item => Role::Copy,
            Progress::Left if is_item => Role::Only,
            _ => return,
        };
        if mark.version != version {
            return;
        }
        let space = mark.space;
        there.remove();
        if let Some(place) = place {
            debug_assert_eq!(
                role == Role::Copy,
                self.slot_of(hash).is_some(),
                "whatever leaves DRAM is marked"
            );
            self.name_newest_place(space, Elsewhere::new(hash, place, role));
        }
    }

    /// A place of the medium will hold something else. If the item that lies there is in DRAM and worth it, it is to be saved
    /// anew, if it `may_stay`, or before an orderly end is newer than what is offered then. Returns whether it is.
    pub fn leave_place(&mut self, hash: u64, place: u64, may_stay: bool) -> bool {
        let Some((at, entry)) = self.index.find_elsewhere(hash) else { return false };
        if entry.place != place {
            return false;
        }
        self.index.remove_elsewhere(at, &entry);
        let Some((_, slot)) =
            self.slot_of(hash).filter(|(_, slot)| self.tells_anew(*slot, entry.frequency, may_stay))
        else {
            return false;
        };
        if self.unsaved.is_none() || self.segments.item(slot.location()).version() <= self.flushed {
            return false;
        }
        self.mark_written(slot.location(), hash);
        true
    }
}
