//! The streams of a medium as the storage thread writes them.

use super::TierFigures;
use super::carry::Carrying;
use super::mailbox::Shards;
use super::messages::{Leaving, Reply};
use super::save::SaveBatch;
use crate::slots::SlotMap;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::stream::{Oldest, Reader, StreamWriter, Unfit, WriteError};

/// A stream, and the batch that it makes room by.
#[derive(Debug)]
struct Stream {
    writer: StreamWriter,
    freeing: Option<Freeing>,
    carrying: Carrying,
    /// Written since the last drain.
    is_dirty: bool,
}

/// A batch whose places are being forgotten.
#[derive(Debug)]
struct Freeing {
    oldest: Oldest,
    /// Shards that have not said so.
    waits_for: Vec<u16>,
    /// What is to stay, by shard.
    stay: Vec<(u16, Leaving)>,
}

#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    reader: Reader,
    /// Slots by stream, and by shard.
    by_stream: SlotMap,
    by_shard: SlotMap,
    /// What is written is drained before anybody is told of it.
    drains: bool,
    /// What was written before these streams began.
    before: Written,
    /// What the oldest batch holds; kept for its room.
    records: Vec<(Record, Option<Place>)>,
}

/// Figures that go on when other streams take the place of those that were written.
#[derive(Debug)]
struct Written([u64; 5]);

impl Written {
    fn figures(figures: &TierFigures) -> [&AtomicU64; 5] {
        let TierFigures { records, item_bytes, written_bytes, drains, freed, .. } = figures;
        [records, item_bytes, written_bytes, drains, freed]
    }

