//! A shard's record of numbered changes, so that a repeat is answered and not done again ([N-ONCE-1] to [N-ONCE-7]).
//!
//! The shard that executes a change records its outcome. Of each session it keeps the W highest numbers: a client
//! has at most W changes unanswered, so only a client that breaks the rules sends a lower number. It keeps the sessions
//! that were used last; their count and their bytes are bounded. Memory is taken only as far as it is used.
//!
//! ```text
//! places:  session identity -> index        sessions:  [ identity | outcomes, by rising number | horizons ]
//!                                                       linked from the last used to the least recently used
//! ```
//!
//! After a session was dropped from the table, its repeats are `Unknown`, even when it has come back meanwhile. As long as
//! no session has been dropped, an unknown session has never been here, and its repeats are new. (The client notices a
//! restart by the boot id.)

use crate::session::Once;
use std::collections::{HashMap, VecDeque};
use torc_engine::command::{Meta, Number, Outcome};

/// An outcome as plain data. Old values are not kept ([N-ONCE-6]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum StoredOutcome {
    Miss,
    Stored { meta: Meta },
    NotStored,
    Exists,
    Deleted { version: u64 },
    Touched { meta: Meta },
    Untouched,
    Counter { number: Number, meta: Meta },
}

impl StoredOutcome {
    /// What is to be kept of an outcome; `None` if nothing was done ([N-ONCE-7]) or nothing came of it yet.
    pub(super) fn of(outcome: &Outcome<'_>) -> Option<StoredOutcome> {
        Some(match outcome {
            Outcome::Miss => StoredOutcome::Miss,
            Outcome::Stored { meta, .. } => StoredOutcome::Stored { meta: *meta },
            Outcome::NotStored { .. } => StoredOutcome::NotStored,
            Outcome::Exists => StoredOutcome::Exists,
            Outcome::Deleted { version, .. } => StoredOutcome::Deleted { version: *version },
            Outcome::Touched { meta } => StoredOutcome::Touched { meta: *meta },
            Outcome::Untouched => StoredOutcome::Untouched,
            Outcome::Counter { number, meta } => StoredOutcome::Counter { number: *number, meta: *meta },
            Outcome::Item(_)
            | Outcome::Number(_)
            | Outcome::Fields(_)
            | Outcome::Refused(_)
            | Outcome::Pending(_) => return None,
        })
    }

    /// The outcome to answer with.
    pub(super) fn outcome(self) -> Outcome<'static> {
        match self {
            StoredOutcome::Miss => Outcome::Miss,
            StoredOutcome::Stored { meta } => Outcome::Stored { meta, old: None },
            StoredOutcome::NotStored => Outcome::NotStored { old: None },
            StoredOutcome::Exists => Outcome::Exists,
            StoredOutcome::Deleted { version } => Outcome::Deleted { old: None, version },
            StoredOutcome::Touched { meta } => Outcome::Touched { meta },
            StoredOutcome::Untouched => Outcome::Untouched,
            StoredOutcome::Counter { number, meta } => Outcome::Counter { number, meta },
        }
    }
}

/// What the record says of a change that is about to be executed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lookup {
    /// Execute it, then record it.
    New,
    /// It was done already, with this outcome.
    Repeat(StoredOutcome),
    /// Nobody can tell: answer [`crate::session::Answer::OutcomeUnknown`].
    Unknown,
}

/// The record of one shard.
#[derive(Debug)]
pub(super) struct Outcomes {
    places: HashMap<u64, u32>,
    sessions: Vec<SessionOutcomes>,
    /// Places in `sessions` that nobody has.
    free: Vec<u32>,
    /// Last used, and least recently used; `NONE` if there is no session.
    newest: u32,
    oldest: u32,
    sessions_max: usize,
    window: usize,
    bytes: usize,
    bytes_max: usize,
    /// A session was dropped since the start.
    dropped: bool,
}

#[derive(Debug)]
struct SessionOutcomes {
    identity: u64,
    /// By rising number, at most W.
    outcomes: VecDeque<(u64, StoredOutcome)>,
    /// The highest number whose outcome was dropped to make room for others; 0: none.
    forgotten: u64,
    /// The highest number that may have been here before the session was dropped; 0: none.
    dropped: u64,
    newer: u32,
    older: u32,
}

