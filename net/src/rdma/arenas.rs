//! Memory of shards that is registered, by its address.

use std::sync::Arc;
use torc_rdma::verbs::region::Region;
use torc_rdma::verbs::seam::Verbs;

#[derive(Debug)]
struct Arena<V: Verbs> {
    start: usize,
    region: Arc<V::Region>,
}

/// Pieces of it, by where they begin.
#[derive(Debug)]
pub(crate) struct Arenas<V: Verbs> {
    list: Vec<Arena<V>>,
    version: u64,
}

impl<V: Verbs> Default for Arenas<V> {
    fn default() -> Arenas<V> {
        Arenas { list: Vec::new(), version: 0 }
    }
}

impl<V: Verbs> Arenas<V> {
    /// Rises with each change.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The same with another piece.
    pub(super) fn with(&self, start: *const u8, region: V::Region) -> Arenas<V> {
        let start = start.addr();
        let at = self.list.partition_point(|arena| arena.start < start);
        let mut list: Vec<Arena<V>> = self.list.iter().map(Arena::clone).collect();
        list.insert(at, Arena { start, region: Arc::new(region) });
        Arenas { list, version: self.version + 1 }
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
}

impl<V: Verbs> Clone for Arena<V> {
    fn clone(&self) -> Arena<V> {
        Arena { start: self.start, region: self.region.clone() }
    }
}
