//! Figures of a shard: written by its thread alone, read by any.
//!
//! A counter is an atomic that only its owner changes, so a change is a plain load and store, with no locked
//! instruction; readers see every counter a moment old and whole.

use crate::spaces::DATABASES_MAX;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A figure with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only the owner may call it; a second writer would lose counts, nothing worse.
    #[inline]
    pub fn add(&self, count: u64) {
        // Relaxed: counters order nothing.
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    #[inline]
    pub fn subtract(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(count), Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! figures {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ident,)+) => {
        /// The figures of one shard.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct ShardStats {
            $($(#[doc = $help])+ pub $name: Counter,)+
            /// When items expire that have an expiry, added up; milliseconds of the Unix epoch, by [`EXPIRY_UNIT_SHIFT`] bits shorter.
            pub expiry_units: Counter,
            /// By number; see [`ShardStats::database`].
            pub(crate) databases: Databases,
            /// The database that has space 0, plus one.
            zero: Counter,
        }

        impl ShardStats {
            /// Every figure: name, kind, help, value.
            pub fn figures(&self) -> impl Iterator<Item = Figure> + '_ {
                [$(Figure {
                    name: stringify!($name),
                    kind: FigureKind::$kind,
                    help: concat!($($help),+),
                    value: self.$name.read(),
                }),+].into_iter()
            }
        }
    };
}

/// In sums of expiries, units are milliseconds times two to the power of this: a second, so that sums do not overflow.
pub const EXPIRY_UNIT_SHIFT: u32 = 10;

/// What is counted of each database, but for the one that has space 0: that one has the rest of what is counted of all.
#[derive(Debug)]
pub(crate) struct Databases(Box<[DatabaseStats]>);

impl Default for Databases {
    fn default() -> Databases {
        Databases((0..DATABASES_MAX).map(|_| DatabaseStats::default()).collect())
    }
}

impl std::ops::Deref for Databases {
    type Target = [DatabaseStats];

    fn deref(&self) -> &[DatabaseStats] {
        &self.0
    }
}

#[derive(Debug, Default)]
pub(crate) struct DatabaseStats {
    pub(crate) items: Counter,
    pub(crate) bytes_live: Counter,
    pub(crate) bytes_payload: Counter,
    pub(crate) expiring: Counter,
    pub(crate) expiry_units: Counter,
    /// Keys of which the only item is on a tier; of that database, too.
    pub(crate) only: Counter,
}

/// The figures of a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatabaseFigures {
    /// In memory.
    pub items: u64,
    /// On a tier alone.
    pub only: u64,
    pub bytes_live: u64,
    pub bytes_payload: u64,
    /// Of the items in memory, those that have an expiry, and when they expire, as [`ShardStats::expiry_units`].
    pub expiring: u64,
    pub expiry_units: u64,
}

impl DatabaseFigures {
    /// The sum of both.
    pub fn with(mut self, other: &DatabaseFigures) -> DatabaseFigures {
        let mut other = *other;
        self.fields().into_iter().zip(other.fields()).for_each(|(sum, more)| *sum += *more);
        self.only += other.only;
        self
    }

    /// For how long those will live that have an expiry, on average from this time on, milliseconds.
    pub fn mean_ttl(&self, now: u64) -> u64 {
        let mean = self.expiry_units.checked_div(self.expiring).unwrap_or(0);
        ((mean << EXPIRY_UNIT_SHIFT) + (1 << EXPIRY_UNIT_SHIFT) / 2).saturating_sub(now)
    }

    fn fields(&mut self) -> [&mut u64; 5] {
        let DatabaseFigures { items, only: _, bytes_live, bytes_payload, expiring, expiry_units } = self;
        [items, bytes_live, bytes_payload, expiring, expiry_units]
    }
}

impl DatabaseStats {
    fn counters(&self) -> [&Counter; 5] {
        [&self.items, &self.bytes_live, &self.bytes_payload, &self.expiring, &self.expiry_units]
    }
}

impl ShardStats {
    /// The figures of a database. All zeros if there is no such database.
    pub fn database(&self, number: usize) -> DatabaseFigures {
        let mut figures = DatabaseFigures::default();
        let Some(own) = self.databases.get(number) else { return figures };
        figures.only = own.only.read();
        let others = self.databases.iter().enumerate().filter(|(other, _)| *other != number);
        let all =
            [&self.items, &self.bytes_live, &self.bytes_payload, &self.items_expiring, &self.expiry_units];
        let is_rest = self.zero.read() == number as u64 + 1;
        for (at, field) in figures.fields().into_iter().enumerate() {
            *field = own.counters()[at].read();
            if is_rest {
                let apart = others.clone().map(|(_, other)| other.counters()[at].read());
                *field = all[at].read().saturating_sub(apart.sum());
            }
        }
        figures
    }

    pub(crate) fn all_databases(&self) -> Vec<DatabaseFigures> {
        (0..DATABASES_MAX).map(|number| self.database(number)).collect()
    }

