//! Long values that are brought back: first the head, then its chunks, a bounded number of them at a time.
//!
//! Whoever waits for the value goes on when all of it is in DRAM, or when it is known that it cannot be had. So a value that is
//! not whole is a miss, and never the beginning of an answer.

use super::state::{Back, Returns, Tier};
use crate::tier::Fetched;
use crate::worker::state::WorkerState;
use std::time::Duration;
use torc_engine::command::{Millis, Ticket};
use torc_engine::shard::Returning;

/// Long values of a shard that are on their way back at a time; others wait.
pub(super) const RETURNS_MAX: usize = 2;
/// Chunks of each that are being fetched at a time.
pub(super) const CHUNKS_MAX: usize = 4;
/// Chunks that a turn reads from a medium that is as fast as memory.
const TURN_CHUNKS: usize = 4;
/// One for which there is no memory is given up if no pinned segment was given back for so long, milliseconds: clients that take
/// nothing of what pins them are closed after that time.
pub(super) const PATIENCE_MS: Millis = 5000;
/// The same if some were, but never enough at a time: others wait behind it.
pub(super) const PATIENCE_MAX_MS: Millis = 60_000;
/// Memory of those that were fetched and are not in their place, bytes. A chunk is at most an eighth of a segment.
pub(super) const RETURN_BYTES: u64 =
    (RETURNS_MAX * CHUNKS_MAX * torc_engine::shard::SEGMENT_BYTES / 8) as u64;

impl WorkerState {
    /// Puts an item back that was fetched. One that cannot be had, or finds no room, misses from now on.
    pub(super) fn bring_back(
        &mut self,
        returns: &mut Returns,
        (hash, ticket): (u64, Ticket),
        item: Option<&[u8]>,
    ) -> Back {
        let Some(item) = item else {
            return if self.shard.forget_elsewhere(hash, ticket) { Back::Missed } else { Back::Done };
        };
        match self.shard.promote(hash, ticket, item, self.now) {
            Ok(None) => self.stats.tier_promotions.add(1),
            Ok(Some(returning)) => {
                returns.waiting.push_back((self.now, returning));
                returns.has_more = true;
                return Back::IsComing;
            }
            Err(_) => _ = self.shard.forget_elsewhere(hash, ticket),
        }
        Back::Done
    }

    /// Takes what was fetched, if it is a chunk that is waited for, and returns whether it could not be had although the index
    /// names it.
    pub(super) fn take_chunk(
        &mut self,
        tier: &mut Tier,
        (name, place): (u64, u64),
        bytes: Option<&[u8]>,
    ) -> Option<bool> {
        let (head, chunk) = tier.returns.chunks.remove(&place)?;
        debug_assert_eq!(chunk.name, name, "what is fetched is asked for by its name");
        let is_missed = bytes.is_none() && self.shard.chunk_place(name) == Some(place);
        let under_way = tier.returns.under_way.iter_mut().find(|returning| returning.ticket() == head);
        let Some(returning) = under_way else { return Some(false) };
        let came = bytes.is_some_and(|bytes| self.shard.chunk_back(returning, &chunk, bytes).is_ok());
        if !came {
            self.lose_head(tier, head);
        }
        Some(is_missed)
    }

    /// Has the next chunks fetched, and ends what is complete.
    pub(super) fn go_on_returning(&mut self, tier: &mut Tier) {
        let mut turn_chunks = TURN_CHUNKS;
        tier.returns.has_more = false;
        self.start_returns(tier);
        for _ in 0..tier.returns.under_way.len() {
            let Some(mut returning) = tier.returns.under_way.pop_front() else { break };
            let goes_on = self.fetch_chunks(tier, &mut returning, &mut turn_chunks);
            let head = returning.ticket();
            tier.returns.under_way.push_back(returning);
            match goes_on {
                Some(true) => {}
                Some(false) => self.end_return(tier, head),
                None => self.lose_head(tier, head),
            }
        }
        let under_way = tier.returns.under_way.len();
        self.start_returns(tier);
        tier.returns.has_more |= tier.returns.under_way.len() > under_way;
    }

