//! Items that are brought back, or read for their keys.

use super::state::{Back, Fetching, Tier};
use crate::session::{Deadline, Part, Work};
use crate::tier::{Arrived, Fetched};
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::connection::Connection;
use crate::worker::execute::Prepared;
use crate::worker::state::WorkerState;
use crate::worker::step::{Scanner, Step};
use torc_engine::command::{Command, Ticket};
use torc_pmem::format::geometry::Place;
use torc_pmem::format::page::BadPage;
use torc_pmem::stream::Miss;

/// Items of one shard that are being fetched, beyond those that somebody waits for.
const FETCHES_AHEAD_MAX: usize = 256;
/// What those take at most, bytes: for each its entries in the maps of items and pages, with who waits.
pub(super) const FETCHES_BYTES: u64 = 256 * FETCHES_AHEAD_MAX as u64;
/// Requests of one connection whose items are fetched before it comes to them.
const AHEAD_PARTS_MAX: usize = 64;

impl WorkerState {
    /// Gives those their items who asked for a page.
    pub(super) fn take_arrived(&mut self, tier: &mut Tier, arrived: Arrived) {
        let is_latched = tier.port.is_out();
        let page = arrived.page.as_ref().ok().filter(|_| !is_latched);
        let mut is_missed = false;
        for (hash, place) in arrived.asked {
            let item = page.and_then(|page| page.item(Place::from_bits(place).ordinal()).ok());
            is_missed |= match self.take_chunk(tier, (hash, place), item) {
                Some(is_missed) => is_missed,
                None => self.take_fetched(tier, (hash, Ticket(place)), item),
            };
        }
        // What nobody misses was written over while it was read.
        if is_missed && !is_latched {
            tier.port.figures().count_miss(&arrived.page.err().unwrap_or(Miss::Corrupt(BadPage::Item)));
        }
    }

    /// Returns whether it could not be had, and was still wanted.
    fn take_fetched(&mut self, tier: &mut Tier, there: (u64, Ticket), item: Option<&[u8]>) -> bool {
        let mut fetching = tier.fetching.remove(&there.1.0).unwrap_or_default();
        #[cfg(test)]
        let older = tier.bugs.instead(there.0, item);
        #[cfg(test)]
        let item = older.as_deref().or(item);
        for scanner in std::mem::take(&mut fetching.scanning) {
            self.take_key(tier, scanner, there, item);
        }
        let back = match item {
            Some(_) if !fetching.is_wanted => Back::Done,
            _ => self.bring_back(&mut tier.returns, there, item),
        };
        #[cfg(test)]
        if tier.bugs.strike(Bug::LostFetch) {
            fetching.waiting.clear();
        }
        if back == Back::IsComing {
            tier.fetching.insert(there.1.0, fetching);
        } else {
            fetching.waiting.into_iter().for_each(|id| self.let_go_on(id));
        }
        back == Back::Missed
    }

    /// A command on this shard's key needs the item of a ticket. True: it is there now, or nowhere; else the connection waits
    /// for it, or until somebody knows whether there is one, which it does no longer than to the deadline.
    pub(in crate::worker) fn fetch(
        &mut self,
        hash: u64,
        ticket: Ticket,
        waiter: Option<(&mut Connection, Deadline)>,
    ) -> bool {
        if ticket == Ticket::UNKNOWN {
            if let Some((conn, deadline)) = waiter {
                self.wait_to_know(conn, hash, deadline);
            }
            return false;
        }
        let Some(mut tier) = self.tier.take() else {
            // Nobody else puts items elsewhere.
            self.shard.forget_elsewhere(hash, ticket);
            return true;
        };
        let is_asked = tier.fetching.contains_key(&ticket.0);
        let is_there = !is_asked && self.fetch_from(&mut tier, hash, ticket);
        if let Some(fetching) = tier.fetching.get_mut(&ticket.0).filter(|_| !is_there) {
            fetching.is_wanted = true;
            if let Some((conn, _)) = waiter {
                conn.waits_for_tier = true;
                fetching.waiting.push(conn.id);
            }
        }
        self.tier = Some(tier);
        is_there
    }

    /// True: what there is to have is there. Else a reply will come.
    fn fetch_from(&mut self, tier: &mut Tier, hash: u64, ticket: Ticket) -> bool {
        self.stats.tier_fetches.add(1);
        let fetched = tier.port.fetch(hash, ticket.0);
        self.count_fetched(&fetched);
        let item = match fetched {
            Fetched::Later => {
                tier.fetching.insert(ticket.0, Fetching::default());
                return false;
            }
            Fetched::Item(item) | Fetched::Kept(item) => Some(item),
            Fetched::Gone => None,
        };
        let is_there = self.bring_back(&mut tier.returns, (hash, ticket), item) != Back::IsComing;
        if !is_there {
            tier.fetching.insert(ticket.0, Fetching::default());
        }
        is_there
    }

