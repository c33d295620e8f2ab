//! Moments in which something took long.

use std::collections::VecDeque;

/// What took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A turn of a shard's loop: all that it had to do waited.
    Turn,
    /// A request, from the turn that read it to its answer.
    Request,
}

impl Event {
    pub const ALL: [Event; 2] = [Event::Turn, Event::Request];

    pub fn name(self) -> &'static str {
        match self {
            Event::Turn => "eventloop",
            Event::Request => "command",
        }
    }

    pub fn by_name(name: &[u8]) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.name().as_bytes() == name)
    }
}

/// Seconds of which something is kept, for each kind.
pub const HISTORY_MAX: usize = 160;

/// The worst of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// Of the Unix epoch.
    pub second: u64,
    pub ms: u64,
}

/// What is told of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFigures {
    pub last: Occurrence,
    /// The worst ever, or since it was forgotten, milliseconds.
    pub worst_ms: u64,
}

#[derive(Debug, Default)]
struct History {
    seconds: VecDeque<Occurrence>,
    worst_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Events([History; Event::ALL.len()]);

impl Events {
    pub(super) fn add(&mut self, event: Event, occurrence: Occurrence) {
        let history = &mut self.0[event as usize];
        history.worst_ms = history.worst_ms.max(occurrence.ms);
        match history.seconds.back_mut() {
            Some(last) if last.second >= occurrence.second => last.ms = last.ms.max(occurrence.ms),
            _ => history.seconds.push_back(occurrence),
        }
        if history.seconds.len() > HISTORY_MAX {
            history.seconds.pop_front();
        }
    }

    pub(super) fn latest(&self) -> Vec<(Event, EventFigures)> {
        let figures = |event: Event| {
            let History { seconds, worst_ms } = &self.0[event as usize];
            seconds.back().map(|&last| (event, EventFigures { last, worst_ms: *worst_ms }))
        };
        Event::ALL.into_iter().filter_map(figures).collect()
    }

    pub(super) fn history(&self, event: Event) -> Vec<Occurrence> {
        self.0[event as usize].seconds.iter().copied().collect()
    }

    pub(super) fn forget(&mut self, event: Event) -> bool {
        !std::mem::take(&mut self.0[event as usize]).seconds.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_each_second_is_kept_and_so_many_seconds() {
        let mut events = Events::default();
        for (second, ms) in [(5, 20), (5, 70), (4, 30), (7, 10)] {
            events.add(Event::Turn, Occurrence { second, ms });
        }
        let told = [Occurrence { second: 5, ms: 70 }, Occurrence { second: 7, ms: 10 }];
        assert_eq!(events.history(Event::Turn), told);
        assert_eq!(events.latest(), [(Event::Turn, EventFigures { last: told[1], worst_ms: 70 })]);
        (10..1000).for_each(|second| events.add(Event::Turn, Occurrence { second, ms: 1 }));
        assert_eq!(events.history(Event::Turn).len(), HISTORY_MAX);
        assert!(events.forget(Event::Turn) && !events.forget(Event::Turn) && !events.forget(Event::Request));
        assert!(events.latest().is_empty());
    }
}
