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
//! What is *elsewhere*, on a medium, has a table of its own beside this one (`ordered/`), with the same order of homes: so the
//! table for items has nothing but items, and what is elsewhere takes 20 bytes. Others than the owner read the first table
//! alone, and are told whether there is something in the second.
//!
//! **Scan** goes over both tables in the order of hashes; growth does not change that order, so whatever is there during a whole
//! scan is seen at least once.
//!
//! Goals: 8 bytes an item at a load of 0.64 to 0.8, one line a lookup, no stall. Non-goals: comparing keys (a
//! closure of the caller does), shrinking.

mod elsewhere;
mod geometry;
mod growth;
mod homes;
mod ordered;
mod reader;
mod scan;
mod slot;
mod table;
mod tags;

pub use elsewhere::PLACE_BYTES;
pub(crate) use geometry::Geometry;
pub use growth::GROW_STEPS_PER_INSERT;
pub use homes::Full;
pub use ordered::{Elsewhere, PLACES, Position, Role};
pub(crate) use reader::{IndexReader, Unsure, find, reach_of};
pub use scan::SCAN_STEP;
pub use slot::{FREQUENCY_MAX, LOCATION_BYTES_MAX, Slot};
pub(crate) use table::{BUCKET_BYTES, BUCKET_WORDS, TableMemory};

use crate::shared::Published;
use crate::shared::file::ShardFile;
use homes::Homes;
use ordered::Ordered;
use std::io;
use std::sync::Arc;
use table::Table;
use tags::Tags;
use torc_pmem::media::memory::MemoryRange;

/// Buckets after the home where an item may be. At 64, loading a million items dropped one or two of them under one
/// seed of eight; the chance falls exponentially with the distance, and lookups only go as far as their home says.
pub const PROBE_BUCKETS: usize = 160;
/// Slots of a bucket.
pub const SLOTS_PER_BUCKET: usize = 7;

/// Where a slot is. Only valid until the index changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    bucket: u32,
    slot: u8,
}

/// What the index keeps of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Item(Slot),
    Elsewhere(Elsewhere),
}

/// The index of a shard.
#[derive(Debug)]
pub struct Index {
    table: Table,
    homes: Homes,
    /// Its homes, and whether something is elsewhere, as readers on other threads see them.
    geometry: Geometry,
    items: u64,
    /// What is elsewhere.
    ordered: Ordered,
    /// Others of these may come to light; and that, or that there are some.
    may_be_more: bool,
    may_be_elsewhere: bool,
    /// Which spaces they are of.
    tags: Tags,
    /// Most bytes of both tables.
    bytes_max: usize,
    /// Kept between steps of growth, so that a step allocates nothing.
    moving: Vec<(u64, Slot)>,
}

impl Index {
    /// An index with `homes` buckets for items, that can grow to `bytes_max`.
    ///
    /// # Errors
    /// If the address range cannot be reserved.
    pub fn new(homes: usize, bytes_max: usize) -> io::Result<Index> {
        let homes = homes.max(1);
        let table = Table::reserve(Index::buckets_max(homes, bytes_max))?;
        Index::of(table, homes, Geometry::new(Published::zeros()), bytes_max)
    }

    /// As [`Index::new`], in frames of a file that others read. It takes those that it begins with.
    pub(crate) fn in_file(homes: usize, bytes_max: usize, file: &ShardFile) -> io::Result<Index> {
        let homes = homes.max(1);
        let mut table = Table::in_file(Index::buckets_max(homes, bytes_max), file)?;
        while table.lacks_memory((homes + PROBE_BUCKETS) * BUCKET_BYTES) {
            let frame = file.file().take_frame()?.ok_or(io::ErrorKind::OutOfMemory)?;
            table.add_frame(frame)?;
        }
        Index::of(table, homes, Geometry::new(file.geometry()), bytes_max)
    }

    fn buckets_max(homes: usize, bytes_max: usize) -> usize {
        (bytes_max / BUCKET_BYTES).max(homes + PROBE_BUCKETS)
    }

    fn of(mut table: Table, homes: usize, geometry: Geometry, bytes_max: usize) -> io::Result<Index> {
        table.extend_to(homes + PROBE_BUCKETS);
        let homes = Homes::new(homes);
        geometry.open();
        geometry.publish(homes);
        Ok(Index {
            table,
            homes,
            geometry,
            items: 0,
            ordered: Ordered::new(bytes_max)?,
            may_be_more: false,
            may_be_elsewhere: false,
            tags: Tags::default(),
            bytes_max,
            moving: Vec::with_capacity(64),
        })
    }

    /// For others to look things up while this one changes.
    pub(crate) fn reader(&self) -> IndexReader<Arc<MemoryRange>> {
        IndexReader::new(self.table.range().clone(), self.geometry.clone())
    }

    /// Bytes of both tables.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.ordered.bytes()
    }

    /// Those of the table for what is elsewhere.
    pub(crate) fn elsewhere_bytes(&self) -> usize {
        self.ordered.bytes()
    }

    /// Adds a frame of the file that the table of items lies in: zeros, of which nobody reads anything else any more.
    ///
    /// # Errors
    /// Those of `mremap`: too many mappings.
    pub(crate) fn add_frame(&mut self, frame: usize) -> io::Result<()> {
        self.table.add_frame(frame)
    }

    /// Buckets for items.
    pub fn buckets(&self) -> usize {
        self.table.len()
    }

    /// Buckets for what is elsewhere.
    pub fn buckets_elsewhere(&self) -> usize {
        self.ordered.buckets()
    }

    /// Items in DRAM.
    pub fn items(&self) -> u64 {
        self.items
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        self.homes.of(hash)
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
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::ElsewhereLate) && self.elsewhere() > 0 {
            self.geometry.set_elsewhere(true);
        }
    }

    /// Adds a slot for a key that is not in the index.
    ///
    /// # Errors
    /// [`Full`] if there is no free slot within reach.
    pub fn insert(&mut self, hash: u64, slot: Slot) -> Result<(), Full> {
        let home = self.home(hash);
        let vacancy = |away| Some((away, self.table.bucket(home + away).vacancy()?));
        let (away, number) = (0..=PROBE_BUCKETS).find_map(vacancy).ok_or(Full)?;
        if away == 0 {
            self.table.set_slot(home, number, slot);
        } else {
            self.table.set_away(home, away, number, slot);
        }
        self.items += 1;
        Ok(())
    }

    /// The least frequent item near the home of `hash`: what to drop when there is no room for another one.
    pub fn coldest_near(&self, hash: u64) -> Option<Slot> {
        let home = self.home(hash);
        let slots = (home..=home + PROBE_BUCKETS).flat_map(|number| self.table.bucket(number).slots());
        slots.filter(|slot| !slot.is_empty()).min_by_key(|slot| slot.frequency())
    }
}

#[cfg(test)]
mod tests;
