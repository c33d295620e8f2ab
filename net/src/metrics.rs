//! Figures of a worker: written by its thread alone, read by any (see [`torc_engine::stats`]).
//!
//! [`WorkerStats::samples`] names them all, for `/metrics`, INFO and stats.

mod classes;
mod commands;
mod error_codes;
mod histogram;
mod plain;
mod samples;
mod times;

pub(crate) use error_codes::add_codes;

pub use classes::{CloseReason, CommandClass, OutcomeClass};
pub use histogram::{BUCKETS, Histogram};
pub use samples::Sample;
pub use times::CommandTimes;

use crate::session::{
    ATTACH_REFUSALS, AttachRefusal, BAD_INPUTS, Calls, Errors, FATES, PAIR_REFUSALS, PROTOCOLS, PairRefusal,
    Protocol,
};
use classes::{CLOSE_REASONS, COMMANDS, OUTCOMES};
use commands::CommandStats;
use error_codes::ErrorCodes;
use std::sync::Arc;
use torc_engine::reader::Doubt;
use torc_engine::stats::Counter;
use torc_engine::words;
use torc_proto::native::doubts::{CAUSES, FAILED_CHECKS};
use torc_rdma::Cause;
use torc_shm::Broken;

/// Why a connection over shared memory could not go on.
const RING_ERRORS: [&str; 2] = ["backwards", "too_far"];

/// The figures of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStats {
    requests: [[Counter; OUTCOMES.len()]; COMMANDS.len()],
    by_command: CommandStats,
    error_codes: ErrorCodes,
    closes: [Counter; CLOSE_REASONS.len()],
    errors: [[Counter; BAD_INPUTS.len()]; PROTOCOLS.len()],
    pub connections: Counter,
    pub accepted: Counter,
    pub accept_failures: Counter,
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
    pub protocol_refusals: Counter,
    pub auth_failures: Counter,
    pub auth_successes: Counter,
    pub monitors_lost: Counter,
    pub watched_events: Counter,
    pub watched_events_dropped: Counter,
    pub watched_lines: Counter,
    pub watched_lines_skipped: Counter,
    pub hottest_key_permille: Counter,
    pub parked: Counter,
    pub blocked: Counter,
    pub parks: Counter,
    pub client_bytes: Counter,
    pub client_bytes_max: Counter,
    pub mail_bytes: Counter,
    pub fixed_bytes: Counter,
    pub subscriptions: Counter,
    pub messages_delivered: Counter,
    pub notices_dropped: Counter,
    pub tracking_clients: Counter,
    pub tracking_prefixes: Counter,
    pub tracked_keys: Counter,
    pub tracked_items: Counter,
    pub tracked_keys_forced: Counter,
    pub invalidations: Counter,
    pub short_of_memory: Counter,
    pub forwarded: Counter,
    pub served_for_others: Counter,
    pub sibling_hits: Counter,
    pub sibling_misses: Counter,
    /// What clients have told of reads that they did themselves.
    pub one_sided_hits: Counter,
    pub one_sided_misses: Counter,
    /// By [`CAUSES`].
    pub one_sided_doubts: [Counter; CAUSES.len()],
    /// By [`Doubt`].
    pub sibling_doubts: [Counter; Doubt::ALL.len()],
    pub rings: Counter,
    pub rings_hot: Counter,
    pub rings_reading: Counter,
    pub ring_bytes: Counter,
    pub bells_rung: Counter,
    pub bells_heard: Counter,
    /// By [`RING_ERRORS`].
    ring_errors: [Counter; RING_ERRORS.len()],
    /// By [`ATTACH_REFUSALS`].
    attach_refusals: [Counter; ATTACH_REFUSALS.len()],
    pub pairs: Counter,
    pub read_pairs: Arc<Counter>,
    pub pair_bytes: Counter,
    /// SENDs, WRITEs and READs.
    pub pair_posted: Counter,
    pub pair_completions: Counter,
    /// Completions that the last look found.
    pub pair_queue: Counter,
    /// By [`Cause`].
    pairs_broken: [Counter; Cause::ALL.len()],
    /// By [`PAIR_REFUSALS`].
    pair_refusals: [Counter; PAIR_REFUSALS.len()],
    pub tier_fetches: Counter,
    pub tier_promotions: Counter,
    pub tier_cache_hits: Counter,
    pub tier_cache_misses: Counter,
    pub tier_cache_bytes: Counter,
    pub tier_long_lost: Counter,
    pub tier_holds: Counter,
    /// Times that a command found that nobody knew its key yet.
    pub tier_recovery_waits: Counter,
    pub tier_unsaved: Counter,
    pub mailbox_waiting: Counter,
    pub outcomes_bytes: Counter,
    pub held_keys: Counter,
    pub holds_waiting: Counter,
    pub holds_refused: Counter,
    pub watched_keys: Counter,
    /// Scripts that were stopped for want of time, and of memory; and that began again for keys that they had named.
    pub scripts_out_of_time: Counter,
    pub scripts_out_of_memory: Counter,
    pub scripts_begun_again: Counter,
    /// Scripts that the shard of their keys was asked to run, and those of them that it sent back.
    pub scripts_sent: Counter,
    pub scripts_sent_back: Counter,
    pub script_bytes: Counter,
    pub compiled_scripts: Counter,
    pub turns: Counter,
    pub rounds: Counter,
    /// From the end of the wait until the last answer is handed over. No request that has arrived waits longer.
    pub turn_time: Histogram,
    /// From the turn that read a request to the end of the one that handed over its answer.
    pub request_time: Histogram,
    /// From the turn that asked another shard to the one that got its answer.
    pub forwarded_time: Histogram,
}

