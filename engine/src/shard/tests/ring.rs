//! A shard with a tier that takes only what eviction would drop, and writes over what is oldest.

use super::unsaved::{Tier, Told};
use super::*;
use std::collections::VecDeque;

pub(super) const LIMITS: OfferLimits = OfferLimits { items: 64, marks: 1000, bytes: 64 << 10 };

/// A tier with room for so many records, the oldest of which go.
pub(super) struct Ring {
    pub(super) tier: Tier,
    room: usize,
    /// Taken, and not told to be saved.
    under_way: VecDeque<Told>,
}

pub(super) fn demoting(memory_bytes: u64) -> Shard {
    let mut shard = shard_of(memory_bytes);
    shard.remember_changes(|key| key.len() as u16);
    shard.only_demote();
    shard
}

impl Ring {
    pub(super) fn new(room: usize) -> Ring {
        Ring { tier: Tier::default(), room, under_way: VecDeque::new() }
    }

    pub(super) fn take(&mut self, shard: &mut Shard, count: usize) {
        let told = self.tier.take(shard, count);
        self.under_way.extend(told);
        if self.tier.told.len() > self.room {
            self.answer(shard, usize::MAX);
            let goes = self.tier.told.len() - self.room * 7 / 8;
            let mut may_stay = goes / 2;
            for told in self.tier.told.drain(..goes) {
                let Some(place) = told.place else { continue };
                let stays = match told.chunk_of {
                    Some(of) => shard.leave_chunk(told.hash, of, place, may_stay > 0),
                    None => shard.leave_place(told.hash, place, may_stay > 0),
                };
                may_stay -= usize::from(stays && may_stay > 0);
                self.tier.items.remove(&place);
            }
        }
    }

    pub(super) fn answer(&mut self, shard: &mut Shard, count: usize) {
        let count = count.min(self.under_way.len());
        self.under_way.drain(..count).for_each(|told| told.saved(shard));
    }

    /// Offers, takes and answers a little.
    pub(super) fn turn(&mut self, shard: &mut Shard) {
        shard.offer_cold(NOW, LIMITS);
        self.answer(shard, 100);
        self.take(shard, 100);
    }

    pub(super) fn stop(&mut self, shard: &mut Shard) {
        while shard.offer_rest(NOW, LIMITS) || shard.has_unsaved() {
            self.take(shard, 100);
            self.answer(shard, 100);
        }
        self.answer(shard, usize::MAX);
        assert_eq!((shard.unsaved(), shard.untaken_bytes()), (0, 0));
    }

    /// The next run.
    pub(super) fn recover(&self, memory_bytes: u64) -> Shard {
        let mut shard = demoting(memory_bytes);
        shard.begin_recovery([0], |_| 0, true);
        assert_eq!(shard.recover(&self.tier.known(|_| true)).lost, 0);
        shard.end_slots([0]);
        shard.start_above(self.tier.told.iter().map(|told| told.version).fold(self.tier.flushed, u64::max));
        shard
    }

    pub(super) fn get(&self, shard: &mut Shard, key: &[u8]) -> Option<Vec<u8>> {
        self.tier.get(shard, key, NOW).1
    }
}
