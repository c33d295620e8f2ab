//! Lookups and leases.

use super::{Key, Shard};
use crate::bytes::Bytes;
use crate::changes::Cause;
use crate::command::{Command, Expiry, Found, Lease, Meta, Millis, Op, Outcome, Read, Value};
use crate::index::{Place, Slot};
use crate::item::{Header, state};
use crate::spaces::mixed;

/// What a look that is no access finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    Found(Meta),
    Absent,
    /// The item is not in DRAM, or nobody knows yet.
    Unknown,
}

impl Shard {
    #[inline]
    pub(super) fn read(&mut self, key: Key<'_>, read: &Read, now: Millis) -> Outcome<'_> {
        let Some((place, slot)) = self.find(key) else {
            if let Some(ticket) = self.ticket(key, read.may_miss()) {
                return Outcome::Pending(ticket);
            }
            self.stats.misses.add(u64::from(!read.uncounted));
            return self.vivify(key, read, now);
        };
        let at = slot.location();
        if !self.segments.item(at).is_live(now, self.flushed) {
            if !read.uncounted {
                self.count_expired(at);
            }
            self.forget_expired(place, slot, key.hash);
            return self.vivify(key, read, now);
        }
        let state = self.segments.item(at).state();
        if state & state::PLACEHOLDER != 0 && !read.leases && !read.inspect {
            self.stats.misses.add(u64::from(!read.uncounted));
            return Outcome::Miss;
        }
        self.stats.hits.add(u64::from(!read.uncounted));
        let fetched = state & state::FETCHED != 0;
        if !read.peek {
            self.count_access(place, slot, state);
        }
        let plain = matches!(read.expiry, Expiry::Keep) && !read.leases;
        if plain {
            let mut found = self.found(at);
            found.meta.fetched = fetched;
            return Outcome::Item(found);
        }
        self.read_and_change(key, read, now, slot, fetched)
    }

    /// Counts an access to an item in this state. Neither mark changes after a few of them, so a hot item's lines
    /// stay clean.
    #[inline]
    pub(super) fn count_access(&mut self, place: Place, slot: Slot, state: u8) {
        if state & state::FETCHED == 0 {
            self.segments.set_state(slot.location(), state | state::FETCHED);
        }
        if slot.frequency() < self.frequency_max {
            self.index.replace(place, slot.with_frequency(slot.frequency() + 1));
        }
    }

    /// Whether a key has a value, without an access. `None`: its item is not in DRAM, or nobody knows yet. `hash` as for [`Shard::execute`].
    pub fn is_there(&self, database: u16, key: &[u8], hash: u64, now: Millis) -> Option<bool> {
        match self.glance_at((database, key), hash, now, false) {
            Glance::Found(_) => Some(true),
            Glance::Absent => Some(false),
            Glance::Unknown => None,
        }
    }

    /// What a command that is to be executed will find. It is no access, and counts as neither a hit nor a miss. `hash` as for
    /// [`Shard::execute`].
    pub fn glance(&self, command: &Command<'_>, hash: u64, now: Millis) -> Glance {
        let may_miss = matches!(command.op, Op::Read(read) if read.may_miss());
        self.glance_at((command.database, command.key), hash, now, may_miss)
    }

    /// `may_miss`: for a read that need not wait until all is known.
    fn glance_at(&self, (database, key): (u16, &[u8]), hash: u64, now: Millis, may_miss: bool) -> Glance {
        let space = self.spaces.of(database);
        let key = Key { bytes: key, space, hash: mixed(hash, space) };
        match self.find(key) {
            Some((_, slot)) => {
                let item = self.segments.item(slot.location());
                let flushed = if now >= self.flush_at { u64::MAX } else { self.flushed };
                match item.is_live(now, flushed) && !item.is(state::PLACEHOLDER) {
                    true => Glance::Found(self.meta(slot.location())),
                    false => Glance::Absent,
                }
            }
            None if self.ticket(key, may_miss).is_some() => Glance::Unknown,
            None => Glance::Absent,
        }
    }

    /// When the time of a key's item is over, if it is in DRAM and has one; without an access.
    pub fn expiry_of(&self, database: u16, key: &[u8], hash: u64) -> Option<Millis> {
        let space = self.spaces.of(database);
        let (_, slot) = self.find(Key { bytes: key, space, hash: mixed(hash, space) })?;
        self.meta(slot.location()).expiry
    }

    /// Counts an access that a [reader](crate::reader) has reported, unless its item is elsewhere by now.
    pub fn count_read(&mut self, hash: u64, location: u64) {
        let named = self.index.find(hash, |slot| slot.location() == location);
        if let Some((place, slot)) = named {
            self.count_access(place, slot, self.segments.item(location).state());
        }
    }

    /// Counts what a change that tells of the item before it has found.
    #[cold]
    pub(super) fn count_old(&self, is_there: bool) {
        if is_there { &self.stats.hits } else { &self.stats.misses }.add(1);
    }

    /// Counts a miss on an expired item.
    #[cold]
    fn count_expired(&self, at: u64) {
        self.stats.misses.add(1);
        let flushed = self.segments.item(at).version() <= self.flushed;
        if flushed { &self.stats.misses_flushed } else { &self.stats.misses_expired }.add(1);
    }

    /// The rest of a read that may give a lease or a new expiry.
    fn read_and_change(
        &mut self,
        key: Key<'_>,
        read: &Read,
        now: Millis,
        slot: Slot,
        fetched: bool,
    ) -> Outcome<'_> {
        let mut at = slot.location();
        let expiry_before = self.segments.item(at).expiry();
        let lease = if read.leases { self.lease(at, read, now) } else { Lease::None };
        let expired = matches!(read.expiry, Expiry::At(end) if end <= now);
        let stays =
            matches!(read.expiry, Expiry::Keep) || (read.expiry, expiry_before) == (Expiry::Never, None);
        if !stays && !expired {
            match self.rewrite_expiry(key, read.expiry, now) {
                Ok(Some(moved)) => at = moved,
                Ok(None) => return Outcome::Miss,
                // The value is here all the same, and the reader may have won its lease: a touch that finds no
                // memory is left undone. Making room may have moved the item.
                Err(_) => match self.find(key) {
                    Some((_, slot)) => at = slot.location(),
                    None => return Outcome::Miss,
                },
            }
        } else if expired && let Some((place, slot)) = self.find(key) {
            // The answer still shows the value: a dead item keeps its bytes until the next command.
            let version = self.clock.next(now);
            self.remove(place, slot, key.hash, Cause::Deleted, version);
        }
        let mut found = self.found(at);
        found.meta.fetched = fetched;
        found.meta.lease = lease;
        if read.show_old_expiry {
            found.meta.expiry = expiry_before;
        }
        Outcome::Item(found)
    }

