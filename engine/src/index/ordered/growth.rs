//! The table grows in place, some homes at a time.
//!
//! As homes keep the order of hashes, a home only ever moves up, so moving them from the last to the first never meets one that
//! is still to come. Hashes whose old home is below `growing.boundary` still live by the old number of homes, all others by the
//! new one. What moves is taken out as a whole, with what follows it up to the next room, and put where it belongs in one pass over the
//! buckets. That keeps the order, and all between an entry and its home full. None is lost: behind the home of any hash there are never
//! fewer buckets than before.

use super::entry::Words;
use super::{BUCKET_BYTES, ENTRIES_PER_BUCKET, HOMES_MIN, Ordered, TAIL_BUCKETS, in_use};
use crate::index::homes::{Growing, scale};

/// Share of the entries in use at which the table grows, in percent, and by what share of itself: so that an entry takes 18.2 to
/// 20.0 bytes.
const LOAD_PERCENT_MAX: u64 = 88;
const GROWTH_SHARE: u64 = 10;
/// Entries that find room at least when a table should grow, unless it is tiny: memory for it may have to be found first.
const SPARE: u64 = 1024;
/// A small table grows by this many homes.
const GROWTH_MIN: u64 = 64;
/// The load that a table gets which grows to what is expected, in percent, and how much larger it gets at once: what is expected
/// may be wrong, and a table does not shrink.
const LOAD_PERCENT_EXPECTED: u64 = 84;
const GROWTH_EXPECTED_MAX: u64 = 4;
/// Homes to move for each entry that is added while the table grows: then the part that has not moved yet ends below a load of
/// 0.9.
pub(in crate::index) const HOMES_PER_INSERT: usize = 16;

impl Ordered {
    pub(in crate::index) fn is_growing(&self) -> bool {
        self.homes.growing.is_some()
    }

    /// How many entries there will be, as far as anybody knows: the table grows to the size for them in fewer steps.
    pub(in crate::index) fn expect(&mut self, count: u64) {
        self.expected = count;
    }

    /// The size that the table should grow to, bytes, if it is too full.
    #[inline]
    pub(in crate::index) fn growth_wanted(&self) -> Option<usize> {
        if self.count < self.count_max() || self.is_growing() {
            return None;
        }
        let buckets = self.grown_homes() as usize + TAIL_BUCKETS;
        (buckets <= self.lines.buckets_max()).then_some(buckets * BUCKET_BYTES)
    }

    /// Entries at which the table should grow.
    #[inline]
    fn count_max(&self) -> u64 {
        let all = self.homes.count * ENTRIES_PER_BUCKET as u64;
        (all * LOAD_PERCENT_MAX / 100).min(all.saturating_sub(SPARE)).max(all / 2)
    }

    /// A table grows by a tenth, or to what is expected if that is more.
    fn grown_homes(&self) -> u64 {
        let homes = self.homes.count;
        let by_share = (homes + (homes / GROWTH_SHARE).max(GROWTH_MIN)).max(HOMES_MIN as u64);
        let expected =
            self.expected.saturating_mul(100) / (LOAD_PERCENT_EXPECTED * ENTRIES_PER_BUCKET as u64);
        let most = (self.lines.buckets_max() - TAIL_BUCKETS) as u64;
        by_share.max(expected.min(by_share * GROWTH_EXPECTED_MAX).min(most))
    }

    /// Begins to grow; the memory must have been found.
    pub(in crate::index) fn grow(&mut self) {
        assert!(!self.is_growing(), "one growth at a time");
        let (before, homes) = (self.homes.count, self.grown_homes());
        self.lines.extend_to(homes as usize + TAIL_BUCKETS);
        self.homes.growing = (before > 0).then_some(Growing { homes: before, boundary: before });
        self.homes.count = homes;
    }

    /// Moves some homes. Does nothing if no growth is under way.
    pub(in crate::index) fn grow_step(&mut self, homes: usize) {
        let Some(growing) = self.homes.growing else { return };
        let boundary = growing.boundary.saturating_sub(homes as u64);
        self.take_out(boundary as usize, growing.homes);
        self.homes.growing = (boundary > 0).then_some(Growing { boundary, ..growing });
        self.put_back();
    }

    /// Takes out what belongs to the old homes from `boundary` on and has not moved, and what follows it up to the next room.
    fn take_out(&mut self, boundary: usize, homes: u64) {
        let first = self.homes.growing.map_or(0, |growing| growing.boundary as usize);
        let stays = |words: &Words| scale(words.hash, homes) < boundary as u64;
        let entries = self.lines.entries_mut();
        for bucket in boundary..entries.len() / ENTRIES_PER_BUCKET {
            let used = in_use(entries, bucket);
            let start = bucket * ENTRIES_PER_BUCKET;
            for words in &mut entries[start..start + used] {
                if !stays(words) {
                    self.moving.push_back(std::mem::replace(words, Words::EMPTY));
                }
            }
            // Behind a bucket with room all are at home.
            if used < ENTRIES_PER_BUCKET && bucket + 1 >= first {
                break;
            }
        }
    }

    /// Puts what is moving where it belongs. What is there and greater goes on with it; what is smaller stays.
    fn put_back(&mut self) {
        let Some(first) = self.moving.front() else { return };
        let mut bucket = self.homes.of(first.hash);
        while let Some(next) = self.moving.front() {
            let start = bucket * ENTRIES_PER_BUCKET;
            let here = &mut self.lines.entries_mut()[start..start + ENTRIES_PER_BUCKET];
            let mut used = here
                .iter()
                .position(|words| words.is_empty() || words.hash > next.hash)
                .unwrap_or(here.len());
            for words in here[used..].iter_mut().filter(|words| !words.is_empty()) {
                self.moving.push_back(std::mem::replace(words, Words::EMPTY));
            }
            let homes = self.homes;
            while used < here.len()
                && let Some(words) = self.moving.front().filter(|words| homes.of(words.hash) <= bucket)
            {
                here[used] = *words;
                used += 1;
                self.moving.pop_front();
            }
            let next_home = self.moving.front().map_or(0, |words| self.homes.of(words.hash));
            bucket = next_home.max(bucket + 1);
        }
    }
}
