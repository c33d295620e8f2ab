//! Bytes that are read without a reference to them.
//!
//! The memory of a shard's items is made to be read by others while its owner changes it, so no `&[u8]` may ever cover
//! it: a reference promises that nothing beneath it changes. [`Bytes`] is a pointer and a length, and copies.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Bytes in a shard's memory, or any others. They are read by copying, and stay as they are for `'s`.
#[derive(Clone, Copy)]
pub struct Bytes<'s> {
    start: *const u8,
    len: usize,
    life: PhantomData<&'s [u8]>,
}

impl<'s> Bytes<'s> {
    /// # Safety
    /// The bytes from `start` on are initialised, and neither unmapped nor written for `'s`. A byte that others have
    /// written is visible to this thread.
    #[inline]
    pub(crate) unsafe fn new(start: *const u8, len: usize) -> Bytes<'s> {
        Bytes { start, len, life: PhantomData }
    }

    /// All bytes of some words.
    #[inline]
    pub(crate) fn of_words(words: &'s [u64]) -> Bytes<'s> {
        // SAFETY: what the reference promises; any words are bytes.
        unsafe { Bytes::new(words.as_ptr().cast(), size_of_val(words)) }
    }

    #[inline]
    pub fn len(self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Where they begin, for calls that take a pointer and a length, as those of the kernel do.
    #[inline]
    pub fn as_ptr(self) -> *const u8 {
        self.start
    }

    /// A part of them.
    ///
    /// # Panics
    /// If it is not inside.
    #[inline]
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Bytes<'s> {
        assert!(range.start <= range.end && range.end <= self.len, "a slice lies inside its bytes");
        Bytes { start: self.start.wrapping_add(range.start), len: range.end - range.start, ..self }
    }

    /// Those behind the first `start`.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    #[must_use]
    pub fn behind(self, start: usize) -> Bytes<'s> {
        self.slice(start..self.len)
    }

    /// Eight of them as a little-endian number.
    ///
    /// # Panics
    /// If they are not inside.
    #[inline]
    pub fn word(self, at: usize) -> u64 {
        assert!(at <= self.len && self.len - at >= 8, "a word lies inside its bytes");
        // SAFETY: inside (checked), so readable (`new`); any bytes are a number.
        u64::from_le(unsafe { self.start.add(at).cast::<u64>().read_unaligned() })
    }

    /// All of them, one to seven, as a little-endian number.
    ///
    /// # Panics
    /// If there are more, or none.
    #[inline]
    pub(crate) fn number(self) -> u64 {
        assert!((1..8).contains(&self.len), "one to seven bytes are a number");
        let (at, len) = (self.start, self.len);
        // SAFETY: each read lies inside the bytes; where two overlap they agree.
        unsafe {
            if len >= 4 {
                let high = at.add(len - 4).cast::<u32>().read_unaligned();
                let low = at.cast::<u32>().read_unaligned();
                return u64::from(low) | u64::from(high) << ((len - 4) * 8);
            }
            let (first, middle, last) = (*at, *at.add(len / 2), *at.add(len - 1));
            u64::from(first) | u64::from(middle) << (len / 2 * 8) | u64::from(last) << ((len - 1) * 8)
        }
    }

    /// Copies them behind what `out` holds.
    #[inline]
    pub fn append_to(self, out: &mut Vec<u8>) {
        out.reserve(self.len);
        // SAFETY: the source is readable (`new`); `out` has room behind its end (`reserve`), which is its own and so
        // no part of the source, and is initialised by the copy when the length grows.
        unsafe {
            std::ptr::copy_nonoverlapping(self.start, out.as_mut_ptr().add(out.len()), self.len);
            out.set_len(out.len() + self.len);
        }
    }

    /// Copies them to `to`.
    ///
    /// # Panics
    /// If it has another length.
    #[inline]
    pub fn copy_to(self, to: &mut [u8]) {
        assert!(self.len == to.len(), "bytes are copied to as many");
        // SAFETY: the source is readable (`new`), `to` has the same length (checked) and is nobody else's, so no part of it.
        unsafe { std::ptr::copy_nonoverlapping(self.start, to.as_mut_ptr(), self.len) }
    }

    pub fn to_vec(self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(self.len);
        self.append_to(&mut copy);
        copy
    }

    /// Calls `f` with a copy of them, which lies on the stack unless they are longer than 256.
    #[inline]
    pub fn with_copy<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        if self.len > STACK_BYTES {
            return f(&self.to_vec());
        }
        let mut copy = [const { MaybeUninit::<u8>::uninit() }; STACK_BYTES];
        // SAFETY: the source is readable (`new`); the copy has that much room (checked), is nobody else's, and its first
        // `len` bytes are initialised by the copy.
        f(unsafe {
            let start = copy.as_mut_ptr().cast::<u8>();
            std::ptr::copy_nonoverlapping(self.start, start, self.len);
            std::slice::from_raw_parts(start, self.len)
        })
    }
}

