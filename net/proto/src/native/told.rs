//! What a client keeps of the reads that it does itself, to tell the server of them (`docs/protocol.md`, [N-SHM-15], [N-SHM-16]).

use super::accesses::{Accessed, Accesses};
use super::doubts::{CAUSES, Doubts};
use super::op::Op;

/// Where [`CAUSES`] has the cause that no reader finds in memory: an earlier command on the key is without an answer.
pub const ORDER: usize = 7;

/// Accesses are told when there are so many; more than that are forgotten.
const ACCESSES: usize = 128;

/// What reads came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadCounts {
    pub hits: u64,
    pub misses: u64,
    /// Reads that the server has to be asked for, by [`CAUSES`].
    pub asked: [u64; CAUSES.len()],
}

impl ReadCounts {
    /// Looks at memory, of which some ended in doubt: counted in the order of [`CAUSES`], without [`ORDER`].
    pub fn of_looks(hits: u64, misses: u64, doubts: &[u64; CAUSES.len() - 1]) -> ReadCounts {
        let mut counts = ReadCounts { hits, misses, ..ReadCounts::default() };
        let causes = counts.asked.iter_mut().enumerate().filter(|(cause, _)| *cause != ORDER);
        causes.zip(doubts).for_each(|((_, count), doubts)| *count = *doubts);
        counts
    }

    /// Both together.
    pub fn plus(mut self, other: &ReadCounts) -> ReadCounts {
        self.hits += other.hits;
        self.misses += other.misses;
        self.asked.iter_mut().zip(other.asked).for_each(|(all, more)| *all += more);
        self
    }

    /// What has come since these.
    fn since(&self, before: &ReadCounts) -> ReadCounts {
        let mut since = *self;
        since.hits -= before.hits;
        since.misses -= before.misses;
        since.asked.iter_mut().zip(before.asked).for_each(|(all, less)| *all -= less);
        since
    }

    /// Causes for which reads were asked for, with their names.
    pub fn causes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CAUSES.into_iter().zip(self.asked).filter(|(_, count)| *count > 0)
    }
}

/// Reads that the server was told of, and what it is to be told.
#[derive(Debug)]
pub struct Untold {
    /// Reads that were not tried, for the order of commands.
    ordered: u64,
    /// What the server was told of.
    told: ReadCounts,
    accesses: Vec<Accessed>,
}

impl Default for Untold {
    fn default() -> Untold {
        Untold { ordered: 0, told: ReadCounts::default(), accesses: Vec::with_capacity(ACCESSES) }
    }
}

impl Untold {
    /// An access that the server is to be told of.
    #[inline]
    pub fn note(&mut self, access: Accessed) {
        if self.accesses.len() < ACCESSES {
            self.accesses.push(access);
        }
    }

    /// Counts a read that is asked for without a try, as an earlier command of its connection on the same key is without an answer.
    pub fn ask_in_order(&mut self) {
        self.ordered += 1;
    }

    /// All reads, `looks` and those that were not tried.
    pub fn counts(&self, mut looks: ReadCounts) -> ReadCounts {
        looks.asked[ORDER] = self.ordered;
        looks
    }

    /// Whether the server should be told now what was read, as what is read from here on would be forgotten. A caller may
    /// [tell](Untold::tell) sooner.
    #[inline]
    pub fn is_much(&self) -> bool {
        self.accesses.len() >= ACCESSES
    }

    /// Gives the operation and value of each request that tells the server of the reads since the last time; `looks` are all that ever
    /// were.
    pub fn tell(&mut self, looks: ReadCounts, mut request: impl FnMut(Op, Vec<u8>)) {
        let counts = self.counts(looks);
        let news = counts.since(&self.told);
        if news.hits + news.misses > 0 {
            let mut value = Vec::new();
            Accesses::compose((news.hits, news.misses), &self.accesses, &mut value);
            request(Op::Accesses, value);
        }
        if news.asked.iter().any(|count| *count > 0) {
            let mut value = Vec::new();
            Doubts(news.asked).compose(&mut value);
            request(Op::Doubts, value);
        }
        self.told = counts;
        self.accesses.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once() {
        let mut untold = Untold::default();
        let told = |untold: &mut Untold, looks| {
            let mut requests = Vec::new();
            untold.tell(looks, |op, value| requests.push((op, value)));
            requests
        };
        assert!(told(&mut untold, ReadCounts::default()).is_empty());
        let mut doubts = [0; CAUSES.len() - 1];
        (doubts[ORDER - 1], doubts[ORDER]) = (3, 4);
        let looks = ReadCounts::of_looks(5, 2, &doubts);
        (0..ACCESSES + 9).for_each(|_| untold.note(Accessed { shard: 1, hash: 2, location: 3 }));
        assert!(untold.is_much());
        untold.ask_in_order();
        let requests = told(&mut untold, looks);
        let [(Op::Accesses, accesses), (Op::Doubts, doubts)] = &requests[..] else { panic!("{requests:?}") };
        let accesses = Accesses::parse(accesses).unwrap();
        assert_eq!((accesses.hits, accesses.misses, accesses.entries().count()), (5, 2, ACCESSES));
        let Doubts(doubts) = Doubts::parse(doubts).unwrap();
        assert_eq!(doubts[ORDER - 1..=ORDER + 1], [3, 1, 4]);
        assert!(told(&mut untold, looks).is_empty() && !untold.is_much());
    }
}