    pub(super) fn count_fetched(&self, fetched: &Fetched<'_>) {
        match fetched {
            Fetched::Later => self.stats.tier_cache_misses.add(1),
            Fetched::Kept(_) => self.stats.tier_cache_hits.add(1),
            Fetched::Item(_) | Fetched::Gone => {}
        }
    }

    /// Whether another step of a scan may begin: each may have some hundred items fetched.
    pub(in crate::worker) fn may_scan(&self) -> bool {
        self.tier.as_ref().is_none_or(|tier| tier.fetching.len() < FETCHES_AHEAD_MAX)
    }

    /// Adds the keys of items to a step of a scan, or has them fetched. They are not brought back for that.
    pub(in crate::worker) fn fetch_keys(
        &mut self,
        elsewhere: &[(u64, Ticket)],
        step: &mut Step,
        scanner: Scanner,
    ) {
        let Some(mut tier) = self.tier.take() else { return };
        for &(hash, ticket) in elsewhere {
            if let Some(fetching) = tier.fetching.get_mut(&ticket.0) {
                fetching.scanning.push(scanner);
                step.missing += 1;
                continue;
            }
            let fetched = tier.port.fetch(hash, ticket.0);
            self.count_fetched(&fetched);
            match fetched {
                Fetched::Later => {
                    let fetching = Fetching { scanning: vec![scanner], ..Fetching::default() };
                    tier.fetching.insert(ticket.0, fetching);
                    step.missing += 1;
                }
                Fetched::Item(item) | Fetched::Kept(item) => {
                    self.shard.scan_elsewhere(
                        step.database,
                        (hash, ticket),
                        item,
                        self.now,
                        (step.tells, &mut step.keys),
                    );
                }
                Fetched::Gone => _ = self.shard.forget_elsewhere(hash, ticket),
            }
        }
        self.tier = Some(tier);
    }

    /// Takes an item that was fetched for its key.
    pub(in crate::worker) fn take_key(
        &mut self,
        tier: &mut Tier,
        scanner: Scanner,
        there: (u64, Ticket),
        item: Option<&[u8]>,
    ) {
        let step = match scanner {
            Scanner::Client(id) => self.connections.find(id).and_then(|conn| conn.scans.as_deref_mut()),
            Scanner::Shard(shard) => tier.steps[usize::from(shard)].as_mut(),
        };
        let Some(step) = step else { return };
        if let Some(item) = item {
            self.shard.scan_elsewhere(step.database, there, item, self.now, (step.tells, &mut step.keys));
        }
        step.missing = step.missing.saturating_sub(1);
        let is_whole = step.missing == 0;
        if let Scanner::Client(id) = scanner {
            // The keys are memory that it holds.
            if let Some(conn) = self.connections.find(id) {
                self.budget.charge(conn);
            }
            if is_whole {
                self.let_go_on(id);
            }
        }
    }

    /// The step of a scan at which the first batch of a shard has stopped.
    pub(in crate::worker) fn take_step(&mut self, shard: u16) -> Option<Step> {
        self.tier.as_mut()?.steps[usize::from(shard)].take()
    }

    pub(in crate::worker) fn keep_step(&mut self, shard: u16, step: Step) {
        if let Some(tier) = &mut self.tier {
            tier.steps[usize::from(shard)] = Some(step);
        }
    }

    /// Has the item of a command fetched that is behind one that waits. False: too many are being fetched.
    pub(in crate::worker) fn fetch_ahead(&mut self, command: &Command<'_>, hash: u64) -> bool {
        let may = self.tier.as_ref().is_some_and(|tier| tier.fetching.len() < FETCHES_AHEAD_MAX);
        if may && let Some(ticket) = self.shard.ticket_for(command, hash, self.now) {
            self.fetch(self.shard.item_hash(command.database, hash), ticket, None);
        }
        may
    }

    /// The same for the part that is put behind a connection's deferred ones, if that was done for all of those.
    pub(in crate::worker) fn fetch_deferred(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        prepared: Prepared,
    ) {
        let is_next = conn.ahead == conn.deferred.len() && conn.ahead < AHEAD_PARTS_MAX;
        conn.ahead += usize::from(is_next && self.fetch_part(part, prepared));
    }

    /// The same for the deferred parts that it was not done for.
    pub(in crate::worker) fn fetch_all_deferred(&mut self, conn: &mut Connection) {
        while conn.ahead < AHEAD_PARTS_MAX
            && let Some(deferred) = conn.deferred.get(conn.ahead)
        {
            let part = deferred.part();
            let prepared = self.prepare_part(&part);
            if !self.fetch_part(&part, prepared) {
                break;
            }
            conn.ahead += 1;
        }
    }

    fn fetch_part(&mut self, part: &Part<'_>, prepared: Prepared) -> bool {
        match &part.work {
            Work::Keyed(command) if prepared.shard == self.number => self.fetch_ahead(command, prepared.hash),
            _ => true,
        }
    }
}
