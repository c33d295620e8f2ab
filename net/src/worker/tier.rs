//! What a worker does for and with the second tier: see [`crate::tier`].
//!
//! A command that needs an item which is not in DRAM is not begun: its connection waits, with everything behind it, until the
//! item has been brought back. What comes behind it is fetched meanwhile. A batch of another shard stops at such a command in
//! the same way. Changes wait as long as too many are not saved.

use super::connection::Connection;
use super::mail::{Batch, What};
use super::owned::fill_command;
use super::scan::{Scanner, Step};
use super::state::WorkerState;
use crate::tier::{Durability, Fetched, Port, Reply, SAVE_BYTES, SaveBatch};
use crate::transport::ConnId;
use std::collections::{HashMap, VecDeque};
use torc_engine::command::{Command, Millis, Op, Ticket};

/// Batches of changes that are being saved at a time.
const SAVES_MAX: usize = 3;
/// A save begins before it is due when there are so many changes.
const SAVE_AT: usize = 2048;
/// Share of the interval after which what has changed is handed over.
const SAVE_SHARE: u32 = 4;
/// Of the items of a batch that is written over, this share is written again at most.
const STAY_SHARE: usize = 2;
/// Items of one shard that are being fetched, beyond those that somebody waits for.
const FETCHES_AHEAD_MAX: usize = 128;
/// Changes that are not saved take this share of a shard's memory at most; one takes so many bytes.
const UNSAVED_SHARE: u64 = 64;
const UNSAVED_BYTES: u64 = 64;
const UNSAVED_MIN: u64 = 4096;

/// Changes that may be unsaved in a shard with so much memory.
fn unsaved_max(memory_bytes: u64) -> usize {
    (memory_bytes / UNSAVED_SHARE / UNSAVED_BYTES).max(UNSAVED_MIN) as usize
}

/// The setting that keeps changes out when they cannot be saved.
pub(super) const DURABILITY: &str = "durability";

/// What a shard keeps for a tier beside what it has unsaved, bytes.
pub(crate) fn tier_bytes(memory_bytes: u64) -> u64 {
    SAVES_MAX as u64 * SAVE_BYTES as u64 + unsaved_max(memory_bytes) as u64 * UNSAVED_BYTES
}

/// An item that is being fetched.
#[derive(Debug, Default)]
struct Fetching {
    /// It is brought back to DRAM: somebody asks for more than its key.
    is_wanted: bool,
    waiting: Vec<ConnId>,
    scanning: Vec<Scanner>,
}

/// Whose answers wait until changes are saved.
#[derive(Debug)]
enum Unanswered {
    Client(ConnId),
    Batch(u16, Box<Batch>),
}

/// What a worker has of the tier.
#[derive(Debug)]
pub(crate) struct Tier {
    port: Port,
    save_every_ms: Millis,
    /// Changes are answered when they are saved.
    is_always: bool,
    /// Everything that was taken up to here is saved.
    saved_up_to: u64,
    /// Answers that wait for that, by what they wait for.
    unanswered: VecDeque<(u64, Unanswered)>,
    unsaved_max: usize,
    saved_at: Millis,
    /// Batches that are being saved, and those that are not in use.
    saving: usize,
    // Boxed as they travel.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<SaveBatch>>,
    /// By place: what is being fetched, and for whom.
    fetching: HashMap<u64, Fetching>,
    /// Connections whose changes wait until others are saved, or whose scans until others are done.
    holding: Vec<ConnId>,
    /// By shard: batches that wait, each from the request with this number on.
    stopped: Vec<VecDeque<(Box<Batch>, usize)>>,
    /// By shard: the step of a scan at which its first batch has stopped.
    steps: Vec<Option<Step>>,
    is_ended: bool,
}

