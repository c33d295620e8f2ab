//! What a snapshot has to hold: of each key the newest item, if it has one.
//!
//! The tables are read as recovery reads them, so a snapshot says what recovery would find. Which keys were met is noted in a set that
//! does not grow: who has less memory looks at some slots at a time. All records of a key have its slot, its chunks among them.

use super::backward::{Back, Met};
use super::{Reads, StreamEnd, Walk};
use crate::format::UNIT_BYTES;
use crate::format::record::{Entry, Kind, Record};
use crate::media::MediaError;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Records of the slots that were wanted, and those of them that a snapshot has to hold.
    pub records: u64,
    pub living: u64,
    /// Bytes of the tables that were read.
    pub read_bytes: u64,
    pub end: SurveyEnd,
}

/// Why it came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurveyEnd {
    /// All was seen that is there.
    Whole,
    /// Something is damaged.
    Damaged,
    /// More keys were met than there is room for.
    Full,
    /// Whoever takes what is found wants no more.
    Stopped,
    /// The stream has been freed up to where it ended, or nobody waits for it any more.
    Freed,
}

/// Looks through the tables of a stream, newest first.
pub(crate) fn survey(
    walk: &Walk<'_>,
    of: &StreamEnd,
    wanted: &dyn Fn(u16) -> bool,
    met: &mut Hashes,
    take: &mut dyn FnMut(Entry) -> bool,
) -> Result<Survey, MediaError> {
    met.clear();
    let mut flushes: Vec<Record> = Vec::new();
    let mut survey = Survey { records: 0, living: 0, read_bytes: 0, end: SurveyEnd::Whole };
    let ended = |survey, end| Ok(Survey { end, ..survey });
    let mut back = Back::new(walk, None, of);
    while let Some(next) = back.next(Reads::Newest)? {
        let (head, entries) = match next {
            Met::Batch(head, entries) => (head, entries),
            Met::Part(..) => continue,
            Met::Damage { .. } => return ended(survey, SurveyEnd::Damaged),
        };
        let units = head.bounds.units.saturating_sub(head.bounds.table);
        survey.read_bytes += u64::from(units) * UNIT_BYTES as u64;
        for Entry { record, page, ordinal, .. } in entries.into_iter().rev() {
            if matches!(record.kind, Kind::Flush | Kind::FlushAll) {
                flushes.push(record);
                continue;
            }
            if !wanted(record.slot) {
                continue;
            }
            survey.records += 1;
            // What a flush has voided is told by nobody: not remembering it leaves room.
            if flushes.iter().any(|flush| flush.voids(&record)) {
                continue;
            }
            let Some(is_new) = met.add(&record) else { return ended(survey, SurveyEnd::Full) };
            if !is_new || !record.kind.has_bytes() {
                continue;
            }
            survey.living += 1;
            if !take(Entry::of_snapshot(record, head.bounds.start + u64::from(page), ordinal)) {
                return ended(survey, SurveyEnd::Stopped);
            }
        }
    }
    let end = if walk.oldest(of) >= of.end && of.end > of.oldest { SurveyEnd::Freed } else { survey.end };
    ended(survey, end)
}

/// A set of keys and chunks that has its full size from the beginning.
#[derive(Debug)]
pub struct Hashes {
    /// Open addressing, with steps of one. 0: nothing.
    places: Vec<u64>,
    count: usize,
}

impl Hashes {
    /// It is full at this share of its places, as finding one that is free takes ever longer.
    const FULL: (usize, usize) = (3, 4);

    /// One that takes so many bytes.
    pub fn of_bytes(bytes: usize) -> Hashes {
        Hashes { places: vec![0; (bytes / size_of::<u64>()).max(2)], count: 0 }
    }

    /// One that has room for so many, but takes no more than so many bytes. One that is smaller stays in more of the CPU's caches.
    pub fn of_keys(keys: usize, bytes_most: usize) -> Hashes {
        let places =
            keys.saturating_mul(Hashes::FULL.1).div_ceil(Hashes::FULL.0).next_multiple_of(Hashes::FULL.1);
        Hashes::of_bytes(places.saturating_mul(size_of::<u64>()).min(bytes_most))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many it has room for.
    pub fn room(&self) -> usize {
        self.places.len() / Hashes::FULL.1 * Hashes::FULL.0
    }

    /// How many one of so many bytes has room for.
    pub fn room_in(bytes: usize) -> usize {
        (bytes / size_of::<u64>() / Hashes::FULL.1 * Hashes::FULL.0).max(1)
    }

    fn clear(&mut self) {
        self.places.fill(0);
        self.count = 0;
    }

    /// Adds the key or the chunk of a record. Whether it was not there; `None`: there is no room.
    fn add(&mut self, record: &Record) -> Option<bool> {
        // Neither a name of a chunk nor what stands for no key is taken for a key.
        let hash = if record.kind == Kind::Chunk { !record.hash } else { record.hash };
        // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4), and a range without division (Lemire, 2019).
        let hash = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15).max(1);
        let mut at = ((u128::from(hash) * self.places.len() as u128) >> 64) as usize;
        loop {
            match self.places[at] {
                0 => break,
                found if found == hash => return Some(false),
                _ => at = (at + 1) % self.places.len(),
            }
        }
        if self.count >= self.room() {
            return None;
        }
        (self.places[at], self.count) = (hash, self.count + 1);
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_what_it_has_met_until_it_is_full() {
        let record = |hash, kind| Record { hash, version: 1, expiry: 0, space: 0, slot: 0, kind };
        let mut met = Hashes::of_bytes(8 * 400);
        assert_eq!(met.room(), 300);
        for (keys, bytes_most) in [(1, 4096), (299, 4096), (300, 4096), (5000, 4096)] {
            let room = Hashes::of_keys(keys, bytes_most).room();
            assert!(room >= keys.min(384) && room <= keys + 4, "{keys}: {room}");
        }
        for hash in 0..150 {
            assert_eq!(met.add(&record(hash, Kind::Item)), Some(true), "{hash}");
            assert_eq!(met.add(&record(hash, Kind::Tombstone)), Some(false), "{hash}");
            assert_eq!(met.add(&record(hash, Kind::Chunk)), Some(true), "{hash}");
        }
        assert_eq!(met.add(&record(7, Kind::ChainHead)), Some(false));
        assert_eq!(met.add(&record(1000, Kind::Item)), None);
        met.clear();
        assert_eq!(met.add(&record(1000, Kind::Item)), Some(true));
    }
}
