//! Reading a shard from another process, by nothing but file descriptors.
//!
//! The steps are those of [`crate::reader`], on a read-only mapping of the shard's file. What differs:
//!
//! - Nobody knows whose hands the file is in, so nothing that is read is believed: every number is loaded once and
//!   bounded by the mapping, a number that does not fit is a [`Doubt`], and no look takes longer than it takes to copy what the buckets
//!   in reach of one home may name.
//! - The index lies in chunks, one behind the other for its owner, and anywhere in the file for others: a table says where.
//! - The file grows. A slot that names a place beyond the end that is known makes the reader look at the file's length.
//! - The clock is a page of its own ([`MappedClock`]).
//!
//! | file | holds |
//! |---|---|
//! | `mapped/memory.rs` | buckets and items in a mapping |
//! | `mapped/clock.rs` | the time of the server, both sides |
//!
//! Non-goals: which shard a key belongs to, how descriptors travel, and what is done in doubt.

mod clock;
mod memory;

pub use crate::shared::layout::{LAYOUT_VERSION, LayoutError};
pub use clock::{ClockWords, MappedClock};

use crate::command::{Millis, Read};
use crate::index::{Geometry, IndexReader};
use crate::reader::{Doubt, Flushes, Look, Place, ReadRoom, Reader};
use crate::segments::{Generations, SegmentsReader};
use crate::shard::hash_key;
use crate::shared::Published;
use crate::shared::layout::{CONSTANTS, CONSTANTS_BYTES, FRAMES_BYTES_MAX, Layout};
use crate::spaces::SpaceWords;
use memory::{MappedArena, MappedTable};
use rapidhash::v3::RapidSecrets;
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use torc_pmem::media::shared::{SharedView, bytes_of};

const _: () = assert!(FRAMES_BYTES_MAX == crate::index::LOCATION_BYTES_MAX);

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("cannot map it: {0}")]
    Map(#[from] io::Error),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("the server is in another time namespace, so its clock is another one")]
    TimeNamespace,
}

/// What the looks of one reader came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub hits: u64,
    pub misses: u64,
    /// By [`Doubt`].
    pub doubts: [u64; Doubt::ALL.len()],
}

/// Reads one shard of another process. One thread uses it; a clone for each other thread shares the mapping.
#[derive(Debug)]
pub struct MappedShard {
    reader: Reader<MappedTable, MappedArena>,
    secrets: RapidSecrets,
    number: u16,
    hits: Cell<u64>,
    misses: Cell<u64>,
    doubts: [Cell<u64>; Doubt::ALL.len()],
}

impl MappedShard {
    /// Maps the file of a shard ([`Shard::to_read`](crate::Shard::to_read)).
    ///
    /// # Errors
    /// [`MapError`].
    pub fn open(file: OwnedFd) -> Result<MappedShard, MapError> {
        let head = SharedView::map(file, CONSTANTS_BYTES)?;
        let bytes = bytes_of(head.file())?;
        let layout = Layout::read(head.words(0, CONSTANTS).ok_or(LayoutError::Magic)?, bytes)?;
        let view = Arc::new(SharedView::map(head.into_file(), layout.bytes_max())?);
        MappedShard::of(&view, &layout).ok_or(LayoutError::Head.into())
    }

    fn of(view: &Arc<SharedView>, layout: &Layout) -> Option<MappedShard> {
        let geometry = Geometry::new(array_in(view, layout.geometry())?);
        let generations = Generations::new(words_in(view, layout.generations())?);
        let table = MappedTable::new(view.clone(), words_in(view, layout.chunks())?, layout);
        let arena = MappedArena::new(view.clone(), layout);
        let reader = Reader {
            index: IndexReader::new(table, geometry),
            segments: SegmentsReader::new(arena, generations, layout.frame_shift),
            flushes: Flushes::published(array_in(view, layout.flushes())?),
            spaces: SpaceWords::published(array_in(view, layout.spaces())?),
            frequency_max: layout.frequency_max,
        };
        let secrets = RapidSecrets::seed(layout.seed);
        Some(MappedShard::with(reader, secrets, layout.shard))
    }