const NONE: u32 = u32::MAX;

/// What a session costs without its outcomes: its places in the list and, with room to spare, in the map.
const SESSION_BYTES: usize = size_of::<SessionOutcomes>() + 3 * size_of::<(u64, u32)>();

impl SessionOutcomes {
    /// Memory of the outcomes.
    fn bytes(&self) -> usize {
        self.outcomes.capacity() * size_of::<(u64, StoredOutcome)>()
    }

    /// Puts an outcome in its place; the lowest number gives way if there are `window` already.
    fn insert(&mut self, number: u64, stored: StoredOutcome, window: usize) {
        let rank = self.outcomes.iter().rposition(|&(before, _)| before < number);
        let mut index = rank.map_or(0, |rank| rank + 1);
        if let Some(same) = self.outcomes.get_mut(index).filter(|(same, _)| *same == number) {
            same.1 = stored;
            return;
        }
        if self.outcomes.len() >= window {
            // Before the insertion, so that the room need not grow beyond the window.
            let lowest = if index == 0 { None } else { self.outcomes.pop_front() };
            self.forgotten = self.forgotten.max(lowest.map_or(number, |(lowest, _)| lowest));
            if index == 0 {
                return;
            }
            index -= 1;
        }
        self.outcomes.insert(index, (number, stored));
    }

    /// What is known of a number that is not on record.
    fn unseen(&self, once: Once) -> Lookup {
        let unknown = once.number <= self.forgotten || (once.repeat && once.number <= self.dropped);
        if unknown { Lookup::Unknown } else { Lookup::New }
    }
}

impl Outcomes {
    /// At most `sessions_max` sessions (at least one) of `window` outcomes each (see [`CREDIT`](crate::session::native::CREDIT)), in
    /// `bytes_max` bytes; the session that was used last stays, whatever it takes.
    pub(super) fn new(sessions_max: usize, window: usize, bytes_max: usize) -> Outcomes {
        Outcomes {
            places: HashMap::new(),
            sessions: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            sessions_max: sessions_max.clamp(1, NONE as usize),
            window: window.max(1),
            bytes: 0,
            bytes_max,
            dropped: false,
        }
    }

    #[cfg(test)]
    fn sessions(&self) -> usize {
        self.places.len()
    }

    /// Memory of the record.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// To be asked before a numbered change is executed. One that is not marked as a repeat is looked for, too: it
    /// may have lain in a dead connection while its repeat was done.
    pub(super) fn lookup(&self, once: Once) -> Lookup {
        let Some(&place) = self.places.get(&once.session) else {
            return if once.repeat && self.dropped { Lookup::Unknown } else { Lookup::New };
        };
        let session = &self.sessions[place as usize];
        if session.outcomes.back().is_none_or(|&(highest, _)| highest < once.number) {
            return session.unseen(once);
        }
        match session.outcomes.binary_search_by_key(&once.number, |&(number, _)| number) {
            Ok(index) => Lookup::Repeat(session.outcomes[index].1),
            Err(_) => session.unseen(once),
        }
    }

    /// To be called when a numbered change was executed. Refusals are not recorded.
    pub(super) fn record(&mut self, once: Once, outcome: &Outcome<'_>) {
        let Some(stored) = StoredOutcome::of(outcome) else { return };
        let place = self.use_session(once);
        let session = &mut self.sessions[place as usize];
        let before = session.bytes();
        session.insert(once.number, stored, self.window);
        self.bytes += session.bytes() - before;
        while self.bytes > self.bytes_max && self.oldest != self.newest {
            self.drop_oldest();
        }
    }

    /// Lets go of the session that was used longest ago.
    fn drop_oldest(&mut self) {
        let place = self.oldest;
        self.unlink(place);
        self.dropped = true;
        let session = &mut self.sessions[place as usize];
        self.bytes -= session.bytes() + SESSION_BYTES;
        self.places.remove(&session.identity);
        session.outcomes = VecDeque::new();
        self.free.push(place);
    }

