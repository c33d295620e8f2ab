//! Items that are not in DRAM: the seam of a second tier.
//!
//! The index may name an item by its hash and a place on a medium. A command that needs such an item is answered with
//! [`Outcome::Pending`](crate::command::Outcome::Pending) and a ticket, which is the place. Whoever asked has the bytes
//! fetched, gives them to [`Shard::promote`], and executes the command again from its start; many may wait for one place.
//! A blind write needs no item: it takes the entry's place.

use super::write::is_expired;
use super::{Key, Shard, hash_of, out_of_memory};
use crate::bytes::Bytes;
use crate::chain::{ChainList, ListWriter, ORDINAL_BYTES, list_bytes};
use crate::changes::{Cause, Change};
use crate::command::{Command, Expiry, Millis, Op, Refusal, Ticket, Write, WriteMode};
use crate::index::{Elsewhere, Entry, Full, PLACES, Place};
use crate::item::{HEADER_BYTES, Header, ItemRef, present, state};
use crate::words;

impl Shard {
    /// Takes an item out of DRAM, whose bytes lie at `place` of a medium now: the item, and behind the head of a chain its
    /// chunks ([`crate::segments::Chain::chunks`]). `false`: it is no live item, or the index had no room for the entry, and it
    /// is gone.
    ///
    /// # Panics
    /// If the place is not below [`PLACES`].
    pub fn demote(&mut self, space: u16, key: &[u8], place: u64, now: Millis) -> bool {
        assert!(place < PLACES, "a place of 52 bits");
        let hash = self.hash(space, key);
        let key = Key { bytes: key, space, hash };
        self.grow_index();
        let Some((at, slot)) = self.find_live(key, now) else { return false };
        let version = self.segments.item(slot.location()).version();
        self.index.begin_exchange(hash);
        self.index.remove(at, hash);
        self.forget_copy(hash);
        let entry = Elsewhere { hash, place, frequency: slot.frequency() };
        let is_named = self.index.insert_elsewhere(entry).is_ok();
        self.index.end_exchange(hash);
        let cause = if is_named { Cause::Moved } else { Cause::Evicted };
        self.changed(cause, slot.location(), hash, version);
        self.kill(slot.location());
        is_named
    }

