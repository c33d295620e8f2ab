//! Steps with a key.

use super::super::model::Write;
use super::super::step::{Compare, Count, Source, Step, When};
use super::{Run, pattern};
use torc_engine::command::{
    Arithmetic, Body, Delete, Delta, Expire, Number, Op, Read, Refusal, UploadId, WriteMode,
};

impl Run {
    pub(super) fn keyed(&mut self, step: &Step) {
        let number = match *step {
            Step::Read { key, .. }
            | Step::Write { key, .. }
            | Step::Delete { key, .. }
            | Step::Count { key, .. }
            | Step::Expire { key, .. }
            | Step::SetRange { key, .. }
            | Step::Field { key, .. }
            | Step::Unpack { key, .. }
            | Step::Lend { key, .. } => key,
            _ => unreachable!("the caller has the others"),
        };
        let key = match *step {
            Step::Write { source: Source::Held(slot), .. } => {
                self.uploads[slot].as_ref().map(|upload| &upload.key)
            }
            _ => None,
        };
        let key = key.unwrap_or(&self.keys[number % self.keys.len()]).clone();
        if !self.exact && self.model.live(&key, self.now).is_some() {
            self.sync(&key);
        }
        match *step {
            Step::Read { expiry, vivify, recache, leases, peek, .. } => {
                let (expiry, vivify) = (self.expiry(expiry), vivify.map(|when| self.expiry(when)));
                let read =
                    Read { expiry, vivify, recache_below_ms: recache, leases, peek, ..Read::default() };
                let before = self.model.entries.get(&key).cloned();
                let expected = self.model.read(&key, expiry, vivify, recache, leases, peek, self.now);
                self.compare_with(&key, Op::Read(read), expected, before);
                if let Some(entry) = self.model.entries.get_mut(&key)
                    && !peek
                    && (!entry.placeholder || leases)
                {
                    // A refused touch has counted as an access.
                    entry.fetched = entry.fetched.filter(|&fetched| fetched);
                    if !entry.placeholder {
                        entry.fetched = Some(true);
                    }
                }
            }
            Step::Write {
                mode,
                source,
                flags,
                expiry,
                compare,
                token,
                vivify,
                invalidate,
                want_old,
                leases,
                ..
            } => {
                let rest = (vivify, invalidate, want_old, leases);
                self.write_step(&key, (mode, source), flags, expiry, (compare, token), rest);
            }
            Step::Delete { compare, token, stale, value_only, want_old, leases, .. } => {
                let compare = self.token(&key, compare);
                let stale = stale.map(|when| self.expiry(when));
                let before = self.model.entries.get(&key).cloned();
                let delete = Delete { compare, token, stale, value_only, want_old, leases };
                let expected = self.model.delete(&key, &delete, self.now);
                self.compare_with(&key, Op::Delete(delete), expected, before);
            }
            Step::Count { count, initial, expiry, compare, token, leases, .. } => {
                let compare = self.token(&key, compare);
                let expiry = self.expiry(expiry);
                let initial = initial.map(|(number, when)| (Number::Unsigned(number), self.expiry(when)));
                let before = self.model.entries.get(&key).cloned();
                let delta = match count {
                    Count::Increment(by) => Delta::Increment(by),
                    Count::Decrement(by) => Delta::Decrement(by),
                    Count::Signed(by) => Delta::Signed(by),
                    Count::Float(by) => Delta::Float(by),
                };
                let ask = Arithmetic { delta, initial, expiry, compare, token, leases };
                let expected = self.model.count(&key, |text| apply(count, text), &ask, self.now);
                self.compare_with(&key, Op::Arithmetic(ask), expected, before);
            }
            Step::Expire { expiry, condition, leases, .. } => {
                let expire = Expire { expiry: self.expiry(expiry), condition, leases };
                let before = self.model.entries.get(&key).cloned();
                let expected = self.model.expire(&key, &expire, self.now);
                self.compare_with(&key, Op::Expire(expire), expected, before);
            }
            Step::SetRange { offset, len, upload, .. } => {
                self.written += 1;
                let mut bytes = pattern(self.written, len);
                let mut id = None;
                if upload {
                    let Some((value, upload, _)) = self.value(&key, Source::Upload(len)) else { return };
                    (bytes, id) = (value, upload);
                    if !self.exact && self.model.live(&key, self.now).is_some() {
                        // The upload may have cost the item its place.
                        self.sync(&key);
                    }
                }
                let before = self.model.entries.get(&key).cloned();
                let expected = self.model.set_range(&key, offset, &bytes, self.now);
                self.compare_with(
                    &key,
                    Op::SetRange { offset, value: id.map_or(Body::Bytes(&bytes), Body::Upload) },
                    expected,
                    before,
                );
            }
            Step::Field { offset, action, .. } => self.field(&key, offset, action),
            Step::Unpack { packed, len, .. } => self.unpack(&key, &packed, len),
            Step::Lend { from, to, .. } => self.lend(&key, from, to),
            _ => unreachable!("the caller has the others"),
        }
        self.sync(&key);
    }

