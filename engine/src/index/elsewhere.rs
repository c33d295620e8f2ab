//! What is elsewhere: places of a medium, by hash.

use super::ordered::{self, Elsewhere, Position};
use super::{Full, Index};

/// What the entry of something that is elsewhere takes at most, bytes, but in a small table.
pub const PLACE_BYTES: u64 = 20;
/// Buckets that are looked at for an entry that is worth less than another.
const NEAR_BUCKETS: usize = 8;

impl Index {
    /// Places of a medium that it names, be it of what is in DRAM, too, or of what was flushed and is not swept out yet.
    #[inline]
    pub fn elsewhere(&self) -> u64 {
        self.ordered.count()
    }

    /// Whether a key that has no item in DRAM may have one elsewhere, be it known or not.
    #[inline]
    pub fn may_be_elsewhere(&self) -> bool {
        self.may_be_elsewhere
    }

    /// Whether keys may have items elsewhere that are not known.
    pub fn expect_more(&mut self, may_come: bool) {
        self.may_be_more = may_come;
        self.may_be_elsewhere = may_come || self.elsewhere() > 0;
    }

    /// Starts to fetch the home of a hash among what is elsewhere.
    #[inline]
    pub fn prefetch_elsewhere(&self, hash: u64) {
        if self.elsewhere() != 0 {
            self.ordered.prefetch(hash);
        }
    }

    /// The place of an item or a chunk with this hash.
    #[inline]
    pub fn find_elsewhere(&self, hash: u64) -> Option<(Position, Elsewhere)> {
        self.ordered.find(hash, |entry| !self.is_flushed(entry))
    }

    /// Removes the entry at a position.
    pub fn remove_elsewhere(&mut self, at: Position, entry: &Elsewhere) {
        self.uncount(entry);
        self.ordered.remove(at);
        if self.elsewhere() == 0 {
            self.may_be_elsewhere = self.may_be_more;
            self.geometry.set_elsewhere(false);
        }
    }

    /// Changes the entry at a position from what it was; it stays the same key's.
    pub fn replace_elsewhere(&mut self, at: Position, before: &Elsewhere, entry: Elsewhere) {
        self.uncount(before);
        self.count(&entry);
        self.ordered.replace(at, &entry);
    }

    /// Adds an entry for what is elsewhere and of a key space. Whose slot is to go in favour of it stays till then.
    ///
    /// # Errors
    /// [`Full`] if there is no room near its home.
    pub fn insert_elsewhere(&mut self, space: u16, entry: Elsewhere) -> Result<(), Full> {
        let entry = Elsewhere { tag: self.tag_for(space), ..entry };
        self.ordered.insert(&entry)?;
        self.count(&entry);
        self.may_be_elsewhere = true;
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::ElsewhereLate) {
            return Ok(());
        }
        if self.elsewhere() == 1 {
            self.geometry.set_elsewhere(true);
        }
        Ok(())
    }

    /// An entry that was met goes, be it flushed or not, if it is still there.
    pub fn drop_elsewhere(&mut self, entry: &Elsewhere) {
        if let Some((at, _)) = self.ordered.find(entry.hash, |found| found == entry) {
            self.remove_elsewhere(at, entry);
        }
    }

    /// The least frequent of what is elsewhere, next to the home of `hash`; first what was flushed.
    pub fn coldest_elsewhere_near(&self, hash: u64) -> Option<Elsewhere> {
        let near = self.ordered.near(hash, NEAR_BUCKETS);
        near.min_by_key(|entry| (!self.is_flushed(entry), entry.frequency))
    }

    /// Visits what is elsewhere of the hashes from `from` on, in so many buckets at most. Returns the hash to go on from, if there
    /// is one.
    pub fn each_elsewhere(&self, from: u64, buckets: u64, mut visit: impl FnMut(Elsewhere)) -> Option<u64> {
        if self.elsewhere() == 0 {
            return None;
        }
        let last = self.ordered.homes().last_hash(from, buckets);
        self.ordered.between(from, last, |entry| {
            if !self.is_flushed(&entry) {
                visit(entry);
            }
        });
        last.checked_add(1)
    }

    pub fn is_elsewhere_growing(&self) -> bool {
        self.ordered.is_growing()
    }

    /// The size that the index should grow to, bytes, once there are too many places for it.
    #[inline]
    pub fn elsewhere_growth_wanted(&self) -> Option<usize> {
        let more = self.ordered.growth_wanted()? - self.ordered.bytes();
        Some(self.bytes() + more).filter(|&bytes| bytes <= self.bytes_max)
    }

    /// How many places there will be, as far as anybody knows: their table grows to the size for them in fewer steps.
    pub fn expect(&mut self, elsewhere: u64) {
        self.ordered.expect(elsewhere);
    }

    /// Begins to grow the table of places; the memory must have been found.
    pub fn grow_elsewhere(&mut self) {
        self.ordered.grow();
    }

    /// Moves as many homes of it as for an entry that is added.
    pub fn grow_elsewhere_step(&mut self) {
        self.ordered.grow_step(ordered::HOMES_PER_INSERT);
    }
}
