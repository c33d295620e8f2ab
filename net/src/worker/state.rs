//! What a worker has beside its transport: shard, connections, mail, and what it keeps of turns and rounds.

use super::budget::{Budget, BudgetConfig};
#[cfg(test)]
use super::bug::{Bug, Bugs};
use super::connection::Connections;
use super::drain::Drain;
use super::durations::TurnTimes;
use super::gate::{Gate, Seldom};
use super::holds::Holds;
use super::joint::Share;
use super::mail::{Batch, Mail};
use super::messages::table::Subscriptions;
use super::monitoring::Monitoring;
use super::notices::Notices;
use super::outcomes::Outcomes;
use super::pool::Pool;
use super::rounds::Rounds;
use super::script::{Homebound, ScriptEngine};
use super::siblings::Siblings;
use super::slow::Slow;
use super::sweep::Sweep;
use super::tier::state::Tier;
use super::tracking::Trackers;
use super::upload::ForeignUpload;
use super::view::View;
use crate::metrics::WorkerStats;
use crate::observed::HotKeys;
use crate::rdma::Readers;
use crate::session::native::CREDIT;
use crate::session::{Calls, Limits, Output, Protocol};
use crate::shared::Shared;
use crate::transport::ConnId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
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

/// Settings of a worker, which never change.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// By number, as the transport names them.
    pub(crate) listeners: Vec<ListenerKind>,
    pub(crate) output_bytes_max: usize,
    /// Bytes of answers and messages that wait for a connection which gets messages: beyond that it is closed.
    pub(crate) subscriber_bytes_max: usize,
    /// Channels and patterns of one connection.
    pub(crate) subscriptions_max: usize,
    /// Keys of all shards that clients keep copies of: beyond that they are told to drop some.
    pub(crate) tracking_keys_max: usize,
    pub(crate) queue_parts_max: usize,
    /// So many bytes of a long value must be missing for them to be received where they will stay.
    pub(crate) room_bytes_min: u64,
    /// Longest input that is no request yet, bytes.
    pub(crate) input_bytes_max: usize,
    /// 0: never; so are the others.
    pub(crate) slow_ms_max: u64,
    pub(crate) request_ms_max: u64,
    pub(crate) auth_ms_max: u64,
    pub(crate) drain_ms_max: u64,
    /// How long a worker that has worked looks for more before it sleeps.
    pub(crate) spin_ns: u64,
    /// Queue pairs of one client at most.
    pub(crate) pairs_max: usize,
    /// Length of a ring in shared memory, bytes; 0: none is shared.
    pub(crate) ring_bytes: usize,
    /// Of each script.
    pub(crate) scripts: torc_lua::Limits,
    /// For the outcomes of numbered changes.
    pub(crate) outcomes_bytes_max: usize,
    pub(crate) budget: BudgetConfig,
}

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) shard: Shard,
    pub(crate) mail: Mail,
    pub(crate) siblings: Siblings,
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: u16,
    pub(crate) settings: Settings,
    pub(crate) now: Millis,
    pub(crate) tier: Option<Box<Tier>>,
    pub(crate) readers: Option<Box<dyn Readers>>,
}

/// State of one worker apart from its transport.
pub(crate) struct WorkerState {
    pub(super) shard: Shard,
    pub(super) number: u16,
    pub(super) mail: Mail,
    pub(super) siblings: Siblings,
    pub(super) tier: Option<Box<Tier>>,
    /// Clients that read the shard by RDMA, if they may.
    pub(super) readers: Option<Box<dyn Readers>>,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) settings: Settings,
    pub(super) view: View,
    pub(super) connections: Connections,
    pub(super) outcomes: Outcomes,
    pub(super) notices: Notices,
    pub(super) trackers: Trackers,
    pub(super) pool: Pool,
    pub(super) budget: Budget,
    pub(super) now: Millis,
    /// Milliseconds of the clock, for time-outs: the wall clock, which `now` follows, may step ahead.
    pub(super) ticks: Millis,
    pub(super) turn: TurnTimes,
    pub(super) calls: Arc<Calls>,
    pub(super) slow: Slow,
    pub(super) hot: HotKeys,
    pub(super) monitoring: Monitoring,
    pub(super) walks_begun: u64,
    /// Connections to look after at the end of the turn.
    pub(super) dirty: Vec<ConnId>,
    /// What commands that go on from turn to turn may do in this one: see [`Share`].
    pub(super) share: Share,
    pub(super) rounds: Rounds,
    /// Answers to other shards are written through it; empty between two answers.
    pub(super) apart: Output,
    pub(super) foreign_uploads: HashMap<(u16, ConnId), ForeignUpload>,
    /// Of this shard's clients; `None` while there are none.
    pub(super) subscriptions: Option<Box<Subscriptions>>,
    /// By lane: batches that wait, each from the request with this number on.
    pub(super) stopped: Vec<VecDeque<(Box<Batch>, usize)>>,
    pub(super) holds: Holds,
    /// What runs scripts, once there was one.
    pub(super) scripts: Option<Box<ScriptEngine>>,
    /// What scripts of other shards' clients have taken of this turn.
    pub(super) scripts_served: Duration,
    pub(super) homebound: Homebound,
    /// Connections whose transactions wait for keys.
    pub(super) acquiring: Vec<ConnId>,
    pub(super) sweep: Sweep,
    /// The table of spaces up to which the server was told that nothing is left of what was dropped.
    pub(super) told_dropped: u64,
    pub(super) drain: Drain,
    pub(super) gate: Gate,
    /// Clients of protocols that are not served.
    pub(super) refusals_told: Seldom,
    pub(super) accept_failure_logged: bool,
    #[cfg(test)]
    pub(super) bugs: Bugs,
}

