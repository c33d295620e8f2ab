//! From a hash to the place of what is elsewhere: an ordered hash table (Amble and Knuth, 1974) of buckets.
//!
//! ```text
//!  bucket: one cache line
//!  +---------+---------+---------+---------+
//!  | entry 0 | entry 1 | entry 2 | entry 3 |      the empty ones are the last
//!  +---------+---------+---------+---------+
//!
//!  table:  home 0 | home 1 | ... | home n-1 | TAIL_BUCKETS more for the last homes' overflow
//! ```
//!
//! The *home* of a hash is `hash * n / 2^64`, so homes are in the order of the hashes. So are the entries, from the first bucket to
//! the last: what does not fit its home lies in the next buckets, all that lies between is full, and who is added moves others up by
//! one. A lookup ends at the first bucket with room, or with a greater hash: with the first line, mostly, be it a hit or a miss,
//! and however full the table is. That is why it may be fuller than one in which the last to come goes the farthest. What
//! follows one that is removed moves down by one, as far as it is not at home.
//!
//! **Growth** is in place, some homes at a time, from the last to the first: see `growth.rs`.
//!
//! Goals: 20 bytes an entry at most, mostly one line a lookup, no stall. Non-goals: others that read it meanwhile, shrinking.

mod audit;
mod entry;
mod growth;
mod lines;

pub(super) use entry::TAGS;
pub use entry::{Elsewhere, PLACES, Role};
pub(super) use growth::HOMES_PER_INSERT;

use super::homes::{Full, Homes};
use entry::Words;
use lines::Lines;
use std::collections::VecDeque;

/// A bucket is one cache line.
const BUCKET_BYTES: usize = 64;
pub(super) const ENTRIES_PER_BUCKET: usize = 4;
/// Homes of a table that has grown once.
const HOMES_MIN: usize = 128;
/// Buckets behind the last home. The overflow of a home is longer with a chance of 10^-10 at the highest load.
const TAIL_BUCKETS: usize = 32;
/// Buckets from the home on that are searched for room, and so of which entries may have to move. At the highest load the search is
/// longer with a chance below 10^-6: see the tests.
const RUN_BUCKETS_MAX: usize = 512;
/// Share of the entries in use beyond which nothing is added, in percent, as the runs become long: a table that may not grow.
const LOAD_PERCENT_FULL: u64 = 97;

/// Where an entry is. Only valid until the index changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(usize);

#[derive(Debug)]
pub(super) struct Ordered {
    lines: Lines,
    homes: Homes,
    /// Entries in use.
    count: u64,
    /// Entries that the table is expected to hold one day; 0: nobody knows.
    expected: u64,
    /// Kept between steps of growth, so that a step allocates nothing.
    moving: VecDeque<Words>,
}

impl Ordered {
    /// A table without any room, that can grow to `bytes_max`.
    ///
    /// # Errors
    /// If the address range cannot be reserved.
    pub(super) fn new(bytes_max: usize) -> std::io::Result<Ordered> {
        let lines = Lines::reserve((bytes_max / BUCKET_BYTES).max(HOMES_MIN + TAIL_BUCKETS))?;
        let (homes, moving) = (Homes::new(0), VecDeque::with_capacity(256));
        Ok(Ordered { lines, homes, count: 0, expected: 0, moving })
    }

