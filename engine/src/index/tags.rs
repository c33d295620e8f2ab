//! Which key space an entry for a place on a medium is of, and what becomes of the entries of one that is gone.
//!
//! An entry has no room for the number of its space, and its hash does not tell it. So each has a *tag* instead, which stands for a
//! space for as long as that counts: a flush voids every entry, and a space that no database has any more voids its own, of which
//! there may be millions. Their tags are over then: what has one is not found any more, and a sweep takes it out, a few buckets at
//! a time. A tag can stand for another space when no entry has it.

use super::Index;
use super::ordered::{ENTRIES_PER_BUCKET, Elsewhere, Role, TAGS};

const TAGS_COUNT: usize = TAGS as usize;
const _: () = assert!(TAGS <= u128::BITS as u64);

/// What tags stand for, and how many entries have them.
#[derive(Debug)]
pub(super) struct Tags {
    /// The space of each, if it counts.
    spaces: [u16; TAGS_COUNT],
    /// A bit for each that counts.
    live: u128,
    entries: [u64; TAGS_COUNT],
    /// Those of them that are the only item of their key.
    only: [u64; TAGS_COUNT],
    /// Of all that count.
    only_elsewhere: u64,
    /// Entries that count no more.
    gone: u64,
    /// Where the sweep goes on.
    bucket: usize,
}

impl Default for Tags {
    fn default() -> Tags {
        Tags {
            spaces: [0; TAGS_COUNT],
            live: 0,
            entries: [0; TAGS_COUNT],
            only: [0; TAGS_COUNT],
            only_elsewhere: 0,
            gone: 0,
            bucket: 0,
        }
    }
}

impl Tags {
    #[inline]
    fn is_live(&self, tag: u8) -> bool {
        self.live >> tag & 1 != 0
    }

    fn all_live(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.live;
        std::iter::from_fn(move || {
            let next = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(next)
        })
    }

    fn of(&self, space: u16) -> Option<usize> {
        self.all_live().find(|&tag| self.spaces[tag] == space)
    }

    /// Lets a tag that no entry has stand for a space.
    fn give(&mut self, space: u16) -> Option<usize> {
        let tag = (0..TAGS_COUNT).find(|&tag| self.live >> tag & 1 == 0 && self.entries[tag] == 0)?;
        (self.spaces[tag], self.live) = (space, self.live | 1 << tag);
        Some(tag)
    }

    /// What has this tag counts no more.
    fn end(&mut self, tag: usize) {
        self.live &= !(1 << tag);
        self.gone += self.entries[tag];
        self.only_elsewhere -= std::mem::take(&mut self.only[tag]);
    }
}

impl Index {
    /// Keys of which the only item is elsewhere, as far as that is known.
    pub fn only_elsewhere(&self) -> u64 {
        self.tags.only_elsewhere
    }

    /// The same by key space, of those that have places of a medium, or had since they were flushed.
    pub fn only_by_space(&self) -> impl Iterator<Item = (u16, u64)> {
        self.tags.all_live().map(|tag| (self.tags.spaces[tag], self.tags.only[tag]))
    }

    /// Entries of what was flushed, or is of a space that is gone, that are still to be swept out.
    pub fn flushed(&self) -> u64 {
        self.tags.gone
    }

    /// Nothing that is elsewhere is found any more, but for what is added from now on.
    pub fn flush_elsewhere(&mut self) {
        self.tags.all_live().for_each(|tag| self.tags.end(tag));
    }

    /// The same for what is of one space.
    pub fn flush_space_elsewhere(&mut self, space: u16) {
        self.tags.of(space).into_iter().for_each(|tag| self.tags.end(tag));
    }

    /// The tag of what is added now.
    #[inline]
    pub(super) fn tag_for(&mut self, space: u16) -> u8 {
        let tag = self.tags.of(space).or_else(|| self.tags.give(space));
        tag.unwrap_or_else(|| self.tag_by_sweep(space)) as u8
    }

    /// Whoever flushes this often waits for the sweep: what is left of one round, and one more, as it may have begun anywhere.
    #[cold]
    fn tag_by_sweep(&mut self, space: u16) -> usize {
        (0..2).for_each(|_| _ = self.sweep_flushed(usize::MAX));
        let Some(tag) = self.tags.give(space) else {
            unreachable!("there are more tags than databases, and only those of spaces that have one count")
        };
        tag
    }

    /// Takes out what counts no more, in so many buckets at most. Returns whether there is more.
    pub fn sweep_flushed(&mut self, buckets: usize) -> bool {
        let first = self.tags.bucket;
        let last = first.saturating_add(buckets).min(self.ordered.buckets());
        for number in first * ENTRIES_PER_BUCKET..last * ENTRIES_PER_BUCKET {
            // Another one comes in the place of one that goes.
            while let Some((at, entry)) = self.ordered.at(number).filter(|(_, entry)| self.is_flushed(entry))
            {
                self.remove_elsewhere(at, &entry);
            }
        }
        // Entries move about meanwhile: what was passed over is met the next time round.
        self.tags.bucket = if last == self.ordered.buckets() { 0 } else { last };
        self.tags.gone > 0
    }

    /// Whether an entry came before the last flush, or is of a space that is gone, and counts no more.
    #[inline]
    pub fn is_flushed(&self, entry: &Elsewhere) -> bool {
        !self.tags.is_live(entry.tag)
    }

    pub(super) fn count(&mut self, entry: &Elsewhere) {
        let (tag, is_only) = (usize::from(entry.tag), u64::from(entry.role == Role::Only));
        self.tags.entries[tag] += 1;
        if self.is_flushed(entry) {
            self.tags.gone += 1;
        } else {
            self.tags.only[tag] += is_only;
            self.tags.only_elsewhere += is_only;
        }
    }

    pub(super) fn uncount(&mut self, entry: &Elsewhere) {
        let (tag, is_only) = (usize::from(entry.tag), u64::from(entry.role == Role::Only));
        self.tags.entries[tag] -= 1;
        if self.is_flushed(entry) {
            self.tags.gone -= 1;
        } else {
            self.tags.only[tag] -= is_only;
            self.tags.only_elsewhere -= is_only;
        }
    }

    /// Counts anew what is elsewhere.
    ///
    /// # Errors
    /// What disagrees with the counts, or lies where it is not found, in words.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        let (mut only, mut entries) = ([0; TAGS_COUNT], [0; TAGS_COUNT]);
        self.ordered.audit(|entry| {
            let tag = usize::from(entry.tag);
            entries[tag] += 1;
            only[tag] += u64::from(!self.is_flushed(entry) && entry.role == Role::Only);
        })?;
        let gone: u64 =
            (0..TAGS_COUNT).filter(|tag| self.tags.live >> tag & 1 == 0).map(|tag| entries[tag]).sum();
        let told = (&self.tags.entries, &self.tags.only, self.tags.gone, self.tags.only_elsewhere);
        if (&entries, &only, gone, only.iter().sum()) == told {
            Ok(())
        } else {
            Err(format!(
                "{only:?} places of what is nowhere else, of {entries:?}, {gone} flushed, not {told:?}"
            ))
        }
    }
}
