//! What stays of a batch that the tier writes over.

use crate::tier::Leaving;
use crate::worker::state::WorkerState;
use torc_engine::index::FREQUENCY_MAX;

/// Of the items that are written over, this share stays at most, so that a tier comes to an end with them.
const STAY_SHARE: usize = 2;
/// So many items that were written over count for later ones, if fewer stayed: batches may be short.
const LEFT_MAX: usize = 2048;

impl WorkerState {
    /// Forgets places, but for those of items that are to stay and are on the tier alone: these are returned. Those in memory
    /// are told anew. Which ones stay: those that were read most since they were written where they lie.
    ///
    /// `left`: items that were written over and have not let others stay.
    pub(super) fn leave_places(&mut self, left: &mut usize, places: &[Leaving]) -> Vec<Leaving> {
        *left = (*left + places.len()).min(places.len().max(LEFT_MAX));
        let accesses: Vec<u8> =
            places.iter().map(|leaving| self.shard.accesses_at(leaving.record.hash, leaving.place)).collect();
        let (least, mut of_least) = least(&accesses, *left / STAY_SHARE);
        let mut stay = Vec::new();
        for (leaving, &accesses) in places.iter().zip(&accesses) {
            let Leaving { record, place } = *leaving;
            let is_worth = accesses > least || accesses == least && of_least > 0;
            let is_over = record.expiry != 0 && record.expiry <= self.now;
            let is_carried =
                is_worth && !is_over && self.shard.may_be_carried(record.hash, place, record.version);
            if is_carried {
                stay.push(*leaving);
            }
            if is_carried || self.shard.leave_place(record.hash, place, is_worth) {
                of_least -= usize::from(accesses == least);
                *left -= STAY_SHARE;
            }
        }
        stay
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
