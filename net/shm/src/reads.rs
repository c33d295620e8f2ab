//! Reading a server's shards without asking it ([N-SHM-11]).

use std::os::fd::OwnedFd;
use torc_engine::command::Read;
use torc_engine::mapped::{Counts, MapError, MappedClock, MappedShard};
use torc_engine::reader::{Doubt, Look, ReadRoom};
use torc_proto::native::{Descriptor, DescriptorKind, Topology};
use torc_proto::slot::slot_of;

/// The shards of a server, and its clock. One thread uses it.
#[derive(Debug)]
pub struct Reads {
    /// By number.
    shards: Vec<MappedShard>,
    clock: MappedClock,
    topology: Topology,
    room: ReadRoom,
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
        Ok(Reads { shards, clock, topology, room: ReadRoom::new() })
    }

    /// The key's value, as a plain read of the native protocol finds it.
    ///
    /// # Errors
    /// [`Doubt`]: the server has to be asked.
    pub fn get(&mut self, space: u16, key: &[u8]) -> Result<Look<'_>, Doubt> {
        let owner = self.topology.owner(slot_of(key)).ok_or(Doubt::Gone)?;
        let shard = self.shards.get(usize::from(owner)).ok_or(Doubt::Gone)?;
        // After whatever the caller has seen before.
        let now = self.clock.now();
        let read = Read { leases: true, ..Read::default() };
        shard.read((space, key), shard.hash(space, key), &read, now, &mut self.room)
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
