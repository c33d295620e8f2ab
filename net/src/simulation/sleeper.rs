//! A worker that sleeps where a real one would wait, and what is looked at after each of its turns.

use crate::clock::Clock;
use crate::transport::sim::Sim;
use crate::worker::Worker;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use torc_engine::command::Millis;

#[derive(Debug, Clone)]
pub(crate) struct SimClock(pub(crate) Rc<Cell<Millis>>);

impl Clock for SimClock {
    fn nanos(&self) -> u64 {
        self.0.get() * 1_000_000
    }

    fn millis_at(&self, nanos: u64) -> Millis {
        nanos / 1_000_000
    }
}

/// A wait of a second or more is so many times longer here: nothing may depend on the idle tick.
const TICK_STRETCH: u32 = 10_000;
/// What clients may hold falls by one byte in so many a turn.
const ALLOWED_SHARE: usize = 32;
/// Turns in which the store gives back what clients need, at most.
const OVERDUE_TURNS_MAX: u32 = 50;

/// A worker and its sleep.
pub(super) struct Sleeper {
    pub(super) worker: Worker<Sim, SimClock>,
    wait: Duration,
    /// When its wait is over; `None`: it does not wait.
    pub(super) until: Option<Millis>,
    /// What clients may hold, bytes: it falls slower than what is granted, as they need some turns to follow.
    allowed: usize,
    /// Turns for which the store has kept memory that it had to give back.
    overdue_turns: u32,
    /// The least that was left to the store, bytes.
    store_bytes: u64,
    /// Times at which turns ended, each with the count of changes so far: those that are not all safe.
    unsafe_since: VecDeque<(Millis, u64)>,
    counted: u64,
}

impl Sleeper {
    pub(super) fn new(worker: Worker<Sim, SimClock>) -> Sleeper {
        Sleeper {
            worker,
            wait: Duration::ZERO,
            until: None,
            allowed: 0,
            overdue_turns: 0,
            store_bytes: u64::MAX,
            unsafe_since: VecDeque::new(),
            counted: 0,
        }
    }

    /// Turns the worker unless it sleeps.
    pub(super) fn look(&mut self, now: Millis) -> Result<(), String> {
        if self.until.is_some_and(|until| now < until) && !self.worker.transport().wakes() {
            return Ok(());
        }
        self.worker.turn(self.wait).map_err(|error| error.to_string())?;
        self.worker.turn_has_ended()?;
        self.count_changes(now);
        self.worker.state().shares_are_kept()?;
        let falling = self.allowed - self.allowed / ALLOWED_SHARE;
        self.allowed = self.worker.state().budget_is_kept(falling)?.max(falling);
        self.lent_memory_comes_back()?;
        self.store_bytes = self.store_bytes.min(self.worker.state().bytes_left_to_store());
        self.wait = self.worker.patience();
        let stretch = if self.wait >= Duration::from_secs(1) { TICK_STRETCH } else { 1 };
        let sleeps = !self.wait.is_zero();
        self.until = sleeps.then(|| now + (self.wait * stretch).as_millis() as Millis);
        Ok(())
    }

    /// Turns the worker, whether it sleeps or not, as its idle tick does.
    pub(super) fn tick(&mut self) -> Result<(), String> {
        // One that spins learns here that its time is over.
        let wait = self.worker.patience();
        self.worker.turn(wait).map_err(|error| error.to_string())
    }

    /// Notes when what had changed.
    fn count_changes(&mut self, now: Millis) {
        let Some((changes, saved)) = self.worker.state().changes_and_saved() else { return };
        if changes != std::mem::replace(&mut self.counted, changes) {
            self.unsafe_since.push_back((now, changes));
        }
        while self.unsafe_since.front().is_some_and(|(_, changes)| *changes <= saved) {
            self.unsafe_since.pop_front();
        }
    }

    /// When the oldest change was made that is not safe; `now`: all are.
    pub(super) fn safe_up_to(&self, now: Millis) -> Millis {
        self.unsafe_since.front().map_or(now, |(since, _)| since.saturating_sub(1))
    }

    /// The least that was left to the store so far, bytes.
    pub(super) fn store_bytes(&self) -> u64 {
        self.store_bytes
    }

    /// What clients need is taken back from the store in a few turns, but for what is pinned.
    fn lent_memory_comes_back(&mut self) -> Result<(), String> {
        let overdue = self.worker.state().bytes_overdue();
        self.overdue_turns = if overdue > 0 { self.overdue_turns + 1 } else { 0 };
        match self.overdue_turns > OVERDUE_TURNS_MAX {
            true => Err(format!("the store keeps {overdue} bytes that clients need")),
            false => Ok(()),
        }
    }
}
