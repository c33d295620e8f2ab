//! How much of the memory is index, and how much segments.

use super::{SEGMENTS_MIN, Shard, hash_of};
use crate::changes::Cause;
use crate::index::{GROW_STEPS_PER_INSERT, PLACE_BYTES, Slot};
use crate::segments::RELOCATION_RESERVE;

/// Share of the memory that is kept for what grows of the bookkeeping, where memory that was taken cannot be given back.
const BOOKKEEPING_SHARE: usize = 16;
/// Pinned segments beside which there are [`SEGMENTS_MIN`] for writers.
const PINNED_BESIDE_MAX: usize = 16;
/// What eviction remembers of an item, at most, bytes.
const REMEMBERED_BYTES: u64 = 8;

impl Shard {
    /// Before an item comes: moves the index on if it is growing for items, or begins to grow it if it is too full and the memory can
    /// be had.
    #[inline]
    pub(super) fn grow_index(&mut self) {
        if self.index.is_growing() {
            for _ in 0..GROW_STEPS_PER_INSERT {
                self.grow_step();
            }
        } else if let Some(bytes) = self.index.growth_wanted() {
            self.begin_growth(bytes);
        }
    }

    /// One home of the index moves; returns whether there are more.
    pub(super) fn grow_step(&mut self) -> bool {
        for slot in self.index.next_step() {
            self.segments.prefetch(slot.location(), 1);
        }
        let (segments, secrets) = (&self.segments, &self.secrets);
        let hash_in = |slot: Slot| hash_of(secrets, &segments.item(slot.location()));
        // Next to never any: a vector without elements allocates nothing.
        let mut lost = Vec::new();
        self.index.grow_step(hash_in, |slot| lost.push(slot));
        for slot in lost {
            self.stats.index_evictions.add(1);
            let at = slot.location();
            let item = self.segments.item(at);
            let (hash, version) = (hash_of(&self.secrets, &item), item.version());
            self.changed(Cause::Evicted, at, hash, version);
            self.kill(at);
        }
        self.index.is_growing()
    }

    /// The index takes its memory from the segments: they are made fewer first.
    #[cold]
    fn begin_growth(&mut self, bytes: usize) {
        // What eviction will remember has its share before the memory is full, not after.
        self.resize_eviction();
        if self.fit(bytes) && self.index_has_memory() {
            self.index.grow();
            self.publish();
        }
    }

    /// As [`Shard::grow_index`], before a place comes.
    #[inline]
    pub(super) fn grow_places(&mut self) {
        if self.index.is_elsewhere_growing() {
            self.grow_places_step();
        } else if let Some(bytes) = self.index.elsewhere_growth_wanted() {
            self.begin_growth_of_places(bytes);
        }
    }

    /// Some homes of places move; returns whether there are more.
    pub(super) fn grow_places_step(&mut self) -> bool {
        self.index.grow_elsewhere_step();
        self.index.is_elsewhere_growing()
    }

    #[cold]
    fn begin_growth_of_places(&mut self, bytes: usize) {
        if self.segments_wanted(bytes) < self.segments.in_use() + RELOCATION_RESERVE {
            // Room for what is expected would take segments that are in use.
            self.index.expect(0);
        }
        let bytes = self.index.elsewhere_growth_wanted().unwrap_or(bytes);
        if self.has_memory_for_places(bytes) {
            self.index.grow_elsewhere();
            self.publish();
        }
    }

    /// Whether the index has memory to grow; else it is given some, as far as it comes in frames. A step of that is bounded, and the
    /// table goes on at its load meanwhile.
    fn index_has_memory(&mut self) -> bool {
        if self.index.lacks_memory() {
            self.give_frame();
        }
        !self.index.lacks_memory()
    }

    /// Does some of what it takes to give the index a frame.
    pub(super) fn give_frame(&mut self) {
        if let Some(frame) = self.segments.frame_for_index()
            && self.index.add_frame(frame as usize).is_err()
        {
            self.segments.take_frame_back(frame);
        }
    }

    /// Whether there is memory for an index of so many bytes, of which more are places than before. Where segments cannot give
    /// theirs, it is what was kept for places.
    fn has_memory_for_places(&mut self, bytes: usize) -> bool {
        if self.segments.file().is_none() {
            return self.fit(bytes);
        }
        let more = bytes.saturating_sub(self.index.bytes()) as u64;
        self.bytes_held() + self.aside_bytes + more <= self.memory_bytes
    }

    /// Memory of the places on a medium, bytes: where it cannot be had later, all that they may take.
    fn bytes_for_places(&self) -> usize {
        let most = if self.places_max == u64::MAX { 0 } else { self.places_max * PLACE_BYTES };
        self.index.elsewhere_bytes().max(most as usize)
    }

