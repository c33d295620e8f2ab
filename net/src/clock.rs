//! Time for the worker loop: the one place that reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use torc_engine::command::Millis;

/// Where the loop has its time from.
pub trait Clock {
    /// Nanoseconds since a fixed point; never less than before.
    fn nanos(&self) -> u64;

    /// Milliseconds since the Unix epoch at that moment.
    fn millis_at(&self, nanos: u64) -> Millis;
}

/// The machine's time: the wall clock once, then only the monotone one, so that it never steps back and a
/// step of the wall clock expires nothing. Shards of one server start from one reading.
#[derive(Debug, Clone, Copy)]
pub struct MachineClock {
    start: Instant,
    epoch_ms: Millis,
}

impl MachineClock {
    pub fn new() -> MachineClock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        MachineClock { start: Instant::now(), epoch_ms: since_epoch.as_millis() as Millis }
    }

    pub fn millis(&self) -> Millis {
        self.millis_at(self.nanos())
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        MachineClock::new()
    }
}

impl Clock for MachineClock {
    fn nanos(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn millis_at(&self, nanos: u64) -> Millis {
        self.epoch_ms + nanos / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_starts_at_the_wall_clock_and_never_steps_back() {
        let clock = MachineClock::new();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as Millis;
        let mut before = clock.millis();
        assert!(before.abs_diff(wall) < 60_000);
        for _ in 0..1000 {
            let now = clock.millis();
            assert!(now >= before);
            before = now;
        }
    }
}
