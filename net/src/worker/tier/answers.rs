//! Answers that wait until their changes are saved, under `--durability always`.

use super::state::{Tier, Unanswered};
use crate::worker::connection::Connection;
use crate::worker::mail::Batch;
use crate::worker::state::WorkerState;
use torc_engine::command::{Command, Op};

impl WorkerState {
    /// Lets answers go whose changes are saved. If the tier is out of use, those never will be: their clients are cut off, as
    /// their answers are not true.
    pub(in crate::worker) fn answer_saved(&mut self, tier: &mut Tier) {
        let is_latched = tier.port.figures().is_latched();
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

    /// What [`WorkerState::answer_later`] compares with. `repeats`: there may be a change among what follows that was made
    /// before, and is answered from the record.
    #[inline]
    pub(in crate::worker) fn changes_before(&self, repeats: impl FnOnce() -> bool) -> u64 {
        match &self.tier {
            Some(tier) if tier.is_always && !repeats() => self.shard.changes().0,
            _ => u64::MAX,
        }
    }

    /// Holds a connection's answers back if something has changed since: until that is saved.
    #[inline]
    pub(in crate::worker) fn answer_later(&mut self, conn: &mut Connection, before: u64) {
        let Some(tier) = self.tier.as_mut().filter(|tier| tier.is_always) else { return };
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
        if let Some(tier) = self.tier.as_mut().filter(|tier| tier.is_always) {
            let (_, up_to) = self.shard.changes();
            if up_to > tier.saved_up_to {
                return tier.unanswered.push_back((up_to, Unanswered::Batch(shard, batch)));
            }
        }
        if let Some(lane) = self.mail.lane(shard) {
            lane.answer(batch);
        }
    }

    /// Whether a change is refused, as it can not be saved before it is answered, or what was before it could come back.
    #[inline]
    pub(in crate::worker) fn refuses(&self, command: &Command<'_>) -> bool {
        let Some(tier) = &self.tier else { return false };
        let figures = tier.port.figures();
        figures.is_latched()
            && (tier.is_always || !figures.is_void())
            && !matches!(&command.op, Op::Read(read) if !read.changes())
    }
}
