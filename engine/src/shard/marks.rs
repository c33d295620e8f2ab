//! What a second tier has not got yet, by key: see `unsaved.rs`.

use super::offered::Demotion;
use crate::by_hash::Same;
use crate::bytes::Bytes;
use crate::command::Millis;
use crate::spaces::SpaceTable;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

/// What a tier has to be told of a key, or of all.
#[derive(Debug, Clone, Copy)]
pub struct Unsaved<'s> {
    pub hash: u64,
    pub version: u64,
    /// Milliseconds of the Unix epoch.
    pub expiry: Option<Millis>,
    pub space: u16,
    pub slot: u16,
    pub what: What<'s>,
}

#[derive(Debug, Clone, Copy)]
pub enum What<'s> {
    /// The item, encoded.
    Item(Bytes<'s>),
    /// The head of a long value, encoded. All of its chunks have been taken before.
    Head(Bytes<'s>),
    /// A chunk of a long value, encoded. The hash is its name; `of` is that of its key.
    Chunk { item: Bytes<'s>, of: u64 },
    /// Older copies are void.
    Gone,
    /// Everything up to this version is void. There is no key.
    Flushed,
    /// Databases have these spaces. There is no key.
    Spaces(&'s SpaceTable),
}

/// How far the last change of a key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// To be taken, and the item is in DRAM.
    Written,
    /// To be taken, and there is no item.
    Gone,
    /// Taken as an item, or as what voids older ones, and not told to be saved.
    Saving { is_item: bool },
    /// Taken as an item, which has left DRAM since, and not told to be saved.
    Left,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) version: u64,
    /// Of the item that is to be taken, with its chunks; 0 if there is none.
    pub(super) bytes: u64,
    pub(super) space: u16,
    pub(super) slot: u16,
    pub(super) progress: Progress,
}

/// The marks of a shard.
#[derive(Debug)]
pub(super) struct Marks {
    /// By hash; chunks that are being saved by their names.
    pub(super) by_hash: HashMap<u64, Mark, BuildHasherDefault<Same>>,
    /// The version of the first head in the queue, and the extent of it that comes next, if some were taken.
    pub(super) chunks_taken: Option<(u64, usize)>,
    /// Those to be taken, in the order of their first change.
    pub(super) queue: VecDeque<u64>,
    pub(super) flushed: Option<u64>,
    /// Changes of the table of spaces, each by which of those to be taken it is.
    pub(super) spaces: VecDeque<u64>,
    /// How often something came to the queue, and how much of that was taken.
    pub(super) queued: u64,
    pub(super) taken: u64,
    /// Counts changes.
    pub(super) changes: u64,
    /// Bytes of the items that are to be taken.
    pub(super) waiting_bytes: u64,
    pub(super) slot_of: fn(&[u8]) -> u16,
    /// The index has lost entries, so the tier may hold items that it does not name.
    pub(super) has_lost: bool,
    /// The tier takes only what eviction would drop.
    pub(super) demotion: Option<Demotion>,
}

impl Marks {
    pub(super) fn new(slot_of: fn(&[u8]) -> u16) -> Marks {
        Marks {
            by_hash: HashMap::default(),
            chunks_taken: None,
            queue: VecDeque::new(),
            flushed: None,
            spaces: VecDeque::new(),
            queued: 0,
            taken: 0,
            changes: 0,
            waiting_bytes: 0,
            slot_of,
            has_lost: false,
            demotion: None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let each = size_of::<(u64, Mark)>() + 1;
        let offered = self.demotion.as_ref().map_or(0, Demotion::bytes);
        self.by_hash.capacity() * each + self.queue.capacity() * size_of::<u64>() + offered
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Bytes of the items that are to be taken.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// How far the last change of a key has come, if the tier has not got it yet.
    pub(super) fn progress(&self, hash: u64) -> Option<Progress> {
        self.by_hash.get(&hash).map(|mark| mark.progress)
    }

    /// Whether the item of a key was taken as it is now, and is not told to be saved.
    pub(super) fn is_saving_item(&self, hash: u64) -> bool {
        matches!(self.progress(hash), Some(Progress::Saving { is_item: true } | Progress::Left))
    }

    /// Whether the tier may hold something of a key that the index does not name.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        self.has_lost || self.by_hash.contains_key(&hash)
    }

    /// Notes a change to the key of `hash`, after which it has an item in DRAM or has none.
    pub(super) fn note(&mut self, hash: u64, mark: Mark) {
        self.changes += 1;
        self.waiting_bytes += mark.bytes;
        let is_queued = match self.by_hash.entry(hash) {
            Entry::Occupied(mut there) => {
                let before = there.insert(mark);
                self.waiting_bytes -= before.bytes;
                !matches!(before.progress, Progress::Saving { .. } | Progress::Left)
            }
            Entry::Vacant(vacant) => {
                vacant.insert(mark);
                false
            }
        };
        if !is_queued {
            self.queue.push_back(hash);
            self.queued += 1;
        }
    }

    /// The item of a key, which has this slot, has left DRAM.
    pub(super) fn left(&mut self, hash: u64, slot: u16) {
        let Some(mark) = self.by_hash.get_mut(&hash) else { return };
        match mark.progress {
            Progress::Written => {
                self.waiting_bytes -= mark.bytes;
                *mark = Mark { bytes: 0, slot, progress: Progress::Gone, ..*mark };
            }
            Progress::Saving { is_item: true } => mark.progress = Progress::Left,
            Progress::Saving { is_item: false } | Progress::Gone | Progress::Left => {}
        }
    }

    /// So many bytes of what a mark is for have been taken.
    pub(super) fn took(&mut self, hash: u64, bytes: u64) {
        if let Some(mark) = self.by_hash.get_mut(&hash) {
            let bytes = bytes.min(mark.bytes);
            mark.bytes -= bytes;
            self.waiting_bytes -= bytes;
        }
    }
}
