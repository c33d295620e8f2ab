//! Figures of a worker, named for a reader: all of them, and those that are told by labels.

use super::classes::{CLOSE_REASONS, COMMANDS, OUTCOMES};
use super::{Histogram, RING_ERRORS, WorkerStats};
use crate::session::{ATTACH_REFUSALS, BAD_INPUTS, PAIR_REFUSALS, PROTOCOLS};
use torc_engine::reader::Doubt;
use torc_engine::stats::{Counter, FigureKind};
use torc_proto::native::doubts::CAUSES;
use torc_rdma::Cause;

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

    /// Sum of the samples with this name.
    pub fn figure(&self, name: &str) -> Option<u64> {
        let mut values = self.samples().filter(|sample| sample.name == name).map(|sample| sample.value);
        values.next().map(|first| first + values.sum::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CloseReason, CommandClass, OutcomeClass};

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