    /// Entries in use.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn buckets(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * BUCKET_BYTES
    }

    pub(super) fn homes(&self) -> Homes {
        self.homes
    }

    /// Starts to fetch the home of a hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        self.lines.prefetch(self.homes.of(hash));
    }

    /// The first entry with this hash for which `is_it` says yes.
    #[inline]
    pub(super) fn find(
        &self,
        hash: u64,
        is_it: impl Fn(&Elsewhere) -> bool,
    ) -> Option<(Position, Elsewhere)> {
        let mut at = self.homes.of(hash) * ENTRIES_PER_BUCKET;
        while let Some(bucket) = self.lines.entries().get(at..at + ENTRIES_PER_BUCKET) {
            for (number, words) in bucket.iter().enumerate().filter(|(_, words)| words.hash == hash) {
                if let Some(entry) = words.entry().filter(&is_it) {
                    return Some((Position(at + number), entry));
                }
            }
            let last = &bucket[ENTRIES_PER_BUCKET - 1];
            if last.is_empty() || last.hash > hash {
                return None;
            }
            at += ENTRIES_PER_BUCKET;
        }
        None
    }

    /// What is at the `number`th position.
    pub(super) fn at(&self, number: usize) -> Option<(Position, Elsewhere)> {
        Some((Position(number), self.lines.entries().get(number)?.entry()?))
    }

    /// Changes the entry at a position, which keeps its hash.
    pub(super) fn replace(&mut self, at: Position, entry: &Elsewhere) {
        debug_assert_eq!(self.lines.entries()[at.0].hash, entry.hash);
        self.lines.entries_mut()[at.0] = Words::new(entry);
    }

    /// # Errors
    /// [`Full`] if there is no room near the home.
    pub(super) fn insert(&mut self, entry: &Elsewhere) -> Result<(), Full> {
        if self.count * 100 >= self.homes.count * ENTRIES_PER_BUCKET as u64 * LOAD_PERCENT_FULL {
            return Err(Full);
        }
        let home = self.homes.of(entry.hash);
        let end = (home + RUN_BUCKETS_MAX).min(self.lines.len());
        let entries = self.lines.entries_mut();
        let room = (home..end).find(|&bucket| !is_full(entries, bucket)).ok_or(Full)?;
        let empty = room * ENTRIES_PER_BUCKET + in_use(entries, room);
        // From the home to there all is full, and in order.
        let start = home * ENTRIES_PER_BUCKET;
        let smaller = entries[start..empty].iter().position(|words| words.hash > entry.hash);
        let at = smaller.map_or(empty, |number| start + number);
        entries.copy_within(at..empty, at + 1);
        entries[at] = Words::new(entry);
        self.count += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, at: Position) {
        let homes = self.homes;
        let entries = self.lines.entries_mut();
        debug_assert!(!entries[at.0].is_empty());
        let mut bucket = at.0 / ENTRIES_PER_BUCKET;
        while is_full(entries, bucket)
            && let Some(next) = entries.get((bucket + 1) * ENTRIES_PER_BUCKET)
            && !next.is_empty()
            && homes.of(next.hash) <= bucket
        {
            bucket += 1;
        }
        let end = bucket * ENTRIES_PER_BUCKET + in_use(entries, bucket);
        entries.copy_within(at.0 + 1..end, at.0);
        entries[end - 1] = Words::EMPTY;
        self.count -= 1;
    }

    /// The entries of so many buckets from the home of a hash on.
    pub(super) fn near(&self, hash: u64, buckets: usize) -> impl Iterator<Item = Elsewhere> + '_ {
        let start = self.homes.of(hash) * ENTRIES_PER_BUCKET;
        let near = self.lines.entries().iter().skip(start).take(buckets * ENTRIES_PER_BUCKET);
        near.filter_map(Words::entry)
    }

    /// Visits the entries with hashes from `first` to `last`.
    pub(super) fn between(&self, first: u64, last: u64, mut visit: impl FnMut(Elsewhere)) {
        let last_home = self.homes.of(last);
        let home = self.homes.of(first);
        let buckets = self.lines.entries().chunks_exact(ENTRIES_PER_BUCKET).enumerate().skip(home);
        for (number, bucket) in buckets {
            let found = bucket.iter().filter_map(Words::entry);
            found.filter(|entry| (first..=last).contains(&entry.hash)).for_each(&mut visit);
            let greatest = &bucket[ENTRIES_PER_BUCKET - 1];
            if number >= last_home && (greatest.is_empty() || greatest.hash > last) {
                return;
            }
        }
    }
}

#[inline]
fn is_full(entries: &[Words], bucket: usize) -> bool {
    !entries[bucket * ENTRIES_PER_BUCKET + ENTRIES_PER_BUCKET - 1].is_empty()
}

/// How many entries of a bucket are in use.
#[inline]
fn in_use(entries: &[Words], bucket: usize) -> usize {
    let bucket = &entries[bucket * ENTRIES_PER_BUCKET..(bucket + 1) * ENTRIES_PER_BUCKET];
    bucket.iter().position(Words::is_empty).unwrap_or(ENTRIES_PER_BUCKET)
}

#[cfg(test)]
mod tests;
