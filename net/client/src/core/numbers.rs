//! Numbers of the changes of a session, and the window of those unanswered ([N-ONCE-1], [N-ONCE-3]).

use std::collections::VecDeque;

/// Hands out numbers from 1 on, never one that is W or more above the lowest unanswered.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Number of the front of `answered`.
    first: u64,
    /// From the lowest unanswered number on: whether it is answered.
    answered: VecDeque<bool>,
    /// W, as the server said.
    credit: usize,
}

impl Numbers {
    pub(crate) fn new() -> Numbers {
        Numbers { first: 1, answered: VecDeque::new(), credit: 1 }
    }

    /// The server's W; the smallest of several servers counts.
    pub(crate) fn set_credit(&mut self, credit: u32) {
        self.credit = (credit as usize).max(1);
    }

    /// Whether [`Numbers::take`] would give one.
    pub(crate) fn has_credit(&self) -> bool {
        self.answered.len() < self.credit
    }

    /// The next number, or `None` if the window is full.
    pub(crate) fn take(&mut self) -> Option<u64> {
        if !self.has_credit() {
            return None;
        }
        self.answered.push_back(false);
        Some(self.first + self.answered.len() as u64 - 1)
    }

    /// The change with this number is over, one way or the other.
    pub(crate) fn settle(&mut self, number: u64) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(answered) = index.and_then(|index| self.answered.get_mut(index)) {
            *answered = true;
        }
        while self.answered.front() == Some(&true) {
            self.answered.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [N-ONCE-3]
    #[test]
    fn the_window_moves_with_the_lowest_unanswered() {
        let mut numbers = Numbers::new();
        numbers.set_credit(3);
        assert_eq!(
            [numbers.take(), numbers.take(), numbers.take(), numbers.take()],
            [Some(1), Some(2), Some(3), None]
        );
        numbers.settle(2);
        assert_eq!(numbers.take(), None);
        numbers.settle(1);
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [Some(4), Some(5), None]);
        numbers.settle(1);
        numbers.settle(99);
        assert_eq!(numbers.take(), None);
    }
}
