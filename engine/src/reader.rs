//! Reading a shard without asking it: its owner changes it meanwhile, and knows nothing of it.
//!
//! ```text
//!   reader                                             owner
//!   R1  geometry: even                                 O1  growth: geometry odd, words, even
//!   R2  home: how far its items may lie                O2  an item keeps its slot, within its home's reach, but for O1
//!   R3  slot: names an item                            O3  the old item is marked dead, or the one that goes
//!   R4  generation of its segment                      O4  the new item's bytes, then its slot (release)
//!   R5  slot again: still names it                     O5  a segment is empty: its generation rises
//!   R6  copy; length by one look                       O6  its first byte changes
//!   R7  generation: the same
//!   R8  key, dead, flushed, expired
//!   R9  without a hit: geometry, the same,             O7  the first place is named: geometry odd, a word, even; then its
//!       and nothing elsewhere                              slot goes. A new slot comes, then the last place goes: likewise
//!                                                      O8  a chunk of the index gets its memory: zeros, then where it lies
//! ```
//!
//! A hit is what its slot named at R5: an item that the index names is whole (O4 before R5 by the slot's release and acquire
//! order), and as long as its segment's generation stays none of its bytes but the state changes (O5 before O6, R6 before R7). One
//! that is dead by then is being replaced, and the reader does not know by what. A miss is true at a moment between R1 and R9, as
//! whatever was in DRAM all the time has been looked at (O1, O2), and nothing was elsewhere meanwhile: an item that comes from there or
//! goes there has its slot as long as the geometry says that nothing is (O7). All else is a [`Doubt`]: ask the owner.
//!
//! Readers of [other processes](crate::mapped) do the same steps, and look for each bucket's chunk before they look at it (R1a): a
//! geometry with homes there is published after O8. O8 takes memory of segments that are empty, so O5 and O6 come before it.
//!
//! So whoever reads after a change was answered, or was shown to anybody, reads that change or a later one.
//! `docs/architecture.md` has the same steps, and says why they are enough.
//!
//! Non-goals: long values, which are chained; anything that changes an item. Accesses are reported to the owner, which counts them
//! ([`Shard::count_read`](crate::Shard::count_read)).

use crate::command::{Found, Millis, Read, Value};
use crate::index::{IndexReader, TableMemory, Unsure};
use crate::item::{ItemRef, present, state};
use crate::segments::{ArenaMemory, NotCopied, SegmentsReader};
use crate::shared::layout::FLUSHES_WORDS;
use crate::shared::{Published, acquire};
use crate::spaces::{SpaceWords, mixed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use torc_pmem::media::memory::MemoryRange;

/// Stands for the time of the next flush while the owner does not know all of its items: it is over for every reader.
pub(crate) const RECOVERING: Millis = 0;

/// What flushes have left to see: written by the owner alone.
#[derive(Debug, Clone)]
pub(crate) struct Flushes {
    /// The version that is flushed; when the next flush is due; their sequence, which is odd while they change. Readers that load one
    /// behind the other do without it.
    words: Published<[AtomicU64; FLUSHES_WORDS]>,
}

impl Flushes {
    /// In words that are zeros: nothing was flushed, and nothing will be.
    pub(crate) fn new(words: Published<[AtomicU64; FLUSHES_WORDS]>) -> Flushes {
        let flushes = Flushes { words };
        flushes.publish(0, Millis::MAX);
        flushes
    }

    /// In words that the owner has published.
    pub(crate) fn published(words: Published<[AtomicU64; FLUSHES_WORDS]>) -> Flushes {
        Flushes { words }
    }

    /// Items up to this version are gone, and when the next flush takes effect.
    pub(crate) fn publish(&self, flushed: u64, flush_at: Millis) {
        let sequence = self.words[2].load(Ordering::Relaxed);
        self.words[2].store(sequence.wrapping_add(1), Ordering::Relaxed);
        // Whoever sees one of the stores that follow also sees the odd sequence.
        fence(Ordering::Release);
        #[cfg(test)]
        crate::steps::step();
        // Release, both: a reader that sees a key written after a flush also sees the flush.
        self.words[0].store(flushed, Ordering::Release);
        #[cfg(test)]
        crate::steps::step();
        self.words[1].store(flush_at, Ordering::Release);
        #[cfg(test)]
        crate::steps::step();
        self.words[2].store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Which change was the last.
    pub(crate) fn sequence(&self) -> u64 {
        acquire(&self.words[2])
    }

    fn flushed(&self) -> u64 {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::Flushes) {
            return 0;
        }
        #[cfg(test)]
        crate::steps::step();
        acquire(&self.words[0])
    }

    pub(crate) fn flush_at(&self) -> Millis {
        acquire(&self.words[1])
    }
}

/// Why a reader cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The index was changing.
    Index,
    /// The item went while it was read.
    Gone,
    /// It is longer than readers copy.
    Long,
    /// It is not in DRAM, and may be elsewhere, as something is.
    Elsewhere,
    /// A flush is due, databases are being flushed or swapped, or a transaction holds keys of the shard.
    Flush,
    /// Who knows leases is told the item's state, which its owner may have to change.
    Lease,
    /// The owner does not know all of its items yet.
    Recovery,
    /// Its time may be over, by the farthest that the clocks may be apart.
    Expiry,
    /// What was told of the shard's memory is over.
    Epoch,
    /// The lease had ended before all was seen.
    Late,
    /// It lies where nobody elsewhere may read.
    Unregistered,
}

