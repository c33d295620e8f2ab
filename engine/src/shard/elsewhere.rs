//! Items that are not in DRAM: the seam of a second tier.
//!
//! The index may name an item by its hash and a place on a medium. A command that needs such an item is answered with
//! [`Outcome::Pending`](crate::command::Outcome::Pending) and a ticket, which is the place. Whoever asked has the bytes
//! fetched, gives them to [`Shard::promote`], and executes the command again from its start; many may wait for one place.
//! A blind write needs no item: it takes the entry's place.

use super::returning::Returning;
use super::scan::Tells;
use super::write::is_expired;
use super::{Key, Shard, hash_of};
use crate::bytes::Bytes;
use crate::chain::ChainList;
use crate::changes::{Cause, Change};
use crate::command::{Command, Expiry, Millis, Op, Refusal, Ticket, Write, WriteMode};
use crate::index::{Elsewhere, Full, PLACES, Position, Role};
use crate::item::{HEADER_BYTES, ItemRef, present, state};
use crate::spaces::mixed;

impl Shard {
    /// Takes an item out of DRAM, whose bytes lie at `place` of a medium now; of a long value those of its head, and those of its
    /// chunks have been [saved](Shard::saved_chunk) before. `false`: it is no live item, or the index had no room for the entry,
    /// and it is gone.
    ///
    /// # Panics
    /// If the place is not below [`PLACES`].
    pub fn demote(&mut self, space: u16, key: &[u8], place: u64, now: Millis) -> bool {
        assert!(place < PLACES, "a place of 52 bits");
        let hash = self.hash(space, key);
        let key = Key { bytes: key, space, hash };
        self.grow_places();
        let Some((at, slot)) = self.find_live(key, now) else { return false };
        let version = self.segments.item(slot.location()).version();
        self.bury(slot.location());
        self.forget_copy(hash);
        let entry = Elsewhere { frequency: slot.frequency(), ..Elsewhere::new(hash, place, Role::Only) };
        // O7 of `reader.rs`: its place is named before its slot goes.
        let is_named = self.index.insert_elsewhere(space, entry).is_ok();
        self.index.remove(at, hash);
        let cause = if is_named { Cause::Moved } else { Cause::Evicted };
        self.changed(cause, slot.location(), hash, version);
        self.kill_here(slot.location(), hash);
        is_named
    }

