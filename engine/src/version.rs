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
#[derive(Debug, Clone, Copy, Default)]
pub struct HybridClock {
    last: u64,
}

impl HybridClock {
    /// A version larger than all before.
    pub fn next(&mut self, now: Millis) -> u64 {
        self.last = (now << COUNTER_BITS).max(self.last + 1);
        self.last
    }
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
}
