//! Reading a server's shards without asking it ([N-SHM-11]).

pub use torc_engine::command::{Found, Millis, Value};
pub use torc_engine::reader::{Doubt, Look};
pub use torc_proto::native::ReadCounts;

use std::os::fd::OwnedFd;
use torc_engine::command::Read;
use torc_engine::mapped::{Counts, MapError, MappedClock, MappedShard};
use torc_engine::reader::{Access, ReadRoom};
use torc_proto::native::{Accessed, Descriptor, DescriptorKind, Op, Topology, Untold};
use torc_proto::slot::slot_of;

/// The shards of a server, and its clock. One thread uses it; a clone for each other thread shares the mappings, and counts for itself.
#[derive(Debug)]
pub struct Reads {
    /// By number.
    shards: Vec<MappedShard>,
    clock: MappedClock,
    topology: Topology,
    room: ReadRoom,
    untold: Untold,
}

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
        Reads { shards, clock, topology, room: ReadRoom::new(), untold: Untold::default() }
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
        if let Look::Hit { report: Some(Access { hash, location }), .. } = look {
            self.untold.note(Accessed { shard: owner, hash, location });
        }
        Ok((look, now))
    }

    /// Counts a read that is asked for without a try, as an earlier command of its connection on the same key is without an answer.
    pub fn ask_in_order(&mut self) {
        self.untold.ask_in_order();
    }

    /// Whether the server should be told now what was read, as what is read from here on would be forgotten ([N-SHM-15]). A caller
    /// may [tell](Reads::tell) sooner.
    #[inline]
    pub fn has_much_to_tell(&self) -> bool {
        self.untold.is_much()
    }

    /// Gives the operation and value of each request that tells the server of the reads since the last time.
    pub fn tell(&mut self, request: impl FnMut(Op, Vec<u8>)) {
        let looks = self.looks();
        self.untold.tell(looks, request);
    }

    /// What all reads came to.
    pub fn counts(&self) -> ReadCounts {
        self.untold.counts(self.looks())
    }

    fn looks(&self) -> ReadCounts {
        let counts = self.shards.iter().map(MappedShard::counts);
        counts.fold(ReadCounts::default(), |all, Counts { hits, misses, doubts }| {
            all.plus(&ReadCounts::of_looks(hits, misses, &doubts))
        })
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
    use torc_proto::native::doubts::CAUSES;
    use torc_proto::native::told::ORDER;

    /// [N-SHM-16]
    #[test]
    fn causes_are_the_doubts_and_the_order() {
        let mut names = Doubt::ALL.map(Doubt::name).to_vec();
        names.insert(ORDER, "order");
        assert_eq!(names, CAUSES);
    }
}
