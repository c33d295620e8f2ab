//! What a worker does for and with the second tier: see [`crate::tier`].
//!
//! A command that needs an item which is not in DRAM is not begun: its connection waits, with everything behind it, until the
//! item has been brought back. What comes behind it is fetched meanwhile. A batch of another shard stops at such a command in
//! the same way. Changes wait as long as too many are not saved.

mod answers;
mod demote;
mod fetch;
mod know;
mod leave;
mod long;
mod rearm;
mod recover;
pub(super) mod state;
mod stopped;

use super::budget::Pressure;
#[cfg(test)]
use super::bug::{Bug, Bugs};
use super::connection::Connection;
use super::state::WorkerState;
use crate::session::Wish;
use crate::tier::{Reply, SAVE_BYTES, SaveBatch, fetch_pages_bytes};
use crate::transport::ConnId;
use long::RETURN_BYTES;
use state::{SAVE_AT_SHARE, Tier, UNSAVED_BYTES, unsaved_max};
use std::time::Duration;
use torc_engine::command::Command;

/// Batches of changes that are being saved at a time.
const SAVES_MAX: usize = 3;
/// Connections that go on in a turn when their changes are not held any more, while memory is short.
const RESUMED_SHORT: usize = 16;
/// Items that are saved whose places in the index are fetched ahead.
const SAVED_AHEAD: usize = 16;
/// The setting that keeps changes out when they cannot be saved.
pub(super) const DURABILITY: &str = "durability";

/// What one of so many shards takes for a tier beside what it has unsaved and the pages that it keeps, bytes.
pub(crate) fn tier_bytes(memory_bytes: u64, shards: u16) -> u64 {
    let saves = SAVES_MAX as u64 * SAVE_BYTES as u64 + unsaved_max(memory_bytes) as u64 * UNSAVED_BYTES;
    saves + fetch_pages_bytes(shards) + fetch::FETCHES_BYTES + RETURN_BYTES
}

impl WorkerState {
    /// Takes what the tier's threads have said, and lets go on who waited for it.
    pub(super) fn hear_tier(&mut self) {
        let Some(mut tier) = self.tier.take() else { return };
        tier.port.begin_look();
        while let Some(reply) = tier.port.next() {
            match reply {
                Reply::Saved(batch) => self.take_saved(&mut tier, batch),
                Reply::Leave { stream, below, places } => {
                    let stay = self.leave_places(&mut tier.left, &places);
                    tier.learning.leave(stream, below);
                    tier.port.left(stream, stay);
                }
                Reply::Moved { stream, moves } => {
                    moves.iter().for_each(|moved| self.shard.carried(moved.hash, moved.from, moved.to));
                    tier.port.moved(stream);
                }
                Reply::Packed { stream, moves } => {
                    moves.iter().for_each(|moved| self.shard.packed(moved.hash, moved.from, moved.to));
                    tier.port.moved(stream);
                }
                Reply::Full(slots) => self.leave_out(&mut tier, slots),
                Reply::Fetched(arrived) => self.take_arrived(&mut tier, arrived),
            }
        }
        self.go_on_returning(&mut tier);
        if tier.port.is_out() {
            self.be_without(&mut tier);
        }
        self.stats.tier_cache_bytes.set(tier.port.cached_bytes() as u64);
        self.learn(&mut tier);
        self.let_know(&mut tier);
        self.shard.set_ceiling(tier.port.ceiling());
        self.answer_saved(&mut tier);
        self.tier = Some(tier);
        self.resume_held();
        self.resume_batches();
    }

    fn take_saved(&mut self, tier: &mut Tier, mut batch: Box<SaveBatch>) {
        #[cfg(test)]
        let spoilt = |bugs: &mut Bugs| bugs.strike(Bug::LostPlace);
        #[cfg(test)]
        batch.entries.iter_mut().filter(|_| spoilt(&mut tier.bugs)).for_each(|entry| entry.place = None);
        for entries in batch.entries.chunks(SAVED_AHEAD) {
            entries.iter().for_each(|entry| self.shard.prefetch_place(entry.record.hash));
            entries.iter().for_each(|entry| entry.tell(&mut self.shard));
        }
        tier.saving -= 1;
        tier.saved_up_to = batch.up_to;
        batch.clear();
        tier.spare.push(batch);
    }

    pub(super) fn let_go_on(&mut self, id: ConnId) {
        if let Some(conn) = self.connections.find(id) {
            conn.waits_for_tier = false;
            self.mark_dirty(id);
        }
    }

    /// Whether a command has to wait until earlier changes are saved, or is refused.
    #[inline]
    pub(super) fn is_held(&self, command: &Command<'_>, wish: impl FnOnce() -> Wish) -> bool {
        self.tier.is_some() && command.op.changes() && (self.holds_changes() || self.refuses(command, wish()))
    }

