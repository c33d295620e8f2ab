//! Bits of values: counted, found, read and written as integers.
//!
//! All bytes that the steps of a command may write are copied, changed, and written back at once, so that a command is
//! done as a whole or not at all. Long values are looked at where they lie; what one command may look at is bounded, as
//! nobody else is served meanwhile.

use super::{Key, Shard};
use crate::bits::{BYTES_MAX, Step, changes, push_result, steps};
use crate::bytes::Bytes;
use crate::command::{BitRange, Bits, Body, Millis, Outcome, Refusal, Value};
use crate::index::{Place, Slot};
use std::ops::Range;

/// First and last byte that the steps of one command write may be so far apart: what they lie in is copied.
const FIELDS_SPAN_MAX: u64 = 1 << 20;

impl Shard {
    pub(super) fn bits(&mut self, key: Key<'_>, ask: &Bits<'_>, now: Millis) -> Outcome<'_> {
        let found = self.find_there(key, false, now);
        match (ask, found) {
            (Bits::Fields { steps, writes }, found) => self.fields(key, steps, *writes, found, now),
            (_, None) => {
                self.stats.misses.add(1);
                Outcome::Miss
            }
            (Bits::Count { range }, Some((place, slot))) => {
                self.count_hit(place, slot);
                told(count(&self.found(slot.location()).value, *range))
            }
            (&Bits::Find { bit, start, end, by_bits }, Some((place, slot))) => {
                self.count_hit(place, slot);
                told(find(&self.found(slot.location()).value, bit, (start, end), by_bits))
            }
        }
    }

    fn count_hit(&mut self, place: Place, slot: Slot) {
        self.stats.hits.add(1);
        let state = self.segments.item(slot.location()).state();
        self.count_access(place, slot, state);
    }

    fn fields(
        &mut self,
        key: Key<'_>,
        packed: &[u8],
        writes: bool,
        found: Option<(Place, Slot)>,
        now: Millis,
    ) -> Outcome<'_> {
        match (found, writes) {
            (Some((place, slot)), false) => self.count_hit(place, slot),
            (None, false) => self.stats.misses.add(1),
            // A change counts as neither.
            (Some((place, slot)), true) => {
                self.count_access(place, slot, self.segments.item(slot.location()).state());
            }
            (None, true) => {}
        }
        let written = if writes { written(packed) } else { None };
        let span = written.unwrap_or_default();
        if let Err(refusal) = self.check(key, span.end) {
            return Outcome::Refused(refusal);
        }
        if span.end - span.start > FIELDS_SPAN_MAX {
            return Outcome::Refused(Refusal::RangeTooLong);
        }
        let value = found
            .map(|(_, slot)| self.found(slot.location()).value)
            .unwrap_or_else(|| Value::Inline(Bytes::default()));
        let (mut window, len) = (vec![0; (span.end - span.start) as usize], value.len());
        copy(&value, span.start, &mut window);
        // Zeros are added, whatever comes of the steps.
        let grows = !window.is_empty() && (found.is_none() || len < span.end);
        let mut results = Vec::with_capacity(packed.len() / 2);
        for step in steps(packed) {
            let (result, is_other) = run(&step, &value, span.start, &mut window);
            let changes = step.writes() && result.is_some() && (is_other || grows);
            push_result(result, changes, &mut results);
        }
        self.fields = results;
        if grows || changes(&self.fields) {
            if let Err(refusal) = self.change_range(key, span.start, Body::Bytes(&window), now) {
                return Outcome::Refused(refusal);
            }
            self.stats.writes.add(1);
        }
        Outcome::Fields(Bytes::from(&self.fields[..]))
    }
}

fn told(result: Result<i64, Refusal>) -> Outcome<'static> {
    match result {
        Ok(number) => Outcome::Number(number),
        Err(refusal) => Outcome::Refused(refusal),
    }
}

/// From the first to the last byte that some step may write.
fn written(packed: &[u8]) -> Option<Range<u64>> {
    let ranges = steps(packed).filter(Step::writes).map(|step| step.bytes());
    ranges.reduce(|all, one| all.start.min(one.start)..all.end.max(one.end))
}

/// Does one step on a value of which the bytes from `start` on are in `window`. Says what comes of it, and whether it has written something
/// else.
fn run(step: &Step, value: &Value<'_>, start: u64, window: &mut [u8]) -> (Option<i64>, bool) {
    let bytes = step.bytes();
    let end = start + window.len() as u64;
    let mut integer = [0; 9];
    let integer = &mut integer[..(bytes.end - bytes.start) as usize];
    copy(value, bytes.start, integer);
    let both = bytes.start.max(start)..bytes.end.min(end);
    if !both.is_empty() {
        let [to, from] = [bytes.start, start].map(|at| (both.start - at) as usize..(both.end - at) as usize);
        integer[to.clone()].copy_from_slice(&window[from.clone()]);
        let result = step.run(integer);
        let is_other = window[from.clone()] != integer[to.clone()];
        window[from].copy_from_slice(&integer[to]);
        return (result, is_other);
    }
    (step.run(integer), false)
}

/// Copies the bytes of a value from `from` on to `to`, as far as there are any.
fn copy(value: &Value<'_>, from: u64, to: &mut [u8]) {
    let mut at = 0;
    for piece in pieces(value, from..from + to.len() as u64) {
        piece.copy_to(&mut to[at..at + piece.len()]);
        at += piece.len();
    }
}

