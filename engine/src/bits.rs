//! Bits of values, counted from the highest bit of the first byte, and integers in them, as Redis' BITFIELD has them.
//!
//! Several steps of one command travel as packed bytes, and so do their results:
//!
//! ```text
//! step:    | kind u8 | overflow u8 | bits u8, 0x80: signed | offset u64 | number i64 |     19 bytes
//! result:  | u8, 1: there is one, 2: something else is written | number i64 |                9 bytes
//!
//! A step has no result that fails as its number would overflow.
//! ```

use std::ops::Range;

/// Most bytes in which one command counts, looks for or combines bits: some milliseconds.
pub const BYTES_MAX: u64 = 16 << 20;

/// What a step does with its integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Its result is the number that is there.
    Get,
    /// Writes a number; its result is the one before.
    Set(i64),
    /// Adds; its result is the sum.
    Add(i64),
}

/// What becomes of a number that its integer cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Its lowest bits count.
    #[default]
    Wrap,
    /// It becomes the greatest or the least that fits.
    Saturate,
    /// Nothing is written, and the step has no result.
    Fail,
}

/// One step of a command on an integer of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub action: Action,
    pub overflow: Overflow,
    pub is_signed: bool,
    /// 1 to 63, or 64 if it is signed.
    pub bits: u8,
    /// Its first bit, below 2^40.
    pub offset: u64,
}

/// Bytes of a step, and of a result.
const STEP_BYTES: usize = 19;
pub(crate) const RESULT_BYTES: usize = 9;
/// An integer of 64 bits lies in so many bytes at most.
const INTEGER_BYTES_MAX: usize = 9;
const SIGNED: u8 = 0x80;
const THERE: u8 = 1;
const CHANGES: u8 = 2;

impl Step {
    /// Appends it to others.
    pub fn pack(self, to: &mut Vec<u8>) {
        let (kind, number) = match self.action {
            Action::Get => (0, 0),
            Action::Set(number) => (1, number),
            Action::Add(number) => (2, number),
        };
        let overflow = match self.overflow {
            Overflow::Wrap => 0,
            Overflow::Saturate => 1,
            Overflow::Fail => 2,
        };
        to.extend_from_slice(&[kind, overflow, self.bits | if self.is_signed { SIGNED } else { 0 }]);
        to.extend_from_slice(&self.offset.to_le_bytes());
        to.extend_from_slice(&number.to_le_bytes());
    }

    fn unpack(bytes: &[u8; STEP_BYTES]) -> Step {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let action = match bytes[0] {
            0 => Action::Get,
            1 => Action::Set(number(11) as i64),
            _ => Action::Add(number(11) as i64),
        };
        let overflow = match bytes[1] {
            0 => Overflow::Wrap,
            1 => Overflow::Saturate,
            _ => Overflow::Fail,
        };
        let [bits, is_signed] = [bytes[2] & !SIGNED, bytes[2] & SIGNED];
        Step { action, overflow, is_signed: is_signed != 0, bits: bits.clamp(1, 64), offset: number(3) }
    }

    /// Whether it may write.
    pub fn writes(&self) -> bool {
        self.action != Action::Get
    }

    /// The bytes in which its integer lies.
    pub fn bytes(&self) -> Range<u64> {
        let end = self.offset.saturating_add(u64::from(self.bits)).div_ceil(8);
        self.offset / 8..end
    }

    /// Does the step on the bytes of its integer, and says what comes of it.
    pub(crate) fn run(&self, bytes: &mut [u8]) -> Option<i64> {
        let old = self.read(bytes);
        let (exact, result) = match self.action {
            Action::Get => return Some(old as i64),
            // An unsigned integer takes the bits of a negative number.
            Action::Set(number) if !self.is_signed => (i128::from(number as u64), Some(old as i64)),
            Action::Set(number) => (i128::from(number), Some(old as i64)),
            Action::Add(number) => (old + i128::from(number), None),
        };
        let new = self.fitted(exact)?;
        self.write(bytes, new as u64);
        Some(result.unwrap_or(new as i64))
    }

    /// The least and the greatest number that it can hold.
    fn limits(&self) -> (i128, i128) {
        match self.is_signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }

    /// What is written for a number. `None`: nothing is.
    fn fitted(&self, number: i128) -> Option<i128> {
        let (least, greatest) = self.limits();
        if (least..=greatest).contains(&number) {
            return Some(number);
        }
        match self.overflow {
            Overflow::Wrap => Some(self.wrapped(number)),
            Overflow::Saturate => Some(if number < least { least } else { greatest }),
            Overflow::Fail => None,
        }
    }

    /// The number of the lowest bits.
    fn wrapped(&self, number: i128) -> i128 {
        let low = number & ((1 << self.bits) - 1);
        let is_negative = self.is_signed && low >> (self.bits - 1) != 0;
        if is_negative { low - (1 << self.bits) } else { low }
    }

    /// The bits behind the integer in its last byte.
    fn behind(&self) -> u32 {
        let used = (self.offset % 8) as u32 + u32::from(self.bits);
        used.next_multiple_of(8) - used
    }

    fn read(&self, bytes: &[u8]) -> i128 {
        let all = bytes.iter().take(INTEGER_BYTES_MAX).fold(0u128, |all, byte| all << 8 | u128::from(*byte));
        self.wrapped((all >> self.behind()) as i128)
    }

    fn write(&self, bytes: &mut [u8], number: u64) {
        let mask = ((1u128 << self.bits) - 1) << self.behind();
        let placed = u128::from(number) << self.behind() & mask;
        for (place, byte) in bytes.iter_mut().rev().enumerate() {
            let shift = 8 * place as u32;
            *byte = *byte & !((mask >> shift) as u8) | (placed >> shift) as u8;
        }
    }
}

