//! Counters: numbers as texts, as each protocol reads and writes them.

use crate::command::{Delta, Number, Refusal};
use crate::extended::Extended;
use std::borrow::Cow;

/// So many digits are a number of 64 bits, whatever they are.
const DIGITS_SURE: usize = 19;

impl Delta {
    /// The number after the step, from the text of the number before.
    pub(super) fn apply(self, text: &[u8]) -> Result<Number, Refusal> {
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
pub(super) fn text_of(number: Number, digits: &mut itoa::Buffer) -> Result<Cow<'_, [u8]>, Refusal> {
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
}
