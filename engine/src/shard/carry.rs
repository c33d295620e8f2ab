//! A second chance for items that are not in DRAM: where a medium writes over what was read lately, that is carried on.
//!
//! The index counts how often such an item was read since it was written where it lies: once whenever it is brought back, and
//! as often as it was read in DRAM whenever eviction comes to it there.

use super::Shard;
use crate::index::{Elsewhere, FREQUENCY_MAX};

impl Shard {
    /// How often the item at a place of the medium was read since it was written there; 0 if the index does not name it.
    pub fn accesses_at(&self, hash: u64, place: u64) -> u8 {
        let Some((_, entry)) = self.index.find_elsewhere(hash).filter(|(_, entry)| entry.place == place)
        else {
            return 0;
        };
        self.slot_of(hash).map_or(0, |(_, slot)| slot.frequency()).max(entry.frequency)
    }

    /// Whether the item of this version, at a place of the medium that will hold something else, is there alone: whoever
    /// wants it to stay writes it to another place and tells that by [`Shard::carried`]. Till then it is read where it lies.
    pub fn may_be_carried(&self, hash: u64, place: u64, version: u64) -> bool {
        let is_named = self.index.find_elsewhere(hash).is_some_and(|(_, entry)| entry.place == place);
        is_named && version > self.flushed && self.slot_of(hash).is_none()
    }

    /// What lay at a place of the medium was carried on to another one, or nowhere. Nothing comes of it if the key has changed
    /// since.
    ///
    /// # Panics
    /// If the place is not below [`crate::index::PLACES`].
    pub fn carried(&mut self, hash: u64, from: u64, to: Option<u64>) {
        // It has to be read again to stay for long.
        self.move_place(hash, from, to, |frequency| frequency / 2);
    }

    /// As [`Shard::carried`], where the medium has only put in order what was written just before.
    ///
    /// # Panics
    /// As [`Shard::carried`].
    pub fn packed(&mut self, hash: u64, from: u64, to: Option<u64>) {
        self.move_place(hash, from, to, |frequency| frequency);
    }

    fn move_place(&mut self, hash: u64, from: u64, to: Option<u64>, frequency_of: impl Fn(u8) -> u8) {
        let Some((at, entry)) = self.index.find_elsewhere(hash).filter(|(_, entry)| entry.place == from)
        else {
            return;
        };
        match to {
            Some(place) => {
                assert!(place < crate::index::PLACES, "a place of 52 bits");
                let frequency = frequency_of(entry.frequency);
                self.index.replace_elsewhere(at, &entry, Elsewhere { place, frequency, ..entry });
            }
            None => self.index.remove_elsewhere(at, &entry),
        }
    }

    /// Counts accesses to an item, if it is on a medium, too.
    #[inline]
    pub(super) fn count_elsewhere(&mut self, hash: u64, accesses: u8) {
        if self.index.elsewhere() > 0
            && let Some((at, entry)) = self.index.find_elsewhere(hash)
        {
            let frequency = (entry.frequency + accesses).min(FREQUENCY_MAX);
            self.index.replace_elsewhere(at, &entry, Elsewhere { frequency, ..entry });
        }
    }
}
