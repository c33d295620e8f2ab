//! A tier: a medium with superblocks and streams.
//!
//! ```text
//!  Tier::create --> Tier::open --> recover each stream --> begin --> Run: a writer a stream, readers --> end
//! ```
//!
//! Opening and recovering only read. [`Tier::begin`] makes it durable that the tier is in use, before anything else changes.

mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use thiserror::Error;

use crate::format::UNIT_BYTES;
use crate::format::batch::Bounds;
use crate::format::checkpoint::Checkpoint;
use crate::format::geometry::Geometry;
use crate::format::record::Entry;
use crate::format::spaces::SpaceTable;
use crate::format::superblock::{Config, Refused, SUPERBLOCKS, Superblock};
use crate::media::{BLOCK_BYTES, MediaError, Medium, bytes, bytes_mut, zeroed};
use crate::recover::{
    self, Counts, Event, Found, Hashes, Journaled, Positions, Reads, StreamEnd, Survey, Walk,
};
#[cfg(doc)]
use crate::stream::StreamWriter;
use crate::stream::{Ends, Overwrites, Reader};
pub use run::Run;

/// Why a medium is not used as a tier.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{medium} cannot be used: {source}")]
    Refused { medium: String, source: Refused },
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// A tier that is not in use, or is read by whoever uses it.
#[derive(Debug, Clone)]
pub struct Tier {
    medium: Arc<dyn Medium>,
    geometry: Geometry,
    superblock: Superblock,
    ends: Ends,
}

impl Tier {
    /// Divides a medium anew. What was on it is gone.
    ///
    /// # Errors
    /// A configuration that is not possible on this medium; the medium's own.
    pub fn create(medium: &Arc<dyn Medium>, config: Config) -> Result<(), OpenError> {
        Tier::create_above(medium, config, 0)
    }

    /// As [`Tier::create`], where versions up to `ceiling` have been given out.
    ///
    /// # Errors
    /// As [`Tier::create`].
    pub fn create_above(medium: &Arc<dyn Medium>, config: Config, ceiling: u64) -> Result<(), OpenError> {
        let geometry = geometry(&**medium, config).map_err(|bad| refused(&**medium, bad))?;
        // Step 1: nothing of what was there can be believed any more.
        Tier::erase(&**medium)?;
        // Step 2.
        for stream in 0..geometry.rings() {
            let ring = geometry.ring(stream);
            for turn in 0..2 {
                let checkpoint = Checkpoint {
                    stream,
                    volume: config.volume,
                    generation: 0,
                    turn,
                    end: 0,
                    oldest: 0,
                    previous: Bounds::default(),
                };
                write_block(&**medium, ring.checkpoint(turn), &checkpoint.encode())?;
            }
        }
        medium.drain()?;
        // Step 3.
        let superblock = Superblock {
            config,
            generation: 0,
            turn: 0,
            ceiling,
            is_clean: true,
            is_void: false,
            is_volatile: false,
            spaces: SpaceTable::default(),
        };
        for turn in 0..SUPERBLOCKS {
            write_block(&**medium, turn * BLOCK_BYTES as u64, &Superblock { turn, ..superblock }.encode())?;
        }
        Ok(medium.drain()?)
    }

    /// Makes it durable that a medium holds nothing, as if it were new.
    ///
    /// # Errors
    /// The medium's: what is on it may come back then.
    pub fn erase(medium: &dyn Medium) -> Result<(), MediaError> {
        medium.write(0, &zeroed(SUPERBLOCKS as usize))?;
        medium.drain()
    }

    /// What a medium says that it is, though it may not be a tier that can be used.
    ///
    /// # Errors
    /// [`OpenError::Refused`] where no superblock counts; the medium's own.
    pub fn superblock(medium: &dyn Medium) -> Result<Superblock, OpenError> {
        let mut blocks = zeroed(SUPERBLOCKS as usize);
        if medium.bytes() < size_of_val(&*blocks) as u64 {
            return Err(refused(medium, Refused::Foreign));
        }
        medium.read(0, &mut blocks)?;
        let (first, second) = bytes(&blocks).split_at(BLOCK_BYTES);
        Superblock::newer([first, second]).map_err(|source| refused(medium, source))
    }

