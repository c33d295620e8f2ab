//! The table grows in place, a home at a time.

use super::{
    BUCKET_BYTES, Entry, Growing, Index, PROBE_BUCKETS, Place, SLOTS_PER_BUCKET, Slot, hash_in, scale,
};

/// Share of slots in use at which the table grows, in percent.
const LOAD_PERCENT_MAX: u64 = 80;
/// The same for pairs: of three a bucket, at 80 percent, one in 200,000 finds no two slots within reach.
const PAIR_LOAD_PERCENT_MAX: u64 = 75;
/// What a pair takes of a table's load, in hundredths of a slot: a bucket of seven slots has room for three.
const PAIR_HUNDREDTHS: u64 =
    100 * SLOTS_PER_BUCKET as u64 * LOAD_PERCENT_MAX / (SLOTS_PER_BUCKET as u64 / 2 * PAIR_LOAD_PERCENT_MAX);
/// The load that a table gets which grows to what is expected, in percent, and how much larger it gets at once: what is expected
/// may be wrong, and a table does not shrink.
const LOAD_PERCENT_EXPECTED: u64 = 70;
const GROWTH_EXPECTED_MAX: u64 = 4;
/// Homes to move for each item that is added while the table grows, so that the part that has not moved yet
/// ends below a load of 0.84 (at 0.92 the longest overflow of a large table passes 100 buckets).
pub const GROW_STEPS_PER_INSERT: usize = 4;

impl Index {
    pub fn is_growing(&self) -> bool {
        self.growing.is_some()
    }

    /// The size that the table should grow to, bytes, once it is too full.
    pub fn growth_wanted(&self) -> Option<usize> {
        let slots = self.homes * SLOTS_PER_BUCKET as u64;
        let hundredths = self.items * 100 + self.elsewhere() * PAIR_HUNDREDTHS;
        if self.growing.is_some() || hundredths < slots * LOAD_PERCENT_MAX {
            return None;
        }
        let buckets = self.grown_homes() as usize + PROBE_BUCKETS;
        (buckets <= self.table.buckets_max()).then_some(self.table.whole(buckets * BUCKET_BYTES))
    }

    /// A table grows by a quarter, or to what is expected if that is more.
    fn grown_homes(&self) -> u64 {
        let by_quarter = self.homes + (self.homes / 4).max(1);
        let expected = self.expected * 100 / (LOAD_PERCENT_EXPECTED * (SLOTS_PER_BUCKET as u64 / 2));
        let most = (self.table.buckets_max() - PROBE_BUCKETS) as u64;
        by_quarter.max(expected.min(self.homes * GROWTH_EXPECTED_MAX).min(most))
    }

    /// How many items that are not in DRAM there will be, as far as anybody knows: the table grows to the size for them in
    /// fewer steps.
    pub fn expect(&mut self, elsewhere: u64) {
        self.expected = elsewhere;
    }

    /// Begins to grow; the memory must have been found.
    pub fn grow(&mut self) {
        assert!(self.growing.is_none(), "one growth at a time");
        let homes = self.grown_homes();
        self.geometry.open();
        self.table.extend_to(homes as usize + PROBE_BUCKETS);
        self.growing = Some(Growing { homes: self.homes, boundary: self.homes });
        self.homes = homes;
        self.geometry.publish(self.homes, self.growing);
    }

    /// Starts to fetch what the next step will read; the caller prefetches the items of these slots.
    pub fn next_step(&self) -> impl Iterator<Item = Slot> + '_ {
        let home = self.growing.and_then(|growing| growing.boundary.checked_sub(1));
        home.into_iter()
            .flat_map(|home| self.table.bucket(home as usize).slots())
            .filter(|slot| slot.is_item())
    }

    /// Moves one home. `hash_of` gives the hash of the item in a slot; `dropped` gets the entries that found no
    /// place any more. Does nothing if no growth is under way.
    pub fn grow_step(&mut self, mut hash_of: impl FnMut(Slot) -> u64, mut dropped: impl FnMut(Entry)) {
        let Some(growing) = self.growing else { return };
        let home = growing.boundary - 1;
        let first = home as usize;
        let last = first + self.table.bucket(first).head().reach();
        // O1 and O2 of `reader.rs`.
        self.geometry.open();
        self.table.open(first);
        let mut moving = std::mem::take(&mut self.moving);
        for bucket in first..=last {
            for number in 0..SLOTS_PER_BUCKET {
                let Some(entry) = self.table.bucket(bucket).entry(number) else { continue };
                let hash = hash_in(entry, &mut hash_of);
                if scale(hash, growing.homes) == home {
                    self.take(Place { bucket: bucket as u32, slot: number as u8 }, hash, entry);
                    moving.push((hash, entry));
                }
            }
        }
        self.growing = (home > 0).then_some(Growing { boundary: home, ..growing });
        for (hash, entry) in moving.drain(..) {
            let inserted = match entry {
                Entry::Item(slot) => self.insert(hash, slot),
                Entry::Elsewhere(elsewhere) => self.add_elsewhere(elsewhere),
            };
            if inserted.is_err() {
                dropped(entry);
            }
        }
        self.moving = moving;
        self.table.close(first);
        self.geometry.publish(self.homes, self.growing);
    }
}
