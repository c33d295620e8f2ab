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
//! | `shard/read.rs` | lookups, leases |
//! | `shard/write.rs`, `shard/place.rs` | storing: conditions; room and index |
//! | `shard/change.rs`, `shard/numbers.rs` | delete, arithmetic, expiry, ranges |
//! | `shard/bits.rs`, `shard/equal.rs` | bits of values; changes of values that are certain ones |
//! | `shard/upload.rs`, `shard/uploads.rs`, `shard/upload_share.rs`, `shard/rooms.rs` | long values, received in slices, or where they will stay; how many at a time |
//! | `shard/edit.rs`, `shard/stretches.rs`, `shard/overlay.rs` | a part of a value changes |
//! | `shard/reclaim.rs`, `shard/job.rs` | eviction, compaction, expiry, flush: making segments free |
//! | `shard/settle.rs` | what becomes of the items that are met there |
//! | `shard/elsewhere.rs` | items that are on a medium |
//! | `shard/unsaved.rs`, `shard/marks.rs` | changes that are not there yet |
//! | `shard/carry.rs` | items that stay on a medium when it writes over them |
//! | `shard/demotion.rs`, `shard/offered.rs` | what a medium is offered before eviction drops it |
//! | `shard/anew.rs` | a medium that begins anew while the shard serves |
//! | `shard/recovery.rs`, `shard/unknown.rs` | learning what a medium holds, while commands come |
//! | `shard/chunks.rs`, `shard/returning.rs` | the same for the chunks of long values |
//! | `shard/lease.rs` | memory that somebody elsewhere reads |
//! | `shard/scan.rs` | walking the keys |
//! | `shard/spaces.rs` | databases that are flushed and swapped |
//! | `shard/accounts.rs`, `shard/sizes.rs` | what is counted; how much is index, and how much segments |
//! | `shard/audit.rs` | a full recount, for tests |

mod accounts;
mod anew;
mod audit;
mod bits;
mod carry;
mod change;
mod chunks;
mod config;
mod demotion;
mod edit;
mod elsewhere;
mod equal;
mod job;
mod lease;
mod marks;
mod numbers;
mod offered;
mod overlay;
mod place;
mod read;
mod reclaim;
mod recovery;
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
use crate::bytes::Bytes;
use crate::chain::ChainList;
use crate::changes::{Cause, Change, Listener};
use crate::command::{Command, Found, Meta, Millis, Op, Outcome, Refusal, Value};
use crate::eviction::Eviction;
use crate::expiry::Calendar;
use crate::index::{Index, PLACE_BYTES, Place, Role, Slot};
use crate::item::{ItemRef, present, state};
use crate::reader::{Flushes, Reader, ShardReader};
use crate::segments::{Chain, Lent, Segments};
use crate::shared::Published;
use crate::shared::file::ShardFile;
use crate::shared::layout::Layout;
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

