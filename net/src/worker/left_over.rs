//! What must hold after each turn, and what must be gone when no client waits for anything. The simulator looks at it.

use super::rounds::{CONNECTION_PARTS, TURN_CONNECTION_PARTS};
use super::state::WorkerState;
use std::collections::VecDeque;

/// What clients may hold beyond their memory: answers to the parts of the round that used it up.
const ROUND_BYTES: usize = 256 << 10;

impl WorkerState {
    /// What transactions have left, and how much of it.
    fn transactions_left(&self) -> [(&'static str, u64); 5] {
        let (keys, waiting) = self.holds.figures();
        [
            ("held keys", keys),
            ("transactions that wait for keys", waiting),
            ("connections that wait for held keys", self.holds.conns_waiting()),
            ("transactions that are given up after a time", self.acquiring.len()),
            ("ghosts", self.connections.ghosts().len()),
        ]
        .map(|(what, count)| (what, count as u64))
    }

    /// Whether nobody was given more than a share of the turn.
    ///
    /// # Errors
    /// Whoever was, in words.
    pub(crate) fn shares_are_kept(&mut self) -> Result<(), String> {
        // More than the share by some rounds' parts: what is being parsed when it is used up is parsed to its end.
        let most = TURN_CONNECTION_PARTS + 4 * CONNECTION_PARTS;
        for place in 0..self.connections.places() {
            let Some(conn) = self.connections.at(place) else { continue };
            if conn.marks.parts() > most {
                return Err(format!("{:?} had {} parts of a turn", conn.id, conn.marks.parts()));
            }
        }
        Ok(())
    }

    /// Whether clients hold what they are charged for, and no more than they may, or than `allowed`. Returns what they may hold.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn budget_is_kept(&mut self, allowed: usize) -> Result<usize, String> {
        let mut charged = 0;
        for place in 0..self.connections.places() {
            let Some(conn) = self.connections.at(place) else { continue };
            let held = conn.bytes_held();
            if held != conn.charged {
                return Err(format!("{:?} holds {held} bytes and is charged for {}", conn.id, conn.charged));
            }
            charged += conn.charged;
        }
        charged += self.connections.ghosts().iter().map(|ghost| ghost.charged).sum::<usize>();
        let (told, used, grant) = (self.budget.charged(), self.budget.used(), self.budget.grant());
        if charged != told {
            return Err(format!("connections are charged for {charged} bytes, the account is {told}"));
        }
        let most = grant / 16 * 17 + ROUND_BYTES;
        if used > most.max(allowed) {
            return Err(format!("clients hold {used} bytes of {grant}"));
        }
        Ok(most)
    }

    /// Bytes that the store has and clients need, if nothing is pinned.
    pub(crate) fn bytes_overdue(&self) -> u64 {
        let (pinned, _) = self.shard.held();
        match pinned {
            0 => self.budget.overdue(self.shard.bytes_held(), self.shared.beyond_accounts()),
            _ => 0,
        }
    }

    /// Bytes that are for the store and that it may not take, by the figures of its last second.
    pub(crate) fn bytes_idle(&self) -> u64 {
        let stats = self.shard.stats();
        let figures = [&stats.bytes_segments_max, &stats.bytes_index, &stats.bytes_bookkeeping];
        let taken = figures.iter().map(|figure| figure.read()).sum();
        self.budget.idle(taken, self.shared.beyond_accounts())
    }

    /// Bytes of the memory that the store may fill now; `u64::MAX` if it has memory of its own.
    pub(crate) fn bytes_left_to_store(&self) -> u64 {
        self.budget.left_to_store(self.shared.beyond_accounts())
    }

    /// What clients hold of what they may, for a report.
    pub(crate) fn budget_in_words(&self) -> String {
        let (used, grant, charged) = (self.budget.used(), self.budget.grant(), self.budget.charged());
        let (mail, stock) = (self.mail.bytes_held(), self.pool.bytes_held());
        format!("{used} bytes of {grant} in use: {charged} by connections, {mail} by mail, {stock} in stock")
    }

    /// With a tier: how many changes are counted, and how many of them are on it.
    pub(crate) fn changes_and_saved(&self) -> Option<(u64, u64)> {
        self.tier.as_ref().map(|tier| (self.shard.changes().1, tier.saved_up_to()))
    }

    /// Bytes that connections are charged for.
    pub(crate) fn charged(&self) -> usize {
        self.budget.charged()
    }

    /// What keeps the worker from waiting, for a report.
    pub(crate) fn keeps_awake(&self) -> Vec<&'static str> {
        let all = [
            ("rounds", !self.rounds.is_empty()),
            ("connections to look after", !self.dirty.is_empty()),
            ("batches to go on with", self.mail.has_resumable()),
            ("keys of a tier to learn", self.has_more_to_learn()),
            ("long values that return", self.has_more_to_return()),
            ("a walk", self.has_more_to_walk()),
            ("known keys", self.shard.has_known()),
            ("holds", self.holds.has_news()),
            ("notices", self.notices.has_news()),
        ];
        all.into_iter().filter(|(_, does)| *does).map(|(what, _)| what).collect()
    }

    /// Compares every account with a recount, and looks for what clients have left behind.
    ///
    /// # Errors
    /// What is there and should not be, in words.
    pub(crate) fn left_over(&mut self) -> Result<(), String> {
        self.shard.audit()?;
        let (pinned, upload_bytes) = self.shard.held();
        let mut counts = vec![
            ("pinned segments", pinned as u64),
            ("bytes of uploads", upload_bytes),
            ("uploads of other shards", self.foreign_uploads.len() as u64),
            ("requests at other shards", self.mail.under_way() as u64),
            ("pieces of mail that have not gone", u64::from(!self.mail.has_sent_all())),
            ("connections to be parsed", u64::from(!self.rounds.is_empty())),
        ];
        counts.extend(self.tier.iter().flat_map(|tier| tier.under_way()));
        counts.extend(self.transactions_left());
        let stopped = self.stopped.iter().map(VecDeque::len).sum::<usize>();
        counts.push(("batches that have stopped", stopped as u64));
        let mut charged = 0;
        let mut subscribed = 0;
        for place in 0..self.connections.places() {
            let Some(conn) = self.connections.at(place) else { continue };
            charged += conn.charged;
            subscribed += conn.subscription_bytes;
            counts.extend([
                ("parts that wait for answers", conn.queue.len() as u64),
                ("parts that are not begun", conn.deferred.len() as u64),
                ("bytes of answers", conn.output.bytes() as u64),
                ("slices under way", conn.slices_under_way as u64),
                ("values half received", u64::from(conn.upload.is_some())),
                ("bytes of input", conn.input.len() as u64),
                ("connections that wait for the tier", u64::from(conn.waits_for_tier)),
                ("scripts that were sent back", u64::from(conn.keeps_script)),
            ]);
        }
        let nobodys = self.subscriptions.is_some() && subscribed == 0;
        counts.push(("subscriptions of nobody", u64::from(nobodys)));
        counts.push(("bytes charged to nobody", self.budget.charged().abs_diff(charged) as u64));
        counts.retain(|(_, count)| *count > 0);
        match counts.is_empty() {
            true => Ok(()),
            false => Err(format!("shard {} has something left: {counts:?}", self.number)),
        }
    }
}
