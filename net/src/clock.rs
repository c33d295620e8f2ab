//! Time for the worker loop: the one place that reads clocks.
//!
//! A server has one time, that of all its shards. It runs with the time since the machine's start, in which a suspended
//! machine's sleep counts (`CLOCK_BOOTTIME`), and it follows the wall clock forward: when that is ahead (a late step of NTP,
//! a virtual machine that was paused), the server's time goes ahead with it, for all shards at once. When the wall clock is
//! behind, the server's time runs on: it never goes back, as versions and expiries of items must not.
//!
//! Processes that read the shards' memory have the same time, by the [words](ClockWords) that it is made of.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use torc_engine::Shard;
use torc_engine::command::Millis;
use torc_engine::mapped::ClockWords;

/// Where the loop has its time from.
pub trait Clock {
    /// Nanoseconds since a fixed point; never less than before.
    fn nanos(&self) -> u64;

    /// Milliseconds since the Unix epoch at that moment; never less than at an earlier one.
    fn millis_at(&self, nanos: u64) -> Millis;

    /// Milliseconds since the Unix epoch now.
    fn millis(&self) -> Millis {
        self.millis_at(self.nanos())
    }
}

/// What a clock is made from; tests have their own.
pub trait Readings {
    /// Nanoseconds since a fixed point, sleep included; never less than before.
    fn since_boot(&self) -> u64;

    /// Nanoseconds since the Unix epoch, by the wall clock.
    fn wall(&self) -> u64;
}

/// The kernel's clocks; reading one is no system call where the kernel maps them.
#[derive(Debug, Clone, Copy)]
pub struct Kernel;

impl Readings for Kernel {
    fn since_boot(&self) -> u64 {
        read(libc::CLOCK_BOOTTIME)
    }

    fn wall(&self) -> u64 {
        read(libc::CLOCK_REALTIME)
    }
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; the call writes nothing else. Both clocks are there since Linux 2.6.39.
    unsafe { libc::clock_gettime(clock, &mut time) };
    // A wall clock before the epoch counts as the epoch.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// The time of a server; a clone for each shard shows the same.
#[derive(Debug, Clone)]
pub struct MachineClock<R = Kernel> {
    readings: R,
    start_ns: u64,
    wall: Arc<Wall>,
}

/// What all clones know of the wall clock.
#[derive(Debug)]
pub(crate) struct Wall {
    /// Among them when the clock began, which rises when the wall clock turns out to be ahead.
    words: ClockWords,
    /// When somebody should look at the wall clock again, by the clock's nanoseconds.
    look_ns: AtomicU64,
}

/// The wall clock is looked at so often, by one shard for all. A shard that has slept longer looks before it does anything.
const LOOK_EVERY_NS: u64 = 100_000_000;
/// The wall clock is not followed to an earlier run's time that is so far ahead, milliseconds: an hour.
pub(crate) const BEHIND_MAX_MS: Millis = 3_600_000;
/// A step of the wall clock of so much is logged.
const STEP_LOGGED_NS: u64 = 1_000_000_000;

impl MachineClock {
    pub fn new() -> MachineClock {
        MachineClock::over(Kernel, ClockWords::private())
    }

    /// One that other processes may have, too.
    ///
    /// # Errors
    /// No memory, no file descriptor.
    pub fn shared() -> io::Result<MachineClock> {
        Ok(MachineClock::over(Kernel, ClockWords::shared()?))
    }

    /// Shows in a shard's memory when the clock began, for readers elsewhere ([`torc_engine::remote`]).
    pub fn show_in(&self, shard: &Shard) {
        self.wall.words.show_in(shard);
    }

    /// A descriptor by which another process has this time ([`torc_engine::mapped::MappedClock`]); `None` if the clock is not
    /// [shared](MachineClock::shared).
    ///
    /// # Errors
    /// Those of `open`.
    pub fn to_read(&self) -> io::Result<Option<OwnedFd>> {
        self.wall.words.to_read()
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        MachineClock::new()
    }
}

impl<R: Readings> MachineClock<R> {
    fn over(readings: R, words: ClockWords) -> MachineClock<R> {
        let began = readings.wall();
        let start_ns = readings.since_boot();
        words.started().store(start_ns, Relaxed);
        MachineClock { readings, start_ns, wall: Arc::new(Wall::of(words, began)) }
    }