    pub(super) fn write_step(
        &mut self,
        key: &[u8],
        (mode, source): (WriteMode, Source),
        flags: u32,
        expiry: When,
        (compare, token): (Compare, Option<u64>),
        (vivify, invalidate, want_old, leases): (Option<When>, bool, bool, bool),
    ) {
        self.written += 1;
        let Some((value, upload, complete)) = self.value(key, source) else { return };
        if !self.exact && self.model.live(key, self.now).is_some() {
            // The upload may have cost the item its place.
            self.sync(key);
        }
        let write = Write {
            mode,
            value,
            complete,
            flags,
            expiry: self.expiry(expiry),
            compare: self.token(key, compare),
            token,
            vivify: vivify.map(|when| self.expiry(when)),
            invalidate,
            want_old,
            leases,
        };
        let value = write.value.clone();
        let op = torc_engine::command::Write {
            mode,
            value: upload.map_or(Body::Bytes(&value), Body::Upload),
            flags,
            expiry: write.expiry,
            compare: write.compare,
            token,
            vivify: write.vivify,
            invalidate,
            want_old,
            leases,
        };
        let before = self.model.entries.get(key).cloned();
        let expected = self.model.write(key, write, self.now);
        self.compare_with(key, Op::Write(op), expected, before);
    }

    /// The value to write; `None` if its upload was refused.
    pub(super) fn value(&mut self, key: &[u8], source: Source) -> Option<(Vec<u8>, Option<UploadId>, bool)> {
        match source {
            Source::Pattern(len) => Some((pattern(self.written, len), None, true)),
            Source::Number(number) => Some((number.to_string().into_bytes(), None, true)),
            Source::Upload(len) => {
                let value = pattern(self.written, len);
                let id = self.begun(key, len)?;
                let (first, second) = value.split_at(len / 3);
                for slice in [first, second] {
                    if let Err(refusal) = self.shard.upload_append(id, slice, self.now) {
                        assert!(!self.exact && refusal == Refusal::OutOfMemory, "{refusal:?}");
                        return None;
                    }
                }
                Some((value, Some(id), true))
            }
            Source::Held(slot) => match self.uploads[slot].take() {
                None => Some((pattern(self.written, 33), None, true)),
                Some(upload) => {
                    let complete = upload.received == upload.value.len();
                    Some((upload.value, Some(upload.id), complete))
                }
            },
        }
    }

    pub(super) fn token(&mut self, key: &[u8], compare: Compare) -> Option<u64> {
        let token = self.model.live(key, self.now).map_or(77, |entry| entry.token());
        match compare {
            Compare::Nothing => None,
            Compare::Right => Some(token),
            Compare::Lower => Some(token - 1),
            Compare::Higher => Some(token + 1),
        }
    }
}

/// The number after a step, as each protocol counts.
fn apply(count: Count, text: &[u8]) -> Result<Number, Refusal> {
    let unsigned = || memcached_number(text).ok_or(Refusal::NotANumber);
    let decimal = || std::str::from_utf8(text).map_err(|_| Refusal::NotANumber);
    match count {
        Count::Increment(by) => Ok(Number::Unsigned(unsigned()?.wrapping_add(by))),
        Count::Decrement(by) => Ok(Number::Unsigned(unsigned()?.saturating_sub(by))),
        Count::Signed(by) => {
            let text = decimal()?;
            let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            let number = number.ok_or(Refusal::NotANumber)?;
            number.checked_add(by).map(Number::Signed).ok_or(Refusal::Overflow)
        }
        Count::Float(by) => {
            let number = decimal()?.parse::<f64>().map_err(|_| Refusal::NotANumber)?;
            if !number.is_finite() {
                return Err(Refusal::NotANumber);
            }
            Ok(Number::Float(number + by))
        }
    }
}

/// White space, a sign, digits, and then white space or the end.
fn memcached_number(text: &[u8]) -> Option<u64> {
    const SPACES: &[u8] = b" \t\n\x0b\x0c\r";
    let mut rest = text.iter().skip_while(|byte| SPACES.contains(byte)).peekable();
    let sign = rest.next_if(|byte| b"+-".contains(byte));
    let mut number = None;
    while let Some(digit) = rest.next_if(|byte| byte.is_ascii_digit()) {
        number = Some(number.unwrap_or(0u64).checked_mul(10)?.checked_add(u64::from(digit - b'0'))?);
    }
    if rest.next().is_some_and(|byte| !SPACES.contains(byte)) {
        return None;
    }
    let number = number?;
    if sign == Some(&b'-') {
        Some(number.wrapping_neg()).filter(|number| *number < 1 << 63)
    } else {
        Some(number)
    }
}