    /// Reads what a medium is.
    ///
    /// # Errors
    /// [`OpenError::Refused`] with the reason; the medium's own.
    pub fn open(medium: Arc<dyn Medium>) -> Result<Tier, OpenError> {
        // Step 1.
        let superblock = Tier::superblock(&*medium)?;
        let geometry = geometry(&*medium, superblock.config).map_err(|source| refused(&*medium, source))?;
        if superblock.is_void {
            let why = if superblock.is_volatile { Refused::Unfinished } else { Refused::Void };
            return Err(refused(&*medium, why));
        }
        let ends = Ends::new(geometry.rings());
        Ok(Tier { medium, geometry, superblock, ends })
    }

    pub fn config(&self) -> &Config {
        &self.superblock.config
    }

    pub fn medium(&self) -> &Arc<dyn Medium> {
        &self.medium
    }

    /// How many streams and journals there are.
    pub fn rings(&self) -> u16 {
        self.geometry.rings()
    }

    /// Whether the last run ended in order.
    pub fn is_clean(&self) -> bool {
        self.superblock.is_clean
    }

    /// Bytes that the batches of one stream have room in.
    pub fn stream_bytes(&self) -> u64 {
        self.geometry.ring(0).units() * UNIT_BYTES as u64
    }

    /// Bytes that the batches of one journal have room in; 0: there is none.
    pub fn journal_bytes(&self) -> u64 {
        self.geometry
            .journal_of(0)
            .map_or(0, |journal| self.geometry.ring(journal).units() * UNIT_BYTES as u64)
    }

    /// No version above this has been given out by earlier runs.
    pub fn ceiling(&self) -> u64 {
        self.superblock.ceiling
    }

    /// The space that each database had when the last run left it.
    pub fn spaces(&self) -> &SpaceTable {
        &self.superblock.spaces
    }

