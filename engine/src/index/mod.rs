//! From a hash to the location of an item.
//!
//! ```text
//!  bucket: one cache line
//!  +----------------+--------+--------+--------+--------+--------+--------+--------+
//!  | own word       | slot 0 | slot 1 | slot 2 | slot 3 | slot 4 | slot 5 | slot 6 |
//!  +----------------+--------+--------+--------+--------+--------+--------+--------+
//!
//!  table:  home 0 | home 1 | ... | home n-1 | PROBE_BUCKETS more for the last homes' overflow
//! ```
//!
//! The *home* of a hash is `hash * n / 2^64`, so homes are in the order of the hashes. An item that does not
//! fit its home goes into one of the next [`PROBE_BUCKETS`] buckets (the next cache line, mostly, which the
//! hardware has fetched already); its home counts how many are *away* and how far the farthest may be
//! (*reach*), so a lookup of a home with nobody away reads one line, hit or miss.
//!
//! **Growth** is in place, by a quarter, one home a step. As homes keep the order of hashes, a home only ever
//! moves up, so moving them from the last to the first never overwrites one that is still to come. Hashes
//! whose old home is below `growing.boundary` still live by the old `n`, all others by the new one. A step
//! asks for the hashes of a bucket's items (their keys are read again), about seven.
//!
//! **Scan** goes home by home, that is in the order of hashes; growth does not change that order, so whatever
//! is there during a whole scan is seen at least once.
//!
//! Goals: 8 bytes an item at a load of 0.64 to 0.8, one line a lookup, no stall. Non-goals: comparing keys (a
//! closure of the caller does), shrinking.

mod slot;
mod table;

pub use slot::{FREQUENCY_MAX, LOCATION_BYTES_MAX, Slot};

use std::ops::ControlFlow;
use table::{BUCKET_BYTES, Table};

/// Buckets after the home where an item may be. At 64, loading a million items dropped one or two of them under one
/// seed of eight; the chance falls exponentially with the distance, and lookups only go as far as their home says.
pub const PROBE_BUCKETS: usize = 160;
/// Slots of a bucket.
pub const SLOTS_PER_BUCKET: usize = 7;
/// Share of slots in use at which the table grows, in percent.
const LOAD_PERCENT_MAX: u64 = 80;
/// Homes to move for each item that is added while the table grows, so that the part that has not moved yet
/// ends below a load of 0.84 (at 0.92 the longest overflow of a large table passes 100 buckets).
pub const GROW_STEPS_PER_INSERT: usize = 4;

/// Where a slot is. Only valid until the index changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    bucket: u32,
    slot: u8,
}

/// No free slot within reach of the home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug, Clone, Copy)]
struct Growing {
    /// Number of homes before.
    homes: u64,
    /// Old homes from here on have moved.
    boundary: u64,
}

/// The index of a shard.
#[derive(Debug)]
pub struct Index {
    table: Table,
    homes: u64,
    growing: Option<Growing>,
    items: u64,
    /// Kept between steps of growth, so that a step allocates nothing.
    moving: Vec<(u64, Slot)>,
}

#[inline]
fn scale(hash: u64, homes: u64) -> u64 {
    ((u128::from(hash) * u128::from(homes)) >> 64) as u64
}

/// The smallest hash whose home is `home` of `homes`; `None` if that is beyond all hashes.
fn first_hash(home: u64, homes: u64) -> Option<u64> {
    let scaled = (u128::from(home) << 64).div_ceil(u128::from(homes));
    u64::try_from(scaled).ok()
}

impl Index {
    /// An index with `homes` buckets that can grow to `bytes_max`.
    ///
    /// # Errors
    /// If the address range cannot be reserved.
    pub fn new(homes: usize, bytes_max: usize) -> std::io::Result<Index> {
        let homes = homes.max(1);
        let buckets_max = (bytes_max / BUCKET_BYTES).max(homes + PROBE_BUCKETS);
        let mut table = Table::reserve(buckets_max)?;
        table.extend_to(homes + PROBE_BUCKETS);
        Ok(Index { table, homes: homes as u64, growing: None, items: 0, moving: Vec::with_capacity(64) })
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        self.table.len() * BUCKET_BYTES
    }

