//! Learning what the tier holds, a part of it in each turn.

use super::state::Tier;
use crate::worker::state::WorkerState;
use std::sync::atomic::Ordering::Relaxed;

/// Keys that a shard is told of in a turn: requests wait for about 0.1 ms.
const TOLD_A_TURN: usize = 1024;

impl WorkerState {
    /// Takes as much of what is told as fits into a turn.
    pub(super) fn learn(&mut self, tier: &mut Tier) {
        let Tier { learning, port, .. } = tier;
        let mut left = TOLD_A_TURN;
        while left > 0 {
            let rest = learning.rest.take();
            let next = || port.next_told().map(|told| (learning.without_freed(told, 0), 0));
            let Some((told, from)) = rest.or_else(next) else { break };
            let to = told.known.len().min(from + left);
            let recovered = self.shard.recover(&told.known[from..to]);
            let figures = port.figures();
            figures.recovered.fetch_add(recovered.items, Relaxed);
            figures.lost.fetch_add(recovered.lost, Relaxed);
            left -= to - from;
            let progress = figures.recovery_progress();
            if progress > 0.0 {
                self.shard.expect((self.shard.elsewhere() as f64 / progress) as u64);
            }
            if to < told.known.len() {
                learning.rest = Some((told, to));
                continue;
            }
            if told.is_damaged {
                self.shard.leave_untold();
            }
            told.ended.into_iter().for_each(|slots| self.shard.end_slots(slots));
        }
        learning.has_more = left == 0;
        // A flush and a tier that is out of use end it, too.
        if !self.shard.is_recovering() && self.shared.is_recovering(self.number) {
            self.shared.end_recovery(self.number);
            port.figures().has_recovered();
        }
    }

    /// Whether the next turn has something to learn, be there events or not.
    pub(in crate::worker) fn has_more_to_learn(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.learning.has_more)
    }

    /// Whether a scan of a shard has to wait until that knows all of its keys.
    pub(in crate::worker) fn waits_to_scan(&self, shard: u16) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.reads_wait) && self.shared.is_recovering(shard)
    }
}
