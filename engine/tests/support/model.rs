//! A cache as simple as can be: a map of entries, and what each operation means.

use super::VALUE_BYTES_MAX;
use std::collections::BTreeMap;
use torc_engine::command::{
    Arithmetic, Delete, Expire, ExpireCondition, Expiry, Lease, Number, Refusal, WriteMode,
};

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) value: Vec<u8>,
    /// `None`: changed by an operation that does not tell.
    pub(crate) version: Option<u64>,
    /// The token, if it is not the version.
    pub(crate) token: Option<u64>,
    pub(crate) flags: u32,
    pub(crate) expiry: Option<u64>,
    pub(crate) stale: bool,
    pub(crate) placeholder: bool,
    /// `None`: a refused read may have given it.
    pub(crate) lease_given: Option<bool>,
    /// `None`: it was read, then overwritten.
    pub(crate) fetched: Option<bool>,
}

impl Entry {
    pub(crate) fn token(&self) -> u64 {
        self.token.or(self.version).expect("every change tells its version, or is read after")
    }
}

/// What an operation must answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expected {
    /// Results of steps on integers.
    Fields(Vec<u8>),
    Miss,
    /// The entry as it was read; `changed`: under a new version.
    Item {
        entry: Entry,
        lease: Option<Lease>,
        changed: bool,
    },
    /// `None`: over as it came.
    Stored {
        entry: Option<Entry>,
        old: Option<Vec<u8>>,
    },
    NotStored {
        old: Option<Vec<u8>>,
    },
    Exists,
    Deleted {
        old: Option<Vec<u8>>,
    },
    Touched {
        entry: Entry,
        changed: bool,
    },
    Untouched,
    Counter {
        number: Number,
        entry: Entry,
    },
    Refused(Refusal),
}

#[derive(Default)]
pub(crate) struct Write {
    pub(crate) mode: WriteMode,
    pub(crate) value: Vec<u8>,
    /// All bytes of an upload have come.
    pub(crate) complete: bool,
    pub(crate) flags: u32,
    pub(crate) expiry: Expiry,
    pub(crate) compare: Option<u64>,
    pub(crate) token: Option<u64>,
    pub(crate) vivify: Option<Expiry>,
    pub(crate) invalidate: bool,
    pub(crate) want_old: bool,
    pub(crate) leases: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) entries: BTreeMap<Vec<u8>, Entry>,
    pub(crate) flush_at: Option<u64>,
}

pub(crate) fn absolute(expiry: Expiry, old: Option<u64>) -> Option<u64> {
    match expiry {
        Expiry::Keep => old,
        Expiry::Never => None,
        Expiry::At(at) => Some(at),
    }
}

pub(crate) fn over(expiry: Expiry, now: u64) -> bool {
    matches!(expiry, Expiry::At(at) if at <= now)
}

impl Model {
    /// Turns to `now`: a flush that is due happens.
    pub(crate) fn turn(&mut self, now: u64) {
        if self.flush_at.is_some_and(|at| at <= now) {
            self.entries.clear();
            self.flush_at = None;
        }
    }

    /// A database is empty; keys begin with its number.
    pub(crate) fn flush(&mut self, database: u16) {
        self.entries.retain(|key, _| key[..2] != database.to_le_bytes());
    }

    /// Two databases have each other's keys.
    pub(crate) fn swap(&mut self, one: u16, other: u16) {
        let (one, other) = (one.to_le_bytes(), other.to_le_bytes());
        let swapped = |mut key: Vec<u8>| {
            let to = if key[..2] == one { other } else { one };
            key[..2].copy_from_slice(&to);
            key
        };
        self.entries =
            std::mem::take(&mut self.entries).into_iter().map(|(key, entry)| (swapped(key), entry)).collect();
    }

    pub(crate) fn live(&mut self, key: &[u8], now: u64) -> Option<&mut Entry> {
        if self.entries.get(key)?.expiry.is_some_and(|expiry| expiry <= now) {
            self.entries.remove(key);
        }
        self.entries.get_mut(key)
    }

    /// The entry; a placeholder only for who sees those.
    fn there(&mut self, key: &[u8], sees_placeholders: bool, now: u64) -> Option<&mut Entry> {
        self.live(key, now).filter(|entry| sees_placeholders || !entry.placeholder)
    }