/// Longest bytes that are compared here: most keys are no longer, and a call costs more than they do.
const SHORT_BYTES: usize = 32;
/// Longest copy of [`Bytes::with_copy`] on the stack: keys longer than memcached's are rare.
const STACK_BYTES: usize = 256;

impl PartialEq<[u8]> for Bytes<'_> {
    #[inline]
    fn eq(&self, other: &[u8]) -> bool {
        let (start, other_start, len) = (self.start, other.as_ptr(), self.len);
        if len != other.len() {
            return false;
        }
        if !(8..=SHORT_BYTES).contains(&len) {
            // SAFETY: both are readable for their length, which is the same.
            return unsafe { libc::memcmp(start.cast(), other_start.cast(), len) } == 0;
        }
        // SAFETY: called for places with eight bytes behind them, so inside both.
        let is_same = |at: usize| unsafe {
            let word = start.add(at).cast::<u64>().read_unaligned();
            word == other_start.add(at).cast::<u64>().read_unaligned()
        };
        // The last word may overlap the one before.
        (0..len - 8).step_by(8).all(is_same) && is_same(len - 8)
    }
}

impl<'s> From<&'s [u8]> for Bytes<'s> {
    #[inline]
    fn from(bytes: &'s [u8]) -> Bytes<'s> {
        // SAFETY: what the reference promises.
        unsafe { Bytes::new(bytes.as_ptr(), bytes.len()) }
    }
}

impl<'s, const N: usize> From<&'s [u8; N]> for Bytes<'s> {
    #[inline]
    fn from(bytes: &'s [u8; N]) -> Bytes<'s> {
        Bytes::from(&bytes[..])
    }
}

impl Default for Bytes<'_> {
    fn default() -> Self {
        Bytes::from(&[])
    }
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.to_vec().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_copied_compared_and_cut() {
        let all: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let bytes = Bytes::from(&all[..]);
        assert_eq!((bytes.len(), bytes.is_empty(), Bytes::default().is_empty()), (1000, false, true));
        assert!(bytes == all[..] && bytes != all[1..] && bytes.slice(1..1000) == all[1..]);
        for len in 0..40 {
            assert!(bytes.slice(0..len) == all[..len]);
            for at in 0..len {
                let mut other = all[..len].to_vec();
                other[at] ^= 1;
                assert!(bytes.slice(0..len) != other[..], "{len} bytes, another at {at}");
            }
        }
        assert_eq!(bytes.word(3), u64::from_le_bytes([3, 4, 5, 6, 7, 8, 9, 10]));
        for len in 1..8 {
            let mut expected = [0; 8];
            expected[..len].copy_from_slice(&all[..len]);
            assert_eq!(bytes.slice(0..len).number(), u64::from_le_bytes(expected));
        }
        let mut out = b"head".to_vec();
        bytes.slice(7..9).append_to(&mut out);
        assert_eq!(out, b"head\x07\x08");
        let mut copy = [0; 3];
        bytes.slice(7..10).copy_to(&mut copy);
        assert_eq!(copy, [7, 8, 9]);
        for len in [0, 1, STACK_BYTES, STACK_BYTES + 1, 1000] {
            bytes.slice(0..len).with_copy(|copy| assert_eq!(copy, &all[..len]));
        }
        assert_eq!(format!("{:?}", Bytes::from(b"a\n")), r#"b"a\n""#);
    }

    #[test]
    #[should_panic(expected = "inside")]
    fn a_word_beyond_the_end_is_not_read() {
        Bytes::from(b"1234567").word(0);
    }

    #[test]
    #[should_panic(expected = "inside")]
    fn a_slice_beyond_the_end_is_not_made() {
        let _ = Bytes::from(b"1234567").slice(3..8);
    }
}