/// Share of the segments that may be pinned before lending stops: as many may be filled by uploads.
const PINS_SHARE: usize = 4;
/// Share of the segments at which nothing more is lent: three in eight. Uploads begin up to a half.
const PINS_MAX_SHARE: (usize, usize) = (3, 8);
/// The index begins at this share of the memory, and grows as items come.
const INDEX_SHARE: u64 = 512;
/// Chunks of a replaced value that are fetched ahead: of longer ones the copying of the new value costs far more.
const CHUNKS_AHEAD: usize = 8;

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
    /// # Errors
    /// See [`StoreError`].
    pub fn new(config: ShardConfig) -> Result<Shard, StoreError> {
        let segment_bytes = config.segment_bytes;
        if !segment_bytes.is_power_of_two() || !(64 << 10..=16 << 20).contains(&segment_bytes) {
            return Err(StoreError::SegmentSize(segment_bytes));
        }
        let max = crate::index::LOCATION_BYTES_MAX;
        if config.memory_bytes > max {
            return Err(StoreError::TooLarge { given: config.memory_bytes, max });
        }
        let index_bytes = (config.memory_bytes / INDEX_SHARE).max(16 << 10);
        let percent = |share: u64| (u128::from(config.memory_bytes) * u128::from(share) / 100) as u64;
        let index_percent = config.places_percent.map_or(50, |share| (share + 25).clamp(50, 90));
        let (homes, index_max) = (index_bytes as usize / 64, percent(index_percent) as usize);
        let eviction = config.eviction.instance(config.memory_bytes as usize)?;
        let file = config.shared_memory.then(|| {
            let constants = (config.shard, config.seed, eviction.frequency_max());
            Shard::file(constants, &config, index_max.max(2 * index_bytes as usize))
        });
        let file = file.transpose()?.map(Arc::new);
        let index = match &file {
            None => Index::new(homes, index_max)?,
            Some(file) => Index::in_file(homes, index_max, file)?,
        };
        let calendar = Calendar::new(config.now, config.memory_bytes);
        let head_bytes = file.as_ref().map_or(0, |file| file.head_bytes());
        let beside = (index.bytes() + calendar.bytes() + head_bytes) as u64;
        let each = (segment_bytes + Segments::headers_bytes(1)) as u64;
        let count_max = (config.memory_bytes.saturating_sub(beside) / each) as usize;
        let aside = (config.aside_bytes + config.ahead_bytes).div_ceil(each) as usize;
        if count_max < SEGMENTS_MIN + aside {
            let needed = SEGMENTS_MIN as u64 * each + beside + config.aside_bytes + config.ahead_bytes;
            return Err(StoreError::TooSmall { given: config.memory_bytes, needed, segment_bytes });
        }
        let (segments, flushes, spaces) = match &file {
            None => {
                let segments = Segments::new(segment_bytes, count_max, config.shard)?;
                (segments, Published::zeros(), Published::zeros())
            }
            Some(file) => (Segments::in_file(file, count_max, config.shard), file.flushes(), file.spaces()),
        };
        let mut shard = Shard {
            secrets: RapidSecrets::seed(config.seed),
            segments,
            frequency_max: eviction.frequency_max(),
            index,
            eviction,
            clock: HybridClock::default(),
            calendar,
            flushed: 0,
            flush_at: Millis::MAX,
            flushes: Flushes::new(flushes),
            spaces: Spaces::new(spaces),
            reclaim: Reclaim::default(),
            dropping: Dropping::default(),
            uploads: Uploads::default(),
            fields: Vec::new(),
            listeners: Vec::new(),
            unsaved: None,
            recovery: None,
            tells: false,
            memory_bytes: config.memory_bytes,
            places_max: config.places_percent.map_or(u64::MAX, |share| percent(share) / PLACE_BYTES),
            aside_bytes: config.aside_bytes,
            value_bytes_max: config.value_bytes_max,
            stats: Arc::default(),
        };
        shard.segments.keep_ahead(config.ahead_bytes.div_ceil(segment_bytes as u64) as usize);
        shard.fit(shard.index.bytes());
        shard.stats.set_databases(&[], Some(0));
        shard.publish();
        Ok(shard)
    }

    /// The file of a shard that other processes may read.
    fn file(
        constants: (u16, u64, u8),
        config: &ShardConfig,
        index_bytes_max: usize,
    ) -> std::io::Result<ShardFile> {
        let chunks = index_bytes_max / config.segment_bytes + 2;
        let frames = (config.memory_bytes as usize / config.segment_bytes).max(chunks);
        let shift = config.segment_bytes.trailing_zeros();
        ShardFile::create(Layout::new(constants, shift, frames, chunks))
    }

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

    /// Starts to fetch the bucket of a key's hash in a database.
    #[inline]
    pub fn prefetch_bucket(&self, database: u16, hash: u64) {
        self.index.prefetch(self.item_hash(database, hash));
    }

    /// Starts to fetch the item that the bucket of a key's hash in a database names, up to four cache lines.
    #[inline]
    pub fn prefetch_item(&self, database: u16, hash: u64) {
        let hash = self.item_hash(database, hash);
        if let Some(slot) = self.index.likely(hash) {
            self.segments.prefetch(slot.location(), slot.lines_ahead());
        }
    }

    /// Starts to fetch what the index says of places on a medium.
    #[inline]
    pub fn prefetch_place(&self, hash: u64) {
        self.index.prefetch_elsewhere(hash);
    }

    /// Starts to fetch what the end of a long value looks at if it replaces another one: the first lines of that one's
    /// chunks. It reads the item, so that has to be fetched before.
    pub fn prefetch_chunks(&self, database: u16, hash: u64) {
        let hash = self.item_hash(database, hash);
        let Some(slot) = self.index.likely(hash) else { return };
        let item = self.segments.item(slot.location());
        if item.present() & present::CHAIN_HEAD != 0 {
            let extents = ChainList::new(item.value()).extents().take(CHUNKS_AHEAD);
            extents.filter_map(|extent| extent.location()).for_each(|at| self.segments.prefetch(at, 1));
        }
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

    /// For segments, index, bookkeeping and what is set aside together, bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// As long as it holds them, whoever reads this shard without asking it is in doubt: for changes that are to be seen together.
    pub fn hold_readers(&self, holds: bool) {
        self.spaces.words.hold(holds);
    }

    /// From now on this listener is told of every change.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.listeners.push(listener);
        self.tells = true;
    }

    /// The first listener of this type.
    pub fn listener_mut<L: Listener>(&mut self) -> Option<&mut L> {
        self.listeners.iter_mut().find_map(|listener| {
            let listener: &mut dyn std::any::Any = listener.as_mut();
            listener.downcast_mut()
        })
    }

    /// Listeners of this type are told no more.
    pub fn listen_no_more<L: Listener>(&mut self) {
        self.listeners.retain(|listener| {
            let listener: &dyn std::any::Any = listener.as_ref();
            !listener.is::<L>()
        });
        self.tells = self.unsaved.is_some() || !self.listeners.is_empty();
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

    /// Whether lent bytes and uploads pin so many segments that no more should be lent.
    pub fn is_short_of_pins(&self) -> bool {
        self.segments.pinned() * PINS_SHARE >= self.segments.count_max()
    }

    /// Whether so many are pinned that a long value is not lent at all: uploads could not begin.
    pub fn is_out_of_pins(&self) -> bool {
        self.segments.pinned() * PINS_MAX_SHARE.1 >= self.segments.count_max() * PINS_MAX_SHARE.0
    }

    /// The length of a key's value if a read of it is lent, not copied.
    pub fn long_value_bytes(&self, database: u16, key: &[u8], hash: u64) -> Option<u64> {
        let space = self.spaces.of(database);
        let (_, slot) = self.find(Key { bytes: key, space, hash: mixed(hash, space) })?;
        let item = self.segments.item(slot.location());
        (item.present() & present::CHAIN_HEAD != 0).then(|| value_in(&self.segments, &item).len())
    }

    /// Takes lent bytes back.
    ///
    /// # Panics
    /// If another shard lent them.
    pub fn release(&mut self, lent: Lent) {
        self.segments.take_back(lent);
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

    /// Removes an item whose time is over.
    #[cold]
    fn forget_expired(&mut self, place: Place, slot: Slot, hash: u64) {
        let item = self.segments.item(slot.location());
        let version = item.version();
        if !self.spaces.shows(item.space(), version) {
            return self.forget_dropped(place, slot, hash);
        }
        if version > self.flushed {
            self.stats.expirations.add(1);
            self.stats.expirations_unread.add(u64::from(!item.is(state::FETCHED)));
            self.remove(place, slot, hash, Cause::Expired, version);
        } else {
            // Listeners were told of the flush itself.
            self.index.remove(place, hash);
            self.forget_copy(hash);
            self.kill(slot.location());
        }
    }

    /// Takes an item out of the index, tells of it, and kills it. Its bytes stay until the next command.
    fn remove(&mut self, place: Place, slot: Slot, hash: u64, cause: Cause, version: u64) {
        self.bury(slot.location());
        self.index.remove(place, hash);
        if cause == Cause::Evicted {
            self.set_role(hash, Role::Only);
        } else if self.forget_copy(hash) && cause == Cause::Deleted {
            self.void_copy(slot.location(), hash, version);
        }
        self.changed(cause, slot.location(), hash, version);
        if cause == Cause::Evicted {
            self.kill_here(slot.location(), hash);
        } else {
            self.kill(slot.location());
        }
    }

    /// Marks an item dead that is about to leave the index (O3): once somebody has missed it, nobody reads it where it was.
    fn bury(&mut self, at: u64) {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::BuryLate) {
            return;
        }
        let dead = self.segments.item(at).state() | state::DEAD;
        self.segments.set_state(at, dead);
    }

    /// Tells of a change to the item that lies, or lay, at a location. Every change is told here, but for a flush.
    #[inline]
    fn changed(&mut self, cause: Cause, at: u64, hash: u64, version: u64) {
        if self.tells {
            self.tell(cause, at, hash, version);
        }
    }

    #[cold]
    fn tell(&mut self, cause: Cause, at: u64, hash: u64, version: u64) {
        self.mark(cause, at, hash, version);
        let item = self.segments.item(at);
        let item_and_value = (item, value_in(&self.segments, &item));
        let (space, key) = (item.space(), item.key());
        let change = Change { cause, space, key, hash, version, item: Some(item_and_value) };
        self.listeners.iter_mut().for_each(|listener| listener.changed(&change));
    }

    /// Tells of a change to a key that has no item.
    #[cold]
    fn tell_of_missing(&mut self, cause: Cause, key: Key<'_>, version: u64) {
        let Key { bytes, space, hash } = key;
        let change = Change { cause, space, key: Bytes::from(bytes), hash, version, item: None };
        self.listeners.iter_mut().for_each(|listener| listener.changed(&change));
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