    /// Brings an item back to DRAM: `bytes` is what lay at the ticket's place, as [`Shard::demote`] wants it. The index goes on
    /// naming the place, so eviction need not write the item again. If the index names that place no more, or the bytes are no
    /// live item with this hash, nothing comes back, and the key misses.
    ///
    /// # Errors
    /// [`Refusal::OutOfMemory`]; the item stays where it is.
    pub fn promote(&mut self, hash: u64, ticket: Ticket, bytes: &[u8], now: Millis) -> Result<(), Refusal> {
        let Some((place, entry)) = self.entry_at(hash, ticket) else { return Ok(()) };
        let Some(found) = Fetched::read(bytes).filter(|found| self.takes(found, hash, now)) else {
            self.index.remove_elsewhere(place, hash);
            self.supersede(hash);
            return Ok(());
        };
        self.count_elsewhere(hash, 1);
        let (item, value_at) = (found.item, found.item.value_at());
        let (header, key) = (item.header(), &bytes[value_at - item.key_len()..value_at]);
        let key = Key { bytes: key, space: item.space(), hash };
        if self.find(key).is_some() {
            return Ok(());
        }
        let at = match found.list {
            None => {
                let at = self.room(key, &header, item.value_len(), now)?;
                let out = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), item.value_len()));
                header.write_item(key.bytes, item.value(), out);
                at
            }
            Some(list) => self.bring_back(key, &header, list, &found.chunks, now)?,
        };
        self.put_in_index(None, hash, at, false);
        self.changed(Cause::Moved, at, hash, header.version);
        if let Some((at, slot)) = self.find(key) {
            self.index.replace(at, slot.with_frequency(entry.frequency.min(self.frequency_max)));
        }
        Ok(())
    }

    /// Appends the key of an item that is elsewhere to `keys`, as [`Shard::scan`] does, if it is a live one of this space. `bytes`
    /// is what lay at the ticket's place.
    pub fn scan_elsewhere(
        &self,
        space: u16,
        (hash, ticket): (u64, Ticket),
        bytes: &[u8],
        now: Millis,
        keys: &mut Vec<u8>,
    ) {
        let is_named = self.entry_at(hash, ticket).is_some();
        let Some(found) = Fetched::read(bytes).filter(|found| is_named && self.takes(found, hash, now))
        else {
            return;
        };
        if found.item.space() == space && !found.item.is(state::PLACEHOLDER) {
            words::begin(found.item.key_len() as u32, keys);
            found.item.key().append_to(keys);
        }
    }

    /// Whether what was fetched is the live item with this hash, and no longer than items of this shard are.
    fn takes(&self, found: &Fetched<'_>, hash: u64, now: Millis) -> bool {
        let item = &found.item;
        let fits = item.item_len() <= self.item_bytes_max()
            && found.chunks.iter().all(|data| data.len() <= self.segments.segment_bytes() / 8);
        fits && item.is_live(now, self.flushed) && hash_of(&self.secrets, item) == hash
    }

    /// Writes a chain that was fetched, under its own number and ordinals. Returns where its head lies.
    fn bring_back(
        &mut self,
        key: Key<'_>,
        header: &Header,
        list: ChainList<'_>,
        chunks: &[Bytes<'_>],
        now: Millis,
    ) -> Result<u64, Refusal> {
        if list.stored_bytes() > self.uploads_room() {
            return Err(out_of_memory(&self.stats));
        }
        let mut extents = Vec::with_capacity(list.len());
        let mut rest = chunks.iter();
        let result = list.extents().try_for_each(|extent| {
            let (Some(ordinal), Some(data)) = (extent.ordinal(), extent.ordinal().and_then(|_| rest.next()))
            else {
                extents.push(extent);
                return Ok(());
            };
            let chunk = self.add_chunk(key, (list.chain(), ordinal), data.len(), None, now)?;
            extents.push(chunk);
            let data_at = self.data_at(chunk).unwrap_or_default();
            self.segments.bytes_mut(data_at, data.len()).copy_from(*data);
            Ok(())
        });
        let bytes = list_bytes(extents.len());
        let at = match result.and_then(|()| self.room(key, header, bytes, now)) {
            Ok(at) => at,
            Err(refusal) => {
                self.discard(&extents);
                return Err(refusal);
            }
        };
        let out = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), bytes));
        let value_at = header.write(key.bytes, bytes, out);
        let out = out.slice(value_at..value_at + bytes);
        let mut writer = ListWriter::new(bytes);
        extents.iter().for_each(|&extent| writer.push(out, extent));
        writer.finish(out, list.chain(), list.next_ordinal(), 0);
        for chunk in extents.iter().filter_map(|extent| extent.location()) {
            self.segments.unpin_filled(chunk);
        }
        Ok(at)
    }

    /// What lay at a ticket's place cannot be had: its key misses from now on. False: the index named that place no more.
    pub fn forget_elsewhere(&mut self, hash: u64, ticket: Ticket) -> bool {
        let Some((place, _)) = self.entry_at(hash, ticket) else { return false };
        self.index.remove_elsewhere(place, hash);
        self.tell_lost(hash);
        true
    }

    fn entry_at(&self, hash: u64, ticket: Ticket) -> Option<(Place, Elsewhere)> {
        self.index.find_elsewhere(hash).filter(|(_, entry)| entry.place == ticket.0)
    }

    /// The ticket that a command would be answered with now.
    pub fn ticket_for(&self, command: &Command<'_>, hash: u64, now: Millis) -> Option<Ticket> {
        if !self.index.may_be_elsewhere() {
            return None;
        }
        let key = Key { bytes: command.key, space: command.space, hash };
        match command.op {
            Op::Read(_) if self.find(key).is_some() => None,
            Op::Read(read) => self.ticket(key, read.is_plain()),
            _ => self.ticket_of(key, &command.op, now),
        }
    }

    /// The ticket of an item that was not found in DRAM. `is_plain`: by a read that changes nothing.
    #[inline]
    pub(super) fn ticket(&self, key: Key<'_>, is_plain: bool) -> Option<Ticket> {
        if self.index.may_be_elsewhere() { self.ticket_elsewhere(key, is_plain) } else { None }
    }

    #[inline(never)]
    fn ticket_elsewhere(&self, key: Key<'_>, is_plain: bool) -> Option<Ticket> {
        let ticket = match self.index.find_elsewhere(key.hash) {
            Some((_, entry)) => Ticket(entry.place),
            None if self.waits_to_know(key, is_plain) => Ticket::UNKNOWN,
            None => return None,
        };
        // The item of another key with the same hash is in DRAM: this key has none.
        let is_of_another = self.item_of(key.hash).is_some();
        (!is_of_another).then_some(ticket)
    }

    /// The ticket of the item that a change must know, if it is not in DRAM.
    #[inline]
    pub(super) fn ticket_of(&self, key: Key<'_>, op: &Op<'_>, now: Millis) -> Option<Ticket> {
        if !self.index.may_be_elsewhere() || is_blind(op, now) || self.find(key).is_some() {
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
        if let Some((place, _)) = found {
            self.index.remove_elsewhere(place, hash);
        }
        found.is_some()
    }

    /// The key of `hash` has an item at a place of the medium.
    pub(super) fn name_place(&mut self, hash: u64, place: u64) -> Result<(), Full> {
        assert!(place < PLACES, "a place of 52 bits");
        self.grow_index();
        if self.index.elsewhere() >= self.places_max {
            return Err(Full);
        }
        self.index.insert_elsewhere(Elsewhere { hash, place, frequency: 0 })
    }

    /// As [`Shard::name_place`], in the place of the coldest one nearby if there is no room for both.
    pub(super) fn name_newest_place(&mut self, hash: u64, place: u64) {
        if self.name_place(hash, place).is_ok() {
            return;
        }
        if let Some(coldest) = self.index.coldest_elsewhere_near(hash) {
            self.drop_entry(Entry::Elsewhere(coldest));
            self.stats.index_evictions.add(1);
        }
        if self.name_place(hash, place).is_err() {
            self.lose_place(hash);
        }
    }

    /// The index has no room for the place of an item, which misses.
    pub(super) fn lose_place(&mut self, hash: u64) {
        self.stats.index_evictions.add(1);
        self.tell_lost(hash);
    }

    /// An entry that the index has no room for any more goes.
    pub(super) fn drop_entry(&mut self, entry: Entry) {
        match entry {
            Entry::Item(slot) => self.drop_item(slot.location()),
            Entry::Elsewhere(Elsewhere { hash, .. }) => {
                if let Some((place, _)) = self.index.find_elsewhere(hash) {
                    self.index.remove_elsewhere(place, hash);
                }
                self.tell_lost(hash);
            }
        }
    }

    /// Tells the listener that an item is gone of which only the hash is known.
    pub(super) fn tell_lost(&mut self, hash: u64) {
        self.mark_lost();
        self.stats.places_lost.add(1);
        self.supersede(hash);
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
            *expiry != Expiry::Keep && !is_expired(*expiry, now)
        }
        _ => false,
    }
}

