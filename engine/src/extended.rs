//! Floating point numbers of 80 bits, in which Redis computes INCRBYFLOAT (C's `long double` on x86).
//!
//! ```text
//!   bit 79    78 .. 64        63 .. 0
//!   sign      exponent        significand, its leading one included
//! ```
//!
//! Reading and adding are those of `rustc_apfloat`, so the result is the same on every machine. The text is that of
//! C's `%.17Lf` without the zeros at its end.

use rustc_apfloat::ieee::{Double, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round, Status};
use std::fmt;

/// A number of 80 bits, an infinity, or none (the difference of two infinities).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    /// Little endian. Bytes, so that commands that hold a number do not grow by an alignment.
    bytes: [u8; 10],
}

impl Extended {
    /// Reads what C's `strtold` reads, which takes hexadecimal numbers and infinities, too. `None` if that is not all
    /// of the text, is no number, or is too large or too small for 80 bits.
    pub fn parse(text: &[u8]) -> Option<Extended> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let number = if ["inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
            X87DoubleExtended::INFINITY
        } else {
            finite(unsigned)?
        };
        Some(Extended::new(if is_negative { -number } else { number }))
    }

    /// The sum, rounded to the nearest.
    pub fn plus(self, other: Extended) -> Extended {
        Extended::new((self.number() + other.number()).value)
    }

    pub fn is_finite(self) -> bool {
        self.number().is_finite()
    }

    /// The nearest number of 64 bits.
    pub fn to_f64(self) -> f64 {
        let converted: Double = self.number().convert(&mut false).value;
        f64::from_bits(converted.to_bits() as u64)
    }

    fn new(number: X87DoubleExtended) -> Extended {
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&number.to_bits().to_le_bytes()[..10]);
        Extended { bytes }
    }

    fn number(self) -> X87DoubleExtended {
        X87DoubleExtended::from_bits(self.bits())
    }

    fn bits(self) -> u128 {
        let mut bits = [0; 16];
        bits[..10].copy_from_slice(&self.bytes);
        u128::from_le_bytes(bits)
    }

    fn is_negative(self) -> bool {
        self.bits() >> 79 != 0
    }

    fn significand(self) -> u64 {
        self.bits() as u64
    }

    /// The number without its sign is the significand times two to the power of this.
    fn power(self) -> i32 {
        // The exponents 0 and 1 mean the same; 16,383 stands for a significand between one and two.
        let exponent = (self.bits() >> 64) as i32 & 0x7FFF;
        exponent.max(1) - 16_383 - 63
    }
}

/// In decimal, rounded half to even to 17 digits behind the point, without zeros at the end.
impl fmt::Display for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative() { "-" } else { "" };
        if !self.is_finite() {
            return write!(f, "{sign}inf");
        }
        if self.power() >= 0 {
            f.write_str(sign)?;
            return integer(self.significand(), self.power() as u32, f);
        }
        match fixed(self.significand(), self.power().unsigned_abs()) {
            (0, 0) => f.write_str("0"),
            (whole, 0) => write!(f, "{sign}{whole}"),
            (whole, fraction) => {
                let digits = format!("{fraction:017}");
                write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
            }
        }
    }
}

/// A number without sign, decimal or hexadecimal.
fn finite(text: &str) -> Option<X87DoubleExtended> {
    let hexadecimal = text.strip_prefix("0x").or(text.strip_prefix("0X"));
    let (digits, radix, marks) = match hexadecimal {
        Some(digits) => (digits, 16, ['p', 'P']),
        None => (text, 10, ['e', 'E']),
    };
    let (mantissa, exponent) = match digits.split_once(marks) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str, radix| text.chars().all(|digit| digit.is_digit(radix));
    if whole.len() + fraction.len() == 0 || !are_digits(whole, radix) || !are_digits(fraction, radix) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !are_digits(digits, 10) {
            return None;
        }
    }
    let read = if radix == 16 && exponent.is_none() {
        X87DoubleExtended::from_str_r(&format!("{text}p0"), Round::NearestTiesToEven)
    } else {
        X87DoubleExtended::from_str_r(text, Round::NearestTiesToEven)
    };
    let read = read.ok()?;
    let vanished = read.status.contains(Status::UNDERFLOW) && read.value.is_zero();
    (read.value.is_finite() && !vanished).then_some(read.value)
}

