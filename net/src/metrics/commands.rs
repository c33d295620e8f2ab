//! What was asked for of each command of Redis, and what that took.

use super::times::CommandTimes;
use crate::session::{COMMANDS, Calls, FATES, command_name};
use torc_engine::stats::Counter;

/// Buckets of durations: below 1,024 ns, and one for each doubling; the last one is open.
const BUCKETS: usize = 32;
/// The first bucket ends there, as a power of two of nanoseconds.
const FIRST_POWER: u32 = 10;

/// Figures of a worker: see [`super::WorkerStats`].
#[derive(Debug)]
pub(super) struct CommandStats {
    commands: Box<[Command]>,
}

#[derive(Debug, Default)]
struct Command {
    calls: Counter,
    failed: Counter,
    rejected: Counter,
    /// Shares of the turns in which they were read.
    spent_ns: Counter,
    /// Durations of these turns.
    buckets: [Counter; BUCKETS],
}

impl Default for CommandStats {
    fn default() -> Self {
        CommandStats { commands: (0..COMMANDS).map(|_| Command::default()).collect() }
    }
}

impl CommandStats {
    /// A turn of `ns` is over, in which these were read. Each call has an equal share of it.
    pub(super) fn end_turn(&self, calls: &Calls, ns: u64) {
        let share = ns / calls.called().max(1);
        calls.take(|command, [called, failed, rejected]| {
            self.add(command, [called, failed, rejected]);
            if called > 0 {
                let command = &self.commands[command];
                command.spent_ns.add(share.saturating_mul(called));
                command.buckets[bucket_of(ns)].add(called);
            }
        });
    }

    /// Calls of this command, without what they took.
    pub(super) fn add(&self, command: usize, [called, failed, rejected]: [u64; FATES]) {
        let command = &self.commands[command];
        command.calls.add(called);
        command.failed.add(failed);
        command.rejected.add(rejected);
    }

    /// A call of this command has failed when it was executed.
    pub(super) fn failed(&self, command: usize) {
        self.commands[command].failed.add(1);
    }

    /// Those that were asked for.
    pub(super) fn times(&self) -> impl Iterator<Item = CommandTimes> + '_ {
        let all = self.commands.iter().enumerate().map(|(number, command)| CommandTimes {
            name: command_name(number),
            calls: command.calls.read(),
            failed: command.failed.read(),
            rejected: command.rejected.read(),
            spent_ns: command.spent_ns.read(),
            buckets: command
                .buckets
                .iter()
                .enumerate()
                .map(|(bucket, count)| (bucket_end(bucket), count.read()))
                .collect(),
        });
        all.filter(CommandTimes::is_any)
    }
}

fn bucket_of(ns: u64) -> usize {
    ((u64::BITS - (ns >> FIRST_POWER).leading_zeros()) as usize).min(BUCKETS - 1)
}

/// Exclusive, in nanoseconds.
fn bucket_end(bucket: usize) -> u64 {
    if bucket == BUCKETS - 1 { u64::MAX } else { 1 << (FIRST_POWER as usize + bucket) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Fate;

    #[test]
    fn each_duration_is_below_the_end_of_its_bucket_and_not_of_the_one_before() {
        for ns in [0, 1, 1023, 1024, 1025, 2047, 2048, 1 << 40, (1 << 40) - 1, u64::MAX / 2, u64::MAX] {
            let bucket = bucket_of(ns);
            assert!(ns < bucket_end(bucket) || ns == u64::MAX, "{ns}");
            assert!(bucket == 0 || ns >= bucket_end(bucket - 1), "{ns}");
        }
    }

    #[test]
    fn calls_share_the_time_of_their_turn() {
        let (stats, calls) = (CommandStats::default(), Calls::default());
        calls.add(0, Fate::Called, 1);
        calls.add(0, Fate::Called, 1);
        calls.add(0, Fate::Failed, 1);
        calls.add(1, Fate::Called, 1);
        calls.add(2, Fate::Rejected, 1);
        stats.end_turn(&calls, 3000);
        stats.end_turn(&calls, 9000);
        let times: Vec<_> = stats.times().collect();
        let told: Vec<_> = times.iter().map(|t| (t.calls, t.failed, t.rejected, t.spent_ns)).collect();
        assert_eq!(told, [(2, 1, 0, 2000), (1, 0, 0, 1000), (0, 0, 1, 0)]);
        assert_eq!(times[0].by_microseconds(), [(4, 2)]);
    }
}
