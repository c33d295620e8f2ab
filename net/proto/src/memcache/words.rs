//! The words of a command line.

/// Splits a line (without its end) at spaces; several spaces count as one.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    #[inline]
    pub fn new(line: &'a [u8]) -> Self {
        Words { rest: line }
    }

    /// What is not split off yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next word, and whether it holds no control character.
    #[inline]
    pub(super) fn checked(&mut self) -> Option<(&'a [u8], bool)> {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let end = plain_bytes(self.rest);
        if self.rest.get(end).is_none_or(|byte| *byte == b' ') {
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some((word, true));
        }
        let end = memchr::memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some((word, false))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.checked().map(|(word, _)| word)
    }
}

/// Whether `word` may be a key as far as its bytes go: not empty, no space, no control character.
pub fn is_key(word: &[u8]) -> bool {
    !word.is_empty() && plain_bytes(word) == word.len()
}

/// How many bytes at the start are neither space nor control character (0x00 to 0x20, 0x7f).
///
/// Eight at a time: a byte below 0x21 borrows into its top bit when 0x21 is subtracted from each, one equal
/// to 0x7f is zero after the exclusive or ("bytes less than n" in Anderson's Bit Twiddling Hacks). A borrow
/// may mark bytes above the first hit wrongly, never below it, and only the first is looked at.
#[inline]
pub(super) fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let low = word.wrapping_sub(ONES * 0x21) & !word;
        let delete = word ^ (ONES * 0x7f);
        let delete = delete.wrapping_sub(ONES) & !delete;
        let hits = (low | delete) & HIGH;
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().position(|byte| *byte <= b' ' || *byte == 0x7f).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spaces_only_separate() {
        let words: Vec<_> = Words::new(b"  get a  b ").collect();
        assert_eq!(words, [&b"get"[..], b"a", b"b"]);
        assert_eq!(Words::new(b"   ").next(), None);
        let mut words = Words::new(b"a\tb c\x01 d");
        assert_eq!(words.checked(), Some((&b"a\tb"[..], false)));
        assert_eq!(words.checked(), Some((&b"c\x01"[..], false)));
        assert_eq!(words.checked(), Some((&b"d"[..], true)));
    }

    proptest! {
        #[test]
        fn plain_bytes_stop_at_the_first_space_or_control(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes
                .iter()
                .position(|byte| byte.is_ascii_control() || *byte == b' ')
                .unwrap_or(bytes.len());
            prop_assert_eq!(plain_bytes(&bytes), expected);
        }

        #[test]
        fn plain_bytes_with_rare_hits(mut bytes in proptest::collection::vec(0x21u8..0x7f, 0..40), at in 0usize..40, hit in 0u8..=0x20) {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = hit;
            }
            prop_assert_eq!(plain_bytes(&bytes), at.min(bytes.len()));
        }
    }
}
