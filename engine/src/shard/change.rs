//! Changing what is there: delete, arithmetic, expiry, ranges.

use super::edit::To;
use super::numbers::text_of;
use super::place::Linked;
use super::write::{absolute, is_expired};
use super::{Key, Shard};
use crate::changes::Cause;
use crate::command::{
    Arithmetic, Body, Delete, Expire, ExpireCondition, Expiry, Meta, Millis, Outcome, Refusal,
};
use crate::index::{Place, Slot};
use crate::item::{Header, present, state};

impl Shard {
    /// A key's live item; a placeholder only if the client sees those.
    pub(super) fn find_there(
        &mut self,
        key: Key<'_>,
        sees_placeholders: bool,
        now: Millis,
    ) -> Option<(Place, Slot)> {
        let (place, slot) = self.find_live(key, now)?;
        let there = sees_placeholders || !self.segments.item(slot.location()).is(state::PLACEHOLDER);
        there.then_some((place, slot))
    }

    pub(super) fn delete(&mut self, key: Key<'_>, delete: &Delete, now: Millis) -> Outcome<'_> {
        let Some((place, slot)) = self.find_live(key, now) else {
            self.mark_missing(key.space, key.bytes, key.hash, now);
            if delete.want_old {
                self.count_old(false);
            }
            return Outcome::Miss;
        };
        let at = slot.location();
        let item = self.segments.item(at);
        if delete.compare.is_some_and(|compare| compare != item.token()) {
            return Outcome::Exists;
        }
        let seen = delete.leases || delete.compare.is_some() || !item.is(state::PLACEHOLDER);
        let stays = seen && (delete.value_only || delete.stale.is_some());
        if !stays {
            let version = self.clock.next(now);
            self.remove(place, slot, key.hash, Cause::Deleted, version);
            if !seen {
                // The holder of its lease brings a value from before this deletion; without the token it cannot store it.
                if delete.want_old {
                    self.count_old(false);
                }
                return Outcome::Miss;
            }
            self.stats.deletions.add(1);
            let old = if delete.want_old { self.told_old(Some(at)) } else { None };
            return Outcome::Deleted { old, version };
        }
        let old = item.header();
        let kept = if delete.value_only { state::FETCHED } else { state::FETCHED | state::PLACEHOLDER };
        let header = Header {
            version: self.clock.next(now),
            state: if delete.stale.is_some() { state::STALE } else { 0 } | old.state & kept,
            expiry: absolute(delete.stale.unwrap_or(Expiry::Keep), old.expiry),
            token: delete.token,
            ..old
        };
        let result = if delete.value_only {
            self.store(key, Header { kind: 0, flags: 0, ..header }, &[], now).map(|linked| Some(linked.at))
        } else {
            self.rewrite(key, header, now)
        };
        match result {
            Ok(Some(_)) => Outcome::Deleted { old: None, version: header.version },
            Ok(None) => Outcome::Miss,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    pub(super) fn expire(&mut self, key: Key<'_>, expire: &Expire, now: Millis) -> Outcome<'_> {
        let Some((place, slot)) = self.find_there(key, expire.leases, now) else {
            return Outcome::Miss;
        };
        let at = slot.location();
        let (old, state) = (self.segments.item(at).expiry(), self.segments.item(at).state());
        let new = absolute(expire.expiry, old);
        if !holds(expire.condition, old, new) {
            return Outcome::Untouched;
        }
        let touched = |meta| Meta { expiry: new, fetched: state & state::FETCHED != 0, ..meta };
        self.count_access(place, slot, state);
        if is_expired(expire.expiry, now) {
            let version = self.clock.next(now);
            self.remove(place, slot, key.hash, Cause::Deleted, version);
            return Outcome::Touched { meta: Meta { version, ..touched(self.meta(at)) } };
        }
        // The same time is a change, too: who watches the key is told.
        if expire.expiry == Expiry::Keep || new.is_none() && old.is_none() {
            return Outcome::Touched { meta: touched(self.meta(at)) };
        }
        match self.rewrite_expiry(key, expire.expiry, now) {
            Ok(Some(at)) => Outcome::Touched { meta: touched(self.meta(at)) },
            Ok(None) => Outcome::Miss,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    pub(super) fn arithmetic(&mut self, key: Key<'_>, ask: &Arithmetic, now: Millis) -> Outcome<'_> {
        match self.count(key, ask, now) {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn count(&mut self, key: Key<'_>, ask: &Arithmetic, now: Millis) -> Result<Outcome<'static>, Refusal> {
        let sees_placeholders = ask.leases || ask.compare.is_some();
        let Some((place, slot)) = self.find_there(key, sees_placeholders, now) else {
            return self.count_from(key, ask, now);
        };
        let at = slot.location();
        let item = self.segments.item(at);
        if ask.compare.is_some_and(|compare| compare != item.token()) {
            return Ok(Outcome::Exists);
        }
        if item.present() & present::CHAIN_HEAD != 0 {
            return Err(Refusal::NotANumber);
        }
        let number = item.value().with_copy(|text| ask.delta.apply(text))?;
        let mut digits = itoa::Buffer::new();
        let text = text_of(number, &mut digits)?;
        let version = self.clock.next(now);
        let old = item.header();
        let header = Header {
            version,
            // A step is not the value that a lease waits for.
            state: old.state,
            expiry: absolute(ask.expiry, old.expiry),
            token: ask.token,
            ..old
        };
        if is_expired(ask.expiry, now) {
            let token = ask.token.unwrap_or(version);
            let meta = Meta { version, token, expiry: header.expiry, ..self.meta(at) };
            self.remove(place, slot, key.hash, Cause::Deleted, version);
            return Ok(Outcome::Counter { number, meta });
        }
        self.store_found(Some((place, slot)), key, header, &text, now)?;
        self.stats.writes.add(1);
        Ok(Outcome::Counter { number, meta: header.meta(text.len() as u64) })
    }

    /// A counter that is not there yet.
    fn count_from(
        &mut self,
        key: Key<'_>,
        ask: &Arithmetic,
        now: Millis,
    ) -> Result<Outcome<'static>, Refusal> {
        let Some((number, expiry)) = ask.initial else { return Ok(Outcome::Miss) };
        self.check(key, 0)?;
        let mut digits = itoa::Buffer::new();
        let text = text_of(number, &mut digits)?;
        let version = self.clock.next(now);
        let header = Header {
            version,
            expiry: absolute(expiry, None),
            token: ask.token,
            space: key.space,
            ..Header::default()
        };
        if is_expired(expiry, now) {
            let token = ask.token.unwrap_or(version);
            let meta = Meta { version, token, expiry: header.expiry, ..Meta::default() };
            if let Some((place, slot)) = self.find(key) {
                self.remove(place, slot, key.hash, Cause::Deleted, version);
            }
            return Ok(Outcome::Counter { number, meta });
        }
        self.store(key, header, &text, now)?;
        self.stats.writes.add(1);
        Ok(Outcome::Counter { number, meta: header.meta(text.len() as u64) })
    }

    pub(super) fn set_range(
        &mut self,
        key: Key<'_>,
        offset: u64,
        value: Body<'_>,
        now: Millis,
    ) -> Outcome<'_> {
        let result = self.change_range(key, offset, value, now);
        if result.is_err() {
            self.upload_drop(value);
        }
        let result = result.map(|linked| self.told(linked));
        self.stored(result, false)
    }

    pub(super) fn change_range(
        &mut self,
        key: Key<'_>,
        offset: u64,
        value: Body<'_>,
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let end = offset.checked_add(self.body_bytes(value)).ok_or(Refusal::ValueTooLarge)?;
        self.check(key, end)?;
        let at = self.find_there(key, false, now).map(|(_, slot)| slot.location());
        let header = at.map(|at| self.segments.item(at).header()).unwrap_or_default();
        let header = Header {
            version: self.clock.next(now),
            state: header.state & state::FETCHED,
            kind: 0,
            token: None,
            space: key.space,
            ..header
        };
        let old = self.hold(at);
        let result = self.put(key, header, old, (To::Offset(offset), value), now);
        self.let_go(at, old);
        result
    }
}

/// Whether an expiry may be changed. Never expiring counts as infinitely late.
fn holds(condition: ExpireCondition, old: Option<Millis>, new: Option<Millis>) -> bool {
    let end = |expiry: Option<Millis>| expiry.unwrap_or(Millis::MAX);
    match condition {
        ExpireCondition::Always => true,
        ExpireCondition::Unset => old.is_none(),
        ExpireCondition::Set => old.is_some(),
        ExpireCondition::Later => end(new) > end(old),
        ExpireCondition::Earlier => end(new) < end(old),
        ExpireCondition::SetAndLater => old.is_some() && end(new) > end(old),
        ExpireCondition::SetAndEarlier => old.is_some() && end(new) < end(old),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_expire_treat_never_as_the_latest() {
        use ExpireCondition::*;
        assert!(holds(Earlier, None, Some(5)));
        assert!(!holds(Later, None, Some(5)));
        assert!(!holds(SetAndEarlier, None, Some(5)));
        assert!(holds(SetAndLater, Some(4), Some(5)));
        assert!(!holds(Unset, Some(4), Some(5)));
        assert!(!holds(Set, None, None));
    }
}
