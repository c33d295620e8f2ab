//! Messages between clients: what a client asks about channels, and what it is told of them.

use super::answer::Answer;

/// To what clients subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Channels by their names.
    Named,
    /// All channels whose names match a pattern.
    Matching,
    /// Channels of a space of their own, which cluster clients find at the shard that owns the slot of the name.
    Sharded,
}

/// What a client asks about channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The echo is the name.
    Subscribe(Channels),
    Unsubscribe(Channels),
    UnsubscribeAll(Channels),
    /// It is as if it had never subscribed to anything, and is told nothing of it.
    Forget,
    /// A message for all subscribers, of all shards.
    Publish {
        sharded: bool,
    },
    Inspect(Inspect),
}

/// What subscriptions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspect {
    /// The names of channels that have subscribers, as far as they match the pattern if there is one. Never of patterns.
    Names { of: Channels, filtered: bool },
    /// How many subscribers each of some channels has.
    Counts(Channels),
    /// The patterns that have subscribers.
    Patterns,
}

/// Subscriptions of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subscribed {
    pub named: usize,
    pub matching: usize,
    pub sharded: usize,
}

impl Subscribed {
    /// What clients are told with a change: sharded channels are counted apart.
    pub fn told(self, of: Channels) -> usize {
        match of {
            Channels::Named | Channels::Matching => self.named + self.matching,
            Channels::Sharded => self.sharded,
        }
    }

    pub fn total(self) -> usize {
        self.named + self.matching + self.sharded
    }
}

impl Answer<'_> {
    /// The count of an answer that has nothing else: see [`Answer::Subscribed`], [`Answer::Published`].
    pub(super) fn count(&self) -> i64 {
        match *self {
            Answer::Subscribed(count) | Answer::Published(count) => i64::try_from(count).unwrap_or(i64::MAX),
            _ => 0,
        }
    }
}