    /// The place of the session, which becomes the last used. A new session may take the place of the least recently used.
    fn use_session(&mut self, once: Once) -> u32 {
        let place = match self.places.get(&once.session) {
            Some(&place) => {
                if place == self.newest {
                    return place;
                }
                self.unlink(place);
                place
            }
            None => self.make_session(once),
        };
        self.sessions[place as usize].newer = NONE;
        self.sessions[place as usize].older = self.newest;
        match self.newest {
            NONE => self.oldest = place,
            newest => self.sessions[newest as usize].newer = place,
        }
        self.newest = place;
        place
    }

    /// Makes a session that is not linked yet.
    fn make_session(&mut self, once: Once) -> u32 {
        // While `number` is unanswered its client has sent none from `number + W` on: all that this session may
        // have had here before it was dropped lies below.
        let lost_up_to = once.number.saturating_add(self.window as u64 - 1);
        if self.places.len() >= self.sessions_max {
            self.drop_oldest();
        }
        let session = SessionOutcomes {
            identity: once.session,
            outcomes: VecDeque::new(),
            forgotten: 0,
            dropped: if self.dropped { lost_up_to } else { 0 },
            newer: NONE,
            older: NONE,
        };
        self.bytes += SESSION_BYTES;
        let place = match self.free.pop() {
            Some(place) => {
                self.sessions[place as usize] = session;
                place
            }
            None => {
                self.sessions.push(session);
                (self.sessions.len() - 1) as u32
            }
        };
        self.places.insert(once.session, place);
        place
    }