    /// Tells what a stream holds, newest first, and returns where it ends. Not while the stream is written. Journals have the
    /// numbers behind those of the streams; what their streams have not is told by [`Tier::journaled`].
    ///
    /// # Errors
    /// The medium's. Damage is no error: it is told and counted.
    ///
    /// # Panics
    /// If there is no such stream.
    pub fn recover(
        &self,
        stream: u16,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(StreamEnd, Counts), MediaError> {
        self.read(stream, Reads::Newest, tell)
    }

    /// As [`Tier::recover`], though snapshots could say what older tables do: all tables are read, and parts of snapshots are told of.
    ///
    /// # Errors
    /// As [`Tier::recover`].
    ///
    /// # Panics
    /// As [`Tier::recover`].
    pub fn recover_all(
        &self,
        stream: u16,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(StreamEnd, Counts), MediaError> {
        self.read(stream, Reads::All, tell)
    }

    fn read(
        &self,
        stream: u16,
        reads: Reads,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(StreamEnd, Counts), MediaError> {
        let found = self.find(stream)?;
        Ok((found.end, recover::tell(&self.walk(stream), &found, reads, tell)?))
    }

    /// Looks for what a snapshot of a stream has to hold that is written meanwhile, as it is [here](StreamWriter::here): newest first, of
    /// the slots that are `wanted`. `met` notes which keys were met. It ends when `take` says no, or when it `stops`.
    ///
    /// # Errors
    /// The medium's.
    pub fn survey(
        &self,
        of: &StreamEnd,
        wanted: &dyn Fn(u16) -> bool,
        met: &mut Hashes,
        stops: &AtomicBool,
        take: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<Survey, MediaError> {
        let freed = || if stops.load(Relaxed) { u64::MAX } else { self.ends.oldest(of.stream) };
        recover::survey(&self.walk(of.stream).beside(&freed), of, wanted, met, take)
    }

    /// Most records of a part of a snapshot.
    pub fn part_records(&self) -> usize {
        self.geometry.part_records()
    }

    /// Finds where a stream ends, so that it can be written; not while it is. What it holds is told by [`Tier::tell`].
    ///
    /// # Errors
    /// The medium's.
    ///
    /// # Panics
    /// If there is no such stream.
    pub fn find(&self, stream: u16) -> Result<Found, MediaError> {
        assert!(stream < self.rings(), "a stream of this tier");
        let found = recover::find(&self.walk(stream), stream)?;
        self.ends.tell(stream, found.end.end);
        Ok(found)
    }

    /// What the journal has of a stream that was found and is not written yet, and the stream has not. `None`: it has none.
    ///
    /// # Errors
    /// The medium's. Damage is no error.
    pub fn journaled(&self, stream: &Found) -> Result<Option<Journaled>, MediaError> {
        let Some(number) = self.geometry.journal_of(stream.end.stream) else { return Ok(None) };
        let mut journaled = recover::journaled(&self.walk(number), number, stream.end.end, self.ceiling())?;
        if self.is_clean() || stream.is_unreadable() {
            // After an orderly end streams have all, whatever has become of their journals. Of one that is lost nobody knows
            // what it had packed.
            journaled.records.clear();
        }
        self.ends.tell(number, journaled.end.end);
        Ok(Some(journaled))
    }

    /// Tells what a stream holds that was found, newest first, while it is written: what was added since is not told. It ends
    /// where the writer has freed the stream, or when `stops`. What was told just before may have been freed, too: see
    /// [`Positions`].
    ///
    /// # Errors
    /// The medium's.
    pub fn tell(
        &self,
        found: &Found,
        stops: &AtomicBool,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Counts, MediaError> {
        let stream = found.end.stream;
        let freed = || if stops.load(Relaxed) { u64::MAX } else { self.ends.oldest(stream) };
        recover::tell(&self.walk(stream).beside(&freed), found, Reads::Newest, tell)
    }

    /// Where the items lie in a stream that [`Tier::tell`] tells.
    pub fn positions(&self, found: &Found) -> Positions {
        Positions::new(self.geometry.ring(found.end.stream), found.end)
    }

    /// Reads the tables of a stream.
    pub(crate) fn walk(&self, stream: u16) -> Walk<'_> {
        Walk::new(&*self.medium, &self.geometry, stream, self.superblock.generation)
    }

    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.medium), self.geometry, self.ends.clone())
    }

    pub fn overwrites(&self) -> Overwrites {
        Overwrites::new(self.geometry, self.ends.clone())
    }

    /// Takes the tier into use.
    ///
    /// # Errors
    /// The medium's: nothing may be written to it then.
    pub fn begin(self) -> Result<Run, MediaError> {
        self.begin_as(false)
    }

    /// Takes the tier into use for a run that writes no change as it happens: what is on the medium is only right when
    /// [`Run::end`] has returned. Until then nothing on it may be believed, and the next start finds [`Refused::Unfinished`].
    ///
    /// # Errors
    /// As [`Tier::begin`].
    pub fn begin_volatile(self) -> Result<Run, MediaError> {
        self.begin_as(true)
    }

    fn begin_as(mut self, is_volatile: bool) -> Result<Run, MediaError> {
        self.superblock = Superblock {
            generation: self.superblock.generation + 1,
            turn: self.superblock.turn + 1,
            is_clean: false,
            is_void: is_volatile,
            is_volatile,
            ..self.superblock
        };
        Run::new(self)
    }
}

fn write_block(medium: &dyn Medium, at: u64, bytes: &[u8; BLOCK_BYTES]) -> Result<(), MediaError> {
    let mut block = zeroed(1);
    bytes_mut(&mut block).copy_from_slice(bytes);
    medium.write(at, &block)
}

/// How a medium of this size is divided.
fn geometry(medium: &dyn Medium, config: Config) -> Result<Geometry, Refused> {
    let found = medium.bytes();
    if found != config.bytes {
        return Err(Refused::Size { recorded: config.bytes, found });
    }
    Ok(Geometry::new(config)?)
}

fn refused(medium: &dyn Medium, source: Refused) -> OpenError {
    OpenError::Refused { medium: medium.describe(), source }
}

#[cfg(test)]
mod tests;
