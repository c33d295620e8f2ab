//! Durations, counted.

use torc_engine::stats::Counter;

/// Sub-buckets for each doubling of a duration.
const LINEAR: u64 = 4;
/// Doublings from 256 ns on.
const DOUBLINGS: usize = 28;
/// Buckets of a histogram, the last one open.
pub const BUCKETS: usize = DOUBLINGS * LINEAR as usize;
const FIRST_SHIFT: u32 = 8;

/// Durations in log-linear buckets: each doubling is cut in four, so a bucket is at most a quarter wide.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_ns: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: std::array::from_fn(|_| Counter::default()), sum_ns: Counter::default() }
    }
}

impl Histogram {
    #[inline]
    pub fn record(&self, ns: u64) {
        self.record_many(ns, 1);
    }

    /// As [`Histogram::record`], for `count` observations of the same duration; none leaves no trace.
    #[inline]
    pub fn record_many(&self, ns: u64, count: u64) {
        if count > 0 {
            self.buckets[bucket_of(ns)].add(count);
            self.sum_ns.add(ns.saturating_mul(count));
        }
    }

    /// Upper bound (exclusive, nanoseconds) and count of each bucket, ascending; the last bound is `u64::MAX`.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(number, count)| (bucket_end(number), count.read()))
    }

    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.read()
    }
}

/// Four buckets for each doubling, from 256 ns on; a shorter duration is in the first.
fn bucket_of(ns: u64) -> usize {
    let Some(doubling) = ns.checked_ilog2().and_then(|log| log.checked_sub(FIRST_SHIFT)) else { return 0 };
    let linear = (ns >> (doubling + FIRST_SHIFT - LINEAR.ilog2())) & (LINEAR - 1);
    (doubling as usize * LINEAR as usize + linear as usize).min(BUCKETS - 1)
}

fn bucket_end(number: usize) -> u64 {
    if number == BUCKETS - 1 {
        return u64::MAX;
    }
    let (doubling, linear) = (number as u32 / LINEAR as u32, number as u64 % LINEAR);
    (LINEAR + linear + 1) << (doubling + FIRST_SHIFT - LINEAR.ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_a_quarter_wide_and_leave_no_gap() {
        let mut start = 0;
        for number in 0..BUCKETS - 1 {
            let end = bucket_end(number);
            assert_eq!((bucket_of(start), bucket_of(end - 1)), (number, number), "bucket {number}");
            assert!(number < LINEAR as usize || (end - start) * LINEAR <= start, "bucket {number}");
            start = end;
        }
        assert_eq!((bucket_of(start), bucket_of(u64::MAX), bucket_of(0)), (BUCKETS - 1, BUCKETS - 1, 0));
    }

    #[test]
    fn many_observations_count_as_often_as_they_are() {
        let histogram = Histogram::default();
        histogram.record_many(1000, 0);
        assert_eq!((histogram.sum_ns(), histogram.buckets().map(|(_, count)| count).sum::<u64>()), (0, 0));
        histogram.record_many(1000, 3);
        histogram.record(500);
        assert_eq!((histogram.sum_ns(), histogram.buckets().map(|(_, count)| count).sum::<u64>()), (3500, 4));
        histogram.record_many(u64::MAX, 2);
        assert_eq!(histogram.buckets().last(), Some((u64::MAX, 2)));
    }
}
