//! The chunks of long values on a medium.
//!
//! Index and medium know a chunk by its *name*: a hash of its key's hash, its chain and its ordinal. It keeps that wherever it
//! moves in DRAM, and under all heads that its chain has one after the other, so a change of a long value saves new chunks and a
//! head. A chunk is taken before the head that lists it, so a medium that keeps the order never has a head without what
//! was drained before it. A chunk whose head is gone is found by nobody; its entry goes with its place, if not before.

use super::marks::{Mark, Marks, Progress, Unsaved, What};
use super::{Shard, hash_of};
use crate::chain::ChainList;
use crate::index::{Elsewhere, Role};
use crate::item::{ItemRef, present};
use rapidhash::v3::rapidhash_v3_inline;
use std::ops::Range;

impl Shard {
    /// The name of a chunk of the key with hash `of`.
    pub(super) fn chunk_name(&self, of: u64, chain: u64, ordinal: u64) -> u64 {
        let mut name = [0; 24];
        name[..8].copy_from_slice(&of.to_le_bytes());
        name[8..16].copy_from_slice(&chain.to_le_bytes());
        name[16..].copy_from_slice(&ordinal.to_le_bytes());
        rapidhash_v3_inline::<true, false, false>(&name, &self.secrets)
    }

    /// The place of a chunk on the medium.
    pub fn chunk_place(&self, name: u64) -> Option<u64> {
        let (_, entry) = self.index.find_elsewhere(name)?;
        entry.is_chunk().then_some(entry.place)
    }

    /// Bytes of an item, and of those of its chunks that a tier has not got.
    pub(super) fn unsaved_bytes_of(&self, marks: Option<&Marks>, hash: u64, item: &ItemRef<'_>) -> u64 {
        let len = item.item_len() as u64;
        if item.present() & present::CHAIN_HEAD == 0 {
            return len;
        }
        let list = ChainList::new(item.value());
        let is_saved = |ordinal| {
            let name = self.chunk_name(hash, list.chain(), ordinal);
            self.chunk_place(name).is_some() || marks.is_some_and(|marks| marks.by_hash.contains_key(&name))
        };
        let unsaved =
            list.extents().filter(|extent| extent.ordinal().is_some_and(|ordinal| !is_saved(ordinal)));
        len + unsaved.map(|extent| extent.len()).sum::<u64>()
    }

