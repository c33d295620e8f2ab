//! What a worker has beside its transport: shard, connections, mail, and what it keeps of turns and rounds.

use super::budget::{Budget, BudgetConfig};
#[cfg(test)]
use super::bug::Bug;
use super::connection::Connections;
use super::durations::Durations;
use super::mail::Mail;
use super::outcomes::Outcomes;
use super::pool::Pool;
use super::ready::Ready;
use super::uploads::ForeignUpload;
use super::view::View;
use crate::metrics::WorkerStats;
use crate::session::native::CREDIT;
use crate::session::{Limits, Output, Protocol};
use crate::shared::Shared;
use crate::transport::ConnId;
use std::collections::HashMap;
use std::sync::Arc;
use torc_engine::Shard;
use torc_engine::command::Millis;

/// What a listener is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerKind {
    /// Pinned to one protocol.
    pub(crate) protocol: Option<Protocol>,
    /// The shard's own port.
    pub(crate) shard_port: bool,
}

/// What a worker is told once.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// By number, as the transport names them.
    pub(crate) listeners: Vec<ListenerKind>,
    pub(crate) connections_max: usize,
    pub(crate) output_bytes_max: usize,
    pub(crate) queue_parts_max: usize,
    /// Longest input that is no request yet, bytes.
    pub(crate) input_bytes_max: usize,
    /// 0: never.
    pub(crate) idle_ms_max: u64,
    pub(crate) slow_ms_max: u64,
    pub(crate) request_ms_max: u64,
    pub(crate) drain_ms_max: u64,
    /// For the outcomes of numbered changes.
    pub(crate) outcomes_bytes_max: usize,
    pub(crate) budget: BudgetConfig,
}

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) shard: Shard,
    pub(crate) mail: Mail,
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: u16,
    pub(crate) settings: Settings,
    pub(crate) now: Millis,
}

/// State of one worker apart from its transport.
pub(crate) struct WorkerState {
    pub(super) shard: Shard,
    pub(super) number: u16,
    pub(super) mail: Mail,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) settings: Settings,
    pub(super) view: View,
    pub(super) connections: Connections,
    pub(super) outcomes: Outcomes,
    pub(super) pool: Pool,
    pub(super) budget: Budget,
    pub(super) now: Millis,
    /// Milliseconds of the clock, for time-outs: the wall clock, which `now` follows, may step ahead.
    pub(super) ticks: Millis,
    /// When the turn began, by the clock's nanoseconds.
    pub(super) turn_began_ns: u64,
    /// Requests that this turn read and answered.
    pub(super) answered: u64,
    /// Requests of earlier turns that this one answered.
    pub(super) waited: Durations,
    /// Requests that other shards answered in this turn.
    pub(super) forwarded: Durations,
    pub(super) round: u64,
    /// Connections to look after at the end of the turn.
    pub(super) dirty: Vec<ConnId>,
    pub(super) ready: Ready,
    /// Empty; through it answers to other shards are written.
    pub(super) apart: Output,
    /// Connections for which there are places at other shards again; kept for its room.
    pub(super) resumed: Vec<ConnId>,
    pub(super) foreign_uploads: HashMap<(u16, ConnId), ForeignUpload>,
    pub(super) connections_total: u64,
    pub(super) sweep_at: usize,
    pub(super) swept_at: Millis,
    pub(super) draining_since: Option<Millis>,
    pub(super) drain_turns: u32,
    pub(super) drained: bool,
    /// Turns since all shards were seen to be drained.
    pub(super) turns_since_all: u32,
    pub(super) accept_failure_logged: bool,
    #[cfg(test)]
    bug: (Bug, u64),
    /// Segments evicted when [`Bug::EvictsAll`] looked last.
    #[cfg(test)]
    pub(super) evicted_seen: u64,
}

/// Sessions whose changes are remembered, in one shard.
const ONCE_SESSIONS_MAX: usize = 4096;