    /// Whether a new entry of this key counts as read: overwriting keeps the frequency.
    fn fetched_before(&mut self, key: &[u8], now: u64) -> Option<bool> {
        match self.live(key, now) {
            Some(entry) if entry.fetched != Some(false) => None,
            _ => Some(false),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of a read")]
    pub(crate) fn read(
        &mut self,
        key: &[u8],
        expiry: Expiry,
        vivify: Option<Expiry>,
        recache: Option<u64>,
        leases: bool,
        peek: bool,
        now: u64,
    ) -> Expected {
        let Some(entry) = self.live(key, now) else {
            let Some(vivify) = vivify else { return Expected::Miss };
            let entry = Entry {
                expiry: absolute(vivify, None),
                placeholder: true,
                lease_given: Some(true),
                fetched: Some(false),
                ..Entry::default()
            };
            self.entries.insert(key.to_vec(), Entry { fetched: Some(!peek), ..entry.clone() });
            return Expected::Item { entry, lease: Some(Lease::Won), changed: true };
        };
        if entry.placeholder && !leases {
            return Expected::Miss;
        }
        let lease = if leases { lease(entry, recache, now) } else { Some(Lease::None) };
        let before = entry.clone();
        if !peek {
            entry.fetched = Some(true);
        }
        if expiry == Expiry::Keep || (expiry, entry.expiry) == (Expiry::Never, None) {
            return Expected::Item { entry: before, lease, changed: false };
        }
        if over(expiry, now) {
            self.entries.remove(key);
            return Expected::Item { entry: before, lease, changed: false };
        }
        entry.token = Some(entry.token());
        entry.version = None;
        entry.expiry = absolute(expiry, entry.expiry);
        let shown = Entry { fetched: before.fetched, ..entry.clone() };
        Expected::Item { entry: shown, lease, changed: true }
    }

    pub(crate) fn write(&mut self, key: &[u8], write: Write, now: u64) -> Expected {
        if write.value.len() as u64 > VALUE_BYTES_MAX {
            return Expected::Refused(Refusal::ValueTooLarge);
        }
        let sees = write.leases || write.compare.is_some();
        let fetched = self.fetched_before(key, now);
        let there = self.there(key, sees, now).cloned();
        let old = there.clone().filter(|old| write.want_old && !old.placeholder).map(|old| old.value);
        let joins = matches!(write.mode, WriteMode::Append | WriteMode::Prepend);
        let mut stale = false;
        if let Some(compare) = write.compare {
            let Some(there) = &there else { return Expected::Miss };
            stale = write.invalidate && !joins && compare < there.token();
            if compare != there.token() && !stale {
                return Expected::Exists;
            }
        }
        let wanted = match write.mode {
            WriteMode::Set => true,
            WriteMode::Add => there.is_none(),
            WriteMode::Replace => there.is_some(),
            WriteMode::Append | WriteMode::Prepend => there.is_some() || write.vivify.is_some(),
        };
        if !wanted {
            return Expected::NotStored { old };
        }
        let entry = match there {
            Some(there) if joins => {
                let (first, second) = match write.mode {
                    WriteMode::Append => (&there.value, &write.value),
                    _ => (&write.value, &there.value),
                };
                let value = [&first[..], &second[..]].concat();
                if value.len() as u64 > VALUE_BYTES_MAX {
                    return Expected::Refused(Refusal::ValueTooLarge);
                }
                Entry {
                    value,
                    token: write.token,
                    flags: there.flags,
                    expiry: there.expiry,
                    lease_given: Some(false),
                    fetched,
                    ..Entry::default()
                }
            }
            there => {
                let expiry = write.vivify.filter(|_| joins).unwrap_or(write.expiry);
                let expiry = if stale { Expiry::Keep } else { expiry };
                let given = there.as_ref().is_some_and(|there| there.lease_given != Some(false));
                if over(expiry, now) {
                    self.entries.remove(key);
                    return Expected::Stored { entry: None, old };
                }
                Entry {
                    value: write.value,
                    token: write.token,
                    flags: write.flags,
                    expiry: absolute(expiry, there.and_then(|there| there.expiry)),
                    stale,
                    lease_given: Some(stale && given),
                    fetched,
                    ..Entry::default()
                }
            }
        };
        if !write.complete {
            return Expected::Refused(Refusal::ValueTooLarge);
        }
        self.entries.insert(key.to_vec(), entry.clone());
        Expected::Stored { entry: Some(entry), old }
    }

    pub(crate) fn delete(&mut self, key: &[u8], delete: &Delete, now: u64) -> Expected {
        let Some(entry) = self.live(key, now) else { return Expected::Miss };
        if delete.compare.is_some_and(|compare| compare != entry.token()) {
            return Expected::Exists;
        }
        if entry.placeholder && !delete.leases && delete.compare.is_none() {
            self.entries.remove(key);
            return Expected::Miss;
        }
        if delete.stale.is_none() && !delete.value_only {
            let old = self.entries.remove(key).filter(|entry| delete.want_old && !entry.placeholder);
            return Expected::Deleted { old: old.map(|entry| entry.value) };
        }
        if delete.value_only {
            entry.value.clear();
            entry.flags = 0;
            entry.placeholder = false;
        }
        entry.version = None;
        entry.token = delete.token;
        entry.stale = delete.stale.is_some();
        entry.lease_given = Some(false);
        entry.expiry = absolute(delete.stale.unwrap_or(Expiry::Keep), entry.expiry);
        Expected::Deleted { old: None }
    }

    pub(crate) fn expire(&mut self, key: &[u8], expire: &Expire, now: u64) -> Expected {
        let Some(entry) = self.there(key, expire.leases, now) else { return Expected::Miss };
        let Expire { expiry, condition, .. } = *expire;
        let (old, new) = (entry.expiry, absolute(expiry, entry.expiry));
        let end = |expiry: Option<u64>| expiry.unwrap_or(u64::MAX);
        let holds = match condition {
            ExpireCondition::Always => true,
            ExpireCondition::Unset => old.is_none(),
            ExpireCondition::Set => old.is_some(),
            ExpireCondition::Later => end(new) > end(old),
            ExpireCondition::Earlier => end(new) < end(old),
            ExpireCondition::SetAndLater => old.is_some() && end(new) > end(old),
            ExpireCondition::SetAndEarlier => old.is_some() && end(new) < end(old),
        };
        if !holds {
            return Expected::Untouched;
        }
        entry.fetched = Some(true);
        if over(expiry, now) {
            let entry = Entry { expiry: new, token: Some(entry.token()), ..entry.clone() };
            self.entries.remove(key);
            return Expected::Touched { entry, changed: true };
        }
        let changed = expiry != Expiry::Keep && (expiry, old) != (Expiry::Never, None);
        if changed {
            entry.token = Some(entry.token());
            entry.version = None;
            entry.expiry = new;
        }
        Expected::Touched { entry: entry.clone(), changed }
    }

    /// `apply` gives the number after the text before, `text` the bytes of a number.
    pub(crate) fn count(
        &mut self,
        key: &[u8],
        apply: impl Fn(&[u8]) -> Result<Number, Refusal>,
        ask: &Arithmetic,
        now: u64,
    ) -> Expected {
        let Arithmetic { initial, expiry, compare, token, leases, .. } = *ask;
        let fetched = self.fetched_before(key, now);
        let Some(entry) = self.there(key, leases || compare.is_some(), now) else {
            let Some((number, expiry)) = initial else { return Expected::Miss };
            let entry = Entry {
                value: text(number),
                token,
                expiry: absolute(expiry, None),
                lease_given: Some(false),
                fetched,
                ..Entry::default()
            };
            if !over(expiry, now) {
                self.entries.insert(key.to_vec(), entry.clone());
            } else {
                self.entries.remove(key);
            }
            return Expected::Counter { number, entry };
        };
        if compare.is_some_and(|compare| compare != entry.token()) {
            return Expected::Exists;
        }
        let number = match apply(&entry.value) {
            Ok(number) => number,
            Err(refusal) => return Expected::Refused(refusal),
        };
        entry.value = text(number);
        entry.version = None;
        entry.token = token;
        entry.expiry = absolute(expiry, entry.expiry);
        let entry = entry.clone();
        if over(expiry, now) {
            self.entries.remove(key);
        }
        Expected::Counter { number, entry }
    }

    pub(crate) fn set_range(&mut self, key: &[u8], offset: u64, bytes: &[u8], now: u64) -> Expected {
        let end = offset as usize + bytes.len();
        if end as u64 > VALUE_BYTES_MAX {
            return Expected::Refused(Refusal::ValueTooLarge);
        }
        let fetched = self.fetched_before(key, now);
        let mut entry = match self.there(key, false, now) {
            Some(entry) => entry.clone(),
            None => Entry { fetched, ..Entry::default() },
        };
        if entry.value.len() < end {
            entry.value.resize(end, 0);
        }
        entry.value[offset as usize..end].copy_from_slice(bytes);
        entry.version = None;
        entry.token = None;
        entry.stale = false;
        entry.lease_given = Some(false);
        self.entries.insert(key.to_vec(), entry.clone());
        Expected::Stored { entry: Some(entry), old: None }
    }
}

fn lease(entry: &mut Entry, recache: Option<u64>, now: u64) -> Option<Lease> {
    let ending = recache.is_some_and(|below| entry.expiry.is_some_and(|expiry| expiry - now < below));
    match entry.lease_given {
        Some(true) => Some(Lease::Given),
        _ if !ending && !entry.stale => entry.lease_given.map(|_| Lease::None),
        given => {
            entry.lease_given = Some(true);
            given.map(|_| Lease::Won)
        }
    }
}

pub(crate) fn text(number: Number) -> Vec<u8> {
    match number {
        Number::Unsigned(number) => number.to_string().into_bytes(),
        Number::Signed(number) => number.to_string().into_bytes(),
        Number::Float(number) => number.to_string().into_bytes(),
        Number::Extended(number) => number.to_string().into_bytes(),
    }
}
