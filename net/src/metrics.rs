//! Figures of a worker: written by its thread alone, read by any (see [`torc_engine::stats`]).
//!
//! [`WorkerStats::samples`] names them all, for `/metrics`, INFO and stats.

mod classes;
mod commands;
mod error_codes;
mod histogram;
mod times;

pub(crate) use error_codes::add_codes;

pub use classes::{CloseReason, CommandClass, OutcomeClass};
pub use histogram::{BUCKETS, Histogram};
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
use torc_engine::stats::{Counter, FigureKind};
use torc_engine::words;
use torc_proto::native::doubts::{CAUSES, FAILED_CHECKS};
use torc_rdma::Cause;
use torc_shm::Broken;

/// By their numbers.
const CAUSE_NAMES: [&str; Cause::ALL.len()] = {
    let mut names = [""; Cause::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Cause::ALL[at].name();
        at += 1;
    }
    names
};

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

/// One figure, named for a reader.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub name: &'static str,
    pub kind: FigureKind,
    pub help: &'static str,
    /// Name and value of each label.
    pub labels: [Option<(&'static str, &'static str)>; 2],
    pub value: u64,
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

    /// Name, help and figures of each histogram.
    pub fn histograms(&self) -> [(&'static str, &'static str, &Histogram); 3] {
        [
            (
                "turn_seconds",
                "Time of a turn of the loop, from the end of its wait: what a request that has arrived waits at most.",
                &self.turn_time,
            ),
            (
                "request_duration_seconds",
                "Time of a request, from the turn that read it to its answer handed over; the kernel's queues are not in it.",
                &self.request_time,
            ),
            (
                "forwarded_request_duration_seconds",
                "Time of a request to another shard, from asking to its answer.",
                &self.forwarded_time,
            ),
        ]
    }

    /// All figures but the histograms.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        let requests = COMMANDS.iter().zip(&self.requests).flat_map(|(command, outcomes)| {
            OUTCOMES.iter().zip(outcomes).map(|(outcome, count)| Sample {
                name: "requests",
                kind: FigureKind::Counter,
                help: "Requests by command and outcome.",
                labels: [Some(("command", command)), Some(("outcome", outcome))],
                value: count.read(),
            })
        });
        let closes = CLOSE_REASONS.iter().zip(&self.closes).map(|(reason, count)| Sample {
            name: "connections_closed",
            kind: FigureKind::Counter,
            help: "Connections ended, by reason.",
            labels: [Some(("reason", reason)), None],
            value: count.read(),
        });
        let samples = requests.chain(closes).chain(self.error_samples()).chain(self.sibling_samples());
        samples.chain(self.ring_samples()).chain(self.plain())
    }

    fn sibling_samples(&self) -> impl Iterator<Item = Sample> + '_ {
        let outcomes = [("hit", &self.sibling_hits), ("miss", &self.sibling_misses)];
        let reads = outcomes.into_iter().map(|(outcome, count)| Sample {
            name: "sibling_reads",
            kind: FigureKind::Counter,
            help: "Reads of other shards' keys that were answered without asking them.",
            labels: [Some(("outcome", outcome)), None],
            value: count.read(),
        });
        let doubts = Doubt::ALL.iter().zip(&self.sibling_doubts).map(|(doubt, count)| Sample {
            name: "sibling_doubts",
            kind: FigureKind::Counter,
            help: "Reads of other shards' keys that could not be answered so, by cause: their owners were asked.",
            labels: [Some(("cause", doubt.name())), None],
            value: count.read(),
        });
        let told = [("hit", &self.one_sided_hits), ("miss", &self.one_sided_misses)];
        let one_sided = told.into_iter().map(|(outcome, count)| Sample {
            name: "one_sided_reads",
            kind: FigureKind::Counter,
            help: "Reads that clients did themselves in shared memory, as far as they have told.",
            labels: [Some(("outcome", outcome)), None],
            value: count.read(),
        });
        let asked = CAUSES.iter().zip(&self.one_sided_doubts).map(|(cause, count)| Sample {
            name: "one_sided_doubts",
            kind: FigureKind::Counter,
            help: "Reads that clients tried in shared memory and asked for in the end, by cause, as far as they have told.",
            labels: [Some(("cause", cause)), None],
            value: count.read(),
        });
        reads.chain(doubts).chain(one_sided).chain(asked)
    }

    fn ring_samples(&self) -> impl Iterator<Item = Sample> + '_ {
        let by_cause = |name, help, cause, count: &Counter| Sample {
            name,
            kind: FigureKind::Counter,
            help,
            labels: [Some(("cause", cause)), None],
            value: count.read(),
        };
        let errors = RING_ERRORS.iter().zip(&self.ring_errors).map(move |(cause, count)| {
            let help = "Connections over shared memory closed as their memory said what cannot be, by cause.";
            by_cause("ring_errors", help, cause, count)
        });
        let refusals = ATTACH_REFUSALS.iter().zip(&self.attach_refusals).map(move |(cause, count)| {
            let help = "Clients that asked for shared memory and got none, by cause.";
            by_cause("attach_refusals", help, cause, count)
        });
        let broken = Cause::ALL.iter().zip(&self.pairs_broken).map(move |(cause, count)| {
            let help = "Connections over RDMA that could not go on, by cause.";
            by_cause("rdma_failures", help, CAUSE_NAMES[*cause as usize], count)
        });
        let unpaired = PAIR_REFUSALS.iter().zip(&self.pair_refusals).map(move |(cause, count)| {
            let help = "Clients that asked for a queue pair and got none, by cause.";
            by_cause("rdma_refusals", help, cause, count)
        });
        errors.chain(refusals).chain(broken).chain(unpaired)
    }

    fn error_samples(&self) -> impl Iterator<Item = Sample> + '_ {
        PROTOCOLS.iter().zip(&self.errors).flat_map(|(protocol, kinds)| {
            BAD_INPUTS.iter().zip(kinds).map(|(kind, count)| Sample {
                name: "protocol_errors",
                kind: FigureKind::Counter,
                help: "Errors answered to bad input, by protocol and kind.",
                labels: [Some(("protocol", protocol)), Some(("kind", kind))],
                value: count.read(),
            })
        })
    }

    fn plain(&self) -> impl Iterator<Item = Sample> + '_ {
        let gauge = |name, help, counter: &Counter| (name, FigureKind::Gauge, help, counter.read());
        let counter = |name, help, counter: &Counter| (name, FigureKind::Counter, help, counter.read());
        [
            gauge("connections", "Connections that are open.", &self.connections),
            counter("connections_accepted", "Connections accepted, refused ones included.", &self.accepted),
            counter(
                "accept_failures",
                "Accepts that failed for want of descriptors or memory.",
                &self.accept_failures,
            ),
            counter("received_bytes", "Bytes received from clients.", &self.received_bytes),
            counter("sent_bytes", "Bytes sent to clients.", &self.sent_bytes),
            counter(
                "protocol_refusals",
                "Connections that spoke a protocol which is not served.",
                &self.protocol_refusals,
            ),
            gauge("hottest_key_permille", "Share of the requests that the hottest key has at least, in a thousand, by a sample.", &self.hottest_key_permille),
            counter("monitors_lost", "Clients that monitored the server and were cut off, as they were slower than others asked.", &self.monitors_lost),
            counter("watched_events", "Events that were noted for memcached clients that watch.", &self.watched_events),
            counter("watched_events_dropped", "Events that were more in one turn than are noted.", &self.watched_events_dropped),
            counter("watched_lines", "Lines that such clients were given.", &self.watched_lines),
            counter("watched_lines_skipped", "Lines that they lost, as they were slower than others asked.", &self.watched_lines_skipped),
            counter("auth_successes", "Right passwords that clients gave.", &self.auth_successes),
            counter("auth_failures", "Wrong passwords that clients gave.", &self.auth_failures),
            gauge("rings", "Connections over shared memory that are open.", &self.rings),
            gauge("rings_hot", "Of these, those that each turn looks at; the others ring first.", &self.rings_hot),
            gauge("rings_reading", "Of these, those whose clients can read the shards themselves.", &self.rings_reading),
            gauge("bytes_rings", "Memory of their rings; part of that held for clients.", &self.ring_bytes),
            gauge("rdma_pairs", "Connections over RDMA that are open.", &self.pairs),
            gauge("rdma_read_pairs", "Queue pairs by which clients read the shard themselves.", &self.read_pairs),
            gauge("bytes_rdma", "Memory that is locked for them; part of that held for clients.", &self.pair_bytes),
            counter("rdma_posted", "Work requests that were posted to queue pairs: SENDs, WRITEs and READs.", &self.pair_posted),
            counter("rdma_completions", "Work requests and messages of RDMA that were completed.", &self.pair_completions),
            gauge("rdma_queue", "Completions that the last look at the queue found.", &self.pair_queue),
            counter("bells_rung", "Wake-ups of clients of shared memory that slept.", &self.bells_rung),
            counter("bells_heard", "Wake-ups by such clients while nobody looked at their rings.", &self.bells_heard),
            gauge("connections_parked", "Connections that are not parsed because answers wait.", &self.parked),
            gauge("connections_blocked", "Connections that wait for the end of CLIENT PAUSE.", &self.blocked),
            gauge(
                "bytes_client",
                "Memory held for clients: input, answers, requests that wait, mail.",
                &self.client_bytes,
            ),
            gauge(
                "bytes_client_max",
                "Memory that clients may hold now; it grows up to --client-memory as the store gives back.",
                &self.client_bytes_max,
            ),
            gauge(
                "bytes_mail",
                "Memory of requests to other shards and their answers; part of that held for clients.",
                &self.mail_bytes,
            ),
            gauge(
                "bytes_fixed",
                "Memory kept beside store and clients: receive buffers, the requests of a round, room for outcomes.",
                &self.fixed_bytes,
            ),
            gauge(
                "connections_short_of_memory",
                "Connections that are not read for want of memory.",
                &self.short_of_memory,
            ),
            gauge(
                "subscriptions",
                "Channels and patterns that clients are subscribed to, counted for each client.",
                &self.subscriptions,
            ),
            counter("messages_delivered", "Messages handed to subscribers.", &self.messages_delivered),
            counter(
                "notices_dropped",
                "Changes of keys that subscribers were not told of, as too many waited for other shards.",
                &self.notices_dropped,
            ),
            gauge(
                "tracking_clients",
                "Clients that are told of keys that they keep copies of (CLIENT TRACKING).",
                &self.tracking_clients,
            ),
            gauge("tracking_prefixes", "Prefixes by which clients are told (BCAST).", &self.tracking_prefixes),
            gauge("tracked_keys", "Keys that clients keep copies of.", &self.tracked_keys),
            gauge("tracked_items", "Keys that clients keep copies of, counted for each client.", &self.tracked_items),
            counter(
                "tracked_keys_forced",
                "Keys that clients were told to drop for want of room (--tracking-table-max).",
                &self.tracked_keys_forced,
            ),
            counter("invalidations", "Times that a client was told of keys that have changed.", &self.invalidations),
            counter("connection_parks", "Times that a connection was parked.", &self.parks),
            counter("forwarded", "Requests sent to other shards.", &self.forwarded),
            counter("served_for_others", "Requests executed for other shards.", &self.served_for_others),
            counter(
                "tier_fetches",
                "Items that were asked for and were not in DRAM.",
                &self.tier_fetches,
            ),
            counter("tier_promotions", "Items brought back from the tier.", &self.tier_promotions),
            counter(
                "tier_cache_hits",
                "Items that were found in a page of the tier which was kept (--tier-cache).",
                &self.tier_cache_hits,
            ),
            counter(
                "tier_cache_misses",
                "Items that waited for a page of the tier; many may wait for one.",
                &self.tier_cache_misses,
            ),
            gauge("tier_cache_bytes", "Memory of the pages of the tier that are kept.", &self.tier_cache_bytes),
            counter(
                "tier_long_lost",
                "Long values on the tier that could not be brought back as a whole.",
                &self.tier_long_lost,
            ),
            counter(
                "tier_holds",
                "Times that a connection waited because too many changes were not on the tier.",
                &self.tier_holds,
            ),
            counter(
                "tier_recovery_waits",
                "Times that a command waited because its key was not recovered yet.",
                &self.tier_recovery_waits,
            ),
            gauge("tier_unsaved", "Keys whose last change is not on the tier.", &self.tier_unsaved),
            gauge(
                "mailbox_waiting",
                "Requests at other shards that are not answered yet.",
                &self.mailbox_waiting,
            ),
            gauge("held_keys", "Keys that transactions hold.", &self.held_keys),
            gauge("holds_waiting", "Transactions that wait for keys of the shard.", &self.holds_waiting),
            counter(
                "holds_refused",
                "Transactions that asked all shards for their keys at once, and went on in order as some were not free.",
                &self.holds_refused,
            ),
            gauge("watched_keys", "Keys that clients watch (WATCH).", &self.watched_keys),
            counter(
                "scripts_out_of_time",
                "Scripts that were stopped by --script-time-max.",
                &self.scripts_out_of_time,
            ),
            counter(
                "scripts_out_of_memory",
                "Scripts that were stopped by --script-memory-max.",
                &self.scripts_out_of_memory,
            ),
            counter(
                "scripts_begun_again",
                "Times that a script began again with a key that it had not been given.",
                &self.scripts_begun_again,
            ),
            counter("scripts_sent", "Scripts that were sent to the shard of their keys.", &self.scripts_sent),
            counter(
                "scripts_sent_back",
                "Scripts that this shard sent to the shard of their keys, and ran itself in the end.",
                &self.scripts_sent_back,
            ),
            gauge("script_bytes", "Bytes of what runs scripts, between two of them.", &self.script_bytes),
            gauge("compiled_scripts", "Scripts that the shard has compiled.", &self.compiled_scripts),
            gauge(
                "bytes_outcomes",
                "Bytes of the outcomes kept for changes that may be repeated.",
                &self.outcomes_bytes,
            ),
            counter("turns", "Turns of the loop.", &self.turns),
            counter("rounds", "Batches executed.", &self.rounds),
        ]
        .into_iter()
        .map(|(name, kind, help, value)| Sample { name, kind, help, labels: [None, None], value })
    }

    /// Sum of the samples with this name.
    pub fn figure(&self, name: &str) -> Option<u64> {
        let mut values = self.samples().filter(|sample| sample.name == name).map(|sample| sample.value);
        values.next().map(|first| first + values.sum::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_name_every_figure_once() {
        let stats = WorkerStats::default();
        stats.request(CommandClass::Read, OutcomeClass::Hit);
        stats.request(CommandClass::Read, OutcomeClass::Miss);
        stats.close(CloseReason::Slow);
        let mut seen = std::collections::HashSet::new();
        for sample in stats.samples() {
            assert!(seen.insert((sample.name, sample.labels)), "{} twice", sample.name);
            assert!(!sample.help.is_empty());
        }
        assert_eq!(stats.figure("requests"), Some(2));
        assert_eq!(stats.figure("connections_closed"), Some(1));
        assert_eq!(stats.figure("no_such_figure"), None);
        assert_eq!(stats.requests_total(), 2);
    }
}
