//! A tier that begins anew beside a shard which has served without it.
//!
//! First the places on the old medium are forgotten, as the new one has other items there. Then what lies in DRAM is told to the
//! new tier, as if it had changed. Both are walks over the index in the order of the hashes, which growth does not change: a
//! part in each call, while commands come in between.

use super::marks::{Mark, Marks, Progress};
use super::offered::OfferLimits;
use super::scan::{SCAN_HOMES_MAX, SCAN_ITEMS_MAX};
use super::{Shard, hash_of, value_in};
use crate::command::Millis;
use crate::index::{Entry, Slot};
use crate::item::state;
use std::ops::ControlFlow;

/// Homes of the index in which places are looked for in a call: entries of items are passed over, which takes 0.1 ms.
const FORGET_HOMES_MAX: usize = 4096;

impl Shard {
    /// As [`Shard::remember_changes`], where changes up to the number `counted` have been counted before.
    pub fn remember_again(&mut self, slot_of: fn(&[u8]) -> u16, counted: u64) {
        self.unsaved = Some(Box::new(Marks { queued: counted, taken: counted, ..Marks::new(slot_of) }));
        self.tells = true;
    }

    /// No version above this has been given out.
    pub fn version(&self) -> u64 {
        self.clock.last()
    }

    /// Forgets places on the medium, those of hashes from `from` on; to be begun with 0 when nothing is put there any more. Returns
    /// where the next call goes on; `None`: no place is named any more.
    pub fn forget_places(&mut self, from: u64) -> Option<u64> {
        let mut found = Vec::new();
        // An entry of a place has its own hash; which home an item belongs to need not be known.
        let next = self.index.scan(
            from,
            FORGET_HOMES_MAX,
            |_| 0,
            |entry| {
                if let Entry::Elsewhere(entry) = entry {
                    found.push(entry.hash);
                }
                let is_enough = found.len() >= SCAN_ITEMS_MAX as usize;
                if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        found.into_iter().for_each(|hash| _ = self.forget_copy(hash));
        next.filter(|_| self.index.elsewhere() > 0)
    }

    /// Marks items of DRAM that the tier has not got as if they had changed: those of hashes from `from` on, until the limits
    /// are met; to be begun with 0. Returns where the next call goes on; `None`: all are marked. What changes meanwhile is marked
    /// by itself, and what eviction comes to before is not told.
    pub fn tell_again(&mut self, from: u64, now: Millis, limits: OfferLimits) -> Option<u64> {
        let (mut marks, mut bytes) = (self.unsaved(), self.untaken_bytes());
        if self.unsaved.is_none() || marks >= limits.marks || bytes >= limits.bytes {
            return self.unsaved.is_some().then_some(from);
        }
        let flushed = if now >= self.flush_at { u64::MAX } else { self.flushed };
        let hash_of = |slot: Slot| hash_of(&self.secrets, &self.segments.item(slot.location()));
        let (mut found, mut left) = (Vec::new(), limits.items.min(SCAN_ITEMS_MAX as usize));
        let next = self.index.scan(from, SCAN_HOMES_MAX, hash_of, |entry| {
            left = left.saturating_sub(1);
            if let Entry::Item(slot) = entry {
                let item = self.segments.item(slot.location());
                if item.is_live(now, flushed) && !item.is(state::PLACEHOLDER) {
                    found.push(slot.location());
                    (marks, bytes) = (marks + 1, bytes + value_in(&self.segments, &item).len());
                }
            }
            let is_enough = left == 0 || marks >= limits.marks || bytes >= limits.bytes;
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found.into_iter().for_each(|at| self.tell_item(at));
        next
    }

    fn tell_item(&mut self, at: u64) {
        let item = self.segments.item(at);
        let hash = hash_of(&self.secrets, &item);
        let is_marked = self.unsaved.as_ref().is_some_and(|marks| marks.progress(hash).is_some());
        if !is_marked && self.index.find_elsewhere(hash).is_none() {
            self.mark_written(at, hash);
        }
    }

    /// The item at a place of DRAM is to be told, as it lies there.
    pub(super) fn mark_written(&mut self, at: u64, hash: u64) {
        let item = self.segments.item(at);
        let (version, space) = (item.version(), item.space());
        let bytes = self.unsaved_bytes_of(hash, &item);
        if let Some(marks) = &mut self.unsaved {
            marks.note(hash, Mark { version, bytes, space, slot: 0, progress: Progress::Written });
        }
    }
}