    /// Whether a long value has to wait before it begins: for its number, which is one of those of versions, or for the room of
    /// others that are stored when earlier changes are saved. Its client holds what has come of it meanwhile, so it does not wait if
    /// clients hold much.
    pub(super) fn holds_value(&self, database: u16, key: &[u8], bytes: u64) -> bool {
        let may_wait = self.budget.pressure() == Pressure::None;
        !self.shard.may_change() || may_wait && self.shard.waits_for_room(database, key, bytes)
    }

    fn holds_changes(&self) -> bool {
        let (unsaved, bytes) =
            self.tier.as_ref().map_or((usize::MAX, u64::MAX), |tier| (tier.unsaved_max, tier.untaken_max));
        self.shard.unsaved() >= unsaved || self.shard.untaken_bytes() >= bytes || !self.shard.may_change()
    }

    /// Lets a connection wait whose next change, or step of a scan, is held.
    pub(super) fn hold(&mut self, conn: &mut Connection) {
        if let Some(tier) = &mut self.tier
            && !conn.waits_for_tier
        {
            conn.waits_for_tier = true;
            tier.holding.push(conn.id);
            self.stats.tier_holds.add(1);
        }
    }

    /// Lets some go on whose changes were held, those first that wait longest. Not all at once while memory is short: what
    /// each has asked for is asked of other shards, and answered, together with that of the others.
    fn resume_held(&mut self) {
        if !self.has_more_to_resume() {
            return;
        }
        let most = if self.budget.pressure() == Pressure::None { usize::MAX } else { RESUMED_SHORT };
        let holding = self.tier.as_mut().map(|tier| {
            let resumed = tier.holding.len().min(most);
            tier.holding.drain(..resumed).collect::<Vec<_>>()
        });
        holding.into_iter().flatten().for_each(|id| self.let_go_on(id));
    }

    /// Whether connections wait whose changes are not held any more.
    pub(super) fn has_more_to_resume(&self) -> bool {
        let waits = self.tier.as_ref().is_some_and(|tier| !tier.holding.is_empty());
        waits && !self.holds_changes() && self.may_scan()
    }

    /// Hands over what has changed, if it is time.
    pub(super) fn save(&mut self) {
        self.offer();
        self.refill();
        let Some(tier) = &mut self.tier else { return };
        self.stats.tier_unsaved.set(self.shard.unsaved() as u64);
        if self.ticks.saturating_sub(tier.saved_at) >= tier.save_every_ms {
            (tier.saved_at, tier.due_up_to) = (self.ticks, self.shard.changes().1);
        }
        let is_due = self.shard.taken_up_to() < tier.due_up_to
            || self.shard.unsaved() as u64 >= tier.unsaved_max as u64 / SAVE_AT_SHARE
            || self.shard.untaken_bytes() >= tier.save_bytes_at
            || tier.standing.is_refilling()
            || !tier.unanswered.is_empty()
            || self.drain.has_begun();
        if !is_due {
            return;
        }
        while self.shard.has_unsaved() && tier.saving < SAVES_MAX {
            tier.hand_over(&mut self.shard, self.now);
        }
    }

    /// How long the worker may wait until something is to be saved, or brought back.
    pub(super) fn until_save(&self) -> Duration {
        match &self.tier {
            Some(tier) if tier.standing.is_refilling() || !tier.unanswered.is_empty() => Duration::ZERO,
            Some(_) if self.is_saving_rest() => Duration::ZERO,
            Some(tier) if self.shard.has_unsaved() => {
                let passed = self.ticks.saturating_sub(tier.saved_at);
                let saved = Duration::from_millis(tier.save_every_ms.saturating_sub(passed));
                saved.min(self.until_given_up().unwrap_or(Duration::MAX))
            }
            _ => self.until_given_up().unwrap_or(Duration::MAX),
        }
    }

    /// Whether everything is on the medium. The tier is told once that nothing more comes.
    pub(super) fn is_saved(&self) -> bool {
        self.tier.as_ref().is_none_or(|tier| {
            tier.saving == 0
                && !self.shard.has_unsaved()
                && (!tier.demotes || tier.is_rest_offered)
                && !tier.standing.is_refilling()
        })
    }

    /// Nothing more comes from this shard.
    pub(crate) fn end_tier(&mut self) {
        let is_saved = self.is_saved() || self.hand_over_last();
        if let Some(tier) = self.tier.as_mut().filter(|tier| !tier.is_ended) {
            tier.is_ended = true;
            tier.port.end(is_saved);
        }
    }
}

#[cfg(test)]
mod tests;
