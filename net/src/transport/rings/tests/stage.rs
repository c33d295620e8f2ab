//! Threads of which one acts at a time: which, and up to which of its steps, a seed decides. So one seed is one course of events.
//!
//! An actor steps before every access to words that it shares with another ([`torc_shm::steps`]), where another may go on in its
//! place, and sleeps until what it waits for is there. If all sleep, and none waits only for time to pass, the play is stuck: somebody
//! was not woken.

use crate::transport::sim::Random;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use torc_shm::steps::{Step, at_each};

/// Steps after which a play goes round in circles.
const STEPS_MAX: u64 = 200_000;

enum Actor {
    Ready,
    /// Until this is true. `thinks`: or until nobody else can act.
    Asleep {
        is_woken: Box<dyn Fn() -> bool + Send>,
        thinks: bool,
    },
    Over,
}

struct State {
    random: Random,
    actors: Vec<Actor>,
    acts: usize,
    /// Chance in percent that another goes on before a load, a store, a fence, a bell.
    chances: [u32; 4],
    steps: u64,
    /// Why nobody acts any more.
    ended: Option<String>,
}

pub(super) struct Stage {
    state: Mutex<State>,
    changed: Condvar,
}

/// What an actor is unwound with when another has ended the play.
struct Ended;

impl Stage {
    pub(super) fn new(seed: u64, actors: usize) -> Arc<Stage> {
        let mut random = Random::new(seed);
        // Where the two sides meet differs from run to run: a window of one step is hit only if most others are passed.
        let chances = [(); 4].map(|()| [0, 2, 20, 60][random.below(4)]);
        let actors = (0..actors).map(|_| Actor::Ready).collect();
        let state = State { random, actors, acts: 0, chances, steps: 0, ended: None };
        Arc::new(Stage { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Plays a part on this thread. The first actor begins.
    pub(super) fn play(self: &Arc<Stage>, me: usize, part: impl FnOnce()) {
        let stage = self.clone();
        let played = catch_unwind(AssertUnwindSafe(|| {
            drop(self.wait_for_turn(self.lock(), me));
            at_each(Some(Box::new(move |step| stage.step(me, step))));
            part();
        }));
        at_each(None);
        let mut state = self.lock();
        state.actors[me] = Actor::Over;
        match played {
            Err(panic) if !panic.is::<Ended>() => state.end(format!("actor {me}: {}", words(&*panic))),
            _ if state.actors.iter().all(|actor| matches!(actor, Actor::Over)) => {}
            _ => state.pass_on(),
        }
        self.changed.notify_all();
    }

    /// Why the play ended, if not by everybody's end.
    pub(super) fn outcome(&self) -> Result<u64, String> {
        let state = self.lock();
        state.ended.clone().map_or(Ok(state.steps), Err)
    }

    /// Waits until `is_woken`, which another's act brings about.
    pub(super) fn sleep(&self, me: usize, is_woken: impl Fn() -> bool + Send + 'static) {
        self.wait(me, Actor::Asleep { is_woken: Box::new(is_woken), thinks: false });
    }

    /// Lets others act until `is_woken`, or until they cannot go on.
    pub(super) fn think(&self, me: usize, is_woken: impl Fn() -> bool + Send + 'static) {
        self.wait(me, Actor::Asleep { is_woken: Box::new(is_woken), thinks: true });
    }

    fn wait(&self, me: usize, how: Actor) {
        let mut state = self.lock();
        state.actors[me] = how;
        state.pass_on();
        self.changed.notify_all();
        let mut state = self.wait_for_turn(state, me);
        state.actors[me] = Actor::Ready;
    }

    fn step(&self, me: usize, step: Step) {
        let mut state = self.lock();
        state.steps += 1;
        if state.steps > STEPS_MAX {
            state.end("it goes on for ever".into());
        }
        let chance = state.chances[step as usize];
        if state.ended.is_none() && !state.random.chance(chance) {
            return;
        }
        state.pass_on();
        self.changed.notify_all();
        drop(self.wait_for_turn(state, me));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_turn<'s>(&self, state: MutexGuard<'s, State>, me: usize) -> MutexGuard<'s, State> {
        let waited = self.changed.wait_while(state, |state| state.ended.is_none() && state.acts != me);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ended.is_some() {
            drop(state);
            resume_unwind(Box::new(Ended));
        }
        state
    }
}

impl State {
    fn end(&mut self, why: String) {
        self.ended.get_or_insert(why);
    }

    /// Chooses who acts next, which may be who acts now.
    fn pass_on(&mut self) {
        let able = |thinkers: bool| {
            let able = self.actors.iter().enumerate().filter(move |(_, actor)| match actor {
                Actor::Ready => true,
                Actor::Asleep { is_woken, thinks } => (thinkers && *thinks) || is_woken(),
                Actor::Over => false,
            });
            able.map(|(number, _)| number).collect::<Vec<_>>()
        };
        let mut able_now = able(false);
        if able_now.is_empty() {
            able_now = able(true);
        }
        match able_now.len() {
            0 => self.end("everybody sleeps, and nobody was woken".into()),
            count => self.acts = able_now[self.random.below(count)],
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}
