//! What a command will look at is fetched ahead.

use super::Shard;
use crate::chain::ChainList;
use crate::item::present;

/// Chunks of a replaced value that are fetched ahead: of longer ones the copying of the new value costs far more.
const CHUNKS_AHEAD: usize = 8;

impl Shard {
    /// Starts to fetch the bucket of a key's hash in a database.
    #[inline]
    pub fn prefetch_bucket(&self, database: u16, hash: u64) {
        self.index.prefetch(self.item_hash(database, hash));
    }

    /// Starts to fetch the item that the bucket of a key's hash in a database names, up to four cache lines.
    #[inline]
    pub fn prefetch_item(&self, database: u16, hash: u64) {
        let hash = self.item_hash(database, hash);
        if let Some(slot) = self.index.likely(hash) {
            self.segments.prefetch(slot.location(), slot.lines_ahead());
        }
    }

    /// Starts to fetch what the index says of places on a medium.
    #[inline]
    pub fn prefetch_place(&self, hash: u64) {
        self.index.prefetch_elsewhere(hash);
    }

    /// Starts to fetch what the end of a long value looks at if it replaces another one: the first lines of that one's
    /// chunks. It reads the item, so that has to be fetched before.
    pub fn prefetch_chunks(&self, database: u16, hash: u64) {
        let hash = self.item_hash(database, hash);
        let Some(slot) = self.index.likely(hash) else { return };
        let item = self.segments.item(slot.location());
        if item.present() & present::CHAIN_HEAD != 0 {
            let extents = ChainList::new(item.value()).extents().take(CHUNKS_AHEAD);
            extents.filter_map(|extent| extent.location()).for_each(|at| self.segments.prefetch(at, 1));
        }
    }
}
