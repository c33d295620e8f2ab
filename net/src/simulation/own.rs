//! What a key of one client may hold, as far as answers tell, and what a crash may bring back.
//!
//! ```text
//!   written, answered --> [ now: one state ] --superseded, answered at t--> [ past ] --crash, not safe at t--> may be again
//!   connection broke  --> [ now: several ]   --missed, not found------------^ (still the newest there is)
//! ```

use std::rc::Rc;
use torc_engine::command::Millis;

/// What was superseded so long ago comes back at no crash: nothing stays unsaved so long.
pub(super) const UNSAVED_MS_MAX: Millis = 20_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    Value(Rc<Vec<u8>>),
    /// A number that was counted up while a connection broke.
    Number,
}

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) held: Held,
    /// It ends between these times.
    pub(super) expiry: Option<(Millis, Millis)>,
    /// The order of its write.
    pub(super) begun: u64,
    pub(super) ended: u64,
}

impl State {
    pub(super) const NOTHING: State = State { held: Held::Nothing, expiry: None, begun: 0, ended: 0 };

    /// Whether it may be what was read.
    fn is(&self, read: &[u8]) -> bool {
        match &self.held {
            Held::Nothing => false,
            Held::Value(value) => value[..] == *read,
            Held::Number => number(read).is_some(),
        }
    }

    /// Whether counting it up may have come to a number; what is not there counts as 0.
    pub(super) fn may_count_to(&self, number: i64) -> bool {
        match &self.held {
            Held::Nothing => number == 1,
            Held::Value(value) => self::number(value).is_some_and(|before| before + 1 == number),
            Held::Number => number > 0,
        }
    }
}

fn number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// How a state came to be one of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// It was only missed.
    Missed,
    /// It was not there to be deleted. That this was answered makes nothing safe: what the key has vanished by, as a flush that is
    /// not answered yet, may be undone by a crash.
    NotFound,
    /// What superseded it was answered then.
    Superseded(Millis),
}

/// What is known of a key.
#[derive(Debug)]
pub(super) struct Own {
    /// It holds one of these.
    pub(super) now: Vec<State>,
    /// What it held before.
    past: Vec<(State, Gone)>,
    /// A connection that was changing it broke then.
    pub(super) broken_at: Option<Millis>,
}

impl Own {
    pub(super) fn new() -> Own {
        Own { now: vec![State::NOTHING], past: Vec::new(), broken_at: None }
    }

    /// A change was answered at a time. `keeps`: a crash may come. `is_late`: what broke connections asked may happen behind it.
    pub(super) fn supersede(&mut self, state: State, at: Millis, keeps: bool, is_late: bool) {
        if is_late {
            return self.now.push(state);
        }
        for (_, gone) in &mut self.past {
            if let Gone::Missed | Gone::NotFound = gone {
                *gone = Gone::Superseded(at);
            }
        }
        let before = std::mem::replace(&mut self.now, vec![state]);
        if keeps {
            self.past
                .retain(|(_, gone)| !matches!(gone, Gone::Superseded(then) if then + UNSAVED_MS_MAX <= at));
            self.past.extend(before.into_iter().map(|state| (state, Gone::Superseded(at))));
        }
    }

    /// It was not there, though nothing has superseded it. `is_late`: as above, or it may be there again.
    pub(super) fn missed(&mut self, keeps: bool, is_late: bool) {
        self.is_gone(Gone::Missed, keeps, is_late);
    }

    /// It was not there to be deleted. A tier that may have the item for all that is told, so only a crash may bring it back.
    pub(super) fn not_found(&mut self, keeps: bool, is_late: bool) {
        if !is_late {
            let missed = self.past.iter_mut().filter(|(_, gone)| *gone == Gone::Missed);
            missed.for_each(|(_, gone)| *gone = Gone::NotFound);
        }
        self.is_gone(Gone::NotFound, keeps, is_late);
    }

    fn is_gone(&mut self, gone: Gone, keeps: bool, is_late: bool) {
        if is_late {
            if self.now.iter().all(|state| state.held != Held::Nothing) {
                self.now.push(State::NOTHING);
            }
            return;
        }
        let before = std::mem::replace(&mut self.now, vec![State::NOTHING]);
        if keeps {
            let held = before.into_iter().filter(|state| state.held != Held::Nothing);
            self.past.extend(held.map(|state| (state, gone)));
        }
    }

    /// It was read at a time: it holds that, and nothing else.
    pub(super) fn was_read(&mut self, read: &[u8], at: Millis, keeps: bool) {
        if self.now.len() == 1 {
            return;
        }
        let (is, others) = std::mem::take(&mut self.now).into_iter().partition(|state| state.is(read));
        self.now = is;
        if keeps {
            self.past.extend(others.into_iter().map(|state: State| (state, Gone::Superseded(at))));
        }
    }

    /// A connection broke before a change was answered.
    pub(super) fn broke(&mut self, state: State, at: Millis) {
        self.broken_at = Some(at);
        if !(state.held == Held::Number && self.now.iter().any(|state| state.held == Held::Number)) {
            self.now.push(state);
        }
    }

    /// The server crashed. What was superseded up to a time is gone for good; `None`: so is everything.
    pub(super) fn crash(&mut self, safe: Option<Millis>) {
        self.broken_at = None;
        let Some(safe) = safe else {
            *self = Own::new();
            return;
        };
        let back = std::mem::take(&mut self.past).into_iter();
        let is_back = |gone: Gone| !matches!(gone, Gone::Superseded(at) if at <= safe);
        self.now.extend(back.filter(|(_, gone)| is_back(*gone)).map(|(state, _)| state));
    }

    /// The server began anew after an orderly end: what was only missed may be there again.
    pub(super) fn restart(&mut self) {
        let (missed, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.past).into_iter().partition(|(_, gone)| *gone == Gone::Missed);
        self.past = others;
        self.now.extend(missed.into_iter().map(|(state, _)| state));
    }

    /// Those of the states that are a value which was read.
    pub(super) fn matching<'a>(&'a self, read: &'a [u8]) -> impl Iterator<Item = &'a State> {
        self.now.iter().filter(move |state| state.is(read))
    }
}