    /// What eviction remembers goes with the number of items. Where memory that was taken cannot be given back, with what is left
    /// of it, too: there it stays shorter if items become smaller when all is taken.
    pub(super) fn resize_eviction(&mut self) {
        let mut items = self.index.items();
        if self.segments.file().is_some() {
            let places = self.bytes_for_places() - self.index.elsewhere_bytes();
            let others = self.bytes_held() - self.eviction.bytes() as u64 + self.aside_bytes + places as u64;
            items = items.min(self.memory_bytes.saturating_sub(others) / REMEMBERED_BYTES);
        }
        self.eviction.resize(items);
    }

    /// Bookkeeping for which there is memory from the start, where memory that was taken cannot be given back.
    fn bookkeeping_expected(&self) -> usize {
        self.segments.table_bytes() + self.memory_bytes as usize / BOOKKEEPING_SHARE
    }

    /// Segments that the memory leaves beside an index of `index_bytes`, the bookkeeping and what is set aside.
    fn segments_wanted(&self, index_bytes: usize) -> usize {
        let (mut bookkeeping, mut places) = (self.bookkeeping_bytes(), self.index.elsewhere_bytes());
        let items = index_bytes - places;
        if self.segments.file().is_some() {
            bookkeeping = bookkeeping.max(self.bookkeeping_expected());
            places = self.bytes_for_places();
        }
        let beside = items + places + bookkeeping + self.aside_bytes as usize;
        let left = (self.memory_bytes as usize).saturating_sub(beside);
        (left / self.segments.segment_bytes()).min(self.segments.reserved_beside(items))
    }

    /// Segments that there are in any case. Writers need some beside those that are pinned, which were a small share when they were
    /// pinned, and may be nearly all of a small shard's by now.
    fn segments_least(&self) -> usize {
        match self.segments.file() {
            None if self.segments.pinned() * 2 <= self.segments.count_max() => SEGMENTS_MIN,
            // There is no room in the range for more than that.
            None => {
                let beside = self.segments.pinned().min(PINNED_BESIDE_MAX);
                (SEGMENTS_MIN + beside).min(self.segments.reserved_beside(0))
            }
            Some(_) => SEGMENTS_MIN,
        }
    }

    /// For segments, index, bookkeeping and what is set aside together, bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Sets memory aside for what lies beside the store: its clients, mostly. Segments go as far as that takes, one at a
    /// time as they are free or reclaimed, and come back when less is set aside. Memory that other processes read cannot be given
    /// back: there it stays what it was at the start.
    pub fn set_aside(&mut self, bytes: u64) {
        if bytes != self.aside_bytes && self.segments.file().is_none() {
            self.aside_bytes = bytes;
            self.fit(self.index.bytes());
        }
    }

    /// Memory that the store has taken from the machine: segments, index, bookkeeping; bytes.
    pub fn bytes_held(&self) -> u64 {
        let taken = match self.segments.file() {
            None => self.segments.count() * self.segments.segment_bytes() + self.index.bytes(),
            // Its head is bookkeeping.
            Some(file) => file.bytes() - file.head_bytes() + self.index.elsewhere_bytes(),
        };
        (taken + self.bookkeeping_bytes()) as u64
    }

    /// Bytes of segments that are free, and could be set aside at once.
    pub fn bytes_free(&self) -> u64 {
        if self.segments.file().is_some() {
            return 0;
        }
        let free = self.segments.free();
        let kept = (self.segments_least() + free).saturating_sub(self.segments.count());
        (free.saturating_sub(kept) * self.segments.segment_bytes()) as u64
    }

    /// Whether there are more segments than there should be.
    pub(super) fn has_too_many_segments(&self) -> bool {
        let wanted = self.segments_wanted(self.index.bytes()).max(self.segments_least());
        wanted < self.segments.count_max() || self.segments.count() > self.segments.count_max()
    }

    /// Limits the segments to [`Shard::segments_wanted`]: free ones go at once, others as they become free, so that no
    /// writer waits for more than one. `false`: not there yet, or that would be too few.
    pub(super) fn fit(&mut self, index_bytes: usize) -> bool {
        let wanted = self.segments_wanted(index_bytes);
        let count_max = wanted.max(self.segments_least());
        if count_max > self.segments.count_max() {
            self.segments.limit(count_max);
        }
        while count_max < self.segments.count_max() && self.segments.available() > RELOCATION_RESERVE {
            self.segments.limit(self.segments.count_max() - 1);
        }
        wanted >= self.segments.count_max()
    }
}
