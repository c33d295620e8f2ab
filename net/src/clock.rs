//! Time for the worker loop: the one place that reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use torc_engine::command::Millis;

/// Where the loop has its time from.
pub trait Clock {
    /// Milliseconds since the Unix epoch; never less than before.
    fn now(&mut self) -> Millis;

    /// Nanoseconds since any fixed point, for durations.
    fn nanos(&self) -> u64;
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
        self.epoch_ms + self.start.elapsed().as_millis() as Millis
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        MachineClock::new()
    }
}

impl Clock for MachineClock {
    fn now(&mut self) -> Millis {
        self.millis()
    }

    fn nanos(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_starts_at_the_wall_clock_and_never_steps_back() {
        let mut clock = MachineClock::new();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as Millis;
        let mut before = clock.now();
        assert!(before.abs_diff(wall) < 60_000);
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= before);
            before = now;
        }
    }
}
