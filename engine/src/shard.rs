//! The public face of one shard: commands in, outcomes out.
//!
//! The life of a GET: the worker computes [`Shard::hash`], prefetches the bucket, then the item, and calls
//! [`Shard::execute`], which finds the slot, compares the key in the item, checks that it is live, counts the
//! access in the slot, and answers with a view of the value. The life of a SET: the old item is looked up
//! (conditions), room is appended in the open segment of its class, header, key and value are written, the
//! slot is pointed at it, and the old item is marked dead.
//!
//! A shard belongs to one thread. It knows no clock (`now` is an argument; it never goes back), no socket and
//! no other shard.
//!
//! | file | holds |
//! |---|---|
//! | `shard/create.rs`, `shard/config.rs` | a shard comes to be |
//! | `shard/ahead.rs` | what is fetched ahead |
//! | `shard/read.rs` | lookups, leases |
//! | `shard/write.rs`, `shard/place.rs` | storing: conditions; room and index |
//! | `shard/change.rs`, `shard/numbers.rs` | delete, arithmetic, expiry, ranges |
//! | `shard/bits.rs`, `shard/equal.rs` | bits of values; changes of values that are certain ones |
//! | `shard/upload.rs`, `shard/uploads.rs`, `shard/upload_share.rs`, `shard/rooms.rs` | long values, received in slices, or where they will stay; how many at a time |
//! | `shard/edit.rs`, `shard/stretches.rs`, `shard/overlay.rs` | a part of a value changes |
//! | `shard/remove.rs`, `shard/listeners.rs` | items leave the index; who is told of changes |
//! | `shard/reclaim.rs`, `shard/job.rs` | eviction, compaction, expiry, flush: making segments free |
//! | `shard/settle.rs` | what becomes of the items that are met there |
//! | `shard/elsewhere.rs` | items that are on a medium |
//! | `shard/unsaved.rs`, `shard/marks.rs` | changes that are not there yet |
//! | `shard/carry.rs` | items that stay on a medium when it writes over them |
//! | `shard/demotion.rs`, `shard/offered.rs` | what a medium is offered before eviction drops it |
//! | `shard/anew.rs` | a medium that begins anew while the shard serves |
//! | `shard/recovery.rs`, `shard/unknown.rs` | learning what a medium holds, while commands come |
//! | `shard/chunks.rs`, `shard/returning.rs` | the same for the chunks of long values |
//! | `shard/lent.rs`, `shard/lease.rs` | bytes that are lent; memory that somebody elsewhere reads |
//! | `shard/scan.rs` | walking the keys |
//! | `shard/spaces.rs` | databases that are flushed and swapped |
//! | `shard/accounts.rs`, `shard/sizes.rs` | what is counted; how much is index, and how much segments |
//! | `shard/audit.rs` | a full recount, for tests |

mod accounts;
mod ahead;
mod anew;
mod audit;
mod bits;
mod carry;
mod change;
mod chunks;
mod config;
mod create;
mod demotion;
mod edit;
mod elsewhere;
mod equal;
mod job;
mod lease;
mod lent;
mod listeners;
mod marks;
mod numbers;
mod offered;
mod overlay;
mod place;
mod read;
mod reclaim;
mod recovery;
mod remove;
mod returning;
mod rooms;
mod scan;
mod settle;
mod sizes;
mod spaces;
mod stretches;
#[cfg(test)]
mod tests;
mod unknown;
mod unsaved;
mod upload;
mod upload_share;
mod uploads;
mod weight;
mod write;

pub use anew::Again;
pub use config::{SEGMENT_BYTES, SEGMENTS_MIN, ShardConfig, StoreError};
pub use marks::{Unsaved, What};
pub use offered::OfferLimits;
pub use read::Glance;
pub use returning::{Chunk, Returning};
pub use scan::Tells;
pub use unknown::{Known, Recovered};

