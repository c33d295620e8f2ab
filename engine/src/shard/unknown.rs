//! What a shard does not know yet of the keys that a medium holds: see `recovery.rs`.

use crate::by_hash::Same;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;

/// Sets of them: a set that grows moves what it has, and commands wait meanwhile.
pub(super) const GONE_SETS: usize = 64;

/// What is told of a key, or of a chunk of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub(super) hash: u64,
    /// Where it lies; `None`: the key has no item, and older ones do not count.
    pub place: Option<u64>,
    pub(super) what: What,
    pub(super) space: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Item,
    Head,
    /// Of the key with this hash.
    ChunkOf(u64),
}

impl Known {
    /// An item, or that a key has none.
    pub fn item(hash: u64, place: Option<u64>) -> Known {
        Known { hash, place, what: What::Item, space: 0 }
    }

    /// The head of a long value.
    pub fn head(hash: u64, place: Option<u64>) -> Known {
        Known { hash, place, what: What::Head, space: 0 }
    }

    /// A chunk, by its name, of the key with hash `of`.
    pub fn chunk(name: u64, of: u64, place: Option<u64>) -> Known {
        Known { hash: name, place, what: What::ChunkOf(of), space: 0 }
    }

    /// The same of a key of this space.
    pub fn of_space(self, space: u16) -> Known {
        Known { space, ..self }
    }
}

/// What has come of being told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Keys that the index names now.
    pub items: u64,
    /// Items that it had no room for, or that may be older than what is gone: they miss.
    pub lost: u64,
}

/// What is not known yet, and what older records say nothing of.
#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) slot_of: fn(&[u8]) -> u16,
    /// A bit for each slot that is not told to its end, and how many they are.
    pub(super) unknown: Vec<u64>,
    pub(super) slots: u32,
    /// Plain reads of unknown keys wait, too.
    pub(super) reads_wait: bool,
    pub(super) gone: Vec<HashSet<u64, BuildHasherDefault<Same>>>,
    /// Keys of long values of which the index names the head: their chunks lie before it, so they are told behind it.
    pub(super) heads: HashSet<u64, BuildHasherDefault<Same>>,
    /// How many of both are remembered, and how many may be.
    pub(super) gone_count: usize,
    pub(super) gone_max: usize,
    /// There are more: nobody knows which items are good that are told now.
    pub(super) is_cut: bool,
    /// Keys that somebody waits for, and those of them that are known by now.
    pub(super) awaited: HashSet<u64, BuildHasherDefault<Same>>,
    pub(super) heard: Vec<u64>,
}

impl Recovery {
    pub(super) fn bytes(&self) -> usize {
        let each = size_of::<u64>() + 1;
        let sets = self.gone.iter().chain([&self.heads, &self.awaited]);
        sets.map(|set| set.capacity() * each).sum::<usize>() + self.heard.capacity() * size_of::<u64>()
    }

    /// More is known of a key.
    #[inline]
    pub(super) fn hear(&mut self, hash: u64) {
        if !self.awaited.is_empty() && self.awaited.remove(&hash) {
            self.heard.push(hash);
        }
    }

    /// More is known of any key.
    pub(super) fn hear_all(&mut self) {
        self.heard.extend(self.awaited.drain());
    }

    pub(super) fn set_of(hash: u64) -> usize {
        // Bits that the sets themselves make little use of.
        (hash >> 40) as usize % GONE_SETS
    }

    pub(super) fn is_gone(&self, hash: u64) -> bool {
        self.gone_count > 0 && self.gone[Recovery::set_of(hash)].contains(&hash)
    }

    pub(super) fn is_unknown(&self, slot: u16) -> bool {
        self.unknown.get(usize::from(slot) / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    pub(super) fn set_unknown(&mut self, slot: u16, is_unknown: bool) {
        let (word, bit) = (usize::from(slot) / 64, 1 << (slot % 64));
        if self.is_unknown(slot) == is_unknown {
            return;
        }
        if word >= self.unknown.len() {
            self.unknown.resize(word + 1, 0);
        }
        self.unknown[word] ^= bit;
        self.slots = if is_unknown { self.slots + 1 } else { self.slots - 1 };
    }
}
