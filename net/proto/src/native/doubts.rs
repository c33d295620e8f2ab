//! The value of a doubts request (`docs/protocol.md`, [N-SHM-16]): reads that a client tried itself, and asked for in the end.

use super::Invalid;

/// Why a client asked, in the order of the value's words.
pub const CAUSES: [&str; 12] = [
    "index",
    "gone",
    "long",
    "elsewhere",
    "flush",
    "lease",
    "recovery",
    "order",
    "expiry",
    "epoch",
    "late",
    "unregistered",
];

/// So many of [`CAUSES`], the first, are checks that failed, as something was changing.
pub const FAILED_CHECKS: usize = 2;

/// Most words of a value: those of later causes are passed over.
pub const WORDS_MAX: usize = 64;

/// How many reads a client has asked for since it told last, by [`CAUSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubts(pub [u64; CAUSES.len()]);

impl Doubts {
    /// Reads a value. Words that are missing are zeros.
    ///
    /// # Errors
    /// It is not made of whole words, or longer than [`WORDS_MAX`] of them.
    pub fn parse(value: &[u8]) -> Result<Doubts, Invalid> {
        let (words, rest) = value.as_chunks::<8>();
        if !rest.is_empty() || words.len() > WORDS_MAX {
            return Err(Invalid::Layout);
        }
        let mut doubts = Doubts::default();
        for (count, word) in doubts.0.iter_mut().zip(words) {
            *count = u64::from_le_bytes(*word);
        }
        Ok(doubts)
    }

    /// Appends a value.
    pub fn compose(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubts_survive_the_wire_and_may_be_shorter_or_longer() {
        let doubts = Doubts([1, u64::MAX, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let mut bytes = Vec::new();
        doubts.compose(&mut bytes);
        assert_eq!(Doubts::parse(&bytes), Ok(doubts));
        assert_eq!(Doubts::parse(&bytes[..16]), Ok(Doubts([1, u64::MAX, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])));
        assert_eq!(Doubts::parse(&[]), Ok(Doubts::default()));
        bytes.resize(8 * WORDS_MAX, 0xEE);
        assert_eq!(Doubts::parse(&bytes), Ok(doubts));
        bytes.extend_from_slice(&[0; 8]);
        for wrong in [&bytes[..], &bytes[..15]] {
            assert!(Doubts::parse(wrong).is_err());
        }
    }
}
