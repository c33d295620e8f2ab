//! A tier in use.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Tier, write_block};
use crate::format::geometry::Place;
use crate::format::record::{Kind, Record};
use crate::format::spaces::SpaceTable;
use crate::format::superblock::{SUPERBLOCKS, Superblock};
use crate::media::{BLOCK_BYTES, MediaError, Medium};
use crate::recover::{Journaled, StreamEnd};
use crate::stream::{Journal, Miss, Reader, StreamWriter, Unfit, WriteError};

/// A tier in use.
#[derive(Debug)]
pub struct Run {
    tier: Tier,
    superblock: Mutex<Superblock>,
}

impl Run {
    /// A run of a tier whose superblock says so already.
    pub(super) fn new(tier: Tier) -> Result<Run, MediaError> {
        write_superblock(&*tier.medium, &tier.superblock)?;
        Ok(Run { superblock: Mutex::new(tier.superblock), tier })
    }

    /// The tier as it was when the run began.
    pub fn tier(&self) -> &Tier {
        &self.tier
    }

    /// The writer of a stream, which goes on where recovery found the end. One a stream.
    ///
    /// # Errors
    /// The medium's.
    pub fn writer(&self, end: &StreamEnd) -> Result<StreamWriter, WriteError> {
        let Tier { medium, geometry, superblock, ends } = &self.tier;
        StreamWriter::new(Arc::clone(medium), *geometry, ends.clone(), superblock.generation, end)
    }

    /// As [`Run::writer`], after what the journal has alone was packed into the stream, and with the journal's writer. A stream
    /// that has no room for that loses its oldest batches. Whoever has it told finds it anew before.
    ///
    /// # Errors
    /// The medium's.
    pub fn writers(
        &self,
        end: &StreamEnd,
        journaled: Option<&Journaled>,
    ) -> Result<(StreamWriter, Option<Journal>), WriteError> {
        let mut stream = self.writer(end)?;
        let Some(journaled) = journaled else { return Ok((stream, None)) };
        let mut reader = self.tier.reader();
        for (record, place) in &journaled.records {
            pack(&mut stream, &mut reader, record, *place)?;
        }
        write_at_last(&mut stream)?;
        stream.drain()?;
        // Its checkpoint says that there is nothing in it.
        let empty = StreamEnd { oldest: journaled.end.end, ..journaled.end };
        let journal = Journal::new(self.writer(&empty)?);
        Ok((stream, Some(journal)))
    }

    /// Makes it durable that versions up to `ceiling` may be given out. One that is lower than before changes nothing.
    ///
    /// # Errors
    /// The medium's: no version above the old ceiling may be given out.
    pub fn raise_ceiling(&self, ceiling: u64) -> Result<(), MediaError> {
        self.change(1, |superblock| superblock.ceiling = superblock.ceiling.max(ceiling))
    }

    /// Makes it durable that databases have these spaces. A table that is not newer changes nothing.
    ///
    /// Both superblocks have it then: if one of them is damaged, the other does not bring back what databases had before.
    ///
    /// # Errors
    /// The medium's: no change may be written that was made under the table.
    pub fn set_spaces(&self, spaces: &SpaceTable) -> Result<(), MediaError> {
        if self.superblock().spaces.version >= spaces.version {
            return Ok(());
        }
        self.change(SUPERBLOCKS as u32, |superblock| {
            if superblock.spaces.version < spaces.version {
                superblock.spaces = *spaces;
            }
        })
    }

    fn superblock(&self) -> Superblock {
        *self.superblock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it durable that nothing on the medium may be believed, for when a call to it has failed.
    ///
    /// # Errors
    /// The medium's: what is on it may come back then.
    pub fn void(&self) -> Result<(), MediaError> {
        self.change(2, |superblock| (superblock.is_void, superblock.is_volatile) = (true, false))
    }

    /// Makes it durable that the run has ended in order. Every writer has been closed before.
    ///
    /// # Errors
    /// The medium's.
    pub fn end(self) -> Result<(), MediaError> {
        self.change(1, |superblock| {
            superblock.is_clean = true;
            // One that was voided is not ended.
            superblock.is_void &= !superblock.is_volatile;
            superblock.is_volatile = false;
        })
    }

    /// Writes the changed superblock so many times in turn.
    fn change(&self, times: u32, change: impl FnOnce(&mut Superblock)) -> Result<(), MediaError> {
        let mut held = self.superblock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut superblock = *held;
        change(&mut superblock);
        for _ in 0..times {
            superblock.turn += 1;
            write_superblock(&*self.tier.medium, &superblock)?;
        }
        *held = superblock;
        Ok(())
    }
}

/// Writes the open batch of a stream, and frees the oldest ones as long as there is no room.
fn write_at_last(stream: &mut StreamWriter) -> Result<(), WriteError> {
    while stream.waiting() > 0 && stream.lacks_room() {
        let Some(oldest) = stream.oldest(&mut Vec::new())? else { break };
        stream.free(oldest);
    }
    stream.write()
}

/// Adds to a stream what its journal has. Whoever writes a journal puts no more into it than fits into one batch: of more, a crash
/// between two batches here would lose the second, as the stream's end tells what is packed.
fn pack(
    stream: &mut StreamWriter,
    reader: &mut Reader,
    record: &Record,
    place: Option<Place>,
) -> Result<(), WriteError> {
    let item = match place.map(|place| reader.read(place)) {
        Some(Ok(item)) => item,
        Some(Err(Miss::Media(error))) => return Err(error.into()),
        Some(Err(Miss::Corrupt(_))) | None => &[],
    };
    // An item that cannot be read must not let an older one take its place.
    let kind = if item.is_empty() && record.kind.has_bytes() { Kind::Tombstone } else { record.kind };
    let record = Record { kind, ..*record };
    if stream.add(&record, item) == Err(Unfit::BatchFull) {
        write_at_last(stream)?;
        // An item fits into an empty batch, as it has fitted into a smaller one of the journal.
        let _ = stream.add(&record, item);
    }
    Ok(())
}

fn write_superblock(medium: &dyn Medium, superblock: &Superblock) -> Result<(), MediaError> {
    let at = superblock.turn % SUPERBLOCKS * BLOCK_BYTES as u64;
    write_block(medium, at, &superblock.encode())?;
    // It has to be safe itself, whatever else is not: with it a tier is made void that has failed elsewhere.
    medium.drain_range(at, BLOCK_BYTES as u64)
}
