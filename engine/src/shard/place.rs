//! Where items go: room in a segment, and a slot of the index.

use super::{Key, Shard, Weight, out_of_memory};
use crate::bytes::Bytes;
use crate::changes::Cause;
use crate::command::{Millis, Refusal};
use crate::index::{Place, Slot};
use crate::item::{Header, state};
use crate::segments::{Queue, RELOCATION_RESERVE, class_of};

/// A new item, linked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linked {
    pub(super) at: u64,
    /// Where the item before was; its bytes are there until the next command.
    pub(super) old: Option<u64>,
}

impl Shard {
    /// Writes a plain item for a key, in place of whatever it had.
    pub(super) fn store(
        &mut self,
        key: Key<'_>,
        header: Header,
        value: &[u8],
        now: Millis,
    ) -> Result<Linked, Refusal> {
        self.store_found(self.find(key), key, header, value, now)
    }

    /// As [`Shard::store`], for a key whose item has been looked up already.
    #[inline]
    pub(super) fn store_found(
        &mut self,
        found: Option<(Place, Slot)>,
        key: Key<'_>,
        header: Header,
        value: &[u8],
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let steps = self.reclaim.steps();
        let len = header.item_len(key.bytes.len(), value.len());
        let at = self.room_beside(found, key.hash, &header, len, now)?;
        header.write_item(key.bytes, Bytes::from(value), self.segments.bytes_mut(at, len));
        // Making room moves items; most writes make none.
        let found = if steps == self.reclaim.steps() { found } else { self.find(key) };
        let old = self.link_found(found, key.hash, at, false);
        Ok(Linked { at, old })
    }

    /// Writes a key's item again with another header; a chain keeps its chunks. `None`: making room cost the
    /// item its place, it is gone.
    pub(super) fn rewrite(
        &mut self,
        key: Key<'_>,
        header: Header,
        now: Millis,
    ) -> Result<Option<u64>, Refusal> {
        let Some((_, slot)) = self.find(key) else { return Ok(None) };
        let value_bytes = self.segments.item(slot.location()).value_len();
        let at = self.room(key, &header, value_bytes, now)?;
        // Making room may have moved the item, or dropped it.
        let Some((_, slot)) = self.find(key) else {
            self.abandon(at, &header, key, value_bytes);
            return Ok(None);
        };
        let from = slot.location() + self.segments.item(slot.location()).value_at() as u64;
        let value_at = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), value_bytes));
        let value_at = at + header.write(key.bytes, value_bytes, value_at) as u64;
        self.segments.copy(from, value_at, value_bytes);
        self.link(key, at, true);
        Ok(Some(at))
    }

    /// Gives back room that will not be used, by filling it with a dead item.
    pub(super) fn abandon(&mut self, at: u64, header: &Header, key: Key<'_>, value_bytes: usize) {
        let len = header.item_len(key.bytes.len(), value_bytes);
        header.write(key.bytes, value_bytes, self.segments.bytes_mut(at, len));
        self.segments.set_state(at, state::DEAD);
        self.segments.discount(at, len, header.expiry);
    }

    /// Finds room for an item in the open segment of its class. May evict, so places found before are void.
    #[inline]
    pub(super) fn room(
        &mut self,
        key: Key<'_>,
        header: &Header,
        value_bytes: usize,
        now: Millis,
    ) -> Result<u64, Refusal> {
        let len = header.item_len(key.bytes.len(), value_bytes);
        self.room_beside(self.find(key), key.hash, header, len, now)
    }

    /// As [`Shard::room`], for an item of `len` bytes and a key whose item has been looked up already.
    #[inline]
    fn room_beside(
        &mut self,
        there: Option<(Place, Slot)>,
        hash: u64,
        header: &Header,
        len: usize,
        now: Millis,
    ) -> Result<u64, Refusal> {
        let queue = match there {
            Some((_, slot)) => self.segments.header(self.segments.segment_of(slot.location())).queue,
            None => {
                self.grow_index();
                self.eviction.admit(hash)
            }
        };
        let class = class_of(header.expiry, now);
        self.append(queue, class, len, header.expiry, now)
    }

    /// Appends room, making some if there is none.
    pub(super) fn append(
        &mut self,
        queue: Queue,
        class: u8,
        len: usize,
        expiry: Option<Millis>,
        now: Millis,
    ) -> Result<u64, Refusal> {
        self.keep_pace(len, now);
        loop {
            if let Some(at) = self.segments.append(queue, class, len, expiry, now, RELOCATION_RESERVE) {
                return Ok(at);
            }
            if !self.make_room(now) {
                return Err(out_of_memory(&self.stats));
            }
        }
    }

    /// Points the index at a new item, and kills the one it replaces (without its chunks, if they were
    /// `adopted`). Returns where that one lies: its bytes are there until the next command.
    #[inline]
    pub(super) fn link(&mut self, key: Key<'_>, at: u64, adopted: bool) -> Option<u64> {
        self.link_found(self.find(key), key.hash, at, adopted)
    }

    /// As [`Shard::link`], for a key whose old item has been looked up already.
    #[inline]
    fn link_found(&mut self, there: Option<(Place, Slot)>, hash: u64, at: u64, adopted: bool) -> Option<u64> {
        let version = if self.index.may_be_elsewhere() {
            self.put_for_copy(there, hash, at, adopted)
        } else {
            self.put_in_index(there, hash, at, adopted)
        };
        self.changed(Cause::Written, at, hash, version);
        there.map(|(_, old)| old.location())
    }

    /// As [`Shard::put_in_index`]. If the key has a copy on the medium, that does not count any more.
    #[inline(never)]
    fn put_for_copy(&mut self, there: Option<(Place, Slot)>, hash: u64, at: u64, adopted: bool) -> u64 {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::ElsewhereEarly) {
            self.forget_copy(hash);
        }
        // O7 of `reader.rs`: the copy goes behind the new item, as it may be the last of them.
        let version = self.put_in_index(there, hash, at, adopted);
        if self.forget_copy(hash) {
            self.void_copy(at, hash, version);
        }
        version
    }

    /// As [`Shard::link_found`], for an item that is not new. Returns its version.
    #[inline]
    pub(super) fn put_in_index(
        &mut self,
        there: Option<(Place, Slot)>,
        hash: u64,
        at: u64,
        adopted: bool,
    ) -> u64 {
        let weight = Weight::of(&self.segments.item(at));
        let slot = Slot::new(hash, at, weight.len);
        match there {
            Some((place, old)) => {
                // Dead before the new one is published: whoever has seen that never reads the old value after it.
                if adopted {
                    self.kill_one(old.location());
                } else {
                    self.kill(old.location());
                }
                self.index.replace(place, slot.with_frequency(old.frequency()));
            }
            None => {
                while self.index.insert(hash, slot).is_err() {
                    self.drop_coldest_near(hash);
                }
            }
        }
        self.enter(at, &weight);
        weight.version
    }

    #[cold]
    fn drop_coldest_near(&mut self, hash: u64) {
        let Some(coldest) = self.index.coldest_near(hash) else {
            unreachable!("a full neighbourhood has items")
        };
        self.drop_item(coldest.location());
        self.stats.index_evictions.add(1);
    }
}
