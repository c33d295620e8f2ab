//! The second tier of a server: items on a medium that is larger than DRAM, and outlives the process.
//!
//! ```text
//!   shard 0 ──changes──>┐                      ┌─> stream 0 ┐
//!   shard 1 ──changes──>┤ storage thread, one  ├─> stream 1 ┼─> medium
//!      ^ places, leaves └──────────────────────┘            │
//!      │                     readers      <─────────────────┘
//!      └──── items ───────────┘
//! ```
//!
//! A shard remembers what has changed ([`torc_engine::Shard::take_unsaved`]) and hands it over in batches, a few times in the
//! interval that `--durability interval` names. The storage thread writes the batches to the streams, drains the medium, and only then
//! tells the places. From there on the index names them, so eviction has nothing to write. A read of an item that is not in DRAM
//! waits for a reader thread; on a medium that is memory the shard reads it itself.
//!
//! Under `--durability always` a client gets the answer to a change when that is on the medium. It waits at the shard that the
//! client is connected to, or in the batch of the shard that asked; changes of many clients are made safe together.
//!
//! Until there is enough for a batch that loses little, what must be on the medium goes to a small journal first, where it can
//! be read; when its stream has it too, the places change.
//!
//! When a stream is full, its oldest batch is written over. Its shards forget the places first. What was read most since it was
//! written there stays, half of the items at most: a shard saves anew what is in DRAM, and the storage thread carries on what
//! is on the medium alone.
//!
//! Under `--durability none` a shard hands over what eviction comes to next, and what makes void that which the tier holds. At an
//! orderly end it hands over the rest, and only then the medium counts again.
//!
//! Keys are divided over streams by their slots, once for the life of a medium, so all records of a key lie in one stream in the
//! order of their versions, however many shards a later start has.
//!
//! | file | holds |
//! |---|---|
//! | `open.rs` | from a path to a medium and a tier; what is done if it is not ours |
//! | `members.rs` | several files as one medium |
//! | `resize.rs`, `place.rs` | a tier in another size, or elsewhere; how its files take their names |
//! | `rearm.rs` | a tier that has failed, taken into use again |
//! | `recover.rs` | the threads that read what the medium holds after a start |
//! | `save.rs` | what travels between a shard and the storage thread |
//! | `storage.rs`, `streams.rs`, `room.rs` | the thread that writes |
//! | `inline.rs` | all of them without threads, for the simulator |
//! | `begin.rs` | taking it into use |
//! | `weight.rs` | where the threads run, and how much that one counts beside the shards |
//! | `snapshots.rs`, `streams/parts.rs` | the thread that makes snapshots of the index, and how they come into the streams |
//! | `packing.rs` | journals, and what is packed into streams |
//! | `carry.rs` | what stays on the medium though its room is taken |
//! | `fetch/` | who reads for the shards: an executor over io_uring, or threads |
//! | `pages.rs`, `cache.rs` | a shard's reads that are under way, and the pages that it keeps |
//! | `port.rs` | the shard's end of it |
//! | `messages.rs`, `mailbox.rs` | what is said between them, and how it reaches a shard |

mod begin;
mod cache;
mod carry;
mod fetch;
#[cfg(test)]
mod inline;
mod mailbox;
mod members;
mod messages;
mod open;
mod packing;
mod pages;
mod place;
mod port;
mod rearm;
mod recover;
mod resize;
mod room;
mod save;
mod snapshots;
mod storage;
mod streams;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod weight;
mod writing;

pub use fetch::ReadsChoice;
#[cfg(test)]
pub(crate) use inline::Inline;
pub use members::{MembersError, open_files, sizes};
#[cfg(test)]
pub(crate) use messages::Moved;
pub(crate) use messages::{Arrived, Leaving, Reply, Told};
pub(crate) use open::Opened;
pub use open::TierError;
pub(crate) use pages::fetch_pages_bytes;
#[cfg(test)]
pub(crate) use port::Socket;
pub(crate) use port::{Fetched, Port};
pub use rearm::RearmError;
pub(crate) use rearm::{Armed, Rearm, Wakers};
pub use resize::{Carried, ResizeError, copy, resize};
pub(crate) use save::{SAVE_BYTES, SaveBatch};
pub use snapshots::{GIVEN_UP, SnapshotFigures, Snapshots};
pub(crate) use storage::{Storage, StorageParts, time_before};

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};
use torc_pmem::media::MemberFigures;
use torc_pmem::stream::Miss;

