//! What a command gathers from the values of its keys, one after the other: BITOP, LCS.
//!
//! A long value is lent, and taken a part a turn; nothing else is asked for meanwhile. So a command pins no more than one value, and only
//! while it needs nothing of others.

use super::Asked;
use super::combine::Combination;
use super::compare::{self, Comparison};
use crate::session::{Compare, Joint, Jointly};
use crate::worker::owned::OwnedAnswer;
use std::collections::VecDeque;
use torc_engine::bits;
use torc_engine::bytes::Bytes;
use torc_engine::command::{Found, Value};
use torc_engine::segments::Lent;
use torc_engine::words;

/// The longest that all values of BITOP may be together: a month of days, each as long as may be. Keys are held until all are taken.
const TOGETHER_BYTES_MAX: u64 = 32 * bits::BYTES_MAX;
/// Words that are compared at once before somebody looks at the clock: about a millisecond.
const WORDS_AT_ONCE: isize = 1 << 20;
/// What a key costs of a turn beside its bytes.
const KEY_COST: usize = 64;

#[derive(Debug)]
pub(in crate::worker) struct Gathering {
    what: Gathered,
    /// Bytes of the command's words whose keys were asked for.
    asked: usize,
    /// A long value, of which these slices are to be taken.
    lent: VecDeque<Lent>,
    /// Bytes of all values so far.
    together: u64,
    /// Bytes that were taken and not charged for.
    taken: usize,
    /// Bytes that were charged for in this turn.
    charged: usize,
}

#[derive(Debug)]
enum Gathered {
    Bits(Combination),
    /// Two values, and how many of them are whole.
    Values(Compare, [Vec<u8>; 2], usize),
    Compared(Box<Comparison>),
}

impl Gathering {
    /// What a command gathers, if it does.
    pub(in crate::worker) fn of(asked: Asked<'_>) -> Option<Gathering> {
        match asked.joint {
            Joint::Combine(operation) => {
                let destination = words::each(asked.words).next().unwrap_or_default();
                let what = Gathered::Bits(Combination::new(operation));
                Some(Gathering::new(what, size_of::<u32>() + destination.len()))
            }
            Joint::Compare(compare) => {
                Some(Gathering::new(Gathered::Values(compare, Default::default(), 0), 0))
            }
            _ => None,
        }
    }

    /// `asked`: how many bytes of the command's words name no source.
    fn new(what: Gathered, asked: usize) -> Gathering {
        Gathering { what, asked, lent: VecDeque::new(), together: 0, taken: 0, charged: 0 }
    }

    pub(super) fn bytes_held(&self) -> usize {
        let what = match &self.what {
            Gathered::Bits(combination) => combination.bytes_held(),
            Gathered::Values(_, values, _) => values.iter().map(Vec::capacity).sum(),
            Gathered::Compared(comparison) => comparison.bytes_held(),
        };
        size_of::<Gathering>() + what + self.lent.capacity() * size_of::<Lent>()
    }