use self::spaces::Dropping;
use crate::chain::ChainList;
use crate::changes::Listener;
use crate::command::{Command, Found, Meta, Millis, Op, Outcome, Refusal, Value};
use crate::eviction::Eviction;
use crate::expiry::Calendar;
use crate::index::{Index, Place, Slot};
use crate::item::{ItemRef, present};
use crate::reader::{Flushes, Reader, ShardReader};
use crate::segments::{Chain, Segments};
use crate::spaces::{Spaces, mixed};
use crate::stats::ShardStats;
use crate::version::HybridClock;
use job::Reclaim;
use marks::Marks;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};
use std::sync::Arc;
use unknown::Recovery;
use uploads::Uploads;
use weight::Weight;

/// One shard.
#[derive(Debug)]
pub struct Shard {
    secrets: RapidSecrets,
    index: Index,
    segments: Segments,
    eviction: Box<dyn Eviction>,
    frequency_max: u8,
    clock: HybridClock,
    calendar: Calendar,
    /// Items up to this version are flushed away.
    flushed: u64,
    /// When a flush with a delay takes effect; `Millis::MAX`: none.
    flush_at: Millis,
    /// Both of these, as readers on other threads see them.
    flushes: Flushes,
    spaces: Spaces,
    reclaim: Reclaim,
    dropping: Dropping,
    uploads: Uploads,
    /// Results of the last command on integers in a value.
    fields: Vec<u8>,
    listeners: Vec<Box<dyn Listener>>,
    /// What a tier has not got yet; `None`: there is no tier.
    unsaved: Option<Box<Marks>>,
    /// What a tier holds is not all known.
    recovery: Option<Box<Recovery>>,
    /// Somebody is to be told of changes: one of these.
    tells: bool,
    memory_bytes: u64,
    /// Most items that are not in DRAM and are named.
    places_max: u64,
    /// The part of it that is set aside for what lies beside the store.
    aside_bytes: u64,
    value_bytes_max: u64,
    stats: Arc<ShardStats>,
}

impl Shard {
    /// A descriptor by which another process reads this shard ([`crate::mapped`]); `None` if it may not be.
    ///
    /// # Errors
    /// Those of `open`: no `/proc`, no file descriptor.
    pub fn to_read(&self) -> std::io::Result<Option<std::os::fd::OwnedFd>> {
        self.segments.file().map(|file| file.to_read()).transpose()
    }

    /// The hash of a key in a key space: of its item, as a tier has it.
    #[inline]
    pub fn hash(&self, space: u16, key: &[u8]) -> u64 {
        hash_key(&self.secrets, space, key)
    }

    /// The hash of a key, whatever database it is of: what comes with a command.
    #[inline]
    pub fn key_hash(&self, key: &[u8]) -> u64 {
        hash_key(&self.secrets, 0, key)
    }

    /// The hash that the item of a key has in a database now, of the key's.
    #[inline]
    pub fn item_hash(&self, database: u16, key_hash: u64) -> u64 {
        mixed(key_hash, self.spaces.of(database))
    }

