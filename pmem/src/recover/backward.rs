//! Telling what a stream holds, from its end to its oldest batch.

use super::snapshot::{self, Parts};
use super::{Counts, Event, Lost, Reads, StreamEnd, Walk};
use crate::format::batch::{Bounds, Head, Part};
use crate::format::checkpoint::Checkpoint;
use crate::format::geometry::Place;
use crate::format::record::{Entry, Record};
use crate::media::MediaError;

/// Lost parts that are remembered one by one; more are remembered as one that covers all.
const LOST_MAX: usize = 64;

/// What is met on the way back.
pub(super) enum Met {
    Batch(Head, Vec<Entry>),
    Part(Head, Part),
    /// Something is damaged: bounds of what it may have held, with the position behind it.
    Damage {
        below: u64,
        bounds: Option<Bounds>,
    },
}

/// Steps 6 to 9.
pub(super) fn tell(
    walk: &Walk<'_>,
    checkpoint: &Checkpoint,
    end: &StreamEnd,
    reads: Reads,
    counts: &mut Counts,
    tell: &mut dyn FnMut(Event),
) -> Result<(), MediaError> {
    let (mut doubts, mut parts) = (Doubts::new(end.stream), Parts::default());
    let mut back = Back::new(walk, Some(checkpoint), end);
    while let Some(met) = back.next(reads)? {
        match met {
            Met::Damage { below, bounds } => {
                counts.damaged += 1;
                tell(Event::Lost(doubts.add(below, bounds)));
            }
            Met::Part(head, part) => {
                counts.parts += 1;
                counts.padding_bytes += head.bounds.padding_bytes();
                match reads {
                    Reads::Newest => parts.add(head.bounds, part),
                    Reads::All => tell(Event::Part { part, records: head.bounds.records }),
                }
            }
            Met::Batch(head, entries) => {
                counts.batches += 1;
                counts.padding_bytes += head.bounds.padding_bytes();
                let told = entries.iter().rev().map(|entry| walk.told(&head, entry));
                tell_all(told, &head.bounds, &doubts, counts, tell);
            }
        }
        // Step 9.
        if let Some(snapshot) = parts.all_if_at(back.at, &walk.ring)
            && snapshot::tell(walk, end, &snapshot, &doubts, counts, tell)?
        {
            break;
        }
    }
    Ok(())
}

/// Tells records of a batch, but for those that are doubtful.
pub(super) fn tell_all(
    told: impl Iterator<Item = (Record, Option<Place>)>,
    batch: &Bounds,
    doubts: &Doubts,
    counts: &mut Counts,
    tell: &mut dyn FnMut(Event),
) {
    for (record, place) in told {
        // Step 8.
        if doubts.covers(batch, &record) {
            counts.doubtful += 1;
        } else {
            counts.records += 1;
            tell(Event::Record { record, place });
        }
    }
}

/// The batches of a stream, newest first, and what is doubtful among them. Parts of snapshots are none.
pub(super) fn batches(
    walk: &Walk<'_>,
    checkpoint: &Checkpoint,
    end: &StreamEnd,
) -> Result<(Vec<Bounds>, Doubts), MediaError> {
    let (mut doubts, mut batches) = (Doubts::new(end.stream), Vec::new());
    let mut back = Back::new(walk, Some(checkpoint), end);
    while let Some(met) = back.next(Reads::Newest)? {
        match met {
            Met::Damage { below, bounds } => drop(doubts.add(below, bounds)),
            Met::Batch(head, _) => batches.push(head.bounds),
            Met::Part(..) => {}
        }
    }
    Ok((batches, doubts))
}

/// The way back through a stream: steps 6 and 7.
pub(super) struct Back<'w, 'm> {
    walk: &'w Walk<'m>,
    checkpoint: Option<&'w Checkpoint>,
    end: &'w StreamEnd,
    /// What is said to end at `at`, or before.
    known: Option<Bounds>,
    /// Position that it has come back to.
    pub(super) at: u64,
}

impl<'w, 'm> Back<'w, 'm> {
    pub(super) fn new(
        walk: &'w Walk<'m>,
        checkpoint: Option<&'w Checkpoint>,
        end: &'w StreamEnd,
    ) -> Back<'w, 'm> {
        let known = Some(end.last).filter(|last| last.units > 0);
        Back { walk, checkpoint, end, known, at: end.end }
    }

    /// What comes next. Of parts of snapshots tables are read if all are to be.
    pub(super) fn next(&mut self, reads: Reads) -> Result<Option<Met>, MediaError> {
        let Back { walk, end, at, .. } = *self;
        if at <= walk.oldest(end) {
            return Ok(None);
        }
        // Step 6: which batch ends here is said by the one behind it; if that cannot be read, it is looked for.
        let bounds = match self.known.filter(|known| walk.fits(known) && known.end() <= at) {
            Some(known) => known,
            None => {
                let found = walk.find_batch_back(walk.oldest(end), at)?;
                if walk.oldest(end) >= at {
                    return Ok(None);
                }
                match found.filter(|found| walk.ring.next_start(found.end()) == at || found.end() == at) {
                    Some(found) => found,
                    None => {
                        (self.known, self.at) = (found, if found.is_some() { at } else { 0 });
                        return Ok(Some(Met::Damage { below: at, bounds: None }));
                    }
                }
            }
        };
        if bounds.start < walk.oldest(end) {
            return Ok(None);
        }
        // Step 7: a table that is whole is told; one that is not makes older records of its slots doubtful.
        self.at = bounds.start;
        let part = bounds.part();
        let read = match part.filter(|_| reads == Reads::Newest) {
            Some(_) => walk.head_of(&bounds)?.map(|head| (head, Some(Vec::new()))),
            None => walk.read_table(&bounds)?,
        };
        if self.at < walk.oldest(end) {
            // It was freed meanwhile, so what was read may be of anything.
            return Ok(None);
        }
        self.known = match (&read, self.checkpoint) {
            (Some((head, _)), _) => Some(head.previous),
            (None, Some(checkpoint)) if self.at == walk.ring.next_start(checkpoint.end) => {
                Some(checkpoint.previous)
            }
            (None, _) => None,
        }
        .filter(|previous| previous.units > 0);
        Ok(Some(match (read, part) {
            (Some((head, Some(_))), Some(part)) => Met::Part(head, part),
            (Some((head, Some(entries))), None) => Met::Batch(head, entries),
            _ => Met::Damage { below: bounds.start, bounds: Some(bounds) },
        }))
    }
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
        if lost.slots.is_empty() {
            // A part of a snapshot has superseded nothing.
            return lost;
        }
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
