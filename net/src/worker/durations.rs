//! Durations of requests, without a look at the clock for each: those that began in one turn took equally long.

use crate::metrics::{Histogram, WorkerStats};
use crate::session::Calls;

/// When requests began, until their end is known.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    /// Nanoseconds of a beginning, and how many began then. Neighbours differ; the room is kept.
    begun: Vec<(u64, u64)>,
}

impl Durations {
    /// One request that began at `begun_ns`.
    #[inline]
    pub(crate) fn add(&mut self, begun_ns: u64) {
        self.add_many(begun_ns, 1);
    }

    /// So many requests that began at `begun_ns`.
    #[inline]
    pub(crate) fn add_many(&mut self, begun_ns: u64, requests: u64) {
        match self.begun.last_mut() {
            Some((same_ns, count)) if *same_ns == begun_ns => *count += requests,
            _ => self.begun.push((begun_ns, requests)),
        }
    }

    /// All of them ended at `end_ns`.
    pub(crate) fn record(&mut self, end_ns: u64, histogram: &Histogram) {
        for (begun_ns, count) in self.begun.drain(..) {
            histogram.record_many(end_ns.saturating_sub(begun_ns), count);
        }
    }
}

/// When a turn began, and the requests that it answered.
#[derive(Debug, Default)]
pub(crate) struct TurnTimes {
    /// By the clock's nanoseconds.
    pub(super) began_ns: u64,
    /// Of its time so far what is known, without a look at the clock: nanoseconds that scripts have run whose keys are held.
    pub(super) known_ns: u64,
    /// Requests that this turn read and answered.
    pub(super) answered: u64,
    /// Requests of earlier turns that this one answered.
    pub(super) waited: Durations,
    /// Requests that other shards answered in this turn.
    pub(super) forwarded: Durations,
}

impl TurnTimes {
    /// Records the turn, which took `ns` and has read these.
    pub(super) fn end(&mut self, ns: u64, calls: &Calls, stats: &WorkerStats) {
        stats.turns.add(1);
        stats.turn_time.record(ns);
        stats.end_turn(calls, ns);
        // What was answered goes out with the next system call, which comes at once.
        stats.request_time.record_many(ns, std::mem::take(&mut self.answered));
        self.waited.record(self.began_ns + ns, &stats.request_time);
        self.forwarded.record(self.began_ns, &stats.forwarded_time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_one_turn_are_recorded_together_and_once() {
        let (mut durations, histogram) = (Durations::default(), Histogram::default());
        [100, 100, 400, 400, 400, 100].into_iter().for_each(|begun_ns| durations.add(begun_ns));
        assert_eq!(durations.begun, [(100, 2), (400, 3), (100, 1)]);
        durations.record(1000, &histogram);
        durations.record(2000, &histogram);
        assert_eq!(histogram.sum_ns(), 3 * 900 + 3 * 600);
    }
}
