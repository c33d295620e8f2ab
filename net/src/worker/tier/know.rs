//! Commands of this shard's clients that wait until more is known of their keys: they go on when it is, and not before.
//!
//! The shard says of which keys that were waited for more is known, be it told by the tier or changed by somebody else. What a
//! stream's end, a flush or the end of recovery makes known lets all go on. Clients of other shards are told to ask again:
//! see `deliver.rs`.

use super::state::Tier;
use crate::session::Deadline;
use crate::worker::connection::Connection;
use crate::worker::state::WorkerState;

impl WorkerState {
    /// Lets a connection wait until more is known of the key of a command, or the command's time is over.
    pub(super) fn wait_to_know(&mut self, conn: &mut Connection, hash: u64, deadline: Deadline) {
        let Some(tier) = &mut self.tier else { return };
        self.stats.tier_recovery_waits.add(1);
        conn.waits_for_tier = true;
        tier.unknown.keys.entry(hash).or_default().push(conn.id);
        if deadline != Deadline::NONE {
            tier.unknown.deadlines.push((deadline, conn.id));
        }
        self.shard.await_known(hash);
    }

    /// Lets a scan of this shard wait until all of its keys are known.
    pub(in crate::worker) fn wait_to_know_all(&mut self, conn: &mut Connection) {
        if let Some(tier) = &mut self.tier {
            conn.waits_for_tier = true;
            tier.unknown.scans.push(conn.id);
        }
    }

    /// Lets those go on of whose keys more is known, and those whose time is over.
    pub(super) fn let_know(&mut self, tier: &mut Tier) {
        let unknown = &mut tier.unknown;
        if unknown.keys.is_empty() && unknown.scans.is_empty() {
            return;
        }
        let (mut woken, now) = (Vec::new(), self.now);
        self.shard.take_known(|hash| woken.extend(unknown.keys.remove(&hash).into_iter().flatten()));
        if !self.shared.is_recovering(self.number) {
            woken.extend(std::mem::take(&mut unknown.keys).into_values().flatten());
            woken.append(&mut unknown.scans);
            unknown.deadlines.clear();
        }
        woken.extend(
            unknown.deadlines.extract_if(.., |(deadline, _)| deadline.is_past(now)).map(|(_, id)| id),
        );
        woken.into_iter().for_each(|id| self.let_go_on(id));
    }

    /// Whether somebody waits who does not wait longer than to a deadline.
    pub(in crate::worker) fn watches_deadlines(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| !tier.unknown.deadlines.is_empty())
    }
}
