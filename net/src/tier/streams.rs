//! The streams of a medium as the storage thread writes them.

mod parts;
mod rest;
mod written;

use super::TierFigures;
use super::carry::Carrying;
use super::mailbox::Shards;
use super::packing::Packing;
use super::room::Freeing;
use super::save::{InJournal, SaveBatch};
use super::snapshots::Asking;
use crate::slots::SlotMap;
#[cfg(test)]
use crate::worker::Bug;
use std::ops::RangeInclusive;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::stream::{Journal, Reader, StreamWriter, Unfit, WriteError};
use written::Written;

/// What is not packed takes this share of the largest batch at most.
const JOURNAL_SHARE_MOST: usize = 2;

/// A stream, and the batch that it makes room by.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) writer: StreamWriter,
    pub(super) freeing: Option<Freeing>,
    pub(super) carrying: Carrying,
    pub(super) packing: Option<Packing>,
    /// Written since the last drain.
    is_dirty: bool,
    /// Where the batch begins since which what comes first is worth most: it is not written over by items that come later.
    rest_from: Option<u64>,
    /// Shards know that it takes no more items for that.
    is_full: bool,
}

/// Where a record is that was added.
#[derive(Debug, Default)]
struct Added {
    place: Option<u64>,
    in_journal: Option<InJournal>,
}

#[derive(Debug)]
pub(super) struct Streams {
    pub(super) streams: Vec<Stream>,
    pub(super) reader: Reader,
    /// Slots by stream, and by shard.
    by_stream: SlotMap,
    pub(super) by_shard: SlotMap,
    /// What is written is drained before anybody is told of it.
    drains: bool,
    /// What is less than this goes to a journal, bytes.
    small_bytes: usize,
    /// Who makes snapshots; `None`: nobody.
    asking: Option<Asking>,
    /// What was written before these streams began.
    before: Written,
    /// What the oldest batch holds; kept for its room.
    pub(super) records: Vec<(Record, Option<Place>)>,
    #[cfg(test)]
    pub(super) bug: Bug,
}

/// Whether work can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    /// A stream has no room before shards have forgotten places.
    Waits,
}

impl Streams {
    pub(super) fn new(
        writers: Vec<(StreamWriter, Option<Journal>)>,
        reader: Reader,
        by_shard: SlotMap,
        drains: bool,
        small_bytes: usize,
        asking: Option<Asking>,
        figures: &TierFigures,
    ) -> Streams {
        let streams = writers.len() as u16;
        // So that what a journal has alone always fits into one batch, however it is compressed.
        let most = writers.iter().map(|(writer, _)| writer.batch_bytes() / JOURNAL_SHARE_MOST).min();
        let small_bytes = small_bytes.min(most.unwrap_or(0));
        let by_stream = SlotMap::even(streams);
        let stream = |(writer, journal): (StreamWriter, Option<Journal>)| {
            // What is not drained needs no journal.
            let journal = journal.filter(|_| drains && small_bytes > 0);
            let packing = journal.map(|journal| Packing::new(journal, streams + writer.stream()));
            let carrying = Carrying::default();
            let (freeing, rest_from) = (None, None);
            Stream { writer, freeing, carrying, packing, is_dirty: false, rest_from, is_full: false }
        };
        Streams {
            streams: writers.into_iter().map(stream).collect(),
            reader,
            by_stream,
            by_shard,
            drains,
            small_bytes,
            asking,
            before: Written::of(figures),
            records: Vec::new(),
            #[cfg(test)]
            bug: Bug::None,
        }
    }

    /// Adds what is left of a batch.
    ///
    /// # Errors
    /// The medium's.
    pub(super) fn add(
        &mut self,
        batch: &mut SaveBatch,
        shards: &Shards,
        figures: &TierFigures,
    ) -> Result<Progress, WriteError> {
        while let Some(entry) = batch.entries.get(batch.added) {
            let record = entry.record;
            if record.kind == Kind::FlushAll {
                if self.add_flush(batch.shard, record.version, shards, figures)? == Progress::Waits {
                    return Ok(Progress::Waits);
                }
            } else {
                let stream = self.by_stream.owner(record.slot);
                let added = if record.kind.has_bytes() && self.is_full(stream, shards) {
                    self.leave_out(stream, &record, shards, figures)?
                } else {
                    self.add_record(stream, &record, batch.item(batch.added), shards, figures)?
                };
                let Some(Added { place, in_journal }) = added else { return Ok(Progress::Waits) };
                let entry = &mut batch.entries[batch.added];
                (entry.place, entry.in_journal) = (place, in_journal);
            }
            batch.added += 1;
        }
        Ok(Progress::Done)
    }