    /// Brings an item back to DRAM: `bytes` is what lay at the ticket's place. The index goes on naming the place, so eviction
    /// need not write the item again. If the index names that place no more, or the bytes are no live item with this hash,
    /// nothing comes back, and the key misses. A long value is back when all of its chunks are: what is returned asks for them.
    ///
    /// # Errors
    /// [`Refusal::OutOfMemory`]; the item stays where it is.
    pub fn promote(
        &mut self,
        hash: u64,
        ticket: Ticket,
        bytes: &[u8],
        now: Millis,
    ) -> Result<Option<Returning>, Refusal> {
        let Some((place, entry)) = self.entry_at(hash, ticket) else { return Ok(None) };
        let found = Fetched::read(bytes).filter(|found| self.is_item_of(found, hash, now));
        // Another start may have room for it, so that its deletion has to be told.
        if found.as_ref().is_some_and(|found| !self.fits(found)) {
            self.mark_lost();
        }
        let Some(found) = found.filter(|found| self.takes(found, hash)) else {
            self.index.remove_elsewhere(place, &entry);
            self.supersede(hash);
            return Ok(None);
        };
        self.count_elsewhere(hash, 1);
        let (item, value_at) = (found.item, found.item.value_at());
        let (header, key) = (item.header(), &bytes[value_at - item.key_len()..value_at]);
        let key = Key { bytes: key, space: item.space(), hash };
        if self.find(key).is_some() {
            return Ok(None);
        }
        if let Some(list) = found.list {
            return Ok(Some(self.returning(key, ticket, (bytes, list))));
        }
        let at = self.room(key, &header, item.value_len(), now)?;
        let out = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), item.value_len()));
        header.write_item(key.bytes, item.value(), out);
        self.link_back(key, at, entry.frequency);
        Ok(None)
    }

    /// An item that was brought back can be found in DRAM.
    pub(super) fn link_back(&mut self, key: Key<'_>, at: u64, frequency: u8) {
        let version = self.put_in_index(None, key.hash, at, false);
        self.changed(Cause::Moved, at, key.hash, version);
        if let Some((at, slot)) = self.find(key) {
            self.index.replace(at, slot.with_frequency(frequency.min(self.frequency_max)));
        }
        self.set_role(key.hash, Role::Copy);
    }

    /// What becomes of the item of a key that is elsewhere, when one comes to DRAM or leaves it.
    #[inline]
    pub(super) fn set_role(&mut self, hash: u64, role: Role) {
        if self.index.elsewhere() > 0
            && let Some((at, entry)) = self.index.find_elsewhere(hash)
        {
            self.index.replace_elsewhere(at, &entry, Elsewhere { role, ..entry });
        }
    }

    /// Appends the key of an item that is elsewhere to `keys`, as [`Shard::scan`] does, if it is a live one of this database. `bytes`
    /// is what lay at the ticket's place.
    pub fn scan_elsewhere(
        &self,
        database: u16,
        (hash, ticket): (u64, Ticket),
        bytes: &[u8],
        now: Millis,
        (tells, keys): (Tells, &mut Vec<u8>),
    ) {
        let is_named = self.entry_at(hash, ticket).is_some();
        let takes = |found: &Fetched<'_>| self.is_item_of(found, hash, now) && self.takes(found, hash);
        let Some(found) = Fetched::read(bytes).filter(|found| is_named && takes(found)) else { return };
        if found.item.space() == self.spaces.of(database) && !found.item.is(state::PLACEHOLDER) {
            let value_bytes = || found.list.map_or(found.item.value_len() as u64, |list| list.value_bytes());
            tells.push(&found.item, value_bytes, keys);
        }
    }

    /// Whether what was fetched is the live item with this hash.
    fn is_item_of(&self, found: &Fetched<'_>, hash: u64, now: Millis) -> bool {
        found.item.is_live(now, self.flushed) && hash_of(&self.secrets, &found.item) == hash
    }

    /// Whether an item, and each of its chunks, is no longer than those of this shard may be.
    fn fits(&self, found: &Fetched<'_>) -> bool {
        let item = &found.item;
        item.item_len() <= self.item_bytes_max() && found.list.is_none_or(|list| self.chunks_fit(item, list))
    }

    /// Whether an item can be brought back, as a whole.
    fn takes(&self, found: &Fetched<'_>, hash: u64) -> bool {
        self.fits(found) && found.list.is_none_or(|list| self.has_chunks(hash, list))
    }

    /// What lay at a ticket's place cannot be had: its key misses from now on. False: the index named that place no more.
    pub fn forget_elsewhere(&mut self, hash: u64, ticket: Ticket) -> bool {
        let Some((place, entry)) = self.entry_at(hash, ticket) else { return false };
        self.index.remove_elsewhere(place, &entry);
        self.tell_lost(hash);
        true
    }

    pub(super) fn entry_at(&self, hash: u64, ticket: Ticket) -> Option<(Position, Elsewhere)> {
        self.index.find_elsewhere(hash).filter(|(_, entry)| entry.place == ticket.0 && !entry.is_chunk())
    }

    /// The ticket that a command would be answered with now. `hash` as for [`Shard::execute`].
    pub fn ticket_for(&self, command: &Command<'_>, hash: u64, now: Millis) -> Option<Ticket> {
        if !self.index.may_be_elsewhere() {
            return None;
        }
        let space = self.spaces.of(command.database);
        let key = Key { bytes: command.key, space, hash: mixed(hash, space) };
        match command.op {
            Op::Read(_) if self.find(key).is_some() => None,
            Op::Read(read) => self.ticket(key, read.may_miss()),
            _ => self.ticket_of(key, &command.op, now),
        }
    }

    /// The ticket of an item that was not found in DRAM. `may_miss`: by a read that need not wait until all is known.
    #[inline]
    pub(super) fn ticket(&self, key: Key<'_>, may_miss: bool) -> Option<Ticket> {
        if self.index.may_be_elsewhere() { self.ticket_elsewhere(key, may_miss) } else { None }
    }

    #[inline(never)]
    fn ticket_elsewhere(&self, key: Key<'_>, may_miss: bool) -> Option<Ticket> {
        let ticket = match self.index.find_elsewhere(key.hash).filter(|(_, entry)| !entry.is_chunk()) {
            Some(_) if self.waits_for_chunks(key) && may_miss && !self.reads_wait() => return None,
            Some(_) if self.waits_for_chunks(key) => Ticket::UNKNOWN,
            Some((_, entry)) => Ticket(entry.place),
            None if self.waits_to_know(key, may_miss) => Ticket::UNKNOWN,
            None => return None,
        };
        // The item of another key with the same hash is in DRAM: this key has none.
        let is_of_another = self.item_of(key.hash).is_some();
        (!is_of_another).then_some(ticket)
    }

    /// The ticket of the item that a change must know, if it is not in DRAM.
    #[inline(never)]
    pub(super) fn ticket_of(&self, key: Key<'_>, op: &Op<'_>, now: Millis) -> Option<Ticket> {
        if is_blind(op, now) || self.find(key).is_some() {
            return None;
        }
        self.ticket(key, false)
    }

    /// What lies on the medium is not the key's item any more.
    /// Returns whether there was something.
    #[inline]
    pub(super) fn forget_copy(&mut self, hash: u64) -> bool {
        if !self.index.may_be_elsewhere() {
            return false;
        }
        let found = self.index.find_elsewhere(hash);
        if let Some((place, entry)) = found {
            self.index.remove_elsewhere(place, &entry);
        }
        found.is_some()
    }

    /// An item of a space lies at a place of the medium. One that no database has any more is not named.
    pub(super) fn name_place(&mut self, space: u16, entry: Elsewhere) -> Result<(), Full> {
        assert!(entry.place < PLACES, "a place of 52 bits");
        if !self.spaces.shows(space, u64::MAX) {
            return Ok(());
        }
        self.grow_places();
        if self.elsewhere() >= self.places_max {
            return Err(Full);
        }
        self.index.insert_elsewhere(space, entry)
    }

    /// As [`Shard::name_place`], in the place of the coldest one nearby if there is no room for both.
    pub(super) fn name_newest_place(&mut self, space: u16, entry: Elsewhere) {
        if self.name_place(space, entry).is_ok() {
            return;
        }
        if let Some(coldest) = self.index.coldest_elsewhere_near(entry.hash) {
            self.drop_place(&coldest);
            self.stats.index_evictions.add(1);
        }
        if self.name_place(space, entry).is_err() {
            self.lose_place(entry.hash);
        }
    }

    /// As [`Shard::name_place`]; what there is no room for misses.
    pub(super) fn name_older_place(&mut self, space: u16, entry: Elsewhere) -> Result<(), Full> {
        let named = self.name_place(space, entry);
        if named.is_err() {
            self.lose_place(entry.hash);
        }
        named
    }

    /// The index has no room for the place of an item, which misses.
    pub(super) fn lose_place(&mut self, hash: u64) {
        self.stats.index_evictions.add(1);
        self.tell_lost(hash);
    }

    /// The index has no room for a place any more.
    fn drop_place(&mut self, entry: &Elsewhere) {
        self.index.drop_elsewhere(entry);
        if !self.index.is_flushed(entry) {
            self.tell_lost(entry.hash);
        }
    }

    /// Tells the listener that an item is gone of which only the hash is known.
    pub(super) fn tell_lost(&mut self, hash: u64) {
        self.mark_lost();
        self.stats.places_lost.add(1);
        self.supersede(hash);
        for listener in &mut self.listeners {
            let (cause, key) = (Cause::Evicted, Bytes::default());
            listener.changed(&Change { cause, space: 0, key, hash, version: 0, item: None });
        }
    }
}