    /// Executes one command. `hash` is the key's ([`Shard::key_hash`]), `now` never less than before.
    #[inline]
    pub fn execute(&mut self, command: &Command<'_>, hash: u64, now: Millis) -> Outcome<'_> {
        if now >= self.flush_at {
            self.flush_now(now);
        }
        let space = self.spaces.of(command.database);
        let key = Key { bytes: command.key, space, hash: mixed(hash, space) };
        if self.index.may_be_elsewhere()
            && !matches!(command.op, Op::Read(_))
            && let Some(ticket) = self.ticket_of(key, &command.op, now)
        {
            return Outcome::Pending(ticket);
        }
        match &command.op {
            Op::Read(read) => self.read(key, read, now),
            Op::Write(write) => self.write(key, write, now),
            Op::Delete(delete) => self.delete(key, delete, now),
            Op::Arithmetic(arithmetic) => self.arithmetic(key, arithmetic, now),
            Op::Expire(expire) => self.expire(key, expire, now),
            Op::SetRange { offset, value } => self.set_range(key, *offset, *value, now),
            Op::Bits(bits) => self.bits(key, bits, now),
            Op::IfEqual(ask) => self.if_equal(key, ask, now),
            Op::Unpack(ask) => self.unpack(key, ask, now),
        }
    }

    /// Forgets everything written until now, or until `at` once that has come. Memory is made free by
    /// [`Shard::maintain`] afterwards.
    pub fn flush(&mut self, at: Option<Millis>, now: Millis) {
        if now >= self.flush_at {
            // One that is due has happened, before another takes its place.
            self.flush_now(now);
        }
        match at {
            Some(at) if at > now => {
                self.flush_at = at;
                self.publish_flushes();
            }
            _ => self.flush_now(now),
        }
    }

    /// When a flush is due that was asked for; `Millis::MAX`: none is.
    pub fn flushes_at(&self) -> Millis {
        self.flush_at
    }

    /// As long as it holds them, whoever reads this shard without asking it is in doubt: for changes that are to be seen together.
    pub fn hold_readers(&self, holds: bool) {
        self.spaces.words.hold(holds);
    }

    /// For another thread to look keys up while this one changes them.
    pub fn reader(&self) -> ShardReader {
        ShardReader(Reader {
            index: self.index.reader(),
            segments: self.segments.reader(),
            flushes: self.flushes.clone(),
            spaces: self.spaces.words.clone(),
            frequency_max: self.frequency_max,
        })
    }

    /// The figures, which any thread may read.
    pub fn stats(&self) -> &Arc<ShardStats> {
        &self.stats
    }

    /// What backs the items' memory, and whether it may have huge pages.
    pub fn backing(&self) -> (&'static str, bool) {
        let (backing, huge_pages) = self.segments.backing();
        (backing.name(), huge_pages)
    }

    /// The longest item (header, key and value); what is longer is chained. Four fill a segment, so little is
    /// lost at its end.
    fn item_bytes_max(&self) -> usize {
        self.segments.segment_bytes() / 4
    }

    /// Finds a key's item, live or not.
    #[inline]
    fn find(&self, key: Key<'_>) -> Option<(Place, Slot)> {
        self.index.find(key.hash, |slot| key.is_of(&self.segments.item(slot.location())))
    }

    /// Finds a key's live item; one whose time is over is forgotten on the way.
    #[inline]
    fn find_live(&mut self, key: Key<'_>, now: Millis) -> Option<(Place, Slot)> {
        let (place, slot) = self.find(key)?;
        if self.segments.item(slot.location()).is_live(now, self.flushed) {
            return Some((place, slot));
        }
        self.forget_expired(place, slot, key.hash);
        None
    }

    /// What a client may see of the item at `at`.
    #[inline]
    fn found(&self, at: u64) -> Found<'_> {
        let item = self.segments.item(at);
        let value = value_in(&self.segments, &item);
        Found { meta: item.meta(value.len()), value }
    }

    fn meta(&self, at: u64) -> Meta {
        self.found(at).meta
    }
}

/// A key with what a shard knows of it.
#[derive(Debug, Clone, Copy)]
struct Key<'a> {
    bytes: &'a [u8],
    space: u16,
    hash: u64,
}

impl Key<'_> {
    /// Whether an item is this key's.
    #[inline(always)]
    fn is_of(&self, item: &ItemRef<'_>) -> bool {
        item.space() == self.space && item.key() == *self.bytes
    }
}

#[inline]
pub(crate) fn hash_key(secrets: &RapidSecrets, space: u16, key: &[u8]) -> u64 {
    // Avalanche on: the index takes its homes from the high bits and its tags from the low ones.
    mixed(rapidhash_v3_inline::<true, false, false>(key, secrets), space)
}

/// The hash of an item's key.
#[inline]
fn hash_of(secrets: &RapidSecrets, item: &ItemRef<'_>) -> u64 {
    item.key().with_copy(|key| hash_key(secrets, item.space(), key))
}

/// The value of an item.
#[inline]
fn value_in<'s>(segments: &'s Segments, item: &ItemRef<'s>) -> Value<'s> {
    if item.present() & present::CHAIN_HEAD != 0 {
        return Value::Chained(Chain::new(segments, ChainList::new(item.value())));
    }
    Value::Inline(item.value())
}

/// Why room could not be found, as a command's answer.
fn out_of_memory(stats: &ShardStats) -> Refusal {
    stats.refused_memory.add(1);
    Refusal::OutOfMemory
}
