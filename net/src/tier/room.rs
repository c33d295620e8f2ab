//! How a stream that is full gets room: its oldest batch goes, when no shard names a place of it any more.

use super::TierFigures;
use super::mailbox::Shards;
use super::messages::{Leaving, Reply};
use super::streams::Streams;
use torc_pmem::stream::{Oldest, WriteError};

/// A batch whose places are being forgotten.
#[derive(Debug)]
pub(super) struct Freeing {
    oldest: Oldest,
    /// Shards that have not said so.
    waits_for: Vec<u16>,
    /// What is to stay, by shard.
    stay: Vec<(u16, Leaving)>,
}

impl Streams {
    /// Makes room before it is needed.
    pub(super) fn make_room_ahead(&mut self, stream: u16, shards: &Shards) -> Result<(), WriteError> {
        if self.streams[usize::from(stream)].writer.wants_room() {
            self.make_room(stream, shards)?;
        }
        Ok(())
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
        if let Some(of) = stream.checked_sub(self.streams.len() as u16) {
            // It lay in a journal.
            return self.streams[usize::from(of)].packing.iter_mut().for_each(|packing| packing.heard(shard));
        }
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
            let there = &mut self.streams[usize::from(stream)];
            there.carrying.ended(shard);
            there.packing.iter_mut().for_each(|packing| packing.ended(shard));
            self.left(stream, shard, Vec::new(), figures);
        }
    }
}