    /// Decides who fetches a new value, as memcached's meta commands do: the first to find the item stale, or
    /// about to end, wins; until somebody writes, all others are told that the lease is given.
    fn lease(&mut self, at: u64, read: &Read, now: Millis) -> Lease {
        let item = self.segments.item(at);
        if item.is(state::LEASE_GIVEN) {
            return Lease::Given;
        }
        let given = if read.recache_by_new { read.expiry } else { Expiry::Keep };
        let ending = match (read.recache_below_ms, super::write::absolute(given, item.expiry())) {
            (Some(below), Some(expiry)) => expiry.saturating_sub(now) < below,
            _ => false,
        };
        if !ending && !item.is(state::STALE) {
            return Lease::None;
        }
        let state = item.state() | state::LEASE_GIVEN;
        self.segments.set_state(at, state);
        Lease::Won
    }

    /// A miss that leaves a placeholder, if the reader asks for it.
    fn vivify(&mut self, key: Key<'_>, read: &Read, now: Millis) -> Outcome<'_> {
        let Some(expiry) = read.vivify else { return Outcome::Miss };
        // Who makes it reads it, too.
        let fetched = if read.peek { 0 } else { state::FETCHED };
        let header = Header {
            version: self.clock.next(now),
            state: state::PLACEHOLDER | state::LEASE_GIVEN | fetched,
            expiry: super::write::absolute(expiry, None),
            token: read.token,
            space: key.space,
            ..Header::default()
        };
        match self.store(key, header, &[], now) {
            Ok(linked) => {
                let meta = Meta { fetched: false, lease: Lease::Won, ..self.meta(linked.at) };
                Outcome::Item(Found { meta, value: Value::Inline(Bytes::default()) })
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Writes an item again with another expiry; its token stays. Returns where it is now, as [`Shard::rewrite`].
    pub(super) fn rewrite_expiry(
        &mut self,
        key: Key<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<Option<u64>, crate::command::Refusal> {
        let Some((_, slot)) = self.find(key) else { unreachable!("the caller has just found it") };
        let item = self.segments.item(slot.location());
        let old = item.header();
        let header = Header {
            version: self.clock.next(now),
            state: old.state,
            expiry: super::write::absolute(expiry, old.expiry),
            token: Some(item.token()),
            ..old
        };
        self.rewrite(key, header, now)
    }
}
