//! Which keys were dropped lately: hashes only, with their age.
//!
//! ```text
//!  bucket: eight entries of 4 bytes
//!  | stamp 16 | fingerprint 16 |   stamp: 1 + insertions so far / (capacity / STAMPS), wrapping; 0: empty
//! ```
//!
//! An entry counts as long as at most `capacity` keys were remembered after it, which is what a FIFO queue of
//! that many ghosts would hold, to within 1/[`STAMPS`]. A full bucket forgets its oldest entry early. A false
//! memory has a chance of about 8/65,536. A remembered key costs 5.4 bytes.

use crate::reserved::ReservedArray;
use torc_pmem::media::memory::MemoryRange;

const ENTRIES: usize = 8;
/// Keys that should be remembered per bucket: fewer than its entries, so that buckets seldom forget early.
const KEYS_PER_BUCKET: u64 = 6;
/// Stamps that pass while `capacity` keys are remembered.
const STAMPS: u64 = 64;
/// Stamps are told apart up to here.
const STAMPS_MAX: u64 = u16::MAX as u64;

/// A bounded memory of dropped keys.
#[derive(Debug)]
pub(super) struct Ghost {
    buckets: ReservedArray<[u32; ENTRIES]>,
    capacity: u64,
    inserted: u64,
}

impl Ghost {
    /// One that remembers nothing yet, and may take `bytes_max` bytes.
    ///
    /// # Errors
    /// If the address range cannot be reserved.
    pub(super) fn new(bytes_max: usize) -> std::io::Result<Ghost> {
        let range = MemoryRange::reserve_small_pages(bytes_max)?;
        Ok(Ghost { buckets: ReservedArray::new(range), capacity: STAMPS, inserted: 0 })
    }

    /// Makes room to remember `capacity` keys. Its memory grows by an eighth at least, where it is. What was remembered
    /// is not found any more then: it lies in other keys' buckets, where it is as likely to be taken for one of them as
    /// any other entry, until it is too old.
    pub(super) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity.max(STAMPS);
        let wanted = (self.capacity / KEYS_PER_BUCKET) as usize + 1;
        let len = self.buckets.as_slice().len();
        let grown = (wanted + wanted / 8).min(self.buckets.len_max());
        if wanted > len && grown > len {
            self.buckets.extend_to(grown);
        }
    }

    /// The stamp of a key remembered now.
    fn stamp(&self) -> u64 {
        self.inserted * STAMPS / self.capacity % STAMPS_MAX + 1
    }

    fn age(&self, entry: u32) -> u64 {
        match u64::from(entry >> 16) {
            0 => u64::MAX,
            then => (self.stamp() + STAMPS_MAX - then) % STAMPS_MAX,
        }
    }

    /// The bucket by the high bits of the hash, the fingerprint by the low ones.
    fn place(&self, hash: u64) -> (usize, u32) {
        let bucket = ((u128::from(hash) * self.buckets.as_slice().len() as u128) >> 64) as usize;
        (bucket, hash as u32 & 0xFFFF)
    }

    pub(super) fn remember(&mut self, hash: u64) {
        if self.buckets.as_slice().is_empty() {
            return;
        }
        let (bucket, fingerprint) = self.place(hash);
        let stamp = self.stamp() as u32;
        let entries = &self.buckets.as_slice()[bucket];
        let oldest = (0..ENTRIES).max_by_key(|&entry| self.age(entries[entry])).unwrap_or(0);
        self.buckets.as_mut_slice()[bucket][oldest] = stamp << 16 | fingerprint;
        self.inserted += 1;
    }

    /// Whether the key was dropped lately; it is forgotten with the answer.
    pub(super) fn recall(&mut self, hash: u64) -> bool {
        if self.buckets.as_slice().is_empty() {
            return false;
        }
        let (bucket, fingerprint) = self.place(hash);
        for number in 0..ENTRIES {
            let entry = self.buckets.as_slice()[bucket][number];
            if entry & 0xFFFF == fingerprint && self.age(entry) <= STAMPS {
                self.buckets.as_mut_slice()[bucket][number] = 0;
                return true;
            }
        }
        false
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.buckets.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rapidhash::v3::rapidhash_v3;

    #[test]
    fn the_last_capacity_keys_are_remembered_and_older_ones_are_not() {
        let mut ghost = Ghost::new(1 << 20).unwrap();
        ghost.resize(1000);
        let hash = |number: u32| rapidhash_v3(&number.to_le_bytes());
        (0..10_000).for_each(|number| ghost.remember(hash(number)));
        let recent = (9_100..10_000).filter(|&number| ghost.recall(hash(number))).count();
        assert!(recent > 850, "{recent} of the last 900 are remembered");
        let old = (0..8_000).filter(|&number| ghost.recall(hash(number))).count();
        assert!(old < 20, "{old} of the oldest 8000 are remembered");
    }

    /// Once it was a new memory, cleared in one go.
    #[test]
    fn growth_moves_nothing_and_stays_in_its_range() {
        let mut ghost = Ghost::new(64 << 10).unwrap();
        ghost.resize(1000);
        ghost.remember(42);
        let address = ghost.buckets.as_slice().as_ptr();
        ghost.resize(5000);
        assert_eq!(ghost.buckets.as_slice().as_ptr(), address);
        ghost.resize(u64::MAX / 1000);
        assert_eq!(ghost.bytes(), 64 << 10);
        ghost.remember(u64::MAX);
        assert!(ghost.recall(u64::MAX));
    }

    #[test]
    fn a_recalled_key_is_forgotten() {
        let mut ghost = Ghost::new(1 << 20).unwrap();
        ghost.resize(1000);
        ghost.remember(42 << 40);
        assert!(ghost.recall(42 << 40));
        assert!(!ghost.recall(42 << 40));
    }
}
