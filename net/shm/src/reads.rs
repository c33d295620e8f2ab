//! Reading a server's shards without asking it ([N-SHM-11]).

pub use torc_engine::command::{Found, Millis, Value};
pub use torc_engine::reader::{Doubt, Look};

use std::os::fd::OwnedFd;
use torc_engine::command::Read;
use torc_engine::mapped::{Counts, MapError, MappedClock, MappedShard};
use torc_engine::reader::{Access, ReadRoom};
use torc_proto::native::doubts::CAUSES;
use torc_proto::native::{Accessed, Accesses, Descriptor, DescriptorKind, Doubts, Op, Topology};
use torc_proto::slot::slot_of;

/// Where [`CAUSES`] has the cause that is no [`Doubt`]: an earlier command on the key is without an answer.
const ORDER: usize = 7;
const _: () = assert!(CAUSES.len() == Doubt::ALL.len() + 1);

/// The shards of a server, and its clock. One thread uses it; a clone for each other thread shares the mappings, and counts for itself.
#[derive(Debug)]
pub struct Reads {
    /// By number.
    shards: Vec<MappedShard>,
    clock: MappedClock,
    topology: Topology,
    room: ReadRoom,
    /// Reads that were not tried, for the order of commands.
    ordered: u64,
    /// What the server was told of.
    told: ReadCounts,
    /// Accesses that it is to be told of.
    accesses: Vec<Accessed>,
}

/// What reads came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadCounts {
    pub hits: u64,
    pub misses: u64,
    /// Reads that the server has to be asked for, by [`CAUSES`].
    pub asked: [u64; CAUSES.len()],
}

impl ReadCounts {
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

/// Accesses are told when there are so many; more than that are forgotten.
const ACCESSES: usize = 128;

/// What there is of a server's memory does not fit together, or cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum ReadsError {
    #[error("the server lets nobody read its shards")]
    NotShared,
    #[error(transparent)]
    Map(#[from] MapError),
}

impl Reads {
    /// Maps the files that came beside the rings ([`Connected::others`](crate::Connected::others)).
    ///
    /// # Errors
    /// [`ReadsError`]; kinds of files that are not known are passed over.
    pub fn open(files: Vec<(Descriptor, OwnedFd)>, topology: Topology) -> Result<Reads, ReadsError> {
        let (mut shards, mut clock) = (Vec::new(), None);
        for (descriptor, file) in files {
            match descriptor.kind {
                kind if kind == DescriptorKind::Shard as u16 => shards.push(MappedShard::open(file)?),
                kind if kind == DescriptorKind::Clock as u16 => clock = Some(MappedClock::open(file)?),
                _ => {}
            }
        }
        shards.sort_by_key(MappedShard::number);
        let clock = clock.filter(|_| !shards.is_empty()).ok_or(ReadsError::NotShared)?;
        Ok(Reads::with(shards, clock, topology))
    }

    fn with(shards: Vec<MappedShard>, clock: MappedClock, topology: Topology) -> Reads {
        let accesses = Vec::with_capacity(ACCESSES);
        let told = ReadCounts::default();
        Reads { shards, clock, topology, room: ReadRoom::new(), ordered: 0, told, accesses }
    }

    /// The key's value in a database, as a plain read of the native protocol finds it (that reads in database 0), and the server's time of
    /// the look.
    ///
    /// # Errors
    /// [`Doubt`]: the server has to be asked.
    pub fn get(&mut self, database: u16, key: &[u8]) -> Result<(Look<'_>, Millis), Doubt> {
        self.read(database, key, false)
    }

    /// As [`Reads::get`], without an access.
    ///
    /// # Errors
    /// As there.
    pub fn peek(&mut self, database: u16, key: &[u8]) -> Result<(Look<'_>, Millis), Doubt> {
        self.read(database, key, true)
    }

    #[inline]
    fn read(&mut self, database: u16, key: &[u8], peek: bool) -> Result<(Look<'_>, Millis), Doubt> {
        let owner = self.topology.owner(slot_of(key)).ok_or(Doubt::Gone)?;
        let shard = self.shards.get(usize::from(owner)).ok_or(Doubt::Gone)?;
        // After whatever the caller has seen before.
        let now = self.clock.now();
        let read = Read { leases: true, peek, ..Read::default() };
        let look = shard.read((database, key), shard.hash(key), &read, now, &mut self.room)?;
        if let Look::Hit { report: Some(Access { hash, location }), .. } = look
            && self.accesses.len() < ACCESSES
        {
            self.accesses.push(Accessed { shard: owner, hash, location });
        }
        Ok((look, now))
    }

    /// Counts a read that is asked for without a try, as an earlier command of its connection on the same key is without an answer.
    pub fn ask_in_order(&mut self) {
        self.ordered += 1;
    }

    /// Whether the server should be told now what was read, as what is read from here on would be forgotten ([N-SHM-15]). A caller
    /// may [tell](Reads::tell) sooner.
    #[inline]
    pub fn has_much_to_tell(&self) -> bool {
        self.accesses.len() >= ACCESSES
    }

    /// Gives the operation and value of each request that tells the server of the reads since the last time.
    pub fn tell(&mut self, mut request: impl FnMut(Op, Vec<u8>)) {
        let counts = self.counts();
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

    /// What all reads came to.
    pub fn counts(&self) -> ReadCounts {
        let mut all = ReadCounts::default();
        for Counts { hits, misses, doubts } in self.shards.iter().map(MappedShard::counts) {
            all.hits += hits;
            all.misses += misses;
            let causes = all.asked.iter_mut().enumerate().filter(|(cause, _)| *cause != ORDER);
            causes.zip(doubts).for_each(|((_, all), doubts)| *all += doubts);
        }
        all.asked[ORDER] = self.ordered;
        all
    }
}

/// For another thread.
impl Clone for Reads {
    fn clone(&self) -> Reads {
        Reads::with(self.shards.clone(), self.clock.clone(), self.topology.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [N-SHM-16]
    #[test]
    fn causes_are_the_doubts_and_the_order() {
        let mut names = Doubt::ALL.map(Doubt::name).to_vec();
        names.insert(ORDER, "order");
        assert_eq!(names, CAUSES);
    }
}