    pub(crate) fn wall(&self) -> Arc<Wall> {
        self.wall.clone()
    }

    /// An earlier run had come to this time, so what was over then stays over: the clock goes on from there, if it is behind.
    /// One that is behind by [`BEHIND_MAX_MS`] or more does not: nobody knows which of the two is right. Returns by how much it
    /// was behind, milliseconds.
    pub(crate) fn go_on_from(&self, time: Millis) -> Millis {
        let behind = time.saturating_sub(self.millis());
        if behind < BEHIND_MAX_MS {
            self.wall.words.raise(self.wall.words.began() + behind * 1_000_000);
        }
        behind
    }

    #[cold]
    fn look(&self, nanos: u64) {
        // Relaxed, here and elsewhere: each of the two numbers stands for itself, and a turn later is soon enough.
        let looked = self.wall.look_ns.fetch_max(nanos.saturating_add(LOOK_EVERY_NS), Relaxed);
        if looked > nanos {
            return;
        }
        // In this order: a pause between the two makes the wall clock seem late, never ahead.
        let wall = self.readings.wall();
        self.wall.follow(wall, self.nanos());
    }
}

impl<R: Readings> Clock for MachineClock<R> {
    #[inline]
    fn nanos(&self) -> u64 {
        self.readings.since_boot().saturating_sub(self.start_ns)
    }

    #[inline]
    fn millis_at(&self, nanos: u64) -> Millis {
        if nanos >= self.wall.look_ns.load(Relaxed) {
            self.look(nanos);
        }
        self.wall.words.began().saturating_add(nanos) / 1_000_000
    }
}

impl Wall {
    #[cfg(test)]
    pub(crate) fn new(began_ns: u64) -> Wall {
        Wall::of(ClockWords::private(), began_ns)
    }

    fn of(words: ClockWords, began_ns: u64) -> Wall {
        words.raise(began_ns);
        Wall { words, look_ns: LOOK_EVERY_NS.into() }
    }

    /// When the clock began: a step of the wall clock moves it, so that the time since then stays what it is.
    pub(crate) fn began(&self) -> Millis {
        self.words.began() / 1_000_000
    }

