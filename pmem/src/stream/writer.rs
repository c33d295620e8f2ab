//! The writer of a stream. One a stream; it knows what was written, what was drained, and what may be written over.

use std::sync::Arc;
use thiserror::Error;

use super::Ends;
use super::pack::{Context, Packer, Unfit};
use crate::format::UNIT_BYTES;
use crate::format::batch::{Bounds, Part};
use crate::format::checkpoint::Checkpoint;
use crate::format::geometry::{Geometry, Place, Ring};
use crate::format::record::{Entry, Record};
use crate::media::{MediaError, Medium, bytes_mut, zeroed};
use crate::recover::{StreamEnd, Walk};

/// Room is wanted when fewer of the largest batches fit.
const WANTED_BATCHES: u64 = 5;

/// Why a batch was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("the stream has no room: its oldest batch has to be freed first")]
    NoRoom,
    #[error("the stream takes nothing since a call to its medium failed")]
    Latched,
}

/// What a stream has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub batches: u64,
    pub records: u64,
    /// Bytes of items that were added.
    pub item_bytes: u64,
    /// Bytes that went to the medium in batches, and those of them that hold nothing, as a page ends at a unit and a batch at a
    /// block.
    pub written_bytes: u64,
    pub padding_bytes: u64,
    pub drains: u64,
    pub checkpoints: u64,
    /// Batches that were freed.
    pub freed: u64,
    /// Those of them that could not be told of, as they are damaged.
    pub damaged: u64,
}

impl Figures {
    /// Adds those of another stream.
    pub fn add(&mut self, other: &Figures) {
        self.batches += other.batches;
        self.records += other.records;
        self.item_bytes += other.item_bytes;
        self.written_bytes += other.written_bytes;
        self.padding_bytes += other.padding_bytes;
        self.drains += other.drains;
        self.checkpoints += other.checkpoints;
        self.freed += other.freed;
        self.damaged += other.damaged;
    }
}

/// The oldest batch of a stream, as [`StreamWriter::oldest`] found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the batch is freed by StreamWriter::free"]
pub struct Oldest {
    start: u64,
    end: u64,
    /// Its table could not be read: nobody knows what it held.
    pub is_damaged: bool,
}

impl Oldest {
    /// Position behind it.
    pub fn end(&self) -> u64 {
        self.end
    }
}

/// Appends to a stream, or to a journal.
#[derive(Debug)]
pub struct StreamWriter {
    medium: Arc<dyn Medium>,
    geometry: Geometry,
    ring: Ring,
    stream: u16,
    generation: u64,
    packer: Packer,
    /// The last batch that was written.
    last: Bounds,
    /// Behind the last batch that was written.
    written: u64,
    /// Everything below is safe.
    drained: u64,
    /// Where the oldest batch that is still needed begins.
    oldest: u64,
    /// Where the first batch begins that was freed before all that stays of it was added again.
    kept: Option<u64>,
    /// What the last batch that was written, and the last that was drained, say of `oldest`: below the latter may be
    /// written over.
    oldest_written: u64,
    oldest_drained: u64,
    checkpoint: Checkpoint,
    ends: Ends,
    is_latched: bool,
    figures: Figures,
}

impl StreamWriter {
    /// Goes on where recovery found the end.
    ///
    /// # Errors
    /// The checkpoint cannot be written.
    pub(crate) fn new(
        medium: Arc<dyn Medium>,
        geometry: Geometry,
        ends: Ends,
        generation: u64,
        end: &StreamEnd,
    ) -> Result<StreamWriter, WriteError> {
        let stream = end.stream;
        let checkpoint = Checkpoint {
            stream,
            volume: geometry.config.volume,
            generation,
            turn: end.turn,
            end: end.end,
            oldest: end.oldest,
            previous: end.last,
        };
        let mut writer = StreamWriter {
            medium,
            geometry,
            ring: geometry.ring(stream),
            stream,
            generation,
            packer: Packer::new(geometry.config, stream, generation),
            last: end.last,
            written: end.end,
            drained: end.end,
            oldest: end.oldest,
            kept: None,
            oldest_written: end.oldest,
            oldest_drained: end.oldest,
            checkpoint,
            ends,
            is_latched: false,
            figures: Figures::default(),
        };
        writer.ends.tell(stream, writer.written);
        writer.begin();
        // What a crash has left behind the end is of an older run, and this makes that known before a batch is written.
        writer.checkpoint()?;
        Ok(writer)
    }

    fn begin(&mut self) {
        self.packer.begin(self.ring.next_start(self.written), self.drained);
    }

