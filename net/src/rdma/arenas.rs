//! Memory of shards that is registered.

use std::sync::Arc;
use torc_proto::native::ReadablePiece;
use torc_rdma::verbs::region::Region;
use torc_rdma::verbs::seam::Verbs;

#[derive(Debug)]
struct Arena<V: Verbs> {
    start: usize,
    shard: u16,
    /// From the start of the shard's memory, bytes.
    at: u64,
    region: Arc<V::Region>,
}

impl<V: Verbs> Clone for Arena<V> {
    fn clone(&self) -> Arena<V> {
        Arena { region: self.region.clone(), ..*self }
    }
}

/// Pieces of it, by their addresses.
#[derive(Debug)]
pub(crate) struct Arenas<V: Verbs> {
    list: Vec<Arena<V>>,
    version: u64,
    /// Of the keys: it rises when all are others.
    epoch: u64,
}

impl<V: Verbs> Arenas<V> {
    /// None yet.
    pub(super) fn new(version: u64, epoch: u64) -> Arenas<V> {
        Arenas { list: Vec::new(), version, epoch }
    }

    /// Rises with each change.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The same with another piece: that of a shard's memory which begins at `at`.
    pub(super) fn with(&self, shard: u16, at: u64, region: V::Region) -> Arenas<V> {
        let start = region.address() as usize;
        let before = self.list.partition_point(|arena| arena.start < start);
        let mut list = self.list.clone();
        list.insert(before, Arena { start, shard, at, region: Arc::new(region) });
        Arenas { list, version: self.version + 1, epoch: self.epoch }
    }

    /// Whether no others hold any of these pieces.
    pub(super) fn are_held_alone(&self) -> bool {
        self.list.iter().all(|arena| Arc::strong_count(&arena.region) == 1)
    }

    /// The same pieces.
    pub(super) fn with_none(&self) -> Arenas<V> {
        Arenas { list: self.list.clone(), ..*self }
    }

    /// The piece that has all of these bytes, and where they lie in it.
    #[inline]
    pub(crate) fn find(&self, start: *const u8, len: usize) -> Option<(&V::Region, usize)> {
        let start = start.addr();
        let behind = self.list.partition_point(|arena| arena.start <= start);
        let arena = self.list.get(behind.checked_sub(1)?)?;
        let at = start - arena.start;
        (at + len <= arena.region.len()).then_some((&*arena.region, at))
    }

    /// Bytes of a shard's memory, from its start, that are registered.
    pub(super) fn bytes_of(&self, shard: u16) -> u64 {
        self.of(shard).map(|arena| arena.at + arena.region.len() as u64).max().unwrap_or(0)
    }

    /// Pieces of a shard's memory from `known` on, for who reads them, in their order.
    pub(super) fn pieces_of(&self, shard: u16, known: u64) -> Vec<ReadablePiece> {
        let piece = |arena: &Arena<V>| ReadablePiece {
            at: arena.at,
            bytes: arena.region.len() as u64,
            address: arena.region.address(),
            key: arena.region.remote_key(),
        };
        let mut pieces: Vec<ReadablePiece> =
            self.of(shard).filter(|arena| arena.at >= known).map(piece).collect();
        pieces.sort_by_key(|piece| piece.at);
        pieces
    }

    fn of(&self, shard: u16) -> impl Iterator<Item = &Arena<V>> {
        self.list.iter().filter(move |arena| arena.shard == shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use torc_rdma::verbs::memory::Buffer;
    use torc_rdma::verbs::seam::Access;
    use torc_rdma::verbs::sim::{Device, Network, Weather};

    #[test]
    fn pieces_are_found_by_their_addresses_and_told_by_their_shard() {
        let device = Network::new(1, Weather::default()).add_device();
        let domain = device.domain().expect("a domain");
        let buffers: Vec<_> = (0..6).map(|_| Buffer::new(8192).expect("memory")).collect();
        let mut arenas = Arenas::<Device>::new(0, 5);
        for (number, buffer) in buffers.iter().enumerate() {
            let region = device.register(&domain, buffer.clone(), Access::RemoteRead).expect("a region");
            arenas = arenas.with(number as u16 % 2, number as u64 / 2 * 8192, region);
        }
        assert_eq!((arenas.version(), arenas.epoch()), (6, 5));
        for buffer in &buffers {
            use torc_rdma::verbs::memory::Memory;
            let start = buffer.start().cast_const();
            let found = |at: usize, len| arenas.find(start.wrapping_add(at), len).map(|(_, at)| at);
            assert_eq!(found(0, 8192), Some(0));
            assert_eq!(found(100, 92), Some(100));
            assert_eq!(found(8000, 193), None, "it ends before");
        }
        assert!(arenas.find(std::ptr::null(), 1).is_none());
        assert_eq!(arenas.bytes_of(1), 3 * 8192);
        let told = arenas.pieces_of(0, 8192);
        assert_eq!(told.iter().map(|piece| piece.at).collect::<Vec<_>>(), [8192, 16384]);
        assert!(arenas.pieces_of(2, 0).is_empty());
    }
}
