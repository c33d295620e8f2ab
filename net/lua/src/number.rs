//! Numbers as C's `printf` writes them.

/// Appends a number as `%.{digits}g` does.
pub(crate) fn write(number: f64, digits: usize, out: &mut Vec<u8>) {
    if number.is_nan() {
        return out.extend_from_slice(if number.is_sign_negative() { b"-nan" } else { b"nan" });
    }
    if number.is_infinite() {
        return out.extend_from_slice(if number < 0.0 { b"-inf" } else { b"inf" });
    }
    if number.fract() == 0.0 && number.abs() < 1e14 {
        if number == 0.0 && number.is_sign_negative() {
            out.push(b'-');
        }
        return out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    }
    let text = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let all = all.trim_end_matches('0');
    out.extend_from_slice(sign.as_bytes());
    if exponent < -4 || exponent >= digits as i32 {
        let (first, rest) = all.split_at(all.len().min(1));
        out.extend_from_slice(first.as_bytes());
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest.as_bytes());
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        return out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    }
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        return out.extend_from_slice(all.as_bytes());
    }
    let whole = exponent as usize + 1;
    if all.len() <= whole {
        out.extend_from_slice(all.as_bytes());
        out.extend(std::iter::repeat_n(b'0', whole - all.len()));
    } else {
        out.extend_from_slice(&all.as_bytes()[..whole]);
        out.push(b'.');
        out.extend_from_slice(&all.as_bytes()[whole..]);
    }
}

/// A number as C makes a 64-bit integer of it on the machines that there are: what does not fit becomes the least one.
pub(crate) fn to_i64(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

#[cfg(test)]
mod tests {
    use super::write;

    #[test]
    fn numbers_are_written_as_c_writes_them() {
        let table = [
            (0.1, 17, "0.10000000000000001"),
            (0.1, 14, "0.1"),
            (1.5, 17, "1.5"),
            (100.0, 17, "100"),
            (-0.0, 17, "-0"),
            (12_345_678_901_234_567_890.0, 17, "1.2345678901234567e+19"),
            (1e14, 14, "1e+14"),
            (1e14, 17, "100000000000000"),
            (1e15 + 0.5, 17, "1000000000000000.5"),
            (1e-5, 14, "1e-05"),
            (0.000123, 14, "0.000123"),
            (-2.5e-10, 14, "-2.5e-10"),
            (4.66920160910299, 14, "4.669201609103"),
            (99_999_999_999_999.9, 14, "1e+14"),
            (f64::INFINITY, 17, "inf"),
        ];
        for (number, digits, expected) in table {
            let mut out = Vec::new();
            write(number, digits, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{number}");
        }
    }
}