    fn unlink(&mut self, place: u32) {
        let (newer, older) = (self.sessions[place as usize].newer, self.sessions[place as usize].older);
        match newer {
            NONE => self.newest = older,
            newer => self.sessions[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.sessions[older as usize].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(session: u64, number: u64) -> Once {
        Once { session, number, repeat: false }
    }

    fn again(session: u64, number: u64) -> Once {
        Once { session, number, repeat: true }
    }

    fn stored(token: u64) -> Outcome<'static> {
        Outcome::Stored { meta: Meta { token, ..Meta::default() }, old: None }
    }

    fn token(lookup: Lookup) -> u64 {
        match lookup {
            Lookup::Repeat(StoredOutcome::Stored { meta }) => meta.token,
            other => panic!("not a repeat: {other:?}"),
        }
    }

    /// [N-ONCE-5]
    #[test]
    fn a_repeat_gets_the_outcome_and_what_was_never_done_is_new() {
        let mut outcomes = Outcomes::new(4, 8, usize::MAX);
        assert_eq!(outcomes.lookup(first(7, 1)), Lookup::New);
        outcomes.record(first(7, 1), &stored(100));
        outcomes.record(first(7, 3), &Outcome::Exists);
        assert_eq!(token(outcomes.lookup(again(7, 1))), 100);
        assert_eq!(outcomes.lookup(again(7, 3)), Lookup::Repeat(StoredOutcome::Exists));
        assert_eq!(outcomes.lookup(again(7, 2)), Lookup::New);
        assert_eq!(outcomes.lookup(again(8, 1)), Lookup::New);
    }

    #[test]
    fn the_highest_numbers_stay_in_whatever_order_they_come() {
        let mut outcomes = Outcomes::new(1, 3, usize::MAX);
        for number in [5, 2, 4, 1, 3] {
            outcomes.record(first(7, number), &stored(number));
        }
        for number in 3..=5 {
            assert_eq!(token(outcomes.lookup(again(7, number))), number);
        }
        assert_eq!(outcomes.lookup(again(7, 2)), Lookup::Unknown);
        assert_eq!(outcomes.lookup(again(7, 6)), Lookup::New);
    }

    #[test]
    fn sessions_give_way_when_the_bytes_are_used_up() {
        let bytes_max = 64 << 10;
        let mut outcomes = Outcomes::new(1000, 64, bytes_max);
        for session in 1..=1000 {
            for number in 1..=session % 64 + 1 {
                outcomes.record(first(session, number), &stored(number));
                let recount = |session: &SessionOutcomes| session.bytes() + SESSION_BYTES;
                let free = outcomes.free.len() * SESSION_BYTES;
                assert_eq!(outcomes.bytes(), outcomes.sessions.iter().map(recount).sum::<usize>() - free);
                assert!(outcomes.bytes() <= bytes_max);
            }
        }
        assert!((5..100).contains(&outcomes.sessions()), "{}", outcomes.sessions());
        assert!(outcomes.sessions.len() < 1000, "places are used again");
        assert_eq!(token(outcomes.lookup(again(1000, 1))), 1);
        assert_eq!(outcomes.lookup(again(1, 1)), Lookup::Unknown);
        // One that alone is over the bound stays.
        let mut outcomes = Outcomes::new(2, 64, 1);
        outcomes.record(first(7, 1), &stored(1));
        outcomes.record(first(8, 1), &stored(2));
        assert_eq!((outcomes.sessions(), token(outcomes.lookup(again(8, 1)))), (1, 2));
    }

    #[test]
    fn a_session_takes_no_more_than_its_window() {
        let mut outcomes = Outcomes::new(1, 256, usize::MAX);
        (1..=1000).for_each(|number| outcomes.record(first(7, number), &stored(number)));
        assert_eq!(outcomes.sessions[0].outcomes.capacity(), 256);
    }

    /// [N-ONCE-7]
    #[test]
    fn refusals_are_not_on_record() {
        let mut outcomes = Outcomes::new(1, 3, usize::MAX);
        let refusal = Outcome::Refused(torc_engine::command::Refusal::OutOfMemory);
        outcomes.record(first(7, 1), &refusal);
        assert_eq!((outcomes.lookup(again(7, 1)), outcomes.sessions()), (Lookup::New, 0));
    }

    #[test]
    fn the_least_recently_used_session_goes_and_is_unknown_from_then_on() {
        let mut outcomes = Outcomes::new(2, 4, usize::MAX);
        outcomes.record(first(1, 1), &stored(1));
        outcomes.record(first(2, 1), &stored(2));
        outcomes.record(first(1, 2), &stored(3));
        outcomes.record(first(3, 1), &stored(4));
        assert_eq!(outcomes.sessions(), 2);
        assert_eq!(token(outcomes.lookup(again(1, 1))), 1);
        assert_eq!(outcomes.lookup(again(2, 1)), Lookup::Unknown);
        // It comes back: its old numbers, and all that it may have sent before, stay unknown.
        outcomes.record(first(2, 6), &stored(5));
        assert_eq!(token(outcomes.lookup(again(2, 6))), 5);
        assert_eq!(outcomes.lookup(again(2, 9)), Lookup::Unknown);
        assert_eq!(outcomes.lookup(again(2, 10)), Lookup::New);
    }

    /// The bytes of a change may lie in a dead connection while its repeat is done over the next one.
    #[test]
    fn a_first_sending_that_comes_after_its_repeat_is_not_done_again() {
        let mut outcomes = Outcomes::new(1, 3, usize::MAX);
        assert_eq!(outcomes.lookup(again(7, 1)), Lookup::New);
        outcomes.record(again(7, 1), &stored(5));
        assert_eq!(token(outcomes.lookup(first(7, 1))), 5);
        for number in 2..=4 {
            outcomes.record(first(7, number), &stored(number));
        }
        assert_eq!(outcomes.lookup(first(7, 1)), Lookup::Unknown);
    }

    /// Against a record that forgets nothing: a change is never called new after it was done.
    #[test]
    fn nothing_done_is_ever_called_new() {
        let mut outcomes = Outcomes::new(3, 4, usize::MAX);
        let mut done = std::collections::HashSet::new();
        let mut next = [1_u64; 6];
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let session = (random >> 33) % 6;
            let number = next[session as usize];
            // Within the window a client's changes may arrive in another order.
            let sent = number.saturating_sub((random >> 40) % 4).max(1);
            next[session as usize] += 1;
            let once = Once { session, number: sent, repeat: done.contains(&(session, sent)) };
            let lookup = outcomes.lookup(once);
            match lookup {
                Lookup::New => {
                    assert!(done.insert((session, sent)), "{once:?} done twice");
                    outcomes.record(once, &stored(sent));
                }
                Lookup::Repeat(_) => assert_eq!(token(lookup), sent),
                Lookup::Unknown => assert!(once.repeat),
            }
        }
        assert!(outcomes.dropped && outcomes.sessions() == 3);
    }
}