impl Tier {
    pub(crate) fn new(port: Port, durability: Durability, memory_bytes: u64, shards: u16) -> Tier {
        Tier {
            port,
            save_every_ms: match durability {
                Durability::Interval(interval) => ((interval / SAVE_SHARE).as_millis() as Millis).max(1),
                Durability::Always => 0,
            },
            is_always: durability == Durability::Always,
            saved_up_to: 0,
            unanswered: VecDeque::new(),
            unsaved_max: unsaved_max(memory_bytes),
            saved_at: 0,
            saving: 0,
            spare: Vec::new(),
            fetching: HashMap::new(),
            holding: Vec::new(),
            stopped: (0..shards).map(|_| VecDeque::new()).collect(),
            steps: (0..shards).map(|_| None).collect(),
            is_ended: false,
        }
    }
}

impl WorkerState {
    /// Takes what the tier's threads have said, and lets go on who waited for it.
    pub(super) fn hear_tier(&mut self) {
        let Some(mut tier) = self.tier.take() else { return };
        tier.port.begin_look();
        while let Some(reply) = tier.port.next() {
            match reply {
                Reply::Saved(batch) => self.take_saved(&mut tier, batch),
                Reply::Leave { stream, places } => {
                    self.leave_places(&places);
                    tier.port.left(stream);
                }
                Reply::Fetched { hash, place, item } => {
                    let fetching = tier.fetching.remove(&place).unwrap_or_default();
                    let there = (hash, Ticket(place));
                    for scanner in fetching.scanning {
                        self.take_key(&mut tier, scanner, there, item.as_deref());
                    }
                    if fetching.is_wanted || item.is_none() {
                        self.bring_back(hash, Ticket(place), item.as_deref());
                    }
                    fetching.waiting.into_iter().for_each(|id| self.let_go_on(id));
                }
            }
        }
        if tier.port.figures().is_latched() {
            self.shard.forget_changes();
        }
        self.shard.set_ceiling(tier.port.figures().ceiling());
        self.answer_saved(&mut tier);
        self.tier = Some(tier);
        self.resume_held();
        self.resume_batches();
    }

    fn take_saved(&mut self, tier: &mut Tier, mut batch: Box<SaveBatch>) {
        for entry in &batch.entries {
            self.shard.saved(entry.record.hash, entry.record.version, entry.place);
        }
        tier.saving -= 1;
        tier.saved_up_to = batch.up_to;
        batch.clear();
        tier.spare.push(batch);
    }

