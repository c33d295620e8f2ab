//! Storing: conditions, room, index.

use super::edit::To;
use super::{Key, Shard, Weight, out_of_memory};
use crate::bytes::Bytes;
use crate::changes::Cause;
use crate::command::{Body, Expiry, Found, Meta, Millis, Outcome, Refusal, Write, WriteMode};
use crate::index::{Entry, GROW_STEPS_PER_INSERT, Place, Slot};
use crate::item::{Header, KEY_BYTES_MAX, state};
use crate::segments::{Queue, RELOCATION_RESERVE, class_of};

/// The expiry to write, given that of the item before.
pub(super) fn absolute(expiry: Expiry, old: Option<Millis>) -> Option<Millis> {
    match expiry {
        Expiry::Keep => old,
        Expiry::Never => None,
        Expiry::At(at) => Some(at),
    }
}

/// Whether an item with this expiry ends before it begins.
pub(super) fn over(expiry: Expiry, now: Millis) -> bool {
    matches!(expiry, Expiry::At(at) if at <= now)
}

impl Shard {
    pub(super) fn write(&mut self, key: Key<'_>, write: &Write<'_>, now: Millis) -> Outcome<'_> {
        if let Err(refusal) = self.check(key, self.body_bytes(write.value)) {
            self.upload_drop(write.value);
            return Outcome::Refused(refusal);
        }
        let found = self.find_live(key, now);
        if write.mode == WriteMode::Set && write.compare.is_none() {
            let result = self.write_new(key, write, false, found, now);
            return self.stored(result, write.want_old);
        }
        self.write_if(key, write, found, now)
    }

    /// A write with a condition, or one that joins.
    fn write_if(
        &mut self,
        key: Key<'_>,
        write: &Write<'_>,
        found: Option<(Place, Slot)>,
        now: Millis,
    ) -> Outcome<'_> {
        let there = found.filter(|&(_, slot)| self.stands(slot, write));
        let mut stale = false;
        let wanted = match write.mode {
            WriteMode::Set => true,
            WriteMode::Add => there.is_none(),
            WriteMode::Replace | WriteMode::Append | WriteMode::Prepend => {
                there.is_some() || write.vivify.is_some()
            }
        };
        if let Some(compare) = write.compare {
            let Some((_, slot)) = there else {
                self.upload_drop(write.value);
                return Outcome::Miss;
            };
            let token = self.segments.item(slot.location()).token();
            let joins = matches!(write.mode, WriteMode::Append | WriteMode::Prepend);
            stale = write.invalidate && !joins && compare < token;
            if compare != token && !stale {
                self.upload_drop(write.value);
                return Outcome::Exists;
            }
        }
        if !wanted {
            self.upload_drop(write.value);
            let old = self.shown(there.filter(|_| write.want_old).map(|(_, slot)| slot.location()));
            return Outcome::NotStored { old };
        }
        let result = match (write.mode, there) {
            (WriteMode::Append | WriteMode::Prepend, Some((_, slot))) => {
                self.join(key, write, slot.location(), now)
            }
            _ => self.write_new(key, write, stale, found, now),
        };
        self.stored(result, write.want_old)
    }

    /// Whether what is there is an item to this writer: a placeholder is none to one that does not know leases, unless it
    /// names its token.
    fn stands(&self, slot: Slot, write: &Write<'_>) -> bool {
        let sees = write.leases || write.compare.is_some();
        sees || !self.segments.item(slot.location()).is(state::PLACEHOLDER)
    }

    /// Whether key and value are as short as they must be.
    pub(super) fn check(&self, key: Key<'_>, value_bytes: u64) -> Result<(), Refusal> {
        // Half of a chunk is data at least.
        if key.bytes.len() > KEY_BYTES_MAX || key.bytes.len() > self.item_bytes_max() / 4 {
            return Err(Refusal::KeyTooLarge);
        }
        if value_bytes > self.value_bytes_max {
            return Err(Refusal::ValueTooLarge);
        }
        Ok(())
    }

    /// The answer to a write: where the new item is, and where the old one was.
    pub(super) fn stored(&mut self, result: Result<Stored, Refusal>, want_old: bool) -> Outcome<'_> {
        match result {
            Ok(stored) => {
                self.stats.writes.add(1);
                let old = if want_old { self.shown(stored.old) } else { None };
                Outcome::Stored { meta: stored.meta, old }
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// An item that was there, for the answer; a placeholder was none.
    pub(super) fn shown(&self, old: Option<u64>) -> Option<Found<'_>> {
        old.filter(|&at| !self.segments.item(at).is(state::PLACEHOLDER)).map(|at| self.found(at))
    }

    fn write_new(
        &mut self,
        key: Key<'_>,
        write: &Write<'_>,
        stale: bool,
        found: Option<(Place, Slot)>,
        now: Millis,
    ) -> Result<Stored, Refusal> {
        let expiry = match (write.mode, write.vivify) {
            (WriteMode::Append | WriteMode::Prepend, Some(vivify)) => vivify,
            _ if stale => Expiry::Keep,
            _ => write.expiry,
        };
        if over(expiry, now) {
            self.upload_drop(write.value);
            return Ok(self.write_over(key, write, now));
        }
        let header = Header {
            version: self.clock.next(now),
            state: if stale { self.stale_after(found) } else { 0 },
            kind: 0,
            expiry: match expiry {
                Expiry::Keep => self.expiry_before(found, write),
                other => absolute(other, None),
            },
            token: write.token,
            flags: write.flags,
            space: key.space,
        };
        let Body::Bytes(bytes) = write.value else {
            return self.write_long(key, header, write.value, now);
        };
        if header.item_len(key.bytes.len(), bytes.len()) > self.item_bytes_max() {
            return self.write_long(key, header, write.value, now);
        }
        let linked = self.store_over(found, key, header, bytes, now)?;
        Ok(Stored { meta: header.meta(bytes.len() as u64), old: linked.old })
    }

    /// What the answer says of an item that was linked.
    pub(super) fn told(&self, linked: Linked) -> Stored {
        Stored { meta: self.meta(linked.at), old: linked.old }
    }

    /// The expiry of the item that a write replaces.
    #[cold]
    fn expiry_before(&self, found: Option<(Place, Slot)>, write: &Write<'_>) -> Option<Millis> {
        let (_, slot) = found.filter(|&(_, slot)| self.stands(slot, write))?;
        self.segments.item(slot.location()).expiry()
    }

    /// The state of a stale value that replaces an item: a lease that is given is not given again.
    #[cold]
    fn stale_after(&self, found: Option<(Place, Slot)>) -> u8 {
        let before = found.map_or(0, |(_, slot)| self.segments.item(slot.location()).state());
        state::STALE | before & state::LEASE_GIVEN
    }

    /// A value that is longer than an item may be, or was uploaded.
    // Apart from plain writes, whose code stays short.
    #[inline(never)]
    fn write_long(
        &mut self,
        key: Key<'_>,
        header: Header,
        value: Body<'_>,
        now: Millis,
    ) -> Result<Stored, Refusal> {
        let upload = match value {
            Body::Bytes(bytes) => self.upload_whole(key, bytes, now)?,
            Body::Upload(upload) => upload,
        };
        self.commit(key, header, upload, now).map(|linked| self.told(linked))
    }

    /// A write that is over as it comes: only what was there goes.
    #[cold]
    fn write_over(&mut self, key: Key<'_>, write: &Write<'_>, now: Millis) -> Stored {
        let version = self.clock.next(now);
        let old = self.find(key).map(|(place, slot)| {
            self.remove(place, slot, key.hash, Cause::Deleted, version);
            slot.location()
        });
        let meta = Meta {
            version,
            token: write.token.unwrap_or(version),
            flags: write.flags,
            expiry: absolute(write.expiry, None),
            ..Meta::default()
        };
        Stored { meta, old }
    }

    /// Writes a plain item for a key, in place of whatever it had.
    pub(super) fn store(
        &mut self,
        key: Key<'_>,
        header: Header,
        value: &[u8],
        now: Millis,
    ) -> Result<Linked, Refusal> {
        self.store_over(self.find(key), key, header, value, now)
    }

    /// As [`Shard::store`], for a key whose item has been looked up already.
    #[inline]
    pub(super) fn store_over(
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
        let old = self.link_over(found, key.hash, at, false);
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

    /// Gives room that will not be used back: a dead item fills it.
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
        self.link_over(self.find(key), key.hash, at, adopted)
    }

    /// As [`Shard::link`], for a key whose old item has been looked up already.
    #[inline]
    fn link_over(&mut self, there: Option<(Place, Slot)>, hash: u64, at: u64, adopted: bool) -> Option<u64> {
        if there.is_none() {
            self.supersede(hash);
        }
        let version = self.put_in_index(there, hash, at, adopted);
        self.changed(Cause::Written, at, hash, version);
        there.map(|(_, old)| old.location())
    }

    /// As [`Shard::link_over`], for an item that is not new. Returns its version.
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
        self.enter(&weight);
        weight.version
    }

    #[cold]
    fn drop_coldest_near(&mut self, hash: u64) {
        let Some(coldest) = self.index.coldest_near(hash) else {
            unreachable!("a full neighbourhood has items")
        };
        self.drop_entry(coldest);
        self.stats.index_evictions.add(1);
    }

    /// Moves the index on if it is growing, or begins to grow it if it is too full and the memory can be had.
    #[inline]
    pub(super) fn grow_index(&mut self) {
        if self.index.is_growing() {
            for _ in 0..GROW_STEPS_PER_INSERT {
                self.grow_step();
            }
        } else if let Some(bytes) = self.index.growth_wanted() {
            self.begin_growth(bytes);
        }
    }

    /// One home of the index moves; returns whether there are more.
    pub(super) fn grow_step(&mut self) -> bool {
        for slot in self.index.next_step() {
            self.segments.prefetch(slot.location(), 1);
        }
        let (segments, secrets) = (&self.segments, &self.secrets);
        let hash_of = |slot: Slot| super::hash_of(secrets, &segments.item(slot.location()));
        // Next to never any: a vector without elements allocates nothing.
        let mut lost = Vec::new();
        self.index.grow_step(hash_of, |entry| lost.push(entry));
        for entry in lost {
            self.stats.index_evictions.add(1);
            let at = match entry {
                Entry::Item(slot) => slot.location(),
                Entry::Elsewhere(elsewhere) => {
                    self.tell_lost(elsewhere.hash);
                    continue;
                }
            };
            let item = self.segments.item(at);
            let (hash, version) = (super::hash_of(&self.secrets, &item), item.version());
            self.changed(Cause::Evicted, at, hash, version);
            self.kill(at);
        }
        self.index.is_growing()
    }

    /// The index takes its memory from the segments: they are made fewer first.
    #[cold]
    fn begin_growth(&mut self, bytes: usize) {
        // What eviction will remember has its share before the memory is full, not after.
        self.eviction.resize(self.index.items());
        if self.fit(bytes) {
            self.index.grow();
            self.publish();
        }
    }

    /// Segments that the memory leaves beside an index of `index_bytes`, the bookkeeping and what is set aside.
    fn segments_wanted(&self, index_bytes: usize) -> usize {
        let beside = index_bytes + self.bookkeeping_bytes() + self.aside_bytes as usize;
        let left = (self.memory_bytes as usize).saturating_sub(beside);
        (left / self.segments.segment_bytes()).min(self.segments.reserved())
    }

    /// Whether there are more segments than there should be.
    pub(super) fn is_over(&self) -> bool {
        let wanted = self.segments_wanted(self.index.bytes()).max(super::SEGMENTS_MIN);
        wanted < self.segments.count_max() || self.segments.count() > self.segments.count_max()
    }

    /// Limits the segments to [`Shard::segments_wanted`]: free ones go at once, others as they become free, so that no
    /// writer waits for more than one. `false`: not there yet, or that would be too few.
    pub(super) fn fit(&mut self, index_bytes: usize) -> bool {
        let wanted = self.segments_wanted(index_bytes);
        let count_max = wanted.max(super::SEGMENTS_MIN);
        if count_max > self.segments.count_max() {
            self.segments.limit(count_max);
        }
        while count_max < self.segments.count_max() && self.segments.available() > RELOCATION_RESERVE {
            self.segments.limit(self.segments.count_max() - 1);
        }
        wanted >= self.segments.count_max()
    }

    /// Appends to or prepends before an existing value, which lies at `at`.
    // Apart from plain writes, whose code stays short.
    #[inline(never)]
    fn join(&mut self, key: Key<'_>, write: &Write<'_>, at: u64, now: Millis) -> Result<Stored, Refusal> {
        let added = self.body_bytes(write.value);
        if let Err(refusal) = self.check(key, self.found(at).value.len() + added) {
            self.upload_drop(write.value);
            return Err(refusal);
        }
        let item = self.segments.item(at);
        let header = Header { version: self.clock.next(now), state: 0, token: write.token, ..item.header() };
        let to = if write.mode == WriteMode::Prepend { To::Start } else { To::End };
        let old = self.hold(Some(at));
        let result = self.put(key, header, old, (to, write.value), now);
        self.let_go(Some(at), old);
        result.map(|linked| self.told(linked))
    }
}

/// A new item, linked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linked {
    pub(super) at: u64,
    /// Where the item before was; its bytes are there until the next command.
    pub(super) old: Option<u64>,
}

/// What a write came to.
pub(super) struct Stored {
    pub(super) meta: Meta,
    /// Where the item before was; its bytes are there until the next command.
    pub(super) old: Option<u64>,
}