impl Doubt {
    pub const ALL: [Doubt; 11] = [
        Doubt::Index,
        Doubt::Gone,
        Doubt::Long,
        Doubt::Elsewhere,
        Doubt::Flush,
        Doubt::Lease,
        Doubt::Recovery,
        Doubt::Expiry,
        Doubt::Epoch,
        Doubt::Late,
        Doubt::Unregistered,
    ];

    /// The word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Doubt::Index => "index",
            Doubt::Gone => "gone",
            Doubt::Long => "long",
            Doubt::Elsewhere => "elsewhere",
            Doubt::Flush => "flush",
            Doubt::Lease => "lease",
            Doubt::Recovery => "recovery",
            Doubt::Expiry => "expiry",
            Doubt::Epoch => "epoch",
            Doubt::Late => "late",
            Doubt::Unregistered => "unregistered",
        }
    }
}

/// The result of a read without side effects.
#[derive(Debug)]
pub enum Look<'r> {
    Hit {
        found: Found<'r>,
        /// If its owner is to be told of the access.
        report: Option<Access>,
        /// By which it is found again without the index.
        place: Place,
    },
    Miss,
    /// A miss, as the item's time was over, or a flush had taken it.
    Expired,
    Flushed,
}

/// An access that an owner is to be told of: [`Shard::count_read`](crate::Shard::count_read).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Of the item.
    pub hash: u64,
    pub location: u64,
}

/// Where an item was found. It is void when the item has moved, was changed or may be missing from the index, and when the index has
/// grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of the item.
    pub(crate) hash: u64,
    pub(crate) location: u64,
    /// Of its segment.
    pub(crate) generation: u64,
    pub(crate) version: u64,
    /// Which step of the index's growth was the last.
    pub(crate) growth: u64,
}

/// Items up to so many bytes are copied by readers, header and key included. Longer ones are dearer to copy twice than to ask for.
pub(crate) const ITEM_BYTES_MAX: usize = 4096;

/// Reads one shard from another thread of its process.
#[derive(Debug, Clone)]
pub struct ShardReader(pub(crate) Reader<Arc<MemoryRange>, Arc<MemoryRange>>);