    /// Lets answers go whose changes are saved. If the tier is out of use, those never will be: their clients are cut off, as
    /// their answers are not true.
    fn answer_saved(&mut self, tier: &mut Tier) {
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
    pub(super) fn changes_before(&self, repeats: impl FnOnce() -> bool) -> u64 {
        match &self.tier {
            Some(tier) if tier.is_always && !repeats() => self.shard.changes().0,
            _ => u64::MAX,
        }
    }

    /// Holds a connection's answers back if something has changed since: until that is saved.
    #[inline]
    pub(super) fn answer_later(&mut self, conn: &mut Connection, before: u64) {
        let Some(tier) = self.tier.as_mut().filter(|tier| tier.is_always) else { return };
        let (changes, up_to) = self.shard.changes();
        if changes != before && conn.answers_after < up_to {
            conn.answers_after = up_to;
            tier.unanswered.push_back((up_to, Unanswered::Client(conn.id)));
        }
    }

    /// Whether a connection's answers wait until its changes are saved.
    #[inline]
    pub(super) fn waits_to_answer(&self, conn: &Connection) -> bool {
        self.tier.as_ref().is_some_and(|tier| conn.answers_after > tier.saved_up_to)
    }

    /// Sends a batch home, when everything that has changed until now is saved.
    pub(super) fn send_home(&mut self, shard: u16, batch: Box<Batch>) {
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

    /// Whether a change is refused, as it can not be saved before it is answered.
    #[inline]
    pub(super) fn refuses(&self, command: &Command<'_>) -> bool {
        let Some(tier) = self.tier.as_ref().filter(|tier| tier.is_always) else { return false };
        !matches!(command.op, Op::Read(_)) && tier.port.figures().is_latched()
    }

    /// Forgets places. So many of their items stay on the tier that it comes to an end, even if all of them are in memory.
    fn leave_places(&mut self, places: &[(u64, u64)]) {
        let mut may_stay = places.len() / STAY_SHARE;
        for &(hash, place) in places {
            may_stay -= usize::from(self.shard.leave_place(hash, place, may_stay > 0));
        }
    }

    /// Puts an item back that was fetched. One that cannot be had, or finds no room, misses from now on.
    fn bring_back(&mut self, hash: u64, ticket: Ticket, item: Option<&[u8]>) {
        let Some(item) = item else { return self.shard.forget_elsewhere(hash, ticket) };
        match self.shard.promote(hash, ticket, item, self.now) {
            Ok(()) => self.stats.tier_promotions.add(1),
            Err(_) => self.shard.forget_elsewhere(hash, ticket),
        }
    }

    fn let_go_on(&mut self, id: ConnId) {
        if let Some(conn) = self.connections.find(id) {
            conn.waits_for_tier = false;
            self.mark_dirty(id);
        }
    }

    /// A command on this shard's key needs the item of a ticket. True: it is there now, or nowhere; else the connection waits
    /// for it.
    pub(super) fn fetch(&mut self, hash: u64, ticket: Ticket, waiter: Option<&mut Connection>) -> bool {
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
    fn fetch_from(&mut self, tier: &mut Tier, hash: u64, ticket: Ticket) -> bool {
        self.stats.tier_fetches.add(1);
        let item = match tier.port.fetch(hash, ticket.0) {
            Fetched::Later => {
                tier.fetching.insert(ticket.0, Fetching::default());
                return false;
            }
            Fetched::Item(item) => Some(item),
            Fetched::Gone => None,
        };
        self.bring_back(hash, ticket, item);
        true
    }

    /// Whether another step of a scan may begin: each may have some hundred items fetched.
    pub(super) fn may_scan(&self) -> bool {
        self.tier.as_ref().is_none_or(|tier| tier.fetching.len() < FETCHES_AHEAD_MAX)
    }

    /// Adds the keys of items to a step of a scan, or has them fetched. They are not brought back for that.
    pub(super) fn fetch_keys(&mut self, elsewhere: &[(u64, Ticket)], step: &mut Step, scanner: Scanner) {
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
    fn take_key(&mut self, tier: &mut Tier, scanner: Scanner, there: (u64, Ticket), item: Option<&[u8]>) {
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
    pub(super) fn take_step(&mut self, shard: u16) -> Option<Step> {
        self.tier.as_mut()?.steps[usize::from(shard)].take()
    }

    pub(super) fn keep_step(&mut self, shard: u16, step: Step) {
        if let Some(tier) = &mut self.tier {
            tier.steps[usize::from(shard)] = Some(step);
        }
    }

    /// Has the item of a command fetched that is behind one that waits.
    pub(super) fn fetch_ahead(&mut self, command: &Command<'_>, hash: u64) {
        let may = self.tier.as_ref().is_some_and(|tier| tier.fetching.len() < FETCHES_AHEAD_MAX);
        if may && let Some(ticket) = self.shard.ticket_for(command, hash, self.now) {
            self.fetch(hash, ticket, None);
        }
    }

    /// Whether a command has to wait until earlier changes are saved, or is refused.
    #[inline]
    pub(super) fn is_held(&self, command: &Command<'_>) -> bool {
        self.tier.is_some()
            && !matches!(command.op, Op::Read(_))
            && (self.holds_changes() || self.refuses(command))
    }

    #[cold]
    fn holds_changes(&self) -> bool {
        let max = self.tier.as_ref().map_or(usize::MAX, |tier| tier.unsaved_max);
        self.shard.unsaved() >= max || !self.shard.may_change()
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

    fn resume_held(&mut self) {
        if self.holds_changes() || !self.may_scan() {
            return;
        }
        let holding = self.tier.as_mut().map(|tier| std::mem::take(&mut tier.holding));
        holding.into_iter().flatten().for_each(|id| self.let_go_on(id));
    }

    /// Whether batches of a shard wait, so that others of it must, too.
    pub(super) fn has_stopped(&self, shard: u16) -> bool {
        self.tier.as_ref().is_some_and(|tier| !tier.stopped[usize::from(shard)].is_empty())
    }

    /// Lets a batch wait that has been served up to a request.
    pub(super) fn stop(&mut self, shard: u16, batch: Box<Batch>, served: usize) {
        self.fetch_asked(&batch, served);
        self.stopped(shard).push_front((batch, served));
    }

    /// Lets a batch wait behind others of its shard.
    pub(super) fn wait_behind_stopped(&mut self, shard: u16, batch: Box<Batch>) {
        self.fetch_asked(&batch, 0);
        self.stopped(shard).push_back((batch, 0));
    }

    fn stopped(&mut self, shard: u16) -> &mut VecDeque<(Box<Batch>, usize)> {
        let Some(tier) = &mut self.tier else { unreachable!("without a tier nothing waits for it") };
        &mut tier.stopped[usize::from(shard)]
    }

    /// Has the items of a batch's requests fetched, from one on, before it goes on.
    fn fetch_asked(&mut self, batch: &Batch, first: usize) {
        for number in first..batch.asks.len() {
            let (kind, key) = (batch.kind_of(number), batch.bytes_of(number).key);
            if let What::Keyed(op) = &kind.what {
                let command = fill_command(kind.space, key, op, &[]);
                self.fetch_ahead(&command, batch.asks[number].hash);
            }
        }
    }

    fn resume_batches(&mut self) {
        for shard in 0..self.mail.shards() {
            loop {
                let stopped = self.tier.as_mut().map(|tier| &mut tier.stopped[usize::from(shard)]);
                let Some((batch, served)) = stopped.and_then(VecDeque::pop_front) else { break };
                if !self.serve_on(shard, batch, served) {
                    break;
                }
            }
        }
    }

    /// Hands over what has changed, if it is time.
    pub(super) fn save(&mut self) {
        let Some(tier) = &mut self.tier else { return };
        self.stats.tier_unsaved.set(self.shard.unsaved() as u64);
        let is_due = self.ticks.saturating_sub(tier.saved_at) >= tier.save_every_ms
            || self.shard.unsaved() >= SAVE_AT
            || self.drain.has_begun();
        if !is_due {
            return;
        }
        while self.shard.has_unsaved() && tier.saving < SAVES_MAX {
            let mut batch = tier.spare.pop().unwrap_or_default();
            self.shard.take_unsaved(|unsaved| batch.take(&unsaved));
            batch.up_to = self.shard.taken_up_to();
            tier.port.save(batch);
            tier.saving += 1;
            tier.saved_at = self.ticks;
        }
    }

    /// Whether the worker has to look again soon, though nothing may happen until then.
    pub(super) fn has_to_save(&self) -> bool {
        self.tier.is_some() && self.shard.has_unsaved()
    }

    /// Whether everything is on the medium. The tier is told once that nothing more comes.
    pub(super) fn is_saved(&self) -> bool {
        self.tier.as_ref().is_none_or(|tier| tier.saving == 0 && !self.shard.has_unsaved())
    }

    /// Nothing more comes from this shard.
    pub(super) fn end_tier(&mut self) {
        let is_saved = self.is_saved();
        if let Some(tier) = self.tier.as_mut().filter(|tier| !tier.is_ended) {
            tier.is_ended = true;
            tier.port.end(is_saved);
        }
    }
}

#[cfg(test)]
mod tests;
