//! A tier that is made anew, and filled.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Copied, CopyError};
use crate::format::record::{Kind, Record};
use crate::format::superblock::Config;
use crate::media::{MediaError, Medium};
use crate::stream::{StreamWriter, Unfit, WriteError};
use crate::tier::{OpenError, Run, Tier};

pub(super) struct Target<'s> {
    run: Run,
    writers: Vec<StreamWriter>,
    slots: &'s [(RangeInclusive<u16>, u16)],
    copied: Copied,
}

impl<'s> Target<'s> {
    pub(super) fn new(
        medium: &Arc<dyn Medium>,
        config: Config,
        slots: &'s [(RangeInclusive<u16>, u16)],
    ) -> Result<Target<'s>, CopyError> {
        Tier::create(medium, config)?;
        let tier = Tier::open(Arc::clone(medium))?;
        let ends = (0..config.streams).map(|stream| Ok(tier.recover(stream, &mut |_| {})?.0));
        let ends = ends.collect::<Result<Vec<_>, OpenError>>()?;
        let run = tier.begin().map_err(OpenError::from)?;
        let writers = ends.iter().map(|end| run.writer(end)).collect::<Result<_, _>>();
        let writers = writers.map_err(|error| unwritable(&run, error))?;
        Ok(Target { run, writers, slots, copied: Copied::default() })
    }

    /// Puts a record behind the ones before. An item that is not given is one that cannot be read.
    pub(super) fn put(&mut self, record: &Record, item: Option<&[u8]>) -> Result<(), CopyError> {
        let put = match record.kind {
            Kind::Flush | Kind::FlushAll => self.put_flush(record),
            _ => self.put_in(self.stream_of(record.slot), record, item.unwrap_or_default()),
        };
        put.map_err(|error| unwritable(&self.run, error))
    }

    /// A slot that is in no range is no key's.
    fn stream_of(&self, slot: u16) -> u16 {
        let range = self.slots.partition_point(|(range, _)| *range.end() < slot);
        self.slots.get(range).map_or(0, |(_, stream)| *stream)
    }

    /// A mark of many slots goes to every stream that has some of them.
    fn put_flush(&mut self, record: &Record) -> Result<(), WriteError> {
        let (all, space) = (record.slots(), (record.kind == Kind::Flush).then_some(record.space));
        for (range, stream) in self.slots {
            let both = *all.start().max(range.start())..=*all.end().min(range.end());
            if !both.is_empty() {
                self.put_in(*stream, &Record::flush(space, both, record.version), &[])?;
            }
        }
        Ok(())
    }

    fn put_in(&mut self, stream: u16, record: &Record, item: &[u8]) -> Result<(), WriteError> {
        let mut record = *record;
        let mut item = item;
        if record.kind.has_bytes() && item.is_empty() {
            record.kind = Kind::Tombstone;
            self.copied.lost += 1;
        }
        loop {
            match self.writers[usize::from(stream)].add(&record, item) {
                Ok(_) => break,
                Err(Unfit::BatchFull) => self.write(stream)?,
                Err(Unfit::TooLong { .. } | Unfit::Kind) => {
                    (record.kind, item) = (Kind::Tombstone, &[]);
                    self.copied.lost += 1;
                }
            }
        }
        self.copied.records += 1;
        Ok(())
    }

    /// Writes the open batch of a stream, and frees the oldest ones as long as there is no room.
    fn write(&mut self, stream: u16) -> Result<(), WriteError> {
        let writer = &mut self.writers[usize::from(stream)];
        let mut records = Vec::new();
        while writer.wants_room() {
            let Some(oldest) = writer.oldest(&mut records)? else {
                writer.drain()?;
                continue;
            };
            let dropped = records.drain(..).filter(|(record, _)| record.kind.has_bytes());
            self.copied.dropped += dropped.count() as u64;
            writer.free(oldest);
        }
        writer.write()
    }

    /// Ends as the source has ended, with its ceiling and its table of spaces.
    pub(super) fn end(mut self, from: &Tier) -> Result<Copied, CopyError> {
        let closed = (0..self.writers.len()).try_for_each(|stream| self.write(stream as u16));
        let writers = std::mem::take(&mut self.writers);
        let closed = closed.and_then(|()| writers.into_iter().try_for_each(StreamWriter::close));
        closed.map_err(|error| unwritable(&self.run, error))?;
        let ended = self.run.set_spaces(from.spaces()).and_then(|()| self.run.raise_ceiling(from.ceiling()));
        let medium = self.run.tier().medium().describe();
        let ended = if from.is_clean() { ended.and_then(|()| self.run.end()) } else { ended };
        ended.map_err(|source: MediaError| CopyError::Write { medium, source: source.into() })?;
        Ok(self.copied)
    }
}

fn unwritable(run: &Run, source: WriteError) -> CopyError {
    CopyError::Write { medium: run.tier().medium().describe(), source }
}
