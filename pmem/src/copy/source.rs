//! What a tier holds, oldest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::CopyError;
use crate::format::UNIT_BYTES;
use crate::format::batch::Bounds;
use crate::format::geometry::Place;
use crate::format::record::{RECORD_BYTES, Record};
use crate::media::MediaError;
use crate::recover::{self, Doubts, Walk};
use crate::stream::{Miss, Reader};
use crate::tier::Tier;

/// A stream that is read.
struct Source<'t> {
    walk: Walk<'t>,
    /// What is still to be read, newest first: 32 bytes for each batch.
    batches: Vec<Bounds>,
    doubts: Doubts,
    /// What the journal has alone, which is newer.
    journaled: Vec<(Record, Option<Place>)>,
}

/// All streams of a tier.
pub(super) struct Sources<'t> {
    tier: &'t Tier,
    streams: Vec<Source<'t>>,
    /// By the highest version of its oldest batch: the stream that is next.
    order: BinaryHeap<Reverse<(u64, usize)>>,
    reader: Reader,
    records: Vec<(Record, Option<Place>)>,
    bytes: u64,
}

/// Takes a record, with the item if there is one and it can be read.
type Take<'f> = dyn FnMut(&Record, Option<&[u8]>) -> Result<(), CopyError> + 'f;

impl<'t> Sources<'t> {
    pub(super) fn new(tier: &'t Tier) -> Result<Sources<'t>, CopyError> {
        let mut sources = Sources {
            tier,
            streams: Vec::new(),
            order: BinaryHeap::new(),
            reader: tier.reader(),
            records: Vec::new(),
            bytes: 0,
        };
        for stream in 0..tier.config().streams {
            let walk = tier.walk(stream);
            let found = tier.find(stream).map_err(|source| sources.unreadable(source))?;
            let batches = recover::batches(&walk, &found).map_err(|source| sources.unreadable(source))?;
            let Some((batches, doubts)) = batches else { continue };
            let journaled = tier.journaled(&found).map_err(|source| sources.unreadable(source))?;
            let journaled = journaled.map(|journaled| journaled.records).unwrap_or_default();
            sources.bytes += batches.iter().map(bytes).sum::<u64>() + table_bytes(&journaled);
            sources.streams.push(Source { walk, batches, doubts, journaled });
            sources.line_up(sources.streams.len() - 1);
        }
        Ok(sources)
    }

    /// Bytes of the batches that are still to be read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn line_up(&mut self, stream: usize) {
        let Source { batches, journaled, .. } = &self.streams[stream];
        let in_journal = journaled.iter().map(|(record, _)| record.version).max();
        let oldest = batches.last().map(|oldest| oldest.version).or(in_journal);
        self.order.extend(oldest.map(|version| Reverse((version, stream))));
    }

    /// Gives the records of one batch, or of a journal. False: there is none left.
    pub(super) fn next(&mut self, take: &mut Take<'_>) -> Result<bool, CopyError> {
        let Some(Reverse((_, stream))) = self.order.pop() else { return Ok(false) };
        let source = &mut self.streams[stream];
        let Some(bounds) = source.batches.pop() else {
            self.records = std::mem::take(&mut source.journaled);
            self.bytes -= table_bytes(&self.records);
            self.give(take)?;
            return Ok(true);
        };
        self.records.clear();
        match source.walk.tell_batch(&bounds, &source.doubts, &mut self.records) {
            Ok(true) => {}
            // What it superseded has gone over already.
            Ok(false) => return Err(CopyError::Changed { medium: self.tier.medium().describe() }),
            Err(source) => return Err(self.unreadable(source)),
        }
        self.bytes -= bytes(&bounds);
        self.line_up(stream);
        self.give(take)?;
        Ok(true)
    }

    /// Reads each page once.
    fn give(&mut self, take: &mut Take<'_>) -> Result<(), CopyError> {
        let medium = || self.tier.medium().describe();
        for of_page in self.records.chunk_by(|one, other| unit(one) == unit(other)) {
            let Some(place) = of_page.first().and_then(|(_, place)| *place) else {
                of_page.iter().try_for_each(|(record, _)| take(record, None))?;
                continue;
            };
            let page = match self.reader.page(place) {
                Ok(page) => Some(page),
                Err(Miss::Corrupt(_)) => None,
                Err(Miss::Media(source)) => return Err(CopyError::Read { medium: medium(), source }),
            };
            for (record, place) in of_page {
                let (page, place) = (page.as_ref(), place.map(Place::ordinal));
                take(record, page.zip(place).and_then(|(page, ordinal)| page.item(ordinal).ok()))?;
            }
        }
        Ok(())
    }

    fn unreadable(&self, source: MediaError) -> CopyError {
        CopyError::Read { medium: self.tier.medium().describe(), source }
    }
}

fn unit((_, place): &(Record, Option<Place>)) -> Option<u64> {
    place.map(Place::unit)
}

fn table_bytes(records: &[(Record, Option<Place>)]) -> u64 {
    (records.len() * RECORD_BYTES) as u64
}

fn bytes(batch: &Bounds) -> u64 {
    u64::from(batch.units) * UNIT_BYTES as u64
}