/// The pieces of a value that lie in a range of its bytes.
pub(super) fn pieces<'s>(value: &Value<'s>, range: Range<u64>) -> impl Iterator<Item = Bytes<'s>> + use<'s> {
    let (whole, chain) = match value {
        Value::Inline(bytes) => (Some(*bytes), None),
        Value::Chained(chain) => (None, Some(*chain)),
    };
    let mut at = 0;
    let slices = whole.into_iter().chain(chain.into_iter().flat_map(|chain| chain.slices()));
    let placed = slices.map(move |slice| {
        let start = at;
        at += slice.len() as u64;
        (start, slice)
    });
    let end = range.end;
    placed.take_while(move |(start, _)| *start < end).filter_map(move |(start, slice)| {
        let len = slice.len() as u64;
        let [from, to] = [range.start, range.end].map(|at| at.saturating_sub(start).min(len) as usize);
        (from < to).then(|| slice.slice(from..to))
    })
}

/// A range of `len` bytes or bits as first and last, by the rules of BITCOUNT; `None` if nothing is in it.
fn absolute(start: i64, end: i64, len: u64) -> Option<(u64, u64)> {
    let place = |index: i64| match u64::try_from(index) {
        Ok(index) => index,
        Err(_) => len.saturating_sub(index.unsigned_abs()),
    };
    let (first, last) = (place(start), place(end).min(len.checked_sub(1)?));
    (first <= last).then_some((first, last))
}

/// Whole bytes, the first and the last with a mask of those bits that count.
struct Masked {
    bytes: Range<u64>,
    first: u8,
    last: u8,
}

impl Masked {
    /// # Errors
    /// It is longer than a command may look at.
    fn of((first, last): (u64, u64), by_bits: bool) -> Result<Masked, Refusal> {
        let masked = match by_bits {
            false => Masked { bytes: first..last + 1, first: 0xFF, last: 0xFF },
            true => Masked {
                bytes: first / 8..last / 8 + 1,
                first: 0xFF >> (first % 8),
                last: 0xFF << (7 - last % 8),
            },
        };
        let is_short = masked.bytes.end - masked.bytes.start <= BYTES_MAX;
        if is_short { Ok(masked) } else { Err(Refusal::RangeTooLong) }
    }

    /// The mask of a byte.
    fn mask(&self, at: u64) -> u8 {
        let first = if at == self.bytes.start { self.first } else { 0xFF };
        let last = if at + 1 == self.bytes.end { self.last } else { 0xFF };
        first & last
    }

    /// A byte of the value.
    fn byte(&self, value: &Value<'_>, at: u64) -> u8 {
        let mut byte = [0];
        copy(value, at, &mut byte);
        byte[0]
    }
}

fn count(value: &Value<'_>, range: Option<BitRange>) -> Result<i64, Refusal> {
    let BitRange { start, end, by_bits } = range.unwrap_or(BitRange { start: 0, end: -1, by_bits: false });
    let len = if by_bits { value.len() * 8 } else { value.len() };
    let backwards = start < 0 && end < 0 && start > end;
    let Some(places) = absolute(start, end, len).filter(|_| !backwards) else { return Ok(0) };
    let masked = Masked::of(places, by_bits)?;
    let all: u64 = pieces(value, masked.bytes.clone()).map(ones).sum();
    let [first, last] = [masked.bytes.start, masked.bytes.end - 1];
    let ends = if first == last { &[first][..] } else { &[first, last] };
    let outside = |&at: &u64| (masked.byte(value, at) & !masked.mask(at)).count_ones();
    Ok(all as i64 - i64::from(ends.iter().map(outside).sum::<u32>()))
}

/// Bits that are set.
fn ones(bytes: Bytes<'_>) -> u64 {
    let words = bytes.len() / 8;
    let sum: u64 = (0..words).map(|word| u64::from(bytes.word(word * 8).count_ones())).sum();
    let rest = bytes.behind(words * 8);
    sum + if rest.is_empty() { 0 } else { u64::from(rest.number().count_ones()) }
}

fn find(
    value: &Value<'_>,
    bit: bool,
    (start, end): (i64, Option<i64>),
    by_bits: bool,
) -> Result<i64, Refusal> {
    let len = if by_bits { value.len() * 8 } else { value.len() };
    let Some(places) = absolute(start, end.unwrap_or(-1), len) else { return Ok(-1) };
    let masked = Masked::of(places, by_bits)?;
    let mut at = masked.bytes.start;
    for piece in pieces(value, masked.bytes.clone()) {
        if let Some(place) = first_in(&masked, at, piece, bit) {
            return Ok(place as i64);
        }
        at += piece.len() as u64;
    }
    Ok(if !bit && end.is_none() { (masked.bytes.end * 8) as i64 } else { -1 })
}

/// The first bit that is so in a piece that begins at a byte of the value.
fn first_in(masked: &Masked, at: u64, piece: Bytes<'_>, bit: bool) -> Option<u64> {
    let without = if bit { 0 } else { u64::MAX };
    let mut byte = 0;
    while byte < piece.len() {
        let inside = at + byte as u64 > masked.bytes.start && at + byte as u64 + 8 < masked.bytes.end;
        if inside && piece.len() - byte >= 8 && piece.word(byte) == without {
            byte += 8;
            continue;
        }
        let place = at + byte as u64;
        let mut bits = [0];
        piece.slice(byte..byte + 1).copy_to(&mut bits);
        let wanted = (if bit { bits[0] } else { !bits[0] }) & masked.mask(place);
        if wanted != 0 {
            return Some(place * 8 + u64::from(wanted.leading_zeros()));
        }
        byte += 1;
    }
    None
}

#[cfg(test)]
mod tests;
