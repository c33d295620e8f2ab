//! A tier that has failed: the shard forgets all that lay there, lets go of it, and may be given it again, empty.

use super::state::{Learning, Standing, Tier};
use crate::worker::state::WorkerState;
use torc_proto::slot::slot_of;

impl WorkerState {
    /// Does a part of what is to be done while the tier is out of use.
    pub(super) fn be_without(&mut self, tier: &mut Tier) {
        if !matches!(tier.standing, Standing::Leaving(_) | Standing::Left) {
            if tier.standing.is_refilling() {
                tier.port.figures().has_refilled(true);
            }
            tier.counted = self.shard.changes().1;
            self.shard.forget_changes();
            tier.port.forget_pages();
            tier.standing = Standing::Leaving(0);
        }
        if let Standing::Leaving(from) = tier.standing {
            tier.standing = self.shard.forget_places(from).map_or(Standing::Left, Standing::Leaving);
        }
        if tier.standing != Standing::Left || !tier.is_idle() {
            return;
        }
        let version = self.shard.version();
        tier.port.let_go(version);
        if tier.port.take_link(version) {
            self.begin_again(tier);
        }
    }

    /// The tier is in use again, and holds nothing.
    fn begin_again(&mut self, tier: &mut Tier) {
        // Answers go by these numbers, so they go on.
        self.shard.remember_again(slot_of, tier.counted);
        tier.saved_up_to = tier.counted;
        if tier.demotes {
            self.shard.only_demote();
        }
        tier.standing =
            if tier.demotes { Standing::InUse } else { Standing::Refilling(self.shard.begin_again()) };
        (tier.learning, tier.left, tier.is_rest_offered) = (Learning::default(), 0, false);
        (tier.is_rest_begun, tier.slots_full) = (false, 0);
        tier.port.figures().has_linked();
    }

    /// Tells a tier that is in use again a part of what memory holds.
    pub(super) fn refill(&mut self) {
        let limits = self.offer_limits();
        let Some(tier) = &mut self.tier else { return };
        match tier.standing {
            Standing::Refilling(again) => {
                let next = self.shard.tell_again(again, self.now, limits);
                let all = || Standing::Refilled(self.shard.changes().1);
                tier.standing = next.map_or_else(all, Standing::Refilling);
            }
            Standing::Refilled(up_to) if tier.saved_up_to >= up_to => {
                tier.port.figures().has_refilled(false);
                tier.standing = Standing::InUse;
            }
            _ => {}
        }
    }

    /// Whether the next turn goes on with a walk over memory, be there events or not.
    pub(in crate::worker) fn has_more_to_walk(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| match tier.standing {
            Standing::Leaving(_) => true,
            Standing::Refilling(_) => {
                let limits = self.offer_limits();
                self.shard.unsaved() < limits.marks && self.shard.untaken_bytes() < limits.bytes
            }
            _ => false,
        })
    }
}
