//! The engine's semantics over a `HashMap`: the plainest thing that answers commands rightly.
//!
//! No memory limit, no eviction; times are arguments as everywhere.

mod bits;

use super::Store;
use std::collections::HashMap;
use torc_engine::command::{
    Arithmetic, Body, Command, Delete, Delta, Expire, ExpireCondition, Expiry, Found, Lease, Meta, Millis,
    Number, Op, Outcome, Read, Refusal, UploadId, Value, Write, WriteMode,
};
use torc_engine::extended::Extended;
use torc_engine::segments::Lent;
use torc_net::session::DatabasesChange;

#[derive(Debug, Clone, Default)]
struct Item {
    value: Vec<u8>,
    flags: u32,
    expiry: Option<Millis>,
    version: u64,
    token: u64,
    stale: bool,
    fetched: bool,
    lease_given: bool,
    placeholder: bool,
}

#[derive(Debug, Default)]
pub struct Model {
    /// Of the database that the command names, while one is executed.
    items: HashMap<Vec<u8>, Item>,
    others: HashMap<u16, HashMap<Vec<u8>, Item>>,
    database: u16,
    /// The last removed or overwritten item, for answers that show it.
    old: Item,
    /// What came of the last steps on integers.
    fields: Vec<u8>,
    version: u64,
    flush_at: Option<Millis>,
    uploads: Vec<Vec<u8>>,
}

impl Store for Model {
    fn execute(&mut self, command: &Command<'_>, now: Millis) -> Outcome<'_> {
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush(None, now);
        }
        self.choose(command.database);
        let key = command.key;
        if self.items.get(key).is_some_and(|item| item.expiry.is_some_and(|end| end <= now)) {
            self.items.remove(key);
        }
        self.version = (self.version + 1).max(now << 16);
        match &command.op {
            Op::Read(read) => self.read(key, read, now),
            Op::Write(write) => self.write(key, write, now),
            Op::Delete(delete) => self.delete(key, delete),
            Op::Arithmetic(arithmetic) => self.count(key, arithmetic),
            Op::Expire(expire) => self.expire(key, expire),
            Op::SetRange { offset, value } => {
                let value = match value {
                    Body::Bytes(bytes) => bytes.to_vec(),
                    Body::Upload(id) => std::mem::take(&mut self.uploads[id.0 as usize]),
                };
                self.set_range(key, *offset as usize, &value)
            }
            Op::Bits(ask) => self.bits(key, ask),
            Op::IfEqual(ask) => self.if_equal(key, ask, now),
            Op::Unpack(ask) => unreachable!("the vectors have none: {ask:?}"),
        }
    }

    fn flush(&mut self, at: Option<Millis>, now: Millis) {
        if self.flush_at.is_some_and(|due| due <= now) || at.is_none_or(|at| at <= now) {
            self.items.clear();
            self.others.clear();
            self.flush_at = None;
        }
        self.flush_at = at.filter(|at| *at > now).or(self.flush_at);
    }

    fn change_databases(&mut self, change: DatabasesChange, _: Millis) {
        match change {
            DatabasesChange::Flush { database } => {
                self.choose(database);
                self.items.clear();
            }
            DatabasesChange::Swap { one, other } => {
                self.choose(one);
                let there = self.others.remove(&other).unwrap_or_default();
                let here = std::mem::replace(&mut self.items, there);
                if one == other {
                    self.items = here;
                } else {
                    self.others.insert(other, here);
                }
            }
        }
    }

    fn upload_begin(&mut self, _key: &[u8], _bytes: u64, _now: Millis) -> Result<UploadId, Refusal> {
        self.uploads.push(Vec::new());
        Ok(UploadId(self.uploads.len() as u64 - 1))
    }

    fn upload_append(&mut self, id: UploadId, bytes: &[u8], _now: Millis) -> Result<(), Refusal> {
        self.uploads[id.0 as usize].extend_from_slice(bytes);
        Ok(())
    }

    fn upload_abort(&mut self, id: UploadId) {
        self.uploads[id.0 as usize].clear();
    }

    fn release(&mut self, _lent: Lent) {
        unreachable!("the model lends nothing");
    }
}

impl Model {
    fn choose(&mut self, database: u16) {
        if database != self.database {
            let chosen = self.others.remove(&database).unwrap_or_default();
            let before = std::mem::replace(&mut self.items, chosen);
            self.others.insert(std::mem::replace(&mut self.database, database), before);
        }
    }

