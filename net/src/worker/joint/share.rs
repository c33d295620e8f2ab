//! What of a turn long commands take.

use super::gather::Gathering;

/// What all of a shard's commands that gather values may do in a turn, about: bytes that are combined or stored, two a word that is
/// compared. Half a millisecond.
const TURN_BYTES: usize = 2 << 20;
/// Each of them may do so much, however many there are.
pub(super) const LEAST_BYTES: usize = 16 << 10;

/// What is left of a turn. Who comes may take half of it, so that each gets some, in whatever order they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) struct Share {
    left: usize,
    /// Counts turns, to tell them apart.
    turn: u32,
}

impl Default for Share {
    fn default() -> Share {
        Share { left: TURN_BYTES, turn: 0 }
    }
}

impl Share {
    /// A turn begins.
    pub(in crate::worker) fn renew(&mut self) {
        (self.left, self.turn) = (TURN_BYTES, self.turn.wrapping_add(1));
    }

    pub(super) fn turn(self) -> u32 {
        self.turn
    }

    /// Nothing is left: who has not begun yet begins in the next turn.
    pub(super) fn is_used_up(self) -> bool {
        self.left == 0
    }

    /// Bytes that a command may combine in this turn, with those that it was charged for in this turn.
    pub(super) fn bytes(self, charged: usize) -> usize {
        (self.left.saturating_add(charged) / 2).max(LEAST_BYTES)
    }

    /// Words that it may compare.
    pub(super) fn words(self) -> isize {
        (self.bytes(0) / 2) as isize
    }

    /// Charges a command for what it has done. Whether it has had its share of the turn.
    pub(super) fn charge(&mut self, gathering: &mut Gathering) -> bool {
        self.take(gathering.charge());
        gathering.charged() >= self.bytes(gathering.charged())
    }

    /// A command has combined or stored so many bytes.
    pub(super) fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// A command has compared so many words.
    pub(super) fn take_words(&mut self, words: isize) {
        self.take(words.unsigned_abs().saturating_mul(2));
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
            assert!(share.bytes(0) >= LEAST_BYTES);
            all += share.bytes(0);
            share.take(share.bytes(0));
        }
        assert!(all <= TURN_BYTES + 100 * LEAST_BYTES, "{all}");
        assert!(share.is_used_up());
        let turn = share.turn();
        share.renew();
        assert!(!share.is_used_up() && share.turn() != turn);
    }

    /// Whether it is charged at once or piece by piece.
    #[test]
    fn a_command_gets_half_of_what_is_left() {
        let (mut share, mut charged) = (Share::default(), 0);
        while charged < share.bytes(charged) {
            share.take(1000);
            charged += 1000;
        }
        assert!(charged.abs_diff(TURN_BYTES / 2) <= 1000, "{charged}");
    }
}