    /// Databases have these figures, those that are not given have none, and `zero` has space 0.
    pub(crate) fn set_databases(&self, figures: &[DatabaseFigures], zero: Option<usize>) {
        self.zero.set(zero.map_or(0, |zero| zero as u64 + 1));
        for (number, own) in self.databases.iter().enumerate() {
            let mut figures = figures.get(number).copied().unwrap_or_default();
            if zero == Some(number) {
                figures = DatabaseFigures::default();
            }
            own.only.set(0);
            own.counters().iter().zip(figures.fields()).for_each(|(counter, field)| counter.set(*field));
        }
    }

    /// No database has anything.
    pub(crate) fn clear_databases(&self) {
        let all = self.databases.iter().flat_map(|own| own.counters().into_iter().chain([&own.only]));
        let sums =
            [&self.items, &self.bytes_live, &self.bytes_payload, &self.items_expiring, &self.expiry_units];
        all.chain(sums).for_each(|counter| counter.set(0));
    }
}

/// Whether a figure only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    Counter,
    Gauge,
}

/// A figure, named.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub name: &'static str,
    pub kind: FigureKind,
    pub help: &'static str,
    pub value: u64,
}

figures! {
    /// Reads that found an item.
    hits: Counter,
    /// Reads that found none.
    misses: Counter,
    /// Reads among the misses that met an item whose time was over.
    misses_expired: Counter,
    /// Reads among the misses that met an item which had been flushed.
    misses_flushed: Counter,
    /// Items stored.
    writes: Counter,
    /// Items removed by a client.
    deletions: Counter,
    /// Items dropped to make room.
    evictions: Counter,
    /// Of the items that were evicted, those that nobody had read.
    evictions_unread: Counter,
    /// Items among these that a tier which takes what eviction drops had not got by then: they are lost.
    demotions_missed: Counter,
    /// Items among these that a tier which takes everything had not got by then, for want of other room: they are lost.
    evictions_unsaved: Counter,
    /// Items dropped because their time was over.
    expirations: Counter,
    /// Of these, items that nobody had read.
    expirations_unread: Counter,
    /// Items that the index names on a tier, whether they are in DRAM, too, or not.
    tier_items: Gauge,
    /// Keys of which the only item is on a tier. With `torc_items`: all keys, as DBSIZE tells.
    tier_only_items: Gauge,
    /// Items dropped because the index had no place near their bucket.
    index_evictions: Counter,
    /// Items on the tier that the index had no room for any more.
    places_lost: Counter,
    /// Live items copied to another segment (kept by eviction, or moved by compaction).
    relocations: Counter,
    /// Writes refused for want of memory.
    refused_memory: Counter,
    /// Segments made free by eviction.
    segments_evicted: Counter,
    /// Segments made free by compaction or expiry.
    segments_compacted: Counter,
    /// Items in the index that some database has.
    items: Gauge,
    /// Items among these that have an expiry.
    items_expiring: Gauge,
    /// Bytes of items that are neither removed nor flushed; those of `bytes_expired` are among them.
    bytes_live: Gauge,
    /// Bytes of items whose time is over and whose memory is not yet reused.
    bytes_expired: Gauge,
    /// Bytes of segments that hold items or did, dead ones included.
    bytes_segments: Gauge,
    /// Bytes of segments that may be used beside the index and what is set aside.
    bytes_segments_max: Gauge,
    /// Bytes of the index.
    bytes_index: Gauge,
    /// Bytes of what eviction remembers, of expiry's calendar, and of the tables of segments and uploads.
    bytes_bookkeeping: Gauge,
    /// Bytes of values under way into the shard.
    bytes_uploads: Gauge,
    /// Bytes of keys and values of live items (chunks included).
    bytes_payload: Gauge,
    /// Segments pinned by lent bytes or values under way.
    segments_pinned: Gauge,
    /// Segments free to be written.
    segments_free: Gauge,
    /// Freed segments that are not written yet, as somebody may still read them.
    segments_resting: Gauge,
    /// Bytes of these.
    bytes_resting: Gauge,
    /// Leases given to readers elsewhere.
    read_leases_given: Counter,
    /// Leases refused, as too much rests, or too little is free for it.
    read_leases_refused: Counter,
    /// How often readers elsewhere were made to leave, for want of memory.
    read_leases_revoked: Counter,
    /// Bytes of free segments whose memory is the process' already: clients get it first.
    bytes_free: Gauge,
    /// Buckets of the index.
    index_buckets: Gauge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_carry_name_kind_and_value() {
        let stats = ShardStats::default();
        stats.hits.add(3);
        stats.items.add(2);
        stats.items.subtract(1);
        let figures: Vec<Figure> = stats.figures().collect();
        let hits = figures.iter().find(|figure| figure.name == "hits").unwrap();
        assert_eq!((hits.value, hits.kind), (3, FigureKind::Counter));
        let items = figures.iter().find(|figure| figure.name == "items").unwrap();
        assert_eq!((items.value, items.kind), (1, FigureKind::Gauge));
        assert!(!hits.help.is_empty());
    }
}
