//! The other shards' memory, to be read: see `read_there.rs`.

use torc_engine::reader::{ReadRoom, ShardReader};

/// What a shard reads the others with.
#[derive(Debug, Default)]
pub(crate) struct Siblings {
    /// By shard; empty where shards do not read each other's keys.
    pub(super) readers: Vec<ShardReader>,
    pub(super) room: ReadRoom,
}

impl Siblings {
    /// By shard, the own one too, though nobody asks for it.
    pub(crate) fn new(readers: Vec<ShardReader>) -> Siblings {
        Siblings { readers, room: ReadRoom::new() }
    }

    /// Starts to fetch the bucket of a key that will be read.
    #[inline]
    pub(super) fn prefetch_bucket(&self, shard: u16, database: u16, hash: u64) {
        let reader = self.readers.get(shard as usize);
        reader.into_iter().for_each(|reader| reader.prefetch_bucket(database, hash));
    }

    /// Starts to fetch its item.
    #[inline]
    pub(super) fn prefetch_item(&self, shard: u16, database: u16, hash: u64) {
        let reader = self.readers.get(shard as usize);
        reader.into_iter().for_each(|reader| reader.prefetch_item(database, hash));
    }
}
