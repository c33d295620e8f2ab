//! Figures of a shard: written by its thread alone, read by any.
//!
//! A counter is an atomic that only its owner changes, so a change is a plain load and store, with no locked
//! instruction; readers see every counter a moment old and whole.

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
    /// Items among these that a tier which takes what eviction drops had not got by then: they are lost.
    demotions_missed: Counter,
    /// Items among these that a tier which takes everything had not got by then, for want of other room: they are lost.
    evictions_unsaved: Counter,
    /// Items dropped because their time was over.
    expirations: Counter,
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
    /// Items in the index.
    items: Gauge,
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