    fn read(&mut self, key: &[u8], read: &Read, now: Millis) -> Outcome<'_> {
        let version = self.version;
        if !self.items.contains_key(key) {
            let Some(expiry) = read.vivify else { return Outcome::Miss };
            let expiry = until(expiry, None);
            let placeholder = Item {
                expiry,
                version,
                token: read.token.unwrap_or(version),
                placeholder: true,
                lease_given: true,
                fetched: !read.peek,
                ..Item::default()
            };
            let item = self.items.entry(key.to_vec()).or_insert(placeholder);
            return Outcome::Item(found(item, Lease::Won, false));
        }
        let item = self.items.get_mut(key).expect("it is there");
        if item.placeholder && !read.leases && !read.inspect {
            return Outcome::Miss;
        }
        let compared = if read.recache_by_new { until(read.expiry, item.expiry) } else { item.expiry };
        let ends_soon = match (read.recache_below_ms, compared) {
            (Some(below), Some(end)) => end.saturating_sub(now) < below,
            _ => false,
        };
        let lease = match (read.leases, item.lease_given) {
            (false, _) => Lease::None,
            (true, true) => Lease::Given,
            (true, false) if item.stale || ends_soon => Lease::Won,
            (true, false) => Lease::None,
        };
        item.lease_given |= lease == Lease::Won;
        let before = item.expiry;
        item.expiry = until(read.expiry, item.expiry);
        let fetched = item.fetched;
        item.fetched |= !read.peek;
        let mut found = found(item, lease, fetched);
        if read.show_old_expiry {
            found.meta.expiry = before;
        }
        Outcome::Item(found)
    }

    /// The item; a placeholder only for who sees those.
    fn there(&self, key: &[u8], sees_placeholders: bool) -> Option<&Item> {
        self.items.get(key).filter(|item| sees_placeholders || !item.placeholder)
    }

    fn write(&mut self, key: &[u8], write: &Write<'_>, now: Millis) -> Outcome<'_> {
        let value = match write.value {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::Upload(id) => std::mem::take(&mut self.uploads[id.0 as usize]),
        };
        let there = self.there(key, write.leases || write.compare.is_some());
        let joins = matches!(write.mode, WriteMode::Append | WriteMode::Prepend);
        let mut stale = false;
        if let Some(compare) = write.compare {
            let Some(item) = there else { return Outcome::Miss };
            stale = write.invalidate && !joins && compare < item.token;
            if compare != item.token && !stale {
                return Outcome::Exists;
            }
        }
        let wanted = match write.mode {
            WriteMode::Set => true,
            WriteMode::Add => there.is_none(),
            _ => there.is_some() || write.vivify.is_some(),
        };
        let old = there.cloned();
        if !wanted {
            self.old = old.clone().unwrap_or_default();
            let old = (write.want_old && old.is_some()).then(|| found(&self.old, Lease::None, false));
            return Outcome::NotStored { old };
        }
        let version = self.version;
        let fresh = Item {
            value,
            flags: write.flags,
            expiry: until(
                if stale { Expiry::Keep } else { write.expiry },
                old.as_ref().and_then(|old| old.expiry),
            ),
            version,
            token: write.token.unwrap_or(version),
            stale,
            lease_given: stale && old.as_ref().is_some_and(|old| old.lease_given),
            ..Item::default()
        };
        let joined = match (&old, write.mode) {
            (Some(old), WriteMode::Append) => Some((old, [&old.value[..], &fresh.value].concat())),
            (Some(old), WriteMode::Prepend) => Some((old, [&fresh.value[..], &old.value].concat())),
            _ => None,
        };
        let item = match joined {
            Some((old, value)) => Item { value, flags: old.flags, expiry: old.expiry, ..fresh },
            None => match (write.mode, write.vivify) {
                (WriteMode::Append | WriteMode::Prepend, Some(expiry)) => {
                    Item { expiry: until(expiry, None), ..fresh }
                }
                _ => fresh,
            },
        };
        let meta = found(&item, Lease::None, item.fetched).meta;
        if item.expiry.is_some_and(|end| end <= now) {
            self.items.remove(key);
        } else {
            self.items.insert(key.to_vec(), item);
        }
        self.old = old.clone().unwrap_or_default();
        let old = (write.want_old && old.is_some()).then(|| found(&self.old, Lease::None, false));
        Outcome::Stored { meta, old }
    }

    fn delete(&mut self, key: &[u8], delete: &Delete) -> Outcome<'_> {
        let version = self.version;
        let Some(item) = self.items.get_mut(key) else { return Outcome::Miss };
        if delete.compare.is_some_and(|compare| compare != item.token) {
            return Outcome::Exists;
        }
        if item.placeholder && !delete.leases && delete.compare.is_none() {
            self.items.remove(key);
            return Outcome::Miss;
        }
        if delete.stale.is_none() && !delete.value_only {
            self.old = self.items.remove(key).unwrap_or_default();
            let old = delete.want_old.then(|| found(&self.old, Lease::None, false));
            return Outcome::Deleted { old, version: self.version };
        }
        item.stale = delete.stale.is_some();
        if let Some(expiry) = delete.stale {
            item.expiry = until(expiry, item.expiry);
        }
        if delete.value_only {
            item.value.clear();
            item.flags = 0;
            item.placeholder = false;
        }
        item.lease_given = false;
        item.version = version;
        item.token = delete.token.unwrap_or(version);
        Outcome::Deleted { old: None, version: self.version }
    }

    fn count(&mut self, key: &[u8], ask: &Arithmetic) -> Outcome<'_> {
        let version = self.version;
        let token = ask.token.unwrap_or(version);
        let there = self.there(key, ask.leases || ask.compare.is_some());
        let (number, expiry, base) = match (there, ask.initial) {
            (None, None) => return Outcome::Miss,
            (None, Some((Number::Extended(number), _))) if !number.is_finite() => {
                return Outcome::Refused(Refusal::Overflow);
            }
            (None, Some((number, expiry))) => (number, until(expiry, None), Item::default()),
            (Some(item), _) if ask.compare.is_some_and(|compare| compare != item.token) => {
                return Outcome::Exists;
            }
            (Some(item), _) => match apply(ask.delta, &item.value) {
                Ok(number) => (number, until(ask.expiry, item.expiry), item.clone()),
                Err(refusal) => return Outcome::Refused(refusal),
            },
        };
        let value = match number {
            Number::Unsigned(number) => number.to_string(),
            Number::Signed(number) => number.to_string(),
            Number::Float(number) => number.to_string(),
            Number::Extended(number) => number.to_string(),
        };
        let item = Item { value: value.into_bytes(), expiry, version, token, ..base };
        let meta = found(&item, Lease::None, item.fetched).meta;
        self.items.insert(key.to_vec(), item);
        Outcome::Counter { number, meta }
    }

    fn expire(&mut self, key: &[u8], expire: &Expire) -> Outcome<'_> {
        let version = self.version;
        let Some(item) = self.items.get_mut(key).filter(|item| expire.leases || !item.placeholder) else {
            return Outcome::Miss;
        };
        let new = until(expire.expiry, item.expiry);
        let end = |expiry: Option<Millis>| expiry.unwrap_or(Millis::MAX);
        let holds = match expire.condition {
            ExpireCondition::Always => true,
            ExpireCondition::Unset => item.expiry.is_none(),
            ExpireCondition::Set => item.expiry.is_some(),
            ExpireCondition::Later => end(new) > end(item.expiry),
            ExpireCondition::Earlier => end(new) < end(item.expiry),
            ExpireCondition::SetAndLater => item.expiry.is_some() && end(new) > end(item.expiry),
            ExpireCondition::SetAndEarlier => item.expiry.is_some() && end(new) < end(item.expiry),
        };
        if !holds {
            return Outcome::Untouched;
        }
        item.expiry = new;
        item.version = version;
        let fetched = std::mem::replace(&mut item.fetched, true);
        Outcome::Touched { meta: found(item, Lease::None, fetched).meta }
    }

    fn set_range(&mut self, key: &[u8], offset: usize, value: &[u8]) -> Outcome<'_> {
        let version = self.version;
        let mut item = self.there(key, false).cloned().unwrap_or_default();
        let end = offset + value.len();
        if item.value.len() < end {
            item.value.resize(end, 0);
        }
        item.value[offset..end].copy_from_slice(value);
        item.version = version;
        item.token = version;
        let meta = found(&item, Lease::None, item.fetched).meta;
        self.items.insert(key.to_vec(), item);
        Outcome::Stored { meta, old: None }
    }
}

