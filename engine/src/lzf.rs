//! Values packed with LZF, as Redis' DUMP has them.
//!
//! ```text
//! 000LLLLL                      L + 1 bytes follow as they are
//! LLLooooo oooooooo             L + 2 bytes (L below 7) from o + 1 bytes before
//! 111ooooo LLLLLLLL oooooooo    L + 9 bytes from there
//! ```

/// Unpacks bytes that come to `len` exactly. `None`: they do not.
pub(crate) fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    // What each byte can come to bounds the memory that is taken for a length that is not true.
    let mut out = Vec::with_capacity(len.min(packed.len().saturating_mul(BYTES_FROM_ONE)));
    let mut rest = packed;
    while let Some((&control, behind)) = rest.split_first() {
        rest = behind;
        let control = usize::from(control);
        if control < 32 {
            let (plain, behind) = rest.split_at_checked(control + 1)?;
            if out.len() + plain.len() > len {
                return None;
            }
            out.extend_from_slice(plain);
            rest = behind;
            continue;
        }
        let mut count = (control >> 5) + 2;
        if control >> 5 == 7 {
            let (&more, behind) = rest.split_first()?;
            count += usize::from(more);
            rest = behind;
        }
        let (&low, behind) = rest.split_first()?;
        rest = behind;
        let from = out.len().checked_sub(((control & 31) << 8 | usize::from(low)) + 1)?;
        if out.len() + count > len {
            return None;
        }
        // It may reach into what it makes.
        for at in from..from + count {
            out.push(out[at]);
        }
    }
    (out.len() == len).then_some(out)
}

/// Three bytes stand for 264 at most.
const BYTES_FROM_ONE: usize = 88;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        // "abc", then 9 bytes from 3 before, then 20 from 1 before.
        let packed = [2, b'a', b'b', b'c', 0xE0, 0, 2, 0xE0, 11, 0];
        let expected = [&b"abcabcabcabc"[..], &[b'c'; 20]].concat();
        assert_eq!(unpack(&packed, 32), Some(expected));
        assert_eq!(unpack(&[], 0), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_packed_value_is_refused() {
        let bad: [&[u8]; 6] =
            [&[5, b'a'], &[0x20], &[0x20, 0], &[0xE0, 0], &[0, b'a', 0x20, 1], &[1, b'a', b'b', 0x20]];
        for packed in bad {
            for len in 0..10 {
                assert_eq!(unpack(packed, len), None, "{packed:?}");
            }
        }
        let packed = [2, b'a', b'b', b'c', 0x20, 2];
        assert_eq!(unpack(&packed, 6).as_deref(), Some(&b"abcabc"[..]));
        assert!(
            unpack(&packed, 5).is_none()
                && unpack(&packed, 7).is_none()
                && unpack(&packed, usize::MAX).is_none()
        );
    }
}
