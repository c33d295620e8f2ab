//! How far streams have been written: told by their writers, known to readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::format::geometry::{Geometry, Place};

/// Positions behind the last batch of each stream, and of the oldest that is still needed.
#[derive(Debug, Clone)]
pub(crate) struct Ends(Arc<[[AtomicU64; 2]]>);

impl Ends {
    pub(crate) fn new(streams: u16) -> Ends {
        Ends((0..streams).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect())
    }

    pub(crate) fn tell(&self, stream: u16, end: u64) {
        self.0[usize::from(stream)][0].store(end, Ordering::Release);
    }

    pub(super) fn of(&self, stream: u16) -> u64 {
        self.0[usize::from(stream)][0].load(Ordering::Acquire)
    }

    /// Batches below this position may be written over from now on.
    pub(crate) fn free(&self, stream: u16, oldest: u64) {
        // Before anything is written there: whoever has read what was written over sees this.
        self.0[usize::from(stream)][1].store(oldest, Ordering::SeqCst);
    }

    pub(crate) fn oldest(&self, stream: u16) -> u64 {
        self.0[usize::from(stream)][1].load(Ordering::SeqCst)
    }
}

/// Tells whether a place has been written over, so that what was read there before is not believed.
#[derive(Debug, Clone)]
pub struct Overwrites {
    geometry: Geometry,
    ends: Ends,
}

/// A moment of the stream that a place lies in: the position behind its last batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(u64);

impl Overwrites {
    pub(crate) fn new(geometry: Geometry, ends: Ends) -> Overwrites {
        Overwrites { geometry, ends }
    }

    /// This moment.
    pub fn now(&self, place: Place) -> Moment {
        Moment(self.geometry.stream_of(place.unit()).map_or(0, |(stream, _)| self.ends.of(stream)))
    }

    /// Whether a batch that was written since a moment of the same page reaches over the page's first unit. Once a place is known
    /// to hold what was written over another thing, this says so for every moment before.
    pub fn reached(&self, place: Place, since: Moment) -> bool {
        let Some((stream, in_ring)) = self.geometry.stream_of(place.unit()) else { return false };
        let units = self.geometry.ring(stream).units();
        let before = (in_ring + units - since.0 % units) % units;
        self.ends.of(stream) > since.0 + before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::superblock::{Config, JournalConfig};

    const CONFIG: Config = Config {
        bytes: 1 << 20,
        page_bytes: 4096,
        batch_bytes: 16384,
        streams: 2,
        journal: JournalConfig::NONE,
        has_snapshots: false,
        volume: 1,
        hash_seed: 0,
    };

    #[test]
    fn a_place_is_reached_by_what_is_written_there_and_by_nothing_else() {
        let geometry = Geometry::new(CONFIG).unwrap();
        let ends = Ends::new(2);
        let overwrites = Overwrites::new(geometry, ends.clone());
        let ring = geometry.ring(1);
        let units = ring.units();
        for since in [0, 1, units - 1, units, 5 * units + units / 2] {
            for position in [since, since + 1, since + units / 3, since + units - 1] {
                let place = Place::new(ring.unit(position), 3);
                ends.tell(1, since);
                let moment = overwrites.now(place);
                for (end, is_reached) in [
                    (since, false),
                    (position, false),
                    (position + 1, true),
                    (position + units, true),
                    (position + 3 * units, true),
                ] {
                    ends.tell(1, end);
                    assert_eq!(overwrites.reached(place, moment), is_reached, "{since} {position} {end}");
                }
                let other = Place::new(geometry.ring(0).unit(position), 3);
                assert!(!overwrites.reached(other, overwrites.now(other)), "the other stream rests");
            }
        }
        let nowhere = Place::from_bits(0);
        assert!(!overwrites.reached(nowhere, overwrites.now(nowhere)));
    }
}