/// What lay at a place of a medium.
struct Fetched<'a> {
    item: ItemRef<'a>,
    /// Of a chain; the locations in it mean nothing.
    list: Option<ChainList<'a>>,
    /// The data of the chain's chunks, in the order of its list.
    chunks: Vec<Bytes<'a>>,
}

impl<'a> Fetched<'a> {
    /// `None`: the bytes are no item, or not all of one.
    fn read(bytes: &'a [u8]) -> Option<Fetched<'a>> {
        let (item, mut rest) = first_item(bytes)?;
        let mut found = Fetched { item, list: None, chunks: Vec::new() };
        if item.present() & (present::CHAIN_HEAD | present::CHUNK) == 0 {
            return Some(found);
        }
        let list = ChainList::read(item.value()).filter(|_| item.present() & present::CHUNK == 0)?;
        let mut lens = (0, 0);
        for extent in list.extents() {
            lens.0 += extent.len();
            let Some(ordinal) = extent.ordinal() else { continue };
            lens.1 += extent.len();
            let chunk;
            (chunk, rest) = first_item(rest)?;
            let value = chunk.value();
            let is_chunk = chunk.present() & present::CHUNK != 0 && value.len() >= ORDINAL_BYTES;
            let is_ours = is_chunk
                && (chunk.version(), value.word(0)) == (list.chain(), ordinal)
                && ordinal < list.next_ordinal()
                && (value.len() - ORDINAL_BYTES) as u64 == extent.len();
            if !is_ours {
                return None;
            }
            found.chunks.push(value.behind(ORDINAL_BYTES));
        }
        found.list = Some(list);
        (lens == (list.value_bytes(), list.stored_bytes())).then_some(found)
    }
}

/// The item that bytes begin with, and those behind it.
fn first_item(bytes: &[u8]) -> Option<(ItemRef<'_>, &[u8])> {
    let item = (bytes.len() >= HEADER_BYTES).then(|| ItemRef::new(Bytes::from(bytes)))?;
    let rest = bytes.get(item.item_len()..)?;
    Some((item, rest))
}