fn until(expiry: Expiry, old: Option<Millis>) -> Option<Millis> {
    match expiry {
        Expiry::Keep => old,
        Expiry::Never => None,
        Expiry::At(end) => Some(end),
    }
}

fn found(item: &Item, lease: Lease, fetched: bool) -> Found<'_> {
    let meta = Meta {
        version: item.version,
        token: item.token,
        flags: item.flags,
        expiry: item.expiry,
        value_bytes: item.value.len() as u64,
        stale: item.stale,
        fetched,
        lease,
    };
    Found { meta, value: Value::Inline(item.value[..].into()) }
}

fn apply(delta: Delta, value: &[u8]) -> Result<Number, Refusal> {
    let text = std::str::from_utf8(value).map_err(|_| Refusal::NotANumber)?;
    let unsigned = || {
        let digits = text.split_ascii_whitespace().next().ok_or(Refusal::NotANumber)?;
        digits.parse::<u64>().map_err(|_| Refusal::NotANumber)
    };
    match delta {
        Delta::Increment(step) => Ok(Number::Unsigned(unsigned()?.wrapping_add(step))),
        Delta::Decrement(step) => Ok(Number::Unsigned(unsigned()?.saturating_sub(step))),
        Delta::Signed(step) => {
            let number: i64 = text.parse().map_err(|_| Refusal::NotANumber)?;
            if number.to_string() != text {
                return Err(Refusal::NotANumber);
            }
            number.checked_add(step).map(Number::Signed).ok_or(Refusal::Overflow)
        }
        Delta::Extended(step) => {
            let sum = Extended::parse(value).ok_or(Refusal::NotANumber)?.plus(step);
            if sum.is_finite() { Ok(Number::Extended(sum)) } else { Err(Refusal::Overflow) }
        }
        Delta::Float(step) => {
            let number: f64 = text.parse().map_err(|_| Refusal::NotANumber)?;
            let sum = number + step;
            if sum.is_finite() { Ok(Number::Float(sum)) } else { Err(Refusal::Overflow) }
        }
    }
}