    pub fn buckets(&self) -> usize {
        self.table.len()
    }

    /// Items in the index.
    pub fn items(&self) -> u64 {
        self.items
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        if let Some(growing) = self.growing {
            let home = scale(hash, growing.homes);
            if home < growing.boundary {
                return home as usize;
            }
        }
        scale(hash, self.homes) as usize
    }

    /// Where the buckets begin.
    #[cfg(test)]
    pub(crate) fn address(&self) -> *const u8 {
        self.table.address()
    }

    /// Starts to fetch the home of a hash.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.table.prefetch(self.home(hash));
    }

    /// The first slot with the tag of `hash`, likely the item itself.
    #[inline]
    pub fn likely(&self, hash: u64) -> Option<Slot> {
        let bucket = self.table.bucket(self.home(hash));
        let wanted = Slot::wanted(hash);
        bucket.slots().find(|slot| slot.matches(wanted))
    }

    /// The slot of an item with this hash for which `is_it` says yes.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<(Place, Slot)> {
        let home = self.home(hash);
        let wanted = Slot::wanted(hash);
        let mut at = home;
        let last = home + self.table.bucket(home).head().reach();
        loop {
            let bucket = self.table.bucket(at);
            for (number, slot) in bucket.slots().enumerate() {
                if slot.matches(wanted) && is_it(slot) {
                    return Some((Place { bucket: at as u32, slot: number as u8 }, slot));
                }
            }
            if at == last {
                return None;
            }
            at += 1;
        }
    }

    /// Changes the slot of an item that stays the same key's.
    #[inline]
    pub fn replace(&mut self, place: Place, slot: Slot) {
        self.table.set_slot(place.bucket as usize, place.slot as usize, slot);
    }

    /// Removes the slot at `place`, which belongs to an item with this hash.
    pub fn remove(&mut self, place: Place, hash: u64) {
        let home = self.home(hash);
        if place.bucket as usize == home {
            self.replace(place, Slot::EMPTY);
        } else {
            self.table.clear_away(home, place.bucket as usize, place.slot as usize);
        }
        self.items -= 1;
    }

    /// Adds a slot for a key that is not in the index.
    ///
    /// # Errors
    /// [`Full`] if there is no free slot within reach.
    pub fn insert(&mut self, hash: u64, slot: Slot) -> Result<(), Full> {
        let home = self.home(hash);
        for away in 0..=PROBE_BUCKETS {
            let Some(number) = self.table.bucket(home + away).vacancy() else { continue };
            if away == 0 {
                self.table.set_slot(home, number, slot);
            } else {
                self.table.set_away(home, away, number, slot);
            }
            self.items += 1;
            return Ok(());
        }
        Err(Full)
    }

    /// The least frequent item near the home of `hash`: what to drop when the index is [`Full`].
    pub fn coldest_near(&self, hash: u64) -> Option<Slot> {
        let home = self.home(hash);
        (home..=home + PROBE_BUCKETS)
            .flat_map(|number| self.table.bucket(number).slots())
            .filter(|slot| !slot.is_empty())
            .min_by_key(|slot| slot.frequency())
    }

    pub fn is_growing(&self) -> bool {
        self.growing.is_some()
    }

    /// The size that the table should grow to, bytes, once it is too full.
    pub fn growth_wanted(&self) -> Option<usize> {
        let slots = self.homes * SLOTS_PER_BUCKET as u64;
        if self.growing.is_some() || self.items * 100 < slots * LOAD_PERCENT_MAX {
            return None;
        }
        let buckets = self.grown_homes() as usize + PROBE_BUCKETS;
        (buckets <= self.table.buckets_max()).then_some(buckets * BUCKET_BYTES)
    }

    fn grown_homes(&self) -> u64 {
        self.homes + (self.homes / 4).max(1)
    }

    /// Begins to grow; the memory must have been found.
    pub fn grow(&mut self) {
        assert!(self.growing.is_none(), "one growth at a time");
        let homes = self.grown_homes();
        self.table.extend_to(homes as usize + PROBE_BUCKETS);
        self.growing = Some(Growing { homes: self.homes, boundary: self.homes });
        self.homes = homes;
    }

    /// Starts to fetch what the next step will read; the caller prefetches the items of these slots.
    pub fn next_step(&self) -> impl Iterator<Item = Slot> + '_ {
        let home = self.growing.and_then(|growing| growing.boundary.checked_sub(1));
        home.into_iter()
            .flat_map(|home| self.table.bucket(home as usize).slots())
            .filter(|slot| !slot.is_empty())
    }

    /// Moves one home. `hash_of` gives the hash of the item in a slot; `dropped` gets the slots that found no
    /// place any more. Does nothing if no growth is under way.
    pub fn grow_step(&mut self, mut hash_of: impl FnMut(Slot) -> u64, mut dropped: impl FnMut(Slot)) {
        let Some(growing) = self.growing else { return };
        let home = growing.boundary - 1;
        let first = home as usize;
        let last = first + self.table.bucket(first).head().reach();
        self.table.open(first);
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
        self.growing = (home > 0).then_some(Growing { boundary: home, ..growing });
        for (hash, slot) in moving.drain(..) {
            if self.insert(hash, slot).is_err() {
                dropped(slot);
            }
        }
        self.moving = moving;
        self.table.close(first);
    }

    /// Visits the slots of the homes from that of `hash` on, until a visit breaks off or `homes_max` homes are done; a
    /// home that was begun is finished. Returns the first hash of the next home, if there is one. `hash_of` as in
    /// [`Index::grow_step`].
    pub fn scan(
        &self,
        hash: u64,
        homes_max: usize,
        mut hash_of: impl FnMut(Slot) -> u64,
        mut visit: impl FnMut(Slot) -> ControlFlow<()>,
    ) -> Option<u64> {
        let mut next = Some(hash);
        let mut homes_left = homes_max;
        let mut flow = ControlFlow::Continue(());
        while let Some(hash) = next
            && homes_left > 0
            && flow.is_continue()
        {
            let (homes, end) = self.stretch(hash);
            let mut home = scale(hash, homes);
            while home < end && homes_left > 0 && flow.is_continue() {
                flow = self.scan_home(home as usize, &mut hash_of, &mut visit);
                home += 1;
                homes_left -= 1;
            }
            next = first_hash(home, homes);
        }
        next
    }

    /// By how many homes the neighbours of `hash` live, and the first of those homes for which that does not hold.
    fn stretch(&self, hash: u64) -> (u64, u64) {
        match self.growing {
            Some(growing) if scale(hash, growing.homes) < growing.boundary => {
                (growing.homes, growing.boundary)
            }
            _ => (self.homes, self.homes),
        }
    }

    /// Visits the slots of one home, all of them; breaks off if one of the visits did.
    fn scan_home(
        &self,
        home: usize,
        hash_of: &mut impl FnMut(Slot) -> u64,
        visit: &mut impl FnMut(Slot) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        let bucket = self.table.bucket(home);
        // Without a branch for each slot: most homes of a large index may be empty.
        if bucket.head().reach() == 0 && bucket.slots().fold(true, |empty, slot| empty & slot.is_empty()) {
            return flow;
        }
        let last = home + bucket.head().reach();
        for slot in (home..=last).flat_map(|number| self.table.bucket(number).slots()) {
            if !slot.is_empty() && self.home(hash_of(slot)) == home && visit(slot).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        flow
    }
}

#[cfg(test)]
mod tests;