    fn with(reader: Reader<MappedTable, MappedArena>, secrets: RapidSecrets, number: u16) -> MappedShard {
        let (hits, misses, doubts) = Default::default();
        MappedShard { reader, secrets, number, hits, misses, doubts }
    }

    /// The shard's number in its server.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The hash of a key, whatever database it is of, as all other calls want it. All shards of a server have the same.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        hash_key(&self.secrets, 0, key)
    }

    /// Starts to fetch the bucket of a key's hash in a database.
    #[inline]
    pub fn prefetch_bucket(&self, database: u16, hash: u64) {
        self.reader.prefetch_bucket(database, hash);
    }

    /// Starts to fetch the item that the bucket of a key's hash in a database names.
    #[inline]
    pub fn prefetch_item(&self, database: u16, hash: u64) {
        self.reader.prefetch_item(database, hash);
    }

    /// Looks a key of a database up. `hash` is the key's, `now` the server's time ([`MappedClock::now`]), looked at after whatever this read
    /// comes after. A read that is not [plain](Read::is_plain) is always for the owner.
    ///
    /// # Errors
    /// [`Doubt`]: the owner has to be asked.
    #[inline]
    pub fn read<'r>(
        &self,
        key: (u16, &[u8]),
        hash: u64,
        read: &Read,
        now: Millis,
        room: &'r mut ReadRoom,
    ) -> Result<Look<'r>, Doubt> {
        if !read.is_plain() {
            return Err(Doubt::Lease);
        }
        let look = self.reader.read(key, hash, read, now, room);
        self.count(&look);
        look
    }

    /// Reads a key again, at the place where it was found before ([`Look::Hit`]): never what came there later, nor what anybody has
    /// missed, or seen another value for, since. That costs less than a look, but the item is not counted as read once somebody has
    /// read it, so a key should be looked up now and then.
    ///
    /// # Errors
    /// [`Doubt::Gone`]: it has to be looked up. Others as for [`MappedShard::read`].
    #[inline]
    pub fn read_again<'r>(
        &self,
        place: &Place,
        key: (u16, &[u8]),
        read: &Read,
        now: Millis,
        room: &'r mut ReadRoom,
    ) -> Result<Look<'r>, Doubt> {
        if !read.is_plain() {
            return Err(Doubt::Lease);
        }
        let look = self.reader.read_again(place, key, read, now, room);
        self.count(&look);
        look
    }

    #[inline]
    fn count(&self, look: &Result<Look<'_>, Doubt>) {
        let count = match look {
            Ok(Look::Hit { .. }) => &self.hits,
            Ok(_) => &self.misses,
            Err(doubt) => &self.doubts[*doubt as usize],
        };
        count.set(count.get() + 1);
    }

    /// What the looks of this reader came to.
    pub fn counts(&self) -> Counts {
        let doubts = self.doubts.each_ref().map(Cell::get);
        Counts { hits: self.hits.get(), misses: self.misses.get(), doubts }
    }
}

/// For another thread, which counts for itself.
impl Clone for MappedShard {
    fn clone(&self) -> MappedShard {
        MappedShard::with(self.reader.clone(), self.secrets, self.number)
    }
}

fn words_in(view: &Arc<SharedView>, range: Range<usize>) -> Option<Published<[AtomicU64]>> {
    Published::of(view, |view| view.words(range.start * size_of::<u64>(), range.len()))
}

fn array_in<const N: usize>(
    view: &Arc<SharedView>,
    range: Range<usize>,
) -> Option<Published<[AtomicU64; N]>> {
    let at = range.start * size_of::<u64>();
    Published::of(view, |view| view.words(at, range.len())?.try_into().ok())
}
