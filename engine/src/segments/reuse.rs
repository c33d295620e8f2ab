//! Places of chunks that died lately, to be written again.
//!
//! The memory of a value that was just replaced is in the CPU's caches, that of the segment opened next is not. And what is
//! written to a place that is there already need not be compacted later.
//!
//! Only chunks go where a chunk was: others read items while their owner writes, but never a chunk.

use super::{Phase, Queue, Segments};
use crate::item::{HEADER_BYTES, Header, present, state};
use std::collections::VecDeque;

/// Places that are remembered.
const PLACES_MAX: usize = 64;
/// Shorter chunks are not worth it.
const PLACE_BYTES_MIN: usize = 4 << 10;
/// Share of a place that may stay empty behind a shorter chunk.
const LEFT_SHARE: usize = 8;
/// Eviction goes by the age of segments, so that of a place must not be far from a new one's: at most this share of all
/// segments were opened since.
const YOUNG_SHARE: u64 = 8;
/// Values under way pin their segments, and each may pin another one here: above this share nothing is written to old places.
const PINNED_SHARE: usize = 16;

#[derive(Debug)]
struct Place {
    at: u64,
    len: usize,
    /// Of its segment.
    sequence: u64,
}

/// The places, those of the last deaths at the back.
#[derive(Debug, Default)]
pub(super) struct Places(VecDeque<Place>);

impl Segments {
    /// Remembers the place of a chunk that has just died.
    pub(crate) fn leave_place(&mut self, at: u64, len: usize) {
        if len < PLACE_BYTES_MIN {
            return;
        }
        if self.places.0.len() == PLACES_MAX {
            self.places.0.pop_front();
        }
        let sequence = self.header(self.segment_of(at)).sequence;
        self.places.0.push_back(Place { at, len, sequence });
    }

    /// Takes a place for a chunk of `len` bytes, which counts as live from here on.
    pub(crate) fn take_place(&mut self, queue: Queue, len: usize) -> Option<u64> {
        if self.pinned() > self.count_max / PINNED_SHARE {
            return None;
        }
        let fits = |place: &Place| {
            let left = place.len.checked_sub(len);
            left.is_some_and(|left| left == 0 || (HEADER_BYTES..=place.len / LEFT_SHARE).contains(&left))
        };
        let found = self.places.0.iter().rposition(|place| fits(place) && self.is_usable(place, queue))?;
        let Place { at, len: all, .. } = self.places.0.remove(found)?;
        if all > len {
            self.fill_up(at + len as u64, all - len);
        }
        self.account(self.segment_of(at), len, None);
        Some(at)
    }

    /// Whether nobody reads what was there, and its segment is not to be free soon.
    fn is_usable(&self, place: &Place, queue: Queue) -> bool {
        let header = self.header(self.segment_of(place.at));
        // As long as it is open or sealed with the same sequence, it has not been another segment meanwhile.
        let is_there = header.sequence == place.sequence
            && matches!(header.phase, Phase::Open | Phase::Sealed)
            && header.live_items > 0;
        let is_young = self.sequence - place.sequence <= self.count_max as u64 / YOUNG_SHARE;
        // All pins but those of chunks under way may be somebody who reads the dead one.
        let is_read = header.pins.get() > header.fills;
        is_there && is_young && !is_read && header.queue == queue && !self.is_flushed(header)
    }

    /// Walks through a segment go from item to item.
    fn fill_up(&mut self, at: u64, len: usize) {
        let header = Header { state: state::DEAD, kind: present::CHUNK, ..Header::default() };
        header.write(&[], len - HEADER_BYTES, self.bytes_mut(at, len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::CLASS_CHUNK;

    const LEN: usize = 60 << 10;

    /// A segment of 1 MiB, with live chunks around a dead one whose place is returned.
    fn with_place() -> (Segments, u64) {
        let mut segments = Segments::new(1 << 20, 64, 0).unwrap();
        let header = Header { kind: present::CHUNK, ..Header::default() };
        let chunks: Vec<u64> = (0..3)
            .map(|_| {
                let at = segments.append(Queue::Small, CLASS_CHUNK, LEN, None, 0, 1).unwrap();
                header.write(&[], LEN - HEADER_BYTES, segments.bytes_mut(at, LEN));
                at
            })
            .collect();
        segments.set_state(chunks[1], state::DEAD);
        segments.discount(chunks[1], LEN, None);
        segments.leave_place(chunks[1], LEN);
        (segments, chunks[1])
    }

    #[test]
    fn a_place_is_taken_once_by_a_chunk_that_fits() {
        let (mut segments, at) = with_place();
        let too_short = LEN - LEN / LEFT_SHARE - 8;
        for len in [LEN + 8, LEN - 8, too_short] {
            assert_eq!(segments.take_place(Queue::Small, len), None, "{len} bytes");
        }
        assert_eq!(segments.take_place(Queue::Small, LEN), Some(at));
        assert_eq!(segments.take_place(Queue::Small, LEN), None);
        assert_eq!(segments.header(0).live_bytes as usize, 3 * LEN);
    }

    #[test]
    fn what_is_left_of_a_place_is_a_dead_item() {
        let (mut segments, at) = with_place();
        let len = LEN - HEADER_BYTES - 8;
        assert_eq!(segments.take_place(Queue::Small, len), Some(at));
        let left = segments.item(at + len as u64);
        assert!(left.is(state::DEAD));
        assert_eq!(left.item_len(), LEN - len);
        assert_eq!(segments.header(0).live_bytes as usize, 2 * LEN + len);
    }

    #[test]
    fn no_place_is_taken_that_somebody_reads_or_whose_segment_goes() {
        let (mut segments, at) = with_place();
        let lent = segments.lend(at, segments.item(at).value());
        assert_eq!(segments.take_place(Queue::Small, LEN), None, "it is read");
        segments.take_back(lent);
        assert_eq!(segments.take_place(Queue::Main, LEN), None, "it is another queue's");
        segments.pin_to_fill(at + LEN as u64);
        assert_eq!(segments.take_place(Queue::Small, LEN), Some(at), "a neighbour is written");
        segments.unpin_filled(at + LEN as u64);
        let drain = |segments: &mut Segments| {
            segments.seal_one(0);
            assert!(segments.take(0));
        };
        // Goes as a whole.
        let empty = |segments: &mut Segments| segments.headers[0].live_items = 0;
        for spoil in [Segments::flush, drain, empty] {
            let (mut segments, _) = with_place();
            spoil(&mut segments);
            assert_eq!(segments.take_place(Queue::Small, LEN), None);
        }
    }

    #[test]
    fn the_places_are_few_and_young() {
        let (mut segments, at) = with_place();
        for _ in 0..64 / YOUNG_SHARE {
            segments.take_own(Queue::Small, CLASS_CHUNK, 0, 0).unwrap();
        }
        assert!(segments.is_usable(&segments.places.0[0], Queue::Small));
        segments.take_own(Queue::Small, CLASS_CHUNK, 0, 0).unwrap();
        assert_eq!(segments.take_place(Queue::Small, LEN), None);
        (0..2 * PLACES_MAX).for_each(|_| segments.leave_place(at, LEN));
        assert_eq!(segments.places.0.len(), PLACES_MAX);
    }
}
