//! When to have the allocator give memory back: it keeps what clients held and freed, and the store cannot use that.

use std::time::{Duration, Instant};

/// Shards wait for the allocator during a call, so calls may take one part in so many of the time.
const TIME_SHARE: u32 = 50;
const EVERY_MAX: Duration = Duration::from_secs(64);

/// Watches the memory that no account knows of.
pub(super) struct Trimmer {
    /// What makes a call worth while.
    worth_bytes: i64,
    /// The least unaccounted memory that there ever was, bytes.
    least: i64,
    /// Unaccounted memory at the last call, bytes.
    at_last: i64,
    next: Option<Instant>,
    /// Between two calls, if the last one was of use; after one that was not, twice as long as before.
    every_min: Duration,
    every: Duration,
}

impl Trimmer {
    pub(super) fn new(worth_bytes: i64, every: Duration) -> Trimmer {
        Trimmer { worth_bytes, least: i64::MAX, at_last: i64::MAX, next: None, every_min: every, every }
    }

    /// Calls `trim` if there is so much unaccounted memory that the allocator may keep some of it.
    pub(super) fn look(&mut self, unaccounted: i64, now: Instant, trim: impl FnOnce()) {
        self.least = self.least.min(unaccounted);
        if unaccounted - self.least <= self.worth_bytes || self.next.is_some_and(|next| now < next) {
            return;
        }
        let changed = self.at_last.abs_diff(unaccounted) > self.worth_bytes.unsigned_abs();
        self.every = if changed { self.every_min } else { EVERY_MAX.min(2 * self.every) };
        let start = Instant::now();
        trim();
        (self.at_last, self.next) = (unaccounted, Some(now + self.every.max(TIME_SHARE * start.elapsed())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often one is called in a minute while so much is unaccounted for, at each second.
    fn calls(trimmer: &mut Trimmer, start: Instant, unaccounted: impl Fn(u64) -> i64) -> usize {
        let mut calls = 0;
        for second in 0..60 {
            trimmer.look(unaccounted(second), start + Duration::from_secs(second), || calls += 1);
        }
        calls
    }

    #[test]
    fn what_the_allocator_keeps_is_called_for_again_and_again_if_that_helps_and_seldom_if_not() {
        let start = Instant::now();
        let mut trimmer = Trimmer::new(100, Duration::from_millis(500));
        assert_eq!(calls(&mut trimmer, start, |second| 1000 + second as i64), 0);
        let later = start + Duration::from_secs(100);
        let many = calls(&mut trimmer, later, |second| if second % 2 == 0 { 5000 } else { 4000 });
        assert!(many >= 50, "{many}");
        let few = calls(&mut trimmer, later + Duration::from_secs(100), |_| 5000);
        assert!((1..=8).contains(&few), "{few}");
    }
}
