//! What of a turn long commands take.

/// What all of a shard's commands that gather values may do in a turn, about: bytes that are combined, two a word that is compared. Half a
/// millisecond.
const TURN_BYTES: usize = 2 << 20;
/// Each of them may do so much, however many there are.
const LEAST_BYTES: usize = 16 << 10;

/// What is left of a turn. Who comes may take half of it, so that each gets some, in whatever order they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) struct Share(usize);

impl Default for Share {
    fn default() -> Share {
        Share(TURN_BYTES)
    }
}

impl Share {
    /// Bytes that a command may combine.
    pub(super) fn bytes(self) -> usize {
        (self.0 / 2).max(LEAST_BYTES)
    }

    /// Words that it may compare.
    pub(super) fn words(self) -> usize {
        self.bytes() / 2
    }

    /// A command has combined so many bytes.
    pub(super) fn take(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes);
    }

    /// A command has compared so many words.
    pub(super) fn take_words(&mut self, words: usize) {
        self.take(words.saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_gets_some_and_all_together_not_much() {
        let mut share = Share::default();
        let mut all = 0;
        for _ in 0..100 {
            assert!(share.bytes() >= LEAST_BYTES);
            all += share.bytes();
            share.take(share.bytes());
        }
        assert!(all <= TURN_BYTES + 100 * LEAST_BYTES, "{all}");
    }
}
