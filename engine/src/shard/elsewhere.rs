//! Items that are not in DRAM: the seam of a second tier.
//!
//! The index may name an item by its hash and a place on a medium. A command that needs such an item is answered with
//! [`Outcome::Pending`](crate::command::Outcome::Pending) and a ticket, which is the place. Whoever asked has the bytes
//! fetched, gives them to [`Shard::promote`], and executes the command again from its start; many may wait for one place.
//! A blind write needs no item: it takes the entry's place.

use super::write::over;
use super::{Key, Shard, hash_of};
use crate::bytes::Bytes;
use crate::changes::{Cause, Change};
use crate::command::{Expiry, Millis, Op, Refusal, Ticket, Write, WriteMode};
use crate::index::{Elsewhere, Entry, PLACES, Place};
use crate::item::{HEADER_BYTES, ItemRef, present, state};

impl Shard {
    /// Takes an item out of DRAM, whose bytes lie at `place` of a medium now. `false`: it is no live, plain item,
    /// or the index had no room for the entry, and it is gone.
    ///
    /// # Panics
    /// If the place is not below [`PLACES`].
    pub fn demote(&mut self, space: u16, key: &[u8], place: u64, now: Millis) -> bool {
        assert!(place < PLACES, "a place of 52 bits");
        let hash = self.hash(space, key);
        let key = Key { bytes: key, space, hash };
        self.grow_index();
        let Some((at, slot)) = self.find(key) else { return false };
        let item = self.segments.item(slot.location());
        let (version, is_plain) =
            (item.version(), item.present() & (present::CHAIN_HEAD | present::CHUNK) == 0);
        if !is_plain || !item.is_live(now, self.flushed) || item.is(state::PLACEHOLDER) {
            return false;
        }
        self.index.remove(at, hash);
        let entry = Elsewhere { hash, place, frequency: slot.frequency() };
        let is_named = self.index.insert_elsewhere(entry).is_ok();
        let cause = if is_named { Cause::Moved } else { Cause::Evicted };
        self.changed(cause, slot.location(), hash, version);
        self.kill(slot.location());
        is_named
    }

    /// Brings an item back to DRAM: `bytes` is what lay at the ticket's place, an item in the one encoding. If the index
    /// names that place no more, or the bytes are no live item with this hash, nothing comes back, and the key misses.
    ///
    /// # Errors
    /// [`Refusal::OutOfMemory`]; the item stays where it is.
    pub fn promote(&mut self, hash: u64, ticket: Ticket, bytes: &[u8], now: Millis) -> Result<(), Refusal> {
        let Some((place, entry)) = self.entry_at(hash, ticket) else { return Ok(()) };
        let Some(item) = whole_item(bytes)
            .filter(|item| item.is_live(now, self.flushed) && hash_of(&self.secrets, item) == hash)
        else {
            self.index.remove_elsewhere(place, hash);
            return Ok(());
        };
        let (header, value_at) = (item.header(), item.value_at());
        let key = Key { bytes: &bytes[value_at - item.key_len()..value_at], space: item.space(), hash };
        let at = self.room(key, &header, item.value_len(), now)?;
        let out = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), item.value_len()));
        header.write_item(key.bytes, item.value(), out);
        // Making room may have cost the entry its place in the index; the item is here all the same.
        if let Some((place, _)) = self.entry_at(hash, ticket) {
            self.index.remove_elsewhere(place, hash);
        }
        self.put_in_index(None, hash, at, false);
        self.changed(Cause::Moved, at, hash, header.version);
        if let Some((at, slot)) = self.find(key) {
            self.index.replace(at, slot.with_frequency(entry.frequency));
        }
        Ok(())
    }

    /// What lay at a ticket's place cannot be had: its key misses from now on.
    pub fn forget_elsewhere(&mut self, hash: u64, ticket: Ticket) {
        if let Some((place, _)) = self.entry_at(hash, ticket) {
            self.index.remove_elsewhere(place, hash);
            self.tell_lost(hash);
        }
    }

    fn entry_at(&self, hash: u64, ticket: Ticket) -> Option<(Place, Elsewhere)> {
        self.index.find_elsewhere(hash).filter(|(_, entry)| entry.place == ticket.0)
    }

    /// The ticket of an item that a read has not found in DRAM.
    #[inline]
    pub(super) fn ticket(&self, hash: u64) -> Option<Ticket> {
        if self.index.elsewhere() == 0 {
            return None;
        }
        self.index.find_elsewhere(hash).map(|(_, entry)| Ticket(entry.place))
    }

    /// The ticket of the item that a change must know, if it is not in DRAM.
    #[inline]
    pub(super) fn ticket_of(&self, key: Key<'_>, op: &Op<'_>, now: Millis) -> Option<Ticket> {
        if self.index.elsewhere() == 0 || is_blind(op, now) || self.find(key).is_some() {
            return None;
        }
        self.ticket(key.hash)
    }

    /// A key that is in DRAM now is nowhere else.
    #[inline]
    pub(super) fn supersede(&mut self, hash: u64) {
        if self.index.elsewhere() > 0
            && let Some((place, _)) = self.index.find_elsewhere(hash)
        {
            self.index.remove_elsewhere(place, hash);
        }
    }

    /// An entry that the index has no room for any more goes.
    pub(super) fn drop_entry(&mut self, entry: Entry) {
        match entry {
            Entry::Item(slot) => self.drop_item(slot.location()),
            Entry::Elsewhere(Elsewhere { hash, .. }) => {
                self.supersede(hash);
                self.tell_lost(hash);
            }
        }
    }

    /// Tells that an item is gone of which only the hash is known.
    pub(super) fn tell_lost(&mut self, hash: u64) {
        if let Some(listener) = &mut self.listener {
            let (cause, key) = (Cause::Evicted, Bytes::default());
            listener.changed(&Change { cause, space: 0, key, hash, version: 0, item: None });
        }
    }
}

/// Whether a command does the same whatever was there.
fn is_blind(op: &Op<'_>, now: Millis) -> bool {
    match op {
        Op::Write(Write { mode: WriteMode::Set, compare: None, want_old: false, expiry, .. }) => {
            *expiry != Expiry::Keep && !over(*expiry, now)
        }
        _ => false,
    }
}

/// The plain item that bytes are, if they are one.
fn whole_item(bytes: &[u8]) -> Option<ItemRef<'_>> {
    let item = (bytes.len() >= HEADER_BYTES).then(|| ItemRef::new(Bytes::from(bytes)))?;
    let is_plain = item.present() & (present::CHAIN_HEAD | present::CHUNK) == 0;
    (is_plain && item.item_len() <= bytes.len()).then_some(item)
}