    /// Gives `take` the chunks of a head that a tier has not got. False: it has had enough.
    pub(super) fn take_chunks(
        &self,
        marks: &mut Marks,
        head: &Unsaved<'_>,
        item: &ItemRef<'_>,
        take: &mut impl FnMut(Unsaved<'_>) -> bool,
    ) -> bool {
        let list = ChainList::new(item.value());
        let first = marks.chunks_taken.take().filter(|(version, _)| *version == head.version);
        for number in first.map_or(0, |(_, number)| number)..list.len() {
            let extent = list.extent(number);
            let (Some(ordinal), Some(at)) = (extent.ordinal(), extent.location()) else { continue };
            let name = self.chunk_name(head.hash, list.chain(), ordinal);
            if marks.by_hash.contains_key(&name) || self.chunk_place(name).is_some() {
                continue;
            }
            let what = What::Chunk { item: self.segments.item(at).encoded(), of: head.hash };
            let chunk = Unsaved { hash: name, version: list.chain(), expiry: None, what, ..*head };
            if !take(chunk) {
                marks.chunks_taken = Some((head.version, number));
                return false;
            }
            let (space, slot, progress) = (head.space, head.slot, Progress::Saving { is_item: true });
            marks.by_hash.insert(name, Mark { version: list.chain(), bytes: 0, space, slot, progress });
            marks.took(head.hash, extent.len());
        }
        true
    }

    /// As [`Shard::saved`], for a chunk of the key with hash `of`: the name of a chain that is gone is not kept.
    ///
    /// # Panics
    /// If the place is not below [`crate::index::PLACES`].
    pub fn saved_chunk(&mut self, name: u64, of: u64, chain: u64, place: Option<u64>) {
        let Some(marks) = &mut self.unsaved else { return };
        let Some(mark) = marks.by_hash.get(&name).copied().filter(|mark| mark.version == chain) else {
            return;
        };
        marks.by_hash.remove(&name);
        let head_waits = marks.is_saving_item(of);
        let is_needed = self.item_of(of).map_or(head_waits, |item| is_head_of(&item, chain));
        if let Some(place) = place.filter(|_| is_needed) {
            self.name_newest_place(mark.space, chunk_at(name, place));
        }
    }

    /// How often the value of a chunk was read that lies at a place of the medium, and of which the key with hash `of` has the
    /// head in DRAM; else 0.
    pub fn accesses_of_chain(&self, name: u64, of: u64, place: u64) -> u8 {
        let Some((_, slot)) = self.slot_of(of).filter(|_| self.chunk_place(name) == Some(place)) else {
            return 0;
        };
        slot.frequency().max(self.copy_accesses(of))
    }

    /// How often the item with this hash was read since it was written to where it lies on the medium, as the index counts.
    fn copy_accesses(&self, hash: u64) -> u8 {
        self.index.find_elsewhere(hash).map_or(0, |(_, entry)| entry.frequency)
    }

    /// As [`Shard::leave_place`], for a chunk of the key with hash `of`. If the chain does not stay, its copy is given up as a
    /// whole. The copy of a chain that is not in DRAM is found to be short of a chunk when it is read.
    pub fn leave_chunk(&mut self, name: u64, of: u64, place: u64, may_stay: bool) -> bool {
        let Some((at, entry)) = self.index.find_elsewhere(name) else { return false };
        if entry.place != place || !entry.is_chunk() {
            return false;
        }
        self.index.remove_elsewhere(at, &entry);
        let Some((_, slot)) = self.slot_of(of) else { return false };
        let item = self.segments.item(slot.location());
        if item.version() <= self.flushed || !self.lists(&item, of, name) {
            return false;
        }
        let (version, space) = (item.version(), item.space());
        let bytes = self.unsaved_bytes_of(self.unsaved.as_deref(), of, &item);
        let is_named = self.index.find_elsewhere(of).is_some();
        let is_worth = self.tells_anew(slot, self.copy_accesses(of), may_stay);
        let Some(marks) = &mut self.unsaved else { return false };
        let progress = marks.progress(of);
        let is_saving = marks.is_saving_item(of);
        let stays = progress == Some(Progress::Written) || (is_worth && (is_named || is_saving));
        if stays {
            // What was passed over as saved is missing now.
            marks.chunks_taken = None;
            marks.note(of, Mark { version, bytes, space, slot: 0, progress: Progress::Written });
        } else {
            if is_saving {
                marks.by_hash.remove(&of);
            }
            self.forget_copy(of);
        }
        stays
    }

    /// Whether a head lists the chunk with this name.
    fn lists(&self, item: &ItemRef<'_>, of: u64, name: u64) -> bool {
        if item.present() & present::CHAIN_HEAD == 0 {
            return false;
        }
        let list = ChainList::new(item.value());
        let mut ordinals = list.extents().filter_map(|extent| extent.ordinal());
        ordinals.any(|ordinal| self.chunk_name(of, list.chain(), ordinal) == name)
    }

    /// The index names the chunks of some extents of a head no more.
    pub(super) fn forget_chunks(&mut self, head: u64, numbers: Range<usize>) {
        if self.unsaved.is_none() && self.index.elsewhere() == 0 {
            return;
        }
        let of = hash_of(&self.secrets, &self.segments.item(head));
        let chain = self.list(head).chain();
        for number in numbers {
            let Some(ordinal) = self.list(head).extent(number).ordinal() else { continue };
            let name = self.chunk_name(of, chain, ordinal);
            self.forget_copy(name);
            if let Some(marks) = &mut self.unsaved {
                marks.by_hash.remove(&name);
            }
        }
    }
}

/// A chunk at a place of the medium.
fn chunk_at(name: u64, place: u64) -> Elsewhere {
    Elsewhere::new(name, place, Role::Chunk)
}

/// Whether an item is a head of a chain.
fn is_head_of(item: &ItemRef<'_>, chain: u64) -> bool {
    item.present() & present::CHAIN_HEAD != 0 && ChainList::new(item.value()).chain() == chain
}