    fn follow(&self, wall: u64, nanos: u64) {
        let began = wall.saturating_sub(nanos);
        let before = self.words.raise(began);
        let ahead = began.saturating_sub(before);
        if ahead >= STEP_LOGGED_NS {
            tracing::warn!("the wall clock went ahead by {} s: followed", ahead / STEP_LOGGED_NS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use torc_engine::mapped::MappedClock;

    const SECOND: u64 = 1_000_000_000;
    const EPOCH: u64 = 1_700_000_000 * SECOND;

    /// Clocks of a machine that a test turns.
    #[derive(Debug, Clone, Default)]
    struct Hands {
        boot: Rc<Cell<u64>>,
        wall: Rc<Cell<u64>>,
        /// The machine stands still for so long between the readings of one look.
        pause: Rc<Cell<u64>>,
    }

    impl Hands {
        fn pass(&self, ns: u64) {
            self.boot.set(self.boot.get() + ns);
            self.wall.set(self.wall.get() + ns);
        }
    }

    impl Readings for Hands {
        fn since_boot(&self) -> u64 {
            self.boot.get()
        }

        fn wall(&self) -> u64 {
            let wall = self.wall.get();
            self.pass(self.pause.get());
            wall
        }
    }

    fn clock() -> (Hands, MachineClock<Hands>) {
        let hands = Hands::default();
        hands.boot.set(5 * SECOND);
        hands.wall.set(EPOCH);
        (hands.clone(), MachineClock::over(hands, ClockWords::private()))
    }

    #[test]
    fn the_time_of_an_earlier_run_is_gone_on_from_unless_it_is_far_ahead() {
        let (hands, clock) = clock();
        let start = EPOCH / 1_000_000;
        assert_eq!(clock.go_on_from(start - 1), 0);
        assert_eq!(clock.millis(), start);
        assert_eq!(clock.go_on_from(start + 5_000), 5_000);
        hands.pass(SECOND);
        assert_eq!(clock.millis(), start + 6_000);
        assert_eq!(clock.go_on_from(start + 6_000 + BEHIND_MAX_MS), BEHIND_MAX_MS);
        assert_eq!(clock.millis(), start + 6_000);
    }

    #[test]
    fn a_step_of_the_wall_clock_forward_is_followed_by_all_shards() {
        let (hands, clock) = clock();
        let other = clock.clone();
        assert_eq!(clock.millis(), EPOCH / 1_000_000);
        hands.wall.set(EPOCH + 3600 * SECOND);
        hands.pass(LOOK_EVERY_NS);
        let ahead = (EPOCH + 3600 * SECOND + LOOK_EVERY_NS) / 1_000_000;
        assert_eq!((clock.millis(), other.millis()), (ahead, ahead));
        // What has passed since the start is not an hour more.
        assert_eq!(clock.millis() - clock.wall().began(), LOOK_EVERY_NS / 1_000_000);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_does_not_take_time_back() {
        let (hands, clock) = clock();
        hands.wall.set(EPOCH - 3600 * SECOND);
        let mut before = clock.millis();
        for _ in 0..100 {
            hands.pass(SECOND);
            assert_eq!(clock.millis(), before + 1000);
            before += 1000;
        }
        // Back again, and a little more: from there on it is followed.
        hands.wall.set(EPOCH + 101 * SECOND);
        hands.pass(LOOK_EVERY_NS);
        assert_eq!(clock.millis(), before + 1000 + LOOK_EVERY_NS / 1_000_000);
    }

    #[test]
    fn the_wall_clock_is_looked_at_now_and_then_only() {
        let (hands, clock) = clock();
        hands.wall.set(EPOCH + SECOND);
        hands.pass(LOOK_EVERY_NS - 1);
        assert_eq!(clock.millis(), (EPOCH + LOOK_EVERY_NS - 1) / 1_000_000);
        hands.pass(1);
        assert_eq!(clock.millis(), (EPOCH + SECOND + LOOK_EVERY_NS) / 1_000_000);
    }

    /// Read in the other order, a process that is stopped between the two readings would be ahead ever after.
    #[test]
    fn a_pause_within_a_look_does_not_put_the_time_ahead() {
        let (hands, clock) = clock();
        hands.pause.set(10 * SECOND);
        for _ in 0..5 {
            hands.pass(LOOK_EVERY_NS);
            clock.millis();
            assert!(clock.millis() <= hands.wall.get() / 1_000_000);
        }
    }

    #[test]
    fn clocks_that_read_nonsense_do_not_overflow() {
        let (hands, clock) = clock();
        hands.wall.set(u64::MAX);
        hands.boot.set(u64::MAX / 2);
        assert!(clock.millis() >= EPOCH / 1_000_000);
    }

    #[test]
    fn another_process_has_the_same_time_and_an_earlier_run_is_gone_on_from_there_too() {
        let server = MachineClock::shared().unwrap();
        let reader = MappedClock::open(server.to_read().unwrap().unwrap()).unwrap();
        for behind in [0, 5_000] {
            server.go_on_from(server.millis() + behind);
            let (before, read, after) = (server.millis(), reader.now(), server.millis());
            assert!((before..=after).contains(&read), "{before} {read} {after}");
        }
        assert!(MachineClock::new().to_read().unwrap().is_none());
    }

    #[test]
    fn the_clock_starts_at_the_wall_clock_and_never_steps_back() {
        let clock = MachineClock::new();
        let mut before = clock.millis();
        assert!(before.abs_diff(Kernel.wall() / 1_000_000) < 60_000);
        for _ in 0..1000 {
            let now = clock.millis();
            assert!(now >= before);
            before = now;
        }
    }
}