impl WorkerStats {
    #[inline]
    pub fn request(&self, command: CommandClass, outcome: OutcomeClass) {
        self.requests[command as usize][outcome as usize].add(1);
    }

    /// A turn of `ns` is over, in which these were read.
    pub(crate) fn end_turn(&self, calls: &Calls, ns: u64) {
        self.by_command.end_turn(calls, ns);
    }

    /// What commands of Redis took.
    pub fn command_times(&self) -> impl Iterator<Item = CommandTimes> + '_ {
        self.by_command.times()
    }

    pub fn close(&self, reason: CloseReason) {
        self.closes[reason as usize].add(1);
    }

    /// A client of shared memory has told what cannot be.
    pub fn ring_broken(&self, broken: Broken) {
        let cause = match broken {
            Broken::Backwards => 0,
            Broken::TooFar => 1,
        };
        self.ring_errors[cause].add(1);
    }

    /// Connections over shared memory that could not go on, for whatever cause.
    pub fn rings_broken(&self) -> u64 {
        self.ring_errors.iter().map(Counter::read).sum()
    }

    /// Reads that clients tried themselves and asked for: since a check failed, and for other causes.
    pub fn one_sided_asked(&self) -> (u64, u64) {
        let (failed, doubts) = self.one_sided_doubts.split_at(FAILED_CHECKS);
        let sum = |counters: &[Counter]| counters.iter().map(Counter::read).sum();
        (sum(failed), sum(doubts))
    }

    pub fn attach_refused(&self, why: AttachRefusal) {
        self.attach_refusals[why as usize].add(1);
    }

    pub fn attaches_refused(&self, why: AttachRefusal) -> u64 {
        self.attach_refusals[why as usize].read()
    }

    /// A connection over RDMA could not go on.
    pub fn pair_broken(&self, broken: torc_rdma::Broken) {
        self.pairs_broken[Cause::from(&broken) as usize].add(1);
    }

    /// Connections over RDMA that could not go on, for whatever cause.
    pub fn pairs_failed(&self) -> u64 {
        self.pairs_broken.iter().map(Counter::read).sum()
    }

    pub fn pair_refused(&self, why: PairRefusal) {
        self.pair_refusals[why as usize].add(1);
    }

    /// Counts what a script has called of one command, as [`Calls::take`](crate::session::Calls::take) hands it out. The time is its own.
    pub(crate) fn called_by_script(&self, command: usize, counts: [u64; FATES]) {
        self.by_command.add(command, counts);
    }

    /// Counts errors that were answered, by kind.
    pub fn errors_answered(&self, protocol: Protocol, errors: &Errors) {
        for (counter, count) in self.errors[protocol as usize].iter().zip(errors.counts) {
            counter.add(u64::from(count));
        }
        errors.failed.iter().for_each(|command| self.by_command.failed(usize::from(*command)));
        words::each(&errors.codes).for_each(|code| self.error_codes.count(code));
    }

    /// Errors that clients of Redis were answered, by their codes.
    pub fn error_codes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.error_codes.each()
    }

    /// Errors of one kind that were answered in one protocol, by the kind's name.
    pub fn errors(&self, protocol: Protocol, kind: &str) -> u64 {
        let kinds = BAD_INPUTS.iter().zip(&self.errors[protocol as usize]);
        kinds.filter(|(name, _)| **name == kind).map(|(_, count)| count.read()).sum()
    }

    pub fn closes(&self, reason: CloseReason) -> u64 {
        self.closes[reason as usize].read()
    }

    /// Requests of one command, by its name.
    pub fn commands(&self, command: &str) -> u64 {
        self.sum(|name, _| name == command)
    }

    /// Requests with one outcome, by its name.
    pub fn outcomes(&self, outcome: &str) -> u64 {
        self.sum(|_, name| name == outcome)
    }

    /// Requests of one command with one outcome, by their names.
    pub fn command_outcome(&self, command: &str, outcome: &str) -> u64 {
        self.sum(|first, second| first == command && second == outcome)
    }

    fn sum(&self, counts: impl Fn(&str, &str) -> bool) -> u64 {
        let rows = COMMANDS.iter().zip(&self.requests);
        rows.flat_map(|(command, outcomes)| {
            OUTCOMES.iter().zip(outcomes).map(move |(outcome, count)| (command, outcome, count))
        })
        .filter(|(command, outcome, _)| counts(command, outcome))
        .map(|(_, _, count)| count.read())
        .sum()
    }

    /// Requests of all commands and outcomes.
    pub fn requests_total(&self) -> u64 {
        self.requests.iter().flatten().map(Counter::read).sum()
    }
}
