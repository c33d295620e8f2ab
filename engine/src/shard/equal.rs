//! Changes of values that must be certain ones.

use super::{Key, Shard, bits::pieces};
use crate::changes::Cause;
use crate::command::{IfEqual, Millis, Outcome, Then, Write};

impl Shard {
    pub(super) fn if_equal(&mut self, key: Key<'_>, ask: &IfEqual<'_>, now: Millis) -> Outcome<'_> {
        let (expected, new) = ask.bytes.split_at((ask.expected_len as usize).min(ask.bytes.len()));
        if let Err(refusal) = self.check(key, new.len() as u64) {
            return Outcome::Refused(refusal);
        }
        let Some((place, slot)) = self.find_there(key, false, now) else { return Outcome::Miss };
        let at = slot.location();
        let want_old = matches!(ask.then, Then::Write { want_old: true, .. });
        if !self.has_value(at, expected) {
            return Outcome::NotStored { old: self.shown(want_old.then_some(at)) };
        }
        match ask.then {
            Then::Delete => {
                let version = self.clock.next(now);
                self.remove(place, slot, key.hash, Cause::Deleted, version);
                self.stats.deletions.add(1);
                Outcome::Deleted { old: None, version }
            }
            Then::Write { expiry, .. } => {
                let write = Write { expiry, ..Write::set(new) };
                let result = self.write_new(key, &write, false, Some((place, slot)), now);
                self.stored(result, want_old)
            }
        }
    }

    /// Whether the item at a place has this value.
    fn has_value(&self, at: u64, expected: &[u8]) -> bool {
        let value = self.found(at).value;
        let mut rest = expected;
        value.len() == expected.len() as u64
            && pieces(&value, 0..value.len()).all(|piece| {
                let (front, behind) = rest.split_at(piece.len().min(rest.len()));
                rest = behind;
                piece == *front
            })
    }
}
