//! A tier that begins anew beside a shard which has served without it.
//!
//! First the places on the old medium are forgotten, as the new one has other items there. Then what lies in DRAM is told to the
//! new tier, as if it had changed. Both are walks over the index in the order of the hashes, which growth does not change: a
//! part in each call, while commands come in between.

use super::marks::{Mark, Marks, Progress};
use super::offered::OfferLimits;
use super::{Shard, hash_of};
use crate::command::Millis;
use crate::index::{Entry, Slot};
use crate::item::state;
use std::ops::{ControlFlow, RangeInclusive};

/// Buckets of the index in which places are looked for in a call: a thousand at most.
const FORGET_BUCKETS: u64 = 256;

/// How far DRAM has been told: the hashes are divided into cells of about a home of the index, and come in the order of the cells'
/// numbers read backwards (van der Corput, 1935), so that what has come lies everywhere alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    cell: u64,
    /// There are two to the power of it; at least 2.
    bits: u32,
}

impl Again {
    /// The hashes of the next cell.
    fn hashes(self) -> Option<RangeInclusive<u64>> {
        let start = self.cell.reverse_bits();
        (self.cell >> self.bits == 0).then(|| start..=start | u64::MAX >> self.bits)
    }
}

impl Shard {
    /// As [`Shard::remember_changes`], where changes up to the number `counted` have been counted before.
    pub fn remember_again(&mut self, slot_of: fn(&[u8]) -> u16, counted: u64) {
        self.unsaved = Some(Box::new(Marks { queued: counted, taken: counted, ..Marks::new(slot_of) }));
        self.tells = true;
        self.mark_spaces();
    }

    /// No version above this has been given out.
    pub fn version(&self) -> u64 {
        self.clock.last()
    }

    /// Forgets places on the medium, those of hashes from `from` on; to be begun with 0 when nothing is put there any more. Returns
    /// where the next call goes on; `None`: no place is named any more.
    pub fn forget_places(&mut self, from: u64) -> Option<u64> {
        let mut found = Vec::new();
        let next = self.index.each_elsewhere(from, FORGET_BUCKETS, |entry| found.push(entry));
        found.iter().for_each(|entry| self.index.drop_elsewhere(entry));
        next.filter(|_| self.elsewhere() > 0)
    }

    /// Begins to tell a tier all that lies in DRAM: see [`Shard::tell_again`].
    pub fn begin_again(&self) -> Again {
        Again { cell: 0, bits: (self.index.buckets() as u64).next_power_of_two().ilog2().max(1) }
    }

    /// Marks items of DRAM that the tier has not got as if they had changed, until the limits are met. Returns where the next call
    /// goes on; `None`: all are marked. What changes meanwhile is marked by itself, and what eviction comes to before is not told.
    pub fn tell_again(&mut self, mut again: Again, now: Millis, limits: OfferLimits) -> Option<Again> {
        self.unsaved.as_ref()?;
        let mut left = limits.items;
        while let Some(hashes) = again.hashes() {
            if left == 0 || self.unsaved() >= limits.marks || self.untaken_bytes() >= limits.bytes {
                return Some(again);
            }
            left = left.saturating_sub(self.tell_between(&hashes, now));
            again.cell += 1;
        }
        None
    }

    /// Marks the items with these hashes. Returns how many it has looked at.
    fn tell_between(&mut self, hashes: &RangeInclusive<u64>, now: Millis) -> usize {
        let flushed = if now >= self.flush_at { u64::MAX } else { self.flushed };
        let hash_of = |slot: Slot| hash_of(&self.secrets, &self.segments.item(slot.location()));
        let (mut found, mut looked_at, mut next) = (Vec::new(), 1, Some(*hashes.start()));
        while let Some(from) = next.filter(|from| hashes.contains(from)) {
            next = self.index.scan(from, 1, hash_of, |entry| {
                looked_at += 1;
                if let Entry::Item(slot) = entry {
                    let (at, hash) = (slot.location(), hash_of(slot));
                    let item = self.segments.item(at);
                    let is_live =
                        item.is_live(now, flushed) && self.spaces.shows(item.space(), item.version());
                    if hashes.contains(&hash) && is_live && !item.is(state::PLACEHOLDER) {
                        found.push((at, hash));
                    }
                }
                ControlFlow::Continue(())
            });
        }
        for (at, hash) in found {
            let is_marked = self.unsaved.as_ref().is_some_and(|marks| marks.progress(hash).is_some());
            if !is_marked && self.index.find_elsewhere(hash).is_none() {
                self.mark_written(at, hash);
            }
        }
        looked_at
    }

    /// The item at a place of DRAM is to be told, as it lies there.
    pub(super) fn mark_written(&mut self, at: u64, hash: u64) {
        let item = self.segments.item(at);
        let (version, space) = (item.version(), item.space());
        let bytes = self.unsaved_bytes_of(self.unsaved.as_deref(), hash, &item);
        if let Some(marks) = &mut self.unsaved {
            marks.note(hash, Mark { version, bytes, space, slot: 0, progress: Progress::Written });
        }
    }
}
