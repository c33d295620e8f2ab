//! Room in a ring of memory that one side fills and the other takes from, each on its own machine.

use crate::note::UNIT;

/// Whose positions both sides keep: the one that fills it, from what it has filled and what was given back; the other from what
/// it was told of. Parts begin at whole units and never go over the end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    bytes: usize,
    /// Where the next part begins.
    at: usize,
    /// Bytes that are used, whole units.
    used: usize,
}

impl Window {
    /// Of so many bytes; of what is no whole unit nothing is used.
    pub(crate) fn new(bytes: usize) -> Window {
        Window { bytes: bytes / UNIT * UNIT, at: 0, used: 0 }
    }

    /// Bytes of which the next part can be, at most.
    pub(crate) fn room(&self) -> usize {
        (self.bytes - self.used).min(self.bytes - self.at)
    }

    /// Units that it has at all.
    pub(crate) fn units(&self) -> usize {
        self.bytes / UNIT
    }

    #[cfg(test)]
    pub(crate) fn used_units(&self) -> usize {
        self.used / UNIT
    }

    /// Whether there can ever be room.
    pub(crate) fn room_ever(&self) -> bool {
        self.bytes > 0
    }

    /// Uses the next `len` bytes; where they begin. `None`: there is not so much room.
    pub(crate) fn claim(&mut self, len: usize) -> Option<usize> {
        if len > self.room() {
            return None;
        }
        let at = self.at;
        let whole = len.next_multiple_of(UNIT);
        self.used += whole;
        self.at = if at + whole == self.bytes { 0 } else { at + whole };
        Some(at)
    }

    /// So many units can be used again; false: they were not in use.
    #[must_use]
    pub(crate) fn give_back(&mut self, units: usize) -> bool {
        match self.used.checked_sub(units * UNIT) {
            Some(used) => {
                self.used = used;
                true
            }
            None => false,
        }
    }
}

/// Units that a part of so many bytes takes.
pub(crate) fn units(len: usize) -> usize {
    len.div_ceil(UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Both sides come to the same places, and no part lies over another that was not given back.
        #[test]
        fn two_sides_agree_and_parts_do_not_overlap(
            bytes in 64usize..4096,
            steps in proptest::collection::vec((1usize..1000, any::<bool>()), 1..200),
        ) {
            let (mut fills, mut takes) = (Window::new(bytes), Window::new(bytes));
            let mut parts = VecDeque::<(usize, usize)>::new();
            for (len, gives) in steps {
                if gives && let Some((_, len)) = parts.pop_front() {
                    prop_assert!(fills.give_back(units(len)) && takes.give_back(units(len)));
                }
                let len = len.min(fills.room());
                if len == 0 {
                    continue;
                }
                let at = fills.claim(len).expect("there is room");
                prop_assert_eq!(takes.claim(len), Some(at));
                prop_assert!(at + len <= bytes);
                for &(other, other_len) in &parts {
                    prop_assert!(at + len <= other || other + other_len <= at);
                }
                parts.push_back((at, len));
            }
        }
    }

    #[test]
    fn what_was_not_used_cannot_be_given_back() {
        let mut window = Window::new(200);
        assert_eq!(window.room(), 192);
        assert_eq!(window.claim(193), None);
        assert_eq!(window.claim(65), Some(0));
        assert!(!window.give_back(3));
        assert!(window.give_back(2) && !window.give_back(1));
        assert_eq!(window.room(), 64, "up to the end");
        assert_eq!((window.claim(64), window.claim(128)), (Some(128), Some(0)));
        assert_eq!((window.room(), window.claim(1), Window::default().room()), (0, None, 0));
    }
}