    pub fn stream(&self) -> u16 {
        self.stream
    }

    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Adds a record, with the item's bytes if it is no mark. The place can be read when the batch was written.
    ///
    /// # Errors
    /// [`Unfit`]; nothing was added.
    pub fn add(&mut self, record: &Record, bytes: &[u8]) -> Result<Option<Place>, Unfit> {
        let added = self.packer.add(record, bytes)?;
        self.figures.records += 1;
        self.figures.item_bytes += bytes.len() as u64;
        Ok(added.map(|(position, ordinal)| Place::new(self.ring.unit(position), ordinal)))
    }

    /// Records that are added and not written.
    pub fn waiting(&self) -> u32 {
        self.packer.records()
    }

    /// Bytes that they and their items take before they are compressed.
    pub fn waiting_bytes(&self) -> usize {
        self.packer.raw_bytes()
    }

    /// Position of the batch that they will be in.
    pub fn start(&self) -> u64 {
        self.packer.start()
    }

    /// Forgets what was added and not written.
    pub(super) fn forget(&mut self) {
        self.begin();
    }

    /// Position behind the last batch that was written.
    pub fn written_up_to(&self) -> u64 {
        self.written
    }

    /// Everything that was written below this position survives a crash.
    pub fn drained_up_to(&self) -> u64 {
        self.drained
    }

    /// Whether the oldest batch should be freed before more is added. From here on one batch can still be written, for
    /// what is carried on.
    pub fn wants_room(&self) -> bool {
        self.lacks(WANTED_BATCHES)
    }

    /// Whether so many batches can be written, after the one that is being filled, before the one at this position is asked to be
    /// freed.
    pub fn spares(&self, position: u64, batches: u64) -> bool {
        let end = self.packer.start() + (1 + batches + WANTED_BATCHES) * self.ring.batch_units();
        end <= position + self.ring.units()
    }

    /// Whether nothing can be written before the oldest batch is freed.
    pub(crate) fn lacks_room(&self) -> bool {
        // The room for the next batch is freed by this one: what it says of `oldest` is drained before the next is written.
        self.lacks(4)
    }

    /// Whether fewer than so many of the largest batches fit between what is written and what is still needed.
    fn lacks(&self, batches: u64) -> bool {
        self.oldest + self.ring.units() < self.packer.start() + batches * self.ring.batch_units()
    }

    /// Writes what was added as one batch. Nothing is safe before [`StreamWriter::drain`].
    ///
    /// # Errors
    /// [`WriteError`]; after [`WriteError::NoRoom`] the batch waits, after any other the stream is latched.
    pub fn write(&mut self) -> Result<(), WriteError> {
        if self.is_latched {
            return Err(WriteError::Latched);
        }
        if self.packer.is_empty() {
            return Ok(());
        }
        if self.lacks_room() {
            return Err(WriteError::NoRoom);
        }
        let end = self.packer.start() + self.ring.batch_units();
        // Step 4: what a batch writes over is free by a batch that was drained.
        if end > self.oldest_drained + self.ring.units() {
            self.drain()?;
        }
        debug_assert!(end <= self.oldest_drained + self.ring.units(), "what may be read is not written over");
        // Step 5: the end can be found from the checkpoint.
        if end > self.checkpoint.end + self.ring.ahead() {
            self.checkpoint()?;
        }
        let oldest = self.kept.unwrap_or(self.oldest);
        let context = Context { drained: self.drained, oldest, previous: self.last };
        let (blocks, bounds) = self.packer.finish(&context);
        // Step 6.
        let written = self.medium.write(self.ring.byte(bounds.start), blocks);
        self.figures.written_bytes += size_of_val(blocks) as u64;
        self.figures.padding_bytes += self.packer.padding_bytes() as u64;
        self.latch_on_error(written)?;
        self.figures.batches += 1;
        self.last = bounds;
        self.written = bounds.end();
        self.ends.tell(self.stream, self.written);
        self.oldest_written = oldest;
        self.begin();
        Ok(())
    }

    /// Writes a part of a snapshot as a batch of its own, where nothing was added that waits, so that a journal has nothing that its
    /// stream has not, and where no room is wanted. Returns whether it was written.
    ///
    /// # Errors
    /// As [`StreamWriter::write`].
    ///
    /// # Panics
    /// If there are more entries than [`crate::format::geometry::Geometry::part_records`].
    pub fn write_part(&mut self, part: Part, entries: &[Entry]) -> Result<bool, WriteError> {
        assert!(entries.len() <= self.geometry.part_records(), "as many as a part takes");
        if !self.is_latched && (!self.packer.is_empty() || self.kept.is_some() || self.wants_room()) {
            return Ok(false);
        }
        if !self.is_latched {
            self.packer.put_part(part, entries);
        }
        self.write()?;
        Ok(true)
    }