    /// Adds the mark of a shard's flush to every stream that has slots of it. One that is added twice says the same.
    fn add_flush(
        &mut self,
        shard: u16,
        version: u64,
        shards: &Shards,
        figures: &TierFigures,
    ) -> Result<Progress, WriteError> {
        for (slots, owner) in self.by_shard.ranges() {
            for (in_stream, stream) in self.by_stream.ranges() {
                let Some(both) = common(&slots, &in_stream).filter(|_| owner == shard) else { continue };
                let mark = Record::flush(None, both, version);
                if self.add_record(stream, &mark, &[], shards, figures)?.is_none() {
                    return Ok(Progress::Waits);
                }
            }
        }
        Ok(Progress::Done)
    }

    /// Adds a record, and returns where it is; `None`: its stream has no room now.
    fn add_record(
        &mut self,
        stream: u16,
        record: &Record,
        item: &[u8],
        shards: &Shards,
        figures: &TierFigures,
    ) -> Result<Option<Added>, WriteError> {
        if self.add_carried(stream, shards, figures)? == Progress::Waits {
            return Ok(None);
        }
        loop {
            let there = &mut self.streams[usize::from(stream)];
            match there.add(record, item, self.small_bytes) {
                Ok(added) => return Ok(Some(added)),
                Err(Unfit::BatchFull) => {}
                // Older copies have to go all the same.
                Err(Unfit::TooLong { .. } | Unfit::Kind) => {
                    let gone = Record { kind: Kind::Tombstone, ..*record };
                    match there.add(&gone, &[], self.small_bytes) {
                        Ok(added) => return Ok(Some(added)),
                        Err(Unfit::BatchFull) => {}
                        Err(unfit) => unreachable!("a mark always fits into an empty batch: {unfit}"),
                    }
                }
            }
            if self.write(stream, shards)? == Progress::Waits {
                return Ok(None);
            }
        }
    }

    /// Adds what a stream carries on.
    fn add_carried(
        &mut self,
        stream: u16,
        shards: &Shards,
        figures: &TierFigures,
    ) -> Result<Progress, WriteError> {
        loop {
            let Stream { writer, carrying, .. } = &mut self.streams[usize::from(stream)];
            let Some((record, item)) = carrying.next() else { break };
            match writer.add(record, item) {
                Err(Unfit::BatchFull) => {
                    if self.write(stream, shards)? == Progress::Waits {
                        return Ok(Progress::Waits);
                    }
                }
                // What came out of a batch fits into one.
                added => carrying.added(added.ok().flatten().map(Place::to_bits), figures),
            }
        }
        self.streams[usize::from(stream)].writer.kept_is_added();
        Ok(Progress::Done)
    }

    /// Writes the open batch of a stream.
    fn write(&mut self, stream: u16, shards: &Shards) -> Result<Progress, WriteError> {
        let there = &mut self.streams[usize::from(stream)];
        let has_records = there.writer.waiting() > 0;
        match there.writer.write() {
            Ok(()) => {
                there.is_dirty |= has_records;
                there.packing.iter_mut().for_each(Packing::skip);
            }
            Err(WriteError::NoRoom) => {}
            Err(error) => return Err(error),
        }
        let waits = there.writer.waiting() > 0;
        if !waits {
            there.carrying.tell(stream, shards);
        }
        self.make_room_ahead(stream, shards)?;
        Ok(if waits { Progress::Waits } else { Progress::Done })
    }