    /// The next key to be asked for.
    pub(in crate::worker) fn next_key<'w>(&mut self, all: &'w [u8]) -> Option<&'w [u8]> {
        let key = words::each(&all[self.asked..]).next()?;
        self.asked += size_of::<u32>() + key.len();
        Some(key)
    }

    /// Takes what a key has. A long value is lent: its slices are taken one by one.
    ///
    /// # Errors
    /// It is too long, or all values together are.
    pub(in crate::worker) fn take(&mut self, found: Option<&Found<'_>>) -> Result<(), OwnedAnswer> {
        self.taken += KEY_COST;
        let bytes_max = match self.what {
            Gathered::Bits(_) => bits::BYTES_MAX,
            _ => compare::BYTES_MAX,
        };
        let value = found.map(|found| found.value);
        self.together = self.together.saturating_add(value.map_or(0, |value| value.len()));
        match value {
            Some(value) if value.len() > bytes_max => return Err(OwnedAnswer::Jointly(Jointly::TooLong)),
            Some(_) if self.together > TOGETHER_BYTES_MAX => {
                return Err(OwnedAnswer::Jointly(Jointly::TooMuch));
            }
            Some(Value::Chained(chain)) if !chain.is_empty() => {
                self.lent.extend(chain.lend(0..chain.len()));
                return Ok(());
            }
            Some(Value::Inline(value)) => self.add(value),
            Some(Value::Chained(_)) | None => {}
        }
        self.end_value();
        Ok(())
    }

    fn add(&mut self, bytes: Bytes<'_>) {
        self.taken += bytes.len();
        match &mut self.what {
            Gathered::Bits(combination) => combination.take(bytes),
            Gathered::Values(_, values, whole) => {
                if let Some(value) = values.get_mut(*whole) {
                    bytes.append_to(value);
                }
            }
            Gathered::Compared(_) => {}
        }
    }

    fn end_value(&mut self) {
        match &mut self.what {
            Gathered::Bits(combination) => combination.end_value(),
            Gathered::Values(_, _, whole) => *whole += 1,
            Gathered::Compared(_) => {}
        }
    }

    /// Takes a slice of what is lent, which is to be released then.
    pub(in crate::worker) fn take_lent(&mut self) -> Option<Lent> {
        let lent = self.lent.pop_front()?;
        self.add(lent.bytes());
        if self.lent.is_empty() {
            self.end_value();
        }
        Some(lent)
    }

    /// So many bytes more are done.
    pub(super) fn has_done(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// What is to be charged for since the last time.
    pub(super) fn charge(&mut self) -> usize {
        let taken = std::mem::take(&mut self.taken);
        self.charged += taken;
        taken
    }

    /// What was charged for in this turn.
    pub(super) fn charged(&self) -> usize {
        self.charged
    }

    /// It goes on in another turn.
    pub(super) fn end_turn(&mut self) {
        self.charged = 0;
    }

    /// What is lent and was not taken, to be released.
    pub(super) fn into_lent(self) -> VecDeque<Lent> {
        self.lent
    }

    /// Memory that what is lent will take, about.
    pub(super) fn bytes_for_lent(&self) -> usize {
        let bytes: usize = self.lent.iter().map(|lent| lent.bytes().len()).sum();
        match &self.what {
            Gathered::Bits(combination) => combination.bytes_for(bytes),
            _ => bytes,
        }
    }

    pub(super) fn combination(&mut self) -> Option<&mut Combination> {
        if let Gathered::Bits(combination) = &mut self.what { Some(combination) } else { None }
    }

    pub(super) fn comparison(&mut self) -> Option<&mut Comparison> {
        if let Gathered::Compared(comparison) = &mut self.what { Some(comparison) } else { None }
    }

    /// All that was gathered, compared: how the command ends, and what was found. `None`: `is_over` has said so.
    pub(in crate::worker) fn compared_at_once(
        mut self,
        mut is_over: impl FnMut() -> bool,
    ) -> Option<(OwnedAnswer, Vec<u8>)> {
        self.begin_comparison();
        if let Some(comparison) = self.comparison() {
            let mut words = WORDS_AT_ONCE;
            while !comparison.go_on(&mut words) {
                if is_over() {
                    return None;
                }
                words = WORDS_AT_ONCE;
            }
        }
        Some(self.into_compared())
    }

    /// All that was gathered, combined.
    pub(in crate::worker) fn combined_at_once(mut self) -> Option<Vec<u8>> {
        self.combination().map(Combination::rest)
    }

    /// What was compared: how the command ends, and what was found.
    pub(super) fn into_compared(self) -> (OwnedAnswer, Vec<u8>) {
        let Gathered::Compared(comparison) = self.what else {
            return (OwnedAnswer::OutcomeUnknown, Vec::new());
        };
        let (asked, (length, found)) = (comparison.asked(), comparison.into_found());
        (OwnedAnswer::Compared { asked, length }, found)
    }

    pub(super) fn is_to_compare(&self) -> bool {
        matches!(self.what, Gathered::Values(..) | Gathered::Compared(_))
    }

    /// Memory that comparing will take, if values are to be compared.
    pub(super) fn bytes_for_comparison(&self) -> usize {
        match &self.what {
            Gathered::Values(_, values, _) => Comparison::bytes_for([values[0].len(), values[1].len()]),
            _ => 0,
        }
    }

    /// All is gathered: what was gathered is compared, if it is to be.
    pub(super) fn begin_comparison(&mut self) {
        if let Gathered::Values(asked, values, _) = &mut self.what {
            let values = std::mem::take(values);
            self.what = Gathered::Compared(Box::new(Comparison::new(*asked, values)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::BitOperation;
    use torc_engine::command::Meta;

    #[test]
    fn values_that_are_too_long_together_are_refused() {
        let mut gathering = Gathering::new(Gathered::Bits(Combination::new(BitOperation::Or)), 0);
        let mut take = |len: usize, together: u64| {
            gathering.together = together;
            let value = vec![1; len];
            let found = Found { meta: Meta::default(), value: Value::Inline(Bytes::from(value.as_slice())) };
            gathering.take(Some(&found))
        };
        assert!(take(100, TOGETHER_BYTES_MAX - 100).is_ok());
        assert!(matches!(take(101, TOGETHER_BYTES_MAX - 100), Err(OwnedAnswer::Jointly(Jointly::TooMuch))));
        assert!(gathering.take(None).is_ok());
    }
}
