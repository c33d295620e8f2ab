//! Keeps the process to its memory: tells the shards again and again what it has resident.

use super::running::Running;
use super::trimmer::Trimmer;
use crate::machine::{self, Resident};
use std::time::{Duration, Instant};

/// With less memory than this the allocator keeps little: long buffers become slower, but the process stays within it.
pub(super) const SMALL_MEMORY_BYTES: u64 = 64 << 20;
/// Between two looks at what the process has resident.
const EVERY: Duration = Duration::from_millis(25);
/// The same while resident memory grows fast or the memory is small, and while nothing happens.
const SOON: Duration = Duration::from_millis(5);
const CALM: Duration = Duration::from_millis(100);
/// Fewer turns of all shards within [`CALM`] are calm. Within less time they are not: a shard that has much to do, or few CPU to do it with,
/// takes long turns.
const CALM_TURNS: u64 = 4;
/// Least time between two calls that have the allocator give memory back, and the same if the memory is small.
const TRIM_EVERY: Duration = Duration::from_millis(500);
const TRIM_SOON: Duration = Duration::from_millis(20);
/// Share of the memory that the allocator has to keep for a call for it to be worth while.
const TRIM_SHARE: i64 = 64;

/// Keeps the process to its memory until `stop`.
pub(super) async fn until(server: &Running, stop: impl Future<Output = ()>) {
    let resident = Resident::of_this_process();
    let worth_bytes = server.memory_bytes() as i64 / TRIM_SHARE;
    let small = server.memory_bytes() < SMALL_MEMORY_BYTES;
    let mut trimmer = Trimmer::new(worth_bytes, if small { TRIM_SOON } else { TRIM_EVERY });
    let (mut unaccounted_before, mut pace) = (0, Pace::new(small, Instant::now()));
    let mut stop = std::pin::pin!(stop);
    let mut every = EVERY;
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(every) => {}
        }
        let unaccounted = server.balance_memory(resident.bytes());
        trimmer.look(unaccounted, Instant::now(), machine::trim_allocator);
        let grows = unaccounted - unaccounted_before > worth_bytes;
        every = pace.next(grows, server.turns(), Instant::now());
        unaccounted_before = unaccounted;
    }
}

/// How long it is to the next look.
struct Pace {
    small: bool,
    /// Since when turns are counted, and how many there had been.
    since: Instant,
    turns: u64,
    is_calm: bool,
}

impl Pace {
    /// `small`: the memory is.
    fn new(small: bool, now: Instant) -> Pace {
        Pace { small, since: now, turns: 0, is_calm: false }
    }

    /// `grows`: unaccounted memory has grown much since the last look; `turns`: of all shards since the start.
    fn next(&mut self, grows: bool, turns: u64, now: Instant) -> Duration {
        let is_busy = turns - self.turns >= CALM_TURNS;
        if is_busy || now - self.since >= CALM {
            (self.since, self.turns, self.is_calm) = (now, turns, !is_busy);
        }
        match (grows, self.is_calm) {
            (true, _) => SOON,
            (false, true) => CALM,
            (false, false) if self.small => SOON,
            (false, false) => EVERY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a server is looked at in a second whose shards end a turn every so many milliseconds.
    fn looks(small: bool, turn_ms: u64) -> usize {
        let start = Instant::now();
        let (mut pace, mut now, mut looks) = (Pace::new(small, start), start, 0);
        while now < start + Duration::from_secs(1) {
            now += pace.next(false, (now - start).as_millis() as u64 / turn_ms, now);
            looks += 1;
        }
        looks
    }

    #[test]
    fn a_shard_whose_turns_are_long_is_looked_at_as_often_as_one_whose_turns_are_short() {
        for turn_ms in [1, 2, 5, 20] {
            assert_eq!((looks(true, turn_ms), looks(false, turn_ms)), (200, 40), "turns of {turn_ms} ms");
        }
    }

    #[test]
    fn a_calm_one_is_looked_at_seldom_and_one_that_grows_soon() {
        for small in [true, false] {
            let looks = looks(small, 60);
            assert!((10..40).contains(&looks), "{looks}");
        }
        let now = Instant::now();
        let mut pace = Pace::new(false, now);
        assert_eq!(pace.next(false, 0, now + CALM), CALM);
        assert_eq!(pace.next(true, 0, now + 2 * CALM), SOON);
        assert_eq!(pace.next(false, CALM_TURNS, now + 2 * CALM + SOON), EVERY, "it is calm no more");
    }
}