/// Whether a command does the same whatever was there.
fn is_blind(op: &Op<'_>, now: Millis) -> bool {
    match op {
        Op::Write(Write { mode: WriteMode::Set, compare: None, want_old: false, expiry, .. }) => {
            *expiry != Expiry::Keep && !is_expired(*expiry, now)
        }
        _ => false,
    }
}

/// What lay at a place of a medium, if it is no chunk.
struct Fetched<'a> {
    item: ItemRef<'a>,
    /// Of the head of a chain; the locations in it mean nothing.
    list: Option<ChainList<'a>>,
}

impl<'a> Fetched<'a> {
    /// `None`: the bytes are no item that a key can have.
    fn read(bytes: &'a [u8]) -> Option<Fetched<'a>> {
        let item = whole_item(bytes)?;
        let list = match item.present() & (present::CHAIN_HEAD | present::CHUNK) {
            0 => None,
            present::CHAIN_HEAD => Some(ChainList::read(item.value())?),
            _ => return None,
        };
        Some(Fetched { item, list })
    }
}

/// The item that bytes are.
pub(super) fn whole_item(bytes: &[u8]) -> Option<ItemRef<'_>> {
    let item = (bytes.len() >= HEADER_BYTES).then(|| ItemRef::new(Bytes::from(bytes)))?;
    (item.item_len() <= bytes.len()).then_some(item)
}
