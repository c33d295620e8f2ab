//! Reading a server's shards without asking it ([N-SHM-11]).

use std::os::fd::OwnedFd;
use torc_engine::command::Read;
use torc_engine::mapped::{Counts, MapError, MappedClock, MappedShard};
use torc_engine::reader::{Access, Doubt, Look, ReadRoom};
use torc_proto::native::{Accessed, Accesses, Descriptor, DescriptorKind, Topology};
use torc_proto::slot::slot_of;

/// The shards of a server, and its clock. One thread uses it.
#[derive(Debug)]
pub struct Reads {
    /// By number.
    shards: Vec<MappedShard>,
    clock: MappedClock,
    topology: Topology,
    room: ReadRoom,
    /// Hits and misses that the server was told of.
    told: (u64, u64),
    /// Accesses that it is to be told of.
    accesses: Vec<Accessed>,
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
        let accesses = Vec::with_capacity(ACCESSES);
        Ok(Reads { shards, clock, topology, room: ReadRoom::new(), told: (0, 0), accesses })
    }

    /// The key's value in a database, as a plain read of the native protocol finds it: that reads in database 0.
    ///
    /// # Errors
    /// [`Doubt`]: the server has to be asked.
    pub fn get(&mut self, database: u16, key: &[u8]) -> Result<Look<'_>, Doubt> {
        let owner = self.topology.owner(slot_of(key)).ok_or(Doubt::Gone)?;
        let shard = self.shards.get(usize::from(owner)).ok_or(Doubt::Gone)?;
        // After whatever the caller has seen before.
        let now = self.clock.now();
        let read = Read { leases: true, ..Read::default() };
        let look = shard.read((database, key), shard.hash(key), &read, now, &mut self.room);
        if let Ok(Look::Hit { report: Some(Access { hash, location }), .. }) = look
            && self.accesses.len() < ACCESSES
        {
            self.accesses.push(Accessed { shard: owner, hash, location });
        }
        look
    }

    /// Whether the server should be told now what was read, as what is read from here on would be forgotten ([N-SHM-15]). A caller
    /// may [tell](Reads::tell) sooner.
    #[inline]
    pub fn has_much_to_tell(&self) -> bool {
        self.accesses.len() >= ACCESSES
    }

    /// Appends the value of a request that tells the server what was read since the last one.
    pub fn tell(&mut self, value: &mut Vec<u8>) {
        let Counts { hits, misses, .. } = self.counts();
        Accesses::compose((hits - self.told.0, misses - self.told.1), &self.accesses, value);
        self.told = (hits, misses);
        self.accesses.clear();
    }

    /// What all reads came to.
    pub fn counts(&self) -> Counts {
        self.shards.iter().map(MappedShard::counts).fold(Counts::default(), |mut all, shard| {
            all.hits += shard.hits;
            all.misses += shard.misses;
            for (all, doubts) in all.doubts.iter_mut().zip(shard.doubts) {
                *all += doubts;
            }
            all
        })
    }
}