    /// Makes everything safe that was added: what is little by a stream's journal, else the stream is written and drained.
    ///
    /// # Errors
    /// The medium's.
    pub(super) fn commit(&mut self, shards: &Shards, figures: &TierFigures) -> Result<Progress, WriteError> {
        let mut progress = Progress::Done;
        self.take_made();
        for stream in 0..self.streams.len() as u16 {
            let is_carried = self.add_carried(stream, shards, figures)? == Progress::Done;
            // A part of a snapshot comes behind what was added.
            let small_bytes = if self.has_part(stream) { 0 } else { self.small_bytes };
            if let Some(packing) = self.streams[usize::from(stream)].journal_of_little(small_bytes) {
                packing.commit()?;
                self.make_room_ahead(stream, shards)?;
                continue;
            }
            if !is_carried || self.write(stream, shards)? == Progress::Waits {
                progress = Progress::Waits;
            } else {
                self.write_part(stream, shards, figures)?;
            }
            let there = &mut self.streams[usize::from(stream)];
            if std::mem::take(&mut there.is_dirty) && self.drains {
                #[cfg(test)]
                if self.bug == Bug::Undrained {
                    continue;
                }
                there.writer.drain()?;
                there.packing.iter_mut().for_each(|packing| packing.packed(shards));
            }
        }
        self.ask();
        self.publish(figures);
        Ok(progress)
    }

    /// What a shard handed over is safe: sets the places that it is told.
    pub(super) fn set_places(&mut self, batch: &mut SaveBatch) {
        for entry in batch.entries.iter_mut().filter(|entry| entry.in_journal.is_some()) {
            let there = &mut self.streams[usize::from(self.by_stream.owner(entry.record.slot))];
            let drained = there.writer.drained_up_to();
            there.packing.iter_mut().for_each(|packing| packing.tell(batch.shard, entry, drained));
        }
    }

    /// Nothing more comes: journals are not used any more, and no snapshot is made.
    pub(super) fn end(&mut self) {
        self.small_bytes = 0;
        self.asking = None;
    }

    /// What waits for shards though they wait for nothing.
    ///
    /// # Errors
    /// What it is, in words.
    #[cfg(test)]
    pub(super) fn left_over(&self) -> Result<(), String> {
        for (number, Stream { freeing, carrying, packing, .. }) in self.streams.iter().enumerate() {
            let holds = packing.as_ref().map_or(0, Packing::holds);
            if freeing.is_some() || carrying.is_moving() || carrying.is_under_way() || holds > 0 {
                return Err(format!(
                    "stream {number} makes room by {freeing:?}, carries {carrying:?}, and {holds} holds of its journal are left"
                ));
            }
        }
        Ok(())
    }

    /// Whether something is to be carried on, or was added and is not written.
    pub(super) fn waits(&self) -> bool {
        self.streams.iter().any(|stream| stream.carrying.is_under_way() || stream.writer.waiting() > 0)
    }

    /// # Errors
    /// The medium's.
    pub(super) fn close(self) -> Result<(), WriteError> {
        for Stream { writer, packing, .. } in self.streams {
            writer.close()?;
            packing.map_or(Ok(()), Packing::close)?;
        }
        Ok(())
    }
}

impl Stream {
    /// Adds a record to the open batch of the stream, and of its journal, unless there are so many bytes that it is not used.
    fn add(&mut self, record: &Record, item: &[u8], small_bytes: usize) -> Result<Added, Unfit> {
        let place = self.writer.add(record, item)?.map(Place::to_bits);
        let (batch, bytes) = (self.writer.start(), self.writer.waiting_bytes());
        let packing = self.packing.as_mut().filter(|_| bytes < small_bytes);
        let in_journal = packing.and_then(|packing| packing.add(batch, record, item));
        Ok(Added { place, in_journal })
    }

    /// The journal, if what was added is less than so many bytes, and the journal has all of it that is not safe. What is carried it has
    /// not, and shards that wait to hear where that lies hear it when the stream is written.
    fn journal_of_little(&mut self, bytes: usize) -> Option<&mut Packing> {
        let is_little = self.writer.waiting_bytes() < bytes && !self.is_dirty && !self.carrying.is_added();
        self.packing.as_mut().filter(|packing| is_little && packing.has_room())
    }
}

/// What two ranges of slots have in common.
pub(super) fn common(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let both = *one.start().max(other.start())..=*one.end().min(other.end());
    (!both.is_empty()).then_some(both)
}
