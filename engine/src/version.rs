//! The version of an item: a hybrid logical clock.
//!
//! ```text
//!   63                                   16 15            0
//!  +---------------------------------------+---------------+
//!  | milliseconds of the Unix epoch, 48 bit| counter, 16   |
//!  +---------------------------------------+---------------+
//! ```
//!
//! Versions of a shard only rise: within a millisecond by the counter, over a clock that steps back by going
//! on from the last one (Kulkarni et al., "Logical Physical Clocks", 2014). A counter that overflows carries
//! into the milliseconds, which is the same rule.

use crate::meta::Millis;

const COUNTER_BITS: u32 = 16;

/// Hands out versions.
#[derive(Debug, Clone, Copy)]
pub struct HybridClock {
    last: u64,
    /// No version above is given while there are others: the clock's time goes no further.
    ceiling: u64,
}

impl Default for HybridClock {
    fn default() -> Self {
        HybridClock { last: 0, ceiling: u64::MAX }
    }
}

impl HybridClock {
    /// A version larger than all before.
    pub fn next(&mut self, now: Millis) -> u64 {
        self.last = (now << COUNTER_BITS).min(self.ceiling).max(self.last + 1);
        self.last
    }

    /// A version that is not lower than any before: larger, unless only one above the ceiling would be.
    pub(crate) fn next_below_ceiling(&mut self, now: Millis) -> u64 {
        if self.is_at_ceiling() { self.last } else { self.next(now) }
    }

    /// Versions up to `version` have been given out before.
    pub(crate) fn start_above(&mut self, version: u64) {
        self.last = self.last.max(version);
    }

    /// The highest version that was given out, or may have been.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn set_ceiling(&mut self, ceiling: u64) {
        self.ceiling = ceiling;
    }

    /// Whether the next version lies above the ceiling.
    pub(crate) fn is_at_ceiling(&self) -> bool {
        self.last >= self.ceiling
    }
}

/// The first version of a millisecond.
pub fn at(millis: Millis) -> u64 {
    millis << COUNTER_BITS
}

/// When a version was made.
pub fn millis(version: u64) -> Millis {
    version >> COUNTER_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_within_a_millisecond_and_over_a_clock_that_steps_back() {
        let mut clock = HybridClock::default();
        let mut last = 0;
        for now in [5, 5, 5, 4, 1, 6, 6] {
            let version = clock.next(now);
            assert!(version > last);
            last = version;
        }
        assert_eq!(millis(last), 6);
    }

    #[test]
    fn a_ceiling_holds_the_time_and_the_counter_goes_on_below_it() {
        let mut clock = HybridClock::default();
        clock.start_above(at(10));
        clock.set_ceiling(at(20));
        assert_eq!((clock.next(5), clock.next(30)), (at(10) + 1, at(20)));
        assert!(clock.is_at_ceiling());
        assert_eq!(clock.next_below_ceiling(30), at(20));
        clock.set_ceiling(at(40));
        assert!(!clock.is_at_ceiling());
        assert_eq!((clock.next(30), clock.next_below_ceiling(30)), (at(30), at(30) + 1));
    }
}
