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

mod flush;
mod geometry;
mod growth;
mod reader;
mod scan;
mod slot;
mod table;

pub(crate) use geometry::Geometry;
pub use growth::GROW_STEPS_PER_INSERT;
pub(crate) use reader::{IndexReader, Moved};
pub use slot::{Elsewhere, Entry, FREQUENCY_MAX, LOCATION_BYTES_MAX, PLACES, Role, Slot};
pub(crate) use table::{BUCKET_BYTES, BUCKET_WORDS, TableMemory};

use crate::shared::Published;
use crate::shared::file::ShardFile;
use flush::Flushed;
use std::io;
use std::sync::Arc;
use table::{Bucket, Table};
use torc_pmem::media::memory::MemoryRange;

/// Buckets after the home where an item may be. At 64, loading a million items dropped one or two of them under one
/// seed of eight; the chance falls exponentially with the distance, and lookups only go as far as their home says.
pub const PROBE_BUCKETS: usize = 160;
/// Slots of a bucket.
pub const SLOTS_PER_BUCKET: usize = 7;
/// What the entry of an item that is not in DRAM takes, bytes: three of them have room in a bucket, at a load of 0.6 to 0.75.
pub const PLACE_BYTES: u64 = 32;
/// Buckets that are looked at for an entry that is worth less than another.
const NEAR_BUCKETS: usize = 8;
/// Where a slot is. Only valid until the index changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    bucket: u32,
    slot: u8,
}

/// No free slot within reach of the home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug, Clone, Copy, Default)]
struct Growing {
    /// Number of homes before.
    homes: u64,
    /// Old homes from here on have moved.
    boundary: u64,
}

/// In the number of items that are not in DRAM: not all of them are known.
const MORE: u64 = 1 << 63;

/// The index of a shard.
#[derive(Debug)]
pub struct Index {
    table: Table,
    homes: u64,
    growing: Option<Growing>,
    /// Items that it is expected to hold one day; 0: nobody knows.
    expected: u64,
    /// Both of these, as readers on other threads see them.
    geometry: Geometry,
    items: u64,
    /// What lies elsewhere, and [`MORE`] as long as others may come to light.
    elsewhere: u64,
    /// What of that was flushed, and is still to be swept out.
    flushed: Flushed,
    /// Keys of which the only item is elsewhere.
    only_elsewhere: u64,
    /// Kept between steps of growth, so that a step allocates nothing.
    moving: Vec<(u64, Entry)>,
}

#[inline]
fn scale(hash: u64, homes: u64) -> u64 {
    ((u128::from(hash) * u128::from(homes)) >> 64) as u64
}

/// The hash of an entry's key.
fn hash_in(entry: Entry, hash_of: &mut impl FnMut(Slot) -> u64) -> u64 {
    match entry {
        Entry::Item(slot) => hash_of(slot),
        Entry::Elsewhere(elsewhere) => elsewhere.hash,
    }
}

impl Index {
    /// An index with `homes` buckets that can grow to `bytes_max`.
    ///
    /// # Errors
    /// If the address range cannot be reserved.
    pub fn new(homes: usize, bytes_max: usize) -> io::Result<Index> {
        let homes = homes.max(1);
        let table = Table::reserve(Index::buckets_max(homes, bytes_max))?;
        Ok(Index::of(table, homes, Geometry::new(Published::zeros())))
    }

    /// As [`Index::new`], in frames of a file that others read. It takes those that it begins with.
    pub(crate) fn in_file(homes: usize, bytes_max: usize, file: &ShardFile) -> io::Result<Index> {
        let homes = homes.max(1);
        let mut table = Table::in_file(Index::buckets_max(homes, bytes_max), file)?;
        while table.lacks_memory((homes + PROBE_BUCKETS) * BUCKET_BYTES) {
            let frame = file.file().take_frame()?.ok_or(io::ErrorKind::OutOfMemory)?;
            table.add_frame(frame)?;
        }
        Ok(Index::of(table, homes, Geometry::new(file.geometry())))
    }

    fn buckets_max(homes: usize, bytes_max: usize) -> usize {
        (bytes_max / BUCKET_BYTES).max(homes + PROBE_BUCKETS)
    }

