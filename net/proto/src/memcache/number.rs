//! Decimal numbers of the protocol: digits only, refused when they do not fit.

use super::bounds::VALUE_BYTES_MAX;

/// An unsigned number; `None` if it is empty, holds anything but digits, or needs more than 64 bits.
#[inline]
pub fn unsigned(word: &[u8]) -> Option<u64> {
    // 19 digits always fit, so the usual number is added up without a check a digit.
    let (head, tail) = word.split_at(word.len().min(19));
    let mut number = 0u64;
    for byte in head {
        number = number * 10 + digit(*byte)?;
    }
    for byte in tail {
        number = number.checked_mul(10)?.checked_add(digit(*byte)?)?;
    }
    (!word.is_empty()).then_some(number)
}

/// The length of a value; `None` as for [`unsigned`], or over [`VALUE_BYTES_MAX`]: no such value follows, so nothing
/// is to be skipped.
#[inline]
pub fn length(word: &[u8]) -> Option<u64> {
    unsigned(word).filter(|bytes| *bytes <= VALUE_BYTES_MAX)
}

/// A number with an optional `-` before it; `None` as for [`unsigned`], or if it needs more than 64 bits.
#[inline]
pub fn signed(word: &[u8]) -> Option<i64> {
    match word {
        [b'-', digits @ ..] => 0i64.checked_sub_unsigned(unsigned(digits)?),
        digits => i64::try_from(unsigned(digits)?).ok(),
    }
}

#[inline]
fn digit(byte: u8) -> Option<u64> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_their_borders() {
        for (word, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999999999999999", None),
            ("0000000000000000000000000001", Some(1)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1x", None),
            ("x", None),
        ] {
            assert_eq!(unsigned(word.as_bytes()), number, "{word}");
        }
    }

    #[test]
    fn lengths_at_their_borders() {
        assert_eq!(length(b"0"), Some(0));
        assert_eq!(length(b"2147483645"), Some(VALUE_BYTES_MAX));
        for word in ["2147483646", "2147483647", "4294967301", "18446744073709551615", "-1"] {
            assert_eq!(length(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn signed_numbers_at_their_borders() {
        for (word, number) in [
            ("-1", Some(-1)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-", None),
            ("--1", None),
            ("", None),
        ] {
            assert_eq!(signed(word.as_bytes()), number, "{word}");
        }
    }
}