    fn of(figures: &TierFigures) -> Written {
        Written(Written::figures(figures).map(|figure| figure.load(Relaxed)))
    }
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
        writers: Vec<StreamWriter>,
        reader: Reader,
        by_shard: SlotMap,
        drains: bool,
        figures: &TierFigures,
    ) -> Streams {
        let by_stream = SlotMap::even(writers.len() as u16);
        let stream =
            |writer| Stream { writer, freeing: None, carrying: Carrying::default(), is_dirty: false };
        Streams {
            streams: writers.into_iter().map(stream).collect(),
            reader,
            by_stream,
            by_shard,
            drains,
            before: Written::of(figures),
            records: Vec::new(),
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
                match self.add_record(stream, &record, batch.item(batch.added), shards, figures)? {
                    Some(place) => batch.entries[batch.added].place = place,
                    None => return Ok(Progress::Waits),
                }
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

    /// Adds a record, and returns its place; `None`: its stream has no room now.
    fn add_record(
        &mut self,
        stream: u16,
        record: &Record,
        item: &[u8],
        shards: &Shards,
        figures: &TierFigures,
    ) -> Result<Option<Option<u64>>, WriteError> {
        if self.add_carried(stream, shards, figures)? == Progress::Waits {
            return Ok(None);
        }
        loop {
            let writer = &mut self.streams[usize::from(stream)].writer;
            match writer.add(record, item) {
                Ok(place) => return Ok(Some(place.map(Place::to_bits))),
                Err(Unfit::BatchFull) => {}
                // Older copies have to go all the same.
                Err(Unfit::TooLong { .. } | Unfit::Kind) => {
                    let gone = Record { kind: Kind::Tombstone, ..*record };
                    match writer.add(&gone, &[]) {
                        Ok(_) => return Ok(Some(None)),
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
            Ok(()) => there.is_dirty |= has_records,
            Err(WriteError::NoRoom) => {}
            Err(error) => return Err(error),
        }
        let waits = there.writer.waiting() > 0;
        if !waits {
            there.carrying.tell(stream, shards);
        }
        if there.writer.wants_room() {
            self.make_room(stream, shards)?;
        }
        Ok(if waits { Progress::Waits } else { Progress::Done })
    }

    /// Writes everything that was added, and drains it.
    ///
    /// # Errors
    /// The medium's.
    pub(super) fn commit(&mut self, shards: &Shards, figures: &TierFigures) -> Result<Progress, WriteError> {
        let mut progress = Progress::Done;
        for stream in 0..self.streams.len() as u16 {
            let is_carried = self.add_carried(stream, shards, figures)? == Progress::Done;
            if !is_carried || self.write(stream, shards)? == Progress::Waits {
                progress = Progress::Waits;
            }
            let there = &mut self.streams[usize::from(stream)];
            if std::mem::take(&mut there.is_dirty) && self.drains {
                there.writer.drain()?;
            }
        }
        self.publish(figures);
        Ok(progress)
    }

    fn publish(&self, figures: &TierFigures) {
        let sum =
            |of: fn(&StreamWriter) -> u64| self.streams.iter().map(|stream| of(&stream.writer)).sum::<u64>();
        let since = [
            sum(|writer| writer.figures().records),
            sum(|writer| writer.figures().item_bytes),
            sum(|writer| writer.figures().written_bytes),
            sum(|writer| writer.figures().drains),
            sum(|writer| writer.figures().freed),
        ];
        for ((figure, before), since) in Written::figures(figures).into_iter().zip(self.before.0).zip(since) {
            figure.store(before + since, Relaxed);
        }
    }

    /// Has the places of the oldest batch forgotten, so that it can be written over.
    fn make_room(&mut self, stream: u16, shards: &Shards) -> Result<(), WriteError> {
        let there = &mut self.streams[usize::from(stream)];
        if there.freeing.is_some() {
            return Ok(());
        }
        self.records.clear();
        let mut oldest = there.writer.oldest(&mut self.records)?;
        if oldest.is_none() {
            there.writer.drain()?;
            oldest = there.writer.oldest(&mut self.records)?;
        }
        let Some(oldest) = oldest else { return Ok(()) };
        let mut waits_for = Vec::new();
        for shard in 0..shards.count() {
            let of_shard = |slot: u16| self.by_shard.owner(slot) == shard;
            let places: Vec<Leaving> = self
                .records
                .iter()
                .filter(|(record, _)| of_shard(record.slot))
                .filter_map(|&(record, place)| Some(Leaving { record, place: place?.to_bits() }))
                .collect();
            if !places.is_empty() && shards.send(shard, Reply::Leave { stream, below: oldest.end(), places })
            {
                waits_for.push(shard);
            }
        }
        if waits_for.is_empty() {
            there.writer.free(oldest);
        } else {
            there.freeing = Some(Freeing { oldest, waits_for, stay: Vec::new() });
        }
        Ok(())
    }

    /// A shard has forgotten the places of a stream's oldest batch, but for those of what is to stay.
    pub(super) fn left(&mut self, stream: u16, shard: u16, stay: Vec<Leaving>, figures: &TierFigures) {
        if let Some(freeing) = &mut self.streams[usize::from(stream)].freeing {
            freeing.waits_for.retain(|waited| *waited != shard);
            freeing.stay.extend(stay.into_iter().map(|leaving| (shard, leaving)));
        }
        self.free(stream, figures);
    }

    /// A shard knows where that lies now which has stayed.
    pub(super) fn moved(&mut self, stream: u16, shard: u16, figures: &TierFigures) {
        self.streams[usize::from(stream)].carrying.heard(shard);
        self.free(stream, figures);
    }

    /// Frees the oldest batch if no shard names a place of it, or of one before it.
    fn free(&mut self, stream: u16, figures: &TierFigures) {
        let there = &mut self.streams[usize::from(stream)];
        if there.carrying.is_moving() {
            return;
        }
        let Some(Freeing { oldest, stay, .. }) =
            there.freeing.take_if(|freeing| freeing.waits_for.is_empty())
        else {
            return;
        };
        if there.carrying.read(&mut self.reader, stay, there.writer.batch_bytes(), figures) {
            there.writer.free_keeping(oldest);
        } else {
            there.writer.free(oldest);
        }
    }

    /// A shard answers no more.
    pub(super) fn all_left(&mut self, shard: u16, figures: &TierFigures) {
        for stream in 0..self.streams.len() as u16 {
            self.streams[usize::from(stream)].carrying.ended(shard);
            self.left(stream, shard, Vec::new(), figures);
        }
    }

    /// Whether something is to be carried on.
    pub(super) fn is_carrying(&self) -> bool {
        self.streams.iter().any(|stream| stream.carrying.is_under_way())
    }

    /// # Errors
    /// The medium's.
    pub(super) fn close(self) -> Result<(), WriteError> {
        self.streams.into_iter().try_for_each(|stream| stream.writer.close())
    }
}

/// What two ranges of slots have in common.
pub(super) fn common(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let both = *one.start().max(other.start())..=*one.end().min(other.end());
    (!both.is_empty()).then_some(both)
}