    /// Starts as many as may be under way, in their order.
    fn start_returns(&mut self, tier: &mut Tier) {
        let given_back = self.shard.pins_given_back();
        if std::mem::replace(&mut tier.returns.pins_given_back, given_back) != given_back {
            tier.returns.given_back_at = self.now;
        }
        while tier.returns.under_way.len() < RETURNS_MAX
            && let Some((since, mut returning)) = tier.returns.waiting.pop_front()
        {
            let has_waited = self.now >= patient_until(&tier.returns, since);
            match self.shard.start_return(&mut returning, self.now) {
                Ok(true) => tier.returns.under_way.push_back(returning),
                // Memory comes back as clients take their answers, and values that are under way arrive: each pin that is given back
                // begins another turn.
                Ok(false) if !has_waited => return tier.returns.waiting.push_front((since, returning)),
                Ok(false) | Err(_) => self.lose(tier, returning),
            }
        }
    }

    /// Has the next chunks of one value fetched. `Some(false)`: all are there. `None`: it cannot be had.
    fn fetch_chunks(
        &mut self,
        tier: &mut Tier,
        returning: &mut Returning,
        turn_chunks: &mut usize,
    ) -> Option<bool> {
        while returning.missing() < CHUNKS_MAX {
            if *turn_chunks == 0 {
                tier.returns.has_more = true;
                return Some(true);
            }
            let Some(chunk) = self.shard.chunk_to_fetch(returning, self.now).ok()? else {
                return Some(returning.missing() > 0);
            };
            let fetched = tier.port.fetch(chunk.name, chunk.ticket.0);
            self.count_fetched(&fetched);
            match fetched {
                Fetched::Later => {
                    tier.returns.chunks.insert(chunk.ticket.0, (returning.ticket(), chunk));
                }
                Fetched::Item(bytes) | Fetched::Kept(bytes) => {
                    *turn_chunks -= 1;
                    self.shard.chunk_back(returning, &chunk, bytes).ok()?;
                }
                Fetched::Gone => return None,
            }
        }
        Some(true)
    }

    fn end_return(&mut self, tier: &mut Tier, head: Ticket) {
        let Some(at) = tier.returns.position(head) else { return };
        let is_back = self.shard.end_return(&tier.returns.under_way[at], self.now).is_ok();
        if !is_back {
            return self.lose_head(tier, head);
        }
        self.stats.tier_promotions.add(1);
        let returning = tier.returns.under_way.remove(at);
        self.go_on_waiting(tier, head, returning);
    }

    fn lose_head(&mut self, tier: &mut Tier, head: Ticket) {
        let at = tier.returns.position(head);
        if let Some(returning) = at.and_then(|at| tier.returns.under_way.remove(at)) {
            self.lose(tier, returning);
        }
    }

    /// A value cannot be had: its key misses from now on.
    fn lose(&mut self, tier: &mut Tier, returning: Returning) {
        let head = returning.ticket();
        tier.returns.chunks.retain(|_, (of, _)| *of != head);
        let is_lost = self.shard.forget_elsewhere(returning.hash(), head);
        self.stats.tier_long_lost.add(u64::from(is_lost));
        self.shard.stop_return(returning);
        self.go_on_waiting(tier, head, None);
    }

    /// Lets go on who waited for what lies, or lay, at a place. A scan gets the key of what was brought back.
    fn go_on_waiting(&mut self, tier: &mut Tier, ticket: Ticket, back: Option<Returning>) {
        let fetching = tier.fetching.remove(&ticket.0).unwrap_or_default();
        let hash = back.as_ref().map_or(0, Returning::hash);
        for scanner in fetching.scanning {
            self.take_key(tier, scanner, (hash, ticket), back.as_ref().map(Returning::bytes));
        }
        fetching.waiting.into_iter().for_each(|id| self.let_go_on(id));
    }

    /// How long the first long value that waits for memory may still do so, if one does.
    pub(super) fn until_given_up(&self) -> Option<Duration> {
        let returns = &self.tier.as_ref()?.returns;
        let (since, _) = returns.waiting.front()?;
        Some(Duration::from_millis(patient_until(returns, *since).saturating_sub(self.now)))
    }

    /// Whether long values are on their way that nothing else is waited for, or memory was given back that one waits for.
    pub(in crate::worker) fn has_more_to_return(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| {
            let returns = &tier.returns;
            let is_given_back = returns.pins_given_back != self.shard.pins_given_back();
            returns.has_more || is_given_back && !returns.waiting.is_empty()
        })
    }
}

/// Until when one waits for memory that has waited since then.
fn patient_until(returns: &Returns, since: Millis) -> Millis {
    (since.max(returns.given_back_at) + PATIENCE_MS).min(since + PATIENCE_MAX_MS)
}
