//! The second tier of a server: items on a medium that is larger than DRAM, and outlives the process.
//!
//! ```text
//!   shard 0 ──changes──>┐                      ┌─> stream 0 ┐
//!   shard 1 ──changes──>┤ storage thread, one  ├─> stream 1 ┼─> medium
//!      ^ places, leaves └──────────────────────┘            │
//!      │                  reader threads  <─────────────────┘
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
//! When a stream is full, its oldest batch is written over. Its shards forget the places first, and save those items anew that
//! were read and are in DRAM, half of the batch at most.
//!
//! Keys are divided over streams by their slots, once for the life of a medium, so all records of a key lie in one stream in the
//! order of their versions, however many shards a later start has.
//!
//! | file | holds |
//! |---|---|
//! | `open.rs` | from a path to a medium and a tier; what is done if it is not ours |
//! | `recover.rs` | a shard learns what its keys have on the medium |
//! | `save.rs` | what travels between a shard and the storage thread |
//! | `storage.rs`, `streams.rs` | the thread that writes |
//! | `fetch.rs` | the threads that read |
//! | `port.rs` | the shard's end of it |

mod fetch;
mod open;
mod port;
mod recover;
mod save;
mod storage;
mod streams;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use open::Opened;
pub use open::{TierError, open_medium};
pub(crate) use port::{Fetched, Leaving, Port, Reply};
pub(crate) use recover::{Recovered, recover};
pub(crate) use save::{SAVE_BYTES, SaveBatch};
pub(crate) use storage::{Storage, StorageParts, time_before};

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

/// Where a tier lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierPath {
    /// Plain memory, beside `--memory`: forgotten with the process.
    Memory,
    File(PathBuf),
}

/// `--durability`: when a change is on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Within this time.
    Interval(Duration),
    /// Before it is answered.
    Always,
}

/// `--tier` and what belongs to it.
#[derive(Debug, Clone)]
pub struct TierConfig {
    pub path: TierPath,
    /// `--tier-size`, bytes; `None`: that of the file which is there.
    pub bytes: Option<u64>,
    pub durability: Durability,
    /// `--tier-on-mismatch reset`: what cannot be used is made anew. Else the server does not start.
    pub resets: bool,
}

/// Figures of a tier; any thread may read them.
#[derive(Debug, Default)]
pub struct TierFigures {
    /// Records, bytes of items among them, and bytes that went to the medium.
    pub records: AtomicU64,
    pub item_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub drains: AtomicU64,
    /// Batches whose room was taken again.
    pub freed: AtomicU64,
    /// Items read for shards, and reads that failed because of what was read, or of the medium.
    pub reads: AtomicU64,
    pub corrupt: AtomicU64,
    pub read_errors: AtomicU64,
    /// Items that recovery found, and how long it took, milliseconds.
    pub recovered: AtomicU64,
    /// Items that recovery has found no room for: they miss.
    pub lost: AtomicU64,
    pub recovery_ms: AtomicU64,
    /// Batches of streams that recovery found damaged.
    pub damaged: AtomicU64,
    /// Highest version that may be given out.
    ceiling: AtomicU64,
    /// A call to the medium has failed: nothing is written any more, and nothing is read.
    latched: AtomicBool,
}

impl TierFigures {
    pub fn is_latched(&self) -> bool {
        // Relaxed: it orders nothing, and a moment later is soon enough.
        self.latched.load(Relaxed)
    }

    pub(crate) fn ceiling(&self) -> u64 {
        self.ceiling.load(Relaxed)
    }
}
