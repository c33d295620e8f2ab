//! What commands of a kind took.

use super::histogram::Histogram;

/// Number and durations of commands of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTimes {
    pub name: &'static str,
    pub calls: u64,
    pub sum_ns: u64,
    /// Upper bound (exclusive, nanoseconds) and count of each bucket, ascending; the last bound is `u64::MAX`.
    pub buckets: Vec<(u64, u64)>,
}

impl CommandTimes {
    /// `None`: there was none.
    pub(super) fn of(name: &'static str, times: &Histogram) -> Option<CommandTimes> {
        let buckets: Vec<(u64, u64)> = times.buckets().collect();
        let calls = buckets.iter().map(|(_, count)| count).sum();
        (calls > 0).then(|| CommandTimes { name, calls, sum_ns: times.sum_ns(), buckets })
    }

    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &CommandTimes) {
        self.calls += other.calls;
        self.sum_ns += other.sum_ns;
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(own, other)| own.1 += other.1);
    }

    /// How many took less than each power of two of 1,024 nanoseconds, as Redis tells it: microseconds, rounded down, and the count up to
    /// there; where the count does not grow nothing is told.
    pub fn by_microseconds(&self) -> Vec<(u64, u64)> {
        let mut told: Vec<(u64, u64)> = Vec::new();
        let (mut buckets, mut count) = (self.buckets.iter().peekable(), 0);
        for bound in (10..u64::BITS - 1).map(|power| 1u64 << power) {
            let before = count;
            while let Some((_, more)) = buckets.next_if(|(end, _)| *end <= bound) {
                count += more;
            }
            if count > before {
                told.push((bound / 1000, count));
            }
        }
        let open = buckets.map(|(_, more)| more).sum::<u64>();
        if open > 0 {
            told.push((u64::MAX / 1000, count + open));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_where_they_grow_and_none_is_lost() {
        let histogram = Histogram::default();
        assert_eq!(CommandTimes::of("get", &histogram), None);
        for (ns, count) in [(500, 2), (1023, 1), (1024, 1), (40_000, 3), (u64::MAX, 1)] {
            histogram.record_many(ns, count);
        }
        let mut times = CommandTimes::of("get", &histogram).unwrap();
        assert_eq!(times.calls, 8);
        assert_eq!(times.by_microseconds(), [(1, 3), (2, 4), (65, 7), (u64::MAX / 1000, 8)]);
        times.add(&times.clone());
        assert_eq!(times.by_microseconds()[2], (65, 14));
    }
}
