//! What commands took, as it is told.

/// Number and durations of calls of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTimes {
    /// Redis' name of it.
    pub name: &'static str,
    pub calls: u64,
    /// Calls whose answer is an error. The shard that has the key may count it, which has read none.
    pub failed: u64,
    /// Requests that were not called.
    pub rejected: u64,
    /// Their shares of the turns in which they were read.
    pub spent_ns: u64,
    /// Upper bound (exclusive, nanoseconds) and count of each bucket of the durations of these turns, ascending; the last bound is
    /// `u64::MAX`.
    pub buckets: Vec<(u64, u64)>,
}

impl CommandTimes {
    pub(super) fn is_any(&self) -> bool {
        self.calls + self.rejected + self.failed > 0
    }

    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &CommandTimes) {
        self.change(other, |own, other| own + other);
    }

    /// What has come since `before`; `None`: nothing.
    pub(crate) fn since(mut self, before: &CommandTimes) -> Option<CommandTimes> {
        self.change(before, u64::saturating_sub);
        self.is_any().then_some(self)
    }

    fn change(&mut self, other: &CommandTimes, change: impl Fn(u64, u64) -> u64) {
        for (own, other) in [
            (&mut self.calls, other.calls),
            (&mut self.failed, other.failed),
            (&mut self.rejected, other.rejected),
            (&mut self.spent_ns, other.spent_ns),
        ] {
            *own = change(*own, other);
        }
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(own, other)| own.1 = change(own.1, other.1));
    }

    /// How many took less than the end of each bucket that is not empty, as Redis tells it: microseconds, rounded down, and the count
    /// up to there.
    pub fn by_microseconds(&self) -> Vec<(u64, u64)> {
        let mut count = 0;
        let filled = self.buckets.iter().filter(|(_, more)| *more > 0);
        filled
            .map(|(end, more)| {
                count += more;
                (end / 1000, count)
            })
            .collect()
    }

    /// Microseconds within which this share of the calls (0 to 1) was done: the end of a bucket.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.calls as f64 * share).ceil() as u64;
        let told = self.by_microseconds();
        told.iter().find(|(_, count)| *count >= wanted).or(told.last()).map_or(0, |(us, _)| *us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_where_they_grow_and_none_is_lost() {
        let mut times = CommandTimes {
            name: "get",
            calls: 100,
            failed: 0,
            rejected: 2,
            spent_ns: 7,
            buckets: vec![(1024, 50), (2048, 0), (4096, 49), (u64::MAX, 1)],
        };
        assert_eq!(times.by_microseconds(), [(1, 50), (4, 99), (u64::MAX / 1000, 100)]);
        assert_eq!([0.5, 0.51, 0.99, 1.0].map(|share| times.percentile(share)), [1, 4, 4, u64::MAX / 1000]);
        let before = times.clone();
        assert_eq!(times.clone().since(&before), None);
        times.add(&before);
        assert_eq!((times.calls, times.buckets[2].1), (200, 98));
        assert_eq!(times.since(&before), Some(before));
    }
}
