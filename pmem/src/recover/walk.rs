//! Reading the heads, feet and tables of a stream.

use super::{Doubts, StreamEnd};
use crate::format::batch::{Bounds, HEAD_BYTES, Head};
use crate::format::checkpoint::Checkpoint;
use crate::format::geometry::{Geometry, Place, Ring};
use crate::format::page::{HEADER_BYTES, PageHeader};
use crate::format::record::{Entry, RECORD_BYTES, Record};
use crate::format::{BLOCK_UNITS, UNIT_BYTES, checksum};
use crate::media::{BLOCK_BYTES, Block, MediaError, Medium, bytes, zeroed};

/// A head or a foot, and the records if the table is whole.
pub(super) type Table = (Head, Option<Vec<Entry>>);

/// A stream that is read.
pub(crate) struct Walk<'m> {
    pub(super) medium: &'m dyn Medium,
    pub(super) ring: Ring,
    stream: u16,
    volume: u64,
    /// No batch is of a later run.
    generation: u64,
    /// Where the oldest batch begins that nobody writes over meanwhile.
    freed: &'m (dyn Fn() -> u64 + Sync),
}

impl<'m> Walk<'m> {
    pub(crate) fn new(medium: &'m dyn Medium, geometry: &Geometry, stream: u16, generation: u64) -> Walk<'m> {
        let (ring, volume) = (geometry.ring(stream), geometry.config.volume);
        Walk { medium, ring, stream, volume, generation, freed: &|| 0 }
    }

    /// A walk through a stream that is written meanwhile.
    pub(crate) fn beside(self, freed: &'m (dyn Fn() -> u64 + Sync)) -> Walk<'m> {
        Walk { freed, ..self }
    }

    /// Where the oldest batch begins that can still be told.
    pub(super) fn oldest(&self, end: &StreamEnd) -> u64 {
        end.oldest.max((self.freed)())
    }

    pub(super) fn takes_checkpoint(&self, found: &Checkpoint) -> bool {
        let is_ours = found.stream == self.stream && found.volume == self.volume;
        let is_sound = found.end.is_multiple_of(BLOCK_UNITS) && found.oldest.is_multiple_of(BLOCK_UNITS);
        let spans = found.end.saturating_add(self.ring.units()) < u64::MAX
            && found.oldest <= found.end + self.ring.units();
        is_ours && found.generation <= self.generation && is_sound && spans
    }

    /// Whether a batch can lie so in the ring.
    pub(super) fn fits(&self, bounds: &Bounds) -> bool {
        let units = u64::from(bounds.units);
        let in_ring = bounds.start % self.ring.units();
        let table_end =
            u64::from(bounds.table) * UNIT_BYTES as u64 + u64::from(bounds.records) * RECORD_BYTES as u64;
        bounds.start.is_multiple_of(BLOCK_UNITS)
            && units.is_multiple_of(BLOCK_UNITS)
            && (1..=self.ring.batch_units()).contains(&units)
            && in_ring + units <= self.ring.units()
            && bounds.start.checked_add(units).is_some()
            && bounds.table >= (HEAD_BYTES / UNIT_BYTES) as u32
            && table_end + HEAD_BYTES as u64 <= units * UNIT_BYTES as u64
    }

    fn takes(&self, head: &Head) -> bool {
        let is_ours = head.stream == self.stream && head.volume == self.volume;
        is_ours && head.generation <= self.generation && self.fits(&head.bounds)
    }

    /// Reads blocks of the ring from a position on, which must not lead over its end.
    fn read(&self, position: u64, blocks: usize) -> Result<Vec<Block>, MediaError> {
        let mut out = zeroed(blocks);
        self.medium.read(self.ring.byte(position), &mut out)?;
        Ok(out)
    }

    /// The head at a position that is the start of a block.
    pub(super) fn head_at(&self, position: u64) -> Result<Option<Head>, MediaError> {
        Ok(self.head_in(bytes(&self.read(position, 1)?), position))
    }

    fn head_in(&self, block: &[u8], position: u64) -> Option<Head> {
        Head::decode_head(block).filter(|head| head.bounds.start == position && self.takes(head))
    }

    /// The first head in `from..to` that `wanted` says yes to; many blocks are read at a time.
    pub(super) fn find_head(
        &self,
        from: u64,
        to: u64,
        wanted: &dyn Fn(&Head) -> bool,
    ) -> Result<Option<Head>, MediaError> {
        const PIECE_BLOCKS: u64 = 128;
        let mut at = from;
        while at < to {
            let rest = (self.ring.units() - at % self.ring.units()) / BLOCK_UNITS;
            let blocks = PIECE_BLOCKS.min(rest).min((to - at).div_ceil(BLOCK_UNITS));
            let read = self.read(at, blocks as usize)?;
            for block in bytes(&read).chunks_exact(BLOCK_BYTES) {
                if let Some(head) = self.head_in(block, at).filter(wanted) {
                    return Ok(Some(head));
                }
                at += BLOCK_UNITS;
            }
        }
        Ok(None)
    }

    /// The last batch that ends in `from..=to` and is whole at both of its ends: with one alone it could be what a crash has
    /// left, and a later batch has written over.
    pub(super) fn find_batch_back(&self, from: u64, to: u64) -> Result<Option<Bounds>, MediaError> {
        let mut end = to;
        while end > from {
            let block = self.read(end - BLOCK_UNITS, 1)?;
            let foot =
                Head::decode_foot(bytes(&block)).filter(|foot| self.takes(foot) && foot.bounds.end() == end);
            if let Some(foot) = foot
                && foot.bounds.start >= from
                && self.head_at(foot.bounds.start)? == Some(foot)
            {
                return Ok(Some(foot.bounds));
            }
            end -= BLOCK_UNITS;
        }
        Ok(None)
    }

    /// Reads a batch from its table on, and gives its foot, or its head if the foot is damaged, and the records if the
    /// table is whole.
    pub(super) fn read_table(&self, bounds: &Bounds) -> Result<Option<Table>, MediaError> {
        let table = u64::from(bounds.table);
        let first = table / BLOCK_UNITS * BLOCK_UNITS;
        let blocks =
            self.read(bounds.start + first, ((u64::from(bounds.units) - first) / BLOCK_UNITS) as usize)?;
        let bytes = bytes(&blocks);
        let is_it = |head: &Head| head.bounds == *bounds && self.takes(head);
        let head = match Head::decode_foot(bytes).filter(is_it) {
            Some(foot) => Some(foot),
            None => self.head_at(bounds.start)?.filter(is_it),
        };
        let Some(head) = head else { return Ok(None) };
        Ok(Some((head, entries(&head, &bytes[((table - first) as usize) * UNIT_BYTES..]))))
    }

    /// The head of a batch, or its foot if that is damaged, without its table.
    pub(super) fn head_of(&self, bounds: &Bounds) -> Result<Option<Head>, MediaError> {
        let is_it = |head: &Head| head.bounds == *bounds && self.takes(head);
        if let Some(head) = self.head_at(bounds.start)?.filter(is_it) {
            return Ok(Some(head));
        }
        let last = self.read(bounds.end() - BLOCK_UNITS, 1)?;
        Ok(Head::decode_foot(bytes(&last)).filter(is_it))
    }

    /// Whether all of a batch is as it was written, pages included.
    pub(super) fn is_whole(&self, head: &Head) -> Result<bool, MediaError> {
        let bounds = &head.bounds;
        let blocks = self.read(bounds.start, (u64::from(bounds.units) / BLOCK_UNITS) as usize)?;
        let bytes = bytes(&blocks);
        let table = bounds.table as usize * UNIT_BYTES;
        if Head::decode_foot(bytes) != Some(*head) || entries(head, &bytes[table..]).is_none() {
            return Ok(false);
        }
        let mut at = HEAD_BYTES;
        for _ in 0..head.pages {
            let Some(page) = bytes.get(at..table) else { return Ok(false) };
            let Ok(header) = PageHeader::decode(page) else { return Ok(false) };
            let position = bounds.start + (at / UNIT_BYTES) as u64;
            let is_its = header.position == position && header.generation == head.generation as u32;
            if !is_its || header.verify(&page[HEADER_BYTES..]).is_err() {
                return Ok(false);
            }
            at = at.saturating_add(header.units() as usize * UNIT_BYTES);
        }
        Ok(at == table)
    }

    /// What a record of a batch says, with the place on the medium.
    pub(super) fn told(&self, head: &Head, entry: &Entry) -> (Record, Option<Place>) {
        let position = match head.bounds.part() {
            Some(_) => entry.position(),
            None => head.bounds.start + u64::from(entry.page),
        };
        let place = || Place::new(self.ring.unit(position), entry.ordinal);
        (entry.record, entry.record.kind.has_bytes().then(place))
    }

    /// Appends what a batch tells, as far as that is not doubtful; `false`: it cannot be read.
    pub(crate) fn tell_batch(
        &self,
        bounds: &Bounds,
        doubts: &Doubts,
        records: &mut Vec<(Record, Option<Place>)>,
    ) -> Result<bool, MediaError> {
        let Some((head, Some(entries))) = self.read_table(bounds)? else { return Ok(false) };
        let told = entries.iter().map(|entry| self.told(&head, entry));
        records.extend(told.filter(|(record, _)| !doubts.covers(bounds, record)));
        Ok(true)
    }

    /// Appends what the batch at a position tells, and returns where it ends and whether it could be read. `limit` is where
    /// the last batch ends.
    pub(crate) fn tell_at(
        &self,
        start: u64,
        limit: u64,
        records: &mut Vec<(Record, Option<Place>)>,
    ) -> Result<(u64, bool), MediaError> {
        let bounds = match self.head_at(start)? {
            Some(head) => head.bounds,
            None => match self.find_head(start + BLOCK_UNITS, limit, &|_| true)? {
                Some(next) if next.previous.start == start && self.fits(&next.previous) => next.previous,
                Some(next) => return Ok((next.bounds.start, false)),
                None => return Ok((limit, false)),
            },
        };
        if bounds.part().is_some() {
            // What it names lies elsewhere.
            return Ok((bounds.end(), true));
        }
        let Some((head, Some(entries))) = self.read_table(&bounds)? else { return Ok((bounds.end(), false)) };
        records.extend(entries.iter().map(|entry| self.told(&head, entry)));
        Ok((bounds.end(), true))
    }
}

/// The records of a table, which begins `bytes`. `None`: it is damaged.
fn entries(head: &Head, bytes: &[u8]) -> Option<Vec<Entry>> {
    let table = bytes.get(..head.bounds.records as usize * RECORD_BYTES)?;
    if checksum(table) != head.table_checksum {
        return None;
    }
    let part = head.bounds.part();
    let is_sound = |entry: &Entry| {
        let has_bytes = entry.record.kind.has_bytes();
        let is_there = match part {
            Some(part) => has_bytes && entry.position() < part.below,
            None => entry.page < head.bounds.table && (entry.page > 0) == has_bytes,
        };
        is_there && usize::from(entry.ordinal) < Place::ORDINALS
    };
    table.chunks_exact(RECORD_BYTES).map(|bytes| Entry::decode(bytes).filter(is_sound)).collect()
}