/// Sessions whose changes are remembered, in one shard.
const ONCE_SESSIONS_MAX: usize = 4096;

impl WorkerState {
    pub(crate) fn new(parts: WorkerParts) -> WorkerState {
        let WorkerParts { shard, mail, siblings, shared, number, settings, now, tier, readers } = parts;
        let stopped = (0..2 * mail.shards()).map(|_| VecDeque::new()).collect();
        WorkerState {
            stats: shared.worker_stats[number as usize].clone(),
            view: View::new(shared.clone(), number),
            shard,
            number,
            mail,
            siblings,
            tier,
            readers,
            shared,
            connections: Connections::default(),
            outcomes: Outcomes::new(ONCE_SESSIONS_MAX, CREDIT as usize, settings.outcomes_bytes_max),
            budget: Budget::new(settings.budget),
            notices: Notices::default(),
            trackers: Trackers::default(),
            settings,
            pool: Pool::default(),
            now,
            ticks: 0,
            turn: TurnTimes::default(),
            calls: Arc::default(),
            slow: Slow::default(),
            hot: HotKeys::default(),
            monitoring: Monitoring::default(),
            walks_begun: 0,
            dirty: Vec::new(),
            share: Share::default(),
            rounds: Rounds::default(),
            apart: Output::default(),
            foreign_uploads: HashMap::new(),
            subscriptions: None,
            stopped,
            holds: Holds::default(),
            scripts: None,
            scripts_served: Duration::ZERO,
            homebound: Homebound::default(),
            acquiring: Vec::new(),
            sweep: Sweep::default(),
            told_dropped: 0,
            drain: Drain::default(),
            gate: Gate::default(),
            refusals_told: Seldom::default(),
            accept_failure_logged: false,
            #[cfg(test)]
            bugs: Bugs::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn put_in(&mut self, bug: Bug) {
        self.bugs = Bugs::of(bug);
        self.rounds.bug = bug;
        self.tier.iter_mut().for_each(|tier| tier.bugs = Bugs::of(bug));
    }

    #[cfg(test)]
    pub(super) fn bug(&self) -> Bug {
        self.bugs.bug()
    }

    #[cfg(test)]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bugs.bug() == bug
    }

    /// Whether the simulator's bug strikes here.
    #[cfg(test)]
    pub(super) fn strikes(&mut self, bug: Bug) -> bool {
        self.bugs.strike(bug)
    }

    pub(super) fn begin_turn(&mut self, began_ns: u64, now: Millis) {
        self.mail.begin_turn(now);
        self.rounds.begin_turn();
        self.look_for_listeners();
        self.turn.began_ns = began_ns;
        self.turn.known_ns = 0;
        self.share.renew();
        self.scripts_served = Duration::ZERO;
        self.monitoring.is_on = self.shared.observed.monitors.is_any();
        self.slow.begin_turn(&self.shared.observed, began_ns);
        self.ticks = began_ns / 1_000_000;
        if self.readers.is_some() {
            self.follow_readers();
        }
        #[cfg(test)]
        if self.has(Bug::MissedExpiry) {
            return;
        }
        self.now = now;
        self.look_for_trackers();
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
        if self.has(Bug::EvictsAll) && self.bugs.sees(self.shard.stats().segments_evicted.read()) {
            self.shard.flush(None, self.now);
        }
        #[cfg(test)]
        self.bugs.unpin(&mut self.shard);
        if self.is_saving_rest() {
            return false;
        }
        let more = self.shard.maintain(self.now, budget);
        self.tell_dropped();
        #[cfg(test)]
        let more = more || self.has(Bug::Sleepless);
        more
    }

    /// Whether nothing is left to be done without an event.
    pub(super) fn may_wait(&self) -> bool {
        self.rounds.is_empty()
            && self.dirty.is_empty()
            && self.budget.hunt.is_none()
            && !self.mail.has_resumable()
            && !self.has_more_to_learn()
            && !self.has_more_to_return()
            && !self.has_more_to_resume()
            && !self.has_more_to_walk()
            && !self.shard.has_known()
            && !self.holds.has_news()
            && !self.notices.has_news()
    }

    /// Tells the other shards that this one is about to sleep. False: something came from them, it must not.
    pub(super) fn announce_sleep(&mut self) -> bool {
        if self.mail.is_alone() || self.mail.announce_sleep() {
            return true;
        }
        self.drop_nobodys_news();
        false
    }

    /// Whether another shard has sent something.
    pub(super) fn has_mail(&mut self) -> bool {
        let has_come = self.mail.has_come();
        if has_come {
            self.drop_nobodys_news();
        }
        has_come
    }

    pub(super) fn publish_mail(&mut self) {
        if !self.mail.is_alone() {
            self.mail.publish();
            self.stats.mailbox_waiting.set(self.mail.under_way() as u64);
        }
    }

    pub(super) fn end_turn(&mut self, ns: u64) {
        self.report_drained();
        self.note_turn(ns);
        self.turn.end(ns, &self.calls, &self.stats);
    }
}
