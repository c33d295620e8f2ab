//! What a journal has alone: what its stream did not come to pack before the end of a run.

use super::{Counts, Event, Reads, StreamEnd, Walk};
use crate::format::geometry::Place;
use crate::format::record::{Kind, Record};
use crate::media::MediaError;

/// What a journal has that its stream has not.
#[derive(Debug, Clone)]
pub struct Journaled {
    pub(crate) end: StreamEnd,
    /// In the order in which they were added. All are newer than what the stream has. What the journal has lost is said by marks
    /// before them.
    pub records: Vec<(Record, Option<Place>)>,
    pub counts: Counts,
}

/// Reads a journal whose stream ends at `stream_end`; no version above `ceiling` was given out.
pub(crate) fn journaled(
    walk: &Walk<'_>,
    number: u16,
    stream_end: u64,
    ceiling: u64,
) -> Result<Journaled, MediaError> {
    let found = super::find(walk, number)?;
    let (mut records, mut of_batch, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_packed = false;
    // Newest first; of a batch the mark comes last.
    let counts = super::tell(walk, &found, Reads::All, &mut |event| match event {
        _ if is_packed => {}
        Event::Record { record, .. } if record.kind == Kind::Packed => {
            // The stream has this batch, and so it has those before.
            is_packed = record.hash < stream_end;
            if !is_packed {
                records.append(&mut of_batch);
            }
        }
        Event::Record { record, place } => of_batch.push((record, place)),
        // Whatever it superseded is not to be believed.
        // Only streams have snapshots.
        Event::Part { .. } => {}
        Event::Lost(of) => lost.push((Record::flush(None, of.slots, of.version.min(ceiling)), None)),
    })?;
    records.extend(lost);
    records.reverse();
    Ok(Journaled { end: found.end, records, counts })
}