    fn of(mut table: Table, homes: usize, geometry: Geometry) -> Index {
        table.extend_to(homes + PROBE_BUCKETS);
        geometry.open();
        geometry.publish(homes as u64, None);
        Index {
            table,
            homes: homes as u64,
            growing: None,
            expected: 0,
            geometry,
            items: 0,
            elsewhere: 0,
            flushed: Flushed::default(),
            only_elsewhere: 0,
            moving: Vec::with_capacity(64),
        }
    }

    /// For others to look things up while this one changes.
    pub(crate) fn reader(&self) -> IndexReader<Arc<MemoryRange>> {
        IndexReader::new(self.table.range().clone(), self.geometry.clone())
    }

    /// Memory of the table, bytes.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Whether [frames](Index::add_frame) have to be added before the table can be so long, bytes.
    pub(crate) fn lacks_memory(&self, bytes: usize) -> bool {
        self.table.lacks_memory(bytes)
    }

    /// Adds a frame of the file that it lies in: zeros, of which nobody reads anything else any more.
    ///
    /// # Errors
    /// Those of `mremap`: too many mappings.
    pub(crate) fn add_frame(&mut self, frame: usize) -> io::Result<()> {
        self.table.add_frame(frame)
    }

    pub fn buckets(&self) -> usize {
        self.table.len()
    }

    /// Items in DRAM.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Places of a medium that it names, be it of what is in DRAM, too, or of what was flushed and is not swept out yet.
    #[inline]
    pub fn elsewhere(&self) -> u64 {
        self.elsewhere & !MORE
    }

    /// Whether a key that has no item in DRAM may have one elsewhere, be it known or not.
    #[inline]
    pub fn may_be_elsewhere(&self) -> bool {
        self.elsewhere != 0
    }

    /// Whether keys may have items elsewhere that are not known.
    pub fn expect_more(&mut self, may_come: bool) {
        self.elsewhere = self.elsewhere() | if may_come { MORE } else { 0 };
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

    /// The place of an item or a chunk with this hash.
    pub fn find_elsewhere(&self, hash: u64) -> Option<(Place, Elsewhere)> {
        let home = self.home(hash);
        let last = home + self.table.bucket(home).head().reach();
        let wanted = Elsewhere::wanted(hash);
        for number in home..=last {
            let bucket = self.table.bucket(number);
            // A pair does not begin in the last slot.
            for slot in 0..SLOTS_PER_BUCKET - 1 {
                let first = bucket.slot(slot);
                if Elsewhere::may_begin(first, wanted) {
                    let found = Elsewhere::of([first, bucket.slot(slot + 1)]);
                    if found.hash == hash && !self.is_flushed(&found) {
                        return Some((Place { bucket: number as u32, slot: slot as u8 }, found));
                    }
                }
            }
        }
        None
    }

    /// Removes the entry at `place` of what is elsewhere, and has this hash.
    pub fn remove_elsewhere(&mut self, place: Place, hash: u64) {
        if let Some(entry) = self.elsewhere_at(place) {
            self.uncount(&entry);
        }
        self.clear(place, hash);
        self.replace(Place { slot: place.slot + 1, ..place }, Slot::EMPTY);
        self.elsewhere -= 1;
    }

    /// Changes the entry at `place` of what is elsewhere, which stays the same key's.
    pub fn replace_elsewhere(&mut self, place: Place, entry: Elsewhere) {
        if let Some(before) = self.elsewhere_at(place) {
            self.uncount(&before);
            self.count(&entry);
        }
        let [first, rest] = entry.slots();
        self.replace(Place { slot: place.slot + 1, ..place }, rest);
        self.replace(place, first);
    }

    /// An entry of this hash is about to go and to come back in another form: until [`Index::end_exchange`] no reader takes what
    /// it does not find for missing.
    pub fn begin_exchange(&mut self, hash: u64) {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::Exchange) {
            return;
        }
        self.table.open(self.home(hash));
    }

