//! The table of items grows in place, a home at a time.

use super::homes::{Growing, Homes, scale};
use super::{BUCKET_BYTES, Index, PROBE_BUCKETS, Place, SLOTS_PER_BUCKET, Slot};

/// Share of slots in use at which the table grows, in percent.
const LOAD_PERCENT_MAX: u64 = 80;
/// Homes to move for each item that is added while the table grows, so that the part that has not moved yet
/// ends below a load of 0.84 (at 0.92 the longest overflow of a large table passes 100 buckets).
pub const GROW_STEPS_PER_INSERT: usize = 4;

impl Index {
    /// Whether the table of items grows.
    #[inline]
    pub fn is_growing(&self) -> bool {
        self.homes.growing.is_some()
    }

    /// The size that the index should grow to, bytes, once there are too many items for it.
    #[inline]
    pub fn growth_wanted(&self) -> Option<usize> {
        if self.items * 100 < self.homes.count * SLOTS_PER_BUCKET as u64 * LOAD_PERCENT_MAX
            || self.is_growing()
        {
            return None;
        }
        let buckets = self.grown_homes() as usize + PROBE_BUCKETS;
        let more = self.table.whole(buckets * BUCKET_BYTES).saturating_sub(self.table.bytes());
        let bytes = Some(self.bytes() + more).filter(|&bytes| bytes <= self.bytes_max);
        bytes.filter(|_| buckets <= self.table.buckets_max())
    }

    /// Whether the table of items needs [frames](Index::add_frame) before it can grow.
    pub(crate) fn lacks_memory(&self) -> bool {
        self.table.lacks_memory((self.grown_homes() as usize + PROBE_BUCKETS) * BUCKET_BYTES)
    }

    /// The table grows by a quarter.
    fn grown_homes(&self) -> u64 {
        self.homes.count + (self.homes.count / 4).max(1)
    }

    /// Begins to grow; the memory must have been found.
    pub fn grow(&mut self) {
        assert!(!self.is_growing(), "one growth at a time");
        let (before, homes) = (self.homes.count, self.grown_homes());
        self.geometry.open();
        self.table.extend_to(homes as usize + PROBE_BUCKETS);
        self.homes = Homes { count: homes, growing: Some(Growing { homes: before, boundary: before }) };
        self.geometry.publish(self.homes);
    }

    /// Starts to fetch what the next step will read; the caller prefetches the items of these slots.
    pub fn next_step(&self) -> impl Iterator<Item = Slot> + '_ {
        let home = self.homes.growing.and_then(|growing| growing.boundary.checked_sub(1));
        home.into_iter()
            .flat_map(|home| self.table.bucket(home as usize).slots())
            .filter(|slot| !slot.is_empty())
    }

    /// Moves one home. `hash_of` gives the hash of the item in a slot; `dropped` gets the slots that found no
    /// place any more. Does nothing if no growth is under way.
    pub fn grow_step(&mut self, mut hash_of: impl FnMut(Slot) -> u64, mut dropped: impl FnMut(Slot)) {
        let Some(growing) = self.homes.growing else { return };
        let home = growing.boundary - 1;
        let first = home as usize;
        let last = first + self.table.bucket(first).head().reach();
        // O1 of `reader.rs`.
        self.geometry.open();
        let mut moving = std::mem::take(&mut self.moving);
        for bucket in first..=last {
            for number in 0..SLOTS_PER_BUCKET {
                let slot = self.table.bucket(bucket).slot(number);
                if slot.is_empty() {
                    continue;
                }
                let hash = hash_of(slot);
                if scale(hash, growing.homes) == home {
                    self.remove(Place { bucket: bucket as u32, slot: number as u8 }, hash);
                    moving.push((hash, slot));
                }
            }
        }
        self.homes.growing = (home > 0).then_some(Growing { boundary: home, ..growing });
        for (hash, slot) in moving.drain(..) {
            if self.insert(hash, slot).is_err() {
                dropped(slot);
            }
        }
        self.moving = moving;
        self.geometry.publish(self.homes);
    }
}
