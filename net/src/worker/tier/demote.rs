//! What a tier under `--durability none` is offered: what eviction comes to next, and at the end the rest.

use super::state::{Tier, UNTAKEN_SHARE};
use crate::tier::SAVE_BYTES;
use crate::worker::state::WorkerState;
use std::ops::RangeInclusive;
use torc_engine::shard::OfferLimits;
use torc_proto::slot::SLOTS;

/// Items that are looked at in a turn.
const OFFER_ITEMS: usize = 1024;
/// Share of the marks that offers may take: the others are for what makes void that which the tier holds.
const OFFER_MARKS_SHARE: usize = 2;
/// Batches of items that may be offered and not handed over.
const OFFER_BATCHES: u64 = 2;
/// Share of `--drain-timeout` after which the rest is offered whether clients are gone or not, and after which no more is,
/// so that what was handed over can be written.
const REST_FROM: (u64, u64) = (1, 2);
const REST_UNTIL: (u64, u64) = (3, 4);

impl WorkerState {
    /// Offers items to a tier that takes what eviction would drop.
    pub(super) fn offer(&mut self) {
        if self.tier.as_ref().is_none_or(|tier| !tier.demotes) {
            return;
        }
        let limits = self.offer_limits();
        if !self.is_saving_rest() {
            if !self.drain.has_begun() {
                self.shard.offer_cold(self.now, limits);
            }
            return;
        }
        self.begin_rest();
        let is_late = self.drain_is_past(REST_UNTIL);
        let is_over = is_late || !self.shard.offer_rest(self.now, limits);
        if is_late {
            self.shard.end_offers();
            tracing::warn!(
                shard = self.number,
                "--drain-timeout leaves no time to save all of memory under --durability none: what is coldest is lost"
            );
        }
        self.tier.iter_mut().for_each(|tier| tier.is_rest_offered |= is_over);
    }

    /// Tells the tier, before anything is handed over.
    fn begin_rest(&mut self) {
        let Some(tier) = self.tier.as_mut().filter(|tier| !tier.is_rest_begun) else { return };
        tier.is_rest_begun = true;
        tier.port.begin_rest();
    }

    /// The tier has no room for more items of these slots.
    pub(super) fn leave_out(&mut self, tier: &mut Tier, slots: RangeInclusive<u16>) {
        if tier.slots_full == 0 {
            tracing::warn!(
                shard = self.number,
                "--tier-size leaves no room to save all of memory under --durability none: what is coldest is lost"
            );
        }
        tier.slots_full += slots.len();
        self.shard.leave_out(slots);
        if tier.slots_full >= usize::from(SLOTS) {
            self.shard.end_offers();
            tier.is_rest_offered = true;
        }
    }

    /// How much is offered in a turn, and in all before some of it is saved.
    pub(super) fn offer_limits(&self) -> OfferLimits {
        let bytes = (OFFER_BATCHES * SAVE_BYTES as u64).min(self.settings.budget.memory / UNTAKEN_SHARE);
        let marks = self.tier.as_ref().map_or(0, |tier| tier.unsaved_max) / OFFER_MARKS_SHARE;
        OfferLimits { items: OFFER_ITEMS, marks, bytes }
    }

    /// The time is up: hands over what is marked, few as that is, so that what the tier holds is right. Returns whether it is.
    pub(super) fn hand_over_last(&mut self) -> bool {
        let Some(tier) = self.tier.as_mut().filter(|tier| tier.demotes) else { return false };
        self.shard.end_offers();
        while self.shard.has_unsaved() {
            tier.hand_over(&mut self.shard, self.now);
        }
        true
    }

    /// Whether what lies in memory alone is being offered: nothing may move there meanwhile.
    pub(in crate::worker) fn is_saving_rest(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.demotes && !tier.is_rest_offered)
            && (self.all_are_drained() || self.drain_is_past(REST_FROM))
    }
}