impl WorkerState {
    pub(crate) fn new(parts: WorkerParts) -> WorkerState {
        let WorkerParts { shard, mail, shared, number, settings, now } = parts;
        WorkerState {
            stats: shared.worker_stats[number as usize].clone(),
            view: View::new(shared.clone(), number),
            shard,
            number,
            mail,
            shared,
            connections: Connections::default(),
            outcomes: Outcomes::new(ONCE_SESSIONS_MAX, CREDIT as usize, settings.outcomes_bytes_max),
            budget: Budget::new(settings.budget),
            settings,
            pool: Pool::default(),
            now,
            ticks: 0,
            turn_began_ns: 0,
            answered: 0,
            waited: Durations::default(),
            forwarded: Durations::default(),
            round: 0,
            dirty: Vec::new(),
            ready: Ready::default(),
            apart: Output::default(),
            resumed: Vec::new(),
            foreign_uploads: HashMap::new(),
            connections_total: 0,
            sweep_at: 0,
            swept_at: 0,
            draining_since: None,
            drain_turns: 0,
            drained: false,
            turns_since_all: 0,
            accept_failure_logged: false,
            #[cfg(test)]
            bug: (Bug::None, 0),
            #[cfg(test)]
            evicted_seen: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn put_in(&mut self, bug: Bug) {
        self.bug = (bug, 0);
        self.ready.bug = bug;
    }

    #[cfg(test)]
    pub(super) fn bug(&self) -> Bug {
        self.bug.0
    }

    #[cfg(test)]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug.0 == bug
    }

    /// Whether the simulator's bug strikes here.
    #[cfg(test)]
    pub(super) fn strikes(&mut self, bug: Bug) -> bool {
        self.bug.1 += u64::from(self.bug.0 == bug);
        self.bug.0 == bug && self.bug.1.is_multiple_of(bug.every())
    }

    pub(super) fn begin_turn(&mut self, began_ns: u64, now: Millis) {
        self.mail.awake();
        self.ready.begin_turn();
        self.turn_began_ns = began_ns;
        self.ticks = began_ns / 1_000_000;
        #[cfg(test)]
        if self.bug.0 == Bug::MissedExpiry {
            return;
        }
        self.now = now;
    }

    pub(super) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.connections.find(id).filter(|conn| !conn.dirty) {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Background work of the shard. True if it has more to do.
    pub(super) fn maintain(&mut self, budget: u32) -> bool {
        #[cfg(test)]
        if self.has(super::bug::Bug::EvictsAll)
            && self.shard.stats().segments_evicted.read() > self.evicted_seen
        {
            self.evicted_seen = self.shard.stats().segments_evicted.read();
            self.shard.flush(None, self.now);
        }
        let more = self.shard.maintain(self.now, budget);
        #[cfg(test)]
        let more = more || self.has(super::bug::Bug::Sleepless);
        more
    }

    /// Whether nothing is left to be done without an event.
    pub(super) fn announce_sleep(&mut self) -> bool {
        let idle = self.ready.is_empty() && self.dirty.is_empty() && !self.mail.has_resumable();
        idle && (self.mail.is_alone() || self.mail.announce_sleep())
    }

    pub(super) fn publish_mail(&mut self) {
        if !self.mail.is_alone() {
            self.mail.publish();
            self.stats.mailbox_waiting.set(self.mail.under_way() as u64);
        }
    }

    pub(super) fn end_turn(&mut self, ns: u64) {
        self.report_drained();
        self.stats.turns.add(1);
        self.stats.turn_time.record(ns);
        // What was answered goes out with the next system call, which comes at once.
        self.stats.request_time.record_many(ns, std::mem::take(&mut self.answered));
        self.waited.record(self.turn_began_ns + ns, &self.stats.request_time);
        self.forwarded.record(self.turn_began_ns, &self.stats.forwarded_time);
    }
}