/// `significand` divided by two to the power of `by`, as whole number and units of the last digit behind the point.
fn fixed(significand: u64, by: u32) -> (u64, u64) {
    let whole = significand.checked_shr(by).unwrap_or(0);
    let rest = significand - whole.checked_shl(by).unwrap_or(0);
    // Below 2^121, so what is divided by more than 2^122 is less than half a unit.
    let scaled = u128::from(rest) * u128::from(FRACTION_UNITS);
    if by > 122 {
        return (whole, 0);
    }
    let (units, left, half) = (scaled >> by, scaled & ((1 << by) - 1), 1u128 << (by - 1));
    let up = left > half || (left == half && units & 1 == 1);
    match units as u64 + u64::from(up) {
        FRACTION_UNITS => (whole + 1, 0),
        units => (whole, units),
    }
}

/// Writes `significand` times two to the power of `by`, which has up to 4,933 digits.
fn integer(significand: u64, by: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    /// Digits of each limb are 18; the lowest limb is the first.
    const LIMB: u128 = 1_000_000_000_000_000_000;
    const SHIFT_MAX: u32 = 60;
    let mut limbs = vec![significand];
    let mut left = by;
    // The first round, even by nothing, brings a significand over a limb into two.
    loop {
        let shift = left.min(SHIFT_MAX);
        let mut carry = 0u128;
        for limb in &mut limbs {
            let product = (u128::from(*limb) << shift) + carry;
            *limb = (product % LIMB) as u64;
            carry = product / LIMB;
        }
        while carry > 0 {
            limbs.push((carry % LIMB) as u64);
            carry /= LIMB;
        }
        left -= shift;
        if left == 0 {
            break;
        }
    }
    let (highest, rest) = limbs.split_last().expect("there is one limb at least");
    write!(f, "{highest}")?;
    rest.iter().rev().try_for_each(|limb| write!(f, "{limb:018}"))
}

/// Longest text that is read, as in Redis.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Units of the last of 17 digits behind the point, in one.
const FRACTION_UNITS: u64 = 100_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(one: &str, other: &str) -> String {
        let read = |text: &str| Extended::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        read(one).plus(read(other)).to_string()
    }

    #[test]
    fn sums_are_those_of_redis() {
        for (one, other, result) in [
            ("0.1", "0.2", "0.3"),
            ("1.1", "2.2", "3.3"),
            ("9223372036854775807", "1.", "9223372036854775808"),
            ("99999999999999999.99", "0.01", "100000000000000000"),
            ("0.30000000000000004", "0", "0.30000000000000004"),
            ("-1.5", "1.25", "-0.25"),
            ("+1", "+.5", "1.5"),
            ("3.0e3", "2E+2", "3200"),
            ("0x10", "0X1P4", "32"),
            ("0x1.8", "0", "1.5"),
            ("1e-17", "0", "0.00000000000000001"),
            ("5e-18", "0", "0"),
            ("-1e-18", "0", "0"),
            ("-0", "-0", "0"),
            ("1e-4940", "0", "0"),
            ("1e25", "1", "10000000000000000000000000"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("1", "inf", "inf"),
            ("1e4932", "-Infinity", "-inf"),
        ] {
            assert_eq!(sum(one, other), result, "{one} + {other}");
        }
        let large = sum("1e4932", "0");
        assert!(large.len() == 4933 && large.starts_with("1000000000000000000006018949387963891323"));
        assert!(!Extended::parse(b"1e4932").unwrap().plus(Extended::parse(b"1e4932").unwrap()).is_finite());
        assert!(!Extended::parse(b"inf").unwrap().plus(Extended::parse(b"-inf").unwrap()).is_finite());
    }

    #[test]
    fn what_is_no_number_of_80_bits_is_refused() {
        for text in [
            "",
            " 1",
            "1 ",
            "+",
            "-",
            "--1",
            "+-1",
            ".",
            "e1",
            "1e",
            "1e+",
            "1e1.",
            "1.2.3",
            "1_0",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "x",
            "nan",
            "nan(1)",
            "-nan",
            "infinit",
            "infinityx",
            "1e5000",
            "-1e5000",
            "1e-5000",
            "1\0",
            "\u{661}",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Extended::parse(b"\xff"), None);
        assert!(Extended::parse(&[b'0'; TEXT_BYTES_MAX]).is_some());
        assert_eq!(Extended::parse(&[b'0'; TEXT_BYTES_MAX + 1]), None);
    }

    #[test]
    fn a_text_read_again_is_the_same_text() {
        for text in
            ["0.00000000000000001", "9223372036854775807.5", "-1.00000000000000001", "184467440737095516160"]
        {
            assert_eq!(sum(text, "0"), sum(&sum(text, "0"), "0"));
        }
    }

    #[test]
    fn the_nearest_of_64_bits() {
        for (text, number) in [("0.1", 0.1), ("-2.5", -2.5), ("1e4932", f64::INFINITY), ("1e-4940", 0.0)] {
            assert_eq!(Extended::parse(text.as_bytes()).unwrap().to_f64(), number);
        }
    }
}
