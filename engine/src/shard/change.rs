//! Changing what is there: delete, arithmetic, expiry, ranges.

use super::edit::To;
use super::write::{Linked, absolute, over};
use super::{Key, Shard};
use crate::changes::Cause;
use crate::command::{
    Arithmetic, Body, Delete, Delta, Expire, ExpireCondition, Expiry, Meta, Millis, Number, Outcome, Refusal,
};
use crate::extended::Extended;
use crate::index::{Place, Slot};
use crate::item::{Header, present, state};
use std::borrow::Cow;

/// So many digits are a number of 64 bits, whatever they are.
const DIGITS_SURE: usize = 19;

impl Shard {
    /// A key's live item; a placeholder only if the client sees those.
    fn find_there(&mut self, key: Key<'_>, sees_placeholders: bool, now: Millis) -> Option<(Place, Slot)> {
        let (place, slot) = self.find_live(key, now)?;
        let there = sees_placeholders || !self.segments.item(slot.location()).is(state::PLACEHOLDER);
        there.then_some((place, slot))
    }

    pub(super) fn delete(&mut self, key: Key<'_>, delete: &Delete, now: Millis) -> Outcome<'_> {
        let Some((place, slot)) = self.find_live(key, now) else { return Outcome::Miss };
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
                // Who won the lease brings a value from before this deletion; without its token it cannot.
                return Outcome::Miss;
            }
            self.stats.deletions.add(1);
            let old = self.shown(delete.want_old.then_some(at));
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
        if over(expire.expiry, now) {
            let version = self.clock.next(now);
            self.remove(place, slot, key.hash, Cause::Deleted, version);
            return Outcome::Touched { meta: Meta { version, ..touched(self.meta(at)) } };
        }
        if new == old {
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
        if over(ask.expiry, now) {
            let token = ask.token.unwrap_or(version);
            let meta = Meta { version, token, expiry: header.expiry, ..self.meta(at) };
            self.remove(place, slot, key.hash, Cause::Deleted, version);
            return Ok(Outcome::Counter { number, meta });
        }
        self.store_over(Some((place, slot)), key, header, &text, now)?;
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
        if over(expiry, now) {
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

    fn change_range(
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

impl Delta {
    /// The number after the step, from the text of the number before.
    fn apply(self, text: &[u8]) -> Result<Number, Refusal> {
        match self {
            Delta::Increment(by) => Ok(Number::Unsigned(unsigned(text)?.wrapping_add(by))),
            Delta::Decrement(by) => Ok(Number::Unsigned(unsigned(text)?.saturating_sub(by))),
            Delta::Signed(by) => signed(text)?.checked_add(by).map(Number::Signed).ok_or(Refusal::Overflow),
            Delta::Extended(by) => {
                let sum = Extended::parse(text).ok_or(Refusal::NotANumber)?.plus(by);
                if sum.is_finite() { Ok(Number::Extended(sum)) } else { Err(Refusal::Overflow) }
            }
            Delta::Float(by) => {
                let sum = float(text)? + by;
                if sum.is_finite() { Ok(Number::Float(sum)) } else { Err(Refusal::Overflow) }
            }
        }
    }
}

/// The number that memcached makes of a value, which is what C's `strtoull` makes of it: white space and a sign may
/// stand before the digits, and white space behind them ends the number, whatever comes then.
fn unsigned(text: &[u8]) -> Result<u64, Refusal> {
    let is_space = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' ');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let (is_negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, behind) = digits.split_at(end);
    if !behind.first().is_none_or(is_space) {
        return Err(Refusal::NotANumber);
    }
    let number = decimal(digits)?;
    match (is_negative, number.wrapping_neg()) {
        (false, _) => Ok(number),
        // `strtoull` takes a negative number modulo 2^64, and memcached refuses what is still negative then.
        (true, wrapped) if wrapped <= i64::MAX as u64 => Ok(wrapped),
        (true, _) => Err(Refusal::NotANumber),
    }
}

/// As Redis reads one: no plus, no leading zero, no space.
fn signed(text: &[u8]) -> Result<i64, Refusal> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.first() == Some(&b'0') && text != b"0" {
        return Err(Refusal::NotANumber);
    }
    let size = decimal(digits)?;
    let number = if is_negative { 0_i64.checked_sub_unsigned(size) } else { size.try_into().ok() };
    number.ok_or(Refusal::NotANumber)
}

/// The number that digits are, and nothing but digits.
fn decimal(digits: &[u8]) -> Result<u64, Refusal> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::NotANumber);
    }
    let digit = |byte: &u8| u64::from(byte & 15);
    let (front, back) = digits.split_at(digits.len().min(DIGITS_SURE));
    let front = front.iter().fold(0, |number: u64, byte| number * 10 + digit(byte));
    let number = back.iter().try_fold(front, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)));
    number.ok_or(Refusal::NotANumber)
}

