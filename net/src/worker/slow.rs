//! Requests that take long, and turns that do.
//!
//! The clock is read twice a turn, so what a request took is known to a turn: from the one that read it to the one that answers it. That is
//! enough for requests that wait, and these are looked at where they are answered late anyway. Those of one turn are timed one by one
//! only where that is asked for by a low threshold ([`EXACT_US_MAX`]), or for a while after a turn that was slow as a whole: who was
//! slow once is often slow again, and is found then.

use crate::observed::Observed;
use std::cell::Cell;

/// Up to this threshold each request is timed.
const EXACT_US_MAX: i64 = 1_000;
/// So long each is timed after a slow turn.
const EXACT_AFTER_NS: u64 = 1_000_000_000;

/// Most requests that are kept in so many milliseconds: where all wait, all are slow, and keeping them would make it worse.
const KEPT_MAX: u32 = 128;
const KEPT_MS: u64 = 100;

/// What a shard keeps of it.
#[derive(Debug, Default)]
pub(super) struct Slow {
    /// Nanoseconds from which on a request is slow; none is, if it is the greatest number.
    pub(super) from_ns: u64,
    /// Each request of this turn is timed.
    pub(super) is_exact: bool,
    exact_until_ns: u64,
    /// Since when requests were kept last, and how many.
    kept: Cell<(u64, u32)>,
}

impl Slow {
    #[inline]
    pub(super) fn begin_turn(&mut self, observed: &Observed, now_ns: u64) {
        let us = observed.slower_than_us();
        self.from_ns = u64::try_from(us).map_or(u64::MAX, |us| us.saturating_mul(1000));
        self.is_exact = us >= 0 && (us <= EXACT_US_MAX || now_ns < self.exact_until_ns);
    }

    /// A turn ends at `now_ns`, which took `ns`.
    #[inline]
    pub(super) fn end_turn(&mut self, now_ns: u64, ns: u64) {
        if ns >= self.from_ns && !self.is_exact {
            self.exact_until_ns = now_ns + EXACT_AFTER_NS;
        }
    }

    /// Whether one more may be kept, at this time in milliseconds.
    pub(super) fn may_keep(&self, ms: u64) -> bool {
        let (since, kept) = self.kept.get();
        let (since, kept) = if ms - since < KEPT_MS { (since, kept + 1) } else { (ms, 1) };
        self.kept.set((since, kept.min(KEPT_MAX + 1)));
        kept <= KEPT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_kept_where_all_are_slow() {
        let slow = Slow::default();
        let kept = |ms: u64| (0..1000).filter(|_| slow.may_keep(ms)).count();
        assert_eq!([kept(1000), kept(1099), kept(1100)], [128, 0, 128]);
    }
}