    /// Where the stream ends now: what a snapshot is of.
    pub fn here(&self) -> StreamEnd {
        StreamEnd {
            stream: self.stream,
            end: self.written,
            oldest: self.oldest,
            last: self.last,
            turn: self.checkpoint.turn,
        }
    }

    /// Step 7: returns when everything that was written is safe.
    ///
    /// # Errors
    /// [`WriteError::Media`], after which the stream is latched.
    pub fn drain(&mut self) -> Result<(), WriteError> {
        if self.is_latched {
            return Err(WriteError::Latched);
        }
        let drained = self.medium.drain();
        self.latch_on_error(drained)?;
        self.figures.drains += 1;
        self.drained = self.written;
        self.oldest_drained = self.oldest_written;
        Ok(())
    }

    /// Writes and drains what was added.
    ///
    /// # Errors
    /// As [`StreamWriter::write`].
    pub fn commit(&mut self) -> Result<(), WriteError> {
        self.write()?;
        self.drain()
    }

    /// Drains what was written, and makes a note of it: a batch below a checkpoint that cannot be read is known to be
    /// damaged, and is not taken for what a crash has cut off. For when a stream is at rest, and before it is closed.
    ///
    /// # Errors
    /// [`WriteError::Media`], after which the stream is latched.
    pub fn checkpoint(&mut self) -> Result<(), WriteError> {
        self.drain()?;
        self.note(self.oldest_drained)
    }

    /// Writes both checkpoints. Everything was drained.
    fn note(&mut self, oldest: u64) -> Result<(), WriteError> {
        let end = self.written;
        self.checkpoint = Checkpoint { end, oldest, previous: self.last, ..self.checkpoint };
        // The older one goes first, so that there is one at every moment.
        for _ in 0..2 {
            self.checkpoint.turn += 1;
            let mut block = zeroed(1);
            bytes_mut(&mut block).copy_from_slice(&self.checkpoint.encode());
            let at = self.ring.checkpoint(self.checkpoint.turn);
            let written = self.medium.write(at, &block).and_then(|()| self.medium.drain());
            self.latch_on_error(written)?;
        }
        self.figures.checkpoints += 1;
        Ok(())
    }

    /// Writes, drains and notes all that was added: nothing more comes.
    ///
    /// # Errors
    /// As [`StreamWriter::write`].
    pub fn close(mut self) -> Result<(), WriteError> {
        self.write()?;
        self.drain()?;
        // With nothing to come, what was freed is free, though no batch says so.
        self.note(self.oldest)
    }

    /// Finds the oldest batch that was drained, and appends what its table says to `records`: whoever wants to keep an
    /// item adds it again. `None`: there is none to free.
    ///
    /// # Errors
    /// [`WriteError::Media`], if it cannot be read. A batch that is damaged is no error.
    pub fn oldest(
        &mut self,
        records: &mut Vec<(Record, Option<Place>)>,
    ) -> Result<Option<Oldest>, WriteError> {
        if self.oldest >= self.drained {
            return Ok(None);
        }
        let walk = Walk::new(&*self.medium, &self.geometry, self.stream, self.generation);
        let start = self.oldest;
        let (end, is_told) = walk.tell_at(start, self.drained, records)?;
        Ok(Some(Oldest { start, end, is_damaged: !is_told }))
    }

    /// Frees the oldest batch, of which everything that shall stay has been added again: what is added later may be lost
    /// by a crash that finds this one free. Its bytes stay until a batch that says so was drained. Of one that is damaged nobody
    /// knows which places to forget: whoever reads there later finds an item of another key, and compares.
    pub fn free(&mut self, oldest: Oldest) {
        self.free_below(oldest.end);
        self.figures.freed += 1;
        self.figures.damaged += u64::from(oldest.is_damaged);
    }

    /// Frees all batches below a position behind one of them.
    pub(super) fn free_below(&mut self, position: u64) {
        self.oldest = self.oldest.max(self.ring.next_start(position)).min(self.packer.start());
        self.ends.free(self.stream, self.oldest);
    }

    /// As [`StreamWriter::free`], while some of what shall stay is still to be added: there is room for that now, and until
    /// [`StreamWriter::kept_is_added`] what is written says that the batch may be read. What stays takes half of a batch at most.
    pub fn free_keeping(&mut self, oldest: Oldest) {
        self.kept.get_or_insert(self.oldest);
        self.free(oldest);
    }

    /// All that shall stay of batches that were freed has been added.
    pub fn kept_is_added(&mut self) {
        self.kept = None;
    }

    /// Largest size of a batch, bytes.
    pub fn batch_bytes(&self) -> usize {
        self.ring.batch_units() as usize * UNIT_BYTES
    }

    fn latch_on_error(&mut self, result: Result<(), MediaError>) -> Result<(), WriteError> {
        self.is_latched |= result.is_err();
        Ok(result?)
    }
}
