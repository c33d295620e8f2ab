//! Items that are brought back, or read for their keys.

use super::{Fetching, Tier};
use crate::tier::Fetched;
use crate::worker::connection::Connection;
use crate::worker::scan::{Scanner, Step};
use crate::worker::state::WorkerState;
use torc_engine::command::{Command, Ticket};

/// Items of one shard that are being fetched, beyond those that somebody waits for.
const FETCHES_AHEAD_MAX: usize = 128;

impl WorkerState {
    /// A command on this shard's key needs the item of a ticket. True: it is there now, or nowhere; else the connection waits
    /// for it.
    pub(in crate::worker) fn fetch(
        &mut self,
        hash: u64,
        ticket: Ticket,
        waiter: Option<&mut Connection>,
    ) -> bool {
        let Some(mut tier) = self.tier.take() else {
            // Nobody else puts items elsewhere.
            self.shard.forget_elsewhere(hash, ticket);
            return true;
        };
        let is_asked = tier.fetching.contains_key(&ticket.0);
        let is_there = !is_asked && self.fetch_from(&mut tier, hash, ticket);
        if let Some(fetching) = tier.fetching.get_mut(&ticket.0).filter(|_| !is_there) {
            fetching.is_wanted = true;
            if let Some(conn) = waiter {
                conn.waits_for_tier = true;
                fetching.waiting.push(conn.id);
            }
        }
        self.tier = Some(tier);
        is_there
    }

    /// True: what there is to have is there. Else a reply will come.
    pub(in crate::worker) fn fetch_from(&mut self, tier: &mut Tier, hash: u64, ticket: Ticket) -> bool {
        self.stats.tier_fetches.add(1);
        let item = match tier.port.fetch(hash, ticket.0) {
            Fetched::Later => {
                tier.fetching.insert(ticket.0, Fetching::default());
                return false;
            }
            Fetched::Item(item) => Some(item),
            Fetched::Gone => None,
        };
        let is_there = self.bring_back(&mut tier.returns, (hash, ticket), item);
        if !is_there {
            tier.fetching.insert(ticket.0, Fetching::default());
        }
        is_there
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
            match tier.port.fetch(hash, ticket.0) {
                Fetched::Later => {
                    let fetching = Fetching { scanning: vec![scanner], ..Fetching::default() };
                    tier.fetching.insert(ticket.0, fetching);
                    step.missing += 1;
                }
                Fetched::Item(item) => {
                    self.shard.scan_elsewhere(step.space, (hash, ticket), item, self.now, &mut step.keys);
                }
                Fetched::Gone => self.shard.forget_elsewhere(hash, ticket),
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
            self.shard.scan_elsewhere(step.space, there, item, self.now, &mut step.keys);
        }
        step.missing = step.missing.saturating_sub(1);
        if step.missing == 0
            && let Scanner::Client(id) = scanner
        {
            self.let_go_on(id);
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

    /// Has the item of a command fetched that is behind one that waits.
    pub(in crate::worker) fn fetch_ahead(&mut self, command: &Command<'_>, hash: u64) {
        let may = self.tier.as_ref().is_some_and(|tier| tier.fetching.len() < FETCHES_AHEAD_MAX);
        if may && let Some(ticket) = self.shard.ticket_for(command, hash, self.now) {
            self.fetch(hash, ticket, None);
        }
    }
}