    pub fn end_exchange(&mut self, hash: u64) {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::Exchange) {
            return;
        }
        self.table.close(self.home(hash));
    }

    /// Adds an entry for what is elsewhere.
    ///
    /// # Errors
    /// [`Full`] if there are no two free slots side by side within reach.
    pub fn insert_elsewhere(&mut self, entry: Elsewhere) -> Result<(), Full> {
        self.add_elsewhere(Elsewhere { flushes: self.flushed.flushes(), ..entry })
    }

    /// As [`Index::insert_elsewhere`]; what was flushed stays so.
    fn add_elsewhere(&mut self, entry: Elsewhere) -> Result<(), Full> {
        let (away, number) = self.vacancy(entry.hash, |bucket| bucket.pair_vacancy())?;
        let [first, rest] = entry.slots();
        // The second slot comes first: whoever finds the first slot finds the whole entry.
        self.table.set_slot(self.home(entry.hash) + away, number + 1, rest);
        self.set(entry.hash, away, number, first);
        self.elsewhere += 1;
        self.count(&entry);
        Ok(())
    }

    /// Changes the slot of an item that stays the same key's.
    #[inline]
    pub fn replace(&mut self, place: Place, slot: Slot) {
        self.table.set_slot(place.bucket as usize, place.slot as usize, slot);
    }

    /// Removes the slot at `place`, which belongs to an item with this hash.
    pub fn remove(&mut self, place: Place, hash: u64) {
        self.clear(place, hash);
        self.items -= 1;
    }

    fn clear(&mut self, place: Place, hash: u64) {
        let home = self.home(hash);
        if place.bucket as usize == home {
            self.replace(place, Slot::EMPTY);
        } else {
            self.table.clear_away(home, place.bucket as usize, place.slot as usize);
        }
    }

    /// Adds a slot for a key that is not in the index.
    ///
    /// # Errors
    /// [`Full`] if there is no free slot within reach.
    pub fn insert(&mut self, hash: u64, slot: Slot) -> Result<(), Full> {
        let (away, number) = self.vacancy(hash, |bucket| bucket.vacancy())?;
        self.set(hash, away, number, slot);
        self.items += 1;
        Ok(())
    }

    /// How far from the home of `hash` there is room, and which slot it is.
    #[inline]
    fn vacancy(
        &self,
        hash: u64,
        in_bucket: impl Fn(Bucket<'_>) -> Option<usize>,
    ) -> Result<(usize, usize), Full> {
        let home = self.home(hash);
        let found = (0..=PROBE_BUCKETS)
            .find_map(|away| in_bucket(self.table.bucket(home + away)).map(|number| (away, number)));
        found.ok_or(Full)
    }

    #[inline]
    fn set(&mut self, hash: u64, away: usize, number: usize, slot: Slot) {
        let home = self.home(hash);
        if away == 0 {
            self.table.set_slot(home, number, slot);
        } else {
            self.table.set_away(home, away, number, slot);
        }
    }

    /// The entry at `place` goes.
    fn take(&mut self, place: Place, hash: u64, entry: Entry) {
        match entry {
            Entry::Item(_) => self.remove(place, hash),
            Entry::Elsewhere(_) => self.remove_elsewhere(place, hash),
        }
    }

    /// The least frequent of what is elsewhere, next to the home of `hash`; first what was flushed.
    pub fn coldest_elsewhere_near(&self, hash: u64) -> Option<Elsewhere> {
        let home = self.home(hash);
        let near = home..home + NEAR_BUCKETS;
        let entries = near.flat_map(|number| self.table.bucket(number).entries());
        let elsewhere = entries.filter_map(|(_, entry)| match entry {
            Entry::Elsewhere(elsewhere) => Some(elsewhere),
            Entry::Item(_) => None,
        });
        elsewhere.min_by_key(|elsewhere| (!self.is_flushed(elsewhere), elsewhere.frequency))
    }

    /// The least frequent entry near the home of `hash`, first what was flushed: what to drop when the index is [`Full`].
    pub fn coldest_near(&self, hash: u64) -> Option<Entry> {
        let home = self.home(hash);
        let near = home..=home + PROBE_BUCKETS;
        let entries = near.flat_map(|number| self.table.bucket(number).entries().map(|(_, entry)| entry));
        entries.min_by_key(|entry| match entry {
            Entry::Elsewhere(elsewhere) => (!self.is_flushed(elsewhere), elsewhere.frequency),
            Entry::Item(slot) => (true, slot.frequency()),
        })
    }
}

#[cfg(test)]
mod tests;
