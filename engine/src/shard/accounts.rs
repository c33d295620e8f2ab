//! What a shard counts: items and bytes that live, and what they will be when their time is over.

use super::Shard;
use super::weight::Weight;
use crate::chain::ChainList;
use crate::item::{present, state};

impl Shard {
    /// Marks an item dead, with the chunks of its chain, and takes it out of all accounts. It must have left
    /// the index.
    #[inline]
    pub(super) fn kill(&mut self, at: u64) {
        let item = self.segments.item(at);
        if item.present() & present::CHAIN_HEAD != 0 {
            self.drop_chunks(at, 0..ChainList::new(item.value()).len());
        }
        self.kill_one(at);
    }

    /// As [`Shard::kill`], for the item of a hash that leaves DRAM alone: what a medium holds of a chain, head and all, is still good.
    pub(super) fn kill_here(&mut self, at: u64, hash: u64) {
        if self.segments.item(at).present() & present::CHAIN_HEAD == 0 || !self.is_on_tier(hash) {
            return self.kill(at);
        }
        self.kill_chunks(at, 0..self.list(at).len());
        self.kill_one(at);
    }

    /// As [`Shard::kill`], but the chunks live on under another head.
    pub(super) fn kill_one(&mut self, at: u64) {
        let item = self.segments.item(at);
        let (weight, dead) = (Weight::of(&item), item.state() | state::DEAD);
        self.segments.set_state(at, dead);
        self.segments.discount(at, weight.len, weight.expiry);
        self.reclaim.lost(&mut self.segments, at);
        if weight.version <= self.flushed {
            return;
        }
        if self.is_apart(&weight) {
            self.leave_apart(at);
        } else {
            self.count_out(&weight);
        }
        if let Some(expiry) = weight.expiry {
            self.calendar.remove(weight.len + weight.chunks, weight.written_at(), expiry);
        }
    }

    /// Counts a new item, which [`crate::segments::Segments::append`] has counted in its segment. A chunk whose upload began
    /// before a flush counts from when it gets its head.
    #[inline]
    pub(super) fn enter(&mut self, at: u64, weight: &Weight) {
        if weight.version <= self.flushed {
            return;
        }
        if self.is_apart(weight) {
            self.enter_apart(at);
        } else {
            self.count_in(weight);
        }
        if let Some(expiry) = weight.expiry {
            self.calendar.add(weight.len + weight.chunks, weight.written_at(), expiry);
        }
    }

    /// Counts an item among those of all databases.
    #[inline(always)]
    fn count_in(&self, weight: &Weight) {
        self.stats.bytes_payload.add(weight.payload);
        self.stats.bytes_live.add(weight.len as u64);
        self.stats.items.add(weight.items);
        if weight.expiry.is_some() {
            self.stats.items_expiring.add(weight.items);
            self.stats.expiry_units.add(weight.expiry_units());
        }
    }

    /// Takes it out again.
    #[inline(always)]
    fn count_out(&self, weight: &Weight) {
        self.stats.bytes_payload.subtract(weight.payload);
        self.stats.bytes_live.subtract(weight.len as u64);
        self.stats.items.subtract(weight.items);
        if weight.expiry.is_some() {
            self.stats.items_expiring.subtract(weight.items);
            self.stats.expiry_units.subtract(weight.expiry_units());
        }
    }

    /// Whether an item is counted beside all others: it is of another space than 0, or of that one and no database has it.
    #[inline]
    fn is_apart(&self, weight: &Weight) -> bool {
        weight.has_space | self.spaces.zero_is_gone
    }

    /// Takes an item out of the accounts, and of its database's, if one shows it.
    // Weighs it anew, so that nobody else has its weight in memory.
    #[inline(never)]
    fn leave_apart(&self, at: u64) {
        let item = self.segments.item(at);
        let weight = Weight::of(&item);
        let database = self.spaces.database_of(item.space(), weight.version);
        let Some(own) = database.map(|database| &self.stats.databases[database]) else { return };
        self.count_out(&weight);
        own.bytes_payload.subtract(weight.payload);
        own.bytes_live.subtract(weight.len as u64);
        own.items.subtract(weight.items);
        if weight.expiry.is_some() {
            own.expiring.subtract(weight.items);
            own.expiry_units.subtract(weight.expiry_units());
        }
    }

    /// The same for a new item.
    // Weighs it anew, so that nobody else has its weight in memory.
    #[inline(never)]
    fn enter_apart(&self, at: u64) {
        let item = self.segments.item(at);
        let weight = Weight::of(&item);
        let database = self.spaces.database_of(item.space(), weight.version);
        let Some(own) = database.map(|database| &self.stats.databases[database]) else { return };
        self.count_in(&weight);
        own.bytes_payload.add(weight.payload);
        own.bytes_live.add(weight.len as u64);
        own.items.add(weight.items);
        if weight.expiry.is_some() {
            own.expiring.add(weight.items);
            own.expiry_units.add(weight.expiry_units());
        }
    }

    /// Memory beside segments and index.
    pub(super) fn bookkeeping_bytes(&self) -> usize {
        self.segments.table_bytes()
            + self.calendar.bytes()
            + self.eviction.bytes()
            + self.uploads.table_bytes()
            + self.recovery.as_ref().map_or(0, |recovery| recovery.bytes())
    }

    /// Brings the gauges up to date that are not counted as they change.
    pub(super) fn publish(&self) {
        let segment_bytes = self.segments.segment_bytes() as u64;
        let stats = &self.stats;
        stats.bytes_segments.set(self.segments.in_use() as u64 * segment_bytes);
        stats.bytes_segments_max.set(self.segments.count_max() as u64 * segment_bytes);
        stats.segments_free.set(self.segments.available() as u64);
        self.publish_rest();
        stats.bytes_free.set(self.bytes_free());
        stats.segments_pinned.set(self.segments.pinned() as u64);
        stats.tier_items.set(self.elsewhere());
        stats.tier_only_items.set(self.index.only_elsewhere());
        self.publish_only();
        stats.bytes_index.set(self.index.bytes() as u64);
        stats.index_buckets.set((self.index.buckets() + self.index.buckets_elsewhere()) as u64);
        stats.bytes_bookkeeping.set(self.bookkeeping_bytes() as u64);
        stats.bytes_expired.set(self.calendar.expired());
        stats.bytes_uploads.set(self.uploads.bytes() + self.uploads.returning_bytes());
    }
}