/// Reads one shard, whose buckets lie in a `T`, and segments in an `A`. It takes nothing that it finds there for granted: the shard
/// may be in other hands.
#[derive(Debug, Clone)]
pub(crate) struct Reader<T, A> {
    pub(crate) index: IndexReader<T>,
    pub(crate) segments: SegmentsReader<A>,
    pub(crate) flushes: Flushes,
    pub(crate) spaces: SpaceWords,
    /// Accesses beyond which an item's are not counted.
    pub(crate) frequency_max: u8,
}

/// Room for an item that is read. The default has none.
#[derive(Debug, Default)]
pub struct ReadRoom(pub(crate) Box<[u64]>);

impl ReadRoom {
    pub fn new() -> ReadRoom {
        ReadRoom(vec![0; ITEM_BYTES_MAX / 8].into())
    }
}

impl ShardReader {
    /// Starts to fetch the bucket of a key's hash in a database.
    #[inline]
    pub fn prefetch_bucket(&self, database: u16, hash: u64) {
        self.0.prefetch_bucket(database, hash);
    }

    /// Starts to fetch the item that the bucket of a key's hash in a database names.
    #[inline]
    pub fn prefetch_item(&self, database: u16, hash: u64) {
        self.0.prefetch_item(database, hash);
    }

    /// Looks a key of a database up; `read` must be [plain](Read::is_plain), `hash` the key's ([`Shard::key_hash`](crate::Shard::key_hash)).
    ///
    /// # Errors
    /// [`Doubt`]: its owner has to be asked.
    #[inline]
    pub fn read<'r>(
        &self,
        key: (u16, &[u8]),
        hash: u64,
        read: &Read,
        now: Millis,
        room: &'r mut ReadRoom,
    ) -> Result<Look<'r>, Doubt> {
        debug_assert!(read.is_plain());
        self.0.read(key, hash, read, now, room)
    }
}

impl<T: TableMemory, A: ArenaMemory> Reader<T, A> {
    #[inline]
    pub(crate) fn prefetch_bucket(&self, database: u16, hash: u64) {
        if let Some((space, _)) = self.spaces.of(database) {
            self.index.prefetch(mixed(hash, space));
        }
    }

    #[inline]
    pub(crate) fn prefetch_item(&self, database: u16, hash: u64) {
        if let Some((space, _)) = self.spaces.of(database)
            && let Some(slot) = self.index.likely(mixed(hash, space))
        {
            self.segments.prefetch(slot.location(), slot.lines_ahead());
        }
    }

