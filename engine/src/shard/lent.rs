//! Bytes of long values that are lent instead of copied, and how much of them and of uploads may pin segments.

use super::{Key, Shard, value_in};
use crate::item::present;
use crate::segments::Lent;
use crate::spaces::mixed;

/// Share of the segments that may be pinned before lending stops: as many may be filled by uploads.
const PINS_SHARE: usize = 4;
/// Share of the segments at which nothing more is lent: three in eight. Uploads begin up to a half.
const PINS_MAX_SHARE: (usize, usize) = (3, 8);

impl Shard {
    /// Whether lent bytes and uploads pin so many segments that no more should be lent.
    pub fn is_short_of_pins(&self) -> bool {
        self.segments.pinned() * PINS_SHARE >= self.segments.count_max()
    }

    /// Whether so many are pinned that a long value is not lent at all: uploads could not begin.
    pub fn is_out_of_pins(&self) -> bool {
        self.segments.pinned() * PINS_MAX_SHARE.1 >= self.segments.count_max() * PINS_MAX_SHARE.0
    }

    /// The length of a key's value if a read of it is lent, not copied.
    pub fn long_value_bytes(&self, database: u16, key: &[u8], hash: u64) -> Option<u64> {
        let space = self.spaces.of(database);
        let (_, slot) = self.find(Key { bytes: key, space, hash: mixed(hash, space) })?;
        let item = self.segments.item(slot.location());
        (item.present() & present::CHAIN_HEAD != 0).then(|| value_in(&self.segments, &item).len())
    }

    /// Takes lent bytes back.
    ///
    /// # Panics
    /// If another shard lent them.
    pub fn release(&mut self, lent: Lent) {
        self.segments.take_back(lent);
    }
}
