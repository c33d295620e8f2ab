//! Answers that wait until their changes are saved, under `--durability always`.

use super::state::{Tier, Unanswered};
#[cfg(doc)]
use crate::session::Part;
use crate::session::Wish;
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::connection::Connection;
use crate::worker::mail::Batch;
use crate::worker::state::WorkerState;
use torc_engine::command::Command;

impl WorkerState {
    /// Lets answers go whose changes are saved. If the tier is out of use, those never will be: their clients are cut off, as
    /// their answers are not true.
    pub(in crate::worker) fn answer_saved(&mut self, tier: &mut Tier) {
        let is_latched = tier.port.is_out();
        while let Some((up_to, _)) = tier.unanswered.front()
            && (is_latched || *up_to <= tier.saved_up_to)
        {
            match tier.unanswered.pop_front() {
                Some((_, Unanswered::Client(id))) => {
                    if let Some(conn) = self.connections.find(id) {
                        conn.is_untrue |= is_latched;
                        self.mark_dirty(id);
                    }
                }
                Some((_, Unanswered::Batch(shard, mut batch))) => {
                    batch.is_untrue = is_latched;
                    self.mail
                        .lane(shard)
                        .into_iter()
                        .for_each(|lane| lane.answer(std::mem::take(&mut batch)));
                }
                None => {}
            }
        }
    }

    /// What [`WorkerState::answer_later`] compares with. `wished`: of the changes among what follows, as [`Part::wished`] has it.
    #[inline]
    pub(in crate::worker) fn changes_before<W: Iterator<Item = (Wish, bool)>>(
        &self,
        wished: impl FnOnce() -> W,
    ) -> Option<u64> {
        let tier = self.tier.as_ref()?;
        let mut waiting = wished().filter(|(wish, _)| tier.answers_late(*wish)).peekable();
        waiting.peek()?;
        // One that was made before is answered from the record, and may not be saved for all that.
        let repeats = waiting.any(|(_, is_numbered)| is_numbered);
        Some(if repeats { u64::MAX } else { self.shard.changes().0 })
    }

    /// Holds a connection's answers back if something has changed since: until that is saved.
    #[inline]
    pub(in crate::worker) fn answer_later(&mut self, conn: &mut Connection, before: Option<u64>) {
        let Some((before, tier)) = before.zip(self.tier.as_mut()) else { return };
        #[cfg(test)]
        if tier.bugs.strike(Bug::EarlyAnswer) {
            return;
        }
        let (changes, up_to) = self.shard.changes();
        if changes != before && conn.answers_after < up_to {
            conn.answers_after = up_to;
            tier.unanswered.push_back((up_to, Unanswered::Client(conn.id)));
        }
    }

    /// Whether a connection's answers wait until its changes are saved.
    #[inline]
    pub(in crate::worker) fn waits_to_answer(&self, conn: &Connection) -> bool {
        self.tier.as_ref().is_some_and(|tier| conn.answers_after > tier.saved_up_to)
    }

    /// Sends a batch home, when everything that has changed until now is saved.
    pub(in crate::worker) fn send_home(&mut self, shard: u16, batch: Box<Batch>) {
        if let Some(tier) = self.tier.as_mut() {
            let (_, up_to) = self.shard.changes();
            if up_to > tier.saved_up_to && tier.sends_late(&batch) {
                return tier.unanswered.push_back((up_to, Unanswered::Batch(shard, batch)));
            }
        }
        if let Some(lane) = self.mail.lane(shard) {
            lane.answer(batch);
        }
    }

    /// Whether a change is refused, as it can not be saved before it is answered, or what was before it could come back.
    #[inline]
    pub(in crate::worker) fn refuses(&self, command: &Command<'_>, wish: Wish) -> bool {
        command.op.changes() && self.lacks_tier(wish)
    }

    /// Whether the tier is out of use, and a change that wants this of it cannot be made.
    pub(in crate::worker) fn lacks_tier(&self, wish: Wish) -> bool {
        let Some(tier) = &self.tier else { return false };
        tier.port.is_out() && (tier.answers_late(wish) || !tier.port.figures().is_void())
    }

    /// Whether the answer to a change that wants this is not true when the tier has failed before it was saved.
    pub(in crate::worker) fn is_untrue(&self, wish: Wish) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.answers_late(wish))
    }
}

impl Tier {
    /// Whether a change that wants this is answered when it is saved.
    fn answers_late(&self, wish: Wish) -> bool {
        match wish {
            Wish::AsSet => self.is_always,
            Wish::Durable => true,
            Wish::AtOnce => false,
        }
    }

    /// Whether another shard's batch goes home when what has changed is saved.
    fn sends_late(&self, batch: &Batch) -> bool {
        if batch.has_only_notices() {
            return false;
        }
        let mut wished = batch.wished().peekable();
        // What was only read may have been changed before by one who waits.
        let is_read = wished.peek().is_none();
        (is_read && self.is_always) || wished.any(|wish| self.answers_late(wish))
    }
}
