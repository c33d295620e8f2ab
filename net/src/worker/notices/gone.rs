//! Keys that go by themselves: their time is over, or their room is needed.

use crate::event_classes::EventClasses;
use torc_engine::changes::{Cause, Change, Listener};
use torc_engine::command::Meta;

/// Keys that are remembered in a turn, at most.
const GONE_MAX: usize = 1 << 16;

/// What has gone since the last look.
#[derive(Debug, Default)]
pub(super) struct Gone {
    keys: Vec<GoneKey>,
    dropped: u64,
}

#[derive(Debug)]
pub(super) struct GoneKey {
    pub(super) class: EventClasses,
    pub(super) event: &'static str,
    pub(super) space: u16,
    pub(super) version: u64,
    pub(super) key: Vec<u8>,
    /// What is known of one that was evicted.
    pub(super) evicted: Option<Meta>,
}

impl Gone {
    /// What has gone, and how much was too much to be remembered.
    pub(super) fn take(&mut self) -> (Vec<GoneKey>, u64) {
        (std::mem::take(&mut self.keys), std::mem::take(&mut self.dropped))
    }
}

impl Listener for Gone {
    fn changed(&mut self, change: &Change<'_>) {
        let (class, event) = match change.cause {
            Cause::Expired => (EventClasses::EXPIRED, "expired"),
            // Of one that was not in DRAM nobody knows the key.
            Cause::Evicted if change.item.is_some() => (EventClasses::EVICTED, "evicted"),
            _ => return,
        };
        if self.keys.len() >= GONE_MAX {
            self.dropped += 1;
            return;
        }
        let (space, version, key) = (change.space, change.version, change.key.to_vec());
        let is_evicted = change.cause == Cause::Evicted;
        let evicted = change.item.filter(|_| is_evicted).map(|(item, value)| item.meta(value.len()));
        self.keys.push(GoneKey { class, event, space, version, key, evicted });
    }
}
