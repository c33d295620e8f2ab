//! Telling what a stream holds, from its end to its oldest batch.

use super::{Counts, Event, Lost, StreamEnd, Walk};
use crate::format::checkpoint::Checkpoint;
use crate::format::record::Record;
use crate::media::MediaError;

/// Lost parts that are remembered one by one; more are remembered as one that covers all.
const LOST_MAX: usize = 64;

/// Steps 6 to 8.
pub(super) fn tell(
    walk: &Walk<'_>,
    checkpoint: &Checkpoint,
    end: &StreamEnd,
    counts: &mut Counts,
    tell: &mut dyn FnMut(Event),
) -> Result<(), MediaError> {
    let mut doubts = Doubts { stream: end.stream, lost: Vec::new() };
    let mut known = Some(end.last).filter(|last| last.units > 0);
    let mut at = end.end;
    while at > walk.oldest(end) {
        // Step 6: which batch ends here is said by the one behind it; if that cannot be read, it is looked for.
        let bounds = match known.filter(|known| walk.fits(known) && known.end() <= at) {
            Some(known) => known,
            None => {
                let found = walk.find_batch_back(walk.oldest(end), at)?;
                if walk.oldest(end) >= at {
                    break;
                }
                if found.is_none_or(|found| walk.ring.next_start(found.end()) != at && found.end() != at) {
                    counts.damaged += 1;
                    tell(doubts.add(0..=u16::MAX, u64::MAX));
                }
                let Some(found) = found else { break };
                found
            }
        };
        if bounds.start < walk.oldest(end) {
            break;
        }
        // Step 7: a table that is whole is told; one that is not makes older records of its slots doubtful.
        at = bounds.start;
        let read = walk.read_table(&bounds)?;
        if at < walk.oldest(end) {
            // It was freed meanwhile, so what was read may be of anything.
            break;
        }
        known = match &read {
            Some((head, _)) => Some(head.previous),
            None if at == walk.ring.next_start(checkpoint.end) => Some(checkpoint.previous),
            None => None,
        }
        .filter(|previous| previous.units > 0);
        let Some((head, Some(entries))) = read else {
            counts.damaged += 1;
            tell(doubts.add(bounds.slots(), bounds.version));
            continue;
        };
        counts.batches += 1;
        for entry in entries.iter().rev() {
            let (record, place) = walk.told(&head, entry);
            // Step 8.
            if doubts.covers(&record) {
                counts.doubtful += 1;
            } else {
                counts.records += 1;
                tell(Event::Record { record, place });
            }
        }
    }
    Ok(())
}

/// What was lost so far, behind the batches that are still to be told.
struct Doubts {
    stream: u16,
    lost: Vec<Lost>,
}

impl Doubts {
    fn add(&mut self, slots: std::ops::RangeInclusive<u16>, version: u64) -> Event {
        let lost = Lost { stream: self.stream, slots, version };
        if self.lost.len() == LOST_MAX {
            let version = self.lost.iter().map(|lost| lost.version).fold(version, u64::max);
            self.lost = vec![Lost { slots: 0..=u16::MAX, version, ..lost.clone() }];
        } else {
            self.lost.push(lost.clone());
        }
        Event::Lost(lost)
    }

    /// Whether what superseded an item may be lost. A mark only says what is gone, which stays true.
    fn covers(&self, record: &Record) -> bool {
        let may_supersede = |lost: &Lost| lost.slots.contains(&record.slot) && record.version <= lost.version;
        record.kind.has_bytes() && self.lost.iter().any(may_supersede)
    }
}
