//! Until when somebody elsewhere may read the memory of freed segments.
//!
//! A reader that has a *lease* may read what the index named while it ran, until it ends, though the segment has been freed
//! meanwhile. So a segment that is freed rests until all leases have ended that were given before. Nobody is asked whether he is
//! done, and nobody's word is needed: a lease ends by the clock.
//!
//! Time is the machine's, in milliseconds, and must not step: the shard is told it once a turn. Readers count a lease from before they
//! asked for it, by clocks of their own. Here it ends a little later ([`MARGIN_SHARE`]), as no two clocks run alike.

use std::collections::VecDeque;
use std::fmt::Debug;

/// Makes readers leave at once.
pub trait Revoke: Debug {
    /// Takes the right to read from everybody who has a lease. When it has returned nobody reads any more: a queue pair that
    /// reads is destroyed. The leases are over.
    fn revoke(&mut self);
}

/// How long leases are, and how much may rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLimits {
    /// Length of a lease, milliseconds; 1 to [`LEASE_MS_MAX`].
    pub lease_ms: u64,
    /// Share of the segments that may rest before no lease is given any more, percent; 1 to 50. So much is kept free while there are
    /// leases.
    pub resting_percent: usize,
}

/// No lease is longer, milliseconds.
pub const LEASE_MS_MAX: u64 = 1000;
/// Clocks that differ by one part in so many, or less, agree on leases.
const MARGIN_SHARE: u64 = 128;
/// For so long after a lease was asked for memory is kept free for resting segments, milliseconds.
const ASKED_MS: u64 = 10_000;

impl Default for LeaseLimits {
    fn default() -> LeaseLimits {
        LeaseLimits { lease_ms: LEASE_MS_MAX, resting_percent: 5 }
    }
}

/// The leases that were given.
#[derive(Debug)]
pub(super) struct Leases {
    limits: LeaseLimits,
    readers: Box<dyn Revoke>,
    now: u64,
    /// When the last of them ends.
    end: u64,
    /// When nobody has asked for one for long.
    forgotten: u64,
    /// For the resting segments, in the order in which they were freed: when the leases end that were given before, and of how many
    /// segments one behind the other.
    until: VecDeque<(u64, u32)>,
}

impl Leases {
    pub(super) fn new(limits: LeaseLimits, readers: Box<dyn Revoke>) -> Leases {
        let limits = LeaseLimits {
            lease_ms: limits.lease_ms.clamp(1, LEASE_MS_MAX),
            resting_percent: limits.resting_percent.clamp(1, 50),
        };
        Leases { limits, readers, now: 0, end: 0, forgotten: 0, until: VecDeque::new() }
    }

    /// It is so late; what is earlier than before counts as no time.
    pub(super) fn pass(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    pub(super) fn ask(&mut self) {
        self.forgotten = self.now + ASKED_MS;
    }

    /// Whether one was asked for lately.
    pub(super) fn is_asked(&self) -> bool {
        self.now < self.forgotten
    }

    /// Gives a lease. Returns its length as the reader may count it.
    pub(super) fn give(&mut self) -> u64 {
        let LeaseLimits { lease_ms, .. } = self.limits;
        // One more, as both moments are known to the millisecond.
        self.end = self.end.max(self.now + lease_ms + lease_ms / MARGIN_SHARE + 1);
        lease_ms
    }

    /// Of so many segments.
    pub(super) fn resting_max(&self, segments: usize) -> usize {
        (segments * self.limits.resting_percent / 100).max(1)
    }

    /// A segment is freed: whoever is given a lease from here on finds nothing that leads to it.
    pub(super) fn begin_rest(&mut self) {
        match self.until.back_mut() {
            Some((until, count)) if *until == self.end => *count += 1,
            _ => self.until.push_back((self.end, 1)),
        }
    }

    /// Whether nobody reads the segment any more that has rested longest. It is asked once of each that does not.
    pub(super) fn end_rest(&mut self) -> bool {
        let is_over = |until: u64| until <= self.now;
        #[cfg(test)]
        let is_over = |until| is_over(until) || crate::steps::has(crate::steps::Fault::RestNot);
        let Some((_, count)) = self.until.front_mut().filter(|(until, _)| is_over(*until)) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.until.pop_front();
        }
        true
    }

    /// Sees to it that nobody reads any segment that rests.
    pub(super) fn revoke(&mut self) {
        #[cfg(test)]
        let is_asked = !crate::steps::has(crate::steps::Fault::RevokeNot);
        #[cfg(not(test))]
        let is_asked = true;
        if is_asked {
            self.readers.revoke();
        }
        self.end = self.now;
        self.until.iter_mut().for_each(|(until, _)| *until = self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Revoke for Nobody {
        fn revoke(&mut self) {}
    }

    fn leases(lease_ms: u64) -> Leases {
        Leases::new(LeaseLimits { lease_ms, resting_percent: 5 }, Box::new(Nobody))
    }

    #[test]
    fn a_segment_rests_for_the_leases_that_were_given_before() {
        let mut leases = leases(100);
        leases.pass(1000);
        leases.begin_rest();
        assert!(leases.end_rest() && !leases.end_rest(), "there was none");
        assert_eq!(leases.give(), 100);
        (0..2).for_each(|_| leases.begin_rest());
        leases.pass(1050);
        assert_eq!(leases.give(), 100);
        leases.begin_rest();
        for (now, ends) in [(1100, 0), (1101, 2), (1090, 0), (1150, 0), (1151, 1), (9999, 0)] {
            leases.pass(now);
            assert_eq!((0..9).filter(|_| leases.end_rest()).count(), ends, "at {now}");
        }
    }

    #[test]
    fn a_long_lease_has_a_margin_for_clocks_that_run_at_other_rates() {
        let mut leases = leases(5000);
        assert_eq!(leases.give(), LEASE_MS_MAX);
        leases.begin_rest();
        leases.pass(LEASE_MS_MAX + LEASE_MS_MAX / MARGIN_SHARE);
        assert!(!leases.end_rest());
        leases.pass(LEASE_MS_MAX + LEASE_MS_MAX / MARGIN_SHARE + 1);
        assert!(leases.end_rest());
    }

    #[test]
    fn what_is_revoked_is_over() {
        let mut leases = leases(100);
        leases.give();
        leases.begin_rest();
        leases.revoke();
        assert!(leases.end_rest() && !leases.end_rest());
        leases.begin_rest();
        assert!(leases.end_rest(), "no lease runs");
    }

    #[test]
    fn a_share_of_the_segments_may_rest_and_one_in_any_case() {
        assert_eq!([1, 39, 40, 1000].map(|count| leases(1).resting_max(count)), [1, 1, 2, 50]);
    }
}
