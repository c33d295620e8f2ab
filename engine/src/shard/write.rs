//! Storing: conditions, room, index.

use super::edit::To;
use super::place::Linked;
use super::{Key, Shard};
use crate::changes::Cause;
use crate::command::{Body, Expiry, Found, Meta, Millis, Outcome, Refusal, Unpack, Write, WriteMode};
use crate::index::{Place, Slot};
use crate::item::{Header, KEY_BYTES_MAX, state};
use crate::lzf;

/// Longest value that is unpacked, bytes: others wait meanwhile.
const UNPACKED_BYTES_MAX: u64 = 16 << 20;

/// The expiry to write, given that of the item before.
pub(super) fn absolute(expiry: Expiry, old: Option<Millis>) -> Option<Millis> {
    match expiry {
        Expiry::Keep => old,
        Expiry::Never => None,
        Expiry::At(at) => Some(at),
    }
}

/// Whether an item with this expiry ends before it begins.
pub(super) fn is_expired(expiry: Expiry, now: Millis) -> bool {
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

    /// A value that comes packed is unpacked, and stored as any other.
    pub(super) fn unpack(&mut self, key: Key<'_>, ask: &Unpack<'_>, now: Millis) -> Outcome<'_> {
        if u64::from(ask.len) > self.value_bytes_max.min(UNPACKED_BYTES_MAX) {
            return Outcome::Refused(Refusal::ValueTooLarge);
        }
        match lzf::unpack(ask.packed, ask.len as usize) {
            Some(value) => {
                let write = Write { mode: ask.mode, expiry: ask.expiry, ..Write::set(&value) };
                self.write(key, &write, now)
            }
            None => Outcome::Refused(Refusal::BadPacked),
        }
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
            let there = there.map(|(_, slot)| slot.location());
            let old = if write.want_old { self.told_old(there) } else { None };
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

    /// Whether the key has an item for this writer. To a writer that does not know leases a placeholder is none, unless
    /// the writer names its token.
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
                let old = if want_old { self.told_old(stored.old) } else { None };
                Outcome::Stored { meta: stored.meta, old }
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// What the answer to a change tells of the item before it, which counts as a read.
    pub(super) fn told_old(&self, old: Option<u64>) -> Option<Found<'_>> {
        let old = self.shown(old);
        self.count_old(old.is_some());
        old
    }

    /// An item that was there, for the answer; a placeholder was none.
    pub(super) fn shown(&self, old: Option<u64>) -> Option<Found<'_>> {
        old.filter(|&at| !self.segments.item(at).is(state::PLACEHOLDER)).map(|at| self.found(at))
    }

    pub(super) fn write_new(
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
        if is_expired(expiry, now) {
            self.upload_drop(write.value);
            return Ok(self.write_expired(key, write, now));
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
        let linked = self.store_found(found, key, header, bytes, now)?;
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

    /// A write whose expiry is past already: it only removes the item that was there.
    #[cold]
    fn write_expired(&mut self, key: Key<'_>, write: &Write<'_>, now: Millis) -> Stored {
        let version = self.clock.next(now);
        let old = self.find(key).map(|(place, slot)| {
            self.remove(place, slot, key.hash, Cause::Deleted, version);
            slot.location()
        });
        if old.is_none() {
            self.mark_missing(key.space, key.bytes, key.hash, now);
            // It was there for a moment.
            if self.tells {
                self.tell_of_missing(Cause::Deleted, key, version);
            }
        }
        let meta = Meta {
            version,
            token: write.token.unwrap_or(version),
            flags: write.flags,
            expiry: absolute(write.expiry, None),
            ..Meta::default()
        };
        Stored { meta, old }
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

/// What a write came to.
pub(super) struct Stored {
    pub(super) meta: Meta,
    /// Where the item before was; its bytes are there until the next command.
    pub(super) old: Option<u64>,
}
