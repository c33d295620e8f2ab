//! What stays of a batch that the tier writes over.

use crate::tier::Leaving;
use crate::worker::state::WorkerState;
use torc_engine::index::FREQUENCY_MAX;
use torc_pmem::format::record::{Kind, Record};

/// Of the items that are written over, this share stays at most, so that a tier comes to an end with them.
const STAY_SHARE: isize = 2;
/// So many items that were written over count for later ones, if fewer stayed: batches may be short.
const LEFT_MAX: isize = 2048;

impl WorkerState {
    /// Forgets places, but for those of items that are to stay and are on the tier alone: these are returned. Those in memory
    /// are told anew. Which ones stay: those that were read most since they were written where they lie.
    ///
    /// Chunks count as their long value was read, and stay only where that is in memory: a value on the tier alone that loses a
    /// part is gone.
    ///
    /// `left`: items and chunks that were written over and have not let others stay; below 0: chunks stayed beyond their share,
    /// as their value is told anew.
    pub(super) fn leave_places(&mut self, left: &mut isize, places: &[Leaving]) -> Vec<Leaving> {
        let count = places.len() as isize;
        *left = (*left + count).min(count.max(LEFT_MAX));
        let accesses: Vec<u8> = places.iter().map(|leaving| self.accesses_of(leaving)).collect();
        let (least, mut of_least) = least(&accesses, (*left / STAY_SHARE).max(0) as usize);
        let mut stay = Vec::new();
        for (leaving, &accesses) in places.iter().zip(&accesses) {
            let Leaving { record, place } = *leaving;
            let is_worth = accesses > least || accesses == least && of_least > 0;
            let is_carried = is_worth && self.is_to_be_carried(leaving);
            if is_carried {
                stay.push(*leaving);
            }
            let stays = is_carried
                || match record.kind {
                    Kind::Chunk => self.shard.leave_chunk(record.hash, record.expiry, place, is_worth),
                    _ => self.shard.leave_place(record.hash, place, is_worth),
                };
            if stays {
                of_least = of_least.saturating_sub(usize::from(accesses == least));
                *left -= STAY_SHARE;
            }
        }
        stay
    }

    fn accesses_of(&self, leaving: &Leaving) -> u8 {
        let Leaving { record: Record { hash, expiry, kind, .. }, place } = *leaving;
        match kind {
            Kind::Chunk => self.shard.accesses_of_chain(hash, expiry, place),
            _ => self.shard.accesses_at(hash, place),
        }
    }

    /// Whether an item is carried on that is on the tier alone. Heads are not, as their chunks would have to be, too.
    fn is_to_be_carried(&self, leaving: &Leaving) -> bool {
        let Leaving { record, place } = *leaving;
        let is_over = record.ends_at().is_some_and(|end| end <= self.now);
        let is_item = record.kind == Kind::Item && !is_over;
        is_item && self.shard.may_be_carried(record.hash, place, record.version)
    }
}

/// The least number of accesses with which items stay, at least one, and how many of those that have it.
fn least(accesses: &[u8], may_stay: usize) -> (u8, usize) {
    let mut more = 0;
    for least in (1..=FREQUENCY_MAX).rev() {
        let count = accesses.iter().filter(|accesses| **accesses == least).count();
        if more + count >= may_stay {
            return (least, may_stay - more);
        }
        more += count;
    }
    (1, may_stay)
}

#[cfg(test)]
mod tests {
    use super::least;

    #[test]
    fn those_that_were_read_most_stay() {
        assert_eq!(least(&[0, 1, 1, 2, 3], 2), (2, 1));
        assert_eq!(least(&[0, 1, 1, 2, 3], 3), (1, 1));
        assert_eq!(least(&[0, 1, 1, 2, 3], 9), (1, 9));
        assert_eq!(least(&[0, 0], 1), (1, 1));
        assert_eq!(least(&[3, 3], 0), (15, 0));
    }
}
