//! How often each command of Redis was asked for in a turn: written where requests are read, one number each.

use torc_engine::stats::Counter;

/// How many commands there are, with the subcommands of those that have some: their tables are held against it.
pub(crate) const COMMANDS: usize = 181;

/// The number of none.
pub(crate) const NO_COMMAND: u8 = u8::MAX;

const _: () = assert!(COMMANDS <= NO_COMMAND as usize);

const WORDS: usize = COMMANDS.div_ceil(u64::BITS as usize);

/// Numbers of requests by command, since they were last [taken](Calls::take). Written by one thread.
#[derive(Debug)]
pub(crate) struct Calls {
    counts: [[Counter; FATES]; COMMANDS],
    /// A bit for each command that was asked for.
    seen: [Counter; WORDS],
}

/// How many [`Fate`]s there are.
pub(crate) const FATES: usize = 3;

/// What became of a request when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Called,
    /// It was called, and refused for its arguments.
    Failed,
    /// It was not even called.
    Rejected,
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            counts: std::array::from_fn(|_| Default::default()),
            seen: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Calls {
    /// Counts requests for the command of this number.
    pub(crate) fn add(&self, command: usize, fate: Fate, requests: u64) {
        self.counts[command][fate as usize].add(requests);
        let seen = &self.seen[command / u64::BITS as usize];
        seen.set(seen.read() | 1 << (command % u64::BITS as usize));
    }

    /// Hands out number and counts (by [`Fate`]) of each command that was asked for, and forgets them.
    pub(crate) fn take(&self, mut take: impl FnMut(usize, [u64; FATES])) {
        self.each(|command| {
            let counts = &self.counts[command];
            take(command, counts.each_ref().map(Counter::read));
            counts.iter().for_each(|count| count.set(0));
        });
        self.seen.iter().for_each(|seen| seen.set(0));
    }

    /// How many were called.
    pub(crate) fn called(&self) -> u64 {
        let mut called = 0;
        self.each(|command| called += self.counts[command][Fate::Called as usize].read());
        called
    }

    /// The numbers of the commands that were asked for.
    fn each(&self, mut visit: impl FnMut(usize)) {
        for (word, seen) in self.seen.iter().enumerate() {
            let mut left = seen.read();
            while left != 0 {
                visit(word * u64::BITS as usize + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_what_was_added_and_is_taken_once() {
        let calls = Calls::default();
        calls.add(0, Fate::Called, 1);
        calls.add(0, Fate::Called, 1);
        calls.add(COMMANDS - 1, Fate::Called, 1);
        calls.add(COMMANDS - 1, Fate::Failed, 1);
        calls.add(64, Fate::Rejected, 1);
        assert_eq!(calls.called(), 3);
        let mut taken = Vec::new();
        calls.take(|command, counts| taken.push((command, counts)));
        assert_eq!(taken, [(0, [2, 0, 0]), (64, [0, 0, 1]), (COMMANDS - 1, [1, 1, 0])]);
        calls.take(|_, _| panic!("taken twice"));
        assert_eq!(calls.called(), 0);
    }
}
