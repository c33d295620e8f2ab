//! Decimal integers, as strict as Redis: no sign `+`, no leading zero, no blank.

/// A signed 64-bit number in its one canonical spelling; `None` for anything else.
#[inline]
pub fn parse_i64(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= DIGITS_MAX => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits stay below 2^64.
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Digits of `i64::MAX`.
const DIGITS_MAX: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_a_number() {
        let numbers = [0, 1, -1, 10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1];
        for number in numbers {
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
        let wrong: [&[u8]; 14] = [
            b"",
            b"-",
            b"+1",
            b"01",
            b"-0",
            b"00",
            b" 1",
            b"1 ",
            b"1a",
            b"0x1",
            b"1.0",
            b"--1",
            b"9223372036854775808",
            b"-9223372036854775809",
        ];
        for text in wrong {
            assert_eq!(parse_i64(text), None, "{}", text.escape_ascii());
        }
        assert_eq!(parse_i64(&[b'9'; 40]), None);
    }
}
