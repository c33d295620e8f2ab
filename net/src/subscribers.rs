//! Which shards have clients that wait for messages, or to be told of keys.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};

/// How many subscriptions the clients of each shard have; each is written by its shard alone.
///
/// Release and acquire: who has seen the answer to a SUBSCRIBE, wherever, finds that the shard has subscribers.
#[derive(Debug)]
pub(crate) struct Subscribers {
    /// Shards that have any.
    shards: AtomicUsize,
    counts: Vec<AtomicUsize>,
}

impl Subscribers {
    pub(crate) fn new(shards: u16) -> Subscribers {
        Subscribers { shards: 0.into(), counts: (0..shards).map(|_| 0.into()).collect() }
    }

    /// Whether any client is subscribed to anything.
    pub(crate) fn any(&self) -> bool {
        self.shards.load(Acquire) > 0
    }

    pub(crate) fn has(&self, shard: u16) -> bool {
        self.counts[usize::from(shard)].load(Acquire) > 0
    }

    /// A shard says how many it has.
    pub(crate) fn tell(&self, shard: u16, count: usize) {
        let before = self.counts[usize::from(shard)].swap(count, Release);
        if before == 0 && count > 0 {
            self.shards.fetch_add(1, Release);
        } else if before > 0 && count == 0 {
            self.shards.fetch_sub(1, Release);
        }
    }
}