/// The steps of a command, in order. Bytes that are no whole step are left out.
pub fn steps(packed: &[u8]) -> impl Iterator<Item = Step> + Clone + '_ {
    packed.as_chunks::<STEP_BYTES>().0.iter().map(Step::unpack)
}

/// Appends a result to others. `changes`: the step has written something else than what was there.
pub(crate) fn push_result(result: Option<i64>, changes: bool, to: &mut Vec<u8>) {
    to.push(if result.is_some() { THERE } else { 0 } | if changes { CHANGES } else { 0 });
    to.extend_from_slice(&result.unwrap_or_default().to_le_bytes());
}

/// Reads results. Of each step there is one.
pub fn results(packed: &[u8]) -> impl ExactSizeIterator<Item = Option<i64>> + '_ {
    packed
        .as_chunks::<RESULT_BYTES>()
        .0
        .iter()
        .map(|[there, number @ ..]| (there & THERE != 0).then(|| i64::from_le_bytes(*number)))
}

/// Whether some step has written something else than what was there.
pub fn changes(results: &[u8]) -> bool {
    results.chunks(RESULT_BYTES).any(|result| result[0] & CHANGES != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(action: Action, overflow: Overflow, is_signed: bool, bits: u8, offset: u64) -> Step {
        Step { action, overflow, is_signed, bits, offset }
    }

    #[test]
    fn steps_come_out_as_they_went_in() {
        let all = [
            step(Action::Get, Overflow::Wrap, false, 63, 1 << 39),
            step(Action::Set(-5), Overflow::Saturate, true, 64, 0),
            step(Action::Add(i64::MIN), Overflow::Fail, false, 1, 7),
        ];
        let mut packed = Vec::new();
        all.iter().for_each(|step| step.pack(&mut packed));
        assert!(steps(&packed).eq(all));
        assert_eq!(steps(&packed[..packed.len() - 1]).count(), 2);
        let mut packed = Vec::new();
        [Some(i64::MIN), None].into_iter().for_each(|result| push_result(result, false, &mut packed));
        assert!(!changes(&packed));
        push_result(Some(7), true, &mut packed);
        assert!(results(&packed).eq([Some(i64::MIN), None, Some(7)]) && changes(&packed));
    }

    /// Against bits one by one, at every place and of every length.
    #[test]
    fn integers_lie_where_their_bits_are() {
        let before: Vec<u8> = (0..12u8).map(|byte| byte.wrapping_mul(151) ^ 0x5A).collect();
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        for bits in 1..=64u8 {
            for offset in 0..24usize {
                for is_signed in [false, true] {
                    if !is_signed && bits == 64 {
                        continue;
                    }
                    let number = 0x1234_5678_9ABC_DEF0_i64 ^ (offset as i64) << 7;
                    let set = step(Action::Set(number), Overflow::Wrap, is_signed, bits, offset as u64);
                    let range = set.bytes();
                    let mut after = before.clone();
                    let old = set.run(&mut after[range.start as usize..range.end as usize]).unwrap();
                    let read = |bytes: &[u8]| {
                        (0..bits as usize).fold(0u64, |all, at| all << 1 | u64::from(bit(bytes, offset + at)))
                    };
                    let low = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
                    assert_eq!(read(&after), number as u64 & low);
                    assert_eq!(old as u64 & low, read(&before));
                    let outside = (0..96).filter(|at| !(offset..offset + bits as usize).contains(at));
                    outside.for_each(|at| assert_eq!(bit(&before, at), bit(&after, at)));
                    let get = Step { action: Action::Get, ..set };
                    let got = get.run(&mut after[range.start as usize..range.end as usize]).unwrap();
                    assert_eq!(got as u64 & low, number as u64 & low);
                    assert!(is_signed || got >= 0);
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_wraps_saturates_or_fails() {
        let table = [
            (true, 8, 127, 1, [Some(-128), Some(127), None]),
            (true, 8, -128, -1, [Some(127), Some(-128), None]),
            (false, 8, 255, 1, [Some(0), Some(255), None]),
            (false, 8, 0, -1, [Some(255), Some(0), None]),
            (false, 63, i64::MAX, 1, [Some(0), Some(i64::MAX), None]),
            (true, 64, i64::MAX, 1, [Some(i64::MIN), Some(i64::MAX), None]),
            (true, 64, i64::MIN, -1, [Some(i64::MAX), Some(i64::MIN), None]),
            (true, 64, -1, i64::MIN, [Some(i64::MAX), Some(i64::MIN), None]),
            (true, 1, 0, 1, [Some(-1), Some(0), None]),
            (false, 2, 2, 1, [Some(3), Some(3), Some(3)]),
        ];
        for (is_signed, bits, old, by, expected) in table {
            for (overflow, expected) in
                [Overflow::Wrap, Overflow::Saturate, Overflow::Fail].into_iter().zip(expected)
            {
                let mut bytes = [0; 8];
                let len = usize::from(bits).div_ceil(8);
                step(Action::Set(old), Overflow::Wrap, is_signed, bits, 0).run(&mut bytes[..len]);
                let before = bytes;
                let add = step(Action::Add(by), overflow, is_signed, bits, 0);
                assert_eq!(add.run(&mut bytes[..len]), expected, "{old} + {by} in {bits} bits");
                assert!(expected.is_some() || bytes == before);
            }
        }
        // A negative number is too large for an unsigned integer, not too small.
        let set = step(Action::Set(-1), Overflow::Saturate, false, 8, 0);
        let mut byte = [7];
        assert_eq!((set.run(&mut byte), byte), (Some(7), [255]));
    }
}
