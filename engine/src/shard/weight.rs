//! What one item counts for.

use crate::chain::{ChainList, ORDINAL_BYTES};
use crate::item::{ItemRef, present};
use crate::meta::Millis;
use crate::stats::EXPIRY_UNIT_SHIFT;
use crate::version;

/// What the accounts know of an item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    /// It is of another space than 0.
    pub(super) has_space: bool,
    pub(super) version: u64,
    pub(super) expiry: Option<Millis>,
    /// Bytes of the item, padding included.
    pub(super) len: usize,
    /// Bytes that its client gave. A chunk's key is its head's.
    pub(super) payload: u64,
    /// Bytes that expire with it but lie outside it: the data of a head's chunks.
    pub(super) chunks: usize,
    /// A chunk is no item of its own.
    pub(super) items: u64,
}

impl Weight {
    // Whoever wants a part of it pays for that part alone.
    #[inline(always)]
    pub(super) fn of(item: &ItemRef<'_>) -> Weight {
        let (key, value, kind) = (item.key_len(), item.value_len(), item.present());
        let (payload, chunks, items) = if kind & (present::CHAIN_HEAD | present::CHUNK) == 0 {
            (key + value, 0, 1)
        } else if kind & present::CHUNK != 0 {
            (value - ORDINAL_BYTES, 0, 0)
        } else {
            (key, ChainList::new(item.value()).stored_bytes() as usize, 1)
        };
        let (version, expiry, len) = (item.version(), item.expiry(), item.item_len());
        Weight {
            has_space: kind & present::SPACE != 0,
            version,
            expiry,
            len,
            payload: payload as u64,
            chunks,
            items,
        }
    }

    /// What it adds to [`crate::stats::ShardStats::expiry_units`].
    #[inline]
    pub(super) fn expiry_units(&self) -> u64 {
        self.expiry.map_or(0, |expiry| self.items * (expiry >> EXPIRY_UNIT_SHIFT))
    }

    pub(super) fn written_at(&self) -> Millis {
        version::millis(self.version)
    }
}
