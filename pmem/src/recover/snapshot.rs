//! Snapshots of the index in a stream: which one is whole, and what it tells.
//!
//! ```text
//!   | batches | batches |  ... P | batch | part 0 | batch | part 1, last | batch |  end
//!      <--- not read -----------   <---- read, newest first, then parts 0 and 1 ---
//! ```
//!
//! A snapshot says of what all batches below its position P hold, so it takes the place of all of them, once what comes behind P was
//! told. Whatever is written later, it stays right: a later record is told before, and what lies in a batch that was freed is left
//! out.

use super::backward::{Doubts, tell_all};
use super::{Counts, Event, StreamEnd, Walk};
use crate::format::batch::{Bounds, Part};
use crate::format::geometry::Ring;
use crate::media::MediaError;

/// The parts of the newest snapshot that was met whole until here, newest first.
#[derive(Debug, Default)]
pub(super) struct Parts {
    found: Vec<(Bounds, Part)>,
}

impl Parts {
    /// Takes the next part on the way back.
    pub(super) fn add(&mut self, bounds: Bounds, part: Part) {
        if part.is_last {
            // Of those before one has not been met: all of them are of later positions.
            self.found.clear();
        } else if !self.found.last().is_some_and(|(_, behind)| {
            behind.below == part.below && behind.number.checked_sub(1) == Some(part.number)
        }) {
            return;
        }
        self.found.push((bounds, part));
    }

    /// All parts of the snapshot in their order, if nothing comes any more on the way back but what it is of.
    pub(super) fn all_if_at(&mut self, at: u64, ring: &Ring) -> Option<Vec<(Bounds, Part)>> {
        let (_, first) = self.found.last()?;
        if first.number != 0 || ring.next_start(first.below) != at {
            return None;
        }
        self.found.reverse();
        Some(std::mem::take(&mut self.found))
    }
}

/// Tells a snapshot. False: a part of it cannot be read. What was told then is right all the same, and older tables tell the rest.
pub(super) fn tell(
    walk: &Walk<'_>,
    end: &StreamEnd,
    parts: &[(Bounds, Part)],
    doubts: &Doubts,
    counts: &mut Counts,
    tell: &mut dyn FnMut(Event),
) -> Result<bool, MediaError> {
    for (bounds, part) in parts {
        let read = walk.read_table(bounds)?;
        let oldest = walk.oldest(end);
        if bounds.start < oldest {
            // It was freed meanwhile, and all that it is of was before.
            break;
        }
        let Some((head, Some(entries))) = read else {
            counts.damaged += 1;
            return Ok(false);
        };
        // Whatever is doubtful was lost behind all that it is of.
        let as_of = Bounds { start: part.below.saturating_sub(1), ..Bounds::default() };
        let are_there = entries.iter().filter(|entry| entry.position() >= oldest);
        tell_all(are_there.map(|entry| walk.told(&head, entry)), &as_of, doubts, counts, tell);
    }
    counts.has_snapshot = true;
    Ok(true)
}
