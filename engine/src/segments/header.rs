//! What a shard knows of a segment, outside the segment: 64 bytes, one cache line.

use crate::meta::Millis;
use std::cell::Cell;

/// A segment's place in its life.
///
/// ```text
///  Free --take--> Open --no room--> Sealed --job--> Draining --empty--> Resting --> Free
///                                     |  ^              |              ^
///                          its turn,  v  | unpinned     | pinned       | unpinned
///                          but pinned Parked            +--> Drained --+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Free,
    Open,
    Sealed,
    /// Sealed, but passed over when its turn came, as it is pinned: in no queue until it is not.
    Parked,
    /// A job moves or drops its items.
    Draining,
    /// Holds nothing any more, but is pinned.
    Drained,
    /// Holds nothing any more, but somebody may still read its memory: see `rest.rs`.
    Resting,
    /// Its memory was given back to the machine, for the index or for what lies beside the store; or it is memory of a file
    /// that the index has, or nobody.
    Retired,
}

/// Which of the eviction's queues a segment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// New items, on trial.
    Small,
    /// Items that have proved themselves, or all of them if the algorithm has one queue.
    Main,
}

/// Stands for no segment in a link.
pub(super) const NO_SEGMENT: u32 = u32::MAX;

/// Bookkeeping of one segment.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct SegmentHeader {
    pub phase: Phase,
    pub queue: Queue,
    /// The write class that fills it: see [`super::class_of`].
    pub class: u8,
    /// Waits for a job (see `shard/reclaim.rs`), before the one `behind` it.
    pub queued: bool,
    /// Bytes written.
    pub used: u32,
    /// Bytes of items that are not dead.
    pub live_bytes: u32,
    pub live_items: u32,
    /// Lent slices and uploads that need the bytes where they are.
    pub pins: Cell<u32>,
    /// Those of them that only write: each of a chunk that nobody can find yet.
    pub fills: u32,
    /// When it was opened, seconds; the weight counts from here.
    pub opened_s: u32,
    /// Neighbours in the eviction's queue, or in the list of free segments.
    pub(super) previous: u32,
    pub(super) next: u32,
    pub(super) behind: u32,
    /// Rises with every segment that is opened: a later one holds later copies.
    pub sequence: u64,
    /// No live item expires later; `Millis::MAX` if one never does.
    pub expiry_max: Millis,
    /// Sum over live items of bytes times seconds to live at writing, for the mean.
    pub expiry_weight: u64,
}

impl SegmentHeader {
    pub fn new(now: Millis) -> SegmentHeader {
        SegmentHeader {
            phase: Phase::Free,
            queue: Queue::Main,
            class: 0,
            queued: false,
            used: 0,
            live_bytes: 0,
            live_items: 0,
            pins: Cell::new(0),
            fills: 0,
            opened_s: u32::try_from(now / 1000).unwrap_or(u32::MAX),
            previous: NO_SEGMENT,
            next: NO_SEGMENT,
            behind: NO_SEGMENT,
            sequence: 0,
            expiry_max: 0,
            expiry_weight: 0,
        }
    }

    /// Whether compacting it yields more than it costs.
    pub fn is_half_dead(&self) -> bool {
        self.live_bytes < self.used / 2
    }

    /// When half of the live bytes will about have expired: the byte-weighted mean of their expiries.
    pub fn expiry_mean(&self) -> Millis {
        if self.expiry_max == Millis::MAX || self.live_bytes == 0 {
            return Millis::MAX;
        }
        (u64::from(self.opened_s) + self.expiry_weight / u64::from(self.live_bytes)) * 1000
    }

    /// Seconds from opening to `expiry`, for the weight.
    pub fn expiry_seconds(&self, expiry: Millis) -> u64 {
        // 31 bits: times a live_bytes of at most 32 bits the sum stays below 2^63.
        (expiry / 1000).saturating_sub(u64::from(self.opened_s)).min(i32::MAX as u64)
    }
}

const _: () = assert!(size_of::<SegmentHeader>() == 64);