    /// As [`ShardReader::read`].
    #[inline]
    pub(crate) fn read<'r>(
        &self,
        (database, key): (u16, &[u8]),
        hash: u64,
        read: &Read,
        now: Millis,
        room: &'r mut ReadRoom,
    ) -> Result<Look<'r>, Doubt> {
        // S1 and S2 of `spaces.rs`.
        let (space, sequence) = self.spaces.of(database).ok_or(Doubt::Flush)?;
        let look = self.read_in((space, key), mixed(hash, space), read, now, room)?;
        // S4.
        if self.spaces.is_still(sequence) { Ok(look) } else { Err(Doubt::Flush) }
    }

    /// S3: as [`ShardReader::read`], in a space, by the hash that the key has there.
    #[inline(always)]
    fn read_in<'r>(
        &self,
        (space, key): (u16, &[u8]),
        hash: u64,
        read: &Read,
        now: Millis,
        room: &'r mut ReadRoom,
    ) -> Result<Look<'r>, Doubt> {
        let flush_at = self.flushes.flush_at();
        if now >= flush_at {
            return Err(if flush_at == RECOVERING { Doubt::Recovery } else { Doubt::Flush });
        }
        let words = &mut *room.0;
        let growth = self.index.sequence();
        let visited = self.index.find(hash, |word, slot| {
            match self.segments.copy(slot.location(), words, || word.still_names(slot)) {
                Ok((item, generation)) => {
                    (item.space() == space && item.key() == *key).then_some(Ok((slot, generation)))
                }
                // Nobody knows any more whose item it was.
                Err(NotCopied::Gone) => Some(Err(Doubt::Gone)),
                Err(NotCopied::Long) => Some(Err(Doubt::Long)),
            }
        });
        match visited {
            Ok(Some(Ok((slot, generation)))) => {
                let (location, version) = (slot.location(), 0);
                let place = Place { hash, location, generation, version, growth };
                self.flushes.judge(place, slot.frequency() < self.frequency_max, read, now, words)
            }
            Ok(Some(Err(doubt))) => Err(doubt),
            Ok(None) => Ok(Look::Miss),
            Err(Unsure::Moved) => Err(Doubt::Index),
            Err(Unsure::Elsewhere) => Err(Doubt::Elsewhere),
        }
    }

    /// Looks at an item again where it was. It counts for eviction as long as nobody has read it before.
    ///
    /// # Errors
    /// [`Doubt::Gone`]: the key has to be looked up.
    #[inline]
    pub(crate) fn read_again<'r>(
        &self,
        place: &Place,
        (database, key): (u16, &[u8]),
        read: &Read,
        now: Millis,
        room: &'r mut ReadRoom,
    ) -> Result<Look<'r>, Doubt> {
        let (space, sequence) = self.spaces.of(database).ok_or(Doubt::Gone)?;
        if now >= self.flushes.flush_at() || self.index.sequence() != place.growth {
            return Err(Doubt::Gone);
        }
        let words = &mut *room.0;
        let item = self.segments.copy_again(place.location, place.generation, words);
        let item = item.map_err(|_| Doubt::Gone)?;
        if !place.is_of(&item, space, key) {
            return Err(Doubt::Gone);
        }
        match self.flushes.judge(*place, false, read, now, words)? {
            hit @ Look::Hit { .. } if self.spaces.is_still(sequence) => Ok(hit),
            _ => Err(Doubt::Gone),
        }
    }
}

impl Flushes {
    /// What the reader is to see of an item that was copied from a place; `is_cold`: its slot counts more accesses.
    #[inline]
    pub(crate) fn judge<'r>(
        &self,
        place: Place,
        is_cold: bool,
        read: &Read,
        now: Millis,
        copy: &'r [u64],
    ) -> Result<Look<'r>, Doubt> {
        // R8.
        let item = ItemRef::new(crate::bytes::Bytes::of_words(copy));
        if item.is(state::DEAD) {
            #[cfg(test)]
            if crate::steps::has(crate::steps::Fault::DeadIsMiss) {
                return Ok(Look::Miss);
            }
            return Err(Doubt::Gone);
        }
        if item.present() & (present::CHAIN_HEAD | present::CHUNK) != 0 {
            return Err(Doubt::Long);
        }
        if item.version() <= self.flushed() {
            return Ok(Look::Flushed);
        }
        if item.expiry().is_some_and(|expiry| expiry <= now) {
            return Ok(Look::Expired);
        }
        // An item that is neither stale nor a placeholder, and was read before, is shown as it is.
        let told = state::STALE | state::LEASE_GIVEN | state::PLACEHOLDER | state::FETCHED;
        if read.leases && item.state() & told != state::FETCHED {
            return Err(Doubt::Lease);
        }
        if item.is(state::PLACEHOLDER) {
            return Ok(Look::Miss);
        }
        let value = item.value();
        let counts = !item.is(state::FETCHED) || is_cold;
        let access = Access { hash: place.hash, location: place.location };
        let report = (counts && !read.peek).then_some(access);
        Ok(Look::Hit {
            found: Found { meta: item.meta(value.len() as u64), value: Value::Inline(value) },
            report,
            place: Place { version: item.version(), ..place },
        })
    }
}

impl Place {
    /// Whether an item that was copied from there is the one that was there.
    #[inline]
    pub(crate) fn is_of(&self, item: &ItemRef<'_>, space: u16, key: &[u8]) -> bool {
        item.version() == self.version && item.space() == space && item.key() == *key
    }
}