/// Where a tier lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierPath {
    /// Plain memory, beside `--memory`: forgotten with the process.
    Memory,
    File(PathBuf),
    /// Several files, which are one tier.
    Members(Vec<TierMember>),
}

/// One of several files that a tier lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierMember {
    pub path: PathBuf,
    /// Its size, bytes; `None`: that of the file which is there.
    pub bytes: Option<u64>,
}

/// `--durability`: when a change is on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is written as it changes: the tier takes what eviction would drop, and at an orderly end the rest. What is on
    /// it after any other end is not believed.
    None,
    /// Within this time.
    Interval(Duration),
    /// Before it is answered.
    Always,
}

/// `--tier` and what belongs to it.
#[derive(Debug, Clone)]
pub struct TierConfig {
    pub path: TierPath,
    /// `--tier-size`, bytes; `None`: that of the file which is there. Members have theirs.
    pub bytes: Option<u64>,
    pub durability: Durability,
    /// `--tier-cache`, bytes of all shards together: pages of a medium that can be slow which are kept once they were read.
    pub cache_bytes: u64,
    /// `--tier-journal`, bytes: what has to be safe before there is so much goes to a journal first. 0: a tier that is made has
    /// none.
    pub journal_bytes: u64,
    /// `--tier-snapshots` and `--tier-snapshot-memory`.
    pub snapshots: Snapshots,
    /// `--tier-recovery wait`: plain reads of keys that are not known yet after a start wait, as others do. Else they miss.
    pub reads_wait: bool,
    /// `--tier-on-mismatch reset`: what cannot be used is made anew. Else the server does not start.
    pub resets: bool,
    /// `--tier-index-share`: of a shard's memory, percent.
    pub index_percent: u64,
    /// `--tier-reads`: who reads a medium that can be slow for the shards.
    pub reads: ReadsChoice,
    /// `--storage-cpus`: where the tier's threads run. Empty: anywhere.
    pub cpus: Vec<usize>,
}

impl TierConfig {
    /// A shard's part of [`TierConfig::cache_bytes`].
    pub(crate) fn cache_bytes_of(&self, shards: u16) -> u64 {
        self.cache_bytes / u64::from(shards)
    }

    /// With the sizes that its members have.
    pub(crate) fn of_sizes(mut self, found: &[MemberFigures]) -> TierConfig {
        if let TierPath::Members(members) = &mut self.path {
            for member in members {
                let name = member.path.display().to_string();
                member.bytes = found.iter().find(|found| found.name == name).map(|found| found.bytes);
            }
        }
        self
    }
}

/// Figures of a tier; any thread may read them.
#[derive(Debug, Default)]
pub struct TierFigures {
    /// Records, bytes of items among them, and bytes that went to the medium in batches.
    pub records: AtomicU64,
    pub item_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
    /// Those of them that went to journals, and those of streams that hold nothing, as a batch takes whole blocks.
    pub journal_bytes: AtomicU64,
    pub padding_bytes: AtomicU64,
    pub drains: AtomicU64,
    /// Batches whose room was taken again.
    pub freed: AtomicU64,
    /// Items among them that were written once more, as they were read and lay on the medium alone.
    pub carried: AtomicU64,
    /// Reads of the medium for items, and those that failed because of what was read, or of the medium.
    pub reads: AtomicU64,
    pub corrupt: AtomicU64,
    pub read_errors: AtomicU64,
    /// Shards that do not know all of what the tier holds for them yet.
    pub recovering: AtomicU64,
    recovery_began: OnceLock<Instant>,
    /// Bytes of the tier whose tables recovery reads, and those that it has come past.
    pub recovery_bytes: AtomicU64,
    pub recovery_read_bytes: AtomicU64,
    /// Items that recovery has found, and how long it took, milliseconds; 0 before its end.
    pub recovered: AtomicU64,
    /// Items that recovery has found no room for: they miss.
    pub lost: AtomicU64,
    pub recovery_ms: AtomicU64,
    /// Batches of streams that recovery found damaged.
    pub damaged: AtomicU64,
    /// Streams of which recovery has read a snapshot.
    pub snapshots_read: AtomicU64,
    pub snapshots: SnapshotFigures,
    /// Since when the oldest change waits that was handed over and is not safe, on the server's clock; 0: there is none.
    pub(crate) waiting_since: AtomicU64,
    /// Times that changes came to wait for so long that the thread that writes counts as the shards do.
    pub late: AtomicU64,
    /// Highest version that may be given out.
    ceiling: AtomicU64,
    /// The highest one of those that shards told of, which they do when they let go of a tier and when they take another.
    drawn: AtomicU64,
    /// A call to the medium has failed: nothing is written any more, and nothing is read.
    latched: AtomicBool,
    void: AtomicBool,
    /// Times that it was taken into use again after that, and shards that have done so since the last time.
    rearms: AtomicU64,
    linked: AtomicU64,
    /// Shards that have not told it all that memory held then.
    refilling: AtomicU64,
}

