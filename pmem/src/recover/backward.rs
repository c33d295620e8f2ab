//! Telling what a stream holds, from its end to its oldest batch.

use super::{Counts, Event, Lost, StreamEnd, Walk};
use crate::format::batch::{Bounds, Head};
use crate::format::checkpoint::Checkpoint;
use crate::format::record::{Entry, Record};
use crate::media::MediaError;

/// Lost parts that are remembered one by one; more are remembered as one that covers all.
const LOST_MAX: usize = 64;

/// What is met on the way back.
enum Met<'m> {
    Batch(&'m Head, &'m [Entry]),
    /// Something is damaged: bounds of what it may have held, with the position behind it.
    Damage {
        below: u64,
        bounds: Option<Bounds>,
    },
}

/// Steps 6 to 8.
pub(super) fn tell(
    walk: &Walk<'_>,
    checkpoint: &Checkpoint,
    end: &StreamEnd,
    counts: &mut Counts,
    tell: &mut dyn FnMut(Event),
) -> Result<(), MediaError> {
    let mut doubts = Doubts::new(end.stream);
    go_back(walk, checkpoint, end, &mut |met| match met {
        Met::Damage { below, bounds } => {
            counts.damaged += 1;
            tell(Event::Lost(doubts.add(below, bounds)));
        }
        Met::Batch(head, entries) => {
            counts.batches += 1;
            counts.padding_bytes += head.bounds.padding_bytes();
            for entry in entries.iter().rev() {
                let (record, place) = walk.told(head, entry);
                // Step 8.
                if doubts.covers(&head.bounds, &record) {
                    counts.doubtful += 1;
                } else {
                    counts.records += 1;
                    tell(Event::Record { record, place });
                }
            }
        }
    })
}

/// The batches of a stream, newest first, and what is doubtful among them.
pub(super) fn batches(
    walk: &Walk<'_>,
    checkpoint: &Checkpoint,
    end: &StreamEnd,
) -> Result<(Vec<Bounds>, Doubts), MediaError> {
    let (mut doubts, mut batches) = (Doubts::new(end.stream), Vec::new());
    go_back(walk, checkpoint, end, &mut |met| match met {
        Met::Damage { below, bounds } => drop(doubts.add(below, bounds)),
        Met::Batch(head, _) => batches.push(head.bounds),
    })?;
    Ok((batches, doubts))
}

/// Steps 6 and 7.
fn go_back(
    walk: &Walk<'_>,
    checkpoint: &Checkpoint,
    end: &StreamEnd,
    visit: &mut dyn FnMut(Met<'_>),
) -> Result<(), MediaError> {
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
                    visit(Met::Damage { below: at, bounds: None });
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
        match read {
            Some((head, Some(entries))) => visit(Met::Batch(&head, &entries)),
            _ => visit(Met::Damage { below: bounds.start, bounds: Some(bounds) }),
        }
    }
    Ok(())
}

/// What was lost, behind batches that are doubtful for it.
#[derive(Debug)]
pub(crate) struct Doubts {
    stream: u16,
    /// Each with the position that it makes older batches doubtful below.
    lost: Vec<(u64, Lost)>,
}

impl Doubts {
    fn new(stream: u16) -> Doubts {
        Doubts { stream, lost: Vec::new() }
    }

    fn add(&mut self, below: u64, bounds: Option<Bounds>) -> Lost {
        let (slots, version) =
            bounds.map_or((0..=u16::MAX, u64::MAX), |bounds| (bounds.slots(), bounds.version));
        let lost = Lost { stream: self.stream, slots, version };
        if self.lost.len() == LOST_MAX {
            let version = self.lost.iter().map(|(_, lost)| lost.version).fold(version, u64::max);
            let below = self.lost.iter().map(|(below, _)| *below).fold(below, u64::max);
            self.lost = vec![(below, Lost { slots: 0..=u16::MAX, version, ..lost.clone() })];
        } else {
            self.lost.push((below, lost.clone()));
        }
        lost
    }

    /// Whether what superseded an item of a batch may be lost. A mark only says what is gone, which stays true.
    pub(crate) fn covers(&self, batch: &Bounds, record: &Record) -> bool {
        let may_supersede = |(below, lost): &(u64, Lost)| {
            batch.start < *below && lost.slots.contains(&record.slot) && record.version <= lost.version
        };
        record.kind.has_bytes() && self.lost.iter().any(may_supersede)
    }
}