fn float(text: &[u8]) -> Result<f64, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::NotANumber)?;
    let number: f64 = text.parse().map_err(|_| Refusal::NotANumber)?;
    if number.is_finite() { Ok(number) } else { Err(Refusal::NotANumber) }
}

/// A number as its value will be, without an exponent.
#[inline]
fn text_of(number: Number, digits: &mut itoa::Buffer) -> Result<Cow<'_, [u8]>, Refusal> {
    match number {
        Number::Unsigned(number) => Ok(Cow::Borrowed(digits.format(number).as_bytes())),
        Number::Signed(number) => Ok(Cow::Borrowed(digits.format(number).as_bytes())),
        Number::Float(number) if number.is_finite() => Ok(Cow::Owned(number.to_string().into_bytes())),
        Number::Extended(number) if number.is_finite() => Ok(Cow::Owned(number.to_string().into_bytes())),
        Number::Float(_) | Number::Extended(_) => Err(Refusal::Overflow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_each_protocol_does() {
        for (text, number) in [
            ("12", 12),
            ("18446744073709551615", u64::MAX),
            (" \t\n\x0b\x0c\r12 \r\n", 12),
            ("+12", 12),
            ("0000000000000000000000012", 12),
            ("12 abc", 12),
            ("-0", 0),
            ("-18446744073709551615", 1),
        ] {
            assert_eq!(unsigned(text.as_bytes()), Ok(number), "{text:?}");
        }
        assert_eq!(unsigned(b"1 \xff"), Ok(1));
        for bad in [
            "",
            "  ",
            "+",
            "+-1",
            "- 1",
            "-1",
            "1.0",
            "12x",
            "12\0",
            "1\u{e9}",
            "18446744073709551616",
            "100000000000000000000",
        ] {
            assert_eq!(unsigned(bad.as_bytes()), Err(Refusal::NotANumber), "{bad:?}");
        }
        assert_eq!(signed(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(signed(b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(signed(b"0"), Ok(0));
        for bad in ["", "-", "+1", "01", "-0", "1 ", "9223372036854775808", "-9223372036854775809"] {
            assert_eq!(signed(bad.as_bytes()), Err(Refusal::NotANumber), "{bad}");
        }
    }

    #[test]
    fn numbers_are_written_without_exponent() {
        let mut digits = itoa::Buffer::new();
        let mut text = |number| text_of(number, &mut digits).unwrap().into_owned();
        assert_eq!(text(Number::Float(10.6)), b"10.6");
        assert_eq!(text(Number::Float(5e3)), b"5000");
        assert_eq!(text(Number::Float(f64::MAX)).len(), 309);
        assert_eq!(text(Number::Signed(-7)), b"-7");
        assert_eq!(text(Number::Extended(Extended::parse(b"1e4932").unwrap())).len(), 4933);
        let infinity = Number::Extended(Extended::parse(b"inf").unwrap());
        assert_eq!(text_of(infinity, &mut digits), Err(Refusal::Overflow));
    }

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
