//! What a reader elsewhere remembers: where it found keys, and where chunks of the index lie.

use crate::reader::Place;

/// So many reads of a remembered place, and its owner is told of one: it does not see them, and would take the item for a cold one.
const TOLD_EVERY: u8 = 16;
/// Chunks of the index that are remembered.
const CHUNKS: usize = 1024;

/// Where an item was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) place: Place,
    /// Of the item.
    pub(super) bytes: u16,
    reads: u8,
    /// When the lease ends under which the item was last seen alive: its segment, if it is freed, rests until then.
    until: u64,
}

impl Known {
    pub(super) fn new(place: Place, bytes: usize, until: u64) -> Known {
        Known { place, bytes: bytes as u16, reads: 0, until }
    }

    /// From when on something else may lie there; by the reader's clock.
    pub(super) fn until(&self) -> u64 {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::FarPlace) {
            return u64::MAX;
        }
        self.until
    }
}

/// Places by the hashes of their items; one that comes takes the place of another with the same low bits.
#[derive(Debug)]
pub(super) struct Places(Box<[Option<Known>]>);

impl Places {
    /// For so many at most; none for 0.
    pub(super) fn new(count: usize) -> Places {
        let count = count.checked_next_power_of_two().filter(|_| count > 0).unwrap_or(0);
        Places(vec![None; count].into())
    }

    fn entry(&mut self, hash: u64) -> Option<&mut Option<Known>> {
        let mask = self.0.len().wrapping_sub(1);
        self.0.get_mut(hash as usize & mask)
    }

    /// Where an item was, if the index has not grown since, and nothing else can lie there yet.
    pub(super) fn find(&mut self, hash: u64, growth: u64, now: u64) -> Option<Known> {
        let known = self.entry(hash)?.filter(|known| known.place.hash == hash)?;
        (known.place.growth == growth && now < known.until()).then_some(known)
    }

    pub(super) fn learn(&mut self, known: Known) {
        if let Some(entry) = self.entry(known.place.hash) {
            *entry = Some(known);
        }
    }

    pub(super) fn forget(&mut self, hash: u64) {
        if let Some(entry) = self.entry(hash) {
            entry.take_if(|known| known.place.hash == hash);
        }
    }

    /// Counts a read of a place, whose item was alive under a lease that ends then; whether its owner is to be told.
    pub(super) fn count(&mut self, hash: u64, lease_end: u64) -> bool {
        let Some(Some(known)) = self.entry(hash) else { return false };
        known.reads = (known.reads + 1) % TOLD_EVERY;
        known.until = known.until.max(lease_end);
        known.reads == 0
    }
}

/// Frames of chunks, by the chunks' numbers; as for places.
#[derive(Debug)]
pub(super) struct Chunks(Box<[Option<(usize, u32)>; CHUNKS]>);

impl Chunks {
    pub(super) fn new() -> Chunks {
        Chunks(Box::new([None; CHUNKS]))
    }

    pub(super) fn frame(&self, chunk: usize) -> Option<u32> {
        self.0[chunk % CHUNKS].filter(|(of, _)| *of == chunk).map(|(_, frame)| frame)
    }

    pub(super) fn learn(&mut self, chunk: usize, frame: u32) {
        self.0[chunk % CHUNKS] = Some((chunk, frame));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(hash: u64, growth: u64) -> Known {
        Known::new(Place { hash, location: 8, generation: 0, version: 1, growth }, 64, 10)
    }

    #[test]
    fn a_place_is_found_until_another_one_comes_or_the_index_grows() {
        let mut places = Places::new(3);
        places.learn(known(5, 2));
        assert_eq!(
            (places.find(5, 2, 9), places.find(9, 2, 9), places.find(5, 4, 9)),
            (Some(known(5, 2)), None, None)
        );
        places.forget(9);
        assert!(places.find(5, 2, 9).is_some());
        places.learn(known(9, 2));
        assert!(places.find(5, 2, 9).is_none() && places.find(9, 2, 9).is_some());
        places.forget(9);
        assert!(places.find(9, 2, 9).is_none());
        let mut none = Places::new(0);
        none.learn(known(5, 2));
        assert!(none.find(5, 2, 9).is_none() && !none.count(5, 20));
    }

    #[test]
    fn a_place_holds_until_the_last_lease_ends_under_which_its_item_was_seen() {
        let mut places = Places::new(4);
        places.learn(known(5, 2));
        let is_found = |places: &mut Places, now| places.find(5, 2, now).is_some();
        assert!(is_found(&mut places, 9) && !is_found(&mut places, 10));
        places.count(5, 20);
        assert!(is_found(&mut places, 19) && !is_found(&mut places, 20));
        places.count(5, 15);
        assert!(is_found(&mut places, 19), "that a lease is refused takes nothing of an earlier one");
    }

    #[test]
    fn one_read_in_some_is_told() {
        let mut places = Places::new(4);
        places.learn(known(5, 2));
        let told: Vec<usize> = (1..=64).filter(|_| places.count(5, 20)).collect();
        assert_eq!(told.len(), 64 / usize::from(TOLD_EVERY));
    }

    #[test]
    fn chunks_are_remembered_by_their_numbers() {
        let mut chunks = Chunks::new();
        chunks.learn(7, 3);
        assert_eq!((chunks.frame(7), chunks.frame(7 + CHUNKS)), (Some(3), None));
        chunks.learn(7 + CHUNKS, 4);
        assert_eq!((chunks.frame(7), chunks.frame(7 + CHUNKS)), (None, Some(4)));
    }
}
