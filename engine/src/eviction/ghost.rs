//! Which keys were dropped lately: hashes only, with their age.
//!
//! ```text
//!  bucket: eight entries of 4 bytes
//!  | fingerprint 16 | stamp 16 |   stamp: insertions so far / (capacity / STAMPS), wrapping
//! ```
//!
//! An entry counts as long as at most `capacity` keys were remembered after it, which is what a FIFO queue of
//! that many ghosts would hold, to within 1/[`STAMPS`]. A full bucket forgets its oldest entry early. A false
//! memory has a chance of about 8/65,536.

const ENTRIES: usize = 8;
/// Stamps that pass while `capacity` keys are remembered.
const STAMPS: u64 = 64;

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    fingerprint: u16,
    stamp: u16,
}

/// A bounded memory of dropped keys.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    buckets: Vec<[Entry; ENTRIES]>,
    capacity: u64,
    inserted: u64,
}

impl Ghost {
    /// Makes room to remember `capacity` keys. Grows by doubling, and forgets everything then.
    pub(super) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity.max(STAMPS);
        // Half full on average, so that buckets seldom forget early.
        let wanted = (self.capacity as usize * 2 / ENTRIES).next_power_of_two();
        if wanted > self.buckets.len() {
            self.buckets = vec![[Entry::default(); ENTRIES]; wanted];
        }
    }

    /// The stamp of a key remembered now; 0 is kept for empty entries.
    fn stamp(&self) -> u16 {
        (self.inserted * STAMPS / self.capacity % u64::from(u16::MAX)) as u16 + 1
    }

    fn age(&self, entry: Entry) -> u64 {
        if entry.stamp == 0 {
            return u64::MAX;
        }
        let (now, then) = (u64::from(self.stamp()), u64::from(entry.stamp));
        (now + u64::from(u16::MAX) - then) % u64::from(u16::MAX)
    }

    fn place(&self, hash: u64) -> (usize, u16) {
        (hash as usize & (self.buckets.len() - 1), (hash >> 48) as u16)
    }

    pub(super) fn remember(&mut self, hash: u64) {
        if self.buckets.is_empty() {
            return;
        }
        let (bucket, fingerprint) = self.place(hash);
        let stamp = self.stamp();
        let oldest = (0..ENTRIES).max_by_key(|&entry| self.age(self.buckets[bucket][entry])).unwrap_or(0);
        self.buckets[bucket][oldest] = Entry { fingerprint, stamp };
        self.inserted += 1;
    }

    /// Whether the key was dropped lately; it is forgotten with the answer.
    pub(super) fn recall(&mut self, hash: u64) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let (bucket, fingerprint) = self.place(hash);
        for entry in 0..ENTRIES {
            let found = self.buckets[bucket][entry];
            if found.fingerprint == fingerprint && self.age(found) <= STAMPS {
                self.buckets[bucket][entry] = Entry::default();
                return true;
            }
        }
        false
    }

    pub(super) fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<[Entry; ENTRIES]>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rapidhash::v3::rapidhash_v3;

    #[test]
    fn the_last_capacity_keys_are_remembered_and_older_ones_are_not() {
        let mut ghost = Ghost::default();
        ghost.resize(1000);
        let hash = |number: u32| rapidhash_v3(&number.to_le_bytes());
        (0..10_000).for_each(|number| ghost.remember(hash(number)));
        let recent = (9_100..10_000).filter(|&number| ghost.recall(hash(number))).count();
        assert!(recent > 850, "{recent} of the last 900 are remembered");
        let old = (0..8_000).filter(|&number| ghost.recall(hash(number))).count();
        assert!(old < 20, "{old} of the oldest 8000 are remembered");
    }

    #[test]
    fn a_recalled_key_is_forgotten() {
        let mut ghost = Ghost::default();
        ghost.resize(1000);
        ghost.remember(42 << 40);
        assert!(ghost.recall(42 << 40));
        assert!(!ghost.recall(42 << 40));
    }
}