impl TierFigures {
    pub fn is_recovering(&self) -> bool {
        self.recovering.load(Relaxed) > 0
    }

    /// How much of the tier recovery has come past, 0 to 1.
    pub fn recovery_progress(&self) -> f64 {
        match self.recovery_bytes.load(Relaxed) {
            0 => 1.0,
            all => self.recovery_read_bytes.load(Relaxed) as f64 / all as f64,
        }
    }

    fn begin_recovery(&self, shards: u64, bytes: u64) {
        // Once: this is the only place, and a start happens once.
        let _ = self.recovery_began.set(Instant::now());
        self.recovering.store(shards, Relaxed);
        self.recovery_bytes.store(bytes, Relaxed);
    }

    /// A shard knows all that the tier holds for it.
    pub(crate) fn has_recovered(&self) {
        if self.recovering.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        let took = self.recovery_began.get().map(Instant::elapsed).unwrap_or_default();
        self.recovery_ms.store((took.as_millis() as u64).max(1), Relaxed);
        let [items, lost, damaged] =
            [&self.recovered, &self.lost, &self.damaged].map(|figure| figure.load(Relaxed));
        let words = match (lost, damaged) {
            (0, 0) => String::new(),
            (lost, 0) => format!("; no room for {lost} more"),
            (0, damaged) => format!("; {damaged} batches are damaged"),
            (lost, damaged) => format!("; no room for {lost} more, and {damaged} batches are damaged"),
        };
        tracing::info!("--tier: recovered {items} items in {:.2} s{words}", took.as_secs_f64());
    }

    pub fn is_latched(&self) -> bool {
        // Acquire: whether it is void was known before.
        self.latched.load(Acquire)
    }

    /// Of a tier that is out of use: whether nothing of it can come back at the next start.
    pub fn is_void(&self) -> bool {
        self.void.load(Relaxed)
    }

    /// Times that it was taken into use again.
    pub fn rearms(&self) -> u64 {
        self.rearms.load(Relaxed)
    }

    /// Whether it has not got all that memory held when it was taken into use again.
    pub fn is_refilling(&self) -> bool {
        self.refilling.load(Relaxed) > 0
    }

    /// A shard has told it all that memory held; or it never will, as the tier `is_out` of use again.
    pub(crate) fn has_refilled(&self, is_out: bool) {
        if self.refilling.fetch_sub(1, Relaxed) == 1 && !is_out {
            tracing::info!("--tier: all that memory held when it was taken into use again is on it");
        }
    }

    /// Versions up to this one have been given out.
    fn drew(&self, version: u64) {
        self.drawn.fetch_max(version, Relaxed);
    }

    fn drawn(&self) -> u64 {
        self.drawn.load(Relaxed)
    }

    /// So many shards are to take a tier into use that is made anew, and `refills`: to tell it what memory holds.
    fn begin_again(&self, shards: u64, refills: bool) {
        self.linked.store(0, Relaxed);
        self.refilling.store(if refills { shards } else { 0 }, Relaxed);
        self.waiting_since.store(0, Relaxed);
        // No shard that is not linked looks at it.
        self.ceiling.store(0, Relaxed);
        self.void.store(false, Relaxed);
        self.latched.store(false, Relaxed);
    }

    /// It is still out of use, and nothing of it can come back: what was made anew is empty.
    fn has_failed_again(&self) {
        self.refilling.store(0, Relaxed);
        self.void.store(true, Relaxed);
        self.latched.store(true, Release);
    }

    /// A shard has taken it into use again.
    pub(crate) fn has_linked(&self) {
        // Release: whoever counts them knows that they take changes.
        self.linked.fetch_add(1, Release);
    }

    fn linked(&self) -> u64 {
        self.linked.load(Acquire)
    }

    pub(crate) fn ceiling(&self) -> u64 {
        self.ceiling.load(Relaxed)
    }

    /// Counts a read that has failed.
    pub(crate) fn count_miss(&self, miss: &Miss) {
        match miss {
            Miss::Corrupt(_) => _ = self.corrupt.fetch_add(1, Relaxed),
            Miss::Media(error) => {
                self.read_errors.fetch_add(1, Relaxed);
                tracing::warn!("--tier: {error}");
            }
        }
    }
}
