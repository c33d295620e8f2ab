//! Bits of values, one by one, and changes of values that must be certain ones.

use super::{Item, Model};
use torc_engine::bits::results;
use torc_engine::bytes::Bytes;
use torc_engine::command::{BitRange, Bits, Delete, IfEqual, Millis, Outcome, Then, Write};

fn bit(value: &[u8], at: usize) -> bool {
    value.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// A range as the numbers of its bits.
fn places(start: i64, end: i64, by_bits: bool, value: &[u8]) -> std::ops::Range<usize> {
    let unit = if by_bits { 1 } else { 8 };
    let len = value.len() as i64 * 8 / unit;
    let from_start = |index: i64| if index < 0 { (len + index.max(-len)).max(0) } else { index };
    let (first, last) = (from_start(start), from_start(end).min(len - 1));
    if first > last { 0..0 } else { (first * unit) as usize..((last + 1) * unit) as usize }
}

impl Model {
    pub(super) fn bits(&mut self, key: &[u8], ask: &Bits<'_>) -> Outcome<'_> {
        let there = self.there(key, false).cloned();
        if let Bits::Fields { steps, writes } = ask {
            return self.fields(key, steps, *writes, there.unwrap_or_default());
        }
        let Some(item) = there else { return Outcome::Miss };
        self.items.get_mut(key).expect("it is there").fetched = true;
        match *ask {
            Bits::Count { range } => {
                let BitRange { start, end, by_bits } =
                    range.unwrap_or(BitRange { start: 0, end: -1, by_bits: false });
                let places = match start < 0 && end < 0 && start > end {
                    true => 0..0,
                    false => places(start, end, by_bits, &item.value),
                };
                Outcome::Number(places.filter(|at| bit(&item.value, *at)).count() as i64)
            }
            Bits::Find { bit: wanted, start, end, by_bits } => {
                let places = places(start, end.unwrap_or(-1), by_bits, &item.value);
                let behind = match !wanted && end.is_none() && !places.is_empty() {
                    true => item.value.len() as i64 * 8,
                    false => -1,
                };
                let first = places.into_iter().find(|at| bit(&item.value, *at) == wanted);
                Outcome::Number(first.map_or(behind, |at| at as i64))
            }
            Bits::Fields { .. } => unreachable!("done before"),
        }
    }

    /// Each step is `kind, overflow, bits, offset, number`, as the engine's packed steps are laid out.
    fn fields(&mut self, key: &[u8], steps: &[u8], writes: bool, before: Item) -> Outcome<'_> {
        let old = self.there(key, false).map(|item| item.value.clone());
        let mut item = Item { version: self.version, token: self.version, fetched: true, ..before };
        let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let each = steps.chunks(19).map(|step| {
            let (bits, is_signed) = (usize::from(step[2] & 0x7F), step[2] >= 0x80);
            (step[0], step[1], bits, is_signed, number(&step[3..11]) as usize, number(&step[11..19]))
        });
        if let Some(end) = each.clone().filter(|step| step.0 > 0).map(|step| step.4 + step.2).max() {
            let len = item.value.len().max(end.div_ceil(8));
            item.value.resize(len, 0);
        }
        let grows = old.as_ref().is_none_or(|old| old.len() < item.value.len());
        let mut is_other = grows;
        self.fields.clear();
        for (kind, overflow, bits, is_signed, offset, number) in each {
            let low = (0..bits).fold(0i128, |all, at| all << 1 | i128::from(bit(&item.value, offset + at)));
            let modulus = 1i128 << bits;
            let (least, greatest) =
                if is_signed { (-modulus / 2, modulus / 2 - 1) } else { (0, modulus - 1) };
            let shown = |low: i128| if low > greatest { low - modulus } else { low };
            let exact = match (kind, is_signed) {
                (0, _) => shown(low),
                (1, false) => i128::from(number as u64),
                (1, true) => i128::from(number),
                _ => shown(low) + i128::from(number),
            };
            let fits = (least..=greatest).contains(&exact);
            let new = match overflow {
                _ if fits => Some(exact),
                0 => Some(shown(exact.rem_euclid(modulus))),
                1 => Some(exact.clamp(least, greatest)),
                _ => None,
            };
            let changes = kind > 0 && new.is_some_and(|new| grows || new.rem_euclid(modulus) != low);
            is_other |= changes;
            if let Some(new) = new.filter(|_| kind > 0) {
                for at in 0..bits {
                    let place = offset + at;
                    let mask = 0x80 >> (place % 8);
                    let is_set = new >> (bits - 1 - at) & 1 == 1;
                    item.value[place / 8] = item.value[place / 8] & !mask | if is_set { mask } else { 0 };
                }
            }
            let result = new.map(|new| if kind == 1 { shown(low) } else { new });
            self.fields.push(u8::from(result.is_some()) | u8::from(changes) << 1);
            self.fields.extend_from_slice(&(result.unwrap_or_default() as i64).to_le_bytes());
        }
        if writes && is_other {
            self.items.insert(key.to_vec(), Item { stale: false, lease_given: false, ..item });
        }
        if let Some(there) = self.items.get_mut(key) {
            there.fetched = true;
        }
        assert_eq!(results(&self.fields).len(), steps.len() / 19);
        Outcome::Fields(Bytes::from(&self.fields[..]))
    }

    pub(super) fn if_equal(&mut self, key: &[u8], ask: &IfEqual<'_>, now: Millis) -> Outcome<'_> {
        let (expected, new) = ask.bytes.split_at(ask.expected_len as usize);
        let Some(item) = self.there(key, false).cloned() else { return Outcome::Miss };
        match ask.then {
            _ if item.value != expected => {
                self.old = item;
                let want_old = matches!(ask.then, Then::Write { want_old: true, .. });
                let old = want_old.then(|| super::found(&self.old, super::Lease::None, false));
                Outcome::NotStored { old }
            }
            Then::Delete => self.delete(key, &Delete::default()),
            Then::Write { expiry, want_old } => {
                self.write(key, &Write { expiry, want_old, ..Write::set(new) }, now)
            }
        }
    }
}
